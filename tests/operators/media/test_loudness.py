"""Loudness on known values, and the speech's level behind a mix-down."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from operators.media.assemble import assemble
from operators.media.audio import audio_blocks, audio_channels
from operators.media.loudness import Levelling, centred, levelling, limited, loudness_of, measured
from operators.media.loudness_target import loudness_problem
from operators.media.probe import probe_video
from operators.media.soundtrack import with_centre
from tests.operators.media import synth
from tests.operators.media.segments import segments_of

RATE = 48000


def sine(decibels: float, seconds: float = 4.0, hertz: float = 997.0, rate: int = RATE) -> np.ndarray:
    """float32[1, n], a sine whose peak is so many dBFS."""
    return synth.tone(seconds, rate, hertz, level=10 ** (decibels / 20))


def blocks(samples: np.ndarray) -> Iterator[np.ndarray]:
    return (samples[:, i : i + 30000] for i in range(0, samples.shape[1], 30000))


def placed(voice: np.ndarray, channel: int, count: int) -> np.ndarray:
    """The voice in one channel of many."""
    samples = np.zeros([count, voice.shape[1]], np.float32)
    samples[channel] = voice[0]
    return samples


def voice(seconds: float = 4.0) -> np.ndarray:
    """float32[1, n] with peaks far above its loudness, as speech has: noise in syllables."""
    noise = np.random.default_rng(5).normal(0, 1, round(seconds * RATE))
    syllables = np.abs(np.sin(2 * np.pi * 2.0 * np.arange(len(noise)) / RATE)) ** 3
    return (0.05 * np.convolve(noise, np.hanning(16) / 4, "same") * syllables)[None].astype(np.float32)


@pytest.mark.parametrize(
    ("level", "channels", "expected"),
    [
        (0.0, 1, -3.01),  # ITU-R BS.1770-4, annex 1: a 997 Hz sine of 0 dBFS in one channel
        (-23.0, 2, -23.0),  # EBU Tech 3341, test 1
        (-33.0, 2, -33.0),  # test 2
        (-23.0, 1, -26.01),
    ],
)
def test_known_sines(level: float, channels: int, expected: float) -> None:
    samples = np.repeat(sine(level), channels, axis=0)
    found = measured(blocks(samples), RATE, "mono" if channels == 1 else "stereo")
    assert found.lufs == pytest.approx(expected, abs=0.1)
    assert found.peak == pytest.approx(level, abs=0.2)


@pytest.mark.parametrize("samples", [1, 384, 4799])
def test_a_sound_that_does_not_last_whole_tenths_of_a_second(samples: int) -> None:
    """The gate works, and what is loudest at the very end counts for the peak."""
    quiet, rest = np.concatenate([sine(-23, 4), sine(-60, 4)], axis=1), sine(-40, samples / RATE)
    rest[0, -1] = 0.9
    found = measured(blocks(np.concatenate([quiet, rest], axis=1)), RATE, "mono")
    assert found.lufs == pytest.approx(-26.01, abs=0.2)
    assert found.peak > -2


def test_the_gate_leaves_silence_out() -> None:
    """EBU Tech 3341, test 3: quiet parts before and behind do not count."""
    parts = [sine(-36, 3), sine(-23, 9), sine(-36, 3)]
    samples = np.repeat(np.concatenate(parts, axis=1), 2, axis=0)
    assert measured(blocks(samples), RATE, "stereo").lufs == pytest.approx(-23, abs=0.2)


def test_peaks_between_samples_count() -> None:
    """A quarter of the sample rate, sampled 45 degrees beside its peaks, is 3 dB higher than its samples."""
    phase = np.pi / 4 + np.pi / 2 * np.arange(RATE)
    samples = (0.5 * np.sin(phase) * np.hanning(RATE) ** 0.1)[None].astype(np.float32)
    assert 20 * np.log10(np.abs(samples).max()) == pytest.approx(-9.03, abs=0.01)
    assert measured(blocks(samples), RATE, "mono").peak == pytest.approx(-6.02, abs=0.2)


def test_the_level_of_short_and_silent_sounds() -> None:
    assert measured(blocks(sine(-20, 0.1)), RATE, "mono").lufs == pytest.approx(-23.7, abs=0.2)
    assert measured(blocks(np.zeros([1, 40000], np.float32)), RATE, "mono").lufs == -np.inf


@pytest.mark.parametrize(
    ("layout", "count", "channel"),
    [
        ("5.1", 6, 2),  # the voice in the centre
        ("5.1", 6, 0),
        ("4.0", 4, 0),
        ("4 channels", 4, 1),
        ("7.1", 8, 2),
        ("12 channels", 12, 7),
    ],
)
def test_the_loudness_survives_the_mix_down(tmp_path: Path, layout: str, count: int, channel: int) -> None:
    path = str(tmp_path / "a.mka")
    synth.write_audio(Path(path), placed(voice(), channel, count), RATE, "pcm_f32le", layout)
    own = loudness_of(path)
    level = levelling(path)
    found = measured(level.blocks(path, RATE), RATE, "stereo")
    assert found.lufs == pytest.approx(own.lufs, abs=0.15)
    assert found.peak <= -1
    assert f"{count} channels" in level.notes[0]
    assert path in level.notes[0]


def test_channels_that_cancel_each_other(tmp_path: Path) -> None:
    """Opposite phase in four channels without a place: one of them is used."""
    path = str(tmp_path / "a.mka")
    samples = np.concatenate([voice(), -voice(), voice(), -voice()])
    synth.write_audio(Path(path), samples, RATE, "pcm_f32le", "4 channels")
    level = levelling(path)
    assert level.alone is not None
    found = measured(level.blocks(path, RATE), RATE, "stereo")
    assert found.lufs == pytest.approx(loudness_of(path).lufs, abs=0.2)


@pytest.mark.parametrize("target", ["-23", "-16"])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_a_target_is_met_below_the_peak_limit(tmp_path: Path, target: str, channels: int) -> None:
    path = str(tmp_path / "a.mka")
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[channels]
    samples = placed(voice(), 2, 6) if channels == 6 else np.repeat(voice(), channels, axis=0)
    synth.write_audio(Path(path), samples, RATE, "pcm_f32le", layout)
    level = levelling(path, target)
    found = measured(level.blocks(path, RATE), RATE, "mono" if channels == 1 else "stereo")
    assert found.lufs == pytest.approx(float(target), abs=0.5)
    assert found.peak <= -1 + 0.1
    assert any(f"{float(target):.1f} LUFS" in note and path in note for note in level.notes)


def test_a_target_that_is_not_reached_is_said(tmp_path: Path) -> None:
    """A click a second: raised to -16 LUFS it would be nothing but limited."""
    path = str(tmp_path / "a.wav")
    clicks = np.zeros([1, 4 * RATE], np.float32)
    clicks[0, ::RATE] = 0.5
    synth.write_audio(Path(path), clicks)
    level = levelling(path, "-16")
    found = measured(level.blocks(path, RATE), RATE, "mono")
    assert found.lufs < -17
    assert f"made {found.lufs:.1f} LUFS, -16.0 would distort it" in level.notes[-1]


def test_the_loudness_of_another_track(tmp_path: Path) -> None:
    speech, video = str(tmp_path / "a.wav"), str(tmp_path / "b.wav")
    synth.write_audio(Path(speech), voice())
    synth.write_audio(Path(video), np.repeat(sine(-30), 2, axis=0))
    level = levelling(speech, "source", (video, 0))
    assert measured(level.blocks(speech, RATE), RATE, "mono").lufs == pytest.approx(-30, abs=0.2)
    assert "no audio to match" in levelling(speech, "source").notes[0]
    synth.write_audio(Path(video), np.zeros([2, RATE], np.float32))
    assert "is silent" in levelling(speech, "source", (video, 0)).notes[0]


def test_two_channels_and_fewer_stay_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    samples = np.concatenate([voice(1), -voice(1)])
    synth.write_audio(path, samples, RATE, "pcm_f32le")
    assert levelling(str(path)) == Levelling(2)
    assert (np.concatenate(list(levelling(str(path)).blocks(str(path), RATE)), axis=1) == samples).all()


def test_the_limiter_keeps_length_place_and_what_is_below() -> None:
    samples = np.repeat(voice(), 2, axis=0)
    found = np.concatenate(list(limited(blocks(samples), RATE, "stereo")), axis=1)
    assert found.shape == samples.shape
    assert np.abs(found - samples)[:, 200:-200].max() < 0.02 * np.abs(samples).max()
    loud = np.concatenate(list(limited(blocks(samples * 8), RATE, "stereo")), axis=1)
    assert measured(blocks(loud), RATE, "stereo").peak <= -1 + 0.05


def test_what_may_be_asked_for() -> None:
    for target in ("off", "source", "-23", "-16", "-23.5"):
        assert not loudness_problem(target)
    for target in ("loud", "", "3", "-70", "nan", "inf"):
        assert repr(target) in loudness_problem(target)


@pytest.mark.parametrize(
    ("layout", "channels", "codec"),
    [("5.1", 1, "flac"), ("5.1(side)", 2, "flac"), ("7.1", 1, "flac"), ("5.1", 2, "pcm_s16le")],
)
def test_the_speech_in_the_centre_of_a_programme(
    tmp_path: Path, layout: str, channels: int, codec: str
) -> None:
    """The other channels stay, the centre's old voice is gone, and the new one is as loud as its file. PCM in Matroska says
    the number of its channels only.
    """
    count = 8 if layout == "7.1" else 6
    bed = np.stack([synth.tone(2.4, hertz=200.0 + 100 * i, level=0.05)[0] for i in range(count)])
    source, speech = tmp_path / "source.mkv", tmp_path / "speech.wav"
    synth.write_title(source, bed, layout, codec)
    synth.write_audio(speech, np.repeat(voice(1.6), channels, axis=0))
    info = probe_video(str(source))
    output = str(tmp_path / "out.mp4")
    notes = assemble(
        output, segments_of(info, [0, info.n_frames], name="centre"), str(source), str(speech), place="centre"
    )
    assert notes == [
        f"{speech}: stands in the place of the centre channel of the video's sound ({layout}), encoded as AAC"
    ]
    found, names = audio_channels(output)
    assert (found, names[2]) == (layout.replace("(side)", ""), "FC")
    heard = np.concatenate([block for block, _ in audio_blocks(output)], axis=1)
    for number in range(count):
        if number not in (2, 3):  # AAC's channel for low frequencies has no others
            hertz = 200.0 + 100 * number
            assert amplitude(heard[number], hertz) == pytest.approx(0.05, rel=0.1), names[number]
    assert amplitude(heard[2], 400.0) < 0.005
    centre = measured(blocks(heard[2:3, : round(1.6 * RATE)]), RATE, "mono").lufs
    assert centre == pytest.approx(loudness_of(str(speech)).lufs, abs=0.5)


def test_channels_that_cancel_each_other_are_not_mixed_for_the_centre(tmp_path: Path) -> None:
    """A lossy codec leaves noise of the difference, however much it is raised."""
    path = str(tmp_path / "speech.wav")
    sound = voice(2.0)
    noise = np.random.default_rng(0).normal(0, 1e-4, sound.shape).astype(np.float32)
    synth.write_audio(Path(path), np.concatenate([sound, noise - sound]))
    level = centred(levelling(path), path)
    assert (level.alone, level.channels) in ((0, 1), (1, 1))
    assert "its channels cancel each other" in level.notes[0]
    heard = np.concatenate(list(level.blocks(path, RATE)), axis=1)[0]
    count = min(len(heard), sound.shape[1])
    assert abs(np.corrcoef(heard[:count], sound[0, :count])[0, 1]) > 0.99


def test_peaks_in_the_centre_are_limited(tmp_path: Path) -> None:
    """Two loudspeakers are 3 dB louder than one: the gain that makes up for it may exceed full scale."""
    path = str(tmp_path / "speech.wav")
    sound = voice(2.03) * np.float32(0.8 / np.abs(voice(2.03)).max())
    synth.write_audio(Path(path), np.repeat(sound, 2, axis=0))
    level = centred(levelling(path), path)
    found = measured(level.blocks(path, RATE), RATE, "mono")
    assert (level.limited, level.channels) == (True, 1)
    assert found.peak <= -1
    assert level.notes[0] == f"{path}: peaks limited to -1 dBTP"
    short = loudness_of(path).lufs - found.lufs
    assert (short >= 0.5) == (len(level.notes) == 2), short


def test_speech_in_the_centre_ends_with_the_picture_where_the_programme_goes_on(tmp_path: Path) -> None:
    source, speech, output = tmp_path / "source.mkv", tmp_path / "speech.wav", str(tmp_path / "out.mp4")
    synth.write_title(source, np.stack([synth.tone(2, hertz=200.0 + 100 * i)[0] for i in range(6)]), "5.1")
    synth.write_audio(speech, synth.tone(1.8, hertz=1000))
    info = probe_video(str(source))
    segments = segments_of(info, [0, 25], name="longer")
    assemble(output, segments, str(source), str(speech), place="centre", whole=True)
    heard = np.concatenate([block for block, _ in audio_blocks(output)], axis=1)
    assert heard.shape[1] == pytest.approx(2 * RATE, abs=0.05 * RATE)
    assert amplitude(heard[2, : round(0.9 * RATE)], 1000) > 0.2
    assert np.abs(heard[2, round(1.1 * RATE) :]).max() < 0.02
    assert amplitude(heard[0, round(1.1 * RATE) :], 200) > 0.2


def amplitude(samples: np.ndarray, hertz: float) -> float:
    """Amplitude of one sine in float32[n]."""
    wave = np.exp(-2j * np.pi * hertz * np.arange(len(samples)) / RATE)
    return float(2 * np.abs((samples * wave).mean()))


def test_a_programme_without_a_centre_gets_a_track_and_a_note(tmp_path: Path) -> None:
    source, speech = tmp_path / "source.mkv", tmp_path / "speech.wav"
    synth.write_title(source, np.repeat(voice(2.4), 2, axis=0), "stereo", "flac")
    synth.write_audio(speech, voice(1.6))
    info = probe_video(str(source))
    segments = segments_of(info, [0, info.n_frames], name="no-centre")
    (note,) = assemble(str(tmp_path / "out.mp4"), segments, str(source), str(speech), place="centre")
    assert "has a track of its own, the video's sound (stereo) has no centre channel" in note
    assert audio_channels(str(tmp_path / "out.mp4"))[0] == "mono"


def test_speech_goes_on_where_the_programme_ends() -> None:
    """In blocks of any size, from any sample on."""
    bed = np.arange(1, 31, dtype=np.float32).reshape(3, 10)
    speech = -np.arange(1, 13, dtype=np.float32)[None]
    for size in (1, 3, 10):
        mixed = np.concatenate(
            [
                *with_centre(
                    (bed[:, i : i + size] for i in range(0, 10, size)),
                    (speech[:, i : i + 5] for i in range(0, 12, 5)),
                    4,
                    2,
                    3,
                )
            ],
            axis=1,
        )
        assert mixed.shape == (3, 16)
        assert (mixed[:2, :10] == bed[:2]).all()
        assert not mixed[:2, 10:].any()
        assert mixed[2].tolist() == [0.0] * 4 + speech[0].tolist()
