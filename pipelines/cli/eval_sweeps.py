"""`retalk eval lrs2|lrs3|lrw|hdtf|pairs|score`: sweeps over data sets."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from typing import Any

from pipelines.cli.arguments import Parser
from pipelines.cli.eval_texts import COMMON, EXAMPLES, EXIT_CODES, LISTS, SUMMARY, TEXTS
from pipelines.cli.help_texts import RUNNER_HELP
from pipelines.cli.options import add_messages, settings
from pipelines.errors import DONE, FAILED, USAGE, UsageError
from pipelines.manifest.titles import RUNNERS

#: Protocol of LSE-D and LSE-C of each kind of data, unless another is asked for.
LSE_DEFAULT = {**dict.fromkeys(LISTS, "lrs"), "hdtf": "tracked", "pairs": "tracked", "score": "tracked"}
LENGTHS = ("trim", "keep")
#: Pairs that a dry run shows.
SHOWN = 5


def add_sweeps(parts: Any) -> None:
    """Add the commands to the subparsers of `retalk eval`."""
    for data, summary in SUMMARY.items():
        command: Parser = parts.add_parser(
            data,
            help=summary,
            description=f"{TEXTS[data]}\n\n{COMMON}",
            epilog=f"Examples:\n\n{EXAMPLES[data]}\n\n{EXIT_CODES}",
        )
        add_sweep_arguments(command, data)
        command.set_defaults(run=sweep_command, data=data)


def add_sweep_arguments(command: argparse.ArgumentParser, data: str) -> None:
    """Add the arguments of a sweep, which `retalk submit eval` takes too."""
    if data in ("pairs", "score"):
        command.add_argument("manifest", metavar="MANIFEST", help=".jsonl, .csv, .tsv or .parquet")
    else:
        command.add_argument(
            "--root", required=True, metavar="FOLDER", help="the data set's folder, any fsspec URL"
        )
    if data in LISTS:
        command.add_argument(
            "--list",
            required=True,
            metavar="FILE",
            dest="list_file",
            help="the list of pairs, any fsspec URL",
        )
    if data == "hdtf":
        command.add_argument(
            "--annotations",
            metavar="FOLDER",
            help="HDTF's annotation files; without them every .mp4 in ROOT is a clip",
        )
        command.add_argument(
            "--seconds",
            type=float,
            default=20.0,
            help="clips are cut to this length (default: 20, as in the paper)",
        )
    command.add_argument(
        "-o", "--output", required=True, metavar="DIR", help="folder of the sweep, any fsspec URL"
    )
    group = command.add_argument_group("sweep")
    if data == "score":
        group.add_argument(
            "--name", default="theirs", help="name of the system that made the videos (default: theirs)"
        )
        group.add_argument(
            "--with-source",
            action="store_true",
            help="score the source videos too, for the row of the truth and for FID",
        )
    else:
        group.add_argument(
            "--systems",
            default="exemplar,source",
            metavar="NAMES",
            help="engines with commas (exemplar, retalk, wav2lip, the path of a .yaml file), variants (retalk:no-dnet, retalk:no-enet, "
            "retalk:lnet), and source, the undubbed video with its own sound (default: exemplar,source)",
        )
        group.add_argument(
            "--length",
            choices=LENGTHS,
            default="trim",
            help="trim (default): a dub ends with its sound; keep: with its video",
        )
    group.add_argument(
        "--protocol",
        choices=("cross", "reconstruction"),
        default="cross",
        help="cross (default): the pair's sound; reconstruction: each video with its own sound, so that the source is the truth"
        if data != "score"
        else "reconstruction: the source is the truth, frame by frame (default: cross)",
    )
    group.add_argument(
        "--metrics",
        default="usual",
        metavar="NAMES",
        help="names with commas (`retalk stages --list` shows them, and fid), or usual (default): those of the literature for the protocol",
    )
    group.add_argument(
        "--lse-protocol",
        default=LSE_DEFAULT[data],
        choices=("lrs", "tracked", "latentsync"),
        help=f"how LSE-D and LSE-C are measured (default: {LSE_DEFAULT[data]}); protocols give different numbers",
    )
    group.add_argument(
        "--metric-weights",
        default="",
        metavar="HOME",
        help="home of other model files for the metrics than the official ones (its folder models); results are marked",
    )
    group.add_argument("--limit", type=_positive, metavar="N", help=_limit_help(data))
    group.add_argument(
        "--seeds",
        type=int,
        nargs="+",
        action="extend",
        default=[],
        metavar="SEED",
        help="draw the pairs at random once for each seed; of lists, --limit pairs each",
    )
    group.add_argument(
        "--shard",
        default="1/1",
        metavar="I/N",
        help="work on the I-th of N parts; several commands may share DIR",
    )
    group.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="STAGE.OPTION=VALUE",
        dest="settings",
        help="set an option of a stage, in the systems that have the stage; may be repeated",
    )
    group.add_argument(
        "--allow-failures", action="store_true", help="exit with code 0 even if pairs were not scored"
    )
    _add_execution(command)


def _limit_help(data: str) -> str:
    return (
        "number of pairs (default: 100)"
        if data == "hdtf"
        else "the first N pairs only, or with --seeds N at random"
    )


def _add_execution(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("execution")
    group.add_argument(
        "--profile",
        default="laptop",
        help="how many workers of which size: laptop (default), node-8gpu, autoscaling, or the path of a profile's .yaml file",
    )
    group.add_argument("--runner", choices=RUNNERS, default="auto", help=RUNNER_HELP)
    cache = group.add_mutually_exclusive_group()
    cache.add_argument(
        "--cache",
        metavar="URL",
        help="folder of the analysis cache, which other sweeps may share (default: in DIR)",
    )
    cache.add_argument("--no-cache", action="store_true", help="neither keep nor use analysis")
    group.add_argument(
        "--dry-run",
        action="store_true",
        help="show pairs, systems and metrics, and what would be missing; do nothing",
    )
    output = command.add_argument_group("messages")
    output.add_argument(
        "--json", action="store_true", help="print one JSON object on stdout, and nothing else"
    )
    output.add_argument("--log-file", metavar="FILE", help="append a full log to FILE")
    add_messages(output, "also show what the workers print")


def _positive(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be a whole number from 1 on")
    return number


def sweep_command(args: argparse.Namespace) -> int:
    """Handle a parsed sweep; returns the exit code."""
    from pipelines.monitoring.command_log import command_log
    from pipelines.monitoring.progress import Progress

    with command_log(args.log_file), Progress(None if args.quiet else sys.stderr) as shown:
        shown.phase("reading the list")
        spec = _spec(args)
        if args.dry_run:
            shown.close()
            return _dry_run(args, spec)
        if not spec.pairs:
            raise UsageError(
                "there are no pairs to score" + "".join(f"\n{line}" for line in spec.listing.words())
            )
        from pipelines.evaluation.spec import Execution
        from pipelines.evaluation.sweep import run_sweep, scored_words

        execution = Execution(
            runner=args.runner,
            profile=args.profile,
            cache=False if args.no_cache else args.cache,
            verbose=args.verbose,
        )
        outcome = run_sweep(spec, execution, shown)
        shown.phase("drawing tables and plots")
        from operators.storage.files import join
        from pipelines.evaluation.results.write import write_results

        notes = write_results(outcome.directory)
        shown.close()
    for note in notes:
        print(f"retalk eval: note: {note}", file=sys.stderr)
    table = join(outcome.directory, "table.md")
    code = outcome.exit_code
    if args.json:
        failed = {system: dict(why) for system, why in outcome.failed.items()}
        print(
            json.dumps(
                {
                    "exit_code": code,
                    "directory": outcome.directory,
                    "attempted": outcome.attempted,
                    "left_out": dict(spec.listing.left_out),
                    "scored": outcome.scored,
                    "failed": failed,
                    "table": table,
                }
            )
        )
    else:
        for line in (*spec.listing.words(), *scored_words(outcome)):
            print(line)
        print(table)
    return DONE if code == FAILED and args.allow_failures else code


def _spec(args: argparse.Namespace) -> Any:
    """The sweep that the arguments describe; the list is read."""
    from operators.storage.files import join
    from pipelines.evaluation.measures import choose_measures
    from pipelines.evaluation.pairs import Listing, Shard
    from pipelines.evaluation.spec import SweepSpec
    from pipelines.evaluation.sweep import sweep_url
    from pipelines.evaluation.systems import SOURCE, System, parse_systems

    directory, listing, shard = sweep_url(args.output), Listing(), Shard.parse(args.shard)
    if args.data == "score":
        if args.name == SOURCE or not args.name.strip():
            raise UsageError("--name: give the system another name")
        systems = [System(args.name, None, {}), *([System(SOURCE, None, {})] if args.with_source else [])]
        if args.settings:
            raise UsageError("--set: nothing is dubbed")
    else:
        systems = parse_systems(args.systems, settings(args.settings))
    measures = choose_measures(
        args.metrics,
        args.protocol,
        args.lse_protocol,
        join(directory, "features"),
        sweep_url(args.metric_weights)
        if args.metric_weights
        else "",  # workers have other working directories
    )
    return SweepSpec(
        directory,
        args.data,
        systems,
        measures,
        _pairs(args, directory, listing, shard),
        listing,
        shard,
        getattr(args, "length", "keep"),
        {
            name: value
            for name, value in sorted(vars(args).items())
            if name not in ("run", "command", "eval_command")
        },
        sys.argv,
    )


def _pairs(args: argparse.Namespace, directory: str, listing: Any, shard: Any) -> list[Any]:
    """Pairs of the whole sweep."""
    from pipelines.evaluation import lists
    from pipelines.evaluation.pairs import drawn, reconstructed, without_repeats

    if args.data == "hdtf":
        return _hdtf(args, directory, listing, shard)
    found: Iterator[Any]
    if args.data in LISTS:
        found = lists.pairs_of_list(args.list_file, lists.folder_url(args.root), listing)
    elif args.data == "pairs":
        found = lists.pairs_of_manifest(args.manifest, listing)
    else:
        found = lists.results_of_manifest(args.manifest, listing)
    found = without_repeats(found, listing)
    if args.protocol == "reconstruction" and args.data != "score":
        found = reconstructed(found, listing)
    return drawn(found, args.limit, args.seeds)


def _hdtf(args: argparse.Namespace, directory: str, listing: Any, shard: Any) -> list[Any]:
    from operators.storage.files import join
    from pipelines.evaluation import hdtf, lists

    if not args.seconds > 0:
        raise UsageError("--seconds: must be more than 0")
    root = lists.folder_url(args.root)
    if args.annotations:
        clips = list(hdtf.annotated_clips(root, hdtf.read_annotations(args.annotations, listing), listing))
    else:
        clips = list(hdtf.ready_clips(root))
        listing.lines += len(clips)
    drawn = hdtf.pair_clips(clips, args.protocol, args.limit, args.seeds)
    cutter = hdtf.Cutter(join(directory, "clips"), args.seconds)
    return hdtf.pairs_of_hdtf(drawn, cutter, listing, shard, cut=not args.dry_run)


def _dry_run(args: argparse.Namespace, spec: Any) -> int:
    """Show what a sweep would do."""
    from pipelines.evaluation.sweep import missing_words
    from pipelines.evaluation.systems import check_systems, system_digests

    missing = spec.measures.missing()
    lines = [
        f"{spec.data}, protocol {spec.measures.protocol}: {len(spec.pairs)} pairs, of them {len(spec.mine)} in shard "
        f"{spec.shard.number}/{spec.shard.of}"
    ]
    lines += [*spec.listing.words(), *spec.listing.notes]
    lines += [f"  {pair.id}: {pair.output or pair.video} with {pair.audio}" for pair in spec.mine[:SHOWN]]
    wrong = ""
    try:
        check_systems(spec.systems)
        lines += [f"system {one.name}: model files: {system_digests(one)[1]}" for one in spec.systems]
    except UsageError as problem:
        wrong = str(problem)
    lines.append(f"metrics: {', '.join(name for name in spec.measures.names if name not in missing)}")
    lines += missing_words(missing)
    lines.append(f"LSE protocol: {spec.measures.lse_protocol}; results in {spec.directory}")
    if args.json:
        print(
            json.dumps(
                {
                    "dry_run": True,
                    "pairs": len(spec.pairs),
                    "shard": len(spec.mine),
                    "left_out": dict(spec.listing.left_out),
                    "missing": missing,
                    "error": wrong,
                    "exit_code": USAGE if wrong else DONE,
                }
            )
        )
        return USAGE if wrong else DONE
    print("\n".join(lines))
    if wrong:
        raise UsageError(wrong)
    return DONE
