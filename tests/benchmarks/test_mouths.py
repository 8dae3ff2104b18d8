"""The measures of dubbed mouths: each tells the good from the bad case that it is there for."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.mouths import (
    Pair,
    amplitude,
    closure_recall,
    read_pairs,
    shut_level,
    stillness,
    teeth,
    tooth_flicker,
)
from operators.speech.phones import Phone
from tests.operators.exemplar.footage import astronaut

TIMES = np.arange(50) / 25


def test_a_list_of_pairs(tmp_path: Path) -> None:
    path = tmp_path / "pairs.txt"
    path.write_text('# video speech late\na.mp4 "b c.mp4"\n\nsub/d.mov e.wav 7  # late\n', encoding="utf-8")
    assert read_pairs(path) == [
        Pair(tmp_path / "a.mp4", tmp_path / "b c.mp4", 0),
        Pair(tmp_path / "sub/d.mov", tmp_path / "e.wav", 7),
    ]


@pytest.mark.parametrize("line", ["a.mp4", "a.mp4 b.wav soon", "a b 1 2", 'a "b'])
def test_a_line_that_is_no_pair_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "pairs.txt"
    path.write_text(f"x.mp4 y.wav\n{line}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"pairs\.txt, line 2: expected VIDEO SPEECH"):
        read_pairs(path)


def test_closures_are_counted_where_lips_meet() -> None:
    phones = [Phone("P", 0.5, 0.6), Phone("AA", 0.6, 0.8), Phone("M", 1.2, 1.3), Phone("B", 9.0, 9.1)]
    opening = np.full(50, 0.2)
    opening[14] = 0.01
    shut = shut_level(np.linspace(0, 0.2, 100))
    assert shut == pytest.approx(0.04, abs=0.005)
    assert closure_recall(phones, TIMES, opening, shut) == 0.5
    opening[31] = 0.03
    assert closure_recall(phones, TIMES, opening, shut) == 1.0
    assert np.isnan(closure_recall(phones[1:2], TIMES, opening, shut))


def test_rest_and_movement_in_silence() -> None:
    silent = TIMES > 1
    opening = np.where(silent, 0.03, 0.2)
    opening[silent] += 0.01 * (np.arange(silent.sum()) % 2)
    rest, moves = stillness(TIMES, opening, silent)
    assert rest == pytest.approx(0.035, abs=0.001)
    assert 0.009 < moves < 0.02
    assert np.isnan(stillness(TIMES, opening, np.zeros(50, bool))[0])
    assert amplitude(opening) == pytest.approx(0.17, abs=0.001)


def test_teeth_are_bright_and_not_red() -> None:
    picture, landmarks, _ = astronaut()
    shown = teeth(picture, landmarks)
    assert shown > 0.02, "she smiles"
    inner = np.round(landmarks[60:68]).astype(np.int32)
    hidden = cv2.fillPoly(picture.copy(), [inner], (60, 20, 20))
    assert teeth(hidden, landmarks) < 0.2 * shown
    steady, nervous = np.full(10, shown), shown * (1 + 0.5 * (np.arange(10) % 2))
    assert tooth_flicker(steady) == 0
    assert tooth_flicker(nervous) > 0.5
    assert np.isnan(tooth_flicker(np.zeros(10)))
