"""SyncNet's features of lips and sound, streamed, and the score of one clip of crops.

Windows are 5 frames of 224x224 and 20 columns of MFCC from column 4 times the frame; see
docs/evaluation.md#lse-d-and-lse-c.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import cast

import cv2
import numpy as np
import torch
from torch import nn

from operators.evaluation.lse import SAMPLE_RATE, SyncScore, distance_sums, mfcc, score_of_sums
from retalk_models.networks.syncnet import SyncNet

#: Frames a second that SyncNet was trained with.
RATE = 25
#: Side of its pictures, frames and MFCC columns of a window, columns a frame.
SIDE, FRAMES, COLUMNS, STEP = 224, 5, 20, 4
#: Length of a feature.
SIZE = 1024
#: Windows of sound that go through the network at once at least.
SOUNDS = 256
#: Frames less than a clip has that it has windows: SyncNet's own count, one fewer than fit.
UNUSED = 5


def windows(frames: int, samples: int) -> int:
    """Return how many windows a clip of so many frames and 16-kHz samples is scored by, 0 or more."""
    return max(0, min(frames, samples // (SAMPLE_RATE // RATE)) - UNUSED)


def lip_features(network: nn.Module, frames: Iterable[np.ndarray], batch: int = 20) -> Iterator[np.ndarray]:
    """Yield float32[k, 1024], features of windows of 5 consecutive frames, ``batch`` windows at a time.

    Args:
        network: SyncNet (`retalk_models.load("syncnet")`) on its device.
        frames: uint8[h, w, 3] RGB at 25 a second, any size: squashed to 224x224.
        batch: windows that go through the network at once; pictures are held for one batch only.
    """
    device = next(network.parameters()).device
    kept = FRAMES - 1
    shown = np.empty((3, kept + batch, SIDE, SIDE), np.uint8)
    # One buffer for all batches: fresh memory of this size costs as much as filling it.
    values = torch.empty(shown.shape, device=device)
    pictures, held = iter(frames), 0
    while True:
        for picture in itertools.islice(pictures, shown.shape[1] - held):
            fitted = picture if picture.shape[:2] == (SIDE, SIDE) else cv2.resize(picture, (SIDE, SIDE))
            for plane, channel in zip(shown[::-1], cv2.split(fitted)):
                plane[held] = channel
            held += 1
        if held < FRAMES:
            return
        with torch.inference_mode():
            clip = values[:, :held].copy_(torch.from_numpy(shown[:, :held]).to(device))
            found = cast(SyncNet, network).forward_clip(clip).cpu().numpy()
        yield found
        shown[:, :kept], held = shown[:, held - kept : held], kept


def sound_features(network: nn.Module, coefficients: np.ndarray, start: int, stop: int) -> np.ndarray:
    """Return float32[stop - start, 1024], features of the sound at frames [start, stop).

    Args:
        network: SyncNet on its device.
        coefficients: float64[n, 13], `operators.evaluation.lse.mfcc` of the whole clip.
        start: first frame.
        stop: one after the last.

    Raises:
        ValueError: the sound is too short.
    """
    if start == stop:
        return np.zeros((0, SIZE), np.float32)
    if len(coefficients) < STEP * (stop - 1) + COLUMNS:
        raise ValueError(
            f"{len(coefficients)} MFCC columns give fewer than {stop} windows: {COLUMNS} columns each, {STEP} apart"
        )
    part = coefficients[STEP * start : STEP * (stop - 1) + COLUMNS].astype(np.float32)
    seen = np.lib.stride_tricks.sliding_window_view(part, COLUMNS, axis=0)[::STEP].copy()
    device = next(network.parameters()).device
    with torch.inference_mode():
        return cast(SyncNet, network).forward_aud(torch.from_numpy(seen[:, None]).to(device)).cpu().numpy()


def score_crops(
    network: nn.Module,
    frames: Iterable[np.ndarray],
    count: int,
    samples: np.ndarray,
    *,
    batch: int = 20,
    reach: int = 15,
) -> SyncScore | None:
    """Score one clip of a face in memory that does not grow with it, but for the sound.

    Args:
        network: SyncNet on its device.
        frames: uint8[h, w, 3] RGB at 25 a second.
        count: how many they are.
        samples: int16[n], 16 kHz, mono, from the first frame on.
        batch: windows of frames at a time.
        reach: offsets tried on both sides, frames.

    Returns:
        LSE-D, LSE-C, offset; None where the clip has no window.

    Raises:
        ValueError: there are fewer frames than ``count``.
    """
    total = windows(count, len(samples))
    if not total:
        return None
    coefficients = mfcc(samples)
    sums, done = np.zeros(2 * reach + 1), 0
    # Sounds of windows [done - reach, known); those outside the clip are zeros.
    around, known = np.zeros((reach, SIZE), np.float32), 0
    for lips in lip_features(network, itertools.islice(frames, total + FRAMES - 1), batch):
        need = done + len(lips) + reach
        stop = min(max(need, known + SOUNDS), total)
        more = sound_features(network, coefficients, known, stop) if stop > known < need else around[:0]
        known += len(more)
        after = np.zeros((max(0, need - known), SIZE), np.float32)
        around = np.concatenate([around, more, after])
        known += len(after)
        sums += distance_sums(lips, around[: len(lips) + 2 * reach])
        around, done = around[len(lips) :], done + len(lips)
    if done < total:
        raise ValueError(f"only {done} windows of frames came, {total} were announced")
    return score_of_sums(sums, total)
