"""Outputs appear whole or not at all, at any fsspec URL."""

from __future__ import annotations

import os
from pathlib import Path

import fsspec
import pytest

from operators.media import storage
from operators.media.errors import MediaError


@pytest.fixture(params=["plain", "file", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder as a plain path, a file:// URL and a memory:// URL."""
    memory = f"memory://{tmp_path.name}"
    return {"plain": str(tmp_path / "out"), "file": f"file://{tmp_path}/out", "memory": memory}[request.param]


def listing(url: str) -> list[str]:
    fs, path = storage.filesystem(url)
    return sorted(Path(p).name for p in fs.find(path)) if fs.exists(path) else []


def content(url: str) -> bytes:
    with fsspec.open(url, "rb") as file:
        return bytes(file.read())


def test_written_file_appears_alone_in_a_new_folder(place: str) -> None:
    url = storage.join(place, "deep", "clip.mp4")
    with storage.atomic_write(url) as path:
        assert path.suffix == ".mp4"
        path.write_bytes(b"x" * (storage.COPY_BLOCK + 5))
        assert not storage.exists(url)
    assert content(url) == b"x" * (storage.COPY_BLOCK + 5)
    assert listing(place) == ["clip.mp4"]


def test_failure_leaves_the_old_file_and_nothing_else(place: str) -> None:
    url = storage.join(place, "clip.mp4")
    with storage.atomic_write(url) as path:
        path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), storage.atomic_write(url) as path:
        path.write_bytes(b"half") / 0
    assert content(url) == b"old"
    assert listing(place) == ["clip.mp4"]
    assert not path.exists()


def test_block_that_writes_nothing_is_an_error_and_leaves_nothing(place: str) -> None:
    with pytest.raises(FileNotFoundError), storage.atomic_write(storage.join(place, "clip.mp4")):
        pass
    assert listing(place) == []


def test_failed_upload_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The store breaks down in the middle of the transfer."""
    url = f"memory://{tmp_path.name}/clip.mp4"
    memory = type(storage.filesystem(url)[0])
    real = memory.put_file

    def broken(self: object, local: str, remote: str, **options: object) -> None:
        Path(local).write_bytes(Path(local).read_bytes()[:2])
        real(self, local, remote, **options)
        raise ConnectionError("gone")

    monkeypatch.setattr(memory, "put_file", broken)
    with pytest.raises(ConnectionError), storage.atomic_write(url) as path:
        path.write_bytes(b"whole")
    assert listing(f"memory://{tmp_path.name}") == []


def test_writers_of_one_target_do_not_meet(tmp_path: Path) -> None:
    """Two writers (a retry beside a worker thought dead) use two temporary files; the last to finish wins, whole."""
    url = str(tmp_path / "clip.mp4")
    with storage.atomic_write(url) as one, storage.atomic_write(url) as two:
        assert one != two
        one.write_bytes(b"one")
        two.write_bytes(b"two-two")
    assert content(url) == b"one"
    assert listing(str(tmp_path)) == ["clip.mp4"]


def test_local_copy_is_the_file_itself_or_a_temporary_one(tmp_path: Path) -> None:
    local = tmp_path / "a.bin"
    local.write_bytes(b"abc")
    with storage.local_copy(f"file://{local}") as path:
        assert path == local
    url = f"memory://{tmp_path.name}/a.bin"
    with storage.atomic_write(url) as path:
        path.write_bytes(b"abc")
    with storage.local_copy(url) as path:
        assert path.read_bytes() == b"abc"
        assert path.name == "a.bin"
    assert not path.exists()


def test_join_and_suffix() -> None:
    assert storage.join("memory://a/", "b/", "/c.mp4") == "memory://a/b/c.mp4"
    assert storage.join("/a", "b") == "/a/b"
    assert storage.join("/", "b") == "/b"
    assert storage.join("s3://bucket", "k") == "s3://bucket/k"
    assert storage.suffix("memory://x/Clip.MP4") == ".mp4"
    assert storage.suffix("/a.b/c") == ""


def test_fingerprint_changes_with_the_content_and_refuses_what_is_no_file(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    with pytest.raises(MediaError, match="no such file"):
        storage.fingerprint(str(path))
    path.touch()
    with pytest.raises(MediaError, match="empty"):
        storage.fingerprint(str(path))
    with pytest.raises(MediaError, match="directory"):
        storage.fingerprint(str(tmp_path))
    path.write_bytes(b"abc")
    os.utime(path, (1, 1))
    first = storage.fingerprint(str(path))
    path.write_bytes(b"abd")
    os.utime(path, (2, 2))
    assert storage.fingerprint(str(path)) != first
    assert first[1] == 3
