"""Stages of parity mode that run once per segment: `detect`, `recon3d`, `dnet` (see `parity_stage`)."""

from __future__ import annotations

import dataclasses
from typing import Any

import cv2
import numpy as np
import pyarrow as pa

from operators.columns import tensor
from operators.media.reader import read_frames
from operators.retalk import align3d, coefficients, oriented_crops
from operators.retalk.detectors import Detectors
from operators.retalk.face_boxes import WINDOW
from operators.retalk.original import Box, Steps
from operators.retalk.parity_stage import CROP, ParityOptions, ParityStage, bgr
from operators.retalk.source import PICTURES, check_expression, standard_points, template
from operators.segment import Segment


class DetectOriginal(ParityStage):
    """dlib on the clip's first frame, S3FD and FAN on each crop, S3FD on each frame.

    Writes ``crops`` RGB, ``landmarks`` in their pixels, ``found`` (False: no face in this and any earlier
    crop), ``clip_box`` (oy1, oy2, ox1, ox2) and ``boxes`` x1, y1, x2, y2 (for the core and what its smoothing
    reads).
    """

    name = "detect"
    doing = "finding faces"
    writes = pa.schema(
        [
            tensor("crops", "uint8", "T", CROP, CROP, 3),
            tensor("landmarks", "float32", "T", 68, 2),
            tensor("found", "bool", "T"),
            tensor("clip_box", "int64", 4),
            tensor("boxes", "int64", "T", 4),
        ]
    )

    def model_files(self, options: ParityOptions) -> tuple[str, ...]:
        return () if options.recorded else ("s3fd", "fan")

    def compute(self, segment: Segment) -> dict[str, Any]:
        """Raises ValueError where the original fails: no face in the first half of the clip, or in a frame."""
        detectors, (start, stop) = self.detectors(segment), segment.frames
        low, high = segment.core[0] - WINDOW + 1, segment.core[1] + WINDOW - 1
        y1, y2, x1, x2 = box = self._clip_box(segment, detectors)
        crops, boxes = (
            np.zeros((stop - start, CROP, CROP, 3), np.uint8),
            np.zeros((stop - start, 4), np.int64),
        )
        landmarks = np.full((stop - start, 68, 2), np.nan, np.float32)
        for t, frame in enumerate(read_frames(segment.video, start, stop)):
            crops[t] = cv2.resize(np.ascontiguousarray(frame.rgb((x1, y1, x2, y2))), (CROP, CROP))
            points = detectors.source_landmarks(frame.index, crops[t])
            if points is None:
                points = landmarks[t - 1] if t else self._earlier(segment, detectors, box)
            landmarks[t] = points
            if low <= frame.index < high:
                found = detectors.face_box(frame.index, bgr(frame))
                if found is None:
                    raise ValueError(
                        f"{segment.video}: no face in frame {frame.index}; the original stops here (engine retalk does not)"
                    )
                boxes[t] = found
        seen = ~np.isnan(landmarks[:, 0, 0])
        columns = {"crops": crops, "landmarks": np.nan_to_num(landmarks), "found": seen, "boxes": boxes}
        return {**columns, "clip_box": np.array(box, np.int64)}

    def _clip_box(self, segment: Segment, detectors: Detectors) -> Box:
        for frame in read_frames(segment.video, 0, max(1, segment.n_frames // 2)):
            points = detectors.clip_landmarks(frame.index, frame.rgb())
            if points is not None:
                return oriented_crops.clip_crop(points, *segment.size).box
        raise ValueError(f"{segment.video}: no face in the first half of the video; the original stops here")

    def _earlier(self, segment: Segment, detectors: Detectors, box: Box) -> np.ndarray:
        """Landmarks of the last crop before the segment that has a face, NaN where none has."""
        y1, y2, x1, x2 = box
        for index in range(segment.frames[0] - 1, -1, -1):
            for frame in read_frames(segment.video, index, index + 1):
                points = detectors.source_landmarks(
                    index, cv2.resize(frame.rgb((x1, y1, x2, y2)), (CROP, CROP))
                )
                if points is not None:
                    return points
        return np.full((68, 2), np.nan, np.float32)


class Recon3dOriginal(ParityStage):
    """3DMM coefficients of each crop."""

    name = "recon3d"
    doing = "fitting 3D faces"
    reads = pa.schema(
        [
            tensor("crops", "uint8", "T", CROP, CROP, 3),
            tensor("landmarks", "float32", "T", 68, 2),
            tensor("found", "bool", "T"),
        ]
    )
    writes = pa.schema([tensor("coeffs", "float32", "T", 262)])

    def model_files(self, options: ParityOptions) -> tuple[str, ...]:
        return ("face3d", "similarity_Lm3D_all.mat")

    def compute(self, segment: Segment) -> dict[str, Any]:
        """See the class."""
        standard = standard_points(self.networks.registry)
        pictures, parameters = [], []
        for crop, points, found in zip(segment["crops"], segment["landmarks"], segment["found"], strict=True):
            picture, trans = align3d.align(crop, points if found else None, standard)
            pictures.append(picture)
            parameters.append(trans)
        return {
            "coeffs": np.concatenate(
                [self.networks.coefficients(np.stack(pictures)), np.stack(parameters)], axis=1
            ).astype(np.float32)
        }


@dataclasses.dataclass(frozen=True)
class DNetOriginalOptions(ParityOptions):
    """Options of `DNetOriginal`.

    Attributes:
        expression: neutral, smile, or a file of 64 numbers.
    """

    expression: str = "neutral"

    def __post_init__(self) -> None:
        check_expression(self.expression)
        if self.expression.lower().endswith(PICTURES):
            raise ValueError(
                f"expression {self.expression}: a picture is for engine retalk; the original's release cannot take one"
            )


class DNetOriginal(ParityStage):
    """Stabilised pictures, enhanced (BGR), and the oriented square of the face in each."""

    name = "dnet"
    doing = "neutralising expressions"
    Options = DNetOriginalOptions
    reads = pa.schema([tensor("crops", "uint8", "T", CROP, CROP, 3), tensor("coeffs", "float32", "T", 262)])
    writes = pa.schema(
        [tensor("enhanced", "uint8", "C", CROP, CROP, 3), tensor("quad", "float64", "C", 4, 2)]
    )

    def halo(self, options: DNetOriginalOptions) -> tuple[int, int]:
        """The coefficients' window, which is also more than the smoothing of the boxes needs."""
        del options
        return coefficients.BEFORE, coefficients.AFTER

    def model_files(self, options: DNetOriginalOptions) -> tuple[str, ...]:
        return (
            "dnet",
            "gpen",
            "parsenet",
            "expression.mat",
            *(() if options.recorded else ("retinaface", "s3fd", "fan")),
        )

    def compute(self, segment: Segment) -> dict[str, Any]:
        """See the class."""
        options, detectors, steps = self.options_for(segment), self.detectors(segment), Steps(self.networks)
        expression = template(options.expression, self.networks.registry)
        low, high = segment.core[0] - segment.frames[0], segment.core[1] - segment.frames[0]
        # The segment's rows end where the title's do, or further away than a window reaches; the source's own
        # row is among them: ratio 1.
        rows = np.asarray(segment["coeffs"])
        windows = np.stack(
            [
                coefficients.window(rows, i, float(coefficients.crop_ratio(rows[i], rows)), expression)
                for i in range(low, high)
            ]
        )
        stabilised = self.networks.edit(np.asarray(segment["crops"])[low:high], windows)[..., ::-1]
        enhanced, landmarks = np.zeros_like(stabilised), []
        for k in range(len(stabilised)):
            index, picture = segment.core[0] + k, np.ascontiguousarray(stabilised[k])
            faces = detectors.reference_faces(index, picture)
            enhanced[k] = steps.reference(picture, faces)
            points = detectors.enhanced_landmarks(index, enhanced[k])
            if points is None:
                raise ValueError(
                    f"{segment.video}: no face in the enhanced picture of frame {index}; the original stops here"
                )
            landmarks.append(points)
        return {"enhanced": enhanced, "quad": oriented_crops.oriented_crops(np.stack(landmarks))}
