"""`retalk models pull`: which files to fetch, and the licences that are accepted for them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from pipelines.cli.models_list import brought_by
from pipelines.cli.models_progress import make_progress
from pipelines.errors import DONE, FAILED, USAGE
from pipelines.monitoring.terminal import table
from retalk_models.registry.catalog import ModelFile, show_size
from retalk_models.registry.errors import WeightsError
from retalk_models.registry.fetch import parse_accepted, pull
from retalk_models.registry.home import is_remote, local_path
from retalk_models.registry.registry import Registry

#: Selections that go by licences and training data.
BY_TERMS = ("open-licence", "licence-clean")


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
            f"{line}\n    {entry.licence}{brought_by(entry)}"
            for entry, line in zip(entries, lines, strict=True)
        ),
    ]


def _terms(entry: ModelFile) -> str:
    """A file's licence and data, and whether they allow commercial use."""
    return (
        f"licence: {entry.licence}, commercial use: {entry.commercial}; trained on: {entry.data or 'not known'}, "
        f"commercial use: {entry.data_commercial}"
    )


def choose(args: argparse.Namespace, registry: Registry) -> list[ModelFile]:
    """The files that a `pull` is about; says which ones a selection leaves out, and why."""
    catalog = registry.catalog
    named = catalog.files_of(args.names) if args.names else None
    selection = args.select or ("all" if named else "retalk")
    if named and selection not in (*BY_TERMS, "all"):
        raise WeightsError(
            f"name files or select {selection!r}, not both ({' and '.join(BY_TERMS)} can be combined with names)"
        )
    keep, left_out = catalog.select(selection, named)
    if selection in BY_TERMS:
        for entry in left_out:
            print(f"left out: {entry.file} ({_terms(entry)}). Without it: no {entry.used_by}")
        for entry in keep:
            print(f"kept on its publisher's word: {entry.file} ({_terms(entry)})")
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
        f"{text}\nAccept with --accept-licences, or leave them out with --select open-licence or --without.",
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
