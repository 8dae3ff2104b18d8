"""An analysed video to clips: runs of usable frames cut to length, crops, mel, and the sound moved into step."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from operators.media.ordered_frames import chosen_frames
from operators.numeric.masks import runs
from operators.retalk import framing
from operators.retalk.face_boxes import DEFAULT_PADS
from operators.retalk.mel import HOP, mel_spectrogram
from pipelines.training.data.analysis import Analysis, ShotFaces
from pipelines.training.data.reader import encoded
from pipelines.training.data.schema import (
    COEFFICIENTS,
    MARGIN,
    RATE,
    SAMPLES_PER_FRAME,
    SOUND_MARGIN,
    mel_columns,
    sound_samples,
)
from pipelines.training.data.sources import Source
from pipelines.training.data.store import LeftOut, Settings

#: Mel columns around a clip's own, so that the ends of its spectrogram hear what is beyond them.
CONTEXT = 4
#: Rows and columns of the small pictures whose slopes are a signature.
SIGNATURE = (8, 9)
#: Frames a second below which a video repeats too many frames.
LEAST_RATE = 20.0


@dataclass(frozen=True)
class Piece:
    """A clip before its pixels are read.

    Attributes:
        shot: that it is in.
        first: its first tick.
        frames: ticks.
        face: median width of the face, pixels.
    """

    shot: ShotFaces
    first: int
    frames: int
    face: float


def pieces(source: Source, analysis: Analysis, settings: Settings) -> tuple[list[Piece], list[LeftOut]]:
    """Cut the usable frames of a source into clips; what does not become one is listed with its reason."""
    found, left_out = [], []

    def drop(reason: str, ticks: float, detail: str = "") -> None:
        if ticks:
            left_out.append(LeftOut(source.name, reason, detail, round(ticks / RATE, 3)))

    stop = math.floor(source.stop * RATE) if source.stop else len(analysis.shown)
    ticks = np.arange(math.ceil(source.start * RATE), min(stop, len(analysis.shown)))
    if float(analysis.info.average_rate or RATE) < LEAST_RATE:
        drop("too few frames a second", len(ticks), f"{float(analysis.info.average_rate):.3g}")
        return [], left_out
    if not analysis.sync.in_sync and not settings.keep_out_of_sync:
        drop("out of sync", len(ticks), f"{analysis.sync.by}: {analysis.sync.confidence:.2f}")
        return [], left_out
    seen = 0
    for shot in analysis.shots:
        inside = ticks[(analysis.shown[ticks] >= shot.start) & (analysis.shown[ticks] < shot.stop)]
        seen += len(inside)
        at = analysis.shown[inside] - shot.start
        valid, width = shot.valid[at], np.ptp(shot.landmarks[at][..., 0], axis=1)
        large = width >= settings.least_face
        drop("face not usable", int((~valid).sum()), f"shot {shot.number}")
        drop("face too small", int((valid & ~large).sum()), f"shot {shot.number}")
        for low, high in runs(valid & large):
            if high - low < settings.least_seconds * RATE:
                drop("usable for too short a time", high - low, f"shot {shot.number}")
                continue
            count = math.ceil((high - low) / (settings.most_seconds * RATE))
            edges = np.linspace(low, high, count + 1).round().astype(int).tolist()
            for a, b in itertools.pairwise(edges):
                found.append(Piece(shot, int(inside[a]), b - a, float(np.median(width[a:b]))))
    drop("no face", len(ticks) - seen)
    return found, left_out


def make_clip(source: Source, analysis: Analysis, piece: Piece, settings: Settings) -> dict[str, Any]:
    """Read a clip's pixels and sound: a row of `schema.CLIP`.

    Raises:
        DecodeError: a frame cannot be decoded.
    """
    info, shot, sync = analysis.info, piece.shot, analysis.sync
    shown = analysis.shown[piece.first : piece.first + piece.frames]
    at = shown - shot.start
    heads_at = framing.crop_boxes(shot.landmarks, shot.valid)[at]
    faces_at = framing.face_boxes(shot.landmarks, shot.valid, DEFAULT_PADS, (info.width, info.height))[at]
    heads, faces = [], []
    unique, back = np.unique(shown, return_inverse=True)
    first_at = np.searchsorted(shown, unique)
    for k, frame in enumerate(chosen_frames(source.url, unique, info)):
        assert frame.index == unique[k]
        if settings.heads:
            heads.append(framing.cut(frame, heads_at[first_at[k]], settings.heads))
        if settings.faces:
            faces.append(framing.cut(frame, faces_at[first_at[k]], settings.faces))
    sound, mel = sound_at(analysis.sound, piece.first - sync.offset, piece.frames)
    pictures = heads or faces
    files = [
        [one[k] for k in back] if one else []
        for one in (encoded(np.array(heads), settings.quality), encoded(np.array(faces), settings.quality))
    ]
    return {
        "id": f"{source.name}/{shot.number}/{piece.first}",
        "source": source.name,
        "identity": source.identity,
        "shot": shot.number,
        "first": int(shown[0]),
        "frames": piece.frames,
        "face": piece.face,
        "sync_by": sync.by,
        "sync_offset": sync.offset,
        "sync_confidence": sync.confidence,
        "signature": signature(pictures, mel),
        "heads": files[0],
        "faces": files[1],
        "head_boxes": heads_at.astype(np.float32),
        "face_boxes": faces_at.astype(np.float32),
        "landmarks": shot.landmarks[at].astype(np.float32),
        "coefficients": shot.coefficients[at]
        if len(shot.coefficients)
        else np.zeros((0, COEFFICIENTS), np.float32),
        "mel": mel,
        "sound": sound,
    }


def sound_at(sound: np.ndarray, first: float, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Sound and mel of a clip, with the margins of the schema; silence where the sound has ended or not begun.

    Args:
        sound: float32[k], 16 kHz.
        first: tick at which the clip's first frame hears it, may lie outside.
        frames: of the clip.

    Returns:
        int16[S] and float32[M, 80].
    """
    around = CONTEXT * HOP
    start = round(first * SAMPLES_PER_FRAME) - SOUND_MARGIN - around
    stop = start + sound_samples(frames) + 2 * around
    part = np.zeros(stop - start, np.float32)
    low, high = min(max(start, 0), len(sound)), min(max(stop, 0), len(sound))
    part[low - start : high - start] = sound[low:high]
    columns = mel_spectrogram(part)[:, CONTEXT : CONTEXT + mel_columns(frames)]
    samples = np.clip(np.rint(part[around:-around] * 32768), -32768, 32767).astype(np.int16)
    return samples, np.ascontiguousarray(columns.T, np.float32)


def signature(pictures: list[np.ndarray], mel: np.ndarray) -> str:
    """32 hexadecimal digits, of copies nearly the same bits: slopes of the mean picture, and of the level of the sound over time."""
    rows, columns = SIGNATURE
    heard = cv2.resize(mel[MARGIN:-MARGIN].T, (columns, rows), interpolation=cv2.INTER_AREA)
    seen = np.zeros((rows, columns), np.float32)
    if pictures:
        mean = np.mean([cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in pictures], axis=0)
        seen = cv2.resize(mean.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA)
    bits = np.concatenate([(np.diff(one, axis=1) > 0).reshape(-1) for one in (seen, heard)])
    return np.packbits(bits).tobytes().hex()
