"""The six detector passes of the original, one function each: by its networks, or answered from a recording
(parity mode).

`operators.faces` serves the default mode; these serve comparisons with the original, where other landmarks
would give other pictures.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import torch

from operators.retalk.boxes import (
    ENHANCER_LONGEST,
    ENHANCER_SHRUNK,
    best_box,
    decode_fan,
    decode_retinaface,
    decode_s3fd,
    fan_crop,
    fan_region,
)
from operators.retalk.nets import Networks
from operators.retalk.restore import MINIMUM_SCORE, centre_index

#: Means that the detectors subtract, in the order of the channels as they arrive.
MEANS = np.array([104.0, 117.0, 123.0], np.float32)
#: Eyes closer together than this are no face to restore, pixels.
EYE_DISTANCE = 5.0

Faces = tuple[np.ndarray, np.ndarray]


class Detectors(Protocol):
    """Detectors as the original uses them. ``index`` counts source frames, ``out`` frames of the result;
    pictures are uint8[h, w, 3].
    """

    def clip_landmarks(self, index: int, rgb: np.ndarray) -> np.ndarray | None:
        """dlib's int64[68, 2] of a whole frame, None: no face."""

    def source_landmarks(self, index: int, rgb: np.ndarray) -> np.ndarray | None:
        """face-alignment's float32[68, 2] of the clip's crop, 256 x 256."""

    def enhanced_landmarks(self, index: int, bgr: np.ndarray) -> np.ndarray | None:
        """face-alignment's float32[68, 2] of the enhanced picture, 256 x 256, which it takes for RGB (quirk)."""

    def face_box(self, index: int, bgr: np.ndarray) -> np.ndarray | None:
        """S3FD's best box in a whole frame, int64[4] x1, y1, x2, y2."""

    def reference_faces(self, index: int, bgr: np.ndarray) -> Faces:
        """RetinaFace's float32[n, 5] boxes with scores and float32[n, 5, 2] points in the stabilised picture,
        256 x 256.
        """

    def final_faces(self, out: int, bgr: np.ndarray) -> Faces:
        """The same in a whole frame of the result."""

    def restoration_points(self, out: int, bgr: np.ndarray) -> np.ndarray | None:
        """Five points float32[5, 2] of the face to restore in a whole frame of the result."""


class NetworkDetectors:
    """The detectors themselves.

    Args:
        networks: with the weights of s3fd, fan and retinaface.
    """

    def __init__(self, networks: Networks) -> None:
        self.networks = networks

    @functools.cached_property
    def _dlib(self) -> tuple[Any, Any]:
        import dlib

        from operators.faces.dlib_backend import bundled_model

        predictor = dlib.shape_predictor(str(bundled_model("shape_predictor_68_face_landmarks.dat")))
        return dlib.get_frontal_face_detector(), predictor

    def clip_landmarks(self, index: int, rgb: np.ndarray) -> np.ndarray | None:
        detector, predictor = self._dlib
        faces = detector(np.ascontiguousarray(rgb), 1)
        return (
            np.array([(p.x, p.y) for p in predictor(rgb, faces[0]).parts()], np.int64) if len(faces) else None
        )

    def source_landmarks(self, index: int, rgb: np.ndarray) -> np.ndarray | None:
        # face-alignment flips its RGB to BGR for the detector.
        found = self.boxes(rgb[..., ::-1])
        if not len(found):
            return None
        centre, scale = fan_region(found[0])
        net = self.networks.module("fan")
        heat = self._maps(lambda x: net(x / 255.0)[-1], fan_crop(rgb, centre, scale))
        return decode_fan(heat[0][0], centre, scale)[1]

    def enhanced_landmarks(self, index: int, bgr: np.ndarray) -> np.ndarray | None:
        return self.source_landmarks(index, bgr)

    def face_box(self, index: int, bgr: np.ndarray) -> np.ndarray | None:
        return best_box(self.boxes(bgr[..., ::-1]))

    def reference_faces(self, index: int, bgr: np.ndarray) -> Faces:
        return self.faces(bgr)

    def final_faces(self, out: int, bgr: np.ndarray) -> Faces:
        return self.faces(bgr)

    def restoration_points(self, out: int, bgr: np.ndarray) -> np.ndarray | None:
        height, width = bgr.shape[:2]
        boxes, points = decode_retinaface(
            *self.retinaface_maps(bgr), (width, height), threshold=MINIMUM_SCORE
        )
        # Quirk: facexlib 0.2.5 takes the wrong columns for the distance of the eyes.
        apart = np.hypot(points[:, 0, 1] - points[:, 1, 1], points[:, 1, 0] - points[:, 2, 0])
        boxes, points = boxes[apart > EYE_DISTANCE], points[apart > EYE_DISTANCE]
        return points[centre_index(boxes, (width, height))] if len(boxes) else None

    def boxes(self, picture: np.ndarray) -> np.ndarray:
        """S3FD's float32[n, 5], best first, of a picture in the order that the network is given."""
        maps = self.s3fd_maps(picture)
        scores = [np.exp(m - m.max(1, keepdims=True)) for m in maps[0::2]]
        return decode_s3fd([s[0] / s[0].sum(0) for s in scores], [m[0] for m in maps[1::2]])

    def faces(self, bgr: np.ndarray) -> Faces:
        """RetinaFace as the enhancer calls it: large pictures shrunk, answers in the picture's own pixels."""
        height, width = bgr.shape[:2]
        shrink = ENHANCER_SHRUNK / max(height, width) if max(height, width) > ENHANCER_LONGEST else 1.0
        if shrink != 1.0:
            bgr = cv2.resize(bgr, None, fx=shrink, fy=shrink)
        found, points = decode_retinaface(*self.retinaface_maps(bgr), (bgr.shape[1], bgr.shape[0]))
        return np.concatenate([found[:, :4] / np.float32(shrink), found[:, 4:]], axis=1), points / np.float32(
            shrink
        )

    def s3fd_maps(self, picture: np.ndarray) -> list[np.ndarray]:
        """The network's twelve raw maps of uint8[h, w, 3]."""
        net = self.networks.module("s3fd")
        return self._maps(net, picture - MEANS)

    def retinaface_maps(self, bgr: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The network's raw answer to uint8[h, w, 3] BGR."""
        net = self.networks.module("retinaface")
        offsets, scores, points = self._maps(net, bgr - MEANS)
        return offsets[0], scores[0], points[0]

    def _maps(self, net: Any, picture: np.ndarray) -> list[np.ndarray]:
        with torch.inference_mode():
            x = torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32))
            result = net(x.to(self.networks.compute.device))
            return [
                t.float().cpu().numpy() for t in (result if isinstance(result, list | tuple) else [result])
            ]


class RecordedDetectors:
    """Answers from a recording, by frame number; what it does not hold is asked of ``other``.

    Args:
        path: .npz with any of ``clip_landmarks`` int[1 or T, 68, 2]; ``source_landmarks`` and
            ``enhanced_landmarks`` float[T, 68, 2] in pixels of 256; ``face_boxes`` int[T, 4];
            ``reference_boxes`` float[T, 5], ``reference_points`` float[T, 5, 2]; ``final_boxes`` float[N, 5],
            ``final_points`` float[N, 5, 2]; ``restoration_points`` float[N, 5, 2]. A row of NaN: no face
            there.
        other: the detectors themselves.

    Raises:
        ValueError: no such file, or an unknown array in it.
    """

    def __init__(self, path: str, other: Detectors) -> None:
        known = {
            "clip_landmarks",
            "source_landmarks",
            "enhanced_landmarks",
            "face_boxes",
            "restoration_points",
        }
        known |= {f"{kind}_{part}" for kind in ("reference", "final") for part in ("boxes", "points")}
        if not Path(path).is_file():
            raise ValueError(f"recorded detections {path}: no such file")
        with np.load(path) as arrays:
            self.arrays = dict(arrays)
        if unknown := sorted(set(self.arrays) - known):
            raise ValueError(
                f"recorded detections {path}: unknown arrays {unknown}; known: {', '.join(sorted(known))}"
            )
        self.other = other

    def _row(self, name: str, index: int) -> np.ndarray | None:
        rows = self.arrays[name]
        if index >= len(rows) and name == "clip_landmarks":
            return None
        if index >= len(rows):
            raise ValueError(f"recorded detections: {name} ends before frame {index}")
        return None if np.isnan(rows[index]).any() else rows[index]

    def _faces(self, kind: str, index: int) -> Faces:
        box, points = self._row(f"{kind}_boxes", index), self._row(f"{kind}_points", index)
        if box is None or points is None:
            return np.zeros((0, 5), np.float32), np.zeros((0, 5, 2), np.float32)
        return box[None], points[None]

    def clip_landmarks(self, index: int, rgb: np.ndarray) -> np.ndarray | None:
        name = "clip_landmarks"
        return self._row(name, index) if name in self.arrays else self.other.clip_landmarks(index, rgb)

    def source_landmarks(self, index: int, rgb: np.ndarray) -> np.ndarray | None:
        name = "source_landmarks"
        return self._row(name, index) if name in self.arrays else self.other.source_landmarks(index, rgb)

    def enhanced_landmarks(self, index: int, bgr: np.ndarray) -> np.ndarray | None:
        name = "enhanced_landmarks"
        return self._row(name, index) if name in self.arrays else self.other.enhanced_landmarks(index, bgr)

    def face_box(self, index: int, bgr: np.ndarray) -> np.ndarray | None:
        name = "face_boxes"
        return self._row(name, index) if name in self.arrays else self.other.face_box(index, bgr)

    def reference_faces(self, index: int, bgr: np.ndarray) -> Faces:
        return (
            self._faces("reference", index)
            if "reference_boxes" in self.arrays
            else self.other.reference_faces(index, bgr)
        )

    def final_faces(self, out: int, bgr: np.ndarray) -> Faces:
        return self._faces("final", out) if "final_boxes" in self.arrays else self.other.final_faces(out, bgr)

    def restoration_points(self, out: int, bgr: np.ndarray) -> np.ndarray | None:
        name = "restoration_points"
        return self._row(name, out) if name in self.arrays else self.other.restoration_points(out, bgr)


def make_detectors(recorded: str, networks: Networks) -> Detectors:
    """The detectors, with a recording in front of them where ``recorded`` names one."""
    real = NetworkDetectors(networks)
    return RecordedDetectors(recorded, real) if recorded else real
