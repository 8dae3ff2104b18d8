"""Learned marks in a file, for those whose weights are here: part of the watermark check of `retalk verify`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from operators.faces.backend import FaceBackend, make_backend
from operators.media.probe import probe_video
from operators.media.reader import read_frames
from operators.storage.errors import MediaError
from operators.watermark.keys import MarkKey
from operators.watermark.learned import (
    AUDIOSEAL,
    TAG_BITS,
    VIDEOSEAL,
    LearnedReading,
    VideoSealLook,
    read_audioseal,
    readable,
)
from pipelines.provenance.findings import Finding

#: Pictures that are looked at, over the whole length.
PICTURES = 24
#: The part of a face's box in which a dub may draw: left, top, right, bottom.
MOUTH = (0.05, 0.40, 0.95, 1.15)
#: Longest side of the pictures in which faces are looked for.
LONG_SIDE = 640
Box = tuple[int, int, int, int]


def learned_readings(path: Path, key: MarkKey, samples: np.ndarray | None) -> list[LearnedReading]:
    """Look for the learned marks whose weights are here.

    Args:
        path: of the file.
        key: of the check bits of VideoSeal's codeword.
        samples: its sound at `operators.watermark.learned.RATE`; None: it has none.

    Raises:
        LearnedMarkError, WeightsError: weights are here, but cannot be used.
    """
    found = []
    if samples is not None and readable(AUDIOSEAL):
        found.append(read_audioseal(samples))
    if readable(VIDEOSEAL):
        whole, mouths = VideoSealLook(), VideoSealLook()
        try:
            _look(path, whole, mouths)
        except MediaError:
            return found
        found.append(max((whole.read(key), mouths.read(key)), key=lambda one: (one.found, one.present)))
    return found


def _look(path: Path, whole: VideoSealLook, mouths: VideoSealLook) -> None:
    faces = make_backend("dlib", "cpu")
    count = len(probe_video(str(path)).pts)
    for index in np.unique(np.linspace(0, count - 1, PICTURES).astype(int)).tolist():
        for frame in read_frames(str(path), index, index + 1):
            whole.add(frame.rgb())
            for box in mouths_of(faces, frame.luma())[:1]:
                mouths.add(frame.rgb(box))


def mouths_of(faces: FaceBackend, luma: np.ndarray) -> list[Box]:
    """Boxes within a picture uint8[h, w] in which a dub of its faces may draw; faces are looked for in a small copy."""
    height, width = luma.shape
    scale = min(1.0, LONG_SIDE / max(width, height))
    small = cv2.resize(luma, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    found = []
    for x1, y1, x2, y2 in np.asarray(faces.detect(small)[0], float).reshape(-1, 4) / scale:
        left, right = (int(x1 + share * (x2 - x1)) for share in (MOUTH[0], MOUTH[2]))
        top, bottom = (int(y1 + share * (y2 - y1)) for share in (MOUTH[1], MOUTH[3]))
        box = max(0, left), max(0, top), min(width, right), min(height, bottom)
        if box[0] < box[2] and box[1] < box[3]:
            found.append(box)
    return found


def with_learned(finding: Finding, learned: Sequence[LearnedReading]) -> Finding:
    """Add what was read of learned marks to a finding on the built-in one."""
    for one in learned:
        details = {**finding.details, one.name: {"present": round(one.present, 3), "ids": list(one.ids)}}
        finding = replace(finding, details=details)
        if not one.found:
            continue
        part = f"the first {TAG_BITS} bits of an id" if one.name == AUDIOSEAL else "the id"
        text = f"a mark of {one.name} carries {part}, {', '.join(one.ids)} (no p-value is known; it says {one.present:.2f})"
        ids = [*finding.ids, *(mark_id for mark_id in one.ids if mark_id not in finding.ids)]
        finding = replace(finding, state="found", text=f"{finding.text}; {text}", ids=ids)
    return finding
