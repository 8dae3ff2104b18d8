"""Questions of engines to the registry: missing files, and places of the others; with a cache on this machine or in
an object store.
"""

import hashlib
import logging
import os
import random
from pathlib import Path

import fsspec
import pytest

from retalk_models.registry.catalog import Part
from retalk_models.registry.errors import HashMismatchError, WeightsError
from retalk_models.registry.fetch import pull
from retalk_models.registry.home import node_copy
from retalk_models.registry.registry import Registry, available, missing, require
from tests.retalk_models.fetch_server import catalog_of, model_file, serving

DATA = random.Random(5).randbytes(300_000)
OTHER = random.Random(6).randbytes(300_000)


def put(registry: Registry, file: str, data: bytes) -> Path:
    registry.directory.mkdir(parents=True, exist_ok=True)
    registry.path(file).write_bytes(data)
    return registry.path(file)


def test_one_error_names_all_missing_files_and_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETALK_HOME", str(tmp_path))
    monkeypatch.delenv("RETALK_LOCK", raising=False)
    assert not available("dnet")
    assert missing(["enet", "dnet"]) == ["ENet.pth", "LNet.pth", "DNet.pt"]
    with pytest.raises(WeightsError) as caught:
        require(["enet", "dnet"])
    assert caught.value.files == ("ENet.pth", "LNet.pth", "DNet.pt")
    assert caught.value.command == "retalk models pull ENet.pth LNet.pth DNet.pt"
    for text in (
        *caught.value.files,
        caught.value.command,
        str(tmp_path / "models"),
        "1.53 GB",
        "stage dnet",
    ):
        assert text in str(caught.value)
    # a file cut short is as good as missing, and its size is told
    put(Registry(), "DNet.pt", DATA)
    assert not available("DNet.pt")
    with pytest.raises(
        WeightsError, match=r"DNet.pt .*the file there is wrong: it has 300 kB, not about 180 MB"
    ):
        require(["dnet"])


def test_a_wrong_file_is_never_given_out(tmp_path: Path) -> None:
    entry = model_file("a.pth", data=DATA)
    registry = Registry(tmp_path, catalog_of(entry, net=(Part("a.pth"),)))
    put(registry, "a.pth", OTHER)
    with pytest.raises(HashMismatchError, match=r"a.pth.*not the right file[\s\S]*retalk models pull a.pth"):
        registry.require(["net"])
    put(registry, "a.pth", DATA)
    assert registry.require(["net"]) == {"a.pth": tmp_path / "models" / "a.pth"}


def test_a_file_is_hashed_once_and_again_when_it_changes(tmp_path: Path) -> None:
    entry = model_file("a.pth", data=DATA)
    registry = Registry(tmp_path, catalog_of(entry))
    path = put(registry, "a.pth", DATA)
    registry.require(["a.pth"])
    before = path.stat()
    path.write_bytes(OTHER)  # what only hashing again can see: same size, same time
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    registry.require(["a.pth"])
    assert registry.check(entry, again=True).state == "mismatch"
    path.write_bytes(OTHER)
    with pytest.raises(HashMismatchError):
        registry.require(["a.pth"])


def test_a_file_put_there_by_hand_is_trusted_aloud(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    registry = Registry(tmp_path, catalog_of(model_file("DNet.pt")))
    put(registry, "DNet.pt", DATA)
    with caplog.at_level(logging.WARNING):
        registry.require(["DNet.pt"])
        registry.require(["DNet.pt"])
    digest = hashlib.sha256(DATA).hexdigest()
    assert [digest in record.message for record in caplog.records] == [True]  # once
    assert registry.lock.sha256("DNet.pt") == digest
    put(registry, "DNet.pt", OTHER)
    with pytest.raises(HashMismatchError, match=r"models.lock.json pins"):
        registry.require(["DNet.pt"])


def test_an_object_store_as_home_is_used_through_a_copy_on_each_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = f"memory://registry-{tmp_path.name}"
    memory = fsspec.filesystem("memory")
    with serving({"/a.pth": DATA, "/DNet.pt": OTHER}) as shelf:
        entries = [
            model_file("a.pth", f"{shelf.url}/a.pth", DATA),
            model_file("DNet.pt", f"{shelf.url}/DNet.pt"),
        ]
        catalog = catalog_of(*entries)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "node1"))
        first = Registry(home, catalog)
        assert [result.state for result in pull(first, entries)] == ["fetched", "fetched"]
        sent = shelf.sent
        assert memory.cat_file(f"{first.remote}/a.pth") == DATA
        assert first.lock.url == f"{home}/models/models.lock.json"
        assert first.lock.sha256("DNet.pt") == hashlib.sha256(OTHER).hexdigest()

        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "node2"))
        second = Registry(home, catalog)
        assert second.missing(["a.pth", "DNet.pt"]) == []
        paths = second.require(["a.pth", "DNet.pt"])
        assert paths["a.pth"].is_relative_to(node_copy(home))
        assert paths["a.pth"].is_relative_to(tmp_path / "node2")
        assert paths["DNet.pt"].read_bytes() == OTHER
        assert [result.state for result in pull(second, entries)] == ["present", "present"]
        assert shelf.sent == sent  # the publisher was asked by one node only

        # the store's copy is damaged: a third node refuses it
        memory.pipe_file(f"{first.remote}/a.pth", OTHER)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "node3"))
        with pytest.raises(HashMismatchError, match=r"a\.pth"):
            Registry(home, catalog).require(["a.pth"])
        memory.rm_file(f"{first.remote}/DNet.pt")
        with pytest.raises(WeightsError, match=f"missing from {home}/models"):
            Registry(home, catalog).require(["DNet.pt"])
