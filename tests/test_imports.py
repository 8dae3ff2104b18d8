"""No import of ours runs a program, and what is heavy is imported only where it is needed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.pipelines.conftest import make_speech, make_video
from tests.terminal import fake_program

ROOT = Path(__file__).parents[1]
PACKAGES = ("retalk_models", "operators", "pipelines", "cluster")
#: Takes long to import, or starts threads and processes.
HEAVY = (
    *("torch", "ray", "numba", "librosa", "scenedetect", "dlib", "face_alignment", "pocketsphinx", "sklearn"),
    *("scipy.ndimage", "scipy.signal", "scipy.interpolate", "scipy.stats"),
)

AUDIT = """
import importlib, sys
ran = []
events = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty")
sys.addaudithook(lambda event, arguments: ran.append((event, repr(arguments)[:200])) if event in events else None)
for name in {modules!r}:
    importlib.import_module(name)
# Imports that happen only on use.
from pipelines.planning.shots import ShotFinder
ShotFinder()
from pipelines.engine.config import load_engine, names
from pipelines.engine.engine import Engine
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
    paths = [
        path
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        if path.stem != "__main__"
    ]
    return [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in paths
    ]


def test_no_import_runs_a_program(tmp_path: Path) -> None:
    ran = fake_program(tmp_path, "ffmpeg")
    environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    code = AUDIT.format(modules=modules())
    options: dict[str, Any] = {
        "env": environment,
        "stdin": subprocess.DEVNULL,
        "capture_output": True,
        "text": True,
    }
    ended = subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT, **options)
    assert ended.returncode == 0, ended.stderr
    assert not ran.exists()


MISTAKES = {
    "missing video": (["dub", "{folder}/absent.mp4", "{speech}", "-o", "{folder}/x.mp4"], 2),
    "missing speech": (["dub", "{video}", "{folder}/absent.wav", "-o", "{folder}/x.mp4"], 2),
    "wrong suffix": (["dub", "{video}", "{speech}", "-o", "{folder}/x.avi"], 2),
    "output that cannot be written": (["dub", "{video}", "{speech}", "-o", "/proc/x.mp4"], 2),
    "unknown option": (["dub", "{video}", "{speech}", "-o", "{folder}/x.mp4", "--lenght", "trim"], 2),
    "unknown engine": (["dub", "{video}", "{speech}", "-o", "{folder}/x.mp4", "--engine", "exemplary"], 2),
    "unknown stage option": (
        ["dub", "{video}", "{speech}", "-o", "{folder}/x.mp4", "--set", "speak.lagg=1"],
        2,
    ),
    "missing manifest": (["run", "{folder}/absent.jsonl", "-o", "{folder}/out"], 2),
    "broken manifest": (["run", "{folder}/broken.jsonl", "-o", "{folder}/out"], 2),
    "all inputs missing": (["run", "{folder}/absent-inputs.jsonl", "-o", "{folder}/out"], 3),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_users_mistake_is_told_before_anything_heavy_is_imported(tmp_path: Path, mistake: str) -> None:
    arguments, code = MISTAKES[mistake]
    (tmp_path / "broken.jsonl").write_text("{\n")
    (tmp_path / "absent-inputs.jsonl").write_text(
        '{"id": "a", "video": "no.mp4", "speech": "no.wav", "output": "a.mp4"}\n'
    )
    files = {"video": make_video(tmp_path / "a.mp4"), "speech": make_speech(tmp_path / "a.wav")}
    places = {"folder": tmp_path, **files}
    given = [argument.format(**places) for argument in arguments]
    program = (
        "import sys\nfrom pipelines.cli.main import main\n"
        "try:\n    code = main(sys.argv[1:])\nexcept SystemExit as end:\n    code = end.code\n"
        f"print(code, [name for name in {HEAVY!r} if name in sys.modules])"
    )
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    options: dict[str, Any] = {
        "env": environment,
        "stdin": subprocess.DEVNULL,
        "capture_output": True,
        "text": True,
    }
    ended = subprocess.run([sys.executable, "-c", program, *given], check=False, cwd=ROOT, **options)
    assert ended.stdout.splitlines()[-1] == f"{code} []", ended.stderr
    assert ended.stderr.strip()
