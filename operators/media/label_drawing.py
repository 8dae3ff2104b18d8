"""Draw a notice into frames on their way to the encoder: white letters with a dark outline on a dark plate, inside the
title-safe area, for the frames that are shown in its time.
"""

from __future__ import annotations

import functools
from fractions import Fraction

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from operators.media.frames import Frame
from operators.media.label import Label, stretches
from operators.media.label_fonts import (
    FontError,
    bundled_font,
    check_font,
    digest_of,
    find_font,
    needs_shaping,
    open_font,
)
from operators.media.orientation import Box
from operators.media.probe import VideoInfo

#: Share of the width and of the height that stays free at each edge (title-safe, EBU R 95).
SAFE = 0.05
#: Opacity of the plate. Over the brightest picture letters still stand out from it by far more than 4.5 : 1.
PLATE = 0.8
#: R'G'B' of the letters by H.273 transfer characteristics: reference white, 203 cd/m2 for PQ and HLG (ITU-R BT.2408).
WHITE, WHITE_BY_TRANSFER = 255, {16: 148, 18: 191}
#: Lengths in heights of the em: outline, free space around the letters, between lines, radius of the plate's corners.
OUTLINE, PAD_X, PAD_Y, LEADING, RADIUS = 0.06, 0.45, 0.28, 1.3, 0.25
#: Height of the em below which letters are no letters, pixels.
LEAST = 8
#: Share of the picture's height that a notice may take.
TALLEST = 0.4


class Labeller:
    """Draws one notice into the frames of one video.

    Args:
        info: the video.
        label: what to draw, where and when.
    """

    def __init__(self, info: VideoInfo, label: Label) -> None:
        self._info, self._label = info, label
        self._stretches = stretches(label.label_seconds)
        self._start = int(info.pts[0])

    def shown(self, pts: int) -> bool:
        """Tell whether the notice is shown at a presentation time (in the video's time base)."""
        seconds = (pts - self._start) * self._info.time_base
        return any(first <= seconds and (last is None or seconds < last) for first, last in self._stretches)

    def on(self, frame: Frame, pts: int) -> Frame:
        """The frame with the notice if it is shown at that time, else the frame itself.

        Raises:
            FontError: no font can draw the text here.
            ValueError: it has no room in the picture.
        """
        if not self._label.label or not self.shown(pts):
            return frame
        box, rgb, alpha = notice(
            self._label,
            self._info.width,
            self._info.height,
            _shape(self._info),
            self._info.layout.tags.transfer,
        )
        labelled = frame.copy()
        labelled.paste(box, rgb, alpha)
        return labelled


def _shape(info: VideoInfo) -> Fraction:
    """Width of a pixel of the upright picture divided by its height."""
    shape = Fraction(info.sample_aspect_ratio or 1)
    return 1 / shape if info.rotation in (90, 270) else shape


@functools.lru_cache(maxsize=8)
def notice(
    label: Label, width: int, height: int, shape: Fraction = Fraction(1), transfer: int = 1
) -> tuple[Box, np.ndarray, np.ndarray]:
    """Draw a notice for pictures of a size.

    Args:
        label: what to draw and where.
        width, height: of the upright picture, pixels.
        shape: width of a pixel divided by its height.
        transfer: H.273 transfer characteristics of the picture.

    Returns:
        For `Frame.paste`: the box, R'G'B' uint8[h, w, 3] and alpha float32[h, w].

    Raises:
        FontError: no font can draw the text here.
        ValueError: it has no room in the picture.
    """
    # Laid out in square pixels: `across` of them make the picture's width.
    across = max(1, round(width * shape))
    place = _font_place(label)
    em = max(float(LEAST), label.label_size * min(across, height))
    while True:
        drawn = _draw(label.label, place, em, across * (1 - 2 * SAFE))
        if drawn is not None and drawn.shape[0] <= height * TALLEST:
            break
        if em <= LEAST:
            raise ValueError(
                f"label {label.label!r}: has no room in a picture of {width}x{height}; shorten it"
            )
        em = max(float(LEAST), em * 0.9)
    layers = drawn if shape == 1 else _squeezed(drawn, shape)
    plate, outline, letters = (layers[..., n] for n in range(3))
    alpha = 1 - (1 - PLATE * plate) * (1 - outline) * (1 - letters)
    white = WHITE_BY_TRANSFER.get(transfer, WHITE)
    grey = np.where(alpha > 0, white * letters / np.maximum(alpha, 1e-6), 0)
    rgb = np.rint(np.clip(grey, 0, 255)).astype(np.uint8)[..., None].repeat(3, -1)
    rows, columns = alpha.shape
    margin_x, margin_y = round(width * SAFE), round(height * SAFE)
    x = {"left": margin_x, "right": width - margin_x - columns}.get(
        label.label_position.partition("-")[2], (width - columns) // 2
    )
    y = margin_y if label.label_position.startswith("top") else height - margin_y - rows
    x, y = min(max(0, x), width - columns), min(max(0, y), height - rows)
    return (x, y, x + columns, y + rows), rgb, alpha.astype(np.float32)


def _font_place(label: Label) -> str:
    """Return the font of a notice, checked.

    Raises:
        FontError: it is another one than was chosen, or lacks glyphs.
    """
    if not label.label_font:
        found = bundled_font(label.label)
        return str(found) if found is not None else find_font(label.label)
    if label.label_font_sha256 and (digest := digest_of(label.label_font)) != label.label_font_sha256:
        raise FontError(
            f"label: font {label.label_font} of this machine (SHA-256 {digest[:12]}…) is not the one that the run began with "
            f"({label.label_font_sha256[:12]}…); install the same font everywhere"
        )
    check_font(label.label_font, label.label)
    return label.label_font


def _squeezed(layers: np.ndarray, shape: Fraction) -> np.ndarray:
    """Layers float32[h, w, 3] in pixels that are `shape` times as wide as high."""
    size = (max(1, round(layers.shape[1] / shape)), layers.shape[0])
    how = cv2.INTER_AREA if shape > 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(layers, size, interpolation=how), np.float32)


def _draw(text: str, place: str, em: float, room: float) -> np.ndarray | None:
    """Coverage float32[h, w, 3] of plate, outline and letters in square pixels; None where lines are wider than `room`
    pixels.
    """
    font = open_font(place, em, needs_shaping(text))
    edge, pad_x, pad_y = max(1, round(OUTLINE * em)), round(PAD_X * em), round(PAD_Y * em)
    lines = _lines(text, font, room - 2 * (pad_x + edge))
    if lines is None:
        return None
    ascent, descent = font.getmetrics()
    step = round(LEADING * em)
    columns = round(max(font.getlength(line) for line in lines)) + 2 * (pad_x + edge)
    rows = ascent + descent + step * (len(lines) - 1) + 2 * pad_y
    if columns > room + 1:
        return None
    layers = []
    for stroke in (edge, 0):
        layer = Image.new("L", (columns, rows), 0)
        draw = ImageDraw.Draw(layer)
        for number, line in enumerate(lines):
            x = (columns - font.getlength(line)) / 2
            draw.text((round(x), pad_y + number * step), line, 255, font, stroke_width=stroke)
        layers.append(layer)
    plate = Image.new("L", (columns * 4, rows * 4), 0)
    ImageDraw.Draw(plate).rounded_rectangle((0, 0, columns * 4 - 1, rows * 4 - 1), RADIUS * em * 4, 255)
    plate = plate.resize((columns, rows), Image.Resampling.BOX)
    return np.stack([np.asarray(layer, np.float32) / 255 for layer in (plate, *layers)], -1)


def _lines(text: str, font: ImageFont.FreeTypeFont, room: float) -> list[str] | None:
    """A text in lines no wider than `room` pixels: broken between words, or anywhere in a script without spaces. None
    where a word is wider.
    """
    lines: list[str] = []
    for paragraph in text.split("\n"):
        parts = paragraph.split()
        joint = " "
        if any(font.getlength(part) > room for part in parts) and _without_spaces(paragraph):
            parts, joint = list(paragraph.strip()), ""
        line = ""
        for part in parts:
            longer = f"{line}{joint}{part}" if line else part
            if line and font.getlength(longer) > room:
                lines.append(line)
                line = part
            else:
                line = longer
        lines.append(line)
    lines = [line for line in lines if line]
    return lines if lines and all(font.getlength(line) <= room for line in lines) else None


def _without_spaces(text: str) -> bool:
    """Tell Chinese and Japanese text, which may be broken between any two characters."""
    return any(
        0x3040 <= ord(sign) <= 0x30FF or 0x3400 <= ord(sign) <= 0x9FFF or ord(sign) >= 0x20000
        for sign in text
    )


def contrast(first: float, second: float) -> float:
    """Contrast of two relative luminances (0 black, 1 white) as WCAG 2 defines it: 1 to 21."""
    low, high = sorted((first, second))
    return (high + 0.05) / (low + 0.05)
