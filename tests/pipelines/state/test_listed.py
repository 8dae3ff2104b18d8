"""Dubs of the newest manifest, with and without a record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipelines.manifest.titles import Dub, Title
from pipelines.state.listed import pending, split_listed, write_listed


def record(title: str, dub: str) -> Any:
    return {"title": title, "dub": dub}


def test_listed_and_pending(tmp_path: Path) -> None:
    records = [record("a", "deu"), record("gone", "dub")]
    assert split_listed(str(tmp_path), records) == (records, [])
    assert pending(str(tmp_path), records) == [], "nothing is written down"
    dubs = [Dub(name, "s.wav", f"{name}.mp4") for name in ("deu", "fra")]
    write_listed(str(tmp_path), [Title("b", "v.mp4", ()), Title("a", "v.mp4", tuple(dubs))])
    assert split_listed(str(tmp_path), records) == (records[:1], records[1:])
    assert pending(str(tmp_path), records) == [("a", "fra")]
