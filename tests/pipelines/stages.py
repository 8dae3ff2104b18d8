"""Small real stages for tests of the graph: they read frames, fan out, and write encoded segments, in a
fraction of a second.

`Misbehave` raises, or kills its worker process, where its options say so.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from operators.columns import scalar, tensor
from operators.media.encoders import EncoderOptions
from operators.media.frames import Frame
from operators.media.probe import probe_video
from operators.media.reader import read_frames
from operators.media.writer import EncodedSegment, encode_segment
from operators.receipt import RECEIPT, receipt
from operators.segment import Segment
from operators.shared_batches import current_row
from operators.stage import Stage

FAST = EncoderOptions(crf=30, preset="ultrafast")


@dataclass(frozen=True)
class BrightnessOptions:
    smooth: int = 2


class Brightness(Stage):
    """Mean luma of each frame, smoothed over a window, so that it needs a halo; and a picture that nobody
    reads.
    """

    name = "brightness"
    Options = BrightnessOptions
    writes = pa.schema([tensor("brightness", "float32", "T"), tensor("thumbnail", "uint8", "T", 2, 2)])

    def halo(self, options: BrightnessOptions) -> tuple[int, int]:
        return options.smooth, options.smooth

    def process(self, segment: Segment) -> dict[str, Any]:
        start, stop = segment.frames
        raw = np.array([frame.luma().mean() for frame in read_frames(segment.video, start, stop)], np.float32)
        width = self.options_for(segment).smooth
        padded = np.pad(raw, width, mode="edge")
        smooth = np.mean([padded[k : k + len(raw)] for k in range(2 * width + 1)], axis=0, dtype=np.float32)
        return {"brightness": smooth, "thumbnail": np.zeros((len(raw), 2, 2), np.uint8)}


@dataclass(frozen=True)
class MisbehaveOptions:
    """`kill` and `fail` name the title that is hit, `segment` and `dub` where (-1 and "": everywhere). With a
    `folder` it happens until that holds `times` marks: a cause that goes away.
    """

    kill: str = ""
    fail: str = ""
    segment: int = -1
    dub: str = ""
    times: int = 1000
    folder: str = ""


def misbehave(options: MisbehaveOptions, segment: Segment, dub: str) -> None:
    """Raise or die if this row is meant."""
    if (
        segment.title not in (options.kill, options.fail)
        or options.segment not in (-1, segment["segment"])
        or options.dub not in ("", dub)
    ):
        return
    if options.folder:
        marks = len(list(Path(options.folder).glob("mark-*")))
        if marks >= options.times:
            return
        Path(options.folder, f"mark-{marks}").touch()
    if segment.title == options.kill:
        os._exit(1)
    raise ValueError(f"{segment.video}: told to fail at frame {segment.core[0]}")


class Misbehave(Stage):
    """Passes, raises or kills its worker, once a segment."""

    name = "misbehave"
    Options = MisbehaveOptions
    reads = pa.schema([tensor("brightness", "float32", "T")])

    def process(self, segment: Segment) -> dict[str, Any]:
        misbehave(self.options_for(segment), segment, "")
        return {}


@dataclass(frozen=True)
class LevelOptions:
    gain: float = 1.0


class Level(Stage):
    """A level for each output frame, from the source's brightness and the time in the speech."""

    name = "level"
    per = "dub"
    Options = LevelOptions
    reads = pa.schema([tensor("brightness", "float32", "T")])
    writes = pa.schema([tensor("level", "uint8", "N")])

    def process(self, segment: Segment) -> dict[str, Any]:
        own = segment["brightness"][segment.source - segment.frames[0]]
        level = (own + 40 * np.sin(segment.speech_times * 5)) * self.options_for(segment).gain
        return {"level": np.clip(level, 0, 255).astype(np.uint8)}


class SharedLevel(Level):
    """`Level` by rows that are worked on at the same time: they share the computation, and say so."""

    def shares_batches(self, device: str) -> bool:
        return True

    def process(self, segment: Segment) -> dict[str, Any]:
        columns, row = super().process(segment), current_row()
        if row is not None:
            segment.note("shared")
            columns["level"] = row.ask("same", _same, [columns["level"]], 8)
        return columns


def _same(batches: Iterable[list[np.ndarray]]) -> Iterator[np.ndarray]:
    for (items,) in batches:
        yield items


class MisbehaveDub(Stage):
    """Passes, raises or kills its worker, once a dub and output segment."""

    name = "misbehave_dub"
    per = "dub"
    Options = MisbehaveOptions

    def process(self, segment: Segment) -> dict[str, Any]:
        misbehave(self.options_for(segment), segment, segment.dub)
        return {}


class Paint(Stage):
    """Paints the level into a corner of each output frame and writes the segment.

    Appends a line to `log` for each segment it computes; with `wait`, stands still at segment `wait_at` until
    that file is there; sleeps `pause` seconds for each frame.
    """

    @dataclass(frozen=True)
    class PaintOptions:
        log: str = ""
        wait: str = ""
        wait_at: int = 2
        pause: float = 0.0

    name = "paint"
    per = "dub"
    Options = PaintOptions
    reads = pa.schema([tensor("level", "uint8", "N")])
    writes = RECEIPT

    def encode(self, segment: Segment) -> EncodedSegment:
        return encode_segment(
            segment["target"], self.shown(self._frames(segment)), probe_video(segment.video), FAST
        )

    def process(self, segment: Segment) -> dict[str, Any]:
        target, written, options = segment["target"], self.encode(segment), self.options_for(segment)
        if options.log:
            with open(options.log, "a") as log:
                log.write(f"{segment.segment_id}\n")
        while options.wait and segment["segment"] == options.wait_at and not Path(options.wait).exists():
            time.sleep(0.02)
        time.sleep(options.pause * len(segment.source))
        return receipt(target, written)

    def _frames(self, segment: Segment) -> Iterator[tuple[Frame, int]]:
        low, high = int(segment.source.min()), int(segment.source.max()) + 1
        frames = {frame.index: frame for frame in read_frames(segment.video, low, high)}
        for index, pts, level in zip(segment.source, segment.out_pts, segment["level"]):
            frame = frames[int(index)].copy()
            frame.paste((0, 0, 16, 16), np.full((16, 16, 3), level, np.uint8), np.ones((16, 16), np.float32))
            yield frame, int(pts)


class SlowToStart(Paint):
    """Its set-up waits for the file that the environment variable SLOW_TO_START names."""

    def setup(self, device: str) -> None:
        while not Path(os.environ["SLOW_TO_START"]).exists():
            time.sleep(0.05)


class Broken(Stage):
    """Declares a column that it does not write."""

    name = "broken"
    reads = pa.schema([tensor("brightness", "float32", "T")])
    writes = pa.schema([tensor("promised", "float32", "T")])

    def process(self, segment: Segment) -> dict[str, Any]:
        return {}


class WrongScalar(Stage):
    """Writes a text where a number is declared."""

    name = "wrong_scalar"
    writes = pa.schema([scalar("count", pa.int64())])

    def process(self, segment: Segment) -> dict[str, Any]:
        return {"count": "many"}


class NeedsWeights(Stage):
    """Cannot be set up."""

    name = "needs_weights"

    def setup(self, device: str) -> None:
        raise ValueError("weights.pth is missing: get it first")

    def process(self, segment: Segment) -> dict[str, Any]:
        return {}
