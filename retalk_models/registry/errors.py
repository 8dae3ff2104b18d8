"""Errors of weights: one family, each naming the file and what to do."""

from __future__ import annotations

from collections.abc import Sequence


class WeightsError(ValueError):
    """Weights are missing, wrong or unreadable. The message is meant for the person who reads the log.

    Attributes:
        files: the file names concerned.
        command: the one command that helps, or "".
    """

    def __init__(self, message: str, files: Sequence[str] = (), command: str = "") -> None:
        super().__init__(f"{message}\nRun: {command}" if command else message)
        self.files = tuple(files)
        self.command = command


class HashMismatchError(WeightsError):
    """A file's bytes are not the bytes that the catalogue or the lock file pins."""


class KeysError(WeightsError):
    """A checkpoint's keys are not the network's.

    Attributes:
        missing: keys of the network that the file lacks.
        unexpected: keys of the file that the network lacks.
        shapes: keys of both whose shapes differ, as "key: file (..) network (..)".
    """

    def __init__(
        self,
        message: str,
        files: Sequence[str],
        missing: Sequence[str],
        unexpected: Sequence[str],
        shapes: Sequence[str],
    ) -> None:
        super().__init__(message, files)
        self.missing, self.unexpected, self.shapes = tuple(missing), tuple(unexpected), tuple(shapes)


class FetchError(WeightsError):
    """A transfer failed.

    Attributes:
        retry: whether trying the same address again can help (time-outs, 5xx, a connection cut short).
        retry_after: seconds that the server asked us to wait, or None.
    """

    def __init__(self, message: str, retry: bool = False, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry, self.retry_after = retry, retry_after
