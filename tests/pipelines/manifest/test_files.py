"""Manifest files: what separates the cells of a CSV, what a spreadsheet leaves behind, lines of JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.manifest.files import ManifestError, read_rows
from tests.rights import without_root


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


def test_empty_lines_in_front_of_the_header_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("\n  \r\nid;video\n1;v\n", newline="")
    assert read_rows(str(path)) == [(f"{path} row 4", {"id": "1", "video": "v"})]


def test_tabs_of_a_tsv_file(tmp_path: Path) -> None:
    path = tmp_path / "m.tsv"
    path.write_text("id\tvideo\n1\ta,b;c.mp4\n")
    assert read_rows(str(path)) == [(f"{path} row 2", {"id": "1", "video": "a,b;c.mp4"})]


@pytest.mark.parametrize(
    ("name", "text"), [("m.csv", "id;video\r1;v\r2;w\r"), ("m.jsonl", '{"id": 1}\r{"id": 2}')]
)
def test_carriage_returns_alone_end_lines(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text, newline="")
    assert [(where[-5:], str(row["id"])) for where, row in read_rows(str(path)) if isinstance(row, dict)] == [
        (f"row {n + (name == 'm.csv')}", str(n)) for n in (1, 2)
    ]


def test_a_column_that_appears_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("id,video,speech, video\n1,v,s,w\n")
    with pytest.raises(
        ManifestError, match=r"m\.csv: column 'video' appears twice in the header; remove one"
    ):
        read_rows(str(path))
    path.write_text("id,video,,\n1,v,,\n")
    assert len(read_rows(str(path))) == 1, "nameless columns are a spreadsheet's"


def test_a_manifest_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0)
    path = tmp_path / "m.csv"
    path.write_text("id,video\n1,v\n")
    path.chmod(0)
    with without_root():
        for url in (tmp_path / "locked" / "m.csv", path):
            with pytest.raises(ManifestError, match=r"m\.csv: cannot be read \(Permission denied\)$"):
                read_rows(str(url))
    with pytest.raises(ManifestError, match=r"no such file$"):
        read_rows(f"{path}/below.csv")


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


def test_files_of_spreadsheets_in_other_encodings(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("id\tvideo\tspeech\nü\tv.mp4\ts.wav\n", encoding="utf-16")
    assert read_rows(str(path)) == [(f"{path} row 2", {"id": "ü", "video": "v.mp4", "speech": "s.wav"})]
    for encoding in ("utf-16-le", "utf-16-be", "utf-32"):
        for text in ("id,video,speech\na,v.mp4,s.wav\n", "id,video,speech\nü,v.mp4,s.wav\n"):
            path.write_bytes(text.encode(encoding))
            with pytest.raises(ManifestError, match=r"m\.csv: looks like UTF-16 or UTF-32.*save it as UTF-8"):
                read_rows(str(path))
    path.write_bytes("id,video,speech\na,v.mp4,s.wav\nb,für.mp4,s.wav\n".encode("cp1252"))
    with pytest.raises(
        ManifestError, match=r"m\.csv row 3: 'für\.mp4' is not UTF-8 text; save the file as UTF-8"
    ):
        read_rows(str(path))
