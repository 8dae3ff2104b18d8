"""A sound that is made of several: speeches added up, and a programme that is heard where they are not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import numpy as np

from operators.media.audio import mended_note
from operators.media.loudness import TRUE_PEAK, levelling, limited
from operators.media.samples import sound_frame
from operators.media.soundtrack import RATE, SampleQueue
from operators.storage.files import atomic_write

#: Seconds over which the programme and the speeches change places.
FADE = 0.02
#: Seconds between two spans below which the programme is not heard in between.
SHORTEST_GAP = 2 * FADE
#: Factor (0.1 dB) by which noise beside the loudest of several sounds may raise it without adding anything that is heard.
BESIDE = 10 ** (0.1 / 20)


def write_mix(
    url: str,
    speeches: Sequence[str],
    programme: str | None = None,
    spans: Sequence[tuple[float, float]] | None = None,
    seconds: float | None = None,
) -> list[str]:
    """Write speeches as one sound, a WAV file of 48 kHz in 32-bit floats with one channel or two.

    Args:
        url: fsspec URL of the file.
        speeches: fsspec URLs; all begin at time 0 and are added up as they are.
        programme: fsspec URL of a file with sound that is heard outside the spans; None: silence is.
        spans: seconds [start, end) in which the speeches are heard, ascending; None: everywhere.
        seconds: length of the result; None: until the last of them ends.

    Returns:
        Notes: what was done to the sounds beside adding them up.

    Raises:
        MediaError: a sound cannot be read, or the result not be written.
    """
    sources = [*speeches, *([] if programme is None else [programme])]
    levels = [levelling(source) for source in sources]
    channels = max(level.channels for level in levels)
    layout = "mono" if channels == 1 else "stereo"
    notes = [note for level in levels for note in level.notes]
    mended: list[list[int]] = []
    over: list[int] = []

    def blocks() -> Iterator[np.ndarray]:
        mended[:] = [[] for _ in sources]  # a second pass counts anew
        queues = [
            SampleQueue(level.blocks(source, RATE, mended=counts.append), level.channels)
            for source, level, counts in zip(sources, levels, mended, strict=True)
        ]
        return _mixed(
            queues, len(speeches), channels, spans, None if seconds is None else round(seconds * RATE), over
        )

    with atomic_write(url) as path:
        _write(path, blocks(), layout)
        # What one sound alone exceeds is left to it, as where it is the only one.
        if over:
            _write(path, limited(blocks(), RATE, layout), layout)
            what = (
                "the sum of the speeches exceeds"
                if programme is None
                else "the speeches and what is heard between them exceed"
            )
            notes.append(f"{what} full scale: peaks are limited to {TRUE_PEAK:g} dBTP")
    for source, counts in zip(sources, mended, strict=True):
        notes += mended_note(source, counts)
    return notes


def _mixed(
    queues: Sequence[SampleQueue],
    num_speeches: int,
    channels: int,
    spans: Sequence[tuple[float, float]] | None,
    length: int | None,
    over: list[int],
) -> Iterator[np.ndarray]:
    """Blocks float32[channels, n]; the queues behind the first `num_speeches` are the programme's. The beginnings of those
    in which the sum exceeds full scale, and not one of the sounds alone, are added to `over`.
    """
    position = 0
    while length is None or position < length:
        count = RATE if length is None else min(RATE, length - position)
        if length is None:
            count = min(count, max(queue.ready(count) for queue in queues))
        if not count:
            return
        spoken = envelope(spans, position, count)
        block, loudest = np.zeros((2, channels, count), np.float32)
        for number, queue in enumerate(queues):
            part = queue.take(count) * (spoken if number < num_speeches else 1 - spoken)
            block += part
            np.maximum(loudest, np.abs(part), out=loudest)
        if (np.abs(block) > np.maximum(1, BESIDE * loudest)).any():
            over.append(position)
        yield block
        position += count


def envelope(spans: Sequence[tuple[float, float]] | None, position: int, count: int) -> np.ndarray:
    """float32[count], 0 ... 1: how much of the speeches is heard at the samples of 48 kHz from `position` on; 0.5 at the ends of
    a span.
    """
    if spans is None:
        return np.ones(count, np.float32)
    at, heard = [-1.0], [0.0]
    for start, end in spans:
        if len(at) > 1 and start - at[-1] < SHORTEST_GAP:
            del at[-2:], heard[-2:]
        else:
            at, heard = [*at, start - FADE / 2, start + FADE / 2], [*heard, 0.0, 1.0]
        at, heard = [*at, max(end - FADE / 2, at[-1]), max(end + FADE / 2, at[-1])], [*heard, 1.0, 0.0]
    if spans and spans[0][0] <= 0:  # nothing fades in at the very beginning
        at, heard = at[3:], heard[3:]
    return np.interp((position + np.arange(count)) / RATE, at, heard).astype(np.float32)


def _write(path: Path, blocks: Iterator[np.ndarray], layout: str) -> None:
    """Write a WAV file."""
    position = 0
    with av.open(
        f"file:{path}", "w", format="wav", options={"rf64": "auto", "fflags": "+bitexact"}
    ) as container:
        stream = container.add_stream("pcm_f32le", rate=RATE, layout=layout)
        for block in blocks:
            container.mux(stream.encode(sound_frame(block, RATE, layout, position)))
            position += block.shape[1]
        container.mux(stream.encode(None))
