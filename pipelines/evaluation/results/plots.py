"""Plots of a sweep as PNG and SVG, by matplotlib without a display."""

from __future__ import annotations

import contextlib
import io
import itertools
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.evaluation.results.labels import Column, columns_of, shortened, system_name
from pipelines.evaluation.results.scores import COVARIATES, Arm, Sweep
from pipelines.state.run_directory import slug
from retalk_models.installation import install_hint

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Columns that scores are drawn against.
AGAINST = ("yaw_degrees", "loudness_lufs", "face_height")
#: Points of one plot that are drawn as shapes in SVG; more are drawn as one picture inside it.
SHAPES = 2000
#: Colours that people with red-green blindness tell apart (Okabe and Ito, 2008).
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000", "#999933")
#: Systems that one plot of pairs compares, at most.
MOST_PAIRS = 6
#: Longest name of a system, characters.
LONGEST = 28
#: Settings of all plots: names are shown as they are, and the same scores give the same file.
SETTINGS: dict[Any, Any] = {
    "text.parse_math": False,
    "svg.hashsalt": "retalk",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "white",
}


def why_no_plots() -> str:
    """ "" where plots can be drawn, else what to install."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return f"no plots: matplotlib is not installed; {install_hint('eval')}"
    return ""


def draw_plots(sweep: Sweep) -> Iterator[tuple[str, str, Figure]]:
    """Draw the plots of a sweep one after the other.

    Yields:
        Name of the file without its ending, what the plot shows, and the figure (`rendered`). A plot without values is left out.
    """
    with _settings():
        for column in (one for one in columns_of(sweep) if one.metric in sweep.metrics):
            if any(len(sweep.values(arm, column.metric)) for arm in sweep.arms):
                name = slug(column.metric)
                yield f"distribution-{name}", f"Distribution of {column.title}", _distribution(sweep, column)
                if (figure := _systems(sweep, column)) is not None:
                    yield f"systems-{name}", f"{column.title}, system against system", figure
                if (figure := _against(sweep, column)) is not None:
                    yield f"against-{name}", f"{column.title} against the clips", figure
        if (figure := _lags(sweep)) is not None:
            yield "lags", "Offset of sound and lips", figure


def rendered(figure: Figure, kind: str) -> bytes:
    """A figure as ``png`` or ``svg``; the same figure gives the same bytes."""
    file = io.BytesIO()
    with _settings():
        metadata = {"Date": None} if kind == "svg" else {"Software": None}
        figure.savefig(file, format=kind, dpi=120, metadata=metadata)
    return file.getvalue()


@contextlib.contextmanager
def _settings() -> Iterator[None]:
    """matplotlib's defaults and `SETTINGS`, whatever the user's own; no warning about letters that a font lacks."""
    import matplotlib as mpl

    with warnings.catch_warnings(), mpl.rc_context():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        mpl.rcdefaults()
        mpl.rcParams.update(SETTINGS)
        yield


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _names(sweep: Sweep) -> dict[Arm, str]:
    """Names of arms; the protocol stands beside where there are two."""
    protocols = {arm.protocol for arm in sweep.arms}
    return {
        arm: system_name(sweep, arm, LONGEST)
        + (f", {shortened(arm.protocol, 15)}" if len(protocols) > 1 else "")
        for arm in sweep.arms
    }


def _colour(sweep: Sweep, arm: Arm) -> str:
    return COLOURS[sweep.arms.index(arm) % len(COLOURS)]


def _distribution(sweep: Sweep, column: Column) -> Figure:
    """Boxes (median, quartiles, 5 and 95 %) with the clips as dots, a system a row."""
    names = _names(sweep)
    arms = [arm for arm in sweep.arms if len(sweep.values(arm, column.metric))]
    figure = _figure(6.4, 1.0 + 0.55 * len(arms))
    axes = figure.subplots()
    values = [sweep.values(arm, column.metric) for arm in arms]
    rng = np.random.default_rng(0)
    for number, (arm, found) in enumerate(zip(arms, values)):
        heights = number + rng.uniform(-0.2, 0.2, len(found))
        axes.plot(
            found,
            heights,
            ".",
            color=_colour(sweep, arm),
            alpha=max(0.05, min(0.6, 60 / len(found))),
            markersize=5,
            rasterized=len(found) > SHAPES,
            zorder=1,
        )
    axes.boxplot(
        values,
        orientation="horizontal",
        positions=range(len(arms)),
        widths=0.5,
        whis=(5, 95),
        showfliers=False,
        medianprops={"color": "black", "linewidth": 1.5},
        zorder=2,
    )
    axes.set_yticks(range(len(arms)), [f"{names[arm]}\nn = {len(v)}" for arm, v in zip(arms, values)])
    axes.invert_yaxis()
    axes.set_xlabel(column.title)
    return figure


def _against(sweep: Sweep, column: Column) -> Figure | None:
    """Scores against what differs from clip to clip, with Spearman's rank correlation."""
    from scipy.stats import spearmanr

    there = [name for name in AGAINST if name in sweep.columns]
    drawn = []
    for name in there:
        for arm in sweep.arms:
            rows = sweep.rows(arm)
            both = np.stack([sweep.columns[name][rows], sweep.columns[column.metric][rows]])
            both = both[:, np.isfinite(both).all(0)]
            if both.shape[1] >= 2:
                drawn.append((name, arm, both))
    kinds = [name for name in there if any(one[0] == name for one in drawn)]
    if not kinds:
        return None
    names = _names(sweep)
    figure = _figure(3.6 * len(kinds) + 0.4, 3.2 + 0.16 * len(sweep.arms))
    for axes, name in zip(np.atleast_1d(figure.subplots(1, len(kinds), sharey=True)), kinds):
        for _, arm, (x, y) in (one for one in drawn if one[0] == name):
            varies = len(x) >= 3 and np.ptp(x) > 0 and np.ptp(y) > 0
            rank = f", ρ = {spearmanr(x, y).statistic:+.2f}" if varies else ""
            axes.plot(
                x,
                y,
                "o",
                color=_colour(sweep, arm),
                alpha=max(0.1, min(0.8, 100 / len(x))),
                markersize=4,
                markeredgewidth=0,
                label=f"{names[arm]}{rank}".lstrip("_"),
                rasterized=len(x) > SHAPES,
            )
        axes.set_xlabel(COVARIATES[name])
        axes.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.2), frameon=False)
    figure.axes[0].set_ylabel(column.title)
    return figure


def _systems(sweep: Sweep, column: Column) -> Figure | None:
    """Each clip's score by one system against its score by another."""
    pairs = [
        pair
        for pair in itertools.combinations(sweep.arms, 2)
        if pair[0].protocol == pair[1].protocol and len(sweep.paired(column.metric, *pair)[0])
    ][:MOST_PAIRS]
    if not pairs:
        return None
    names = _names(sweep)
    across = min(3, len(pairs))
    down = -(-len(pairs) // across)
    figure = _figure(3.1 * across, 3.1 * down)
    places = np.atleast_1d(figure.subplots(down, across)).ravel()
    for axes in places[len(pairs) :]:
        axes.set_axis_off()
    for axes, (one, other) in zip(places, pairs):
        x, y = sweep.paired(column.metric, one, other)
        low, high = min(x.min(), y.min()), max(x.max(), y.max())
        room = 0.05 * (high - low) or 1.0
        axes.plot([low - room, high + room], [low - room, high + room], "-", color="#bbbbbb", linewidth=1)
        axes.plot(
            x,
            y,
            "o",
            color=COLOURS[0],
            alpha=max(0.1, min(0.8, 100 / len(x))),
            markersize=4,
            markeredgewidth=0,
            rasterized=len(x) > SHAPES,
        )
        axes.set_xlabel(names[one], fontsize=7)
        axes.set_ylabel(names[other], fontsize=7)
        axes.set_aspect("equal")
        axes.set_title(f"n = {len(x)}", fontsize=8)
    figure.suptitle(f"{column.title}: the same clips by two systems")
    return figure


def _lags(sweep: Sweep) -> Figure | None:
    """Numbers of clips by offset: SyncNet's, else that of the mouth's opening."""
    for name, label in (("lse_offset", COVARIATES["lse_offset"]), ("opening_lag", "opening lag, frames")):
        found = {}
        for arm in sweep.arms if name in sweep.columns else ():
            values = sweep.columns[name][sweep.rows(arm)]
            if len(values := values[np.isfinite(values)]):
                found[arm] = values
        if not found:
            continue
        names = _names(sweep)
        whole = np.concatenate(list(found.values()))
        edges = np.arange(np.floor(whole.min()) - 0.5, np.ceil(whole.max()) + 1.5)
        figure = _figure(6.4, 0.6 + 1.2 * len(found))
        places = np.atleast_1d(figure.subplots(len(found), 1, sharex=True))
        for axes, (arm, values) in zip(places, found.items()):
            axes.hist(values, edges, color=_colour(sweep, arm), rwidth=0.9)
            axes.axvline(0, color="#888888", linewidth=0.8)
            axes.set_title(f"{names[arm]} (n = {len(values)}, median {np.median(values):+.1f})", fontsize=8)
            axes.set_ylabel("clips")
            axes.yaxis.get_major_locator().set_params(integer=True)
        places[-1].set_xlabel(label)
        places[-1].xaxis.get_major_locator().set_params(integer=True)
        return figure
    return None
