"""The stage "lnet": draws small speaking faces from speech."""

from __future__ import annotations

import dataclasses
import threading
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa

from operators.columns import tensor
from operators.retalk import mel
from operators.retalk.geometry import LIPS, REFERENCE, SIDE
from operators.retalk.model_files import Precision
from operators.retalk.nets import NetworkStage, shared_networks
from operators.retalk.source import speech_mel
from operators.segment import Segment
from operators.storage.files import kept_by_file

#: Rows that are worked on at the same time hear a speech once.
_HEARING = threading.Lock()
#: Value of a spectrogram where nothing is heard.
SILENCE = -4.0
#: Columns quieter than the speech's loud ones (their 95th percentile) by this much, mean over bands (100 dB
#: are 8), are no speech ...
QUIET = 2.4
#: ... where they last this long, in columns of 12.5 ms, with this many left at each end for the sound's own
#: fading.
PAUSE, EDGE = 16, 3


@dataclasses.dataclass(frozen=True)
class LNetOptions:
    """Options of `LNetStage`.

    Attributes:
        strength: 0 ... 1, how far the new mouth replaces the frame's own.
        silence: close: pauses are heard as silence, so that the mouth closes whatever noise the recording
            has; hear: as recorded.
        lag: seconds by which the mouth follows the sound.
        ease: seconds over which the frame's own mouth returns after the speech.
        weights: your own LNet.pth (more files: separated by commas), or the home of others than the official ones (its
            folder ``models``).
        precision: what networks compute in; auto: float32 on a CPU, and float16 on a
            GPU where that shows in no picture.
    """

    strength: float = 1.0
    silence: Literal["close", "hear"] = "close"
    lag: float = 0.0
    ease: float = 0.2
    weights: str = ""
    precision: Precision = "auto"

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1 or self.ease < 0:
            raise ValueError(
                f"strength {self.strength} must be from 0 to 1, ease {self.ease} at least 0 seconds"
            )


class LNetStage(NetworkStage):
    """L-Net.

    Writes:
        lips: float32[N, 96, 96, 3] RGB 0 ... 1, the face box with a mouth that speaks; 0 where ``strength``
            is 0.
        strength: float32[N], 0 ... 1: 0 where the frame keeps its own mouth, for there is no usable face or
            no speech.
    """

    name = "lnet"
    doing = "speaking"
    per = "dub"
    Options: ClassVar[type] = LNetOptions
    shares = True
    reads = pa.schema(
        [
            tensor("valid", "bool", "T"),
            tensor("faces", "uint8", "C", SIDE, SIDE, 3),
            tensor("reference", "uint8", "C", REFERENCE, REFERENCE, 3),
        ]
    )
    writes = pa.schema([tensor("lips", "float32", "N", LIPS, LIPS, 3), tensor("strength", "float32", "N")])

    def model_files(self, options: LNetOptions) -> tuple[str, ...]:
        """See `Stage.model_files`."""
        del options
        return ("lnet",)

    def setup(self, device: str) -> None:
        """Load the network."""
        self.networks = shared_networks(device, self.options.weights, self.options.precision)
        self.networks.module("lnet")

    def compute(self, segment: Segment) -> dict[str, Any]:
        """Raises MediaError where the speech cannot be read."""
        options: LNetOptions = self.options_for(segment)
        spectrogram = heard(segment.speech, options.silence == "close")
        times = segment.speech_times - options.lag
        valid = np.asarray(segment["valid"], bool)[segment.source - segment.frames[0]]
        asked = lasting(times, spectrogram.shape[1], options.ease) * options.strength * segment.gate
        strength = np.where(valid, asked, 0).astype(np.float32)
        lips = np.zeros((len(times), LIPS, LIPS, 3), np.float32)
        chosen = np.flatnonzero(strength > 0)
        if len(chosen):
            core = segment.source[chosen] - segment.core[0]
            pairs = np.concatenate(
                [reduced(segment["faces"], core, hide=True), reduced(segment["reference"], core)], axis=3
            )
            lips[chosen] = self.networks.speak(spectrogram, first_columns(times[chosen]), pairs, SILENCE)
        return {"lips": lips, "strength": strength}


def reduced(pictures: np.ndarray, indices: np.ndarray, hide: bool = False) -> np.ndarray:
    """float32[n, 96, 96, 3] 0 ... 1 of pictures uint8[C, s, s, 3], sampled as the original does:
    bilinear, without averaging.

    ``hide`` blackens the lower half.
    """
    import torch
    import torch.nn.functional as F

    unique, back = np.unique(indices, return_inverse=True)
    chosen = (
        torch.from_numpy(np.ascontiguousarray(np.asarray(pictures)[unique])).permute(0, 3, 1, 2).float() / 255
    )
    if hide:
        chosen[:, :, chosen.shape[2] // 2 :] = 0
    small = (
        F.interpolate(chosen, (LIPS, LIPS), mode="bilinear", align_corners=False).permute(0, 2, 3, 1).numpy()
    )
    return small[back]


def first_columns(times: np.ndarray) -> np.ndarray:
    """int64[n]: the mel column that begins at or before each time float64[n], in seconds into the speech."""
    return np.floor(times * mel.COLUMNS_PER_SECOND + 1e-6).astype(np.int64)


def lasting(times: np.ndarray, columns: int, ease: float) -> np.ndarray:
    """float64[n]: 1 while the speech lasts, eased to 0 over ``ease`` seconds behind it, 0 before it."""
    after = (
        times - (columns - 1) / mel.COLUMNS_PER_SECOND
    )  # a spectrogram has one column more than whole hops
    faded = 0.5 + 0.5 * np.cos(np.pi * np.clip(after / max(ease, 1e-6), 0, 1))
    return np.where(times < -1e-6, 0.0, faded)


def gate(spectrogram: np.ndarray) -> np.ndarray:
    """A spectrogram float32[80, columns] whose pauses are silent: noise of the recording does not move the
    mouth.
    """
    level = spectrogram.mean(0)
    quiet = level < np.percentile(level, 95) - QUIET
    edges = np.flatnonzero(np.diff(np.concatenate([[0], quiet.astype(np.int8), [0]])))
    result = spectrogram.copy()
    for start, stop in edges.reshape(-1, 2):
        if stop - start >= PAUSE:
            result[:, start + EDGE : stop - EDGE] = SILENCE
    return result


def heard(url: str, silent_pauses: bool) -> np.ndarray:
    """The spectrogram of a speech, with its pauses silent if asked."""
    with _HEARING:
        return _gated(url) if silent_pauses else speech_mel(url)


@kept_by_file(8)
def _gated(url: str) -> np.ndarray:
    return gate(speech_mel(url))
