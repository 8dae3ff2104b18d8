"""Made-up data sets in the format of `retalk train prepare`: quick to write, and with a mouth that follows the sound."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from operators.faces.geometry import head_model
from operators.retalk.mel import HOP, SAMPLE_RATE, mel_spectrogram
from pipelines.training.data.finish import finish
from pipelines.training.data.reader import encoded
from pipelines.training.data.schema import COLUMNS_PER_FRAME, RATE, mel_columns, sound_samples
from pipelines.training.data.store import DataSet, Receipt, Settings

DEFAULT = Settings()
TINY = Settings(heads=64, faces=48, validation=0.25, test=0.0)


def made_clip(
    name: str, identity: str, frames: int = 30, settings: Settings = DEFAULT, seed: int = 0
) -> dict[str, Any]:
    """A clip whose mouth opens as its sound is loud; picture and voice are the identity's own."""
    random = np.random.default_rng(seed)
    look = np.random.default_rng(sum(identity.encode()))
    samples = sound_samples(frames)
    knots = np.arange(0, samples + 1600, 1600)
    loud = np.interp(np.arange(samples), knots, random.uniform(0, 1, len(knots)))
    pitch = 120 + 100 * look.uniform()
    time = np.arange(samples) / SAMPLE_RATE
    voice = sum(np.sin(2 * np.pi * pitch * k * time) / k for k in range(1, 20))
    sound = (6000 * loud * voice / 3).astype(np.int16)
    first = sound_samples(0) // 2
    opening = loud[first + np.arange(frames) * SAMPLE_RATE // RATE]
    model = head_model()[:, :2] * look.uniform(0.95, 1.05, 2) + [0, -20]
    landmarks = np.repeat(model[None], frames, 0)
    landmarks[:, 48:68, 1] += (
        12 * opening[:, None] * np.where(np.isin(np.arange(48, 68), [55, 56, 57, 58, 59, 65, 66, 67]), 1, 0)
    )
    landmarks[:, 4:13, 1] += 10 * opening[:, None]
    landmarks = (landmarks * 0.8 + 128).astype(np.float32)
    color = look.integers(90, 200, 3).tolist()

    def drawn(side: int, points: np.ndarray) -> np.ndarray:
        picture = np.full((side, side, 3), 40, np.uint8)
        cv2.fillConvexPoly(picture, cv2.convexHull(np.round(points).astype(np.int32)), color)
        cv2.fillPoly(picture, [np.round(points[48:60]).astype(np.int32)], (180, 60, 70))
        cv2.fillPoly(picture, [np.round(points[60:68]).astype(np.int32)], (30, 10, 10))
        return picture

    heads = [drawn(settings.heads, p * settings.heads / 256) for p in landmarks] if settings.heads else []
    low, high = landmarks.min((0, 1)), landmarks.max((0, 1))
    faces = (
        [drawn(settings.faces, (p - low) / (high - low) * settings.faces) for p in landmarks]
        if settings.faces
        else []
    )
    mel = mel_spectrogram(sound / 32768.0).T[: mel_columns(frames)].astype(np.float32)
    assert mel.shape[0] == mel_columns(frames), (mel.shape, HOP, COLUMNS_PER_FRAME)
    return {
        **{"id": name, "source": name.split("/", maxsplit=1)[0], "identity": identity, "shot": 0, "first": 0},
        **{
            "frames": frames,
            "face": 112.0,
            "sync_by": "landmarks",
            "sync_offset": 1.0,
            "sync_confidence": 0.5,
        },
        "signature": hashlib.md5(f"{identity} {seed} {frames}".encode()).hexdigest(),
        "heads": encoded(heads, settings.quality),
        "faces": encoded(faces, settings.quality),
        "head_boxes": np.tile(np.array([0, 0, 256, 256], np.float32), (frames, 1)),
        "face_boxes": np.tile(np.concatenate([low, high]).astype(np.float32), (frames, 1)),
        "landmarks": landmarks,
        "coefficients": np.zeros((0, 262), np.float32),
        "mel": mel,
        "sound": sound,
    }


def made_set(
    folder: Path,
    identities: Sequence[str] = ("ann", "bob", "cid", "dee"),
    clips: int = 2,
    frames: int = 30,
    settings: Settings = TINY,
) -> DataSet:
    """A finished data set, a shard for each identity."""
    data = DataSet(str(folder))
    data.begin(settings, {"sources": "made"})
    receipts = {}
    for number, identity in enumerate(identities):
        made = (
            made_clip(f"{identity}-{k}/0/0", identity, frames, settings, 100 * number + k)
            for k in range(clips)
        )
        receipts[f"{number:05d}"] = data.write_shard(f"{number:05d}", made, Receipt(seconds=frames / RATE))
    finish(data, settings, receipts)
    return data
