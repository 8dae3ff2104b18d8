"""Sounds made of several: sums, spans, lengths, and no clipping."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from operators.media.audio import audio_blocks
from operators.media.mixing import envelope, write_mix

RATE = 48000


def sound(path: Path, value: float, seconds: float, channels: int = 1, rate: int = RATE) -> str:
    """A constant, which every sample of a mix shows."""
    samples = np.full((round(seconds * rate), channels), value)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples * 32768).astype("<i2").tobytes())
    return str(path)


def read(path: Path) -> np.ndarray:
    return np.concatenate([block for block, _ in audio_blocks(str(path))], axis=1)


def test_speeches_are_added_up_for_as_long_as_the_longest(tmp_path: Path) -> None:
    one, two = sound(tmp_path / "1.wav", 0.25, 1.5), sound(tmp_path / "2.wav", 0.125, 0.5, channels=2)
    assert write_mix(str(tmp_path / "mix.wav"), [one, two]) == []
    mix = read(tmp_path / "mix.wav")
    assert mix.shape == (2, RATE * 3 // 2)
    assert mix[:, : RATE // 2] == pytest.approx(0.375, abs=1e-4)
    assert mix[:, RATE // 2 + 1 :] == pytest.approx(0.25, abs=1e-4)


def test_the_programme_is_heard_outside_the_spans(tmp_path: Path) -> None:
    speech, bed = sound(tmp_path / "s.wav", 0.25, 3), sound(tmp_path / "b.wav", -0.5, 3)
    write_mix(str(tmp_path / "mix.wav"), [speech], bed, [(0.5, 1.0), (2.0, 9.0)], 2.5)
    mix = read(tmp_path / "mix.wav")[0]
    assert len(mix) == RATE * 5 // 2
    at = {
        second: float(mix[round(second * RATE)])
        for second in (0.0, 0.45, 0.5, 0.55, 0.95, 1.05, 1.9, 2.1, 2.49)
    }
    expected = (-0.5, -0.5, -0.125, 0.25, 0.25, -0.5, -0.5, 0.25, 0.25)
    assert list(at.values()) == pytest.approx(expected, abs=1e-3)
    assert np.abs(np.diff(mix)).max() < 2e-3  # they change places without a click


def test_without_a_programme_there_is_silence(tmp_path: Path) -> None:
    write_mix(str(tmp_path / "mix.wav"), [sound(tmp_path / "s.wav", 0.25, 1)], None, [(0.0, 0.5)], 1.5)
    mix = read(tmp_path / "mix.wav")[0]
    assert mix[0] == pytest.approx(0.25, abs=1e-4)
    assert not mix[RATE * 6 // 10 :].any()
    assert len(mix) == RATE * 3 // 2


def test_a_sum_beyond_full_scale_is_limited_with_a_note(tmp_path: Path) -> None:
    loud = [sound(tmp_path / f"{k}.wav", 0.9, 0.4) for k in range(2)]
    (note,) = write_mix(str(tmp_path / "mix.wav"), loud)
    assert note == "the sum of the speeches exceeds full scale: peaks are limited to -1 dBTP"
    assert np.abs(read(tmp_path / "mix.wav")).max() < 1


def test_a_sound_beyond_full_scale_beside_a_quiet_one_is_left_as_it_is_alone(tmp_path: Path) -> None:
    loud, quiet = str(tmp_path / "loud.wav"), sound(tmp_path / "quiet.wav", 0.002, 0.4)
    wavfile.write(loud, RATE, np.full(RATE * 2 // 5, 1.1, np.float32))  # as lossy codecs give it
    assert write_mix(str(tmp_path / "mix.wav"), [loud, quiet]) == []
    assert read(tmp_path / "mix.wav") == pytest.approx(1.102, abs=1e-3)
    assert write_mix(str(tmp_path / "mix.wav"), [loud], quiet, [(0.0, 0.2)], 0.4) == []
    (note,) = write_mix(str(tmp_path / "mix.wav"), [loud, loud])
    assert "limited" in note


def test_a_sum_beyond_full_scale_across_a_change_names_the_programme(tmp_path: Path) -> None:
    sounds = [sound(tmp_path / f"{k}.wav", 0.9, 0.4) for k in range(2)]
    (note,) = write_mix(str(tmp_path / "mix.wav"), sounds, sounds[0], [(0.0, 0.2)], 0.4)
    assert note.startswith("the speeches and what is heard between them exceed full scale")


def test_damaged_samples_of_a_part_are_told(tmp_path: Path) -> None:
    samples = np.full(RATE, 0.1, np.float32)
    samples[100:103] = np.nan
    one, two = str(tmp_path / "one.wav"), str(tmp_path / "two.wav")
    wavfile.write(one, RATE, samples)
    wavfile.write(two, RATE, np.full(RATE, 0.1, np.float32))
    (note,) = write_mix(str(tmp_path / "mix.wav"), [one, two])
    assert note.startswith(f"{one}: damaged samples")
    assert note.endswith("3 of them")


def test_spans_that_touch_are_one() -> None:
    assert (envelope([(0.0, 0.5), (0.51, 1.0)], 0, RATE // 2 + RATE // 4) == 1).all()
