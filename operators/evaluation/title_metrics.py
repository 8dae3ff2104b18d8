"""Metrics of whole outputs that measure the written files: landmarks, identity and SyncNet's scores.

All are off by default: they decode the output again, which takes about as long as dubbing it. Metrics that share a
measurement make it once.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

import numpy as np

import retalk_models
from operators.evaluation.identity import csim, identity_drift
from operators.evaluation.landmark_tracks import MODELS as TRACK_MODELS
from operators.evaluation.landmark_tracks import LandmarkTrack, track_landmarks
from operators.evaluation.lip_leak import lip_leak, silent_at
from operators.evaluation.metric import FinishedDub, NoValueError, TitleMetric
from operators.evaluation.mouth_distance import mouth_distance
from operators.evaluation.mouth_tracks import LagCorrelation, lag_correlation, opening_track
from operators.media.audio import load_audio
from operators.media.container import COVER, open_input
from operators.storage.files import kept_by_file
from retalk_models.registry.registry import home_registry

if TYPE_CHECKING:
    from torch import nn

    from operators.evaluation.sync_protocols import ClipSync


class LipLeak(TitleMetric):
    """Share of silent frames on which the mouth moves (`operators.evaluation.lip_leak`)."""

    name = "lip_leak"
    models = TRACK_MODELS
    better = "lower"
    on = False

    def measure(self, dub: FinishedDub) -> float:
        """Return the share; NaN with less than 0.4 s of silence."""
        track = track_landmarks(dub.output)
        return lip_leak(track.times, _opening(track), silent_at(load_audio(dub.speech), track.times))


class OpeningCorrelation(TitleMetric):
    """Correlation of the mouth's opening with that of the person who really spoke, at lag 0, -1 ... 1.

    For speech that comes from a video of its speaker; needs no weights.
    """

    name = "opening_r"
    models = TRACK_MODELS
    better = "higher"
    on = False

    def measure(self, dub: FinishedDub) -> float:
        """Return Pearson's r; NaN where the speech has no picture of its speaker."""
        return _agreement(dub).r


class OpeningLag(TitleMetric):
    """Frames of 25 a second by which the mouth comes late: where `OpeningCorrelation` is highest within 10 frames."""

    name = "opening_lag"
    models = TRACK_MODELS
    unit = "frames"
    on = False

    def measure(self, dub: FinishedDub) -> float:
        """Return the lag; NaN where the speech has no picture of its speaker."""
        return _agreement(dub).best_lag


class MouthDistance(TitleMetric):
    """LMD against the source video, per cent of the eyes' distance: for videos that are dubbed with their own sound."""

    name = "lmd"
    models = TRACK_MODELS
    unit = "%"
    better = "lower"
    on = False

    def measure(self, dub: FinishedDub) -> float:
        """Return the LMD; NaN where no frame of both shows a face."""
        result, truth = track_landmarks(dub.output), track_landmarks(dub.video)
        count = min(len(result.found), len(truth.found))
        both = result.found[:count] & truth.found[:count]
        return (
            mouth_distance(result.landmarks[:count][both], truth.landmarks[:count][both])
            if both.any()
            else math.nan
        )


class Csim(TitleMetric):
    """CSIM (dlib) of the output and its source video (`operators.evaluation.identity`)."""

    name = "csim_dlib"
    models = TRACK_MODELS
    better = "higher"
    on = False

    def measure(self, dub: FinishedDub) -> float:
        """Return the mean cosine; NaN where one of the two shows no face."""
        result, source = track_landmarks(dub.output).descriptors, track_landmarks(dub.video).descriptors
        return csim(result, source) if len(result) and len(source) else math.nan


class IdentityDrift(TitleMetric):
    """Growth of the distance to the person from the output's first third to its last."""

    name = "identity_drift"
    models = TRACK_MODELS
    better = "lower"
    on = False

    def measure(self, dub: FinishedDub) -> float:
        """Return the growth; NaN for short outputs."""
        track, source = track_landmarks(dub.output), track_landmarks(dub.video)
        if not len(source.descriptors):
            return math.nan
        return identity_drift(track.times[track.described], track.descriptors, source.descriptors)


class _Sync(TitleMetric):
    """A number of SyncNet's; needs `syncnet_v2.model`, and for tracked protocols `s3fd-619a316812.pth`.

    Args:
        protocol: one of `operators.evaluation.sync_protocols.PROTOCOLS`.
        weights: home of other model files than the official ones (its folder ``models``).
    """

    on = False
    models = ("syncnet_v2.model", "s3fd-619a316812.pth")

    def __init__(self, protocol: str = "tracked", weights: str = "") -> None:
        self._protocol, self._weights = protocol, weights

    def scored(self, dub: FinishedDub) -> str:
        """Return the fsspec URL of the file that is scored with its own sound."""
        return dub.output

    def clip(self, dub: FinishedDub) -> ClipSync:
        """Score the file.

        Raises:
            NoValueError: it has no row.
        """
        found = _scored(self.scored(dub), self._protocol, self._weights)
        if not found.rows:
            raise NoValueError(found.reason)
        return found


class LseD(_Sync):
    """LSE-D of the output, by the protocol "tracked" unless told otherwise."""

    name = "lse_d"
    better = "lower"

    def measure(self, dub: FinishedDub) -> float:
        """Return the mean over tracks."""
        return self.clip(dub).lse_d


class LseC(_Sync):
    """LSE-C of the output, by the protocol "tracked" unless told otherwise."""

    name = "lse_c"
    better = "higher"

    def measure(self, dub: FinishedDub) -> float:
        """Return the mean over tracks."""
        return self.clip(dub).lse_c


class LseDSource(LseD):
    """LSE-D of the source video with its own sound, to hold the output's against; NaN without sound."""

    name = "lse_d_source"

    def scored(self, dub: FinishedDub) -> str:
        """Return the source's URL."""
        return dub.video


class LseCSource(LseC):
    """LSE-C of the source video with its own sound, to hold the output's against; NaN without sound."""

    name = "lse_c_source"

    def scored(self, dub: FinishedDub) -> str:
        """Return the source's URL."""
        return dub.video


class LseOffset(_Sync):
    """Frames of 25 a second by which SyncNet finds the sound early, of the longest track."""

    name = "lse_offset"
    unit = "frames"

    def measure(self, dub: FinishedDub) -> float:
        """Return the offset."""
        offset = self.clip(dub).offset
        return math.nan if offset is None else offset


def _opening(track: LandmarkTrack) -> np.ndarray:
    return np.where(track.found, opening_track(track.landmarks), np.nan)


def _agreement(dub: FinishedDub) -> LagCorrelation:
    """Agreement of the output's mouth with the speaker's; NaN without a picture of the speaker."""
    with open_input(dub.speech) as container:
        if not any(not stream.disposition & COVER for stream in container.streams.video):
            return LagCorrelation(math.nan, math.nan, math.nan)
    speaker, result = track_landmarks(dub.speech), track_landmarks(dub.output)
    if min(speaker.found.sum(), result.found.sum()) < 2:
        return LagCorrelation(math.nan, math.nan, math.nan)
    tracks = [
        part
        for one in (speaker, result)
        for part in (one.times[one.found], opening_track(one.landmarks[one.found]))
    ]
    return lag_correlation(*tracks)


@functools.cache
def _networks(tracked: bool, weights: str) -> tuple[nn.Module, nn.Module | None]:
    # One error names the files of both that are missing.
    registry = home_registry(weights)
    parts = registry.catalog.networks
    names = ("syncnet", "s3fd") if tracked else ("syncnet",)
    registry.require([part.file for name in names for part in parts[name]])
    found = [retalk_models.load(name, registry=registry) for name in names]
    return found[0], found[1] if tracked else None


@kept_by_file(8)
def _scored(url: str, protocol: str, weights: str) -> ClipSync:
    # torch is loaded only where these metrics are measured.
    from operators.evaluation.sync_protocols import PROTOCOLS, score_clip
    from operators.faces.s3fd import S3fdDetector

    chosen = PROTOCOLS[protocol]
    syncnet, s3fd = _networks(chosen.tracked, weights)
    return score_clip(url, chosen, syncnet, detect=S3fdDetector(s3fd) if s3fd is not None else None)
