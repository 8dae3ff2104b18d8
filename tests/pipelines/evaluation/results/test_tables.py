"""Tables of scores: means, published rows, who fell out and why, paired tests, and a sweep of 14,239 pairs."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.evaluation.results.published import TABLE_1
from pipelines.evaluation.results.scores import Arm, Sweep
from pipelines.evaluation.results.tables import (
    comparison_csv,
    comparison_rows,
    comparisons,
    fallen_out,
    score_csv,
    score_lines,
    score_rows,
    unmeasured,
)
from tests.pipelines.evaluation.results.synthetic import HOSTILE, row, sweep_of


def shown(sweep: Sweep) -> list[dict[str, str]]:
    """The table of scores as one dict per row."""
    heading, *rows = score_rows(sweep, score_lines(sweep))
    assert all(len(cells) == len(heading) for cells in rows)
    return [dict(zip(heading, cells)) for cells in rows]


def test_means_counts_and_directions(tmp_path: Path) -> None:
    rows = [row(name, "exemplar", cpbd=value, lse_d=7.0) for name, value in (("a", 0.2), ("b", 0.4))]
    rows.append(row("c", "exemplar", state="failed", reason="no face", cpbd=None, lse_d=None))
    (line,) = shown(sweep_of(tmp_path, rows))
    assert line["system"] == "exemplar"
    assert line["CPBD ↑"] == "0.3000 [0.2000, 0.4000]"
    assert line["LSE-D ↓"] == "7.000 [7.000, 7.000]"
    assert line["scored / attempted"] == "2 / 3"


def test_columns_begin_with_those_of_the_papers_table(tmp_path: Path) -> None:
    names = ("a_metric", "psnr", "lse_c", "cpbd", "lse_d")
    sets = [{"system": "exemplar", "metric": "fid", "value": 4.5, "count": 9, "note": None}]
    sweep = sweep_of(tmp_path, [row("x", "exemplar", **dict.fromkeys(names, 1.0))], sets)
    heading = score_rows(sweep, score_lines(sweep))[0]
    assert heading[2:-1] == ["FID ↓", "CPBD ↑", "LSE-D ↓", "LSE-C ↑", "PSNR, dB ↑", "a metric"]
    assert shown(sweep)[0]["FID ↓"] == "4.500"


@pytest.mark.parametrize(("data", "place"), [("lrs2", 0), ("hdtf", 1)])
def test_published_rows_stand_in_the_columns_of_their_data(tmp_path: Path, data: str, place: int) -> None:
    lines = shown(sweep_of(tmp_path, [row("x", "exemplar", opening_r=0.5)], data=data))
    published = {line["system"]: line for line in lines if "(published)" in line["system"]}
    assert len(published) == (5 if data == "lrs2" else 7)
    ours = published["VideoReTalking (published)"]
    assert ours["LSE-D ↓"] == ("6.519", "9.359")[place]
    assert ours["CPBD ↑"] == ("0.2809", "0.2903")[place]
    assert ours["opening r ↑"] == "–"
    assert ours["scored / attempted"] == "–"
    assert lines[0]["LSE-D ↓"] == "–"
    assert ("PC-AVS (published)" in published) == (data == "lrs2")


@pytest.mark.parametrize("data", ["lrs3", "lrw", "pairs", "score", ""])
def test_other_data_gets_no_published_rows(tmp_path: Path, data: str) -> None:
    assert len(shown(sweep_of(tmp_path, [row("x", "exemplar", cpbd=0.5)], data=data))) == 1


def test_the_published_numbers_are_those_of_the_documentation() -> None:
    page = (Path(__file__).parents[4] / "docs" / "evaluation.md").read_text()
    for system, sets in TABLE_1.items():
        (line,) = [one for one in page.splitlines() if one.startswith(f"| {system} |")]
        cells = [cell.strip() for cell in line.strip("|").split("|")][1:]
        values = [value for data in ("lrs2", "hdtf") for value in sets[data] or (None,) * 4]
        assert [None if cell == "–" else float(cell) for cell in cells] == values


def test_made_up_weights_are_marked(tmp_path: Path) -> None:
    rows = [
        row("x", "retalk", weights="recipe", lse_d=8.0, cpbd=0.5),
        row("x", "wav2lip", weights="official"),
    ]
    lines = shown(sweep_of(tmp_path, rows, metric_weights={"lse_d": "recipe"}))
    assert [line["system"] for line in lines] == ["retalk (made-up weights)", "wav2lip"]
    assert "LSE-D ↓ (made-up weights)" in lines[0]
    assert "CPBD ↑" in lines[0]


@pytest.mark.parametrize("values", [[], [math.nan], [math.inf, math.nan], [None]])
def test_a_metric_without_values_is_a_dash(tmp_path: Path, values: list[float | None]) -> None:
    rows = [row(str(number), "exemplar", cpbd=value, lse_c=1.0) for number, value in enumerate(values)]
    rows += [row("z", "exemplar", cpbd=None, lse_c=1.0)]
    (line,) = shown(sweep_of(tmp_path, rows))
    assert line["CPBD ↑"] == "–"


def test_nothing_scored(tmp_path: Path) -> None:
    rows = [
        row(str(n), "exemplar", state="failed", reason=f"/x/{n}.mp4: no face", cpbd=None) for n in range(7)
    ]
    sweep = sweep_of(tmp_path, rows)
    (line,) = shown(sweep)
    assert line["scored / attempted"] == "0 / 7"
    assert line["CPBD ↑"] == "–"
    assert fallen_out(sweep)[1:] == [["exemplar", "cross", "/x/0.mp4: no face", "7", "0, 1, 2, 3, 4, ..."]]
    assert comparisons(sweep) == []


def test_no_rows_at_all(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, [])
    assert shown(sweep) == []
    assert len(fallen_out(sweep)) == len(unmeasured(sweep)) == 1


def test_reasons_are_grouped_the_most_frequent_first(tmp_path: Path) -> None:
    reasons = ["a.mp4: no face in 3 frames", "it is silent", "b.mp4: no face in 9 frames", None]
    rows = [row(str(n), "x", state="failed", reason=reason) for n, reason in enumerate(reasons)]
    groups = [cells[2:] for cells in fallen_out(sweep_of(tmp_path, rows))[1:]]
    assert groups[0] == ["a.mp4: no face in 3 frames", "2", "0, 2"]
    assert sorted(groups[1:]) == [["(no reason)", "1", "3"], ["it is silent", "1", "1"]]


@pytest.mark.parametrize(
    "notes",
    [
        json.dumps({"lpips": "needs x.pth: retalk models pull lpips", "fid": None}),
        {"lpips": "needs x.pth: retalk models pull lpips", "fid": None},
        [("lpips", "needs x.pth: retalk models pull lpips")],
    ],
    ids=["JSON", "struct", "pairs"],
)
def test_why_a_metric_has_no_value(tmp_path: Path, notes: Any) -> None:
    rows = [row(str(n), "exemplar", lpips=None, notes=notes) for n in range(3)]
    if isinstance(notes, list):
        import pyarrow as pa

        kind = pa.map_(pa.string(), pa.string())
        table = pa.table(
            {
                "pair": ["0", "1", "2"],
                "system": ["exemplar"] * 3,
                "state": ["scored"] * 3,
                "notes": pa.array([notes] * 3, kind),
            }
        )
        sweep = Sweep(str(tmp_path), {}, table, [])
    else:
        sweep = sweep_of(tmp_path, rows, [{"system": "exemplar", "metric": "fid", "note": "no Inception"}])
    told = unmeasured(sweep)[1:]
    assert told[0] == ["lpips", "needs x.pth: retalk models pull lpips", "3"]
    assert told[1:] in ([], [["fid", "exemplar: no Inception", "–"]])


def test_notes_that_are_no_notes_are_passed_over(tmp_path: Path) -> None:
    rows = [
        row(str(n), "exemplar", notes=text) for n, text in enumerate(("{cut", "[1, 2]", "3", None, '"x"'))
    ]
    assert len(unmeasured(sweep_of(tmp_path, rows))) == 1


def test_systems_are_compared_on_their_common_clips_within_a_protocol(tmp_path: Path) -> None:
    """Six clips, of which one is better on each: p is 2 of 64; three comparisons of a metric are corrected together."""
    rows = [row(f"c{n}", "a", lse_c=float(n + n * 0.1 + 1)) for n in range(6)]
    rows += [row(f"c{n}", "b", lse_c=float(n)) for n in range(6)] + [row("only", "b", lse_c=99.0)]
    rows += [row(f"c{n}", "c", lse_c=float(n)) for n in range(6)]
    rows += [row("c1", "a", protocol="reconstruction", lse_c=1.0)]
    found = comparisons(sweep_of(tmp_path, rows, systems=["a", "b", "c"]))
    assert [(one.one.system, one.other.system) for one in found] == [("a", "b"), ("a", "c"), ("b", "c")]
    first, _, same = found
    assert first.one == Arm("a", "cross")
    assert first.difference.count == 6
    assert first.difference.median == pytest.approx(1.25)
    assert first.difference.p == pytest.approx(2 / 64)
    assert first.difference.corrected == pytest.approx(3 * 2 / 64)
    assert same.difference.p == same.difference.corrected == 1.0
    cells = comparison_rows(found)[1]
    assert cells == ["LSE-C ↑", "cross", "a", "b", "6", "+1.250", "0.031", "0.094"]
    (read, *_) = csv.DictReader(io.StringIO(comparison_csv(found)))
    assert float(read["p"]) == first.difference.p
    assert float(read["p_holm"]) == first.difference.corrected


def test_one_system_is_compared_with_nobody(tmp_path: Path) -> None:
    assert comparisons(sweep_of(tmp_path, [row("x", "a", cpbd=1.0)])) == []


def test_hostile_names_stay_one_short_line_in_every_cell(tmp_path: Path) -> None:
    rows = [
        row(name, name, state=state, reason=name, cpbd=1.0)
        for name in HOSTILE
        for state in ("failed", "scored")
    ]
    sweep = sweep_of(tmp_path, rows)
    tables = [score_rows(sweep, score_lines(sweep)), fallen_out(sweep), comparison_rows(comparisons(sweep))]
    assert [len(table) for table in tables] == [9, 9, 29]
    for cell in (cell for table in tables for cells in table for cell in cells):
        assert cell.isprintable(), cell
        assert cell
        assert len(cell) <= 200


def test_the_csv_holds_what_the_table_rounds(tmp_path: Path) -> None:
    values = [0.123456789, 0.2, 0.3]
    rows = [row(str(n), "exemplar, new", cpbd=value, lpips=None) for n, value in enumerate(values)]
    sweep = sweep_of(tmp_path, rows, data="lrs2")
    read = list(csv.DictReader(io.StringIO(score_csv(sweep, score_lines(sweep)))))
    assert read[0]["system"] == "exemplar, new"
    assert float(read[0]["cpbd"]) == pytest.approx(np.mean(values), abs=1e-15)
    assert float(read[0]["cpbd_low"]) < float(read[0]["cpbd"]) < float(read[0]["cpbd_high"])
    assert read[0]["cpbd_count"] == "3"
    assert read[0]["lpips"] == ""
    assert [line["published"] for line in read] == ["false"] + ["true"] * 5


def test_a_sweep_of_lrs2s_size(tmp_path: Path) -> None:
    """14,239 pairs by four systems: known means come back, and all pairs are compared."""
    count, rng = 14_239, np.random.default_rng(0)
    base = rng.normal(size=count)
    rows = [
        row(f"{n:05d}", system, lse_c=float(value))
        for place, system in enumerate("abcd")
        for n, value in enumerate(base + place)
    ]
    sweep = sweep_of(tmp_path, rows, systems=list("abcd"), data="lrs2")
    lines = score_lines(sweep)
    for place, line in enumerate(lines[:4]):
        assert (line.scored, line.attempted) == (count, count)
        mean = line.means["lse_c"]
        assert mean.value == pytest.approx(base.mean() + place)
        # 1.96 standard errors on each side, within the bootstrap's noise.
        assert mean.high - mean.low == pytest.approx(2 * 1.96 * base.std() / math.sqrt(count), rel=0.1)
    found = comparisons(sweep)
    assert [one.difference.count for one in found] == [count] * 6
    assert found[0].difference.median == pytest.approx(-1.0)
