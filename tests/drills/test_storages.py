"""Storage fails. Each drill ends with the check of `benchmarks.drills.check`; at full size: python -m
benchmarks.drills.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.drills import storages


def test_calls_that_fail_now_and_then_are_repeated(drills: Path) -> None:
    assert storages.shaky_store(drills, titles=4, rate=0.08, ray=False)["done"] == 5


@pytest.mark.slow
def test_a_store_that_stays_away_fails_its_titles_with_the_reason(drills: Path) -> None:
    storages.store_away(drills, titles=5, ray=False)


def test_a_full_disk_of_outputs_fails_titles_and_keeps_their_segments(drills: Path) -> None:
    assert storages.full_outputs(drills, titles=6, ray=False)["full"] > 0


def test_a_full_run_directory_is_told_and_the_next_run_goes_on(drills: Path) -> None:
    storages.full_run_directory(drills, titles=6, ray=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    "drill", [storages.shaky_store, storages.store_away, storages.full_outputs, storages.full_run_directory]
)
def test_with_ray(tmp_path: Path, drill: storages.Drill) -> None:
    drill(tmp_path)
