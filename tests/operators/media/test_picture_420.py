"""Pictures of luma and half-size chroma: read out of every kind of frame and blended into it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from operators.media.frames import Frame
from operators.media.picture_420 import Picture420
from operators.media.probe import probe_video
from operators.media.reader import read_frames
from operators.numeric.halving import halved

Zoo = Callable[[str], Path]
KINDS = (
    *("cfr.mp4", "full422.mp4", "odd444.mp4", "ten.mp4", "prores.mov", "gray.mkv", "gray10.mkv", "rgb.mkv"),
    *("turn90.mp4", "turn180.mp4", "turn270.mp4", "mirror.mp4", "vp9odd.webm", "nv12.nut"),
)
#: Corners on whole samples of chroma, and not.
CORNERS = ((4, 6), (5, 3))
RNG = np.random.default_rng(7)


def frame_of(path: Path) -> Frame:
    info = probe_video(str(path))
    return list(read_frames(info.url, 0, 3, info))[2]


def box_of(frame: Frame, corner: tuple[int, int]) -> tuple[int, int, int, int]:
    width, height = frame.size
    return (*corner, width - 9, height - 7)


def upright(frame: Frame) -> list[np.ndarray]:
    """Samples of 8 bits of the upright picture, chroma repeated over the pixels that it covers."""
    layout, (sx, sy) = frame.layout, frame.layout.format.chroma
    first, *others = (plane.astype(int) for plane in frame.samples())
    spread = [first, *(plane.repeat(1 << sy, 0).repeat(1 << sx, 1) for plane in others)]
    return [layout.orientation.upright(plane) >> (layout.format.depth - 8) for plane in spread]


def squares(values: np.ndarray) -> np.ndarray:
    """Means of squares of 2 x 2, a last odd row or column by itself."""
    rows, columns = values.shape[0] % 2, values.shape[1] % 2
    padded = np.pad(values, ((0, rows), (0, columns)), mode="edge")
    return padded.reshape(padded.shape[0] // 2, 2, padded.shape[1] // 2, 2).mean((1, 3))


def test_halves_are_means() -> None:
    for shape in ((8, 6), (7, 9), (1, 3)):
        values = RNG.random(shape).astype(np.float32)
        np.testing.assert_allclose(halved(values), squares(values), atol=1e-6)


@pytest.mark.parametrize("corner", CORNERS)
@pytest.mark.parametrize("name", KINDS)
def test_samples_are_the_frames(zoo: Zoo, name: str, corner: tuple[int, int]) -> None:
    frame = frame_of(zoo(name))
    x1, y1, x2, y2 = box = box_of(frame, corner)
    picture = frame.picture_420(box)
    luma, *chroma = (plane[y1:y2, x1:x2] for plane in upright(frame))
    np.testing.assert_array_equal(picture.luma, luma)
    for number in (0, 1):
        wanted = squares(chroma[number]) if chroma else np.full(picture.chroma.shape[:2], 128)
        # Rounded to 8 bits and averaged in either order.
        assert np.abs(picture.chroma[..., number] - wanted).max() <= 1
    assert picture.rgb.shape == (y2 - y1, x2 - x1, 3)
    if frame.layout.format.chroma == (1, 1) and corner == CORNERS[0] and frame.layout.format.depth == 8:
        np.testing.assert_array_equal(picture.rgb, frame.rgb(box))
    np.testing.assert_array_equal(frame.cut((2, 2, *frame.size)).picture_420(box).chroma, picture.chroma)


@pytest.mark.parametrize("corner", CORNERS)
@pytest.mark.parametrize("name", KINDS)
def test_the_own_picture_changes_no_sample(zoo: Zoo, name: str, corner: tuple[int, int]) -> None:
    frame = frame_of(zoo(name))
    before = [plane.copy() for plane in frame.samples()]
    box = box_of(frame, corner)
    picture = frame.picture_420(box)
    frame.paste_420(box, picture, np.ones(picture.luma.shape, np.float32))
    assert all((a == b).all() for a, b in zip(frame.samples(), before, strict=True))


@pytest.mark.parametrize("corner", CORNERS)
@pytest.mark.parametrize("name", KINDS)
def test_a_picture_is_blended_by_alpha(zoo: Zoo, name: str, corner: tuple[int, int]) -> None:
    frame = frame_of(zoo(name))
    x1, y1, x2, y2 = box = box_of(frame, corner)
    before, own = upright(frame), frame.picture_420(box)
    height, width = own.luma.shape
    # Reached from any sample without leaving the range.
    wanted = Picture420(own.luma // 2 + 64, own.chroma // 2 + 64, own.to_rgb)
    alpha = np.zeros((height, width), np.float32)
    alpha[5:-5, 3:-8] = 1
    alpha[11:-11, 9:-14] = 0.5
    frame.paste_420(box, wanted, alpha)
    after = upright(frame)
    expected = before[0].astype(float)
    expected[y1:y2, x1:x2] += alpha * (wanted.luma.astype(float) - own.luma)
    assert np.abs(after[0] - expected).max() <= 1
    outside = np.ones(expected.shape, bool)
    outside[y1:y2, x1:x2] = alpha == 0
    assert (after[0] == before[0])[outside].all()
    share = squares(alpha)
    for number, (now, then) in enumerate(zip(after[1:], before[1:], strict=True)):
        mean = squares(then[y1:y2, x1:x2].astype(float))
        change = share * (wanted.chroma[..., number].astype(float) - own.chroma[..., number])
        # Where the frame's chroma lies otherwise, an edge spreads by a sample.
        inner = (share == squares(np.pad(alpha, 1)[2:, 2:])) & (share == squares(np.pad(alpha, 1)[:-2, :-2]))
        difference = np.abs(squares(now[y1:y2, x1:x2].astype(float)) - mean - change)
        assert difference[inner].max() <= 12 if corner == CORNERS[1] else difference.max() <= 2
        far = np.ones(then.shape, bool)
        far[y1 + 2 : y2 - 2, x1:x2] = False
        assert (now == then)[far].all()
    assert frame.drawn == box


def test_mistakes_are_named(zoo: Zoo) -> None:
    frame = frame_of(zoo("cfr.mp4"))
    picture = frame.picture_420((4, 4, 20, 20))
    with pytest.raises(ValueError, match="leaves the picture"):
        frame.picture_420((-1, 0, 5, 5))
    with pytest.raises(ValueError, match=r"luma \[16, 16\] with alpha \[16, 16\] into box \(4, 4, 21, 20\)"):
        frame.paste_420((4, 4, 21, 20), picture, np.ones((16, 16), np.float32))
