"""Boxes: which face, how they are smoothed, and that a box does not depend on where segments are cut."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from operators.media.frames import Frame
from operators.media.reader import read_frames
from operators.media.rgb_reader import swscale_rgb
from operators.retalk.face_boxes import WINDOW
from operators.wav2lip.detect_stage import DetectOptions, DetectStage, nearest_first, smoothed
from tests.operators.faces.footage import segment
from tests.operators.media.synth import write_video


def originals(boxes: np.ndarray) -> np.ndarray:
    """One clip's boxes smoothed in the words of the original: in place, the mean of each and the next four,
    the last five at the end.
    """
    work = [[int(v) for v in box] for box in boxes]
    for i in range(len(work)):
        window = work[len(work) - 5 :] if i + 5 > len(work) else work[i : i + 5]
        work[i] = [int(sum(column) / len(window)) for column in zip(*window, strict=True)]
    return np.array(work, np.int64)


def random_track(seed: int, count: int = 60, missing: float = 0.12) -> tuple[np.ndarray, np.ndarray]:
    """Boxes int64[T, 4] that wander and bool[T], some False."""
    random = np.random.default_rng(seed)
    corner = 200 + np.cumsum(random.integers(-6, 7, (count, 2)), 0)
    boxes = np.concatenate([corner, corner + random.integers(60, 90, (count, 2))], 1)
    return boxes, random.random(count) > missing


@pytest.mark.parametrize("seed", range(6))
def test_each_run_of_faces_is_smoothed_as_a_clip_of_the_original(seed: int) -> None:
    boxes, found = random_track(seed)
    result, start = smoothed(boxes, found), None
    for t in range(len(found) + 1):
        inside = t < len(found) and found[t]
        if inside and start is None:
            start = t
        elif not inside and start is not None:
            assert result[start:t].tolist() == originals(boxes[start:t]).tolist()
            start = None
    assert not result[~found].any()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("length", [1, 3, 7])
def test_the_halo_is_enough(seed: int, length: int) -> None:
    boxes, found = random_track(seed)
    whole, (before, after) = smoothed(boxes, found), DetectStage().halo(DetectOptions())
    assert (before, after) == (WINDOW - 1, WINDOW - 1)
    for start in range(0, len(found), length):
        stop = min(start + length, len(found))
        low, high = max(0, start - before), min(len(found), stop + after)
        part = smoothed(boxes[low:high], found[low:high])
        assert part[start - low : stop - low].tolist() == whole[start:stop].tolist()


def test_no_halo_where_nothing_is_smoothed() -> None:
    for options in (
        DetectOptions(smooth=False),
        DetectOptions(static=True),
        DetectOptions(box=(0, 0, 10, 10)),
    ):
        assert DetectStage(options).halo(options) == (0, 0)


def test_of_several_faces_the_chosen_persons_is_taken() -> None:
    detections = np.array(
        [[300, 40, 380, 130, 0.99], [20, 50, 90, 140, 0.8], [160, 30, 230, 110, 0.7]], np.float32
    )
    assert nearest_first(detections, np.array([10, 60, 100, 150], np.float32))[0, 4] == np.float32(0.8)
    assert nearest_first(detections, None)[0, 4] == np.float32(0.99)
    assert len(nearest_first(detections[:0], np.zeros(4, np.float32))) == 0


def test_a_fixed_box_needs_no_detector_and_must_be_one() -> None:
    assert DetectStage().model_files(DetectOptions(box=(4, 8, 40, 60))) == ()
    assert DetectStage().model_files(DetectOptions()) == ("s3fd",)
    with pytest.raises(ValueError, match=r"box \[40, 8, 4, 60\] must be x1, y1, x2, y2"):
        DetectOptions(box=(40, 8, 4, 60))


@pytest.mark.parametrize("reader", ["pyav", "decord"])
def test_faces_are_sought_in_the_pictures_of_the_chosen_reader(
    tmp_path: Path, reader: Literal["pyav", "decord"]
) -> None:
    path = tmp_path / "clip.mp4"
    write_video(path, count=8)
    seen: list[np.ndarray] = []

    class Detectors:
        def boxes(self, picture: np.ndarray) -> np.ndarray:
            seen.append(picture)
            return np.array([[20, 10, 60, 50, 0.9]], np.float32)

    stage = DetectStage(DetectOptions(reader=reader, face="best"))
    stage.setup("cpu")
    stage.detectors = Detectors()  # type: ignore[assignment]
    out = stage.process(segment(str(path), (2, 6), (2, 6), None))
    assert out["found"].tolist() == [True] * 4
    convert = Frame.rgb if reader == "pyav" else swscale_rgb
    expected = [convert(frame) for frame in read_frames(str(path), 2, 6)]
    assert len(seen) == len(expected)
    assert all(np.array_equal(a, b) for a, b in zip(seen, expected, strict=True))
    other = swscale_rgb if reader == "pyav" else Frame.rgb
    assert not np.array_equal(seen[0], other(next(read_frames(str(path), 2, 3))))
