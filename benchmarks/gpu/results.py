"""Results as JSON, a file that each finished piece of work is written into, and the time that is left."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

STARTED, DONE, FAILED = "started", "done", "failed"


@dataclasses.dataclass(frozen=True)
class Piece:
    """One measurement.

    Attributes:
        name: unique, e.g. ``parity/dnet``; the part comes before the slash.
        work: gives its figures.
        most: seconds after which it is given up.
        least: it is not begun with fewer seconds left.
    """

    name: str
    work: Callable[[], dict[str, Any]]
    most: float = 120.0
    least: float = 15.0


class TooLongError(Exception):
    """A piece took longer than it may."""


class DeviceLostError(Exception):
    """The device gives errors whatever is asked of it: this process cannot go on, another one can."""


class Results:
    """Results of pieces in ``results.json`` of a folder.

    Args:
        folder: is created.
        about: the machine and the settings; results of others are refused.
        resume: go on with what the folder holds.
        retry: do again what failed.

    Raises:
        ValueError: the folder holds results, and neither is `resume` set nor do they belong to the same machine.
    """

    def __init__(self, folder: Path, about: dict[str, Any], resume: bool, retry: bool = False) -> None:
        self.path, self.about = folder / "results.json", about
        self.pieces: dict[str, dict[str, Any]] = {}
        if self.path.exists():
            kept = json.loads(self.path.read_text())
            if not resume:
                raise ValueError(f"{self.path} holds results: go on with --resume, or name another --output")
            if kept["about"] != about:
                differing = sorted(
                    k for k in {*about, *kept["about"]} if about.get(k) != kept["about"].get(k)
                )
                raise ValueError(
                    f"{self.path} was measured under other conditions ({', '.join(differing)}): name another --output"
                )
            self.pieces = kept["pieces"]
        folder.mkdir(parents=True, exist_ok=True)
        for name, piece in self.pieces.items():
            if piece["state"] == STARTED:
                self.pieces[name] = {"state": FAILED, "error": "the process ended during this piece"}
        if retry:
            self.pieces = {name: piece for name, piece in self.pieces.items() if piece["state"] != FAILED}
        self.write()

    def write(self) -> None:
        """Write the file as a whole."""
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps({"about": self.about, "pieces": self.pieces}, indent=1) + "\n")
        os.replace(part, self.path)

    def figures(self, name: str) -> dict[str, Any] | None:
        """Figures of a finished piece."""
        piece = self.pieces.get(name)
        return piece["figures"] if piece and piece["state"] == DONE else None

    def part(self, part: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Names, without the part, and figures of a part's finished pieces."""
        for name, piece in self.pieces.items():
            if name.startswith(f"{part}/") and piece["state"] == DONE:
                yield name.removeprefix(f"{part}/"), piece["figures"]

    def run(
        self,
        pieces: list[Piece],
        deadline: float,
        say: Callable[[str], None],
        healthy: Callable[[], bool] = lambda: True,
    ) -> list[str]:
        """Run what has no result yet, as long as there is time.

        Args:
            pieces: most valuable first.
            deadline: of `time.monotonic`.
            say: told of each piece.
            healthy: asked after each failure whether the device still works.

        Returns:
            Names of pieces that are left.

        Raises:
            DeviceLostError: it does not.
        """
        left = []
        for piece in pieces:
            if piece.name in self.pieces:
                continue
            seconds = deadline - time.monotonic()
            if seconds < piece.least:
                left.append(piece.name)
                continue
            self.pieces[piece.name] = {"state": STARTED}
            self.write()
            began = time.monotonic()
            try:
                with at_most(min(piece.most, seconds)):
                    entry = {"state": DONE, "figures": piece.work()}
            except Exception as problem:
                lines = traceback.format_exc().splitlines()[-6:]
                entry = {"state": FAILED, "error": f"{type(problem).__name__}: {problem}", "where": lines}
                if isinstance(problem, TooLongError) and seconds <= piece.most:
                    entry = {}  # cut off by the end of the time: again with --resume
            entry |= {"seconds": round(time.monotonic() - began, 2)} if entry else {}
            if entry:
                self.pieces[piece.name] = entry
                say(
                    f"{piece.name}: {entry['state']} in {entry['seconds']:.1f} s {entry.get('error', '')}".rstrip()
                )
            else:
                del self.pieces[piece.name]
                left.append(piece.name)
            self.write()
            if not (entry and entry["state"] == DONE) and not healthy():
                raise DeviceLostError
        return left


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise `TooLongError` in the block after so many seconds; main thread only."""

    def ring(number: int, frame: Any) -> None:
        del number, frame
        raise TooLongError(f"given up after {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, max(0.1, seconds))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
