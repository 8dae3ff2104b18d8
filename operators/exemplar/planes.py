"""Arithmetic on pictures of luma and half-size chroma (`operators.media.picture_420`); used by `composite`."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np

from operators.exemplar.masks import Box, cells
from operators.media.picture_420 import Picture420
from operators.numeric.halving import halved
from operators.numeric.pyramid import of_channels

#: Code value of chroma without colour.
GREY = 128


@dataclasses.dataclass
class Planes:
    """A picture to compute on, code values.

    Attributes:
        luma: float32[h, w].
        chroma: float32[ceil(h / 2), ceil(w / 2), 2].
    """

    luma: np.ndarray
    chroma: np.ndarray

    @classmethod
    def of(cls, picture: Picture420, box: Box) -> Planes:
        """A copy of a part of a picture whose corner is even."""
        rows, half = parts(box)
        return cls(picture.luma[rows].astype(np.float32), picture.chroma[half].astype(np.float32))

    def cells(self) -> np.ndarray:
        """Means over `masks.TONE_CELLS`: float32[gh, gw, 3], Y', Cb and Cr."""
        return np.dstack([cells(self.luma), cells(self.chroma)])

    def change(self, gain: np.ndarray, offset: np.ndarray) -> None:
        """Multiply by a gain float32[gh, gw] and add an offset float32[gh, gw, 3], both on `masks.TONE_CELLS`, linear between them."""
        self.luma *= _spread(gain, self.luma)
        self.chroma *= of_channels(_spread(gain, self.chroma), self.chroma)
        self.add(offset)

    def add(self, offset: np.ndarray) -> None:
        """Add an offset float32[gh, gw, 3] on `masks.TONE_CELLS`, linear between them."""
        self.luma += _spread(offset[..., 0], self.luma)
        self.chroma += _spread(offset[..., 1:], self.chroma)

    def mix(self, other: Planes, weight: np.ndarray) -> None:
        """Go towards another picture, by a weight float32[h, w]."""
        self.luma += (other.luma - self.luma) * weight
        self.chroma += (other.chroma - self.chroma) * of_channels(halved(weight), self.chroma)

    def rgb(self, size: tuple[int, int], to_rgb: np.ndarray) -> np.ndarray:
        """float32[height, width, 3], R'G'B' in a small size (width, height), means."""
        resized = [
            cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in (self.luma, self.chroma)
        ]
        return colours(np.dstack(resized), to_rgb)

    def into(self, picture: Picture420, box: Box) -> None:
        """Write the picture, rounded, over a part of another whose corner is even."""
        from operators.exemplar.warp_kernels import rounded_into

        rows, half = parts(box)
        rounded_into(self.luma, picture.luma[rows])
        # Cb and Cr of a row lie side by side.
        flat = [plane.reshape(len(plane), -1) for plane in (self.chroma, picture.chroma[half])]
        rounded_into(*flat)


def parts(box: Box) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Rows and columns of a box with an even corner, in luma and in chroma."""
    x1, y1, x2, y2 = box
    return np.s_[y1:y2, x1:x2], np.s_[y1 // 2 : -(-y2 // 2), x1 // 2 : -(-x2 // 2)]


def warped(picture: Picture420, map_x: np.ndarray, map_y: np.ndarray) -> Planes:
    """A picture under `cv2.remap` maps float32[h, w], bicubic, its border repeated."""
    from operators.exemplar.warp_kernels import half_size

    half = half_size(map_x, map_y)
    # OpenCV warps single planes of floats in half of the time of bytes, and in a fifth of that of two channels.
    luma = cv2.remap(
        picture.luma.astype(np.float32), map_x, map_y, cv2.INTER_CUBIC, None, cv2.BORDER_REPLICATE
    )
    chroma = [
        cv2.remap(plane.astype(np.float32), half[0], half[1], cv2.INTER_CUBIC, None, cv2.BORDER_REPLICATE)
        for plane in cv2.split(picture.chroma)
    ]
    return Planes(luma, cv2.merge(chroma))


def colours(ycc: np.ndarray, to_rgb: np.ndarray) -> np.ndarray:
    """R'G'B' float32[h, w, 3], 0..255, of Y', Cb and Cr float32[h, w, 3]: not all of these are a colour, saturated ones least of all.

    Args:
        ycc: code values.
        to_rgb: float32[3, 4], see `Picture420`.
    """
    return np.clip(cv2.transform(ycc, to_rgb), 0, 255)


def gained(ycc: np.ndarray, tone: np.ndarray, to_rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Change the colours of cells by gains of red, green and blue.

    Args:
        ycc: float32[gh, gw, 3], Y', Cb and Cr.
        tone: float32[gh, gw, 3], natural log of the gains.
        to_rgb: float32[3, 4], see `Picture420`.

    Returns:
        The cells after it, and how much lighter they are, float32[gh, gw]: the ratio of luma above black.
    """
    more = colours(ycc, to_rgb) * np.expm1(tone)
    changed = ycc + cv2.transform(more, np.linalg.inv(to_rgb[:, :3]))
    black = -(to_rgb[0, 3] + to_rgb[0, 1:3].sum() * GREY) / to_rgb[0, 0]
    # In the dark a ratio says nothing, and samples may be blacker than black.
    light = [np.maximum(one[..., 0] - black, 0) + 4 for one in (changed, ycc)]
    return changed, light[0] / light[1]


def _spread(values: np.ndarray, plane: np.ndarray) -> np.ndarray:
    """Values on `masks.TONE_CELLS` over every pixel of a plane."""
    return cv2.resize(np.ascontiguousarray(values), plane.shape[1::-1], interpolation=cv2.INTER_LINEAR)
