"""Stage "factors" of the engine talkin: a segment's face as geometry, pose and expression."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from operators.columns import scalar, tensor
from operators.exemplar.choose_stage import SMALLEST_FACE, SegmentAnalysis
from operators.exemplar.mouths import JAW_AND_MOUTH
from operators.faces.geometry import eye_distance
from operators.segment import Segment
from operators.stage import Stage
from operators.talkin.factors import deviations


class FactorFaces(Stage):
    """The person's geometry, and how lively their expression is. Pose stays in the frames' landmarks, where the stage `choose` takes it
    from: it is not changed.

    Writes:
        usable: bool[T], frames with a face that has a pose.
        geometry: float32[37, 2], mean lower face while talking (jaw and mouth, frontal, millimetres); 0 without a face.
        eye: eye distance in it.
        liveliness: root mean square of how the lower face leaves it, eye distances.
    """

    name = "factors"
    doing = "measuring faces"
    reads = pa.schema([tensor("landmarks", "float32", "T", 68, 2), tensor("valid", "bool", "T")])
    writes = pa.schema(
        [
            tensor("usable", "bool", "T"),
            tensor("geometry", "float32", 37, 2),
            scalar("eye", pa.float64()),
            scalar("liveliness", pa.float64()),
        ]
    )
    per: ClassVar[Any] = "segment"

    def setup(self, device: str) -> None:
        """Load SciPy's parts before the worker limits the threads of its libraries."""
        del device
        import scipy.ndimage
        import scipy.spatial.transform  # noqa: F401

    def process(self, segment: Segment) -> dict[str, Any]:
        """See the class."""
        landmarks = np.asarray(segment["landmarks"], np.float32)
        usable = usable_faces(landmarks, np.asarray(segment["valid"], bool))
        if not usable.any():
            return {
                "usable": usable,
                "geometry": np.zeros((37, 2), np.float32),
                "eye": 0.0,
                "liveliness": 0.0,
            }
        analysis = analysis_of(segment, landmarks, usable)
        frontal, eye = analysis.frontal, analysis.mouths.eye
        chosen = analysis.reliable
        mean = frontal[chosen][:, JAW_AND_MOUTH].mean(0)
        moved = deviations(frontal[chosen], mean, eye)
        return {
            "usable": usable,
            "geometry": mean.astype(np.float32),
            "eye": float(eye),
            "liveliness": float(np.sqrt((moved**2).mean())),
        }


def usable_faces(landmarks: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """bool[T]: valid frames whose face is large enough to have a pose."""
    finite = np.isfinite(landmarks).all((1, 2))
    usable: np.ndarray = valid & finite & (eye_distance(np.nan_to_num(landmarks)) > SMALLEST_FACE)
    return usable


def analysis_of(segment: Segment, landmarks: np.ndarray, usable: np.ndarray) -> SegmentAnalysis:
    """The analysis of a segment that exemplar makes, too: poses, frontal mouths, the speaker's range."""
    times = segment.pts.astype(np.float64) * float(segment.time_base)
    return SegmentAnalysis(landmarks, usable, times, segment.size)
