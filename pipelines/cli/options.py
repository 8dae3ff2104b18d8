"""Options that several commands share, in groups, and the conversion of their values."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from operators.media.label import POSITIONS
from operators.watermark.marking import LEARNED, MODES
from pipelines.cli.help_texts import (
    AUDIO_HELP,
    CODEC_HELP,
    CONSENT_HELP,
    FACE_HELP,
    LABEL_HELP,
    LENGTH_HELP,
    LOUDNESS_HELP,
    NOTIFY_HELP,
    RANGES_HELP,
    RUNNER_HELP,
)
from pipelines.cli.provenance import add_provenance_options, provenance
from pipelines.engine.foreign import foreign_engines
from pipelines.errors import UsageError
from pipelines.manifest.titles import AUDIO_RULES, LENGTH_RULES, LOW_QUALITY, PLACE_RULES, RUNNERS


def add_title_options(command: argparse.ArgumentParser) -> None:
    """Add the options that a row of a manifest may set too."""
    about = None if command.prog.endswith("dub") else "defaults for rows of the manifest"
    group = command.add_argument_group("title options", about)
    group.add_argument("--face", default="", metavar="WHO", help=FACE_HELP)
    group.add_argument("--ranges", metavar="WHEN", help=RANGES_HELP)
    group.add_argument(
        "--exclude",
        metavar="WHEN",
        help="what is not dubbed, written as for --ranges; may cut into them",
    )
    group.add_argument("--length", default="keep", choices=LENGTH_RULES, help=LENGTH_HELP)
    group.add_argument("--audio", default="replace", choices=AUDIO_RULES, help=AUDIO_HELP)
    group.add_argument("--loudness", default="off", metavar="LUFS", help=LOUDNESS_HELP)
    group.add_argument(
        "--place",
        default="track",
        choices=PLACE_RULES,
        help="where the speech is heard. track (default): its track holds it alone; centre: it takes the place of the centre channel in "
        "the video's 5.1 or 7.1 sound, whose other channels stay",
    )
    group.add_argument("--codec", default="", metavar="CODEC", help=CODEC_HELP)
    group.add_argument(
        "--crf",
        default="",
        metavar="N",
        help="constant rate factor, lower is better (default: 17; h264, hevc: 0 to 51, av1: to 63)",
    )
    group.add_argument(
        "--bitrate",
        default="",
        metavar="RATE",
        help="mean bits a second, such as 8M, in place of a constant quality",
    )
    group.add_argument(
        "--preset",
        default="",
        metavar="NAME",
        help="speed of the encoder: ultrafast, superfast ... veryslow, or auto (default): less time than superfast for about its size",
    )
    group.add_argument(
        "--language",
        default="",
        metavar="CODE",
        help="language of the speech, such as deu or de; written into the output's audio track",
    )
    group.add_argument("--consent", default="", metavar="TEXT", help=CONSENT_HELP)
    _add_rights(command)


def _add_rights(command: argparse.ArgumentParser) -> None:
    """Add the conditions on rights."""
    group = command.add_argument_group("rights", "docs/rights.md; also in a profile, under rights")
    group.add_argument(
        "--require-consent",
        action="store_true",
        help="refuse to start where a title has no consent; the rows are named",
    )
    group.add_argument(
        "--licence-clean",
        action="store_true",
        help="run only with models whose licence and training data allow commercial use; others are replaced where an option does "
        "without them, else refused by name",
    )
    group.add_argument(
        "--accept-model",
        action="append",
        default=[],
        metavar="NAME",
        help="with --licence-clean: use this model all the same, because you have the right to; may be repeated",
    )
    group = command.add_argument_group("label", "docs/rights.md; also in a profile, under label")
    group.add_argument("--label", default="", metavar="TEXT", help=LABEL_HELP)
    group.add_argument(
        "--label-position", choices=POSITIONS, help="corner or edge of the picture (default: top-left)"
    )
    group.add_argument(
        "--label-seconds",
        metavar="WHEN",
        help="all (default; cn: 5), the number of seconds from the beginning, or stretches such as 0-5,60-65",
    )
    group.add_argument(
        "--label-size",
        type=float,
        metavar="SHARE",
        help="height of the letters as a share of the picture's shorter side (default: 0.045; cn: 0.06)",
    )
    group.add_argument(
        "--label-font",
        metavar="FILE",
        help="font of the label, for letters that neither retalk's own fonts nor those of this machine have",
    )
    group.add_argument(
        "--label-producer", metavar="NAME", help="who is named as the producer in the tag of --label cn"
    )
    group = command.add_argument_group("watermark", "docs/watermark.md; also in a profile, under watermark")
    group.add_argument(
        "--watermark",
        choices=MODES,
        help="invisible marks that carry an id: on (default): in the speech and in what is drawn; frame: in the speech and the whole "
        "picture, which survives far more; off: none",
    )
    group.add_argument(
        "--watermark-strength",
        type=float,
        metavar="FACTOR",
        help="amplitude of the mark in the picture, 0.25 to 2 (default: 0.6)",
    )
    group.add_argument(
        "--watermark-key",
        metavar="FILE",
        help="file of the key (64 hexadecimal digits, readable by you alone), or env:NAME; default: a key of your own that is made once",
    )
    group.add_argument(
        "--watermark-by",
        action="append",
        choices=LEARNED,
        help="a learned mark in the place of retalk's own, where its model files are installed: audioseal in the speech, videoseal in the "
        "picture; may be given for both",
    )


def add_guards(command: argparse.ArgumentParser) -> None:
    """Add the limits for manifests and files from others."""
    group = command.add_argument_group("limits", "for manifests and files that somebody else has made")
    group.add_argument(
        "--root",
        action="append",
        default=[],
        metavar="URL",
        help="paths of the manifest must lie in this folder (outputs may also lie in the run directory), with symlinks and .. resolved; "
        "may be repeated. A title that names another place fails, and none of its files is opened",
    )
    group.add_argument(
        "--limit",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        dest="limits",
        help="a limit that replaces the profile's: max_megapixels (of a picture, 36), max_hours (of a video or speech, 12), max_gib (of a "
        "file, 512); may be repeated. A title beyond it fails with its reason",
    )


def add_engine_options(command: argparse.ArgumentParser) -> None:
    """Add the choice of the engine, and the options of its stages."""
    group = command.add_argument_group("engine")
    group.add_argument(
        "--engine",
        default="auto",
        help="exemplar: reuses the mouths that the footage shows, needs no weights; retalk: the neural networks; auto (default): retalk "
        "where its weights are installed, otherwise exemplar; or the path of an engine's .yaml file"
        + _installed(),
    )
    group.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="STAGE.OPTION=VALUE",
        dest="settings",
        help="set an option of a stage (`retalk stages --options` lists them), the metrics (metrics.on=NAMES) or a threshold for review "
        "(review.seam=1.2); may be repeated",
    )


def _installed() -> str:
    """The engines of other distributions, for a help text."""
    found = [f"{name} ({whose})" for name, whose in foreign_engines().items()]
    return f"; also installed: {', '.join(found)}".replace("%", "%%") if found else ""


def add_run_options(command: argparse.ArgumentParser) -> None:
    """Add the choice of runner, profile and cache."""
    group = command.add_argument_group("execution")
    group.add_argument(
        "--profile",
        default="laptop",
        help="how many workers of which size: laptop (default), node-8gpu, autoscaling, or the path of a profile's .yaml file",
    )
    group.add_argument("--runner", choices=RUNNERS, default="auto", help=RUNNER_HELP)
    group.add_argument(
        "--no-ray", action="store_const", const="local", dest="runner", default="auto", help=argparse.SUPPRESS
    )
    cache = group.add_mutually_exclusive_group()
    cache.add_argument(
        "--cache",
        metavar="URL",
        help="folder where analysis (shots, faces, landmarks) is kept for later runs, for example one that adds a language; several runs "
        "may share it. Default: the run directory (for dub: nowhere). docs/architecture.md says how large it gets",
    )
    cache.add_argument("--no-cache", action="store_true", help="neither keep nor use analysis")
    group.add_argument(
        "--overwrite",
        action="store_true",
        help="replace outputs that exist already. Without it, a file that this run has not made is never overwritten: nothing is "
        "started. A symlink, also one that leads to nothing, counts as a file; the link is replaced, its target stays as it is",
    )
    group.add_argument(
        "--keep-segments", action="store_true", help="keep the encoded segments after a title is assembled"
    )
    group.add_argument(
        "--on-low-quality",
        choices=LOW_QUALITY,
        default="keep",
        help="a dub whose measures ask for a look: keep (default) writes it; passthrough writes it with the person's own mouth in the "
        "shots that are bad, with a note; fail: the title fails with the reasons and nothing is written. Thresholds: "
        "--set review.NAME=VALUE, docs/review.md. Dubs that are done stay as they are without --redo",
    )
    add_guards(command)
    add_provenance_options(command)
    output = command.add_argument_group("messages")
    output.add_argument(
        "--json",
        action="store_true",
        help="print one JSON object with the records of all titles, and nothing else, on stdout",
    )
    output.add_argument(
        "--log-file",
        metavar="FILE",
        help="append a full log to FILE: steps, notes, failures with their tracebacks",
    )
    output.add_argument("--notify", metavar="URL", help=NOTIFY_HELP)
    add_messages(output, "also show what the workers print, and the tracebacks of failed titles")


def add_messages(command: Any, verbose: str) -> None:
    """``-q`` and ``-v`` of a command."""
    command.add_argument("-q", "--quiet", action="store_true", help="show no progress")
    command.add_argument("-v", "--verbose", action="store_true", help=verbose)


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


def guards(args: argparse.Namespace) -> dict[str, Any]:
    """The arguments of `add_guards` for `pipelines.runner.run`."""
    return {"roots": args.root, "limits": limits(args.limits)}


def rights(args: argparse.Namespace) -> dict[str, Any]:
    """The conditions on rights that are given, for `pipelines.runner.run`."""
    given: dict[str, Any] = {
        name: True for name in ("require_consent", "licence_clean") if getattr(args, name)
    }
    return given | ({"accepted_models": args.accept_model} if args.accept_model else {})


def label(args: argparse.Namespace) -> dict[str, Any]:
    """The notice on the picture that is asked for, for `pipelines.runner.run`."""
    given = {
        name: getattr(args, f"label_{name}") for name in ("position", "seconds", "size", "font", "producer")
    }
    return {name: value for name, value in {"text": args.label or None, **given}.items() if value is not None}


def watermark(args: argparse.Namespace) -> dict[str, Any]:
    """The watermarks that are asked for, for `pipelines.runner.run`."""
    given = {"mode": args.watermark, "strength": args.watermark_strength, "key": args.watermark_key}
    given |= {LEARNED[name]: name for name in args.watermark_by or ()}
    return {name: value for name, value in given.items() if value is not None}


def defaults(args: argparse.Namespace) -> dict[str, Any]:
    """The arguments of `add_title_options` for `pipelines.runner.run`; `UsageError` where stretches cannot be read."""
    encoder = ("codec", "crf", "bitrate", "preset")
    names = (
        "face",
        "length",
        "audio",
        "language",
        "loudness",
        "place",
        "consent",
        "ranges",
        "exclude",
        *encoder,
    )
    given = {name: value for name in names if (value := getattr(args, name)) is not None}
    for name in ("ranges", "exclude"):
        if name in given:
            from pipelines.manifest.ranges import check_ranges

            check_ranges(name, given[name])
    return {name: value for name, value in given.items() if value != "" or name == "language"}


def run_options(args: argparse.Namespace) -> dict[str, Any]:
    """The arguments of `add_run_options` and `add_engine_options` for the commands."""
    return {
        "engine": args.engine,
        "profile": args.profile,
        "options": settings(args.settings),
        "defaults": defaults(args),
        "runner": args.runner,
        "keep_segments": args.keep_segments,
        "overwrite": args.overwrite,
        "on_low_quality": args.on_low_quality,
        "progress": None if args.quiet else sys.stderr,
        "verbose": args.verbose,
        "rights": rights(args),
        "label": label(args),
        "provenance": provenance(args),
        "watermark": watermark(args),
        **guards(args),
        "cache": False if args.no_cache else args.cache,
    }
