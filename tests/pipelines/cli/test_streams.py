"""Standard streams that are closed or full, names that are no text, outputs that no file can have."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipelines.cli import main as cli
from pipelines.preflight.checks import MAX_NAME_BYTES
from tests.pipelines.conftest import engine_config

ROOT = Path(__file__).parents[3]


def test_closed_standard_streams_are_nothing_in_the_child(tmp_path: Path) -> None:
    """A file that is opened later gets none of their numbers, and messages are written to streams."""
    said = tmp_path / "said"
    code = (
        "import os, sys, retalk_cli\n"
        "retalk_cli._open_standard_streams()\n"
        f"opened = os.open({str(said)!r}, os.O_CREAT | os.O_WRONLY)\n"
        "print('to nobody'); print('to nobody', file=sys.stderr)\n"
        "os.write(opened, str(opened > 2).encode())\n"
    )
    shell = f'exec {sys.executable} -c "$CODE" <&- >&- 2>&-'
    subprocess.run(["sh", "-c", shell], check=True, cwd=ROOT, env={**os.environ, "CODE": code})
    assert said.read_text() == "True"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_messages_that_nobody_can_read_fail_nothing(footage: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    engine = tmp_path / "engine.yaml"
    engine.write_text(yaml.safe_dump(engine_config().model_dump()))
    asked = ["dub", f"{footage}/a.mp4", f"{footage}/long.wav", "-o", str(output), "--engine", str(engine)]
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "pipelines", *asked, "--runner", "local"],
            check=False,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=full,
            text=True,
        )
    assert (ended.returncode, output.exists()) == (0, True), ended.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_result_that_cannot_be_printed_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "pipelines", "stages", "--engine", "exemplar", "--options"],
            check=False,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert ended.returncode == 1
    assert "retalk stages: what it prints cannot be written: No space left on device" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["dub", "a.mp4", "a.wav", "-o", "\udcff\udcfe.mp4"], r"\udcff\udcfe.mp4: is not UTF-8 text; rename"),
        (["run", "m.csv", "-o", "out", "--only", "\udcff"], r"\udcff: is not UTF-8 text"),
        (["run", "m.csv", "-o", ""], "retalk run: -o is empty: give a name"),
        (["plan", "m.csv", "-o", " "], "retalk plan: -o is empty"),
        (["status", ""], "retalk status: DIR is empty"),
    ],
)
def test_names_that_cannot_be_used(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    assert message in capsys.readouterr().err


def test_outputs_that_no_file_can_have(
    footage: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folder.mp4").mkdir()
    asked = ["dub", f"{footage}/a.mp4", f"{footage}/long.wav", "--overwrite", "-o"]
    assert cli.main([*asked, f"{tmp_path}/folder.mp4"]) == 2
    assert "folder.mp4: is a folder; give the name of a file in it" in capsys.readouterr().err
    assert cli.main([*asked, f"{tmp_path}/{'a' * MAX_NAME_BYTES}.mp4"]) == 2
    assert f"is longer than {MAX_NAME_BYTES} bytes" in capsys.readouterr().err
    assert not list(tmp_path.glob(".*")), "nothing was begun"


def test_the_log_is_not_appended_to_media(
    footage: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = tmp_path / "a.mp4"
    video.write_bytes(content := (footage / "a.mp4").read_bytes())
    asked = ["dub", str(video), f"{footage}/long.wav", "-o", f"{tmp_path}/x.mp4", "--log-file", str(video)]
    assert cli.main(asked) == 2
    assert "exists and is no log of retalk; choose another name" in capsys.readouterr().err
    assert video.read_bytes() == content
