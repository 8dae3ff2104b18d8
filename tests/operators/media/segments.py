"""Segments of a video for tests of what is done with them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

from operators.media.encoders import EncoderOptions
from operators.media.probe import VideoInfo
from operators.media.reader import read_frames
from operators.media.writer import encode_segment

Zoo = Callable[[str], Path]
FOLDER = "memory://assemble"


def segments_of(
    info: VideoInfo,
    cuts: Sequence[int],
    times: Sequence[int] | None = None,
    name: str = "s",
    options: EncoderOptions | None = None,
) -> list[str]:
    """Encode a video in pieces, with its own times or others."""
    urls = []
    for start, stop in itertools.pairwise(cuts):
        urls.append(f"{FOLDER}/{name}-{start}.mp4")
        pairs = (
            (f, times[f.index] if times is not None else f.pts)
            for f in read_frames(info.url, start, stop, info)
        )
        encode_segment(urls[-1], pairs, info, options or EncoderOptions())
    return urls
