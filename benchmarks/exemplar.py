"""Quality of the exemplar engine on real clips: agreement with the mouth of the person who really spoke,
closures, flicker, and cost.

    python -m benchmarks.exemplar FOLDER [--out DIR] [--pairs VIDEO:SPEECH ...] [--late NAME=FRAMES ...] [--judge both]
    python -m benchmarks.exemplar --list FILE [--out DIR]

Every clip of FOLDER with sound speaks for other clips; a list (`benchmarks.mouths.read_pairs`) names pairs anywhere.
For each pair: Pearson r of the inner-lip opening of the result with that of the real speaker at lag 0, the lag of
the best r (frames of 25 fps), the same r for the undubbed video (the baseline: chance); share of B, P and M with
the lips seen shut, in the result and in the real speaker; amplitude of the opening over the real speaker's; flicker
of landmarks and of the teeth's area, result over source; opening and its change per frame in silence, per cent of
the eye distance; seam as the run measures it; and CPU seconds per second of output after start-up. Openings are
measured on the decoded files (`operators.evaluation.landmark_tracks`), not taken from the engine: by plain dlib, by
the face mesh, or by both with columns for each (``--judge``), for a judge agrees with dubs that its own landmarks
made. ``--late`` names clips whose own sound is late.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import cv2
import numpy as np

from benchmarks.mouths import (
    Pair,
    amplitude,
    closure_recall,
    read_pairs,
    shut_level,
    stillness,
    teeth_track,
    tooth_flicker,
)
from operators.evaluation.contact_sheet import compare, mouth_box
from operators.evaluation.landmark_tracks import Judge, LandmarkTrack, track_landmarks
from operators.evaluation.lip_leak import silent_at
from operators.evaluation.mouth_tracks import flicker, lag_correlation, opening_track
from operators.media.audio import has_sound, load_audio
from operators.media.reader import read_frames
from operators.speech.predictor import predict_mouth
from pipelines import runner
from pipelines.evaluation.scores import measured_in

SUFFIXES = (".mp4", ".mpg", ".mov", ".mkv")


def neighbours(clips: list[Path], distances: tuple[int, ...] = (1, 3)) -> list[Pair]:
    """(video, speech) pairs: every clip with sound speaks for the clips that stand some places further on."""
    pairs = []
    for i, speech in enumerate(clips):
        if has_sound(str(speech)):
            pairs += [Pair(clips[(i + d) % len(clips)], speech) for d in distances]
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


#: Figures of `measured`, a column for each judge, and how they are written.
JUDGED = {
    "r": "6.3f",
    "best": "6.3f",
    "lag": "4.0f",
    "own r": "6.3f",
    "shut": "5.2f",
    "truth": "5.2f",
    "ampl": "5.2f",
    "flicker": "7.2f",
    "teeth": "6.2f",
    "rest": "5.1f",
    "moves": "6.2f",
}
#: Figures of the run.
RUN = {"seam": "5.2f", "CPU s/s": "7.2f", "wall s/s": "8.2f"}


def written(judged: Sequence[dict[str, float]], run: dict[str, float]) -> str:
    """A row of the table: `JUDGED` for each judge, then `RUN`."""
    groups = [*((JUDGED, values) for values in judged), (RUN, run)]
    return " | ".join(" ".join(f"{v[name]:{form}}" for name, form in forms.items()) for forms, v in groups)


def heading(judges: Sequence[str], indent: int) -> str:
    """Two lines: the judges, each above the first of its columns, and the names of the columns, as wide as their figures."""
    groups = [
        " ".join(f"{name:>{form.partition('.')[0]}}" for name, form in forms.items())
        for forms in [JUDGED] * len(judges) + [RUN]
    ]
    above = " | ".join(f"{name:<{len(group)}}" for name, group in zip([*judges, "run"], groups, strict=True))
    pair = f"{'video':>16} {'speech':>16}"
    return f"{'judged by':>{indent}} {above.rstrip()}\n{pair:>{indent}} {' | '.join(groups)}"


def mean_of(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Means of the figures of several rows, those that are NaN left out."""
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return {
        name: float(np.nanmean(v)) if np.isfinite(v).any() else float("nan") for name, v in columns.items()
    }


def measured(
    pair: Pair, result: Path, source: LandmarkTrack, dubbed: LandmarkTrack, speaker: LandmarkTrack
) -> dict[str, float]:
    """Figures of a dub that are measured on files, `JUDGED`, by tracks of one judge."""
    spoken, shown = longest_run(speaker.found), longest_run(dubbed.found)
    truth, reference = opening_track(speaker.landmarks[spoken]), speaker.times[spoken] + pair.late / 25.0
    openings, times = opening_track(dubbed.landmarks[shown]), dubbed.times[shown]
    own = opening_track(source.landmarks[longest_run(source.found)])
    score = lag_correlation(reference, truth, times, openings)
    chance = lag_correlation(reference, truth, source.times[shown], opening_track(source.landmarks[shown]))
    samples = load_audio(str(pair.speech), rate=16000)
    phones = predict_mouth(samples).phones
    rest, moves = stillness(times, openings, silent_at(samples, times))
    shown_teeth, own_teeth = (
        tooth_flicker(teeth_track(str(path), track.landmarks, shown))
        for path, track in ((result, dubbed), (pair.video, source))
    )
    return {
        "r": score.r,
        "best": score.best_r,
        "lag": score.best_lag,
        "own r": chance.r,
        "shut": closure_recall(phones, times, openings, shut_level(own)),
        "truth": closure_recall(phones, reference, truth, shut_level(truth)),
        "ampl": amplitude(openings) / amplitude(truth),
        "flicker": flicker(dubbed.landmarks[shown]) / flicker(source.landmarks[shown]),
        "teeth": shown_teeth / own_teeth,
        "rest": 100 * rest,
        "moves": 100 * moves,
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="?", help="folder of talking clips")
    parser.add_argument("--list", type=Path, default=None, metavar="FILE", help="pairs in place of a folder")
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
    parser.add_argument(
        "--judge",
        choices=(*get_args(Judge), "both"),
        default="dlib",
        help="landmarks that measure the files",
    )
    args = parser.parse_args()
    judges: tuple[Judge, ...] = get_args(Judge) if args.judge == "both" else (args.judge,)
    out = args.out or Path(tempfile.mkdtemp(prefix="retalk-bench-"))
    out.mkdir(parents=True, exist_ok=True)
    if (args.folder is None) == (args.list is None):
        parser.error("give either a folder or --list")
    late = {name: int(frames) for name, _, frames in (item.partition("=") for item in args.late)}
    if args.list is not None:
        pairs = read_pairs(args.list)
    elif args.pairs:
        pairs = [
            Pair(args.folder / a, args.folder / b) for a, _, b in (pair.partition(":") for pair in args.pairs)
        ]
    else:
        pairs = neighbours(sorted(p for p in args.folder.iterdir() if p.suffix in SUFFIXES))
    pairs = [pair._replace(late=late.get(pair.speech.stem, pair.late)) for pair in pairs]
    options: dict[str, dict[str, object]] = {}
    for item in args.overrides:
        key, _, value = item.partition("=")
        stage, _, option = key.partition(".")
        options.setdefault(stage, {})[option] = (
            float(value) if value.replace(".", "", 1).lstrip("-").isdigit() else value
        )
    tracks: dict[tuple[Path, Judge], LandmarkTrack] = {}

    def mouths(path: Path, judge: Judge) -> LandmarkTrack:
        if (path, judge) not in tracks:
            tracks[path, judge] = track_landmarks(str(path), describe=False, judge=judge)
        return tracks[path, judge]

    print(
        f"# {platform.processor() or platform.machine()}, {platform.system()}, Python {platform.python_version()}, OpenCV {cv2.__version__}"
    )
    print(heading(judges, 33))
    rows: list[tuple[list[dict[str, float]], dict[str, float]]] = []
    warm = False
    for pair in pairs:
        video, speech = pair.video, pair.speech
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
        judged = [
            measured(pair, result, mouths(video, judge), mouths(result, judge), mouths(speech, judge))
            for judge in judges
        ]
        seconds = float(mouths(result, judges[0]).times[-1])
        run = {
            "seam": measured_in(report.records[0])[0].get("seam", float("nan")),
            "CPU s/s": cpu / seconds,
            "wall s/s": wall / seconds,
        }
        rows.append((judged, run))
        print(f"{video.stem:>16} {speech.stem:>16} {written(judged, run)}", flush=True)
        sheet(video, result, mouths(video, judges[0]), out / f"{video.stem}__{speech.stem}.png")
    if not rows:
        return 3
    means = [mean_of([judged[number] for judged, _ in rows]) for number in range(len(judges))]
    print(f"{'mean':>33} {written(means, mean_of([run for _, run in rows]))}")
    print(f"results and contact sheets: {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
