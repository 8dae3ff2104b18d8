"""Consent: what a cell may say, who shares it, and refusals that name the rows."""

from __future__ import annotations

import csv
import datetime
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.engine.engine import Engine
from pipelines.errors import UsageError
from pipelines.manifest.cells import RowError
from pipelines.manifest.consent import (
    CONSENT_KEYS,
    NAMED,
    MissingConsentError,
    check_consent,
    consent_of,
    consents_in,
    has_consent,
)
from pipelines.manifest.reader import parse_rows, read_manifest
from pipelines.manifest.titles import Title
from pipelines.runner import run
from pipelines.state.content_keys import output_key
from pipelines.state.ledger import CONSENT
from pipelines.state.run_directory import RunDirectory
from tests.pipelines.conftest import engine_config, profile_config

ENGINE = Engine(engine_config())
GIVEN = {
    "who": "Ana Lind",
    "when": "2026-11-02",
    "scope": "German dub",
    "url": "https://rights.example/a.pdf",
}


def rows(*cells: Any) -> list[tuple[str, dict[str, Any] | str]]:
    return [
        (f"m.csv row {n}", {"id": f"t{n}", "video": "/v.mp4", "speech": "/s.wav", "consent": cell})
        for n, cell in enumerate(cells, 2)
    ]


def titles(*cells: Any) -> list[Title]:
    return parse_rows(rows(*cells), ENGINE, "/out")


@pytest.mark.parametrize(
    ("cell", "read"),
    [
        ("Ana Lind agreed by letter", {"text": "Ana Lind agreed by letter"}),
        (" https://rights.example/a.pdf ", {"url": "https://rights.example/a.pdf"}),
        ("s3://rights/a.pdf", {"url": "s3://rights/a.pdf"}),
        ("see https://rights.example/a", {"text": "see https://rights.example/a"}),
        (GIVEN, GIVEN),
        (json.dumps(GIVEN), GIVEN),
        (
            {"who": "Ana Lind", "when": datetime.date(2026, 11, 2), "scope": None},
            {"who": "Ana Lind", "when": "2026-11-02"},
        ),
        (
            {"text": "as of the contract", "when": "2026-11-02T10:00:00Z"},
            {"when": "2026-11-02T10:00:00Z", "text": "as of the contract"},
        ),
        ("同意书第 7 号", {"text": "同意书第 7 号"}),
        ("", {}),
        (None, {}),
        ({}, {}),
    ],
)
def test_cells(cell: Any, read: dict[str, str]) -> None:
    assert consent_of(cell) == read


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        ("yes", "does not say who"),
        ({"who": "N/A"}, "does not say who"),
        (True, "must be a text"),
        (7, "must be a text"),
        (["Ana"], "must be a text"),
        ({"whom": "Ana"}, "'whom' is unknown; it has who, when, scope, text, url"),
        ({"who": 7}, "consent.who: must be a text"),
        ({"scope": "German"}, "needs one of who, text, url"),
        ({"who": "Ana", "when": "last week"}, "'last week' is no date such as"),
        ({"who": "Ana", "url": "the drawer"}, "'the drawer' is no URL"),
        ("{who: Ana}", "begins like JSON"),
        ("a" * 5000, "longer than 4096"),
        ("Ana\0Lind", "holds what is no text"),
        ("Ana \ud800", "holds what is no text"),
    ],
)
def test_cells_that_are_refused(cell: Any, told: str) -> None:
    with pytest.raises(RowError, match=told):
        consent_of(cell)


def test_a_wrong_cell_fails_its_row_alone() -> None:
    good, bad = titles("Ana Lind agreed", "yes")
    assert (good.error, good.dubs[0].consent) == ("", {"text": "Ana Lind agreed"})
    assert "m.csv row 3" in bad.error
    assert "consent" in bad.error


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_every_kind_of_manifest_has_it(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"m.{kind}"
    row = {"id": "a", "video": "/v.mp4", "speech": "/s.wav"}
    if kind == "csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, [*row, "consent"])
            writer.writeheader()
            writer.writerow({**row, "consent": json.dumps(GIVEN)})
    elif kind == "jsonl":
        path.write_text(json.dumps({**row, "consent": GIVEN}))
    else:
        pq.write_table(pa.Table.from_pylist([{**row, "consent": {**GIVEN, "text": None}}]), path)
    (title,) = read_manifest(str(path), ENGINE, "/out")
    assert title.dubs[0].consent == GIVEN


def test_dubs_share_a_rows_consent_or_have_their_own() -> None:
    row = {
        "id": "a",
        "video": "/v.mp4",
        "consent": "Ana Lind agreed",
        "dubs": [
            {"language": "deu", "speech": "/d.wav"},
            {"language": "fra", "speech": "/f.wav", "consent": {"who": "Ana Lind", "scope": "French"}},
        ],
    }
    (title,) = parse_rows([("m.jsonl row 1", row)], ENGINE, "/out")
    assert [dub.consent for dub in title.dubs] == [
        {"text": "Ana Lind agreed"},
        {"who": "Ana Lind", "scope": "French"},
    ]


def test_a_default_serves_the_rows_without() -> None:
    found = parse_rows(rows("her own", None), ENGINE, "/out", defaults={"consent": "contract 7"})
    assert [title.dubs[0].consent["text"] for title in found] == ["her own", "contract 7"]
    with pytest.raises(UsageError, match="does not say who"):
        parse_rows(rows(None), ENGINE, "/out", defaults={"consent": "yes"})


def test_rows_without_are_named_and_no_others() -> None:
    with pytest.raises(MissingConsentError) as refused:
        check_consent(titles("Ana Lind agreed", None, "yes", ""))
    text = str(refused.value)
    assert "m.csv row 3: t3 has no consent" in text
    assert "m.csv row 5: t5 has no consent" in text
    assert "t2" not in text
    assert "t4" not in text, "it cannot be used anyway"
    check_consent(titles("Ana Lind agreed", GIVEN))


def speakers_row(anna: Any, bob: Any, **more: Any) -> list[tuple[str, dict[str, Any]]]:
    spoken = [
        {"face": face, "speech": f"/s/{face}.wav", **({"consent": consent} if consent else {})}
        for face, consent in (("left", anna), ("right", bob))
    ]
    return [("m.csv row 2", {"id": "p", "video": "/v.mp4", "output": "p.mp4", "speakers": spoken, **more})]


def test_each_speaker_may_have_their_own() -> None:
    engine = Engine(engine_config(find_faces=True))
    (both,) = parse_rows(speakers_row("Anna agreed", GIVEN), engine, "/out")
    assert [one.consent for one in both.dubs[0].speakers] == [{"text": "Anna agreed"}, GIVEN]
    (row,) = parse_rows(speakers_row(None, GIVEN, consent="all agreed"), engine, "/out")
    check_consent([both, row])
    (lacking,) = parse_rows(speakers_row("Anna agreed", None), engine, "/out")
    with pytest.raises(MissingConsentError, match=r"m.csv row 2: p has no consent of speaker 2 \(right\)"):
        check_consent([lacking])
    keys = [output_key("k", title.dubs[0]) for title in (both, lacking)]
    assert keys[0] != keys[1], "another consent is another output"


def test_consents_of_a_record() -> None:
    bob = {**dict.fromkeys(CONSENT_KEYS), "who": "Bob", "when": "2026-11-02"}
    speakers = [
        {"face": "left", "speech": "a.wav", "consent": None},
        {"face": "1", "speech": "b.wav", "consent": bob},
    ]
    record: dict[str, Any] = {"consent": None, "speakers": speakers}
    assert consents_in(record) == [
        ("speaker 2, consent: who", "Bob"),
        ("speaker 2, consent: when", "2026-11-02"),
    ]
    assert not has_consent(record)
    assert has_consent({**record, "consent": GIVEN})
    assert has_consent({"consent": None, "speakers": [speakers[1]]})
    assert not has_consent({"consent": None, "speakers": None})


def test_a_long_list_is_cut() -> None:
    with pytest.raises(MissingConsentError, match="and 5 more"):
        check_consent(titles(*[None] * (NAMED + 5)))


def test_a_run_that_requires_it_starts_nothing(tmp_path: Path) -> None:
    manifest = [{"id": "a", "video": "/no.mp4", "speech": "/no.wav", "output": "a.mp4"}]
    for how in ({"rights": {"require_consent": True}}, {"profile": {"require_consent": True}}):
        profile = profile_config(1, 7)
        if "profile" in how:
            profile = type(profile).model_validate({**profile.model_dump(), "rights": how["profile"]})
        with pytest.raises(MissingConsentError, match="a has no consent"):
            run(
                manifest,
                run_dir=tmp_path / "out",
                engine=engine_config(),
                profile=profile,
                rights=how.get("rights"),
                runner="local",
            )
    assert not (tmp_path / "out").exists()


def test_it_stands_in_record_and_ledger(footage: Path, tmp_path: Path) -> None:
    manifest = [
        {
            "id": n,
            "video": str(footage / "a.mp4"),
            "speech": str(footage / "exact.wav"),
            "output": f"{n}.mp4",
            **more,
        }
        for n, more in (("a", {"consent": GIVEN}), ("b", {}))
    ]
    report = run(
        manifest, run_dir=tmp_path, engine=engine_config(), profile=profile_config(1, 30), runner="local"
    )
    assert [record["consent"] for record in report.records] == [GIVEN, None]
    stored = RunDirectory(str(tmp_path)).read_record("a", "dub")
    assert stored is not None
    assert stored["consent"] == GIVEN
    first, second = pq.read_table(tmp_path / "ledger.parquet")["consent"].to_pylist()
    assert first == {**dict.fromkeys(CONSENT_KEYS), **GIVEN}
    assert second is None


def test_the_ledger_has_every_entry() -> None:
    assert [field.name for field in CONSENT] == list(CONSENT_KEYS)


def test_another_consent_is_another_output() -> None:
    first, second, same = (
        title.dubs[0] for title in titles("Ana Lind agreed", "Ana Lind refused", "Ana Lind agreed")
    )
    keys = [output_key("k", type(first)(**{**vars(dub), "output": "o.mp4"})) for dub in (first, second, same)]
    assert keys[0] == keys[2] != keys[1]
