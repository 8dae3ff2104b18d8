"""A process above the one that works tells how it has ended when it could not, and passes signals on."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.monitoring.supervision import END, NO_RAY, RAY, _in_ray

ROOT = Path(__file__).parents[3]
PROGRAM = """
import atexit, os, signal, sys, time
from pipelines.monitoring import supervision

def work():
    def interrupted(number, frame):
        supervision.tell(supervision.SIGNALLED)
        raise KeyboardInterrupt
    for number in supervision.SIGNALS:
        signal.signal(number, interrupted)
    print("ready", flush=True)
    try:
        {work}
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        return 130
    return 0

def lost(ended):
    print(ended, flush=True)
    return 77

code = supervision.supervised(work, lost)
sys.exit(code)
"""


def start(work: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(work=work)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("work", "code", "said"),
    [
        ("pass", 0, ""),
        ("return 3", 3, ""),
        ("sys.exit(5)", 5, ""),
        ("atexit.register(os._exit, 1); return 4", 4, ""),
        ("atexit.register(os.kill, os.getpid(), signal.SIGKILL); return 130", 130, ""),
        ("atexit.register(os._exit, 120); return 0", 120, ""),
        ("os._exit(1)", 77, "Ended(code=1, in_ray=False, asked=False, reading='')"),
        (
            "supervision.tell(supervision.RAY); os._exit(1)",
            77,
            "Ended(code=1, in_ray=True, asked=False, reading='')",
        ),
        ("supervision.tell(b'Rr'); os._exit(1)", 77, "Ended(code=1, in_ray=False, asked=False, reading='')"),
        (
            "supervision.tell_reading('long name.mp4'); supervision.tell_reading('a.mp4'); os.abort()",
            77,
            "Ended(code=-6, in_ray=False, asked=False, reading='a.mp4')",
        ),
        ("os.kill(os.getpid(), signal.SIGKILL)", 77, "Ended(code=-9, in_ray=False, asked=False, reading='')"),
    ],
)
def test_ends(work: str, code: int, said: str) -> None:
    process = start(work)
    assert process.stdout is not None
    output = process.stdout.read()
    assert (process.wait(), output) == (code, f"ready\n{said}\n" if said else "ready\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_for_the_process_above_alone_is_passed_on(number: signal.Signals) -> None:
    process = start("time.sleep(600)")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    assert (process.stdout.read(), process.wait()) == ("interrupted\n", 130)


def test_a_killed_command_leaves_nothing_running() -> None:
    process = start("time.sleep(600)")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.kill()
    process.wait()
    assert process.stdout.read() == "", "its output is closed, for it has ended"


def test_ray_is_in_use_between_its_marks() -> None:
    assert not _in_ray(b"")
    assert _in_ray(RAY)
    assert not _in_ray(RAY + NO_RAY + END)
    assert _in_ray(RAY + NO_RAY + RAY)
