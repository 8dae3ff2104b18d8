"""Manifest files: what separates the cells of a CSV, what a spreadsheet leaves behind, lines of JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.manifest.files import ManifestError, read_rows


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_cells_are_separated_by_what_the_header_says(tmp_path: Path, separator: str) -> None:
    path = tmp_path / "m.csv"
    others = [one for one in ",;|" if one != separator]
    name = f"a{''.join(others)}b.mp4"
    lines = [["id", "video", "speech", "output"], ["1", name, "s.wav", "o.mp4"]]
    path.write_text(
        "".join(separator.join(line) + "\r\n" for line in lines), newline="", encoding="utf-8-sig"
    )
    assert read_rows(str(path)) == [
        (f"{path} row 2", {"id": "1", "video": name, "speech": "s.wav", "output": "o.mp4"})
    ]


def test_a_quoted_cell_may_hold_the_separator(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text('id;video;speech\n"a;b";v.mp4;"s.wav"\n')
    assert read_rows(str(path)) == [(f"{path} row 2", {"id": "a;b", "video": "v.mp4", "speech": "s.wav"})]


def test_empty_lines_and_cells_of_a_spreadsheet_are_nothing(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("id,video,speech,face\na,v,s,\n,,,\n\n ,v,s,left\n")
    assert [row for _, row in read_rows(str(path))] == [
        {"id": "a", "video": "v", "speech": "s"},
        {"video": "v", "speech": "s", "face": "left"},
    ]


def test_a_first_line_without_any_known_column_is_told(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("ep1,ep1.mp4,ep1.wav\nep2,ep2.mp4,ep2.wav\n")
    with pytest.raises(
        ManifestError,
        match=r"the first line names no column of a manifest .*a header such as id,video,speech,output",
    ):
        read_rows(str(path))


def test_only_line_feeds_end_a_line_of_json(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    rows = [{"id": "a\u2028b\x85"}, {"id": "c"}]
    path.write_text(
        "\r\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8", newline=""
    )
    assert [row for _, row in read_rows(str(path))] == rows


def test_a_missing_manifest_names_the_folder_it_was_looked_for_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ManifestError, match=f"^m.jsonl: no such file in {tmp_path}$"):
        read_rows("m.jsonl")
