"""What the lower half of a face looks like, as a small patch, and how much of it something else covers."""

from __future__ import annotations

import cv2
import numpy as np

from operators.faces.canonical import EYE, TEMPLATE
from operators.faces.geometry import EYES

#: Cells of a patch: rows from under the eyes to the chin, columns across the cheeks.
ROWS, COLUMNS = 20, 24
_EYES = TEMPLATE[EYES].mean(0)


def _cut(crop: np.ndarray, left: float, top: float, right: float, bottom: float) -> np.ndarray:
    """Region of a crop, in eye distances from between the eyes."""
    x1, x2 = (round(float(_EYES[0] + v * EYE)) for v in (left, right))
    y1, y2 = (round(float(_EYES[1] + v * EYE)) for v in (top, bottom))
    return crop[y1:y2, x1:x2]


def patch_of(crop: np.ndarray) -> np.ndarray:
    """float32[ROWS, COLUMNS]: the lower face of a canonical crop, in standard deviations from the mean of its upper face.

    The upper face as measure takes light and exposure out; what covers the mouth leaves it alone.
    """
    luma = crop if crop.ndim == 2 else cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    mean, deviation = cv2.meanStdDev(_cut(luma, -0.95, -0.35, 0.95, 0.45))
    lower = cv2.resize(_cut(luma, -0.85, 0.5, 0.85, 1.75), (COLUMNS, ROWS), interpolation=cv2.INTER_AREA)
    return (lower.astype(np.float32) - np.float32(mean[0, 0])) / np.float32(max(deviation[0, 0], 6.0))


#: A cell is covered when it differs from all references by more than this; about 0.3 of the upper face's contrast.
TOLERANCE = 0.3
_KERNEL = np.ones((3, 3), np.uint8)


class References:
    """Lower faces that are known to be free, and how sure the predictor and the detector were of them.

    Args:
        patches: float32[n, ROWS, COLUMNS].
        spreads: float[n], mean uncertainty of the mouth's points, eye distances.
        scores: float[n], the detector's.
    """

    def __init__(self, patches: np.ndarray, spreads: np.ndarray, scores: np.ndarray) -> None:
        kept = self._trusted(patches, spreads, scores)
        self.count = int(kept.sum())
        self.spread = float(np.median(spreads[kept])) if self.count else float("nan")
        self.score = float(np.median(scores[kept])) if self.count else float("nan")
        # The head moves by a cell between its own landmarks and a reference's: compare with the range of each cell's neighbours.
        self._low = np.stack([cv2.erode(p, _KERNEL) for p in patches[kept]]) if self.count else patches[:0]
        self._high = np.stack([cv2.dilate(p, _KERNEL) for p in patches[kept]]) if self.count else patches[:0]

    @staticmethod
    def _trusted(patches: np.ndarray, spreads: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """bool[n]: samples as sure as most others. A hand that hides the mouth in some of them must not become part of the face."""
        if len(patches) < 3:
            return np.ones(len(patches), bool)
        return (scores > np.median(scores) - 0.6) & (spreads < 2.5 * np.median(spreads))

    def covered(self, patch: np.ndarray) -> float:
        """Share of the lower face that looks like in none of the references, 0..1."""
        outside = np.maximum(np.maximum(self._low - patch, patch - self._high), 0).min(0)
        return float((outside > TOLERANCE).mean())
