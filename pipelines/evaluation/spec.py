"""A sweep as decided before anything runs, and how it is to be run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipelines.engine.config import ProfileConfig
from pipelines.evaluation.measures import Measures
from pipelines.evaluation.pairs import WHOLE, Listing, Pair, Shard
from pipelines.evaluation.systems import System
from pipelines.manifest.titles import LengthRule, Runner


@dataclass(frozen=True)
class SweepSpec:
    """A sweep as decided before anything runs.

    Attributes:
        directory: fsspec URL that everything is written to.
        data: ``lrs2``, ``lrs3``, ``lrw``, ``hdtf``, ``pairs`` or ``score``.
        systems: in the order in which they run.
        measures: metrics.
        pairs: of the whole sweep, before it is cut into shards.
        listing: counts of the list that they were read from.
        shard: the part that this command works on.
        length: which of sound and video decides the length of a dub.
        options: of the command, for ``sweep.json``.
        command: the same as words.
    """

    directory: str
    data: str
    systems: Sequence[System]
    measures: Measures
    pairs: Sequence[Pair]
    listing: Listing
    shard: Shard = WHOLE
    length: LengthRule = "trim"
    options: Mapping[str, Any] = field(default_factory=dict)
    command: Sequence[str] = ()

    @property
    def mine(self) -> list[Pair]:
        """Pairs of this command's shard."""
        return self.shard.take(self.pairs)


@dataclass(frozen=True)
class Execution:
    """The way a sweep is run: arguments of `pipelines.runner.run`.

    Attributes:
        runner: "auto", "ray" or "local".
        profile: name, path or configuration.
        limits: in place of the profile's.
        cache: fsspec URL of the analysis cache, False for none; None: in the sweep's directory.
        verbose: show what the workers print.
        overwrite: replace outputs that no run has made.
    """

    runner: Runner = "auto"
    profile: str | ProfileConfig = "laptop"
    limits: Mapping[str, float] = field(default_factory=dict)
    cache: str | bool | None = None
    verbose: bool = False
    overwrite: bool = False
