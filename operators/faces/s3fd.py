"""Boxes of faces by S3FD (Zhang et al. 2017), from its maps; see docs/networks.md#s3fd."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import nn

#: SSD variances of centre and size, the same in RetinaFace.
VARIANCES = (0.1, 0.2)
S3FD_STRIDES = (4, 8, 16, 32, 64, 128)
#: Means that are subtracted of blue, green and red.
MEANS = np.array([104.0, 117.0, 123.0], np.float32)
#: Least side of a picture that the network's poolings leave something of, pixels.
LEAST = 32


def suppress(detections: np.ndarray, overlap: float) -> np.ndarray:
    """Non-maximum suppression with inclusive pixel areas.

    Args:
        detections: float[n, >=5] x1, y1, x2, y2, score.
        overlap: boxes that overlap a better one by more (intersection over union) go.

    Returns:
        int64[m] indices to keep, best score first.
    """
    x1, y1, x2, y2, score = detections[:, :5].T
    area = (x2 - x1 + 1) * (y2 - y1 + 1)
    order, keep = score.argsort()[::-1], []
    while order.size:
        best, rest = order[0], order[1:]
        keep.append(best)
        w = np.maximum(0.0, np.minimum(x2[best], x2[rest]) - np.maximum(x1[best], x1[rest]) + 1)
        h = np.maximum(0.0, np.minimum(y2[best], y2[rest]) - np.maximum(y1[best], y1[rest]) + 1)
        shared = w * h
        order = rest[shared / (area[best] + area[rest] - shared) <= overlap]
    return np.array(keep, np.int64)


def corners(centre: np.ndarray, size: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Corner boxes of anchors (centre, size) moved by the network's offsets, float[n, 4]."""
    middle = centre + offsets[:, :2] * VARIANCES[0] * size
    extent = size * np.exp(offsets[:, 2:] * VARIANCES[1])
    low = middle - extent / 2
    return np.concatenate([low, low + extent], axis=1)


def decode_s3fd(
    scores: list[np.ndarray], offsets: list[np.ndarray], *, overlap: float = 0.3, threshold: float = 0.5
) -> np.ndarray:
    """Boxes of one picture from S3FD's six levels.

    Args:
        scores: six float32[2, h, w], softmaxed over the first axis.
        offsets: six float32[4, h, w].
        overlap: of the suppression.
        threshold: scores above it are kept.

    Returns:
        float32[n, 5] x1, y1, x2, y2, score, best first.
    """
    found = []
    for stride, level, offset in zip(S3FD_STRIDES, scores, offsets, strict=True):
        rows, columns = np.nonzero(level[1] > 0.05)
        centre = np.stack([stride / 2 + columns * stride, stride / 2 + rows * stride], 1).astype(np.float32)
        size = np.full_like(centre, stride * 4)
        boxes = corners(centre, size, offset[:, rows, columns].T)
        found.append(np.concatenate([boxes, level[1, rows, columns][:, None]], axis=1))
    detections = np.concatenate(found).astype(np.float32)
    if not len(detections):
        return np.zeros((0, 5), np.float32)
    kept = detections[suppress(detections, overlap)]
    return kept[kept[:, 4] > threshold]


class S3fdDetector:
    """Find the faces of whole pictures as SyncNet's pipeline does.

    Args:
        network: S3FD (`retalk_models.load("s3fd")`) on its device.
        scale: pictures are made this much smaller, but not below the network's least side of 32 pixels.
        threshold: scores of at least this count.
        overlap: of the suppression.
    """

    def __init__(
        self, network: nn.Module, scale: float = 0.25, threshold: float = 0.9, overlap: float = 0.1
    ) -> None:
        self.network, self.scale, self.threshold, self.overlap = network, scale, threshold, overlap

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        """Return float32[n, 5] x1, y1, x2, y2 (px of the picture) and score of uint8[h, w, 3] RGB, best first."""
        scale = max(self.scale, LEAST / min(picture.shape[:2]))
        small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
        values = small[..., ::-1].astype(np.float32) - MEANS
        device = next(self.network.parameters()).device
        with torch.inference_mode():
            maps = self.network(torch.from_numpy(values.transpose(2, 0, 1)[None]).to(device))
            scores = [one.softmax(1)[0].float().cpu().numpy() for one in maps[0::2]]
            offsets = [one[0].float().cpu().numpy() for one in maps[1::2]]
        found = decode_s3fd(scores, offsets, threshold=self.threshold)
        found = found[suppress(found, self.overlap)] if len(found) else found
        return found / np.array([scale] * 4 + [1], np.float32)
