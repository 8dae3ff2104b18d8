"""Tracks of faces through a video, and the crops of them that SyncNet sees.

After SyncNet's own pipeline (Chung and Zisserman 2016); see docs/evaluation.md#lse-d-and-lse-c.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.signal import medfilt

from operators.media.frames import Frame

#: Side of a crop, pixels.
SIDE = 224
#: Grey around the picture.
PADDING = 110
#: A crop's margin around the box, box halves.
MARGIN = 0.4
#: Frames of the median that smooths boxes.
MEDIAN = 13


@dataclass(frozen=True)
class FaceTrack:
    """One face without a cut.

    Attributes:
        start: its first frame.
        boxes: float64[n, 4] x1, y1, x2, y2 px, one a frame; those between detections are interpolated.
    """

    start: int
    boxes: np.ndarray

    @property
    def stop(self) -> int:
        """One after its last frame."""
        return self.start + len(self.boxes)

    def geometry(self) -> np.ndarray:
        """Return float64[n, 3]: centre x, centre y and half the longer side of the boxes, each after a median."""
        low, high = self.boxes[:, :2], self.boxes[:, 2:]
        half = (high - low).max(1) / 2
        values = [*((low + high) / 2).T, half]
        return np.stack([medfilt(value, MEDIAN) for value in values], 1)


def link_faces(
    detections: Iterable[np.ndarray],
    cuts: Sequence[int] = (),
    *,
    overlap: float = 0.5,
    longest_gap: int = 25,
    longer_than: int = 100,
    larger_than: float = 100,
) -> list[FaceTrack]:
    """Link boxes of consecutive frames into tracks.

    A box continues the track whose last box it overlaps most, if by more than ``overlap`` and after at most
    ``longest_gap`` frames. (SyncNet's own code builds one track after the other and so gives a box to the first that it
    fits; the two differ only where faces overlap each other.)

    Args:
        detections: for each frame float[k, >=4] x1, y1, x2, y2 px.
        cuts: first frames of the shots after the first; tracks end there.
        overlap: intersection over union.
        longest_gap: frames.
        longer_than: tracks of more detections than this are kept.
        larger_than: so are those whose longer mean side is above this, px.

    Returns:
        The tracks in the order in which they begin.
    """
    starts = set(cuts)
    done, open_tracks = list[list[tuple[int, np.ndarray]]](), list[list[tuple[int, np.ndarray]]]()
    for frame, found in enumerate(detections):
        if frame in starts:
            done, open_tracks = done + open_tracks, []
        still = [track for track in open_tracks if frame - track[-1][0] <= longest_gap]
        done += [track for track in open_tracks if frame - track[-1][0] > longest_gap]
        boxes = np.asarray(found, np.float64)[:, :4] if len(found) else np.zeros((0, 4))
        open_tracks = still
        shared = np.array([[_overlap(track[-1][1], box) for box in boxes] for track in open_tracks])
        free_boxes = set(range(len(boxes)))
        while shared.size and shared.max() > overlap:
            number, box = (int(place) for place in np.unravel_index(int(shared.argmax()), shared.shape))
            open_tracks[number].append((frame, boxes[box]))
            free_boxes.discard(box)
            shared[number], shared[:, box] = -1, -1
        open_tracks += [[(frame, boxes[box])] for box in sorted(free_boxes)]
    tracks = []
    for track in done + open_tracks:
        frames, boxes = np.array([frame for frame, _ in track]), np.array([box for _, box in track])
        if len(track) > longer_than:
            every = np.arange(frames[0], frames[-1] + 1)
            filled = np.stack([np.interp(every, frames, column) for column in boxes.T], 1)
            if (filled[:, 2:] - filled[:, :2]).mean(0).max() > larger_than:
                tracks.append(FaceTrack(int(frames[0]), filled))
    return sorted(tracks, key=lambda track: track.start)


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union."""
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    shared = float(np.prod(np.maximum(high - low, 0)))
    areas = sum(float(np.prod(box[2:] - box[:2])) for box in (one, other))
    return shared / (areas - shared) if areas > shared else 0.0


def crop_face(picture: np.ndarray | Frame, geometry: np.ndarray) -> np.ndarray:
    """Cut SyncNet's view of a face: 1.4 box halves to both sides, from the box's top to 1.8 halves below its centre.

    Args:
        picture: uint8[h, w, 3], or a frame, of which no more than the crop is converted to RGB
            (`Frame.rgb_resized`).
        geometry: float[3], a row of `FaceTrack.geometry`.

    Returns:
        uint8[224, 224, 3]; outside the picture it is grey (110).
    """
    x, y, half = (float(value) for value in geometry)
    border = int(half * (1 + 2 * MARGIN))
    top, bottom = int(y + border - half), int(y + border + half * (1 + 2 * MARGIN))
    left, right = int(x + border - half * (1 + MARGIN)), int(x + border + half * (1 + MARGIN))
    top, bottom, left, right = (value - border for value in (top, bottom, left, right))
    width, height = picture.size if isinstance(picture, Frame) else picture.shape[1::-1]
    x1, y1, x2, y2 = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    if x1 >= x2 or y1 >= y2:
        return np.full((SIDE, SIDE, 3), PADDING, np.uint8)
    sides = y1 - top, bottom - y2, x1 - left, right - x2
    if isinstance(picture, Frame) and not any(sides):
        return picture.rgb_resized((SIDE, SIDE), (x1, y1, x2, y2))
    inner = picture.rgb((x1, y1, x2, y2)) if isinstance(picture, Frame) else picture[y1:y2, x1:x2]
    whole = cv2.copyMakeBorder(inner, *sides, cv2.BORDER_CONSTANT, value=(PADDING,) * 3)
    return cv2.resize(whole, (SIDE, SIDE))
