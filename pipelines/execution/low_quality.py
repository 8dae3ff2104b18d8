"""Handling of dubs whose measures ask for a look: kept, refused, or with the source's own pictures where they are bad."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

from operators.evaluation.watch import unpack_times
from operators.media.encoders import EncoderOptions
from operators.media.untouched import encode_untouched
from operators.storage.files import join
from pipelines.engine.profile_parts import ReviewConfig
from pipelines.execution.dubbed_people import without
from pipelines.planning.plans import DubPlan
from pipelines.state.run_directory import RunDirectory, remove
from pipelines.state.verdict import Reason, reasons_of_shots

#: Reasons that a message names.
NAMED = 3
LOW_QUALITY = "low quality"
UNKNOWN = "the engine does not say how its segments are encoded"


class LowQualityError(ValueError):
    """A dub is refused for what its measures say."""


def refusal_of(reasons: Sequence[Reason]) -> LowQualityError:
    """Return the error of a dub that is refused."""
    told = "; ".join(reason_in_words(reason) for reason in reasons[:NAMED])
    more = f"; and {len(reasons) - NAMED} more" if len(reasons) > NAMED else ""
    return LowQualityError(
        f"low quality: {told}{more}; nothing is written (--on-low-quality keep writes it, passthrough keeps the person's "
        "own mouth there)"
    )


def reason_in_words(reason: Reason) -> str:
    """Return a reason with its place."""
    return reason.text if reason.at is None else f"{reason.text} at {clock(reason.at)}"


def clock(seconds: float) -> str:
    """Seconds as a time code: ``0:07.5``, ``1:02:03.0``."""
    tenths = round(10 * seconds)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}:{minutes:02d}" if hours else f"{minutes}") + f":{rest // 10:02d}.{rest % 10}"


class Untouched(AbstractContextManager["Untouched"]):
    """Replaces the encoded segments of shots that are bad by the source's own pictures, for as long as the context lasts.

    Attributes:
        paths: of the dub's segments, with those that were replaced.
        notes: stretches that keep their own mouth, with the reasons.
    """

    def __init__(
        self,
        run: RunDirectory,
        dub: DubPlan,
        paths: Sequence[str],
        trace: Mapping[str, Any],
        reasons: Sequence[Reason],
        review: ReviewConfig,
    ) -> None:
        self.paths, self.notes = list(paths), list[str]()
        self._run, self._dub = run, dub
        self._made: list[str] = []
        judged = list(zip(trace["shots"], reasons_of_shots(trace["shots"], reasons, review)))
        self._bad: list[tuple[dict[str, Any], list[str]]] = [(shot, found) for shot, found in judged if found]
        if self._bad and not all(receipt.metrics.get("encoder") for receipt in dub.receipts):
            # Other segments than the engine's own could not be joined with them.
            self._bad = [(shot, found or [f"another shot does, and {UNKNOWN}"]) for shot, found in judged]

    def __enter__(self) -> Untouched:
        """Encode them.

        Raises:
            MediaError: the video cannot be read, or a segment not be written.
        """
        try:
            for shot, found in self._bad:
                self._replace(shot)
                self.notes.append(
                    f"{clock(shot['start'])} to {clock(shot['end'])} keeps its own mouth: {'; '.join(found[:NAMED])}"
                )
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def mark(self, trace: dict[str, Any]) -> None:
        """Say in the dub's trace which shots keep their own mouth: its curve there is the source's."""
        for shot, _ in self._bad:
            kept = {"start": shot["start"], "end": shot["end"], "reason": LOW_QUALITY}
            shot.update(state="passed", reason=LOW_QUALITY, passed=[kept])
            first, last = (round((shot[end] - trace["start"]) * trace["rate"]) for end in ("start", "end"))
            opening = trace["opening"]
            opening["dub"][first : last + 1] = opening["source"][first : last + 1]
            for person in trace["people"]:
                person["dubbed"] = without(person["dubbed"], shot["start"], shot["end"])

    def _replace(self, shot: Mapping[str, Any]) -> None:
        for number, one in enumerate(self._dub.output_segments):
            measured = one.receipt.metrics if one.receipt is not None else {}
            watch = measured.get("watch")
            if not watch or not shot["start"] - 1e-3 <= watch["states"][0][0] < shot["end"] - 1e-3:
                continue
            source, pts = unpack_times(watch["frames"])
            url = join(
                self._run.segments(self._dub.title), f"{one.which.name}.own{_suffix(self.paths[number])}"
            )
            self._made.append(url)
            encode_untouched(url, self._dub.video, source, pts, _encoder(measured))
            self.paths[number] = url

    def _remove(self) -> None:
        for url in self._made:
            remove(url)


def _suffix(path: str) -> str:
    return f".{path.rsplit('.', 1)[-1]}"


def _encoder(measured: Mapping[str, Any]) -> EncoderOptions:
    """Settings of the encoder that has made an output segment, as its worker has noted them."""
    names = {field.name for field in dataclasses.fields(EncoderOptions)}
    return EncoderOptions(
        **{name: value for name, value in measured.get("encoder", {}).items() if name in names}
    )
