"""`retalk.dub`, `retalk.run` and `retalk.plan` as a program calls them: with paths, in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import retalk
from operators.media.probe import probe_video
from tests.pipelines.conftest import engine_config, profile_config


@pytest.fixture
def options() -> dict[str, Any]:
    return {"engine": engine_config(), "profile": profile_config(1), "runner": "local"}


def test_dub_takes_paths_and_the_titles_options(
    footage: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    output = tmp_path / "out.mp4"
    report = retalk.dub(
        footage / "a.mp4",
        footage / "short.wav",
        output,
        length="trim",
        audio="add",
        language="deu",
        **options,
    )
    assert isinstance(report, retalk.Report)
    assert (report.failed, report.exit_code) == ([], 0)
    assert (report.records[0]["output"], report.records[0]["language"], report.records[0]["frames"]) == (
        str(output),
        "deu",
        12,
    )
    assert probe_video(str(output)).n_frames == 12
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"], "the run directory went with the work"


def test_dub_keeps_the_work_of_a_failure_only_where_there_is_some(
    footage: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    too_small = {"limits": {"max_megapixels": 0.001}}
    report = retalk.dub(
        footage / "a.mp4", footage / "short.wav", tmp_path / "out.mp4", **too_small, **options
    )
    assert report.exit_code == 3
    assert report.failed[0]["error"]
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_media_is_wrong_usage(
    footage: Path, tmp_path: Path, options: dict[str, Any]
) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    with pytest.raises(retalk.UsageError, match=r"the video: .*broken\.mp4: not a media file"):
        retalk.dub(tmp_path / "broken.mp4", footage / "short.wav", tmp_path / "out.mp4", **options)
    assert [path.name for path in tmp_path.iterdir()] == ["broken.mp4"]


def test_run_and_plan_take_rows_with_paths(footage: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    dubs = [{"language": "deu", "speech": footage / "exact.wav", "output": Path("a.de.mp4")}]
    rows = [{"id": "a", "video": footage / "a.mp4", "dubs": dubs}]
    asked = {name: options[name] for name in ("engine",)}
    before = retalk.plan(rows, run_dir=tmp_path, profiles=[options["profile"]], **asked)
    assert [(title["title"], title["state"], title["frames"]) for title in before.titles] == [
        ("a", "run", 24)
    ]
    assert (before.problems, before.work["dubs"]) == ([], 1)
    report = retalk.run(rows, run_dir=tmp_path, **options)
    assert report.failed == []
    assert (tmp_path / "a.de.mp4").is_file()
    after = retalk.plan(rows, run_dir=tmp_path, profiles=[options["profile"]], **asked)
    assert [title["state"] for title in after.titles] == ["done"]


def test_wrong_usage_is_one_kind_of_error(footage: Path, tmp_path: Path) -> None:
    with pytest.raises(retalk.ConfigError, match="no-such-engine"):
        retalk.dub(footage / "a.mp4", footage / "short.wav", tmp_path / "out.mp4", engine="no-such-engine")
    with pytest.raises(retalk.UsageError, match=r"none\.jsonl"):
        retalk.run(tmp_path / "none.jsonl", run_dir=tmp_path / "out", engine=engine_config())
    speakers = [{"face": "left", "speech": footage / "short.wav"}]
    with pytest.raises(retalk.UsageError, match="face: goes with one speech"):
        retalk.dub(footage / "a.mp4", None, tmp_path / "out.mp4", speakers=speakers, face="right")
    nowhere, silent = footage / "nowhere.wav", footage / "b.mp4"
    for mix, told in (
        (nowhere, rf"^the mix: {nowhere}: no such file"),
        (silent, "^the mix: .*no audio stream"),
    ):
        with pytest.raises(retalk.UsageError, match=told):
            retalk.dub(footage / "a.mp4", None, tmp_path / "out.mp4", speakers=speakers, mix=mix)
    with pytest.raises(TypeError):
        retalk.dub(footage / "a.mp4", footage / "short.wav", tmp_path / "out.mp4", no_such_option=1)
