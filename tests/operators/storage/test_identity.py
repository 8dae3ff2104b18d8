"""Two spellings of one file are the same file."""

from __future__ import annotations

from pathlib import Path

import pytest

from operators.storage.identity import FileMap, identity


@pytest.mark.parametrize(
    ("one", "other", "third"),
    [
        ("/a/b/c.mp4", "/a/./x/..//b/c.mp4", "/a/b/C.mp4"),
        ("/a/c.mp4", "file:///a/c.mp4", "/b/c.mp4"),
        ("s3://bucket/a/c.mp4", "s3a://key:secret@bucket/a//c.mp4", "s3://bucket2/a/c.mp4"),
        ("abfs://box@account/c.mp4", "abfss://box@account/x/../c.mp4", "abfs://other@account/c.mp4"),
        ("https://Host/a%20b.mp4?sig=1", "https://u:p@host/a b.mp4", "https://host:8443/a b.mp4"),
        ("memory://x/c.mp4", "memory:///x/c.mp4", "memory://y/c.mp4"),
    ],
)
def test_spellings(one: str, other: str, third: str) -> None:
    assert identity(one) == identity(other)
    assert identity(one) != identity(third)


def test_relative_paths_and_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path)
    assert identity("link/a.mp4") == identity("./real/a.mp4") == identity(str(tmp_path / "real" / "a.mp4"))


def test_a_hard_link_is_found_where_it_exists(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    (tmp_path / "c").write_text("x")
    files = FileMap([(str(tmp_path / "a"), "a"), ("s3://b/x", "remote")])
    assert files.find(str(tmp_path / "b")) == "a"
    assert files.find(str(tmp_path / "c")) is None
    assert files.find(str(tmp_path / "absent")) is None
    assert files.find("s3://b/y/../x") == "remote"
