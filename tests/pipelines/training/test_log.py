"""Lines on how far a training is."""

from __future__ import annotations

import pytest

from pipelines.training import log


def test_a_line_comes_after_the_first_step_and_then_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(log.time, "monotonic", lambda: clock[0])
    pace = log.Pace(10, 1010)
    clock[0] += 2.0
    assert pace.line(11, {"loss": 0.25}) == "step 11 of 1,010: loss 0.25, 2 s a step, about 33 min 18 s left"
    clock[0] += 2.0
    assert pace.line(12, {"loss": 0.25}) == ""
    clock[0] += log.PAUSE
    assert pace.line(27, {"skipped": 1.0}).startswith("step 27 of 1,010: 2 s a step, about ")
    clock[0] += log.PAUSE
    assert pace.line(1010, {"loss": 0.125}) == "step 1,010 of 1,010: loss 0.125, 0.064 s a step"
