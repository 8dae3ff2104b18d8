"""Speech of any file as samples."""

from __future__ import annotations

import struct
import wave
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import fsspec
import numpy as np
import pytest

from operators.media.audio import audio_blocks, check_audible, load_audio
from operators.storage.errors import MediaError, NoAudioError, SilentAudioError
from tests.operators.media import synth

Zoo = Callable[[str], Path]


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000])
def test_resampled_tone_keeps_pitch_level_and_length(tmp_path: Path, rate: int) -> None:
    synth.write_audio(tmp_path / "a.wav", synth.tone(1.0, rate, 300.0), rate)
    samples = load_audio(str(tmp_path / "a.wav"))
    assert samples.dtype == np.float32
    assert abs(len(samples) - 16000) <= 1
    expected = 0.4 * np.sin(2 * np.pi * 300 * np.arange(len(samples)) / 16000)
    assert np.abs(samples - expected)[200:-200].max() < 2e-3


def test_channels_are_mixed_and_never_louder_than_full_scale(tmp_path: Path) -> None:
    """Two equal channels give the same one; one silent channel halves."""
    loud = np.repeat(np.sign(synth.tone(0.5, 16000, 50.0)) * 0.99, 2, axis=0).astype(np.float32)
    synth.write_audio(tmp_path / "both.wav", loud, 16000)
    both = load_audio(str(tmp_path / "both.wav"))
    assert np.abs(both).max() <= 1
    assert np.allclose(both, loud[0], atol=1e-3)
    loud[1] = 0
    synth.write_audio(tmp_path / "left.wav", loud, 16000)
    assert np.allclose(load_audio(str(tmp_path / "left.wav")), loud[0] / 2, atol=1e-3)


@pytest.mark.parametrize(("suffix", "codec"), [("wav", "pcm_s16le"), ("m4a", "aac"), ("mp3", "libmp3lame")])
def test_opposite_phase_is_analysed_by_a_channel(tmp_path: Path, suffix: str, codec: str) -> None:
    """The sum is silent, or with a codec what it left of it: the mouth follows one of the channels."""
    voice = synth.burst(1.0, 0.4) * 2
    synth.write_audio(tmp_path / f"a.{suffix}", np.concatenate([voice, -voice]), 48000, codec)
    samples = load_audio(str(tmp_path / f"a.{suffix}"), 48000)
    check_audible(samples, "a")
    assert np.corrcoef(np.abs(samples[:48000]), np.abs(voice[0]))[0, 1] > 0.8


@pytest.mark.parametrize(
    ("layout", "count", "channel"), [("5.1", 6, 2), ("4.0", 4, 0), ("16 channels", 16, 9)]
)
def test_one_voice_among_empty_channels_is_analysed_at_its_level(
    tmp_path: Path, layout: str, count: int, channel: int
) -> None:
    samples = np.zeros([count, 24000], np.float32)
    samples[channel] = synth.tone(0.5)[0]
    synth.write_audio(tmp_path / "a.wav", samples, 48000, "pcm_s16le", layout)
    assert np.abs(load_audio(str(tmp_path / "a.wav"))).max() == pytest.approx(0.4, abs=0.02)


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [("m4a", "aac"), ("mp3", "libmp3lame"), ("flac", "flac"), ("ogg", "libopus"), ("mka", "aac")],
)
def test_compressed_speech_starts_at_its_first_sample(tmp_path: Path, suffix: str, codec: str) -> None:
    """Encoder delay is taken out: the noise is where it was."""
    synth.write_audio(tmp_path / f"a.{suffix}", synth.burst(1.0, 0.4), 48000, codec)
    samples = load_audio(str(tmp_path / f"a.{suffix}"), 48000)
    match = np.correlate(samples, synth.burst(0.1, 0)[0], "valid")
    assert abs(int(np.argmax(match)) - 19200) <= 1


def test_time_zero_is_the_first_frame_of_a_video(zoo: Zoo, tmp_path: Path) -> None:
    """Audio that starts with the file while the picture comes later, and the other way round."""
    synth.write_rich(
        tmp_path / "late.mp4", zoo("vfr.mp4"), [(synth.burst(3, 1.5), "pcm_s16le", "eng")], subtitle=None
    )
    first = Fraction(synth.decode_plain(tmp_path / "late.mp4")[0][0] or 0, 12800)
    samples = load_audio(str(tmp_path / "late.mp4"), 48000)
    assert (
        abs(
            int(np.argmax(np.correlate(samples, synth.burst(0.1, 0)[0], "valid")))
            - round((Fraction(3, 2) - first) * 48000)
        )
        <= 1
    )
    with av.open(str(zoo("cfr.mp4"))) as source, av.open(str(tmp_path / "early.mkv"), "w") as out:
        picture = out.add_stream_from_template(source.streams[0], opaque=True)
        sound = out.add_stream("pcm_s16le", rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(
            (synth.burst(1, 0.5) * 32767).astype(np.int16), format="s16", layout="mono"
        )
        frame.sample_rate, frame.pts, frame.time_base = 48000, 12000, Fraction(1, 48000)
        for packet in source.demux(0):
            if packet.size:
                packet.stream = picture
                out.mux(packet)
        out.mux(sound.encode(frame))
        out.mux(sound.encode(None))
    samples = load_audio(str(tmp_path / "early.mkv"), 48000)
    assert len(samples) == 60000
    assert not samples[:12000].any()
    assert abs(int(np.argmax(np.correlate(samples, synth.burst(0.1, 0)[0], "valid"))) - 36000) <= 1


def test_holes_become_silence(tmp_path: Path) -> None:
    """A recording that lost half a second of packets: what follows stays in its place."""
    synth.write_audio(tmp_path / "a.mka", synth.burst(3.0, 2.0), 48000, "flac")
    packets = synth.read_track(tmp_path / "a.mka").packets
    kept = [packet for packet in packets if not 500 <= (packet[1] or 0) < 1000]
    assert len(kept) < len(packets)
    synth.remux(tmp_path / "a.mka", tmp_path / "b.mka", kept)
    samples = load_audio(str(tmp_path / "b.mka"), 48000)
    assert abs(int(np.argmax(np.correlate(samples, synth.burst(0.1, 0)[0], "valid"))) - 96000) <= 96
    assert abs(len(samples) - 144000) <= 96


def test_a_video_a_url_and_blocks_give_the_same_samples(tmp_path: Path, zoo: Zoo) -> None:
    synth.write_rich(tmp_path / "v.mp4", zoo("cfr.mp4"), [(synth.tone(1.3, channels=2), "aac", "eng")])
    samples = load_audio(str(tmp_path / "v.mp4"))
    with fsspec.open("memory://audio/v.mp4", "wb") as file:
        file.write((tmp_path / "v.mp4").read_bytes())
    assert (load_audio("memory://audio/v.mp4") == samples).all()
    blocks = [block for block, rate in audio_blocks(str(tmp_path / "v.mp4"), 16000, "mono") if rate == 16000]
    assert len(blocks) > 1
    assert (np.clip(np.concatenate(blocks, axis=1)[0], -1, 1) == samples).all()
    native = list(audio_blocks(str(tmp_path / "v.mp4")))
    assert {(len(block), rate) for block, rate in native} == {(2, 48000)}


def test_refusals_name_file_and_cause(zoo: Zoo, tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no sound")
    (tmp_path / "empty.wav").touch()
    with wave.open(str(tmp_path / "none.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
    for path, error, cause in (
        (zoo("cfr.mp4"), NoAudioError, "no audio stream"),
        (tmp_path / "none.wav", NoAudioError, "no sample"),
        (tmp_path / "text.wav", MediaError, "not a media file"),
        (tmp_path / "empty.wav", MediaError, "empty"),
        (tmp_path / "gone.wav", MediaError, "no such file"),
        (tmp_path, MediaError, "directory"),
    ):
        with pytest.raises(error, match=cause) as refused:
            load_audio(str(path))
        assert str(path) in str(refused.value)


def test_truncated_speech_is_refused(tmp_path: Path, zoo: Zoo) -> None:
    synth.write_audio(tmp_path / "a.m4a", synth.tone(2.0), 48000, "aac")
    synth.remux(
        tmp_path / "a.m4a",
        tmp_path / "b.m4a",
        synth.read_track(tmp_path / "a.m4a").packets,
        movflags="faststart",
    )
    (tmp_path / "b.m4a").write_bytes((tmp_path / "b.m4a").read_bytes()[:-6000])
    with pytest.raises(MediaError, match=r"the audio is missing from \d"):
        load_audio(str(tmp_path / "b.m4a"))


def test_damaged_packets_beyond_a_few_are_an_error(tmp_path: Path) -> None:
    synth.write_audio(tmp_path / "a.mka", synth.tone(3.0), 48000, "aac")
    packets = synth.read_track(tmp_path / "a.mka").packets
    noise = np.random.default_rng(0)

    def broken(every: int) -> list[tuple[bytes, int | None, int | None, int, bool]]:
        return [
            (noise.bytes(len(p[0])), *p[1:]) if i % every == every - 1 else p for i, p in enumerate(packets)
        ]

    synth.remux(tmp_path / "a.mka", tmp_path / "many.mka", broken(5))
    with pytest.raises(
        MediaError, match=r"of \d+ audio packets cannot be decoded|channels of the audio change"
    ):
        load_audio(str(tmp_path / "many.mka"))


@pytest.mark.parametrize("rate", [1, 999, 1_000_001, 923_249_732, 0x7FFFFFFF])
def test_absurd_sample_rates_are_refused(tmp_path: Path, rate: int) -> None:
    """No resampler can be made for most of them."""
    path = tmp_path / "a.wav"
    synth.write_audio(path, synth.tone(1), 48000)
    data = bytearray(path.read_bytes())
    assert data[24:28] == struct.pack("<I", 48000)
    data[24:28] = struct.pack("<I", rate)
    path.write_bytes(data)
    with pytest.raises(MediaError, match=rf"a\.wav: the audio says {rate} samples a second"):
        load_audio(str(path))


def test_a_hole_of_half_a_day_is_refused(zoo: Zoo, tmp_path: Path) -> None:
    synth.write_rich(tmp_path / "a.mkv", zoo("cfr.mp4"), [(synth.tone(2), "flac", "eng")], subtitle=None)
    synth.shifted(tmp_path / "a.mkv", tmp_path / "late.mkv", [Fraction(0), Fraction(13 * 3600)])
    with pytest.raises(MediaError, match=r"late\.mkv: the sound has a hole of 13 hours; remux"):
        next(audio_blocks(str(tmp_path / "late.mkv"), index=1))


def test_damaged_floating_point_becomes_silence(tmp_path: Path) -> None:
    """A channel of NaN, infinite samples and absurd ones: all others stay, and they are counted."""
    samples = synth.tone(0.5, channels=6)
    samples[3], samples[2, 100:120], samples[2, 200] = np.nan, np.inf, -1e20
    synth.write_audio(tmp_path / "a.wav", samples, codec="pcm_f32le", layout="5.1")
    counts: list[int] = []
    blocks = [block for block, _ in audio_blocks(str(tmp_path / "a.wav"), mended=counts.append)]
    samples[3], samples[2, 100:120], samples[2, 200] = 0, 0, 0
    assert np.array_equal(np.concatenate(blocks, axis=1), samples)
    assert sum(counts) == samples.shape[1] + 21
    assert np.isfinite(load_audio(str(tmp_path / "a.wav"))).all()


def test_silence_is_refused(tmp_path: Path) -> None:
    quiet = synth.tone(0.2, 16000, level=0.5e-3)[0]
    with pytest.raises(SilentAudioError, match=r"a\.wav: .*silent"):
        check_audible(quiet, "a.wav")
    with pytest.raises(SilentAudioError):
        check_audible(np.zeros(0, np.float32), "a.wav")
    check_audible(quiet * 3, "a.wav")


def test_real_speech(clips: Path | None, tmp_path: Path) -> None:
    """The clips' speech, or without them a synthetic one, is loud enough and as long as its file says."""
    path = clips / "vr_audio1.wav" if clips else tmp_path / "a.wav"
    if clips is None:
        synth.write_audio(path, synth.tone(5.0155, 44100, channels=2), 44100)
    samples = load_audio(str(path))
    check_audible(samples, str(path))
    with av.open(str(path)) as container:
        assert abs(len(samples) / 16000 - float((container.duration or 0) / 1e6)) < 2e-3
