"""Fuzz the whole product with damaged media files: see `docs/fuzz.md`.

    python -m benchmarks.fuzzing FOLDER --count 10000          # resumes; prints counts of kind and verdict
    python -m benchmarks.fuzzing FOLDER --case 4711            # one case, with its messages
    python -m benchmarks.fuzzing FOLDER --count 10000 --again  # the findings once more, after a repair

Exit code 1 if there is a finding.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        prog="python -m benchmarks.fuzzing",
    )
    parser.add_argument("folder", type=Path, help="for the journal, the findings and the trials")
    parser.add_argument(
        "--first",
        type=int,
        default=0,
        help="number of the first case (default: 0); -19 to -1 are the undamaged files",
    )
    parser.add_argument(
        "--dub-every", type=int, default=1, metavar="N", help="dub every Nth case only, probe and plan all"
    )
    parser.add_argument("--count", type=int, default=300, help="cases (default: 300)")
    parser.add_argument(
        "--share", default="1/1", help="of several processes, e.g. 1/2 and 2/2 (default: 1/1)"
    )
    parser.add_argument(
        "--case", type=int, nargs="+", help="these cases alone, with their messages; not written down"
    )
    parser.add_argument("--again", action="store_true", help="run findings of the journal once more")
    parser.add_argument(
        "--counts", action="store_true", help="print the counts of all journals in FOLDER, run nothing"
    )
    args = parser.parse_args(arguments)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ.setdefault(name, "1")  # a pool of threads does not survive a fork
    from benchmarks.fuzzing.campaign import FINE, STEPS, Campaign, Journal, counts

    args.folder.mkdir(parents=True, exist_ok=True)
    part, parts = (int(text) for text in args.share.split("/"))
    journal = Journal(args.folder / f"journal-{part}-of-{parts}.jsonl")
    if args.counts:
        found = {n: v for p in sorted(args.folder.glob("journal-*")) for n, v in Journal(p).verdicts.items()}
        print(counts(found.values()))
        return int(any(v.verdict not in FINE for v in found.values()))
    numbers = args.case or [n for n in range(args.first, args.first + args.count) if n % parts == part - 1]
    todo = args.case or journal.left(numbers, args.again)
    campaign = Campaign(args.folder / f"work-{part}-of-{parts}")
    if todo:
        campaign.warm()
    for position, number in enumerate(todo):
        verdict = campaign.run(number, STEPS if number % args.dub_every == 0 or number < 0 else STEPS[:2])
        if args.case:
            print(verdict)
        else:
            journal.add(verdict)
        if verdict.verdict not in FINE:
            print(
                f"{number} ({verdict.kind}, {verdict.damage}): {verdict.verdict} in {verdict.step}: {verdict.text[-400:]}"
            )
        if position % 100 == 99:
            print(f"{position + 1} of {len(todo)}", file=sys.stderr, flush=True)
    shown = [verdict for number, verdict in sorted(journal.verdicts.items()) if number in set(numbers)]
    print(counts(shown))
    return int(any(verdict.verdict not in FINE for verdict in shown))


if __name__ == "__main__":
    sys.exit(main())
