"""Pulling files into a cache: hashes, quarantine, trust on first use, mirrors, and many who want the same
file at once.
"""

import hashlib
import io
import json
import os
import random
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import fsspec
import pytest

from retalk_models.registry.download import DownloadProgress
from retalk_models.registry.errors import WeightsError
from retalk_models.registry.fetch import parse_accepted, pull
from retalk_models.registry.registry import Registry
from tests.retalk_models.fetch_server import catalog_of, model_file, serving

DATA = random.Random(3).randbytes(700_000)
OTHER = random.Random(4).randbytes(700_000)
POINTS = b"MATLAB 5.0" + DATA[:984]


class Heard(DownloadProgress):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


def zipped(name: str, data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("BFM/other.bin", DATA)
        file.writestr(name, data)
    return buffer.getvalue()


def test_files_come_whole_checked_and_only_once(tmp_path: Path) -> None:
    with serving({f"/{name}.pth": DATA + name.encode() for name in "abc"}) as shelf:
        entries = [
            model_file(f"{name}.pth", f"{shelf.url}/{name}.pth", DATA + name.encode()) for name in "abc"
        ]
        registry = Registry(tmp_path, catalog_of(*entries))
        assert [result.state for result in pull(registry, entries, jobs=3)] == ["fetched"] * 3
        assert [result.state for result in pull(registry, entries)] == ["present"] * 3
        assert shelf.sent == 3 * len(DATA) + 3
    assert (tmp_path / "models" / "b.pth").read_bytes() == DATA + b"b"
    assert registry.require(["a.pth"]) == {"a.pth": tmp_path / "models" / "a.pth"}
    assert os.listdir(tmp_path / "models" / ".partial") == []


def test_a_wrong_file_is_set_aside_and_the_next_address_is_tried(tmp_path: Path) -> None:
    with serving({"/bad/a.pth": OTHER, "/good/a.pth": DATA, "/bad/b.pth": OTHER}) as shelf:
        both = model_file("a.pth", data=DATA, urls=(f"{shelf.url}/bad/a.pth", f"{shelf.url}/good/a.pth"))
        bad = model_file("b.pth", f"{shelf.url}/bad/b.pth", DATA)
        registry = Registry(tmp_path, catalog_of(both, bad))
        good_result, bad_result = pull(registry, [both, bad], jobs=1)
    assert good_result.state == "fetched"
    assert good_result.source.endswith("/good/a.pth")
    assert bad_result.state == "failed"
    assert hashlib.sha256(OTHER).hexdigest() in bad_result.error
    assert hashlib.sha256(DATA).hexdigest() in bad_result.error
    assert not registry.path("b.pth").exists()
    assert (tmp_path / "models" / "rejected" / "b.pth").read_bytes() == OTHER


def test_a_file_stitched_from_two_versions_is_fetched_again_from_the_start(tmp_path: Path) -> None:
    """A server without validators changed the file between two transfers: only the digest can tell."""
    with serving({"/a.pth": OTHER}) as shelf:
        entry = model_file("a.pth", f"{shelf.url}/a.pth", DATA)
        registry = Registry(tmp_path, catalog_of(entry))
        shelf.tags, shelf.cuts = False, [300_000]
        shelf.statuses = [0, 404]
        assert pull(registry, [entry], first_wait=0.01)[0].state == "failed"
        shelf.files["/a.pth"] = DATA
        assert pull(registry, [entry])[0].state == "fetched"
        assert [asked for _, asked in shelf.requests] == ["", "bytes=300000-", "bytes=300000-", ""]
    assert registry.path("a.pth").read_bytes() == DATA


def test_an_unknown_digest_is_trusted_once_aloud_and_then_holds(tmp_path: Path) -> None:
    heard = Heard()
    lock = tmp_path / "checked-in" / "models.lock.json"
    with serving({"/DNet.pt": DATA}) as shelf:
        entry = model_file("DNet.pt", f"{shelf.url}/DNet.pt", about=len(DATA))
        catalog = catalog_of(entry)
        registry = Registry(tmp_path / "one", catalog, str(lock))
        pull(registry, [entry], progress=heard)
        digest = hashlib.sha256(DATA).hexdigest()
        assert any(digest in text and "first use" in text and str(lock) in text for text in heard.said)
        assert json.loads(lock.read_text())["files"] == {
            "DNet.pt": {"sha256": digest, "size": len(DATA), "source": f"{shelf.url}/DNet.pt"}
        }
        # another machine, the same lock file, a publisher who has changed the file
        shelf.files["/DNet.pt"] = OTHER
        (result,) = pull(Registry(tmp_path / "two", catalog, str(lock)), [entry])
    assert result.state == "failed"
    assert str(lock) in result.error
    assert not (tmp_path / "two" / "models" / "DNet.pt").exists()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\n<!DOCTYPE html><p>rate limit", "error page"),
        (b"version https://git-lfs.github.com/spec/v1", "error page"),
        (b"", "empty"),
        (DATA[:100_000], "not about"),
        (zipped("archive/data.pkl", DATA)[:-50], "cut short"),
    ],
)
def test_what_cannot_be_the_file_is_not_trusted(tmp_path: Path, data: bytes, why: str) -> None:
    with serving({"/DNet.pt": data}) as shelf:
        entry = model_file("DNet.pt", f"{shelf.url}/DNet.pt", about=len(zipped("archive/data.pkl", DATA)))
        registry = Registry(tmp_path, catalog_of(entry))
        (result,) = pull(registry, [entry], first_wait=0.01)
    assert result.state == "failed"
    assert why in result.error
    assert registry.lock.entries() == {}


def test_a_digest_seen_once_is_refused_until_the_user_names_the_new_one(tmp_path: Path) -> None:
    with serving({"/LNet.pth": OTHER, "/sure.pth": OTHER}) as shelf:
        entry = model_file("LNet.pth", f"{shelf.url}/LNet.pth", DATA, seen_once=True)
        sure = model_file("sure.pth", f"{shelf.url}/sure.pth", DATA)
        registry = Registry(tmp_path, catalog_of(entry, sure))
        (result,) = pull(registry, [entry])
        assert result.state == "failed"
        digest = hashlib.sha256(OTHER).hexdigest()
        assert f"--from {registry.rejected} --accept-hash LNet.pth={digest}" in result.error
        # the command that the error names: no byte is transferred again
        sent = shelf.sent
        accepted = parse_accepted([f"LNet.pth={digest.upper()}"], registry)
        assert pull(registry, [entry], str(registry.rejected), accepted)[0].state == "fetched"
        assert shelf.sent == sent
        assert Registry(tmp_path, registry.catalog).require(["LNet.pth"])["LNet.pth"].read_bytes() == OTHER
        with pytest.raises(WeightsError, match="its digest is certain"):
            parse_accepted([f"sure.pth={digest}"], registry)
        with pytest.raises(WeightsError, match="FILE=SHA256"):
            parse_accepted(["LNet.pth"], registry)


def test_a_mirror_is_a_folder_flat_or_as_the_original_lays_it_out(tmp_path: Path) -> None:
    entries = [
        model_file(
            "ParseNet-latest.pth", "http://127.0.0.1:9/unused", DATA, aliases=("parsing_parsenet.pth",)
        ),
        model_file(
            "similarity_Lm3D_all.mat",
            "http://127.0.0.1:9/BFM.zip",
            size=994,
            archive="BFM.zip",
            member="similarity_Lm3D_all.mat",
        ),
        model_file("a.pth", data=OTHER),
    ]
    mirror = tmp_path / "checkpoints"
    (mirror / "BFM").mkdir(parents=True)
    (mirror / "parsing_parsenet.pth").write_bytes(DATA)
    (mirror / "BFM" / "similarity_Lm3D_all.mat").write_bytes(POINTS)
    registry = Registry(tmp_path / "home", catalog_of(*entries))
    results = pull(registry, entries, str(mirror))
    assert [result.state for result in results] == ["fetched", "fetched", "failed"]
    assert f"{mirror}/a.pth: no such file" in results[2].error
    assert registry.path("ParseNet-latest.pth").read_bytes() == DATA
    assert registry.path("similarity_Lm3D_all.mat").read_bytes() == POINTS


def test_a_mirror_is_any_url(tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/mirror/a.pth", DATA)
    memory.pipe_file("/mirror/BFM.zip", zipped("BFM/similarity_Lm3D_all.mat", POINTS))
    entries = [
        model_file("a.pth", data=DATA),
        model_file("s.mat", archive="BFM.zip", member="similarity_Lm3D_all.mat"),
    ]
    registry = Registry(tmp_path, catalog_of(*entries))
    assert [result.state for result in pull(registry, entries, "memory://mirror")] == ["fetched", "fetched"]
    assert registry.path("s.mat").read_bytes() == POINTS
    with serving({"/m/a.pth": DATA}) as shelf:
        second = Registry(tmp_path / "2", catalog_of(*entries))
        assert [result.state for result in pull(second, entries, f"{shelf.url}/m/", first_wait=0.01)] == [
            "fetched",
            "failed",
        ]


def test_a_file_without_an_address_says_what_to_do(tmp_path: Path) -> None:
    entry = model_file("wav2lip_gan.pth")
    (result,) = pull(Registry(tmp_path, catalog_of(entry)), [entry])
    assert "--from" in result.error


def test_a_damaged_file_in_the_cache_is_replaced(tmp_path: Path) -> None:
    with serving({"/a.pth": DATA}) as shelf:
        entry = model_file("a.pth", f"{shelf.url}/a.pth", DATA)
        registry = Registry(tmp_path, catalog_of(entry))
        registry.directory.mkdir()
        registry.path("a.pth").write_bytes(OTHER)
        assert pull(registry, [entry])[0].state == "fetched"
    assert registry.path("a.pth").read_bytes() == DATA


PULL = """
import sys
from pathlib import Path
from retalk_models.registry.fetch import pull
from retalk_models.registry.registry import Registry
from tests.retalk_models.fetch_server import catalog_of, model_file
data = bytes(int(sys.argv[3]))
entry = model_file("a.pth", sys.argv[2], data)
(result,) = pull(Registry(sys.argv[1], catalog_of(entry)), [entry])
print(result.state, result.error)
"""


def puller(home: Path, url: str, size: int) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", PULL, str(home), url, str(size)]
    return subprocess.Popen(
        arguments, cwd=Path(__file__).parents[3], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_processes_that_want_one_file_transfer_it_once(tmp_path: Path) -> None:
    size = 4_000_000
    with serving({"/a.pth": bytes(size)}) as shelf:
        shelf.pause = 0.01
        processes = [puller(tmp_path, f"{shelf.url}/a.pth", size) for _ in range(3)]
        answers = sorted(process.communicate()[0].strip() for process in processes)
        assert answers == ["fetched", "present", "present"]
        assert shelf.sent == size


def test_a_killed_process_leaves_what_it_had_to_the_next(tmp_path: Path) -> None:
    size = 8_000_000
    with serving({"/a.pth": bytes(size)}) as shelf:
        shelf.pause = 0.02
        first = puller(tmp_path, f"{shelf.url}/a.pth", size)
        partial = tmp_path / "models" / ".partial"
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not any(
            path.stat().st_size >= 2 << 20 for path in partial.glob("a.pth.*.part")
        ):
            time.sleep(0.02)
        first.kill()
        first.communicate()
        (part,) = partial.glob("a.pth.*.part")
        had = part.stat().st_size
        assert 2 << 20 <= had < size
        assert not (tmp_path / "models" / "a.pth").exists()
        shelf.pause = 0.0
        second = puller(tmp_path, f"{shelf.url}/a.pth", size)
        assert second.communicate()[0].strip() == "fetched"
        assert shelf.requests[-1] == ("/a.pth", f"bytes={had}-")
    assert (tmp_path / "models" / "a.pth").read_bytes() == bytes(size)
    assert list(partial.iterdir()) == []


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with serving({"/a.pth": DATA}) as shelf:
        entry = model_file("a.pth", f"{shelf.url}/a.pth", DATA)
        (result,) = pull(Registry("/sys/retalk", catalog_of(entry)), [entry])
    assert result.state == "failed"
    assert "RETALK_HOME" in result.error
    assert "/sys/retalk" in result.error
