"""Stage "blend" of the engine talkin: lays the painted mouths into the frames at their own resolution and encodes them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, ClassVar

import cv2
import numpy as np
import pyarrow as pa

from operators.columns import tensor
from operators.exemplar.masks import fill
from operators.faces.geometry import JAW
from operators.media.codec_names import Encoding
from operators.media.encoders import EncoderOptions
from operators.media.frames import Frame
from operators.media.ordered_frames import source_frames
from operators.media.probe import VideoInfo, probe_video
from operators.media.writer import encode_segment
from operators.numeric.affine import apply, invert, scale_of
from operators.receipt import RECEIPT, receipt
from operators.segment import Segment
from operators.stage import Stage
from operators.talkin.crops import crop_transform, hole
from operators.talkin.render_stage import SIDE, drawn_frames

#: Frames held where an output segment runs backwards.
BLOCK = 16
#: Softness of the border and distance to the jaw line, shares of the crop's side.
FEATHER, BEYOND = 0.02, 0.03


@dataclasses.dataclass(frozen=True)
class BlendOptions(Encoding):
    """Options of `BlendMouths`: the encoder's (`Encoding`) and the following.

    Attributes:
        side: of the painted crops, as in the stage `render`.
    """

    side: int = SIDE


class BlendMouths(Stage):
    """The painted face below the nose, inside the own and the wanted jaw, in the place of the frame's own; all else stays the decoded
    source, sample for sample. ``valid`` and ``fault`` are read by the measures alone (`operators.evaluation.watch`).

    Writes:
        path, sha256, frames, bytes: the receipt of the encoded output segment at ``segment["target"]``.
    """

    name: ClassVar[str] = "blend"
    doing: ClassVar[str] = "blending"
    per = "dub"
    Options: ClassVar[type] = BlendOptions
    reads = pa.schema(
        [
            tensor("landmarks", "float32", "T", 68, 2),
            tensor("valid", "bool", "T"),
            tensor("fault", "uint8", "T"),
            tensor("exemplar", "int64", "N"),
            tensor("shape", "float32", "N", 68, 2),
            tensor("blend", "float32", "N"),
            tensor("painted", "uint8", "N", SIDE, SIDE, 3),
        ]
    )
    writes = RECEIPT

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        side = self.options.side
        fields = [field for field in type(self).reads if field.name != "painted"]
        self.reads = pa.schema([*fields, tensor("painted", "uint8", "N", side, side, 3)])

    def process(self, segment: Segment) -> dict[str, Any]:
        """Raises MediaError where the video cannot be read or the output segment not be written."""
        options, info = self.options_for(segment), probe_video(segment.video)
        frames = self.shown(self._frames(segment, info))
        made = encode_segment(segment["target"], frames, info, EncoderOptions.of(options))
        return receipt(segment["target"], made)

    def _frames(self, segment: Segment, info: VideoInfo) -> Iterator[tuple[Frame, int]]:
        people = [(one, drawn_frames(one)) for one in (segment, *segment.others)]
        for k, frame in enumerate(source_frames(segment.video, segment.source, info, BLOCK)):
            for one, drawn in people:
                if drawn[k]:
                    own = one["landmarks"][frame.index - one.frames[0]]
                    share = float(min(1.0, 2 * one["blend"][k]))
                    lay_in(
                        frame,
                        np.asarray(one["painted"][k]),
                        np.asarray(own),
                        np.asarray(one["shape"][k]),
                        share,
                    )
            yield frame, int(segment.out_pts[k])


def lay_in(frame: Frame, painted: np.ndarray, own: np.ndarray, shape: np.ndarray, share: float) -> None:
    """Paste a painted crop into its frame.

    Args:
        frame: is drawn on.
        painted: uint8[side, side, 3].
        own, shape: float[68, 2], the frame's landmarks, and the wanted ones.
        share: 0 ... 1, of what was painted.
    """
    side = painted.shape[0]
    transform = crop_transform(own, side)
    back = invert(transform)
    corners = apply(back, np.array([[0, 0], [side, 0], [side, side], [0, side]], np.float64))
    low = np.maximum(np.floor(corners.min(0)).astype(int), 0)
    high = np.minimum(np.ceil(corners.max(0)).astype(int) + 1, frame.size)
    if (high - low).min() < 8:
        return
    width, height = (int(v) for v in high - low)
    shifted = back.copy()
    shifted[:, 2] -= low
    enlarge = cv2.INTER_CUBIC if scale_of(back) > 1 else cv2.INTER_AREA
    picture = cv2.warpAffine(
        painted, shifted, (width, height), flags=enlarge, borderMode=cv2.BORDER_REPLICATE
    )
    inside = cv2.warpAffine(hole(side), shifted, (width, height), flags=cv2.INTER_LINEAR)
    unit = side * scale_of(back)
    alpha = inside * face_region(own - low, shape - low, (width, height), unit) * np.float32(share)
    frame.paste((int(low[0]), int(low[1]), int(high[0]), int(high[1])), picture, alpha)


def face_region(own: np.ndarray, shape: np.ndarray, size: tuple[int, int], unit: float) -> np.ndarray:
    """float32[h, w] 0 ... 1: the face below the nose inside both jaw lines, a little beyond, with a soft border.

    Args:
        own, shape: float[68, 2], landmarks in the crop.
        size: width and height of the crop.
        unit: side of the painted crop in pixels of it.
    """
    points = np.concatenate([own[JAW[2:15]], shape[JAW[2:15]], own[31:36]])
    hull = cv2.convexHull(points.astype(np.float32))[:, 0]
    middle = hull.mean(0)
    reach = np.linalg.norm(hull - middle, axis=1, keepdims=True)
    grown = middle + (hull - middle) * (1 + BEYOND * unit / np.maximum(reach, 1e-3))
    return fill(grown, size, FEATHER * unit)
