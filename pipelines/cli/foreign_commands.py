"""Commands of other packages: entry points of the group ``retalk.commands``, functions that add a parser.

`cluster`, which this package must not import by name, brings `submit` in this way.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from pipelines.errors import UsageError
from retalk_models.installation import DISTRIBUTION
from retalk_models.plugins import COMMANDS, PluginError, plugin, plugins

#: Commands that no other distribution may bring.
OWN = (
    "bom",
    "completion",
    "dub",
    "eval",
    "models",
    "plan",
    "profile",
    "provenance",
    "report",
    "run",
    "stages",
    "status",
    "train",
    "verify",
)


def add_foreign_commands(commands: Any) -> None:
    """Add the commands of all distributions.

    A command that cannot be loaded, or that two distributions bring, is listed all the same and tells why when
    it is called; the others work.

    Args:
        commands: argparse's subparsers. One of the name of one of retalk's own commands is left out, with a line on stderr.
    """
    for name, found in plugins(COMMANDS).items():
        if name in OWN:
            whose = " and ".join(entry.distribution for entry in found)
            print(
                f"retalk: the command {name!r} of {whose} is left out: {DISTRIBUTION} has one",
                file=sys.stderr,
            )
            continue
        try:
            entry = plugin(COMMANDS, name)
            assert entry is not None
            _add(commands, name, entry)
        except PluginError as problem:
            _add_broken(commands, name, str(problem))


def _add(commands: Any, name: str, entry: Any) -> None:
    """Let a function add its parser; whatever it adds besides its own command is taken back."""
    parsers, shown = commands._name_parser_map, commands._choices_actions
    before, listed = dict(parsers), list(shown)
    try:
        entry.load()(commands)
        added = [one for one in parsers if parsers[one] is not before.get(one)]
        if added != [name]:
            raise ValueError(f"it adds {', '.join(added) or 'no command'}, not {name}")
    except Exception as problem:
        parsers.clear()
        parsers.update(before)
        shown[:] = listed
        if isinstance(problem, PluginError):
            raise
        raise entry.error(f"{type(problem).__name__}: {problem}") from problem


def _add_broken(commands: Any, name: str, text: str) -> None:
    """Add a command that only says why it cannot run."""

    def tell(args: argparse.Namespace) -> int:
        raise UsageError(text)

    command = commands.add_parser(name, help="(cannot be used)", description=text, prefix_chars="\0")
    command.add_argument("arguments", nargs="*", help=argparse.SUPPRESS)
    command.set_defaults(run=tell)
