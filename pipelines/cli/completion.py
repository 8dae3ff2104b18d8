"""`retalk completion`: completion scripts for shells."""

from __future__ import annotations

import argparse

import shtab

from pipelines.errors import DONE


def print_completion(parser: argparse.ArgumentParser, shell: str) -> int:
    """Print a shell's completion script for a parser with commands; returns the exit code."""
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
