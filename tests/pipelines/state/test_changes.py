"""A changed manifest in the same directory: what is computed again, and why."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipelines.cli import main as cli
from pipelines.runner import Report, run
from pipelines.state.changes import RECOMPUTED, changes, readable, summary
from pipelines.state.run_directory import RunDirectory
from tests.pipelines.cli.test_usage import configs  # noqa: F401
from tests.pipelines.conftest import engine_config, profile_config

NOW: dict[str, Any] = {
    "version": "1",
    "engine": {"name": "test", "stages": ["a"]},
    "segments": 50,
    "options": {"speak": {"lag": 0.0, "gain": 1.0}},
    "weights": {"lnet": {"LNet.pth": "a"}},
    "devices": {"lnet": "cpu", "blend": "cpu"},
    "code": {"operators": "a", "retalk_models": "a", "pipelines.planning": "a", "acme": "a"},
    "libraries": {"numpy": "1.26", "torch": "2.4"},
    "face": "largest",
    "length": "keep",
    "video": ("/a.mp4", 1, "x"),
    "speech": ("/a.wav", 1, "x"),
    "language": "",
}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"version": "2"}, "version 1 → 2"),
        ({"engine": {"name": "other", "stages": ["a"]}}, "engine test → other"),
        ({"engine": {"name": "test", "stages": ["b"]}}, "the engine's stages changed"),
        ({"segments": 20}, "the length of segments changed"),
        ({"options": {"speak": {"lag": 0.04, "gain": 1.0}}}, "speak.lag 0.0 → 0.04"),
        ({"options": {}}, "options changed"),
        ({"weights": {"lnet": {"LNet.pth": "b"}}}, "weights of lnet changed"),
        ({"weights": {}}, "weights of lnet changed"),
        ({"devices": {"lnet": "cuda", "blend": "cpu"}}, "device of lnet cpu → cuda"),
        ({"code": {**NOW["code"], "operators": "b", "retalk_models": "b"}}, "code of retalk changed"),
        ({"code": {**NOW["code"], "acme": "b"}}, "code of acme changed"),
        ({"libraries": {"numpy": "2.0"}}, "numpy 1.26 → 2.0, torch 2.4 → none"),
        ({"face": "left"}, "face largest → left"),
        ({"face": ("/face.jpg", 1, "x")}, "face changed"),
        ({"length": "loop"}, "length keep → loop"),
        ({"video": ("/a.mp4", 2, "y")}, "video changed"),
        ({"speech": ("/b.wav", 1, "x")}, "speech /a.wav → /b.wav"),
        ({"language": "deu"}, "language none → deu"),
    ],
)
def test_each_ingredient_is_named(change: dict[str, Any], text: str) -> None:
    record = {"key": "k", "ingredients": readable(NOW)}
    (ingredient,) = change
    name = "options speak.lag" if text.startswith("speak.lag") else ingredient
    assert changes(record, readable({**NOW, **change})) == {name: text}


def test_what_cannot_be_compared_is_said() -> None:
    assert list(changes({"key": "k"}, readable(NOW))) == ["version"]
    older = {name: value for name, value in readable(NOW).items() if name != "weights"}
    assert changes({"key": "k", "ingredients": older}, readable(NOW)) == {
        "version": "an earlier version of retalk made it"
    }
    assert list(changes({"key": "", "ingredients": readable(NOW)}, readable(NOW))) == ["redo"]
    signed = [{**NOW, "video": (f"https://h/a.mp4?X-Amz-Signature={n}", 1, "x")} for n in "12"]
    before, now = (readable(one) for one in signed)
    assert changes({"key": "k", "ingredients": before}, now) == {"address": "the address of an input changed"}
    assert "Signature" not in json.dumps(before)


def test_the_summary_counts_reasons() -> None:
    records: list[dict[str, Any]] = [
        {"changed": ["speech"]},
        {"changed": ["speech", "length"]},
        {"changed": []},
        {},
    ]
    assert summary(records) == (
        "2 finished dubs were computed again because of changes: speech (2), length (1); -v and the ledger's notes say which"
    )
    assert summary(records[2:]) == ""


def go(rows: list[dict[str, Any]], folder: Path, **options: Any) -> Report:
    return run(
        rows,
        run_dir=str(folder),
        engine=engine_config(),
        profile=profile_config(1),
        runner="local",
        **options,
    )


def test_a_changed_manifest_says_what_is_computed_again(footage: Path, tmp_path: Path) -> None:
    shutil.copyfile(footage / "exact.wav", tmp_path / "c.wav")
    rows: list[dict[str, Any]] = [
        {
            "id": name,
            "video": str(footage / "a.mp4"),
            "speech": str(footage / "exact.wav"),
            "output": f"{name}.mp4",
        }
        for name in "abcd"
    ]
    rows[2]["speech"] = str(tmp_path / "c.wav")
    first = go(rows, tmp_path / "run")
    assert (first.noticed, first.already) == ([], 0)
    shutil.copyfile(footage / "short.wav", tmp_path / "c.wav")
    rows[0]["length"] = "trim"
    rows[1]["level.gain"] = 2.5
    report = go(rows, tmp_path / "run")
    assert report.already == 1
    (told,) = report.noticed
    assert told.startswith("3 finished dubs were computed again because of changes: ")
    assert all(f"{name} (1)" in told for name in ("length", "options level.gain", "speech"))
    ledger = {
        row["title"]: row["notes"]
        for row in map(json.loads, (tmp_path / "run" / "ledger.jsonl").read_text().splitlines())
    }
    assert ledger["a"] == [f"{RECOMPUTED}length keep → trim"]
    assert ledger["b"] == [f"{RECOMPUTED}level.gain 1.0 → 2.5"]
    assert ledger["c"][0] == f"{RECOMPUTED}speech changed"
    assert ledger["d"] == []
    again = go(rows, tmp_path / "run")
    assert (again.already, again.noticed) == (4, []), "said once"
    (tmp_path / "run" / "d.mp4").unlink()
    gone = go(rows, tmp_path / "run")
    assert gone.noticed[0] == "1 output that was gone is made again"
    record = RunDirectory(str(tmp_path / "run")).read_record("d", "dub") or {}
    assert record["notes"] == [f"{RECOMPUTED}the output is gone"]
    rows[3]["output"] = "e.mp4"
    named = go(rows, tmp_path / "run")
    assert "because of changes: output (1)" in named.noticed[0]
    (left,) = [text for text in named.noticed if text.startswith("earlier outputs stay")]
    assert f": d.mp4 in {tmp_path / 'run'}" in left
    assert (tmp_path / "run" / "d.mp4").is_file()
    assert go(rows, tmp_path / "run").noticed == []


def test_titles_are_named_with_verbose_only(
    footage: Path,
    tmp_path: Path,
    configs: list[str],  # noqa: F811
    capsys: pytest.CaptureFixture[str],
) -> None:
    row = {
        "id": "a",
        "video": str(footage / "a.mp4"),
        "speech": str(footage / "exact.wav"),
        "output": "a.mp4",
    }
    manifest = tmp_path / "m.jsonl"
    command = ["run", str(manifest), "-o", str(tmp_path / "out"), *configs, "--runner", "local", "--quiet"]
    told = []
    for length, more in (("keep", []), ("trim", []), ("loop", ["--verbose"])):
        manifest.write_text(json.dumps({**row, "length": length}) + "\n")
        assert cli.main([*command, *more]) == 0
        told.append(capsys.readouterr().err)
    assert "computed again" not in told[0]
    assert "1 finished dub was computed again because of changes: length (1)" in told[1]
    assert "length keep → trim" not in told[1]
    assert "computed again: length trim → loop" in told[2]
    manifest.write_text(json.dumps({**row, "length": "freeze"}) + "\n")
    assert cli.main(["plan", str(manifest), "-o", str(tmp_path / "out"), *configs]) == 0
    assert "computed again: length loop → freeze" in capsys.readouterr().out
