"""Frames that show the face well enough to be given another mouth.

A face that the tracker follows is unusable when it is turned away, cut by the edge of the picture, or when
something covers its mouth. Each sign of that is uncertain, but they are independent: the lower face looks
unlike the shot's other frames (`appearance`), the predictor's answers scatter, and the detector's score
falls.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from operators.faces.appearance import References
from operators.faces.geometry import CHIN, MOUTH, eye_distance, head_pose
from operators.numeric.masks import runs, smoothstep

#: Missing frames between good ones that are filled in.
GAP = 3
#: Occlusions less than this apart are one.
CLOSING = 4
#: Frames before and after an occlusion that it takes along: it begins before it is noticed.
MARGIN = 2
#: Frames on either side of frame t that decide with it whether t is usable: by score, neighbours, closing,
#: margin, gap.
CONTEXT = 3 + 2 + CLOSING + MARGIN + GAP
#: Residual of frames without a face.
ABSENT = 9.0
#: Share of covered skin that reaches the limit alone.
COVERED = 0.15


@dataclasses.dataclass(frozen=True)
class Signs:
    """Values that reach the limit alone.

    Attributes:
        scatter: doublings of the landmarks' scatter.
        doubt: loss of the score beyond 0.2.
        skin: weight of covered skin.
        shouting: the same where the score has not fallen: a face that shouts looks unlike itself, too.
    """

    scatter: float
    doubt: float
    skin: float
    shouting: float


#: Of landmarks on four boxes and a detector's score; of two crops of the mesh, whose scatter says less, and its presence, which
#: says more.
BOXES, MESH = Signs(2.6, 1.4, 1.0, 1.0), Signs(5.2, 0.7, 1.5, 0.3)
#: Loss of the score from which on covered skin counts in full. Of mouths that a drawn hand hides it is at least this in eight clips,
#: where their skin is seen to be covered; of free ones below it.
FALL = 0.08
#: Uncertainty of the mouth's points, in eye distances, that no free mouth shows.
SCATTERED = 0.04
MAX_POSE_ERROR = 0.14
MIN_EYE_DISTANCE = 10.0
#: Degrees of yaw over which a dub fades out as a head turns away, where a mesh says how far it is turned.
FADE = 10.0
#: Why a frame is not usable, in words; their numbers are the values of the column ``fault``.
FAULTS = ("", "no face", "turned", "covered", "too small", "cut by the edge", "unclear", "too dark")
NO_FACE, TURNED, COVERED_MOUTH, TOO_SMALL, CUT, UNCLEAR, TOO_DARK = range(1, len(FAULTS))
#: Level that the brightest twentieth of a face does not reach where landmarks that scatter say that it is dark, not that its mouth
#: is covered.
DARK = 48


@dataclasses.dataclass
class Observations:
    """Observations of the tracker, frame by frame.

    Attributes:
        landmarks: float64[T, 68, 2], NaN where there is no face.
        motion: float64[T, 2, 3], see `smoothing`.
        spread: float64[T], uncertainty of the mouth's points, eye distances.
        score: float64[T], NaN where the detector was not asked.
        doubtful: bool[T], the detector did not see the face when it was last asked.
        ghost: bool[T], the face was lost no more than `GAP` frames ago; landmarks are NaN, `patches` shows
            where it was.
        patches: float32[T, ROWS, COLUMNS].
        yaw: float64[T], degrees, of a mesh; NaN without one.
    """

    landmarks: np.ndarray
    motion: np.ndarray
    spread: np.ndarray
    score: np.ndarray
    doubtful: np.ndarray
    ghost: np.ndarray
    patches: np.ndarray
    yaw: np.ndarray

    @property
    def present(self) -> np.ndarray:
        """bool[T]."""
        return ~np.isnan(self.landmarks[:, 0, 0])


def occlusion(seen: Observations, references: References, signs: Signs = BOXES) -> np.ndarray:
    """float64[T]: how much speaks for something in front of the mouth; 1 is the limit. `ABSENT` where there
    is no face.

    Three signs add up: covered skin, landmarks that scatter more than in the references, and a detector that
    doubts more; of a mesh whose presence does not fall, covered skin says less (`Signs.shouting`). With these
    weights a hand and a microphone painted into ten clips are found in 91 % of the frames where they hide the
    mouth; 0.2 % false alarms (dlib).
    """
    evidence = np.full(len(seen.landmarks), ABSENT)
    score, spread = _nearest(seen.score), _median(seen.spread)
    for t in np.flatnonzero(seen.present | seen.ghost):
        evidence[t] = references.covered(seen.patches[t]) / COVERED if references.count else 0.0
        if seen.ghost[t]:
            continue
        if references.count:
            fallen = np.clip((references.score - np.nan_to_num(score[t], nan=-np.inf)) / FALL, 0.0, 1.0)
            evidence[t] *= signs.shouting + (signs.skin - signs.shouting) * fallen
            evidence[t] += np.log2(max(spread[t] / references.spread, 1.0)) / signs.scatter
            evidence[t] += (
                max(references.score - np.nan_to_num(score[t], nan=references.score) - 0.2, 0.0) / signs.doubt
            )
        evidence[t] = max(evidence[t], spread[t] / SCATTERED)
    return evidence


def _median(values: np.ndarray, reach: int = 2) -> np.ndarray:
    """float64[T]: median of the known values around each known one."""
    out = values.copy()
    for t in np.flatnonzero(~np.isnan(values)):
        out[t] = np.nanmedian(values[max(t - reach, 0) : t + reach + 1])
    return out


def _nearest(values: np.ndarray, reach: int = 3) -> np.ndarray:
    """float64[T] with NaN replaced by the nearest known value no more than ``reach`` frames away, the earlier
    of two.
    """
    out = values.copy()
    for distance in range(1, reach + 1):
        for shift in (distance, -distance):
            moved = np.full_like(values, np.nan)
            if shift > 0:
                moved[shift:] = values[:-shift]
            else:
                moved[:shift] = values[-shift:]
            out = np.where(np.isnan(out), moved, out)
    return out


def occluded(evidence: np.ndarray) -> np.ndarray:
    """bool[T]. Fewer than 3 frames of 5 are noise unless strong; pauses under `CLOSING` frames are bridged;
    then comes the margin.
    """
    over = evidence >= 1
    around = np.convolve(over, np.ones(5), "same")[: len(over)] if len(over) else over
    flagged = (over & (around >= 3)) | (evidence >= 1.6)
    closed = flagged.copy()
    for start, stop in runs(~flagged):
        if start > 0 and stop < len(flagged) and stop - start < CLOSING:
            closed[start:stop] = True
    wide = closed.copy()
    for margin in range(1, MARGIN + 1):
        wide[margin:] |= closed[:-margin]
        wide[:-margin] |= closed[margin:]
    return wide


def fault_of(landmarks: np.ndarray, size: tuple[int, int], max_yaw: float, yaw: float = float("nan")) -> int:
    """Return why float[68, 2] cannot be a usable face, a number of `FAULTS`: too small, not inside the picture, not of a
    head's proportions, or turned away; 0 if it can. A ``yaw`` that is known counts in place of the landmarks' own.
    """
    eyes = float(eye_distance(landmarks))
    # The chin may be cut by the edge, the mouth may not.
    points = np.concatenate(
        [landmarks[MOUTH], landmarks[[CHIN]] + np.sign(np.array(size) / 2 - landmarks[CHIN]) * 0.5 * eyes]
    )
    if eyes < MIN_EYE_DISTANCE:
        return TOO_SMALL
    if (points < 0).any() or (points > [size[0] - 1, size[1] - 1]).any():
        return CUT
    pose = head_pose(landmarks, size)
    if abs(pose.yaw if np.isnan(yaw) else yaw) > max_yaw:
        return TURNED
    return 0 if pose.error < MAX_POSE_ERROR else UNCLEAR


def plausible(
    landmarks: np.ndarray, size: tuple[int, int], max_yaw: float, yaw: float = float("nan")
) -> bool:
    """True if float[68, 2] can be a usable face (`fault_of`)."""
    return fault_of(landmarks, size, max_yaw, yaw) == 0


def faults(
    seen: Observations,
    evidence: np.ndarray,
    valid: np.ndarray,
    size: tuple[int, int],
    max_yaw: float,
    brightness: np.ndarray,
) -> np.ndarray:
    """Say of each frame that is not usable why.

    Args:
        seen: by the tracker.
        evidence: of `occlusion`.
        valid: bool[T], the frames that are usable.
        size: width and height of the picture.
        max_yaw: degrees.
        brightness: float64[T], level that the brightest twentieth of the face reaches; NaN where it is not known.

    Returns:
        uint8[T], numbers of `FAULTS`.
    """
    blocked = occluded(np.where(seen.present, evidence, 0.0))
    found = np.zeros(len(valid), np.uint8)
    for t in np.flatnonzero(~valid):
        if not seen.present[t]:
            found[t] = NO_FACE
        else:
            place = fault_of(seen.landmarks[t], size, max_yaw, seen.yaw[t])
            hidden = TOO_DARK if brightness[t] < DARK else COVERED_MOUTH
            found[t] = place if place or not blocked[t] else hidden
            found[t] = found[t] or UNCLEAR
    # On its way out of the picture a face looks covered for a moment.
    for start, stop in runs(found == COVERED_MOUTH):
        beside = found[max(start - 1, 0) : start].tolist() + found[stop : stop + 1].tolist()
        if stop - start <= GAP and CUT in beside:
            found[start:stop] = CUT
    return found


def usable(seen: Observations, evidence: np.ndarray, size: tuple[int, int], max_yaw: float) -> np.ndarray:
    """bool[T]: frames to work on. Short gaps are included where nothing speaks against them; `fill` then
    gives them landmarks.
    """
    good = np.zeros(len(evidence), bool)
    for t in np.flatnonzero(seen.present & ~seen.doubtful):
        good[t] = plausible(seen.landmarks[t], size, max_yaw, seen.yaw[t])
    blocked = occluded(np.where(seen.present, evidence, 0.0))
    good &= ~blocked
    bridgeable = (seen.present & ~blocked) | (seen.ghost & (evidence < 2))
    for start, stop in runs(~good):
        inside = start > 0 and stop < len(good)
        if inside and stop - start <= GAP and bridgeable[start:stop].all():
            good[start:stop] = True
    return good


def frontality(yaw: np.ndarray, max_yaw: float) -> np.ndarray:
    """Say how fully each frame may be dubbed as far as the turn of its head goes.

    Args:
        yaw: float64[T], degrees; NaN where it is not known, which says nothing against the frame.
        max_yaw: degrees.

    Returns:
        float64[T]: 1 until `FADE` degrees before ``max_yaw``, smoothly 0 from there on.
    """
    known = np.flatnonzero(~np.isnan(yaw))
    if not len(known):
        return np.ones(len(yaw))
    return smoothstep((max_yaw - np.abs(np.interp(np.arange(len(yaw)), known, yaw[known]))) / FADE)


def fill(landmarks: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Landmarks float64[T, 68, 2] with those missing in valid frames interpolated between their neighbours,
    and NaN in invalid frames.
    """
    out = np.where(valid[:, None, None], landmarks, np.nan)
    for start, stop in runs(valid & np.isnan(landmarks[:, 0, 0])):
        share = (np.arange(1, stop - start + 1) / (stop - start + 1))[:, None, None]
        out[start:stop] = (1 - share) * out[start - 1] + share * out[stop]
    return out
