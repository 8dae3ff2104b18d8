"""Letters in front of a face over the frames of a segment, seen some frames before one is drawn: where they are, and how much of a new
mouth they leave. Used by `render_stage`.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from operators.exemplar.graphics import Line
from operators.exemplar.letter_tracks import LetterTracks, linked
from operators.exemplar.masks import Box, kept_in_place, lip_mask
from operators.exemplar.standing_lines import Follower, StandingLines, placed
from operators.numeric.masks import smoothstep

#: Frames for which a line of letters is remembered.
HELD = 3
#: Letters on so large a share of the lips leave the mouth as it is, until they have been on less than that of them for so many frames:
#: half of it would speak.
ON_LIPS, STILL_ON_LIPS, OFF_LIPS = 0.04, 0.02, 10
#: Frames over which the new mouth goes before such letters and comes after them.
EASED = 4
#: After so many searched frames without a line, one frame in so many is searched until a line is found; those since the search before are
#: searched then as well. Of as many frames as make a line believable one is searched: SPARSE <= letter_tracks.FINDS.
QUIET, SPARSE = 6, 3
#: Frames that are looked at after one before it is given back, at least: it may be one of those that are searched later.
LEAST_AHEAD = EASED + SPARSE - 1

#: `operators.exemplar.graphics.lines_of_letters`.
Search = Callable[[np.ndarray, np.ndarray, float], list[Line]]


@dataclasses.dataclass
class Look:
    """One output frame, looked at for letters.

    Attributes:
        frame: its number in the source.
        box: the crop, in the picture.
        crop: gives it as uint8[h, w, 3], as it was before anything was drawn.
        faces: landmarks float32[68, 2] of the frame and of what is drawn, in the picture.
        unit: the face's size in pixels (`operators.exemplar.warp.face_unit`).
        lines: what was found, in pixels of the crop; ``believed`` of these.
        followed: boxes in the picture where a line was seen that is found in a later frame.
        kept: float32[h, w] of the crop, share of each pixel that must stay as it is; None: of none.
        on_lips: so many letters are on the lips that the mouth must stay as it is.
    """

    frame: int
    box: Box
    crop: Callable[[], np.ndarray]
    faces: tuple[np.ndarray, np.ndarray]
    unit: float
    lines: list[Line] = dataclasses.field(default_factory=list)
    believed: list[Line] = dataclasses.field(default_factory=list)
    followed: list[Box] = dataclasses.field(default_factory=list)
    kept: np.ndarray | None = None
    on_lips: bool = False

    @functools.cached_property
    def rgb(self) -> np.ndarray:
        """uint8[h, w, 3], the crop: converted where it is needed."""
        return self.crop()

    @property
    def boxes(self) -> list[Box]:
        """Boxes in the picture of the lines that are believed."""
        return [placed(line.box, self.box[:2]) for line in self.believed]


class Lettering:
    """Letters in front of one person. Frames are looked at in the output's order (`look`, `pass_over`), and given back in that order
    (`next`) when enough of those after them have been looked at: a line is believed once it is found often (`letter_tracks`), and then
    followed back to where it begins.

    Args:
        search: finds lines in a crop, given landmarks in its pixels and the face's size.
    """

    def __init__(self, search: Search) -> None:
        self._search = search
        self._tracks, self.standing = LetterTracks(), StandingLines()
        self._waiting: deque[Look | None] = deque()
        #: Searched frames in a row without a line, and frames since the last search.
        self._quiet, self._skipped = 0, list[Look]()
        #: How many of these are finished: what is in front of them is known.
        self._finished = 0
        #: Lines of letters of the last frames, in the picture: one that is missed for a frame stays.
        self._lines: deque[list[Box]] = deque(maxlen=HELD)
        #: Frames for which letters on the lips still count, and since how many they do not.
        self._lettered, self._since = 0, EASED + 1

    def learn(
        self, finds: Sequence[tuple[int, tuple[int, int], list[Line]]], pixels: Callable[[int], np.ndarray]
    ) -> None:
        """Take account of lines found in other frames of the segment.

        Args:
            finds: number in the source, the crop's first pixel in the picture, lines in pixels of the crop.
            pixels: gives the crop uint8[h, w, 3] of a frame.
        """
        for frame, origin, lines in finds:
            self._tracks.add(frame, [placed(line.box, origin) for line in lines])
        for frame, origin, lines in [] if self._tracks.few else finds:
            believed = [one for one in lines if self._tracks.believed(frame, placed(one.box, origin))]
            if believed:
                self.standing.learn(believed, pixels(frame), origin)

    def look(
        self,
        frame: int,
        box: Box,
        crop: Callable[[], np.ndarray],
        faces: tuple[np.ndarray, np.ndarray],
        unit: float,
    ) -> None:
        """Search the output's next frame, if it is one that is searched; arguments as in `Look`."""
        now = Look(frame, box, crop, faces, unit)
        before = self._waiting[-1] if self._waiting else None
        self._waiting.append(now)
        stands = before is not None and before.frame == frame and before.box == box
        if before is not None and stands and not self._skipped:
            # What was found in it just now.
            self._note(now, before.lines)
        elif self._quiet >= QUIET and len(self._skipped) + 1 < SPARSE:
            self._skipped.append(now)
            return
        else:
            self._note(now, self._found(now))
        self._quiet = 0 if now.lines else self._quiet + 1
        for skipped in self._skipped if now.lines else []:
            self._note(skipped, self._found(skipped))
        self._skipped.clear()
        if not self._tracks.few:
            self._judge()

    def _found(self, look: Look) -> list[Line]:
        return self._search(look.rgb, look.faces[0] - np.array(look.box[:2]), look.unit)

    def _note(self, look: Look, lines: list[Line]) -> None:
        """A frame was searched, and shows these lines."""
        look.lines = lines
        self._tracks.add(look.frame, [placed(line.box, look.box[:2]) for line in lines])

    def pass_over(self) -> None:
        """The output's next frame is not drawn on."""
        self._waiting.append(None)
        self._quiet = 0
        self._skipped.clear()

    def _judge(self) -> None:
        """Believe what has been found often by now."""
        for place, look in enumerate(self._waiting):
            if look is not None and len(look.believed) < len(look.lines):
                self._believe(place, look)

    def _believe(self, place: int, look: Look) -> None:
        for line in look.lines:
            if any(line is other for other in look.believed):
                continue
            if self._tracks.believed(look.frame, placed(line.box, look.box[:2])):
                look.believed.append(line)
                self.standing.learn([line], look.rgb, look.box[:2])
                self._follow(line, place, look)

    def _follow(self, line: Line, place: int, look: Look) -> None:
        """See a line in the frames before the one that it was found in."""
        follower: Follower | None = None
        box = placed(line.box, look.box[:2])
        for earlier in itertools.islice(reversed(self._waiting), len(self._waiting) - place, None):
            if earlier is None or any(linked(box, earlier.boxes)):
                return
            follower = follower or Follower(line, look.rgb, look.box[:2])
            seen = follower.next(earlier.rgb, earlier.box[:2])
            if seen is None:
                return
            box = seen
            earlier.followed.append(box)

    def next(self) -> tuple[Look | None, float]:
        """Give the first frame back that was looked at and not yet given back, and how much of a new mouth is shown in it, 0..1."""
        if self._tracks.few:
            self._judge()
        for look in itertools.islice(self._waiting, self._finished, EASED + 1):
            self._finish(look)
            self._finished += 1
        first = self._waiting.popleft()
        self._finished -= 1
        if first is None:
            self._since = EASED + 1
            return None, 0.0
        self._since = 0 if first.on_lips else self._since + 1
        following = [look is not None and look.on_lips for look in itertools.islice(self._waiting, EASED)]
        apart = min([self._since, *(ahead + 1 for ahead, there in enumerate(following) if there)])
        return first, float(smoothstep(apart / (EASED + 1)))

    def _finish(self, look: Look | None) -> None:
        """Say what letters leave of a frame's mouth."""
        self._lettered = max(0, self._lettered - 1)
        if look is None:
            self._lines.clear()
            self._lettered = 0
            return
        standing = self.standing.seen(look.rgb, look.box[:2]) if self.standing else []
        seen = [placed(box, look.box[:2]) for box in standing]
        boxes = look.boxes + look.followed + seen
        self._lines.append(boxes)
        lines = [line for held in self._lines for line in held]
        if lines:
            look.kept = kept_in_place(lines, look.box, look.unit)
        if (
            boxes
            and look.kept is not None
            and letters_on_lips(look.kept, look.faces, look.box)
            > (STILL_ON_LIPS if self._lettered else ON_LIPS)
        ):
            self._lettered = OFF_LIPS
        look.on_lips = self._lettered > 0


def letters_on_lips(kept: np.ndarray, faces: Iterable[np.ndarray], box: Box) -> float:
    """Share of the lips that must stay as it is, float32[h, w] of a crop; faces and crop as in `lip_mask`."""
    return float(kept[lip_mask(list(faces), box)].mean())
