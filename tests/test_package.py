"""The distribution: its advice, its names among foreign packages, its light public module, OpenCV that does
not load.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import re
import subprocess
import sys
import wave
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import retalk_models
from pipelines.cli import main as cli
from retalk_models import installation
from retalk_models.installation import (
    NAMES,
    ROOT,
    ForeignPackageError,
    check_packages,
    checkout,
    explain_import_error,
    install_hint,
)
from retalk_models.plugins import COMMANDS

HEAVY = {"torch", "ray", "cv2", "numba", "scipy", "pandas", "pyarrow"}
TEXT = {".py", ".md", ".yaml", ".toml", ".txt", ""}


def python(*arguments: str, cwd: Path, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run Python elsewhere, with our packages behind `path` on PYTHONPATH."""
    search = os.pathsep.join(str(folder) for folder in (path, ROOT) if folder)
    environment = {**os.environ, "PYTHONPATH": search}
    command = [sys.executable, *arguments]
    return subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
        timeout=300,
    )


def foreign(folder: Path, name: str, content: str = "") -> Path:
    """A package of another project."""
    package = folder / name
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(content)
    return package


def test_advice_in_a_checkout_names_its_folder() -> None:
    assert checkout() == ROOT
    assert install_hint("cloud").startswith("pip install -e ")
    assert f"{ROOT}[cloud]" in install_hint("cloud")


def test_advice_elsewhere_names_the_extras_own_packages(tmp_path: Path) -> None:
    info = tmp_path / "retalk_dub-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: retalk-dub\nVersion: 0.1.0\n"
        'Requires-Dist: numpy>=1\nRequires-Dist: ray[default]>=2.55; extra == "cluster"\n'
        'Requires-Dist: s3fs>=2024.2; extra == "cloud"\nRequires-Dist: gcsfs>=2024.2; extra == "cloud"\n'
        'Requires-Dist: only-elsewhere; sys_platform == "none" and extra == "cloud"\n'
    )
    code = (
        f"import sys, pathlib; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from retalk_models import installation as i\n"
        "i.ROOT = pathlib.Path('/nowhere')\n"
        "print(i.install_hint('cloud')); print(i.install_hint('cluster')); print(i.install_hint('no-such'))"
    )
    result = python("-c", code, cwd=tmp_path)
    assert result.stdout.splitlines() == [
        "pip install 's3fs>=2024.2' 'gcsfs>=2024.2'",
        "pip install 'ray[default]>=2.55'",
        "install what the extra no-such of retalk-dub needs",
    ], result.stderr


def test_no_text_advises_the_strangers_package() -> None:
    for package in (*NAMES[1:], "docs", "benchmarks"):
        for path in [*(ROOT / package).rglob("*"), ROOT / "README.md", ROOT / "Makefile", ROOT / "retalk.py"]:
            if path.is_file() and path.suffix in TEXT:
                assert not re.search(
                    r"pip install\s[^\n]*['\" ]retalk(?![-\w.])", path.read_text(errors="replace")
                ), path


def test_extras_that_messages_name_exist() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    named = {
        extra
        for package in NAMES[1:]
        for path in (ROOT / package).rglob("*.py")
        for extra in re.findall(r"install_hint\([\"'](\w+)", path.read_text())
    }
    assert {"cloud", "demo", "fan"} <= named
    for extra in named:
        assert re.search(rf"^{extra} = \[", text, re.MULTILINE), extra


def test_version_needs_no_installation(tmp_path: Path) -> None:
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import retalk_models; print(retalk_models.__version__)"
    result = python("-I", "-S", "-c", code, cwd=tmp_path)
    assert result.stdout.strip() == retalk_models.__version__, result.stderr


def test_the_command_line_finds_submit_once() -> None:
    found = {
        entry.value
        for one in importlib.metadata.distributions()
        for entry in one.entry_points.select(group=COMMANDS)
    }
    assert found == {"cluster.submit:add_parser"}
    assert cli.parser().format_help().count("\n    submit ") == 1


def test_plain_installation_brings_one_opencv() -> None:
    """Walk what pip would install for the distribution without extras: a second owner of the folder `cv2`
    must not be among it.
    """
    text = (ROOT / "pyproject.toml").read_text()
    block = re.search(r"^dependencies = \[\n(.*?)^\]", text, re.MULTILINE | re.DOTALL)
    assert block
    waiting = [Requirement(line) for line in re.findall(r'^\s+"(.+)",$', block[1], re.MULTILINE)]
    assert len(waiting) > 15
    seen: set[str] = set()
    while waiting:
        wanted = waiting.pop()
        for extra in ("", *wanted.extras):
            key = f"{canonicalize_name(wanted.name)}[{extra}]"
            if key in seen or (wanted.marker and not wanted.marker.evaluate({"extra": ""})):
                continue
            seen.add(key)
            try:
                declared = importlib.metadata.requires(wanted.name) or []
            except importlib.metadata.PackageNotFoundError:
                continue
            for one in map(Requirement, declared):
                if one.marker is None or one.marker.evaluate({"extra": extra}):
                    one.marker = None
                    waiting.append(one)
    names = {key.partition("[")[0] for key in seen}
    assert installation.HEADLESS in names
    assert {"numpy", "torch", "ray", "pyarrow"} <= names
    assert not names & set(installation.OTHER_OPENCV)


def test_the_public_module_is_light_and_complete(tmp_path: Path) -> None:
    code = (
        "import sys, retalk\n"
        f"print(sorted({HEAVY!r} & set(sys.modules)))\n"
        "print([name for name in retalk.__all__ if not getattr(retalk, name).__doc__])\n"
        "print(retalk.__version__, set(dir(retalk)) == set(retalk.__all__), issubclass(retalk.ManifestError, retalk.UsageError))"
    )
    result = python("-c", code, cwd=tmp_path)
    assert result.stdout.splitlines() == ["[]", "[]", f"{retalk_models.__version__} True True"], result.stderr


#: Ways to start, with the module that a foreign one of its name would run in its place.
STARTS = {
    "retalk_cli": ["-m", "retalk_cli", "--help"],
    "pipelines": ["-m", "pipelines", "--help"],
    "pipelines.cli": ["-m", "pipelines.cli.main", "--help"],
    "retalk": ["-c", "import retalk"],
}


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (start, name)
        for start in STARTS
        for name in NAMES
        if name not in (start.partition(".")[0], "retalk_models")
    ],
)
def test_a_foreign_package_is_named(tmp_path: Path, name: str, start: str) -> None:
    command = STARTS[start]
    package = foreign(tmp_path / "theirs", name)
    result = python(*command, cwd=tmp_path, path=tmp_path / "theirs")
    last = result.stderr.strip().splitlines()[-1]
    assert str(package) in last
    assert f"take {tmp_path / 'theirs'} out of PYTHONPATH" in last
    assert result.returncode == (1 if command[0] == "-c" else 2)
    assert command[0] == "-c" or len(result.stderr.strip().splitlines()) == 1, "no traceback"


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("retalk", "retalk_models")])
def test_the_module_as_a_program_names_a_foreign_package_in_one_line(tmp_path: Path, name: str) -> None:
    package = foreign(tmp_path, name)
    result = python("-m", "retalk", "--help", cwd=tmp_path)
    (line,) = result.stderr.strip().splitlines()
    assert str(package) in line
    assert f"run from another folder than {tmp_path}" in line
    assert result.returncode == 2


def test_a_folder_without_init_that_hides_a_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An editable installation's finder comes last: any folder of that name on the path is found first."""
    (tmp_path / "configs").mkdir()
    for name in [name for name in sys.modules if name.partition(".")[0] == "configs"]:
        monkeypatch.delitem(sys.modules, name)
    for name in NAMES[:-1]:  # loaded, and so found where they were
        importlib.import_module(name)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ForeignPackageError,
        match=rf"'configs'.*{re.escape(str(tmp_path / 'configs'))}.*run from another folder",
    ):
        check_packages()


def test_advice_against_a_package_in_the_same_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = foreign(tmp_path / "site-packages", "retalk")
    monkeypatch.delitem(sys.modules, "retalk", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path / "site-packages"))
    with pytest.raises(
        ForeignPackageError, match=rf"{re.escape(str(package))}.*pip uninstall retalk.*virtual environment"
    ):
        check_packages()


def test_advice_against_a_folder_beside_a_script(tmp_path: Path) -> None:
    package = foreign(tmp_path / "project", "cluster")
    (tmp_path / "project" / "script.py").write_text("import retalk\n")
    result = python(str(tmp_path / "project" / "script.py"), cwd=tmp_path)
    last = result.stderr.strip().splitlines()[-1]
    assert f"'cluster' is found in place of retalk's: {package}" in last
    assert last.endswith(f"rename it, or keep your script in another folder than {tmp_path / 'project'}")


def test_our_own_packages_pass() -> None:
    check_packages()


NO_GL = "libGL.so.1: cannot open shared object file: No such file or directory"


@pytest.mark.parametrize(
    "command",
    [
        ["-m", "retalk_cli", "dub", "talk.mp4", "talk.wav", "-o", "out.mp4", "--engine", "exemplar"],
        ["-m", "retalk_cli", "stages", "--engine", "exemplar"],
        ["-c", "import retalk; retalk.dub('talk.mp4', 'talk.wav', 'out.mp4', engine='exemplar')"],
    ],
    ids=["dub", "stages", "api"],
)
def test_opencv_that_does_not_load_is_explained(tmp_path: Path, carphone: Path, command: list[str]) -> None:
    foreign(tmp_path / "theirs", "cv2", f"raise ImportError({NO_GL!r})\n")
    (tmp_path / "talk.mp4").write_bytes(carphone.read_bytes())
    with wave.open(str(tmp_path / "talk.wav"), "wb") as sound:
        sound.setparams((1, 2, 16000, 0, "NONE", ""))
        sound.writeframes(bytes(32000))
    result = python(*command, cwd=tmp_path, path=tmp_path / "theirs")
    last = result.stderr.strip().splitlines()[-1]
    assert NO_GL in last
    assert "pip install --force-reinstall --no-deps opencv-python-headless" in last
    if command[0] == "-m":
        assert result.returncode == 2
        assert "Traceback" not in result.stderr


@pytest.mark.parametrize("content", ["x = 1\n", "raise RuntimeError\n", "no python\n"])
def test_a_module_in_the_place_of_opencv_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "cv2.py").write_text(content)
    result = python("-m", "retalk_cli", "stages", cwd=tmp_path, path=tmp_path / "theirs")
    (line,) = result.stderr.strip().splitlines()
    assert f"in place of the package cv2 (OpenCV): {tmp_path / 'theirs' / 'cv2.py'}" in line
    assert line.endswith(f"take {tmp_path / 'theirs'} out of PYTHONPATH")
    assert result.returncode == 2


def test_opencv_that_is_missing_is_explained() -> None:
    text = explain_import_error(ModuleNotFoundError("No module named 'cv2'", name="cv2"))
    assert text.startswith("OpenCV is missing: pip install")


def test_the_culprit_is_named_where_two_opencvs_are_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"opencv-python": "5.0.0", "opencv-python-headless": "4.9.0"}
    monkeypatch.setattr(installation, "_version", lambda name: versions.get(name, ""))
    text = explain_import_error(ImportError(NO_GL, name="cv2"))
    assert "opencv-python is installed too" in text
    assert text.endswith("pip install --force-reinstall --no-deps opencv-python-headless==4.9.0")


def test_other_imports_are_not_opencvs() -> None:
    assert (
        explain_import_error(ImportError("libcuda.so.1: cannot open shared object file", name="torch")) == ""
    )
    assert explain_import_error(ModuleNotFoundError("No module named 's3fs'", name="s3fs")) == ""
