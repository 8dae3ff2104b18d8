"""Measurements of a training: JSON lines, TensorBoard's files where the package is there, and a picture of the curves."""

from __future__ import annotations

import importlib.util
import json
import time
from collections.abc import Mapping
from typing import Any

from operators.storage.files import join, local_path
from pipelines.monitoring.formatting import duration
from pipelines.state.run_directory import write_text

#: Steps whose rows are all kept; beyond, every so many.
EVERY = 10
#: Seconds between lines on how far a training is.
PAUSE = 30.0


class Log:
    """Rows of a run: one for a step (later on for every tenth) and one for each evaluation.

    Args:
        run: URL of the run; TensorBoard's files are written where it is a folder of this machine.
        active: False: keeps nothing, on all workers but the first.
    """

    def __init__(self, run: str, active: bool = True) -> None:
        self.run, self.active = run, active
        self.rows: list[dict[str, Any]] = []
        self._board: Any = None

    def take(self, rows: list[dict[str, Any]]) -> None:
        """Begin with the rows of a checkpoint."""
        self.rows = list(rows)

    def add(self, row: dict[str, Any]) -> None:
        """Keep a row with ``step``; of evaluations with ``held_out``."""
        if not self.active:
            return
        if row["step"] <= 1000 or row["step"] % EVERY == 0 or row.get("held_out"):
            self.rows.append(row)
        board = self._writer()
        if board is not None:
            where = "held_out" if row.get("held_out") else "train"
            for name, value in row.items():
                if isinstance(value, float):
                    board.add_scalar(f"{where}/{name}", value, row["step"])

    def _writer(self) -> Any:
        folder = local_path(self.run)
        if self._board is None and folder is not None and importlib.util.find_spec("tensorboard"):
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(folder / "tensorboard"))
        return self._board

    def write(self) -> None:
        """Write ``log.jsonl`` whole."""
        if self.active:
            write_text(join(self.run, "log.jsonl"), "".join(json.dumps(row) + "\n" for row in self.rows))

    def close(self) -> None:
        """Flush TensorBoard's files."""
        if self._board is not None:
            self._board.close()
            self._board = None


class Pace:
    """Lines on how far a training is: after the first step of a process, then every ``PAUSE`` seconds.

    Args:
        step: steps that are done already.
        steps: of the whole training.
    """

    def __init__(self, step: int, steps: int) -> None:
        self.first, self.steps = step, steps
        self.began = time.monotonic()
        self.told: float | None = None

    def line(self, step: int, parts: Mapping[str, float]) -> str:
        """A line about the step that has just been done, or nothing."""
        now = time.monotonic()
        if self.told is not None and now - self.told < PAUSE:
            return ""
        self.told = now
        each = (now - self.began) / (step - self.first)
        loss = f"loss {parts['loss']:.4g}, " if "loss" in parts else ""
        left = f", about {duration(each * (self.steps - step))} left" if step < self.steps else ""
        return f"step {step:,} of {self.steps:,}: {loss}{each:.2g} s a step{left}"


def curves(rows: list[dict[str, Any]], path: str, names: list[str] | None = None) -> None:
    """Draw losses over steps, training and held out.

    Args:
        rows: of `Log`.
        path: PNG to write.
        names: those to draw; None: loss, and PSNR or accuracy where they are measured.

    Raises:
        ImportError: without matplotlib (extra ``eval``).
    """
    from matplotlib.figure import Figure

    keys = {key for row in rows for key in row}
    wanted = names or [name for name in ("loss", "psnr", "accuracy", "offset_accuracy") if name in keys]
    figure = Figure(figsize=(4.5 * len(wanted), 3.2), layout="constrained")
    for axis, name in zip(figure.subplots(1, len(wanted), squeeze=False)[0], wanted, strict=True):
        for held_out, label in ((False, "training"), (True, "held out")):
            points = [(r["step"], r[name]) for r in rows if name in r and bool(r.get("held_out")) == held_out]
            if points:
                axis.plot(
                    *zip(*points, strict=True), marker="o" if held_out else None, ms=3, lw=1, label=label
                )
        axis.set_xlabel("step")
        axis.set_title(name)
        axis.legend()
    figure.savefig(path, dpi=110)
