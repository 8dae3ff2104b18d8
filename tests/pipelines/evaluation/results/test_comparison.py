"""Two sweeps side by side: means, paired tests, and what differs in how they were made."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from pipelines.evaluation.results.comparison import (
    compare_sweeps,
    comparison_page,
    comparison_text,
    differences,
)
from tests.pipelines.evaluation.results.synthetic import HOSTILE, row, sweep_of
from tests.pipelines.evaluation.results.test_page import check
from tests.pipelines.evaluation.results.test_texts import cells_of


def test_means_differences_and_tests_on_common_clips(tmp_path: Path) -> None:
    """B is better by 1 ... 6 on the six clips that both have: p is 2 of 64, and 4 of 64 for two metrics."""
    first = [row(f"c{n}", "exemplar", lse_c=1.0, cpbd=0.5) for n in range(6)]
    second = [row(f"c{n}", "exemplar", lse_c=2.0 + n, cpbd=0.5 + (n + 1) / 10) for n in range(6)]
    first.append(row("only in A", "exemplar", lse_c=8.0, cpbd=0.5))
    sets = [{"system": "exemplar", "metric": "fid", "value": value, "count": 9} for value in (4.0, 3.0)]
    found = compare_sweeps(
        sweep_of(tmp_path / "a", first, sets[:1]), sweep_of(tmp_path / "b", second, sets[1:])
    )
    assert found.rows[1:] == [
        ["exemplar", "cross", "FID ↓", "4.000", "3.000", "-1.000", "0", "–", "–"],
        ["exemplar", "cross", "CPBD ↑", "0.5000", "0.8500", "+0.3500", "6", "0.031", "0.062"],
        ["exemplar", "cross", "LSE-C ↑", "2.000", "4.500", "+2.500", "6", "0.031", "0.062"],
    ]
    read = list(csv.DictReader(io.StringIO(found.csv())))
    assert float(read[2]["median"]) == 3.5
    assert float(read[2]["p"]) == pytest.approx(2 / 64)
    assert (read[2]["a_count"], read[2]["b_count"], read[2]["common"]) == ("7", "6", "6")
    assert read[0]["p"] == ""


def test_what_only_one_of_them_has_is_a_dash(tmp_path: Path) -> None:
    first = sweep_of(tmp_path / "a", [row("x", "exemplar", cpbd=0.5), row("x", "source", cpbd=0.25)])
    second = sweep_of(tmp_path / "b", [row("x", "exemplar", lse_c=3.0), row("x", "wav2lip", lse_c=None)])
    rows = compare_sweeps(first, second).rows[1:]
    assert [cells[:6] for cells in rows] == [
        ["exemplar", "cross", "CPBD ↑", "0.5000", "–", "–"],
        ["exemplar", "cross", "LSE-C ↑", "–", "3.000", "–"],
        ["source", "cross", "CPBD ↑", "0.2500", "–", "–"],
    ]
    nothing = compare_sweeps(sweep_of(tmp_path / "c", []), sweep_of(tmp_path / "d", []))
    assert "no scores of the same system" in comparison_text(nothing)


def test_what_differs_in_how_they_were_made() -> None:
    first = {
        "lse_protocol": "lrs",
        "options": {"limit": 10, "seeds": [0, 1]},
        "versions": {"torch": "2.13", "retalk": "0.9"},
        "digests": {"syncnet_v2.model": "ab"},
        "started": "yesterday",
    }
    second = {
        **first,
        "lse_protocol": "tracked",
        "options": {"limit": 10, "seeds": [0]},
        "versions": {"torch": "2.13"},
        "digests": {"syncnet_v2.model": "cd", "s3://u:secret@x": "s3://u:secret@x"},
        "started": "today",
    }
    assert differences(first, second) == [
        ["lse_protocol", "lrs", "tracked"],
        ["options: seeds", "[0, 1]", "[0]"],
        ["versions: retalk", "0.9", "–"],
        ["digests: syncnet_v2.model", "ab", "cd"],
        ["digests: s3://***@x", "–", "s3://***@x"],
    ]
    assert differences(first, first) == []


def test_scores_of_other_protocols_are_told_not_to_be_comparable(tmp_path: Path) -> None:
    rows = [row("x", "exemplar", lse_c=3.0)]
    first = sweep_of(tmp_path / "a", rows, lse_protocol="lrs")
    second = sweep_of(tmp_path / "b", rows, lse_protocol="latentsync")
    text = comparison_text(compare_sweeps(first, second))
    assert "LSE by protocol lrs and latentsync: not comparable" in text
    assert (
        "LSE by protocol lrs and latentsync: not comparable"
        in check(comparison_page(compare_sweeps(first, second))).text
    )
    assert "not comparable" not in comparison_text(compare_sweeps(first, first))


def test_hostile_names_are_texts(tmp_path: Path) -> None:
    rows = [row("x", name, cpbd=0.5) for name in HOSTILE]
    first = sweep_of(tmp_path / "a", rows, options={"<b>|": "<script>"})
    second = sweep_of(tmp_path / "b", rows, options={"<b>|": "`x`"})
    found = compare_sweeps(first, second)
    check(comparison_page(found))
    tables = [part for part in comparison_text(found).split("\n\n") if part.startswith("|")]
    assert [cells_of(table) for table in tables] == [found.rows, found.differences]
