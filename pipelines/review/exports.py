"""Verdicts for other programs: CSV for spreadsheets, JUnit's XML for build servers."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from typing import TypeVar
from xml.etree import ElementTree

from operators.storage.redact import redact
from pipelines.manifest.titles import label
from pipelines.review.people import people_text
from pipelines.review.verdict import Reason, judge
from pipelines.state.run_directory import Record

T = TypeVar("T")
#: Characters that XML 1.0 cannot hold.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def as_csv(records: Sequence[Record]) -> str:
    """Return one line per dub: title, dub, verdict, reasons, output, seconds, who was dubbed for how long, and a column for each metric."""
    names = sorted({metric["name"] for record in records for metric in record.get("metrics") or ()})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["title", "dub", "verdict", "reasons", "output", "seconds", "people", *names])
    for record in records:
        verdict, reasons = judge(record)
        values = {metric["name"]: metric["value"] for metric in record.get("metrics") or ()}
        said = "; ".join(map(_said, reasons))
        plain = [
            record["title"],
            record["dub"],
            verdict,
            said,
            redact(record["output"]),
            record["video_seconds"],
            people_text(record),
        ]
        writer.writerow([*map(spreadsheet_safe, plain), *(values.get(name, "") for name in names)])
    return text.getvalue()


def as_junit(records: Sequence[Record]) -> str:
    """Return a test suite with a case per dub: failed dubs are failures, those to look at are skipped with the reason. The property
    ``people`` says who was dubbed for how long.
    """
    verdicts = [judge(record) for record in records]
    counts = {name: str(sum(verdict == name for verdict, _ in verdicts)) for name in ("failed", "review")}
    sums = {"tests": str(len(records)), "failures": counts["failed"], "skipped": counts["review"]}
    suite = ElementTree.Element("testsuite", {"name": "retalk", **sums})
    for record, (verdict, reasons) in zip(records, verdicts):
        name = _NOT_XML.sub("?", label(record["title"], record["dub"]))
        spent = {"time": f"{record['seconds'] or 0:.3f}", "classname": record["engine"]}
        case = ElementTree.SubElement(suite, "testcase", {"name": name, **spent})
        if people := people_text(record):
            properties = ElementTree.SubElement(case, "properties")
            ElementTree.SubElement(
                properties, "property", {"name": "people", "value": _NOT_XML.sub("?", people)}
            )
        if verdict != "ok":
            message = _NOT_XML.sub("?", "; ".join(map(_said, reasons)))
            ElementTree.SubElement(
                case, "failure" if verdict == "failed" else "skipped", {"message": message}
            )
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _said(reason: Reason) -> str:
    return redact(reason.text) + ("" if reason.at is None else f" at {reason.at:.1f} s")


def spreadsheet_safe(value: T) -> T | str:
    """A text that a spreadsheet would run as a formula gets an apostrophe in front."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
