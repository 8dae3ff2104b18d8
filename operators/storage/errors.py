"""Errors of media files and their addresses. All are `ValueError`s: the input is at fault, not the program."""

from __future__ import annotations

from typing import Any

from operators.storage.redact import redact


class UsageError(ValueError):
    """The request cannot be carried out; nothing has run. The command line prints the message and ends with
    exit code 2.

    The message has no secrets of URLs in it (`redact`).
    """

    def __init__(self, *parts: Any) -> None:
        super().__init__(*(redact(part) if isinstance(part, str) else part for part in parts))


class MediaError(ValueError):
    """A file cannot be used; the message names the file, the cause and what to do, without the secrets of
    URLs (`redact`).
    """

    def __init__(self, *parts: Any) -> None:
        super().__init__(*(redact(part) if isinstance(part, str) else part for part in parts))


class DecodeError(MediaError):
    """A frame that the file announces cannot be decoded; the message names the file and the time."""


class NoAudioError(MediaError):
    """The file has no audio stream, or none with samples in it."""


class SilentAudioError(MediaError):
    """The audio is silent throughout (see `operators.media.audio.check_audible`)."""


class StorageError(MediaError, OSError):
    """A storage does not answer or refuses; the message names the URL, what the storage said and what to do."""


class UnsupportedURLError(MediaError, UsageError):
    """A path or URL of a kind that cannot be used here; the message names it and says what to install or to
    write instead.
    """


def refusal(problem: BaseException) -> str:
    """Return why a file system refused, without the path that it was asked for: ``Permission denied``."""
    if isinstance(problem, OSError) and problem.strerror:
        return str(problem.strerror)
    return str(problem) if isinstance(problem, ValueError) else f"{type(problem).__name__}: {problem}"


def unanswered(problem: FileNotFoundError) -> OSError | None:
    """Return why a storage could not be asked, where fsspec's HTTP calls a file missing though there was no
    connection; None where the file is missing.
    """
    cause = problem.__cause__
    return cause if isinstance(cause, OSError) and not isinstance(cause, FileNotFoundError) else None
