"""`--only` and `--redo`: some titles of a manifest, and titles that are computed again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from pipelines import runner
from pipelines.cli import main as cli
from pipelines.errors import UsageError
from pipelines.manifest.titles import Title
from pipelines.planning.selection import select
from tests.pipelines.conftest import engine_config, profile_config
from tests.signatures import without_box, without_signature


@pytest.fixture
def run(footage: Path, tmp_path: Path) -> Any:
    """Run the manifest of three titles, `a`, `b` and `c`, in this process; gives the report."""
    rows = [
        {
            "id": name,
            "video": str(footage / "a.mp4"),
            "speech": str(footage / f"{speech}.wav"),
            "output": f"{name}.mp4",
        }
        for name, speech in (("a", "exact"), ("b", "long"), ("c", "short"))
    ]

    def go(**more: Any) -> runner.Report:
        options = {"misbehave_dub": more.pop("misbehave")} if "misbehave" in more else {}
        log = {"paint": {"log": str(tmp_path / "log")}}
        engine = engine_config("MisbehaveDub")
        return runner.run(
            rows,
            run_dir=str(tmp_path / "out"),
            engine=engine,
            profile=profile_config(1),
            options={**options, **log},
            runner="local",
            **more,
        )

    return go


def ledger(tmp_path: Path) -> dict[str, str]:
    return {
        (row := json.loads(line))["title"]: row["state"]
        for line in (tmp_path / "out" / "ledger.jsonl").read_text().splitlines()
    }


def painted(tmp_path: Path) -> int:
    log = tmp_path / "log"
    return len(log.read_text().split()) if log.exists() else 0


def test_only_some_titles(run: Any, tmp_path: Path) -> None:
    report = run(only=["b"])
    assert [record["title"] for record in report.records] == ["b"]
    assert ledger(tmp_path) == {"b": "done"}
    assert run(only=["a"]).already == 0
    assert ledger(tmp_path) == {"a": "done", "b": "done"}, "other titles' records stay"
    titles = {row["title"] for row in pq.read_table(tmp_path / "out" / "plan.parquet").to_pylist()}
    assert titles == {"a", "b"}, "and their part of the plan"
    assert json.loads((tmp_path / "out" / "run.json").read_text())["titles"] == 3
    report = run()
    assert (report.already, len(report.records)) == (2, 3)


def test_redo_computes_finished_titles_again(run: Any, tmp_path: Path) -> None:
    run()
    before, count = (tmp_path / "out" / "a.mp4").read_bytes(), painted(tmp_path)
    assert run().already == 3
    assert painted(tmp_path) == count
    report = run(redo=["a"])
    assert (report.already, report.computed, report.exit_code) == (2, 4, 0)
    assert painted(tmp_path) == count + 4
    assert without_signature(tmp_path / "out" / "a.mp4") == without_box(before)
    kept = list((tmp_path / "out" / "earlier").rglob("*.mp4"))
    assert [one.read_bytes() for one in kept] == [before], "the earlier version stays"
    assert run().already == 3
    report = run(only=["a"], redo=["a"])
    assert [record["title"] for record in report.records] == ["a"]
    assert report.already == 0


def test_a_redo_that_is_cut_off_goes_on_without_being_asked_again(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run()
    count = painted(tmp_path)

    def interrupted(self: Any) -> None:
        if painted(tmp_path) >= count + 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(runner.RunLock, "check", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(redo=["a"])
    assert ledger(tmp_path)["a"] == "done", "its old output is still there, and known"
    report = run()
    assert (report.already, report.exit_code) == (2, 0)
    assert report.reused + report.computed == 4
    assert report.reused >= 1


def test_unknown_titles_are_refused_with_near_ones(run: Any, tmp_path: Path) -> None:
    titles = [Title(f"episode-{number}", "v.mp4", ()) for number in range(3)]
    with pytest.raises(
        UsageError, match=r"only: the manifest has no title 'epsiode-1' \(did you mean episode-1"
    ):
        select(titles, ["epsiode-1"], [])
    with pytest.raises(UsageError, match=r"redo: the manifest has no title 'x'$"):
        select(titles, [], ["x", "x"])
    with pytest.raises(UsageError, match=r"\.\.\.$"):
        select(titles, [str(n) for n in range(20)], [])
    with pytest.raises(UsageError, match=r"redo: only leaves out 'episode-1'; name it in both"):
        select(titles, ["episode-0"], ["episode-0", "episode-1"])
    with pytest.raises(UsageError, match="no title 'd'"):
        run(only=["d"])
    assert not (tmp_path / "out").exists()


def test_on_the_command_line(footage: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "engine.yaml").write_text(yaml.safe_dump(engine_config().model_dump()))
    (tmp_path / "profile.yaml").write_text(yaml.safe_dump(profile_config(1).model_dump(exclude_none=True)))
    inputs = {"video": str(footage / "a.mp4"), "speech": str(footage / "exact.wav")}
    rows = [{"id": name, **inputs, "output": f"{name}.mp4"} for name in ("one", "two", "three")]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    configs = [
        "--engine",
        str(tmp_path / "engine.yaml"),
        "--profile",
        str(tmp_path / "profile.yaml"),
        "--runner",
        "local",
        "-q",
    ]
    command = ["run", str(tmp_path / "m.jsonl"), "-o", str(tmp_path / "out"), *configs]
    assert cli.main([*command, "--only", "one", "two"]) == 0
    assert capsys.readouterr().out.startswith("2 dubbed, 0 failed; ")
    assert cli.main(["report", str(tmp_path / "out"), "--no-strips"]) == 0
    assert "Not ended yet: 1 (three)." in capsys.readouterr().out
    assert cli.main([*command, "--redo", "one"]) == 0
    assert capsys.readouterr().out.startswith("1 already done, 2 dubbed, 0 failed; ")
    assert cli.main(command) == 0
    assert capsys.readouterr().out.startswith("nothing to do: 3 already done; ")
    decided = {"decisions": [{"title": "two", "dub": "dub", "decision": "rejected", "comment": ""}]}
    (tmp_path / "decisions.json").write_text(json.dumps(decided))
    other = ["--redo", str(tmp_path / "decisions.json"), "--set", "level.gain=0.9"]
    assert cli.main([*command, *other]) == 0
    assert capsys.readouterr().out.startswith("1 dubbed, 0 failed; "), "other options touch no other title"
    gone = [{"title": name, "decision": "rejected"} for name in ("two", "tree")]
    (tmp_path / "decisions.json").write_text(json.dumps({"run": str(tmp_path / "out"), "decisions": gone}))
    assert cli.main([*command, *other]) == 0
    told = capsys.readouterr()
    assert told.out.startswith("1 dubbed, 0 failed; ")
    assert (
        "the manifest has no title 'tree' (did you mean three?), rejected in the review; left out" in told.err
    )
    (tmp_path / "decisions.json").write_text(json.dumps({"decisions": gone[1:]}))
    assert cli.main([*command, *other]) == 2
    assert "the manifest has none of the titles that are rejected: 'tree'" in capsys.readouterr().err
    assert cli.main([*command, "--only", "tow"]) == 2
    assert (
        capsys.readouterr().err == "retalk run: only: the manifest has no title 'tow' (did you mean two?)\n"
    )
