"""Measure who is found to speak (``--face speaking``), on composites of clips: two mouths side by side; a sound made of the clips' own.

    python -m benchmarks.speaking CLIP CLIP CLIP ... [--seconds 6] [--judge mesh]
    python -m benchmarks.speaking CLIP CLIP CLIP CLIP ... --turns 8

Clips show one person each, whose own sound they carry; longer ones give several parts. Every ordered pair of parts (of different clips) is
put together in eight ways. Printed for each way: share of the speech that went to the right mouth, to a wrong one (or to any where nobody
speaks), and to nobody, and in how many composites more than a tenth went wrong. "Still": the listener's mouth is held, with the noise that
landmarks have; otherwise both mouths talk all the time, each what its own clip says.

``--turns N`` puts people together who take turns of 2 to 8 s, N composites of each kind and length: two, three, two with a voice from off
screen between them, and one before such a voice. Here clips are whole, begin anywhere, and are repeated where a turn is longer.

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
from operators.faces.geometry import lip_opening, mouth_width
from operators.faces.speaking import NOBODY, find_turns
from operators.media.audio import load_audio
from operators.speech.predictor import predict_mouth
from operators.speech.sampling import sample_track

RATE, SAMPLE_RATE = 25, 16000
#: Seconds of the turns that people take, and of a part that is a whole clip.
TURNS, WHOLE = (2, 3, 4, 5, 6, 8), 1e6


class Part(NamedTuple):
    """A stretch of a clip: its name, opening and width of the mouth float[2, T] at 25 values a second (NaN unseen), and sound float32[n],
    16 kHz.
    """

    clip: str
    mouth: np.ndarray
    sound: np.ndarray


class Composite(NamedTuple):
    """Mouths float[P, 2, T], a sound float32[n], and who speaks int64[T]: a mouth's number or `NOBODY`."""

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
    seen = track.landmarks[track.found]
    shape = lip_opening(seen), mouth_width(seen)
    for start in np.arange(0, end, seconds):
        stop = min(start + seconds, end)
        if stop - start >= 2:
            times = start + np.arange(int((stop - start) * RATE)) / RATE
            mouth = np.stack([np.interp(times, track.times[track.found], side) for side in shape])
            mouth[:, np.interp(times, track.times, track.found) < 0.5] = np.nan
            first = round(start * SAMPLE_RATE)
            yield Part(path.name, mouth, sound[first : first + len(times) * SAMPLE_RATE // RATE])


def composites(parts: Sequence[Part]) -> Iterator[Composite]:
    """Every ordered pair of parts in eight ways; a third clip is the voice from off screen."""
    rng = np.random.default_rng(0)
    for first, second in itertools.permutations(parts, 2):
        third = [part for part in parts if part.clip not in (first.clip, second.clip)]
        if first.clip == second.clip or not third:
            continue
        count = min(first.mouth.shape[1], second.mouth.shape[1])
        half, cut = count // 2, count // 2 * SAMPLE_RATE // RATE
        one, two = first.mouth[:, :count], second.mouth[:, :count]
        a, b = (part.sound[: count * SAMPLE_RATE // RATE] for part in (first, second))
        voice = np.resize(third[int(rng.integers(len(third)))].sound, len(a))
        still_one, still_two = (_still(rng, mouth) for mouth in (one, two))
        halves, joined = np.repeat([0, 1], [half, count - half]), np.repeat([0, 1], count)
        both = [one, two]

        def made(way: str, mouths: Sequence[np.ndarray], sound: np.ndarray, truth: np.ndarray) -> Composite:
            return Composite(way, np.stack(list(mouths)), sound, truth)

        yield made("the first speaks", both, a, np.zeros(count, int))
        yield made("the first speaks, the second still", [one, still_two], a, np.zeros(count, int))
        yield made("a change in the middle", both, np.append(a[:cut], b[cut:]), halves)
        alternate = [_joined(one, still_one, half), _joined(still_two, two, half)]
        yield made("a change in the middle, listeners still", alternate, np.append(a[:cut], b[cut:]), halves)
        long = [_joined(one, one[:, ::-1]), _joined(two[:, ::-1], two)]
        yield made("each for the whole length", long, np.append(a, b), joined)
        long = [_joined(one, still_one), _joined(still_two, two)]
        yield made("each for the whole length, listeners still", long, np.append(a, b), joined)
        gone = np.where(halves == 0, 0, NOBODY)
        yield made("the first, then a voice from off screen", both, np.append(a[:cut], voice[cut:]), gone)
        yield made("a voice from off screen", both, voice, np.full(count, NOBODY))


def turns(parts: Sequence[Part], seconds: float, count: int) -> Iterator[Composite]:
    """People of whole clips who take turns of so many ``seconds``, ``count`` composites of each kind; the voice from off screen is that
    of another clip, all voices are equally loud.
    """
    rng = np.random.default_rng(0)
    kinds = {
        "two": (0, 1, 0, 1),
        "two, listeners still": (0, 1, 0, 1),
        "three": (0, 1, 2),
        "two and a voice from off screen": (0, NOBODY, 1),
        "one, then a voice from off screen": (0, NOBODY),
    }
    length = round(seconds * RATE)
    for (kind, order), _ in itertools.product(kinds.items(), range(count)):
        truth = np.repeat(order, length)
        people = max(order) + 1
        chosen = [parts[k] for k in rng.permutation(len(parts))[: people + 1]]
        mouths, voices = [], []
        for number, part in enumerate(chosen):
            start = int(rng.integers(part.mouth.shape[1]))
            mouth = part.mouth[:, (start + np.arange(len(truth))) % part.mouth.shape[1]]
            if "still" in kind:
                mouth = np.where(truth == number, mouth, _still(rng, mouth))
            mouths.append(mouth)
            ends = len(truth) * SAMPLE_RATE // RATE
            voice = np.resize(np.roll(part.sound, -start * SAMPLE_RATE // RATE), ends)
            voices.append(voice * (0.08 / max(float(np.sqrt(np.mean(voice**2))), 1e-6)))
        heard = np.repeat(np.where(truth == NOBODY, people, truth), SAMPLE_RATE // RATE)
        sound = np.choose(heard, voices).astype(np.float32)
        yield Composite(f"{kind}, turns of {seconds:g} s", np.stack(mouths[:people]), sound, truth)


def shares(composite: Composite) -> np.ndarray:
    """float64[3]: shares of the speech that went to the right mouth, to a wrong one, and to nobody."""
    times = np.arange(len(composite.truth)) / RATE
    track = predict_mouth(composite.sound.astype(np.float32), SAMPLE_RATE, closure=0.6, phones="auto")
    silence = sample_track(track.silence, times, beyond=1.0)
    heard = np.stack([sample_track(one, times) for one in (track.opening, track.width)])
    found = find_turns(composite.mouths, heard, silence, times).speaker
    weight = 1 - np.clip(silence, 0, 1)
    right = (found == composite.truth) & (found != NOBODY)
    wrong = (found != composite.truth) & (found != NOBODY)
    return np.array([(weight * which).sum() for which in (right, wrong, found == NOBODY)]) / max(
        weight.sum(), 1e-9
    )


def _still(rng: np.random.Generator, mouth: np.ndarray) -> np.ndarray:
    """A mouth float[2, T] that is held: hardly open, as wide as usual, with the noise that landmarks have."""
    held = np.array([[np.nanpercentile(mouth[0], 10)], [np.nanmedian(mouth[1])]])
    return held + 0.005 * gaussian_filter1d(rng.normal(size=mouth.shape), 1, axis=1)


def _joined(first: np.ndarray, second: np.ndarray, at: int | None = None) -> np.ndarray:
    """The first mouth until frame ``at``, then the second from there; without it both, one after the other."""
    return np.concatenate([first, second] if at is None else [first[:, :at], second[:, at:]], axis=1)


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
    parser.add_argument(
        "--turns", type=int, metavar="N", help="turns of 2 to 8 s, so many composites of each kind and length"
    )
    given = parser.parse_args(arguments)
    longest = given.seconds if given.turns is None else WHOLE
    parts = [part for clip in given.clips for part in parts_of(clip, longest, given.judge)]
    least = 3 if given.turns is None else 4
    if len({part.clip for part in parts}) < least:
        parser.error(f"it takes {least} clips of 2 s or more, with sound")
    made = composites(parts)
    if given.turns is not None:
        made = itertools.chain.from_iterable(turns(parts, seconds, given.turns) for seconds in TURNS)
    found: dict[str, list[np.ndarray]] = defaultdict(list)
    for composite in made:
        found[composite.way].append(shares(composite))
    print("| composite | right mouth | wrong mouth | nobody | over a tenth wrong |\n|---|---|---|---|---|")
    for way, values in found.items():
        right, wrong, nobody = np.mean(values, axis=0)
        many = int((np.array(values)[:, 1] > 0.1).sum())
        print(f"| {way} ({len(values)}) | {right:.0%} | {wrong:.1%} | {nobody:.0%} | {many} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
