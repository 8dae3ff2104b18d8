"""A shard: its sources analysed, cut into clips and written, by one worker."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from operators.faces.anchors import FaceError
from operators.faces.identity import Recogniser
from operators.media.reader import read_frames
from operators.storage.errors import NoAudioError, SilentAudioError
from operators.storage.redact import redact
from pipelines.state.run_directory import read_json, remove, write_text
from pipelines.training.data.analysis import Analysis, Analyst
from pipelines.training.data.clips import Piece, make_clip, pieces
from pipelines.training.data.sources import Source
from pipelines.training.data.store import DataSet, LeftOut, Receipt, Settings

#: Times that a source may kill its worker before it is left out.
MAX_ATTEMPTS = 3
#: Reasons that a source is left out for, by error; the same words for the same reason.
REASONS = {FaceError: "no face", NoAudioError: "no sound", SilentAudioError: "silent"}


@dataclass(frozen=True)
class Work:
    """A shard to be made.

    Attributes:
        name: of the shard.
        sources: its sources, in the order of the data set.
        run: identifies this run, for the count of attempts; "": they are not counted.
    """

    name: str
    sources: tuple[Source, ...]
    run: str = ""


class ShardMaker:
    """Makes shards, one after the other.

    Args:
        url: of the data set.
        settings: decided.
        device: torch device of the networks.
    """

    def __init__(self, url: str, settings: Settings, device: str = "cpu") -> None:
        self._data, self._settings = DataSet(url), settings
        self._analyst = Analyst(settings, device)
        self._recogniser: Recogniser | None = None

    def make(self, work: Work) -> str:
        """Make a shard and write its receipt. A source that cannot be used is left out with the reason."""
        receipt = Receipt(measured=[self._settings.sync] if self._settings.sync != "off" else [])
        if self._settings.coefficients == "on":
            receipt.measured.append("coefficients")
        self._data.write_shard(work.name, self._clips(work, receipt), receipt)
        remove(self._attempts_url(work))
        return work.name

    def _clips(self, work: Work, receipt: Receipt) -> Iterator[dict[str, Any]]:
        for source in work.sources:
            if work.run and self._attempt(work, source) > MAX_ATTEMPTS:
                why = f"killed its worker {MAX_ATTEMPTS} times: is the file damaged?"
                receipt.left_out.append(LeftOut(source.name, "unreadable", why))
                continue
            try:
                yield from self._clips_of(source, receipt)
            except ValueError as problem:
                receipt.left_out.append(LeftOut(source.name, _reason(problem), redact(str(problem))))

    def _clips_of(self, source: Source, receipt: Receipt) -> Iterator[dict[str, Any]]:
        analysis = self._analyst.analyse(source)
        receipt.seconds += float(analysis.info.duration)
        found, left_out = pieces(source, analysis, self._settings)
        receipt.left_out.extend(left_out)
        for number, piece in enumerate(found):
            yield make_clip(source, analysis, piece, self._settings)
            if number == 0 and self._settings.people == "faces":
                receipt.descriptors[source.name] = self._describe(source, analysis, piece)

    def _describe(self, source: Source, analysis: Analysis, piece: Piece) -> list[float]:
        """128 numbers of the face in the middle of a clip."""
        if self._recogniser is None:
            self._recogniser = Recogniser()
        index = int(analysis.shown[piece.first + piece.frames // 2])
        (frame,) = read_frames(source.url, index, index + 1, analysis.info)
        found = self._recogniser.describe(frame.rgb(), piece.shot.landmarks[index - piece.shot.start])
        return [round(float(value), 6) for value in found]

    def _attempts_url(self, work: Work) -> str:
        return self._data.file("shards", f"{work.name}.attempts.json")

    def _attempt(self, work: Work, source: Source) -> int:
        """Count an attempt at a source in this run; it outlives a worker that is killed."""
        counted = read_json(self._attempts_url(work))
        if not isinstance(counted, dict) or counted.get("run") != work.run:
            counted = {"run": work.run, "attempts": {}}
        number = counted["attempts"][source.name] = counted["attempts"].get(source.name, 0) + 1
        write_text(self._attempts_url(work), json.dumps(counted))
        return int(number)


def _reason(problem: ValueError) -> str:
    return next((reason for kind, reason in REASONS.items() if isinstance(problem, kind)), "unreadable")
