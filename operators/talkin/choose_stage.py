"""Stage "choose" of the engine talkin: the recomposed face of each output frame, and the source frame whose mouth the renderer is shown."""

from __future__ import annotations

import itertools
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from operators.columns import scalar, tensor
from operators.exemplar.choose_stage import SegmentAnalysis, ease
from operators.exemplar.fit import Wanted, soft_limits
from operators.exemplar.mouths import (
    JAW_AND_MOUTH,
    JAW_SHARE,
    opening_of,
    set_opening_and_width,
    width_of,
)
from operators.exemplar.shapes import keep_lips_apart
from operators.faces.geometry import JAW, MOUTH
from operators.numeric.masks import runs
from operators.segment import Segment
from operators.stage import Stage
from operators.talkin.factors import AMPLITUDE
from operators.talkin.factors_stage import analysis_of


class ChooseReferences(Stage):
    """Recompose each output frame's face of the target's geometry and pose and the new expression, and choose reference frames by
    the dynamic programme of exemplar (`operators.exemplar.choose`), so that the reference changes smoothly.

    The target's timing is kept: the frames under the mouths are the planner's.

    Writes:
        exemplar: int64[N], source frame (numbered over the title) of the reference; -1: the frame passes through untouched.
        shape: float32[N, 68, 2], upright pixels: the target's landmarks with the recomposed mouth and jaw.
        blend: float32[N], 0 ... 1, how much of the dub is shown.
    """

    name: ClassVar[str] = "choose"
    doing: ClassVar[str] = "recomposing faces"
    per = "dub"
    reads = pa.schema(
        [
            tensor("landmarks", "float32", "T", 68, 2),
            tensor("usable", "bool", "T"),
            tensor("geometry", "float32", 37, 2),
            scalar("eye", pa.float64()),
            scalar("liveliness", pa.float64()),
            tensor("moved", "float32", "N", 37, 2),
            scalar("unit", pa.float64()),
            tensor("strength", "float32", "N"),
        ]
    )
    writes = pa.schema(
        [
            tensor("exemplar", "int64", "N"),
            tensor("shape", "float32", "N", 68, 2),
            tensor("blend", "float32", "N"),
        ]
    )

    def setup(self, device: str) -> None:
        """Load SciPy's parts before the worker limits the threads of its libraries."""
        del device
        import scipy.interpolate
        import scipy.ndimage
        import scipy.spatial.transform
        import scipy.special  # noqa: F401

    def process(self, segment: Segment) -> dict[str, Any]:
        """See the class."""
        start, _ = segment.frames
        target = segment.source - start
        landmarks, usable = np.asarray(segment["landmarks"], np.float32), np.asarray(segment["usable"], bool)
        shape = np.where(usable[:, None, None], landmarks, 0).astype(np.float32)[target]
        shown = np.full(len(target), -1, np.int64)
        times = segment.out_pts.astype(np.float64) * float(segment.time_base)
        blend = ease(np.asarray(segment["strength"], np.float64), usable[target], times)
        if (blend > 0).any():
            analysis = analysis_of(segment, landmarks, usable)
            amplitude = float(np.clip(segment["liveliness"] / segment["unit"], *AMPLITUDE))
            for run in itertools.starmap(slice, runs(blend > 0)):
                frontal, wanted = recomposed(
                    analysis,
                    segment["geometry"],
                    amplitude * segment["eye"] * segment["moved"][run],
                    target[run],
                )
                mixed = analysis.frontal[target[run]].copy()
                mixed[:, JAW_AND_MOUTH] += blend[run, None, None] * (frontal - mixed)[:, JAW_AND_MOUTH]
                pixels = analysis.pose.project(mixed, target[run])
                shape[run, 17 : MOUTH[0]] = landmarks[target[run]][:, 17 : MOUTH[0]]
                shape[run, JAW], shape[run, MOUTH[0] :] = pixels[:, JAW], pixels[:, MOUTH]
                shown[run] = analysis.choose(target[run], wanted, times[run]) + start
        return {"exemplar": shown, "shape": shape, "blend": blend.astype(np.float32)}


def recomposed(
    analysis: SegmentAnalysis, geometry: np.ndarray, moved: np.ndarray, target: np.ndarray
) -> tuple[np.ndarray, Wanted]:
    """Put new expressions in the place of the frames' own.

    Args:
        analysis: of the segment.
        geometry: float32[37, 2], the person's mean lower face, millimetres.
        moved: float[N, 37, 2], millimetres.
        target: int64[N], frames of the segment under the mouths.

    Returns:
        Frontal landmarks float64[N, 68, 2], and the mouths that they have: no further open than this person's, no further closed
        than their lips meet.
    """
    mouths, speaker = analysis.mouths, analysis.speaker
    frontal = analysis.frontal[target].copy()
    lower = np.asarray(geometry, np.float64) + moved
    jaw = lower[:, : len(JAW)]
    frontal[:, JAW] += JAW_SHARE[:, None] * (jaw - frontal[:, JAW])
    frontal[:, MOUTH] = lower[:, len(JAW) :]
    opening, width = opening_of(frontal, mouths.eye), width_of(frontal, mouths.eye)
    limited = soft_limits(opening, speaker.meet, speaker.top)
    shut = np.clip(1.2 - (limited - speaker.meet) / 0.02, 0, 1)
    frontal[:, MOUTH] = keep_lips_apart(set_opening_and_width(frontal, limited, width, mouths.eye))[:, MOUTH]
    return frontal, Wanted(limited, width, shut)
