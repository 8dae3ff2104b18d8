"""Batches of a prepared data set. Which frames an item shows hangs on the seed and its position alone, whatever the number of
workers: item p of the training is the same in every run, and step s of W workers takes items s G ... s G + G - 1 of G = W x
batch x accumulate.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.utils.data
from torch import Tensor

from operators.retalk.coefficients import window
from pipelines.errors import UsageError
from pipelines.training.config import TrainingConfig
from pipelines.training.data.reader import ClipSet
from retalk_models.training.sync_expert import FRAMES

#: Shortest clip, frames: a window of five and another one beside it.
LEAST_FRAMES = 2 * FRAMES
#: Frames between a picture and sound that does not belong to it, at least.
APART = 3
COLUMNS = {
    "sync": ("faces", "mel"),
    "dnet": ("heads", "coefficients"),
    "lnet": ("faces", "mel"),
    "enet": ("faces", "mel"),
}


class Items(torch.utils.data.Dataset[dict[str, Tensor]]):
    """Items of a training by position, without end.

    Args:
        url: of the data set, or of a manifest of several.
        split: "train", "validation" or "test".
        config: kind, size and seed count.

    Raises:
        UsageError: no clips, pictures of another size, or no coefficients; says how to prepare the data set.
    """

    def __init__(self, url: str, split: str, config: TrainingConfig) -> None:
        self.kind, self.seed, self.side = config.kind, config.seed, config.side
        self.windows = config.windows if config.kind == "sync" else 1
        least = max(LEAST_FRAMES, APART * (self.windows - 1) + FRAMES)
        self.clips = ClipSet(url, split, COLUMNS[config.kind], least)
        self.pictures = "heads" if config.kind == "dnet" else "faces"
        for one in self.clips.sets:
            settings = one.settings()
            there = getattr(settings, self.pictures) if settings else 0
            if there != self.side:
                found = f"{there} pixels a side" if there else "missing"
                raise UsageError(
                    f"{one.url}: its {self.pictures} are {found}, {config.kind} needs {self.side}: "
                    f"prepare the data set with --{self.pictures} {self.side}"
                )
        if config.kind == "dnet":
            for number, first in zip(
                *np.unique(self.clips.index["set"].to_numpy(), return_index=True), strict=True
            ):
                if not len(self.clips.read(int(first), 0, 1)["coefficients"]):
                    raise UsageError(
                        f"{self.clips.sets[number].url}: no 3DMM coefficients, which dnet needs: prepare it with --coefficients on"
                    )

    def fingerprint(self) -> str:
        """Digest of the clips' names, lengths and signatures in their order: equal ones make equal items."""
        made = hashlib.sha256()
        for name in ("id", "frames", "signature"):
            for batch in self.clips.index.select([name]).to_batches(max_chunksize=10_000):
                made.update("".join(f"{value}\0" for value in batch.column(0).to_pylist()).encode())
        return made.hexdigest()

    def __getitem__(self, position: int) -> dict[str, Tensor]:
        epoch, place = divmod(position, len(self.clips))
        order = np.random.default_rng([self.seed, 0, epoch]).permutation(len(self.clips))
        random = np.random.default_rng([self.seed, 1, position])
        made: dict[str, np.ndarray] = getattr(self, f"_{self.kind}")(int(order[place]), random)
        return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in made.items()}

    def _start(self, number: int, random: np.random.Generator) -> int:
        return int(random.integers(self.clips.frames[number] - FRAMES + 1))

    def _sync(self, number: int, random: np.random.Generator) -> dict[str, np.ndarray]:
        if self.windows > 1:
            return self._windows(number, random)
        start, heard = self._start(number, random), -1
        clip = self.clips.read(number, start, FRAMES)
        in_sync = bool(random.integers(2))
        if in_sync:
            heard = start
        else:
            starts = np.arange(self.clips.frames[number] - FRAMES + 1)
            heard = int(random.choice(starts[np.abs(starts - start) >= APART]))
        mel = clip["mel_chunks"] if in_sync else self.clips.read(number, heard, FRAMES)["mel_chunks"]
        return {
            "faces": planes(clip["faces"]),
            "mel": mel[:1],
            "in_sync": np.float32(in_sync).reshape(()),
        }

    def _windows(self, number: int, random: np.random.Generator) -> dict[str, np.ndarray]:
        """Windows of a clip, their starts `APART` frames apart or more, in order of time."""
        gaps = (APART - 1) * np.arange(self.windows)
        free = self.clips.frames[number] - FRAMES + 1 - gaps[-1]
        starts = np.sort(random.choice(free, self.windows, replace=False)) + gaps
        rows = [self.clips.read(number, int(start), FRAMES) for start in starts]
        return {
            "faces": np.stack([planes(row["faces"]) for row in rows]),
            "mel": np.stack([row["mel_chunks"][:1] for row in rows]),
        }

    def _dnet(self, number: int, random: np.random.Generator) -> dict[str, np.ndarray]:
        source, target = random.choice(self.clips.frames[number], 2, replace=False)
        rows = self.clips._row(number)["coefficients"]
        pictures = [planes(self.clips.read(number, int(one), 1)["heads"])[0] for one in (source, target)]
        return {
            "source": pictures[0] * 2 - 1,
            "target": pictures[1] * 2 - 1,
            "coeff": window(rows, int(target), 1.0),
        }

    def _lnet(self, number: int, random: np.random.Generator) -> dict[str, np.ndarray]:
        start, other = self._start(number, random), self._start(number, random)
        clip = self.clips.read(number, start, FRAMES)
        return {
            "target": planes(clip["faces"]),
            "reference": planes(self.clips.read(number, other, FRAMES)["faces"]),
            "mel": clip["mel_chunks"][:, None],
        }

    _enet = _lnet


def planes(pictures: np.ndarray) -> np.ndarray:
    """uint8[n, h, w, 3] -> float32[n, 3, h, w] 0..1."""
    return pictures.transpose(0, 3, 1, 2).astype(np.float32) / 255


def batches(
    items: Items, config: TrainingConfig, first_step: int, rank: int = 0, world: int = 1
) -> Iterator[dict[str, Any]]:
    """Yield the batches of one worker from a step on, ``accumulate`` for each step, without end.

    Args:
        items: of the training.
        config: batch, accumulate and loaders count.
        first_step: number of the first step.
        rank: number of this worker.
        world: number of workers.
    """
    share = config.batch * config.accumulate

    def positions() -> Iterator[int]:
        step = first_step
        while True:
            start = step * share * world
            for part in range(config.accumulate):
                # One worker's batch lies beside the others': together they are one larger batch.
                base = start + part * config.batch * world + rank * config.batch
                yield from range(base, base + config.batch)
            step += 1

    loader = torch.utils.data.DataLoader(
        items,
        batch_size=config.batch,
        sampler=_Endless(positions),
        num_workers=config.loaders,
        multiprocessing_context="spawn" if config.loaders else None,
    )
    return iter(loader)


class _Endless(torch.utils.data.Sampler[int]):
    """Positions from a generator."""

    def __init__(self, make: Any) -> None:
        self.make = make

    def __iter__(self) -> Iterator[int]:
        yield from self.make()
