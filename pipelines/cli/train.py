"""`retalk train`: data sets for training, and the training of networks on them."""

from __future__ import annotations

from typing import Any

from pipelines.cli.arguments import Parser
from pipelines.cli.train_network import add_trainings
from pipelines.cli.train_prepare import add_prepare
from pipelines.cli.train_talkin import add_talkin

DESCRIPTION = """\
Prepare data sets of your own footage (docs/training-data.md), and train networks on them (docs/training.md, docs/talkin.md).
`retalk train COMMAND --help` says more."""
EXAMPLES = """\
Examples:

  retalk train prepare talks/ -o data/
  retalk train talkin --data data/ -o talkin/
  retalk train sync --data data/ -o sync/
  retalk train export sync/ -o expert.pth"""


def add_parser(commands: Any) -> None:
    """Add the command and its parts to the subparsers of `retalk`."""
    summary = "prepare data sets and train networks"
    command: Parser = commands.add_parser("train", help=summary, description=DESCRIPTION, epilog=EXAMPLES)
    parts = command.add_subparsers(
        dest="train_command", metavar="COMMAND", title="commands (retalk train COMMAND --help)", required=True
    )
    add_prepare(parts)
    add_talkin(parts)
    add_trainings(parts)
