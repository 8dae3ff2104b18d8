"""The stage "blend": lays the drawn faces into the frames at their own resolution and encodes them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, ClassVar

import cv2
import numpy as np
import pyarrow as pa

from operators.columns import tensor
from operators.media.codec_names import Encoding
from operators.media.encoders import EncoderOptions
from operators.media.frames import Frame
from operators.media.ordered_frames import source_frames
from operators.media.probe import VideoInfo, probe_video
from operators.media.writer import encode_segment
from operators.numeric.pyramid import blend
from operators.receipt import RECEIPT, receipt
from operators.retalk.framing import scaled
from operators.retalk.geometry import LEVELS, SIDE
from operators.segment import Segment
from operators.stage import Stage

#: Frames held where an output segment runs backwards.
BLOCK = 16


@dataclasses.dataclass(frozen=True)
class BlendOptions(Encoding):
    """Options of `BlendStage`: the encoder's (`Encoding`) and the following.

    Attributes:
        levels: of the pyramid that joins face and frame: borders are blended over up to 2 ** levels pixels.
            1: a plain soft edge.
    """

    levels: int = LEVELS

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.levels <= 8:
            raise ValueError(f"levels {self.levels} must be from 1 to 8")


class BlendStage(Stage):
    """Compositing in the face's box at native resolution; everything outside the mask stays the decoded
    source, sample for sample.

    Frames with ``strength`` 0 are encoded as decoded. ``landmarks``, ``valid`` and ``fault`` are read by the measures alone
    (`operators.evaluation.watch`).
    """

    name = "blend"
    doing = "blending"
    per = "dub"
    Options: ClassVar[type] = BlendOptions
    reads = pa.schema(
        [
            tensor("landmarks", "float32", "T", 68, 2),
            tensor("valid", "bool", "T"),
            tensor("fault", "uint8", "T"),
            tensor("face_boxes", "int64", "C", 4),
            tensor("strength", "float32", "N"),
            tensor("face", "uint8", "N", SIDE, SIDE, 3),
            tensor("mask", "uint8", "N", SIDE, SIDE),
        ]
    )
    writes = RECEIPT

    def process(self, segment: Segment) -> dict[str, Any]:
        """Raises MediaError where the video cannot be read or the output segment not be written."""
        options, info = self.options_for(segment), probe_video(segment.video)
        encoder = EncoderOptions.of(options)
        made = encode_segment(
            segment["target"], self.shown(self._frames(segment, info, options.levels)), info, encoder
        )
        return receipt(segment["target"], made)

    def _frames(self, segment: Segment, info: VideoInfo, levels: int) -> Iterator[tuple[Frame, int]]:
        for k, frame in enumerate(source_frames(segment.video, segment.source, info, BLOCK)):
            for one in (segment, *segment.others):
                if (strength := float(one["strength"][k])) > 0:
                    box: Any = tuple(int(v) for v in one["face_boxes"][frame.index - one.core[0]])
                    rgb, alpha = composite(frame.rgb(box), one["face"][k], one["mask"][k], strength, levels)
                    frame.paste(box, rgb, alpha)
            yield frame, int(segment.out_pts[k])


def composite(
    own: np.ndarray, face: np.ndarray, mask: np.ndarray, strength: float, levels: int
) -> tuple[np.ndarray, np.ndarray]:
    """A drawn face in the place of a frame's own.

    Args:
        own: uint8[h, w, 3] RGB, the frame's face box.
        face: uint8[384, 384, 3] RGB, drawn.
        mask: uint8[384, 384].
        strength: 0 ... 1.
        levels: of the pyramid.

    Returns:
        uint8[h, w, 3] and alpha float32[h, w] for `Frame.paste`; alpha is 0 where the mask is.
    """
    height, width = own.shape[:2]
    weight = scaled(np.asarray(mask), width, height).astype(np.float32) / 255
    new = scaled(np.asarray(face), width, height)
    unit = 1 << (levels - 1)
    pad = (0, -height % unit, 0, -width % unit)
    a, b = (cv2.copyMakeBorder(picture, *pad, cv2.BORDER_REFLECT_101) for picture in (new, own))
    m = cv2.copyMakeBorder(weight, *pad, cv2.BORDER_CONSTANT, value=0)
    mixed = np.clip(np.rint(blend(a, b, m, levels)), 0, 255).astype(np.uint8)[:height, :width]
    # The bands reach a little beyond the mask's middle; the paste fades them out where the mask ends.
    return mixed, np.clip(2 * weight, 0, 1) * np.float32(strength)
