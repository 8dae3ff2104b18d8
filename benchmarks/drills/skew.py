"""One long title among short ones: it must neither hold up the others nor run alone at the end."""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path
from typing import Any

from benchmarks.drills import processes
from benchmarks.drills.catalogue import configure, footage, setting
from benchmarks.drills.check import calm_of, check
from tests.pipelines.conftest import make_speech, make_video


def skewed(folder: Path, shorts: int = 24, long: int = 1440, pause: float = 0.15) -> dict[str, Any]:
    """A title sixty times as long as the others stands in the middle of them.

    Counted: how busy the last pool is from its first output segment to its last; when the last short title is
    done, as a share of that time; and how long both of its workers have had something to do at the end of the
    long one.
    """
    inputs = footage_with_film(folder / "inputs", long)
    calm = setting(folder / "calm", inputs, shorts)
    film = {"id": "film", "video": f"{inputs}/film.mp4", "speech": f"{inputs}/film.wav"}
    calm.rows.insert(shorts // 2, {**film, "output": f"{calm.out}/film.mp4"})
    assert processes.start(calm, configure(calm), None, "--runner", "local").wait(1200) == 0, processes.said(
        calm
    )
    at, began = setting(folder / "skew", inputs, shorts), time.monotonic()
    at.rows.insert(shorts // 2, {**film, "output": f"{at.out}/film.mp4"})
    running = processes.start(at, configure(at, pause))
    peak = 0
    while running.poll() is None:
        peak = max(peak, sum(map(resident, processes.workers(running.pid))))
        time.sleep(0.5)
    assert running.returncode == 0, processes.said(at)
    counts = check(at, calm_of(calm), {})
    output_segments = [line for line in at.written() if line["stage"] == "write"]
    times = [line["time"] for line in output_segments]
    first, last = min(times), max(times)
    # A worker is idle where it has waited for longer than an output segment takes before it began the next.
    idle = sum(
        _idle([line["time"] for line in output_segments if line["pid"] == pid], first, last, 3 * pause + 0.5)
        for pid in _writers(output_segments)
    )
    short = max(line["time"] for line in output_segments if line["title"] != "film")
    film_first = min(line["time"] for line in output_segments if line["title"] == "film")
    ledger = {json.loads(line)["title"] for line in (at.run / "ledger.jsonl").read_text().splitlines()}
    assert "film" in ledger
    return {
        **counts,
        "busy %": round(100 * (1 - idle / (len(_writers(output_segments)) * (last - first)))),
        "film begins at %": round(100 * (film_first - first) / (last - first)),
        "shorts end at %": round(100 * (short - first) / (last - first)),
        "peak MiB": peak >> 20,
        "seconds": round(time.monotonic() - began),
    }


def footage_with_film(folder: Path, frames: int) -> Path:
    """The drills' footage and a film."""
    folder.mkdir(parents=True, exist_ok=True)
    footage(folder)
    if not (folder / "film.wav").exists():
        make_video(folder / "film.mp4", frames=frames, scenes=4)
        make_speech(folder / "film.wav", frames / 12)
    return folder


def _writers(output_segments: list[dict[str, Any]]) -> set[int]:
    return {line["pid"] for line in output_segments}


def _idle(begun: list[float], first: float, last: float, usual: float) -> float:
    """Seconds beyond the usual between the output segments that one worker has begun."""
    moments = [first, *sorted(begun), last]
    return sum(max(0.0, after - before - usual) for before, after in itertools.pairwise(moments))


def resident(pid: int) -> int:
    """Bytes of memory that a process holds for itself."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return (int(pages[1]) - int(pages[2])) * 4096 if pages else 0
