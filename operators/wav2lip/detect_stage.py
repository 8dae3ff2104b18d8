"""The stage "detect" of the engine `wav2lip`: a box around the face in each frame, by S3FD, padded and
smoothed as the original does.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa

from operators.columns import tensor
from operators.media.rgb_reader import RgbReader, read_rgb
from operators.numeric.masks import runs
from operators.retalk.boxes import best_box
from operators.retalk.detectors import NetworkDetectors
from operators.retalk.face_boxes import WINDOW, pad_boxes, smooth_boxes
from operators.retalk.nets import NetworkStage, shared_networks
from operators.segment import Segment

#: A box that is thinner than this after padding shows no face, pixels.
THINNEST = 2


@dataclasses.dataclass(frozen=True)
class DetectOptions:
    """Options of `DetectStage`.

    Attributes:
        pads: top, bottom, left, right, pixels by which the box is larger than the detector's; the chin must
            be inside.
        smooth: mean of each box and the next four; False is the original's --nosmooth.
        static: the picture stands still: the shot's first frame is searched for a face, and its box holds for
            all frames of the shot.
        box: x1, y1, x2, y2 in pixels, a fixed box for all frames in place of the detector; it is neither
            padded nor smoothed.
        face: chosen: of several faces the one nearest to the person chosen for this title (`face` of the
            manifest); best: the one the detector is surest of, as the original does, in every shot.
        reader: pyav or decord; pictures in which faces are sought. decord takes local 8-bit files of constant
            frame rate, its pixels differ by 3 at most, and PyAV reads what it cannot; see
            `operators.media.rgb_reader`.
        weights: home of other model files than the official ones (its folder ``models``).
    """

    pads: tuple[int, int, int, int] = (0, 10, 0, 0)
    smooth: bool = True
    static: bool = False
    box: tuple[int, int, int, int] | None = None
    face: Literal["chosen", "best"] = "chosen"
    reader: RgbReader = "pyav"
    weights: str = ""

    def __post_init__(self) -> None:
        if self.box is not None:
            x1, y1, x2, y2 = self.box
            if not (0 <= x1 <= x2 - THINNEST and 0 <= y1 <= y2 - THINNEST):
                raise ValueError(
                    f"box {list(self.box)} must be x1, y1, x2, y2 in pixels with x1 < x2 and y1 < y2"
                )


class DetectStage(NetworkStage):
    """Places of the face in each frame.

    Writes:
        face_boxes: int64[C, 4], x1, y1, x2, y2 inside the picture; 0 where no face was found.
        found: bool[C].

    A frame without a face ends one run of boxes: smoothing does not reach across it, nor across cuts.
    """

    name = "detect"
    Options: ClassVar[type] = DetectOptions
    writes = pa.schema([tensor("face_boxes", "int64", "C", 4), tensor("found", "bool", "C")])

    def halo(self, options: DetectOptions) -> tuple[int, int]:
        """Return the frames that smoothing looks at: those behind, and before the end of a run those before."""
        looks = options.smooth and not options.static and options.box is None
        return (WINDOW - 1, WINDOW - 1) if looks else (0, 0)

    def model_files(self, options: DetectOptions) -> tuple[str, ...]:
        """See `Stage.model_files`."""
        return () if options.box is not None else ("s3fd",)

    def setup(self, device: str) -> None:
        """Prepare the detector; its network is loaded with the first frame."""
        self.networks = shared_networks(device, self.options.weights)
        self.detectors = NetworkDetectors(self.networks)

    def compute(self, segment: Segment) -> dict[str, Any]:
        """Find the boxes of a segment.

        Raises:
            ValueError: the option ``box`` leaves the picture.
            MediaError: the video cannot be read or decoded; names file and time.
        """
        options: DetectOptions = self.options_for(segment)
        (start, stop), (first, last) = segment.frames, segment.core
        if options.box is not None:
            return self._fixed(segment, options.box)
        if options.face == "chosen" and segment.anchor is None:
            return _columns(np.zeros((last - first, 4), np.int64), np.zeros(last - first, bool))
        anchor = segment.anchor if options.face == "chosen" else None
        if options.static:
            start, stop = segment.shot[0], segment.shot[0] + 1
        boxes, found = np.zeros((stop - start, 4), np.int64), np.zeros(stop - start, bool)
        for index, picture in read_rgb(segment.video, start, stop, options.reader):
            box = best_box(nearest_first(self.detectors.boxes(picture), anchor))
            if box is not None:
                padded = pad_boxes(box[None], options.pads, segment.size)[0]
                found[index - start] = bool((padded[2:] - padded[:2] >= THINNEST).all())
                boxes[index - start] = padded if found[index - start] else 0
        if options.static:
            return _columns(np.repeat(boxes, last - first, 0), np.repeat(found, last - first))
        if options.smooth:
            boxes = smoothed(boxes, found)
        return _columns(boxes[first - start : last - start], found[first - start : last - start])

    def _fixed(self, segment: Segment, box: tuple[int, int, int, int]) -> dict[str, Any]:
        width, height = segment.size
        count = segment.core[1] - segment.core[0]
        if box[2] > width or box[3] > height:
            raise ValueError(
                f"{segment.video}: box {list(box)} leaves the picture of {width}x{height}; give x1, y1, x2, y2 inside it"
            )
        return _columns(np.tile(np.array(box, np.int64), (count, 1)), np.ones(count, bool))


def _columns(boxes: np.ndarray, found: np.ndarray) -> dict[str, Any]:
    return {"face_boxes": boxes, "found": found}


def nearest_first(detections: np.ndarray, anchor: np.ndarray | None) -> np.ndarray:
    """Order detections by their distance to the chosen person's.

    Args:
        detections: float32[n, 5] x1, y1, x2, y2, score, best first.
        anchor: float32[4], a box of the person somewhere in this shot; None leaves the order as it is.

    Returns:
        float32[n, 5], the nearest centre first.
    """
    if anchor is None or len(detections) < 2:
        return detections
    centres = (detections[:, :2] + detections[:, 2:4]) / 2
    away = np.linalg.norm(centres - (anchor[:2] + anchor[2:]) / 2, axis=1)
    return detections[np.argsort(away, kind="stable")]


def smoothed(boxes: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Smooth each run of frames with a face as the original smooths a clip.

    Args:
        boxes: int64[T, 4].
        found: bool[T].

    Returns:
        int64[T, 4]; 0 where not found. A frame's box depends on four frames on either side.
    """
    result = np.zeros_like(boxes)
    for start, stop in runs(found):
        result[start:stop] = smooth_boxes(boxes[start:stop])
    return result
