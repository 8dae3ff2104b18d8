"""The composites of `benchmarks.speaking`, on drawn mouths."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.speaking import RATE, SAMPLE_RATE, Part, composites, main
from operators.faces.speaking import NOBODY


def part(clip: str, seed: int, seconds: float = 4.0) -> Part:
    rng = np.random.default_rng(seed)
    sound = np.full(round(seconds * SAMPLE_RATE), seed, np.float32)
    return Part(clip, rng.uniform(0, 0.3, round(seconds * RATE)), sound)


def test_each_pair_of_different_clips_is_put_together_in_eight_ways() -> None:
    parts = [part("a", 1), part("a", 2), part("b", 3), part("c", 4, 3.0)]
    made = list(composites(parts))
    assert len(made) == 8 * (4 * 3 - 2)
    for one in made:
        assert one.mouths.shape == (2, len(one.truth))
        assert len(one.sound) == len(one.truth) * SAMPLE_RATE // RATE
    half = next(one for one in made if one.way == "a change in the middle")
    where = np.arange(len(half.truth)) * SAMPLE_RATE // RATE
    assert set(half.sound[where[half.truth == 0]]) == {1}
    assert set(half.sound[where[half.truth == 1]]) == {3}
    away = next(one for one in made if one.way == "a voice from off screen")
    assert (away.truth == NOBODY).all()
    assert set(away.sound) == {4}


def test_no_clips_are_wrong_usage() -> None:
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2
