"""LSE-D and LSE-C of videos by the three protocols of the literature, which give different numbers and are never mixed.

`lrs`: whole frames, as Wav2Lip scores LRS2, LRS3 and LRW. `tracked`: faces tracked and cropped as SyncNet's own
pipeline does, a row a track. `latentsync`: the same with shorter tracks, averaged over each video first. See
docs/evaluation.md#lse-d-and-lse-c.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from torch import nn

from operators.evaluation.face_tracks import FaceTrack, crop_face, link_faces
from operators.evaluation.lse import SAMPLE_RATE, SyncScore
from operators.evaluation.syncnet import RATE, SIDE, score_crops
from operators.media.audio import load_audio
from operators.media.frames import Frame
from operators.media.probe import VideoInfo, probe_video
from operators.media.reader import read_frames

#: uint8[h, w, 3] RGB to float[n, >=4] x1, y1, x2, y2 px, e.g. `operators.faces.s3fd.S3fdDetector`.
Detect = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Protocol:
    """One way to score videos.

    Attributes:
        name: as in `PROTOCOLS`.
        tracked: faces are tracked and cropped; otherwise whole frames are squashed.
        longer_than: tracks of more detections than this have a row.
        per_video: rows are averaged over each video before they are averaged over the set.
    """

    name: str
    tracked: bool
    longer_than: int = 0
    per_video: bool = False


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("lrs", tracked=False),
        Protocol("tracked", tracked=True, longer_than=100),
        Protocol("latentsync", tracked=True, longer_than=49, per_video=True),
    )
}


@dataclass(frozen=True)
class TrackSync:
    """A scored face track: frames [start, stop) of 25 a second, and its score."""

    start: int
    stop: int
    score: SyncScore


@dataclass(frozen=True)
class ClipSync:
    """The scores of one video.

    Attributes:
        url: its URL.
        rows: of its tracks, or one of the whole video.
        reason: why there is no row, "" where there is one.
    """

    url: str
    rows: tuple[TrackSync, ...]
    reason: str = ""

    @property
    def lse_d(self) -> float:
        """Mean of the rows' LSE-D, NaN without a row; lower is better."""
        return _mean([row.score.lse_d for row in self.rows])

    @property
    def lse_c(self) -> float:
        """Mean of the rows' LSE-C, NaN without a row; higher is better."""
        return _mean([row.score.lse_c for row in self.rows])

    @property
    def offset(self) -> int | None:
        """Offset of the longest row, frames of 25 a second; positive: the sound is early. None without a row."""
        longest = max(self.rows, key=lambda row: row.stop - row.start, default=None)
        return None if longest is None else longest.score.offset


@dataclass(frozen=True)
class SetSync:
    """The scores of a set of videos.

    Attributes:
        lse_d: mean LSE-D, NaN if nothing was scored.
        lse_c: mean LSE-C.
        attempted: videos.
        scored: videos with a row.
        rows: rows of all videos.
        left_out: reasons and numbers of the others.
    """

    lse_d: float
    lse_c: float
    attempted: int
    scored: int
    rows: int
    left_out: dict[str, int]


def score_clip(
    url: str,
    protocol: Protocol,
    network: nn.Module,
    *,
    speech: str = "",
    detect: Detect | None = None,
    detections: Sequence[np.ndarray] | None = None,
    cuts: Sequence[int] = (),
) -> ClipSync:
    """Score a video, decoded once (twice where faces have to be looked for), in memory that does not grow with it.

    Args:
        url: fsspec URL of the video.
        protocol: one of `PROTOCOLS`.
        network: SyncNet (`retalk_models.load("syncnet")`) on its device.
        speech: another file with the sound; default: the video's own.
        detect: finds faces; tracked protocols need it unless ``detections`` are given.
        detections: boxes of each source frame, float[k, >=4], e.g. made of landmarks that are known already.
        cuts: source frames with which new shots begin.

    Raises:
        ValueError: a tracked protocol without ``detect`` and ``detections``, or detections that are not one a frame.
        MediaError: a file cannot be read, or has no sound.
    """
    info = probe_video(url)
    sound = load_audio(speech or url, SAMPLE_RATE)
    samples = np.clip(np.rint(sound * 32768), -32768, 32767).astype(np.int16)
    shown = shown_frames(info)
    if not protocol.tracked:
        pictures = (frame.rgb_resized((SIDE, SIDE)) for frame in _frames(url, info, shown))
        score = score_crops(network, pictures, len(shown), samples)
        if score is None:
            return ClipSync(url, (), "shorter than a window of SyncNet")
        return ClipSync(url, (TrackSync(0, len(shown), score),))
    if detections is None:
        if detect is None:
            raise ValueError(f"protocol {protocol.name} needs a face detector or detections")
        detections = [detect(frame.rgb()) for frame in read_frames(url, 0, info.n_frames, info)]
    if len(detections) != info.n_frames:
        raise ValueError(f"{url}: detections of {len(detections)} frames, but the video has {info.n_frames}")
    tracks = link_faces(
        [detections[index] for index in shown],
        [int(np.searchsorted(shown, cut)) for cut in cuts],
        longer_than=protocol.longer_than,
    )
    rows = []
    for track in tracks:
        per_frame = SAMPLE_RATE // RATE
        heard = samples[track.start * per_frame : track.stop * per_frame]
        score = score_crops(network, _crops(url, info, shown, track), len(track.boxes), heard)
        if score is not None:
            rows.append(TrackSync(track.start, track.stop, score))
    if rows:
        return ClipSync(url, tuple(rows))
    longest = f"no face of more than 100 px over more than {protocol.longer_than} frames"
    return ClipSync(url, (), "the sound ends before the faces appear" if tracks else longest)


def pool(clips: Iterable[ClipSync], protocol: Protocol) -> SetSync:
    """Average a set's scores as the protocol does: over rows, or over videos."""
    clips = list(clips)
    scored = [clip for clip in clips if clip.rows]
    rows = [row.score for clip in scored for row in clip.rows]
    averaged: Sequence[ClipSync | SyncScore] = scored if protocol.per_video else rows
    return SetSync(
        _mean([one.lse_d for one in averaged]),
        _mean([one.lse_c for one in averaged]),
        len(clips),
        len(scored),
        len(rows),
        dict(Counter(clip.reason for clip in clips if not clip.rows)),
    )


def shown_frames(info: VideoInfo, rate: int = RATE) -> np.ndarray:
    """Return int64[n], the source frames that are shown in the middle of each 1/``rate`` s from the first one on."""
    count = max(1, round(Fraction(info.duration) * rate))
    times = (info.pts - info.pts[0]) * float(info.time_base)
    # A frame that begins right in the middle does not count yet, whatever the rounding.
    middles = (np.arange(count) + 0.5) / rate - 1e-6
    return np.searchsorted(times, middles, side="right") - 1


def _frames(url: str, info: VideoInfo, wanted: np.ndarray) -> Iterator[Frame]:
    """Ascending source frames, which may repeat."""
    if not len(wanted):
        return
    counts = Counter(wanted.tolist())
    for frame in read_frames(url, int(wanted[0]), int(wanted[-1]) + 1, info):
        yield from itertools.repeat(frame, counts[frame.index])


def _crops(url: str, info: VideoInfo, shown: np.ndarray, track: FaceTrack) -> Iterator[np.ndarray]:
    frames = _frames(url, info, shown[track.start : track.stop])
    return (crop_face(frame, row) for frame, row in zip(frames, track.geometry()))


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else math.nan
