"""Display of `dub` and `run` on a real terminal, wide and narrow."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.pipelines.conftest import engine_config, profile_config
from tests.terminal import on_terminal

ROOT = Path(__file__).parents[3]
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
ERASED = "\x1b[2K"


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("kind", ["dub", "run"])
def test_a_bar_with_words_that_goes_in_the_end(
    footage: Path, tmp_path: Path, kind: str, columns: int
) -> None:
    log, gate = tmp_path / "log", tmp_path / "go"
    (tmp_path / "engine.yaml").write_text(yaml.safe_dump(engine_config().model_dump()))
    (tmp_path / "profile.yaml").write_text(yaml.safe_dump(profile_config(1).model_dump(exclude_none=True)))
    rows = [
        {
            "id": name,
            "video": str(footage / "a.mp4"),
            "speech": str(footage / speech),
            "output": f"{name}.mp4",
        }
        for name, speech in (("a", "long.wav"), ("b", "absent.wav"))
    ]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    what = {
        "dub": ["dub", str(footage / "a.mp4"), str(footage / "long.wav"), "-o", str(tmp_path / "x.mp4")],
        "run": ["run", str(tmp_path / "m.jsonl"), "-o", str(tmp_path / "out")],
    }[kind]
    options = [
        "--engine",
        str(tmp_path / "engine.yaml"),
        "--profile",
        str(tmp_path / "profile.yaml"),
        "--runner",
        "local",
    ]
    held = ["--set", f"paint.log={log}", "--set", f"paint.wait={gate}"]
    kept = {
        name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "LINES")
    }
    environment = {**kept, "TERM": "xterm", "COLUMNS": str(columns), "PYTHONPATH": str(ROOT)}
    seen: list[float] = []

    def opens_the_gate() -> bool:
        """Three seconds after the painting has begun; nothing is interrupted."""
        if log.exists():
            seen.append(time.monotonic())
            if seen[-1] - seen[0] > 3:
                gate.touch()
        return False

    ended = on_terminal(
        [sys.executable, "-m", "pipelines", *what, *options, *held], environment, tmp_path, opens_the_gate
    )
    assert ended.code == (0 if kind == "dub" else 3), ended.text
    assert ended.restored
    during, _, after = ended.text.rpartition(ERASED)
    plain = CONTROL.sub("", during)
    assert re.search(r"paint (6|12|18)/24 frames", plain), (
        "what is being done, with its frames; a title that will fail adds none"
    )
    assert ("/2 titles" in plain) == (kind == "run")
    assert " left" not in plain, "no time left before it means something"
    assert "frames/s" not in plain
    drawn = [
        line
        for part in re.split(r"[\r\n]+", plain)
        for line in [part.rstrip()]
        if "frames" in line or "━" in line
    ]
    assert drawn
    assert max(map(len, drawn)) <= columns
    whole = CONTROL.sub("", after).replace("\r", "").replace("\n  ", " ")  # lines are broken between words
    # The test engine paints what no review would let pass, and a dub says so.
    left = [line for line in whole.splitlines() if line and not line.startswith("for review: ")]
    assert not any("━" in line for line in left), "the bar is gone"
    assert left[0].startswith("note: ")
    assert "the speech is 1.3 s longer" in left[0]
    assert left[-1].startswith(
        f"{tmp_path / 'x.mp4'}: 24 frames" if kind == "dub" else "1 dubbed, 1 failed; 2 s of video in "
    )
    assert len(left) == (2 if kind == "dub" else 3), left


def test_a_pipe_gets_plain_lines(footage: Path, tmp_path: Path) -> None:
    import subprocess

    (tmp_path / "engine.yaml").write_text(yaml.safe_dump(engine_config().model_dump()))
    (tmp_path / "profile.yaml").write_text(yaml.safe_dump(profile_config(1).model_dump(exclude_none=True)))
    options = [
        "--engine",
        str(tmp_path / "engine.yaml"),
        "--profile",
        str(tmp_path / "profile.yaml"),
        "--runner",
        "local",
    ]
    what = ["dub", str(footage / "a.mp4"), str(footage / "exact.wav"), "-o", str(tmp_path / "x.mp4")]
    ended = subprocess.run(
        [sys.executable, "-m", "pipelines", *what, *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0
    assert "\x1b" not in ended.stderr + ended.stdout
    assert "\r" not in ended.stderr + ended.stdout
    assert ended.stdout.startswith(f"{tmp_path / 'x.mp4'}: 24 frames")
