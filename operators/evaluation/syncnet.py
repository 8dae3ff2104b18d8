"""SyncNet's features of lips and sound, streamed, and the score of one clip of crops.

Windows are 5 frames of 224x224 and 20 columns of MFCC from column 4 times the frame; see
docs/evaluation.md#lse-d-and-lse-c.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import cv2
import numpy as np
import torch
from torch import nn

from operators.evaluation.lse import SAMPLE_RATE, SyncScore, mfcc, sync_score

#: Frames a second that SyncNet was trained with.
RATE = 25
#: Side of its pictures, frames and MFCC columns of a window, columns a frame.
SIDE, FRAMES, COLUMNS, STEP = 224, 5, 20, 4
#: Frames less than a clip has that it has windows: SyncNet's own count, one fewer than fit.
UNUSED = 5


def windows(frames: int, samples: int) -> int:
    """Return how many windows a clip of so many frames and 16-kHz samples is scored by, 0 or more."""
    return max(0, min(frames, samples // (SAMPLE_RATE // RATE)) - UNUSED)


def lip_features(network: nn.Module, frames: Iterable[np.ndarray], batch: int = 20) -> np.ndarray:
    """Return float32[n, 1024], a feature of each window of 5 consecutive frames.

    ``batch`` windows go through the network at once; pictures are held for one batch only.

    Args:
        network: SyncNet (`retalk_models.load("syncnet")`) on its device.
        frames: uint8[h, w, 3] RGB at 25 a second, any size: squashed to 224x224.
        batch: windows at a time.
    """
    device = next(network.parameters()).device
    shown = (_bgr(frame) for frame in frames)
    held = list(itertools.islice(shown, FRAMES - 1))
    found = [np.zeros((0, 1024), np.float32)]
    while len(held) == FRAMES - 1 and (more := list(itertools.islice(shown, batch))):
        held += more
        clip = torch.from_numpy(np.stack(held)).to(device).permute(3, 0, 1, 2).float()
        with torch.inference_mode():
            found.append(network.forward_clip(clip).cpu().numpy())
        held = held[-(FRAMES - 1) :]
    return np.concatenate(found)


def sound_features(network: nn.Module, coefficients: np.ndarray, count: int, batch: int = 256) -> np.ndarray:
    """Return float32[count, 1024], features of the sound at the first ``count`` frames.

    Args:
        network: SyncNet on its device.
        coefficients: float64[n, 13], `operators.evaluation.lse.mfcc` of the whole clip.
        count: at most as many as `windows` says.
        batch: windows at a time.

    Raises:
        ValueError: the sound is too short for so many.
    """
    if count and len(coefficients) < STEP * (count - 1) + COLUMNS:
        raise ValueError(
            f"{len(coefficients)} MFCC columns give fewer than {count} windows: {COLUMNS} columns each, "
            f"{STEP} apart, are needed"
        )
    device = next(network.parameters()).device
    all_windows = np.lib.stride_tricks.sliding_window_view(coefficients.astype(np.float32), COLUMNS, axis=0)
    found = [np.zeros((0, 1024), np.float32)]
    for start in range(0, count, batch):
        part = np.ascontiguousarray(all_windows[STEP * start : STEP * min(start + batch, count) : STEP])
        with torch.inference_mode():
            found.append(network.forward_aud(torch.from_numpy(part[:, None]).to(device)).cpu().numpy())
    return np.concatenate(found)[:count]


def score_crops(
    network: nn.Module, frames: Iterable[np.ndarray], samples: np.ndarray, *, batch: int = 20, reach: int = 15
) -> SyncScore | None:
    """Score one clip of a face.

    Args:
        network: SyncNet on its device.
        frames: uint8[h, w, 3] RGB at 25 a second.
        samples: int16[n], 16 kHz, mono, from the first frame on.
        batch: windows of frames at a time.
        reach: offsets tried on both sides, frames.

    Returns:
        LSE-D, LSE-C, offset; None where the clip has no window.
    """
    # One MFCC for the whole clip; frames behind the sound's end are not looked at.
    wanted = len(samples) // (SAMPLE_RATE // RATE)
    lips = lip_features(network, itertools.islice(frames, wanted), batch)
    count = windows(len(lips) + FRAMES - 1 if len(lips) else 0, len(samples))
    if not count:
        return None
    sounds = sound_features(network, mfcc(samples), count)
    return sync_score(lips[:count], sounds, reach)


def _bgr(picture: np.ndarray) -> np.ndarray:
    if picture.shape[:2] != (SIDE, SIDE):
        picture = cv2.resize(picture, (SIDE, SIDE))
    return np.ascontiguousarray(picture[..., ::-1])
