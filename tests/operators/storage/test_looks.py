"""One look at a remote file in a piece of work."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from operators.storage.errors import MediaError
from operators.storage.files import atomic_write, fingerprint
from operators.storage.looks import one_look_per_file

URL = "memory://looks/a.wav"


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Paths that the file system in memory is asked for, and a file in it."""
    store, asked = fsspec.filesystem("memory"), list[str]()
    store.pipe_file("/looks/a.wav", b"12345")
    info = MemoryFileSystem.info

    def counted(self: MemoryFileSystem, path: str, **options: object) -> dict[str, object]:
        asked.append(path)
        return info(self, path, **options)

    monkeypatch.setattr(MemoryFileSystem, "info", counted)
    yield asked
    store.rm("/looks", recursive=True)


def test_a_file_is_looked_at_once_in_a_piece_of_work(looks: list[str]) -> None:
    with one_look_per_file():
        first = fingerprint(URL)
        with one_look_per_file():  # part of the outer one
            assert fingerprint(URL) == first
        assert fingerprint(URL) == first
        assert looks == ["/looks/a.wav"]
        with ThreadPoolExecutor(1) as other:  # other threads look for themselves
            assert other.submit(fingerprint, URL).result() == first
        assert len(looks) == 2
    assert fingerprint(URL) == first
    assert fingerprint(URL) == first
    assert len(looks) == 4


def test_a_file_that_is_replaced_is_looked_at_again(looks: list[str]) -> None:
    with one_look_per_file():
        assert fingerprint(URL)[1] == 5
        with atomic_write(URL) as path:
            path.write_bytes(b"1234567")
        assert fingerprint(URL)[1] == 7


def test_a_file_that_was_missing_is_looked_for_again(looks: list[str]) -> None:
    with one_look_per_file():
        with pytest.raises(MediaError, match="no such file"):
            fingerprint("memory://looks/b.wav")
        fsspec.filesystem("memory").pipe_file("/looks/b.wav", b"1")
        assert fingerprint("memory://looks/b.wav")[1] == 1


def test_files_of_this_machine_are_looked_at_each_time(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"1")
    with one_look_per_file():
        assert fingerprint(str(path))[1] == 1
        path.write_bytes(b"12")
        assert fingerprint(str(path))[1] == 2
