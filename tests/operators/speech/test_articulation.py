"""Tables and their blend: the published formula, and what it should do to a mouth."""

import math

import numpy as np
import pytest

from operators.speech.articulation import OPENING, WIDTH, blend, closures, spans
from operators.speech.phones import Phone
from operators.speech.spectrum import smooth


def sequence(*phones: tuple[str, int]) -> list[Phone]:
    """Phones of these lengths in hundredths of a second, one after the other."""
    found, clock = [], 0
    for label, length in phones:
        found.append(Phone(label, clock / 100, (clock + length) / 100))
        clock += length
    return found


def test_blend_is_the_sum_of_dominance_functions() -> None:
    phones = sequence(("SIL", 30), ("M", 8), ("AA", 14), ("S", 9), ("IY", 6), ("SIL", 40))
    terms = [
        (15, 15, 0, 1, 1),
        (34, 4, 0, 4, 0.7),
        (45, 7, 1, 1, 1),
        (56.5, 4.5, 0.2, 1.5, 1),
        (64, 3, 0.3, 0.5 + 0.5 * 0.6, 1),
        (87, 20, 0, 1, 1),
    ]
    expected = []
    for k in range(108):
        weights = [
            s * math.exp(-0.25 * min(abs(k - c), h) / (h + 3) - max(abs(k - c) - h, 0) * decay / 6)
            for c, h, _, s, decay in terms
        ]
        expected.append(sum(w * term[2] for w, term in zip(weights, terms, strict=True)) / sum(weights))
    np.testing.assert_allclose(blend(phones, OPENING, 108), smooth(np.array(expected), 3), atol=1e-4)


def test_lips_meet_between_vowels_and_a_diphthong_closes() -> None:
    track = blend(sequence(("AA", 20), ("P", 8), ("AA", 20)), OPENING, 48)
    assert track[24] < 0.25
    assert min(track[10], track[38]) > 2 * track[24]
    assert track[5] > 0.6
    glide = blend(sequence(("AY", 40)), OPENING, 40)
    assert glide[5] > glide[35] + 0.2


def test_width_spreads_and_rounds() -> None:
    track = blend(sequence(("IY", 20), ("W", 10), ("UW", 20), ("IY", 20)), WIDTH, 70)
    assert track[5] > 0.8
    assert track[35] < 0.2
    assert track[65] > 0.8


def test_louder_vowels_open_wider_and_consonants_do_not() -> None:
    phones = sequence(("AA", 20), ("S", 20), ("AA", 20))
    loud = np.where(np.arange(60) < 30, 1.0, 0.5)
    track = blend(phones, OPENING, 60, loud)
    assert track[8] == pytest.approx(2 * track[52], rel=0.15)
    assert blend(sequence(("S", 20)), OPENING, 20, np.full(20, 0.3)) == pytest.approx(0.2)


def test_a_short_pause_does_not_close_the_mouth_and_a_long_one_does() -> None:
    short = blend(sequence(("AA", 20), ("SIL", 20), ("AA", 20)), OPENING, 60)
    long = blend(sequence(("AA", 20), ("SIL", 40), ("AA", 20)), OPENING, 80)
    assert short[30] > 0.8
    assert long[40] < 0.2


def test_every_label_of_the_recogniser_has_a_gesture() -> None:
    labels = "AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH SIL T TH UH UW V W Y Z ZH +SPN+ +NSN+"
    for table in (OPENING, WIDTH):
        assert set(labels.split()) == {*table.vowels, *table.diphthongs, *table.consonants}
        values = [
            *table.vowels.values(),
            *(v for pair in table.diphthongs.values() for v in pair),
            *(t.value for t in table.consonants.values()),
        ]
        assert 0 <= min(values) <= max(values) <= 1


def test_closures_peak_where_lips_meet() -> None:
    phones = sequence(
        ("AA", 20), ("M", 10), ("AA", 20), ("P", 10), ("AA", 20), ("F", 10), ("AA", 20), ("N", 10)
    )
    track = closures(phones, 120)
    assert track[25] == pytest.approx(1)
    # A stop's lips part at its burst: the closure comes before the middle of the phone.
    assert int(np.argmax(track[45:65])) + 45 == 53
    assert track[85] == pytest.approx(0.5)
    assert track[115] < 0.01
    assert track[10] < 0.01


def test_spans_keep_to_their_labels_and_lengths() -> None:
    phones = sequence(("SIL", 5), ("AA", 10), ("SIL", 20))
    assert spans(phones, ["SIL"], 35).sum() == 25
    assert spans(phones, ["SIL"], 35, shortest=0.1).sum() == 20
    assert spans(phones, ["AA"], 35)[5:15].all()
