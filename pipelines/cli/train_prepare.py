"""`retalk train prepare`: raw videos to a data set for training."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import nullcontext
from typing import Any

from pipelines.cli.arguments import Parser
from pipelines.cli.options import add_messages
from pipelines.errors import DONE, FAILED, UsageError
from pipelines.manifest.titles import RUNNERS

#: Kinds of data; `pipelines.training.data.sources.KINDS`, which is not imported for the help text alone.
KINDS = ("folder", "lrs2", "lrs3", "voxceleb", "hdtf", "manifest")
#: Shards from which on Ray is started, where `--runner auto` decides.
SHARDS_FOR_RAY = 3

SUMMARY = "make a data set for training of raw videos"
TEXT = """\
Find the faces of videos by the stages of dubbing, bring picture and sound into step, cut clips, and write them as Parquet shards
with splits by identity, statistics and a contact sheet. Clips out of sync, without a usable face, too small or twice there are left
out, with reasons and counts (docs/training-data.md).

Interrupt it and run the same command again: finished shards are kept.

Nothing is downloaded: data sets are read from your own copy and keep their own terms."""
EXAMPLES = """\
Examples:

  retalk train prepare talks/ -o data/
  retalk train prepare /data/mvlrs_v1 --kind lrs2 --list train.txt -o s3://bucket/lrs2
  retalk train prepare /data/HDTF --kind hdtf -o hdtf/ --faces 384
  retalk train prepare people.csv -o data/           # columns video and, if known, id, identity, audio, start, stop

Exit codes: 0 there are clips; 2 wrong usage, nothing was done; 3 no clip is left."""


def add_prepare(parts: Any) -> None:
    """Add the command to the subparsers of `retalk train`."""
    command: Parser = parts.add_parser("prepare", help=SUMMARY, description=TEXT, epilog=EXAMPLES)
    add_prepare_arguments(command)
    command.set_defaults(run=prepare_command)


def add_prepare_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `retalk train prepare`."""
    command.add_argument("source", metavar="DATA", help="folder of videos, or a manifest; any fsspec URL")
    command.add_argument(
        "-o", "--output", required=True, metavar="DIR", help="folder of the data set, any fsspec URL"
    )
    group = command.add_argument_group("videos")
    group.add_argument(
        "--kind",
        choices=KINDS,
        default="",
        help="how DATA is laid out (default: manifest for .csv, .tsv, .jsonl and .parquet, else folder)",
    )
    group.add_argument(
        "--list",
        default="",
        metavar="FILE",
        dest="list_file",
        help="of LRS2 and LRS3: clips to use, ID/CLIP a line",
    )
    group.add_argument(
        "--annotations",
        default="",
        metavar="FOLDER",
        help="of HDTF: its annotation files; without them every .mp4 in DATA is a clip",
    )
    group.add_argument(
        "--people",
        choices=("auto", "given", "faces"),
        default="auto",
        help="who is one identity: by names (given), or also videos that show the same face (faces; auto for folders and manifests)",
    )
    _add_clips(command)
    group = command.add_argument_group("execution")
    group.add_argument("--per-shard", type=int, default=8, metavar="N", help="videos of a shard (default: 8)")
    group.add_argument(
        "--runner",
        choices=RUNNERS,
        default="auto",
        help=f"ray, local (this process), or auto (default): Ray for {SHARDS_FOR_RAY} shards or more",
    )
    group.add_argument(
        "--workers", type=int, default=0, metavar="N", help="workers on Ray (default: one a CPU)"
    )
    group.add_argument("--dry-run", action="store_true", help="show the videos that were found; do nothing")
    output = command.add_argument_group("messages")
    output.add_argument(
        "--json", action="store_true", help="print one JSON object on stdout, and nothing else"
    )
    output.add_argument("--log-file", metavar="FILE", help="append a full log to FILE")
    add_messages(output, "also show what the workers print")


def _add_clips(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("clips")
    group.add_argument(
        "--heads",
        type=int,
        default=256,
        metavar="PIXELS",
        help="side of the head crops (dnet, talkin: 256, the default); 0: none",
    )
    group.add_argument(
        "--faces",
        type=int,
        default=96,
        metavar="PIXELS",
        help="side of the face crops (sync, lnet: 96, the default; enet: 384); 0: none",
    )
    group.add_argument(
        "--seconds",
        type=float,
        nargs=2,
        default=(1.0, 5.0),
        metavar=("LEAST", "MOST"),
        help="length of a clip (default: 1 5)",
    )
    group.add_argument(
        "--least-face",
        type=float,
        default=48.0,
        metavar="PIXELS",
        help="width of a face in the video, from ear to ear, below which it is too small (default: 48)",
    )
    group.add_argument(
        "--sync",
        choices=("auto", "expert", "landmarks", "off"),
        default="auto",
        help="what measures the offset of sound and picture: SyncNet (expert), or the opening of the mouth (landmarks); auto (default): "
        "the expert where its weights are here",
    )
    group.add_argument(
        "--keep-out-of-sync", action="store_true", help="keep clips that follow their sound at no offset"
    )
    group.add_argument(
        "--coefficients",
        choices=("auto", "on", "off"),
        default="auto",
        help="3DMM coefficients (dnet needs them); auto (default): where the weights are here",
    )
    group.add_argument(
        "--weights",
        default="",
        metavar="HOME",
        help="home of other model files for these two (its folder models) than the official ones",
    )
    group.add_argument(
        "--validation", type=float, default=0.05, metavar="SHARE", help="identities held out (default: 0.05)"
    )
    group.add_argument(
        "--test",
        type=float,
        default=0.05,
        metavar="SHARE",
        help="identities held out for a test (default: 0.05)",
    )
    group.add_argument("--seed", type=int, default=0, help="of the splits (default: 0)")


def prepare_command(args: argparse.Namespace) -> int:
    """Handle a parsed command; returns the exit code."""
    from pipelines.monitoring.command_log import command_log
    from pipelines.monitoring.progress import Progress

    with command_log(args.log_file), Progress(None if args.quiet else sys.stderr) as shown:
        shown.phase("looking for videos")
        from pipelines.training.data.sources import find_sources

        kind = args.kind or ""
        found = find_sources(args.source, kind, args.list_file, args.annotations)
        settings = _settings(args)
        if args.dry_run:
            shown.close()
            return _dry_run(args, found)
        statistics = _prepare(args, found, settings, shown)
        shown.close()
    from operators.storage.files import join

    code = DONE if statistics["clips"] else FAILED
    if args.json:
        listed = {"not_listed": dict(found.listing.left_out)}
        print(json.dumps({"exit_code": code, "directory": args.output, **statistics, **listed}))
        return code
    for line in found.listing.words():
        print(line)
    for reason, one in statistics["left_out"].items():
        print(f"{one['count']} left out: {reason} ({one['seconds']:.0f} s)")
    held = statistics["splits"]["validation"]["identities"] + statistics["splits"]["test"]["identities"]
    print(
        f"{statistics['clips']} clips, {statistics['seconds']:.0f} s, of {statistics['identities']} identities; {held} held out"
    )
    print(join(args.output, "statistics.md"))
    return code


def _settings(args: argparse.Namespace) -> Any:
    from operators.storage.files import is_url, local_path, suffix
    from pipelines.training.data.sources import MANIFESTS
    from pipelines.training.data.store import Settings

    least, most = args.seconds
    if not 0.2 <= least <= most:
        raise UsageError("--seconds: LEAST must be 0.2 or more, and MOST no less")
    if most > 60:
        raise UsageError("--seconds: MOST must be 60 or less: a clip's pictures are held in memory")
    for name, low, high in (("heads", 32, 1024), ("faces", 32, 1024)):
        if getattr(args, name) and not low <= getattr(args, name) <= high:
            raise UsageError(f"--{name}: must be 0 or from {low} to {high}")
    if not args.heads and not args.faces:
        raise UsageError("--heads 0 --faces 0: a data set needs pictures")
    if args.per_shard < 1 or args.workers < 0:
        raise UsageError("--per-shard: must be 1 or more; --workers: 0 or more")
    if args.validation < 0 or args.test < 0 or args.validation + args.test > 0.9:
        raise UsageError("--validation, --test: must be 0 or more, and together 0.9 or less")
    weights = args.weights
    if weights and not is_url(weights):
        weights = str(local_path(weights).absolute())  # type: ignore[union-attr]
    people = args.people
    if people == "auto":
        plain = args.kind in ("folder", "manifest") or not args.kind
        people = "faces" if plain or suffix(args.source) in MANIFESTS else "given"
    return Settings(
        heads=args.heads,
        faces=args.faces,
        least_seconds=least,
        most_seconds=most,
        least_face=args.least_face,
        sync=args.sync,
        keep_out_of_sync=args.keep_out_of_sync,
        people=people,
        coefficients=args.coefficients,
        weights=weights,
        sources_per_shard=args.per_shard,
        validation=args.validation,
        test=args.test,
        seed=args.seed,
    )


def _prepare(args: argparse.Namespace, found: Any, settings: Any, shown: Any) -> dict[str, Any]:
    from operators.storage.files import is_url, local_path
    from pipelines.training.data.prepare import prepare, shards

    url = args.output if is_url(args.output) else str(local_path(args.output).absolute())  # type: ignore[union-attr]
    many = len(shards(found.sources, settings)) >= SHARDS_FOR_RAY
    runner = args.runner if args.runner != "auto" else "ray" if many else "local"
    if runner == "ray":
        from pipelines.execution.ray_session import ray_session

        session: Any = ray_session(None, args.verbose)
    else:
        session = nullcontext()
    shown.phase("preparing")
    with session:
        return prepare(found.sources, url, settings, runner, args.workers, shown.phase)


def _dry_run(args: argparse.Namespace, found: Any) -> int:
    identities = len({source.identity for source in found.sources})
    if args.json:
        print(
            json.dumps(
                {
                    "dry_run": True,
                    "videos": len(found.sources),
                    "identities": identities,
                    "not_listed": dict(found.listing.left_out),
                    "exit_code": DONE,
                }
            )
        )
        return DONE
    print(f"{len(found.sources)} videos of {identities} identities by name")
    for source in found.sources[:5]:
        print(f"  {source.name}: {source.identity}")
    for line in found.listing.words():
        print(line)
    return DONE
