"""The stage "wav2lip": draws the speaking face from a face with its lower half hidden and the sound."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import cv2
import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from operators.columns import tensor
from operators.media.ordered_frames import source_frames
from operators.media.probe import probe_video
from operators.retalk import mel
from operators.retalk.model_files import Precision
from operators.retalk.nets import Networks, NetworkStage, shared_networks, swapped
from operators.retalk.source import speech_mel
from operators.segment import Segment

#: Side of the faces that the network sees and makes.
SIDE = 96
#: Value of a spectrogram where nothing is heard.
SILENCE = -4.0
#: Frames held where the output runs backwards.
BLOCK = 16
NO_FACE = "in some frames no face was found: they keep their own mouth"


@dataclasses.dataclass(frozen=True)
class Wav2LipOptions:
    """Options of `Wav2LipStage`.

    Attributes:
        batch: faces at a time; 0: what suits the device (1 on a CPU, 16 on a GPU).
        weights: home of other model files than the official ones (its folder ``models``).
        precision: what the network computes in; auto: float32 on a CPU, and float16 on a
            GPU where that shows in no picture.
    """

    batch: int = 0
    weights: str = ""
    precision: Precision = "auto"

    def __post_init__(self) -> None:
        if self.batch < 0:
            raise ValueError(f"batch {self.batch} must be 0 (what suits the device) or above")


class Wav2LipStage(NetworkStage):
    """The generator.

    Writes:
        face: uint8[N, 96, 96, 3] RGB, the box of the frame with a mouth that speaks; 0 where ``speaks`` is
            False.
        speaks: bool[N], False where the frame keeps its own mouth: no face was found, or there is no speech
            (any more).
    """

    name = "wav2lip"
    per = "dub"
    Options: ClassVar[type] = Wav2LipOptions
    reads = pa.schema([tensor("face_boxes", "int64", "C", 4), tensor("found", "bool", "C")])
    writes = pa.schema([tensor("face", "uint8", "N", SIDE, SIDE, 3), tensor("speaks", "bool", "N")])

    def model_files(self, options: Wav2LipOptions) -> tuple[str, ...]:
        """See `Stage.model_files`."""
        del options
        return ("wav2lip",)

    def setup(self, device: str) -> None:
        """Load the network."""
        self.networks = shared_networks(device, self.options.weights, self.options.precision)
        self.networks.module("wav2lip")

    def compute(self, segment: Segment) -> dict[str, Any]:
        """Draw the faces of one output segment.

        Raises:
            MediaError: the video or the speech cannot be read; names file and time.
            ValueError: the speech holds samples that are not numbers.
        """
        options: Wav2LipOptions = self.options_for(segment)
        spectrogram, times = speech_mel(segment.speech), segment.speech_times
        heard = lasts(times, spectrogram.shape[1]) & (segment.gate > 0)
        core = segment.source - segment.core[0]
        speaks = heard & np.asarray(segment["found"], bool)[core]
        if (heard & ~speaks).any():
            segment.note(NO_FACE)
        face = np.zeros((len(times), SIDE, SIDE, 3), np.uint8)
        chosen = np.flatnonzero(speaks)
        if len(chosen):
            crops = np.zeros((len(chosen), SIDE, SIDE, 3), np.uint8)
            frames = source_frames(segment.video, segment.source[chosen], probe_video(segment.video), BLOCK)
            for k, frame in enumerate(frames):
                box: Any = tuple(int(v) for v in segment["face_boxes"][core[chosen[k]]])
                crops[k] = cv2.resize(frame.rgb(box), (SIDE, SIDE))
            face[chosen] = speaking_faces(
                self.networks, chunks_at(spectrogram, times[chosen]), crops, options.batch
            )
        return {"face": face, "speaks": speaks}


def lasts(times: np.ndarray, columns: int) -> np.ndarray:
    """Return where speech is under way.

    Args:
        times: float64[n], seconds into the speech.
        columns: of its spectrogram, one more than whole hops.

    Returns:
        bool[n].
    """
    return (times > -1e-6) & (times < (columns - 1) / mel.COLUMNS_PER_SECOND)


def chunks_at(spectrogram: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Cut what is heard from each time on; towards the end of the speech its last 0.2 seconds, as the
    original does.

    Args:
        spectrogram: float32[80, columns]; one shorter than a chunk is followed by silence.
        times: float64[n], seconds into the speech, not negative.

    Returns:
        float32[n, 80, 16].
    """
    short = max(0, mel.CHUNK - spectrogram.shape[1])
    padded = np.pad(spectrogram, ((0, 0), (0, short)), constant_values=SILENCE)
    starts = np.floor(times * mel.COLUMNS_PER_SECOND + 1e-6).astype(np.int64)
    columns = np.minimum(starts, padded.shape[1] - mel.CHUNK)[:, None] + np.arange(mel.CHUNK)
    return np.ascontiguousarray(padded[:, columns].transpose(1, 0, 2), np.float32)


def speaking_faces(networks: Networks, chunks: np.ndarray, crops: np.ndarray, batch: int = 0) -> np.ndarray:
    """Run the generator.

    Args:
        networks: with the weights of wav2lip.
        chunks: float32[n, 80, 16].
        crops: uint8[n, 96, 96, 3] RGB.
        batch: faces at a time, 0: what suits the device. The last batch is filled up, so that a face does not
            depend on how many follow.

    Returns:
        uint8[n, 96, 96, 3] RGB, truncated to whole values as the original does.
    """
    network = networks.module("wav2lip")
    size, count = batch or networks.compute.batch, len(crops)
    filled = np.minimum(np.arange(-(-count // size) * size), count - 1)

    def call(heard: Tensor, rgb: Tensor) -> Tensor:
        seen = swapped(rgb).permute(0, 3, 1, 2).float() / 255
        hidden = seen.clone()
        hidden[:, :, SIDE // 2 :] = 0
        made = network(heard[:, None], torch.cat([hidden, seen], dim=1))
        return swapped((made * 255).to(torch.uint8).permute(0, 2, 3, 1))

    return networks.run(call, chunks[filled], crops[filled], batch=size)[:count]
