"""Stage "render" of the engine "exemplar": draws the chosen mouths into the frames and encodes them."""

from __future__ import annotations

import dataclasses
import functools
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from operators.columns import scalar, tensor
from operators.exemplar.composite import Memory, composite
from operators.exemplar.graphics import lines_of_letters
from operators.exemplar.jaw import face_box
from operators.exemplar.lettering import LEAST_AHEAD, Lettering, Look
from operators.exemplar.masks import Box, MaskOptions, kept_in_place
from operators.exemplar.patches import Patch, PatchStore, generous_box
from operators.exemplar.still import LipLine, still_composite
from operators.exemplar.warp import face_unit
from operators.media.codec_names import Encoding
from operators.media.encoders import EncoderOptions
from operators.media.frames import Frame
from operators.media.kept_frames import KEPT
from operators.media.ordered_frames import chosen_frames, source_frames
from operators.media.probe import VideoInfo, probe_video
from operators.media.writer import encode_segment
from operators.receipt import RECEIPT, receipt
from operators.segment import Segment
from operators.stage import Stage
from operators.threads import ahead

#: Source frames apart at which two exemplars still show one movement.
SAME_RUN = 3
#: Frames and bytes (three a pixel) held while an output segment runs backwards; the bytes also of frames that are looked at beforehand.
BLOCK_FRAMES, BLOCK_BYTES = 32, 256 << 20
#: Frames that are looked at for letters before one is drawn, at most.
AHEAD = 25
#: Reason of frames that keep their own mouth behind letters.
LETTERS = "letters"
NOTE = "letters in front of the face keep their place: the mouth is not drawn there"
#: A pixel loses so much of what is drawn by letters in front of it at least, and frames in which some do so before a note tells of it.
LOST, TOLD = 0.05, 3


@dataclasses.dataclass(frozen=True)
class RenderOptions(MaskOptions, Encoding):
    """Options of `RenderMouths`: the mask's (`MaskOptions`), the encoder's (`Encoding`) and the following.

    Attributes:
        patches_mib: mebibytes of exemplar patches held in memory; beyond it they go to a temporary file.
    """

    patches_mib: int = 512


class RenderMouths(Stage):
    """Keeps the patches of exemplars, then composites and encodes, frame by frame.

    Patches come from the stage "detect" where it is in the same worker (`operators.media.kept_frames`), and otherwise
    from a pass of their own over the segment.

    Where ``still`` is set there is nothing to borrow: each frame's own face is split at the lip line and
    opened (`still`), whatever frame ``exemplar`` names. Patches wider than `patches.MAX_WIDTH` (faces beyond
    some 1200 pixels) are kept reduced: such mouths are a little softer than their surroundings. Frames whose
    ``exemplar`` is -1, whose ``blend`` is 0 or that have no valid face are encoded as decoded.

    ``fault`` and ``covered`` are read by the measures alone (`operators.evaluation.watch`).

    Memory: patches (see `PatchStore`), what `kept_frames` holds of the segment, up to `AHEAD` frames and crops of their faces, and up to
        `BLOCK_FRAMES` more where it runs backwards; each of the two within `BLOCK_BYTES`.

    Writes:
        path, sha256, frames, bytes: the receipt of the encoded output segment at ``segment["target"]``.

    Raises:
        MediaError: the video cannot be read or decoded, or the result not be written; names file and time.
    """

    name: ClassVar[str] = "render"
    doing: ClassVar[str] = "painting"
    takes_frames: ClassVar[bool] = True
    per = "dub"
    Options: ClassVar[type] = RenderOptions
    reads = pa.schema(
        [
            tensor("landmarks", "float32", "T", 68, 2),
            tensor("valid", "bool", "T"),
            tensor("fault", "uint8", "T"),
            tensor("covered", "bool", "N"),
            tensor("exemplar", "int64", "N"),
            tensor("shape", "float32", "N", 68, 2),
            tensor("blend", "float32", "N"),
            scalar("still", pa.bool_()),
        ]
    )
    writes = RECEIPT

    def setup(self, device: str) -> None:
        """Ask the stage that finds the faces, if it is in this worker, to keep what patches are made of."""
        del device
        KEPT.ask(self, generous_box)

    def process(self, segment: Segment) -> dict[str, Any]:
        options: RenderOptions = self.options_for(segment)
        info = probe_video(segment.video)
        with ExitStack() as stack:
            people = painters_of([segment, *segment.others], info, options, stack)
            frames = self.counted(self.shown(rendered_frames(segment, info, people)))
            written = encode_segment(segment["target"], frames, info, EncoderOptions.of(options))
        return receipt(segment["target"], written)


def painters_of(
    people: Sequence[Segment], info: VideoInfo, options: RenderOptions, stack: ExitStack
) -> list[tuple[Painter, np.ndarray]]:
    """Prepare each person's painter, with the patches it needs, and the output frames bool[N] that it draws; the stack closes them."""
    prepared, wanted = [], []
    for one in people:
        drawn = drawn_frames(one)
        needed = np.zeros(0, np.int64) if one["still"] else np.unique(np.asarray(one["exemplar"])[drawn])
        landmarks = np.asarray(one["landmarks"])[needed - one.frames[0]]
        room = (options.patches_mib << 20) // len(people)
        patches = stack.enter_context(PatchStore(needed.tolist(), landmarks, one.size, room))
        prepared.append((one, patches, drawn))
        wanted.append((patches, needed))
    add_patches(wanted, people[0].video, info)
    return [(Painter(one, patches, options), drawn) for one, patches, drawn in prepared]


def add_patches(wanted: Sequence[tuple[PatchStore, np.ndarray]], video: str, info: VideoInfo) -> None:
    """Fill stores with the patches of their frames int64[K] of a video, decoding those that are not kept, once for all."""
    left: list[set[int]] = []
    for patches, needed in wanted:
        found = []
        for index, picture in KEPT.take(video, ((index, patches.box(index)) for index in needed.tolist())):
            patches.add(index, picture)
            found.append(index)
        left.append(set(needed.tolist()).difference(found))
    for frame in chosen_frames(video, np.array(sorted(set[int]().union(*left)), np.int64), info):
        for (patches, _), lacking in zip(wanted, left, strict=True):
            if frame.index in lacking:
                patches.add(frame.index, frame.picture_420(patches.box(frame.index)))


def drawn_frames(segment: Segment) -> np.ndarray:
    """Output frames that get another mouth: bool[N]."""
    valid = np.asarray(segment["valid"], bool)[segment.source - segment.frames[0]]
    shape = np.asarray(segment["shape"])
    return (
        valid
        & (np.asarray(segment["exemplar"]) >= 0)
        & (np.asarray(segment["blend"]) > 0)
        & np.isfinite(shape).all((1, 2))
    )


def rendered_frames(
    segment: Segment, info: VideoInfo, people: Sequence[tuple[Painter, np.ndarray]]
) -> Iterator[tuple[Frame, int]]:
    """The output frames of a row with their presentation times, in order.

    Args:
        segment: the row.
        info: of the video.
        people: of each who is dubbed the painter, and bool[N] of the output frames that it draws.
    """
    width, height = segment.size
    room = BLOCK_BYTES // (3 * width * height)
    frames = KEPT.frames(segment.video, segment.source.tolist())
    if frames is None:
        block = int(np.clip(room, 4, BLOCK_FRAMES))
        frames = ahead(source_frames(segment.video, segment.source, info, block))
    waiting, beforehand = deque[tuple[int, Frame, int]](), int(np.clip(room, LEAST_AHEAD, AHEAD))

    def painted() -> tuple[Frame, int]:
        index, frame, pts = waiting.popleft()
        for painter, _ in people:
            painter.draw(frame, index)
        return frame, pts

    for index, (frame, pts) in enumerate(zip(frames, segment.out_pts.tolist(), strict=True)):
        for painter, drawn in people:
            if drawn[index]:
                painter.look(frame, index)
            else:
                painter.pass_over()
        waiting.append((index, frame, pts))
        if len(waiting) > beforehand:
            yield painted()
    while waiting:
        yield painted()


class Painter:
    """Renderer of consecutive output frames; keeps the state that has to run smoothly from one to the next."""

    def __init__(self, segment: Segment, patches: PatchStore, options: RenderOptions) -> None:
        self._patches, self._options = patches, options
        self._start, self._still = segment.frames[0], bool(segment["still"])
        self._segment, self._hidden = segment, dict[int, np.ndarray | None]()
        self._landmarks, self._shape = np.asarray(segment["landmarks"]), np.asarray(segment["shape"])
        self._exemplar, self._blend = np.asarray(segment["exemplar"]), np.asarray(segment["blend"])
        self._letters = Lettering(lines_of_letters)
        #: Frames that were drawn behind letters.
        self._behind = 0
        self._found = self._look_at(patches.frames)
        self.rest()

    def rest(self) -> None:
        """A frame passed that is not drawn on: nothing carries over to the next."""
        self._memory: Memory | None = None
        self._line: LipLine | None = None
        self._last = 0

    def pass_over(self) -> None:
        """The output's next frame is not drawn on."""
        self._letters.pass_over()

    def look(self, frame: Frame, index: int) -> None:
        """Look at the source frame under output frame ``index``, the next one that `draw` gets or one after it."""
        landmarks, shape = self._landmarks[frame.index - self._start], self._shape[index]
        box = face_box(landmarks, shape, frame.size)
        # Another person may be drawn into the frame before its crop is needed.
        crop = functools.partial(frame.original.rgb, box)
        self._letters.look(frame.index, box, crop, (landmarks, shape), face_unit(landmarks))

    def draw(self, frame: Frame, index: int) -> None:
        """Put output frame ``index``'s mouth into the source frame under it, once it and those after it were looked at."""
        look, weight = self._letters.next()
        if look is None:
            self.rest()
            return
        if look.on_lips:
            self.rest()
            self._tell_letters()
            self._segment.leave(index, LETTERS)
            return
        landmarks, shape = look.faces
        if weight < 1:
            shape = landmarks + np.float32(weight) * (shape - landmarks)
        if self._still:
            # Another person may have been drawn there by now.
            rgb = look.rgb if frame.drawn is None else frame.rgb(look.box)
            drawn, self._line = still_composite(rgb, look.box, frame.size, landmarks, shape, self._line)
            frame.paste(look.box, drawn.rgb, self._uncovered(look, drawn.alpha))
        else:
            exemplar = int(self._exemplar[index])
            joined = abs(exemplar - self._last) > SAME_RUN
            patch, blend = self._patches[exemplar], weight * float(self._blend[index])
            hidden = self._letters_of(exemplar, patch)
            result = composite(
                *(frame.picture_420(look.box), look.box, frame.size, landmarks, shape, patch, blend),
                *(self._memory, joined, self._options),
                hidden=hidden,
            )
            self._memory, self._last = result.memory, exemplar
            frame.paste_420(look.box, result.picture, self._uncovered(look, result.alpha))

    def _uncovered(self, look: Look, alpha: np.ndarray) -> np.ndarray:
        """Return what letters leave of what is drawn."""
        if look.kept is None:
            return alpha
        if (alpha * look.kept).max() > LOST:
            self._tell_letters()
        return alpha * (1 - look.kept)

    def _tell_letters(self) -> None:
        self._behind += 1
        if self._behind == TOLD:
            self._segment.note(NOTE)

    def _look_at(self, frames: list[int]) -> dict[int, list[Box]]:
        """Lines in the picture that stand in front of exemplars; those of whole patches are remembered where they stand.

        In a run of frames every second one is looked at: letters that move are where they were before or will be after.
        """
        found: dict[int, list[Box]] = {}
        finds, skipped = [], []
        for before, frame, after in zip([-2, *frames], frames, [*frames[1:], -2]):
            if before in found and before == frame - 1 and after == frame + 1:
                skipped.append(frame)
                continue
            patch = self._patches[frame]
            landmarks = (patch.landmarks - np.array(patch.origin)) * patch.scale
            lines = lines_of_letters(patch.picture.rgb, landmarks, face_unit(landmarks))
            if patch.scale == 1:
                finds.append((frame, _corner(patch), lines))
            found[frame] = [_moved(line.box, patch.origin, 1 / patch.scale) for line in lines]
        self._letters.learn(finds, lambda frame: self._patches[frame].picture.rgb)
        return found | {frame: found[frame - 1] + found[frame + 1] for frame in skipped}

    def _letters_of(self, exemplar: int, patch: Patch) -> np.ndarray | None:
        """Where letters hide an exemplar's face, as `composite` takes it."""
        if exemplar not in self._hidden:
            x, y = patch.origin
            away = (-x * patch.scale, -y * patch.scale)
            lines = [_moved(line, away, patch.scale) for line in self._found.get(exemplar, ())]
            if patch.scale == 1:
                standing = self._letters.standing
                lines += standing.seen(patch.picture.rgb, _corner(patch)) if standing else []
            whole = (0, 0, *patch.size)
            unit = face_unit(patch.landmarks) * patch.scale
            self._hidden[exemplar] = kept_in_place(lines, whole, unit) if lines else None
        return self._hidden[exemplar]


def _moved(box: Box, by: tuple[float, float], scale: float) -> Box:
    """A box scaled and then moved, to the nearest pixels."""
    x1, y1, x2, y2 = (round(value * scale + by[i % 2]) for i, value in enumerate(box))
    return x1, y1, x2, y2


def _corner(patch: Patch) -> tuple[int, int]:
    """Upright pixel of a whole patch's first one."""
    return round(patch.origin[0]), round(patch.origin[1])
