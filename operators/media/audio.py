"""Speech from any file with an audio stream.

Time 0 is the first sample, or, in a file that also has a video, the time of its first frame: then lips and
speech of such a file stay together when it is used as the speech of another video.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import cast

import av.container
import av.error
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.stream import Discard, Disposition

from operators.media.container import COVER, describe, open_input
from operators.media.integrity import check_complete
from operators.storage.errors import MediaError, NoAudioError, SilentAudioError

#: Seconds: a longer hole between the times of two decoded pieces of audio is filled with silence.
LONGEST_HOLE = Fraction(1, 25)
#: Share of packets that may fail to decode (a tag at the end of an MP3 file, a damaged packet: both become
#: silence).
DAMAGE = 0.01
#: Peak below which speech counts as silent: -60 dB of full scale.
SILENCE_PEAK = 1e-3
#: Gain of each channel into left and right when more than two are mixed down (ITU-R BS.775, annex 4).
MIX = {
    **{"FL": (1.0, 0.0), "FR": (0.0, 1.0), "FC": (0.7071, 0.7071), "LFE": (0.0, 0.0), "BC": (0.5, 0.5)},
    **{"BL": (0.7071, 0.0), "SL": (0.7071, 0.0), "BR": (0.0, 0.7071), "SR": (0.0, 0.7071)},
}
#: Samples handed on at a time at least.
BLOCK = 1 << 15


def load_audio(url: str, rate: int = 16000) -> np.ndarray:
    """The speech of a file, mixed down to one channel.

    Args:
        url: fsspec URL of any file with an audio stream, a video included.
        rate: samples per second of the result.

    Returns:
        float32[n], -1..1.

    Raises:
        MediaError: the file cannot be opened or decoded.
        NoAudioError: it has no audio stream, or no sample in it.
    """
    return np.clip(np.concatenate([block[0] for block, _ in audio_blocks(url, rate, "mono")]), -1, 1)


def check_audible(samples: np.ndarray, url: str) -> None:
    """Refuse silent speech.

    Args:
        samples: float32[n], -1..1.
        url: for the message.

    Raises:
        SilentAudioError: no sample reaches -60 dB of full scale.
    """
    peak = float(np.abs(samples).max()) if samples.size else 0.0
    if peak < SILENCE_PEAK:
        raise SilentAudioError(
            f"{url}: the audio is silent throughout (peak {peak:.6f}, below -60 dBFS); give a file with speech in it"
        )


def audio_blocks(
    url: str, rate: int | None = None, layout: str | None = None, index: int | None = None
) -> Iterator[tuple[np.ndarray, int]]:
    """Decode an audio stream piece by piece, with silence where it has holes, resampled.

    Args:
        url: fsspec URL.
        rate: samples per second; the stream's own if None.
        layout: "mono" or "stereo" to mix more channels down; the stream's own if None.
        index: of the stream in the file; the default audio stream, else the first, if None.

    Yields:
        float32[channels, n], n > 0, and the rate.

    Raises:
        MediaError: the file cannot be opened or decoded.
        NoAudioError: it has no audio stream, or no sample in it.
    """
    resampler: AudioResampler | None = None
    some = False
    with open_input(url) as container:
        stream = _opened_stream(container, url, index)
        check_complete(url, container, stream)
        for piece in _continuous(container, stream, url):
            mixed = None if piece is None else _mixed(piece, layout)
            if mixed is not None and resampler is None:
                resampler = AudioResampler("fltp", mixed.layout.name, rate or mixed.sample_rate)
            for frame in resampler.resample(mixed) if resampler is not None else []:
                if frame is not None and frame.samples:
                    some = True
                    yield frame.to_ndarray(), frame.sample_rate
    if not some:
        raise NoAudioError(f"{url}: the audio stream holds no sample; give a file with speech in it")


def _mixed(frame: AudioFrame, layout: str | None) -> AudioFrame:
    """A planar float frame mixed down to "mono" or "stereo" such that equal channels give the same one and
    nothing gets louder.
    """
    names = [channel.name for channel in frame.layout.channels]
    target = {"mono": 1, "stereo": 2}.get(layout or "", len(names))
    if target >= len(names):
        return frame
    sides = np.array(
        [MIX.get(name, (0.5, 0.5)) for name in names] if len(names) > 2 else np.eye(2), np.float32
    ).T
    weights = sides / np.maximum(sides.sum(axis=1, keepdims=True), 1e-6)
    weights = weights.mean(axis=0, keepdims=True) if target == 1 else weights
    mixed = AudioFrame.from_ndarray(
        np.ascontiguousarray(weights @ frame.to_ndarray()), format="fltp", layout=layout or "mono"
    )
    mixed.sample_rate = frame.sample_rate
    return mixed


def find_audio(container: av.container.InputContainer, url: str) -> AudioStream:
    """The default audio stream, else the first.

    Raises:
        NoAudioError: there is none.
    """
    if not container.streams.audio:
        kinds = ", ".join(sorted({s.type for s in container.streams})) or "nothing"
        raise NoAudioError(f"{url}: no audio stream, the file holds {kinds}; give a file with speech")
    return next(
        (s for s in container.streams.audio if s.disposition & Disposition.default),
        container.streams.audio[0],
    )


def _opened_stream(container: av.container.InputContainer, url: str, index: int | None) -> AudioStream:
    """An audio stream that can be decoded, with the demuxer told to skip all others."""
    stream = find_audio(container, url) if index is None else cast(AudioStream, container.streams[index])
    if stream.codec_context is None or not stream.codec_context.sample_rate:
        raise MediaError(
            f"{url}: the audio stream cannot be decoded (unknown codec or sample rate); convert it first"
        )
    for other in container.streams:
        if other.index != stream.index:
            other.discard = Discard.all
    return stream


def _time_zero(container: av.container.InputContainer) -> Fraction | None:
    """Time of the first frame of the file's video, None for a file without one."""
    for stream in container.streams.video:
        if not stream.disposition & COVER and stream.start_time is not None and stream.time_base:
            return stream.start_time * stream.time_base
    return None


def _decoded(container: av.container.InputContainer, stream: AudioStream, url: str) -> Iterator[AudioFrame]:
    """Decode, passing over single damaged packets."""
    count = damaged = 0
    last = ""
    try:
        for packet in container.demux(stream):
            count += 1
            try:
                yield from packet.decode()
            except av.error.FFmpegError as error:
                damaged += 1
                last = describe(error)
    except av.error.FFmpegError as error:
        raise MediaError(
            f"{url}: the audio cannot be read ({describe(error)}); the file is damaged"
        ) from error
    if damaged > max(1, DAMAGE * count):
        raise MediaError(
            f"{url}: {damaged} of {count} audio packets cannot be decoded ({last}); the file is damaged"
        )


def _continuous(
    container: av.container.InputContainer, stream: AudioStream, url: str
) -> Iterator[AudioFrame | None]:
    """Planar float frames without holes from time 0 on, then None to flush whoever takes them."""
    convert: AudioResampler | None = None
    zero = _time_zero(container)
    held: list[np.ndarray] = []
    position = 0
    first: AudioFrame | None = None
    for decoded in _decoded(container, stream, url):
        if first is None or convert is None:
            first, convert = decoded, AudioResampler("fltp", decoded.layout, decoded.sample_rate)
            start = _time(decoded)
            zero = start if zero is None else zero
            position = 0 if start is None or zero is None else round((start - zero) * decoded.sample_rate)
            if position > 0:
                yield from _silence(position, first)
        elif (decoded.sample_rate, decoded.layout.name) != (first.sample_rate, first.layout.name):
            raise MediaError(
                f"{url}: sample rate or channels of the audio change at {decoded.time or 0:.3f} s; convert it first"
            )
        time = _time(decoded)
        at = position if time is None or zero is None else round((time - zero) * first.sample_rate)
        if at - position > LONGEST_HOLE * first.sample_rate:
            if held:
                yield from _frames(np.concatenate(held, axis=1), first)
            held = []
            yield from _silence(at - position, first)
            position = at
        for frame in convert.resample(decoded):
            samples = frame.to_ndarray()
            held.append(samples[:, max(0, -position) :])
            position += samples.shape[1]
        if sum(h.shape[1] for h in held) >= BLOCK:
            yield from _frames(np.concatenate(held, axis=1), first)
            held = []
    if first is not None and held:
        yield from _frames(np.concatenate(held, axis=1), first)
    yield None


def _time(frame: AudioFrame) -> Fraction | None:
    return None if frame.pts is None or frame.time_base is None else frame.pts * frame.time_base


def _silence(samples: int, like: AudioFrame) -> Iterator[AudioFrame]:
    """Silence in pieces of a bounded size: a damaged time stamp may ask for years of it."""
    for begin in range(0, samples, 4 * BLOCK):
        yield from _frames(
            np.zeros([len(like.layout.channels), min(4 * BLOCK, samples - begin)], np.float32), like
        )


def _frames(samples: np.ndarray, like: AudioFrame) -> Iterator[AudioFrame]:
    """float32[channels, n] as planar frames of a bounded size."""
    for begin in range(0, samples.shape[1], 4 * BLOCK):
        part = np.ascontiguousarray(samples[:, begin : begin + 4 * BLOCK])
        frame = AudioFrame.from_ndarray(part, format="fltp", layout=like.layout.name)
        frame.sample_rate = like.sample_rate
        yield frame
