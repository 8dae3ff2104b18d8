"""The review page: a folder of static files that a browser opens from a disk or from object storage.

``index.html`` holds styles, scripts and sums; the dubs come in files of their own, worst first: short rows for the list, and
details and curves of a hundred and of twenty dubs a file, loaded when one of them is opened. Nothing is fetched from anywhere else.
"""

from __future__ import annotations

import base64
import dataclasses
import html
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from typing import Any

from operators.storage.files import filesystem, join
from operators.storage.redact import redact
from pipelines.monitoring.formatting import count, duration
from pipelines.review.charts import histogram
from pipelines.review.details import curves, detail, moved
from pipelines.review.people import people_of
from pipelines.review.verdict import Reason, Verdict, judge, severity
from pipelines.state.earlier import earlier_version
from pipelines.state.run_directory import Record, RunDirectory, write_text

#: Dubs in one file of rows, of details, and of curves.
ROWS, DETAILS, TRACES = 2000, 100, 20
#: Files of the run directory that are read at a time.
READERS = 16
#: Scripts in the order of their imports.
SCRIPTS = ("dom", "address", "decisions", "data", "players", "curves", "parts", "list", "title", "main")
#: Bars of a distribution.
BARS = 24


@dataclasses.dataclass(frozen=True)
class _Shown:
    """A dub on the page: its record, the verdict on it, and the place in the order."""

    record: Record
    verdict: Verdict
    reasons: list[Reason]


def write_page(
    run_dir: str,
    report: Mapping[str, Any],
    records: Sequence[Record],
    folder: str | None = None,
    *,
    strips: bool = False,
    previews: bool = False,
    say: Callable[[str], None] | None = None,
) -> str:
    """Write the page.

    Args:
        run_dir: fsspec URL of the run directory, by which decisions are kept apart, with the dubs' traces and earlier versions.
        report: of `pipelines.cli.report.read_report`.
        records: those that the newest manifest lists.
        folder: fsspec URL to write into; None: ``report`` in the run directory.
        strips: draw close-ups of the worst dubs, for which files are decoded; those that are there already are shown anyway.
        previews: make small copies of all videos, see `pipelines.review.previews`.
        say: told what takes long.

    Returns:
        URL of ``index.html``.

    Raises:
        OSError: the folder cannot be written.
    """
    folder = folder or join(run_dir, "report")
    judged = [_Shown(moved(run_dir, record), *judge(record)) for record in records]
    judged.sort(key=lambda one: (-severity(one.verdict, one.reasons), one.record["title"], one.record["dub"]))
    run = RunDirectory(run_dir)
    drawn = _strips(folder, run, judged, say) if strips else {}
    small, notes = _previews(folder, judged, say) if previews else ({}, [])
    for note in notes:
        if say is not None:
            say(note)
    with ThreadPoolExecutor(READERS) as readers:
        for number in range(0, len(judged), ROWS):
            rows = [_row(index, one) for index, one in enumerate(judged[number : number + ROWS], number)]
            _write_data(folder, "rows", number // ROWS, "retalkRows", rows)
        for number in range(0, len(judged), DETAILS):
            part = judged[number : number + DETAILS]
            traces = list(readers.map(lambda one: _trace(run, one.record), part))
            kept = list(readers.map(lambda one: _kept(run, one.record), part))
            details = []
            for index, (one, (trace, people), earlier) in enumerate(zip(part, traces, kept), number):
                found, note = drawn.get(index, ([], ""))
                details.append(
                    detail(
                        folder,
                        one.record,
                        one.verdict,
                        one.reasons,
                        money=_money(report, one.record, judged),
                        strips=found,
                        previews=small,
                        earlier=earlier,
                        notes=[note] if note else [],
                        people=people,
                        traced=trace is not None,
                    )
                )
            _write_data(folder, "details", number // DETAILS, "retalkDetails", details)
            for begin in range(0, len(part), TRACES):
                held = [trace for trace, _ in traces[begin : begin + TRACES]]
                if any(held):
                    _write_data(folder, "traces", (number + begin) // TRACES, "retalkTraces", held)
    chunks = {"rows": ROWS, "details": DETAILS, "traces": TRACES}
    _sweep(folder, {kind: -(-len(judged) // size) for kind, size in chunks.items()})
    index_file = join(folder, "index.html")
    write_text(index_file, _index(run_dir, report, judged))
    return index_file


def _read_trace(run: RunDirectory, record: Record) -> dict[str, Any] | None:
    return run.read_trace(record) if record["state"] == "done" and record.get("key") else None


def _trace(run: RunDirectory, record: Record) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """A dub's curves with as many points as are shown (hours of a hundred dubs would not fit into memory), and who was dubbed."""
    found = _read_trace(run, record)
    return None if found is None else curves(found), people_of(record, found)


def _kept(run: RunDirectory, record: Record) -> Record | None:
    return earlier_version(run, record) if record.get("key") else None


def _strips(
    folder: str, run: RunDirectory, judged: Sequence[_Shown], say: Callable[[str], None] | None
) -> dict[int, tuple[list[dict[str, object]], str]]:
    """Close-ups of the worst dubs, by their place in the order."""
    from pipelines.review.strips import DUBS, draw_strips, sweep_strips

    found: dict[int, tuple[list[dict[str, object]], str]] = {}
    chosen = [(index, one) for index, one in enumerate(judged) if one.record["state"] == "done"][:DUBS]
    for number, (index, one) in enumerate(chosen, 1):
        if say is not None:
            say(f"close-ups of {number} of {count(len(chosen), 'dub')}")
        found[index] = draw_strips(folder, one.record, one.reasons, _read_trace(run, one.record))
    sweep_strips(folder, {str(strip["file"]) for listed, _ in found.values() for strip in listed})
    return found


def _previews(
    folder: str, judged: Sequence[_Shown], say: Callable[[str], None] | None
) -> tuple[dict[str, str], list[str]]:
    from pipelines.review.previews import make_previews

    urls = [
        one.record[kind] for one in judged if one.record["state"] == "done" for kind in ("video", "output")
    ]
    told = None if say is None else lambda number, of: say(f"{number} of {count(of, 'preview')}")
    return make_previews(folder, urls, told)


def _money(report: Mapping[str, Any], record: Record, judged: Sequence[_Shown]) -> str:
    """A dub's share of what the runs have cost, by the time of its stages; "" where that is not known."""
    spent = report["actual"]
    whole = sum(one.record["seconds"] or 0 for one in judged)
    if not spent["cost"] or not whole or not record["seconds"]:
        return ""
    return f"{spent['cost'] * record['seconds'] / whole:.2f} {spent['currency']}".strip()


def _index(run_dir: str, report: Mapping[str, Any], judged: Sequence[_Shown]) -> str:
    assets = resources.files("pipelines.review") / "assets"
    modules = {
        f"retalk/{name}": "data:text/javascript;base64,"
        + base64.b64encode((assets / f"{name}.js").read_bytes()).decode()
        for name in SCRIPTS
    }
    shown = redact(run_dir)
    summary = {"run": shown, "total": len(judged), "files": -(-len(judged) // ROWS)}
    parts = {
        "STYLE": (assets / "style.css").read_text(encoding="utf-8"),
        "IMPORTS": _json({"imports": modules}),
        "SUMMARY": _json(summary),
        "NAME": html.escape(shown),
        "OVERVIEW": _overview(report, judged),
    }
    page = (assets / "index.html").read_text(encoding="utf-8")
    # One pass, so that a part that has a mark in its text stays as it is.
    pieces = page.split("%%")
    return "".join(parts[piece] if number % 2 else piece for number, piece in enumerate(pieces))


def _overview(report: Mapping[str, Any], judged: Sequence[_Shown]) -> str:
    verdicts = [one.verdict for one in judged]
    tiles = [
        (str(verdicts.count(name)), f'<span class="verdict {name}">{name}</span>')
        for name in ("failed", "review", "ok")
    ]
    tiles.append((html.escape(duration(report["dubs"]["video_seconds"])), "of video"))
    spent = report["actual"]
    tiles.append(
        (html.escape(duration(spent["wall_seconds"])), f"in {html.escape(count(spent['runs'], 'run'))}")
    )
    if spent["cost"]:
        tiles.append((html.escape(f"{spent['cost']:.2f} {spent['currency']}".strip()), "spent"))
    if planned := report.get("forecast"):
        tiles.append((html.escape(_time(planned["wall_seconds"])), "forecast"))
        if planned["cost"] is not None:
            tiles.append(
                (html.escape(f"{planned['cost']:.2f} {planned['currency']}".strip()), "forecast to spend")
            )
    listed = "".join(f"<li><strong>{value}</strong>{text}</li>" for value, text in tiles)
    values: dict[str, list[float]] = {}
    units: dict[str, str] = {}
    for one in judged:
        for metric in one.record.get("metrics") or ():
            values.setdefault(metric["name"], []).append(float(metric["value"]))
            units[metric["name"]] = metric["unit"]
    charts = "".join(
        f"<figure>{histogram(found, name, units[name], BARS)}</figure>"
        for name, found in sorted(values.items())
    )
    engine = html.escape(f"Engine {report['engine']}, profile {report['profile']}")
    drawn = f'<details><summary>Distributions of the metrics</summary><div class="charts">{charts}</div></details>'
    return f'<p class="faint">{engine}</p><ul class="tiles">{listed}</ul>{drawn if charts else ""}'


def _time(seconds: float | None) -> str:
    return "unknown" if seconds is None else duration(seconds)


def _row(index: int, one: _Shown) -> list[Any]:
    """One line of the list, in the order that ``assets/data.js`` names (``ROW``)."""
    record, first = one.record, one.reasons[0].text if one.reasons else ""
    return [
        record["title"],
        record["dub"],
        record["state"],
        one.verdict,
        severity(one.verdict, one.reasons),
        redact(first)[:200],
        record["video_seconds"] or 0,
        record["language"],
        index // DETAILS,
        index,
        record["finished"] or "",
    ]


def _json(value: Any) -> str:
    """JSON that may stand inside a script element."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _name(kind: str, number: int) -> str:
    return f"{kind}-{number:05d}.js"


def _write_data(folder: str, kind: str, number: int, function: str, content: Any) -> None:
    write_text(join(folder, "data", _name(kind, number)), f"{function}({number},{_json(content)});\n")


def _sweep(folder: str, counts: Mapping[str, int]) -> None:
    """Delete data files of an earlier, longer page."""
    fs, path = filesystem(join(folder, "data"))
    if not fs.isdir(path):
        return
    wanted = {_name(kind, number) for kind, most in counts.items() for number in range(most)}
    for file in fs.ls(path, detail=False):
        name = file.rsplit("/", 1)[-1]
        if name.startswith(("rows-", "details-", "traces-")) and name.endswith(".js") and name not in wanted:
            fs.rm(file)
