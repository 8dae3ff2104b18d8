"""Errors of a request as a whole, and the exit codes of the command line."""

from __future__ import annotations

__all__ = ["DONE", "FAILED", "USAGE", "ConfigError", "PreflightError", "UsageError"]

from operators.storage.errors import UsageError


class ConfigError(UsageError):
    """A configuration file or an option is wrong; the message names the file, the key and what is allowed."""


class PreflightError(UsageError):
    """The run would crawl or fail; the message gives the numbers and what to change."""


#: Exit codes of the command line.
DONE, FAILED, USAGE = 0, 3, 2
