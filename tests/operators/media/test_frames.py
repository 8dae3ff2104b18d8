"""Frames: the upright picture, and pasting that touches nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from operators.media.color import rgb_to_yuv
from operators.media.formats import working_format
from operators.media.frames import Frame
from operators.media.probe import probe_video
from operators.media.reader import read_frames
from tests.operators.media import synth

Zoo = Callable[[str], Path]
#: One file of each kind of samples.
KINDS = (
    *(
        "cfr.mp4",
        "full422.mp4",
        "odd444.mp4",
        "ten.mp4",
        "prores.mov",
        "gray.mkv",
        "gray10.mkv",
        "nv12.nut",
        "rgb.mkv",
        "dv411.mkv",
    ),
    *("vp9odd.webm", "twelve.mkv", "turn90.mp4"),
)


def frame_of(path: Path, index: int = 2) -> Frame:
    return next(read_frames(str(path), index, index + 1))


def blob(height: int, width: int) -> np.ndarray:
    """A soft disc: 1 inside, a slope, 0 outside."""
    y, x = np.mgrid[:height, :width]
    away = np.hypot((y - height / 2) / height, (x - width / 2) / width)
    return np.clip((0.42 - away) * 12, 0, 1).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "working"),
    [
        *(
            ("cfr.mp4", "yuv420p"),
            ("full422.mp4", "yuvj422p"),
            ("odd444.mp4", "yuv444p"),
            ("ten.mp4", "yuv420p10le"),
        ),
        *(
            ("prores.mov", "yuv422p10le"),
            ("gray.mkv", "gray"),
            ("gray10.mkv", "gray10le"),
            ("nv12.nut", "yuv420p"),
            ("rgb.mkv", "yuv444p"),
        ),
        *(("dv411.mkv", "yuv422p"), ("vp9odd.webm", "yuv444p"), ("twelve.mkv", "yuv420p10le")),
    ],
)
def test_working_formats(zoo: Zoo, name: str, working: str) -> None:
    assert frame_of(zoo(name)).picture.format.name == working


@pytest.mark.parametrize(
    ("decoded", "size", "working"),
    [
        *(("yuv411p", (720, 480), "yuv422p"), ("yuv411p", (722, 480), "yuv422p")),
        *(("yuv411p", (721, 480), "yuv444p"), ("yuv410p", (720, 480), "yuv420p")),
        *(("yuv410p", (720, 481), "yuv444p"), ("yuv440p", (720, 480), "yuv444p")),
        *(("yuvj411p", (720, 480), "yuvj422p"), ("yuv440p10le", (720, 480), "yuv444p10le")),
        *(("yuva422p", (720, 481), "yuva422p"), ("yuv420p12le", (720, 480), "yuv420p10le")),
    ],
)
def test_subsampling_becomes_the_next_that_loses_nothing(
    decoded: str, size: tuple[int, int], working: str
) -> None:
    assert working_format(decoded, *size).name == working


def test_rearranged_and_repeated_samples_are_the_decoded_ones(zoo: Zoo) -> None:
    """NV12 becomes planar, odd 4:2:0 becomes 4:4:4 and 4:1:1 becomes 4:2:2: no value changes."""
    for name, across, down in (("nv12.nut", 1, 1), ("vp9odd.webm", 2, 2), ("dv411.mkv", 2, 1)):
        with av.open(str(zoo(name))) as container:
            source = list(container.decode(video=0))[2]
        rows = [
            np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, -1) for plane in source.planes
        ]
        luma, *chroma = frame_of(zoo(name)).samples()
        assert (luma == rows[0][:, : source.width]).all()
        own = [rows[1][:, i : source.width : 2] for i in (0, 1)] if name == "nv12.nut" else rows[1:]
        for plane, decoded in zip(chroma, own, strict=True):
            height, width = plane.shape
            assert (plane == decoded.repeat(down, 0)[:height].repeat(across, 1)[:, :width]).all()


@pytest.mark.parametrize(
    "name", ["cfr.mp4", "full422.mp4", "odd444.mp4", "ten.mp4", "prores.mov", "vp9odd.webm"]
)
def test_rgb_agrees_with_swscale(zoo: Zoo, name: str) -> None:
    """An independent converter with the same matrix and range; vertical chroma phase differs, so the mean is
    compared.
    """
    frame = frame_of(zoo(name))
    full = frame.layout.tags.full_range
    theirs = frame.picture.reformat(
        format="rgb24",
        interpolation=0x10 | 0x40000 | 0x2000,  # point, accurate rounding, full chroma
        src_colorspace="ITU709" if frame.layout.tags.matrix == 1 else "ITU601",
        src_color_range="JPEG" if full else "MPEG",
        dst_color_range="JPEG",
    ).to_ndarray()
    difference = np.abs(frame.rgb().astype(int) - theirs)
    assert difference.mean() < 2
    assert np.median(difference) <= 1


@pytest.mark.parametrize("name", KINDS)
def test_crop_of_rgb_is_rgb_of_crop(zoo: Zoo, name: str) -> None:
    frame = frame_of(zoo(name))
    width, height = frame.size
    whole = frame.rgb()
    assert whole.shape == (height, width, 3)
    for box in ((0, 0, width, height), (3, 5, 20, 14), (7, 8, 8, 9), (width - 5, height - 3, width, height)):
        assert (frame.rgb(box) == whole[box[1] : box[3], box[0] : box[2]]).all()


@pytest.mark.parametrize("name", KINDS)
def test_luma_is_the_upright_plane(zoo: Zoo, name: str) -> None:
    frame = frame_of(zoo(name))
    luma = frame.luma()
    assert luma.dtype == np.uint8
    assert luma.shape == frame.size[::-1]
    own = frame.layout.orientation.upright(frame.samples()[0])
    assert (luma == own >> (frame.layout.format.depth - 8)).all()
    assert (frame.luma((3, 5, 20, 14)) == luma[5:14, 3:20]).all()
    with pytest.raises(ValueError, match="leaves the picture"):
        frame.luma((3, 5, frame.size[0] + 1, 14))


@pytest.mark.parametrize("name", KINDS)
def test_paste_of_the_own_crop_restores_it(zoo: Zoo, name: str) -> None:
    frame = frame_of(zoo(name))
    before = [plane.astype(int) for plane in frame.samples()]
    box = (5, 4, frame.size[0] - 6, frame.size[1] - 5)
    crop = frame.rgb(box)
    frame.paste(box, crop, np.ones(crop.shape[:2], np.float32))
    unit = 1 << (frame.layout.format.depth - 8)
    for plane, own in zip(frame.samples(), before, strict=True):
        assert np.median(np.abs(plane - own)) <= unit
        # Colours outside RGB's cube are clipped: rare in these pictures.
        assert (np.abs(plane - own) > 2 * unit).mean() < 0.05


@pytest.mark.parametrize("name", KINDS)
def test_paste_blends_by_the_formula_and_leaves_the_rest_alone(zoo: Zoo, name: str) -> None:
    """Against the definition in float64, for an odd box: luma by alpha, chroma by the mean over each sample's
    pixels.
    """
    frame = frame_of(zoo(name))
    layout = frame.layout
    width, height = frame.size
    box = (7, 3, width - 12, height - 8)
    rgb = np.random.default_rng(5).integers(0, 256, (box[3] - box[1], box[2] - box[0], 3), dtype=np.uint8)
    alpha = blob(*rgb.shape[:2])
    before = [plane.copy() for plane in frame.samples()]
    frame.paste(box, rgb, alpha)

    weight, color = np.zeros((height, width)), np.zeros((height, width, 3))
    weight[box[1] : box[3], box[0] : box[2]] = alpha
    color[box[1] : box[3], box[0] : box[2]] = rgb
    weight, color = layout.orientation.coded(weight), layout.orientation.coded(color)
    matrix = rgb_to_yuv(
        layout.tags.matrix, layout.tags.full_range, layout.format.depth, layout.height
    ).astype(float)
    yuv = color @ matrix[:, :3].T + matrix[:, 3]
    for i, (plane, own) in enumerate(zip(frame.samples(), before, strict=True)):
        sx, sy = layout.format.chroma if i else (0, 0)

        def mean(values: np.ndarray, step: tuple[int, int] = (1 << sy, 1 << sx)) -> np.ndarray:
            return values.reshape(
                values.shape[0] // step[0], step[0], values.shape[1] // step[1], step[1]
            ).mean(axis=(1, 3))

        share = mean(weight)
        expected = own * (1 - share) + mean(weight * yuv[..., i])
        assert np.abs(plane - expected).max() <= 0.51
        assert (plane == own)[share == 0].all()
        assert (plane != own)[share == 1].any()


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_rotated_video_is_worked_on_upright(zoo: Zoo, turn: int) -> None:
    """The same coded pictures with and without a display matrix."""
    plain, turned = frame_of(zoo("turn0.mp4")), frame_of(zoo(f"turn{turn}.mp4"))
    assert turned.size == (plain.size if turn == 180 else plain.size[::-1])
    assert (turned.rgb() == np.rot90(plain.rgb(), -turn // 90)).all()
    assert (turned.luma() == np.rot90(plain.luma(), -turn // 90)).all()
    width, height = turned.size
    box = (4, 6, 30, 26)
    patch = np.random.default_rng(1).integers(0, 256, (20, 26, 3), dtype=np.uint8)
    alpha = blob(20, 26)
    canvas, cover = np.zeros((height, width, 3), np.uint8), np.zeros((height, width), np.float32)
    canvas[6:26, 4:30], cover[6:26, 4:30] = patch, alpha
    turned.paste(box, patch, alpha)
    plain.paste(
        (0, 0, *plain.size),
        np.ascontiguousarray(np.rot90(canvas, turn // 90)),
        np.ascontiguousarray(np.rot90(cover, turn // 90)),
    )
    assert all((a == b).all() for a, b in zip(turned.samples(), plain.samples(), strict=True))


def test_mirrored_video_is_worked_on_upright(zoo: Zoo) -> None:
    plain, mirrored = frame_of(zoo("turn0.mp4")), frame_of(zoo("mirror.mp4"))
    assert (mirrored.rgb() == plain.rgb()[:, ::-1]).all()
    assert (mirrored.rgb((3, 2, 20, 9)) == plain.rgb()[:, ::-1][2:9, 3:20]).all()


@pytest.mark.parametrize("name", [*KINDS, "turn180.mp4", "mirror.mp4"])
def test_a_smaller_picture_is_the_whole_one_resized(zoo: Zoo, name: str) -> None:
    """Up to rounding and chroma, which `rgb` repeats and `rgb_resized` interpolates."""
    frame = frame_of(zoo(name))
    width, height = frame.size
    box = (5, 3, width - 4, height - 9)
    for part in (None, box):
        x1, y1, x2, y2 = part or (0, 0, width, height)
        for size in ((24, 20), (2 * width, 2 * height)):
            expected = cv2.resize(frame.rgb()[y1:y2, x1:x2], size)
            found = frame.rgb_resized(size, part)
            assert found.dtype == np.uint8
            if size[0] > width:
                assert (found == expected).all()
            else:
                # Luma has no such freedom: 0.299 R + 0.587 G + 0.114 B.
                weights = np.array([0.299, 0.587, 0.114])
                assert np.abs((found - expected.astype(float)) @ weights).mean() < 2.5
    with pytest.raises(ValueError, match="box"):
        frame.rgb_resized((24, 20), (0, 0, width + 2, height))


@pytest.mark.parametrize("name", [*KINDS, "turn180.mp4", "mirror.mp4"])
@pytest.mark.parametrize(("left", "top", "times"), [(4, 2, 1), (5, 3, 1), (4, 2, 2), (2, 7, 2)])
def test_a_halved_picture_has_the_means_of_the_pixels(
    zoo: Zoo, name: str, left: int, top: int, times: int
) -> None:
    frame = frame_of(zoo(name))
    side = 1 << times
    width, height = ((size - 8) // side * side for size in frame.size)
    box = left, top, left + width, top + height
    found = frame.rgb_halved(box, times)
    expected = cv2.resize(
        frame.rgb(box).astype(np.float32), (width // side, height // side), interpolation=cv2.INTER_AREA
    )
    assert found.shape == expected.shape
    weights = np.array([0.299, 0.587, 0.114])
    assert np.abs((found - expected) @ weights).mean() < 1.5
    with pytest.raises(ValueError, match="cannot be halved"):
        frame.rgb_halved((left, top, left + width - 1, top + height), times)


@pytest.mark.parametrize("name", ["open.mp4", "mpeg1.mpg", "open265.mkv", "ten.mp4"])
def test_pasting_into_every_frame_does_not_reach_later_ones(zoo: Zoo, name: str) -> None:
    """Decoders predict from the pictures that they have given out."""
    info = probe_video(str(zoo(name)))
    clean = [digest for _, digest in synth.decode_plain(zoo(name))]
    patch = np.full((40, 50, 3), (255, 0, 90), np.uint8)
    for frame in read_frames(str(zoo(name)), 0, info.n_frames, info):
        assert synth.digest(frame.picture) == clean[frame.index]
        frame.paste((10, 10, 60, 50), patch, np.ones((40, 50), np.float32))
        assert synth.digest(frame.picture) != clean[frame.index]


def test_views_and_copies_keep_what_they_showed(zoo: Zoo) -> None:
    frame = frame_of(zoo("cfr.mp4"))
    luma, twin = frame.luma(), frame.copy()
    before = luma.copy()
    patch, alpha = np.zeros((20, 20, 3), np.uint8), np.ones((20, 20), np.float32)
    frame.paste((0, 0, 20, 20), patch, alpha)
    assert (luma == before).all()
    assert (twin.luma() == before).all()
    assert (frame.luma() != before).any()
    changed = frame.luma().copy()
    twin.paste((40, 40, 60, 60), patch, alpha)
    assert (frame.luma() == changed).all()
    assert (twin.index, twin.pts) == (frame.index, frame.pts)
    with pytest.raises(ValueError, match="read-only"):
        luma[0, 0] = 1


def test_mistakes_are_named(zoo: Zoo) -> None:
    frame = frame_of(zoo("cfr.mp4"))
    for box in ((-1, 0, 5, 5), (0, 0, 97, 5), (5, 5, 5, 9), (0, 60, 4, 65)):
        with pytest.raises(ValueError, match="leaves the picture of 96x64"):
            frame.rgb(box)
    with pytest.raises(ValueError, match=r"paste of uint8\[5, 5, 3\]"):
        frame.paste((0, 0, 6, 5), np.zeros((5, 5, 3), np.uint8), np.zeros((5, 5), np.float32))
    with pytest.raises(ValueError, match="paste of float32"):
        frame.paste((0, 0, 5, 5), np.zeros((5, 5, 3), np.float32), np.zeros((5, 5), np.float32))  # type: ignore[arg-type]


def test_a_frame_knows_what_was_drawn_and_what_was_there(carphone: Path) -> None:
    frame = next(iter(read_frames(str(carphone), 3, 4)))
    before = frame.rgb().copy()
    assert frame.drawn is None
    for box in ((10, 20, 30, 40), (24, 16, 50, 36)):
        size = box[3] - box[1], box[2] - box[0]
        frame.paste(box, np.full((*size, 3), 200, np.uint8), np.ones(size, np.float32))
    frame.paste((60, 60, 70, 70), np.zeros((10, 10, 3), np.uint8), np.zeros((10, 10), np.float32))
    assert frame.drawn == (10, 16, 50, 40)  # a paste with no weight draws nothing
    assert np.array_equal(frame.original.rgb(), before)
    changed = np.argwhere((frame.rgb() != before).any(-1))
    assert (changed.min(0) >= [16, 10]).all()
    assert (changed.max(0) < [40, 50]).all()
