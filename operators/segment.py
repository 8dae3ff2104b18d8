"""The row that flows through the graph: one segment of one title, and after the fan-out one output segment of
one of its dubs.

Source frames are numbered by presentation order from 0 over the whole title. Times are presentation
timestamps (integers) in units of the rational `time_base` seconds. Boxes are x1, y1, x2, y2 in pixels of the
upright picture, half open.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa

from operators.columns import OTHERS, tensor


class Segment:
    """Read-only, typed view of one row's plan columns; ``segment["landmarks"]`` gives what an upstream stage
    wrote.
    """

    def __init__(self, row: Mapping[str, Any]) -> None:
        self._row = row
        #: What the user should know of this row's dubs: see `note`.
        self.notes: list[str] = []
        #: Why the last stage has left the mouth of an output frame as it is, by the frame's number: see `leave`.
        self.left: dict[int, str] = {}
        #: The same frames for the other people who are dubbed in them, each with its own columns. All stages but the last of an
        #: engine see one person at a time; the last one draws all of them.
        self.others: tuple[Segment, ...] = tuple(Segment(one) for one in row.get("others", ()))
        for one in self.others:
            one.notes = self.notes

    def note(self, text: str) -> None:
        """Tell the user something that is no error; it stands once in the title's record, however many
        segments say it.

        Say it without numbers that differ from segment to segment. The analysis cache keeps the notes of
        stages with ``per = "segment"`` beside their columns.
        """
        self.notes.append(text)

    def leave(self, index: int, reason: str) -> None:
        """Say why this person keeps their own mouth in an output frame of this row, where no column tells: one of the reasons
        that docs/review.md lists. For the last stage, before it gives the frame on.
        """
        self.left[index] = reason

    def __getitem__(self, column: str) -> Any:
        return self._row[column]

    def get(self, column: str) -> Any | None:
        """Return a column, None where the row has no such."""
        return self._row.get(column)

    # --- of the title ---------------------------------------------------------------------------------------
    @property
    def segment_id(self) -> str:
        """Unique key of the row: ``title/segment`` and after the fan-out ``title/segment/dub/output segment``."""
        return str(self._row["segment_id"])

    @property
    def title(self) -> str:
        return str(self._row["title"])

    @property
    def video(self) -> str:
        """fsspec URL of the source video."""
        return str(self._row["video"])

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the upright picture in pixels."""
        return int(self._row["frame_width"]), int(self._row["frame_height"])

    @property
    def n_frames(self) -> int:
        """Frames of the whole title."""
        return int(self._row["n_frames"])

    @property
    def time_base(self) -> Fraction:
        """Seconds of one unit of `pts`."""
        return Fraction(int(self._row["time_base_num"]), int(self._row["time_base_den"]))

    @property
    def options(self) -> str:
        """JSON: ``{stage name: {option: value}}``, what this title overrides."""
        return str(self._row["options"])

    @property
    def work(self) -> str:
        """fsspec URL of the run directory's folder for this title's encoded segments."""
        return str(self._row["work"])

    # --- of the segment -------------------------------------------------------------------------------------
    @property
    def core(self) -> tuple[int, int]:
        """Source frames [start, stop) that this segment is responsible for."""
        return int(self._row["start"]), int(self._row["stop"])

    @property
    def frames(self) -> tuple[int, int]:
        """Source frames [start, stop) to decode: the core with its halo, inside the shot. ``T = stop -
        start``.
        """
        return int(self._row["halo_start"]), int(self._row["halo_stop"])

    @property
    def shot(self) -> tuple[int, int]:
        """Source frames [start, stop) of the shot around this segment."""
        return int(self._row["shot_start"]), int(self._row["shot_stop"])

    @property
    def pts(self) -> np.ndarray:
        """int64[T], presentation timestamps of `frames`."""
        return np.asarray(self._row["pts"])

    @property
    def anchor(self) -> np.ndarray | None:
        """float32[4], box of the chosen person's face as seen when the shot was planned; None: nobody is
        dubbed in this shot.
        """
        anchor = np.asarray(self._row["anchor"], np.float32)
        return anchor if anchor.size == 4 and np.isfinite(anchor).all() else None

    # --- of the dub (after the fan-out) ---------------------------------------------------------------------
    @property
    def dub(self) -> str:
        """Identifier of the dub inside its title, e.g. its language."""
        return str(self._row["dub"])

    @property
    def speech(self) -> str:
        """fsspec URL of the speech."""
        return str(self._row["speech"])

    @property
    def speaker(self) -> int:
        """Number of the dub's speaker whose face and speech these are; 0 where the dub has one."""
        return int(self._row.get("speaker", 0))

    @property
    def person(self) -> int:
        """Number of this person in the title, from 1 on, where the dub asks for whoever speaks (``--face speaking``); where
        people are not recognised, minus their place in the shot, counted from the left. 0: the dub says who is meant.
        """
        return int(self._row.get("person", 0))

    @property
    def source(self) -> np.ndarray:
        """int64[N], for each output frame of this row the source frame under it (inside `core`; runs
        backwards in a ping-pong).
        """
        return np.asarray(self._row["source"])

    @property
    def out_pts(self) -> np.ndarray:
        """int64[N], presentation timestamps of the output frames."""
        return np.asarray(self._row["out_pts"])

    @property
    def gate(self) -> np.ndarray:
        """float32[N], 0 ... 1: how far each output frame is to be dubbed; 0 outside the ranges that were asked for, and where
        this person does not speak (``--face speaking``).
        """
        gate = self._row.get("gate")
        if gate is None:  # a row made by hand is dubbed as a whole
            frames = next(self._row[name] for name in ("source", "out_pts") if name in self._row)
            return np.ones(len(frames), np.float32)
        return np.asarray(gate)

    @property
    def asked(self) -> np.ndarray:
        """bool[N], output frames inside the ranges that were asked for, whoever is dubbed in them."""
        asked = self._row.get("asked")
        return self.gate > 0 if asked is None else np.asarray(asked, bool)

    @property
    def out_start(self) -> int:
        """Index of this row's first frame in the whole output."""
        return int(self._row["out_start"])

    @property
    def speech_times(self) -> np.ndarray:
        """float64[N], seconds into the speech at which each output frame is shown (speech starts with the
        title's first frame).
        """
        return (self.out_pts - int(self._row["out_origin"])).astype(np.float64) * float(self.time_base)


#: Columns that the planner writes into every row.
PLAN = pa.schema(
    [
        *(
            pa.field(name, pa.string(), nullable=False)
            for name in ("kind", "segment_id", "title", "video", "work", "options", "dubs", "error")
        ),
        *(pa.field(name, pa.int32(), nullable=False) for name in ("segment", "frame_width", "frame_height")),
        *(
            pa.field(name, pa.int64(), nullable=False)
            for name in (
                *("start", "stop", "halo_start", "halo_stop", "shot_start", "shot_stop"),
                *("n_frames", "time_base_num", "time_base_den", "out_origin"),
            )
        ),
        tensor("pts", "int64", "T"),
        tensor("anchor", "float32", 4),
        pa.field("others", OTHERS, nullable=False),
    ]
)

#: Columns that the fan-out adds, one row for each dub and output segment; ``dubs`` (JSON) is dropped there.
DUB = pa.schema(
    [
        *(pa.field(name, pa.string(), nullable=False) for name in ("dub", "key", "speech", "target")),
        *(pa.field(name, pa.int32(), nullable=False) for name in ("output_segment", "speaker", "person")),
        pa.field("out_start", pa.int64(), nullable=False),
        tensor("source", "int64", "N"),
        tensor("out_pts", "int64", "N"),
        tensor("gate", "float32", "N"),
        tensor("asked", "bool", "N"),
    ]
)
