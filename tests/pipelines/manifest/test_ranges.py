"""Time ranges: seconds, time codes and frames, and errors that name the column."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from pipelines.manifest.cells import RowError
from pipelines.manifest.ranges import Moment, moment, ranges_of


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("12.5", Moment(Fraction(25, 2))),
        ("3s", Moment(Fraction(3))),
        ("310f", Moment(frames=310, counted=True)),
        ("01:02:03", Moment(Fraction(3723))),
        ("00:00:01.250", Moment(Fraction(5, 4))),
        ("00:01:00:12", Moment(Fraction(60), 12, True)),
    ],
)
def test_moments(text: str, meant: Moment) -> None:
    assert moment(text) == meant


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        (None, ()),
        ("", ()),
        ([[0, 12.5], ["00:01:02:00", "90"]], (("0", "12.5"), ("00:01:02:00", "90"))),
        ([1.5, 4], (("1.5", "4"),)),
        (["0-2", "5-"], (("0", "2"), ("5", ""))),
        ("0 - 12.5, 310f-; -2", (("0", "12.5"), ("310f", ""), ("", "2"))),
        ([[None, 3]], (("", "3"),)),
    ],
)
def test_cells(value: Any, meant: Any) -> None:
    assert ranges_of(value, "ranges") == meant


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("10", "no range"),
        ("10-5", "ends before it starts"),
        ("00:00:01:05-00:00:01:05", "is empty: it ends where it starts"),
        ("2-2", "is empty: it ends where it starts"),
        (" ", "holds no range"),
        (", ;", "holds no range"),
        ("0-00:61:00", "'00:61:00' is no moment: write seconds"),
        ("00:00:01;05-9", "drop-frame"),
        ("-", "the whole title"),
        ([[1, 2, 3]], "write \\[start, end\\]"),
        ([[True, 2]], "True is no moment"),
        ({"start": 1}, "must be a list"),
        (7, "must be a list"),
    ],
)
def test_errors_name_the_column_and_the_value(value: Any, told: str) -> None:
    with pytest.raises(RowError, match=f"^exclude: .*{told}"):
        ranges_of(value, "exclude")
