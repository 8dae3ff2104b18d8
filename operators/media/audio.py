"""Speech from any file with an audio stream.

Time 0 is the first sample, or, in a file that also has a video, the time of its first frame: then lips and
speech of such a file stay together when it is used as the speech of another video.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import cast

import av.container
import av.error
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.layout import AudioLayout
from av.audio.stream import AudioStream
from av.stream import Discard, Disposition

from operators.media.clock import Rejoiner, clock_joins, picture_start
from operators.media.container import describe, open_input
from operators.media.integrity import check_complete
from operators.media.mixdown import Target, mix_weights
from operators.media.samples import Converter, sound_frame
from operators.storage.errors import MediaError, NoAudioError, SilentAudioError
from operators.storage.files import kept_by_file

#: Seconds: a longer hole between the times of two decoded pieces of audio is filled with silence.
LONGEST_HOLE = Fraction(1, 25)
#: Seconds of silence that are written into a hole at most.
LONGEST_SILENCE = 12 * 3600
#: Share of packets that may fail to decode (a tag at the end of an MP3 file, a damaged packet: both become
#: silence).
DAMAGE = 0.01
#: Packets after which a sound is given up if more than this share of them do not decode.
HOPELESS, UNDECODABLE = 100, 0.9
#: Peak below which speech counts as silent: -60 dB of full scale.
SILENCE_PEAK = 1e-3
#: Where the sum of all channels is this much quieter than the loudest of them (-9 dB), that one is analysed
#: alone: the others are empty, or in opposite phase to it.
CANCELLED = 10 ** (-9 / 20)
#: Samples per second that a sound may have; beyond them a header is wrong.
RATES = 1000, 1_000_000
#: Samples of floating-point sound that are not below this (+120 dBFS) are damaged, as are those that are not numbers.
ABSURD = 1e6
#: Samples handed on at a time at least.
BLOCK = 1 << 15


def load_audio(url: str, rate: int = 16000) -> np.ndarray:
    """The speech of a file as one channel for analysis: the mean of its channels, or where they are empty or
    cancel each other the loudest of them.

    Args:
        url: fsspec URL of any file with an audio stream, a video included.
        rate: samples per second of the result.

    Returns:
        float32[n], -1..1.

    Raises:
        MediaError: the file cannot be opened or decoded.
        NoAudioError: it has no audio stream, or no sample in it.
    """
    blocks = audio_blocks(url, rate, "mono", alone=_channel_to_analyse(url))
    return np.clip(np.concatenate([block[0] for block, _ in blocks]), -1, 1)


@kept_by_file(64)
def _channel_to_analyse(url: str) -> int | None:
    """Number of the channel that stands for all, None where their mean does."""
    names = audio_channels(url)[1]
    weights = mix_weights(names, "mono")
    if weights is None:
        return None
    energy, mixed = np.zeros(len(names)), 0.0
    for block, _ in audio_blocks(url):
        energy += np.square(block, dtype=np.float64).sum(axis=1)
        mixed += float(np.square(weights @ block, dtype=np.float64).sum())
    loudest = int(np.argmax(energy))
    return loudest if mixed < CANCELLED**2 * energy[loudest] else None


def audio_channels(url: str, index: int | None = None) -> tuple[str, list[str]]:
    """Name of an audio stream's channel layout and names of its channels.

    Raises:
        MediaError: the file cannot be opened.
        NoAudioError: it has no audio stream.
    """
    with open_input(url) as container:
        layout = _opened_stream(container, url, index).codec_context.layout
        return layout.name, [channel.name for channel in layout.channels]


def is_audible(samples: np.ndarray) -> bool:
    """Return whether a sample of float32[n] reaches -60 dB of full scale."""
    return _peak(samples) >= SILENCE_PEAK


def _peak(samples: np.ndarray) -> float:
    return float(np.abs(samples).max(initial=0))


def check_audible(samples: np.ndarray, url: str) -> None:
    """Refuse silent speech.

    Args:
        samples: float32[n], -1..1.
        url: for the message.

    Raises:
        SilentAudioError: no sample reaches -60 dB of full scale.
    """
    peak = _peak(samples)
    if peak < SILENCE_PEAK:
        raise SilentAudioError(
            f"{url}: the audio is silent throughout (peak {peak:.6f}, below -60 dBFS); give a file with speech in it"
        )


def audio_blocks(
    url: str,
    rate: int | None = None,
    layout: Target | None = None,
    index: int | None = None,
    alone: int | None = None,
    zero: Fraction | None = None,
    mended: Callable[[int], None] | None = None,
) -> Iterator[tuple[np.ndarray, int]]:
    """Decode an audio stream piece by piece, with silence where it has holes, resampled.

    Args:
        url: fsspec URL.
        rate: samples per second; the stream's own if None.
        layout: "mono" or "stereo" to mix more channels down; the stream's own if None.
        index: of the stream in the file; the default audio stream, else the first, if None.
        alone: number of the channel that is mixed down alone; all of them if None.
        zero: time in the file, in seconds, that becomes 0; that of the first frame of its video, else of the
            first sample, if None.
        mended: called with the number of samples that became silence because they are not numbers or exceed `ABSURD`.

    Yields:
        float32[channels, n], n > 0, finite, and the rate.

    Raises:
        MediaError: the file cannot be opened or decoded.
        NoAudioError: it has no audio stream, or no sample in it.
    """
    some = False
    with open_input(url) as container:
        stream = _opened_stream(container, url, index)
        check_complete(url, container, stream)
        pieces = _continuous(container, stream, url, zero, mended)
        try:
            for block, own in _resampled(pieces, rate, layout, alone):
                some = True
                yield block, own
        except av.error.FFmpegError as error:
            raise MediaError(
                f"{url}: the audio cannot be converted ({describe(error)}); the file is damaged"
            ) from error
    if not some:
        raise NoAudioError(f"{url}: the audio stream holds no sample; give a file with speech in it")


@dataclasses.dataclass(frozen=True)
class _Kind:
    """Rate and channels of a sound."""

    sample_rate: int
    layout: AudioLayout


@dataclasses.dataclass(frozen=True)
class _Piece:
    """Samples float32[channels, n] with what is known of them."""

    samples: np.ndarray
    rate: int
    layout: AudioLayout


def _resampled(
    pieces: Iterator[_Piece], rate: int | None, layout: Target | None, alone: int | None
) -> Iterator[tuple[np.ndarray, int]]:
    """Pieces mixed down and resampled, with the new rate."""
    converter = Converter(rate)
    weights: np.ndarray | None = None
    name: AudioLayout | str = ""
    own = 0
    for piece in pieces:
        if not own:
            own, name = rate or piece.rate, piece.layout
            if layout is not None:
                names = [channel.name for channel in piece.layout.channels]
                weights = mix_weights(names, layout, alone)
                name = piece.layout if weights is None else layout
        mixed = piece.samples if weights is None else weights @ piece.samples
        if own == piece.rate:
            yield mixed, own
        else:
            for block in converter.convert(sound_frame(mixed, piece.rate, name)):
                yield block, own
    for block in converter.convert(None):
        yield block, own


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


def has_sound(url: str) -> bool:
    """Return whether a file has an audio stream.

    Raises:
        MediaError: it cannot be opened.
    """
    with open_input(url) as container:
        return bool(container.streams.audio)


def _opened_stream(container: av.container.InputContainer, url: str, index: int | None) -> AudioStream:
    """An audio stream that can be decoded, with the demuxer told to skip all others."""
    stream = find_audio(container, url) if index is None else cast(AudioStream, container.streams[index])
    if stream.codec_context is None or not stream.codec_context.sample_rate:
        raise MediaError(
            f"{url}: the audio stream cannot be decoded (unknown codec or sample rate); convert it first"
        )
    if not RATES[0] <= stream.codec_context.sample_rate <= RATES[1]:
        raise MediaError(
            f"{url}: the audio says {stream.codec_context.sample_rate} samples a second; the file is damaged"
        )
    for other in container.streams:
        if other.index != stream.index:
            other.discard = Discard.all
    return stream


def _decoded(container: av.container.InputContainer, stream: AudioStream, url: str) -> Iterator[AudioFrame]:
    """Decode, passing over single damaged packets."""
    count = damaged = 0
    last, codec = "", stream.codec_context.name
    try:
        for packet in container.demux(stream):
            count += 1
            try:
                yield from packet.decode()
            except av.error.FFmpegError as error:
                damaged += 1
                last = describe(error)
                if count == HOPELESS and damaged > UNDECODABLE * HOPELESS:
                    break
    except av.error.FFmpegError as error:
        raise MediaError(
            f"{url}: the audio cannot be read ({describe(error)}); the file is damaged"
        ) from error
    if count == HOPELESS and damaged > UNDECODABLE * HOPELESS:
        raise MediaError(
            f"{url}: this build of FFmpeg decodes next to none of the first {count} packets of its {codec} sound ({last}); convert it first"
        )
    if damaged > max(1, DAMAGE * count):
        raise MediaError(
            f"{url}: {damaged} of {count} audio packets cannot be decoded ({last}); the file is damaged"
        )


def _continuous(
    container: av.container.InputContainer,
    stream: AudioStream,
    url: str,
    zero: Fraction | None,
    mended: Callable[[int], None] | None,
) -> Iterator[_Piece]:
    """Samples without holes from time 0 on, in pieces of a bounded size; all have the stream's channels and the first one's rate,
    also where parts of a recording have others.
    """
    zero = picture_start(url) if zero is None else zero
    held: list[np.ndarray] = []
    position = 0
    first: _Kind | None = None
    channels = stream.codec_context.layout
    convert, clock = Converter(layout=channels), Rejoiner(clock_joins(url))
    for decoded in _decoded(container, stream, url):
        if first is None:
            same = decoded.layout.nb_channels == channels.nb_channels
            first = _Kind(decoded.sample_rate, decoded.layout if same else channels)
            start = _time(decoded)
            zero = start if zero is None else zero
            position = 0 if start is None or zero is None else round((start - zero) * decoded.sample_rate)
            if position > 0:
                yield from _silence(position, first, url)
        time = _time(decoded)
        time = None if time is None else time + clock.offset(time)
        at = position if time is None or zero is None else round((time - zero) * first.sample_rate)
        if at - position > LONGEST_HOLE * first.sample_rate:
            yield from _pieces(held, first)
            held = []
            yield from _silence(at - position, first, url)
            position = at
        for converted in convert.convert(decoded):
            samples = _mended(converted, mended)
            held.append(samples[:, max(0, -position) :])
            position += samples.shape[1]
        if sum(h.shape[1] for h in held) >= BLOCK:
            yield from _pieces(held, first)
            held = []
    if first is not None:
        yield from _pieces([*held, *(_mended(rest, mended) for rest in convert.convert(None))], first)


def _mended(samples: np.ndarray, mended: Callable[[int], None] | None) -> np.ndarray:
    """Samples with silence in the place of those that are damaged: encoders and filters fail on them."""
    sound = np.abs(samples) < ABSURD  # False for NaN
    if sound.all():
        return samples
    if mended is not None:
        mended(int(np.sum(~sound)))
    return np.where(sound, samples, np.float32(0))


def mended_note(url: str, counts: Sequence[int]) -> list[str]:
    """Notes on samples that `audio_blocks` counted as ``mended``: one, or none."""
    damaged = "damaged samples (not finite, or far beyond full scale) became silence"
    return [f"{url}: {damaged}, {sum(counts)} of them"] if counts else []


def _time(frame: AudioFrame) -> Fraction | None:
    return None if frame.pts is None or frame.time_base is None else frame.pts * frame.time_base


def _silence(samples: int, like: _Kind, url: str) -> Iterator[_Piece]:
    """Silence in pieces of a bounded size.

    Raises:
        MediaError: a damaged time stamp asks for years of it.
    """
    if samples > LONGEST_SILENCE * like.sample_rate:
        hours = samples / like.sample_rate / 3600
        raise MediaError(
            f"{url}: the sound has a hole of {hours:.4g} hours; remux the recording to repair its time stamps"
        )
    for begin in range(0, samples, 4 * BLOCK):
        count = min(4 * BLOCK, samples - begin)
        yield from _pieces([np.zeros([like.layout.nb_channels, count], np.float32)], like)


def _pieces(held: list[np.ndarray], like: _Kind) -> Iterator[_Piece]:
    """Arrays of float32[channels, n] as one, in pieces of a bounded size."""
    if not held:
        return
    samples = np.concatenate(held, axis=1)
    for begin in range(0, samples.shape[1], 4 * BLOCK):
        yield _Piece(samples[:, begin : begin + 4 * BLOCK], like.sample_rate, like.layout)
