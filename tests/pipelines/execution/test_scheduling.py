"""The order of planning: long titles early, but not all planners at them."""

from __future__ import annotations

import itertools
from pathlib import Path

import fsspec

from pipelines.execution.batching import BatchingPolicy
from pipelines.execution.scheduling import planning_tasks, sizes_for, video_sizes
from pipelines.manifest.titles import Title


def numbers(sizes: list[int], planners: int) -> list[list[int]]:
    return planning_tasks(sizes, BatchingPolicy(frames=500, titles=len(sizes), workers=4, planners=planners))


def test_a_film_at_the_end_of_the_manifest_is_planned_among_the_first() -> None:
    tasks = numbers([10] * 999 + [10_000], 4)
    assert [999] in tasks[:4], "in a task of its own"
    assert tasks[0] == [0], "the first title comes out early"
    rest = list(itertools.chain(*(task for task in tasks if task != [999])))
    assert rest == list(range(999)), "the others keep the manifest's order"


def test_half_of_the_planners_go_on_with_the_short_ones() -> None:
    """Started one after the other as planners come free, at most half of them are ever at films while there
    are short ones.
    """
    sizes = [10, 12, 8, 10] * 100 + [2_000, 4_000, 1_000, 3_000] * 4
    tasks = numbers(sizes, 4)
    assert sorted(itertools.chain(*tasks)) == list(range(len(sizes)))
    free, films = [0.0] * 4, list[tuple[float, float]]()
    short_ends = 0.0
    for task in tasks:
        planner = free.index(min(free))
        end = free[planner] + sum(sizes[number] for number in task)
        if sizes[task[0]] >= 1_000:
            assert len(task) == 1
            films.append((free[planner], end))
        else:
            short_ends = max(short_ends, end)
        free[planner] = end
    assert all(sum(a <= start < b for a, b in films) <= 2 for start, _ in films if start < short_ends)
    lengths = [sizes[task[0]] for task in tasks if sizes[task[0]] >= 1_000]
    assert lengths == sorted(lengths, reverse=True), "the largest first"


def test_one_planner_and_unknown_sizes_keep_the_order() -> None:
    assert list(itertools.chain(*numbers([10] * 50 + [10_000], 1))) == list(range(51))
    assert list(itertools.chain(*numbers([0] * 50, 4))) == list(range(50))
    assert numbers([5], 4) == [[0]]


def test_no_folder_is_listed_where_the_order_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "here.mp4").write_bytes(b"x" * 30)
    titles = [Title(f"t{n}", str(tmp_path / "here.mp4"), ()) for n in range(3)]
    known = [
        sizes_for(titles, BatchingPolicy(frames=500, titles=3, workers=4, planners=planners))
        for planners in (1, 2, 3)
    ]
    assert known == [[0] * 3, [30] * 3, [0] * 3]


def test_sizes_of_videos_here_and_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "here.mp4").write_bytes(b"x" * 30)
    with fsspec.open("memory://order/there.mp4", "wb") as file:
        file.write(b"x" * 70)
    urls = [
        str(tmp_path / "here.mp4"),
        "memory://order/there.mp4",
        str(tmp_path / "gone.mp4"),
        "memory://nowhere/gone.mp4",
    ]
    assert video_sizes([Title(f"t{n}", url, ()) for n, url in enumerate(urls)]) == [30, 70, 0, 0]
