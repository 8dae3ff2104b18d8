"""Appearance of the skin around a mouth as a small patch, and the share of it that something covers."""

from __future__ import annotations

import cv2
import numpy as np

from operators.faces.canonical import EYE, SIDE, TEMPLATE
from operators.faces.geometry import EYES

#: Cells of a patch: rows from under the nose to the upper lip and from the lower lip to the chin, columns
#: from cheek to cheek.
ROWS, COLUMNS = 9, 17
_REDUCED = 60
_EYES = TEMPLATE[EYES].mean(0)
#: Five landmarks each of the curves between which the rows lie; the outline's are drawn in, off the
#: background.
_CURVES = ((2, 31, 33, 35, 14), (4, 48, 51, 54, 12), (4, 48, 57, 54, 12), (6, 7, 8, 9, 10))
_INWARD = 0.15
_BANDS = ((0, 1, np.array([0.1, 0.4, 0.65, 0.9])), (2, 3, np.array([0.1, 0.3, 0.5, 0.7, 0.9])))


def patch_of(crop: np.ndarray, points: np.ndarray) -> np.ndarray:
    """float32[ROWS, COLUMNS]: the skin around the mouth, in standard deviations from the mean of the upper
    face.

    Cells lie between landmarks: an opening mouth or a turning head does not change what they show, but what
    covers the face does. Measured by the upper face, which stays free, light and exposure drop out.

    Args:
        crop: canonical crop uint8[SIDE, SIDE(, 3)].
        points: float64[68, 2], landmarks in it.
    """
    luma = crop if crop.ndim == 2 else cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    (x1, y1), (x2, y2) = (_EYES + np.array(corner) * EYE for corner in ((-0.95, -0.35), (0.95, 0.45)))
    mean, deviation = cv2.meanStdDev(luma[round(y1) : round(y2), round(x1) : round(x2)])
    reduced = cv2.resize(luma, (_REDUCED, _REDUCED), interpolation=cv2.INTER_AREA)
    middle = points[[33, 57]].mean(0)
    columns = np.linspace(0, 4, COLUMNS)
    curves = []
    for curve in _CURVES:
        knots = points[list(curve)]
        outline = np.array(curve) < 17
        knots = np.where(outline[:, None], knots + _INWARD * (middle - knots), knots)
        curves.append(np.stack([np.interp(columns, np.arange(5), knots[:, axis]) for axis in (0, 1)], -1))
    cells = [(1 - v) * curves[upper] + v * curves[lower] for upper, lower, rows in _BANDS for v in rows]
    places = ((np.array(cells) + 0.5) * (_REDUCED / SIDE) - 0.5).astype(np.float32)
    lower = cv2.remap(
        reduced, places[..., 0], places[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return (lower.astype(np.float32) - np.float32(mean[0, 0])) / np.float32(max(deviation[0, 0], 6.0))


#: A cell is covered when it differs from all references by more than this, in standard deviations of the
#: upper face.
TOLERANCE = 0.35
_KERNEL = np.ones((3, 3), np.uint8)


class References:
    """Faces whose mouth is known to be free, and how sure the predictor and the detector were of them.

    Args:
        patches: float32[n, ROWS, COLUMNS].
        spreads: float[n], mean uncertainty of the mouth's points, eye distances.
        scores: float[n], the detector's.
        surest: share of them that may be free, those with the highest scores. A mesh lies on what hides a mouth nearly as
            surely as on the mouth, so that no limit tells them apart.
    """

    def __init__(
        self, patches: np.ndarray, spreads: np.ndarray, scores: np.ndarray, surest: float = 1.0
    ) -> None:
        kept = self._trusted(patches, spreads, scores)
        if surest < 1 and len(patches) >= 3:
            kept &= scores >= np.quantile(scores, 1 - surest)
            kept = kept if kept.any() else scores == scores.max()
        self.count = int(kept.sum())
        self.spread = float(np.median(spreads[kept])) if self.count else float("nan")
        self.score = float(np.quantile(scores[kept], 0.25)) if self.count else float("nan")
        # Landmarks are not exact to a cell: compare with the range of each cell's neighbours.
        self._low = np.stack([cv2.erode(p, _KERNEL) for p in patches[kept]]) if self.count else patches[:0]
        self._high = np.stack([cv2.dilate(p, _KERNEL) for p in patches[kept]]) if self.count else patches[:0]

    @staticmethod
    def _trusted(patches: np.ndarray, spreads: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """bool[n]: samples nearly as sure as the best. What hides the mouth in up to half of them must not
        become part of the face.
        """
        if len(patches) < 3:
            return np.ones(len(patches), bool)
        kept = (scores > np.quantile(scores, 0.75) - 0.7) & (spreads < 2.2 * np.quantile(spreads, 0.25))
        return kept if kept.any() else spreads <= np.median(spreads)

    def covered(self, patch: np.ndarray) -> float:
        """Share of the skin around the mouth that looks like in none of the references, 0..1."""
        outside = np.maximum(np.maximum(self._low - patch, patch - self._high), 0).min(0)
        return float((outside > TOLERANCE).mean())
