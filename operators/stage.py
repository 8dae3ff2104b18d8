"""Interface of a stage: the columns it reads and writes, its halo, its options, `setup` once per worker and a
pure `process`.

Used by every engine (`configs/engines/*.yaml` lists stages) and run by `pipelines`, with or without Ray. It
knows nothing of scheduling.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar, Literal, TypeVar

import pyarrow as pa

from operators.segment import Segment

Item = TypeVar("Item")


@dataclasses.dataclass(frozen=True)
class NoOptions:
    """A stage without options."""


def unheard(*_: Any) -> None:
    """Stand for a listener where nobody listens to a stage."""


def option_help(options: type) -> dict[str, str]:
    """Meanings of the options: the entries under ``Attributes:`` of the docstrings of an `Options` class and
    of those it inherits from.
    """
    found: dict[str, str] = {}
    for cls in reversed(options.__mro__):
        _, _, section = inspect.cleandoc(vars(cls).get("__doc__") or "").partition("\nAttributes:\n")
        for name, text in re.findall(r"^    (\w+): (.*(?:\n {8,}.*)*)", section, re.MULTILINE):
            found[name] = " ".join(text.split())
    return {field.name: found.get(field.name, "") for field in dataclasses.fields(options)}


class Stage(ABC):
    """One step of an engine.

    Subclasses set `name`, `reads`, `writes` (pyarrow schemas made of `operators.columns.tensor` and
    `scalar`), and, where they have any, `Options` (a frozen dataclass of plain values with defaults;
    `Literal` types name the choices) and `per`. They are constructed with their options, pickled never: a
    worker builds them from configuration and calls `setup` once.
    """

    name: ClassVar[str]
    #: "segment": runs once for a segment of source video. "dub": runs once for each dub of it, on rows that
    #: carry DUB columns.
    per: ClassVar[Literal["segment", "dub"]] = "segment"
    #: What it does, for progress displays: "finding faces". Empty: its name is shown.
    doing: ClassVar[str] = ""
    #: It takes frames that were decoded before (`operators.media.kept_frames`).
    takes_frames: ClassVar[bool] = False
    Options: ClassVar[type] = NoOptions
    #: Columns read beside the plan's own (`operators.segment.PLAN` and, for ``per = "dub"``,
    #: `operators.segment.DUB`).
    reads: pa.Schema = pa.schema([])
    writes: pa.Schema = pa.schema([])

    def __init__(self, options: Any = None) -> None:
        self.options = self.Options() if options is None else options
        #: Called by `process` with the number of frames that it has finished since the last call; a worker
        #: sets it. See `counted`.
        self.tick: Callable[[int], None] = unheard
        #: Called by `shown` with the number of an output frame and the frame; a worker sets it for metrics.
        self.observe: Callable[[int, Any], None] = unheard

    def halo(self, options: Any) -> tuple[int, int]:
        """Frames needed before and after the core frames, for these options."""
        del options
        return 0, 0

    def model_files(self, options: Any) -> tuple[str, ...]:
        """Networks and model files (names of the weights' catalogue) that `setup` or `process` will load, for
        these options.

        They are looked for before anything runs. Where options have a field ``weights``, that names the home
        where they lie.
        """
        del options
        return ()

    def bundled_models(self, options: Any) -> tuple[str, ...]:
        """Models that `setup` or `process` may load from inside packages (names of `retalk_models.registry.bundled`), or from
        elsewhere than the registry (names of the weights' catalogue), for these options.

        They are named in the bill of materials and held against `--licence-clean`.
        """
        del options
        return ()

    def decided(self, options: Any, device: str) -> Any:
        """Return these options with what depends on the machine that is asked decided: an option that is "auto" for what is
        installed. For stages that run once for a segment.

        The driver asks once for a run, before anything runs, so that all workers compute the same and what was decided is part of
        every content key. ``device`` is that of the stage's pool.

        Raises:
            ImportError: what an option asks for is not installed; the message has the command that installs it.
        """
        del device
        return options

    def decision_note(self, options: Any, device: str) -> str:
        """Return what the user should know of what `decided` decides for these options, "" for nothing."""
        del options, device
        return ""

    def shares_batches(self, device: str) -> bool:
        """Return whether a worker may give `process` several rows at the same time on this device, each in a thread of
        its own and on a shallow copy of the stage, so that their networks share micro-batches
        (`operators.shared_batches`). It is asked before `setup`, too.
        """
        del device
        return False

    def setup(self, device: str) -> None:  # noqa: B027  (most stages load nothing)
        """Load what is heavy, once per worker. ``device`` is a torch device string such as ``"cpu"`` or
        ``"cuda"``.
        """

    def options_for(self, segment: Segment) -> Any:
        """This stage's options for one row: the engine's, with the title's overrides (``Segment.options``) on
        top.
        """
        overrides = json.loads(segment.options).get(self.name) if segment.options else None
        return dataclasses.replace(self.options, **overrides) if overrides else self.options

    def counted(self, frames: Iterable[Item]) -> Iterator[Item]:
        """Give frames one by one and count each as finished when the next is asked for, so that progress
        moves within a segment.
        """
        for frame in frames:
            yield frame
            self.tick(1)

    def shown(self, frames: Iterable[tuple[Item, int]]) -> Iterator[tuple[Item, int]]:
        """Give the finished output frames of a row with their times one by one, on their way to the encoder,
        and let metrics (`operators.evaluation.metric`) see each. For the last stage of an engine.
        """
        for index, (frame, pts) in enumerate(frames):
            self.observe(index, frame)
            yield frame, pts

    @abstractmethod
    def process(self, segment: Segment) -> dict[str, Any]:
        """Compute this stage's columns for one row. Pure: the same row gives the same columns.

        Raises:
            Exception: whatever is raised becomes the row's ``error``; say the file, the time and what to do.
        """
