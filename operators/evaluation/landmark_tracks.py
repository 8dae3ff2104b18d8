"""Landmarks and identity of the face in a decoded file, by plain dlib frame by frame: independent of how engines track
faces, so that they judge what a viewer gets.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import cv2
import numpy as np

from operators.faces.dlib_backend import MODELS as DLIB_MODELS
from operators.faces.dlib_backend import bundled_model
from operators.faces.identity import MODEL, Recogniser
from operators.media.probe import probe_video
from operators.media.reader import read_frames
from operators.storage.files import kept_by_file

#: Models of a track by their names in `retalk_models.registry.bundled`.
MODELS = (*DLIB_MODELS, MODEL)
#: Larger sides, pixels, at which faces are looked for, in this order.
SIDES = (480, 960)
#: A box at least this wide is good enough for landmarks: at the detector's least, 80 px, boxes are coarse.
GOOD = 100
#: Frames between detections.
DETECT_EVERY = 3
#: Frames between descriptors: they take 50 ms each.
DESCRIBE_EVERY = 12
#: Pictures smaller than this are looked at twice as large, pixels.
SMALL = 400


@dataclass(frozen=True)
class LandmarkTrack:
    """Landmarks of a video's largest face.

    Attributes:
        times: float64[T] seconds from the first frame.
        landmarks: float64[T, 68, 2] px; zeros where no face was found.
        found: bool[T].
        described: int64[n], the frames behind `descriptors`.
        descriptors: float64[n, 128] of dlib's recognition network.
    """

    times: np.ndarray
    landmarks: np.ndarray
    found: np.ndarray
    described: np.ndarray
    descriptors: np.ndarray


class PlainLandmarks:
    """dlib's HOG detector, and on a box the mean of its predictor's five answers for shifted boxes."""

    def __init__(self) -> None:
        import dlib

        self._detector = dlib.get_frontal_face_detector()
        self._predictor = dlib.shape_predictor(str(bundled_model("shape_predictor_68_face_landmarks.dat")))
        self._rectangle = dlib.rectangle

    def detect(self, luma: np.ndarray) -> np.ndarray | None:
        """float64[4] box x1, y1, x2, y2 of the largest face of uint8[h, w], None where there is none."""
        found = None
        for side in SIDES:
            scale = side / max(luma.shape)
            way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
            small = cv2.resize(luma, None, fx=scale, fy=scale, interpolation=way)
            if boxes := self._detector(small, 0):
                box = max(boxes, key=lambda b: b.area())
                found = np.array([box.left(), box.top(), box.right(), box.bottom()], np.float64) / scale
                if box.width() > GOOD:
                    break
        return found

    def landmarks(self, luma: np.ndarray, box: np.ndarray) -> np.ndarray:
        """float64[68, 2] of the face in a box of uint8[h, w]."""
        step = 0.02 * (box[2] - box[0])
        shapes = []
        for dx, dy in ((0, 0), (step, 0), (-step, 0), (0, step), (0, -step)):
            moved = box + np.array([dx, dy, dx, dy])
            shape = self._predictor(luma, self._rectangle(*(round(v) for v in moved)))
            shapes.append([(p.x, p.y) for p in shape.parts()])
        return np.mean(np.array(shapes, np.float64), axis=0)


@functools.cache
def _instruments() -> tuple[PlainLandmarks, Recogniser]:
    return PlainLandmarks(), Recogniser()


@kept_by_file(8)
def track_landmarks(url: str, describe: bool = True) -> LandmarkTrack:
    """Measure every frame of a video; results are kept until the file changes.

    About 30 ms a frame on a CPU. Memory: one kilobyte a frame.

    Args:
        url: fsspec URL.
        describe: also the face's descriptors, every 12th frame.

    Raises:
        MediaError: the file cannot be read.
    """
    plain, recogniser = _instruments()
    info = probe_video(url)
    enlarge = 2 if info.width < SMALL else 1
    points, found, described, descriptors = [], [], [], []
    box = None
    for frame in read_frames(url, 0, info.n_frames, info):
        luma = np.ascontiguousarray(frame.luma())
        if enlarge > 1:
            luma = cv2.resize(luma, None, fx=enlarge, fy=enlarge, interpolation=cv2.INTER_CUBIC)
        if box is None or frame.index % DETECT_EVERY == 0:
            box = plain.detect(luma)
        found.append(box is not None)
        points.append(plain.landmarks(luma, box) / enlarge if box is not None else np.zeros((68, 2)))
        if describe and box is not None and frame.index % DESCRIBE_EVERY == 0:
            described.append(frame.index)
            descriptors.append(recogniser.describe(frame.rgb(), points[-1]))
    times = (info.pts - info.pts[0]) * float(info.time_base)
    return LandmarkTrack(
        times[: len(found)],
        np.array(points).reshape(-1, 68, 2),
        np.array(found, bool),
        np.array(described, np.int64),
        np.array(descriptors).reshape(-1, 128),
    )
