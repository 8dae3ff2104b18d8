"""A sweep's directory after `write_results`: its files, what could not be drawn, and directories on other storage."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import cv2
import fsspec
import pytest

from pipelines.errors import UsageError
from pipelines.evaluation.results.write import write_comparison, write_results
from tests.pipelines.conftest import make_video
from tests.pipelines.evaluation.results.synthetic import row, write_scores
from tests.pipelines.evaluation.results.test_page import Page, check


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Three clips by two systems; one of them failed."""
    folder = tmp_path_factory.mktemp("clips")
    source, result = (str(make_video(folder / f"{name}.mp4", frames=14, sound=False)) for name in "ab")
    found = []
    for n in range(3):
        found.append(row(f"c{n}", "source", video=source, opening_r=0.1 * n, yaw_degrees=5.0 * n))
        found.append(row(f"c{n}", "exemplar", video=source, output=result, opening_r=0.5 + 0.1 * n))
    found.append(row("c9", "exemplar", state="failed", reason="no face", opening_r=None))
    return found


def test_a_directory_has_all_results(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    pytest.importorskip("matplotlib", reason="the package matplotlib is not installed (extra eval)")
    write_scores(tmp_path, rows)
    before = {path.name for path in tmp_path.iterdir()}
    assert write_results(str(tmp_path)) == []
    written = {
        path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()
    } - before
    plots = ("distribution-opening_r", "systems-opening_r", "against-opening_r")
    assert written == {
        *("table.md", "table.csv", "table.tex", "significance.md", "significance.csv", "report.html"),
        *(f"plots/{name}.{kind}" for name in plots for kind in ("png", "svg")),
        *(f"sheets/{kind}-1-exemplar-opening_r.png" for kind in ("best", "worst")),
    }
    for path in tmp_path.rglob("*.png"):
        assert cv2.imread(str(path)) is not None
    page = check((tmp_path / "report.html").read_text())
    assert page.elements.count("img") == 5
    assert "3 / 4" in page.text
    assert "3 / 4" in (tmp_path / "table.md").read_text()
    first = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    write_results(str(tmp_path))
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == first


def test_without_matplotlib_everything_else_is_written(
    tmp_path: Path, rows: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    write_scores(tmp_path, rows)
    (note,) = write_results(str(tmp_path))
    assert "matplotlib is not installed" in note
    assert not (tmp_path / "plots").exists()
    assert (tmp_path / "sheets" / "best-1-exemplar-opening_r.png").is_file()
    for name in ("table.md", "report.html"):
        assert "matplotlib is not installed" in (tmp_path / name).read_text()


def test_clips_that_cannot_be_read_are_named_up_to_five(tmp_path: Path) -> None:
    rows = [row(f"c{n}", "a", video="/gone/v.mp4", output="/gone/o.mp4", opening_r=0.1 * n) for n in range(9)]
    write_scores(tmp_path, rows)
    notes = write_results(str(tmp_path))
    notes = [note for note in notes if "matplotlib" not in note]
    assert len(notes) == 6
    assert notes[-1] == "no pictures of 3 more clips"
    assert not (tmp_path / "sheets").exists()


def test_plots_and_sheets_of_an_earlier_run_do_not_stay(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    """Files that a run before wrote and this one does not; files of others are left alone."""
    write_scores(tmp_path, rows)
    write_results(str(tmp_path))
    (tmp_path / "sheets" / "mine.txt").write_text("mine")
    write_scores(tmp_path, [row("x", "a", cpbd=0.5)])
    write_results(str(tmp_path))
    assert [path.name for path in (tmp_path / "sheets").iterdir()] == ["mine.txt"]
    assert not list(tmp_path.glob("plots/*opening_r*"))


def test_results_on_other_storage(tmp_path: Path) -> None:
    local = write_scores(tmp_path, [row("x", "a", cpbd=0.5)])
    memory = fsspec.filesystem("memory")
    for path in local.iterdir():
        memory.pipe_file(f"/sweep/{path.name}", path.read_bytes())
    write_results("memory://sweep")
    assert "a | cross" in re.sub(" +", " ", memory.cat_file("/sweep/table.md").decode())
    assert memory.exists("/sweep/report.html")


def test_a_comparison_is_written_where_it_is_asked_for(tmp_path: Path) -> None:
    for name, value in (("a", 0.5), ("b", 0.75)):
        write_scores(tmp_path / name, [row("x", "exemplar", cpbd=value)])
    places = [str(tmp_path / name) for name in "ab"]
    text = write_comparison(*places, None)
    assert "+0.2500" in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
    assert write_comparison(*places, str(tmp_path / "out")) == text
    assert (tmp_path / "out" / "comparison.md").read_text() == text
    assert "+0.2500" in Page((tmp_path / "out" / "comparison.html").read_text()).text
    assert ",0.25," in (tmp_path / "out" / "comparison.csv").read_text()


def test_no_scores(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"has no scores\.parquet"):
        write_results(str(tmp_path))
    assert list(tmp_path.iterdir()) == []
