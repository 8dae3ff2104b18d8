"""The mark of speech, written and read."""

from pathlib import Path

import av
import numpy as np
import pytest
from scipy.stats import kstest, norm

from operators.media.audio import load_audio
from operators.watermark.code import CODE_BITS, decode, encode
from operators.watermark.keys import MarkKey
from operators.watermark.speech import (
    BANDS,
    GROUP,
    GROUPS,
    STEP,
    band_energies,
    hop_of,
    marked_speech,
    segmental_snr,
    speech_layout,
)
from operators.watermark.speech_detector import HYPOTHESES, RATE, evidence, read_speech
from tests.operators.speech.espeak import speak

KEY, OTHER = MarkKey(b"k" * 32), MarkKey(b"o" * 32)
ID = "0123456789abcdef"
TEXT = (
    "Every dub carries a mark that nobody hears. It stands in the levels of the voice, and whoever has the key can read it "
    "again, even from a short piece of the sound."
)


def vowels(seconds: float, seed: int, rate: int = RATE) -> np.ndarray:
    """float32[n]: buzzes of changing pitch through changing formants, with pauses."""
    noise, pieces = np.random.default_rng(seed), []
    for _ in range(int(seconds / 0.3)):
        t = np.arange(3 * rate // 10) / rate
        pitch = noise.uniform(90, 220)
        formants = noise.uniform([300, 900, 2200], [800, 2000, 3500])
        buzz = sum(
            np.cos(2 * np.pi * k * pitch * t + noise.uniform(0, 6))
            * (sum(np.exp(-(((k * pitch - f) / 200) ** 2)) for f in formants) + 0.1)
            / k
            for k in range(1, int(6000 / pitch))
        )
        breath = noise.normal(size=len(t)) * 0.002
        pieces.append((buzz + breath) * np.hanning(len(t)) ** 0.5 * (noise.uniform() > 0.15))
    sound = np.concatenate(pieces)
    return (0.3 * sound / np.abs(sound).max()).astype(np.float32)


def marked(sound: np.ndarray, block: int = 4000) -> np.ndarray:
    blocks = (sound[None, i : i + block] for i in range(0, len(sound), block))
    return np.concatenate(list(marked_speech(KEY, ID, blocks, RATE)), axis=1)[0]


@pytest.fixture(scope="module")
def clean() -> np.ndarray:
    return vowels(9, seed=3)


@pytest.fixture(scope="module")
def speech(clean: np.ndarray) -> np.ndarray:
    return marked(clean)


def test_the_id_is_read_from_five_seconds_anywhere_under_noise(clean: np.ndarray, speech: np.ndarray) -> None:
    noise = np.random.default_rng(4)
    noisy = speech + noise.normal(size=len(speech)).astype(np.float32) * np.std(speech) * np.float32(0.02)
    for start in (0.0, 1.234, 3.9):
        cut = noisy[int(start * RATE) :][: 5 * RATE]
        found = read_speech(KEY, cut)
        assert found.p < 1e-6, start
        assert decode(KEY, found.soft).id == ID, start


def test_the_change_is_25_db_below_synthetic_speech_by_gains_that_are_reduced_where_they_must(
    clean: np.ndarray, speech: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("operators.watermark.speech.LEAST_SNR", -np.inf)
    full, change = marked(clean) - clean, speech - clean
    assert segmental_snr(clean, full, RATE) < 25 < segmental_snr(clean, change, RATE) < 40
    # Energy below the bands, as voices have it, leaves room for the whole mark.
    t = np.arange(len(clean), dtype=np.float32) / RATE
    rich = clean + np.float32(2) * np.sin(2 * np.pi * 150 * t)
    whole = marked(rich)
    monkeypatch.undo()
    assert np.array_equal(marked(rich), whole)


def test_the_change_is_at_least_25_db_below_a_voice(tmp_path: Path) -> None:
    """The id is read from five seconds of it after AAC at 64 kbit/s."""
    sound = speak(TEXT).samples[: 7 * RATE]
    written = marked(sound)
    assert segmental_snr(sound, written - sound, RATE) > 25
    assert len(sound) == 7 * RATE
    with av.open(str(tmp_path / "voice.m4a"), "w") as container:
        stream = container.add_stream("aac", rate=RATE, layout="mono")
        stream.bit_rate = 64_000
        frame = av.AudioFrame.from_ndarray(written[None], format="fltp", layout="mono")
        frame.sample_rate = RATE
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    heard = load_audio(str(tmp_path / "voice.m4a"), RATE)
    assert decode(KEY, read_speech(KEY, heard[RATE : 6 * RATE]).soft).id == ID


def test_pieces_of_any_size_give_the_same_samples(clean: np.ndarray, speech: np.ndarray) -> None:
    assert np.array_equal(marked(clean, 977), speech)
    assert len(speech) == len(clean)


def test_louder_and_softer_sound_reads_alike(speech: np.ndarray) -> None:
    whole, quiet = (
        read_speech(KEY, speech[: 6 * RATE]),
        read_speech(KEY, speech[: 6 * RATE] * np.float32(0.1)),
    )
    assert abs(whole.z - quiet.z) < 0.01


def test_channels_keep_their_place(clean: np.ndarray) -> None:
    """Both channels get the gains of their mean, so that the mean reads as a mono mark does."""
    sound = np.stack([clean, clean * np.float32(0.5)])[:, : 6 * RATE]
    written = np.concatenate(list(marked_speech(KEY, ID, [sound], RATE)), axis=1)
    assert written.shape == sound.shape
    assert np.allclose(written[0] * 0.5, written[1], atol=1e-6)
    assert decode(KEY, read_speech(KEY, written.mean(0)).soft).id == ID


def test_unmarked_speech_and_other_keys_give_no_mark(clean: np.ndarray, speech: np.ndarray) -> None:
    assert read_speech(KEY, clean).p > 0.01
    assert read_speech(OTHER, speech).p > 0.01


@pytest.mark.parametrize("repeated", [False, True])
def test_the_statistic_of_unmarked_sound_is_normal(clean: np.ndarray, repeated: bool) -> None:
    """At any one starting point, over keys; also where a sound has the same phases in each repetition of the layout."""
    sound = np.tile(clean[RATE:][: GROUP * GROUPS * hop_of(RATE)], 4) if repeated else clean
    tiles = band_energies(sound, RATE, hop_of(RATE))
    tiles = tiles[: len(tiles) // GROUP * GROUP].reshape(-1, GROUP * BANDS)
    found = []
    for number in range(300):
        key = MarkKey(number.to_bytes(32, "big"))
        values, power = evidence(tiles, key, number % 20, STEP, float(tiles.max()))
        layout = speech_layout(key)
        known = layout.place[CODE_BITS:]
        spread = np.sqrt(power.reshape(-1)[known].sum() / 2)
        found.append((values.reshape(-1)[known] * layout.pilots).sum() / spread)
    assert kstest(found, norm.cdf).pvalue > 1e-4
    assert 0.85 < np.std(found) < 1.15
    assert HYPOTHESES == 2560


def test_silence_stays_silent_and_holds_nothing() -> None:
    silence = np.zeros(6 * RATE, np.float32)
    assert not marked(silence).any()
    assert read_speech(KEY, silence).p == 1
    assert read_speech(KEY, silence[:100]).p == 1


def test_no_sound_gives_no_blocks() -> None:
    assert list(marked_speech(KEY, ID, [], RATE)) == []
    assert encode(KEY, ID).shape == (264,)


def test_rates_without_whole_frames_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 125"):
        hop_of(22051)
