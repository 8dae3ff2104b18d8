"""`retalk completion`: completion scripts for shells."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from pipelines.cli import help_texts
from pipelines.errors import DONE

SHELLS = ("bash", "zsh", "tcsh")


def add_parser(commands: Any, whole: Callable[[], argparse.ArgumentParser]) -> None:
    """Add `completion` to the subparsers of `retalk`; `whole` makes the parser of all commands."""
    command = commands.add_parser(
        "completion",
        help="print a completion script for your shell",
        description=help_texts.COMPLETION_HELP,
        epilog=help_texts.COMPLETION_EXAMPLES,
    )
    command.add_argument("shell", metavar="SHELL", choices=SHELLS, help="bash, zsh or tcsh")
    command.set_defaults(run=lambda args: print_completion(whole(), args.shell))


def print_completion(parser: argparse.ArgumentParser, shell: str) -> int:
    """Print a shell's completion script for a parser with commands; returns the exit code."""
    import shtab

    commands = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    for command in commands.choices.values():
        for action in command._actions:
            if action.dest in (
                "video",
                "speech",
                "manifest",
                "output",
                "directory",
                "cache",
                "root",
                "mirror",
                "lock",
                "log_file",
            ):
                action.complete = shtab.FILE
    print(shtab.complete(parser, shell))
    return DONE
