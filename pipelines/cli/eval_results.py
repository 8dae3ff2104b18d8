"""`retalk eval report` and `retalk eval compare`: what came of sweeps."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from pipelines.cli.arguments import Parser
from pipelines.errors import DONE

REPORT_HELP = """\
Write the results of a sweep again from its scores: table.md, .csv and .tex (means with bootstrap 95 % intervals, in the layout of
VideoReTalking's Table 1, published rows marked as such), significance.md and .csv, plots as PNG and SVG, contact sheets of the best and
worst clips, and report.html with all of them. The table is printed. Plots need matplotlib: pip install -e '.[eval]'."""
REPORT_EXAMPLES = """\
Examples:

  retalk eval report out/
  retalk eval report s3://bucket/sweep --no-sheets

Exit codes: 0 done; 2 wrong usage."""
COMPARE_HELP = """\
Put two sweeps side by side: means of each system and metric, a paired test on the clips that both have, and what differs in versions,
options and model files."""
COMPARE_EXAMPLES = """\
Examples:

  retalk eval compare monday/ tuesday/
  retalk eval compare monday/ tuesday/ -o comparison/

Exit codes: 0 done; 2 wrong usage."""


def add_results(parts: Any) -> None:
    """Add the two commands to the subparsers of `retalk eval`."""
    report: Parser = parts.add_parser(
        "report",
        help="write tables, plots and a page from a sweep's scores",
        description=REPORT_HELP,
        epilog=REPORT_EXAMPLES,
    )
    report.add_argument("directory", metavar="DIR", help="the sweep's directory")
    report.add_argument(
        "--no-sheets", action="store_true", help="draw no contact sheets, for which clips are decoded"
    )
    report.set_defaults(run=_report)
    compare: Parser = parts.add_parser(
        "compare", help="put two sweeps side by side", description=COMPARE_HELP, epilog=COMPARE_EXAMPLES
    )
    compare.add_argument("first", metavar="A", help="directory of a sweep")
    compare.add_argument("second", metavar="B", help="directory of another sweep")
    compare.add_argument(
        "-o", "--output", metavar="DIR", help="also write comparison.md, .csv and .html to this folder"
    )
    compare.set_defaults(run=_compare)


def _report(args: argparse.Namespace) -> int:
    from operators.storage.files import filesystem, join
    from operators.storage.redact import redact
    from pipelines.evaluation.results.write import write_results

    for note in write_results(args.directory, not args.no_sheets):
        print(f"note: {note}", file=sys.stderr)
    fs, path = filesystem(join(args.directory, "table.md"))
    print(fs.cat_file(path).decode(), end="")
    print(f"page: {redact(join(args.directory, 'report.html'))}", file=sys.stderr)
    return DONE


def _compare(args: argparse.Namespace) -> int:
    from pipelines.evaluation.results.write import write_comparison

    print(write_comparison(args.first, args.second, args.output), end="")
    return DONE
