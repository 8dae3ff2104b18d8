"""Google's face networks over `runtime`: the second generation of the face mesh, its blendshapes, its detector, and the canonical
face (`face_landmarker.task`, `face_detection_full_range.tflite`; docs/mesh.md).

Pictures are RGB, uint8. The networks know nothing of video; `operators.faces.mesh_backend` follows faces with them.
"""

from __future__ import annotations

import dataclasses
import functools
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from retalk_models.tflite.detector import FaceDetector
from retalk_models.tflite.runtime import Runner, RuntimeName, chosen_runtime, make_runner

#: Side of the mesh's crop and number of its points; the last ten are the irises, each with its centre first.
SIDE = 256
POINTS = 478
#: Points that neither speech nor looks move much: by them a mesh is fitted to the canonical face.
STABLE = np.array(
    [33, 133, 362, 263, 168, 6, 197, 195, 5, 4, 1, 2, 98, 327, 9, 8, 151, 107, 336, 70, 300, 63, 293]
)
LEFT_EYE = np.array([33, 160, 158, 133, 153, 144])
RIGHT_EYE = np.array([362, 385, 387, 263, 373, 380])
# fmt: off
#: Points that the blendshapes are computed from, in the network's order.
BLENDSHAPE_POINTS = np.array([
    0, 1, 4, 5, 6, 7, 8, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65, 66, 67, 70,
    78, 80, 81, 82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136, 144, 145, 146, 148, 149,
    150, 152, 153, 154, 155, 157, 158, 159, 160, 161, 162, 163, 168, 172, 173, 176, 178, 181, 185, 191, 195,
    197, 234, 246, 249, 251, 263, 267, 269, 270, 276, 282, 283, 284, 285, 288, 291, 293, 295, 296, 297, 300,
    308, 310, 311, 312, 314, 317, 318, 321, 323, 324, 332, 334, 336, 338, 356, 361, 362, 365, 373, 374, 375,
    377, 378, 379, 380, 381, 382, 384, 385, 386, 387, 388, 389, 390, 397, 398, 400, 402, 405, 409, 415, 454,
    466, 468, 469, 470, 471, 472, 473, 474, 475, 476, 477,
])
# fmt: on
#: Blendshapes of the mouth by name, among the 52 that the network gives.
MOUTH_SHAPES = {"jawOpen": 25, "mouthClose": 27, "mouthFunnel": 32, "mouthPucker": 38}


@dataclasses.dataclass(frozen=True)
class CanonicalFace:
    """The mean face of MediaPipe's geometry file.

    Attributes:
        vertices: float64[468, 3], about centimetres: x right, y up, z towards the camera.
        triangles: int64[898, 3], of vertices.
        basis: vertices by which a pose is fitted, and their weights.
    """

    vertices: np.ndarray
    triangles: np.ndarray
    basis: tuple[np.ndarray, np.ndarray]


class FaceLandmarker:
    """The networks of `face_landmarker.task`.

    Args:
        path: of the file.
        device: torch device.
        runtime: what runs them, see `runtime.chosen_runtime`.

    Attributes:
        runtime: what runs them.

    Raises:
        ValueError: it is not that file.
        MissingRuntimeError: LiteRT is asked for and not there.
    """

    side = SIDE

    def __init__(self, path: Path, device: str = "cpu", runtime: RuntimeName = "torch") -> None:
        self._path, self._device, self.runtime = path, device, chosen_runtime(runtime, device)
        self._mesh = self._runner("face_landmarks_detector.tflite")

    def _runner(self, name: str) -> Runner:
        return make_runner(self._member(name), self.runtime, self._device)

    def _member(self, name: str) -> bytes:
        try:
            with zipfile.ZipFile(self._path) as bundle:
                return bundle.read(name)
        except (KeyError, zipfile.BadZipFile) as error:
            raise ValueError(f"{self._path}: not a face_landmarker.task: {error}") from error

    def mesh(self, crops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points and presence of the faces in crops uint8[n, 256, 256, 3].

        Returns:
            float64[n, 478, 3]: x and y in pixels of the crop, counted from the centre of its first pixel as OpenCV does (the
            network counts from that pixel's edge); z on the scale of x, smaller is nearer. float64[n]: presence, a logit:
            19 to 27 for clear faces, below 5 for none and for heads turned by 50 degrees.
        """
        points, presence, _ = self._mesh(crops, divisor=255)
        found = points.reshape(-1, POINTS, 3).astype(np.float64)
        found[..., :2] -= 0.5
        return found, presence.reshape(-1).astype(np.float64)

    def blendshapes(self, points: np.ndarray) -> np.ndarray:
        """Weights float64[n, 52] (0..1, `MOUTH_SHAPES` names some) of meshes float[n, 478, 2 or more] in upright pixels."""
        (weights,) = self._blendshapes(np.asarray(points)[:, BLENDSHAPE_POINTS, :2])
        return weights.astype(np.float64)

    @functools.cached_property
    def _blendshapes(self) -> Runner:
        return self._runner("face_blendshapes.tflite")

    @functools.cached_property
    def detector(self) -> FaceDetector:
        """Short-range detector: for pictures of which a face fills a tenth or more, in any position."""
        return FaceDetector(self._member("face_detector.tflite"), self._device, self.runtime)

    @functools.cached_property
    def canonical(self) -> CanonicalFace:
        """The canonical face."""
        fields = list(_fields(self._member("geometry_pipeline_metadata_landmarks.binarypb")))
        mesh = list(
            _fields(next(value for number, value in fields if number == 1 and isinstance(value, bytes)))
        )
        numbers = np.array([value for number, value in mesh if number == 3], np.float64).reshape(-1, 5)
        triangles = np.array([value for number, value in mesh if number == 4], np.int64).reshape(-1, 3)
        basis = [dict(_fields(value)) for number, value in fields if number == 2 and isinstance(value, bytes)]
        return CanonicalFace(
            numbers[:, :3],
            triangles,
            (np.array([b.get(1, 0) for b in basis], np.int64), np.array([b[2] for b in basis], np.float64)),
        )

    @functools.cached_property
    def template(self) -> np.ndarray:
        """Canonical face from the front as the network wants to see it: float64[468, 2], pixels of a crop 3.7 eye
        distances wide whose centre is half an eye distance below the eyes.
        """
        front = self.canonical.vertices[:, :2] * [1, -1]
        left, right = front[LEFT_EYE].mean(0), front[RIGHT_EYE].mean(0)
        eye = SIDE / 3.7
        middle = (SIDE - 1) / 2
        scaled = (front - (left + right) / 2) * (eye / np.linalg.norm(right - left))
        return scaled + np.array([middle, middle - 0.5 * eye])


def _fields(data: bytes) -> Iterator[tuple[int, float | int | bytes]]:
    """Fields of a protocol buffer message: number and value."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        number, kind = divmod(varint(), 8)
        if kind == 0:
            yield number, varint()
        elif kind == 2:
            size = varint()
            at += size
            yield number, data[at - size : at]
        elif kind == 5:
            at += 4
            yield number, struct.unpack("<f", data[at - 4 : at])[0]
        else:
            raise ValueError(f"a field of kind {kind} is not expected in a geometry file")
