"""Charts as SVG, drawn in the page's own colours."""

from __future__ import annotations

import html
from collections.abc import Sequence

import numpy as np

WIDTH, HEIGHT, FOOT, HEAD = 280, 110, 18, 22


def histogram(values: Sequence[float], name: str, unit: str, bars: int) -> str:
    """Return the distribution of finite values as an SVG element with a title for screen readers.

    Args:
        values: one per dub.
        name: of the metric.
        unit: of the values, "" for none.
        bars: number of bars.
    """
    found = np.array([value for value in values if np.isfinite(value)], np.float64)
    counts, edges = (
        np.histogram(found, bars) if len(found) else (np.zeros(bars, int), np.linspace(0, 1, bars + 1))
    )
    most = max(1, int(counts.max()))
    step, room = WIDTH / bars, HEIGHT - FOOT - HEAD
    shapes = []
    for number, amount in enumerate(counts.tolist()):
        tall = room * amount / most
        told = html.escape(f"{edges[number]:.4g} to {edges[number + 1]:.4g}: {amount}")
        shapes.append(
            f'<rect x="{number * step:.2f}" y="{HEAD + room - tall:.2f}" width="{step - 1:.2f}" height="{tall:.2f}" '
            f'fill="var(--accent)"><title>{told}</title></rect>'
        )
    label = html.escape(f"{name}{f' ({unit})' if unit else ''}, {len(found)} dubs")
    texts = (
        f'<text x="0" y="14" fill="currentColor" font-size="12">{label}</text>'
        f'<text x="0" y="{HEIGHT - 4}" fill="currentColor" font-size="11">{edges[0]:.4g}</text>'
        f'<text x="{WIDTH}" y="{HEIGHT - 4}" fill="currentColor" font-size="11" text-anchor="end">{edges[-1]:.4g}</text>'
    )
    return (
        f'<svg role="img" aria-label="Distribution of {label}" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}">'
        f"{texts}{''.join(shapes)}</svg>"
    )
