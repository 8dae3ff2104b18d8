"""Stages without work of their own, so that the graph around them is measured. Used by
`benchmarks/scale.py`.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from operators.columns import tensor
from operators.media.encoders import EncoderOptions
from operators.media.probe import probe_video
from operators.media.reader import read_frames
from operators.media.writer import EncodedSegment, encode_segment
from operators.receipt import RECEIPT, receipt
from operators.segment import Segment
from operators.stage import Stage
from operators.storage.files import atomic_write


@dataclass(frozen=True)
class LookOptions:
    """`wait` is slept for each frame, in seconds; the times are noted in `log`."""

    wait: float = 0.0
    log: str = ""


class Look(Stage):
    """Once per segment: one number per frame, which costs nothing."""

    name = "look"
    Options = LookOptions
    writes = pa.schema([tensor("seen", "float32", "T")])

    def process(self, segment: Segment) -> dict[str, Any]:
        start, stop = segment.frames
        with noted(self.options, "look", stop - start):
            return {"seen": np.zeros(stop - start, np.float32)}


@dataclass(frozen=True)
class StoreOptions:
    """`stored` is the encoded file that every output segment becomes; the rest as in `LookOptions`."""

    stored: str = ""
    wait: float = 0.0
    log: str = ""


class Store(Stage):
    """Once per dub: a file that was encoded before becomes the output segment."""

    name = "store"
    per = "dub"
    Options = StoreOptions
    reads = pa.schema([tensor("seen", "float32", "T")])
    writes = RECEIPT

    def setup(self, device: str) -> None:
        self._content = Path(self.options.stored).read_bytes()
        self._digest = hashlib.sha256(self._content).hexdigest()

    def process(self, segment: Segment) -> dict[str, Any]:
        with noted(self.options, "store", len(segment.source)), atomic_write(segment["target"]) as path:
            path.write_bytes(self._content)
        written = EncodedSegment(len(segment.source), len(self._content), self._digest)
        return receipt(segment["target"], written)


@contextmanager
def noted(options: Any, stage: str, frames: int) -> Iterator[None]:
    """Sleep as the options say before the block, and append its times to the log: ``stage pid start end`` in
    seconds.
    """
    start = time.time()
    if options.wait:
        time.sleep(options.wait * frames)
    yield
    if options.log:
        with open(options.log, "a") as log:
            log.write(f"{stage} {os.getpid()} {start:.4f} {time.time():.4f}\n")


class Scale(Stage):
    """Once per segment, on real frames: the mean luma of each, and a 256x256 crop of it in RGB."""

    name = "scale"
    Options = LookOptions
    writes = pa.schema([tensor("level", "float32", "T"), tensor("crops", "uint8", "T", 256, 256, 3)])

    def process(self, segment: Segment) -> dict[str, Any]:
        start, stop = segment.frames
        level = np.zeros(stop - start, np.float32)
        crops = np.zeros((stop - start, 256, 256, 3), np.uint8)
        with noted(self.options, "scale", stop - start):
            for t, frame in enumerate(read_frames(segment.video, start, stop)):
                level[t], crops[t] = frame.luma().mean(), frame.rgb((0, 0, 256, 256))
        return {"level": level, "crops": crops}


class Paint(Stage):
    """Once per dub, on real frames: the crop comes back unchanged, and the output segment is encoded."""

    name = "paint"
    per = "dub"
    Options = LookOptions
    reads = pa.schema([tensor("level", "float32", "T"), tensor("crops", "uint8", "T", 256, 256, 3)])
    writes = RECEIPT

    def process(self, segment: Segment) -> dict[str, Any]:
        info, first = probe_video(segment.video), segment.frames[0]
        times = dict(zip(segment.source.tolist(), segment.out_pts.tolist(), strict=True))
        low, high = min(times), max(times) + 1

        def painted() -> Any:
            for frame in read_frames(segment.video, low, high, info):
                frame.paste(
                    (0, 0, 256, 256), segment["crops"][frame.index - first], np.ones((256, 256), np.float32)
                )
                yield frame, times[frame.index]

        with noted(self.options, "paint", len(segment.source)):
            written = encode_segment(
                segment["target"], painted(), info, EncoderOptions(crf=30, preset="ultrafast")
            )
        return receipt(segment["target"], written)
