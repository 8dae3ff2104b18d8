"""Runs of a mask and the smooth step."""

import numpy as np

from operators.numeric.masks import runs, smoothstep


def test_runs_are_maximal() -> None:
    assert runs(np.array([True, True, False, True])) == [(0, 2), (3, 4)]
    assert runs(np.zeros(3, bool)) == []
    assert runs(np.zeros(0, bool)) == []


def test_smoothstep_is_flat_at_both_ends_and_keeps_the_dtype() -> None:
    assert smoothstep(np.array([-1.0, 0.0, 0.5, 1.0, 2.0])).tolist() == [0, 0, 0.5, 1, 1]
    assert smoothstep(np.array([0.25], np.float32)).dtype == np.float32
    assert 0 < smoothstep(0.01) < 0.001
    assert 0.999 < smoothstep(0.99) < 1
