"""CSIM and identity drift from descriptors of faces.

The descriptor is dlib's, 128 numbers (`operators.faces.identity`): values are labelled "CSIM (dlib)" and are not those
of ArcFace, which papers print.
"""

from __future__ import annotations

import math

import numpy as np

#: Name of the measure in tables.
LABEL = "CSIM (dlib)"
#: Descriptors below which drift has no value.
LEAST = 6


def csim(descriptors: np.ndarray, reference: np.ndarray) -> float:
    """Return the mean cosine of a result's descriptors with the mean of the reference's; higher is better.

    Args:
        descriptors: float[n, 128] of faces of the result.
        reference: float[m, 128] of the person, e.g. of the source video.

    Returns:
        -1 ... 1. Of six people, halves of one video have 0.98 to 1.00, different people 0.78 to 0.87.

    Raises:
        ValueError: no descriptor on one side.
    """
    if not len(descriptors) or not len(reference):
        raise ValueError(f"CSIM of {len(descriptors)} descriptors against {len(reference)}: need one of each")
    middle = reference.mean(0)
    cosines = descriptors @ middle / (np.linalg.norm(descriptors, axis=1) * np.linalg.norm(middle))
    return float(cosines.mean())


def identity_drift(times: np.ndarray, descriptors: np.ndarray, reference: np.ndarray) -> float:
    """Return how much further from the person the last third of a result is than the first; lower is better.

    The mean Euclidean distance of the descriptors to the mean of the reference's, last third of the time less first
    third; dlib takes two faces nearer than 0.6 for one person.

    Args:
        times: float[n] seconds, ascending.
        descriptors: float[n, 128].
        reference: float[m, 128].

    Returns:
        0: steady; positive: it drifts away. NaN with fewer than 6 descriptors.

    Raises:
        ValueError: times and descriptors do not pair up, or there is no reference.
    """
    if len(times) != len(descriptors) or not len(reference):
        raise ValueError(
            f"{len(times)} times, {len(descriptors)} descriptors, {len(reference)} of the reference"
        )
    if len(times) < LEAST:
        return math.nan
    apart = np.linalg.norm(descriptors - reference.mean(0), axis=1)
    third = (times[-1] - times[0]) / 3
    return float(apart[times >= times[-1] - third].mean() - apart[times <= times[0] + third].mean())
