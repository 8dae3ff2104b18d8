"""Notices on the picture: legible, inside the safe area, in the script that was asked for, and nothing else changes."""

from __future__ import annotations

import dataclasses
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from operators.media import label_fonts
from operators.media.encoders import EncoderOptions
from operators.media.label import POSITIONS, Label, label_problem, stretches
from operators.media.label_drawing import PLATE, SAFE, Labeller, contrast, notice
from operators.media.label_fonts import (
    BUNDLED,
    FontError,
    bundled_font,
    check_font,
    digest_of,
    find_font,
    missing_glyphs,
    needs_shaping,
    open_font,
)
from operators.media.probe import probe_video
from operators.media.reader import read_frames
from operators.media.writer import encode_segment
from tests.operators.media.synth import write_video

CHINESE = "本视频由人工智能合成"
TEXT = "Mit KI verändert"


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("all", [(0, None)]),
        ("5", [(0, 5)]),
        ("0.5", [(0, Fraction(1, 2))]),
        ("0-5, 60-65.5", [(0, 5), (60, Fraction(131, 2))]),
        ("2-4,8", [(2, 4), (0, 8)]),
    ],
)
def test_stretches(given: str, found: Any) -> None:
    assert list(stretches(given)) == found


@pytest.mark.parametrize("given", ["", "0", "5-5", "6-2", "-3", "all,5", "five", "1e3", "5;6"])
def test_stretches_that_are_none(given: str) -> None:
    with pytest.raises(ValueError, match="label_seconds"):
        stretches(given)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"label": "a" * 201}, "longer than 200"),
        ({"label": "a\x07"}, "cannot be drawn"),
        ({"label_position": "middle"}, "top-left"),
        ({"label_size": 0.5}, "from 0.02 to 0.2"),
        ({"label_seconds": "x"}, "label_seconds"),
    ],
)
def test_wrong_options(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        EncoderOptions(**fields)
    assert label_problem("AI", "top", "all", 0.05) == ""


def linear(value: float, transfer: int) -> float:
    """Luminance of a grey R'G'B' value 0...1, relative to reference white."""
    if transfer == 16:  # SMPTE ST 2084, cd/m2 over 203
        m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
        root = value ** (1 / m2)
        return float(10000 * (max(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1) / 203)
    if transfer == 18:  # ARIB STD-B67, display of 1000 cd/m2
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        scene = value**2 / 3 if value <= 0.5 else (np.exp((value - c) / a) + b) / 12
        return float(1000 * scene**1.2 / 203)
    return float(value**2.4)


@pytest.mark.parametrize("transfer", [1, 16, 18])
@pytest.mark.parametrize("behind", [0.0, 0.3, 0.75, 1.0])
def test_letters_stand_out_from_their_plate(transfer: int, behind: float) -> None:
    """WCAG 2 asks for 4.5 : 1, over any picture; letters are not brighter than reference white."""
    label = Label(TEXT, label_size=0.1)
    _, rgb, alpha = notice(label, 640, 360, transfer=transfer)
    shown = alpha * rgb[..., 0] / 255 + (1 - alpha) * behind
    letters, plate = (
        shown.max() if behind < 0.5 else shown[rgb[..., 0] == rgb.max()].max(),
        shown[alpha == np.float32(PLATE)],
    )
    assert plate.size > 500
    assert contrast(linear(float(letters), transfer), linear(float(plate.max()), transfer)) >= 4.5
    assert linear(rgb.max() / 255, transfer) < 1.1


@pytest.mark.parametrize("size", [(640, 360), (360, 640), (1920, 1080), (64, 48), (101, 75)])
@pytest.mark.parametrize("position", POSITIONS)
def test_it_lies_in_the_safe_area(size: tuple[int, int], position: Any) -> None:
    (x1, y1, x2, y2), rgb, alpha = notice(Label("AI", position), *size)
    width, height = size
    assert rgb.shape[:2] == alpha.shape == (y2 - y1, x2 - x1)
    assert x1 >= round(SAFE * width) - 1
    assert y1 >= round(SAFE * height) - 1
    assert x2 <= width - round(SAFE * width) + 1
    assert y2 <= height - round(SAFE * height) + 1
    middle = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height)
    assert (middle[1] < 0.5) == position.startswith("top")
    if position.endswith(("left", "right")):
        assert (middle[0] < 0.5) == position.endswith("left")
    else:
        assert abs(middle[0] - 0.5) < 0.02


def letters_of(label: Label, *size: int, **more: Any) -> np.ndarray:
    """Where letters are drawn: bool[h, w]."""
    _, rgb, alpha = notice(label, *size, **more)
    return (rgb[..., 0] > 128) & (alpha > 0.9)


def test_chinese_letters_are_five_percent_high() -> None:
    """As GB 45438 asks for, of the shorter side."""
    for size in ((1280, 720), (720, 1280)):
        rows = np.flatnonzero(letters_of(Label(CHINESE, label_size=0.06), *size).any(1))
        assert rows[-1] - rows[0] + 1 >= 0.05 * 720


def test_each_chinese_letter_is_drawn() -> None:
    font = open_font(BUNDLED[1], 48)
    boxes = {(*font.getmask(sign).size, bytes(font.getmask(sign))) for sign in CHINESE}
    assert len(boxes) == len(set(CHINESE)), "no two of them look alike"
    assert missing_glyphs(font, CHINESE) == ""
    assert missing_glyphs(open_font(BUNDLED[0], 48), CHINESE) == CHINESE, "a Latin font has none of them"


def test_long_texts_are_broken_and_shrink_before_they_are_refused() -> None:
    words = Label("Pictures and voices of this film were changed by machines " * 3)
    assert np.diff(letters_of(words, 640, 360).any(1).astype(int)).clip(0).sum() >= 3, "lines"
    (_, y1, _, y2), _, _ = notice(words, 320, 180)
    assert y2 - y1 <= 0.4 * 180
    with pytest.raises(ValueError, match="no room in a picture of 64x48; shorten it"):
        notice(words, 64, 48)
    chinese = Label(CHINESE * 6, label_size=0.1)
    (x1, _, x2, _), _, _ = notice(chinese, 640, 360)
    assert x2 - x1 <= 640 * (1 - 2 * SAFE) + 1, "broken without spaces"


def test_letters_keep_their_shape_where_pixels_are_not_square() -> None:
    square = letters_of(Label(TEXT, label_size=0.1), 1024, 576)
    anamorphic = letters_of(Label(TEXT, label_size=0.1), 720, 576, shape=Fraction(64, 45))
    assert anamorphic.shape[0] == square.shape[0]
    assert anamorphic.shape[1] * 64 / 45 == pytest.approx(square.shape[1], abs=3)


# --- fonts ----------------------------------------------------------------------------------------------------


def test_scripts_of_europe_need_no_font_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_fonts, "font_folders", list)
    for text in ("Łódź, être, ãéß Ÿ", "Τροποποιημένο", "Променено Ґї", "Thay đổi bởi AI", CHINESE):
        assert find_font(text) == ""


def test_missing_glyphs_are_an_error_that_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(label_fonts, "font_folders", lambda: [tmp_path, tmp_path / "none"])
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    with pytest.raises(
        FontError, match=r"no font of this machine has glyphs for 日 .*fonts-noto-cjk.*--label-font"
    ):
        find_font("日本のラベル")
    with pytest.raises(FontError, match="has no glyph for 日"):
        check_font(str(BUNDLED[0]), "A 日")
    with pytest.raises(FontError, match="cannot be opened"):
        check_font(str(tmp_path / "broken.ttf"), "A")


def test_a_font_of_the_machine_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(label_fonts, "font_folders", lambda: [tmp_path])
    monkeypatch.setattr(label_fonts, "BUNDLED", BUNDLED[:1])
    (tmp_path / "deep").mkdir()
    own = shutil.copy(BUNDLED[1], tmp_path / "deep" / "han.otf")
    assert find_font(CHINESE) == str(own)


def test_another_font_than_the_run_began_with_is_refused(tmp_path: Path) -> None:
    place = str(BUNDLED[0])
    with pytest.raises(FontError, match="is not the one that the run began with"):
        notice(Label(TEXT, label_font=place, label_font_sha256="0" * 64), 320, 180)
    notice(Label(TEXT, label_font=place, label_font_sha256=digest_of(place)), 320, 180)
    with pytest.raises(FontError, match="cannot be read"):
        digest_of(str(tmp_path / "gone.ttf"))


@pytest.mark.parametrize(
    ("text", "shaped"),
    [
        ("Mit KI verändert", False),
        (CHINESE, False),
        ("שונה", True),
        ("تغيير", True),
        ("बदला", True),
        ("เปลี่ยน", True),
    ],
)
def test_scripts_that_need_shaping(text: str, shaped: bool) -> None:
    assert needs_shaping(text) is shaped


# --- in files -------------------------------------------------------------------------------------------------


def encoded(
    folder: Path, source: Path, name: str, frames: tuple[int, int] = (0, 12), **label: Any
) -> list[Any]:
    """Samples of the frames of a lossless file with a notice."""
    info = probe_video(str(source))
    options = EncoderOptions(codec="ffv1", **label)
    pairs = ((frame, frame.pts) for frame in read_frames(str(source), *frames, info))
    url = str(folder / f"{name}.mp4")
    encode_segment(url, pairs, info, options)
    return [
        [plane.copy() for plane in frame.samples()] for frame in read_frames(url, 0, frames[1] - frames[0])
    ]


KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "ten bits, PQ": {
        "pix_fmt": "yuv420p10le",
        "codec": "libx265",
        "attributes": {"color_trc": 16, "colorspace": 9},
    },
    "4:2:2": {"pix_fmt": "yuv422p"},
    "gray": {"pix_fmt": "gray"},
    "turned": {"matrix": (0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)},
    "irregular times": {"pts": [0, 100, 4000, 5000, 9000, 9500, 12800, 13000, 20000, 25600, 30000, 31000]},
}


@pytest.mark.parametrize("kind", KINDS)
def test_only_pixels_under_it_change_and_only_in_its_time(tmp_path: Path, kind: str) -> None:
    source = tmp_path / "source.mp4"
    settings = (
        {"options": {"x265-params": "log-level=none"}} if "x265" in KINDS[kind].get("codec", "") else {}
    )
    write_video(source, 12, (160, 96), **settings, **KINDS[kind])
    info = probe_video(str(source))
    label = {"label": "AI 合成", "label_seconds": "0.2-0.4", "label_size": 0.15}
    plain, shown = encoded(tmp_path, source, "plain"), encoded(tmp_path, source, "label", **label)
    seconds = [float((pts - info.pts[0]) * info.time_base) for pts in info.pts]
    inside = [0.2 <= second < 0.4 for second in seconds]
    assert 0 < sum(inside) < 12
    box, _, alpha = notice(
        EncoderOptions(codec="ffv1", **label), info.width, info.height, transfer=info.layout.tags.transfer
    )
    covered = np.zeros((info.height, info.width), bool)
    covered[box[1] : box[3], box[0] : box[2]] = alpha > 0
    coded = info.layout.orientation.coded(covered)
    for before, after, labelled in zip(plain, shown, inside, strict=True):
        changed = [a != b for a, b in zip(before, after, strict=True)]
        assert changed[0].any() == labelled
        assert not changed[0][~coded].any()
        for plane in changed[1:]:
            down, across = coded.shape[0] // plane.shape[0], coded.shape[1] // plane.shape[1]
            under = coded.reshape(plane.shape[0], down, plane.shape[1], across).any((1, 3))
            assert not plane[~under].any()


def test_segments_show_what_the_whole_shows(tmp_path: Path) -> None:
    """It depends on the time of a frame alone: cut anywhere, the pictures are the same."""
    source = tmp_path / "source.mp4"
    write_video(source, 12, (160, 96))
    label = {"label": TEXT, "label_seconds": "0.1-0.3"}
    whole = encoded(tmp_path, source, "whole", **label)
    parts = [
        one
        for n in range(0, 12, 5)
        for one in encoded(tmp_path, source, f"part{n}", (n, min(n + 5, 12)), **label)
    ]
    assert all(
        np.array_equal(a, b) for one, other in zip(whole, parts, strict=True) for a, b in zip(one, other)
    )


def test_the_frame_that_metrics_see_stays_without_it(tmp_path: Path) -> None:
    source = tmp_path / "source.mp4"
    write_video(source, 2, (160, 96))
    frame = next(iter(read_frames(str(source), 0, 1)))
    before = frame.luma().copy()
    labelled = Labeller(probe_video(str(source)), Label(TEXT)).on(frame, frame.pts)
    assert np.array_equal(frame.luma(), before)
    assert frame.drawn is None
    assert not np.array_equal(labelled.luma(), before)


def test_every_setting_reaches_the_encoder() -> None:
    given = Label(TEXT, "bottom", "3", 0.07, str(bundled_font(TEXT)), "0" * 64)
    options = EncoderOptions.of(EncoderOptions(**vars(given)))
    assert {name: getattr(options, name) for name in vars(given)} == dataclasses.asdict(given)
