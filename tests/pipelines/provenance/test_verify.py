"""`retalk verify`: files that are signed, changed, attacked, or nothing of it."""

from __future__ import annotations

import http.server
import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.cli.main import main
from pipelines.provenance import c2pa_check, native_reader
from pipelines.provenance.c2pa_check import MAX_SIDECAR
from pipelines.provenance.findings import Finding, Subject, Trust
from pipelines.provenance.home import ROOT
from pipelines.provenance.identity import local_identity, make_identity
from pipelines.provenance.verify import CHECKS, Ledger, Verification, files_of, verify_file
from tests.pipelines.conftest import make_video
from tests.pipelines.provenance.signed import sign_file

LABEL = "urn:c2pa:11111111-2222-4333-8444-555555555555"


@pytest.fixture(scope="module")
def identity() -> dict[str, bytes]:
    return make_identity("tester")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("plain") / "plain.mp4")


@pytest.fixture
def signed(plain: Path, identity: dict[str, bytes], tmp_path: Path) -> Path:
    sign_file(plain, tmp_path / "signed.mp4", identity, label=LABEL)
    return tmp_path / "signed.mp4"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No identity of whoever runs the tests is trusted or made."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config"


def checked(path: Path, identity: dict[str, bytes] | None = None, remote: bool = False) -> Finding:
    """The C2PA finding on a file."""
    anchors = identity[ROOT].decode() if identity else ""
    found = verify_file(str(path), Trust(anchors, remote))
    return next(one for one in found.findings if one.check == "c2pa")


def changed(path: Path, where: int) -> Path:
    """A copy of a file with one bit flipped."""
    content = bytearray(path.read_bytes())
    content[where] ^= 1
    copy = path.with_name(f"changed{where}.mp4")
    copy.write_bytes(content)
    return copy


def test_a_file_is_trusted_under_its_signers_root_and_unknown_under_another(
    signed: Path, identity: dict[str, bytes]
) -> None:
    finding = checked(signed, identity)
    assert finding.state == "trusted"
    assert finding.ids[0] == LABEL
    assert "tester" in finding.text
    assert "no time stamp" in finding.text
    other = checked(signed, make_identity("somebody else"))
    assert other.state == "untrusted"
    assert "signer is unknown" in other.text


def test_a_file_without_a_manifest_has_none(plain: Path, identity: dict[str, bytes]) -> None:
    assert checked(plain, identity).state == "none"


@pytest.mark.parametrize(
    "mark", [b"mdat", b"c2pa.opened", b"source.mp4", b"retalk (self-signed)", b"claim_generator_info"]
)
def test_a_flipped_bit_is_noticed_in_the_content_and_in_the_manifest(
    signed: Path, identity: dict[str, bytes], mark: bytes
) -> None:
    """In the pictures, in an action, in an ingredient, in a certificate, in the claim."""
    where = signed.read_bytes().find(mark)
    assert where > 0
    finding = checked(changed(signed, where + len(mark) + (200 if mark == b"mdat" else -1)), identity)
    assert finding.state == "tampered"
    assert finding.text.startswith("tampered: ")


def test_a_cut_file_is_tampered(signed: Path, identity: dict[str, bytes]) -> None:
    os.truncate(signed, signed.stat().st_size - 1000)
    assert checked(signed, identity).state == "tampered"


def test_a_manifest_beside_a_file_is_found_and_belongs_to_that_file_only(
    plain: Path, identity: dict[str, bytes], tmp_path: Path
) -> None:
    film = tmp_path / "film.mkv"
    manifest = sign_file(plain, film, identity, embed=False)
    assert checked(film, identity).state == "none"
    (tmp_path / "film.c2pa").write_bytes(manifest)
    finding = checked(film, identity)
    assert finding.state == "trusted"
    assert "beside the file" in finding.text
    content = bytearray(film.read_bytes())
    content[len(content) // 2] ^= 1
    film.write_bytes(content)
    assert checked(film, identity).state == "tampered"


def test_a_huge_sidecar_is_not_read(plain: Path, tmp_path: Path) -> None:
    film = tmp_path / "film.mkv"
    film.write_bytes(plain.read_bytes())
    with (tmp_path / "film.c2pa").open("wb") as file:
        file.truncate(MAX_SIDECAR + 1)  # without a byte on the disk
    finding = checked(film)
    assert (finding.state, "64: not read" in finding.text) == ("unreadable", True)


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 4096, b"jumb" * 5000, os.urandom(9000), b"PK\3\4" + b"\0" * 90]
)
def test_a_sidecar_of_rubbish_is_a_message(plain: Path, tmp_path: Path, content: bytes) -> None:
    film = tmp_path / "film.mkv"
    film.write_bytes(plain.read_bytes())
    (tmp_path / "film.c2pa").write_bytes(content)
    assert checked(film).state in ("none", "tampered", "unreadable")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import os; os.abort()", "ended by SIGABRT"),
        ("import ctypes; ctypes.string_at(0)", "ended by SIGSEGV"),
        ("x = bytearray(1 << 33)", "MemoryError"),
        ("print('no JSON')", "failed"),
    ],
)
def test_a_reader_that_crashes_is_a_message(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, said: str
) -> None:
    """The child does what a hostile manifest might make the native library do, under the limits of the real one."""
    script = tmp_path / "crash.py"
    text = Path(native_reader.__file__).read_text()
    script.write_text(text.replace("    json.dump(read(request), sys.stdout)\n", f"    {code}\n"))
    assert code in script.read_text()
    monkeypatch.setattr(native_reader, "__file__", str(script))
    finding = checked(plain)
    assert finding.state == "unreadable"
    assert said in finding.text


def test_a_reader_that_does_not_end_is_a_message(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "endless.py"
    text = Path(native_reader.__file__).read_text()
    script.write_text(text.replace("    json.dump(read(request), sys.stdout)\n", "    while True: pass\n"))
    monkeypatch.setattr(native_reader, "__file__", str(script))
    monkeypatch.setattr(c2pa_check, "SECONDS", 1)
    finding = checked(plain)
    assert (finding.state, "hostile" in finding.text) == ("unreadable", True)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Any]:
    """A web server of this machine that holds a folder and notes what it is asked for."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(folder))

        def log_message(self, *args: Any) -> None:
            asked.append(self.path)

    asked: list[str] = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        made.folder, made.asked = folder, asked  # type: ignore[attr-defined]
        yield made
        made.shutdown()


def test_a_manifest_elsewhere_is_fetched_only_when_asked(
    plain: Path, identity: dict[str, bytes], tmp_path: Path, server: Any
) -> None:
    address = f"http://127.0.0.1:{server.server_port}/x.c2pa"
    film = tmp_path / "film.mp4"
    manifest = sign_file(plain, film, identity, embed=False, remote=address)
    (server.folder / "x.c2pa").write_bytes(manifest)
    finding = checked(film, identity)
    assert finding.state == "none"
    assert "not fetched" in finding.text
    assert finding.details["remote"] == address
    assert not server.asked
    assert checked(film, identity, remote=True).state == "trusted"
    assert server.asked


def test_texts_of_a_manifest_cannot_write_to_the_terminal(
    plain: Path, identity: dict[str, bytes], tmp_path: Path
) -> None:
    evil = "retalk\x1b[2J\x1b]0;owned\x07\n  c2pa: trusted"
    dub = {"label": "org.retalk.dub", "data": {"engine": evil}}
    actions = {
        "label": "c2pa.actions.v2",
        "data": {"actions": [{"action": "c2pa.opened", "parameters": {"ingredientIds": ["source"]}}]},
    }
    sign_file(plain, tmp_path / "evil.mp4", identity, assertions=[actions, dub])
    finding = checked(tmp_path / "evil.mp4", identity)
    assert finding.text.isprintable()
    assert "owned" in finding.text


@pytest.mark.parametrize(
    ("states", "whole"),
    [
        (["trusted", "none"], "trusted"),
        (["none", "found"], "marked"),
        (["untrusted", "found"], "untrusted"),
        (["trusted", "unreadable"], "bad"),
        (["tampered", "found"], "bad"),
        (["none", "skipped"], "none"),
    ],
)
def test_the_findings_of_several_checks_come_to_one_word(states: list[Any], whole: str) -> None:
    assert Verification("x", [Finding("c", state, "") for state in states]).state == whole


def test_further_checks_are_run_too(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def mark(subject: Subject) -> Finding:
        return Finding("watermark", "found", f"found in {subject.path.name}", ["0123456789abcdef"])

    monkeypatch.setattr("pipelines.provenance.verify.CHECKS", [*CHECKS, mark])
    found = verify_file(str(plain), Trust())
    assert [one.check for one in found.findings[-2:]] == [
        CHECKS[-1](Subject("", plain, Trust())).check,
        "watermark",
    ]
    assert found.state == "marked"


def test_the_command_says_it_in_words_and_as_json_with_an_exit_code(
    signed: Path, plain: Path, identity: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "root.pem"
    root.write_bytes(identity[ROOT])
    assert main(["verify", str(signed), "--trust", str(root)]) == 0
    assert "c2pa: trusted: signed by retalk local signer tester" in capsys.readouterr().out
    assert main(["verify", str(signed)]) == 5
    assert main(["verify", str(plain), str(signed)]) == 6
    capsys.readouterr()
    assert main(["verify", str(changed(signed, -400)), str(plain), "--json"]) == 3
    told = json.loads(capsys.readouterr().out)
    assert [one["state"] for one in told["files"]] == ["bad", "none"]
    failures = told["files"][0]["findings"][0]["details"]["failures"]
    assert "assertion.bmffHash.mismatch" in [one["code"] for one in failures]


def test_folders_are_searched_and_what_is_not_there_is_wrong_usage(
    signed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.txt").write_text("no media")
    assert main(["verify", str(tmp_path)]) == 5
    assert "signed.mp4" in capsys.readouterr().out
    assert main(["verify", str(tmp_path / "absent.mp4")]) == 2
    assert "no such file" in capsys.readouterr().err
    assert main(["verify", str(signed), "--trust", str(tmp_path / "notes.txt")]) == 2
    assert "holds no PEM certificates" in capsys.readouterr().err
    assert main(["verify", str(signed), "--ledger", str(tmp_path)]) == 2
    assert "no records" in capsys.readouterr().err


def test_this_users_own_root_is_trusted(plain: Path, tmp_path: Path) -> None:
    folder = local_identity()
    own = {path.name: path.read_bytes() for path in folder.iterdir()}
    sign_file(plain, tmp_path / "own.mp4", own)
    assert main(["verify", str(tmp_path / "own.mp4")]) == 0


@pytest.mark.parametrize(
    ("state", "found"),
    [("trusted", True), ("found", True), ("untrusted", False), ("tampered", False), ("none", False)],
)
def test_a_manifest_of_a_stranger_leads_to_no_row(state: Any, found: bool) -> None:
    ledger = Ledger({"0f0f": {"title": "a"}})  # type: ignore[dict-item]
    row = ledger.row([Finding("c2pa", state, "", ids=["0f0f"])])
    assert (row is not None) is found


def test_a_pipe_is_not_read(signed: Path, plain: Path) -> None:
    os.mkfifo(signed.parent / "pipe.mp4")
    assert list(files_of(str(signed.parent))) == [str(signed)]
    beside = signed.parent / "beside.mkv"
    beside.write_bytes(plain.read_bytes())
    os.mkfifo(beside.with_suffix(".c2pa"))
    assert checked(beside).state == "unreadable"


def test_an_empty_file_says_so_with_a_code_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.mp4").touch()
    assert main(["verify", str(tmp_path / "empty.mp4")]) == 7
    assert "file: empty: it has no bytes" in capsys.readouterr().out


def test_what_is_no_video_is_not_called_tampered(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("hello there\n")
    assert checked(tmp_path / "text.mp4").state == "unreadable"


@pytest.mark.parametrize("key", ["env:NOPE", "absent.key"])
def test_a_wrong_key_of_marks_is_wrong_usage(
    plain: Path, key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A script must not take the file for one that was looked at."""
    assert main(["verify", str(plain), "--watermark-key", key]) == 2
    assert key.removeprefix("env:") in capsys.readouterr().err


def test_an_interrupted_command_that_keeps_nothing_promises_nothing(
    plain: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "pipelines.provenance.verify.verify_file", lambda *given: os.kill(os.getpid(), signal.SIGTERM)
    )
    assert main(["verify", str(plain)]) == 130
    assert capsys.readouterr().err.endswith("interrupted\n")


def test_a_device_is_no_missing_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", os.devnull]) == 2
    assert "no regular file" in capsys.readouterr().err


def test_a_server_that_is_not_there_is_given_up_soon(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RETALK_STORAGE_PATIENCE", raising=False)
    monkeypatch.setattr("pipelines.provenance.verify.SECONDS", 0.3)
    assert main(["verify", "http://127.0.0.1:9/x.mp4"]) == 2
    assert "does not answer" in capsys.readouterr().err
