"""The review page: a folder of static files that a browser opens from a disk or from object storage.

``index.html`` holds styles, scripts and sums; the dubs come in files of their own, worst first: short rows for the list, and
details of a hundred dubs a file, loaded when one of them is opened. Nothing is fetched from anywhere else.
"""

from __future__ import annotations

import base64
import html
import json
import os
import urllib.parse
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from operators.storage.files import filesystem, join
from operators.storage.redact import redact
from pipelines.monitoring.formatting import count, duration
from pipelines.review.charts import histogram
from pipelines.review.verdict import Reason, Verdict, judge, severity
from pipelines.state.run_directory import Record, write_text

#: Dubs in one file of rows, and of details.
ROWS, DETAILS = 2000, 100
#: Scripts in the order of their imports.
SCRIPTS = ("dom", "address", "data", "decisions", "players", "list", "title", "main")
#: Bars of a distribution.
BARS = 24


def write_page(
    run_dir: str, report: Mapping[str, Any], records: Sequence[Record], folder: str | None = None
) -> str:
    """Write the page.

    Args:
        run_dir: fsspec URL of the run directory, by which decisions are kept apart.
        report: of `pipelines.cli.report.read_report`.
        records: those that the newest manifest lists.
        folder: fsspec URL to write into; None: ``report`` in the run directory.

    Returns:
        URL of ``index.html``.

    Raises:
        OSError: the folder cannot be written.
    """
    folder = folder or join(run_dir, "report")
    judged = [(record, *judge(record)) for record in records]
    judged.sort(key=lambda one: (-severity(one[1], one[2]), one[0]["title"], one[0]["dub"]))
    for number in range(0, len(judged), ROWS):
        rows = [_row(index, *one) for index, one in enumerate(judged[number : number + ROWS], number)]
        _write_data(folder, "rows", number // ROWS, "retalkRows", rows)
    for number in range(0, len(judged), DETAILS):
        details = [_detail(folder, *one) for one in judged[number : number + DETAILS]]
        _write_data(folder, "details", number // DETAILS, "retalkDetails", details)
    _sweep(folder, {"rows": -(-len(judged) // ROWS), "details": -(-len(judged) // DETAILS)})
    index = join(folder, "index.html")
    write_text(index, _index(run_dir, report, judged))
    return index


def _index(
    run_dir: str, report: Mapping[str, Any], judged: Sequence[tuple[Record, Verdict, list[Reason]]]
) -> str:
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


def _overview(report: Mapping[str, Any], judged: Sequence[tuple[Record, Verdict, list[Reason]]]) -> str:
    verdicts = [verdict for _, verdict, _ in judged]
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
    listed = "".join(f"<li><strong>{value}</strong>{text}</li>" for value, text in tiles)
    values: dict[str, list[float]] = {}
    units: dict[str, str] = {}
    for record, _, _ in judged:
        for metric in record.get("metrics") or ():
            values.setdefault(metric["name"], []).append(float(metric["value"]))
            units[metric["name"]] = metric["unit"]
    charts = "".join(
        f"<figure>{histogram(found, name, units[name], BARS)}</figure>"
        for name, found in sorted(values.items())
    )
    engine = html.escape(f"Engine {report['engine']}, profile {report['profile']}")
    return f'<p class="faint">{engine}</p><ul class="tiles">{listed}</ul><div class="charts">{charts}</div>'


def _row(index: int, record: Record, verdict: Verdict, reasons: list[Reason]) -> list[Any]:
    """One line of the list, in the order that ``assets/data.js`` names (``ROW``)."""
    first = reasons[0].text if reasons else ""
    return [
        record["title"],
        record["dub"],
        record["state"],
        verdict,
        severity(verdict, reasons),
        redact(first)[:200],
        record["video_seconds"] or 0,
        record["language"],
        index // DETAILS,
    ]


def _detail(folder: str, record: Record, verdict: Verdict, reasons: list[Reason]) -> dict[str, Any]:
    wanted = (
        "title",
        "dub",
        "state",
        "error",
        "language",
        "engine",
        "frames",
        "video_seconds",
        "seconds",
        "finished",
    )
    plain = {name: record[name] if record[name] is not None else "" for name in wanted}
    done = record["state"] == "done"
    media = {kind: _address(folder, record[kind]) if done else "" for kind in ("video", "output")}
    return {
        **plain,
        **{kind: redact(record[kind]) for kind in ("video", "speech", "output")},
        "verdict": verdict,
        "reasons": [{"text": redact(reason.text), "at": reason.at} for reason in reasons],
        "notes": [redact(note) for note in record["notes"] or []],
        "metrics": list(record.get("metrics") or []),
        "media": media,
        "strip": "",
    }


def _address(folder: str, url: str) -> str:
    """Return where a browser finds a file from the page: a path from the page's folder for files of this machine or of the
    same bucket, web addresses as they are, "" for others.
    """
    if "://" not in folder and "://" not in url:
        return urllib.parse.quote(os.path.relpath(Path(url).absolute(), Path(folder).absolute()))
    if url.startswith(("https://", "http://")):
        return redact(url)
    protocol, _, rest = url.partition("://")
    own, _, place = folder.partition("://")
    if protocol == own and rest.partition("/")[0] == place.partition("/")[0]:
        return urllib.parse.quote(os.path.relpath(f"/{rest}", f"/{place}"))
    return ""


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
        if name.startswith(("rows-", "details-")) and name.endswith(".js") and name not in wanted:
            fs.rm(file)
