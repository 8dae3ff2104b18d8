"""Documents and what points at them: links and citations lead somewhere, and the map of folders is complete."""

import ast
import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
#: Top folders whose subfolders are on the map of docs/architecture.md.
MAPPED = ["retalk_models", "operators", "pipelines", "cluster", "configs"]
SOURCES = [*MAPPED, "benchmarks", "tests"]
SUFFIXES = {".py", ".yaml", ".yml", ".toml", ".json"}
CITATION = re.compile(r"\bdocs/[\w./-]*\w(?:#[\w-]+)?")
LINK = re.compile(r"\]\(([^)\s]+)\)")
#: Documents that are named in code but written by a run.
WRITTEN = {"report.md", "table.md", "significance.md", "comparison.md", "statistics.md"}
#: Names of notes that never were in the repository.
FOREIGN = re.compile(
    r"reference-pipeline|exemplar-engine\.md|\bnetworks-\w+|model-files|face-mesh|ray-data\.md|feasibility study"
    r"|\bspecification (?:section|networks)|(?:evaluation|pipeline) specification",
    re.IGNORECASE,
)


@functools.cache
def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@functools.cache
def anchors(path: Path) -> frozenset[str]:
    """Anchors of a Markdown file's headings as GitHub makes them; headings inside code blocks are none."""
    found: list[str] = []
    seen: Counter[str] = Counter()
    for line in re.sub(r"^```.*?^```", "", text_of(path), flags=re.MULTILINE | re.DOTALL).splitlines():
        if heading := re.match(r"#{1,6} +(.*?) *#*$", line):
            plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading[1]).lower()
            kept = "".join(c for c in plain if c in "-_ " or unicodedata.category(c)[0] in "LNM")
            slug = kept.replace(" ", "-")
            found.append(f"{slug}-{seen[slug]}" if seen[slug] else slug)
            seen[slug] += 1
    return frozenset(found)


def problem(target: Path, anchor: str) -> str:
    """ "" where the target is a file of the repository with that anchor, else what is wrong."""
    if not target.exists():
        return "no such file"
    if anchor and anchor not in anchors(target):
        return f"no heading #{anchor}"
    return ""


def sources() -> Iterator[Path]:
    """Code and data that may cite documents, this file excepted."""
    yield from (ROOT / "Makefile", ROOT / "pyproject.toml", ROOT / "cluster" / "Dockerfile")
    for folder in SOURCES:
        yield from (
            p for p in sorted((ROOT / folder).rglob("*")) if p.suffix in SUFFIXES and p != Path(__file__)
        )


def test_slugs_are_those_of_github(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# LSE-D and LSE-C\n## 10. The enhancer's call\n## `a_b` [c](d.md), e!\n```\n# no\n```\n## Twice\n## Twice\n"
    )
    assert anchors(page) == {"lse-d-and-lse-c", "10-the-enhancers-call", "a_b-c-e", "twice", "twice-1"}


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    links = [link for link in LINK.findall(text_of(path)) if not re.match(r"[a-z]+:", link)]
    wrong = {}
    for link in links:
        name, _, anchor = link.partition("#")
        if why := problem(path.parent / name if name else path, anchor):
            wrong[link] = why
    assert not wrong


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_files_named_in_documents_exist(path: Path) -> None:
    """Paths of the repository in backticks; those with a star are skipped."""
    named = re.findall(rf"`((?:{'|'.join(SOURCES)})/[\w./-]+)`", text_of(path))
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_citations_in_code_lead_somewhere() -> None:
    wrong, found = {}, 0
    for path in sources():
        for citation in CITATION.findall(text_of(path)):
            name, _, anchor = citation.partition("#")
            found += 1
            if why := problem(ROOT / name, anchor):
                wrong[f"{path.relative_to(ROOT)}: {citation}"] = why
    assert not wrong
    assert found > 50  # the modules of networks and of the original's steps alone have as many


def test_no_document_is_cited_that_is_not_in_the_repository() -> None:
    here = {path.name for path in DOCS} | WRITTEN
    wrong = []
    for path in [*DOCS, *sources()]:
        text = text_of(path)
        names = {name for name in re.findall(r"[\w-]+\.md\b", text) if name not in here}
        wrong += [f"{path.relative_to(ROOT)}: {name}" for name in [*sorted(names), *FOREIGN.findall(text)]]
    assert not wrong


def test_every_network_has_a_section_that_its_module_cites() -> None:
    from retalk_models.build import NETWORKS

    described = anchors(ROOT / "docs" / "networks.md")
    for name, (module, _) in NETWORKS.items():
        path = ROOT.joinpath(*module.split(".")).with_suffix(".py")
        cited = re.findall(r"docs/networks\.md#([\w-]+)", text_of(path).split('"""')[1])
        assert cited, f"{path.relative_to(ROOT)}: the module's docstring cites no section of docs/networks.md"
        assert cited[0].replace("-", "") == name
        assert set(cited) <= described


def test_the_map_names_every_folder() -> None:
    """The section "Map" of docs/architecture.md: a table whose first cells are folders."""
    page = text_of(ROOT / "docs" / "architecture.md")
    section = page.split("\n## Map\n", 1)[1].split("\n## ", 1)[0]
    mapped = re.findall(r"^\| `([\w/]+)/` \|", section, flags=re.MULTILINE)
    present = {
        path.parent.relative_to(ROOT).as_posix()
        for folder in MAPPED
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert sorted(mapped) == sorted(present)


def test_architecture_opens_with_a_picture_of_the_dataflow() -> None:
    page = text_of(ROOT / "docs" / "architecture.md")
    opening = page.split("\n## ", 1)[0]
    assert opening.count("```mermaid\n") == 1


@pytest.mark.parametrize("package", SOURCES)
def test_docstrings_state_what_a_thing_is_or_does(package: str) -> None:
    """No docstring opens with an indirect question ("What ...", "Whether ...")."""
    questions = re.compile(r"(What|Whether|Which|How|Who|Why)\b")
    wrong = []
    for path in sorted((ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(text_of(path))):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                text = ast.get_docstring(node) or ""
                if questions.match(text):
                    wrong.append(f"{path.relative_to(ROOT)}: {text.splitlines()[0]}")
    assert not wrong


def test_the_path_of_one_title_is_twelve_files_with_the_stages_of_the_default_engine() -> None:
    from pipelines.engine.config import load_engine

    page = text_of(ROOT / "docs" / "architecture.md")
    section = page.split("\n## The path of one title\n", 1)[1].split("\n## ", 1)[0]
    files = re.findall(r"^\d+\. `([\w/]+\.py)`", section, flags=re.MULTILINE)
    assert len(files) == 12
    assert all((ROOT / name).is_file() for name in files)
    stages = [entry.stage.split(":")[0].replace(".", "/") + ".py" for entry in load_engine("exemplar").stages]
    assert [name for name in files if name.startswith("operators/")] == stages
