"""Reading a sweep's scores: arms, clips, seeds, pairs of clips, and directories that hold none."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.errors import UsageError
from pipelines.evaluation.results.scores import Arm, paired, read_sweep
from tests.pipelines.evaluation.results.synthetic import row, sweep_of, write_scores

EXEMPLAR, SOURCE = Arm("exemplar", "cross"), Arm("source", "cross")


def test_seeds_of_a_clip_are_averaged_and_failed_or_infinite_values_left_out(tmp_path: Path) -> None:
    sweep = sweep_of(
        tmp_path,
        [
            row("b", "exemplar", seed=0, cpbd=0.5),
            row("a", "exemplar", seed=0, cpbd=0.1),
            row("a", "exemplar", seed=1, cpbd=0.3),
            row("c", "exemplar", cpbd=math.nan),
            row("d", "exemplar", cpbd=math.inf),
            row("e", "exemplar", cpbd=9.0, state="failed"),
            row("f", "exemplar", cpbd=None),
        ],
    )
    names, values = sweep.clips(EXEMPLAR, "cpbd")
    assert names.tolist() == ["a", "b"]
    np.testing.assert_allclose(values, [0.2, 0.5])
    assert len(sweep.rows(EXEMPLAR)) == 6
    assert len(sweep.rows(EXEMPLAR, None)) == 7
    assert sweep.values(EXEMPLAR, "no such metric").tolist() == []


def test_clips_are_paired_by_name_within_and_between_sweeps(tmp_path: Path) -> None:
    first = sweep_of(
        tmp_path / "a",
        [row(name, "exemplar", cpbd=value) for name, value in (("x", 1.0), ("y", 2.0), ("z", 3.0))]
        + [row(name, "source", cpbd=value) for name, value in (("z", 30.0), ("x", 10.0), ("w", 0.0))],
    )
    one, other = first.paired("cpbd", EXEMPLAR, SOURCE)
    assert one.tolist() == [1.0, 3.0]
    assert other.tolist() == [10.0, 30.0]
    second = sweep_of(tmp_path / "b", [row("y", "exemplar", cpbd=5.0), row("q", "exemplar", cpbd=6.0)])
    one, other = paired(first, EXEMPLAR, second, EXEMPLAR, "cpbd")
    assert one.tolist() == [2.0]
    assert other.tolist() == [5.0]


def test_arms_stand_in_the_order_in_which_they_were_asked_for(tmp_path: Path) -> None:
    rows = [
        row("x", system, protocol=protocol) for protocol in ("reconstruction", "cross") for system in "cab"
    ]
    sets = [
        {"system": "a", "metric": "fid", "value": 3.0, "count": 5, "note": None},
        {"system": "b", "protocol": "reconstruction", "metric": "fid", "value": 4.0, "count": 6},
        {"system": "never dubbed", "metric": "fid", "value": None, "note": "no Inception"},
    ]
    sweep = sweep_of(tmp_path, rows, sets, systems=["b", "a"], protocol="cross")
    assert [(arm.protocol, arm.system) for arm in sweep.arms] == [
        ("cross", "b"),
        ("cross", "a"),
        ("cross", "c"),
        ("cross", "never dubbed"),
        ("reconstruction", "b"),
        ("reconstruction", "a"),
        ("reconstruction", "c"),
    ]
    assert sweep.set_value(Arm("a", "cross"), "fid") == (3.0, 5)
    assert sweep.set_value(Arm("b", "reconstruction"), "fid") == (4.0, 6)
    assert math.isnan(sweep.set_value(Arm("b", "cross"), "fid")[0])


def test_metrics_are_the_columns_of_numbers_that_are_no_facts_of_the_clip(tmp_path: Path) -> None:
    """A metric that nobody has a value of has no type in Parquet; it is a metric all the same."""
    sweep = sweep_of(tmp_path, [row("x", "exemplar", cpbd=0.5, lpips=None, word="text", opening_lag=2)])
    assert sweep.metrics == ["cpbd", "lpips", "opening_lag"]
    assert sweep.weights(EXEMPLAR) == "none"


def test_made_up_weights_of_one_clip_mark_the_system(tmp_path: Path) -> None:
    kinds = ("official", "recipe", "none")
    sweep = sweep_of(tmp_path, [row(kind, "exemplar", weights=kind) for kind in kinds])
    assert sweep.weights(EXEMPLAR) == "recipe"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "has no scores.parquet"),
        (b"no Parquet", "scores.parquet: cannot be read"),
        (pa.table({"pair": ["x"], "cpbd": [0.5]}), "has no column system, state"),
    ],
)
def test_a_directory_without_scores_is_refused(
    tmp_path: Path, content: bytes | pa.Table | None, message: str
) -> None:
    if isinstance(content, bytes):
        (tmp_path / "scores.parquet").write_bytes(content)
    elif content is not None:
        pq.write_table(content, tmp_path / "scores.parquet")
    with pytest.raises(UsageError, match=message) as refused:
        read_sweep(str(tmp_path))
    assert str(tmp_path) in str(refused.value)


@pytest.mark.parametrize("content", ["", "null", '[1, {}, {"system": "x"}]', '{"a": 1}', '{"cut off'])
def test_a_damaged_record_costs_no_scores(tmp_path: Path, content: str) -> None:
    write_scores(tmp_path, [row("x", "exemplar", cpbd=0.5)])
    (tmp_path / "sets.json").write_text(content)
    (tmp_path / "sweep.json").write_text(content)
    sweep = read_sweep(str(tmp_path))
    assert sweep.sets == []
    assert sweep.arms == [EXEMPLAR]
    assert sweep.about == (json.loads(content) if content.startswith('{"a"') else {})
