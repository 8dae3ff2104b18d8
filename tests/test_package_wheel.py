"""The wheel, installed into an empty environment outside the checkout: its files, its advice, and a dub by
script and by `import retalk`.

The environment sees the dependencies of the running one through a .pth file, which does not bring this
checkout's editable installation.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import av
import pytest

from operators.media.probe import probe_video
from operators.media.reader import read_frames
from pipelines.cli.speech_synthesis import speak
from retalk_models import __version__
from retalk_models.installation import NAMES

ROOT = Path(__file__).parents[1]
MODULES = ("retalk.py", "retalk_cli.py")
PACKAGES = tuple(name for name in NAMES if name != "retalk")
FRAMES = 24


def run(*command: str | Path, cwd: Path) -> str:
    """Output of a command that must succeed, without this process's search path."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    }
    environment |= {"RAY_AUTH_MODE": "disabled", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    result = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, (
        f"{command}: exit code {result.returncode}\n{result.stdout}\n{result.stderr}"
    )
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built from a copy so that no build folder stays in it."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", *MODULES):
        shutil.copy(ROOT / name, source / name)
    # The build's own requirement, setuptools, is part of the extra `dev`: nothing is downloaded.
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    run(*pip, "--wheel-dir", folder, source, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs' folder of an environment that holds the wheel and nothing else of ours."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", folder, cwd=folder)
    python = folder / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=folder)
    (site,) = folder.glob("lib/python*/site-packages")
    paths = dict.fromkeys((sysconfig.get_path("purelib"), sysconfig.get_path("platlib")))
    (site / "dependencies.pth").write_text("".join(f"{path}\n" for path in paths))
    return python.parent


@pytest.fixture(scope="module")
def inputs(carphone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder far from the checkout with talk.mp4 (the beginning of carphone, three times its size) and
    speech.wav.
    """
    folder = tmp_path_factory.mktemp("inputs")
    info = probe_video(str(carphone))
    with av.open(str(folder / "talk.mp4"), "w") as target:
        stream = target.add_stream("libx264", rate=30, options={"crf": "12", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = 3 * info.width, 3 * info.height, "yuv420p"
        for frame in read_frames(str(carphone), 0, FRAMES):
            picture = av.VideoFrame.from_ndarray(frame.rgb(), format="rgb24").reformat(
                stream.width, stream.height, "yuv420p"
            )
            target.mux(stream.encode(picture))
        target.mux(stream.encode())
    speak("Bob may buy it.", folder / "speech.wav", words_per_minute=200)
    return folder


def frames(path: Path) -> int:
    return probe_video(str(path)).n_frames


def test_the_wheel_carries_every_file(wheel: Path) -> None:
    assert wheel.name == f"retalk_dub-{__version__}-py3-none-any.whl"
    names = set(zipfile.ZipFile(wheel).namelist())
    tops = {name.partition("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {*PACKAGES, *MODULES}
    for name in (
        "configs/engines/exemplar.yaml",
        "configs/profiles/laptop.yaml",
        "retalk_models/registry/catalog.yaml",
        "cluster/Dockerfile",
    ):
        assert name in names
    assert {f"{package}/py.typed" for package in PACKAGES} <= names
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        return
    tracked = run("git", "ls-files", "--", *PACKAGES, *MODULES, cwd=ROOT).split("\n")
    assert {name for name in tracked if name and (ROOT / name).exists()} <= names


def test_an_installed_wheel_knows_itself(environment: Path, inputs: Path) -> None:
    code = (
        "import importlib.metadata as m, retalk, retalk_models.installation as i; print(retalk.__file__); print(m.version('retalk-dub'))\n"
        "print(i.checkout()); print(i.install_hint('cloud'))"
    )
    file, version, checkout, hint = run(environment / "python", "-c", code, cwd=inputs).splitlines()
    assert Path(file).is_relative_to(environment.parent)
    assert (version, checkout) == (__version__, "None")
    assert hint.startswith("pip install 's3fs>=")
    assert " submit " in run(environment / "retalk", "--help", cwd=inputs)


def test_the_installed_script_dubs(environment: Path, inputs: Path) -> None:
    command = ["dub", "talk.mp4", "speech.wav", "-o", "by-script.mp4", "--engine", "exemplar"]
    assert f"{FRAMES} frames" in run(environment / "retalk", *command, cwd=inputs)
    assert frames(inputs / "by-script.mp4") == FRAMES


def test_the_installed_library_dubs(environment: Path, inputs: Path) -> None:
    """By Ray, whose workers must find the installed packages too."""
    code = (
        "import retalk\n"
        "report = retalk.dub('talk.mp4', 'speech.wav', 'by-library.mp4', engine='exemplar', runner='ray')\n"
        "assert isinstance(report, retalk.Report) and not report.failed, report\n"
        "print(report.records[0]['frames'], report.records[0]['output'])\n"
        "rows = [{'id': 'a', 'video': 'talk.mp4', 'speech': 'speech.wav', 'output': 'a.mp4'}]\n"
        "print(retalk.plan(rows, engine='exemplar').titles[0]['frames'])\n"
    )
    lines = run(environment / "python", "-c", code, cwd=inputs).splitlines()
    assert lines[-2:] == [f"{FRAMES} {inputs / 'by-library.mp4'}", str(FRAMES)]
    assert frames(inputs / "by-library.mp4") == FRAMES
