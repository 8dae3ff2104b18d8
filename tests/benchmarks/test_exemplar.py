"""The table of the exemplar engine's benchmark: figures stand under their names, for one judge and for two."""

from __future__ import annotations

import math

from benchmarks.exemplar import JUDGED, RUN, heading, mean_of, written


def ends(line: str) -> list[int]:
    """Where the words of a line end."""
    return [at + 1 for at in range(len(line)) if line[at] != " " and line[at + 1 : at + 2] in ("", " ")]


def test_columns_stand_below_their_names() -> None:
    figures = dict.fromkeys(JUDGED, 0.5)
    for judges in (["mesh"], ["dlib", "mesh"]):
        above, names = heading(judges, 33).splitlines()
        row = f"{'a':>16} {'b':>16} {written([figures] * len(judges), dict.fromkeys(RUN, 1.0))}"
        names = names.replace("own r", "own-r").replace("CPU s/s", "CPU-s/s").replace("wall s/s", "wall-s/s")
        assert ends(names) == ends(row)
        assert names.count("flicker") == len(judges)
        # Each judge is named where its group begins.
        starts = [34] + [at + 2 for at in range(len(names)) if names[at] == "|"]
        assert [above[at:].split()[0] for at in starts] == [*judges, "run"]


def test_means_leave_out_what_is_not_known() -> None:
    mean = mean_of(
        [{"r": 0.5, "rest": math.nan}, {"r": 0.7, "rest": math.nan}, {"r": math.nan, "rest": math.nan}]
    )
    assert mean["r"] == 0.6
    assert math.isnan(mean["rest"])
