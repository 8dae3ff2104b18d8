"""Imports run down only: between the top folders, between the floors inside each, and in no circle of modules.

docs/architecture.md (section "Map") shows the floors.
"""

import ast
import functools
import graphlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ORDER = ["retalk_models", "operators", "pipelines", "cluster"]
#: Folders and modules directly inside a top folder, ground floor first. Those on one floor do not import each other.
FLOORS = {
    "retalk_models": [
        {"installation", "layers", "local_files", "plugins", "retrying"},
        {"storage_rules"},
        {"registry", "networks", "talkin", "tflite"},
        {"build"},
        {"weights", "inference", "training"},
    ],
    "operators": [
        {"storage", "imports", "threads", "machine", "shared_batches", "columns", "numeric"},
        {"segment", "watermark"},
        {"stage"},
        {"media"},
        {"faces", "speech", "receipt"},
        {"exemplar", "retalk", "evaluation"},
        {"wav2lip", "talkin"},
    ],
    "pipelines": [
        {"errors"},
        {"engine"},
        {"manifest"},
        {"state"},
        {"planning", "preflight", "monitoring", "provenance", "rights"},
        {"execution", "review"},
        {"capacity", "runner"},
        {"one_title", "evaluation"},
        {"training"},
        {"cli"},
        {"__main__"},
    ],
}
#: Heavy or missing on GPU boxes: `operators` may import these inside functions only, `retalk_models` not at all.
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


@functools.cache
def modules() -> dict[str, Path]:
    """Modules of the top folders by dotted name; a package has the name of its folder."""
    found = {}
    for top in ORDER:
        for path in sorted((ROOT / top).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


def _nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Nodes of a tree, without the imports that only type checkers see."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        yield node
        yield from _nodes(node)


@functools.cache
def imported(name: str, typing_too: bool) -> frozenset[str]:
    """Modules of the top folders that a module imports anywhere, inside functions too."""
    tree = ast.parse(modules()[name].read_text())
    found: set[str] = set()
    for node in ast.walk(tree) if typing_too else _nodes(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{modules()[name]}: a relative import"
            parts = {f"{node.module}.{alias.name}" for alias in node.names} & modules().keys()
            # `from package import module` is an import of the module.
            found |= parts if len(parts) == len(node.names) else {str(node.module), *parts}
    return frozenset(found & modules().keys() - {name})


def room(name: str) -> str:
    """The part of a module's name that has a floor."""
    return name.split(".")[1] if "." in name else "__init__"


@pytest.mark.parametrize("package", ORDER)
def test_imports_point_down_only(package: str) -> None:
    above = set(ORDER[ORDER.index(package) + 1 :])
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    for path in files:
        assert not imports(path, False) & above, path
        if package in ORDER[:2]:
            assert "ray" not in imports(path, False), path
            assert not imports(path, True) & LAZY, path
        if package == "retalk_models":
            assert not imports(path, False) & {"av", "cv2", "decord", "dlib"}, path


@pytest.mark.parametrize("package", FLOORS)
def test_every_part_of_a_package_has_one_floor(package: str) -> None:
    placed = [name for floor in FLOORS[package] for name in floor]
    assert len(placed) == len(set(placed))
    present = {room(name) for name in modules() if name.startswith(f"{package}.")}
    assert set(placed) == present


@pytest.mark.parametrize("package", FLOORS)
def test_imports_inside_a_package_go_down(package: str) -> None:
    floor = {name: number for number, names in enumerate(FLOORS[package]) for name in names}
    wrong, seen = [], 0
    for name in modules():
        if not name.startswith(f"{package}."):
            continue
        for target in imported(name, typing_too=True):
            if target.startswith(f"{package}.") and room(target) != room(name):
                seen += 1
                if floor[room(target)] >= floor[room(name)]:
                    wrong.append(f"{name} imports {target}")
    assert not wrong
    assert seen > 5


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {name: imported(name, typing_too=False) for name in modules()}
    assert sum(map(len, graph.values())) > 300
    tuple(graphlib.TopologicalSorter(graph).static_order())  # CycleError names the circle


@pytest.mark.parametrize("package", FLOORS)
def test_each_folder_says_what_lives_there_and_what_it_may_import(package: str) -> None:
    """The docstring of `__init__.py`: two to six lines; the folders that it may import lie below it."""
    floor = {name: number for number, names in enumerate(FLOORS[package]) for name in names}
    folders = {name: path for name, path in modules().items() if path.name == "__init__.py"}
    for name in (name for name in folders if name.startswith(f"{package}.")):
        text = ast.get_docstring(ast.parse(folders[name].read_text())) or ""
        assert 2 <= len(text.splitlines()) <= 6, name
        sentence = re.search(r"\b(May import|Imports)\s.*", text, flags=re.DOTALL)
        assert sentence, f"{name}: which folders may it import?"
        allowed = sentence[0].split(";")[0].split("never")[0]
        for other in re.findall(rf"`{package}\.(\w+)`", allowed):
            assert floor[other] < floor[room(name)], f"{name}: {other} is not below it"


def test_operators_and_models_import_without_the_heavy_packages() -> None:
    names = [name for name in modules() if name.split(".")[0] in ORDER[:2]]
    blocked = f"import sys\nfor name in {sorted(LAZY)!r}: sys.modules[name] = None\n"
    code = blocked + "import importlib\n" + "".join(f"importlib.import_module({name!r})\n" for name in names)
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


def test_the_floors_in_the_documents_are_these() -> None:
    """Table of docs/architecture.md: "1 errors.py · 2 engine ..."; small modules may be left out, folders may not."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    for package, floors in FLOORS.items():
        (row,) = re.findall(rf"^\| `{package}` \| (.*) \|$", page, flags=re.MULTILINE)
        written = {}
        for entry in row.split(" · "):
            number, _, names = entry.partition(" ")
            written[int(number)] = {name.strip("`").removesuffix(".py") for name in names.split(", ")}
        for number, names in written.items():
            assert names <= floors[number - 1], (package, number)
        folders = {path.parent.name for path in (ROOT / package).glob("*/__init__.py")}
        assert folders <= {name for names in written.values() for name in names}, package


@pytest.mark.parametrize("package", ORDER)
def test_files_and_classes_are_short_enough_to_read(package: str) -> None:
    """At most 400 lines of a file and 250 of a class, with their comments and docstrings."""
    long, classes = [], 0
    for path in sorted((ROOT / package).rglob("*.py")):
        text = path.read_text()
        if len(text.splitlines()) > 400:
            long.append(f"{path.relative_to(ROOT)}: {len(text.splitlines())} lines")
        for node in ast.walk(ast.parse(text, str(path))):
            if isinstance(node, ast.ClassDef):
                classes += 1
                length = (
                    (node.end_lineno or 0) - min([node.lineno, *(d.lineno for d in node.decorator_list)]) + 1
                )
                if length > 250:
                    long.append(f"{path.relative_to(ROOT)}: class {node.name}, {length} lines")
    assert not long
    assert classes or package == "cluster"
