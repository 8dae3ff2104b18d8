"""A sweep as one HTML file that needs no other file and no network."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass

from operators.storage.redact import redact
from pipelines.evaluation.results.labels import PUBLISHED
from pipelines.evaluation.results.published import DATA
from pipelines.evaluation.results.scores import Sweep
from pipelines.evaluation.results.tables import (
    Comparison,
    comparison_rows,
    fallen_out,
    published_lines,
    unmeasured,
)
from pipelines.evaluation.results.texts import TESTED, caption, record, remarks

STYLE = """
:root { color-scheme: light dark; --line: #8886; --faint: #555; }
@media (prefers-color-scheme: dark) { :root { --faint: #aaa; } .plots img { filter: invert(0.92) hue-rotate(180deg); } }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 75rem; padding: 1rem 1.5rem 4rem; }
h1 { font-size: 1.6rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin-top: 2.5rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .875rem; }
th, td { padding: .3rem 1rem .3rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
thead th { border-bottom-width: 2px; }
td { font-variant-numeric: tabular-nums; }
th[scope=row], td.text { max-width: 30rem; overflow-wrap: anywhere; }
th[scope=row] { min-width: 7rem; }
td.number { white-space: nowrap; }
td small, figcaption { color: var(--faint); }
tr.published :is(th, td) { color: var(--faint); font-weight: normal; font-style: italic; }
figure { margin: 1rem 0; }
figure img { max-width: 100%; height: auto; background: white; border-radius: .25rem; }
figcaption { font-size: .875rem; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(30rem, 100%), 1fr)); gap: 0 1.5rem; align-items: start; }
.plots .broad { grid-column: 1 / -1; }
summary { cursor: pointer; }
"""
#: Rows of a table that is shown at once; longer ones are folded.
OPEN = 30
_NUMBER = re.compile(r"–|[+-]?[\d.]+(?:e[+-]\d+)?(?: / \d+)?")
_INTERVAL = re.compile(r"([+-]?[\d.]+) (\[[^\]]*\])")


@dataclass(frozen=True)
class Picture:
    """A picture of the page.

    Attributes:
        title: what it shows.
        content: PNG or JPEG.
        broad: it takes the whole width.
    """

    title: str
    content: bytes
    broad: bool = False


def report_page(
    sweep: Sweep,
    rows: Sequence[Sequence[str]],
    tests: Sequence[Comparison],
    plots: Sequence[Picture],
    sheets: Sequence[Picture],
    notes: Sequence[str],
) -> str:
    """``report.html`` of a sweep.

    Args:
        sweep: its scores.
        rows: cells of the table of scores.
        tests: paired tests of its systems.
        plots, sheets: its pictures.
        notes: what could not be drawn.
    """
    name = redact(str(sweep.about.get("name") or sweep.directory))
    body = [f"<p>{html.escape(caption(sweep))}</p>", as_table(rows)]
    body += [f"<p>{html.escape(one)}</p>" for one in remarks(sweep)]
    if str(sweep.about.get("data", "")) not in DATA:
        told = "VideoReTalking's Table 1 (Cheng et al., 2022), on other data: not comparable with the rows above."
        body += ["<h2>Published numbers</h2>", f"<p>{html.escape(told)}</p>", as_table(published_lines())]
    if len(gone := fallen_out(sweep)) > 1:
        body += ["<h2>Not scored</h2>", as_table(gone)]
    if len(without := unmeasured(sweep)) > 1:
        body += ["<h2>Without a value</h2>", as_table(without)]
    if tests:
        body += ["<h2>Differences between systems</h2>", f"<p>{html.escape(TESTED)}</p>"]
        found = as_table(comparison_rows(tests))
        folded = f"<details><summary>{len(tests)} comparisons</summary>{found}</details>"
        body.append(folded if len(tests) > OPEN else found)
    if plots:
        body += [
            "<h2>Plots</h2>",
            f'<div class="plots">{"".join(map(_figure, plots))}</div>',
        ]
    if sheets:
        body += ["<h2>Best and worst clips</h2>", *map(_figure, sheets)]
    if notes:
        listed = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
        body += ["<h2>Notes</h2>", f"<ul>{listed}</ul>"]
    if how := record(sweep.about):
        body += ["<h2>How it was made</h2>", as_table([("", ""), *how])]
    return document(f"Evaluation: {name}", body)


def document(title: str, body: Sequence[str]) -> str:
    """A whole HTML document; ``body`` is markup, the title is text."""
    shown = html.escape(title)
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{shown}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{shown}</h1>\n"
        + "\n".join(body)
        + "\n</main>\n</body>\n</html>\n"
    )


def as_table(rows: Sequence[Sequence[str]]) -> str:
    """Rows as an HTML table; the first row is the heading, left out where all its cells are empty."""
    heading, *others = rows
    head = "".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in heading)
    head = f"<thead><tr>{head}</tr></thead>" if any(heading) else ""
    lines = []
    for row in others:
        mark = ' class="published"' if row[0].endswith(f"({PUBLISHED})") else ""
        lines.append(
            f'<tr{mark}><th scope="row">{html.escape(row[0])}</th>{"".join(map(_cell, row[1:]))}</tr>'
        )
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="Table"><table>{head}'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _cell(text: str) -> str:
    """A cell of a table; an interval stands below its mean."""
    if interval := _INTERVAL.fullmatch(text):
        return f'<td class="number">{interval[1]}<br><small>{html.escape(interval[2])}</small></td>'
    kind = "number" if _NUMBER.fullmatch(text) else "text"
    return f'<td class="{kind}">{html.escape(text)}</td>'


def _figure(picture: Picture) -> str:
    shown = html.escape(picture.title)
    kind = "png" if picture.content.startswith(b"\x89PNG") else "jpeg"
    source = f"data:image/{kind};base64,{base64.b64encode(picture.content).decode()}"
    mark = ' class="broad"' if picture.broad else ""
    return f'<figure{mark}><img alt="{shown}" src="{source}"><figcaption>{shown}</figcaption></figure>'
