"""Training data of talkin: utterances with their expression, and windows of crops with a reference.

A batch is a function of seed and step: a run that goes on from a checkpoint sees the same data.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from operators.retalk.framing import into_box
from operators.talkin.crops import crop, crop_transform, in_crop, sketch
from operators.talkin.factors import Factors, Kind, Person, fit_factors, frontal_shapes
from operators.talkin.listening import centred_chunks
from pipelines.errors import UsageError
from pipelines.training.data.reader import ClipSet
from pipelines.training.data.schema import MARGIN

#: Frames by which a reference is away from the frame that is painted, at least, where the clip is long enough.
APART = 8


@dataclass(frozen=True)
class Utterance:
    """A clip for the expression network.

    Attributes:
        mel: float32[M, 80].
        frontal: float64[N, 68, 2], pose removed.
        eye: eye distance of it.
        coefficients: float32[N, 262] or [0, 262].
        identity, source: of the clip.
    """

    mel: np.ndarray
    frontal: np.ndarray
    eye: float
    coefficients: np.ndarray
    identity: str
    source: str


def read_utterances(clips: ClipSet) -> list[Utterance]:
    """Read the clips of a split; needs the columns ``landmarks``, ``mel``, ``coefficients``, ``identity`` and ``source``."""
    found = []
    for number in range(len(clips)):
        clip = clips[number]
        frontal, eye = frontal_shapes(clip["landmarks"], np.ones(clip["frames"], bool))
        found.append(
            Utterance(clip["mel"], frontal, eye, clip["coefficients"], clip["identity"], clip["source"])
        )
    return found


def choose_kind(utterances: Sequence[Utterance], asked: str) -> Kind:
    """Decide how expression is measured.

    Raises:
        UsageError: coefficients are asked for and missing.
    """
    there = all(len(one.coefficients) for one in utterances)
    if asked == "coefficients" and not there:
        raise UsageError(
            "factors: the data set has no 3DMM coefficients; prepare it with the weights, or take landmarks"
        )
    return "coefficients" if asked != "landmarks" and there else "landmarks"


def learn_factors(utterances: Sequence[Utterance], kind: Kind, parameters: int) -> Factors:
    """Learn factors on utterances.

    Raises:
        UsageError: there are too few frames.
    """
    try:
        return fit_factors([(one.frontal, one.eye, one.coefficients) for one in utterances], kind, parameters)
    except ValueError as problem:
        raise UsageError(str(problem)) from problem


class Voices:
    """Windows of utterances with their expressions.

    Args:
        utterances: of a split.
        factors: of the expression.
    """

    def __init__(self, utterances: Sequence[Utterance], factors: Factors) -> None:
        self.utterances = list(utterances)
        self.people = _people(self.utterances, factors)
        self.expressions = [
            factors.expression(one.frontal, self.people[one.source], one.coefficients)
            for one in self.utterances
        ]
        self.speakers = sorted({one.identity for one in self.utterances})

    def batch(
        self, seed: int, step: int, size: int, frames: int, rank: int = 0, world: int = 1
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return a worker's part of a step, ``size`` of ``size * world`` windows.

        These are sound float32[B, N, 80, 16], expression float32[B, N, E] and speakers int64[B].
        N is ``frames``, or that of the shortest clip drawn.
        """
        random = np.random.default_rng([seed, 1, step])
        drawn = random.integers(0, len(self.utterances), size * world)
        count = min(frames, *(len(self.utterances[k].frontal) for k in drawn))
        sound, wanted, speakers = [], [], []
        for place, k in enumerate(drawn.tolist()):
            one = self.utterances[k]
            start = int(random.integers(0, len(one.frontal) - count + 1))
            if place // size != rank:
                continue
            sound.append(self.sound(k)[start : start + count])
            wanted.append(self.expressions[k][start : start + count])
            speakers.append(self.speakers.index(one.identity))
        return (
            torch.from_numpy(np.stack(sound)),
            torch.from_numpy(np.stack(wanted)).float(),
            torch.tensor(speakers),
        )

    def sound(self, number: int) -> np.ndarray:
        """Sound float32[N, 80, 16] of a whole utterance."""
        one = self.utterances[number]
        return centred_chunks(one.mel, len(one.frontal), MARGIN)


def _people(utterances: Sequence[Utterance], factors: Factors) -> dict[str, Person]:
    """People by video: a folder of many people may be one identity."""
    by_source: dict[str, list[Utterance]] = defaultdict(list)
    for one in utterances:
        by_source[one.source].append(one)
    found = {}
    for source, ones in by_source.items():
        frontal = np.concatenate([one.frontal for one in ones])
        coefficients = np.concatenate([one.coefficients for one in ones])
        eye = float(np.median([one.eye for one in ones]))
        found[source] = factors.person(frontal, eye, coefficients, np.ones(len(frontal), bool))
    return found


class Faces:
    """Windows of crops for the rendering network.

    Args:
        clips: with the columns ``heads``, ``landmarks`` and ``head_boxes``.
        side: of the crops.
        window: frames of a window, odd.
    """

    def __init__(self, clips: ClipSet, side: int, window: int) -> None:
        self.clips, self.side, self.window = clips, side, window

    def batch(self, seed: int, step: int, size: int, rank: int = 0, world: int = 1) -> dict[str, Tensor]:
        """Return a worker's pictures of a step, ``size`` of ``size * world``, float32 0 ... 1.

        Of each clip there are two consecutive windows, so that time can be judged:
        ``frames`` [B, 2, F, 3, S, S], ``sketches`` [B, 2, F, 2, S, S], ``reference`` [B, 3, S, S], ``reference_sketch`` [B, 2, S, S].
        """
        random = np.random.default_rng([seed, 2, step])
        rows = []
        for place, number in enumerate(random.integers(0, len(self.clips), size * world).tolist()):
            count = int(self.clips.frames[number])
            start = int(random.integers(0, count - self.window))
            middle = start + self.window // 2
            others = [t for t in range(count) if abs(t - middle) >= min(APART, count // 3)]
            reference = int(random.choice(others))
            if place // size == rank:
                rows.append(self.item(number, start, reference))
        return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}

    def item(self, number: int, start: int, reference: int) -> dict[str, Tensor]:
        """Return one row of a batch: windows from ``start`` and ``start`` + 1 on, with a reference frame."""
        pictures, drawings = self._crops(self.clips.read(number, start, self.window + 1))
        other, other_sketch = self._crops(self.clips.read(number, reference, 1))
        return {
            "frames": torch.stack([pictures[:-1], pictures[1:]]),
            "sketches": torch.stack([drawings[:-1], drawings[1:]]),
            "reference": other[0],
            "reference_sketch": other_sketch[0],
        }

    def _crops(self, clip: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        pictures, drawings = [], []
        for head, landmarks, box in zip(clip["heads"], clip["landmarks"], clip["head_boxes"]):
            points = in_crop(landmarks, into_box(box, head.shape[0]))
            transform = crop_transform(points, self.side)
            pictures.append(crop(head, transform, self.side))
            drawings.append(sketch(in_crop(points, transform), self.side))
        return (
            torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255,
            torch.from_numpy(np.stack(drawings)).float() / 255,
        )
