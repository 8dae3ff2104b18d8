"""Whole runs: Ray's output equals the plain loop's byte for byte; workers that die, rows that kill, resume,
bad titles, several dubs.
"""

from __future__ import annotations

import errno
import hashlib
import json
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow.parquet as pq
import pytest

from operators.media.audio import load_audio
from operators.media.probe import probe_video
from operators.media.reader import read_frames
from pipelines.engine.profile_parts import PoolConfig
from pipelines.engine.resolve import resolve_engine
from pipelines.errors import PreflightError, UsageError
from pipelines.execution import local_loop as local
from pipelines.runner import Report, run
from pipelines.state.lock import LockedError, RunLock
from pipelines.state.ownership import run_metadata
from pipelines.state.run_directory import Record, RunDirectory
from tests.pipelines.conftest import STAGES, engine_config, make_speech, make_video, profile_config
from tests.pipelines.planning.test_planner import bad_titles
from tests.signatures import without_signature


def catalogue(footage: Path) -> list[dict[str, Any]]:
    """Titles of all kinds: plain, extended, VFR, one frame, several dubs."""
    files = {
        name: str(footage / name)
        for name in ("a.mp4", "b.mp4", "one.mp4", "short.wav", "exact.wav", "long.wav")
    }
    return [
        {"id": "plain", "video": files["a.mp4"], "speech": files["exact.wav"], "output": "plain.mp4"},
        {
            "id": "longer",
            "video": files["a.mp4"],
            "speech": files["long.wav"],
            "output": "longer.mkv",
            "length": "pingpong",
            "audio": "add",
        },
        {
            "id": "vfr",
            "video": files["b.mp4"],
            "speech": files["long.wav"],
            "output": "vfr.mov",
            "length": "loop",
        },
        {
            "id": "still",
            "video": files["one.mp4"],
            "speech": files["short.wav"],
            "output": "still.mp4",
            "length": "freeze",
        },
        {
            "id": "two/dubs",
            "video": files["a.mp4"],
            "dubs": [
                {"language": "deu", "speech": files["short.wav"], "output": "deu.mp4", "length": "trim"},
                {"language": "fra", "speech": files["exact.wav"], "output": "fra.mp4", "level.gain": 0.3},
            ],
        },
    ]


OUTPUTS = ["plain.mp4", "longer.mkv", "vfr.mov", "still.mp4", "deu.mp4", "fra.mp4"]


def digests(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(without_signature(path)).hexdigest()
        for path in folder.iterdir()
        if path.suffix in (".mp4", ".mkv", ".mov")
    }


def go(rows: Any, folder: Path, *between: str, ray: bool = False, pools: int = 2, **options: Any) -> Report:
    engine = engine_config(*between, options=options.pop("stage_options", None))
    return run(
        rows,
        run_dir=str(folder),
        engine=engine,
        profile=profile_config(pools, options.pop("frames", 7)),
        runner="ray" if ray else "local",
        # The id of a mark depends on the files that a dub is made of: copies elsewhere have another one.
        watermark={"mode": "off"},
        **options,
    )


@pytest.fixture(scope="module")
def calm(footage: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    """The catalogue by the plain loop."""
    folder = tmp_path_factory.mktemp("calm")
    return folder, go(catalogue(footage), folder, keep_segments=True)


def test_plain_loop_makes_every_output(calm: tuple[Path, Report], footage: Path) -> None:
    folder, report = calm
    assert [record["error"] for record in report.records] == [""] * 6
    assert (report.exit_code, report.reused) == (0, 0)
    assert sorted(digests(folder)) == sorted(OUTPUTS)
    source, result = (
        list(read_frames(str(path), 0, 24)) for path in (footage / "a.mp4", folder / "plain.mp4")
    )
    assert [f.pts for f in result] == [f.pts for f in source]
    corner = [float(f.luma()[:12, :12].mean()) for f in result]
    assert np.std(corner) > 10, "the stage painted its level"
    for before, after in zip(source, result):
        assert np.abs(before.luma()[24:].astype(int) - after.luma()[24:]).mean() < 6, (
            "and left the rest alone"
        )
    still = probe_video(str(folder / "still.mp4"))
    assert still.n_frames == pytest.approx(12, abs=1)
    assert float(probe_video(str(folder / "longer.mkv")).duration) == pytest.approx(3.3, abs=0.1)
    assert float(probe_video(str(folder / "deu.mp4")).duration) == pytest.approx(1.0, abs=0.1)
    assert np.abs(load_audio(str(folder / "vfr.mov"))).max() > 0.2


def test_the_ledger_says_what_happened(calm: tuple[Path, Report]) -> None:
    folder, report = calm
    lines = [json.loads(line) for line in (folder / "ledger.jsonl").read_text().splitlines()]
    assert lines == pq.read_table(folder / "ledger.parquet").to_pylist()
    assert [(line["title"], line["dub"], line["state"]) for line in lines] == [
        ("longer", "dub", "done"),
        ("plain", "dub", "done"),
        ("still", "dub", "done"),
        ("two/dubs", "deu", "done"),
        ("two/dubs", "fra", "done"),
        ("vfr", "dub", "done"),
    ]
    plain = lines[1]
    assert (plain["frames"], plain["segments"], plain["reused"], plain["engine"]) == (24, 4, 0, "test")
    assert plain["size"] == (folder / "plain.mp4").stat().st_size
    assert set(json.loads(plain["stage_seconds"])) == {"brightness", "level", "paint", "assemble"}
    output_segments = pq.read_table(folder / "plan.parquet").to_pylist()
    assert (
        sum(
            output_segment["frames"]
            for output_segment in output_segments
            if output_segment["title"] == "plain"
        )
        == 24
    )
    assert len(output_segments) == report.computed


def segments(root: Path) -> dict[str, bytes]:
    """Encoded segments by name without the content key."""
    return {path.name.rsplit(".", 2)[0]: path.read_bytes() for path in (root / "segments").rglob("*.mp4")}


def test_ray_equals_the_plain_loop_byte_for_byte(
    calm: tuple[Path, Report], footage: Path, tmp_path: Path, ray_session: Any
) -> None:
    folder, before = calm
    report = go(catalogue(footage), tmp_path, ray=True, pools=1, keep_segments=True)
    assert [record["error"] for record in report.records] == [""] * 6
    assert digests(tmp_path) == digests(folder)
    assert segments(tmp_path) == segments(folder)
    assert report.computed == before.computed


def test_ray_with_other_pools_and_a_worker_that_dies_once(
    calm: tuple[Path, Report], footage: Path, tmp_path: Path, ray_session: Any
) -> None:
    folder, before = calm
    options = {"MisbehaveDub": {"kill": "longer", "segment": 1, "times": 1, "folder": str(tmp_path)}}
    report = go(
        catalogue(footage),
        tmp_path / "run",
        "MisbehaveDub",
        ray=True,
        pools=3,
        stage_options=options,
        keep_segments=True,
    )
    assert len(list(tmp_path.glob("mark-*"))) == 1, "it died"
    assert [record["error"] for record in report.records] == [""] * 6
    assert digests(tmp_path / "run") == digests(folder)
    assert segments(tmp_path / "run") == segments(folder)
    assert report.computed == before.computed


def test_results_do_not_depend_on_the_segments_length(
    calm: tuple[Path, Report], footage: Path, tmp_path: Path
) -> None:
    """The levels that the stages computed, before encoding, are the same in segments of 7 and of 100 frames:
    the halo suffices.
    """
    folder, _ = calm
    go(catalogue(footage), tmp_path, frames=100)
    for name in ("plain.mp4", "longer.mkv", "vfr.mov"):
        one, other = (
            [
                float(f.luma()[2:10, 2:10].mean())
                for f in read_frames(str(root / name), 0, probe_video(str(root / name)).n_frames)
            ]
            for root in (folder, tmp_path)
        )
        assert len(one) == len(other)
        assert np.abs(np.subtract(one, other)).max() < 4


def test_segments_go_when_a_title_is_assembled(footage: Path, tmp_path: Path) -> None:
    go(catalogue(footage)[:1], tmp_path)
    assert not (tmp_path / "segments").exists() or not any((tmp_path / "segments").iterdir())
    assert not (tmp_path / "receipts").exists() or not any((tmp_path / "receipts").iterdir())


# --- nothing is lost ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("ray", [False, True])
def test_resume_computes_only_what_is_missing(
    calm: tuple[Path, Report], footage: Path, tmp_path: Path, ray_session: Any, ray: bool
) -> None:
    """A segment fails; the rest is committed. When the cause is gone, only what is missing is computed, to
    the bytes of a calm run.
    """
    log, run_dir = tmp_path / "log", tmp_path / "run"
    stage_options = {
        "MisbehaveDub": {"fail": "plain", "segment": 2, "times": 1, "folder": str(tmp_path)},
        "Paint": {"log": str(log)},
    }

    def again() -> tuple[Report, int]:
        report = go(catalogue(footage)[:1], run_dir, "MisbehaveDub", ray=ray, stage_options=stage_options)
        return report, len(log.read_text().split())

    first, computed = again()
    assert "told to fail at frame 12" in first.records[0]["error"]
    assert "Traceback" in first.records[0]["traceback"]
    assert (first.exit_code, first.computed, first.reused, computed) == (3, 3, 0, 3)
    damaged = sorted((run_dir / "segments").rglob("*.mp4"))[0]
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    second, computed = again()
    assert (second.exit_code, second.computed, second.reused, computed) == (0, 2, 2, 5), (
        "the failed one and the damaged one"
    )
    assert digests(run_dir) == {"plain.mp4": digests(calm[0])["plain.mp4"]}


def test_interrupted_between_segments_and_assembly(
    calm: tuple[Path, Report], footage: Path, tmp_path: Path
) -> None:
    """All segments are committed, the output is not there: nothing is computed again, the bytes are those of
    a calm run.
    """
    rows = catalogue(footage)[:2]
    go(rows, tmp_path, keep_segments=True)
    for path in [*tmp_path.glob("*.m*"), *(tmp_path / "records").rglob("*.json")]:
        path.unlink()
    report = go(rows, tmp_path)
    assert (report.computed, report.exit_code) == (0, 0)
    assert report.reused > 8
    assert digests(tmp_path) == {name: digests(calm[0])[name] for name in ("plain.mp4", "longer.mkv")}


def test_what_is_done_is_left_alone_until_something_changes(footage: Path, tmp_path: Path) -> None:
    video, speech, run_dir = tmp_path / "v.mp4", tmp_path / "s.wav", tmp_path / "run"
    video.write_bytes((footage / "a.mp4").read_bytes())
    make_speech(speech, 2.0)
    row = {"id": "t", "video": str(video), "speech": str(speech), "output": "out.mp4"}
    computed = [go([row], run_dir).computed]
    stamp = (run_dir / "out.mp4").stat().st_mtime_ns
    computed.append(go([row], run_dir).computed)
    assert (run_dir / "out.mp4").stat().st_mtime_ns == stamp
    make_speech(speech, 2.0, 0.2)
    computed.append(go([row], run_dir).computed)
    computed.append(go([{**row, "level.gain": 2.0}], run_dir).computed)
    computed.append(go([{**row, "level.gain": 2.0, "output": "other.mp4"}], run_dir).computed)
    (run_dir / "other.mp4").unlink()
    computed.append(go([{**row, "level.gain": 2.0, "output": "other.mp4"}], run_dir).computed)
    make_video(video, scenes=1)
    computed.append(go([{**row, "level.gain": 2.0, "output": "other.mp4"}], run_dir).computed)
    assert computed == [4, 0, 4, 4, 4, 4, 4]


def test_a_hang_ends_by_the_watchdog_and_the_rest_is_kept(
    footage: Path, tmp_path: Path, ray_session: Any
) -> None:
    """The third segment never ends. The run does, says so, and a later one takes up the two segments before
    it.
    """
    engine = engine_config(options={"Paint": {"wait": str(tmp_path / "never")}})
    rows, folder = catalogue(footage)[:1], tmp_path
    # Where a machine has so much to do that not even the first two are done in that time, a longer one.
    for seconds in (30, 120, 300):
        folder = tmp_path / f"run{seconds}"
        profile = profile_config(1).model_copy(update={"watchdog_seconds": seconds})
        report = run(rows, run_dir=str(folder), engine=engine, profile=profile, runner="ray")
        assert report.exit_code == 3
        assert "the run stopped before this title was done" in report.records[0]["error"]
        assert f"no progress for {seconds} s, watchdog_seconds of profile test" in report.records[0]["error"]
        if len(list((folder / "receipts").rglob("*.json"))) >= 2:
            break
    (tmp_path / "never").touch()
    again = run(rows, run_dir=str(folder), engine=engine, profile=profile_config(1), runner="local")
    assert (again.exit_code, again.reused + again.computed) == (0, 4)
    assert again.reused >= 2, "the hanging worker, let go, may have committed its segment as well"


def test_second_run_in_the_same_directory_is_refused(footage: Path, tmp_path: Path) -> None:
    with RunLock(str(tmp_path)), pytest.raises(LockedError, match="another run is at work here"):
        go(catalogue(footage)[:1], tmp_path)
    assert not (tmp_path / "plain.mp4").exists()


# --- what cannot be dubbed ----------------------------------------------------------------------------------


def test_bad_titles_are_rows_of_the_ledger_and_the_others_finish(footage: Path, tmp_path: Path) -> None:
    bad = bad_titles(tmp_path, footage)
    rows = [
        {"id": name, "video": video, "speech": speech, "output": f"{name}.mp4"}
        for name, (video, speech, _) in bad.items()
    ]
    good = catalogue(footage)[:1]
    report = go([rows[0], *good, *rows[1:], {"id": "incomplete"}], tmp_path / "run")
    assert report.exit_code == 3
    errors = {record["title"]: record["error"] for record in report.records}
    assert errors.pop("plain") == ""
    assert errors.pop("incomplete") == f"row {len(rows) + 2}: video: is missing"
    assert {name: bad[name][2] in error for name, error in errors.items()} == dict.fromkeys(bad, True)
    assert list(digests(tmp_path / "run")) == ["plain.mp4"]
    assert len((tmp_path / "run" / "ledger.jsonl").read_text().splitlines()) == len(rows) + 2


def test_a_bad_night_on_ray(
    calm: tuple[Path, Report], footage: Path, tmp_path: Path, ray_session: Any
) -> None:
    """At once: files that cannot be dubbed, a segment that always kills its worker, one that fails; the
    others finish as on a calm day.
    """
    bad = bad_titles(tmp_path, footage)
    rows: list[dict[str, Any]] = [
        {"id": n, "video": v, "speech": s, "output": f"{n}.mp4"} for n, (v, s, _) in bad.items()
    ]
    options = {
        "MisbehaveDub": {"kill": "two/dubs", "segment": 0, "dub": "deu", "folder": str(tmp_path)},
        "Misbehave": {"fail": "longer", "segment": 3},
    }
    report = go(
        [*catalogue(footage), *rows, {"id": "incomplete"}],
        tmp_path / "run",
        "Misbehave",
        "MisbehaveDub",
        ray=True,
        pools=3,
        stage_options=options,
    )
    assert len(list(tmp_path.glob("mark-*"))) == 3, "it has killed three workers"
    errors = {(record["title"], record["dub"]): record["error"] for record in report.records}
    assert "the worker died 3 times in a row on this segment (frames 0 to 6" in errors.pop(
        ("two/dubs", "deu")
    )
    assert "told to fail at frame 18" in errors.pop(("longer", "dub"))
    assert "video: is missing" in errors.pop(("incomplete", "dub"))
    for name, (_, _, message) in bad.items():
        assert message in errors.pop((name, "dub"))
    assert errors == dict.fromkeys(
        [("plain", "dub"), ("still", "dub"), ("two/dubs", "fra"), ("vfr", "dub")], ""
    )
    assert report.exit_code == 3
    before = digests(calm[0])
    assert digests(tmp_path / "run") == {
        name: before[name] for name in ("plain.mp4", "still.mp4", "fra.mp4", "vfr.mov")
    }


def test_a_stage_that_cannot_be_set_up_ends_the_run_and_says_why(
    footage: Path, tmp_path: Path, ray_session: Any
) -> None:
    engine = engine_config()
    stages = [
        *engine.stages[:1],
        engine.stages[0].model_copy(update={"stage": f"{STAGES}:NeedsWeights"}),
        *engine.stages[1:],
    ]
    engine = engine.model_copy(update={"stages": stages})
    report = run(
        catalogue(footage)[:1], run_dir=str(tmp_path), engine=engine, profile=profile_config(2), runner="ray"
    )
    assert report.exit_code == 3
    assert "weights.pth is missing" in report.records[0]["error"]
    assert "run again" in report.records[0]["error"]


def test_memory_urls_work_without_ray_and_are_refused_with_it(
    footage: Path, tmp_path: Path, ray_session: Any
) -> None:
    rows = [{**catalogue(footage)[0], "output": "memory://memo/out.mp4"}]
    engine, profile = engine_config(), profile_config(2)
    report = run(rows, run_dir="memory://memo/run", engine=engine, profile=profile, runner="local")
    assert report.records[0]["error"] == ""
    with fsspec.open("memory://memo/out.mp4") as file:
        assert len(file.read()) == report.records[0]["size"]
    with pytest.raises(PreflightError, match="memory:// is seen by one process only"):
        run(rows, run_dir="memory://memo/run", engine=engine, profile=profile, runner="ray")


def test_a_profile_that_would_crawl_is_refused(footage: Path, tmp_path: Path, ray_session: Any) -> None:
    pools = [PoolConfig(name="all", size=64, num_cpus=1)]
    profile = profile_config(1).model_copy(update={"name": "many", "pools": pools})
    with pytest.raises(
        PreflightError, match=r"profile many holds at least \d+(\.\d+)? CPUs at once, Ray has"
    ):
        run(catalogue(footage)[:1], run_dir=str(tmp_path), engine=engine_config(), profile=profile)
    assert not list(tmp_path.glob("*.mp4"))


def test_the_networks_engine_is_refused_clearly(
    footage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETALK_HOME", str(tmp_path / "empty"))
    with pytest.raises(UsageError, match="use --engine exemplar"):
        run(catalogue(footage)[:1], run_dir=str(tmp_path / "run"), engine="retalk")
    with pytest.raises(UsageError, match="no titles"):
        run([], run_dir=str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()
    assert resolve_engine("auto").name == "exemplar"


def test_a_record_that_cannot_be_written_is_said_and_the_segments_stay(
    calm: tuple[Path, Report], footage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full just when a finished title is to be recorded: the output stands, and the next run
    assembles it again, no more.
    """

    def full(self: RunDirectory, record: Record) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, "write_record", full)
        report = go(
            [*catalogue(footage)[:1], {"id": "bad", "video": "absent.mp4", "speech": "absent.wav"}], tmp_path
        )
    states = {record["title"]: (record["state"], record["error"]) for record in report.records}
    assert states["plain"] == ("done", "")
    assert "No space left on device" in report.records[1]["notes"][-1]
    assert report.exit_code == 3
    assert "absent.mp4: no such file" in states["bad"][1]
    again = go(catalogue(footage)[:1], tmp_path)
    assert (again.exit_code, again.computed, again.reused) == (0, 0, 4)
    assert digests(tmp_path) == {"plain.mp4": digests(calm[0])["plain.mp4"]}


@pytest.mark.parametrize("ray", [False, True])
def test_a_place_where_no_record_can_be_written_is_reported(
    footage: Path, tmp_path: Path, ray_session: Any, ray: bool
) -> None:
    """A file lies where the folder of a title's records belongs. Its output is made; the run does not end
    well.
    """
    (tmp_path / "run.json").write_text(json.dumps(run_metadata()))
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "plain").touch()
    report = go(catalogue(footage)[:1], tmp_path, ray=ray)
    assert [(record["state"], record["error"]) for record in report.records] == [("done", "")]
    assert list(report.unwritten) == [("plain", "dub")]
    assert report.exit_code == 3
    assert report.noticed[-1].startswith(f"1 record could not be written in {tmp_path} (plain: ")
    assert "unwritten" not in report.records[0]
    (tmp_path / "records" / "plain").unlink()
    again = go(catalogue(footage)[:1], tmp_path)
    assert (again.exit_code, again.computed, again.reused) == (0, 0, 4)


def test_a_ledger_that_cannot_be_written_ends_in_words(footage: Path, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps(run_metadata()))
    (tmp_path / "ledger.jsonl").mkdir()
    with pytest.raises(
        UsageError,
        match=r"the ledger cannot be written \(Is a directory\); 1 done, 1 failed\nbad: .*absent.mp4: no such file",
    ):
        go([*catalogue(footage)[:1], {"id": "bad", "video": "absent.mp4", "speech": "absent.wav"}], tmp_path)
    assert (tmp_path / "plain.mp4").exists()


def test_a_title_whose_rows_get_lost_is_failed_not_forgotten(
    footage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = local.run_local

    def lossy(titles: Any, plan: Any, groups: Any, take: Any, coordinator: Any) -> None:
        real(titles, plan, groups, lambda row: None if row["segment"] == 2 else take(row), coordinator)

    monkeypatch.setattr("pipelines.execution.local_loop.run_local", lossy)
    report = go(catalogue(footage)[:1], tmp_path)
    assert "segments of this title were lost in the graph; run again" in report.records[0]["error"]
    monkeypatch.undo()
    again = go(catalogue(footage)[:1], tmp_path)
    assert (again.exit_code, again.computed) == (0, 0), "it had been computed"
