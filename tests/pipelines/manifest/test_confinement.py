"""Limits of manifests from others: they must not leave their roots, open what a playlist names, exceed limits,
spill secrets.
"""

from __future__ import annotations

import ast
import http.server
import json
import re
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from pipelines import runner
from pipelines.cli import main as cli
from pipelines.engine.config import load_profile, with_sections
from pipelines.errors import ConfigError, UsageError
from pipelines.manifest.confinement import Roots
from tests.pipelines.conftest import engine_config, make_speech, make_video, profile_config

REPOSITORY = Path(__file__).parents[3]
SECRET = "Zm9vYmFyc2VjcmV0"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """``in`` with a video, and beside it ``out`` of reach another; a link in ``in`` that leads there."""
    for folder in ("in", "elsewhere"):
        make_video(tmp_path / folder / "a.mp4", frames=8)
        make_speech(tmp_path / folder / "a.wav", 1.0)
    (tmp_path / "in" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in" / "linked.mp4").symlink_to(tmp_path / "elsewhere" / "a.mp4")
    (tmp_path / "inside-out").mkdir()
    return tmp_path


def run(rows: list[dict[str, Any]], tree: Path, *roots: str, **more: Any) -> runner.Report:
    options = {
        "run_dir": str(tree / "run"),
        "engine": engine_config(),
        "profile": profile_config(1),
        "runner": "local",
        "roots": roots,
        **more,
    }
    return runner.run(rows, **options)


def test_titles_outside_the_roots_fail_untouched_and_the_others_run(tree: Path) -> None:
    good = {"video": str(tree / "in" / "a.mp4"), "speech": str(tree / "in" / "a.wav")}
    bad: list[dict[str, Any]] = [
        {"video": str(tree / "elsewhere" / "a.mp4")},
        {"video": str(tree / "in" / ".." / "elsewhere" / "a.mp4")},
        {"video": str(tree / "in" / "linked.mp4")},
        {"speech": str(tree / "in" / "link" / "a.wav")},
        {"speech": f"file://{tree}/elsewhere/a.wav"},
        {"speech": f"simplecache::file://{tree}/elsewhere/a.wav"},
        {"speech": f"reference::file://{tree}/in/a.wav"},
        {"face": str(tree / "elsewhere" / "face.jpg")},
        {"output": str(tree / "elsewhere" / "new" / "x.mp4")},
        {"output": str(tree / "inside-out" / "x.mp4")},
        {"video": "https://example.invalid/a.mp4"},
        {"paint.log": str(tree / "elsewhere" / "log")},
        {"dubs": [{"language": "de", "speech": str(tree / "elsewhere" / "a.wav"), "output": "x.mp4"}]},
    ]
    rows = [{"id": "good", **good, "output": "good.mp4"}]
    for number, change in enumerate(bad):
        row = {"id": f"bad{number}", **good, "output": f"bad{number}.mp4", **change}
        rows.append(
            {key: value for key, value in row.items() if not ("dubs" in row and key in ("speech", "output"))}
        )
    before = sorted(path for path in (tree / "elsewhere").rglob("*"))
    report = run(rows, tree, str(tree / "in"))
    states = {record["title"]: record for record in report.records}
    assert states["good"]["state"] == "done", states["good"]["error"]
    assert (tree / "run" / "good.mp4").is_file(), "the run directory was named by who runs it"
    for number, change in enumerate(bad):
        record = states[f"bad{number}"]
        assert record["state"] == "failed", change
        assert f"lies outside {tree / 'in'}" in record["error"], record["error"]
        assert record["error"].endswith("(--root)")
    assert sorted(path for path in (tree / "elsewhere").rglob("*")) == before
    assert list((tree / "inside-out").iterdir()) == []


@pytest.mark.parametrize(
    ("root", "inside", "outside"),
    [
        ("s3://bucket/in", "s3://bucket/in/a.mp4", "s3://bucket/inside/a.mp4"),
        ("s3://bucket", "s3a://bucket/a", "s3://bucket2/a"),
        ("s3://bucket/in/", "zip://x/../y.mp4::s3://bucket/in/a.zip", "zip://a::s3://other/a.zip"),
        ("s3://bucket/in", "filecache::s3://bucket/in/a", "reference://::s3://bucket/in/a"),
        ("s3://bucket/in", "s3://bucket/in//a", "s3://bucket/in/../a"),
        ("https://host/in", "https://HOST/in/a?sig=1", "https://host@evil.example/in/a"),
        ("https://host/in", "https://host/in/%61", "https://host/in/%2e%2e/a"),
        ("https://host/in", "https://u:p@host/in/a", "http://host/in/a"),
        ("https://host/in", "https://host/in/", "https://host:8443/in/a"),
        ("/data", "/data/a", "/database/a"),
        ("/data", "file:///data/a", "data:text/plain,x"),
        ("gs://b/x", "gcs://b/x/y", "memory://b/x/y"),
    ],
)
def test_places(root: str, inside: str, outside: str) -> None:
    roots = Roots([root])
    assert roots.allow(inside)
    assert not roots.allow(outside)
    assert not roots.allow("relative/../../x")
    assert not roots.allow("~root/.ssh/id")


def test_a_root_must_be_a_folder() -> None:
    for url in ("s3://bucket/../x", "simplecache::s3://bucket", "data:,"):
        with pytest.raises(UsageError, match="must be the path or URL of a folder"):
            Roots([url])


def test_roots_and_limits_on_the_command_line(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    engine, profile = tree / "engine.yaml", tree / "profile.yaml"
    engine.write_text(yaml.safe_dump(engine_config().model_dump()))
    profile.write_text(yaml.safe_dump(profile_config(1).model_dump(exclude_none=True)))
    manifest = tree / "in" / "m.jsonl"
    manifest.write_text(
        json.dumps({"id": "a", "video": "linked.mp4", "speech": "a.wav", "output": "a.mp4"}) + "\n"
    )
    options = ["--engine", str(engine), "--profile", str(profile)]
    assert cli.main(["plan", str(manifest), *options, "--root", str(tree / "in")]) == 3
    assert "lies outside" in capsys.readouterr().out
    base = ["run", str(manifest), "-o", str(tree / "run"), *options, "--runner", "local", "--quiet"]
    assert cli.main([*base, "--root", str(tree / "in")]) == 3
    assert cli.main([*base, "--root", str(tree), "--limit", "max_megapixels=0.001"]) == 3
    said = capsys.readouterr().err
    assert (
        "its pictures have 64x48 pixels (0.003072 megapixels), limits.max_megapixels allows 0.001: raise it in the profile"
        in said
    )
    assert cli.main([*base, "--limit", "max_pixels=1"]) == 2
    assert "--limit: max_pixels: unknown key, did you mean 'max_megapixels'?" in capsys.readouterr().err
    assert cli.main([*base, "--limit", "max_hours"]) == 2
    assert cli.main([*base, "--root", str(tree), "--root", "s3://elsewhere"]) == 0


@pytest.mark.parametrize(
    ("limit", "value", "message"),
    [
        ("max_hours", 0.0001, r"a\.mp4: it lasts 0\.000\d+ hours, limits\.max_hours allows 0\.0001"),
        ("max_gib", 1e-9, r"a\.mp4: the file has .* GiB, limits\.max_gib allows 1e-09"),
        ("max_hours", 0.00025, r"a\.wav: it lasts 0\.000\d+ hours"),
    ],
)
def test_limits_on_videos_and_speech(tree: Path, limit: str, value: float, message: str) -> None:
    row = {
        "id": "a",
        "video": str(tree / "in" / "a.mp4"),
        "speech": str(tree / "in" / "a.wav"),
        "output": "a.mp4",
    }
    (record,) = run([row], tree, limits={limit: value}).records
    assert record["state"] == "failed"
    assert re.search(message, record["error"]), record["error"]


def test_limits_on_the_picture_of_a_face(tree: Path) -> None:
    cv2.imwrite(str(tree / "in" / "face.png"), np.zeros((80, 60, 3), np.uint8))
    row = {
        "id": "a",
        "video": str(tree / "in" / "a.mp4"),
        "speech": str(tree / "in" / "a.wav"),
        "output": "a.mp4",
    }
    (record,) = run(
        [{**row, "face": str(tree / "in" / "face.png")}], tree, limits={"max_megapixels": 0.004}
    ).records
    assert "face.png: its pictures have 60x80 pixels" in record["error"]


def test_limits_of_a_profile() -> None:
    profile = with_sections(load_profile("laptop"), limits={"max_hours": "20"})
    assert (profile.limits.max_hours, profile.limits.max_megapixels) == (20.0, 36.0)
    with pytest.raises(ConfigError, match="--limit: max_hours: must be above 0, got"):
        with_sections(profile, limits={"max_hours": -1})


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:2,\n{there}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile 'a.mp4'\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
        '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period><BaseURL>{there}</BaseURL></Period></MPD>',
    ],
    ids=["hls", "concat", "sdp", "dash"],
)
def test_a_playlist_opens_nothing(tree: Path, text: str) -> None:
    """Whatever its name: FFmpeg would read what it lists."""
    for name in ("list.mp4", "list.m3u8", "list.sdp"):
        (tree / "in" / name).write_text(text.format(there=tree / "elsewhere" / "a.mp4"))
        row = {
            "id": "a",
            "video": str(tree / "in" / name),
            "speech": str(tree / "in" / "a.wav"),
            "output": "a.mp4",
        }
        (record,) = run([row], tree).records
        assert "is a playlist that names other files; give the media file itself" in record["error"]
        speech = {**row, "video": str(tree / "in" / "a.mp4"), "speech": str(tree / "in" / name)}
        assert "is a playlist" in run([speech], tree).records[0]["error"]


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Files of a folder with byte ranges ignored; no log."""

    def log_message(self, format: str, *args: Any) -> None:
        return


@pytest.fixture
def server(tree: Path) -> Iterator[str]:
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Quiet, directory=str(tree / "in"))
    ) as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{made.server_port}"
        made.shutdown()
        thread.join()


def test_signed_urls_work_and_leave_no_trace(
    tree: Path, server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A real HTTP server: the signature reaches it, and nothing that is written or printed has it."""
    monkeypatch.setenv("RETALK_STORAGE_PATIENCE", "1")
    engine = tree / "engine.yaml"
    engine.write_text(yaml.safe_dump(engine_config().model_dump()))
    profile = tree / "profile.yaml"
    profile.write_text(yaml.safe_dump(profile_config(1).model_dump(exclude_none=True)))
    signed = f"?X-Amz-Signature={SECRET}"
    rows = [
        {
            "id": "good",
            "video": f"{server}/a.mp4{signed}",
            "speech": f"{server}/a.wav{signed}",
            "output": "good.mp4",
        },
        {
            "id": "absent",
            "video": f"{server}/absent.mp4{signed}",
            "speech": str(tree / "in" / "a.wav"),
            "output": "absent.mp4",
        },
        {
            "id": "noise",
            "video": f"{server}/m.bin{signed}",
            "speech": str(tree / "in" / "a.wav"),
            "output": "noise.mp4",
        },
        {
            "id": "nobody",
            "video": f"http://user:{SECRET}@127.0.0.1:9/a.mp4",
            "speech": str(tree / "in" / "a.wav"),
            "output": "n.mp4",
        },
    ]
    (tree / "in" / "m.bin").write_bytes(bytes(2000))
    manifest = tree / "m.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = ["--engine", str(engine), "--profile", str(profile)]
    assert cli.main(["plan", str(manifest), *options, "-o", str(tree / "run"), "--json"]) == 3
    assert (
        cli.main(["run", str(manifest), "-o", str(tree / "run"), *options, "--runner", "local", "--verbose"])
        == 3
    )
    assert cli.main(["status", str(tree / "run")]) == 3
    assert cli.main(["report", str(tree / "run")]) == 3
    captured = capsys.readouterr()
    assert SECRET not in captured.out + captured.err
    records = {
        row["title"]: row for row in map(json.loads, (tree / "run" / "ledger.jsonl").read_text().splitlines())
    }
    assert records["good"]["state"] == "done", records["good"]["error"]
    assert records["good"]["video"] == f"{server}/a.mp4?***"
    assert {name for name, record in records.items() if record["state"] == "failed"} == {
        "absent",
        "noise",
        "nobody",
    }
    for path in (tree / "run").rglob("*"):
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes(), path


def test_a_mistake_of_ours_spills_nothing(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(url: str, *_: Any) -> int:
        raise RuntimeError(f"cannot read s3://key:{SECRET}@bucket/x")

    monkeypatch.setattr("pipelines.cli.status.show_status", broken)
    assert cli.main(["status", str(tree)]) == 1
    error = capsys.readouterr().err
    assert "RuntimeError: cannot read s3://***@bucket/x" in error
    assert SECRET not in error


def test_no_shell_anywhere() -> None:
    """No call gives a text to a shell: not by `shell=True`, not by os.system, os.popen and their like."""
    forbidden = {
        "os.system",
        "os.popen",
        "subprocess.getoutput",
        "subprocess.getstatusoutput",
        "asyncio.create_subprocess_shell",
    }
    files = [
        path
        for folder in ("retalk_models", "operators", "pipelines", "cluster", "benchmarks")
        for path in (REPOSITORY / folder).rglob("*.py")
    ]
    assert len(files) > 100
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            shell = any(
                word.arg == "shell" and getattr(word.value, "value", True) is not False
                for word in node.keywords
            )
            assert name not in forbidden, f"{path}:{node.lineno}"
            assert not shell, f"{path}:{node.lineno}"


@pytest.mark.parametrize(
    "address",
    [
        "http://169.254.169.254/latest/meta-data/iam",
        "https://0xa9fea9fe/a.mp4",
        "http://[fe80::1]/a.mp4",
        "simplecache::http://metadata.google.internal/a.mp4",
        "ftp://2852039166/a.mp4",
    ],
)
@pytest.mark.parametrize("column", ["video", "speech", "output"])
def test_no_title_reaches_a_metadata_address(tree: Path, address: str, column: str) -> None:
    """Without any ``--root``; the other title is done."""
    files = {"video": str(tree / "in" / "a.mp4"), "speech": str(tree / "in" / "a.wav")}
    rows = [{"id": "bad", **files, "output": "bad.mp4", column: address}]
    report = run([*rows, {"id": "good", **files, "output": "good.mp4"}], tree)
    (failed,) = report.failed
    assert failed["title"] == "bad"
    assert f"{column} {address}: " in failed["error"]
    assert "link-local or metadata address" in failed["error"]
