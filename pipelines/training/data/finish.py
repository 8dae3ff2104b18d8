"""From finished shards to a data set: copies dropped, splits drawn, index and statistics written."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np

from operators.storage.files import filesystem
from pipelines.monitoring.formatting import duration
from pipelines.state.run_directory import write_text
from pipelines.training.data.schema import RATE, SPLITS
from pipelines.training.data.splits import merge_identities, split_identities, without_copies
from pipelines.training.data.store import DataSet, LeftOut, Receipt, Settings, indexed


def finish(data: DataSet, settings: Settings, receipts: Mapping[str, Receipt]) -> dict[str, Any]:
    """Write `index.parquet`, `left_out.jsonl`, `statistics.json` and `statistics.md`.

    Args:
        data: whose shards are finished.
        settings: of the data set.
        receipts: by name of the shard.

    Returns:
        The statistics.
    """
    rows = [row for name in sorted(receipts) for row in indexed(name, receipts[name])]
    left_out = [one for name in sorted(receipts) for one in receipts[name].left_out]
    rows, copies = without_copies(rows)
    left_out += copies
    if settings.people == "faces":
        descriptors = {k: v for receipt in receipts.values() for k, v in receipt.descriptors.items()}
        people = merge_identities({row["source"]: row["identity"] for row in rows}, descriptors)
        rows = [{**row, "identity": people[row["source"]]} for row in rows]
    splits = split_identities((row["identity"] for row in rows), settings)
    rows = [{**row, "split": splits[row["identity"]]} for row in rows]
    data.write_index(rows)
    lines = (json.dumps(vars(one), ensure_ascii=False) for one in left_out)
    write_text(data.file("left_out.jsonl"), "".join(f"{line}\n" for line in lines))
    found = statistics(data, receipts, rows, left_out)
    write_text(data.file("statistics.json"), json.dumps(found, indent=1))
    write_text(data.file("statistics.md"), markdown(found))
    return found


def statistics(
    data: DataSet, receipts: Mapping[str, Receipt], rows: list[dict[str, Any]], left_out: list[LeftOut]
) -> dict[str, Any]:
    """Counts, lengths and distributions of a data set, as JSON.

    ``left_out`` counts by reason, with seconds; ``sync`` has the offsets that were corrected, frames at 25 a second.
    """
    reasons: dict[str, dict[str, float]] = defaultdict(lambda: {"count": 0, "seconds": 0.0})
    for one in left_out:
        reasons[one.reason]["count"] += 1
        reasons[one.reason]["seconds"] += one.seconds
    by_split = {
        split: {
            "clips": sum(row["split"] == split for row in rows),
            "identities": len({row["identity"] for row in rows if row["split"] == split}),
            "seconds": round(sum(row["frames"] for row in rows if row["split"] == split) / RATE, 2),
        }
        for split in SPLITS
    }
    fs, _ = filesystem(data.url)
    measured = [row for row in rows if row["sync_by"]]
    return {
        "sources": len({row["source"] for row in rows}),
        "clips": len(rows),
        "identities": len({row["identity"] for row in rows}),
        "seconds": round(sum(row["frames"] for row in rows) / RATE, 2),
        "seconds_looked_at": round(sum(receipt.seconds for receipt in receipts.values()), 2),
        "bytes": sum(int(fs.size(filesystem(data.shard(name))[1]) or 0) for name in receipts),
        "splits": by_split,
        "left_out": {
            reason: {"count": int(found["count"]), "seconds": round(found["seconds"], 2)}
            for reason, found in sorted(reasons.items(), key=lambda item: -item[1]["count"])
        },
        "sync": {
            "by": dict(Counter(row["sync_by"] or "nothing" for row in rows)),
            "offsets": dict(sorted(Counter(round(row["sync_offset"]) for row in measured).items())),
        },
        "face": _spread([row["face"] for row in rows]),
        "clip_seconds": _spread([row["frames"] / RATE for row in rows]),
        "coefficients": any("coefficients" in receipt.measured for receipt in receipts.values()),
    }


def _spread(values: list[float]) -> dict[str, float]:
    """Least, median and largest value; {} of none."""
    if not values:
        return {}
    low, middle, high = np.quantile(values, [0, 0.5, 1])
    return {"least": round(float(low), 2), "median": round(float(middle), 2), "most": round(float(high), 2)}


def markdown(found: Mapping[str, Any]) -> str:
    """The statistics as a page."""
    lines = [
        "# Data set",
        "",
        f"{found['clips']} clips of {found['identities']} identities from {found['sources']} videos, "
        f"{duration(found['seconds'])} of {duration(found['seconds_looked_at'])}; "
        f"{found['bytes'] / 2**20:.1f} MiB. 3DMM coefficients: {'yes' if found['coefficients'] else 'no'}.",
        "",
        "| split | clips | identities | length |",
        "|---|---|---|---|",
        *(
            f"| {split} | {one['clips']} | {one['identities']} | {duration(one['seconds'])} |"
            for split, one in found["splits"].items()
        ),
        "",
        "| left out because | times | length |",
        "|---|---|---|",
        *(
            f"| {reason} | {one['count']} | {duration(one['seconds'])} |"
            for reason, one in found["left_out"].items()
        ),
        "",
        "| sound moved by, frames | clips |",
        "|---|---|",
        *(f"| {offset} | {count} |" for offset, count in found["sync"]["offsets"].items()),
        "",
        *(
            f"{what}: {spread['least']} to {spread['most']}, median {spread['median']}.  "
            for what, spread in (
                ("Width of the face in pixels", found["face"]),
                ("Seconds of a clip", found["clip_seconds"]),
            )
            if spread
        ),
        "Offsets measured by: "
        + (", ".join(f"{by} ({count})" for by, count in found["sync"]["by"].items()) or "nothing")
        + ".",
    ]
    return "\n".join(lines) + "\n"
