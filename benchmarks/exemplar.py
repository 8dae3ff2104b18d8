"""Quality of the exemplar engine on real clips: agreement with the mouth of the person who really spoke,
flicker, and cost.

    python -m benchmarks.exemplar FOLDER [--out DIR] [--pairs VIDEO:SPEECH ...] [--late NAME=FRAMES ...]

Every clip of FOLDER with sound speaks for other clips. For each pair: Pearson r of the inner-lip opening of
the result with that of the real speaker at lag 0, the lag of the best r (frames of 25 fps), the same r for
the undubbed video (the baseline: chance), flicker of the result over that of the source, and CPU
seconds per second of output after start-up. Openings are measured by plain dlib on the decoded files
(`operators.evaluation.landmark_tracks`), not taken from the engine. ``--late`` names clips whose own sound is late.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
import time
from pathlib import Path

import av
import cv2
import numpy as np

from operators.evaluation.contact_sheet import compare, mouth_box
from operators.evaluation.landmark_tracks import LandmarkTrack, track_landmarks
from operators.evaluation.mouth_tracks import flicker, lag_correlation, opening_track
from operators.media.reader import read_frames
from pipelines import runner

SUFFIXES = (".mp4", ".mpg", ".mov", ".mkv")


def has_sound(path: Path) -> bool:
    """Return whether a media file has an audio stream."""
    with av.open(str(path)) as container:
        return bool(container.streams.audio)


def neighbours(clips: list[Path], distances: tuple[int, ...] = (1, 3)) -> list[tuple[Path, Path]]:
    """(video, speech) pairs: every clip with sound speaks for the clips that stand some places further on."""
    pairs = []
    for i, speech in enumerate(clips):
        if has_sound(speech):
            pairs += [(clips[(i + d) % len(clips)], speech) for d in distances]
    return pairs


def longest_run(found: np.ndarray) -> slice:
    """The longest stretch of True in bool[T]."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], found.astype(int), [0]])))
    starts, stops = edges[::2], edges[1::2]
    if not len(starts):
        return slice(0, 0)
    best = int((stops - starts).argmax())
    return slice(int(starts[best]), int(stops[best]))


def sheet(original: Path, result: Path, mouths: LandmarkTrack, path: Path, frames: int = 24) -> None:
    """Write a contact sheet of consecutive frames from the middle of the clip."""
    run = longest_run(mouths.found)
    start = max(run.start, (run.start + run.stop - frames) // 2)
    stop = min(start + frames, run.stop)
    if stop - start < 3:
        return
    before = [f.rgb() for f in read_frames(str(original), start, stop)]
    after = [f.rgb() for f in read_frames(str(result), start, stop)]
    size = (before[0].shape[1], before[0].shape[0])
    boxes = [mouth_box(mouths.landmarks[i], size, 1.0) for i in range(start, stop)]
    cv2.imwrite(str(path), compare(before, after, boxes)[..., ::-1])


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="folder of talking clips")
    parser.add_argument("--out", type=Path, default=None, help="keep results and contact sheets here")
    parser.add_argument(
        "--pairs",
        nargs="*",
        metavar="VIDEO:SPEECH",
        help="file names inside FOLDER instead of the default pairing",
    )
    parser.add_argument(
        "--late",
        nargs="*",
        default=[],
        metavar="NAME=FRAMES",
        help="clips whose own sound is late, in frames of 25 fps",
    )
    parser.add_argument(
        "--set", nargs="*", default=[], metavar="STAGE.OPTION=VALUE", dest="overrides", help="engine options"
    )
    args = parser.parse_args()
    out = args.out or Path(tempfile.mkdtemp(prefix="retalk-bench-"))
    out.mkdir(parents=True, exist_ok=True)
    clips = sorted(p for p in args.folder.iterdir() if p.suffix in SUFFIXES)
    if args.pairs:
        pairs = [
            (args.folder / a, args.folder / b) for a, _, b in (pair.partition(":") for pair in args.pairs)
        ]
    else:
        pairs = neighbours(clips)
    late = {name: int(frames) for name, _, frames in (item.partition("=") for item in args.late)}
    options: dict[str, dict[str, object]] = {}
    for item in args.overrides:
        key, _, value = item.partition("=")
        stage, _, option = key.partition(".")
        options.setdefault(stage, {})[option] = (
            float(value) if value.replace(".", "", 1).lstrip("-").isdigit() else value
        )
    measured: dict[Path, LandmarkTrack] = {}

    def mouths(path: Path) -> LandmarkTrack:
        if path not in measured:
            measured[path] = track_landmarks(str(path), describe=False)
        return measured[path]

    print(
        f"# {platform.processor() or platform.machine()}, {platform.system()}, Python {platform.python_version()}, OpenCV {cv2.__version__}"
    )
    print(
        f"{'video':>16} {'speech':>16} {'r':>6} {'best':>6} {'lag':>4} {'own r':>6} {'flicker':>8} {'CPU s/s':>8} {'wall s/s':>8}"
    )
    rows = []
    warm = False
    for video, speech in pairs:
        result = out / f"{video.stem}__{speech.stem}.mp4"
        row = {"video": str(video), "speech": str(speech), "output": str(result)}
        for measured_run in (
            [False, True] if not warm else [True]
        ):  # the first run pays for imports and models
            with tempfile.TemporaryDirectory() as run_dir:
                cpu, wall = time.process_time(), time.perf_counter()
                report = runner.run(
                    [{**row, "id": "t"}],
                    run_dir=run_dir,
                    engine="exemplar",
                    runner="local",
                    options=options,
                    overwrite=True,
                    watermark={"mode": "off"},
                )
                cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            warm = warm or measured_run
        if report.failed:
            print(f"{video.stem:>16} {speech.stem:>16} failed: {report.failed[0]['error']}")
            continue
        source, dubbed, speaker = mouths(video), mouths(result), mouths(speech)
        shift = late.get(speech.stem, 0) / 25.0
        spoken = longest_run(speaker.found)
        reference = speaker.times[spoken] + shift, opening_track(speaker.landmarks[spoken])
        shown = longest_run(dubbed.found)
        score = lag_correlation(*reference, dubbed.times[shown], opening_track(dubbed.landmarks[shown]))
        chance = lag_correlation(*reference, source.times[shown], opening_track(source.landmarks[shown]))
        ratio = flicker(dubbed.landmarks[shown]) / flicker(source.landmarks[shown])
        seconds = float(dubbed.times[-1])
        rows.append((score.r, score.best_r, score.best_lag, chance.r, ratio, cpu / seconds, wall / seconds))
        mouth = f"{score.r:6.3f} {score.best_r:6.3f} {score.best_lag:4.0f} {chance.r:6.3f} {ratio:8.2f}"
        print(
            f"{video.stem:>16} {speech.stem:>16} {mouth} {cpu / seconds:8.2f} {wall / seconds:8.2f}",
            flush=True,
        )
        sheet(video, result, source, out / f"{video.stem}__{speech.stem}.png")
    if not rows:
        return 3
    mean = np.nanmean(np.array(rows), axis=0)
    print(
        f"{'mean':>33} {mean[0]:6.3f} {mean[1]:6.3f} {mean[2]:4.1f} {mean[3]:6.3f} {mean[4]:8.2f} {mean[5]:8.2f} {mean[6]:8.2f}"
    )
    print(f"results and contact sheets: {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
