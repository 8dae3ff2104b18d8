"""python -m benchmarks.drills [--only NAME ...] [--folder DIR]: the drills at full size, one line each."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.drills import kills, skew, states, storages, talking

DRILLS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "workers": kills.kill_workers,
    "coordinator-and-planner": kills.kill_board_and_planner,
    "driver": kills.kill_driver,
    "nodes": kills.kill_nodes,
    "killers": kills.killer_rows,
    "hang": kills.hang,
    "shaky-store": storages.shaky_store,
    "store-away": storages.store_away,
    "full-outputs": storages.full_outputs,
    "full-run": storages.full_run_directory,
    "damaged-state": states.damaged_state,
    "somebody-elses": states.somebody_elses,
    "two-runs": states.two_runs,
    "talking-heads": talking.kill_talking,
    "skew": skew.skewed,
}


def main() -> int:
    """Run drills; 1 if one of them has failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.drills", description=__doc__)
    parser.add_argument(
        "--only", nargs="+", choices=list(DRILLS), default=list(DRILLS), help="these drills only"
    )
    parser.add_argument(
        "--folder", type=Path, help="where to work; kept afterwards (default: a temporary folder)"
    )
    args = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory(prefix="drills-") as temporary:
        for name in args.only:
            began, folder = time.monotonic(), (args.folder or Path(temporary)) / name
            folder.mkdir(parents=True)
            try:
                counts = DRILLS[name](folder)
            except AssertionError:
                failed += 1
                print(
                    f"{name}: FAILED after {time.monotonic() - began:.0f} s\n{traceback.format_exc()}",
                    flush=True,
                )
                continue
            print(f"{name}: {', '.join(f'{key} {value}' for key, value in counts.items())}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
