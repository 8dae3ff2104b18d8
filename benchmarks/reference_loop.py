"""The original's main loop without changes: one frame after the other, its order, its batch sizes, its
repeated work. The benchmarks' baseline.

Written from docs/reference.md; the networks are this project's, in their exact form.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import cv2
import numpy as np

from operators.retalk import align3d, coefficients, face_boxes, mel, oriented_crops
from operators.retalk.detectors import Detectors
from operators.retalk.nets import Networks
from operators.retalk.network_inputs import FaceInput, face_input, reference_frame, swap_colours
from operators.retalk.original import Finished, Steps


@dataclass
class Record:
    """Everything between the steps: pictures uint8 BGR."""

    semantic: np.ndarray = field(default_factory=lambda: np.zeros((0, 262), np.float32))
    stabilised: list[np.ndarray] = field(default_factory=list)
    enhanced: list[np.ndarray] = field(default_factory=list)
    starts: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    faces: list[np.ndarray] = field(default_factory=list)
    finished: list[Finished] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Add the wall seconds of the block to a step."""
        start = time.perf_counter()
        yield
        self.seconds[step] = self.seconds.get(step, 0.0) + time.perf_counter() - start


def reference_loop(
    frames: np.ndarray,
    samples: np.ndarray,
    fps: float,
    networks: Networks,
    detectors: Detectors,
    expression: np.ndarray,
    standard: np.ndarray,
    batch: int = 16,
    pads: tuple[int, int, int, int] = face_boxes.DEFAULT_PADS,
    most: int | None = None,
) -> Record:
    """Dub a clip as the original does.

    Args:
        frames: uint8[T, h, w, 3] BGR.
        samples: float32[n], speech at 16 kHz.
        fps: frames a second.
        networks: in exact form.
        detectors: themselves or a recording.
        expression: float32[64], the template that every frame's expression becomes.
        standard: float[5, 3], five standard points of the face.
        batch: of L-Net and E-Net.
        pads: top, bottom, left, right.
        most: output frames at most (None: as many as the speech gives).
    """
    record, steps = Record(), Steps(networks)
    with record.timed("detect"):
        clip_box, crops = _crops(frames, detectors)
        landmarks = _landmarks(crops, detectors)
    with record.timed("recon3d"):
        rows = []
        for crop, points in zip(crops, landmarks, strict=True):
            aligned, parameters = align3d.align(crop, points, standard)
            rows.append(np.concatenate([networks.coefficients(aligned[None])[0], parameters]))
        record.semantic = np.stack(rows).astype(np.float32)
    with record.timed("dnet"):
        for i, crop in enumerate(crops):
            ratio = coefficients.crop_ratio(record.semantic[i], record.semantic)
            window = coefficients.window(record.semantic, i, ratio, expression)
            record.stabilised.append(networks.edit(crop[None], window[None])[0][..., ::-1])
    spectrogram = mel.mel_spectrogram(samples)
    starts = mel.chunk_starts(spectrogram.shape[1], fps)
    used, record.starts = min(len(frames), len(starts)), starts[:most]
    with record.timed("enhance"):
        for i, stabilised in enumerate(record.stabilised[:used]):
            picture = np.ascontiguousarray(stabilised)
            record.enhanced.append(steps.reference(picture, detectors.reference_faces(i, picture)))
    with record.timed("detect"):
        oriented = oriented_crops.oriented_crops(
            np.stack([_found(detectors.enhanced_landmarks(i, p), i) for i, p in enumerate(record.enhanced)])
        )
        raw = np.stack([_found(detectors.face_box(i, frames[i]), i) for i in range(used)])
    boxes = face_boxes.face_boxes(raw, pads, (frames.shape[2], frames.shape[1]))

    def items() -> Iterator[tuple[int, int, FaceInput]]:
        for out in range(len(record.starts)):
            i = out % used
            reference = reference_frame(frames[i], record.enhanced[i], oriented[i], clip_box)
            yield out, i, face_input(frames[i], reference, tuple(boxes[i]))

    waiting: list[tuple[int, int, FaceInput]] = []
    for item in items():
        waiting.append(item)
        if len(waiting) == batch or item[0] + 1 == len(record.starts):
            _render(record, waiting, frames, boxes, spectrogram, steps, detectors)
            waiting = []
    return record


def _render(
    record: Record,
    items: list[tuple[int, int, FaceInput]],
    frames: np.ndarray,
    boxes: np.ndarray,
    spectrogram: np.ndarray,
    steps: Steps,
    detectors: Detectors,
) -> None:
    """One batch through L-Net and E-Net, then frame by frame."""
    with record.timed("lnet"):
        heard = np.stack([spectrogram[:, record.starts[out] :][:, : mel.CHUNK] for out, _, _ in items])
        pairs = np.stack([item.pair for _, _, item in items])
        pairs = swap_colours(pairs)
        lips = steps.networks.lips(heard, pairs, batch=len(items))
    with record.timed("enet"):
        predicted = swap_colours(steps.networks.faces(lips, pairs[..., 3:], batch=len(items)))
    with record.timed("blend"):
        for (out, i, _), face in zip(items, predicted, strict=True):
            record.faces.append(face)
            record.finished.append(
                steps.finish(frames[i], np.clip(face, 0, 1), tuple(boxes[i]), out, detectors)
            )


def _crops(frames: np.ndarray, detectors: Detectors) -> tuple[tuple[int, int, int, int], list[np.ndarray]]:
    """The clip's crop and each frame's 256 x 256 RGB picture of it."""
    height, width = frames.shape[1:3]
    for i, frame in enumerate(frames[: max(1, len(frames) // 2)]):
        points = detectors.clip_landmarks(i, frame[..., ::-1])
        if points is not None:
            break
    else:
        raise ValueError("no face in the first half of the clip")
    y1, y2, x1, x2 = box = oriented_crops.clip_crop(points, width, height).box
    return box, [cv2.resize(np.ascontiguousarray(frame[y1:y2, x1:x2, ::-1]), (256, 256)) for frame in frames]


def _landmarks(crops: list[np.ndarray], detectors: Detectors) -> list[np.ndarray | None]:
    """Landmarks of each crop; a crop without a face has those of the one before."""
    found: list[np.ndarray | None] = []
    for i, crop in enumerate(crops):
        points = detectors.source_landmarks(i, crop)
        found.append(points if points is not None or not found else found[-1])
    return found


def _found(answer: np.ndarray | None, index: int) -> np.ndarray:
    if answer is None:
        raise ValueError(f"no face in frame {index}")
    return answer
