"""Plans as JSON between processes: every field comes back as it was, and nothing else is taken for a plan."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest

from pipelines.manifest.titles import Dub, Speaker, Title
from pipelines.planning.plans import (
    Decision,
    DubPlan,
    DubTask,
    OutputSegmentPlan,
    OutputSegmentTask,
    Receipt,
    SpeakerTask,
    TitlePlan,
    decode,
    encode,
)
from pipelines.state.run_directory import OutputSegmentId

RECEIPT = Receipt("/run/a.mp4", "5e", 12, 3456, ["a note"], {"sharpness": [1.5, None, 3]}, 2.5)
DUB = Dub(
    "deu",
    "s.wav",
    "o.mkv",
    "deu",
    "pingpong",
    "add",
    "-23",
    {"level": {"gain": 0.5, "pads": [0, 1]}},
    "wrong",
    "centre",
    {"who": "Anna"},
    "we",
    {"mode": "on"},
    (("0", "1.5"),),
    (("00:00:01:00", ""),),
    (Speaker("left", "s.wav"),),
    True,
)
TITLE = Title(
    "epä 1", "v.mp4", (DUB, Dub("fra", "t.wav", "p.mp4")), "left", {"level": {"gain": 2}}, "row 3", "bad"
)


def segment(number: int, frames: int, receipt: Receipt | None = None) -> OutputSegmentPlan:
    return OutputSegmentPlan(OutputSegmentId("deu", number, 0, f"key{number}"), 12 * number, frames, receipt)


def full() -> TitlePlan:
    """A plan in which no field has its default."""
    dub = DubPlan(
        *("epä 1", "v.mp4", DUB, "key", "failed", "no", ["note"], ["doubt"], 24, 2.5),
        output_segments=[segment(0, 12, RECEIPT), segment(1, 12)],
        ingredients={"video": ["v.mp4", 3, "tag"], "code": {"operators": "1"}, "segments": None},
        changed=["video"],
        traceback="Traceback\n",
        reused=1,
        seconds={"detect": 0.25},
        measured=[{"name": "sharpness", "value": 1.5}],
        people=[{"name": "left", "speech": "s.wav", "seconds": 1.5}],
        reasons=[{"text": "soft", "at": 1.5}],
        provenance={"signed_by": "we"},
        mark_id="0f" * 8,
        mark_speech=6.5,
        mark_picture=7.5,
        heard_seconds=3.5,
    )
    return TitlePlan(TITLE, [dub], 24, 2.5, 64, 48, 2, 1, 4, 0.125, "Traceback\n")


def fields_with_their_default(record: Any) -> list[str]:
    found = []
    for field in dataclasses.fields(record):
        factory = field.default_factory
        default = field.default if factory is dataclasses.MISSING else factory()
        if getattr(record, field.name) == default:
            found.append(field.name)
    return found


def test_every_field_comes_back() -> None:
    plan = full()
    for record in (plan, *plan.dubs, plan.title, DUB, RECEIPT):
        assert fields_with_their_default(record) == [], "this test leaves a field out"
    again = decode(TitlePlan, encode(plan))
    assert again == plan
    assert encode(again) == encode(plan)
    assert (type(again.title), type(again.dubs[0].dub)) == (Title, Dub)
    assert type(again.dubs[0].output_segments[0].which) is OutputSegmentId
    assert decode(Title, encode(TITLE)) == TITLE
    decision = Decision(["deu"], [(OutputSegmentId("fra", 3, 1, "key"), RECEIPT)], 2)
    assert decode(Decision, encode(decision)) == decision
    tasks = [
        DubTask("deu", "s.wav", {"level": {"gain": 2}}, [OutputSegmentTask(0, "key", 7, -1, 3, 30, 5)]),
        DubTask("ita", "u.wav", {}, [], [SpeakerTask(1, 0, "v.wav", 2)], True),
        DubTask("fra", "t.wav", {}, [OutputSegmentTask(1, "key", 4, 1, 2, 0, pts=[5, 9], dubbed=[(0, 1)])]),
    ]
    assert decode(list[DubTask], encode(tasks)) == tasks


def test_numbers_and_texts_that_json_has_not() -> None:
    """Metrics may be infinite; a file's name need not be Unicode."""
    receipt = dataclasses.replace(RECEIPT, metrics={"psnr": [math.inf]})
    plan = TitlePlan(TITLE, [DubPlan("t", "v", DUB, output_segments=[segment(0, 12, receipt)])])
    (dub,) = decode(TitlePlan, encode(plan)).dubs
    assert dub.receipts[0].metrics == {"psnr": [math.inf]}
    assert decode(Title, encode(dataclasses.replace(TITLE, error="b\udcffd.mp4"))).error == "b?d.mp4"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"title": {"id": "x"}}, "title.video"),
        ({"frames": "24"}, "frames"),
        ({"dubs": [{}]}, "dubs.0.title"),
        ({"title": None}, "title"),
    ],
    ids=str,
)
def test_what_is_no_plan_is_refused(change: dict[str, Any], message: str) -> None:
    text = json.dumps({**json.loads(encode(full())), **change})
    with pytest.raises(ValueError, match=rf"not a TitlePlan \({message}: .*same version of retalk"):
        decode(TitlePlan, text)


@pytest.mark.parametrize("text", ["", "{", "[]", "3"])
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a TitlePlan \(as a whole: "):
        decode(TitlePlan, text)


def test_a_dub_counts_its_receipts() -> None:
    plan = full()
    (dub,) = plan.dubs
    assert (list(dub.left), dub.frames_left, dub.receipts) == ([segment(1, 12).which], 12, [RECEIPT])
    assert (plan.running, plan.frames_analysed) == ([], 0), "a failed dub asks for nothing"
    dub.state = "run"
    assert plan.frames_analysed == 12
    later = dataclasses.replace(RECEIPT, path="/run/b.mp4")
    dub.commit(segment(1, 12).which, later)
    assert (dub.left, dub.frames_left, dub.receipts) == ({}, 0, [RECEIPT, later])
    with pytest.raises(KeyError):
        dub.commit(segment(1, 12).which, later)
    dub.note("note", "more", "more")
    assert dub.notes == ["note", "more"]


def test_times_of_a_task() -> None:
    pts = np.array([100, 110, 125, 140], np.int64)  # of source frames 5 to 8
    moved = OutputSegmentTask(0, "key", 8, -1, 3, 0, offset=7)
    assert moved.source().tolist() == [8, 7, 6]
    assert moved.times(pts, 5).tolist() == [147, 132, 117]
    ends = OutputSegmentTask(0, "key", 6, 1, 4, 0, pts=[3, 4, 5, 6], held=2)
    assert ends.source().tolist() == [6, 7, 7, 7]
    assert OutputSegmentTask(0, "key", 6, 0, 2, 0, pts=[3, 9]).times(pts, 5).tolist() == [3, 9]
