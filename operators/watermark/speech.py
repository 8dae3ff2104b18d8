"""The mark of speech: spread-transform dither modulation of log band energies (Chen and Wornell 2001).

Time is divided into tiles of 64 ms by 24 bands of 200 Hz. Each four frames of tiles are a group, and its 96 tiles make up 16
projections: sums of six tiles' levels in dB with signs, in a drawing that depends on the key. To write a bit, gains move a
projection to the nearest point of a lattice that the bit and the key choose. 20 groups (5.1 s) hold 264 code bits and 56 bits that
are known; then they repeat.

What makes the p-values exact: the key shifts each lattice by a uniformly distributed amount, so that on any sound that was not
marked with this key the phase of a projection on its lattice is uniformly distributed, whatever the sound is.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from operators.watermark.code import CODE_BITS, encode
from operators.watermark.keys import MarkKey

#: Frames a second, their windows in frames, and the bands.
FRAME_RATE, OVERLAP = 15.625, 2
BANDS, LOWEST, BAND_WIDTH = 24, 500.0, 200.0
#: Tiles of a projection, and frames, projections and groups.
TILES, GROUP, PROJECTIONS, GROUPS = 6, 4, 16, 20
BITS = PROJECTIONS * GROUPS
PILOTS = BITS - CODE_BITS
#: Distance between lattice points of one bit, in dB of a projection of unit length, at strength 1.
STEP = 8.0
#: Gains of a tile at most, dB.
MOST = 4.0
#: Level below the loudest tile of a group at which a tile counts as silent, dB.
SILENT = 45.0
ROUNDS = 5
#: Segmental SNR that each chunk of a sound keeps at least, dB: the mean over frames of 20 ms within `ACTIVE` dB of the loudest.
LEAST_SNR, ACTIVE = 25.3, 40.0


@dataclass(frozen=True)
class SpeechLayout:
    """The layout of a key's mark of speech.

    Attributes:
        tiles: int64[GROUPS, PROJECTIONS, TILES], tiles of each projection, numbered ``frame * BANDS + band`` in the group.
        signs: float32 of the same shape; as many of either sign, so that loudness does not matter.
        shifts: float64[GROUPS, PROJECTIONS], of the lattices, in units of `STEP`.
        place: int64[BITS], the projection (``group * PROJECTIONS + projection``) of each bit: the codeword, then the pilots.
        pilots: float32[PILOTS] of -1 and 1.
    """

    tiles: np.ndarray
    signs: np.ndarray
    shifts: np.ndarray
    place: np.ndarray
    pilots: np.ndarray


@functools.lru_cache(maxsize=8)
def speech_layout(key: MarkKey) -> SpeechLayout:
    """Return what a key decides."""
    tiles = np.zeros([GROUPS, PROJECTIONS, TILES], np.int64)
    half = PROJECTIONS // 2
    # Projections of the lower bands and of the upper ones, so that speech without the upper loses only those.
    grid = np.arange(GROUP * BANDS).reshape(GROUP, BANDS)
    for group in range(GROUPS):
        for upper in range(2):
            own = grid[:, upper * BANDS // 2 : (upper + 1) * BANDS // 2].reshape(-1)
            order = key.permutation(f"speech tiles {group} {upper}", len(own))
            tiles[group, upper * half : (upper + 1) * half] = own[order].reshape(half, TILES)
    signs = np.ones([GROUPS, PROJECTIONS, TILES], np.float32)
    signs[..., TILES // 2 :] = -1
    return SpeechLayout(
        tiles,
        signs,
        key.uniform("speech shifts", BITS).reshape(GROUPS, PROJECTIONS),
        key.permutation("speech places", BITS),
        key.signs("speech pilots", PILOTS),
    )


def hop_of(rate: int) -> int:
    """Samples between frames.

    Raises:
        ValueError: there is no whole number of them.
    """
    if (hop := rate / FRAME_RATE) != int(hop):
        raise ValueError(f"{rate} samples a second: the mark of speech needs a multiple of 125")
    return int(hop)


@functools.lru_cache(maxsize=4)
def _window(length: int) -> np.ndarray:
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)).astype(np.float32)


@functools.lru_cache(maxsize=4)
def _bins(rate: int) -> tuple[int, int]:
    """First bin of the bands, and bins of a band."""
    width = OVERLAP / FRAME_RATE
    return round(LOWEST * width), round(BAND_WIDTH * width)


@functools.lru_cache(maxsize=4)
def _shape(rate: int) -> np.ndarray:
    """float32[bins, BANDS]: how the gains of bands spread over the bins of the spectrum, sums at most 1."""
    first, width = _bins(rate)
    shape = np.zeros([hop_of(rate) * OVERLAP // 2 + 1, BANDS], np.float32)
    for band in range(BANDS):
        start = first + band * width
        shape[start : start + width, band] = 1
    kernel = np.bincount([0, 1, 2, 2, 3, 4]).astype(np.float32) / 6
    return np.stack([np.convolve(column, kernel, "same") for column in shape.T], axis=1)


def band_energies(samples: np.ndarray, rate: int, hop: int) -> np.ndarray:
    """float32[frames, BANDS], energies of bands in frames of 128 ms.

    Args:
        samples: float32[n], the first frame begins with the first sample.
        rate: samples a second.
        hop: samples between frames.
    """
    length = hop_of(rate) * OVERLAP
    window, (first, width) = _window(length), _bins(rate)
    if len(samples) < length:
        return np.zeros([0, BANDS], np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(samples, length)[::hop]
    found = np.empty([len(frames), BANDS], np.float32)
    for begin in range(0, len(frames), 256):
        spectrum = np.fft.rfft(frames[begin : begin + 256] * window, axis=1)
        bins = spectrum[:, first : first + width * BANDS]
        power = np.square(bins.real) + np.square(bins.imag)
        found[begin : begin + 256] = power.reshape(-1, BANDS, width).sum(-1)
    return found


def projections(
    energies: np.ndarray, layout: SpeechLayout, groups: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Project groups of tiles, and say how much each projection is worth.

    Args:
        energies: float32[n, GROUP * BANDS].
        layout: of the key.
        groups: int64[n], which of the layout's groups each is.

    Returns:
        float64[n, PROJECTIONS] in dB, and weights float64 of the same shape, from 0 (silence) to 1. The weights do not depend on
        signs and shifts.
    """
    top = energies.max(axis=1, keepdims=True) * 10 ** (-SILENT / 10) + 1e-12
    levels = 10 * np.log10(energies + top, dtype=np.float64)
    tiles = layout.tiles[groups].reshape(len(groups), -1)
    shape = len(groups), PROJECTIONS, TILES
    chosen = np.take_along_axis(levels, tiles, axis=1).reshape(shape)
    worth = np.take_along_axis(energies / (energies + 10 * top), tiles, axis=1).reshape(shape).mean(-1)
    return (chosen * layout.signs[groups]).sum(-1) / TILES**0.5, worth


def wanted_bits(key: MarkKey, mark_id: str) -> np.ndarray:
    """float32[GROUPS, PROJECTIONS] of -1 and 1: the bit of each projection for an id."""
    layout = speech_layout(key)
    bits = np.zeros(BITS, np.float32)
    bits[layout.place] = np.concatenate([encode(key, mark_id), layout.pilots])
    return bits.reshape(GROUPS, PROJECTIONS)


def _apply(samples: np.ndarray, gains: np.ndarray, rate: int) -> np.ndarray:
    """Samples with the gains of tiles: float32[channels, n]; the first frame begins with the first sample.

    Args:
        samples: float32[channels, n], n = (frames + 1) hops.
        gains: float32[frames, BANDS], dB.
        rate: samples a second.
    """
    hop = hop_of(rate)
    length = hop * OVERLAP
    window = _window(length)
    factors = 10 ** ((gains @ _shape(rate).T) / 20) - 1
    result = samples.astype(np.float32).copy()
    for index, factor in enumerate(factors):
        if not factor.any():
            continue
        begin = index * hop
        # Half-overlapping Hann windows add up to 1: what is added is the gained part alone.
        spectrum = np.fft.rfft(samples[:, begin : begin + length] * window, axis=1)
        result[:, begin : begin + length] += np.fft.irfft(spectrum * factor, length, axis=1)
    return result


@dataclass
class SpeechTally:
    """Room that a sound has for its mark.

    Attributes:
        power: sum of squared weights of the projections, each times its mean cosine.
    """

    power: float = 0.0

    @property
    def expected(self) -> float:
        """Normal deviate that all bits of the id together have before anything happens to the sound."""
        return float(np.sqrt(2 * self.power))


def segmental_snr(own: np.ndarray, change: np.ndarray, rate: int) -> float:
    """Segmental SNR of a change, dB: the mean over frames of 20 ms within `ACTIVE` dB of the loudest; infinite where none changes.

    Args:
        own: float[n], a sound.
        change: float[n], what is added to it.
        rate: samples a second.
    """
    power = _powers(own, rate)
    return _mean_snr(power, _powers(change, rate), power.max(initial=0))


def _powers(samples: np.ndarray, rate: int) -> np.ndarray:
    """float64[frames], energies of frames of 20 ms."""
    size = rate // 50
    count = len(samples) // size
    return np.square(samples[: count * size].reshape(count, size).astype(np.float64)).sum(1)


def _mean_snr(power: np.ndarray, noise: np.ndarray, loudest: float) -> float:
    active = (power > loudest * 10 ** (-ACTIVE / 10)) & (noise > 0)
    if not active.any():
        return np.inf
    return float(np.clip(10 * np.log10(power[active] / noise[active]), -10, 60).mean())


def _affordable(mono: np.ndarray, gains: np.ndarray, rate: int, loudest: float) -> float:
    """Share of the gains of a chunk, 0 to 1, at which it keeps `LEAST_SNR`.

    Args:
        mono, gains: the chunk with a group of context before and after it.
        rate: samples a second.
        loudest: energy of the loudest frame of 20 ms so far.
    """
    hop, share = hop_of(rate), 1.0
    inner = slice(GROUP * hop, -(GROUP + 1) * hop)
    power = _powers(mono[inner], rate)
    for _ in range(3):
        change = _apply(mono[None], gains * np.float32(share), rate)[0] - mono
        missing = LEAST_SNR - _mean_snr(power, _powers(change[inner], rate), loudest)
        if missing <= 0:
            break
        share *= 10 ** (-missing / 20)
    return share


#: Groups that are solved together; one group before and after them is context.
CHUNK = GROUPS


def _gains(
    mono: np.ndarray,
    fixed: np.ndarray,
    first: int,
    key: MarkKey,
    bits: np.ndarray,
    rate: int,
    strength: float,
    loudest: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Gains that write the bits of groups, float32[frames, BANDS] in dB, and what their projections add to the mark.

    Where the gains would change more than `LEAST_SNR` allows, all are reduced alike: projections then stay short of the lattice,
    by up to (1 - share) / 2 of its distance, and their cosines are sinc(1 - share) in the mean.

    Args:
        mono: float32[(frames + 1) hops].
        fixed: float32[GROUP, BANDS], gains of the first group, which are kept.
        first: number of the first group from the sound's beginning.
        key, bits: as of `wanted_bits`.
        rate: samples a second.
        strength: scales the lattice.
        loudest: energy of the loudest frame of 20 ms so far.
    """
    hop, layout = hop_of(rate), speech_layout(key)
    count = len(mono) // hop // GROUP
    groups = np.arange(first, first + count) % GROUPS
    step = STEP * strength
    aim = layout.shifts[groups] + np.where(bits[groups] > 0, 0.0, 0.5)
    gains, goal = np.zeros([count, GROUP * BANDS], np.float32), None
    worth = np.zeros([count, PROJECTIONS])
    gains[0] = fixed.reshape(-1)
    where = layout.tiles[groups].reshape(count, -1)
    for _ in range(ROUNDS):
        marked = _apply(mono[None], gains.reshape(-1, BANDS), rate)[0]
        energies = band_energies(marked, rate, hop).reshape(count, -1)
        found, worth = projections(energies, layout, groups)
        if goal is None:
            goal = (np.rint(found / step - aim) + aim) * step
        missing = np.where(worth > 0.1, goal - found, 0.0)
        change = (missing[..., None] * layout.signs[groups] / TILES**0.5).reshape(count, -1)
        change[0] = 0
        more = np.take_along_axis(gains, where, axis=1) + change
        np.put_along_axis(gains, where, np.clip(more, -MOST, MOST).astype(np.float32), axis=1)
    gains = gains.reshape(-1, BANDS)
    share = _affordable(mono, gains, rate, loudest)
    return gains * np.float32(share), worth * np.sinc(1 - share)


def marked_speech(
    key: MarkKey,
    mark_id: str,
    blocks: Iterable[np.ndarray],
    rate: int,
    strength: float = 1.0,
    tally: SpeechTally | None = None,
) -> Iterator[np.ndarray]:
    """Write a mark into a sound, piece by piece, with about 6 s of delay in memory.

    Args:
        key: decides the pattern.
        mark_id: 16 hexadecimal digits.
        blocks: float32[channels, n], the sound; its channels get the same gains, which are found on their mean.
        rate: samples a second, a multiple of 125.
        strength: scales the mark.
        tally: is told how much was written.

    Yields:
        float32[channels, n], as many samples as the sound has.
    """
    hop, bits = hop_of(rate), wanted_bits(key, mark_id)
    group = GROUP * hop
    need = (CHUNK + 2) * group + hop
    held: np.ndarray | None = None
    fixed = np.zeros([GROUP, BANDS], np.float32)
    spill: np.ndarray | None = None
    first, total, given, loudest = -1, 0, 0, 0.0
    for block in with_end(blocks):
        if block is not None:
            if held is None:
                held, spill = (
                    np.zeros([len(block), group], np.float32),
                    np.zeros([len(block), hop], np.float32),
                )
            held, total = np.concatenate([held, block], axis=1), total + block.shape[1]
        if held is None or spill is None:
            return
        while held.shape[1] >= need or (block is None and given < total):
            part = np.pad(held[:, :need], ((0, 0), (0, max(0, need - held.shape[1]))))
            mono = part.mean(axis=0)
            loudest = max(loudest, float(_powers(mono, rate).max()))
            gains, worth = _gains(mono, fixed, first, key, bits, rate, strength, loudest)
            own = gains[GROUP:-GROUP]
            if tally is not None:
                tally.power += float(np.square(worth[1:-1]).sum())
            core = part[:, group : group + len(own) * hop + hop]
            marked = _apply(core, own, rate)
            marked[:, :hop] += spill
            spill = marked[:, -hop:] - core[:, -hop:]
            ready = marked[:, : min(len(own) * hop, total - given)]
            given += ready.shape[1]
            yield ready
            fixed, held, first = own[-GROUP:], held[:, CHUNK * group :], first + CHUNK


def with_end(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray | None]:
    """Give blocks, and None after the last."""
    yield from blocks
    yield None
