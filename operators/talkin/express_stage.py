"""Stage "express" of the engine talkin: a dub's speech to expression, by the recurrent network."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from operators.columns import scalar, tensor
from operators.media.audio import load_audio
from operators.retalk.mel import COLUMNS_PER_SECOND, SAMPLE_RATE, mel_spectrogram
from operators.segment import Segment
from operators.speech.sampling import speech_strength
from operators.stage import Stage
from operators.storage.files import kept_by_file
from operators.talkin.listening import RATE, centred_chunks
from operators.talkin.model import FILE, predict_expression, shared_model


@dataclasses.dataclass(frozen=True)
class ExpressOptions:
    """Options of `Express`.

    Attributes:
        weights: home of the model (its folder ``models`` has talkin.pt); "": the usual one.
        lag: seconds by which the mouth follows the sound; negative: it leads.
        strength: factor of the expression, 1 as predicted.
        ease: seconds over which the mouth returns to the frame's own after (and before) the speech.
    """

    weights: str = ""
    lag: float = 0.0
    strength: float = 1.0
    ease: float = 0.2


class Express(Stage):
    """Expression of the wanted mouth at each output frame. The network hears the whole speech at 25 frames a second; its answer is
    interpolated at the frames' times.

    Writes:
        moved: float32[N, 37, 2], how the expression moves the lower face (jaw and mouth) of anybody whose liveliness is
            ``unit``, eye distances.
        unit: root mean square of the training data's expression in landmarks.
        strength: float32[N], 1 while the speech lasts, 0 where the frame keeps its own mouth.
    """

    name = "express"
    doing = "listening"
    per = "dub"
    Options: ClassVar[type] = ExpressOptions
    writes = pa.schema(
        [
            tensor("moved", "float32", "N", 37, 2),
            scalar("unit", pa.float64()),
            tensor("strength", "float32", "N"),
        ]
    )

    def model_files(self, options: ExpressOptions) -> tuple[str, ...]:
        """See `Stage.model_files`."""
        del options
        return (FILE,)

    def setup(self, device: str) -> None:
        """Load the model."""
        self._device = device
        shared_model(device, self.options.weights)

    def process(self, segment: Segment) -> dict[str, Any]:
        """Listen to the speech.

        Raises:
            ValueError: the speech cannot be read; names the file.
        """
        options: ExpressOptions = self.options_for(segment)
        model = shared_model(self._device, options.weights)
        expression, duration = expression_of(segment.speech, self._device, options.weights)
        times = segment.speech_times - options.lag
        at = (np.arange(len(expression)) + 0.5) / RATE
        sampled = np.stack(
            [np.interp(times, at, expression[:, k]) for k in range(expression.shape[1])], axis=1
        )
        basis = model.factors.basis
        return {
            "moved": (options.strength * np.tensordot(sampled, basis, 1)).astype(np.float32),
            "unit": float(np.sqrt((basis**2).sum(0).mean())),
            "strength": (speech_strength(times, duration, options.ease) * segment.gate).astype(np.float32),
        }


@kept_by_file(8)
def expression_of(speech: str, device: str, weights: str) -> tuple[np.ndarray, float]:
    """Expression float64[N, E] of a whole speech at 25 frames a second, and its duration in seconds."""
    samples = load_audio(speech, rate=SAMPLE_RATE)
    mel = mel_spectrogram(samples).T
    frames = max(1, int(np.ceil(len(mel) * RATE / COLUMNS_PER_SECOND)))
    model = shared_model(device, weights)
    return predict_expression(model.expression, centred_chunks(mel, frames), device), len(
        samples
    ) / SAMPLE_RATE
