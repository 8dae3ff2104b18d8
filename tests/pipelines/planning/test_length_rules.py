"""Length rules: fixed cases by hand, and properties over seeded random videos and speeches."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest

from pipelines.manifest.titles import LENGTH_RULES, LengthRule
from pipelines.planning.length_rules import Run, frame_durations, output_runs, split

TB = Fraction(1, 10)


def frames_of(runs: list[Run]) -> list[int]:
    return [run.start + run.step * k for run in runs for k in range(run.count)]


def times_of(runs: list[Run]) -> list[int]:
    return [int(t) for run in runs for t in run.pts]


def test_keep_is_the_video_whatever_the_speech_lasts() -> None:
    pts = np.array([3, 5, 9])
    for seconds in (Fraction(1, 100), Fraction(100)):
        (run,) = output_runs(pts, 2, TB, seconds, "keep")
        assert (run.start, run.step, run.pts.tolist()) == (0, 1, [3, 5, 9])


def test_trim_ends_with_the_shorter_of_both() -> None:
    pts = np.array([3, 5, 9, 10])
    assert times_of(output_runs(pts, 2, TB, Fraction(6, 10), "trim")) == [
        3,
        5,
    ]  # 9 would start exactly where the speech ends
    assert times_of(output_runs(pts, 2, TB, Fraction(61, 100), "trim")) == [3, 5, 9]
    assert times_of(output_runs(pts, 2, TB, Fraction(50), "trim")) == [3, 5, 9, 10]
    assert times_of(output_runs(pts, 2, TB, Fraction(1, 1000), "trim")) == [3]


def test_freeze_holds_the_last_frame_at_the_average_rate_without_drift() -> None:
    pts = np.array([0, 1, 2, 4])  # 5 units for 4 frames: 1.25 units a frame
    runs = output_runs(pts, 1, TB, Fraction(15, 10), "freeze")
    assert frames_of(runs) == [0, 1, 2, 3] + [3] * 8
    assert times_of(runs)[4:] == [5, 6, 8, 9, 10, 11, 13, 14]


def test_loop_starts_again_a_whole_period_later() -> None:
    runs = output_runs(np.array([2, 3, 7]), 4, TB, Fraction(20, 10), "loop")
    assert frames_of(runs) == [0, 1, 2, 0, 1, 2, 0, 1]
    assert times_of(runs) == [2, 3, 7, 11, 12, 16, 20, 21]


def test_pingpong_shows_the_turning_frames_once_and_each_as_long_as_it_is() -> None:
    # Durations 1, 4, 2, 3; back: frame 2 for 2, frame 1 for 4; then from the start.
    runs = output_runs(np.array([0, 1, 5, 7]), 3, TB, Fraction(21, 10), "pingpong")
    assert frames_of(runs) == [0, 1, 2, 3, 2, 1, 0, 1]
    assert times_of(runs) == [0, 1, 5, 7, 10, 12, 16, 17]


@pytest.mark.parametrize("rule", ["freeze", "loop", "pingpong"])
@pytest.mark.parametrize("n", [1, 2])
def test_one_or_two_frames_can_be_extended(rule: str, n: int) -> None:
    runs = output_runs(np.arange(n) * 4 + 1, 4, TB, Fraction(5), rule)
    times = times_of(runs)
    assert times == [1 + 4 * k for k in range(13)]
    assert set(frames_of(runs)) == set(range(n))


@pytest.mark.parametrize("rule", LENGTH_RULES)
def test_properties_over_random_videos(rule: str) -> None:
    generator = np.random.default_rng(LENGTH_RULES.index(rule))
    for _ in range(300):
        n = int(generator.integers(1, 40))
        gaps = generator.integers(1, 9, n)
        pts = int(generator.integers(-50, 50)) + np.concatenate([[0], np.cumsum(gaps[:-1])])
        last = int(gaps[-1])
        base = Fraction(1, int(generator.integers(5, 60)))
        speech = Fraction(int(generator.integers(1, 4000)), 100)
        runs = output_runs(pts, last, base, speech, rule)
        frames, times = frames_of(runs), times_of(runs)
        length = (int(pts[-1]) + last - int(pts[0])) * base
        assert frames[0] == 0
        assert times[0] == pts[0]
        assert min(frames) >= 0
        assert max(frames) < n
        assert all(b > a for a, b in itertools.pairwise(times))
        assert all(run.count for run in runs)
        if rule in ("freeze", "loop", "pingpong"):
            assert times[: len(pts)] == pts.tolist() if speech >= length else times == pts.tolist()
            # Nothing starts after the speech, and the last frame reaches its end (a frame is never longer
            # than the longest of the video).
            assert (times[-1] - times[0]) * base < max(speech, length)
            assert (times[-1] - times[0] + int(max(gaps)) + 1) * base >= speech
        if rule in ("loop", "pingpong"):
            shown = np.diff(times)
            durations = frame_durations(pts, last)
            assert (shown == durations[frames[:-1]]).all(), "each frame is shown as long as in the video"
        if rule == "pingpong" and n > 2:
            assert set(np.abs(np.diff(frames))) <= {1}
        bounds = _random_bounds(generator, n)
        longest = int(generator.integers(1, 20))
        output_segments = list(split(runs, bounds, longest))
        assert [int(f) for p in output_segments for f in p.source()] == frames
        assert [int(t) for p in output_segments for t in p.pts] == times
        assert [p.out_start for p in output_segments] == np.cumsum([0, *(p.count for p in output_segments)])[
            :-1
        ].tolist()
        for output_segment in output_segments:
            low, high = bounds[output_segment.segment]
            assert low <= output_segment.source().min()
            assert output_segment.source().max() < high
            if output_segment.held or not output_segment.step:
                assert output_segment.count <= longest
        if rule == "freeze" and n > 1 and len(frames) > n:
            ends = next(one for one in output_segments if one.out_start + one.count >= n)
            assert ends.held == max(0, min(longest - (ends.count - ends.held), len(frames) - n)), (
                "as many as fit"
            )


def _random_bounds(generator: np.random.Generator, n: int) -> list[tuple[int, int]]:
    inner = sorted(set(generator.integers(1, n, int(generator.integers(0, 5))).tolist())) if n > 1 else []
    return list(itertools.pairwise([0, *inner, n]))


@pytest.mark.parametrize("rule", LENGTH_RULES)
def test_a_single_frame_is_held_for_the_speech(rule: LengthRule) -> None:
    runs = output_runs(np.array([0]), 40, Fraction(1, 1000), Fraction(2), rule)
    shown = np.concatenate([run.pts for run in runs])
    assert shown.tolist() == list(range(0, 2000, 40))
    assert {run.start for run in runs} == {0}
