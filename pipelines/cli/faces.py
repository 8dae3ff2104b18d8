"""`retalk faces`: who is in a video."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from pipelines.cli.arguments import Parser
from pipelines.errors import DONE, UsageError

DESCRIPTION = """\
Show who is in a video: a picture of each person, how long they are seen and how long they speak. The pictures can be given as --face, or as
the faces of speakers.

Written into DIR: person-1.jpg and so on, by the time that people are seen; faces.jpg, some pictures of each in a row; faces.json; and
index.html, which shows all of it. What an earlier `retalk faces` has written there is replaced."""
EXAMPLES = """\
Examples:

  retalk faces panel.mp4 -o people/
  retalk dub panel.mp4 --speaker people/person-1.jpg=anna.wav --speaker people/person-2.jpg=bob.wav -o out.mp4

Exit codes: 0 done; 2 wrong usage, or no face is seen."""


def add_parser(commands: Any) -> None:
    """Add `faces` to the subparsers of `retalk`."""
    command: Parser = commands.add_parser(
        "faces", help="show who is in a video", description=DESCRIPTION, epilog=EXAMPLES
    )
    command.add_argument("video", metavar="VIDEO", help="the video, any fsspec URL")
    command.add_argument(
        "-o", "--output", required=True, metavar="DIR", help="folder for the pictures and the page"
    )
    command.add_argument(
        "--no-speaking",
        action="store_true",
        help="do not find out who speaks, for which all faces are followed through the whole video",
    )
    command.add_argument(
        "--backend",
        choices=["dlib", "mesh", "mesh-or-dlib"],
        default="mesh-or-dlib",
        help="finds and follows the faces, as a dub with --set detect.backend=NAME (default: %(default)s, docs/mesh.md)",
    )
    command.add_argument(
        "--json", action="store_true", help="print the content of faces.json, and nothing else"
    )
    command.add_argument("-q", "--quiet", action="store_true", help="show no progress")
    command.set_defaults(run=show_faces)


def show_faces(args: argparse.Namespace) -> int:
    """Write and print the people of a video.

    Raises:
        UsageError: the video cannot be read, shows nobody, or the folder cannot be written.
    """
    from operators.faces.backend import chosen_backend
    from pipelines.monitoring.formatting import duration
    from pipelines.monitoring.progress import Progress
    from pipelines.monitoring.terminal import table
    from pipelines.review.faces import list_faces
    from pipelines.review.faces_folder import check_folder

    check_folder(Path(args.output))
    backend, why = chosen_backend(args.backend, "cpu")
    with Progress(None if args.quiet else sys.stderr) as shown:
        if why:
            shown.say(f"note: faces are found with dlib: {why}")
        try:
            found = list_faces(args.video, Path(args.output), not args.no_speaking, shown.phase, backend)
        except (ValueError, OSError) as problem:
            raise UsageError(str(problem)) from problem
    if args.json:
        print(json.dumps(found))
        return DONE
    rows = [["person", "picture", "seen", "share", "shots", "first seen", "speaks"]]
    for one in found["people"]:
        rows.append(
            [
                str(one["person"]),
                str(Path(args.output, one["face"])),
                duration(one["seconds"]),
                f"{100 * one['share']:.0f} %",
                str(one["shots"]),
                duration(one["first"]),
                "" if one["speaking"] is None else f"{one['speaking']:.1f} s",
            ]
        )
    print("\n".join(table(rows)))
    if (silent := found.get("nobody_speaks", {}).get("seconds", 0.0)) >= 0.05:  # shown as 0.1
        print(f"For {silent:.1f} s nobody speaks, or it cannot be said for certain who does.")
    return DONE
