"""Lower-face patches of the frames that serve as exemplars: the only pixels of a segment that are kept while
its output is rendered.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Sequence
from types import TracebackType

import cv2
import numpy as np

from operators.exemplar.warp import face_unit
from operators.media.picture_420 import Picture420

Box = tuple[int, int, int, int]

#: Landmarks that a patch shows whole: base of the nose, mouth, and the jaw below the mouth's corners.
SHOWN = np.array([*range(31, 36), *range(48, 68), *range(5, 12)])
#: Widest patch kept, in pixels; wider ones (faces of more than some 1200 px) are reduced, so that a 60-second
#: segment stays bounded.
MAX_WIDTH = 640


@dataclasses.dataclass(frozen=True)
class Patch:
    """Pixels around the mouth of one source frame.

    Attributes:
        picture: luma uint8[h, w] and chroma of half the size.
        origin: x and y of its first pixel's centre in the upright frame.
        scale: patch pixels per frame pixel, 1 unless it was reduced to `MAX_WIDTH`.
        landmarks: float32[68, 2] of that frame, upright pixels.
    """

    picture: Picture420
    origin: tuple[float, float]
    scale: float
    landmarks: np.ndarray

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        height, width = self.picture.luma.shape
        return width, height


def patch_box(landmarks: np.ndarray, size: tuple[int, int]) -> Box:
    """Box of a patch: x1, y1, x2, y2 inside the picture of (width, height), at least one pixel; from even ones on, where chroma begins."""
    points, margin = landmarks[SHOWN], 0.18 * face_unit(landmarks)
    low = np.clip(np.floor(points.min(0) - margin), 0, np.array(size) - 1).astype(int) & ~1
    high = np.clip(np.ceil(points.max(0) + margin) + 1, low + 1, size).astype(int)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def generous_box(landmarks: np.ndarray, size: tuple[int, int]) -> Box:
    """Box that holds `patch_box` of the same face once its landmarks have been smoothed."""
    x1, y1, x2, y2 = patch_box(landmarks, size)
    spare = int(np.ceil(0.06 * face_unit(landmarks))) + 1
    return max(x1 - spare, 0), max(y1 - spare, 0), min(x2 + spare, size[0]), min(y2 + spare, size[1])


def stored_size(box: Box) -> tuple[int, int]:
    """Width and height in which the patch of a box is kept."""
    width, height = box[2] - box[0], box[3] - box[1]
    return (width, height) if width <= MAX_WIDTH else (MAX_WIDTH, max(1, round(height * MAX_WIDTH / width)))


def _shapes(box: Box) -> tuple[tuple[int, int], tuple[int, int, int]]:
    """Shapes of luma and chroma in which the patch of a box is kept."""
    width, height = stored_size(box)
    return (height, width), (-(-height // 2), -(-width // 2), 2)


class PatchStore:
    """Patches of a segment's exemplars in one block of memory, or beyond a limit in one temporary file that
    `close` removes.

    Args:
        frames: source frame numbers whose patches will be added.
        landmarks: float32[F, 68, 2], upright pixels, of those frames.
        size: width and height of the upright picture.
        limit: bytes that may be held in memory.

    Used as a context manager. Everything is sized before the first frame is decoded: it does not grow.
    """

    def __init__(
        self, frames: Sequence[int], landmarks: np.ndarray, size: tuple[int, int], limit: int
    ) -> None:
        self._landmarks = dict(zip((int(f) for f in frames), landmarks))
        self._boxes = {frame: patch_box(points, size) for frame, points in self._landmarks.items()}
        sizes = [sum(int(np.prod(shape)) for shape in _shapes(box)) for box in self._boxes.values()]
        starts = np.concatenate([[0], np.cumsum(sizes)]).astype(int)
        self._slices = {frame: slice(a, b) for frame, a, b in zip(self._boxes, starts[:-1], starts[1:])}
        self._added: set[int] = set()
        self._to_rgb = np.zeros([3, 4], np.float32)
        self.bytes = int(starts[-1])
        self._file = None
        if self.bytes > limit:
            # Unlinked on creation where the system can: nothing is left behind even if the process is killed.
            self._file = tempfile.TemporaryFile(prefix="retalk-patches-")  # noqa: SIM115  (closed by `close`)
            self._pixels: np.ndarray = np.memmap(self._file, np.uint8, "w+", shape=(self.bytes,))
        else:
            self._pixels = np.empty(self.bytes, np.uint8)

    @property
    def spilled(self) -> bool:
        """The patches lie in a temporary file."""
        return self._file is not None

    @property
    def frames(self) -> list[int]:
        """Frames that have been added, ascending."""
        return sorted(self._added)

    def box(self, frame: int) -> Box:
        """Box to cut out of the frame for `add`, upright pixels."""
        return self._boxes[frame]

    def add(self, frame: int, picture: Picture420) -> None:
        """Keep the pixels of `box` of a frame."""
        box = self._boxes[frame]
        assert picture.luma.shape == (box[3] - box[1], box[2] - box[0]), (picture.luma.shape, box)
        kept = [
            part if shape == part.shape else cv2.resize(part, shape[1::-1], interpolation=cv2.INTER_AREA)
            for part, shape in zip((picture.luma, picture.chroma), _shapes(box), strict=True)
        ]
        np.concatenate([part.reshape(-1) for part in kept], out=self._pixels[self._slices[frame]])
        self._to_rgb = picture.to_rgb
        self._added.add(frame)

    def __getitem__(self, frame: int) -> Patch:
        assert frame in self._added, f"frame {frame} was never added"
        box = self._boxes[frame]
        luma, chroma = _shapes(box)
        scale = luma[1] / (box[2] - box[0])
        # Centres: the first small pixel covers 1 / scale frame pixels, and its centre lies in their middle.
        shift = (1 / scale - 1) / 2
        first, rest = np.split(self._pixels[self._slices[frame]], [luma[0] * luma[1]])
        picture = Picture420(first.reshape(luma), rest.reshape(chroma), self._to_rgb)
        return Patch(picture, (box[0] + shift, box[1] + shift), scale, self._landmarks[frame])

    def close(self) -> None:
        """Give the memory and the temporary file back; patches taken before must not be used any more."""
        self._pixels = np.empty(0, np.uint8)
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> PatchStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
