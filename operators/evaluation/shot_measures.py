"""Measures of a dub and of its shots from what was watched: agreement with the speech, reasons of frames that kept their mouth,
faces, and lengths.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from operators.evaluation import agreement
from operators.evaluation.agreement import LAGS, Mouths
from operators.evaluation.heard import Heard
from operators.evaluation.metric import title_row
from operators.evaluation.watch import DUBBED, UNITS

#: Seconds from the end of the speech on in which a frame that keeps its mouth has no speech.
EDGE = 0.05
NO_SPEECH, OTHER = "no speech", "other"
#: Measures by name: unit, and which values are better.
MEASURES: dict[str, tuple[str, Literal["higher", "lower", ""]]] = {
    "sync_r": ("", "higher"),
    "sync_lag": ("frames", ""),
    "stands": ("s", "lower"),
    "silent_motion": ("", "lower"),
    "face_size": ("px", ""),
    "yaw": ("degrees", ""),
}
#: Of all frames that kept their own mouth for a reason; docs/review.md lists the reasons.
PASSED = "passed_"

Measured = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class ShotMeasures:
    """Measures of one shot.

    Attributes:
        start: seconds of the output.
        values: by name; those without a value are left out.
        curve: `agreement.correlations`.
        mouths: behind it.
        standing_at: seconds of the output at which the mouth begins to stand.
        passed: frames by the reason for which they kept their mouth.
    """

    start: float
    values: dict[str, float]
    curve: np.ndarray
    mouths: int
    standing_at: float
    passed: dict[str, int]


def measure_shot(group: Measured, heard: Heard) -> ShotMeasures:
    """Measure the output segments of one shot."""
    mouths = _mouths(group, heard)
    curve = agreement.correlations(mouths, heard)
    stands, standing_at = agreement.standing(mouths, heard)
    faces = [one["watch"]["face"] for one in group if one["watch"]["face"]]
    values = {
        "sync_r": float(curve[LAGS]),
        "sync_lag": agreement.lag_of(curve),
        "stands": stands if len(mouths.at) else math.nan,
        "silent_motion": agreement.silent_motion(mouths, heard),
        "face_size": float(np.mean([face[0] for face in faces])) if faces else math.nan,
        "yaw": float(np.mean([face[1] for face in faces])) if faces else math.nan,
    }
    known = {name: value for name, value in values.items() if math.isfinite(value)}
    start = float(group[0]["watch"]["states"][0][0])
    return ShotMeasures(start, known, curve, len(mouths.at), standing_at, passed_frames(group, heard))


def title_rows(shots: Sequence[ShotMeasures], heard: float, seconds: float) -> Iterator[dict[str, Any]]:
    """Give a dub's entries of the ledger's column ``metrics`` (`operators.evaluation.metric.row`).

    Args:
        shots: of the dub.
        heard: seconds of the sound that is heard.
        seconds: length of the output.
    """
    curve = agreement.pooled([shot.curve for shot in shots], [shot.mouths for shot in shots])
    whole = {"sync_r": float(curve[LAGS]), "sync_lag": agreement.lag_of(curve)}
    for name, (unit, better) in MEASURES.items():
        found = [(shot.values[name], shot) for shot in shots if name in shot.values]
        if not found:
            continue
        worst: tuple[float | None, float | None] = (None, None)
        if better:
            value, shot = (min if better == "higher" else max)(found, key=lambda pair: pair[0])
            at = shot.standing_at if name == "stands" else shot.start
            worst = round(value, 6), round(at, 3)
        value = whole.get(name, max(v for v, _ in found) if name == "stands" else _mean(found))
        if math.isfinite(value):
            yield {
                **title_row(name, value, unit),
                **{"per": "shot", "better": better, "worst": worst[0], "worst_at": worst[1]},
            }
    counts: dict[str, int] = {}
    for shot in shots:
        for reason, count in shot.passed.items():
            counts[reason] = counts.get(reason, 0) + count
    for reason, count in sorted(counts.items()):
        yield title_row(PASSED + reason.replace(" ", "_"), count, "frames")
    yield title_row("speech_cut", max(0.0, heard - seconds), "s")
    yield title_row("speech_padded", max(0.0, seconds - heard), "s")


def passed_frames(group: Measured, heard: Heard) -> dict[str, int]:
    """Return how many frames of some output segments kept their own mouth, by reason."""
    counts: dict[str, int] = {}
    for start, end, state, frames in (stretch for one in group for stretch in one["watch"]["states"]):
        if state == DUBBED:
            continue
        share = min(max((end - max(heard.seconds - EDGE, start)) / max(end - start, 1e-9), 0.0), 1.0)
        late = round(share * frames) if not state else 0
        for reason, count in ((state or OTHER, frames - late), (NO_SPEECH, late)):
            if count:
                counts[reason] = counts.get(reason, 0) + count
    return counts


def _mouths(group: Measured, heard: Heard) -> Mouths:
    """The mouths that were dubbed while there is speech."""
    times, openings = list[np.ndarray](), list[np.ndarray]()
    for one in group:
        watch = one["watch"]
        at = np.array(watch["at"], np.float64) / 1000
        opening = np.array(watch["dub"], np.float64) / UNITS
        dubbed = np.zeros(len(at), bool)
        for start, end, state, _ in watch["states"]:
            dubbed |= (state == DUBBED) & (at >= start - 1e-3) & (at < end - 1e-3)
        kept = dubbed & np.isfinite(opening) & (at >= 0) & (at <= heard.seconds)
        times.append(at[kept])
        openings.append(opening[kept])
    at, opening = np.concatenate(times), np.concatenate(openings)
    order = np.argsort(at, kind="stable")
    return Mouths(at[order], opening[order])


def _mean(found: Sequence[tuple[float, ShotMeasures]]) -> float:
    return float(
        np.average([value for value, _ in found], weights=[max(1, shot.mouths) for _, shot in found])
    )
