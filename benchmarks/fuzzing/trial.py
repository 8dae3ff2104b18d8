"""One damaged file through probe, plan and dub, as the command line does it; runs in a process of its own.

The process may crash, hang or be killed: `campaign` looks after it, and judges what it leaves behind.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import re
import resource
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av

#: Address space in bytes on top of what the process has when the trial begins, and seconds of CPU.
MEMORY, CPU_SECONDS = 4 << 30, 40
#: Exit codes that a command may have: done, usage, failed.
MEANT = (0, 2, 3)
_SURPRISE = re.compile(r"\b[A-Z]\w*(Error|Exception|Warning)\b")


@dataclass(frozen=True)
class Inputs:
    """Files and settings of a trial.

    Attributes:
        folder: the trial's own, empty but for the damaged file.
        damaged: the damaged file.
        video, speech: of the dub; one of them is the damaged file.
        output: the file that the dub writes.
        audio: rule for the video's sound.
        steps: "probe", "plan", "dub".
    """

    folder: Path
    damaged: Path
    video: Path
    speech: Path
    output: Path
    audio: str
    steps: tuple[str, ...]


def attempt(inputs: Inputs, report: Path) -> None:
    """Run a trial in this process, which is the trial's own, and end the process.

    Args:
        inputs: of the trial.
        report: file that says after each step how far the trial came: {"step": of, "problem": verdict or "", "text": why}.
    """
    code = 1
    try:
        stack = stack_of(report).open("w")
        faulthandler.enable(stack)
        faulthandler.register(signal.SIGXCPU, stack, chain=True)
        _limit()
        os.environ["TMPDIR"] = str(inputs.folder / "tmp")
        (inputs.folder / "tmp").mkdir()
        tempfile.tempdir = None
        for step in inputs.steps:
            report.write_text(json.dumps({"step": step, "problem": "", "text": ""}))
            problem, text = _STEPS[step](inputs)
            report.write_text(json.dumps({"step": step, "problem": problem, "text": text}))
            if problem or text:
                break
        code = 0
    except BaseException:
        report.write_text(
            json.dumps({"step": "trial", "problem": "traceback", "text": traceback.format_exc()})
        )
    finally:
        os._exit(code)


def stack_of(report: Path) -> Path:
    """File where a trial that crashes, or takes too long, writes what it was doing."""
    return report.with_suffix(".stack")


def _limit() -> None:
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY, now + MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 5))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _probe(inputs: Inputs) -> tuple[str, str]:
    """Probe the damaged file as what it is given as."""
    from operators.media.limits import DEFAULT_LIMITS
    from operators.media.probe import probe_video
    from operators.storage.errors import MediaError
    from pipelines.planning.speech import speech_length

    look: Callable[[], object]
    if inputs.damaged == inputs.video:
        look = lambda: probe_video(str(inputs.damaged), DEFAULT_LIMITS)  # noqa: E731
    else:
        look = lambda: speech_length(str(inputs.damaged), DEFAULT_LIMITS)  # noqa: E731
    try:
        look()
    except MediaError as problem:
        return ("" if inputs.damaged.name in str(problem) else "nameless"), ""
    except Exception:
        return "traceback", traceback.format_exc()
    return "", ""


def _command(inputs: Inputs, *more: str) -> tuple[int, str, str]:
    """Run `retalk dub`; returns its exit code and what it has printed on both streams."""
    from pipelines.cli.main import main

    arguments = [
        "dub",
        str(inputs.video),
        str(inputs.speech),
        "-o",
        str(inputs.output),
        "--audio",
        inputs.audio,
    ]
    arguments += ["--engine", "exemplar", "--runner", "local", *more]
    saved = os.dup(1), os.dup(2)
    texts = []
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(tempfile.TemporaryFile(dir=inputs.folder.parent)) for _ in saved]
        for number, file in enumerate(files, start=1):
            os.dup2(file.fileno(), number)
        try:
            code = main(arguments)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, kept in enumerate(saved, start=1):
                os.dup2(kept, number)
                os.close(kept)
        for file in files:
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
    return code, texts[0], texts[1]


def _judged(inputs: Inputs, code: int, text: str) -> tuple[str, str]:
    """Judge the exit code and the messages of a command."""
    if code not in MEANT or "Traceback (most recent call last)" in text:
        return "traceback", f"exit code {code}\n{text}"
    if _SURPRISE.search(text):
        return "surprise", text
    if code and inputs.damaged.name not in text:
        return "nameless", text
    return "", text if code else ""


def _plan(inputs: Inputs) -> tuple[str, str]:
    """Plan the dub."""
    code, _, messages = _command(inputs, "--dry-run")
    problem, _ = _judged(inputs, code, messages)
    # A dub is tried all the same: plan and dub must agree on what cannot be done.
    return problem, messages if problem or (code and "dub" not in inputs.steps) else ""


def _dub(inputs: Inputs) -> tuple[str, str]:
    """Dub, and read the output from end to end."""
    code, printed, messages = _command(inputs, "--json")
    problem, text = _judged(inputs, code, messages)
    if problem or code:
        return problem, text
    try:
        frames = [record["frames"] for record in json.loads(printed)["records"]]
        read = _read(inputs.output)
    except Exception:
        return "unreadable", traceback.format_exc()
    return ("", "") if [read] == frames else ("unreadable", f"{read} frames in place of {frames}: {messages}")


def _read(path: Path) -> int:
    """Decode a file from end to end, and return the number of its pictures.

    Raises:
        Exception: it is not whole.
    """
    with av.open(str(path)) as container:
        count = 0
        for packet in container.demux(container.streams.video[0]):
            assert not packet.is_corrupt, f"{path}: the packet at {packet.pts} is corrupt"
            count += len(packet.decode())
    with av.open(str(path)) as container:
        assert sum(1 for _ in container.demux()), path
    return count


_STEPS: dict[str, Callable[[Inputs], tuple[str, str]]] = {"probe": _probe, "plan": _plan, "dub": _dub}
