"""Plans as records: what the planner finds out about a title, for the driver (plans) and for the workers (tasks).

They travel between processes as JSON in columns of rows. `encode` writes it and `decode` reads it; nobody else does.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import numpy as np
from pydantic import TypeAdapter, ValidationError

from pipelines.manifest.titles import Dub, Title
from pipelines.state.content_keys import Ingredients
from pipelines.state.run_directory import OutputSegmentId

T = TypeVar("T")


@dataclass(frozen=True)
class Receipt:
    """A committed output segment.

    Attributes:
        path: URL of its encoded file.
        sha256: of the file.
        frames: that are encoded in it.
        bytes: size of the file.
        notes: for the user.
        metrics: what its metrics have given, by name.
        mark_power: square of the expected normal deviate of its picture's mark; 0: none.
    """

    path: str
    sha256: str
    frames: int
    bytes: int
    notes: list[str] = field(default_factory=list)
    metrics: dict[str, Any] = field(default_factory=dict)
    mark_power: float = 0.0

    @classmethod
    def of(cls, values: Mapping[str, Any], **more: Any) -> Receipt:
        """The receipt that a row from behind the last stage, or a file of the run directory, holds.

        Args:
            values: the row or the content of the file.
            more: notes and metrics, if they are not among the values.
        """
        known: dict[str, Any] = {name: values[name] for name in ("notes", "metrics") if name in values}
        known["mark_power"] = float(values.get("mark_power") or 0.0)
        frames, size = int(values["frames"]), int(values["bytes"])
        return cls(values["path"], values["sha256"], frames, size, **{**known, **more})


@dataclass
class OutputSegmentPlan:
    """An output segment of a dub, as the driver knows it.

    Attributes:
        which: its identity in the title.
        out_start: index of its first frame in the whole output.
        frames: output frames.
        receipt: None until it is committed.
    """

    which: OutputSegmentId
    out_start: int
    frames: int
    receipt: Receipt | None = None


@dataclass
class DubPlan:
    """One dub of a title, from the planner to the record: as planned, while its segments arrive, as measured.

    Attributes:
        title: id of its title.
        video: URL of the title's video.
        dub: as the manifest gives it.
        key: content key of its segments.
        state: ``run``, ``done`` (a record of the same inputs and options, and its output, are there) or ``failed``.
        error: of a failed one.
        notes: for the user.
        doubts: why somebody should look at it, as far as that is known before anything is drawn.
        frames: of the output.
        video_seconds: length of the output.
        output_segments: all of them, in the order of the output.
        ingredients: what the key was made of.
        changed: names of the ingredients that differ from those of a finished dub that is computed again.
        traceback: of the error.
        reused: output segments that an earlier run has committed.
        seconds: spent by each stage in this run.
        measured: values of its metrics, see `pipelines.execution.measuring`.
        people: who was dubbed: ``{name, speech, seconds}``; None: not measured.
        reasons: why somebody should look at it: ``{text, at}`` of `pipelines.state.verdict.Reason`.
        provenance: the ledger's columns of that, of an assembled dub; `pipelines.state.ledger.PROVENANCE`.
        mark_id: id of its watermark; empty: it has none.
        mark_speech: expected strength of the speech's mark (docs/watermark.md); None: not marked.
        mark_picture: the same of the picture's.
        heard_seconds: length of the longest sound that is heard instead of the video's, a speech or the mix of several.
    """

    title: str
    video: str
    dub: Dub
    key: str = ""
    state: Literal["run", "done", "failed"] = "run"
    error: str = ""
    notes: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    frames: int = 0
    video_seconds: float = 0.0
    output_segments: list[OutputSegmentPlan] = field(default_factory=list)
    ingredients: Ingredients = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)
    traceback: str = ""
    reused: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    measured: list[dict[str, Any]] = field(default_factory=list)
    people: list[dict[str, Any]] | None = None
    reasons: list[dict[str, Any]] = field(default_factory=list)
    provenance: dict[str, str] = field(default_factory=dict)
    mark_id: str = ""
    mark_speech: float | None = None
    mark_picture: float | None = None
    heard_seconds: float = 0.0

    def fail(self, error: str) -> None:
        """Note that it cannot be made."""
        self.state, self.error = "failed", error

    def note(self, *notes: str) -> None:
        """Add notes that are not there yet."""
        self.notes += [note for note in dict.fromkeys(notes) if note not in self.notes]

    @functools.cached_property
    def left(self) -> dict[OutputSegmentId, OutputSegmentPlan]:
        """Output segments that are not committed, once all are planned; `commit` takes them out."""
        return {one.which: one for one in self.output_segments if one.receipt is None}

    def commit(self, which: OutputSegmentId, receipt: Receipt) -> None:
        """Count one of those that were `left` as committed."""
        self.left.pop(which).receipt = receipt

    @property
    def frames_left(self) -> int:
        """Output frames that are not committed."""
        return sum(one.frames for one in self.left.values())

    @property
    def receipts(self) -> list[Receipt]:
        """Of the committed output segments, in the order of the output."""
        return [one.receipt for one in self.output_segments if one.receipt is not None]


@dataclass
class TitlePlan:
    """A title as planned; the planner sends it to the driver before the title's rows.

    Attributes:
        title: as the manifest gives it.
        dubs: in the same order.
        frames: of the video; 0 if it was not probed, for it cannot be read or nothing is to be done.
        video_seconds: its length.
        width, height: of the upright picture.
        shots: 0 if they were not looked for.
        faceless_shots: those in which the person is not seen.
        segments: of the video.
        seconds: spent on planning.
        traceback: of the error that its dubs have.
    """

    title: Title
    dubs: list[DubPlan] = field(default_factory=list)
    frames: int = 0
    video_seconds: float = 0.0
    width: int = 0
    height: int = 0
    shots: int = 0
    faceless_shots: int = 0
    segments: int = 0
    seconds: float = 0.0
    traceback: str = ""

    @property
    def running(self) -> list[DubPlan]:
        """Dubs that have something to do."""
        return [dub for dub in self.dubs if dub.state == "run"]

    @property
    def frames_analysed(self) -> int:
        """Source frames that the stages before the dubs part will look at, about: those of the dub with the most work
        left.
        """
        return min(self.frames, max((dub.frames_left for dub in self.running), default=0))


@dataclass
class Decision:
    """Findings of the first planning of a title in a run: planned again (its worker died, or a node with its
    rows was lost), the title must give the same rows, for Ray drops as many as it had.

    Attributes:
        done: names of the dubs that an earlier run has finished.
        committed: output segments that an earlier run has committed.
        heartbeats: rows that come before the plan.
    """

    done: list[str]
    committed: list[tuple[OutputSegmentId, Receipt]]
    heartbeats: int = 0


@dataclass(frozen=True)
class OutputSegmentTask:
    """An output segment that a worker makes.

    Attributes:
        output_segment: its number in segment and dub.
        key: content key, which stands in the name of its encoded file.
        start, step, count: its source frames are ``start``, ``start + step``, ...
        out_start: index of its first frame in the whole output.
        offset: of the output's times from those of the source frames, where that is constant.
        pts: the output's times where it is not.
        dubbed: [start, stop) of those of its output frames that are to be dubbed; None: all.
        held: of its frames at the end, which repeat the one before them.
    """

    output_segment: int
    key: str
    start: int
    step: int
    count: int
    out_start: int
    offset: int | None = None
    pts: list[int] | None = None
    dubbed: list[tuple[int, int]] | None = None
    held: int = 0

    def asked(self) -> np.ndarray:
        """bool[count], output frames that are to be dubbed."""
        frames = np.full(self.count, self.dubbed is None)
        for start, stop in self.dubbed or ():
            frames[start:stop] = True
        return frames

    def source(self) -> np.ndarray:
        """int64[count], the source frame under each output frame."""
        moved = np.minimum(np.arange(self.count, dtype=np.int64), self.count - 1 - self.held)
        return self.start + self.step * moved

    def times(self, segment_pts: np.ndarray, segment_start: int) -> np.ndarray:
        """int64[count], presentation timestamps of the output frames.

        Args:
            segment_pts: int64[T], times of the segment's frames from `segment_start` on.
            segment_start: source frame of ``segment_pts[0]``.
        """
        if self.offset is None:
            return np.array(self.pts, np.int64)
        return (segment_pts[self.source() - segment_start] + self.offset).astype(np.int64)


@dataclass(frozen=True)
class SpeakerTask:
    """A speaker of a dub in one segment.

    Attributes:
        speaker: number in the dub.
        person: number of the row's person: 0 is the row's own, the others are counted in its column ``others`` from 1 on.
        speech: URL.
        identity: `operators.segment.Segment.person`.
    """

    speaker: int
    person: int
    speech: str
    identity: int = 0


@dataclass(frozen=True)
class DubTask:
    """A dub's work in one segment.

    Attributes:
        dub: its name in the title.
        speech: URL.
        options: overrides ``{stage: {option: value}}`` of the title and the dub.
        output_segments: those that are not committed.
        speakers: who is dubbed in the segment; None: the row's one person, with the dub's speech.
        speaking: of the speakers, only who speaks in the source is dubbed (`pipelines.planning.turns`).
    """

    dub: str
    speech: str
    options: dict[str, dict[str, Any]]
    output_segments: list[OutputSegmentTask]
    speakers: list[SpeakerTask] | None = None
    speaking: bool = False


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def encode(record: Title | TitlePlan | Decision | list[DubTask]) -> str:
    """A record as JSON. Text that is not Unicode (of a file's name, in an error) is made so."""
    kind: Any = list[DubTask] if isinstance(record, list) else type(record)
    # Not pydantic's own JSON, which turns infinite metrics into null.
    text = json.dumps(_adapter(kind).dump_python(record), ensure_ascii=False)
    return text.encode("utf-8", "replace").decode("utf-8")


def decode(kind: type[T], text: str) -> T:
    """The record that `encode` has written.

    Args:
        kind: its class; ``list[DubTask]`` for tasks.
        text: the JSON.

    Raises:
        ValueError: it is something else.
    """
    known: Any = kind
    try:
        record: T = _adapter(known).validate_json(text, strict=True)
    except ValidationError as problem:
        wrong = problem.errors(include_url=False)[0]
        where = ".".join(map(str, wrong["loc"]))
        raise ValueError(
            f"not a {getattr(kind, '__name__', kind)} ({where or 'as a whole'}: {wrong['msg']}): do all machines of the run "
            "have the same version of retalk?"
        ) from problem
    return record
