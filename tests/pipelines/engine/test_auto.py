"""`--engine auto`: the engines that configurations rank, asked whether their model files are here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.engine import resolve
from pipelines.engine.config import load_engine, names
from pipelines.engine.resolve import resolve_engine
from pipelines.errors import PreflightError
from retalk_models.registry.catalog import load_catalog

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("here", [(), ("face_landmarker.task", "face_detection_full_range.tflite")])
def test_the_last_engine_needs_no_model_files_and_is_taken_without_importing_the_others(
    tmp_path: Path, here: tuple[str, ...]
) -> None:
    """Also where there are files of other uses: `make` fetches those of the face mesh."""
    (tmp_path / "models").mkdir()
    for file in here:
        with open(tmp_path / "models" / file, "wb") as made:
            made.truncate(load_catalog().files[file].size)
    ranked = sorted((config.auto, name) for name in names("engines") if (config := load_engine(name)).auto)
    assert len(ranked) >= 2
    code = "import json, sys; from pipelines.engine.resolve import resolve_engine as r; print(json.dumps([r('auto').name, *sys.modules]))"
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "RETALK_HOME": str(tmp_path)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    name, *modules = json.loads(ran.stdout)
    assert name == ranked[-1][1]
    assert "torch" not in modules


def test_the_first_engine_whose_files_are_here_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """By their ranks, whatever their names; one whose files are missing is passed over."""
    asked: list[str] = []

    def check(engine: object) -> None:
        asked.append(engine.name)  # type: ignore[attr-defined]
        if engine.name == "retalk":  # type: ignore[attr-defined]
            raise PreflightError("its files are missing")

    ranks = {"retalk": 1, "wav2lip": 2, "exemplar": 3}
    real = load_engine
    monkeypatch.setattr(
        resolve, "load_engine", lambda name: real(name).model_copy(update={"auto": ranks.get(name)})
    )
    monkeypatch.setattr(resolve, "check_weights", check)
    monkeypatch.setattr(type(resolve.default_registry()), "available", lambda self, file: True)
    assert resolve_engine("auto").name == "wav2lip"
    assert asked == ["retalk", "wav2lip"]
