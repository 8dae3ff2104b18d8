"""The second generation of Google's face mesh: 478 points, their presence, and the full-range face detector (docs/mesh.md).

The mesh wants a crop of its own out of the picture, in colour, fitted to the mesh of the frame before; so this backend looks at
pictures (`backend.PictureBackend`) and not at canonical crops. What the rest of the code needs is the 68 points of `to_68`.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from operators.faces.canonical import BOX_EYES, EYE, TEMPLATE, warp
from operators.faces.geometry import EYES, angles, eye_distance, rotation_between
from operators.faces.picture import Picture
from operators.numeric.affine import apply, compose, invert, similarity
from retalk_models.registry.registry import default_registry

if TYPE_CHECKING:
    from retalk_models.tflite.detector import FaceDetector
    from retalk_models.tflite.runtime import RuntimeName

#: Names in the weights' catalogue: mesh, detector.
MESH_FILE, DETECTOR_FILE = "face_landmarker.task", "face_detection_full_range.tflite"
FILES = (MESH_FILE, DETECTOR_FILE)
#: Vertices of the points 17-67, in the order of the 68 points; where two are given the point lies between them.
_DIRECT: tuple[int | tuple[int, int], ...] = (
    *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),  # brows
    *(168, 6, 195, 4, 240, 97, 2, 326, 460),  # nose
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),  # eyes
    *(61, (39, 40), 37, 0, 267, (269, 270), 291, (405, 321), 314, 17, 84, (181, 91)),  # outer lips
    *(78, 82, 13, 312, 308, 317, 14, 87),  # inner lips
)
_FIRST = np.array([v if isinstance(v, int) else v[0] for v in _DIRECT])
_SECOND = np.array([v if isinstance(v, int) else v[1] for v in _DIRECT])
#: Outline of the face below the eyes, from ear to chin and from chin to ear: points slide along it, so that the seventeen of the
#: jaw are put on it at equal distances.
_LEFT_OUTLINE = np.array([127, 234, 93, 132, 58, 172, 136, 150, 149, 176, 148, 152])
_RIGHT_OUTLINE = np.array([152, 377, 400, 378, 379, 365, 397, 288, 361, 323, 454, 356])
#: Presence is a logit: a score of 0, as likely a face as not, is 5; a lost face (`tracking.LOST`) is 0, a clear one 21 or more.
PRESENT, PRESENCE_UNIT = 5.0, 16.0
#: Logits of the detector for one unit of score: sure faces are near 1.
DETECTOR_UNIT = 2.5
#: Its boxes are this many eye distances wide.
DETECTOR_EYES = 2.47
#: Larger pictures are also searched in tiles of this side, which overlap, pixels: a face of 80 pixels is a twelfth of one.
TILE, TILE_OVERLAP = 960, 240
#: Boxes of two tiles that overlap more are one face.
SAME_FACE = 0.3
#: The second crop, whose answer tells how uncertain the first one's is: shifts in crop sides, enlargement, turn in degrees.
#: Points are never taken from it: some smiles have lips elsewhere in a crop that is shifted, always by as much.
_VARIANT = (0.06, 0.03, 0.06, 3.4)
#: Turns tried where a face lies on its side, degrees.
_TURNS = (-35.0, 35.0, -70.0, 70.0)


def missing_files() -> list[str]:
    """Model files of this backend that are not here."""
    return default_registry().missing(FILES)


def require_files() -> dict[str, Path]:
    """Model files of this backend by name.

    Raises:
        WeightsError: some are missing; the message has the command that brings them.
    """
    return default_registry().require(FILES)


def to_68(mesh: np.ndarray) -> np.ndarray:
    """The 68 points float64[..., 68, 2] of meshes float64[..., 478, 2 or more], by index and, for the jaw, along the outline."""
    xy = np.asarray(mesh, np.float64)[..., :2]
    jaw = [_along(xy[..., line, :], 9) for line in (_LEFT_OUTLINE, _RIGHT_OUTLINE)]
    rest = (xy[..., _FIRST, :] + xy[..., _SECOND, :]) / 2
    return np.concatenate([jaw[0], jaw[1][..., 1:, :], rest], -2)


def _along(line: np.ndarray, count: int) -> np.ndarray:
    """float64[..., count, 2]: points at equal distances along polylines float64[..., n, 2], ends included."""
    flat = line.reshape(-1, *line.shape[-2:])
    out = np.empty((len(flat), count, 2))
    for i, points in enumerate(flat):
        length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
        wanted = np.linspace(0, length[-1], count)
        out[i] = np.stack([np.interp(wanted, length, points[:, axis]) for axis in (0, 1)], -1)
    return out.reshape(*line.shape[:-2], count, 2)


def _fitted(picture: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A picture made to fit a grey square uint8[side, side, 3], and how to come back: (place - offset) * scale."""
    height, width = picture.shape[:2]
    zoom = side / max(height, width)
    size = max(round(width * zoom), 1), max(round(height * zoom), 1)
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if zoom < 1 else cv2.INTER_LINEAR)
    left, top = (side - size[0]) // 2, (side - size[1]) // 2
    square = np.full((side, side, 3), 127, np.uint8)
    square[top : top + size[1], left : left + size[0]] = small
    return square, np.array([width / size[0], height / size[1]]), np.array([left, top])


def _spans(length: int) -> list[tuple[int, int]]:
    """Starts and ends of tiles along a side of so many pixels."""
    count = max(-(-(length - TILE_OVERLAP) // (TILE - TILE_OVERLAP)), 1)
    starts = np.linspace(0, max(length - TILE, 0), count).round().astype(int).tolist()
    return [(start, min(start + TILE, length)) for start in starts]


def _search(
    detector: FaceDetector, picture: np.ndarray, part: tuple[int, int, int, int], threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """Faces in a part (x1, y1, x2, y2) of a picture: float64[n, 4], squares as the dlib detector's, and logits float32[n]."""
    x1, y1, x2, y2 = part
    square, scale, offset = _fitted(picture[y1:y2, x1:x2], detector.side)
    found = detector(square, threshold)
    corners = (found.boxes.reshape(-1, 2, 2) - offset) * scale + np.array([x1, y1])
    middle = corners.mean(1)
    half = (corners[:, 1] - corners[:, 0]).mean(1, keepdims=True) / 2 * (BOX_EYES / DETECTOR_EYES)
    return np.concatenate([middle - half, middle + half], 1), found.scores


@dataclasses.dataclass(frozen=True)
class MeshLook:
    """Answer of the networks for a face.

    Attributes:
        mesh: float64[478, 3], x and y in pixels of the picture, z on their scale, smaller is nearer.
        spread: float64[68], how far the answers for two crops are apart (root mean square from their mean), eye distances; 0 for a
            single crop.
        score: of the presence; 0 is as likely a face as not, clear ones are near 1.
        yaw: degrees, sign as `geometry.HeadPose`'s, against the line of sight.
    """

    mesh: np.ndarray
    spread: np.ndarray
    score: float
    yaw: float


class MeshBackend:
    """Detector and mesh on RGB pictures.

    Args:
        device: torch device.
        runtime: what runs the networks, see `retalk_models.tflite.runtime.chosen_runtime`.

    Raises:
        WeightsError: model files are missing; the message has the command that brings them.
        MissingRuntimeError: LiteRT is asked for and not there; likewise.
    """

    name = "mesh"
    colour = True

    def __init__(self, device: str, runtime: RuntimeName = "auto") -> None:
        from retalk_models.inference.allocator import keep_freed_memory
        from retalk_models.tflite.detector import FaceDetector
        from retalk_models.tflite.face import STABLE, FaceLandmarker

        keep_freed_memory()
        paths = require_files()
        self.networks = FaceLandmarker(paths[MESH_FILE], device, runtime)
        self._detector = FaceDetector(paths[DETECTOR_FILE].read_bytes(), device, self.networks.runtime)
        self._stable, self._template = STABLE, self.networks.template
        # Axes of `geometry.head_model`: y down, z away from the camera.
        canonical = self.networks.canonical
        self._solid, self._basis = canonical.vertices * [1, -1, -1], canonical.basis
        self._side = self.networks.side
        # Canonical crop to the mesh's: eyes to eyes.
        # The canonical face has no irises, and the 68 points need none.
        front = to_68(np.concatenate([self._template, np.zeros((10, 2))]))
        zoom = float(eye_distance(front)) / EYE
        here, there = TEMPLATE[EYES].mean(0), front[EYES].mean(0)
        self._of_canonical = np.array(
            [[zoom, 0, there[0] - zoom * here[0]], [0, zoom, there[1] - zoom * here[1]]]
        )

    def detect(self, picture: np.ndarray, threshold: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """Faces in RGB uint8[h, w, 3]: squares as the dlib detector's, float32[n, 4], and scores float32[n], best first.

        Where full range finds nothing, short range has a look: it sees faces that lie on their side.
        """
        parts = [(0, 0, *picture.shape[1::-1])]
        if max(picture.shape) > TILE:
            parts += [(x, y, u, v) for y, v in _spans(picture.shape[0]) for x, u in _spans(picture.shape[1])]
        for detector in (self._detector, self.networks.detector):
            seen = [_search(detector, picture, part, threshold * DETECTOR_UNIT) for part in parts]
            boxes, scores = (np.concatenate(values) for values in zip(*seen, strict=True))
            if len(scores):
                break
        from retalk_models.tflite.detector import suppressed

        best = np.argsort(-scores, kind="stable")
        best = best[suppressed(boxes[best], SAME_FACE)] if len(parts) > 1 else best
        return boxes[best].astype(np.float32), scores[best] / np.float32(DETECTOR_UNIT)

    def landmarks(self, crop: np.ndarray, exact: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """Points float64[68, 2] in a canonical RGB crop, a little less exact than `look`, for the crop cuts the mesh's off at the
        edges; and their spread float64[68].
        """
        seen = self._see(crop, self._of_canonical, exact)
        return to_68(seen.mesh), seen.spread

    def confirm(self, crop: np.ndarray) -> float:
        """Score of the face that fills a canonical RGB crop."""
        return self._see(crop, self._of_canonical, exact=False).score

    def look(
        self,
        picture: Picture,
        transform: np.ndarray,
        mesh: np.ndarray | None,
        guess: bool,
        exact: bool,
    ) -> MeshLook:
        """The face in a picture.

        Args:
            picture: uint8[h, w, 3] RGB, or a frame.
            transform: float64[2, 3], picture to canonical crop: about where the face is, if no mesh is known.
            mesh: float64[478, 2 or more], where it is expected in the picture; None: not known.
            guess: look with a single crop first, and put the crops where it says the face is.
            exact: a second crop, for the spread.
        """
        place = compose(self._of_canonical, transform) if mesh is None else self._fit(mesh)
        if guess:
            first = self._see(picture, place, exact=False)
            if first.score < 0:
                turned = [self._see(picture, self._turned(place, turn), exact=False) for turn in _TURNS]
                first = max([first, *turned], key=lambda seen: seen.score)
            place = self._fit(first.mesh)
        return self._see(picture, place, exact)

    def _fit(self, mesh: np.ndarray) -> np.ndarray:
        """Picture to crop, by the points that move least: a box around all of them would breathe with the mouth."""
        return similarity(mesh[self._stable, :2], self._template[self._stable])

    def _turned(self, place: np.ndarray, degrees: float) -> np.ndarray:
        middle = (self._side - 1) / 2
        turn = cv2.getRotationMatrix2D((middle, middle), degrees, 1.0)
        return compose(turn, place)

    def _see(self, picture: Picture, place: np.ndarray, exact: bool) -> MeshLook:
        places = [place]
        if exact:
            middle = (self._side - 1) / 2
            x, y, larger, degrees = _VARIANT
            moved = cv2.getRotationMatrix2D((middle, middle), degrees, 1 + larger)
            moved[:, 2] += np.array([x, y]) * self._side
            places.append(compose(moved, place))
        crops = np.stack([warp(picture, one, self._side) for one in places])
        answers, presence = self.networks.mesh(crops)
        meshes = []
        for answer, one in zip(answers, places, strict=True):
            back = invert(one)
            depth = answer[:, 2:] * float(np.hypot(back[0, 0], back[1, 0]))
            meshes.append(np.concatenate([apply(back, answer[:, :2]), depth], 1))
        mesh = meshes[0]
        spread = np.zeros(68)
        if exact:
            scatter = np.stack([to_68(one) for one in meshes]).var(0).sum(-1)
            spread = np.sqrt(scatter) / max(float(eye_distance(to_68(mesh))), 1e-6)
        return MeshLook(mesh, spread, float(presence[0] - PRESENT) / PRESENCE_UNIT, self._yaw(mesh))

    def _yaw(self, mesh: np.ndarray) -> float:
        """Yaw in degrees: the rotation that brings the canonical face's weighted points to a mesh's best (Kabsch 1976)."""
        points, weights = self._basis
        return angles(rotation_between(self._solid[points], mesh[points], weights))[0]
