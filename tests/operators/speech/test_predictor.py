"""The mouth predicted from speech with known phonemes, from damaged and foreign sound, and from people who
were filmed speaking.
"""

import logging
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.signal

from benchmarks.speech import loudness, measure_mouth, score
from operators.media.audio import load_audio
from operators.speech.predictor import LIMIT, MouthTrack, predict_mouth
from operators.speech.spectrum import SAMPLE_RATE, TRACK_RATE, smooth
from tests.operators.speech.espeak import Spoken, speak

ENGLISH = (
    "Good morning everybody, the weather is wonderful today, and my mother may be about to buy a big map."
)
FOREIGN = {
    "cmn": "大家好，今天天气很好，我们去公园散步吧。妈妈买了很多东西。",
    "de": "Guten Morgen zusammen, das Wetter ist heute wunderbar, und wir freuen uns sehr.",
    "es": "Buenos días a todos, hoy hace muy buen tiempo y estamos contentos de estar aquí.",
    "hi": "नमस्ते, आज मौसम बहुत अच्छा है और हम यहाँ आकर खुश हैं।",
    "ja": "おはようございます、きょうはとてもいいてんきです。みなさんこんにちは。",
}
#: Mouth opening of phonemes (IPA, by first character), in any language.
OPENINGS = {
    "aɑæɐ": 1,
    "ɔɛʌœɒ": 0.75,
    "əɜɚɵeo": 0.5,
    "øɘɤ": 0.45,
    "iɪɨyʏ": 0.3,
    "uʊɯʉ": 0.2,
    "pbm": 0,
    "fvwβʋɥ": 0.08,
}
#: Clips whose own sound is in step with the lips, as far as is known.
IN_STEP = (
    "grid_bbaf2n.mpg",
    "grid_brbk7n.mpg",
    "grid_lbax4n.mpg",
    "vr_face1.mp4",
    "vr_face3.mp4",
    "vr_face5.mp4",
)


@pytest.fixture(scope="module")
def english() -> Spoken:
    return speak(ENGLISH)


@pytest.fixture(scope="module")
def mouth(english: Spoken) -> MouthTrack:
    return predict_mouth(english.samples)


def spoken_opening(spoken: Spoken) -> np.ndarray:
    """Opening that the phonemes ask for, at 100 Hz."""
    track = np.full(1 + len(spoken.samples) // 160, 0.25)
    for symbol, start, end in spoken.phonemes:
        first = symbol.strip("ˈˌ")[:1]
        track[int(start * 100) : int(end * 100)] = (
            next((v for k, v in OPENINGS.items() if first and first in k), 0.25) if first else 0.05
        )
    return smooth(track, 4)


def best_lag(track: np.ndarray, truth: np.ndarray) -> tuple[float, int]:
    """Largest correlation over lags of +-150 ms, and that lag in frames of 10 ms."""
    values = [np.corrcoef(np.roll(track, lag)[20:-20], truth[20:-20])[0, 1] for lag in range(-15, 16)]
    return max(values), int(np.argmax(values)) - 15


def alike(a: MouthTrack, b: MouthTrack) -> float:
    n = min(len(a.opening), len(b.opening))
    return float(np.corrcoef(a.opening[:n], b.opening[:n])[0, 1])


def check(track: MouthTrack, n_samples: int) -> None:
    """Shapes, types and ranges."""
    for values, low, high in (
        (track.opening, -LIMIT, LIMIT),
        (track.width, -LIMIT, LIMIT),
        (track.closure, 0, 1),
        (track.silence, 0, 1),
    ):
        assert values.dtype == np.float32
        assert values.shape == (1 + n_samples // 160,)
        assert np.isfinite(values).all()
        assert low <= values.min() <= values.max() <= high


def test_opening_follows_the_phonemes_without_lag(english: Spoken, mouth: MouthTrack) -> None:
    check(mouth, len(english.samples))
    best, lag = best_lag(mouth.opening, spoken_opening(english))
    assert best > 0.4
    assert abs(lag) <= 4
    opening = {}
    for name, symbols in (("open", "aɑæ"), ("closed", "pbm")):
        middles = [round((start + end) * 50) for start, end in english.spans(symbols)]
        opening[name] = mouth.opening[middles].mean()
    assert opening["open"] > opening["closed"] + 0.7


def test_lips_meet_at_p_b_m_and_hardly_elsewhere() -> None:
    spoken = speak("My mother made a map. Mama met Emma. I am home. My mum may come by at midnight, maybe.")
    mouth = predict_mouth(spoken.samples)
    wanted = np.array([(start + end) * 50 for start, end in spoken.spans("pbm")])
    peaks = scipy.signal.find_peaks(mouth.closure, height=0.6)[0]
    found = [np.abs(peaks - at).min() <= 6 for at in wanted]
    right = [np.abs(wanted - at).min() <= 8 for at in peaks]
    assert np.mean(found) > 0.35
    assert np.mean(right) > 0.7
    loose = predict_mouth(spoken.samples, closure=0.0)
    assert mouth.opening[peaks].mean() < loose.opening[peaks].mean() - 0.2


def test_width_tells_spread_from_rounded() -> None:
    spoken = speak(
        "She sees three green trees. You knew who chose two blue shoes, too. He feeds these geese. Who moved you?"
    )
    width = predict_mouth(spoken.samples).width
    spread = np.mean([width[int(a * 100) : int(b * 100) + 1].mean() for a, b in spoken.spans("i")])
    rounded = np.mean([width[int(a * 100) : int(b * 100) + 1].mean() for a, b in spoken.spans("u")])
    assert spread > rounded + 1.0


def test_silence_is_found_and_stops_are_not_silence(english: Spoken) -> None:
    speech = english.samples
    rng = np.random.default_rng(0)
    pause = np.zeros(SAMPLE_RATE, np.float32)
    samples = np.concatenate([pause, speech, pause])
    loud = speech[np.abs(speech) > 0.02].std()
    for noise in (0.0, 0.003, 0.1 * loud):
        silence = predict_mouth(samples + rng.normal(0, noise, len(samples)).astype(np.float32)).silence
        quiet = np.r_[silence[10:80], silence[-80:-10]]
        assert quiet.mean() > 0.6, noise
        assert silence[110:-110].mean() < quiet.mean() - 0.4, noise
    voiced = english.spans("pbtdkɡ")
    silence = predict_mouth(samples).silence
    inside = [
        silence[round((a + b) * 50) + 100] for a, b in voiced if 0.5 < a < len(speech) / SAMPLE_RATE - 0.5
    ]
    assert np.median(inside) < 0.2


@pytest.mark.parametrize("voice", FOREIGN)
@pytest.mark.parametrize("phones", ["auto", "off"])
def test_other_languages_open_the_mouth_too(voice: str, phones: str) -> None:
    spoken = speak(FOREIGN[voice], voice, 160)
    best, lag = best_lag(predict_mouth(spoken.samples, phones=phones).opening, spoken_opening(spoken))
    assert best > 0.4
    assert abs(lag) <= 4


def test_voices_of_any_pitch_move_alike() -> None:
    low, high = (predict_mouth(speak(ENGLISH, pitch=pitch).samples) for pitch in (20, 80))
    assert alike(low, high) > 0.6
    assert abs(low.opening.std() - high.opening.std()) < 0.2


def test_damaged_sound(english: Spoken, mouth: MouthTrack) -> None:
    x, truth = english.samples, spoken_opening(english)
    telephone = scipy.signal.sosfilt(
        scipy.signal.butter(4, [300, 3400], "band", fs=SAMPLE_RATE, output="sos"), x
    )
    noisy = x + np.random.default_rng(0).normal(0, 0.01, len(x))
    loud = x / np.abs(x).max()
    for name, samples, rate, least in (
        ("quiet", x * 1e-3, SAMPLE_RATE, 0.99),
        ("offset", x * 0.5 + 0.4, SAMPLE_RATE, 0.95),
        ("telephone", telephone, SAMPLE_RATE, 0.6),
        ("8 kHz", scipy.signal.resample_poly(x, 1, 2), SAMPLE_RATE // 2, 0.4),
        ("noisy", noisy, SAMPLE_RATE, 0.3),
        ("clipped", np.clip(8 * loud, -1, 1), SAMPLE_RATE, 0.4),
    ):
        track = predict_mouth(samples, rate)
        check(track, len(x))
        assert alike(track, mouth) > least, name
        best, lag = best_lag(track.opening, truth)
        assert best > 0.45, name
        assert abs(lag) <= 5, name


def test_padding_does_not_change_the_speech() -> None:
    silence = np.zeros(30 * SAMPLE_RATE, np.float32)
    agreement = []
    for text in (
        ENGLISH,
        "We may be able to move the number of jobs up.",
        "People came up from the market with baskets full of apples.",
    ):
        speech = speak(text).samples
        alone, padded = predict_mouth(speech), predict_mouth(np.concatenate([silence, speech, silence]))
        inner = padded.opening[3000 : 3000 + len(alone.opening)]
        agreement.append(np.corrcoef(inner, alone.opening)[0, 1])
        assert np.abs(inner - alone.opening).mean() < 0.7
        assert padded.silence[:2900].mean() > 0.95
        assert padded.opening[:2900].min() > -2
    assert np.mean(agreement) > 0.8


def test_values_that_are_no_numbers_are_said_and_survived(
    english: Spoken, mouth: MouthTrack, caplog: pytest.LogCaptureFixture
) -> None:
    samples = english.samples.copy()
    samples[5000:5040] = np.nan
    samples[9000] = np.inf
    with caplog.at_level(logging.WARNING):
        track = predict_mouth(samples)
    assert "41 of" in caplog.text
    check(track, len(samples))
    assert alike(track, mouth) > 0.9


@pytest.mark.parametrize("n", [0, 1, 100, 800, 1500, 5000])
def test_sound_shorter_than_a_word(n: int) -> None:
    check(predict_mouth(speak("Ah").samples[4000 : 4000 + n]), min(n, len(speak("Ah").samples[4000:])))


def test_sound_without_speech() -> None:
    t = np.arange(3 * SAMPLE_RATE) / SAMPLE_RATE
    chords = sum(np.sin(2 * np.pi * hz * t) * np.exp(-2 * (t % 0.5)) for hz in (220, 277, 330, 440, 880))
    for samples in (
        np.zeros(SAMPLE_RATE),
        np.full(SAMPLE_RATE, 0.3),
        np.sin(1000 * t),
        chords,
        np.random.default_rng(0).normal(0, 0.1, SAMPLE_RATE),
    ):
        track = predict_mouth(samples)
        check(track, len(samples))
    assert predict_mouth(np.zeros(SAMPLE_RATE)).silence.min() == 1
    assert predict_mouth(np.zeros(SAMPLE_RATE)).opening.std() == 0


def test_without_the_recogniser_bands_carry_on_and_it_is_said(
    english: Spoken, mouth: MouthTrack, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "pocketsphinx", None)
    with caplog.at_level(logging.WARNING):
        track = predict_mouth(english.samples)
    assert "pocketsphinx" in caplog.text
    assert track.phones == ()
    caplog.clear()
    wanted = predict_mouth(english.samples, phones="off")
    assert not caplog.text
    np.testing.assert_array_equal(track.opening, wanted.opening)
    assert alike(track, mouth) > 0.5
    assert track.closure.max() == 0


def test_wrong_arguments_are_named(english: Spoken) -> None:
    with pytest.raises(ValueError, match="mono"):
        predict_mouth(np.zeros([2, 1000]))
    with pytest.raises(ValueError, match="rate"):
        predict_mouth(english.samples, 0)


def test_the_same_sound_gives_the_same_bytes(english: Spoken, mouth: MouthTrack) -> None:
    predict_mouth(speak("Something else in between.").samples)
    again = predict_mouth(english.samples)
    for name in ("opening", "width", "closure", "silence"):
        np.testing.assert_array_equal(getattr(again, name), getattr(mouth, name))
    assert again.phones == mouth.phones


def test_long_speech_equals_its_parts() -> None:
    rng = np.random.default_rng(0)
    sentences = [
        speak(text, words_per_minute=170).samples
        for text in (ENGLISH, "People came up from the market with baskets full of apples.")
    ]
    pieces = []
    for index in range(16):
        pieces += [sentences[index % 2], np.zeros(int(rng.uniform(0.3, 0.9) * SAMPLE_RATE), np.float32)]
    samples = np.concatenate(pieces)
    samples += rng.normal(0, 1e-3, len(samples)).astype(np.float32)
    assert len(samples) > 65 * SAMPLE_RATE
    long = predict_mouth(samples)
    start = len(samples) // 160 // 3 * 160
    part = predict_mouth(samples[start : start + 30 * SAMPLE_RATE])
    inner = slice(200, 2800)
    whole = long.opening[start // 160 : start // 160 + 3001]
    assert np.corrcoef(whole[inner], part.opening[inner])[0, 1] > 0.9
    assert np.abs(whole[inner] - part.opening[inner]).mean() < 0.3
    assert len(long.phones) == pytest.approx(len(part.phones) * len(samples) / (30 * SAMPLE_RATE), rel=0.15)


def test_people_who_were_filmed(clips: Path | None) -> None:
    """The engine's bar: opening correlates at 0.5 or more with the real mouth, better than loudness does,
    within one frame of no lag.
    """
    if clips is None:
        # Without footage: the same bar on synthetic speech, whose true movement is known only through its
        # phonemes.
        spoken = [speak(ENGLISH), speak(FOREIGN["de"], "de"), speak(FOREIGN["ja"], "ja")]
        scores = [best_lag(predict_mouth(s.samples).opening, spoken_opening(s)) for s in spoken]
        assert np.mean([best for best, _ in scores]) > 0.5
        assert abs(np.mean([lag for _, lag in scores])) / TRACK_RATE <= 0.04
        return
    ours, theirs, lags = [], [], []
    for name in IN_STEP:
        samples, truth = load_audio(str(clips / name)), measure_mouth(clips / name, detect_every=15)
        ours.append(score(predict_mouth(samples).opening, truth.times, truth.opening, within=0.12))
        theirs.append(score(loudness(samples), truth.times, truth.opening, within=0.12).best)
        lags.append(ours[-1].frames)
    assert np.mean([s.best for s in ours]) > 0.58
    assert np.mean([s.at_zero for s in ours]) > 0.5
    assert np.mean([s.best for s in ours]) > np.mean(theirs) + 0.05
    assert abs(np.mean(lags)) <= 1
