"""The command line: `retalk`. Its help texts are the manual (`pipelines.cli.help_texts`)."""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import sys

if __name__ == "__main__":  # before the imports below: it checks that their packages are ours
    from retalk_cli import main as checked

    raise SystemExit(checked())

from collections.abc import Sequence
from typing import Any

from operators.media.reading import reads_told_to
from pipelines.cli import help_texts
from pipelines.cli.arguments import Parser, ShowVersion
from pipelines.cli.bom import add_parser as add_bom
from pipelines.cli.completion import add_parser as add_completion
from pipelines.cli.endings import check_texts, lost, told
from pipelines.cli.eval import add_parser as add_eval
from pipelines.cli.faces import add_parser as add_faces
from pipelines.cli.foreign_commands import add_foreign_commands
from pipelines.cli.interruption import Interruption, last_line, say_interrupted
from pipelines.cli.options import (
    add_engine_options,
    add_guards,
    add_messages,
    add_run_options,
    add_title_options,
    defaults,
    guards,
    label,
    rights,
    run_options,
    settings,
    watermark,
)
from pipelines.cli.provenance import add_parser as add_provenance
from pipelines.cli.provenance import add_provenance_options, provenance
from pipelines.cli.speech_options import add_speech, speakers
from pipelines.cli.stages import add_parser as add_stages
from pipelines.cli.train import add_parser as add_train
from pipelines.cli.verify import add_parser as add_verify
from pipelines.errors import INTERRUPTED
from pipelines.monitoring.supervision import supervised, tell_reading


def parser() -> Parser:
    """The parser of all commands."""
    top = Parser(prog="retalk", description=help_texts.TOP, epilog=help_texts.TOP_EXAMPLES)
    top.add_argument(
        "--version", action=ShowVersion, nargs=0, dest=argparse.SUPPRESS, help="print the version and exit"
    )
    commands = top.add_subparsers(
        dest="command", metavar="COMMAND", title="commands (retalk COMMAND --help)", prog="retalk"
    )
    _add_dub(commands)
    _add_run(commands)
    add_foreign_commands(commands)
    _add_plan(commands)
    _add_status(commands)
    _add_report(commands)
    add_verify(commands)
    add_provenance(commands)
    add_eval(commands)
    add_faces(commands)
    add_bom(commands)
    add_train(commands)
    _add_profile(commands)
    add_stages(commands)
    if importlib.util.find_spec("pipelines.cli.models") is not None:
        from pipelines.cli import models as models_cli

        models_cli.add_parser(commands)
    add_completion(commands, parser)
    return top


def _command(commands: Any, name: str, summary: str, text: str, examples: str) -> Parser:
    made: Parser = commands.add_parser(name, help=summary, description=text, epilog=examples)
    return made


def _add_dub(commands: Any) -> None:
    command = _command(commands, "dub", "dub one video", help_texts.DUB_HELP, help_texts.DUB_EXAMPLES)
    command.add_argument("video", metavar="VIDEO", help="the video (any format that FFmpeg reads)")
    add_speech(command)
    command.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="OUT",
        help="the result: .mp4, .mkv or .mov. A symlink is treated as a file, see --overwrite",
    )
    command.add_argument(
        "--dry-run",
        action="store_true",
        help="show what would be done, and do nothing; exit code 3 if it would fail",
    )
    add_title_options(command)
    add_engine_options(command)
    add_run_options(command)
    command.set_defaults(run=_dub)


def _add_run(commands: Any) -> None:
    command = _command(commands, "run", "dub a catalogue", help_texts.RUN_HELP, help_texts.RUN_EXAMPLES)
    add_run_arguments(command)
    command.set_defaults(run=_run)


def add_run_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of `retalk run`, which `retalk submit` takes too."""
    command.add_argument("manifest", metavar="MANIFEST", help="the catalogue: .jsonl, .csv, .tsv or .parquet")
    command.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="DIR",
        help="run directory: relative outputs, ledger.jsonl, ledger.parquet, state. --overwrite says what happens to a symlink",
    )
    group = command.add_argument_group("which titles")
    group.add_argument(
        "--only",
        nargs="+",
        action="extend",
        default=[],
        metavar="ID",
        help="work on these titles of the manifest only",
    )
    group.add_argument(
        "--redo",
        nargs="+",
        action="extend",
        default=[],
        metavar="ID",
        help="compute these titles again even if they are finished, and replace their outputs (analysis is taken from the cache); "
        "decisions.json, exported from the review page: the titles that are rejected in it, and no others. With --only, they must be among "
        "its titles",
    )
    group.add_argument(
        "--allow-failures",
        action="store_true",
        help="exit with code 0 even if titles have failed, for schedulers that would otherwise repeat the whole run",
    )
    add_title_options(command)
    add_engine_options(command)
    add_run_options(command)


def _add_plan(commands: Any) -> None:
    summary = "show what a run would do, and what it would cost"
    command = _command(commands, "plan", summary, help_texts.PLAN_HELP, help_texts.PLAN_EXAMPLES)
    command.add_argument("manifest", metavar="MANIFEST", help="the catalogue: .jsonl, .csv, .tsv or .parquet")
    command.add_argument(
        "-o",
        "--output",
        metavar="DIR",
        help="run directory of the planned run: what is finished there is left out, and the forecast is kept there for `retalk report`",
    )
    command.add_argument(
        "--profile",
        action="append",
        metavar="PROFILE",
        help="forecast for laptop (default), node-8gpu, autoscaling or a profile's .yaml file; may be repeated, segments are those of the "
        "first",
    )
    command.add_argument(
        "--json", action="store_true", help="print one JSON object with titles, problems, work and forecasts"
    )
    add_title_options(command)
    add_engine_options(command)
    add_guards(command)
    add_provenance_options(command)
    command.set_defaults(run=_plan)


def _add_status(commands: Any) -> None:
    command = _command(
        commands, "status", "show how a run stands", help_texts.STATUS_HELP, help_texts.STATUS_EXAMPLES
    )
    command.add_argument("directory", metavar="DIR", help="the run directory, any fsspec URL")
    command.add_argument("--watch", action="store_true", help="look again every 5 s until the run ends")
    command.add_argument(
        "--json", action="store_true", help="print one JSON object per look, failed records included"
    )
    command.set_defaults(run=_status)


def _add_report(commands: Any) -> None:
    command = _command(
        commands,
        "report",
        "show what a run has done and cost",
        help_texts.REPORT_HELP,
        help_texts.REPORT_EXAMPLES,
    )
    command.add_argument("directory", metavar="DIR", help="the run directory, any fsspec URL")
    command.add_argument(
        "--format",
        choices=("markdown", "json", "csv", "junit"),
        default="markdown",
        help="what is printed: the report (markdown, json), or the verdict on each dub (csv, junit)",
    )
    command.add_argument(
        "--json", action="store_const", const="json", dest="format", help="the same as --format json"
    )
    command.add_argument("--open", action="store_true", help="open the review page in a browser")
    command.add_argument(
        "--previews",
        action="store_true",
        help="also make small H.264 copies of all videos, which every browser plays",
    )
    command.add_argument(
        "--no-strips",
        action="store_true",
        help="draw no close-ups of the worst dubs, for which their files are read",
    )
    command.set_defaults(run=_report)


def _add_profile(commands: Any) -> None:
    summary = "measure the stages on this machine, and write a profile"
    command = _command(commands, "profile", summary, help_texts.PROFILE_HELP, help_texts.PROFILE_EXAMPLES)
    command.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="PROFILE.yaml",
        help="the profile to write; the file's name names it",
    )
    command.add_argument(
        "--video", help="footage to measure on, like your own (default: the demo's, enlarged)"
    )
    command.add_argument("--speech", help="its new speech")
    command.add_argument(
        "--seconds",
        type=float,
        default=8.0,
        help="how much of the beginning of the video is used (default: 8)",
    )
    command.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="auto (default): cuda where torch sees a GPU",
    )
    add_messages(command, "also show where an error comes from")
    add_engine_options(command)
    command.set_defaults(run=_profile)


def _dub(args: argparse.Namespace) -> int:
    from pipelines.monitoring.command_log import command_log
    from pipelines.monitoring.progress import Progress

    with command_log(args.log_file), Progress(None if args.quiet else sys.stderr) as shown:
        options = {**run_options(args), "progress": shown, **speakers(args)}  # refused before what takes long
        shown.phase("loading")
        from pipelines.cli.run import dry_run, dub_one

        if args.dry_run:
            return dry_run(args.video, args.speech, args.output, as_json=args.json, **options)
        return dub_one(args.video, args.speech, args.output, as_json=args.json, notify=args.notify, **options)


def _run(args: argparse.Namespace) -> int:
    from pipelines.monitoring.command_log import command_log
    from pipelines.monitoring.progress import Progress

    with command_log(args.log_file), Progress(None if args.quiet else sys.stderr) as shown:
        options = {**run_options(args), "progress": shown}
        shown.phase("loading")
        from pipelines.cli.run import run_catalogue
        from pipelines.review.decisions import titles_asked_for

        redo, rejected = titles_asked_for(args.redo, args.output)
        chosen = {
            "only": args.only,
            "redo": redo,
            "rejected": rejected,
            "as_json": args.json,
            "notify": args.notify,
        }
        code = run_catalogue(args.manifest, args.output, **options, **chosen)
    return 0 if code == 3 and args.allow_failures else code


def _plan(args: argparse.Namespace) -> int:
    from pipelines.cli.plan import show_plan

    profiles = args.profile or ["laptop"]
    found = {**guards(args), "rights": rights(args), "label": label(args), "provenance": provenance(args)}
    found["watermark"] = watermark(args)
    chosen = settings(args.settings)
    return show_plan(
        args.manifest, args.output, args.engine, profiles, chosen, defaults(args), args.json, **found
    )


def _status(args: argparse.Namespace) -> int:
    from pipelines.cli.status import show_status

    return show_status(args.directory, args.json, args.watch)


def _report(args: argparse.Namespace) -> int:
    from pipelines.cli.report import show_report

    return show_report(args.directory, args.format, args.open, not args.no_strips, args.previews)


def _profile(args: argparse.Namespace) -> int:
    from pipelines.cli.demo_footage import check_footage

    check_footage(
        args.output, args.video, args.speech
    )  # before the imports of what measures, which take seconds
    from pipelines.cli.profile import write_profile

    chosen = settings(args.settings)
    return write_profile(
        args.output, args.engine, chosen, args.video, args.speech, args.seconds, args.device, args.quiet
    )


def main(arguments: Sequence[str] | None = None, supervise: bool = False) -> int:
    """Entry point of the console script `retalk`.

    Args:
        arguments: None: the process's own.
        supervise: do the work of `dub` and `run` in a child of this process (`pipelines.monitoring.supervision`).
    """
    whole = parser()
    args = whole.parse_args(sys.argv[1:] if arguments is None else arguments)
    if args.command is None:
        whole.print_help()
        return 0
    if supervise and hasattr(args, "runner"):
        return supervised(lambda: _work(args), lambda ended: lost(args, ended))
    return _work(args)


def _work(args: argparse.Namespace) -> int:
    with reads_told_to(tell_reading):
        return _ended(args)


def _ended(args: argparse.Namespace) -> int:
    # A job scheduler ends runs by SIGTERM: treated as Ctrl-C, so that Ray is shut down and the lock released.
    with Interruption() as interruption:
        try:
            check_texts(args)
            code, error = int(args.run(args) or 0), ""
        except BaseException as problem:
            if isinstance(problem, KeyboardInterrupt) or interruption.asked:
                say_interrupted(last_line(args.command))
                code, error = INTERRUPTED, ""
            elif isinstance(problem, BrokenPipeError):
                return 0
            elif isinstance(problem, Exception):
                code, error = told(problem, args)
            else:
                raise
        if getattr(args, "json", False) and (error or code == INTERRUPTED):
            with contextlib.suppress(OSError):
                print(json.dumps({"exit_code": code, "error": error or "interrupted"}), flush=True)
        return code
