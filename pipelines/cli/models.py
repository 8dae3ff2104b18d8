"""`retalk models list | pull | verify`: the model files of the neural engine, their licences, and their
download.

Exit codes: 0 done, 2 wrong usage (an unknown name, licences not accepted), 3 some files failed or are wrong
    (each is named).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from pipelines.cli.arguments import Parser
from pipelines.cli.models_list import run_list
from pipelines.cli.models_progress import make_progress
from pipelines.cli.models_pull import run_pull
from pipelines.errors import DONE, FAILED, INTERRUPTED, USAGE
from pipelines.monitoring.terminal import table
from retalk_models.registry.catalog import SELECTIONS, load_catalog
from retalk_models.registry.errors import WeightsError
from retalk_models.registry.registry import Registry

DESCRIPTION = """\
The networks of the retalk engine load model files that their authors publish. They are kept in $RETALK_HOME/models (default:
$XDG_CACHE_HOME/retalk or ~/.cache/retalk). RETALK_HOME may be an fsspec URL: each node then keeps a copy of what it uses. The exemplar
engine needs none of them."""
EXAMPLES = """\
Examples:

  retalk models list
  retalk models pull --accept-licences
  retalk models pull lnet enet --from /mnt/weights
  retalk models verify

Exit codes: 0 done; 2 wrong usage, or licences that were not accepted; 3 some files failed or are wrong (each is named)."""
PULL = """\
Fetch model files, check their SHA-256, and put them into the cache. Interrupted transfers are resumed; several processes or nodes may ask
at once, and one of them fetches. Files whose publisher states no SHA-256 are trusted on first use: the digest is written to a lock file,
which you can check in, and any other file is refused from then on."""


def run_verify(args: argparse.Namespace) -> int:
    """`retalk models verify`: hash again; files that are missing count only where they are named."""
    registry = Registry(lock=args.lock)
    progress = make_progress(sys.stderr, args.quiet)
    entries = registry.catalog.files_of(args.names) if args.names else list(registry.catalog.files.values())
    rows, bad = [("file", "", "")], 0
    for entry in entries:
        if not registry.path(entry.file).is_file() and registry.is_in_remote_home(entry):
            registry.copy_to_node(entry, progress)
        verdict = registry.check(entry, again=True)
        pinned_by = entry.distribution if verdict.pinned_by == "catalogue" else ""
        note = verdict.note or (
            f"SHA-256 as pinned by {pinned_by or verdict.pinned_by}" if verdict.pinned_by else ""
        )
        if verdict.state == "ok" and not verdict.pinned_by:
            registry.trust(entry, verdict.sha256, str(registry.path(entry.file)), progress.say)
            note = f"no digest is known: trusted from now on, in {registry.lock.url}"
        asked = bool(args.names) and not args.numerics
        bad += verdict.state not in ("ok", "missing") or (verdict.state == "missing" and asked)
        if verdict.state != "missing" or args.names:
            rows.append((entry.file, verdict.state, note))
    print("\n".join(table(rows)) if len(rows) > 1 else f"no model files in {registry.directory}")
    if bad:
        print(
            f"retalk models: {bad} file{'s are' if bad > 1 else ' is'} missing or wrong; fetch again: retalk models pull NAME",
            file=sys.stderr,
        )
    if args.numerics:
        from pipelines.cli.models_numerics import verify_numerics  # torch takes seconds to import

        bad += verify_numerics(registry, args.names)
    return FAILED if bad else DONE


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add `models` to the subparsers of `retalk`. The parsed arguments' ``run`` is the handler: it returns
    the exit code.
    """
    parser = subparsers.add_parser(
        "models",
        help="list, fetch and verify the model files of the neural engine",
        description=DESCRIPTION,
        epilog=EXAMPLES,
    )
    actions = parser.add_subparsers(dest="models_action", required=True, metavar="list|pull|verify")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("-q", "--quiet", action="store_true", help="show no progress")
    common.add_argument(
        "--lock",
        metavar="PATH",
        help="lock file of digests trusted on first use (default: $RETALK_LOCK, else in the cache)",
    )

    listing = actions.add_parser(
        "list", parents=[common], help="files, sizes, licences, what is here, what uses it"
    )
    listing.add_argument(
        "--format", choices=("text", "json", "markdown"), default="text", help="default: text"
    )
    listing.set_defaults(run=run, models_run=run_list)

    fetching = actions.add_parser("pull", parents=[common], help="fetch files", description=PULL)
    fetching.add_argument(
        "names", nargs="*", help="files (LNet.pth) or networks (lnet); default: what the retalk engine needs"
    )
    fetching.add_argument(
        "--select",
        choices=SELECTIONS,
        help="instead of names: a selection (default: retalk). open-licence: the publisher's licence allows commercial use; "
        "licence-clean: and the terms of the training data do not exclude it; both also filter names",
    )
    fetching.add_argument(
        "--without", nargs="+", default=[], metavar="NAME", help="leave these files or networks out"
    )
    fetching.add_argument(
        "--from",
        dest="mirror",
        metavar="URL",
        help="fetch from this folder or URL (http, s3, gs, any fsspec URL) and nowhere else",
    )
    fetching.add_argument(
        "--accept-licences",
        action="store_true",
        help="accept licences that restrict use or do not clear commercial use",
    )
    fetching.add_argument(
        "--accept-hash",
        action="append",
        default=[],
        metavar="FILE=SHA256",
        help="accept this digest for a file whose digest is not certain",
    )
    fetching.add_argument("--jobs", type=int, default=4, metavar="N", help="transfers at a time (default: 4)")
    fetching.set_defaults(run=run, models_run=run_pull)

    checking = actions.add_parser(
        "verify", parents=[common], help="hash the files that are here, and compare"
    )
    checking.add_argument("names", nargs="*", help="files or networks (default: all that are here)")
    checking.add_argument(
        "--numerics",
        action="store_true",
        help="also run each network in each form (float32 as the stages use it, half precision) on this machine's devices and tell its "
        "largest error and time; networks whose files are not here are run with made-up weights",
    )
    checking.set_defaults(run=run, models_run=run_verify)
    return parser


def run(args: argparse.Namespace) -> int:
    """Run a parsed `retalk models` command; returns its exit code."""
    try:
        for reason in dict.fromkeys(load_catalog().unusable.values()):
            print(f"retalk models: left out: {reason}", file=sys.stderr)
        return args.models_run(args)
    except WeightsError as error:
        print(f"retalk models: {error}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print(
            "retalk models: interrupted; what was transferred is kept, run the same command again to resume",
            file=sys.stderr,
        )
        return INTERRUPTED


def main(argv: Sequence[str] | None = None) -> int:
    """`python -m pipelines.cli.models list|pull|verify`: the same without `retalk`."""
    parser = Parser(prog="retalk")
    add_parser(parser.add_subparsers(required=True))
    return run(parser.parse_args(["models", *(sys.argv[1:] if argv is None else argv)]))


if __name__ == "__main__":
    sys.exit(main())
