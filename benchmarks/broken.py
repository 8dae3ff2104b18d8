"""The exemplar engine's renderer with a fault put into its frames on purpose: measures and verdicts have to notice it.

Used by `benchmarks.review` and by tests. `breaking` makes an engine of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import cv2
import numpy as np

from operators.exemplar.render_stage import RenderMouths, RenderOptions
from operators.faces.backend import make_backend
from operators.faces.canonical import STABLE, transform_of_box
from operators.faces.geometry import JAW, MOUTH, NOSE, bounding_box, eye_distance
from operators.faces.seed import look
from operators.media.frames import Frame
from operators.media.orientation import Box
from operators.media.probe import probe_video
from operators.media.reader import read_frames
from operators.numeric.affine import similarity
from operators.segment import Segment
from pipelines.engine.config import EngineConfig, load_engine

Fault = Literal[
    "none", "undrawn", "unchanged", "still", "wrong face", "hard mask", "flicker", "half resolution"
]
#: Seconds by which the mouth is late where the sound is shifted: eight frames of 25 a second.
SHIFT = 0.32
#: What is done to a dub, and how it is asked for: a fault of the renderer or an option of another stage.
BREAKS: dict[str, dict[str, dict[str, Any]]] = {
    "shifted sound": {"speak": {"lag": SHIFT}},
    "shifted sound, early": {"speak": {"lag": -SHIFT}},
    **{
        name: {"render": {"fault": fault}}
        for name, fault in (
            ("no dub", "undrawn"),
            ("no dub, drawn unchanged", "unchanged"),
            ("no dub, one mouth throughout", "still"),
            *((fault, fault) for fault in ("wrong face", "hard mask", "flicker", "half resolution")),
        )
    },
}
#: Luma levels up and down of the fault "flicker".
FLICKER = 4
#: Levels by which the face behind a hard mask is brighter.
HARD = 6


@dataclasses.dataclass(frozen=True)
class BrokenOptions(RenderOptions):
    """Options of `BrokenRender`: the renderer's and the following.

    Attributes:
        fault: is put into every frame that was drawn.
        other: picture or video of the person whose face is pasted by "wrong face".
    """

    fault: Fault = "none"
    other: str = ""


class BrokenRender(RenderMouths):
    """`RenderMouths`, its frames broken before they are measured and encoded.

    undrawn: nothing is drawn; unchanged: the frame's own pixels are drawn; still: the mouth of the first drawn frame in all
    of them; wrong face: another person's face, with a soft border; hard mask: the lower face as it was drawn, a little
    brighter and with a hard border; flicker: brighter and darker by turns; half resolution: the drawn box reduced to half its size and
    enlarged again.
    """

    Options = BrokenOptions

    def process(self, segment: Segment) -> dict[str, Any]:
        """See the class."""
        self._segment, self._fault = segment, self.options_for(segment).fault
        return super().process(segment)

    def shown(self, frames: Iterable[tuple[Any, int]]) -> Iterator[tuple[Any, int]]:
        """Break the frames on their way."""
        return super().shown(self._broken(frames))

    def _broken(self, frames: Iterable[tuple[Frame, int]]) -> Iterator[tuple[Frame, int]]:
        first: tuple[np.ndarray, np.ndarray] | None = None
        face = other_face(self.options_for(self._segment).other) if self._fault == "wrong face" else None
        for number, (frame, pts) in enumerate(frames):
            if frame.drawn is None or self._fault == "none":
                yield frame, pts
                continue
            landmarks = self._landmarks(frame)
            if self._fault == "undrawn":
                yield frame.original, pts
                continue
            if self._fault == "unchanged":
                own = frame.original.rgb(frame.drawn)
                frame.paste(frame.drawn, own, np.ones(own.shape[:2], np.float32))
            elif self._fault == "still":
                first = first or (frame.rgb(), landmarks)
                paste_face(frame, *first, landmarks, lower(landmarks), feather=0.15)
            elif face is not None:
                paste_face(frame, *face, landmarks, whole(landmarks), feather=0.25)
            elif self._fault == "hard mask":
                paste_face(
                    frame, frame.rgb(), landmarks, landmarks, lower(landmarks), feather=0.0, level=HARD
                )
            elif self._fault == "flicker":
                rgb = frame.rgb(frame.drawn).astype(np.int16) + (FLICKER if number % 2 else -FLICKER)
                frame.paste(frame.drawn, np.clip(rgb, 0, 255).astype(np.uint8), soft(frame.drawn, landmarks))
            else:
                half_resolution(frame, landmarks)
            yield frame, pts

    def _landmarks(self, frame: Frame) -> np.ndarray:
        return np.asarray(self._segment["landmarks"][frame.index - self._segment.frames[0]], np.float64)


def breaking(other: str = "") -> EngineConfig:
    """Return the exemplar engine with `BrokenRender` in the place of its renderer.

    Args:
        other: `BrokenOptions.other`.
    """
    config = load_engine("exemplar")
    last = config.stages[-1].model_copy(
        update={"stage": "benchmarks.broken:BrokenRender", "options": {"other": other}}
    )
    return config.model_copy(update={"stages": [*config.stages[:-1], last]})


def other_face(url: str) -> tuple[np.ndarray, np.ndarray]:
    """Return uint8[h, w, 3] and landmarks float64[68, 2] of the largest face in the first frame of a file that shows one.

    Raises:
        ValueError: none of the first 50 frames does.
    """
    backend = make_backend("dlib", "cpu")
    for frame in read_frames(url, 0, min(50, probe_video(url).n_frames)):
        rgb = frame.rgb()
        scale = max(1, round(480 / max(rgb.shape[:2])))
        luma = cv2.cvtColor(cv2.resize(rgb, None, fx=scale, fy=scale), cv2.COLOR_RGB2GRAY)
        boxes, scores = backend.detect(luma)
        if len(boxes):
            best = int(np.argmax(boxes[:, 2] - boxes[:, 0]))
            seen = look(backend, luma, transform_of_box(boxes[best]), float(scores[best]), guesses=2)
            return rgb, seen.landmarks / scale
    raise ValueError(f"{url}: no face in its first 50 frames")


def lower(landmarks: np.ndarray) -> np.ndarray:
    """Outline float64[k, 2] of the face below the eyes."""
    return np.concatenate([landmarks[JAW[2:15]], landmarks[NOSE[:1]]])


def whole(landmarks: np.ndarray) -> np.ndarray:
    """Outline float64[k, 2] of the face with its brows."""
    brows = landmarks[17:27] - [0, 0.2 * float(eye_distance(landmarks))]
    return np.concatenate([landmarks[JAW], brows])


def paste_face(
    frame: Frame,
    rgb: np.ndarray,
    landmarks: np.ndarray,
    target: np.ndarray,
    outline: np.ndarray,
    feather: float,
    level: int = 0,
) -> None:
    """Paste a face into a frame.

    Args:
        frame: it is drawn into.
        rgb: uint8[h, w, 3], a picture of the face.
        landmarks: float64[68, 2], of it.
        target: float64[68, 2], of the frame's face.
        outline: float64[k, 2], what of the frame's face is covered.
        feather: softness of the border in eye distances.
        level: is added to the pasted pixels.
    """
    width, height = frame.size
    margin = 2 * feather * float(eye_distance(target)) + 2
    x1, y1, x2, y2 = bounding_box(outline)
    low = np.clip(np.floor([x1 - margin, y1 - margin]).astype(int), 0, [width - 2, height - 2])
    high = np.clip(np.ceil([x2 + margin, y2 + margin]).astype(int), low + 1, [width, height])
    box: Box = (int(low[0]), int(low[1]), int(high[0]), int(high[1]))
    size = box[2] - box[0], box[3] - box[1]
    matrix = similarity(landmarks[STABLE], target[STABLE] - low)
    face = cv2.warpAffine(rgb, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    mask = np.zeros((size[1], size[0]), np.float32)
    cv2.fillConvexPoly(
        mask, np.round(cv2.convexHull((outline - low).astype(np.float32))).astype(np.int32), 1.0
    )
    sigma = feather * float(eye_distance(target)) / 2
    alpha = cv2.GaussianBlur(mask, (0, 0), sigma) * mask if sigma > 0.3 else mask
    shifted = np.clip(face.astype(np.int16) + level, 0, 255).astype(np.uint8)
    frame.paste(box, shifted, alpha)


def soft(box: Box, landmarks: np.ndarray) -> np.ndarray:
    """Alpha float32[h, w] of a box: 1 around the mouth, fading to 0 within half a mouth's width."""
    x1, y1, x2, y2 = bounding_box(landmarks[MOUTH])
    mask = np.zeros((box[3] - box[1], box[2] - box[0]), np.float32)
    centre = int((x1 + x2) / 2) - box[0], int((y1 + y2) / 2) - box[1]
    cv2.ellipse(mask, centre, (int(0.8 * (x2 - x1)), int(0.7 * (x2 - x1))), 0, 0, 360, 1.0, -1)
    return cv2.GaussianBlur(mask, (0, 0), max(1.0, 0.12 * float(x2 - x1)))


def half_resolution(frame: Frame, landmarks: np.ndarray) -> None:
    """Reduce what was drawn around the mouth to half its size, and enlarge it again."""
    assert frame.drawn is not None
    rgb = frame.rgb(frame.drawn)
    small = cv2.resize(rgb, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    again = cv2.resize(small, (rgb.shape[1], rgb.shape[0]), interpolation=cv2.INTER_LINEAR)
    frame.paste(frame.drawn, again, soft(frame.drawn, landmarks))
