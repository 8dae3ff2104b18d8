"""Verdicts on good dubs and on dubs that were broken on purpose.

    python -m benchmarks.review FOLDER [--pairs VIDEO:SPEECH ...] [--out DIR] [--only NAME ...] [--set review.NAME=VALUE ...]

Each video of FOLDER is dubbed with the speech of two other clips (or the pairs that are named) by the exemplar engine, once
as it is and once with each fault of `benchmarks.broken`. Prints a Markdown table with each verdict and its first reason, how
many good dubs were called remarkable (false alarms), how many broken ones were called good (misses), how many got a reason
that names the fault, and the range of each metric over good dubs and over those with the fault that it is for.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.broken import BREAKS, breaking
from benchmarks.exemplar import SUFFIXES, neighbours
from pipelines.cli.options import settings
from pipelines.monitoring.terminal import table
from pipelines.runner import run
from pipelines.state.run_directory import Record
from pipelines.state.verdict import judge

GOOD = "good"
#: Words in a reason that name each fault.
WORDS = {
    "shifted sound": ("ms late",),
    "shifted sound, early": ("ms early",),
    "no dub": ("no frame was dubbed",),
    "no dub, drawn unchanged": ("hardly changed",),
    # A mouth that follows nothing may look like one that is out of step.
    "no dub, one mouth throughout": ("stands still", "does not follow", "ms early", "ms late"),
    "wrong face": ("not the person's",),
    "hard mask": ("at its edge", "edge of the drawn"),
    "flicker": ("flickers", "shimmers"),
    "half resolution": ("softer",),
}


def dubbed(video: Path, speech: Path, name: str, other: Path, folder: Path, review: dict[str, Any]) -> Record:
    """Dub a pair, broken as ``name`` says, and return the record."""
    row = {"id": "t", "video": str(video), "speech": str(speech), "output": "t.mp4"}
    options = {**BREAKS.get(name, {}), **({"review": review} if review else {})}
    where = str(folder / f"{video.stem}-{speech.stem}-{name.replace(', ', '-').replace(' ', '-')}")
    report = run([row], run_dir=where, engine=breaking(str(other)), options=options, runner="local")
    (record,) = report.records
    return record


def names_fault(record: Record, name: str) -> bool:
    """True if a reason of the verdict names the fault."""
    return any(word in reason.text for reason in judge(record)[1] for word in WORDS[name])


def summary(found: Sequence[tuple[str, str, Record]]) -> list[str]:
    """Return the tables and the counts as Markdown.

    Args:
        found: of each dub its pair, how it was broken (`GOOD`: not at all), and its record.
    """
    rows = [["pair", "dub", "verdict", "reasons"]]
    for pair, name, record in found:
        verdict, reasons = judge(record)
        rows.append([pair, name, verdict, "; ".join(reason.text for reason in reasons) or "-"])
    good = [record for _, name, record in found if name == GOOD]
    broken = [(name, record) for _, name, record in found if name != GOOD]
    alarms = sum(judge(record)[0] != "ok" for record in good)
    misses = sum(judge(record)[0] == "ok" for _, record in broken)
    named = sum(names_fault(record, name) for name, record in broken)
    counts = [
        f"good dubs: {len(good)}, false alarms: {alarms}",
        f"broken dubs: {len(broken)}, misses: {misses}, with a reason that names the fault: {named}",
    ]
    return [*table(rows, markdown=True), "", *counts, "", *_ranges(found)]


def _ranges(found: Sequence[tuple[str, str, Record]]) -> list[str]:
    """Least and largest value of each metric, of the good dubs and of each kind of broken ones."""
    kinds = list(dict.fromkeys(name for _, name, _ in found))
    values: dict[str, dict[str, list[float]]] = {}
    for _, name, record in found:
        for metric in record["metrics"]:
            value = metric["value"] if metric["worst"] is None else metric["worst"]
            values.setdefault(metric["name"], {}).setdefault(name, []).append(value)
    rows = [["metric", *kinds]]
    for metric, by_kind in values.items():
        if metric.startswith(("passed_", "speech_")):
            continue
        cells = [by_kind.get(kind, []) for kind in kinds]
        rows.append([metric, *(f"{min(cell):.2f} to {max(cell):.2f}" if cell else "-" for cell in cells)])
    return table(rows, markdown=True)


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="folder of talking clips")
    parser.add_argument("--pairs", nargs="*", metavar="VIDEO:SPEECH", help="file names inside FOLDER")
    parser.add_argument("--out", type=Path, help="run directories go here; what is there is not dubbed again")
    parser.add_argument("--only", nargs="*", default=[GOOD, *BREAKS], metavar="NAME", help="kinds of dubs")
    parser.add_argument("--set", action="append", default=[], metavar="review.NAME=VALUE", dest="settings")
    args = parser.parse_args()
    out = args.out or Path(tempfile.mkdtemp(prefix="retalk-review-"))
    clips = sorted(path for path in args.folder.iterdir() if path.suffix in SUFFIXES)
    pairs = neighbours(clips)
    if args.pairs:
        named = (pair.partition(":") for pair in args.pairs)
        pairs = [(args.folder / video, args.folder / speech) for video, _, speech in named]
    review = settings(args.settings).get("review", {})
    found = []
    for number, (video, speech) in enumerate(pairs):
        # Somebody else's face: that of the next pair with another video.
        other = next((one for one, _ in [*pairs[number:], *pairs] if one != video), video)
        for name in args.only:
            if name == "wrong face" and other == video:
                continue
            record = dubbed(video, speech, name, other, out, review)
            found.append((f"{video.stem} + {speech.stem}", name, record))
    print("\n".join(summary(found)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
