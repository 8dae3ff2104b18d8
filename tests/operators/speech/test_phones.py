"""Phones of speech whose phonemes are known, of long recordings, and without a recogniser."""

import itertools
import sys
from pathlib import Path

import numpy as np
import pocketsphinx
import pytest

from operators.speech.phones import (
    CHUNK,
    CHUNK_LEFT,
    Phone,
    RecogniserError,
    _pieces,
    audible_frames,
    recognise_phones,
)
from operators.speech.spectrum import SAMPLE_RATE, TRACK_RATE, measure_levels
from tests.operators.speech.espeak import speak

SENTENCE = "We may be able to move the number of jobs up, but people must be patient. "


def phones_of(samples: np.ndarray) -> list[Phone]:
    return recognise_phones(samples, measure_levels(samples).speech)


def near(phones: list[Phone], labels: str, spans: list[tuple[float, float]]) -> float:
    """Share of the spans within 60 ms of whose middle lies the middle of a phone of these labels."""
    middles = np.array([(p.start + p.end) / 2 for p in phones if p.label in labels.split()])
    return float(np.mean([np.abs(middles - (a + b) / 2).min(initial=9) < 0.06 for a, b in spans]))


def labels_at(phones: list[Phone], n: int) -> np.ndarray:
    labels = np.full(n, "", "U5")
    for phone in phones:
        labels[round(phone.start * TRACK_RATE) : round(phone.end * TRACK_RATE)] = phone.label
    return labels


def test_phones_are_found_where_they_are_spoken() -> None:
    spoken = speak("Mama, say a mask. See me, Sam. My mother sees the moon. Mom was so amazed.")
    phones = phones_of(spoken.samples)
    assert near(phones, "M N B", spoken.spans("m")) > 0.5
    assert near(phones, "S Z", spoken.spans("sz")) > 0.5
    assert near(phones, "AA AE AO AH AY AW", spoken.spans("ɑaæ")) > 0.5
    # Nothing of the sort is found half a second later: the times are what is tested.
    moved = [(a + 0.5, b + 0.5) for a, b in spoken.spans("sz")]
    assert near(phones, "S Z", moved) < 0.5


def test_phones_cover_the_recording_without_gaps() -> None:
    spoken = speak(SENTENCE)
    phones = phones_of(spoken.samples)
    assert phones[0].start == 0
    assert all(a.end == b.start for a, b in itertools.pairwise(phones))
    assert phones[-1].end == pytest.approx(len(spoken.samples) / SAMPLE_RATE, abs=0.12)


def test_long_silence_is_one_phone_and_is_not_decoded() -> None:
    speech = speak(SENTENCE).samples
    samples = np.concatenate([speech, np.zeros(90 * SAMPLE_RATE, np.float32), speech])
    assert audible_frames(measure_levels(samples).speech).mean() < 0.2
    phones = phones_of(samples)
    longest = max(phones, key=lambda p: p.end - p.start)
    assert longest.label == "SIL"
    assert longest.start == pytest.approx(len(speech) / SAMPLE_RATE, abs=0.7)
    assert longest.end == pytest.approx(len(speech) / SAMPLE_RATE + 90, abs=0.7)
    assert max(p.end - p.start for p in phones if p.label != "SIL") < 1.0
    n = len(speech) * TRACK_RATE // SAMPLE_RATE
    labels = labels_at(phones, len(samples) * TRACK_RATE // SAMPLE_RATE)
    first, second = labels[:n], labels[-n:]
    # eSpeak never says a sentence twice the same; labels that know nothing of each other agree for a tenth.
    assert np.mean(first == second) > 0.5


def test_long_recordings_are_cut_at_quiet_places() -> None:
    rng = np.random.default_rng(0)
    level = rng.normal(0, 0.3, 25_000)
    quiet = np.arange(150, 25_000, 700)
    for at in quiet:
        level[at - 20 : at + 20] -= 8
    pieces = list(_pieces(level))
    assert pieces[0][0] == 0
    assert pieces[-1][1] == len(level)
    assert all(a[1] == b[0] for a, b in itertools.pairwise(pieces))
    assert all(CHUNK_LEFT <= stop - start <= CHUNK for start, stop in pieces)
    assert all(np.abs(quiet - stop).min() < 20 for _, stop in pieces[:-1])
    for n in (CHUNK, CHUNK + 1, CHUNK + 500, 2 * CHUNK + 1):
        assert all(CHUNK_LEFT <= stop - start <= CHUNK for start, stop in _pieces(level[:n])), n


@pytest.mark.parametrize("n", [0, 1, 159, 160, 700, 1500])
def test_sound_too_short_to_hold_a_phone(n: int) -> None:
    samples = speak("Ah").samples[4000 : 4000 + n]
    assert all(0 <= p.start < p.end <= 0.2 for p in phones_of(samples))


def test_a_missing_recogniser_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pocketsphinx", None)
    with pytest.raises(RecogniserError, match="pocketsphinx"):
        phones_of(speak("Hello").samples)


def test_missing_models_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pocketsphinx, "get_model_path", lambda name: str(tmp_path / name))
    with pytest.raises(RecogniserError, match="pocketsphinx"):
        phones_of(speak("Hello").samples)
