"""Files of this machine: digests, and replacement as a whole or not at all."""

import hashlib
import io
from pathlib import Path

import pytest

from retalk_models.local_files import replacement, sha256_of


def test_the_digest_of_a_path_and_of_an_open_file(tmp_path: Path) -> None:
    data = bytes(range(256)) * 9000  # more than one read
    (tmp_path / "a").write_bytes(data)
    wanted = hashlib.sha256(data).hexdigest()
    assert (
        sha256_of(tmp_path / "a") == sha256_of(str(tmp_path / "a")) == sha256_of(io.BytesIO(data)) == wanted
    )


def test_a_file_appears_when_the_block_has_ended(tmp_path: Path) -> None:
    target, temporary = tmp_path / "new" / "a", tmp_path / "new" / ".a.part"
    with replacement(target, temporary) as path:
        path.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole"
    assert not temporary.exists()


def test_a_failure_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    target, temporary = tmp_path / "a", tmp_path / ".a.part"
    target.write_text("old")
    temporary.write_text("left by a process that was killed")

    def fail() -> None:
        with replacement(target, temporary) as path:
            assert not path.exists()
            path.write_text("half")
            raise KeyError("x")

    with pytest.raises(KeyError):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert target.read_text() == "old"
