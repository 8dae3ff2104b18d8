"""`retalk models list | pull | verify`: the model files of the neural engine, their licences, and their
download.

Exit codes: 0 done, 2 wrong usage (an unknown name, licences not accepted), 3 some files failed or are wrong
    (each is named).
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import textwrap
import threading
from collections.abc import Callable, Sequence
from typing import Any, TextIO

from pipelines.cli.arguments import Parser
from pipelines.errors import DONE, FAILED, INTERRUPTED, USAGE
from pipelines.monitoring.terminal import shows_bar, table
from retalk_models.registry.catalog import SELECTIONS, Catalog, ModelFile, load_catalog, show_size
from retalk_models.registry.download import DownloadProgress
from retalk_models.registry.errors import WeightsError
from retalk_models.registry.fetch import parse_accepted, pull
from retalk_models.registry.home import is_remote, local_path
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
LINE_STEP = 10
UNKNOWN_TOTAL_STEP = 100_000_000


class BarProgress(DownloadProgress):
    """One bar a transfer, for a terminal."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )
        from rich.progress import Progress as Bars

        self.lock = threading.Lock()
        self.tasks: dict[str, Any] = {}
        self.console = Console(file=stream, force_terminal=True, highlight=False, markup=False, emoji=False)
        share = TextColumn("{task.percentage:>3.0f} %")
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            share,
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        self.bars = Bars(*columns, console=self.console, transient=True, redirect_stdout=False)

    def start(self, file: str, total: int | None, done: int, source: str) -> None:
        with self.lock:
            if not self.tasks:
                self.bars.start()
            if file not in self.tasks:
                self.tasks[file] = self.bars.add_task(file)
            self.bars.reset(self.tasks[file], total=total, completed=done)

    def at(self, file: str, done: int) -> None:
        with self.lock:
            self.bars.update(self.tasks[file], completed=done)

    def finish(self, file: str) -> None:
        with self.lock:
            task = self.tasks.pop(file, None)
            if task is not None:
                self.bars.refresh()
                self.bars.remove_task(task)
            if not self.tasks:
                self.bars.stop()

    def say(self, text: str) -> None:
        with self.lock:
            self.console.print(text, soft_wrap=True)


class LineProgress(DownloadProgress):
    """A line at the start of each transfer and each tenth of it, for logs."""

    def __init__(self, stream: TextIO) -> None:
        self.stream, self.lock = stream, threading.Lock()
        self.state: dict[str, tuple[int | None, int]] = {}

    def _step(self, total: int | None, done: int) -> int:
        return done * 100 // (LINE_STEP * total) if total else done // UNKNOWN_TOTAL_STEP

    def start(self, file: str, total: int | None, done: int, source: str) -> None:
        with self.lock:
            self.state[file] = (total, self._step(total, done))
            after = f", resuming after {show_size(done)}" if done else ""
            print(f"{file}: {show_size(total)} from {source}{after}", file=self.stream, flush=True)

    def at(self, file: str, done: int) -> None:
        with self.lock:
            total, step = self.state[file]
            if self._step(total, done) > step:
                self.state[file] = (total, self._step(total, done))
                share = f" of {show_size(total)} ({done * 100 // total} %)" if total else ""
                print(f"{file}: {show_size(done)}{share}", file=self.stream, flush=True)

    def say(self, text: str) -> None:
        with self.lock:
            print(text, file=self.stream, flush=True)


class QuietProgress(DownloadProgress):
    """Messages that a person should read, without the progress of transfers."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def say(self, text: str) -> None:
        print(text, file=self.stream, flush=True)


def make_progress(stream: TextIO, quiet: bool = False) -> DownloadProgress:
    """Bars on a terminal, plain lines elsewhere; with `quiet` only what a person should read."""
    if quiet:
        return QuietProgress(stream)
    return BarProgress(stream) if shows_bar(stream) else LineProgress(stream)


def markdown(catalog: Catalog) -> str:
    """The catalogue as the table of docs/models.md."""
    rows = [("file", "size", "SHA-256", "licence", "commercial use", "trained on", "used by"), ("---",) * 7]
    for entry in catalog.files.values():
        digest = {"pinned": "pinned", "verify": "pinned, seen once", "unknown": "trust on first use"}[
            entry.pinning
        ]
        size = show_size(entry.size or entry.about)
        rows.append(
            (
                f"`{entry.file}`",
                size,
                digest,
                entry.licence,
                entry.commercial,
                entry.data or "not known",
                f"{entry.used_by}{_brought_by(entry)}",
            )
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def _brought_by(entry: ModelFile) -> str:
    """Name the distribution that brings an entry, "" for this one."""
    return f"; brought by {entry.distribution}" if entry.distribution else ""


def presence(registry: Registry, entry: ModelFile) -> str:
    """Return the state of a file in a word or two, such as "here"."""
    if registry.is_local(entry):
        return "yes"
    if registry.path(entry.file).is_file():
        return "wrong size"
    if registry.is_in_remote_home(entry):
        return "remote"
    done = max(
        (part.stat().st_size for part in (registry.directory / ".partial").glob(f"{entry.file}.*.part")),
        default=0,
    )
    return f"partly, {show_size(done)}" if done else "no"


def run_list(args: argparse.Namespace) -> int:
    """`retalk models list`."""
    registry = Registry(lock=args.lock)
    entries = list(registry.catalog.files.values())
    if args.format == "markdown":
        print(markdown(registry.catalog), end="")
        return 0
    if args.format == "json":
        keys = (
            "file",
            "size",
            "about",
            "sha256",
            "licence",
            "commercial",
            "data",
            "used_by",
            "groups",
            "urls",
            "distribution",
        )
        value = [
            {key: getattr(entry, key) for key in keys} | {"present": presence(registry, entry)}
            for entry in entries
        ]
        print(json.dumps({"directory": registry.remote or str(registry.directory), "files": value}, indent=2))
        return 0
    rows = [("file", "size", "here", "commercial use")]
    for entry in entries:
        rows.append(
            (entry.file, show_size(entry.size or entry.about), presence(registry, entry), entry.commercial)
        )
    heading, *lines = table(rows)
    print(f"{registry.remote or registry.directory}\n\n{heading}")
    for entry, line in zip(entries, lines, strict=True):
        print(f"{line}\n{_about(entry)}")
    return 0


def _about(entry: ModelFile) -> str:
    """Use and licence of a file, indented and wrapped."""
    width = min(100, max(60, shutil.get_terminal_size((100, 24)).columns))
    text = f"{entry.used_by}; licence: {entry.licence}{_brought_by(entry)}"
    return textwrap.fill(text, width, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)


def _files_table(heading: str, entries: Sequence[ModelFile]) -> list[str]:
    """Files with their size, commercial use and licence, line by line."""
    found = [
        (heading, "size", "commercial use"),
        *((e.file, show_size(e.size or e.about), e.commercial) for e in entries),
    ]
    first, *lines = table(found)
    return [
        first,
        *(
            f"{line}\n    {entry.licence}{_brought_by(entry)}"
            for entry, line in zip(entries, lines, strict=True)
        ),
    ]


def choose(args: argparse.Namespace, registry: Registry) -> list[ModelFile]:
    """The files that a `pull` is about; says which ones a selection leaves out, and why."""
    catalog = registry.catalog
    named = catalog.files_of(args.names) if args.names else None
    selection = args.select or ("all" if named else "retalk")
    if named and selection not in ("licence-clean", "all"):
        raise WeightsError(
            f"name files or select {selection!r}, not both (licence-clean can be combined with names)"
        )
    keep, left_out = catalog.select(selection, named)
    if selection == "licence-clean":
        for entry in left_out:
            print(
                f"left out: {entry.file} (commercial use: {entry.commercial}; {entry.licence}). Without it: no {entry.used_by}"
            )
        for entry in keep:
            print(
                f"kept on its publisher's word: {entry.file} ({entry.licence}; trained on: {entry.data or 'not known'})"
            )
    without = catalog.files_of(args.without)
    keep = [entry for entry in keep if entry not in without]
    if not named and not args.mirror:
        for entry in [entry for entry in keep if not entry.urls and not registry.is_local(entry)]:
            print(
                f"left out: {entry.file}: its publisher gives no direct address; get it there and name its folder with --from"
            )
            keep.remove(entry)
    return keep


def accepted_licences(entries: Sequence[ModelFile], yes: bool, ask: Callable[[str], str] | None) -> bool:
    """Show the licences of files that are to be fetched; whether those that restrict use, or say nothing, are
    accepted.
    """
    if not entries:
        return True
    print("\n".join(_files_table("to fetch", entries)))
    restricted = [entry.file for entry in entries if entry.commercial != "yes"]
    if not restricted or yes:
        return True
    text = f"Commercial use of {len(restricted)} of these files is excluded or not cleared: {', '.join(restricted)}."
    if ask is not None and ask(f"{text}\nAccept their licences? [y/N] ").strip().lower() in ("y", "yes"):
        return True
    print(
        f"{text}\nAccept with --accept-licences, or leave them out with --select licence-clean or --without.",
        file=sys.stderr,
    )
    return False


def run_pull(args: argparse.Namespace) -> int:
    """`retalk models pull`."""
    registry = Registry(lock=args.lock)
    accepted = parse_accepted(args.accept_hash, registry)
    if args.mirror and not is_remote(args.mirror) and not local_path(args.mirror).is_dir():
        raise WeightsError(
            f"--from {args.mirror}: no such folder (a folder, or any URL that fsspec understands)"
        )
    entries = choose(args, registry)
    wanted = [
        entry for entry in entries if not registry.is_local(entry) and not registry.is_in_remote_home(entry)
    ]
    ask = input if sys.stdin.isatty() and sys.stdout.isatty() else None
    if not accepted_licences(wanted, args.accept_licences, ask):
        return USAGE
    results = pull(registry, entries, args.mirror, accepted, make_progress(sys.stderr, args.quiet), args.jobs)
    print(
        "\n".join(
            table([("file", "", "from"), *((result.file, result.state, result.source) for result in results)])
        )
    )
    failed = [result for result in results if result.state == "failed"]
    for result in failed:
        print(f"retalk models: {result.error}", file=sys.stderr)
    print(
        f"{len(results) - len(failed)} of {len(results)} files are in {registry.remote or registry.directory}"
    )
    return FAILED if failed else DONE


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
        help="instead of names: a selection; licence-clean also filters names (default: retalk)",
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
