"""Learned marks of others in the place of the built-in ones, for users who have their weights: AudioSeal and VideoSeal (Meta, MIT).

AudioSeal (San Roman et al. 2024) has room for 16 bits: the first 16 of a dub's id. It needs the package `audioseal` and two model
files. VideoSeal (Fernandez et al. 2024) has room for 256 bits: all but the last 8 of the codeword. Its TorchScript file needs no
package. Neither knows a key; whoever has the weights can read, and forge, the marks.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from operators.watermark.code import CODE_BITS, decode, encode
from operators.watermark.keys import MarkKey
from operators.watermark.speech import with_end
from retalk_models.registry.registry import available, require

#: Names of the learned marks, and their model files: what writes, what reads.
AUDIOSEAL, VIDEOSEAL = "audioseal", "videoseal"
FILES = {
    AUDIOSEAL: ("audioseal_generator_base.pth", "audioseal_detector_base.pth"),
    VIDEOSEAL: ("videoseal_y_256b_img.jit", "videoseal_y_256b_img.jit"),
}
#: Samples a second that AudioSeal was trained on, its bits, seconds of sound that are marked together, and those around them.
RATE, TAG_BITS, PIECE, CONTEXT = 16000, 16, 10, 1
#: Share of samples that the detector must call marked. Its authors' threshold of one sample, taken for all.
PRESENT = 0.5
#: Bits of VideoSeal, and the share of them that must agree with the codeword that is read. Noise agrees in about 0.75.
PICTURE_BITS, AGREEING = 256, 0.85
#: Levels by which VideoSeal may change luma here.
MOST = 8.0


class LearnedMarkError(ValueError):
    """A learned mark cannot be used; the message says what to install."""


def tag_of(mark_id: str) -> str:
    """The part of an id that AudioSeal carries: 4 hexadecimal digits."""
    return mark_id[: TAG_BITS // 4]


def readable(name: str) -> bool:
    """Tell whether the weights that read a mark are here."""
    return available(FILES[name][1])


@functools.lru_cache(maxsize=4)
def _audioseal(path: Path, kind: str) -> Any:
    """AudioSeal's network of a kind, ``generator`` or ``detector``, from a file of this machine."""
    try:
        from audioseal import AudioSeal
    except ImportError as problem:
        raise LearnedMarkError(
            "the mark audioseal needs the package audioseal, which is not installed; run: pip install audioseal"
        ) from problem
    try:
        # A path of a file: by a card's name it would fetch the weights itself.
        network = getattr(AudioSeal, f"load_{kind}")(str(path), nbits=TAG_BITS)
    except Exception as problem:
        raise LearnedMarkError(
            f"{path}: is no {kind} of AudioSeal ({type(problem).__name__}: {problem})"
        ) from problem
    return network.eval()


class AudioSealMarker:
    """Marks speech with AudioSeal.

    Args:
        mark_id: 16 hexadecimal digits.

    Raises:
        LearnedMarkError, WeightsError: package or weights are not here.
    """

    #: How strong its mark should be is not known.
    expected: float | None = None

    def __init__(self, mark_id: str) -> None:
        name = FILES[AUDIOSEAL][0]
        self._network = _audioseal(require([name])[name], "generator")
        self._bits = [int(bit) for bit in f"{int(tag_of(mark_id), 16):0{TAG_BITS}b}"]

    def mark(self, blocks: Iterable[np.ndarray], rate: int) -> Iterator[np.ndarray]:
        """Mark float32[channels, n] blocks; all channels get the same, found on their mean."""
        held, begin, given, total = np.zeros([1, 0], np.float32), 0, 0, 0
        for block in with_end(blocks):
            if block is not None:
                held = block if not total else np.concatenate([held, block], axis=1)
                total += block.shape[1]
            # `held` begins at sample `begin`, up to a context before what is given next.
            while given < total and (block is None or total - given >= (PIECE + CONTEXT) * rate):
                count = min(PIECE * rate, total - given)
                first = given - begin
                own = held[:, max(0, first - CONTEXT * rate) : first + count + CONTEXT * rate]
                before = min(first, CONTEXT * rate)
                change = self._change(own.mean(axis=0), rate)[before : before + count]
                yield held[:, first : first + count] + change
                given += count
                drop = max(0, given - CONTEXT * rate - begin)
                held, begin = held[:, drop:], begin + drop

    def _change(self, samples: np.ndarray, rate: int) -> np.ndarray:
        """float32[n], what to add to a mono sound."""
        import torch
        from scipy.signal import resample_poly

        common = np.gcd(rate, RATE)
        small = resample_poly(samples, RATE // common, rate // common).astype(np.float32)
        with torch.inference_mode():
            change = self._network.get_watermark(
                torch.from_numpy(small)[None, None], message=torch.tensor([self._bits])
            )
        grown = resample_poly(change[0, 0].numpy(), rate // common, RATE // common)[: len(samples)]
        return np.pad(grown, (0, len(samples) - len(grown))).astype(np.float32)


@dataclass(frozen=True)
class LearnedReading:
    """A learned mark that was looked for.

    Attributes:
        name: of the mark.
        present: share of the sound or of the bits that speak for it.
        found: enough of it does.
        ids: the ids that it may be: 16 hexadecimal digits, or the first 4 of them.
    """

    name: str
    present: float
    found: bool
    ids: tuple[str, ...] = ()


def read_audioseal(samples: np.ndarray) -> LearnedReading:
    """Look for a mark of AudioSeal in float32[n] at `RATE`.

    Raises:
        LearnedMarkError, WeightsError: package or weights are not here.
    """
    import torch

    name = FILES[AUDIOSEAL][1]
    network = _audioseal(require([name])[name], "detector")
    shares, bits = [], []
    with torch.inference_mode():
        for start in range(0, len(samples), PIECE * RATE):
            piece = samples[start : start + PIECE * RATE]
            if len(piece) >= RATE:
                result, message = network(
                    torch.from_numpy(np.ascontiguousarray(piece, np.float32))[None, None]
                )
                marked = result[0, 1] > PRESENT
                shares.append(float(marked.float().mean()))
                bits.append(message[0].numpy())
    present = float(np.mean(shares)) if shares else 0.0
    if present <= PRESENT:
        return LearnedReading(AUDIOSEAL, present, False)
    word = (np.average(bits, axis=0, weights=shares) > 0.5).astype(int)
    return LearnedReading(AUDIOSEAL, present, True, (f"{int(''.join(map(str, word)), 2):0{TAG_BITS // 4}x}",))


@functools.lru_cache(maxsize=1)
def _videoseal(path: Path) -> Any:
    import torch

    try:
        return torch.jit.load(str(path), map_location="cpu").eval()
    except RuntimeError as problem:
        raise LearnedMarkError(f"{path}: is no TorchScript file of VideoSeal ({problem})") from problem


def _load_videoseal() -> Any:
    name = FILES[VIDEOSEAL][0]
    return _videoseal(require([name])[name])


class VideoSealMarker:
    """Marks pictures with VideoSeal, each for itself.

    Args:
        key: decides the check bits of the codeword.
        mark_id: 16 hexadecimal digits.
        strength: scales the mark.

    Raises:
        LearnedMarkError, WeightsError: the weights are not here.
    """

    def __init__(self, key: MarkKey, mark_id: str, strength: float) -> None:
        self._network, self._strength = _load_videoseal(), strength
        self._word = (encode(key, mark_id)[:PICTURE_BITS] < 0).astype(np.float32)

    def change(self, rgb: np.ndarray, weight: np.ndarray | None) -> np.ndarray:
        """Levels to add to luma: int16[h, w], 0 wherever the weight is 0.

        Args:
            rgb: uint8[h, w, 3].
            weight: float32[h, w], 0 to 1; None: 1.
        """
        import torch

        own = torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1)[None].float() / 255
        with torch.inference_mode():
            marked = self._network.embed(own, torch.from_numpy(self._word)[None])
        # Luma of BT.601 in its limited range; other matrices differ by less than rounding does.
        mix = torch.tensor([0.299, 0.587, 0.114])[:, None, None] * 219
        change = ((marked - own)[0] * mix).sum(0).numpy() * self._strength
        change = np.clip(change, -MOST, MOST)
        return np.asarray(np.rint(change if weight is None else change * weight), np.int16)


class VideoSealLook:
    """Sums what VideoSeal's detector says of pictures."""

    def __init__(self) -> None:
        self._network, self._sum, self._count = _load_videoseal(), np.zeros(PICTURE_BITS), 0

    def add(self, rgb: np.ndarray) -> None:
        """Take the next picture, uint8[h, w, 3]."""
        import torch

        own = torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1)[None].float() / 255
        with torch.inference_mode():
            self._sum += self._network.detect(own)[0, 1 : 1 + PICTURE_BITS].reshape(-1).numpy()
        self._count += 1

    def read(self, key: MarkKey) -> LearnedReading:
        """The mark in the pictures so far."""
        soft = np.zeros(CODE_BITS)
        soft[:PICTURE_BITS] = -self._sum / max(1e-9, float(np.abs(self._sum).mean()))
        word = decode(key, soft)
        agreeing = float((np.sign(soft[:PICTURE_BITS]) == word.word[:PICTURE_BITS]).mean())
        found = self._count > 0 and word.valid and agreeing >= AGREEING
        return LearnedReading(VIDEOSEAL, agreeing, found, (word.id,) if found else ())
