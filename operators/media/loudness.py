"""Loudness of sound (ITU-R BS.1770-4, EBU R 128), and the gain that gives the new speech its loudness.

FFmpeg's filter ``ebur128`` measures.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction

import numpy as np
from av.audio.layout import AudioLayout

from operators.media.audio import CANCELLED as QUIET_MEAN
from operators.media.audio import audio_blocks, audio_channels
from operators.media.loudness_target import loudness_problem
from operators.media.samples import Chain, filtered, filtered_samples

#: dBTP that samples raised here never exceed between the samples (EBU R 128).
TRUE_PEAK = -1.0
#: dBFS of peaks from which clipping is worth a note: lossy codecs exceed full scale by less.
HEARD_OVERS = 2.0
#: LUFS that ebur128 gives where no block of 400 ms is loud enough to count.
UNMEASURED = -70.0
#: dB by which a mix may lie below its channels before they count as cancelling each other.
CANCELLED = -20.0
#: Samples per second at which peaks are limited: four times that of the sound.
OVERSAMPLING = 4
#: LU by which a loudness may differ from the one that was asked for.
TOLERANCE = 0.5
#: dB that are added at most for what the limiter takes away.
MADE_UP = 6.0
#: Samples per second at which the limiter's effect is measured.
LIMITED_RATE = 48000
NOTHING_TO_MATCH = "keeps its loudness, the video has no audio to match"


@dataclasses.dataclass(frozen=True)
class Loudness:
    """Loudness of a sound.

    Attributes:
        lufs: integrated loudness, gated; of sounds shorter than 0.4 s the level of the whole, ungated; -inf
            of silence.
        peak: true peak in dBTP.
    """

    lufs: float
    peak: float


class _Meter:
    """Keeps what `measured` needs beside the filter: the level of the whole."""

    def __init__(self) -> None:
        self.energy, self.count = 0.0, 0

    def watched(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        for block in blocks:
            self.add(block)
            yield block

    def add(self, block: np.ndarray) -> None:
        self.energy += float(np.square(block, dtype=np.float64).sum())
        self.count += block.shape[1]

    @property
    def level(self) -> float:
        return _decibels(self.energy / max(1, self.count), 10) - 0.691


class LoudnessTap:
    """Measures the integrated loudness of blocks that pass, for next to nothing (no true peaks).

    Args:
        rate: samples a second.
        layout: FFmpeg's name of the channels' layout.
    """

    def __init__(self, rate: int, layout: str) -> None:
        self._meter, self._last = _Meter(), dict[str, str]()
        self._peak, self._mean, self._sides = 0.0, 0.0, np.zeros(2)
        self._filter = Chain(rate, layout, [("ebur128", "metadata=1:framelog=quiet")])

    def take(self, block: np.ndarray) -> None:
        """Measure float32[channels, n]."""
        self._meter.add(block)
        self._peak = max(self._peak, float(np.abs(block).max(initial=0)))
        if len(block) == 2:
            self._sides += np.square(block, dtype=np.float64).sum(axis=1)
            self._mean += float(np.square(block.mean(axis=0), dtype=np.float64).sum())
        for frame in self._filter.push(block):
            self._last = frame.metadata

    @property
    def cancels(self) -> bool:
        """True where two channels have passed that are in opposite phase: their mean is much quieter than the louder one."""
        return bool(self._mean < QUIET_MEAN**2 * self._sides.max())

    @property
    def overs(self) -> str:
        """Say by how much samples of what has passed exceed full scale; empty where no player is heard to clip them."""
        peak = _decibels(self._peak, 20)
        return f"peaks of {peak:+.1f} dBFS, which players clip" if peak > HEARD_OVERS else ""

    @property
    def lufs(self) -> float:
        """LUFS of what has passed, as of `Loudness.lufs`."""
        found = float(self._last.get("lavfi.r128.I", UNMEASURED))
        return found if found > UNMEASURED else self._meter.level


def measured(blocks: Iterable[np.ndarray], rate: int, layout: AudioLayout | str) -> Loudness:
    """Measure float32[channels, n] blocks."""
    meter, last, whole = _Meter(), dict[str, str](), dict[str, str]()
    at = 0
    watched = _with_silence_behind(meter.watched(blocks), rate // 5)
    for frame in filtered(watched, rate, layout, [("ebur128", "metadata=1:peak=true:framelog=quiet")]):
        at += frame.samples
        # The filter measures frames of 100 ms, says nothing of a shorter one at the end, and sees peaks a little later.
        last = frame.metadata or last
        whole = last if at <= meter.count else whole
    lufs = float(whole.get("lavfi.r128.I", UNMEASURED))
    peak = _decibels(float(last.get("lavfi.r128.true_peak", 0)), 20)
    return Loudness(lufs if lufs > UNMEASURED else meter.level, peak)


def _with_silence_behind(blocks: Iterable[np.ndarray], samples: int) -> Iterator[np.ndarray]:
    channels = 0
    for block in blocks:
        channels = len(block)
        yield block
    if channels:
        yield np.zeros([channels, samples], np.float32)


def loudness_of(url: str, index: int | None = None) -> Loudness:
    """Loudness of an audio stream of a file; arguments and errors as of `audio_blocks`."""
    layout, _ = audio_channels(url, index)
    blocks = audio_blocks(url, index=index)
    first, rate = next(blocks)
    return measured(_from(first, blocks), rate, layout)


def _from(first: np.ndarray, blocks: Iterable[tuple[np.ndarray, int]]) -> Iterator[np.ndarray]:
    yield first
    yield from (block for block, _ in blocks)


def _decibels(value: float, factor: int) -> float:
    return factor * math.log10(value) if value > 0 else -math.inf


@dataclasses.dataclass(frozen=True)
class Levelling:
    """Mixing of a sound and the gain behind it.

    Attributes:
        channels: that the result has.
        alone: number of the only channel that is used; None: all of them.
        gain: in dB.
        limited: peaks are held below `TRUE_PEAK`.
        notes: what was done, in words.
    """

    channels: int
    alone: int | None = None
    gain: float = 0.0
    limited: bool = False
    notes: tuple[str, ...] = ()

    def blocks(
        self,
        url: str,
        rate: int,
        index: int | None = None,
        zero: Fraction | None = None,
        mended: Callable[[int], None] | None = None,
    ) -> Iterator[np.ndarray]:
        """The sound as float32[channels, n] blocks; ``zero`` and ``mended`` as of `audio_blocks`."""
        layout = "mono" if self.channels == 1 else "stereo"
        blocks = (
            block
            for block, _ in audio_blocks(url, rate, layout, index, self.alone, zero, mended)  # type: ignore[arg-type]
        )
        if not self.gain:
            return blocks
        factor = np.float32(10 ** (self.gain / 20))
        raised = (block * factor for block in blocks)
        return limited(raised, rate, layout) if self.limited else raised


def centred(level: Levelling, url: str, index: int | None = None) -> Levelling:
    """A levelling with one channel that is as loud as the given one, for a centre loudspeaker; its notes are new ones."""
    if level.channels == 1:
        return dataclasses.replace(level, notes=())

    def heard(one: Levelling) -> Loudness:
        layout = "mono" if one.channels == 1 else "stereo"
        return measured(one.blocks(url, LIMITED_RATE, index), LIMITED_RATE, layout)

    alone, cancelled = dataclasses.replace(level, channels=1, notes=()), list[str]()
    before, after = heard(level), heard(alone)
    if level.alone is None and after.lufs < before.lufs + CANCELLED:
        loudest = _loudest(url, index)
        alone = dataclasses.replace(alone, alone=loudest)
        after = heard(alone)
        cancelled = [
            f"{url}: its channels cancel each other; channel {loudest + 1} alone is put into the centre"
        ]
    more = before.lufs - after.lufs
    if not math.isfinite(more):
        return alone
    raised = dataclasses.replace(
        alone, gain=level.gain + more, limited=level.limited or after.peak + more > TRUE_PEAK
    )
    if not raised.limited:
        return dataclasses.replace(raised, notes=tuple(cancelled))
    raised, reached = _made_up(raised, url, index, before.lufs)
    notes = [] if level.limited else [f"{url}: peaks limited to {TRUE_PEAK:g} dBTP"]
    if before.lufs - reached >= TOLERANCE:
        notes.append(f"{url}: loudness {before.lufs:.1f} LUFS made {reached:.1f} LUFS in one channel")
    return dataclasses.replace(raised, notes=(*cancelled, *notes))


def _loudest(url: str, index: int | None) -> int:
    """Number of the channel with the most energy."""
    energy: np.ndarray | None = None
    for block, _ in audio_blocks(url, index=index):
        squares = np.square(block, dtype=np.float64).sum(axis=1)
        energy = squares if energy is None else energy + squares
    assert energy is not None, "sound without a sample is refused before"
    return int(np.argmax(energy))


def limited(blocks: Iterable[np.ndarray], rate: int, layout: str) -> Iterator[np.ndarray]:
    """float32[channels, n] blocks with their true peaks held below `TRUE_PEAK`; as many samples as there
    were.
    """
    # The limiter looks at samples: with four times as many it sees what lies between them. Going back to fewer
    # moves them by up to 0.4 dB (white noise).
    limit = f"limit={10 ** ((TRUE_PEAK - 0.4) / 20):.6f}:level=disabled:latency=1:attack=5:release=50"
    filters = [
        ("aresample", f"osr={OVERSAMPLING * rate}"),
        ("alimiter", limit),
        ("aresample", f"osr={rate}"),
    ]
    return filtered_samples(blocks, rate, layout, filters)


def levelling(
    url: str, target: str = "off", reference: tuple[str, int] | None = None, index: int | None = None
) -> Levelling:
    """Decide how a sound becomes mono or stereo of a wanted loudness.

    Sound of one or two channels that is not asked to change stays as it is, to the sample. Sound of more
    channels keeps its loudness in the mix.

    Args:
        url: fsspec URL of the sound.
        target: "off": its own loudness; "source": that of `reference`; or a number of LUFS.
        reference: file and stream that "source" means; None: there is none.
        index: of the audio stream; the default one, else the first, if None.

    Raises:
        ValueError: an unknown target.
        MediaError: a file cannot be opened or decoded.
        NoAudioError: there is no audio stream, or no sample in it.
    """
    if problem := loudness_problem(target):
        raise ValueError(f"loudness {problem}")
    layout, names = audio_channels(url, index)
    channels = min(2, len(names))
    if len(names) <= 2 and (target == "off" or (target == "source" and reference is None)):
        return Levelling(channels, notes=() if target == "off" else (f"{url}: {NOTHING_TO_MATCH}",))
    own = loudness_of(url, index)
    mix, alone = _mixed_loudness(url, index, layout, names, own)
    notes: list[str] = []
    if len(names) > 2:
        which = "" if alone is None else f" (channel {alone + 1} alone: the others are silent or cancel it)"
        notes.append(
            f"{url}: {len(names)} channels ({layout}) mixed down to stereo, as loud as before{which}"
        )
    wanted = own.lufs
    if target == "source" and reference is None:
        notes.append(f"{url}: {NOTHING_TO_MATCH}")
    elif target == "source" and reference is not None:
        wanted = loudness_of(*reference).lufs
        if not math.isfinite(wanted):
            notes.append(f"{url}: keeps its loudness, the audio of {reference[0]} is silent")
            wanted = own.lufs
    elif target != "off":
        wanted = float(target)
    gain = wanted - mix.lufs
    if not math.isfinite(gain):
        return Levelling(channels, alone, notes=tuple(notes))
    level = Levelling(channels, alone, gain, mix.peak + gain > TRUE_PEAK)
    reached = wanted
    if level.limited:
        level, reached = _made_up(level, url, index, wanted)
        notes.append(f"{url}: peaks limited to {TRUE_PEAK:g} dBTP")
    if target != "off":
        short = "" if abs(reached - wanted) < TOLERANCE else f", {wanted:.1f} would distort it"
        notes.append(f"{url}: loudness {own.lufs:.1f} LUFS made {reached:.1f} LUFS{short}")
    return dataclasses.replace(level, notes=tuple(notes))


def _made_up(level: Levelling, url: str, index: int | None, wanted: float) -> tuple[Levelling, float]:
    """The levelling with more gain for what the limiter takes away, and the loudness that it reaches."""
    layout = "mono" if level.channels == 1 else "stereo"
    reached = measured(level.blocks(url, LIMITED_RATE, index), LIMITED_RATE, layout).lufs
    if wanted - reached < TOLERANCE:
        return level, reached
    more = dataclasses.replace(level, gain=level.gain + min(wanted - reached, MADE_UP))
    return more, measured(more.blocks(url, LIMITED_RATE, index), LIMITED_RATE, layout).lufs


def _mixed_loudness(
    url: str, index: int | None, layout: str, names: list[str], own: Loudness
) -> tuple[Loudness, int | None]:
    """Loudness of the mono or stereo mix, and the number of the channel that it must be made of alone where
    the mix of all would cancel them.
    """
    if len(names) <= 2:
        return own, None

    def mixed(alone: int | None) -> Loudness:
        blocks = audio_blocks(url, layout="stereo", index=index, alone=alone)
        first, rate = next(blocks)
        return measured(_from(first, blocks), rate, "stereo")

    mix = mixed(None)
    if mix.lufs > own.lufs + CANCELLED or not math.isfinite(own.lufs):
        return mix, None
    loudest = _loudest(url, index)
    return mixed(loudest), loudest
