"""Audio tracks that are encoded anew: the speech of a dub, and tracks that an output container cannot hold as
they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet

from operators.media.samples import sound_frame

RATE = 48000
#: Bits per second for one channel and for two, and for each of more.
BIT_RATES, BIT_RATE_EACH = {1: 128_000, 2: 192_000}, 64_000
#: Channel layouts that AAC has a number for, so that every player knows them. FFmpeg's encoder would describe
#: others in words that many decoders, FFmpeg's own among them, forget.
AAC_LAYOUTS = {
    **{name: name for name in ("mono", "stereo", "3.0", "4.0", "5.0", "5.1", "7.1")},
    **{"5.0(side)": "5.0", "5.1(side)": "5.1"},
}


def add_aac(container: OutputContainer, layout: str) -> AudioStream:
    """A new AAC stream of 48 kHz with one of the values of `AAC_LAYOUTS`."""
    stream = container.add_stream("aac", rate=RATE, layout=layout, time_base=Fraction(1, RATE))
    stream.codec_context.thread_count = 1
    channels = stream.codec_context.channels
    stream.bit_rate = BIT_RATES.get(channels, channels * BIT_RATE_EACH)
    return stream


def aac_packets(
    stream: AudioStream, blocks: Iterable[np.ndarray], start: Fraction, end: Fraction
) -> Iterator[Packet[Any]]:
    """Encode samples.

    Silence is put before them from time 0 on, so that every track begins at 0 and players have no offset to
    get wrong.

    Args:
        stream: made by `add_aac`.
        blocks: float32[channels, n] at 48 kHz.
        start: time of the first sample in seconds, to the nearest sample; at least 0.
        end: time in seconds at which samples are cut.
    """
    begin, limit = max(0, round(start * RATE)), round(end * RATE)
    channels = stream.codec_context.channels
    position = 0
    for block in _with_silence(blocks, begin, channels):
        samples = block[:, : limit - position]
        if not samples.shape[1]:
            break
        frame = sound_frame(samples, RATE, stream.codec_context.layout, position)
        position += samples.shape[1]
        yield from stream.encode(frame)
    yield from stream.encode(None)


def _with_silence(blocks: Iterable[np.ndarray], samples: int, channels: int) -> Iterator[np.ndarray]:
    while samples > 0:
        part = min(samples, RATE)
        yield np.zeros([channels, part], np.float32)
        samples -= part
    yield from blocks
