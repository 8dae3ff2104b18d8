"""The composites of `benchmarks.speaking`, on drawn mouths."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.speaking import RATE, SAMPLE_RATE, Part, composites, main, turns
from operators.faces.speaking import NOBODY


def part(clip: str, seed: int, seconds: float = 4.0) -> Part:
    rng = np.random.default_rng(seed)
    sound = np.full(round(seconds * SAMPLE_RATE), seed, np.float32)
    return Part(clip, rng.uniform(0, 0.3, (2, round(seconds * RATE))), sound)


def test_each_pair_of_different_clips_is_put_together_in_eight_ways() -> None:
    parts = [part("a", 1), part("a", 2), part("b", 3), part("c", 4, 3.0)]
    made = list(composites(parts))
    assert len(made) == 8 * (4 * 3 - 2)
    for one in made:
        assert one.mouths.shape == (2, 2, len(one.truth))
        assert len(one.sound) == len(one.truth) * SAMPLE_RATE // RATE
    half = next(one for one in made if one.way == "a change in the middle")
    where = np.arange(len(half.truth)) * SAMPLE_RATE // RATE
    assert set(half.sound[where[half.truth == 0]]) == {1}
    assert set(half.sound[where[half.truth == 1]]) == {3}
    away = next(one for one in made if one.way == "a voice from off screen")
    assert (away.truth == NOBODY).all()
    assert set(away.sound) == {4}


def test_people_take_turns_and_each_is_heard_while_it_is_theirs() -> None:
    parts = [part(clip, seed) for clip, seed in (("a", 1), ("b", 2), ("c", 3), ("d", 4))]
    made = list(turns(parts, 5.0, 2))
    assert len(made) == 5 * 2
    for one in made:
        assert one.mouths.shape == (max(one.truth) + 1, 2, len(one.truth))
        assert len(one.sound) == len(one.truth) * SAMPLE_RATE // RATE
    three = next(one for one in made if one.way == "three, turns of 5 s")
    assert np.flatnonzero(np.diff(three.truth)).tolist() == [5 * RATE - 1, 10 * RATE - 1]
    mouth = three.mouths[0]
    assert (mouth[:, : 4 * RATE] == mouth[:, 4 * RATE : 8 * RATE]).all(), "a clip of 4 s begins again"
    still = next(one for one in made if "still" in one.way)
    silent = still.mouths[0, 0, still.truth != 0]
    assert silent.std() < 0.2 * still.mouths[0, 0, still.truth == 0].std()


def test_what_is_heard_is_the_clip_whose_turn_it_is() -> None:
    """Voices are equally loud: a clip of constant samples is heard as its sign."""
    signs = {"a": 1.0, "b": -1.0, "c": 1.0}
    parts = [
        Part(k, np.zeros((2, 4 * RATE)), np.full(4 * SAMPLE_RATE, v, np.float32)) for k, v in signs.items()
    ]
    two = [one for one in turns(parts, 2.0, 8) if one.way == "two, turns of 2 s"]
    where = np.arange(len(two[0].truth)) * SAMPLE_RATE // RATE
    changes = [np.flatnonzero(np.diff(one.sound[where])).tolist() for one in two]
    assert [2 * RATE - 1, 4 * RATE - 1, 6 * RATE - 1] in changes
    assert all(change in ([], [2 * RATE - 1, 4 * RATE - 1, 6 * RATE - 1]) for change in changes)


def test_no_clips_are_wrong_usage() -> None:
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2
