"""One folder for all drills: the footage is made once, and one calm run serves all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.drills.kills import calm_run


@pytest.fixture(scope="session")
def drills(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drills")
    calm_run(folder, 15)
    return folder
