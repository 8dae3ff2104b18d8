"""Properties of a pair that scores are plotted against: the head's yaw, the face's height, the speech's loudness.

They say something of a pair, not of a result, and need no weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from operators.evaluation.landmark_tracks import PlainLandmarks
from operators.evaluation.metric import FinishedDub, TitleMetric
from operators.faces.geometry import head_pose
from operators.media.loudness import loudness_of
from operators.media.probe import probe_video
from operators.media.reader import read_frames
from operators.storage.files import kept_by_file

#: Frames of a video that are looked at, at most.
LOOKS = 8


@dataclass(frozen=True)
class FaceView:
    """Yaw and size of a video's largest face, medians over a few frames.

    Attributes:
        yaw: degrees from the front, without a sign; NaN without a face.
        height: from the brows to the chin, px; NaN without a face.
    """

    yaw: float
    height: float


@kept_by_file(64)
def face_view(url: str) -> FaceView:
    """Look at `LOOKS` frames of a video, evenly spaced.

    Args:
        url: fsspec URL.

    Raises:
        MediaError: the file cannot be read.
    """
    plain, info = PlainLandmarks(), probe_video(url)
    chosen = np.unique(np.linspace(0, info.n_frames - 1, LOOKS).round().astype(int))
    yaws, heights = [], []
    for index in chosen.tolist():
        frame = next(iter(read_frames(url, index, index + 1, info)))
        luma = np.ascontiguousarray(frame.luma())
        box = plain.detect(luma)
        if box is None:
            continue
        points = plain.landmarks(luma, box)
        yaws.append(abs(head_pose(points, frame.size).yaw))
        heights.append(float(np.ptp(points[:, 1])))
    return (
        FaceView(float(np.median(yaws)), float(np.median(heights))) if yaws else FaceView(math.nan, math.nan)
    )


class Yaw(TitleMetric):
    """Yaw of the source's face, degrees from the front: median over a few frames."""

    name = "yaw_degrees"
    unit = "degrees"
    on = False

    def measure(self, dub: FinishedDub) -> float:
        """Return the angle; NaN without a face."""
        return face_view(dub.video or dub.output).yaw


class FaceHeight(TitleMetric):
    """Height of the source's face, px: median over a few frames."""

    name = "face_height"
    unit = "px"
    on = False

    def measure(self, dub: FinishedDub) -> float:
        """Return the height; NaN without a face."""
        return face_view(dub.video or dub.output).height


class SpeechLoudness(TitleMetric):
    """Integrated loudness of the speech (EBU R 128)."""

    name = "loudness_lufs"
    unit = "LUFS"
    on = False

    def measure(self, dub: FinishedDub) -> float:
        """Return LUFS."""
        return loudness_of(dub.speech).lufs
