"""Order in which titles are planned: long ones early, but never so many at a time that the pools wait for all
of them.

A two-hour film is searched for cuts and faces before its first segment is known, which takes minutes. If it
were planned last, all pools would be idle meanwhile; if all films were planned first, they would be idle at
the beginning.
"""

from __future__ import annotations

import dataclasses
import heapq
import os
import statistics
import threading
from collections.abc import Sequence

from operators.storage.files import filesystem, local_path
from pipelines.execution.batching import BatchingPolicy
from pipelines.manifest.titles import Title

#: A video this many times as large as the median is long.
LONG = 8
#: Seconds after which the sizes of videos on other machines are waited for no longer.
PATIENCE = 30.0


def sizes_for(titles: Sequence[Title], policy: BatchingPolicy) -> list[int]:
    """`video_sizes` where the order matters; elsewhere no folder is listed: one planner keeps
    the order, and as many planners as titles begin with all of them.
    """
    return video_sizes(titles) if len(titles) > policy.planners > 1 else [0] * len(titles)


def video_sizes(titles: Sequence[Title]) -> list[int]:
    """Bytes of each title's video, 0 where that cannot be told quickly: a file that is not there is a matter
    of its planning.
    """
    remote = {
        title.video.rsplit("/", 1)[0]
        for title in titles
        if "://" in title.video and local_path(title.video) is None
    }
    listed: dict[str, int] = {}
    if remote:
        # One request tells the sizes of a thousand files; a folder of millions is given up on.
        thread = threading.Thread(target=_list, args=(sorted(remote), listed), daemon=True)
        thread.start()
        thread.join(PATIENCE)
    return [listed.get(title.video) or _local_size(title.video) for title in titles]


def _list(folders: list[str], found: dict[str, int]) -> None:
    """Note the sizes of all files in the folders by URL."""
    for folder in folders:
        fs, path = filesystem(folder)
        try:
            entries = fs.ls(path, detail=True)
        except Exception:  # each storage has its own; without sizes the order is the manifest's, and no more
            continue
        found.update(
            {
                f"{folder}/{str(entry['name']).rstrip('/').rsplit('/', 1)[-1]}": int(entry.get("size") or 0)
                for entry in entries
            }
        )


def _local_size(url: str) -> int:
    path = local_path(url) if "://" in url else url
    try:
        return os.stat(path).st_size if path is not None else 0
    except OSError:
        return 0


def planning_tasks(sizes: Sequence[int], policy: BatchingPolicy) -> list[list[int]]:
    """Numbers of the titles that each planning task takes, in the order in which tasks are started.

    A long title has a task of its own. As far as sizes tell, half of the planners work at long titles, the
    largest first, and the others at the rest in the given order, from the first on; with one planner the
    order stays as it is.

    Args:
        sizes: bytes of the titles' videos, 0 for unknown.
        policy: of these titles.
    """
    known = [size for size in sizes if size]
    bound = LONG * statistics.median(known) if known and policy.planners > 1 else float("inf")
    long = sorted(
        (number for number, size in enumerate(sizes) if size > bound), key=lambda number: -sizes[number]
    )
    short = [number for number, size in enumerate(sizes) if size <= bound]
    waiting = {
        False: [short[task] for task in dataclasses.replace(policy, titles=len(short)).tasks()],
        True: [[number] for number in long],
    }
    # Planners by when they are free again, if a byte takes all of them as long; every second one prefers long
    # titles.
    free = [(0.0, planner, planner % 2 == 1) for planner in range(policy.planners)]
    ordered = []
    while waiting[False] or waiting[True]:
        time, planner, prefers = heapq.heappop(free)
        task = waiting[prefers if waiting[prefers] else not prefers].pop(0)
        ordered.append(task)
        heapq.heappush(free, (time + max(1, sum(sizes[number] for number in task)), planner, prefers))
    return ordered
