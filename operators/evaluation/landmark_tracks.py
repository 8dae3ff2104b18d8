"""Landmarks and identity of the face in a decoded file, by plain dlib or by the face mesh, frame by frame: independent of how
engines track faces, so that they judge what a viewer gets.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np

from operators.faces.canonical import transform_of_box
from operators.faces.dlib_backend import MODELS as DLIB_MODELS
from operators.faces.dlib_backend import bundled_model
from operators.faces.identity import MODEL, Recogniser
from operators.faces.mesh_backend import MeshBackend, to_68
from operators.media.probe import probe_video
from operators.media.reader import read_frames
from operators.storage.files import kept_by_file

#: Models of a track by their names in `retalk_models.registry.bundled`.
MODELS = (*DLIB_MODELS, MODEL)
#: Landmarks that tracks may be measured with; "mesh" needs the files of `operators.faces.mesh_backend`.
Judge = Literal["dlib", "mesh"]
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

    colour = False

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


class PlainMesh:
    """The mesh's detectors, and on a box the answer for a crop that is put where a first look saw the face.

    Raises:
        WeightsError: model files are missing; the message has the command that brings them.
    """

    colour = True

    def __init__(self) -> None:
        self._backend = MeshBackend("cpu")

    def detect(self, picture: np.ndarray) -> np.ndarray | None:
        """float64[4] box x1, y1, x2, y2 of the largest face of RGB uint8[h, w, 3], None where there is none."""
        boxes, _ = self._backend.detect(picture)
        areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        return boxes[int(areas.argmax())].astype(np.float64) if len(boxes) else None

    def landmarks(self, picture: np.ndarray, box: np.ndarray) -> np.ndarray:
        """float64[68, 2] of the face in a box of RGB uint8[h, w, 3]."""
        return to_68(self._backend.look(picture, transform_of_box(box), None, guess=True, exact=False).mesh)


@functools.cache
def _landmarker(judge: Judge) -> PlainLandmarks | PlainMesh:
    if judge not in get_args(Judge):
        raise ValueError(f"no landmarks are called {judge!r}: use one of {', '.join(get_args(Judge))}")
    return PlainMesh() if judge == "mesh" else PlainLandmarks()


@functools.cache
def _recogniser() -> Recogniser:
    return Recogniser()


@kept_by_file(8)
def track_landmarks(url: str, describe: bool = True, judge: Judge = "dlib") -> LandmarkTrack:
    """Measure every frame of a video; results are kept until the file changes.

    About 30 ms a frame on a CPU. Memory: one kilobyte a frame.

    Args:
        url: fsspec URL.
        describe: also the face's descriptors, every 12th frame.
        judge: landmarks to measure with.

    Raises:
        MediaError: the file cannot be read.
        WeightsError: the mesh's files are missing.
    """
    plain = _landmarker(judge)
    info = probe_video(url)
    enlarge = 2 if info.width < SMALL and not plain.colour else 1
    points, found, described, descriptors = [], [], [], []
    box = None
    for frame in read_frames(url, 0, info.n_frames, info):
        picture = frame.rgb() if plain.colour else np.ascontiguousarray(frame.luma())
        if enlarge > 1:
            picture = cv2.resize(picture, None, fx=enlarge, fy=enlarge, interpolation=cv2.INTER_CUBIC)
        if box is None or frame.index % DETECT_EVERY == 0:
            box = plain.detect(picture)
        found.append(box is not None)
        points.append(plain.landmarks(picture, box) / enlarge if box is not None else np.zeros((68, 2)))
        if describe and box is not None and frame.index % DESCRIBE_EVERY == 0:
            described.append(frame.index)
            descriptors.append(_recogniser().describe(frame.rgb(), points[-1]))
    times = (info.pts - info.pts[0]) * float(info.time_base)
    return LandmarkTrack(
        times[: len(found)],
        np.array(points).reshape(-1, 68, 2),
        np.array(found, bool),
        np.array(described, np.int64),
        np.array(descriptors).reshape(-1, 128),
    )
