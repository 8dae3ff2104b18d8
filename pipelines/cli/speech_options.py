"""Options of `retalk dub` that say who speaks what."""

from __future__ import annotations

import argparse
import os
import re
from typing import Any

from pipelines.errors import UsageError


def add_speech(command: argparse.ArgumentParser) -> None:
    """Add the speech, or the people who speak with their speeches."""
    command.add_argument(
        "speech",
        metavar="SPEECH",
        nargs="?",
        help="the new speech: any file with an audio stream, a video included; left out where there is --speaker",
    )
    group = command.add_argument_group("several speakers", "docs/speakers.md")
    group.add_argument(
        "--speaker",
        action="append",
        default=[],
        metavar="FACE=SPEECH",
        dest="speakers",
        help="a person, chosen as for --face, and what they say; repeated for each. All are dubbed, and the sum of their speeches is heard",
    )
    group.add_argument("--mix", default="", metavar="FILE", help="what is heard in place of that sum")


def speakers(args: argparse.Namespace) -> dict[str, Any]:
    """The arguments of `add_speech` for `pipelines.cli.run.dub_one`.

    Raises:
        UsageError: a speaker has another form, or there is ``--face``.
    """
    if args.speakers and args.face:
        raise UsageError("--face goes with one SPEECH; each --speaker FACE=SPEECH names its own face")
    found = []
    for text in args.speakers:
        face, equals, speech = _parted(text)
        if not (face.strip() and equals and speech.strip()):
            raise UsageError(f"--speaker {text}: must be FACE=SPEECH")
        found.append({"face": face.strip(), "speech": speech.strip()})
    return {"speakers": found, "mix": args.mix}


def _parted(text: str) -> tuple[str, str, str]:
    """Split FACE=SPEECH: at the first "=", unless FACE is a picture with one in its path."""
    for match in re.finditer("=", text):
        if os.path.isfile(text[: match.start()].strip()):
            return text[: match.start()], "=", text[match.end() :]
    return text.partition("=")
