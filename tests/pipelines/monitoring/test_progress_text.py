"""A run's numbers as words: what is said, and what is not said before it means something."""

from __future__ import annotations

from typing import Any

import pytest

from pipelines.engine.engine import Engine
from pipelines.monitoring.formatting import count, duration
from pipelines.monitoring.progress_text import Meter, StageWords, describe, slow_start, stage_words
from tests.pipelines.conftest import engine_config

STAGES = [
    StageWords("detect", "finding faces", "segment"),
    StageWords("speak", "listening"),
    StageWords("render", "painting"),
]


class Clock:
    """Time that passes when it is told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def state(**more: Any) -> dict[str, Any]:
    empty = {
        "titles": 1,
        "planned_titles": 1,
        "ended": 0,
        "failed": 0,
        "planned": 900,
        "analysed": 900,
        "done": 0,
        "assembling": 0,
    }
    return {**empty, "hopeless": 0, **more}


def said(coordinator: dict[str, Any], **more: Any) -> str:
    return describe(Meter(Clock()).read(state(**more)), coordinator, STAGES).line(12)


def frames(**by_stage: int) -> dict[str, Any]:
    return {"stages": {name: {"rows": 1, "frames": value} for name, value in by_stage.items()}}


def test_durations_and_counts_for_people() -> None:
    texts = [duration(s) for s in (0.4, 59.4, 59.6, 200, 3600, 7500)]
    assert texts == ["0 s", "59 s", "1 min 00 s", "3 min 20 s", "1 h 00 min", "2 h 05 min"]
    assert [count(1, "title"), count(2, "title"), count(0, "entry", "entries")] == [
        "1 title",
        "2 titles",
        "0 entries",
    ]


def test_stages_are_named_by_what_they_do() -> None:
    assert said(frames(detect=120)) == "[12 s] finding faces 120/900 frames"
    text = said(frames(detect=900, speak=900, render=300), done=300)
    assert text == "[12 s] 300/900 frames; painting 300/900 frames", "what has ended is not at work"
    assert said({**frames(detect=900), "working": {"speak": 1}}).endswith("listening 0/900 frames")
    inside = {**frames(detect=100), "working": {"detect": 1}, "at": {"detect": 50.7}}
    assert said(inside).endswith("finding faces 150/900 frames"), "of a segment that is being worked on"
    assert said(frames(), planned_titles=0, planned=0, analysed=0) == "[12 s] planning"
    text = said(frames(detect=90), titles=9, planned_titles=3, ended=1, failed=1, planned=300, analysed=100)
    assert (
        text
        == "[12 s] 1/9 titles, 1 failed, 0/about 900 frames; planning 3/9 titles, finding faces 90/300 frames"
    )
    assert said(frames(detect=900, speak=900, render=900), done=900, assembling=1).endswith("assembling")
    ready = frames(detect=900, speak=900, render=900)
    assert said(ready, titles=3, planned_titles=3, done=900, assembling=2).endswith("; assembling 2 videos")


def test_words_come_from_the_stages() -> None:
    words = stage_words(spec.stage for spec in Engine(engine_config()).stages)
    assert [one.words for one in words] == ["brightness", "level", "paint"], (
        "a stage without words is shown by its name"
    )
    assert [one.per for one in words] == ["segment", "dub", "dub"]
    from pipelines.engine.config import load_engine

    for name in ("exemplar", "retalk", "retalk-parity"):
        assert all(
            one.words != one.name
            for one in stage_words(spec.stage for spec in Engine(load_engine(name)).stages)
        ), name


def test_workers_that_do_not_come_up_are_shown() -> None:
    waiting = {
        "group": "detect+render",
        "node": "n1",
        "pid": 4711,
        "seconds": 12.0,
        "state": "importing torch",
    }
    said_long = "starting workers (detect+render: importing torch, 12 s, plan)"
    early = {**waiting, "group": "plan", "seconds": 2.0}
    assert said({**frames(), "starting": [early, waiting]}).endswith(said_long), "what takes long is told"
    first = {**frames(), "starting": [early]}
    assert said(first, planned_titles=0, planned=0, analysed=0) == "[12 s] starting workers (plan)", (
        "nothing is planned yet"
    )
    slow = {**waiting, "seconds": 71.0, "state": "stopped (T)"}
    expected = "a worker of detect+render has not come up for 1 min 11 s (process 4711 on n1, stopped (T))"
    assert said({**frames(detect=9), "starting": [slow]}).endswith(f"; {expected}")
    unplaced = {"group": "render", "node": "", "pid": None, "seconds": 90, "state": "waiting for 1 CPU"}
    assert (
        slow_start(unplaced)
        == "a worker of render has not come up for 1 min 30 s (no process yet, waiting for 1 CPU)"
    )


def test_titles_that_are_refused_already_do_not_inflate_totals() -> None:
    counts = state(titles=10, planned_titles=4, planned=400, analysed=400)
    assert Meter(Clock()).read(counts)["expected"] == 1000
    assert Meter(Clock()).read({**counts, "hopeless": 6})["expected"] == 400
    assert Meter(Clock()).read({**counts, "planned_titles": 0, "planned": 0})["expected"] == 0


def test_no_rate_and_no_time_left_before_they_mean_something() -> None:
    clock = Clock()
    meter = Meter(clock)
    for second, done in ((60, 0), (61, 10), (62, 20), (63, 30), (64, 40), (65, 50)):
        clock.now = second
        found = meter.read(state(done=done))
        assert (found["rate"], found["eta"]) == (None, None), second
        assert "left" not in describe(found, frames(), STAGES).line(second)
    clock.now = 72
    found = meter.read(state(done=120))
    assert found["rate"] == pytest.approx(10)
    assert found["eta"] == pytest.approx(78)
    assert "120/900 frames, 10.0 frames/s, about 1 min 18 s left" in describe(found, frames(), STAGES).line(
        72
    )


def test_the_rate_is_a_recent_one_and_falls_when_nothing_comes() -> None:
    clock = Clock()
    meter = Meter(clock)
    for second in range(0, 1000):
        clock.now = second
        meter.read(state(planned=9000, done=second + 1))
    for second in range(1000, 1100):
        clock.now = second
        found = meter.read(state(planned=9000, done=1000 + 20 * (second - 999)))
    assert found["rate"] == pytest.approx(20, rel=0.05), "not the mean since the start"
    clock.now = 1400
    assert meter.read(state(planned=9000, done=found["done"]))["rate"] < 2


def test_commits_that_are_far_apart_have_a_rate_too() -> None:
    clock = Clock()
    meter = Meter(clock)
    for number in range(1, 7):
        clock.now = 200.0 * number
        found = meter.read(state(planned=9000, done=1500 * number))
    assert found["rate"] == pytest.approx(7.5)


def test_the_bar_counts_the_work_of_all_stages() -> None:
    meter = Meter(Clock())
    assert describe(meter.read(state()), frames(detect=900, render=450), STAGES).fraction == pytest.approx(
        0.5
    )
    assert describe(meter.read(state(planned=0, analysed=0)), frames(), STAGES).fraction is None
    assert describe(meter.read(state()), frames(detect=9000), STAGES).fraction == pytest.approx(1 / 3), (
        "counted again after a kill"
    )
