"""The lock file of trusted digests, and the locks among processes."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from retalk_models.local_files import sha256_of
from retalk_models.registry.errors import HashMismatchError, WeightsError
from retalk_models.registry.lock import DigestCache, HashLock, exclusive

ONE, TWO = "1" * 64, "2" * 64


def python(code: str, *arguments: str) -> subprocess.Popen[str]:
    """A process that runs code in the repository."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=Path(__file__).parents[3],
        stdout=subprocess.PIPE,
        text=True,
    )


def test_first_digest_stays_and_another_is_refused(tmp_path: Path) -> None:
    lock = HashLock(str(tmp_path / "models.lock.json"), tmp_path / "locks")
    assert lock.sha256("DNet.pt") is None
    lock.pin("DNet.pt", ONE, 5, "https://there")
    lock.pin("DNet.pt", ONE, 5, "elsewhere")
    assert lock.entries()["DNet.pt"] == {"sha256": ONE, "size": 5, "source": "https://there"}
    with pytest.raises(HashMismatchError, match=r"DNet\.pt"):
        lock.pin("DNet.pt", TWO, 5, "https://there")
    lock.pin("DNet.pt", TWO, None, "by hand", replace=True)
    assert lock.sha256("DNet.pt") == TWO


@pytest.mark.parametrize("text", ["not json", '{"files": []}', '{"files": {"DNet.pt": {}}}'])
def test_a_broken_lock_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "models.lock.json"
    path.write_text(text)
    with pytest.raises(WeightsError, match=str(path)):
        HashLock(str(path), tmp_path).sha256("DNet.pt")


def test_no_pin_is_lost_when_processes_write_at_once(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from retalk_models.registry.lock import HashLock\n"
        "lock = HashLock(sys.argv[1], Path(sys.argv[2]))\n"
        "for n in range(10): lock.pin(f'{sys.argv[3]}-{n}', sys.argv[3] * 64, 1, 'x')"
    )
    processes = [python(code, str(tmp_path / "l.json"), str(tmp_path / "locks"), name) for name in "abc"]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert len(json.loads((tmp_path / "l.json").read_text())["files"]) == 30


HOLD = (
    "import sys, time; from pathlib import Path; from retalk_models.registry.lock import exclusive\n"
    "with exclusive(Path(sys.argv[1]), 'k'):\n print('held', flush=True); time.sleep(600)"
)


def test_a_dead_holder_frees_its_lock(tmp_path: Path) -> None:
    holder = python(HOLD, str(tmp_path))
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    holder.kill()
    holder.wait()
    with exclusive(tmp_path, "k", stale=60) as held:
        assert held


def test_an_idle_holder_is_given_up_but_a_busy_one_is_waited_for(tmp_path: Path) -> None:
    holder = python(HOLD, str(tmp_path))
    said: list[str] = []
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        with exclusive(tmp_path, "k", stale=0.3, say=said.append) as held:
            assert not held
        assert "waiting" in said[0]
        assert "going on without it" in said[1]
        # The same, with a holder whose work shows until two seconds from now: it is not given up before.
        busy_until = time.time() + 2
        with exclusive(tmp_path, "k", lambda: min(time.time(), busy_until), stale=0.3) as held:
            assert not held
            assert time.time() >= busy_until
    finally:
        holder.kill()
        holder.wait()


def test_a_folder_that_cannot_be_written_still_gives_a_lock_on_this_node(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError), exclusive(tmp_path / "file" / "locks", "k"):
        pass
    with exclusive(Path("/sys/retalk"), "k") as held:  # a file system that takes no files
        assert held


def test_stamps_forget_a_file_that_changed(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(b"one")
    stamps = DigestCache(tmp_path / ".verified")
    assert stamps.sha256(path) is None
    stamps.write(path, sha256_of(path))
    assert stamps.sha256(path) == "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
    path.write_bytes(b"four")
    assert stamps.sha256(path) is None
