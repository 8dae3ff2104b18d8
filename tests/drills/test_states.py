"""The run directory is damaged, foreign, or in use. At full size: python -m benchmarks.drills."""

from __future__ import annotations

from pathlib import Path

from benchmarks.drills import states


def test_all_kinds_of_damage_are_noticed_told_and_mended(drills: Path) -> None:
    states.damaged_state(drills)


def test_somebody_elses_directory_is_left_as_it_is(drills: Path) -> None:
    states.somebody_elses(drills)


def test_a_second_run_is_refused_while_the_first_is_at_work(drills: Path) -> None:
    states.two_runs(drills, titles=3, ray=False)
