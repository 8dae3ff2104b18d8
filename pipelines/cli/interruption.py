"""Ctrl-C, SIGTERM and SIGHUP end a command in the same way, whatever Ray makes of them."""

from __future__ import annotations

import contextlib
import signal
import sys
from types import FrameType, TracebackType
from typing import Any

from pipelines.monitoring.supervision import SIGNALLED, SIGNALS, tell

#: Last line of an interrupted command.
RESUME = "interrupted: run the same command again to resume"
#: Commands that go on where they were interrupted; the others begin anew.
RESUMABLE = ("dub", "run", "eval", "train")


class Interruption:
    """Turn the signals that end a command into KeyboardInterrupt while the context lasts.

    A signal that this process was told to ignore (`nohup`) stays ignored.

    Attributes:
        asked: the user, or a scheduler, has asked for the end. Libraries sometimes raise another exception in
            place of KeyboardInterrupt, or while they clean up after it.
    """

    def __init__(self) -> None:
        self.asked = False
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interruption:
        for number in SIGNALS:
            if (previous := signal.getsignal(number)) is not signal.SIG_IGN:
                self._previous[number] = previous
                signal.signal(number, self._interrupt)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, previous in self._previous.items():
            signal.signal(number, previous)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        session = sys.modules.get("pipelines.execution.ray_session")
        # The watch over Ray wakes this thread by SIGINT too.
        self.asked = self.asked or session is None or not session.ray_lost()
        if self.asked:
            tell(SIGNALLED)
        raise KeyboardInterrupt


def last_line(command: str) -> str:
    """The last line of a `retalk` command that was interrupted."""
    return RESUME if command in RESUMABLE else "interrupted"


def say_interrupted(text: str) -> None:
    """Print the last line of an interrupted command; nobody may be there to read it (SIGHUP)."""
    with contextlib.suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)
