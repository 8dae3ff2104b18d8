"""Audio tracks that are encoded anew: the speech of a dub, and tracks that an output container cannot hold as
they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet

from operators.media.samples import sound_frame

RATE = 48000
#: The usual layouts of sounds that say no more than their number of channels, such as PCM in Matroska, AVI and MXF.
USUAL_LAYOUTS = {"1 channels": "mono", "2 channels": "stereo", "6 channels": "5.1", "8 channels": "7.1"}
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
    stream: AudioStream,
    blocks: Iterable[np.ndarray],
    start: Fraction,
    end: Fraction,
    heard: Callable[[np.ndarray], None] | None = None,
) -> Iterator[Packet[Any]]:
    """Encode samples.

    Silence is put before them from time 0 on, so that every track begins at 0 and players have no offset to
    get wrong.

    Args:
        stream: made by `add_aac`.
        blocks: float32[channels, n] at 48 kHz.
        start: time of the first sample in seconds, to the nearest sample; at least 0.
        end: time in seconds at which samples are cut.
        heard: called with the samples that are encoded, float32[channels, n].
    """
    begin, limit = max(0, round(start * RATE)), round(end * RATE)
    channels = stream.codec_context.channels
    position = 0
    for block in _with_silence(blocks, begin, channels):
        samples = block[:, : limit - position]
        if not samples.shape[1]:
            break
        if heard is not None:
            heard(samples)
        frame = sound_frame(samples, RATE, stream.codec_context.layout, position)
        position += samples.shape[1]
        yield from stream.encode(frame)
    yield from stream.encode(None)


def with_centre(
    programme: Iterable[np.ndarray], speech: Iterable[np.ndarray], begin: int, centre: int, channels: int
) -> Iterator[np.ndarray]:
    """Put speech in the place of one channel of a programme.

    Args:
        programme: float32[channels, n] from time 0 on; where it ends before the speech, silence follows.
        speech: float32[1, n] at the same rate.
        begin: sample of the programme at which the speech begins.
        centre: number of the channel.
        channels: of the programme.

    Yields:
        float32[channels, n], n > 0.
    """
    voice = SampleQueue(_with_silence(speech, begin, 1))
    for block in programme:
        mixed = block.copy()
        mixed[centre] = voice.take(block.shape[1])[0]
        yield mixed
    for rest in voice.rest():
        mixed = np.zeros([channels, rest.shape[1]], np.float32)
        mixed[centre] = rest[0]
        yield mixed


class SampleQueue:
    """Samples float32[channels, n] that are taken in pieces of any length; silence behind their end.

    Args:
        blocks: float32[channels, n] each.
        channels: of the blocks.
    """

    def __init__(self, blocks: Iterable[np.ndarray], channels: int = 1) -> None:
        self._blocks, self._left = iter(blocks), np.zeros([channels, 0], np.float32)

    def ready(self, count: int) -> int:
        """Number of samples, at most ``count``, that are left."""
        while self._left.shape[1] < count and (block := next(self._blocks, None)) is not None:
            self._left = np.concatenate([self._left, block], axis=1)
        return min(count, self._left.shape[1])

    def take(self, count: int) -> np.ndarray:
        """float32[channels, count]."""
        self.ready(count)
        taken, self._left = self._left[:, :count], self._left[:, count:]
        return np.pad(taken, ((0, 0), (0, count - taken.shape[1])))

    def rest(self) -> Iterator[np.ndarray]:
        """Give what has not been taken."""
        if self._left.shape[1]:
            yield self._left
        yield from self._blocks


def _with_silence(blocks: Iterable[np.ndarray], samples: int, channels: int) -> Iterator[np.ndarray]:
    while samples > 0:
        part = min(samples, RATE)
        yield np.zeros([channels, part], np.float32)
        samples -= part
    yield from blocks
