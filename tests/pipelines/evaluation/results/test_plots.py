"""Plots: which are drawn, the same bytes twice, hostile names, and a machine without matplotlib."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

from pipelines.evaluation.results.plots import SHAPES, draw_plots, rendered, why_no_plots
from pipelines.evaluation.results.scores import Sweep
from tests.pipelines.evaluation.results.synthetic import HOSTILE, row, sweep_of

pytest.importorskip("matplotlib", reason="the package matplotlib is not installed (extra eval)")


def scored(count: int = 6, systems: tuple[str, ...] = ("a", "b"), **more: Any) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    return [
        row(
            f"c{n}",
            system,
            lse_c=float(rng.normal(5)),
            yaw_degrees=float(n),
            loudness_lufs=-20.0 - n,
            face_height=100.0 + n,
            lse_offset=float(n % 3),
            **more,
        )
        for n in range(count)
        for system in systems
    ]


def test_each_metric_has_its_plots(tmp_path: Path) -> None:
    plots = {name: figure for name, _, figure in draw_plots(sweep_of(tmp_path, scored(cpbd=0.5)))}
    assert sorted(plots) == [
        *("against-cpbd", "against-lse_c", "distribution-cpbd", "distribution-lse_c", "lags"),
        *("systems-cpbd", "systems-lse_c"),
    ]
    labels = [axes.get_xlabel() for axes in plots["against-lse_c"].axes]
    assert labels == ["yaw, degrees from the front", "loudness of the speech, LUFS", "height of the face, px"]


def test_points_lie_where_the_scores_are(tmp_path: Path) -> None:
    rows = [
        row(name, "a", cpbd=value, yaw_degrees=yaw) for name, value, yaw in (("x", 0.1, 5), ("y", 0.7, 40))
    ]
    rows += [row(name, "b", cpbd=value) for name, value in (("x", 0.2), ("y", 0.9))]
    plots = {name: figure for name, _, figure in draw_plots(sweep_of(tmp_path, rows))}
    (axes,) = plots["against-cpbd"].axes
    np.testing.assert_allclose(axes.lines[0].get_xydata(), [[5, 0.1], [40, 0.7]])
    (axes,) = plots["systems-cpbd"].axes
    np.testing.assert_allclose(axes.lines[1].get_xydata(), [[0.1, 0.2], [0.7, 0.9]])
    assert axes.get_xlabel() == "a"
    assert axes.get_ylabel() == "b"


def test_offsets_are_counted_by_whole_frames(tmp_path: Path) -> None:
    rows = [row(str(n), "a", lse_offset=offset) for n, offset in enumerate((-2, 0, 0, 1))]
    ((_, _, figure),) = list(draw_plots(sweep_of(tmp_path, rows)))
    bars = figure.axes[0].patches
    assert [(bar.get_x() + bar.get_width() / 2, bar.get_height()) for bar in bars] == [
        (pytest.approx(place), count) for place, count in ((-2, 1), (-1, 0), (0, 2), (1, 1))
    ]


def test_the_same_scores_give_the_same_files_whatever_the_users_settings(tmp_path: Path) -> None:
    import matplotlib as mpl

    def files() -> dict[tuple[str, str], bytes]:
        found = draw_plots(sweep_of(tmp_path, scored()))
        return {(name, kind): rendered(figure, kind) for name, _, figure in found for kind in ("png", "svg")}

    first = files()
    with mpl.rc_context({"font.size": 20, "savefig.facecolor": "red", "svg.hashsalt": None}):
        assert files() == first
    for (_, kind), content in first.items():
        if kind == "svg":
            assert b"<dc:date>" not in content
            assert ElementTree.fromstring(content).tag.endswith("svg")
        else:
            picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
            assert min(picture.shape[:2]) > 100


@pytest.mark.filterwarnings("error")
def test_names_are_shown_as_they_are(tmp_path: Path) -> None:
    """Dollars are no formulas, leading underscores hide nothing, missing letters are no reason to warn."""
    names = tuple(dict.fromkeys([*HOSTILE, "_hidden", "$\\frac{$"]))
    sweep = sweep_of(tmp_path, scored(4, names))
    for name, _, figure in draw_plots(sweep):
        content = rendered(figure, "svg")
        ElementTree.fromstring(content)
        assert len(rendered(figure, "png")) > 1000
        if name == "against-lse_c":
            texts = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
            assert len(texts) == len(names)
            assert any("$x_1$" in text for text in texts)


def test_many_points_are_one_picture_inside_the_svg(tmp_path: Path) -> None:
    sizes = {}
    for count in (SHAPES, SHAPES + 500):
        rows = [row(str(n), "a", cpbd=n % 97 / 97, yaw_degrees=float(n % 90)) for n in range(count)]
        plots = {name: figure for name, _, figure in draw_plots(sweep_of(tmp_path, rows))}
        content = rendered(plots["against-cpbd"], "svg")
        sizes[count] = (len(content), content.count(b"<image"))
    assert [number for _, number in sizes.values()] == [0, 1]
    assert sizes[SHAPES + 500][0] < sizes[SHAPES][0]


@pytest.mark.parametrize(
    "rows",
    [[], [row("x", "a", state="failed", cpbd=None)], [row("x", "a", cpbd=float("nan"), yaw_degrees=3.0)]],
    ids=["no rows", "none scored", "no value"],
)
def test_nothing_to_draw(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    assert list(draw_plots(sweep_of(tmp_path, rows))) == []


@pytest.mark.parametrize("value", [0.5, 0.0, -1e9])
def test_a_single_clip_or_equal_scores_are_drawn(tmp_path: Path, value: float) -> None:
    rows = [row(name, "a", cpbd=value, yaw_degrees=10.0) for name in ("x", "y")]
    for sweep in (sweep_of(tmp_path / "one", rows[:1]), sweep_of(tmp_path / "two", rows)):
        for _, _, figure in draw_plots(sweep):
            assert len(rendered(figure, "png")) > 1000


def test_without_matplotlib_it_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    assert why_no_plots() == ""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "matplotlib is not installed" in why_no_plots()
    assert "eval" in why_no_plots()


def test_metrics_of_any_name_have_a_file_of_their_own(tmp_path: Path) -> None:
    sweep: Sweep = sweep_of(tmp_path, [row("x", "a", **{"../../up": 1.0, "a/b": 2.0})])
    names = [name for name, _, _ in draw_plots(sweep)]
    assert len(set(names)) == 2
    assert not any("/" in name for name in names)
