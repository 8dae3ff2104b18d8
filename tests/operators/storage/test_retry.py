"""Storage that answers now and then: calls are repeated until they pass, what lasts is told at once, and
nothing half stays behind.
"""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from operators.media.audio import load_audio
from operators.media.probe import probe_video
from operators.storage import files as storage
from operators.storage import retry
from operators.storage.errors import MediaError, StorageError
from tests.drills.faulty import VARIABLE, Faults, FaultyFileSystem, UnavailableError, temporary_files
from tests.pipelines.conftest import make_speech, make_video


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses of a thousandth; half of all calls fail, each up to three times."""
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.0005)
    monkeypatch.setattr(retry, "LONGEST_PAUSE", 0.002)
    monkeypatch.setenv("RETALK_STORAGE_PATIENCE", "1.5")
    monkeypatch.setenv(VARIABLE, Faults(rate=0.5).variable())
    for counter in (FaultyFileSystem.counts, FaultyFileSystem.calls, FaultyFileSystem.failures):
        counter.clear()


def test_everything_passes_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(6):
        monkeypatch.setenv(VARIABLE, Faults(rate=0.5, seed=seed).variable())
        (tmp_path / str(seed)).mkdir()
        check_everything_passes(tmp_path / str(seed))
    assert sum(FaultyFileSystem.counts.values()) > 120
    # Which calls fail hangs on the folder's name: of any kind some do, among so many.
    assert {"info", "open", "read", "write"} <= FaultyFileSystem.counts.keys()


def check_everything_passes(tmp_path: Path) -> None:
    root = f"faulty://{tmp_path}"
    names = [f"deep/{n}.bin" for n in range(8)]
    for name in names:
        with storage.atomic_write(storage.join(root, name)) as path:
            path.write_bytes(name.encode() * 1000)
    fs, folder = storage.filesystem(root)
    assert [found.removeprefix(f"{tmp_path}/") for found in fs.find(folder)] == names
    for name in names:
        url = storage.join(root, name)
        assert fs.cat_file(storage.filesystem(url)[1]) == name.encode() * 1000
        with storage.local_copy(url) as copy:
            assert copy.read_bytes() == name.encode() * 1000
        assert storage.exists(url)
        assert storage.fingerprint(url)[1] == len(name) * 1000
    assert not storage.exists(storage.join(root, "absent"))
    assert not fs.isdir(f"{tmp_path}/absent")
    fs.rm_file(f"{tmp_path}/{names[0]}")
    assert not (tmp_path / names[0]).exists()
    assert not temporary_files(tmp_path)


def test_media_is_read_through_broken_connections(tmp_path: Path) -> None:
    video, speech = make_video(tmp_path / "v.mp4"), make_speech(tmp_path / "s.wav", 1.0)
    assert probe_video(f"faulty://{video}").n_frames == probe_video(str(video)).n_frames == 24
    assert load_audio(f"faulty://{speech}").tobytes() == load_audio(str(speech)).tobytes()
    assert FaultyFileSystem.counts["read"] > 0


def test_a_read_goes_on_where_it_broke_off(tmp_path: Path) -> None:
    content = bytes(range(256)) * 40
    (tmp_path / "x").write_bytes(content)
    with storage.filesystem(f"faulty://{tmp_path}/x")[0].open(f"{tmp_path}/x") as file:
        assert b"".join(iter(lambda: file.read(1000), b"")) == content
        assert file.seek(-10, 2) == len(content) - 10
        assert file.read() == content[-10:]
        assert file.read(5) == b""
    assert FaultyFileSystem.counts["read"] > 0


def test_a_storage_that_stays_away_is_told_with_what_it_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, Faults(down="gone").variable())
    monkeypatch.setenv("RETALK_STORAGE_PATIENCE", "0.02")
    with pytest.raises(
        StorageError,
        match=r"faulty://.*gone/x: the storage does not answer \(\d+ tries.*503 Service Unavailable",
    ):
        storage.exists(f"faulty://{tmp_path}/gone/x")
    with pytest.raises(MediaError, match="run again when it does"):
        storage.fingerprint(f"faulty://{tmp_path}/gone/x")
    assert FaultyFileSystem.counts["info"] > 4


def test_what_lasts_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, Faults(denied="secret", full="heap").variable())
    monkeypatch.setenv("RETALK_STORAGE_PATIENCE", "1e6")
    with pytest.raises(StorageError, match=r"faulty://.*secret: PermissionError: .*403 Forbidden"):
        storage.exists(f"faulty://{tmp_path}/secret")
    with pytest.raises(FileNotFoundError):
        storage.filesystem("faulty://x")[0].cat_file(f"{tmp_path}/absent")
    with (
        pytest.raises(StorageError, match="No space left on device"),
        storage.atomic_write(f"faulty://{tmp_path}/heap/x.mp4") as path,
    ):
        path.write_bytes(b"x" * 100)
    assert [path.name for path in tmp_path.rglob("*")] == ["heap"], "nothing half is left"


@pytest.mark.parametrize(
    ("problem", "passes"),
    [
        (UnavailableError(), True),
        (TimeoutError(), True),
        (ConnectionResetError(), True),
        (OSError("SlowDown"), True),
        (OSError(errno.EBUSY, "busy"), True),
        (OSError(errno.EIO, "io"), True),
        (OSError(errno.ENOSPC, "full"), False),
        (PermissionError("no"), False),
        (PermissionError(errno.EACCES, "no"), False),
        (FileNotFoundError("no"), False),
        (ValueError("no"), False),
        (KeyError("no"), False),
    ],
    ids=repr,
)
def test_what_passes_and_what_lasts(problem: Exception, passes: bool) -> None:
    assert retry.transient(problem) is passes


def test_a_client_librarys_status_decides() -> None:
    import aiohttp
    from yarl import URL

    about = aiohttp.RequestInfo(URL("http://x"), "GET", {}, URL("http://x"))  # type: ignore[arg-type]
    assert retry.transient(aiohttp.ClientResponseError(about, (), status=503))
    assert not retry.transient(aiohttp.ClientResponseError(about, (), status=403))
    assert retry.transient(aiohttp.ServerDisconnectedError())
    assert retry.transient(aiohttp.ClientPayloadError())
