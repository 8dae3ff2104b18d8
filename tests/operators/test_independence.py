"""Engines know nothing of each other: what one loads leaves the others' modules alone."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: Engine, the folders of stages that it may load, and whether its stages can be set up without model files.
ENGINES = [
    ("exemplar", {"exemplar"}, True),
    ("retalk", {"retalk"}, False),
    ("wav2lip", {"wav2lip", "retalk"}, False),
]
CODE = """
import json, sys
from pipelines.engine.config import load_engine
from pipelines.engine.engine import Engine
engine = Engine(load_engine(sys.argv[1]))
for spec in engine.stages:
    if sys.argv[2] == "True":
        spec.stage.setup("cpu")
    spec.stage.model_files(spec.options), spec.stage.halo(spec.options)
print(json.dumps(sorted(sys.modules)))
"""


@pytest.mark.parametrize(("engine", "allowed", "ready"), ENGINES)
def test_an_engine_loads_no_module_of_another(engine: str, allowed: set[str], ready: bool) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", CODE, engine, str(ready)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    loaded = {name.split(".")[1] for name in json.loads(ran.stdout) if name.startswith("operators.")}
    assert allowed <= loaded
    assert loaded & {other for other, _, _ in ENGINES} == allowed, loaded
    if engine == "exemplar":
        assert "torch" not in json.loads(ran.stdout), "the default engine needs no torch"


def test_pipelines_names_no_engines_folder() -> None:
    """Model files, identity and `auto` are asked of stages: nothing outside `operators` imports an engine's code, but
    for `pipelines.training`, which trains the networks of engines.
    """
    for package in ("pipelines", "cluster", "configs"):
        for path in (ROOT / package).rglob("*.py"):
            if "training" in path.relative_to(ROOT).parts:
                continue
            for other, _, _ in ENGINES:
                assert f"operators.{other}" not in path.read_text(), path
