"""`retalk verify`: who has signed a file, whether it was changed since, and which dub it is."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import DONE, FAILED, USAGE, UsageError

if TYPE_CHECKING:
    from pipelines.cli.arguments import Parser
    from pipelines.provenance.verify import State, Verification

#: Exit codes beside those of all commands: valid, but by a signer who is not trusted, or recognised by a mark alone; nothing found;
#: a file without bytes.
UNKNOWN, NOTHING, EMPTY = 5, 6, 7
DESCRIPTION = """\
Look for signed provenance (C2PA) in files and beside them (NAME.c2pa), and for the watermarks of a key in their speech and pictures, and
say who has signed each one, whether it was changed since, which id its mark carries and how probable such a mark is by chance, and, with
--ledger, which row of a run it is. Trusted are this user's own signing root (`retalk provenance init`) and the certificates that --trust
names; marks are looked for with this user's own key or that of --watermark-key. Files of any origin are read, in a process with limits
(docs/provenance.md, docs/watermark.md)."""
EXAMPLES = """\
Examples:

  retalk verify talk.de.mp4
  retalk verify out/ --ledger out/ --json
  retalk verify https://example.com/clip.mp4 --trust company-root.pem

Exit codes, the worst file decides: 0 trusted; 5 valid, but the signer is unknown, or recognised by a mark alone; 6 nothing found; 7
an empty file; 3 changed after it was signed, signed invalidly, or unreadable; 2 wrong usage, or a file that cannot be reached."""


def add_parser(commands: Any) -> None:
    """Add `verify` to the subparsers of `retalk`."""
    command: Parser = commands.add_parser(
        "verify",
        help="show who made a file, and whether it was changed",
        description=DESCRIPTION,
        epilog=EXAMPLES,
    )
    command.add_argument("files", nargs="+", metavar="FILE", help="a file, a folder of files, or a URL")
    command.add_argument("--json", action="store_true", help="print one JSON object with all findings")
    command.add_argument(
        "--ledger",
        action="append",
        default=[],
        metavar="DIR",
        help="run directory in whose records the dub is looked for; may be repeated",
    )
    command.add_argument(
        "--trust",
        action="append",
        default=[],
        metavar="PEM",
        help="file of root certificates to trust, beside this user's own; may be repeated",
    )
    command.add_argument(
        "--watermark-key",
        default="",
        metavar="FILE",
        help="key of the watermarks to look for, a file or env:NAME; default: $RETALK_WATERMARK_KEY, else this user's own",
    )
    command.add_argument(
        "--remote",
        action="store_true",
        help="fetch a manifest that a file only refers to; without it, no address in a file is ever asked",
    )
    command.set_defaults(run=show_verification)


def show_verification(args: argparse.Namespace) -> int:
    """`retalk verify`: check files, print, and return the exit code."""
    from pipelines.monitoring.terminal import tell
    from pipelines.provenance.findings import Trust
    from pipelines.provenance.home import own_roots
    from pipelines.provenance.verify import ORDER, Ledger, as_json, files_of, verify_file
    from pipelines.provenance.watermarks import read_key

    anchors = "\n".join([_certificates(path) for path in (*map(str, own_roots()), *args.trust)])
    if args.watermark_key:  # a wrong one would make every file an unmarked one
        read_key(args.watermark_key)
    trust = Trust(anchors, args.remote, args.watermark_key)
    ledger = Ledger.read(args.ledger) if args.ledger else None
    done, problems = [], []
    for given in args.files:
        for url in files_of(given):
            try:
                found = verify_file(url, trust, ledger)
            except (OSError, ValueError) as problem:
                problems.append(str(problem))
                continue
            done.append(found)
            if not args.json:
                tell("\n".join(_lines(found, ledger is not None)))
    for text in problems:
        tell(f"retalk verify: {text}", sys.stderr)
    states = [one.state for one in done]
    worst = min(states, key=ORDER.index) if states else None
    code = USAGE if problems else _exit_code(worst)
    if args.json:
        print(json.dumps({"exit_code": code, "files": [as_json(one) for one in done], "errors": problems}))
    return code


def _exit_code(state: State | None) -> int:
    if state is None:
        return USAGE
    codes = {"bad": FAILED, "empty": EMPTY, "none": NOTHING, "marked": UNKNOWN, "untrusted": UNKNOWN}
    return {**codes, "trusted": DONE}[state]


def _lines(found: Verification, asked: bool) -> list[str]:
    """A file's findings for people; ``asked``: a ledger was given."""
    lines = [found.file] + [f"  {finding.check}: {finding.text}" for finding in found.findings]
    if (row := found.row) is not None:
        lines.append(
            f"  ledger: title {row['title']}, dub {row['dub']}, output {row['output']}, {row['finished']}"
        )
        written = [
            f"{name} {row[column]:.1f}"
            for name, column in (("speech", "watermark_speech"), ("picture", "watermark_picture"))
            if row.get(column) is not None
        ]
        if written:
            lines.append(
                f"  ledger: strength of the marks as written (normal deviates): {', '.join(written)}"
            )
    elif asked:
        lines.append("  ledger: no row that a trusted manifest or a mark leads to")
    return lines


def _certificates(path: str) -> str:
    """The PEM text of a file of certificates.

    Raises:
        UsageError: it cannot be read, or holds none.
    """
    from cryptography import x509

    try:
        text = Path(path).read_text(encoding="ascii")
        x509.load_pem_x509_certificates(text.encode())
    except OSError as problem:
        raise UsageError(f"{path}: cannot be read ({problem.strerror})") from problem
    except ValueError as problem:
        raise UsageError(
            f"{path}: holds no PEM certificates; give the root certificate of a signer"
        ) from problem
    return text
