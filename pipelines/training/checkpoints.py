"""Checkpoints of a training at any fsspec URL: a file appears whole or not at all, and a damaged one is passed over."""

from __future__ import annotations

import contextlib
import re
from typing import Any

import torch

from operators.storage.files import atomic_write, filesystem, join, local_copy, sweep
from pipelines.state.run_directory import remove

NAME = re.compile(r"step-(\d{9})\.pt")


class Checkpoints:
    """Folder of checkpoints of a run.

    Args:
        run: URL of the run.
        keep: number of files that are kept, the newest.
    """

    def __init__(self, run: str, keep: int = 2) -> None:
        self.folder, self.keep = join(run, "checkpoints"), keep

    def steps(self) -> list[int]:
        """Steps of which there are checkpoints, oldest first."""
        fs, path = filesystem(self.folder)
        try:
            names = [str(name).rsplit("/", 1)[-1] for name in fs.ls(path, detail=False, refresh=True)]
        except FileNotFoundError:
            return []
        return sorted(int(found[1]) for name in names if (found := NAME.fullmatch(name)))

    def url(self, step: int) -> str:
        """URL of a step's checkpoint."""
        return join(self.folder, f"step-{step:09d}.pt")

    def write(self, step: int, state: dict[str, Any]) -> None:
        """Write the state after so many steps, then remove the oldest beyond those that are kept."""
        with atomic_write(self.url(step)) as path:
            torch.save(state, path)
        for old in self.steps()[: -self.keep]:
            with contextlib.suppress(FileNotFoundError):
                remove(self.url(old))

    def sweep(self) -> None:
        """Remove what a killed writer has left; for one process, before it writes."""
        sweep(self.folder)

    def latest(self) -> tuple[int, dict[str, Any], list[str]] | None:
        """Return the newest checkpoint that can be read: its step, its state, and notes on newer ones that cannot; None without any."""
        notes: list[str] = []
        for step in reversed(self.steps()):
            try:
                with local_copy(self.url(step)) as path:
                    return step, read(str(path)), notes
            except Exception as error:  # torch raises many kinds for damaged files
                notes.append(
                    f"{self.url(step)}: cannot be read ({type(error).__name__}), taking an older one"
                )
        return None


def read(path: str) -> dict[str, Any]:
    """The content of a checkpoint file, on the CPU; runs no code from it."""
    content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return content
