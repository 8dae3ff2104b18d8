"""Write the results of a sweep: tables, plots, contact sheets, and one page with all of them."""

from __future__ import annotations

import re

import cv2
import numpy as np

from operators.storage.files import atomic_write, filesystem, join
from pipelines.evaluation.results.comparison import compare_sweeps, comparison_page, comparison_text
from pipelines.evaluation.results.latex import as_latex
from pipelines.evaluation.results.markdown import as_markdown
from pipelines.evaluation.results.page import Picture, report_page
from pipelines.evaluation.results.plots import draw_plots, rendered, why_no_plots
from pipelines.evaluation.results.scores import read_sweep
from pipelines.evaluation.results.sheets import SIDES, draw_sheets
from pipelines.evaluation.results.tables import (
    comparison_csv,
    comparison_rows,
    comparisons,
    score_csv,
    score_lines,
    score_rows,
)
from pipelines.evaluation.results.texts import caption, table_text
from pipelines.state.run_directory import write_text

#: Clips without pictures that are named.
NOTES = 5
#: Names of plots and sheets.
PLOTS = re.compile(r"(?:(?:distribution|systems|against)-.*|lags)\.(?:png|svg)")
SHEETS = re.compile(r"(?:worst|best)-\d+-.*\.png")


def write_results(directory: str, sheets: bool = True) -> list[str]:
    """Write the results of a sweep beside its scores.

    Args:
        directory: fsspec URL that `retalk eval` has written to: ``table.md``, ``.csv``, ``.tex``, ``significance.md``, ``.csv``,
            ``plots/*.png`` and ``.svg``, ``sheets/*.png`` and ``report.html`` are written there.
        sheets: draw contact sheets, for which clips are decoded.

    Returns:
        What could not be drawn, and why.

    Raises:
        UsageError: the directory has no scores that can be read.
        OSError: it cannot be written.
    """
    sweep = read_sweep(directory)
    lines = score_lines(sweep)
    rows = score_rows(sweep, lines)
    tests = comparisons(sweep)
    first_published = next((number for number, line in enumerate(lines, 1) if line.published), 0)
    write_text(join(directory, "table.csv"), score_csv(sweep, lines))
    write_text(
        join(directory, "table.tex"),
        as_latex(rows, caption(sweep), [first_published] if first_published else []),
    )
    write_text(join(directory, "significance.csv"), comparison_csv(tests))
    write_text(join(directory, "significance.md"), f"{as_markdown(comparison_rows(tests))}\n")
    notes, plots, drawn, written = list[str](), list[Picture](), list[Picture](), set[str]()
    if why := why_no_plots():
        notes.append(why)
    else:
        for name, title, figure in draw_plots(sweep):
            for kind in ("png", "svg"):
                content = rendered(figure, kind)
                _write_bytes(join(directory, "plots", f"{name}.{kind}"), content)
                written.add(f"{name}.{kind}")
                if kind == "png":
                    plots.append(Picture(title, content, broad=name.startswith("against-")))
    if sheets:
        unseen: dict[str, None] = {}
        for sheet in draw_sheets(sweep):
            unseen |= dict.fromkeys(sheet.notes)
            if sheet.picture is not None:
                picture = np.ascontiguousarray(sheet.picture[..., ::-1])
                content = cv2.imencode(".png", picture)[1].tobytes()
                _write_bytes(join(directory, "sheets", f"{sheet.name}.png"), content)
                written.add(f"{sheet.name}.png")
                drawn.append(Picture(f"{sheet.title}: {SIDES}", cv2.imencode(".jpg", picture)[1].tobytes()))
        notes += list(unseen)[:NOTES]
        if (more := len(unseen) - NOTES) > 0:
            notes.append(f"no pictures of {more} more clips")
    _remove_others(join(directory, "plots"), PLOTS, written)
    _remove_others(join(directory, "sheets"), SHEETS, written)
    write_text(join(directory, "table.md"), table_text(sweep, rows, tests, notes))
    write_text(join(directory, "report.html"), report_page(sweep, rows, tests, plots, drawn, notes))
    return notes


def write_comparison(first: str, second: str, folder: str | None) -> str:
    """Put two sweeps side by side.

    Args:
        first, second: fsspec URLs of their directories.
        folder: fsspec URL to write ``comparison.md``, ``.csv`` and ``.html`` to; None: nothing is written.

    Returns:
        The comparison as Markdown.

    Raises:
        UsageError: one of them has no scores that can be read.
        OSError: the folder cannot be written.
    """
    found = compare_sweeps(read_sweep(first), read_sweep(second))
    text = comparison_text(found)
    if folder is not None:
        write_text(join(folder, "comparison.md"), text)
        write_text(join(folder, "comparison.csv"), found.csv())
        write_text(join(folder, "comparison.html"), comparison_page(found))
    return text


def _remove_others(folder: str, ours: re.Pattern[str], written: set[str]) -> None:
    """Remove plots or sheets of earlier scores; files with other names stay."""
    fs, path = filesystem(folder)
    for file in fs.ls(path, detail=False) if fs.isdir(path) else ():
        name = file.rsplit("/", 1)[-1]
        if ours.fullmatch(name) and name not in written:
            fs.rm(file)


def _write_bytes(url: str, content: bytes) -> None:
    with atomic_write(url) as path:
        path.write_bytes(content)
