"""`retalk eval`: sweeps over data sets, and what came of them."""

from __future__ import annotations

from typing import Any

from pipelines.cli.arguments import Parser
from pipelines.cli.eval_results import add_results
from pipelines.cli.eval_sweeps import add_sweeps

DESCRIPTION = """\
Dub the pairs of a data set with one or several systems, and score the results by the literature's metrics (docs/evaluation.md): tables,
intervals, tests, plots and contact sheets.
`retalk eval COMMAND --help` says more."""
EXAMPLES = """\
Examples:

  retalk eval pairs pairs.csv -o out/ --systems exemplar,source
  retalk eval score theirs.csv -o theirs/ --name latentsync
  retalk eval report out/
  retalk eval compare monday/ tuesday/

Exit codes: 0 done; 3 some pairs were not scored; 2 wrong usage."""


def add_parser(commands: Any) -> None:
    """Add `eval` to the subparsers of `retalk`."""
    command: Parser = commands.add_parser(
        "eval", help="score dubs over data sets", description=DESCRIPTION, epilog=EXAMPLES
    )
    parts = command.add_subparsers(dest="eval_command", metavar="COMMAND", title="commands", required=True)
    add_sweeps(parts)
    add_results(parts)
