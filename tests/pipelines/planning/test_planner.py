"""The planner: segments inside shots with clamped halos, output segments by length rule, content keys,
resume, and every bad title an error.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import resource
import shutil
import signal
from collections.abc import Sequence
from multiprocessing.managers import BaseManager
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from operators.media.probe import probe_video
from operators.segment import PLAN, Segment
from pipelines.engine.config import EngineConfig, SegmentRule
from pipelines.engine.rows import PLAN_ROW, Row, from_table, to_table
from pipelines.engine.specs import PlanSpec
from pipelines.manifest.titles import LENGTH_RULES, Dub, Title
from pipelines.planning.fanout import fan_out
from pipelines.planning.planner import Planner
from pipelines.planning.plans import DubTask, TitlePlan, decode
from pipelines.planning.segment_rows import PLANNED
from pipelines.planning.segments import cut_segments, halo_range
from pipelines.state.coordinator import Coordinator, WorkKey
from pipelines.state.run_directory import read_checksummed, write_checksummed
from tests.pipelines.conftest import engine_config, make_speech, make_video


def title_of(
    footage: Path,
    tmp_path: Path,
    video: str = "a.mp4",
    speech: str = "exact.wav",
    length: str = "keep",
    **fields: Any,
) -> Title:
    dub = Dub("dub", str(footage / speech), str(tmp_path / "out.mp4"), length=length)  # type: ignore[arg-type]
    return dataclasses.replace(Title("t", str(footage / video), (dub,)), **fields)


def plan(
    title: Title, run: Path, config: EngineConfig | None = None, segment_frames: int = 7
) -> tuple[TitlePlan, list[Row]]:
    """The title's plan and its rows, as they come out of a table."""
    planner = Planner(PlanSpec(config or engine_config(), str(run), segment_frames), Coordinator())
    first, *rows = (from_table(to_table(row, PLANNED), PLANNED) for row in planner.plan(title))
    assert first["kind"] == PLAN_ROW
    made = decode(TitlePlan, first["meta"])
    assert made.title == title
    assert {dub.error for dub in made.dubs if dub.state == "failed"} >= ({first["error"]} - {""})
    return made, rows


def test_rows_are_segments_inside_shots(footage: Path, tmp_path: Path) -> None:
    made, rows = plan(title_of(footage, tmp_path), tmp_path)
    info = probe_video(str(footage / "a.mp4"))
    assert [(r["start"], r["stop"]) for r in rows] == [(0, 6), (6, 12), (12, 18), (18, 24)]
    assert [(r["halo_start"], r["halo_stop"]) for r in rows] == [(0, 8), (4, 12), (12, 20), (16, 24)], (
        "two frames, inside the shot"
    )
    assert {(r["shot_start"], r["shot_stop"]) for r in rows} == {(0, 12), (12, 24)}
    for row in rows:
        segment = Segment(row)
        assert set(PLAN.names) <= row.keys()
        assert segment.pts.tolist() == info.pts[slice(*segment.frames)].tolist()
        assert segment.time_base == info.time_base
        assert (segment.size, segment.n_frames, segment.anchor) == ((64, 48), 24, None)
    assert (made.frames, made.shots, made.segments, made.traceback) == (24, 2, 4, "")
    (dub,) = made.dubs
    assert (dub.state, dub.error, dub.frames, len(dub.output_segments), dub.notes) == ("run", "", 24, 4, [])


def test_segments_by_time_are_even_and_follow_the_clock(tmp_path: Path) -> None:
    """Ten dense seconds after ten sparse ones: cut in the middle of the time, not of the frames."""
    times = [k * 1200 for k in range(10)] + [12000 + 100 * k for k in range(120)]
    info = probe_video(str(make_video(tmp_path / "v.mp4", frames=130, times=times)))
    assert cut_segments([(0, 130)], info, SegmentRule(kind="shot", max_seconds=12), 50) == (
        [(0, 10), (10, 130)],
        [0, 0],
    )
    assert cut_segments([(0, 130)], info, SegmentRule(kind="shot", max_seconds=60), 50) == ([(0, 130)], [0])
    bounds, shot_of = cut_segments([(0, 4), (4, 130)], info, SegmentRule(kind="frames"), 50)
    assert (bounds, shot_of) == ([(0, 4), (4, 46), (46, 88), (88, 130)], [0, 1, 1, 1])


def test_halo_is_clamped_to_the_shot() -> None:
    assert halo_range((10, 20), (0, 100), (13, 18)) == (0, 38)
    assert halo_range((10, 20), (8, 25), (13, 18)) == (8, 25)


@pytest.mark.parametrize("rule", LENGTH_RULES)
@pytest.mark.parametrize("speech", ["short.wav", "exact.wav", "long.wav"])
@pytest.mark.parametrize("video", ["a.mp4", "b.mp4", "one.mp4"])
def test_output_segments_make_up_the_output(
    footage: Path, tmp_path: Path, video: str, speech: str, rule: str
) -> None:
    made, rows = plan(title_of(footage, tmp_path, video, speech, rule), tmp_path)
    info = probe_video(str(footage / video))
    parts = sorted((part for row in rows for part in fan_out(row)), key=lambda part: part["out_start"])
    assert [part["out_start"] for part in parts] == np.cumsum([0, *(len(part["source"]) for part in parts)])[
        :-1
    ].tolist()
    assert sum(len(part["source"]) for part in parts) == made.dubs[0].frames
    assert len({part["target"] for part in parts}) == len(parts)
    pts = np.concatenate([part["out_pts"] for part in parts])
    assert pts[0] == info.pts[0]
    assert (np.diff(pts) > 0).all()
    for part in parts:
        assert part["start"] <= part["source"].min() <= part["source"].max() < part["stop"]
        assert part["out_pts"].dtype == part["source"].dtype == np.int64
    seconds = float((pts[-1] + info.last_duration - pts[0]) * info.time_base)
    spoken, own = {"short.wav": 1.0, "exact.wav": 2.0, "long.wav": 3.3}[speech], float(info.duration)
    expected = {"keep": own, "trim": min(own, spoken)}.get(rule, max(own, spoken))
    if video == "one.mp4":
        expected = spoken  # a picture is held
    assert seconds == pytest.approx(expected, abs=0.17)
    assert made.dubs[0].video_seconds == pytest.approx(seconds)


def test_what_is_cut_is_said(footage: Path, tmp_path: Path) -> None:
    notes = {
        name: plan(title_of(footage, tmp_path, speech=name), tmp_path)[0].dubs[0].notes
        for name in ("short.wav", "exact.wav", "long.wav")
    }
    assert notes["exact.wav"] == []
    assert "the speech is 1.3 s longer than the video and is cut" in notes["long.wav"][0]
    assert "the speech ends 1.0 s before the video" in notes["short.wav"][0]


def test_only_the_ranges_are_asked_for(footage: Path, tmp_path: Path) -> None:
    """Frames 3 to 7 of the first shot (0 to 12), in segments of 7 frames."""
    title = title_of(footage, tmp_path)
    dub = dataclasses.replace(title.dubs[0], ranges=(("3f", "8f"),))
    _, rows = plan(dataclasses.replace(title, dubs=(dub,)), tmp_path / "run")
    parts = sorted((part for row in rows for part in fan_out(row)), key=lambda part: part["out_start"])
    gate = np.concatenate([part["gate"] for part in parts])
    assert np.flatnonzero(gate).tolist() == [3, 4, 5, 6, 7]
    assert gate.dtype == np.float32
    behind = dataclasses.replace(dub, ranges=(("9", "12"),))
    failed, _ = plan(dataclasses.replace(title, dubs=(behind,)), tmp_path / "run")
    assert "ranges: 9-12 begins behind the end of the video" in failed.dubs[0].error


def names(made: TitlePlan) -> list[str]:
    return [one.which.name for dub in made.dubs for one in dub.output_segments]


def test_content_keys_follow_what_decides_the_content(footage: Path, tmp_path: Path) -> None:
    video, speech = tmp_path / "v.mp4", tmp_path / "s.wav"
    shutil.copy2(footage / "a.mp4", video)
    shutil.copy2(footage / "exact.wav", speech)
    base = title_of(tmp_path, tmp_path, "v.mp4", "s.wav")
    before = names(plan(base, tmp_path)[0])
    (dub,) = base.dubs

    def keys(title: Title, config: EngineConfig | None = None, frames: int = 7) -> list[str]:
        return names(plan(title, tmp_path, config, frames)[0])

    def with_dub(**fields: Any) -> Title:
        return dataclasses.replace(base, dubs=(dataclasses.replace(dub, **fields),))

    assert keys(base) == before
    assert keys(with_dub(output=str(tmp_path / "other.mkv"), audio="add", language="deu")) == before, (
        "only the assembly is another"
    )
    changed = [
        keys(base, engine_config(options={"Level": {"gain": 2.0}})),
        keys(dataclasses.replace(base, options={"level": {"gain": 2.0}})),
        keys(with_dub(options={"level": {"gain": 3.0}})),
        keys(base, frames=8),
        keys(dataclasses.replace(base, face="left")),
        keys(with_dub(ranges=(("0", "1"),))),
        keys(with_dub(exclude=(("0", "1"),))),
    ]
    make_speech(speech, 2.0, 0.2)
    changed.append(keys(base))
    make_video(video, scenes=3)
    changed.append(keys(base))
    assert changed[0][0] == changed[1][0], "an option set for the engine and for the title is the same"
    assert not any(set(before) & set(other) for other in changed)
    assert len({tuple(other) for other in changed}) == len(changed) - 1


def test_adding_a_dub_leaves_the_others_keys(footage: Path, tmp_path: Path) -> None:
    base = title_of(footage, tmp_path)
    more = dataclasses.replace(
        base, dubs=(*base.dubs, Dub("fr", str(footage / "long.wav"), str(tmp_path / "fr.mp4")))
    )
    one, two = names(plan(base, tmp_path)[0]), names(plan(more, tmp_path)[0])
    assert two[: len(one)] == one
    assert len(two) == 2 * len(one)


def bad_titles(folder: Path, footage: Path) -> dict[str, tuple[str, str, str]]:
    """Name -> video, speech, a part of the error."""
    good, speech = str(footage / "a.mp4"), str(footage / "exact.wav")
    (folder / "zero.mp4").touch()
    (folder / "text.mp4").write_text("this is no video\n" * 100)
    (folder / "folder.mp4").mkdir()
    shutil.copy(footage / "exact.wav", folder / "sound.mp4")
    whole = (footage / "a.mp4").read_bytes()
    (folder / "truncated.mp4").write_bytes(whole[: len(whole) // 2])
    make_speech(folder / "silent.wav", 1.0, 0.0)
    (folder / "text.wav").write_text("hello")
    return {
        "missing": (str(folder / "nowhere.mp4"), speech, "nowhere.mp4: no such file"),
        "zero": (str(folder / "zero.mp4"), speech, "zero.mp4: the file is empty"),
        "text": (str(folder / "text.mp4"), speech, "text.mp4: not a media file"),
        "directory": (str(folder / "folder.mp4"), speech, "folder.mp4: is a directory"),
        "no video": (str(folder / "sound.mp4"), speech, "sound.mp4: no video stream"),
        "truncated": (str(folder / "truncated.mp4"), speech, "truncated.mp4: "),
        "no speech": (good, str(folder / "nowhere.wav"), "nowhere.wav: no such file"),
        "silent": (good, str(folder / "silent.wav"), "silent.wav: the audio is silent"),
        "unreadable speech": (good, str(folder / "text.wav"), "text.wav: not a media file"),
        "speech without sound": (good, str(footage / "b.mp4"), "b.mp4: no audio stream"),
    }


def test_bad_titles_are_errors(footage: Path, tmp_path: Path) -> None:
    for name, (video, speech, message) in bad_titles(tmp_path, footage).items():
        title = Title(name, video, (Dub("dub", speech, str(tmp_path / f"{name}.mp4")),))
        made, rows = plan(title, tmp_path / "run")
        (dub,) = made.dubs
        assert rows == [], name
        assert (dub.state, message in dub.error) == ("failed", True), (name, dub.error)


def test_one_bad_speech_leaves_the_other_dubs(footage: Path, tmp_path: Path) -> None:
    make_speech(tmp_path / "silent.wav", 1.0, 0.0)
    base = title_of(footage, tmp_path)
    more = dataclasses.replace(
        base, dubs=(Dub("xx", str(tmp_path / "silent.wav"), str(tmp_path / "x.mp4")), *base.dubs)
    )
    made, rows = plan(more, tmp_path)
    assert [dub.state for dub in made.dubs] == ["failed", "run"]
    assert len(rows) == 4
    assert all([task.dub for task in decode(list[DubTask], row["dubs"])] == ["dub"] for row in rows)


def test_a_picture_of_a_face_is_named_as_such(footage: Path, tmp_path: Path) -> None:
    (tmp_path / "who.jpg").write_text("no picture")
    made, _ = plan(title_of(footage, tmp_path, face=str(tmp_path / "who.jpg")), tmp_path)
    assert made.dubs[0].error.startswith(f"the picture of the face: {tmp_path / 'who.jpg'}: ")


def test_wrong_container_is_an_error(footage: Path, tmp_path: Path) -> None:
    base = title_of(footage, tmp_path)
    dubs: Sequence[Dub] = [dataclasses.replace(base.dubs[0], output="out.gif")]
    made, _ = plan(dataclasses.replace(base, dubs=tuple(dubs)), tmp_path)
    assert "out.gif: an output's name ends in .mp4, .m4v, .mkv, .mov" in made.dubs[0].error


def test_a_video_that_kills_its_planner_is_an_error(footage: Path, tmp_path: Path) -> None:
    coordinator = Coordinator()
    for _ in range(3):
        coordinator.begin(WorkKey(("plan",), "t"))
    (row,) = Planner(PlanSpec(engine_config(), str(tmp_path), 7), coordinator).plan(
        title_of(footage, tmp_path)
    )
    assert f"planning {footage / 'a.mp4'} killed its worker 3 times in a row" in row["error"]


class CoordinatorManager(BaseManager):
    """Serves a coordinator to other processes."""


CoordinatorManager.register("Coordinator", Coordinator)


def plan_and_die(coordinator: Any, title: Title, run: str) -> None:
    """Plan a title; the process ends as soon as a library reads its speech, as a fault in native code does it."""
    speech, demux = title.dubs[0].speech, av.open

    def deadly(source: Any, *arguments: Any, **options: Any) -> Any:
        if str(source).endswith(speech):
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            os.kill(os.getpid(), signal.SIGSEGV)
        return demux(source, *arguments, **options)

    av.open = deadly
    list(Planner(PlanSpec(engine_config(), run, 7), coordinator).plan(title))


def test_the_file_whose_reading_kills_the_planner_is_named(footage: Path, tmp_path: Path) -> None:
    title = title_of(footage, tmp_path)
    with CoordinatorManager(ctx=multiprocessing.get_context("spawn")) as manager:
        coordinator = manager.Coordinator()  # type: ignore[attr-defined]
        for _ in range(2):
            coordinator.begin(WorkKey(("plan",), "t"))
        dying = multiprocessing.get_context("spawn").Process(
            target=plan_and_die, args=(coordinator, title, str(tmp_path))
        )
        dying.start()
        dying.join()
        assert dying.exitcode == -signal.SIGSEGV
        (row,) = Planner(PlanSpec(engine_config(), str(tmp_path), 7), coordinator).plan(title)
    assert row["error"].startswith(f"reading {title.dubs[0].speech} killed its worker 3 times in a row")


def test_a_speech_that_kills_the_planner_fails_its_own_dub(footage: Path, tmp_path: Path) -> None:
    """The title's other dubs are planned; a second deadly speech fails them all."""
    base = title_of(footage, tmp_path)
    other = dataclasses.replace(base.dubs[0], dub="other", speech=str(footage / "short.wav"), output="o.mp4")
    title = dataclasses.replace(base, dubs=(base.dubs[0], other))
    coordinator, key = Coordinator(), WorkKey(("plan",), "t")
    for _ in range(3):
        coordinator.begin(key)
    coordinator.reading(key, base.dubs[0].speech)
    planner = Planner(PlanSpec(engine_config(), str(tmp_path), 7), coordinator)
    first, *rows = planner.plan(title)
    made = decode(TitlePlan, first["meta"])
    assert [dub.state for dub in made.dubs] == ["failed", "run"]
    assert made.dubs[0].error.startswith(f"reading {base.dubs[0].speech} killed its worker 3 times in a row")
    assert {task.dub for row in rows for task in decode(list[DubTask], row["dubs"])} == {"other"}
    for _ in range(4):
        coordinator.begin(key)
    coordinator.reading(key, other.speech)
    (row,) = planner.plan(title)
    assert row["error"].startswith(f"reading {other.speech} killed its worker")


def test_shots_are_found_once(footage: Path, tmp_path: Path) -> None:
    """A second plan takes shots and anchors from the run directory; a damaged file there is not trusted."""
    plan(title_of(footage, tmp_path), tmp_path)
    (cache,) = (tmp_path / "plans").iterdir()
    known = read_checksummed(str(cache)) or {}
    write_checksummed(str(cache), {**known, "shots": [[0, 24]], "people": [[]]})
    assert plan(title_of(footage, tmp_path), tmp_path)[0].shots == 1
    good = cache.read_text()
    for damaged in ("{", good.replace("24", "23"), "[]"):
        cache.write_text(damaged)
        made, _ = plan(title_of(footage, tmp_path), tmp_path)
        assert made.shots == 2
        assert made.dubs[0].notes == ["not trusted: shots and anchors: damaged: the work is done again"]
    write_checksummed(str(cache), {**known, "key": "another", "shots": [[0, 24]], "anchors": [None]})
    assert plan(title_of(footage, tmp_path), tmp_path)[0].shots == 2
