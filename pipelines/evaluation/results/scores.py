"""Scores of a sweep as `pipelines.evaluation` writes them: ``scores.parquet``, ``sets.json``, ``sweep.json``."""

from __future__ import annotations

import functools
import math
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
            kind = column.type
            if pa.types.is_null(kind) and name not in ABOUT:
                found[name] = np.full(len(column), np.nan)
            elif pa.types.is_floating(kind) or pa.types.is_integer(kind):
                found[name] = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
            else:
                found[name] = np.array([*column.to_pylist(), None], dtype=object)[:-1]
        return found

    @functools.cached_property
    def arms(self) -> list[Arm]:
        """Systems in the order in which they were asked for, cross before reconstruction."""
        asked = list(self.about.get("systems") or ())
        found = set(self._rows) | {self.arm_of_set(one) for one in self.sets}

        def place(arm: Arm) -> tuple[str, int, str]:
            return arm.protocol, asked.index(arm.system) if arm.system in asked else len(asked), arm.system

        return sorted(found, key=place)

    @functools.cached_property
    def metrics(self) -> list[str]:
        """Names of the metrics of clips."""
        known = {*ABOUT, *COVARIATES}
        return [
            name for name, column in self.columns.items() if name not in known and column.dtype == np.float64
        ]

    @functools.cached_property
    def _rows(self) -> dict[Arm, np.ndarray]:
        """Numbers of each arm's rows."""
        found: dict[Arm, list[int]] = {}
        for row, arm in enumerate(zip(self.texts("system").tolist(), self.texts("protocol").tolist())):
            found.setdefault(Arm(*arm), []).append(row)
        return {arm: np.array(rows, np.int64) for arm, rows in found.items()}

    @functools.cached_property
    def _pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Names of all pairs, ascending, and each row's place among them."""
        return np.unique(self.texts("pair"), return_inverse=True)

    def arm_of_set(self, one: Mapping[str, Any]) -> Arm:
        """The arm that an entry of `sets` belongs to; without a protocol, the system's first."""
        system = str(one.get("system"))
        mine = sorted(arm.protocol for arm in self._rows if arm.system == system)
        return Arm(
            system, str(one.get("protocol") or (mine[0] if mine else self.about.get("protocol") or ""))
        )

    def rows(self, arm: Arm, state: str | None = SCORED) -> np.ndarray:
        """Numbers of an arm's rows, int64[n]; only those in a state, None for all."""
        rows = self._rows.get(arm, np.zeros(0, np.int64))
        return rows if state is None else rows[self.columns["state"][rows] == state]

    def clips(self, arm: Arm, metric: str) -> tuple[np.ndarray, np.ndarray]:
        """Values of an arm's scored clips: names of pairs, ascending, and float64[n], the mean over the seeds of each.

        Values that are not finite are left out.
        """
        names, places = self._pairs
        if metric not in self.columns:
            return names[:0], np.zeros(0)
        rows = self.rows(arm)
        rows = rows[np.isfinite(self.columns[metric][rows])]
        sums = np.bincount(places[rows], self.columns[metric][rows], len(names))
        counts = np.bincount(places[rows], minlength=len(names))
        present = np.flatnonzero(counts)
        return names[present], sums[present] / counts[present]

    def values(self, arm: Arm, metric: str) -> np.ndarray:
        """Values of an arm's scored clips, float64[n]; see `clips`."""
        return self.clips(arm, metric)[1]

    def paired(self, metric: str, one: Arm, other: Arm) -> tuple[np.ndarray, np.ndarray]:
        """Values of the clips that two arms have both scored, float64[n] each, in the same order."""
        return paired(self, one, self, other, metric)

    def set_value(self, arm: Arm, metric: str) -> tuple[float, int]:
        """Value of a set's metric for an arm and the number of clips or pictures behind it; NaN and 0 for none."""
        for one in self.sets:
            value = one.get("value")
            if one["metric"] == metric and self.arm_of_set(one) == arm and isinstance(value, int | float):
                count = one.get("count")
                return float(value), count if isinstance(count, int) else 0
        return math.nan, 0

    def weights(self, arm: Arm) -> str:
        """Weights behind an arm's results: ``official``, ``recipe`` (made up) or ``none``; recipe wins."""
        found = set(self.texts("weights")[self.rows(arm, None)].tolist())
        return next((kind for kind in ("recipe", "official") if kind in found), "none")

    def texts(self, name: str) -> np.ndarray:
        """A column of texts, object[n]; "" where there is none."""
        if name not in self.columns:
            return np.full(self.table.num_rows, "", object)
        return np.array(
            [*("" if value is None else str(value) for value in self.columns[name]), None], object
        )[:-1]


def paired(first: Sweep, one: Arm, second: Sweep, other: Arm, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Finite values of the clips that two arms of one or two sweeps have both scored, float64[n] each."""
    (left, values), (right, others) = first.clips(one, metric), second.clips(other, metric)
    _, at, where = np.intersect1d(left, right, assume_unique=True, return_indices=True)
    return values[at], others[where]


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
    entries = [one for one in sets if isinstance(one, dict)] if isinstance(sets, list) else []
    return Sweep(
        directory,
        about if isinstance(about, dict) else {},
        table,
        [{**one, "metric": str(one["metric"])} for one in entries if one.get("system") and one.get("metric")],
    )
