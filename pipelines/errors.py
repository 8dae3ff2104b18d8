"""Errors that concern a request as a whole, and the exit codes of all commands."""

from __future__ import annotations

__all__ = [
    "BROKEN",
    "DONE",
    "FAILED",
    "INTERRUPTED",
    "RAY_LOST",
    "USAGE",
    "ConfigError",
    "PreflightError",
    "UsageError",
]

from operators.storage.errors import UsageError


class ConfigError(UsageError):
    """A configuration file or an option is wrong; the message names the file, the key and what is allowed."""


class PreflightError(UsageError):
    """The run would crawl or fail; the message gives the numbers and what to change."""


#: Exit codes of the commands: success; a bug in retalk, or a job that ended without a code of its own; wrong usage,
#: nothing has run; some titles or files failed; Ray ended by itself; interrupted by Ctrl-C or SIGTERM.
DONE, BROKEN, USAGE, FAILED, RAY_LOST, INTERRUPTED = 0, 1, 2, 3, 4, 130
