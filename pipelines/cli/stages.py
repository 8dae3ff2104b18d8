"""`retalk stages`: stages of an engine, their options, and what is installed."""

from __future__ import annotations

import argparse
from typing import Any

from pipelines.cli.arguments import Parser
from pipelines.cli.help_texts import STAGES_EXAMPLES, STAGES_HELP
from pipelines.cli.options import add_engine_options, settings


def add_parser(commands: Any) -> None:
    """Add `stages` to the subparsers of `retalk`."""
    command: Parser = commands.add_parser(
        "stages", help="list the stages of an engine", description=STAGES_HELP, epilog=STAGES_EXAMPLES
    )
    add_engine_options(command)
    command.add_argument(
        "--options", action="store_true", help="list the options of the stages with their values instead"
    )
    command.add_argument(
        "--list",
        action="store_true",
        help="list the engines, metrics, model files and storage rules that are installed instead",
    )
    command.set_defaults(run=_stages)


def _stages(args: argparse.Namespace) -> int:
    if args.list:
        from pipelines.cli.extensions import show_extensions

        return show_extensions()
    from pipelines.cli.run import show_stages

    return show_stages(args.engine, settings(args.settings), args.options)
