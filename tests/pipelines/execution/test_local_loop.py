"""A run in one's own process."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import pytest

from pipelines.execution import local_loop
from pipelines.runner import run
from tests.pipelines.conftest import engine_config, profile_config


def test_stages_and_what_they_have_loaded_end_with_the_run(
    footage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The garbage collector comes seldom, and networks are large."""
    made: list[weakref.ref[Any]] = []

    class Group(local_loop.Group):
        def __init__(self, *values: Any) -> None:
            super().__init__(*values)
            made.extend(weakref.ref(one) for one in (self, *self.stages))

    monkeypatch.setattr(local_loop, "Group", Group)
    row = {
        "id": "t",
        "video": str(footage / "a.mp4"),
        "speech": str(footage / "exact.wav"),
        "output": "t.mp4",
    }
    gc.disable()
    try:
        report = run(
            [row],
            run_dir=str(tmp_path),
            engine=engine_config(),
            profile=profile_config(2),
            runner="local",
        )
        assert report.exit_code == 0
        assert len(made) == 2 + 3
        assert [one() for one in made] == [None] * len(made)
    finally:
        gc.enable()
