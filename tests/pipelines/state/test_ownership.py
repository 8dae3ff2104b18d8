"""Somebody else's directory is left alone; a run directory is known even when parts of it are damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from operators.storage.files import join
from pipelines.state.lock import RunLock
from pipelines.state.ownership import (
    FORMAT,
    NotARunDirectoryError,
    check_owner,
    read_run_metadata,
    run_metadata,
)
from pipelines.state.run_directory import RunDirectory, write_text


@pytest.fixture(params=["local", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "run") if request.param == "local" else f"memory://own-{tmp_path.name}"


def test_a_new_directory_and_one_with_other_files_are_free(url: str) -> None:
    assert check_owner(url) == []
    write_text(join(url, "holiday.mp4"), "x")
    assert check_owner(url) == [f"{url}: holds 1 file or folder that is no run's; nothing of that is touched"]
    write_text(join(url, "more/a.txt"), "x")
    assert "holds 2 files and folders that are no run's" in check_owner(url)[0]
    for known in ("analysis/v/x.arrow", "forecast.json", "report/report.md", ".hidden", "outputs/ep1.mp4"):
        write_text(join(url, known), "x")
    assert "holds 2 files" in check_owner(url, ["outputs/ep1.mp4", "/elsewhere/b.mp4"])[0]
    write_text(join(url, "run.json"), json.dumps(run_metadata()))
    assert check_owner(url) == [], "said once"


@pytest.mark.parametrize(
    "name", ["ledger.jsonl", "lock.json", "run.json", "segments/a.txt", "plans/x.json", "records/t/dub.json"]
)
def test_names_that_somebody_else_uses_are_refused(url: str, name: str) -> None:
    write_text(join(url, name), '{"lockfileVersion": 3}')
    with pytest.raises(
        NotARunDirectoryError,
        match=rf"holds {name.split('/', maxsplit=1)[0]} that no run of retalk has written.*choose another directory",
    ):
        check_owner(url)


def test_a_run_is_known_by_its_file(url: str) -> None:
    write_text(join(url, "run.json"), json.dumps(run_metadata(titles=3)))
    write_text(join(url, "ledger.jsonl"), "garbage")
    assert check_owner(url) == []
    assert (read_run_metadata(url) or {})["titles"] == 3
    write_text(join(url, "run.json"), json.dumps({**run_metadata(), "retalk": FORMAT + 1}))
    with pytest.raises(NotARunDirectoryError, match="later version"):
        check_owner(url)


def test_with_a_damaged_file_it_is_known_by_what_else_it_holds(url: str) -> None:
    RunDirectory(url).write_record({"title": "t", "dub": "d", "state": "done"})
    (missing,) = check_owner(url)
    assert "run.json is missing" in missing
    write_text(join(url, "run.json"), "{")
    assert read_run_metadata(url) is None
    (damaged,) = check_owner(url)
    assert "run.json is damaged" in damaged


def test_a_run_that_is_just_starting_is_known_by_its_lock(tmp_path: Path) -> None:
    with RunLock(str(tmp_path)):
        assert check_owner(str(tmp_path)) != []
