"""`retalk provenance`: this user's signing identity, and the options that say what dubs are signed with."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.cli.arguments import Parser

DESCRIPTION = """\
Dubs are signed (C2PA). Without a company's certificate (--sign-cert, --sign-key) that is done with an identity of this user, a root and a
leaf certificate, which is made on first use and kept in $XDG_CONFIG_HOME/retalk/provenance or ~/.config/retalk/provenance. Give others its
root.pem: with `retalk verify --trust root.pem` they see that a file is yours (docs/provenance.md)."""
INIT_HELP = """\
Make this user's signing identity now, instead of on first use. Its keys are files that nobody else may read."""
EXAMPLES = """\
Examples:

  retalk provenance init
  retalk provenance show
  retalk provenance init --force        # new keys; files signed with the old ones stay trusted on this machine"""


def add_parser(commands: Any) -> None:
    """Add `provenance` to the subparsers of `retalk`."""
    command: Parser = commands.add_parser(
        "provenance", help="make or show your signing identity", description=DESCRIPTION, epilog=EXAMPLES
    )
    parts = command.add_subparsers(
        dest="provenance_command", metavar="COMMAND", title="commands", required=True
    )
    init = parts.add_parser("init", help="make it", description=INIT_HELP, epilog=EXAMPLES)
    init.add_argument(
        "--force", action="store_true", help="replace the identity that is there, with new keys"
    )
    init.set_defaults(run=_init)
    show = parts.add_parser("show", help="show it", description="Show this user's signing identity.")
    for one in (init, show):
        one.add_argument("--json", action="store_true", help="print one JSON object")
    show.set_defaults(run=_show)


def add_provenance_options(command: argparse.ArgumentParser) -> None:
    """Add the choice of what outputs are signed with."""
    group = command.add_argument_group(
        "provenance", "signed proof of who made an output (docs/provenance.md)"
    )
    group.add_argument(
        "--provenance",
        choices=("on", "off"),
        help="on (default): outputs are signed (C2PA), in the file, or beside a .mkv in NAME.c2pa; off: they are not, as the ledger says",
    )
    group.add_argument(
        "--sign-cert",
        metavar="PEM",
        help="file of the signer's certificate and its issuers', in this order; default: an identity of this user (`retalk provenance`)",
    )
    group.add_argument(
        "--sign-key",
        metavar="KEY",
        help="private key of that certificate: a PEM file that nobody else may read, env:NAME (a variable that holds the PEM text) or "
        "cmd:COMMAND (which prints it)",
    )
    group.add_argument(
        "--tsa",
        metavar="URL",
        help="time-stamp authority (RFC 3161): signatures stay valid when the certificate expires. If it does not answer, the output has "
        "no time stamp, with a note",
    )


def provenance(args: argparse.Namespace) -> dict[str, Any]:
    """The arguments of `add_provenance_options` for `pipelines.runner.run`."""
    given = {name: getattr(args, name) for name in ("sign_cert", "sign_key", "tsa")}
    found = {name: value for name, value in given.items() if value is not None}
    if args.provenance == "off" and found:
        from pipelines.errors import UsageError

        options = ", ".join(f"--{name.replace('_', '-')}" for name in found)
        raise UsageError(f"--provenance off: nothing is signed, so leave out {options}")
    return found if args.provenance is None else {"on": args.provenance == "on", **found}


def _init(args: argparse.Namespace) -> int:
    from pipelines.provenance.identity import new_identity

    new_identity(args.force)
    return _show(args)


def _show(args: argparse.Namespace) -> int:
    from pipelines.errors import UsageError
    from pipelines.monitoring.terminal import tell
    from pipelines.provenance.credentials import readable_by_others
    from pipelines.provenance.home import CHAIN, KEY, LOCAL, ROOT, has_identity, own_roots, provenance_home

    folder = provenance_home() / LOCAL
    if not has_identity():
        raise UsageError(f"{folder}: there is no signing identity yet; `retalk provenance init` makes one")
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    leaf = x509.load_pem_x509_certificates((folder / CHAIN).read_bytes())[0]
    found = {
        "folder": str(folder),
        "signer": leaf.subject.rfc4514_string(),
        "until": leaf.not_valid_after_utc.date().isoformat(),
        "sha256": leaf.fingerprint(hashes.SHA256()).hex(),
        "root": str(folder / ROOT),
        "earlier_roots": [str(path) for path in own_roots()[1:]],
    }
    if readable := readable_by_others(folder / KEY, (folder / KEY).stat().st_mode):
        tell(f"note: {folder / KEY}: {readable}; until then nothing can be signed with it", sys.stderr)
    if args.json:
        print(json.dumps(found))
        return 0
    count = len(found["earlier_roots"])
    earlier = f"; {count} earlier {'root is' if count == 1 else 'roots are'} trusted too" if count else ""
    tell(
        f"{found['signer']}, valid until {found['until']}, SHA-256 {found['sha256']}\n"
        f"root certificate, for others to trust: {found['root']}{earlier}"
    )
    return 0
