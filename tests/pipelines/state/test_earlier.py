"""Earlier versions of dubs that are computed again: what is kept, where, and which one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipelines.state.earlier import earlier_version, keep_earlier
from pipelines.state.run_directory import RunDirectory
from tests.pipelines.review.records import record


def finished(folder: Path, content: bytes, key: str = "k1", title: str = "a/b") -> dict[str, Any]:
    """A dub whose output has that content, replaced as assembly does it."""
    output = folder / "out" / "a.mp4"
    output.parent.mkdir(exist_ok=True, parents=True)
    (folder / "new").write_bytes(content)
    (folder / "new").rename(output)
    return record(title, output=str(output), key=key, finished=f"at {key}")


def test_the_last_version_is_kept_beside_the_new_one(tmp_path: Path) -> None:
    run = RunDirectory(str(tmp_path / "run"))
    first = finished(tmp_path, b"one")
    assert earlier_version(run, first) is None
    keep_earlier(run, first)
    second = finished(tmp_path, b"two", "k2")
    kept = earlier_version(run, second)
    assert kept is not None
    assert (kept["finished"], Path(kept["kept"]).read_bytes()) == ("at k1", b"one")
    keep_earlier(run, second)
    third = finished(tmp_path, b"three", "k3")
    kept = earlier_version(run, third)
    assert kept is not None
    assert (kept["finished"], Path(kept["kept"]).read_bytes()) == ("at k2", b"two")
    assert Path(third["output"]).read_bytes() == b"three"
    assert earlier_version(run, record("a", dub="b")) is None, "another title's, in a folder of its own"


@pytest.mark.parametrize("changes", [{"state": "failed"}, {"key": ""}, {"output": "/nowhere/a.mp4"}])
def test_nothing_is_kept_of_what_is_no_finished_output(tmp_path: Path, changes: dict[str, Any]) -> None:
    run = RunDirectory(str(tmp_path / "run"))
    one = {**finished(tmp_path, b"one"), **changes}
    keep_earlier(run, one)
    assert earlier_version(run, one) is None


def test_a_run_that_was_moved_finds_it(tmp_path: Path) -> None:
    one = finished(tmp_path, b"one")
    keep_earlier(RunDirectory(str(tmp_path / "run")), one)
    shutil.move(str(tmp_path / "run"), str(tmp_path / "moved"))
    kept = earlier_version(RunDirectory(str(tmp_path / "moved")), one)
    assert kept is not None
    assert kept["kept"].startswith(str(tmp_path / "moved"))
    about = next((tmp_path / "moved" / "earlier").rglob("*.json"))
    about.write_text(json.dumps({**json.loads(about.read_text()), "title": "other"}))
    assert earlier_version(RunDirectory(str(tmp_path / "moved")), one) is None


def test_other_storages(tmp_path: Path) -> None:
    """From this machine to a store, and inside a store."""
    run = RunDirectory("memory://earlier-test")
    one = finished(tmp_path, b"one")
    keep_earlier(run, one)
    kept = earlier_version(run, one)
    assert kept is not None
    assert run.url in kept["kept"]
    inside = {**one, "title": "inside", "output": kept["kept"]}
    keep_earlier(run, inside)
    again = earlier_version(run, inside)
    assert again is not None
    assert again["kept"] != kept["kept"]
