"""The review page's files: what is in them, where its links lead, that nothing hostile gets through."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from pipelines.review import page
from pipelines.review.charts import histogram
from pipelines.review.details import address
from pipelines.review.page import write_page
from tests.pipelines.review.records import HOSTILE, REPORT, metric, record


def loaded(folder: Path, kind: str) -> list[Any]:
    """The content of all data files of a kind, in order."""
    found = []
    for number, file in enumerate(sorted((folder / "data").glob(f"{kind}-*.js"))):
        match = re.fullmatch(r"retalk\w+\((\d+),(.*)\);\n", file.read_text())
        assert match is not None
        assert int(match[1]) == number
        found += json.loads(match[2])
    return found


def test_dubs_are_listed_worst_first_with_their_details(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "ROWS", 3)
    monkeypatch.setattr(page, "DETAILS", 2)
    records = [
        record("fine"),
        record("soft", metrics=[metric("sharpness", 0.9, 0.2, 1.0)]),
        record(
            "lost",
            state="failed",
            error="/films/a.mp4: no face found",
            metrics=None,
            notes=None,
            video_seconds=0,
        ),
        record("also fine", dub="fra"),
    ]
    index = Path(write_page(str(tmp_path / "run"), REPORT, records))
    assert index == tmp_path / "run" / "report" / "index.html"
    rows, details = loaded(index.parent, "rows"), loaded(index.parent, "details")
    assert [row[:4] for row in rows] == [
        ["lost", "deu", "failed", "failed"],
        ["soft", "deu", "done", "review"],
        ["also fine", "fra", "done", "ok"],
        ["fine", "deu", "done", "ok"],
    ]
    assert [row[8] for row in rows] == [0, 0, 1, 1]
    assert [(one["title"], one["verdict"]) for one in details] == [(row[0], row[3]) for row in rows]
    assert details[0]["media"] == {"video": "", "output": ""}
    summary = re.search(r'id="summary">(.*?)</script>', index.read_text())
    assert summary is not None
    assert json.loads(summary[1]) == {"run": str(tmp_path / "run"), "total": 4, "files": 2}
    write_page(str(tmp_path / "run"), REPORT, records[:1])
    assert [row[0] for row in loaded(index.parent, "rows")] == ["fine"], "files of the longer page are gone"


def test_media_are_found_from_where_the_page_lies(tmp_path: Path) -> None:
    (tmp_path / "films").mkdir()
    video, output = tmp_path / "films" / "a b#1.mp4", tmp_path / "run" / "out.mp4"
    index = Path(
        write_page(str(tmp_path / "run"), REPORT, [record("a", video=str(video), output=str(output))])
    )
    (detail,) = loaded(index.parent, "details")
    assert detail["media"] == {"video": "../../films/a%20b%231.mp4", "output": "../out.mp4"}
    assert address("s3://box/run/report", "s3://box/out/a.mp4") == "../../out/a.mp4"
    assert address("s3://box/run/report", "s3://other/a.mp4") == ""
    assert address("s3://box/run/report", "/films/a.mp4") == ""
    assert address("/run/report", "https://host/a.mp4") == "https://host/a.mp4"


def test_outputs_of_a_run_that_was_moved_are_found_with_it(tmp_path: Path) -> None:
    run = tmp_path / "moved"
    (run / "season 1").mkdir(parents=True)
    (run / "season 1" / "a.mp4").touch()
    elsewhere = record("b", output=str(tmp_path / "gone.mp4"))
    one = record("a", output="/old/place/season 1/a.mp4")
    index = Path(write_page(str(run), REPORT, [one, elsewhere]))
    media = {each["title"]: each["media"]["output"] for each in loaded(index.parent, "details")}
    assert media == {"a": "../season%201/a.mp4", "b": "../../gone.mp4"}


def test_nothing_of_a_name_is_markup(tmp_path: Path) -> None:
    hostile = HOSTILE[1]
    records = [record(name, error=name, notes=[name], video=name) for name in HOSTILE]
    report = {**REPORT, "engine": hostile, "actual": {**REPORT["actual"], "currency": hostile}}
    run = tmp_path / "<b>run"
    index = Path(write_page(str(run), report, records))
    html = index.read_text()
    assert "<img" not in html
    assert "<b>" not in html
    for file in (index.parent / "data").iterdir():
        assert not set("<>&") & set(file.read_text())
    assert sorted(row[0] for row in loaded(index.parent, "rows")) == sorted(HOSTILE)


def test_secrets_of_addresses_stay_out(tmp_path: Path) -> None:
    url = "https://user:geheim@host/a.mp4?X-Amz-Signature=geheim"
    index = Path(write_page(str(tmp_path), REPORT, [record("a", video=url, output=url, notes=[url])]))
    for file in index.parent.rglob("*"):
        assert file.is_dir() or "geheim" not in file.read_text(), file


def test_a_distribution_counts_every_finite_value() -> None:
    drawn = histogram([0.0, 0.1, 0.9, 1.0, float("nan")], "a<b", "%", 2)
    assert "a&lt;b (%), 4 dubs" in drawn
    assert re.findall(r"<title>(.*?)</title>", drawn) == ["0 to 0.5: 2", "0.5 to 1: 2"]
    assert "0 dubs" in histogram([], "a", "", 2)
