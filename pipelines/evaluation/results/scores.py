"""Scores of a sweep as `pipelines.evaluation` writes them: ``scores.parquet``, ``sets.json``, ``sweep.json``."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from operators.storage.files import exists, filesystem, join
from pipelines.errors import UsageError
from pipelines.state.run_directory import read_json

#: Columns of ``scores.parquet`` that are no metrics.
ABOUT = (
    "pair",
    "system",
    "protocol",
    "audio",
    "video",
    "output",
    "seed",
    "state",
    "reason",
    "seconds",
    "cost_seconds",
    "weights",
    "notes",
)
#: Columns that say something of a clip, not of a result: name, label of an axis.
COVARIATES = {
    "yaw_degrees": "yaw, degrees from the front",
    "loudness_lufs": "loudness of the speech, LUFS",
    "face_height": "height of the face, px",
    "lse_offset": "offset of sound and lips, frames of 25 a second",
}
SCORED, FAILED = "scored", "failed"


@dataclass(frozen=True)
class Arm:
    """A row of the tables: a system under a protocol.

    Attributes:
        system: such as ``exemplar`` or ``retalk:no-enet``.
        protocol: ``cross`` or ``reconstruction``.
    """

    system: str
    protocol: str


@dataclass(frozen=True)
class Sweep:
    """The scores of a sweep.

    Attributes:
        directory: fsspec URL.
        about: ``sweep.json``.
        table: ``scores.parquet``, a row for each pair and system.
        sets: ``sets.json``, metrics of whole sets (FID).
    """

    directory: str
    about: Mapping[str, Any]
    table: pa.Table
    sets: Sequence[Mapping[str, Any]]

    @functools.cached_property
    def columns(self) -> dict[str, np.ndarray]:
        """Columns of `table` by name; texts are objects with None, numbers float64 with NaN."""
        found = {}
        for name in self.table.column_names:
            column = self.table.column(name)
            if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
                found[name] = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
            else:
                found[name] = np.array(column.to_pylist(), dtype=object)
        return found

    @functools.cached_property
    def arms(self) -> list[Arm]:
        """Systems in the order in which they were asked for, cross before reconstruction."""
        asked = list(self.about.get("systems") or ())
        protocols = self._texts("protocol")
        pairs = set(zip(self.columns["system"].tolist(), protocols.tolist()))
        pairs |= {(one["system"], one.get("protocol") or "cross") for one in self.sets}

        def place(arm: tuple[str, str]) -> tuple[str, int, str]:
            return arm[1], asked.index(arm[0]) if arm[0] in asked else len(asked), arm[0]

        return [Arm(*pair) for pair in sorted(pairs, key=place)]

    @functools.cached_property
    def metrics(self) -> list[str]:
        """Names of the metrics of clips."""
        return [
            name
            for name in self.table.column_names
            if name not in ABOUT and name not in COVARIATES and self.columns[name].dtype == np.float64
        ]

    def rows(self, arm: Arm, state: str | None = SCORED) -> np.ndarray:
        """Numbers of an arm's rows, int64[n]; only those in a state."""
        chosen = (self.columns["system"] == arm.system) & (self._texts("protocol") == arm.protocol)
        if state is not None:
            chosen &= self.columns["state"] == state
        return np.flatnonzero(chosen)

    def values(self, arm: Arm, metric: str) -> np.ndarray:
        """Finite values of an arm's scored clips, float64[n]."""
        found = self.columns[metric][self.rows(arm)]
        return found[np.isfinite(found)]

    def paired(self, metric: str, one: Arm, other: Arm) -> tuple[np.ndarray, np.ndarray]:
        """Finite values of the clips that two arms have both scored, float64[n] each, in the same order."""
        return paired(self, one, self, other, metric)

    def keyed(self, arm: Arm, metric: str) -> dict[tuple[str, float], float]:
        """Finite values of an arm by pair and seed."""
        if metric not in self.columns:
            return {}
        rows = self.rows(arm)
        seeds = self.columns["seed"][rows] if "seed" in self.columns else np.zeros(len(rows))
        keys = zip(self.columns["pair"][rows].tolist(), np.nan_to_num(seeds.astype(float)).tolist())
        return {
            key: value for key, value in zip(keys, self.columns[metric][rows].tolist()) if np.isfinite(value)
        }

    def weights(self, arm: Arm) -> str:
        """Weights behind an arm's results: ``official``, ``recipe`` (made up) or ``none``; recipe wins."""
        found = set(self._texts("weights")[self.rows(arm, None)].tolist())
        return next((kind for kind in ("recipe", "official") if kind in found), "none")

    def _texts(self, name: str) -> np.ndarray:
        """A column of texts, "" where there is none."""
        if name not in self.columns:
            return np.array([""] * self.table.num_rows, dtype=object)
        return np.array(["" if value is None else value for value in self.columns[name]], dtype=object)


def paired(
    first: Sweep, one: Arm, second: Sweep, other: Arm, metric: str
) -> tuple[np.ndarray, np.ndarray]:
    """Finite values of the clips that two arms of one or two sweeps have both scored, float64[n] each."""
    left, right = first.keyed(one, metric), second.keyed(other, metric)
    common = [key for key in left if key in right]
    return (
        np.array([left[key] for key in common], np.float64),
        np.array([right[key] for key in common], np.float64),
    )


def read_sweep(directory: str) -> Sweep:
    """Read the scores of a sweep.

    Args:
        directory: fsspec URL that `retalk eval` has written to.

    Raises:
        UsageError: it has no scores, or they cannot be read.
    """
    place = join(directory, "scores.parquet")
    if not exists(place):
        raise UsageError(
            f"{directory}: has no scores.parquet: give the directory of a `retalk eval` that has finished"
        )
    fs, path = filesystem(place)
    try:
        with fs.open(path, "rb") as file:
            table = pq.read_table(file)
    except (pa.ArrowException, OSError) as problem:
        raise UsageError(f"{place}: cannot be read: {problem}") from problem
    if missing := [name for name in ("pair", "system", "state") if name not in table.column_names]:
        raise UsageError(f"{place}: has no column {', '.join(missing)}: it is no table of scores")
    about, sets = read_json(join(directory, "sweep.json")), read_json(join(directory, "sets.json"))
    return Sweep(
        directory,
        about if isinstance(about, dict) else {},
        table,
        [one for one in sets if isinstance(one, dict)] if isinstance(sets, list) else [],
    )
