"""Google's face detectors of the BlazeFace family over `runtime`: short range (128 pixels) and full range (192 pixels)."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np

from retalk_models.tflite.runtime import RuntimeName, make_runner


@dataclasses.dataclass(frozen=True)
class Detections:
    """Faces of one picture, best first.

    Attributes:
        boxes: float32[n, 4], x1 y1 x2 y2 in pixels of the picture: from the forehead to the chin.
        points: float32[n, 6, 2], eyes (the viewer's left first), nose, mouth, ears, in pixels.
        scores: float32[n], logits: 0 is as likely a face as not.
    """

    boxes: np.ndarray
    points: np.ndarray
    scores: np.ndarray


def _anchors(side: int, strides: tuple[int, ...]) -> np.ndarray:
    """Centres float32[n, 2] of a detector's cells, 0..1: each of ``strides`` puts one anchor into each of its cells, two where
    there are several strides.
    """
    found = []
    for stride in dict.fromkeys(strides):
        count, each = side // stride, strides.count(stride) * (2 if len(strides) > 1 else 1)
        rows, columns = np.mgrid[:count, :count]
        cells = np.stack([columns, rows], -1).reshape(-1, 2)
        found.append(np.repeat((cells + 0.5) / count, each, axis=0))
    return np.concatenate(found).astype(np.float32)


class FaceDetector:
    """One detector.

    Args:
        data: its TensorFlow Lite file.
        device: torch device.
        runtime: what runs it, see `runtime.chosen_runtime`.

    Attributes:
        side: of the square pictures that it takes.

    Raises:
        ValueError: it is another network.
        MissingRuntimeError: LiteRT is asked for and not there.
    """

    #: Strides by the side of the input.
    STRIDES: ClassVar = {128: (8, 16, 16, 16), 192: (4,)}
    #: Boxes that overlap more are one face.
    OVERLAP = 0.3
    #: Boxes that are looked at, at most.
    MOST = 200

    def __init__(self, data: bytes, device: str = "cpu", runtime: RuntimeName = "torch") -> None:
        self._network = make_runner(data, runtime, device)
        self.side = self._network.input_shape[1]
        if self.side not in self.STRIDES:
            raise ValueError(
                f"a face detector has an input of {' or '.join(map(str, self.STRIDES))} pixels, not {self.side}"
            )
        self._anchors = _anchors(self.side, self.STRIDES[self.side])

    def __call__(self, picture: np.ndarray, threshold: float = 0.0) -> Detections:
        """Faces in an RGB picture uint8[side, side, 3] with a score of ``threshold`` or more.

        Full range finds faces from a twentieth of the picture on, short range from a tenth.
        """
        raw, logits = self._network(picture[None], divisor=127.5, offset=-1)
        values, scores = raw[0].reshape(-1, 8, 2), logits[0, :, 0]
        kept = np.flatnonzero(scores >= threshold)
        kept = kept[np.argsort(-scores[kept], kind="stable")][: self.MOST]
        values, scores, anchors = values[kept], scores[kept], self._anchors[kept] * np.float32(self.side)
        middles, halves = values[:, 0] + anchors, values[:, 1] / 2
        boxes = np.concatenate([middles - halves, middles + halves], 1)
        best = suppressed(boxes, self.OVERLAP)
        return Detections(boxes[best], (values[:, 2:] + anchors[:, None])[best], scores[best])


def suppressed(boxes: np.ndarray, overlap: float) -> list[int]:
    """Numbers of the boxes float[n, 4], best first, that overlap no better one by more than this share."""
    kept: list[int] = []
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], 1)
    for i, box in enumerate(boxes):
        others = boxes[kept]
        corners = np.minimum(others[:, 2:], box[2:]) - np.maximum(others[:, :2], box[:2])
        inner = np.clip(corners, 0, None).prod(1)
        if areas[i] > 0 and not (inner > overlap * (areas[kept] + areas[i] - inner)).any():
            kept.append(i)
    return kept
