"""Close-ups and previews: what is drawn, what is not drawn again, files that cannot be read."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from pipelines.review.previews import LINES, make_preview, make_previews
from pipelines.review.strips import FRAMES, HEIGHT, draw_strips, dubbed_at, frame_rate, places, sweep_strips
from pipelines.review.verdict import Reason
from tests.pipelines.conftest import make_video
from tests.pipelines.review.records import metric, record


def test_places_are_the_reasons_then_the_worst_metrics_then_the_middle() -> None:
    one = record("a", video_seconds=20.0)
    assert places(one, [Reason("x", 3.0), Reason("y", None), Reason("z", 3.1), Reason("w", 9.0)]) == [
        3.0,
        9.0,
    ]
    assert places({**one, "metrics": [metric("seam", 1, 2, 7.0)]}, []) == [7.0]
    assert places({**one, "metrics": None}, []) == [10.0]


def test_strips_show_consecutive_mouths_and_are_drawn_once(
    carphone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = record("a", video=str(carphone), output=str(carphone), key="k", video_seconds=4.0)
    (strip,), note = draw_strips(str(tmp_path), one, [Reason("x", 1.0)])
    assert (note, strip["at"]) == ("", 1.0)
    path = tmp_path / str(strip["file"])
    picture = cv2.imread(str(path))
    assert picture is not None
    assert picture.shape[0] == 2 * HEIGHT + 2
    upper, lower = picture[:HEIGHT].astype(int), picture[HEIGHT + 2 :].astype(int)
    assert np.abs(upper - lower).mean() < 6, "the same file twice"
    first, last = upper[:, :HEIGHT], upper[:, -HEIGHT:]
    assert picture.shape[1] > 0.8 * FRAMES * HEIGHT
    assert np.abs(first[:, : last.shape[1]] - last).mean() > 0.5, "but not the same frame again and again"
    monkeypatch.setattr("pipelines.review.strips._strip", None)
    assert draw_strips(str(tmp_path), one, [Reason("x", 1.0)]) == ([strip], "")
    sweep_strips(str(tmp_path), set())
    assert not path.exists()


def halves(path: Path, right: int) -> str:
    """A video of two halves: the left one red, the right one as bright as is said."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, width=128, height=64, pix_fmt="yuv420p")
        for _ in range(30):
            picture = np.zeros((64, 128, 3), np.uint8)
            picture[:, :64, 0], picture[:, 64:] = 200, right
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode(None))
    return str(path)


def person(name: str, x: float, *dubbed: list[float]) -> dict[str, Any]:
    return {"name": name, "dubbed": list(dubbed), "mouths": [[0.0, x, 0.25, x + 0.25, 0.75]]}


def traced(*people: dict[str, Any]) -> dict[str, Any]:
    return {"shots": [{"start": 0.0, "end": 1.2}], "people": list(people)}


def test_strips_show_those_who_were_dubbed_each_by_name(tmp_path: Path) -> None:
    video, output = halves(tmp_path / "a.mp4", 60), halves(tmp_path / "b.mp4", 180)
    one = record("a", video=video, output=output, video_seconds=1.2)

    def shown(*people: dict[str, Any]) -> list[tuple[object, list[float]]]:
        strips, note = draw_strips(str(tmp_path), one, [Reason("x", 0.5)], traced(*people))
        assert not note
        pictures = [cv2.imread(str(tmp_path / str(strip["file"])))[..., ::-1] for strip in strips]
        rows = [(picture[:HEIGHT], picture[-HEIGHT:]) for picture in pictures]
        return [
            (strip["who"], [float(half[..., 1].mean()) for half in pair])
            for strip, pair in zip(strips, rows, strict=True)
        ]

    left, right = person("left", 0.1, [0.9, 1.2]), person("right", 0.6, [0.0, 0.5])
    ((who, greens),) = shown(left, right)
    assert who == "right", "the left one is dubbed later"
    assert greens == pytest.approx([60, 180], abs=8), "the source's right half above the dub's"
    both = shown({**left, "dubbed": [[0.0, 1.2]]}, right)
    assert [who for who, _ in both] == ["left", "right"]
    assert both[0][1] == pytest.approx([0, 0], abs=8)
    nobody = shown({**left, "dubbed": []}, {**right, "dubbed": []})
    assert [who for who, _ in nobody] == ["left", "right"], "nobody is dubbed there: all who might be"
    assert [who for who, _ in shown({**left, "name": "largest", "dubbed": [[0.0, 1.2]]})] == [""]


def test_a_mouth_is_followed_inside_its_shot() -> None:
    mouths = [[0.0, 0.1, 0.1, 0.2, 0.2], [1.0, 0.3, 0.1, 0.4, 0.2], [2.0, 0.8, 0.8, 0.9, 0.9]]
    trace = {
        "shots": [{"start": 0.0, "end": 2.0}, {"start": 2.0, "end": 4.0}],
        "people": [{"name": "left", "dubbed": [[0.0, 4.0]], "mouths": mouths}],
    }
    found = [dubbed_at(trace, place, 25) for place in (0.5, 1.9, 2.0)]
    assert [round(box[0], 3) for ((_, box, _),) in found] == [0.2, 0.3, 0.8]
    assert [begin for ((_, _, begin),) in found] == [0.0, 0.0, 2.0]
    assert dubbed_at(None, 1.0, 25) == []


def test_a_strip_lasts_as_long_as_its_frames_do() -> None:
    """At 50 frames a second it is over after 0.14 s, at 10 it lasts 0.7 s."""
    later = {"name": "later", "dubbed": [[0.5, 2.0]], "mouths": [[0.0, 0.1, 0.1, 0.2, 0.2]]}
    now = {**later, "name": "now", "dubbed": [[0.0, 2.0]]}
    trace = {"shots": [{"start": 0.0, "end": 2.0}], "people": [now, later]}
    for rate, shown in ((50, ["now"]), (10, ["now", "later"])):
        one = record("a", frames=2 * rate, video_seconds=2.0)
        assert [name for name, _, _ in dubbed_at(trace, 0.1, frame_rate(one))] == shown
    reasons = [Reason("x", 1.0), Reason("y", 1.3)]
    assert places(record("a", frames=100, video_seconds=2.0), reasons) == [1.0, 1.3]
    assert places(record("a", frames=20, video_seconds=2.0), reasons) == [1.0], "one strip shows both"


def test_files_that_cannot_be_read_are_a_note(tmp_path: Path) -> None:
    one = record("a", video=str(tmp_path / "gone.mp4"), output=str(tmp_path / "gone.mp4"))
    strips, note = draw_strips(str(tmp_path), one, [])
    assert strips == []
    assert "gone.mp4" in note


def test_previews_are_small_whole_and_made_once(tmp_path: Path) -> None:
    tall = make_video(tmp_path / "tall.mp4", frames=10, size=(640, 720))
    small = make_video(tmp_path / "small.mp4", frames=5, sound=False)
    folder = tmp_path / "report"
    told: list[tuple[int, int]] = []
    urls = [str(tall), str(small), str(tall), str(tmp_path / "gone.mp4")]
    found, notes = make_previews(str(folder), urls, lambda number, of: told.append((number, of)))
    assert sorted(found) == sorted([str(tall), str(small)])
    assert told[-1] == (2, 2)
    assert len(notes) == 1
    assert "gone.mp4" in notes[0]
    with av.open(str(folder / found[str(tall)])) as container:
        picture = container.streams.video[0]
        assert (picture.codec_context.name, picture.height, picture.width) == ("h264", LINES, 320)
        assert len(container.streams.audio) == 1
        times = [frame.time for frame in container.decode(picture)]
    with av.open(str(tall)) as container:
        assert times == pytest.approx([frame.time for frame in container.decode(video=0)], abs=1e-4)
    with av.open(str(folder / found[str(small)])) as container:
        assert (container.streams.video[0].height, len(container.streams.audio)) == (48, 0)
    made = (folder / found[str(tall)]).stat().st_mtime_ns
    shutil.copy(tall, small)
    again, _ = make_previews(str(folder), [str(tall), str(small)])
    assert again[str(tall)] == found[str(tall)]
    assert again[str(small)] != found[str(small)], "the file is another one"
    assert (folder / again[str(tall)]).stat().st_mtime_ns == made
    assert not (folder / found[str(small)]).exists()


def test_the_sound_of_a_preview_lies_beside_its_pictures(tmp_path: Path) -> None:
    make_preview(str(make_video(tmp_path / "long.mp4", frames=300)), str(tmp_path / "small.mp4"))
    with av.open(str(tmp_path / "small.mp4")) as container:
        order = sorted(
            (packet.pos, packet.stream.type, float(packet.dts * packet.time_base))
            for packet in container.demux()
            if packet.dts is not None
        )
    reached = {"video": 0.0, "audio": 0.0}
    apart = 0.0
    for _, kind, seconds in order:
        reached[kind] = seconds
        apart = max(apart, abs(reached["video"] - reached["audio"]))
    assert min(reached.values()) > 20
    assert apart < 2
