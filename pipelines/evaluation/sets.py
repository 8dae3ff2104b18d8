"""Metrics of whole sets: FID of a system's frames against the sources'."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from operators.evaluation.fid_features import read_features
from operators.evaluation.frechet import FeatureStatistics, frechet_distance
from operators.storage.files import join
from pipelines.evaluation.measures import FID, Measures
from pipelines.evaluation.scores import SCORED
from pipelines.evaluation.systems import SOURCE
from pipelines.state.run_directory import write_text

#: Feature vectors that are added to the statistics at once.
BATCH = 4096


def set_metrics(table: pa.Table, measures: Measures, missing: Mapping[str, str]) -> list[dict[str, Any]]:
    """Compute the metrics of sets for each system and protocol of a table of scores.

    Args:
        table: of `pipelines.evaluation.scores.write_scores`.
        measures: what was asked for.
        missing: `Measures.missing`.

    Returns:
        Entries of ``sets.json``: system, protocol, metric, value (None without one), count of pictures, note.
    """
    if FID not in measures.names:
        return []
    found, references = [], dict[str, FeatureStatistics | None]()
    arms = table.select(["system", "protocol"]).group_by(["system", "protocol"]).aggregate([]).to_pylist()
    for arm in sorted(arms, key=lambda arm: (arm["protocol"], arm["system"])):
        system, protocol = arm["system"], arm["protocol"]
        if system == SOURCE:
            continue
        entry = {
            "system": system,
            "protocol": protocol,
            "metric": FID,
            "value": None,
            "count": 0,
            "note": None,
        }
        found.append(entry)
        if FID in missing:
            entry["note"] = missing[FID]
            continue
        if protocol not in references:
            truth = _outputs(table, SOURCE, protocol)
            references[protocol] = _statistics(measures.folder, truth) if truth else None
        reference = references[protocol]
        if reference is None:
            entry["note"] = "needs the frames of the source videos: add source to the systems of this sweep"
            continue
        own = _statistics(measures.folder, _outputs(table, system, protocol))
        entry["count"] = own.count
        try:
            value = frechet_distance(own, reference)
            entry["value"] = value if math.isfinite(value) else None
            entry["note"] = (
                f"{own.count} pictures against {reference.count} of the sources, every fifth frame"
            )
        except ValueError as problem:
            entry["note"] = str(problem)
    return found


def write_sets(directory: str, found: list[dict[str, Any]]) -> None:
    """Write ``sets.json``."""
    write_text(join(directory, "sets.json"), json.dumps(found, indent=1))


def _outputs(table: pa.Table, system: str, protocol: str) -> list[str]:
    """Videos that a system's scored pairs resulted in, each once."""
    chosen = pc.and_(
        pc.and_(pc.equal(table["system"], system), pc.equal(table["protocol"], protocol)),
        pc.equal(table["state"], SCORED),
    )
    return list(dict.fromkeys(table.filter(chosen)["output"].to_pylist()))


def _statistics(folder: str, videos: Iterable[str]) -> FeatureStatistics:
    """Statistics of the features of videos; a few thousand vectors are held at a time."""
    whole, held, count = FeatureStatistics(2048), list[np.ndarray](), 0
    for features in read_features(folder, videos):
        held.append(features)
        count += len(features)
        if count >= BATCH:
            whole.add(np.concatenate(held))
            held, count = [], 0
    return whole.add(np.concatenate(held)) if held else whole
