"""Speech with known phones, spoken offline by the espeak-ng library inside the package `espeakng-loader`."""

from __future__ import annotations

import ctypes
from typing import NamedTuple

import espeakng_loader
import librosa
import numpy as np

_SYNCHRONOUS, _PHONEME_EVENTS_IN_IPA, _UTF8, _BY_CHARACTER = 2, 0x03, 1, 1
_END_OF_LIST, _PHONEME = 0, 7
_RATE, _PITCH = 1, 3


class _Id(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        *(
            (name, ctypes.c_int)
            for name in ("type", "unique_identifier", "text_position", "length", "audio_position", "sample")
        ),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    ]


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


class Spoken(NamedTuple):
    """Synthesised speech: float32[n] at 16 kHz, and each phoneme in IPA with its start and end in seconds ("" is
    a pause).
    """

    samples: np.ndarray
    phonemes: list[tuple[str, float, float]]

    def spans(self, symbols: str) -> list[tuple[float, float]]:
        """Times of the phonemes that begin with one of these characters, stress marks aside."""
        return [
            (start, end) for symbol, start, end in self.phonemes if symbol.strip("ˈˌ")[:1] in set(symbols)
        ]


def speak(text: str, voice: str = "en-us", words_per_minute: int = 150, pitch: int = 50) -> Spoken:
    """Speak a text."""
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    rate = library.espeak_Initialize(
        _SYNCHRONOUS, 0, espeakng_loader.get_data_path().encode(), _PHONEME_EVENTS_IN_IPA
    )
    assert rate > 0, "espeak-ng found no data"
    assert library.espeak_SetVoiceByName(voice.encode()) == 0, f"espeak-ng has no voice {voice!r}"
    library.espeak_SetParameter(_RATE, words_per_minute, 0)
    library.espeak_SetParameter(_PITCH, pitch, 0)
    pieces: list[np.ndarray] = []
    starts: list[tuple[str, float]] = []

    @_Callback
    def collect(wave: ctypes.Array, count: int, events: ctypes.Array) -> int:
        if wave and count:
            pieces.append(np.ctypeslib.as_array(wave, shape=(count,)).copy())
        index = 0
        while events[index].type != _END_OF_LIST:
            if events[index].type == _PHONEME:
                starts.append(
                    (events[index].id.string.decode("utf-8", "ignore"), events[index].audio_position / 1000)
                )
            index += 1
        return 0

    library.espeak_SetSynthCallback(collect)
    encoded = text.encode() + b"\0"
    assert library.espeak_Synth(encoded, len(encoded), 0, _BY_CHARACTER, 0, _UTF8, None, None) == 0
    library.espeak_Synchronize()
    samples = np.concatenate(pieces).astype(np.float32) / 32768
    ends = [start for _, start in starts[1:]] + [len(samples) / rate]
    phonemes = [(symbol, start, end) for (symbol, start), end in zip(starts, ends, strict=True)]
    return Spoken(librosa.resample(samples, orig_sr=rate, target_sr=16000), phonemes)
