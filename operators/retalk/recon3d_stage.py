"""The stage "recon3d": cuts the head and the face out of each frame and measures the head's 3DMM
coefficients.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import cv2
import numpy as np
import pyarrow as pa

from operators.columns import tensor
from operators.media.reader import read_frames
from operators.numeric import affine
from operators.retalk import align3d, coefficients, framing
from operators.retalk.face_boxes import DEFAULT_PADS
from operators.retalk.framing import CROP
from operators.retalk.model_files import Precision
from operators.retalk.nets import Networks, NetworkStage, shared_networks
from operators.retalk.network_inputs import SIDE
from operators.retalk.source import standard_points
from operators.segment import Segment


@dataclasses.dataclass(frozen=True)
class Recon3dOptions:
    """Options of `Recon3d`.

    Attributes:
        pads: top, bottom, left, right, pixels by which the face box is larger than the face.
        weights: home of other model files than the official ones (its folder ``models``).
        precision: what networks compute in; auto: float32 on a CPU, and float16 on a
            GPU where that shows in no picture.
    """

    pads: tuple[int, int, int, int] = DEFAULT_PADS
    weights: str = ""
    precision: Precision = "auto"


class Recon3d(NetworkStage):
    """Crops of head and face, and 3DMM coefficients.

    Writes:
        coeffs: float32[T, 262]; 257 numbers of the network, then width, height, scale, tx, ty in the frame's
            own crop. 0 where not valid.
        crop_boxes: int64[T, 4], squares around the head, smoothed (`framing.crop_boxes`).
        crops: uint8[C, 256, 256, 3] RGB of `crop_boxes`.
        face_boxes: int64[C, 4], boxes of the face inside the picture, smoothed (`framing.face_boxes`).
        faces: uint8[C, 384, 384, 3] RGB of `face_boxes`.
    """

    name = "recon3d"
    doing = "fitting 3D faces"
    Options: ClassVar[type] = Recon3dOptions
    shares = True
    reads = pa.schema([tensor("landmarks", "float32", "T", 68, 2), tensor("valid", "bool", "T")])
    writes = pa.schema(
        [
            tensor("coeffs", "float32", "T", 262),
            tensor("crop_boxes", "int64", "T", 4),
            tensor("crops", "uint8", "C", CROP, CROP, 3),
            tensor("face_boxes", "int64", "C", 4),
            tensor("faces", "uint8", "C", SIDE, SIDE, 3),
        ]
    )

    def halo(self, options: Recon3dOptions) -> tuple[int, int]:
        """Frames that the smoothing of the boxes needs on either side."""
        del options
        return framing.REACH, framing.REACH

    def model_files(self, options: Recon3dOptions) -> tuple[str, ...]:
        """See `Stage.model_files`."""
        del options
        return ("face3d", "similarity_Lm3D_all.mat")

    def setup(self, device: str) -> None:
        """Load the network."""
        self.networks = shared_networks(device, self.options.weights, self.options.precision)
        self.networks.module("face3d")
        self._standard = standard_points(self.networks.registry)

    def compute(self, segment: Segment) -> dict[str, Any]:
        """See the class."""
        landmarks, valid = np.asarray(segment["landmarks"]), np.asarray(segment["valid"], bool)
        (start, stop), core = segment.frames, segment.core
        boxes = framing.crop_boxes(landmarks, valid)
        faces_at = framing.face_boxes(landmarks, valid, self.options_for(segment).pads, segment.size)[
            core[0] - start : core[1] - start
        ]
        crops, faces = (
            np.zeros((core[1] - core[0], CROP, CROP, 3), np.uint8),
            np.zeros((core[1] - core[0], SIDE, SIDE, 3), np.uint8),
        )
        pictures, rows = [], []
        # Frames outside the core are looked at as far as a window of coefficients reaches.
        low, high = core[0] - coefficients.BEFORE, core[1] + coefficients.AFTER
        for frame in read_frames(segment.video, max(start, low), min(stop, high)):
            t, c = frame.index - start, frame.index - core[0]
            if not valid[t]:
                continue
            crop = framing.cut(frame, boxes[t], CROP)
            points = affine.apply(framing.into_box(boxes[t], CROP), landmarks[t].astype(np.float64))
            picture, parameters = align3d.align(crop, points, self._standard)
            pictures.append(picture)
            rows.append((t, parameters))
            if 0 <= c < len(crops):
                crops[c], faces[c] = crop, framing.cut(frame, faces_at[c], SIDE)
        coeffs = np.zeros((stop - start, 262), np.float32)
        if rows:
            numbers = self.networks.coefficients(np.stack(pictures))
            for (t, parameters), row in zip(rows, numbers, strict=True):
                coeffs[t] = np.concatenate([row, parameters])
        return {"coeffs": coeffs, "crop_boxes": boxes, "crops": crops, "face_boxes": faces_at, "faces": faces}


def picture_coefficients(picture: np.ndarray, landmarks: np.ndarray, networks: Networks) -> np.ndarray:
    """float32[257] of one picture uint8[h, w, 3] RGB with landmarks float[68, 2]: `Recon3d` without a video."""
    box = framing.crop_boxes(landmarks[None].astype(np.float32), np.ones(1, bool))[0]
    matrix = framing.into_box(box, CROP)
    crop = cv2.warpAffine(
        picture, matrix, (CROP, CROP), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    points = affine.apply(matrix, landmarks.astype(np.float64))
    return networks.coefficients(align3d.align(crop, points, standard_points(networks.registry))[0][None])[0]
