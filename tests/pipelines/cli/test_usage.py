"""Unusable requests are refused in one line before anything runs: missing packages of storages, files,
options that exclude each other.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from fsspec.registry import _registry

from pipelines.cli import main as cli
from tests.pipelines.conftest import engine_config, profile_config


@pytest.fixture
def configs(tmp_path: Path) -> list[str]:
    """Arguments that choose the test engine and a small profile, by files."""
    engine, profile = tmp_path / "engine.yaml", tmp_path / "profile.yaml"
    engine.write_text(yaml.safe_dump(engine_config().model_dump()))
    profile.write_text(yaml.safe_dump(profile_config(1).model_dump(exclude_none=True)))
    return ["--engine", str(engine), "--profile", str(profile)]


@pytest.fixture
def manifest(footage: Path, tmp_path: Path) -> str:
    path = tmp_path / "m.jsonl"
    row = {
        "id": "good",
        "video": str(footage / "a.mp4"),
        "speech": str(footage / "long.wav"),
        "output": "good.mp4",
    }
    path.write_text(json.dumps(row) + "\n")
    return str(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"video": "nowhere.mp4"}, "the video: {footage}/nowhere.mp4: no such file"),
        ({"speech": "nowhere.wav"}, "the speech: {footage}/nowhere.wav: no such file"),
        (
            {"speech": "s3://bucket/x.wav"},
            "retalk dub: s3://bucket/x.wav: s3:// needs the package s3fs, which is not installed",
        ),
        ({"video": "D:\\films\\a.mp4"}, "D:\\films\\a.mp4: looks like a Windows path"),
        ({"more": ["--face", "upper"]}, "face: must be largest, left, right, a number"),
        ({"more": ["--face", "/no/face.jpg"]}, "the picture of --face: /no/face.jpg: no such file"),
        (
            {"more": ["--language", "german"]},
            "language: 'german' is an unknown language: did you mean 'deu' (German)?",
        ),
    ],
)
def test_dub_refuses_what_cannot_be_used_in_its_own_words(
    footage: Path,
    tmp_path: Path,
    configs: list[str],
    capsys: pytest.CaptureFixture[str],
    without_cloud: None,
    change: dict[str, Any],
    message: str,
) -> None:
    change = {
        name: str(footage / value) if str(value).startswith("nowhere") else value
        for name, value in change.items()
    }
    more = change.pop("more", [])
    files = {"video": str(footage / "a.mp4"), "speech": str(footage / "exact.wav"), **change}
    output = tmp_path / "out" / "x.mp4"
    assert (
        cli.main(
            [
                "dub",
                files["video"],
                files["speech"],
                "-o",
                str(output),
                *configs,
                "--runner",
                "local",
                "--quiet",
                *more,
            ]
        )
        == 2
    )
    error = capsys.readouterr().err
    assert message.format(footage=footage) in error
    assert "row" not in error
    assert "[dub]" not in error
    assert not output.parent.exists()


@pytest.fixture
def without_cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without the extra `cloud`."""
    for package in ("s3fs", "gcsfs", "aiohttp"):
        monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, "fsspec.implementations.http", raising=False)
    for kind in ("s3", "gs", "https"):
        monkeypatch.delitem(_registry, kind, raising=False)


@pytest.mark.parametrize(
    ("url", "package"), [("s3://bucket/x", "s3fs"), ("gs://bucket/x", "gcsfs"), ("https://host/x", "aiohttp")]
)
@pytest.mark.parametrize(
    "command",
    [
        ["plan", "URL"],
        ["plan", "MANIFEST", "-o", "URL"],
        ["status", "URL"],
        ["report", "URL"],
        ["run", "URL", "-o", "DIR"],
        ["run", "MANIFEST", "-o", "URL"],
        ["run", "MANIFEST", "-o", "DIR", "--cache", "URL"],
        ["dub", "VIDEO", "VIDEO", "-o", "URL.mp4"],
        ["profile", "--video", "URL", "--speech", "URL", "-o", "DIR.yaml"],
    ],
)
def test_storage_whose_package_is_missing_is_one_line(
    manifest: str,
    footage: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    without_cloud: None,
    command: list[str],
    url: str,
    package: str,
) -> None:
    for word, value in (
        ("URL", url),
        ("MANIFEST", manifest),
        ("DIR", str(tmp_path / "dir")),
        ("VIDEO", str(footage / "a.mp4")),
    ):
        command = [part.replace(word, value) for part in command]
    more = ["--engine", "exemplar"] if command[0] not in ("status", "report") else []
    assert cli.main([*command, *more]) == 2
    error = capsys.readouterr().err
    assert (
        f"{url.split(':', maxsplit=1)[0]}:// needs the package {package}, which is not installed: pip install"
        in error
    )
    assert len([line for line in error.splitlines() if line.startswith("retalk ")]) == 1
    assert "Traceback" not in error
    assert not (tmp_path / "dir").exists()


def test_cache_and_no_cache_are_refused_together(
    manifest: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(
            ["run", manifest, "-o", str(tmp_path / "out"), "--cache", str(tmp_path / "cache"), "--no-cache"]
        )
    assert ended.value.code == 2
    assert "not allowed with" in capsys.readouterr().err


def test_a_relative_directory_is_planned_like_the_run(
    manifest: str,
    tmp_path: Path,
    configs: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["run", manifest, "-o", "out", *configs, "--runner", "local", "--quiet"]) == 0
    capsys.readouterr()
    assert cli.main(["plan", manifest, "-o", "out", *configs]) == 0
    assert "done already" in capsys.readouterr().out
