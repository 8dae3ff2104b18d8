"""The landmarks that the renderer warps to: the chosen mouths, put into the target frames with exactly the
wanted opening.

Most of a shape is the exemplar's own (this person's lips), carried to the target's pose by the person's shape
model; opening and width are set. The jaw outline is the target's, moved as far as the opening moved. Used by
`operators.exemplar.choose_stage`.
"""

from __future__ import annotations

import numpy as np
import scipy

from operators.exemplar.fit import Wanted
from operators.exemplar.mouths import JAW_SHARE, Mouths, ShapeModel, set_opening_and_width
from operators.exemplar.pose import PoseTrack, smooth_valid
from operators.faces.geometry import MOUTH

#: Smoothing in time, in frames of 40 ms: what an exemplar's lips have of their own (so that joins do not
#: jump), and how slow a jaw must move to be the target's own posture and not the words it spoke.
OWN_SIGMA, POSTURE_SIGMA = 1.0, 10.0
#: How much of the exemplar's own width is kept beside the wanted one.
OWN_WIDTH = 0.5
JAW = np.arange(17)


def wanted_shapes(
    landmarks: np.ndarray,
    frontal: np.ndarray,
    pose: PoseTrack,
    mouths: Mouths,
    model: ShapeModel,
    reliable: np.ndarray,
    target: np.ndarray,
    chosen: np.ndarray,
    wanted: Wanted,
    blend: np.ndarray,
    seconds: float,
) -> np.ndarray:
    """Landmarks of N consecutive output frames.

    Args:
        landmarks: float[T, 68, 2] pixels of the segment's frames.
        frontal, pose, mouths, model: what was made of them.
        reliable: bool[T].
        target: int64[N], the segment's frame under each output frame.
        chosen: int64[N], the segment's frame whose mouth is shown.
        wanted: opening and width of N frames.
        blend: float[N], 0 own mouth ... 1 wanted mouth.
        seconds: duration of an output frame.

    Returns:
        float32[N, 68, 2] pixels; equal to the target's landmarks outside mouth and jaw, and everywhere where
        ``blend`` is 0.
    """
    per_frame = 0.04 / max(seconds, 1e-3)
    own = frontal - model(mouths.opening, mouths.width, pose.angles)
    width = wanted.width + OWN_WIDTH * (
        scipy.ndimage.gaussian_filter1d(mouths.width[chosen], 2 * OWN_SIGMA * per_frame, mode="nearest")
        - wanted.width
    )
    expected = model(wanted.opening, width, pose.angles[target])
    shape = expected.copy()
    shape[:, MOUTH] += scipy.ndimage.gaussian_filter1d(
        own[chosen][:, MOUTH], OWN_SIGMA * per_frame, axis=0, mode="nearest"
    )
    shape = keep_lips_apart(set_opening_and_width(shape, wanted.opening, width, mouths.eye))
    shape[:, JAW] = _jaws(frontal, own, expected, reliable, target, per_frame)
    mixed = frontal[target].copy()
    replaced = np.concatenate([JAW, MOUTH])
    mixed[:, replaced] += blend[:, None, None] * (shape - mixed)[:, replaced]
    result = landmarks[target].astype(np.float32)
    pixels = pose.project(mixed, target)
    changed = np.ix_(np.flatnonzero(blend > 0), replaced)
    result[changed] = pixels[changed]
    return result


def _jaws(
    frontal: np.ndarray,
    own: np.ndarray,
    expected: np.ndarray,
    reliable: np.ndarray,
    target: np.ndarray,
    per_frame: float,
) -> np.ndarray:
    """Jaw outlines float64[N, 17, 2]: the target's posture with the wanted opening's drop, the ears where
    they are.
    """
    posture = smooth_valid(own[:, JAW], reliable, POSTURE_SIGMA * per_frame)
    wanted = expected[:, JAW] + posture[target]
    return frontal[target][:, JAW] + JAW_SHARE[:, None] * (wanted - frontal[target][:, JAW])


def keep_lips_apart(shape: np.ndarray) -> np.ndarray:
    """Part inner lips that crossed at one of the three pairs, by what the others have to give: the mean gap
    stays.
    """
    upper, lower = [61, 62, 63], [67, 66, 65]
    gaps = shape[:, lower, 1] - shape[:, upper, 1]
    mean = gaps.mean(1, keepdims=True)
    # Shrinking the differences from a mean gap that is not negative until the smallest gap is zero changes no
    # mean.
    deepest = np.maximum(mean - gaps.min(1, keepdims=True), 1e-9)
    keep = np.clip(np.maximum(mean, 0) / deepest, 0, 1)
    change = (keep - 1) * (gaps - mean) / 2
    shape = shape.copy()
    shape[:, lower, 1] += change
    shape[:, upper, 1] -= change
    return shape
