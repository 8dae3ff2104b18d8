"""Files in object stores: uploads in parts, odd names, long listings, throttling, credentials that fail."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from operators.storage import objects
from operators.storage.errors import MediaError, StorageError
from operators.storage.files import (
    atomic_write,
    exists,
    filesystem,
    fingerprint,
    join,
    local_copy,
    open_media,
    sweep,
)
from tests.stores.proxy import Answer, Request, Rule
from tests.stores.servers import BUCKET, KEY, Store

#: Names that a URL, a query or a shell would take apart.
ODD = [
    "two words.mp4",
    "a+b.mp4",
    "100%.mp4",
    "%20.mp4",
    "Žluťoučký kůň 映画 🎬.mp4",
    "take#2.mp4",
    "why?.mp4",
    "a&b=c.mp4",
    "it's.mp4",
    "(x) [y] {z}.mp4",
    "colon:semi;comma,.mp4",
    "~tilde!$@.mp4",
]


def write(url: str, content: bytes) -> None:
    with atomic_write(url) as path:
        path.write_bytes(content)


def read(url: str) -> bytes:
    fs, path = filesystem(url)
    content: bytes = fs.cat_file(path)
    return content


@pytest.mark.parametrize("name", ODD)
def test_a_key_with_odd_characters_is_one_file(store: Store, folder: str, name: str) -> None:
    url = join(folder, name)
    assert not exists(url)
    write(url, name.encode())
    assert read(url) == name.encode()
    assert fingerprint(url)[1] == len(name.encode())
    assert store.names(folder) == [name]
    with local_copy(url) as copy:
        assert copy.read_bytes() == name.encode()
    media = open_media(url)
    assert not isinstance(media, str)
    with media:
        media.seek(2)
        assert media.read() == name.encode()[2:]
    fs, path = filesystem(url)
    fs.rm_file(path)
    assert not exists(url)
    with pytest.raises(MediaError, match="no such file"):
        fingerprint(url)


@pytest.mark.parametrize(
    ("store", "count"),
    [("s3", 1_030), ("gs", 1_030), pytest.param("az", 5_030, marks=pytest.mark.slow)],
    indirect=["store"],
)
def test_listings_go_on_after_the_first_page(store: Store, folder: str, count: int) -> None:
    """A page holds 1,000 names, Azure's 5,000."""
    names = [f"{number:04d}.json" for number in range(count)]
    fs = store.fs()
    fs.pipe({f"{fs._strip_protocol(folder)}/{name}": b"{}" for name in names})
    wrapped, path = filesystem(folder)
    assert sorted(found.rsplit("/", 1)[-1] for found in wrapped.ls(path, detail=False)) == names
    assert sorted(found.rsplit("/", 1)[-1] for found in wrapped.find(path)) == names
    wrapped.rm(path, recursive=True)
    assert store.names(folder) == []


def test_a_large_file_goes_in_small_parts(
    store: Store, folder: str, big: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "PART", 5 << 20)
    url = join(folder, "big.mp4")
    write(url, big.read_bytes())
    assert read(url) == big.read_bytes()
    largest = max(request.size for request in store.proxy.seen)
    if store.kind == "az":
        assert largest <= 64 << 20, "Azure takes 64 MiB in one piece"
    else:
        assert largest < 6 << 20, "parts, not the file"


def test_the_parts_of_an_output_stay_below_the_stores_limit(store: Store) -> None:
    """S3 takes 10,000 parts, none larger than 5 GiB, and nothing over 5 GiB in one piece."""
    for size in (1, 6 << 30, 200 << 30, 5 << 40):
        options = objects.upload_options(store.fs(), size)
        if part := options.get("chunksize"):
            assert part % (256 << 10) == 0
            if store.kind == "s3":
                assert size / part < 10_000
                assert part <= 1 << 30


@pytest.mark.parametrize("store", ["s3"], indirect=True)
def test_an_upload_that_fails_leaves_no_parts(
    store: Store, folder: str, big: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "PART", 5 << 20)

    def refuse(request: Request) -> Answer | None:
        denied = b"<Error><Code>AccessDenied</Code><Message>no more parts</Message></Error>"
        return Answer(403, denied) if "partNumber=3" in request.path else None

    store.proxy.rule = refuse
    with pytest.raises(StorageError, match=r"s3://.*big\.mp4: PermissionError: no more parts"):
        write(join(folder, "big.mp4"), big.read_bytes())
    assert not exists(join(folder, "big.mp4"))
    assert store.fs().list_multipart_uploads(BUCKET) == []


@pytest.mark.parametrize("store", ["s3"], indirect=True)
def test_what_a_killed_writer_has_sent_is_swept(
    store: Store, folder: str, big: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        "import os, sys\nfrom operators.storage import files, objects\nobjects.PART = 5 << 20\n"
        "with files.atomic_write(sys.argv[1]) as path: path.write_bytes(open(sys.argv[2], 'rb').read())"
    )
    writers: list[subprocess.Popen[bytes]] = []

    def kill(request: Request) -> Answer | None:
        if "partNumber=2" in request.path:
            writers[0].kill()
            return Answer(0)
        return None

    store.proxy.rule = kill
    for name in ("out.mp4", "other.mp4"):
        writers.insert(
            0, subprocess.Popen([sys.executable, "-c", code, join(folder, name), str(big)], cwd=ROOT)
        )
        assert writers[0].wait(120) == -9
    store.proxy.rule = None
    fs = store.fs()
    assert len(fs.list_multipart_uploads(BUCKET)) == 2
    assert store.names(folder) == []
    assert sweep(folder, ["out.mp4"]) == [join(folder, "out.mp4")], "nobody else's upload is touched"
    assert [upload["Key"].rsplit("/", 1)[-1] for upload in fs.list_multipart_uploads(BUCKET)] == ["other.mp4"]
    assert sweep(folder) == [join(folder, "other.mp4")]
    assert fs.list_multipart_uploads(BUCKET) == []


@pytest.mark.parametrize("store", ["s3"], indirect=True)
def test_a_store_that_does_not_list_its_uploads_is_left_as_it_is(
    store: Store, folder: str, caplog: pytest.LogCaptureFixture
) -> None:
    denied = b"<Error><Code>AccessDenied</Code><Message>not for you</Message></Error>"
    store.proxy.rule = lambda request: Answer(403, denied) if "uploads" in request.path else None
    with caplog.at_level(logging.WARNING):
        assert sweep(folder) == []
    assert f"{folder}: incomplete uploads of killed writers cannot be aborted" in caplog.text


def test_an_object_is_created_once(store: Store, folder: str) -> None:
    fs, path = filesystem(join(folder, "lock.json"))
    assert objects.create(fs, path, b"first") is True
    assert objects.create(fs, path, b"second") is False
    assert fs.cat_file(path) == b"first"


def slow_down(every: int) -> Rule:
    """A store that answers one request in so many with "slow down" or "busy"."""
    seen = 0

    def rule(request: Request) -> Answer | None:
        nonlocal seen
        seen += 1
        if seen % every:
            return None
        if seen % (2 * every):
            return Answer(
                503,
                b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>",
            )
        return Answer(429, b"")

    return rule


def test_throttling_is_waited_for(store: Store, folder: str, impatient: None) -> None:
    store.proxy.rule = slow_down(3)
    for number in range(4):
        write(join(folder, f"{number}.bin"), bytes([number]) * 1000)
    for number in range(4):
        assert read(join(folder, f"{number}.bin")) == bytes([number]) * 1000
    store.proxy.rule = None
    assert store.names(folder) == [f"{number}.bin" for number in range(4)]
    assert sum(store.proxy.refused.values()) >= 3
    assert {503, 429} <= store.proxy.refused.keys()


EXPIRED: dict[str, Callable[[], Answer]] = {
    "s3": lambda: Answer(
        400, b"<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>"
    ),
    "gs": lambda: Answer(
        401,
        b'{"error": {"code": 401, "message": "Invalid Credentials"}}',
        (("Content-Type", "application/json"),),
    ),
    "az": lambda: Answer(
        403,
        b"<?xml version='1.0'?><Error><Code>AuthenticationFailed</Code><Message>Signature fields not well formed.</Message></Error>",
        (("x-ms-error-code", "AuthenticationFailed"), ("Content-Type", "application/xml")),
    ),
}


@pytest.mark.parametrize(
    "call", [lambda url: write(url, b"x"), read, exists, fingerprint], ids=["write", "read", "exists", "look"]
)
def test_expired_credentials_are_told_with_the_remedy_and_without_secrets(
    store: Store, folder: str, call: Callable[[str], object], impatient: None
) -> None:
    url = join(folder, "x.bin")
    write(url, b"x")
    store.proxy.rule = lambda request: EXPIRED[store.kind]()
    with pytest.raises(StorageError) as caught:
        call(url)
    said = str(caught.value)
    assert said.startswith(f"{url}: "), said
    assert "check the credentials for" in said
    assert len(said.splitlines()) == 1, said
    for secret in (KEY, "verysecretkey", "AKIATEST"):
        assert secret not in said


ROOT = Path(__file__).parents[2]
