"""The measurement of training runs where there is no GPU, and says what it left out."""

import json
from pathlib import Path

import pytest

from benchmarks.training_gpu import BATCHES, main


def test_each_network_takes_steps_in_both_precisions(tmp_path: Path) -> None:
    out = tmp_path / "training.json"
    args = ["--device", "cpu", "--small", "--warmup", "0", "--steps", "1", "--minutes", "30"]
    assert main([*args, "-o", str(out)]) == 0
    found = json.loads(out.read_text())
    ran = {(row["network"], row["precision"]) for row in found["rows"]}
    assert ran == {(kind, precision) for kind in BATCHES for precision in ("float32", "bfloat16")}
    assert all(row["finite"] and row["seconds_per_step"] > 0 for row in found["rows"])
    assert not found["left_out"]


def test_what_there_is_no_time_for_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--device", "cpu", "--small", "--minutes", "0", "--networks", "lnet"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert not found["rows"]
    assert [row["reason"] for row in found["left_out"]] == ["time"] * 2
