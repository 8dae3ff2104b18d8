"""Imports run left to right only: cluster -> pipelines -> operators -> retalk_models."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ORDER = ["retalk_models", "operators", "pipelines", "cluster"]
#: Heavy or missing on GPU boxes: `operators` may import these inside functions only, `retalk_models` not at
#: all.
LAZY = {"ray", "decord", "dlib", "face_alignment", "pocketsphinx"}


def imports(path: Path, top_level_only: bool) -> set[str]:
    """Top names of the packages that a file imports."""
    tree = ast.parse(path.read_text(), str(path))
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("package", ORDER)
def test_imports_point_left_only(package: str) -> None:
    right = set(ORDER[ORDER.index(package) + 1 :])
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    for path in files:
        assert not imports(path, False) & right, path
        if package in ORDER[:2]:
            assert "ray" not in imports(path, False), path
            assert not imports(path, True) & LAZY, path
        if package == "retalk_models":
            assert not imports(path, False) & {"av", "cv2", "decord", "dlib"}, path


def test_operators_and_models_import_without_the_heavy_packages() -> None:
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for package in ORDER[:2]
        for path in sorted((ROOT / package).rglob("*.py"))
    ]
    blocked = f"import sys\nfor name in {sorted(LAZY)!r}: sys.modules[name] = None\n"
    code = (
        blocked + "import importlib\n" + "".join(f"importlib.import_module({name!r})\n" for name in modules)
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
