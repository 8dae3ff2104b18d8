"""`retalk bom`: the bill of materials of a run, or of an engine as it is here."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.cli.arguments import Parser
from pipelines.cli.options import add_engine_options, settings
from pipelines.errors import DONE, UsageError

if TYPE_CHECKING:
    from pipelines.rights.inventory import Inventory

DESCRIPTION = """\
List what is behind a run: packages and native libraries with their versions and licences, models with their digests, licences and training
data, and the run's own dubs with their keys and consents. Without DIR, what the engine would use on this machine.

What records of the run say is taken from them, for instance versions and digests; the rest is looked up in this installation, and a note
says so (docs/rights.md)."""
EXAMPLES = """\
Examples:

  retalk bom out/
  retalk bom out/ --json out.cdx.json
  retalk bom --engine retalk --json -

Exit codes: 0 done; 2 wrong usage."""


def add_parser(commands: Any) -> None:
    """Add `bom` to the subparsers of `retalk`."""
    command: Parser = commands.add_parser(
        "bom", help="print the bill of materials of a run", description=DESCRIPTION, epilog=EXAMPLES
    )
    command.add_argument("directory", nargs="?", metavar="DIR", help="the run directory, any fsspec URL")
    command.add_argument(
        "--json",
        dest="bom_file",
        metavar="FILE",
        help="write it as CycloneDX 1.6 JSON to this file; - prints it in place of the table",
    )
    add_engine_options(command)
    command.set_defaults(run=show_bom)


def show_bom(args: argparse.Namespace) -> int:
    """Print a bill of materials as a table, or write it as CycloneDX.

    Raises:
        UsageError: the directory holds no run, or the file cannot be written.
    """
    from pipelines.engine.resolve import resolve_engine
    from pipelines.rights.cyclonedx import as_cyclonedx
    from pipelines.rights.inventory import of_engine, of_run

    if args.directory is not None and (args.engine != "auto" or args.settings):
        raise UsageError(
            "bom: name a run directory or an --engine, not both: a run's records say its engine and options"
        )
    if args.directory is None:
        found = of_engine(resolve_engine(args.engine, settings(args.settings)))
    else:
        found = of_run(args.directory)
    if args.bom_file == "-":
        print(as_cyclonedx(found), end="")
        return DONE
    if args.bom_file is not None:
        try:
            Path(args.bom_file).write_text(as_cyclonedx(found), encoding="utf-8")
        except OSError as problem:
            raise UsageError(f"--json {args.bom_file}: cannot be written ({problem.strerror})") from problem
    print("\n".join(table_of(found)))
    for note in found.notes:
        print(f"note: {note}", file=sys.stderr)
    return DONE


def table_of(found: Inventory) -> list[str]:
    """Lines of a bill of materials for people."""
    from pipelines.monitoring.terminal import table

    lines = [f"{found.subject}: retalk {found.version}, engine {found.engine}", ""]
    models = [
        ("model", "licence", "commercial use", "trained on", "its commercial use", "SHA-256", "used by")
    ]
    models += [
        (
            one.name,
            one.licence or "unknown",
            one.commercial,
            one.data or "not known",
            one.data_commercial,
            one.sha256[:12] or "-",
            ", ".join(one.used_by),
        )
        for one in found.models
    ]
    packages = [("package", "version", "licence")]
    packages += [(one.name, one.version, one.licence or "unknown") for one in found.packages]
    libraries = [("native library", "version", "licence", "inside")]
    libraries += [
        (one.name, one.version or "-", one.licence or "unknown", one.package) for one in found.libraries
    ]
    sections: list[list[tuple[str, ...]]] = [models, packages, libraries]  # type: ignore[list-item]
    if found.dubs:
        dubs = [("dub", "state", "key", "consent")]
        dubs += [
            (f"{one.title} [{one.dub}]", one.state, one.key[:12] or "-", one.consent or "none")
            for one in found.dubs
        ]
        sections.append(dubs)  # type: ignore[arg-type]
    for rows in sections:
        lines += [*table(rows), ""]
    return lines[:-1]
