"""Transfers of one file: resuming, repeating, giving up; each count is of bytes that a real server sent."""

import io
import os
import random
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import fsspec
import pytest

from retalk_models.registry.download import Attempts, DownloadProgress, download, download_member
from retalk_models.registry.errors import FetchError
from retalk_models.registry.sources import open_source
from tests.retalk_models.fetch_server import serving

DATA = random.Random(1).randbytes(600_000)
NEWER = random.Random(2).randbytes(600_000)


class Heard(DownloadProgress):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.last = 0
        self.said: list[str] = []

    def start(self, file: str, total: int | None, done: int, source: str) -> None:
        self.starts.append(done)

    def at(self, file: str, done: int) -> None:
        self.last = done

    def say(self, text: str) -> None:
        self.said.append(text)


def quick(limit: int = 3, heard: Heard | None = None) -> Attempts:
    return Attempts(say=(heard or Heard()).say, first_wait=0.01, limit=limit)


def test_a_cut_connection_is_resumed_and_no_byte_comes_twice(tmp_path: Path) -> None:
    heard = Heard()
    with serving({"/a.pth": DATA}) as shelf:
        shelf.cuts = [200_000, 150_000]
        resumed = download(
            f"{shelf.url}/a.pth", tmp_path / "a.part", progress=heard, attempts=quick(heard=heard)
        )
        assert [asked for _, asked in shelf.requests] == ["", "bytes=200000-", "bytes=350000-"]
        assert shelf.sent == len(DATA)
    assert resumed
    assert (tmp_path / "a.part").read_bytes() == DATA
    assert heard.starts == [0, 200_000, 350_000]
    assert heard.last == len(DATA)
    assert "200000 of 600000" in heard.said[0]


def test_another_process_goes_on_where_one_stopped(tmp_path: Path) -> None:
    with serving({"/a.pth": DATA}) as shelf:
        shelf.cuts = [400_000]
        with pytest.raises(FetchError, match="400000 of 600000"):
            download(f"{shelf.url}/a.pth", tmp_path / "a.part", attempts=quick(limit=1))
        download(f"{shelf.url}/a.pth", tmp_path / "a.part", attempts=quick())
        assert shelf.sent == len(DATA)
        # complete already: the server is asked, and sends nothing
        download(f"{shelf.url}/a.pth", tmp_path / "a.part", attempts=quick())
        assert shelf.sent == len(DATA)
    assert (tmp_path / "a.part").read_bytes() == DATA


def test_a_server_without_ranges_is_read_from_the_start_again(tmp_path: Path) -> None:
    with serving({"/a.pth": DATA}) as shelf:
        shelf.ranges, shelf.cuts = False, [400_000]
        assert not download(f"{shelf.url}/a.pth", tmp_path / "a.part", attempts=quick())
        assert shelf.sent == 400_000 + len(DATA)
    assert (tmp_path / "a.part").read_bytes() == DATA


@pytest.mark.parametrize("tags", [True, False])
def test_a_file_that_changed_meanwhile_is_not_stitched(tmp_path: Path, tags: bool) -> None:
    """With a validator the server sends it whole; without one nothing may be resumed, unless a digest will
    judge the result.
    """
    with serving({"/a.pth": DATA}) as shelf:
        shelf.tags, shelf.cuts = tags, [400_000]
        with pytest.raises(FetchError):
            download(f"{shelf.url}/a.pth", tmp_path / "a.part", attempts=quick(limit=1))
        shelf.files["/a.pth"] = NEWER
        download(f"{shelf.url}/a.pth", tmp_path / "a.part", attempts=quick())
        assert shelf.requests[-1][1] == ("bytes=400000-" if tags else "")
    assert (tmp_path / "a.part").read_bytes() == NEWER


def test_without_validators_a_known_digest_allows_resuming_from_another_mirror(tmp_path: Path) -> None:
    with serving({"/a.pth": DATA, "/mirror/a.pth": DATA}) as shelf:
        shelf.tags, shelf.cuts = False, [400_000]
        with pytest.raises(FetchError):
            download(f"{shelf.url}/a.pth", tmp_path / "a.part", trust_any=True, attempts=quick(limit=1))
        assert download(f"{shelf.url}/mirror/a.pth", tmp_path / "a.part", trust_any=True, attempts=quick())
        assert shelf.sent == len(DATA)
    assert (tmp_path / "a.part").read_bytes() == DATA


def test_503_is_repeated_and_404_is_not(tmp_path: Path) -> None:
    heard = Heard()
    with serving({"/a.pth": DATA}) as shelf:
        shelf.statuses, shelf.retry_after = [503, 429], "0"
        download(f"{shelf.url}/a.pth", tmp_path / "a.part", attempts=Attempts(say=heard.say, first_wait=60))
        assert len(shelf.requests) == 3
        assert "HTTP 503" in heard.said[0]
        assert "in 0 s" in heard.said[0]
        with pytest.raises(FetchError, match="HTTP 404"):
            download(f"{shelf.url}/none.pth", tmp_path / "b.part", attempts=quick())
        assert len(shelf.requests) == 4
        shelf.statuses, shelf.retry_after = [500] * 9, None
        with pytest.raises(FetchError, match="HTTP 500"):
            download(f"{shelf.url}/a.pth", tmp_path / "c.part", attempts=quick(limit=4))
        assert len(shelf.requests) == 8
    with pytest.raises(FetchError, match=r"127\.0\.0\.1.*refused"):
        download(f"{shelf.url}/a.pth", tmp_path / "d.part", attempts=quick(limit=2))


def test_a_redirected_transfer_is_resumed_too(tmp_path: Path) -> None:
    """Release pages redirect to a store; the range must reach it."""
    with serving({"/store/a": DATA}) as shelf:
        shelf.redirects = {"/release/a.pth": "/store/a"}
        shelf.cuts = [400_000]
        download(f"{shelf.url}/release/a.pth", tmp_path / "a.part", attempts=quick())
        assert shelf.sent == len(DATA)
    assert (tmp_path / "a.part").read_bytes() == DATA


def test_a_file_of_another_size_is_not_transferred(tmp_path: Path) -> None:
    with serving({"/a.pth": DATA}) as shelf:
        with pytest.raises(FetchError, match="has 600000 bytes, not 599999"):
            download(f"{shelf.url}/a.pth", tmp_path / "a.part", expected=len(DATA) - 1, attempts=quick())
        assert len(shelf.requests) == 1
    assert not (tmp_path / "a.part").exists()


def test_waits_double_and_are_told() -> None:
    heard = Heard()
    attempts = Attempts(say=heard.say, first_wait=0.01, limit=4)
    with pytest.raises(FetchError):
        attempts.run(lambda: (_ for _ in ()).throw(FetchError("no", True)))
    assert [text.rsplit(" in ", 1)[1].split(" s")[0] for text in heard.said] == ["0.01", "0.02", "0.04"]


def test_a_web_page_is_not_a_file(tmp_path: Path) -> None:
    with serving({"/a.pth": b"<html>sign in</html>"}) as shelf:
        shelf.content_type = "text/html; charset=utf-8"
        with pytest.raises(FetchError, match="web page"):
            download(f"{shelf.url}/a.pth", tmp_path / "a.part", attempts=quick())


def test_a_disk_too_small_is_said_before_the_transfer(tmp_path: Path) -> None:
    with serving({"/a.pth": DATA}) as shelf:
        shelf.claimed["/a.pth"] = 10**18
        with pytest.raises(FetchError, match=r"1e\+09 GB are needed"):
            download(f"{shelf.url}/a.pth", tmp_path / "a.part", attempts=quick())


def test_a_file_that_cannot_grow_is_an_error_and_is_kept(tmp_path: Path) -> None:
    """The kernel refuses to write beyond a limit, as it does on a full disk; what was written serves the next
    try.
    """
    code = (
        "import resource, signal, sys; from pathlib import Path; from retalk_models.registry.download import download\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))\n"
        "try: download(sys.argv[1], Path(sys.argv[2]))\n"
        "except OSError as error: print(type(error).__name__, error.errno)"
    )
    big = DATA * 4
    with serving({"/a.pth": big}) as shelf:
        arguments = [sys.executable, "-c", code, f"{shelf.url}/a.pth", str(tmp_path / "a.part")]
        result = subprocess.run(
            arguments, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=True
        )
        assert result.stdout == "OSError 27\n"
        kept = os.path.getsize(tmp_path / "a.part")
        assert 0 < kept <= 1 << 20
        download(f"{shelf.url}/a.pth", tmp_path / "a.part", attempts=quick())
        assert shelf.requests[-1][1] == f"bytes={kept}-"
    assert (tmp_path / "a.part").read_bytes() == big


def test_cancelling_stops_at_the_next_chunk(tmp_path: Path) -> None:
    cancelled = threading.Event()
    with serving({"/a.pth": DATA * 20}) as shelf:
        shelf.pause = 0.02

        class Cancels(DownloadProgress):
            def at(self, file: str, done: int) -> None:
                cancelled.set()

        with pytest.raises(FetchError, match="cancelled"):
            download(
                f"{shelf.url}/a.pth", tmp_path / "a.part", progress=Cancels(), attempts=Attempts(cancelled)
            )
    assert 0 < os.path.getsize(tmp_path / "a.part") < len(DATA) * 20


def test_fsspec_sources_are_resumed_by_seeking(tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/mirror/a.pth", DATA)
    url, part, heard = "memory://mirror/a.pth", tmp_path / "a.part", Heard()
    download(url, part)
    part.write_bytes(DATA[:1234])  # as a killed process leaves it; its note stands beside it
    assert download(url, part, progress=heard)
    assert heard.starts == [1234]
    assert part.read_bytes() == DATA
    memory.pipe_file("/mirror/a.pth", NEWER[:500_000])
    assert not download(url, part)
    assert part.read_bytes() == NEWER[:500_000]
    with pytest.raises(FetchError, match="memory://mirror/none: no such file"):
        download("memory://mirror/none", part)
    with pytest.raises(FetchError, match="nosuch"):
        open_source("nosuch://x/y")


def archive() -> bytes:
    """A zip of some megabytes that do not compress, with the one small member in their midst."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("BFM/01_MorphableModel.mat", DATA * 4)
        file.writestr("BFM/similarity_Lm3D_all.mat", b"MATLAB 5.0" + DATA[:984])
        file.writestr("BFM/Exp_Pca.bin", NEWER * 4)
    return buffer.getvalue()


def test_one_member_of_an_archive_costs_its_directory_and_itself(tmp_path: Path) -> None:
    whole = archive()
    with serving({"/BFM.zip": whole}) as shelf:
        shelf.statuses = [503]
        download_member(
            f"{shelf.url}/BFM.zip", "similarity_Lm3D_all.mat", tmp_path / "m.part", attempts=quick()
        )
        assert shelf.sent < 100_000 < len(whole)
    assert (tmp_path / "m.part").read_bytes() == b"MATLAB 5.0" + DATA[:984]


def test_one_member_from_servers_without_ranges_and_from_fsspec(tmp_path: Path) -> None:
    whole, heard = archive(), Heard()
    with serving({"/BFM.zip": whole, "/broken.zip": whole[:-100]}) as shelf:
        shelf.ranges = False
        download_member(
            f"{shelf.url}/BFM.zip",
            "similarity_Lm3D_all.mat",
            tmp_path / "m.part",
            progress=heard,
            attempts=quick(),
        )
        assert "does not send ranges" in heard.said[0]
        assert (tmp_path / "m.part").stat().st_size == 994
        with pytest.raises(FetchError, match="not a usable zip"):
            download_member(
                f"{shelf.url}/broken.zip", "similarity_Lm3D_all.mat", tmp_path / "b.part", attempts=quick()
            )
    assert os.listdir(tmp_path) == ["m.part"]  # the archive is not left behind
    fsspec.filesystem("memory").pipe_file("/z/BFM.zip", whole)
    download_member("memory://z/BFM.zip", "similarity_Lm3D_all.mat", tmp_path / "n.part")
    assert (tmp_path / "n.part").read_bytes() == (tmp_path / "m.part").read_bytes()
    with pytest.raises(FetchError, match=r"no member x.mat.*01_Morphable"):
        download_member("memory://z/BFM.zip", "x.mat", tmp_path / "o.part")
