"""Files of web servers: with ranges, without, of unknown length, behind redirects; addresses that nothing is read
from.
"""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from operators.media.audio import load_audio
from operators.media.probe import probe_video
from operators.storage import retry
from operators.storage.addresses import is_forbidden_address, is_forbidden_host
from operators.storage.errors import MediaError, StorageError
from operators.storage.files import filesystem, fingerprint, local_copy
from tests.pipelines.conftest import make_speech, make_video

web = pytest.importorskip(
    "operators.storage.web", reason="aiohttp is not installed: pip install -e '.[cloud]'"
)


class Server(ThreadingHTTPServer):
    """Serves a folder; the first part of a path says how: ranges, whole, unsized, to (a redirect to the query), or the status
    of a refusal.
    """

    daemon_threads = True

    def __init__(self, folder: Path, port: int = 0) -> None:
        self.folder, self.seen = folder, list[tuple[str, str]]()
        super().__init__(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self.server.seen.append((self.path, self.headers.get("Range", "")))
        how, _, rest = self.path.strip("/").partition("/")
        name, _, query = rest.partition("?")
        if how == "to":
            self.send_response(302)
            self.send_header("Location", query)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if how.isdigit():
            self.send_error(int(how))
            return
        file = self.server.folder / name
        if not file.is_file():
            self.send_error(404)
            return
        content = file.read_bytes()
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if how == "ranges" and asked:
            first, last = int(asked[1]), min(int(asked[2] or len(content)), len(content) - 1)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
            content = content[first : last + 1]
        else:
            self.send_response(200)
        if how == "unsized":
            self.send_header("Connection", "close")
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_HEAD(self) -> None:
        """A presigned URL is signed for GET."""
        self.send_error(403)

    def log_message(self, format: str, *args: Any) -> None:
        return


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    make_video(tmp_path / "v.mp4", frames=24)
    make_speech(tmp_path / "s.wav", 1.0)
    one = Server(tmp_path)
    thread = threading.Thread(target=one.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield one
    one.shutdown()
    thread.join()
    one.server_close()


@pytest.mark.parametrize("how", ["ranges", "whole", "unsized"])
@pytest.mark.parametrize("redirected", [False, True])
def test_media_is_read(server: Server, how: str, redirected: bool) -> None:
    at = f"{server.url}/{how}"
    if redirected:
        at = f"{server.url}/to/x?/{how}"
    video, speech = (f"{at}/{name}" for name in ("v.mp4", "s.wav"))
    here = server.folder
    info = probe_video(video)
    assert (info.n_frames, info.width) == (24, probe_video(str(here / "v.mp4")).width)
    assert load_audio(speech).tobytes() == load_audio(str(here / "s.wav")).tobytes()
    size = (here / "v.mp4").stat().st_size
    assert fingerprint(video)[1] == (-1 if how == "unsized" else size)
    with local_copy(video) as copy:
        assert copy.read_bytes() == (here / "v.mp4").read_bytes()


def test_a_presigned_url_keeps_its_query_and_needs_no_head(server: Server) -> None:
    query = "X-Amz-Credential=AKIA%2F20260101&X-Amz-Signature=abc123&x=a+b"
    assert probe_video(f"{server.url}/ranges/v.mp4?{query}").n_frames == 24
    assert all(path.endswith(query) or path.endswith(query.replace("%2F", "/")) for path, _ in server.seen)


def test_the_copy_is_bounded(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "SPOOL", 1000)
    url = f"{server.url}/unsized/v.mp4"
    with pytest.raises(
        StorageError, match=r"unsized/v\.mp4: .*serves no ranges.*put the file on this machine"
    ):
        filesystem(url)[0].open(url)
    assert filesystem(f"{server.url}/ranges/v.mp4")[0].open(f"{server.url}/ranges/v.mp4").read(4)


def test_missing_and_empty_files_are_told(server: Server) -> None:
    (server.folder / "empty").touch()
    with pytest.raises(MediaError, match="no such file"):
        fingerprint(f"{server.url}/ranges/absent.mp4")
    with pytest.raises(MediaError, match="empty"):
        fingerprint(f"{server.url}/whole/empty")


@pytest.mark.parametrize(
    ("status", "message"),
    [(404, "no such file"), (410, "no such file"), (403, "check the credentials"), (451, "451")],
)
def test_lasting_refusals_are_told_at_once(server: Server, status: int, message: str) -> None:
    url = f"{server.url}/{status}/v.mp4"
    with pytest.raises(MediaError, match=message) as told:
        fingerprint(url)
    assert str(told.value).startswith(url)
    assert len(server.seen) == 1


def test_a_server_that_starts_again_is_waited_for(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connections are refused until the server is back: on the second try."""
    url, port = f"{server.url}/ranges/v.mp4", server.server_address[1]
    server.shutdown()
    server.server_close()
    back: list[Server] = []
    tries = []

    def pause(seconds: float) -> None:
        tries.append(seconds)
        if not back:
            back.append(Server(tmp_path, port))
            threading.Thread(target=back[0].serve_forever, kwargs={"poll_interval": 0.05}).start()

    monkeypatch.setattr(retry, "time", SimpleNamespace(monotonic=time.monotonic, sleep=pause))
    try:
        assert fingerprint(url)[1] == (tmp_path / "v.mp4").stat().st_size
    finally:
        for one in back:
            one.shutdown()
            one.server_close()
    assert tries


def test_a_server_that_stays_away_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        url = f"http://127.0.0.1:{free.getsockname()[1]}/a.mp4"
        monkeypatch.setenv("RETALK_STORAGE_PATIENCE", "1")
        with pytest.raises(
            StorageError, match=r"does not answer \([2-9] tries in \d s.*run again when it does"
        ):
            fingerprint(url)


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://2852039166/latest/",
        "http://0xa9fea9fe/",
        "http://[fe80::1]/",
        "http://[::ffff:169.254.169.254]/",
        "http://[fd00:ec2::254]/",
    ],
)
def test_a_redirect_to_a_metadata_address_is_not_followed(server: Server, target: str) -> None:
    for url in (f"{server.url}/to/x?{target}", target):
        with pytest.raises(StorageError, match=r"link-local or metadata address|InvalidUrl"):
            fingerprint(url)  # the client itself refuses some spellings in a redirect


def test_a_name_that_resolves_to_a_metadata_address_is_not_connected_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = socket.getaddrinfo

    def resolve(host: Any, port: Any, *args: Any, **options: Any) -> Any:
        return real("169.254.169.254" if host == "innocent.example" else host, port, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(
        StorageError, match=r"innocent\.example.*169\.254\.169\.254 is a link-local or metadata address"
    ):
        fingerprint("http://innocent.example/a.mp4")


@pytest.mark.parametrize(
    ("host", "forbidden"),
    [
        *(
            (host, True)
            for host in (
                *(
                    "169.254.169.254",
                    "169.254.0.1",
                    "2852039166",
                    "0xa9fea9fe",
                    "0xa9.0xfe.169.254",
                    "0251.254.169.254",
                ),
                *(
                    "169.254.43518",
                    "[fe80::1]",
                    "fe80::1%eth0",
                    "::ffff:169.254.169.254",
                    "64:ff9b::a9fe:a9fe",
                ),
                *(
                    "2002:a9fe:a9fe::1",
                    "metadata.google.internal",
                    "METADATA.google.internal.",
                    "100.100.100.200",
                ),
            )
        ),
        *(
            (host, False)
            for host in ("127.0.0.1", "10.0.0.7", "example.org", "169.255.0.1", "2001:db8::1", "169", "")
        ),
    ],
)
def test_spellings(host: str, forbidden: bool) -> None:
    assert is_forbidden_host(host) is forbidden


def test_addresses_are_told_from_names() -> None:
    assert is_forbidden_address("169.254.1.1")
    assert not is_forbidden_address("metadata")
