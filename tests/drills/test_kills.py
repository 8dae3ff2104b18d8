"""Processes die. Each drill ends with the check of `benchmarks.drills.check`; at full size: python -m
benchmarks.drills.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.drills import kills, skew, talking


def test_workers_are_killed_and_nothing_is_lost(drills: Path) -> None:
    assert kills.kill_workers(drills, titles=6, kills=3, pause=0.15)["kills"] == 3


def test_the_driver_is_killed_and_the_same_command_goes_on(drills: Path) -> None:
    assert kills.kill_driver(drills, titles=4, kills=1, pause=0.1, seed=3)["kills"] == 1


@pytest.mark.slow
def test_rows_that_kill_their_workers_fail_alone(drills: Path) -> None:
    counts = kills.killer_rows(drills, titles=4)
    assert (counts["done"], counts["failed"]) == (3, 2)


@pytest.mark.slow
def test_a_hang_is_ended_by_the_watchdog(drills: Path) -> None:
    kills.hang(drills, titles=4, watchdog=20)


@pytest.mark.slow
def test_a_node_is_killed_and_nothing_is_lost(drills: Path) -> None:
    kills.kill_nodes(drills, titles=10, kills=1)


@pytest.mark.slow
def test_real_footage_through_kills(tmp_path: Path) -> None:
    talking.kill_talking(tmp_path, titles=3, kills=3)


@pytest.mark.slow
def test_a_long_title_among_short_ones_keeps_the_pool_busy(tmp_path: Path) -> None:
    counts = skew.skewed(tmp_path, shorts=10, long=480)
    assert counts["busy %"] > 70
    assert counts["film begins at %"] < 70
