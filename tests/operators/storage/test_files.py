"""Outputs appear whole or not at all, at any fsspec URL."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import fsspec
import pytest

import tests.drills.faulty  # noqa: F401  (registers faulty://)
from operators.storage import files as storage
from operators.storage import scratch
from operators.storage.errors import MediaError


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
    """Two writers (a retry beside a worker thought dead) use two temporary files; the last to finish wins,
    whole.
    """
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


@pytest.mark.parametrize("scheme", ["", "faulty://"])
def test_what_a_killed_writer_leaves_is_swept(tmp_path: Path, scheme: str) -> None:
    """Hidden files of killed writers go; those of a living process, of other files and of people stay."""
    code = (
        "import os, tests.drills.faulty\n"
        "from operators.storage import files\n"
        "real = os.replace\n"
        "os.replace = lambda *a: os._exit(9)\n"
        f"with files.atomic_write({scheme + str(tmp_path)!r} + os.sys.argv[1]) as path: path.write_bytes(b'half')\n"
    )
    for name in ("/a.mp4", "/deep/a.mp4", "/other.mp4"):
        assert subprocess.run([sys.executable, "-c", code, name], check=False).returncode == 9
    people = tmp_path / ".a.draft.part.mp4"
    people.touch()
    left = sorted(path.name for path in tmp_path.rglob("*.part*"))
    assert len(left) == 4, left
    with storage.atomic_write(str(tmp_path / "b.mp4")) as path:
        path.touch()
        assert len(storage.sweep(scheme + str(tmp_path), ["a.mp4"])) == 1
        assert len(storage.sweep(scheme + str(tmp_path))) == 2
        assert path.exists()
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == [people.name, "b.mp4"]


def test_a_killed_process_scratch_folder_goes_with_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    code = "from operators.storage.scratch import scratch_folder\nimport os\nwith scratch_folder() as f: (f / 'x').touch(); os._exit(9)"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "TMPDIR": str(tmp_path)}, check=False
        ).returncode
        == 9
    )
    (dead,) = tmp_path.iterdir()
    os.utime(dead, (1, 1))
    with scratch.scratch_folder() as mine:
        assert not dead.exists()
        os.utime(mine, (1, 1))
        scratch.sweep_scratch.cache_clear()
        with scratch.scratch_folder() as other:
            assert mine.exists(), "it is in use"
            assert other != mine
    assert not list(tmp_path.iterdir())


def test_results_are_kept_until_the_file_changes(tmp_path: Path) -> None:
    calls: list[tuple[str, int]] = []

    @storage.kept_by_file(2)
    def content(url: str, times: int) -> str:
        calls.append((Path(url).name, times))
        return Path(url).read_text() * times

    first, second = tmp_path / "a", tmp_path / "b"
    first.write_text("one")
    second.write_text("two")
    assert content(str(first), 1) == content(str(first), 1) == "one"
    assert content(str(first), 2) == "oneone"
    assert calls == [("a", 1), ("a", 2)]
    first.write_text("three")
    assert content(str(first), 1) == "three"
    assert content(str(second), 1) == "two"
    first.unlink()
    with pytest.raises(MediaError, match="no such file"):
        content(str(first), 1)


def test_a_host_that_does_not_answer_is_no_missing_file(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("aiohttp")
    monkeypatch.setenv("RETALK_STORAGE_PATIENCE", "0")
    for url in ("http://127.0.0.1:9/a.mp4", "http://no-such-host.invalid/a.mp4"):
        with pytest.raises(MediaError, match=r"cannot be reached|does not answer") as told:
            storage.fingerprint(url)
        assert "no such file" not in str(told.value)


def test_names_of_temporary_files_fit_a_file_system(tmp_path: Path) -> None:
    name = f"{'字' * 83}.mp4"
    assert len(name.encode()) == 253
    with storage.atomic_write(str(tmp_path / name)) as path:
        path.write_bytes(b"x")
    assert (tmp_path / name).read_bytes() == b"x"
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_dots_are_taken_out_of_a_path_where_it_stays_the_same_file(tmp_path: Path) -> None:
    (tmp_path / "a" / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "a" / "deep")
    assert storage.normalized(f"{tmp_path}/a/../x.mp4") == f"{tmp_path}/x.mp4"
    assert storage.normalized(f"{tmp_path}/link/../x.mp4") == f"{tmp_path}/link/../x.mp4", "a/x.mp4 is meant"
    for same in ("s3://b/a/../x.mp4", "/x..y/z.mp4", "x.mp4"):
        assert storage.normalized(same) == same
