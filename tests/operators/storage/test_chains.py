"""Names in which ``::`` stands, and chains of URLs."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest

from operators.storage.files import atomic_write, exists, filesystem, fingerprint, is_chain, is_url, suffix
from pipelines.manifest.confinement import place_of


@pytest.mark.parametrize("prefix", ["", "file://", "memory://"])
@pytest.mark.parametrize("name", ["a::b.mp4", "Part 1::Act 2.mp4", "::.mp4", "x::y::z.mp4"])
def test_a_name_may_hold_colons(tmp_path: Path, prefix: str, name: str) -> None:
    """Written, found, read and removed under its own name."""
    url = f"{prefix}{tmp_path}/{name}"
    assert not is_chain(url)
    assert is_url(url) == bool(prefix)
    with atomic_write(url) as path:
        path.write_bytes(b"content")
    assert exists(url)
    assert fingerprint(url)[1] == 7
    assert suffix(url) == ".mp4"
    fs, path = filesystem(url)
    assert fs.cat_file(path) == b"content"
    place = place_of(url)
    assert place is not None
    assert place.parts[-1] == name


def test_relative_names_and_chains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a::b.wav").write_bytes(b"sound")
    assert fingerprint("a::b.wav")[1] == 5
    with fsspec.open("memory://chains/x.wav", "wb") as file:
        file.write(b"more")
    for chain in ("simplecache::memory://chains/x.wav", "zip://x::/in/a.zip", "zip://x::s3://b/a.zip"):
        assert is_chain(chain)
        assert is_url(chain)
    assert fingerprint("simplecache::memory://chains/x.wav")[1] == 4
