"""The cheap test stages, with a log: which process began which segment or output segment, and when."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from operators.receipt import receipt
from operators.segment import Segment
from tests.drills import faulty
from tests.pipelines.stages import Brightness, Level, MisbehaveOptions, Paint, misbehave

# Workers import this module: from here on they know faulty://.
faulty.register()


def note(log: str, stage: str, title: str, name: str) -> None:
    """Append a line; a line this short is written whole."""
    if log:
        # A Ray worker's parent is its node's raylet: so it is known on which node this runs.
        who = {"pid": os.getpid(), "node": os.getppid(), "time": time.time()}
        line = json.dumps({"stage": stage, "title": title, "name": name, **who})
        with open(log, "a") as file:
            file.write(f"{line}\n")


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return all entries so far."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def begin(options: Any, stage: str, title: str, name: str) -> None:
    """Log the beginning; stand still until `crowd` processes have begun with this stage, however long a busy machine
    takes to start them; `pause`.
    """
    note(options.log, stage, title, name)
    while (
        options.crowd
        and len({line["pid"] for line in read_log(Path(options.log)) if line["stage"] == stage})
        < options.crowd
    ):
        time.sleep(0.1)
    time.sleep(options.pause)


@dataclass(frozen=True)
class AnalyseOptions:
    """`pause`: seconds that each segment takes beside its work; `crowd`: see `begin`."""

    smooth: int = 2
    log: str = ""
    pause: float = 0.0
    crowd: int = 0


class Analyse(Brightness):
    """Brightness, with a log."""

    name = "analyse"
    Options = AnalyseOptions

    def process(self, segment: Segment) -> dict[str, Any]:
        options = self.options_for(segment)
        begin(options, self.name, segment.title, f"{segment['segment']:05d}")
        return super().process(segment)


class Trouble(Level):
    """Level, which kills its worker or raises where its options say so."""

    name = "trouble"
    Options = MisbehaveOptions

    def process(self, segment: Segment) -> dict[str, Any]:
        misbehave(self.options_for(segment), segment, segment.dub)
        own = segment["brightness"][segment.source - segment.frames[0]]
        return {"level": own.clip(0, 255).astype("uint8")}


class Write(Paint):
    """Paint, with a log; stands still at every segment of the title `hang` until the file `until` is there;
    `crowd`: see `begin`.
    """

    @dataclass(frozen=True)
    class WriteOptions:
        log: str = ""
        wait: str = ""
        pause: float = 0.0
        crowd: int = 0
        hang: str = ""
        until: str = ""

    name = "write"
    Options = WriteOptions

    def process(self, segment: Segment) -> dict[str, Any]:
        options = self.options_for(segment)
        begin(options, self.name, segment.title, segment["target"].rsplit("/", 1)[-1].rsplit(".", 2)[0])
        while options.hang == segment.title and not Path(options.until).exists():
            time.sleep(0.05)
        return receipt(segment["target"], self.encode(segment))
