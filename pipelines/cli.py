"""The command line: `retalk`. Its help texts are the manual."""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import Any

from operators.media.redact import redact
from pipelines.config import UsageError
from pipelines.titles import AUDIO_RULES, LENGTH_RULES
from retalk_models.installation import explain_import_error

DESCRIPTION = """\
retalk: visual dubbing. New speech in, the same video out, with the mouths that speak it.

  retalk dub VIDEO SPEECH -o OUT.mp4       one title
  retalk run MANIFEST -o DIR               a catalogue; run it again and it goes on where it stood
  retalk submit MANIFEST -o DIR            the same on a Ray cluster
  retalk plan MANIFEST                     what a run would do, and the problems it would meet
  retalk status DIR                        how a run stands
  retalk report DIR                        what it has done and cost, beside the forecast
  retalk profile -o PROFILE.yaml           measure the stages on this machine
  retalk stages                            the stages of an engine, with the columns they read and write
  retalk models                            weights of the networks

All paths may be fsspec URLs (s3://, gs://, file://, ...). Exit codes: 0 all done; 3 some titles failed, and which and why is printed and
in the ledger; 2 wrong usage, nothing has run; 130 interrupted."""

#: Entry points of further commands: functions that add a parser to argparse's subparsers.
COMMANDS = "retalk.commands"

MANIFEST_HELP = """\
A manifest is JSON lines, CSV or Parquet. A row: id, video, speech, output, and optionally face, length, audio, language and any option of a
stage ("speak.lag": 0.04, see `retalk stages`). Several dubs of one video: id, video, dubs: [{language, speech, output}, ...]; the
video is analysed once. speech is any file with an audio stream. Relative inputs lie in the manifest's folder or the working directory,
relative outputs in DIR. A title that cannot be dubbed (missing or damaged file, no face, silent speech ...) is a failed row of the ledger;
the others finish."""

LENGTH_HELP = """\
when speech and video differ in length. keep (default): the video's length; longer speech is cut (and it is said), after shorter speech
the video keeps its own mouth. trim: ends with the shorter of both. freeze, loop, pingpong: a shorter video is extended by holding its last
frame, starting again, or running back and forth. A still picture is always held for the speech"""

FACE_HELP = """\
whom to dub where several people are seen: largest (default), left, right, a number counted from the left (0 is the first), or a picture of
the person (REFERENCE.jpg)"""

PLAN_HELP = """\
Probes every title, looks for shots and faces, and prints segments and problems. With rates (`retalk profile` measures them and writes them
into a profile; else those of earlier runs in DIR) it forecasts CPU-hours, GPU-hours and the time, and with the price of a node-hour in the
profile (nodes: [{name, cpus, gpus, min, max, price}]) the money. Without rates it says that they are unknown."""

STATUS_HELP = """\
From the run directory alone: works from any machine that sees it, while a run is going on (its figures are at most 5 s old) and after it.
Says which titles are done, failed, running and waiting, frames per second, the time left, and how busy each stage is: "busy 3.2 of 8" is
the work of 3.2 actors of a pool of at most 8. A run that died (its last heartbeat is old, or its process is gone) is said to have.
Exit code 3 if titles have failed."""

REPORT_HELP = """\
Seconds, CPU- and GPU-hours of each stage, node-hours and money, beside the forecast that `retalk plan MANIFEST -o DIR` made, and failed
titles grouped by reason. Printed as Markdown, and kept in DIR/report/report.md and report.json. Exit code 3 if titles have failed."""

PROFILE_HELP = """\
Runs each stage of the engine in a process of its own on the beginning of a video, at full and at half size, and writes a profile for this
machine: pools by work and memory, the object store, and the rates that `retalk plan` forecasts with. The reasons stand in it as comments.
Takes a minute or a few on an otherwise idle machine; give footage of your own kind for rates that hold for it."""

AUDIO_HELP = """\
replace (default): the speech takes the place of the video's first audio track; add: it is added; keep: the video's audio stays as it is"""


def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    top = argparse.ArgumentParser(prog="retalk", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_dub(commands)
    _add_run(commands)
    _add_plan(commands)
    _add_status(commands)
    _add_report(commands)
    _add_profile(commands)
    _add_stages(commands)
    if importlib.util.find_spec("pipelines.models_cli") is not None:
        from pipelines import models_cli

        models_cli.add_parser(commands)
    # Commands of packages to the right of this one, which must not be imported by name: `cluster` brings submit.
    # Every distribution is asked: `entry_points(group=...)` stops at the first of a name, which in a checkout may be an old egg-info.
    found = {entry.name: entry for one in importlib.metadata.distributions() for entry in one.entry_points.select(group=COMMANDS)}
    for name in sorted(found):
        found[name].load()(commands)
    return top


def _command(commands: Any, name: str, summary: str, text: str) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.\n\n{text}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return made


def _add_title_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--face", default="largest", metavar="WHO", help=FACE_HELP)
    command.add_argument("--length", default="keep", choices=LENGTH_RULES, help=LENGTH_HELP)
    command.add_argument("--audio", default="replace", choices=AUDIO_RULES, help=AUDIO_HELP)
    command.add_argument(
        "--language", default="", metavar="CODE", help="language of the speech (ISO 639-2 such as deu), written into the output"
    )


def _add_guards(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--root",
        action="append",
        default=[],
        metavar="URL",
        help="paths of the manifest must lie in this folder (outputs in the run directory too), symlinks and .. followed; may be repeated. "
        "A title that names another place fails, and nothing of it is opened. For manifests that somebody else has written",
    )
    command.add_argument(
        "--limit",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        dest="limits",
        help="a limit in place of the profile's: max_megapixels (of a picture, 36), max_hours (of a video or speech, 12), max_gib (of a "
        "file, 512); may be repeated. A title beyond it fails with its reason",
    )


def _add_engine_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--engine",
        default="auto",
        help="exemplar: re-uses the mouths the footage shows, no weights needed; retalk: the networks; "
        "auto (default): retalk where it can run, else exemplar; or the path of an engine's .yaml file",
    )
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="STAGE.OPTION=VALUE",
        dest="settings",
        help="an option of a stage, as `retalk stages --engine ENGINE --options` lists them; may be repeated",
    )


def _add_run_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--profile",
        default="laptop",
        help="how much of what runs at once: laptop (default), node-8gpu, autoscaling, or the path of a .yaml file",
    )
    command.add_argument(
        "--cache",
        metavar="URL",
        help="folder where analysis (shots, faces, landmarks) is kept for later runs, such as one that adds a language; several runs may "
        "share it. Default: the run directory (retalk dub: nowhere); delete its analysis/ to be rid of it. Size: docs/architecture.md",
    )
    command.add_argument("--no-cache", action="store_true", help="keep and use no analysis")
    _add_guards(command)
    command.add_argument("--no-ray", action="store_true", help="run in a plain loop in this process: slower, same bytes, easy to debug")
    command.add_argument("--keep-segments", action="store_true", help="keep the encoded segments after a title is assembled")
    command.add_argument("--quiet", action="store_true", help="show no progress")
    command.add_argument("--verbose", action="store_true", help="show what the workers print, and tracebacks of failed titles")


def _add_dub(commands: Any) -> None:
    command = _command(
        commands,
        "dub",
        "dub one video",
        "Work is kept beside OUT (.NAME.retalk) until OUT is there: interrupted, the same command goes on where it stood.",
    )
    command.add_argument("video", metavar="VIDEO", help="the video (any format that FFmpeg reads)")
    command.add_argument("speech", metavar="SPEECH", help="the new speech: any file with an audio stream, a video included")
    command.add_argument("-o", "--output", required=True, metavar="OUT", help="the result: .mp4, .mkv or .mov")
    _add_title_options(command)
    _add_engine_options(command)
    _add_run_options(command)
    command.set_defaults(run=_dub)


def _add_run(commands: Any) -> None:
    command = _command(commands, "run", "dub a catalogue", MANIFEST_HELP)
    add_run_arguments(command)
    command.set_defaults(run=_run)


def add_run_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of `retalk run`, which `retalk submit` takes too."""
    command.add_argument("manifest", metavar="MANIFEST", help="the catalogue: .jsonl, .csv or .parquet")
    command.add_argument(
        "-o", "--output", required=True, metavar="DIR", help="run directory: relative outputs, ledger.jsonl, ledger.parquet, state"
    )
    command.add_argument(
        "--allow-failures",
        action="store_true",
        help="exit code 0 also where titles have failed: for schedulers that would run everything again; the ledger says which and why",
    )
    _add_title_options(command)
    _add_engine_options(command)
    _add_run_options(command)


def _add_plan(commands: Any) -> None:
    command = _command(commands, "plan", "show what a run would do, and what it would cost", f"{PLAN_HELP}\n\n{MANIFEST_HELP}")
    command.add_argument("manifest", metavar="MANIFEST", help="the catalogue: .jsonl, .csv or .parquet")
    command.add_argument(
        "-o",
        "--output",
        metavar="DIR",
        help="run directory of the run that is thought of: what it has done already is left out, and the forecast is kept there for "
        "`retalk report`",
    )
    command.add_argument(
        "--profile",
        action="append",
        metavar="PROFILE",
        help="forecast for laptop (default), node-8gpu, autoscaling or a .yaml file; may be repeated: segments are those of the first",
    )
    command.add_argument("--json", action="store_true", help="for machines: one JSON object with titles, problems, work and forecasts")
    _add_guards(command)
    _add_title_options(command)
    _add_engine_options(command)
    command.set_defaults(run=_plan)


def _add_status(commands: Any) -> None:
    command = _command(commands, "status", "show how a run stands", STATUS_HELP)
    command.add_argument("directory", metavar="DIR", help="the run directory, any fsspec URL")
    command.add_argument("--watch", action="store_true", help="look again every 5 s until the run ends")
    command.add_argument("--json", action="store_true", help="for machines: one JSON object a line, failed records included")
    command.set_defaults(run=_status)


def _add_report(commands: Any) -> None:
    command = _command(commands, "report", "show what a run has done and cost", REPORT_HELP)
    command.add_argument("directory", metavar="DIR", help="the run directory, any fsspec URL")
    command.add_argument("--json", action="store_true", help="print report.json")
    command.set_defaults(run=_report)


def _add_profile(commands: Any) -> None:
    command = _command(commands, "profile", "measure the stages on this machine, and write a profile", PROFILE_HELP)
    command.add_argument("-o", "--output", required=True, metavar="PROFILE.yaml", help="the profile to write; its name is the profile's")
    command.add_argument("--video", help="footage to measure on, like your own (default: the demo's, enlarged)")
    command.add_argument("--speech", help="its new speech")
    command.add_argument("--seconds", type=float, default=8.0, help="how much of the video's beginning is used (default: 8)")
    command.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto (default): cuda where torch sees a GPU")
    command.add_argument("--quiet", action="store_true", help="show no progress")
    _add_engine_options(command)
    command.set_defaults(run=_profile)


def _add_stages(commands: Any) -> None:
    command = _command(
        commands, "stages", "list an engine's stages", "One Markdown table: what each stage reads, writes and needs around a segment."
    )
    _add_engine_options(command)
    command.add_argument("--options", action="store_true", help="list the stages' options with their values instead")
    command.set_defaults(run=_stages)


def settings(texts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """``["speak.lag=0.04"]`` as ``{"speak": {"lag": "0.04"}}``.

    Raises:
        UsageError: one has another form.
    """
    found: dict[str, dict[str, Any]] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        stage, dot, option = key.strip().partition(".")
        if not (equals and dot and stage and option):
            raise UsageError(f"--set {text}: must be STAGE.OPTION=VALUE")
        found.setdefault(stage, {})[option] = value.strip()
    return found


def limits(texts: Sequence[str]) -> dict[str, str]:
    """``["max_hours=20"]`` as ``{"max_hours": "20"}``.

    Raises:
        UsageError: one has another form.
    """
    for text in texts:
        if "=" not in text:
            raise UsageError(f"--limit {text}: must be NAME=VALUE")
    return {name.strip(): value.strip() for name, _, value in (text.partition("=") for text in texts)}


def _guards(args: argparse.Namespace) -> dict[str, Any]:
    return {"roots": args.root, "limits": limits(args.limits)}


def _defaults(args: argparse.Namespace) -> dict[str, Any]:
    return {name: getattr(args, name) for name in ("face", "length", "audio", "language")}


def _common(args: argparse.Namespace) -> dict[str, Any]:
    return {
        "engine": args.engine,
        "profile": args.profile,
        "options": settings(args.settings),
        "defaults": _defaults(args),
        "ray": not args.no_ray,
        "keep_segments": args.keep_segments,
        "progress": None if args.quiet else sys.stderr,
        "verbose": args.verbose,
        **_guards(args),
        "cache": False if args.no_cache else args.cache,
    }


def _dub(args: argparse.Namespace) -> int:
    from pipelines.commands import dub_one

    return dub_one(args.video, args.speech, args.output, **_common(args))


def _run(args: argparse.Namespace) -> int:
    from pipelines.commands import run_catalogue

    code = run_catalogue(args.manifest, args.output, **_common(args))
    return 0 if code == 3 and args.allow_failures else code


def _plan(args: argparse.Namespace) -> int:
    from pipelines.plan_command import show_plan

    profiles = args.profile or ["laptop"]
    chosen = settings(args.settings)
    return show_plan(args.manifest, args.output, args.engine, profiles, chosen, _defaults(args), args.json, **_guards(args))


def _status(args: argparse.Namespace) -> int:
    from pipelines.status import show_status

    return show_status(args.directory, args.json, args.watch)


def _report(args: argparse.Namespace) -> int:
    from pipelines.report import show_report

    return show_report(args.directory, args.json)


def _profile(args: argparse.Namespace) -> int:
    from pipelines.profile_command import write_profile

    chosen = settings(args.settings)
    return write_profile(args.output, args.engine, chosen, args.video, args.speech, args.seconds, args.device, args.quiet)


def _stages(args: argparse.Namespace) -> int:
    from pipelines.commands import show_stages

    return show_stages(args.engine, settings(args.settings), args.options)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the console script `retalk`."""
    args = parser().parse_args(arguments)
    # A job scheduler ends runs by SIGTERM: treated as Ctrl-C, so that Ray is shut down and the lock released.
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return int(args.run(args) or 0)
    except KeyboardInterrupt:
        print("interrupted: run the same command again, it goes on where it stood", file=sys.stderr)
        return 130
    except UsageError as problem:
        print(f"retalk {args.command}: {problem}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        return 0
    except ImportError as problem:
        text = explain_import_error(problem)
        print(f"retalk {args.command}: {text}" if text else redact(traceback.format_exc()), file=sys.stderr)
        return 2 if text else 1
    except Exception:  # a mistake of ours: told in full, but for secrets that a library may have put into its words
        print(redact(traceback.format_exc()), file=sys.stderr)
        return 1
    finally:
        signal.signal(signal.SIGTERM, previous)


if __name__ == "__main__":
    sys.exit(main())
