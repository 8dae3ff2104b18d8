"""Pairs of a sweep: a video and the sound that it is dubbed with; which of a list's are taken, and what fell out of it."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from pipelines.errors import UsageError

Protocol = Literal["cross", "reconstruction"]
PROTOCOLS: tuple[str, ...] = get_args(Protocol)
#: Lines of a list that are named for each reason.
NAMED = 3


@dataclass(frozen=True)
class Pair:
    """A video and the sound that it is dubbed with.

    Attributes:
        id: its name in the sweep.
        video: fsspec URL; "" where only a result is known.
        audio: fsspec URL of a file with sound, a video for instance.
        seed: by which it was drawn.
        output: fsspec URL of a result that exists, for `retalk eval score`; "" for pairs that are dubbed.
    """

    id: str
    video: str
    audio: str
    seed: int = 0
    output: str = ""


@dataclass
class Listing:
    """Counts of a list that is being read.

    Attributes:
        lines: rows or lines with content.
        pairs: of them, those that became pairs.
        left_out: reasons and numbers of the others.
        examples: for each reason, where the first stand.
        notes: on the list as a whole.
    """

    lines: int = 0
    pairs: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def drop(self, reason: str, where: str) -> None:
        """Count one that falls out, and remember where the first ones stand."""
        self.left_out[reason] += 1
        named = self.examples.setdefault(reason, [])
        if len(named) < NAMED:
            named.append(where)

    def words(self) -> list[str]:
        """Say what fell out and why, a line a reason."""
        return [
            f"{number} left out: {reason} ({', '.join(self.examples[reason])}"
            f"{', ...' if number > len(self.examples[reason]) else ''})"
            for reason, number in self.left_out.most_common()
        ]


def without_repeats(pairs: Iterable[Pair], listing: Listing) -> Iterator[Pair]:
    """Pass pairs on, each name once; counts them."""
    seen = set()
    for pair in pairs:
        if pair.id in seen:
            listing.drop("listed more than once", pair.id)
            continue
        seen.add(pair.id)
        listing.pairs += 1
        yield pair


def reconstructed(pairs: Iterable[Pair], listing: Listing) -> Iterator[Pair]:
    """Pass each video on once, to be dubbed with its own sound."""
    seen = set()
    for pair in pairs:
        if pair.video in seen:
            continue
        seen.add(pair.video)
        name = pair.id.split("+", 1)[0]
        yield dataclasses.replace(pair, id=name, audio=pair.video)
    if len(seen) < listing.pairs:
        listing.notes.append(f"reconstruction: {len(seen)} videos in {listing.pairs} pairs")


def drawn(pairs: Iterable[Pair], limit: int | None, seeds: Sequence[int]) -> list[Pair]:
    """Take the first ``limit`` pairs, or with seeds so many at random for each; in the list's order.

    Args:
        pairs: read once, and held only as far as they are drawn.
        limit: None: all.
        seeds: none: the first ones, as of seed 0.

    Raises:
        UsageError: seeds without a limit draw nothing.
    """
    if not seeds:
        taken = list[Pair]()
        for pair in pairs:
            if limit is not None and len(taken) == limit:
                break
            taken.append(pair)
        return taken
    if limit is None:
        raise UsageError("--seeds draws pairs at random: give --limit N, how many for each seed")
    reservoirs: dict[int, list[tuple[int, Pair]]] = {seed: [] for seed in seeds}
    dice = {seed: random.Random(seed) for seed in seeds}
    for number, pair in enumerate(pairs):
        for seed, held in reservoirs.items():
            if len(held) < limit:
                held.append((number, pair))
            elif (place := dice[seed].randrange(number + 1)) < limit:
                held[place] = (number, pair)
    return [
        dataclasses.replace(pair, seed=seed)
        for seed, held in reservoirs.items()
        for _, pair in sorted(held, key=lambda entry: entry[0])
    ]


@dataclass(frozen=True)
class Shard:
    """Part ``number`` (from 1) of ``of`` of a list, which several commands work on."""

    number: int = 1
    of: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read ``I/N``.

        Raises:
            UsageError: it is something else.
        """
        number, slash, of = text.partition("/")
        if not (slash and number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
            raise UsageError(f"--shard {text}: must be I/N with 1 <= I <= N, such as 1/4")
        return cls(int(number), int(of))

    def take(self, pairs: Sequence[Pair]) -> list[Pair]:
        """Every ``of``-th pair; neighbours in a list go to different shards."""
        return list(pairs[self.number - 1 :: self.of])

    @property
    def suffix(self) -> str:
        """End of the names of this shard's files; "" for a whole list."""
        return "" if self.of == 1 else f".{self.number}of{self.of}"


#: The whole list.
WHOLE = Shard()
