"""Measure who is found to speak (``--face speaking``), on composites of clips: two mouths side by side; a sound made of the clips' own.

    python -m benchmarks.speaking CLIP CLIP CLIP ... [--seconds 6] [--judge mesh]

Clips show one person each, whose own sound they carry; longer ones give several parts. Every ordered pair of parts (of different clips) is
put together in eight ways. Printed for each way: share of the speech that went to the right mouth, to a wrong one (or to any where nobody
speaks), and to nobody, and in how many composites more than a tenth went wrong. "Still": the listener's mouth is held, with the noise that
landmarks have; otherwise both mouths talk all the time, each what its own clip says.

A clip whose sound is out of sync with its lips by another lag than its neighbour's stays so: there is one lag for a shot.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, get_args

import numpy as np
from scipy.ndimage import gaussian_filter1d

from operators.evaluation.landmark_tracks import Judge, track_landmarks
from operators.faces.geometry import lip_opening
from operators.faces.speaking import NOBODY, find_turns
from operators.media.audio import load_audio
from operators.speech.predictor import predict_mouth
from operators.speech.sampling import sample_track

RATE, SAMPLE_RATE = 25, 16000


class Part(NamedTuple):
    """A stretch of a clip: its name, opening of the mouth float[T] at 25 values a second (NaN unseen), and sound float32[n], 16 kHz."""

    clip: str
    mouth: np.ndarray
    sound: np.ndarray


class Composite(NamedTuple):
    """Two mouths float[2, T], a sound float32[n], and who speaks int64[T]: 0, 1 or `NOBODY`."""

    way: str
    mouths: np.ndarray
    sound: np.ndarray
    truth: np.ndarray


def parts_of(path: Path, seconds: float, judge: Judge = "dlib") -> Iterator[Part]:
    """Cut a clip into parts of at most ``seconds``; one of less than 2 s is left out."""
    track, sound = (
        track_landmarks(str(path), describe=False, judge=judge),
        load_audio(str(path), rate=SAMPLE_RATE),
    )
    end = min(track.times[-1], len(sound) / SAMPLE_RATE)
    opening = lip_opening(track.landmarks[track.found])
    for start in np.arange(0, end, seconds):
        stop = min(start + seconds, end)
        if stop - start >= 2:
            times = start + np.arange(int((stop - start) * RATE)) / RATE
            mouth = np.interp(times, track.times[track.found], opening)
            mouth[np.interp(times, track.times, track.found) < 0.5] = np.nan
            first = round(start * SAMPLE_RATE)
            yield Part(path.name, mouth, sound[first : first + len(mouth) * SAMPLE_RATE // RATE])


def composites(parts: Sequence[Part]) -> Iterator[Composite]:
    """Every ordered pair of parts in eight ways; a third clip is the voice from off screen."""
    rng = np.random.default_rng(0)
    for first, second in itertools.permutations(parts, 2):
        third = [part for part in parts if part.clip not in (first.clip, second.clip)]
        if first.clip == second.clip or not third:
            continue
        count = min(len(first.mouth), len(second.mouth))
        half, cut = count // 2, count // 2 * SAMPLE_RATE // RATE
        one, two = first.mouth[:count], second.mouth[:count]
        a, b = (part.sound[: count * SAMPLE_RATE // RATE] for part in (first, second))
        voice = np.resize(third[int(rng.integers(len(third)))].sound, len(a))
        still_one, still_two = (np.nanpercentile(m, 10) + _noise(rng, count) for m in (one, two))
        halves, joined = np.repeat([0, 1], [half, count - half]), np.repeat([0, 1], count)
        both = np.stack([one, two])

        def made(way: str, mouths: Sequence[np.ndarray], sound: np.ndarray, truth: np.ndarray) -> Composite:
            return Composite(way, np.stack(list(mouths)), sound, truth)

        yield made("the first speaks", both, a, np.zeros(count, int))
        yield made("the first speaks, the second still", [one, still_two], a, np.zeros(count, int))
        yield made("a change in the middle", both, np.append(a[:cut], b[cut:]), halves)
        turns = [np.append(one[:half], still_one[half:]), np.append(still_two[:half], two[half:])]
        yield made("a change in the middle, listeners still", turns, np.append(a[:cut], b[cut:]), halves)
        long = [np.append(one, one[::-1]), np.append(two[::-1], two)]
        yield made("each for the whole length", long, np.append(a, b), joined)
        long = [np.append(one, still_one), np.append(still_two, two)]
        yield made("each for the whole length, listeners still", long, np.append(a, b), joined)
        gone = np.where(halves == 0, 0, NOBODY)
        yield made("the first, then a voice from off screen", both, np.append(a[:cut], voice[cut:]), gone)
        yield made("a voice from off screen", both, voice, np.full(count, NOBODY))


def shares(composite: Composite) -> np.ndarray:
    """float64[3]: shares of the speech that went to the right mouth, to a wrong one, and to nobody."""
    times = np.arange(composite.mouths.shape[1]) / RATE
    track = predict_mouth(composite.sound.astype(np.float32), SAMPLE_RATE, closure=0.6, phones="auto")
    silence = sample_track(track.silence, times, beyond=1.0)
    found = find_turns(composite.mouths, sample_track(track.opening, times), silence, times).speaker
    weight = 1 - np.clip(silence, 0, 1)
    right = (found == composite.truth) & (found != NOBODY)
    wrong = (found != composite.truth) & (found != NOBODY)
    return np.array([(weight * which).sum() for which in (right, wrong, found == NOBODY)]) / max(
        weight.sum(), 1e-9
    )


def _noise(rng: np.random.Generator, count: int) -> np.ndarray:
    return 0.005 * gaussian_filter1d(rng.normal(size=count), 1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speaking", description=__doc__.splitlines()[0]
    )
    parser.add_argument("clips", nargs="+", type=Path, metavar="CLIP")
    parser.add_argument("--seconds", type=float, default=6.0, help="longest part of a clip (default: 6)")
    parser.add_argument(
        "--judge", choices=get_args(Judge), default="dlib", help="whose landmarks (default: %(default)s)"
    )
    given = parser.parse_args(arguments)
    parts = [part for clip in given.clips for part in parts_of(clip, given.seconds, given.judge)]
    if len({part.clip for part in parts}) < 3:
        parser.error("it takes three clips of 2 s or more, with sound")
    found: dict[str, list[np.ndarray]] = defaultdict(list)
    for composite in composites(parts):
        found[composite.way].append(shares(composite))
    print("| composite | right mouth | wrong mouth | nobody | over a tenth wrong |\n|---|---|---|---|---|")
    for way, values in found.items():
        right, wrong, nobody = np.mean(values, axis=0)
        many = int((np.array(values)[:, 1] > 0.1).sum())
        print(f"| {way} ({len(values)}) | {right:.0%} | {wrong:.1%} | {nobody:.0%} | {many} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
