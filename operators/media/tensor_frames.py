"""Frames as planes of tensors on any device: RGB of a part, and pasting into it (`operators.media.frames.Frame` for
batches of 8-bit 4:2:0 frames).

Imports torch and numpy only.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from operators.media.color import rgb_to_yuv, yuv_to_rgb
from operators.numeric.tensor_pictures import moved


class Part(NamedTuple):
    """A square part of each frame.

    Attributes:
        luma: float32[n, 1, s, s], code values.
        chroma: float32[n, 2, s / 2, s / 2], Cb and Cr.
        corners: int64[n, 2], y and x of its first sample, even.
    """

    luma: Tensor
    chroma: Tensor
    corners: Tensor


class PlanarFrames:
    """Batches of frames of one format: uint8[n, 3 h / 2, w], the Y' plane above the Cb and Cr planes, each of these
    in h / 4 rows.

    Args:
        height: lines of the picture, a multiple of 4.
        width: samples of a line, even.
        matrix: H.273 matrix coefficients.
        full_range: code values use the whole range.
        device: torch device.
    """

    def __init__(
        self,
        height: int,
        width: int,
        matrix: int = 1,
        full_range: bool = False,
        device: str | torch.device = "cpu",
    ) -> None:
        if height % 4 or width % 2:
            raise ValueError(
                f"planes of {width}x{height}: the height must be a multiple of 4, the width even"
            )
        self.height, self.width = height, width
        both = (yuv_to_rgb, rgb_to_yuv)
        self.to_rgb, self.to_yuv = (
            torch.from_numpy(function(matrix, full_range, 8, height)).to(device) for function in both
        )

    def planes(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Views [n, 1, h, w] and [n, 2, h / 2, w / 2] of frames."""
        chroma = frames[:, self.height :].view(len(frames), 2, self.height // 2, self.width // 2)
        return frames[:, None, : self.height], chroma

    def part(self, frames: Tensor, corners: Tensor, side: int) -> Part:
        """Samples of a square of each frame; the edge is repeated outside the picture.

        Args:
            frames: uint8[n, 3 h / 2, w].
            corners: int64[n, 2], y and x, even.
            side: of the square, even.
        """
        luma, chroma = self.planes(frames)
        return Part(
            moved(luma, corners, (side, side)).float(),
            moved(chroma, corners // 2, (side // 2, side // 2)).float(),
            corners,
        )

    def rgb(self, part: Part) -> Tensor:
        """float32[n, 3, s, s] in 0 ... 255, whole numbers; chroma samples are repeated (`Frame.rgb`)."""
        chroma = part.chroma.repeat_interleave(2, 2, output_size=part.luma.shape[2])
        chroma = chroma.repeat_interleave(2, 3, output_size=part.luma.shape[3])
        return _transformed(torch.cat([part.luma, chroma], 1), self.to_rgb).round().clamp(0, 255)

    def paste(self, frames: Tensor, part: Part, rgb: Tensor, alpha: Tensor) -> None:
        """Blend pictures into frames, in place (`Frame.paste`).

        Args:
            frames: uint8[n, 3 h / 2, w].
            part: of them, as it was; inside the picture.
            rgb: float32[n, 3, s, s], whole numbers.
            alpha: float32[n, 1, s, s], 0 ... 1; samples stay exactly what they are where it is 0.
        """
        value = _transformed(rgb, self.to_yuv) * alpha
        luma = part.luma + (value[:, :1] - alpha * part.luma)
        small, share = F.avg_pool2d(value[:, 1:], 2), F.avg_pool2d(alpha, 2)
        chroma = part.chroma + (small - share * part.chroma)
        # Where nothing is pasted the sum may only be the sample itself, whatever the picture holds there.
        luma = torch.where(alpha > 0, luma, part.luma)
        chroma = torch.where(share > 0, chroma, part.chroma)
        for plane, samples, corners in zip(
            self.planes(frames), (luma, chroma), (part.corners, part.corners // 2)
        ):
            side = samples.shape[-1]
            device = samples.device
            item = torch.arange(len(samples), device=device)[:, None, None, None]
            channel = torch.arange(samples.shape[1], device=device)[None, :, None, None]
            rows = (corners[:, :1] + torch.arange(side, device=device))[:, None, :, None]
            columns = (corners[:, 1:] + torch.arange(side, device=device))[:, None, None]
            plane.index_put_((item, channel, rows, columns), samples.round().clamp(0, 255).to(torch.uint8))


def _transformed(pictures: Tensor, matrix: Tensor) -> Tensor:
    """``cv2.transform`` of float32[n, 3, h, w] by float32[3, 4], in float32 whatever products are allowed."""
    weight, offset = matrix[:, :3], matrix[:, 3]
    x, y, z = pictures.split(1, 1)
    columns = (weight[None, :, k, None, None] for k in range(3))
    parts = [channel * column for channel, column in zip((x, y, z), columns)]
    return parts[0] + parts[1] + parts[2] + offset[None, :, None, None]
