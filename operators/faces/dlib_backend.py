"""dlib: the HOG face detector and the 68-point regression trees (Kazemi & Sullivan 2014), with nothing to
download.

The model files lie inside the package `face_recognition_models`. It is found but not imported: its own code
needs `pkg_resources`, which current setuptools no longer has. The 68-point predictor was trained on iBUG
300-W, whose licence is for research.
"""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from operators.faces.canonical import BOX, EYE, SIDE
from operators.faces.shape_predictor import Trees, load_trees

#: Models of this backend by their names in `retalk_models.registry.bundled`: detector, landmarks.
MODELS = ("dlib/frontal_face_detector", "dlib/shape_predictor_68_face_landmarks.dat")
DETECTOR = MODELS[0]


def bundled_model(name: str) -> Path:
    """Path of a model file inside `face_recognition_models`.

    Raises:
        FileNotFoundError: the package or the file in it is missing; says what to install.
    """
    spec = importlib.util.find_spec("face_recognition_models")
    folder = (
        Path(next(iter(spec.submodule_search_locations))) / "models"
        if spec and spec.submodule_search_locations
        else None
    )
    if folder is None or not (folder / name).is_file():
        raise FileNotFoundError(
            f"face model {name} not found: pip install face_recognition_models (it carries the file)"
        )
    return folder / name


#: Boxes for one prediction, as (shift x, shift y, enlargement) in box sides. The trees' answer jumps with the
#: box: against a mean over sixty boxes one is 0.70 % of the eye distance off, two opposite ones 0.58 %, four
#: 0.52 %, eight 0.49 %.
_SHIFTS = np.array([[0.045, 0.02, -0.05], [-0.045, -0.02, 0.05], [0.02, -0.045, 0.05], [-0.02, 0.045, -0.05]])
_HALVES = BOX * (1 + _SHIFTS[:, 2:]) / 2
_BOXES = np.concatenate(
    [SIDE / 2 + BOX * _SHIFTS[:, :2] - _HALVES, SIDE / 2 + BOX * _SHIFTS[:, :2] + _HALVES], 1
)
_MIDDLE = np.array([[(SIDE - BOX) / 2, (SIDE - BOX) / 2, (SIDE + BOX) / 2, (SIDE + BOX) / 2]])


class DlibBackend:
    """Detector, landmarks and confirmation score on luma. Not thread safe."""

    name = "dlib"
    colour = False

    @functools.cached_property
    def _detector(self) -> Any:
        """Loaded when faces are looked for: who measures landmarks only is spared its second of computing."""
        import dlib

        return dlib.get_frontal_face_detector()

    @functools.cached_property
    def _trees(self) -> Trees:
        """Loaded when landmarks are asked for: who looks for faces only needs neither the file nor the right to use it."""
        return load_trees(bundled_model("shape_predictor_68_face_landmarks.dat"))

    def detect(self, picture: np.ndarray, threshold: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """Faces of at least 80 pixels in uint8[h, w]: boxes float32[n, 4], scores float32[n], best first."""
        if min(picture.shape[:2]) < 24:
            return np.zeros((0, 4), np.float32), np.zeros(0, np.float32)
        found, scores, _ = self._detector.run(np.ascontiguousarray(picture), 0, threshold)
        boxes = [(r.left(), r.top(), r.right() + 1, r.bottom() + 1) for r in found]
        return np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32)

    def landmarks(self, crop: np.ndarray, exact: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """Points of the face in a canonical crop uint8[SIDE, SIDE].

        Returns:
            float64[68, 2] in crop pixels, and float64[68]: how far the answers for slightly different boxes
            are apart, in eye distances (zeros when not ``exact``, which asks a single box).
        """
        answers = self._trees(crop, _BOXES if exact else _MIDDLE)
        return answers.mean(0), np.sqrt(answers.var(0).sum(-1)) / EYE

    def confirm(self, crop: np.ndarray) -> float:
        """The detector's score for the face that fills a canonical crop, -1 if there is none. Turned and
        covered faces score low.
        """
        # The box becomes 100 pixels wide, well above the detector's least.
        boxes, scores = self.detect(cv2.resize(crop, (150, 150), interpolation=cv2.INTER_AREA), -1.0)
        if not len(boxes):
            return -1.0
        centred = np.abs((boxes[:, :2] + boxes[:, 2:]) / 2 - 75).max(1) < 35
        return float(scores[centred].max()) if centred.any() else -1.0
