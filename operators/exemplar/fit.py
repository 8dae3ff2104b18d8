"""The wanted mouth, fitted to the speaker: voice-independent units of the predictor become this person's
opening and width.

Only amplitude and closed level are taken from the footage (docs/exemplar.md#the-speakers-own-range); the lag
is the predictor's constant. Used by `operators.exemplar.choose_stage`.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy

from operators.exemplar.mouths import Mouths

#: Levels of the predictor at which the speaker's quantiles are read, and a generic talking mouth's opening
#: there (own round figures for normal speech: lips touch at about 0.02, half open at 0.075, rarely above 0.2
#: of the eye distance).
LEVELS = np.array([-2.0, -1.25, -0.6, 0.0, 0.6, 1.25, 2.0])
GENERIC_OPENINGS = np.array([0.015, 0.025, 0.05, 0.075, 0.11, 0.15, 0.2])
#: Lips that meet, in landmarks: they never report less than this on shut mouths by more than noise.
LIPS_MEET = 0.02
#: Nobody speaks with more, whatever the footage shows (yawns, shouts), nor with less spread (mumbling,
#: smiling into the camera).
WIDEST, SMALLEST_SPREAD, LARGEST_SPREAD = 0.34, 0.03, 0.09
#: Share of the empirical quantile curve in the map; the rest is the straight line. All curve keeps the
#: amplitudes but costs correlation.
QUANTILE_SHARE = 0.5
#: Openings of one segment that span less than this offer no mouth to re-use.
USABLE_RANGE, USABLE_TOP = 0.06, 0.06
#: Nor do fewer frames than these: an opened picture of one of them looks no worse.
FEWEST_MOUTHS = 5
#: Silence shorter than this is a pause in speech and keeps what the predictor says, seconds.
LONG_SILENCE = 0.45
#: The wanted opening may be this many times as nervous (mean second difference in time) as the speaker's own,
#: but anybody who talks may be as nervous as `CALM_TALK` (per frame of 40 ms).
NERVOUS, CALM_TALK = 1.3, 0.009
#: Smoothing in time, frames of 40 ms: of everything (costs no correlation, gains some), and what is tried
#: beside it on all but closures.
SMOOTHING, MORE_SMOOTHING = 0.6, (0.0, 0.5, 0.7, 0.85, 1.0, 1.2)
#: How far the sounds that need shut lips pull to the closed level at most, and the width (frames of 40 ms)
#: that such a closure is given so that the smoothing leaves it.
CLOSURE_PULL, CLOSURE_SIGMA = 0.9, 0.7
#: Share of that pull after the smoothing.
CLOSURE_AGAIN = 0.8


@dataclasses.dataclass(frozen=True)
class Speaker:
    """Range and habits of this person's mouth in speech, in units of the eye distance.

    Attributes:
        openings: float64[7], opening at each of `LEVELS`, ascending.
        meet: opening that stands for lips together.
        closed: the smallest opening that the footage shows.
        rest: opening of this person's mouth in silence.
        top: no opening above.
        width: mean width.
        width_slope: change of the width per unit of opening.
        width_spread: standard deviation of the width that speech explains.
        nervousness: mean absolute second difference of the opening, per frame of 40 ms.
        moves: the footage offers mouths to choose from; False for a still picture and for a mouth that never
            opens or never moves.
    """

    openings: np.ndarray
    meet: float
    closed: float
    rest: float
    top: float
    width: float
    width_slope: float
    width_spread: float
    nervousness: float
    moves: bool

    def opening(self, level: np.ndarray) -> np.ndarray:
        """Opening float64[N] for the predictor's ``level`` float[N]: monotone, smooth, between `meet` and
        `top`.
        """
        inner = scipy.interpolate.PchipInterpolator(LEVELS, self.openings)(
            np.clip(level, LEVELS[0], LEVELS[-1])
        )
        step = np.diff(self.openings) / np.diff(LEVELS)
        beyond = np.minimum(level - LEVELS[0], 0) * step[0] + np.maximum(level - LEVELS[-1], 0) * step[-1]
        return soft_limits(inner + beyond, self.meet, self.top)


def soft_limits(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Values held between two limits without a corner: they bend within a tenth of the range of either, and
    stay monotone.
    """
    bend = max(high - low, 1e-6) * 0.06
    raised = low + bend * np.logaddexp(0.0, (values - low) / bend)
    return np.maximum(high - bend * np.logaddexp(0.0, (high - raised) / bend), low)


def talking_frames(opening: np.ndarray, valid: np.ndarray, span: int) -> np.ndarray:
    """Frames in which the mouth moves as in speech: bool[T]. Their amplitude counts; a listener's long rest
    must not dilute it.

    Args:
        opening: float[T].
        valid: bool[T], at least one.
        span: frames of about 0.6 s.
    """
    filled = np.where(valid, opening, np.median(opening[valid]))
    mean = scipy.ndimage.uniform_filter1d(filled, span, mode="nearest")
    spread = np.sqrt(np.maximum(scipy.ndimage.uniform_filter1d(filled**2, span, mode="nearest") - mean**2, 0))
    talking = valid & (spread > 0.35 * np.quantile(spread[valid], 0.9))
    return talking if talking.sum() >= min(25, valid.sum()) else valid


def fit_speaker(mouths: Mouths, reliable: np.ndarray, frame_seconds: float) -> Speaker:
    """Fit amplitude, closed level and width on the segment's own mouths.

    Args:
        mouths: opening and width of T frames.
        reliable: bool[T], frames to trust, at least one.
        frame_seconds: mean duration of a frame.
    """
    opening, width = mouths.opening, mouths.width
    low, median, high = np.quantile(opening[reliable], [0.02, 0.5, 0.98])
    moves = bool(reliable.sum() >= FEWEST_MOUTHS and high - low >= USABLE_RANGE and high >= USABLE_TOP)
    talking = talking_frames(opening, reliable, max(3, round(0.6 / max(frame_seconds, 1e-3))))
    if moves:
        quantiles = np.quantile(opening[talking], scipy.special.ndtr(LEVELS))
        spread = (quantiles[5] - quantiles[1]) / (LEVELS[5] - LEVELS[1])
        line = quantiles[1:6].mean() + LEVELS * spread
        curve = QUANTILE_SHARE * quantiles + (1 - QUANTILE_SHARE) * line
        top = min(max(1.1 * np.quantile(opening[talking], 0.985), 0.12), WIDEST, 1.25 * high + 0.01)
    else:
        # The lips of a smile are apart already: speak around it, but not all the way up.
        curve = GENERIC_OPENINGS + 0.5 * max(median - 0.075, 0.0)
        top = min(0.2 + 0.5 * max(median - 0.1, 0.0), 0.26)
    centre, spread = curve[3], (curve[5] - curve[1]) / (LEVELS[5] - LEVELS[1])
    curve = centre + (curve - centre) * np.clip(spread, SMALLEST_SPREAD, LARGEST_SPREAD) / max(spread, 1e-6)
    curve = np.maximum.accumulate(curve + 1e-4 * np.arange(len(curve)))
    # A smallest opening somewhat above zero may be shut lips in small pictures or lips that never met: half
    # way.
    meet = float(np.clip(low, 0.0, LIPS_MEET) + 0.4 * np.clip(low - LIPS_MEET, 0.0, 0.05))
    rest = float(np.clip(np.quantile(opening[reliable], 0.04), meet, max(curve[3], meet)))
    slope, spread_left = _width_law(opening[talking], width[talking])
    middle = float(np.median(width[talking if moves else reliable]))
    second = np.abs(np.convolve(opening, [1, -2, 1], "same")) * (0.04 / frame_seconds) ** 2
    inside = reliable[1:-1] & reliable[:-2] & reliable[2:]
    nervousness = float(second[1:-1][inside].mean()) if moves and inside.any() else 0.0
    return Speaker(
        curve,
        meet,
        float(low),
        rest,
        float(top),
        middle,
        slope,
        spread_left if moves else 0.02,
        nervousness,
        moves,
    )


def _width_law(opening: np.ndarray, width: np.ndarray) -> tuple[float, float]:
    """Change of width with opening (held to none where the footage says little) and the spread that is left
    (interquartile).
    """
    apart, wide = opening - opening.mean(), width - width.mean()
    slope = float(np.clip((apart * wide).sum() / ((apart**2).sum() + 30 * 0.05**2), -0.6, 0.6))
    low, high = np.quantile(wide - slope * apart, [0.25, 0.75])
    return slope, float(np.clip((high - low) / 1.35, 0.008, 0.04))


@dataclasses.dataclass(frozen=True)
class Wanted:
    """The mouth that each of N output frames should have: opening and width over eye distance, how far the
    lips must meet, 0..1, and how far it rests, 0..1 (None: nowhere).
    """

    opening: np.ndarray
    width: np.ndarray
    closure: np.ndarray
    quiet: np.ndarray | None = None

    def take(self, part: slice) -> Wanted:
        """The same of some of the frames."""
        quiet = None if self.quiet is None else self.quiet[part]
        return Wanted(self.opening[part], self.width[part], self.closure[part], quiet)


def wanted_mouths(
    speaker: Speaker,
    level: np.ndarray,
    width: np.ndarray,
    closure: np.ndarray,
    silence: np.ndarray,
    times: np.ndarray,
) -> Wanted:
    """Translate the predictor's voice-independent tracks to this person's mouth.

    Args:
        speaker: the fit.
        level: float[N], opening, zero mean and unit variance over the speech.
        width: float[N], likewise.
        closure: float[N], 0..1, lips must meet (B, P, M).
        silence: float[N], 0..1.
        times: float64[N], seconds at which the frames are shown, ascending.
    """
    step = float(np.median(np.diff(times))) if len(times) > 1 else 0.04
    opening = speaker.opening(np.asarray(level, np.float64))
    quiet = long_silence(np.asarray(silence, np.float64), times)
    opening = opening + quiet * (speaker.rest - opening)
    shut = scipy.ndimage.gaussian_filter1d(
        np.clip(np.asarray(closure, np.float64), 0, 1), CLOSURE_SIGMA * 0.04 / step, mode="nearest"
    )
    shut = np.clip(1.45 * shut, 0, 1)
    opening = calm(opening, CLOSURE_PULL * shut, speaker, step)
    wide = 0.6 * speaker.width_spread * np.clip(np.asarray(width, np.float64), -2, 2)
    middle = speaker.openings[3]
    return Wanted(
        opening,
        speaker.width + speaker.width_slope * (opening - middle) + wide * (1 - quiet),
        shut,
        quiet,
    )


def calm(opening: np.ndarray, pull: np.ndarray, speaker: Speaker, step: float) -> np.ndarray:
    """Close the lips where they must and smooth no more than it takes to be as calm as the speaker is:
    float64[N].

    Args:
        opening: float64[N].
        pull: float64[N], 0..1, towards `Speaker.meet`.
        speaker: whose `Speaker.nervousness` is the measure, see `NERVOUS`.
        step: seconds of a frame.
    """
    frame = 0.04 / step
    allowed = max(NERVOUS * speaker.nervousness, CALM_TALK) / frame**2
    closed = opening
    for sigma in MORE_SMOOTHING:
        smooth = scipy.ndimage.gaussian_filter1d(opening, sigma * frame, mode="nearest") if sigma else opening
        closed = smooth + pull * (np.minimum(smooth, speaker.meet) - smooth)
        closed = scipy.ndimage.gaussian_filter1d(closed, SMOOTHING * frame, mode="nearest")
        # Smoothing parts lips again that meet for a frame or two.
        closed = closed + CLOSURE_AGAIN * pull * (np.minimum(closed, speaker.meet) - closed)
        if np.abs(np.diff(closed, 2)).sum() <= allowed * max(len(closed) - 2, 0):
            break
    return closed


def long_silence(silence: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Silences of at least `LONG_SILENCE`, with soft edges inside them: float64[N] 0..1, of silence float[N]
    and times float64[N] (s).
    """
    if len(silence) < 2:
        return silence * 0.0
    step = np.diff(times, append=times[-1] + np.median(np.diff(times)))
    quiet = silence > 0.5
    edges = np.flatnonzero(np.diff(np.concatenate([[False], quiet, [False]]).astype(int)))
    long = np.zeros(len(silence))
    for start, stop in edges.reshape(-1, 2):
        # A silence that runs over the segment's edge has no known length: it counts as long where it lasts
        # half of that inside.
        needed = LONG_SILENCE * (0.5 if start == 0 or stop == len(silence) else 1.0)
        if step[start:stop].sum() >= needed:
            long[start:stop] = 1.0
    soft = scipy.ndimage.gaussian_filter1d(long, 0.08 / max(float(np.median(step)), 1e-3), mode="nearest")
    return np.where(long > 0, np.clip(2 * soft - 1, 0, 1), 0.0)
