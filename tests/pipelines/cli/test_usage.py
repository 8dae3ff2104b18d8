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
from tests.rights import without_root


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
        (
            {"video": "exact.wav", "speech": "a.mp4"},
            "the video: {footage}/exact.wav: has no video stream, it holds audio (did you swap VIDEO and SPEECH?)",
        ),
        (
            {"video": "exact.wav", "speech": "exact.wav"},
            "the video: {footage}/exact.wav: has no video stream, it holds audio\n",
        ),
        (
            {"speech": "b.mp4"},
            "the speech: {footage}/b.mp4: has no audio stream, it holds video; give any file with sound",
        ),
        ({"video": "a\nb.mp4"}, "the video: 'a\\nb.mp4' holds a line break; rename the file"),
        ({"output": "x\ny.mp4"}, "holds a line break; choose another name"),
        (
            {"video": "abfs://box/a.mp4"},
            "abfs:// needs the package adlfs, which is not installed: pip install -e ",
        ),
        (
            {"video": "abfss://box/a.mp4"},
            "abfss:// needs the package adlfs, which is not installed: pip install -e ",
        ),
        (
            {"video": "sftp://host/a.mp4"},
            "sftp:// needs the package paramiko, which is not installed: pip install",
        ),
        ({"video": "D:\\films\\a.mp4"}, "D:\\films\\a.mp4: looks like a Windows path"),
        ({"more": ["--face", "upper"]}, "face: must be largest, left, right, speaking, a number"),
        ({"more": ["--face", "/no/face.jpg"]}, "the picture of the face: /no/face.jpg: no such file"),
        ({"more": ["--ranges", " "]}, "--ranges is empty: write START-END"),
        ({"more": ["--exclude", ""]}, "--exclude is empty: write START-END"),
        (
            {"more": ["--face", "largest", "--speaker", "left=a.wav"]},
            "--face goes with one SPEECH; each --speaker FACE=SPEECH names its own face",
        ),
        ({"more": ["--speaker", "left"]}, "--speaker left: must be FACE=SPEECH"),
        ({"more": ["--speaker", "left=bob.wav"]}, "speech: each of the speakers has its own"),
        (
            {
                "speech": None,
                "more": ["--speaker", "left={footage}/exact.wav", "--speaker", "right=nowhere.wav"],
            },
            "the stem of right: nowhere.wav: no such file",
        ),
        (
            {
                "speech": None,
                "more": ["--speaker", "left={footage}/b.mp4", "--speaker", "right={footage}/exact.wav"],
            },
            "the stem of left: {footage}/b.mp4: has no audio stream",
        ),
        ({"more": ["--mix", "final.wav"]}, "mix: goes with speakers"),
        ({"more": ["--ranges", "9-5"]}, "ranges: the range 9-5 ends before it starts"),
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
    more = [part.format(footage=footage) for part in change.get("more", [])]
    change = {
        name: str(footage / value) if (footage / str(value)).is_file() or "nowhere" in str(value) else value
        for name, value in change.items()
        if name != "more"
    }
    files = {"video": str(footage / "a.mp4"), "speech": str(footage / "exact.wav"), **change}
    output = tmp_path / "out" / files.pop("output", "x.mp4")
    assert (
        cli.main(
            [
                "dub",
                *(files[name] for name in ("video", "speech") if files[name]),
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


def test_ranges_are_read_before_anything_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither the engine nor the video is looked at: both are wrong, too, and nothing is said of them."""
    for command in (
        ["dub", "no.mp4", "no.wav", "-o", str(tmp_path / "o.mp4")],
        ["run", "no.csv", "-o", str(tmp_path / "o")],
    ):
        for option, text, told in (
            ("ranges", "9-5", "ends before it starts"),
            ("exclude", "x", "'x' is no range"),
        ):
            assert cli.main([*command, "--engine", "nowhere", f"--{option}", text]) == 2
            error = capsys.readouterr().err
            assert f"{option}: " in error
            assert told in error
            assert "nowhere" not in error
            assert "no.mp4" not in error


@pytest.mark.parametrize("spelling", ["dotted", "relative", "soft link", "hard link", "url"])
@pytest.mark.parametrize("kind", ["video", "speech"])
def test_dub_never_replaces_its_input_however_it_is_spelled(
    footage: Path,
    tmp_path: Path,
    configs: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kind: str,
    spelling: str,
) -> None:
    (tmp_path / "c").mkdir()
    files = {"video": footage / "a.mp4", "speech": footage / "exact.wav"}
    own = tmp_path / "c" / "in.mp4"
    own.write_bytes((footage / "a.mp4").read_bytes())
    files[kind] = own
    output = str(tmp_path / "c" / "other.mp4")
    if spelling == "soft link":
        Path(output).symlink_to(own)
    elif spelling == "hard link":
        Path(output).hardlink_to(own)
    else:
        monkeypatch.chdir(tmp_path / "c")
        output = {"dotted": f"{tmp_path}/x/../c/in.mp4", "relative": "../c/in.mp4", "url": f"file://{own}"}[
            spelling
        ]
    before = own.read_bytes()
    words = ["dub", *map(str, files.values()), "-o", output, *configs, "--runner", "local", "--quiet"]
    for more in ([], ["--overwrite"], ["--dry-run"]):
        assert cli.main([*words, *more]) == 2
        error = capsys.readouterr().err
        assert f"-o {output}: is the {kind} itself; choose another name" in error
        assert "overwrite" not in error
    assert own.read_bytes() == before


def test_folders_without_permission_are_one_line(
    footage: Path, tmp_path: Path, configs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("in", "out", "full"):
        (tmp_path / name).mkdir()
    for name in ("a.mp4", "exact.wav"):
        (tmp_path / name).write_bytes((footage / name).read_bytes())
        (tmp_path / "in" / name).write_bytes((footage / name).read_bytes())
    manifest = tmp_path / "in" / "m.jsonl"
    manifest.write_text(json.dumps({"id": "a", "video": "a.mp4", "speech": "exact.wav"}))
    (tmp_path / "in").chmod(0)
    (tmp_path / "out").chmod(0o555)
    (tmp_path / "full").chmod(0)
    video, speech = str(tmp_path / "a.mp4"), str(tmp_path / "exact.wav")
    more = [*configs, "--runner", "local", "--quiet"]
    told = {
        (
            "dub",
            str(tmp_path / "in" / "a.mp4"),
            speech,
            "-o",
            str(tmp_path / "x.mp4"),
        ): "in/a.mp4: cannot be read",
        ("dub", video, str(tmp_path / "in" / "exact.wav"), "-o", str(tmp_path / "x.mp4")): "the speech: ",
        (
            "dub",
            video,
            speech,
            "-o",
            str(tmp_path / "out" / "x.mp4"),
        ): f"{tmp_path}/out/.x.mp4.retalk: cannot be written",
        ("dub", video, speech, "-o", str(tmp_path / "full" / "x.mp4")): f"{tmp_path}/full",
        ("run", str(manifest), "-o", str(tmp_path / "run")): "m.jsonl: cannot be read",
    }
    with without_root():
        for words, message in told.items():
            assert cli.main([*words, *more]) == 2, words
            error = capsys.readouterr().err
            assert message in error
            assert "(Permission denied)" in error
            assert ".part" not in error
            assert len(error.splitlines()) == 1, error
    (tmp_path / "in").chmod(0o755)
    (tmp_path / "full").chmod(0o755)


def test_an_output_with_the_longest_name_is_made(footage: Path, tmp_path: Path, configs: list[str]) -> None:
    output = tmp_path / f"{'ä' * 123}.mp4"
    words = ["dub", str(footage / "a.mp4"), str(footage / "exact.wav"), "-o", str(output), *configs]
    assert cli.main([*words, "--runner", "local", "--quiet"]) == 0
    assert [path.name for path in tmp_path.glob("*.mp4")] == [output.name]


@pytest.fixture
def without_cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without the extra `cloud`."""
    for package in ("s3fs", "gcsfs", "aiohttp", "adlfs", "paramiko"):
        monkeypatch.setitem(sys.modules, package, None)
    for module in ("fsspec.implementations.http", "fsspec.implementations.sftp", "operators.storage.web"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    for kind in ("s3", "gs", "https", "abfs", "abfss", "sftp"):
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


def test_the_profile_to_write_is_looked_at_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for output, message in (
        ("s3://b/x.yaml", "-o s3://b/x.yaml: a profile is written to a file of this machine"),
        (f"{tmp_path}/nowhere/x.yaml", "nowhere is no folder that can be written"),
    ):
        assert cli.main(["profile", "-o", output]) == 2
        assert message in capsys.readouterr().err


def test_rows_that_cannot_be_used_start_nothing(
    footage: Path,
    tmp_path: Path,
    configs: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of a catalogue with mistakes only the others are looked into, and `run` tells the mistakes first."""
    monkeypatch.setattr("pipelines.cli.plan.ray_session", None)
    path = tmp_path / "m.csv"
    rows = [f"{n},{footage}/a.mp4,{footage}/exact.wav,{n}.mp4,german" for n in range(150)]
    rows.append(f"good,{footage}/a.mp4,{footage}/exact.wav,good.mp4,deu")
    path.write_text("\n".join(["id,video,speech,output,language", *rows]) + "\n")
    engine = configs[:2]
    assert cli.main(["plan", str(path), *engine, "--set", f"paint.log={tmp_path}/log"]) == 3
    found = capsys.readouterr()
    said = found.out
    assert found.err.startswith("will fail: 0 [german]: ")
    assert "will fail: ... and 149 more like it" in found.err
    assert "151 titles, 151 dubs" in said
    assert "problem: ... and 149 more like it" in said
    assert said.count("german") < 10
    assert "good" in said
    assert cli.main(["run", str(path), "-o", f"{tmp_path}/out", *configs, "--runner", "local"]) == 3
    said = capsys.readouterr().err
    assert said.index("will fail: 0 [german]: ") < said.index("failed: 0 [german]: ")
