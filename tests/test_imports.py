"""No import of ours runs a program, and what is heavy is imported only where it is needed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.terminal import fake_program

ROOT = Path(__file__).parents[1]
PACKAGES = ("retalk_models", "operators", "pipelines", "cluster")
#: Takes long to import, or starts threads and processes.
HEAVY = ("torch", "ray", "numba", "librosa", "cv2", "scipy", "scenedetect", "dlib", "face_alignment", "pocketsphinx", "sklearn")

AUDIT = """
import importlib, sys
ran = []
events = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty")
sys.addaudithook(lambda event, arguments: ran.append((event, repr(arguments)[:200])) if event in events else None)
for name in {modules!r}:
    importlib.import_module(name)
# What is imported only when it is used.
from pipelines.shots import ShotFinder
ShotFinder()
from pipelines.config import load_engine, names
from pipelines.engine import Engine
for name in names("engines"):
    Engine(load_engine(name))
for name in ("dlib", "face_alignment", "librosa", "numba", "pocketsphinx", "scipy.io", "scipy.signal"):
    importlib.import_module(name)
from operators.faces.backend import make_backend
make_backend("dlib", "cpu")
from operators.speech.phones import _new_decoder
_new_decoder()
assert not ran, ran
"""


def modules() -> list[str]:
    """Every module of ours, without those that are programs themselves."""
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")) if path.stem != "__main__"]
    return [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in paths]


def test_no_import_runs_a_program(tmp_path: Path) -> None:
    ran = fake_program(tmp_path, "ffmpeg")
    environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    code = AUDIT.format(modules=modules())
    options: dict[str, Any] = {"env": environment, "stdin": subprocess.DEVNULL, "capture_output": True, "text": True}
    ended = subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT, **options)
    assert ended.returncode == 0, ended.stderr
    assert not ran.exists()
