"""Cleaning of presentation times."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from operators.media.timeline import NO_TIME, Timeline

STEP = Fraction(1, 25)


def clean(
    times: list[int], time_base: Fraction = Fraction(1, 1000), origin: int = 0, last: int = 40
) -> tuple[list[Fraction], Fraction, int]:
    pts, base, duration = Timeline(np.array(times, np.int64), np.array([0]), last).clean(
        time_base, STEP, origin
    )
    return [int(t) * base for t in pts], base, duration


def test_good_times_stay_as_they_are_in_their_own_unit() -> None:
    assert clean([7, 40, 95]) == (
        [Fraction(7, 1000), Fraction(40, 1000), Fraction(95, 1000)],
        Fraction(1, 1000),
        40,
    )
    assert clean([7, 40, 95], origin=7)[0][0] == 0


def test_unit_gets_numerator_one() -> None:
    times, base, last = clean([0, 1, 3], Fraction(1001, 30000), last=2)
    assert base == Fraction(1, 30000)
    assert times == [0, Fraction(1001, 30000), Fraction(3003, 30000)]
    assert last == 2002


def test_shuffled_times_are_sorted() -> None:
    """Times that demuxers guess for H.264 in AVI: all times, given to the wrong frames."""
    assert clean([40, 160, 120, 200, 80])[0] == [Fraction(t, 1000) for t in (40, 80, 120, 160, 200)]


def test_missing_times_are_spread_between_neighbours_and_continued_by_the_step() -> None:
    times = clean([NO_TIME, 40, NO_TIME, NO_TIME, 160, NO_TIME])[0]
    assert times == [
        0,
        Fraction(40, 1000),
        Fraction(80, 1000),
        Fraction(120, 1000),
        Fraction(160, 1000),
        Fraction(200, 1000),
    ]


def test_a_frame_that_lasts_hours_keeps_the_unit_coarse() -> None:
    """MP4 counts 31 bits of units for each frame."""
    times, base, _ = clean([0, NO_TIME, 5_000_000, 10_000_000])
    assert times == [0, 2500, 5000, 10_000]
    assert max(np.diff([int(time / base) for time in times])) < 1 << 31


def test_frames_before_the_origin_are_shown_all_the_same() -> None:
    """An output would hide them; all others keep their times."""
    times = clean([0, 40, 80, 120, 200], origin=100)[0]
    assert times == [Fraction(t, 1000) for t in (0, 1, 2, 20, 100)]
    times = clean([NO_TIME, NO_TIME, NO_TIME, 40, 80])[0]
    assert times[0] == 0
    assert times[3:] == [Fraction(40, 1000), Fraction(80, 1000)]
    assert all(np.diff(times) > 0)


def test_outlier_is_replaced_and_not_followed() -> None:
    times = clean([40 * i if i != 20 else 900_000 for i in range(50)])[0]
    assert times == [Fraction(40 * i, 1000) for i in range(50)]


def test_no_time_at_all_is_a_constant_rate() -> None:
    assert clean([NO_TIME] * 4)[0] == [i * STEP for i in range(4)]


def test_more_frames_than_ticks_still_ascend() -> None:
    times, base, _ = clean([0, 0, 0, 0, 1], Fraction(1, 25))
    assert sorted(set(times)) == times
    assert (times[0], times[-1]) == (0, Fraction(1, 25))
    assert base < Fraction(1, 25)


def test_needlessly_fine_units_are_made_coarser() -> None:
    times, base, last = clean([48_000_000 * i for i in range(5)], Fraction(1, 1_200_000_000), last=48_000_000)
    assert (base, last) == (Fraction(1, 25), 1)
    assert times == [i * STEP for i in range(5)]


def test_decoding_starts_at_entry_points_that_can_be_told_apart() -> None:
    times = np.array([0, 40, 80, 80, 120, NO_TIME, 200, 240], np.int64)
    timeline = Timeline(times, np.array([0, 1, 3, 5, 6]), 40)
    assert timeline.starts(7) == [6, 1]
    assert timeline.starts(5) == [1]
    assert timeline.starts(0) == []
