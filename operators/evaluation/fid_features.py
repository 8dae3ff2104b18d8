"""Inception features of one video, kept in a file: a set's FID is made of those of its videos.

The distance belongs to a set, not to a clip. What is measured beside a clip, on whatever node it is, are the features of its frames;
`read_features` brings those of a set together.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

import retalk_models
from operators.evaluation.metric import FinishedDub, TitleMetric
from operators.media.probe import probe_video
from operators.media.reader import read_frames
from operators.storage.files import atomic_write, exists, filesystem, fingerprint, join
from retalk_models.registry.registry import home_registry

if TYPE_CHECKING:
    from torch import nn

#: Frames from one that counts to the next.
EVERY = 5


def features_url(folder: str, video: str) -> str:
    """File that a video's features lie in; another after the video has changed.

    Raises:
        MediaError: the video is missing.
    """
    identity = hashlib.sha256(repr(fingerprint(video)).encode()).hexdigest()[:32]
    return join(folder, f"{identity}.npy")


def read_features(folder: str, videos: Iterable[str]) -> Iterator[np.ndarray]:
    """Yield float32[n, 2048] of each video that `FidFrames` has measured, one at a time; others are passed over."""
    for video in videos:
        try:
            url = features_url(folder, video)
        except ValueError:
            continue
        if exists(url):
            fs, path = filesystem(url)
            with fs.open(path, "rb") as file:
                yield np.load(file, allow_pickle=False)


class FidFrames(TitleMetric):
    """Number of the output's frames whose features were kept for the set's FID, every fifth; needs
    `pt_inception-2015-12-05-6726825d.pth`.

    Args:
        folder: fsspec URL of the folder for features, 8 KiB a frame that counts.
        weights: home of another model file than the official one.
    """

    name = "fid_frames"
    on = False

    def __init__(self, folder: str = "", weights: str = "") -> None:
        self._folder, self._weights = folder, weights

    def measure(self, dub: FinishedDub) -> float:
        """Write the features, unless they are there; return their number.

        Raises:
            ValueError: no folder was given. WeightsError: the model file is missing.
        """
        if not self._folder:
            raise ValueError("features for FID need a folder: sweeps of `retalk eval` give one")
        url = features_url(self._folder, dub.output)
        if exists(url):
            return float(sum(len(one) for one in read_features(self._folder, [dub.output])))
        from operators.evaluation.fid import inception_features

        info = probe_video(dub.output)
        pictures = (
            frame.rgb()
            for frame in read_frames(dub.output, 0, info.n_frames, info)
            if frame.index % EVERY == 0
        )
        features = inception_features(_network(self._weights), pictures)
        with atomic_write(url) as path, path.open("wb") as file:
            np.save(file, features)
        return float(len(features))


@functools.cache
def _network(weights: str) -> nn.Module:
    return retalk_models.load("inception", registry=home_registry(weights))
