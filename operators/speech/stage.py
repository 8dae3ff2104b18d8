"""Stage `speak` of the engine `exemplar`: a dub's speech to the mouth that each output frame should show."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from operators.columns import tensor
from operators.media.audio import is_audible, load_audio
from operators.segment import Segment
from operators.speech.phones import MODEL
from operators.speech.predictor import MouthTrack, predict_mouth, resting_mouth
from operators.speech.sampling import sample_track, speech_strength
from operators.speech.spectrum import SAMPLE_RATE
from operators.stage import Stage
from operators.storage.files import kept_by_file

#: Speeches whose tracks a worker keeps: the segments of one title come one after the other.
KEPT_TRACKS = 8


class Speak(Stage):
    """Predict opening, width, closure and silence of the mouth at the frames of one output segment.

    The track is computed over the whole speech and standardised there, so that all output segments agree; a
    worker keeps the last few.
    """

    @dataclasses.dataclass(frozen=True)
    class Options:
        """Options of `Speak`.

        Attributes:
            lag: seconds by which the mouth follows the sound; negative: it leads. 0 is in step on footage
                whose own sound is.
            closure: 0..1, how far `opening` is pulled to the closed mouth at B, P and M.
            phones: "auto": recognise phones where the recogniser works; "off": the spectrum alone.
            ease: seconds over which the mouth returns to the frame's own after (and before) the speech.
        """

        lag: float = 0.0
        closure: float = 0.6
        phones: Literal["auto", "off"] = "auto"
        ease: float = 0.2

    name = "speak"
    doing = "listening"
    per = "dub"
    writes = pa.schema(
        [
            tensor(name, "float32", "N")
            for name in ("opening", "mouth_width", "closure", "silence", "strength")
        ]
    )

    def bundled_models(self, options: Options) -> tuple[str, ...]:
        """See `Stage.bundled_models`."""
        return (MODEL,) if options.phones == "auto" else ()

    def setup(self, device: str) -> None:
        """Load SciPy's parts, which takes half a second, before the worker limits the threads of its
        libraries.
        """
        del device
        import scipy.fft
        import scipy.ndimage  # noqa: F401

    def process(self, segment: Segment) -> dict[str, Any]:
        """Columns float32[N] at `Segment.speech_times`; see `operators.speech.predictor.MouthTrack` for their
        ranges.

        ``strength`` is 1 while the speech lasts and 0 where the frame keeps its own mouth (`Segment.gate`).

        Raises:
            ValueError: the speech cannot be read (names the file), or an option is out of range.
        """
        options = self.options_for(segment)
        if not 0.0 <= options.closure <= 1.0 or options.ease < 0.0:
            raise ValueError(
                f"stage 'speak': closure must be within 0..1 and ease >= 0, got {options.closure} and {options.ease}"
            )
        if options.phones not in ("auto", "off"):
            raise ValueError(f"stage 'speak': phones must be 'auto' or 'off', got {options.phones!r}")
        track, duration = mouth_of(segment.speech, float(options.closure), options.phones)
        times = segment.speech_times - options.lag
        columns = {
            "opening": sample_track(track.opening, times),
            "mouth_width": sample_track(track.width, times),
            "closure": np.clip(sample_track(track.closure, times, beyond=0.0), 0.0, 1.0),
            "silence": np.clip(sample_track(track.silence, times, beyond=1.0), 0.0, 1.0),
            "strength": speech_strength(times, duration, options.ease) * segment.gate,
        }
        return columns


@kept_by_file(KEPT_TRACKS)
def mouth_of(speech: str, closure: float, phones: Literal["auto", "off"]) -> tuple[MouthTrack, float]:
    """The track of a whole speech file and its duration in seconds, kept for the next row of the same speech. In a silent file (the
    stem of somebody who only listens) the mouth rests.
    """
    samples = load_audio(speech, rate=SAMPLE_RATE)
    duration = len(samples) / SAMPLE_RATE
    if not is_audible(samples):
        return resting_mouth(len(samples)), duration
    return predict_mouth(samples, SAMPLE_RATE, closure=closure, phones=phones), duration
