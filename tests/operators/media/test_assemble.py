"""A finished title: pictures bit for bit, times exactly, speech to the sample, all other tracks carried over."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import av
import fsspec
import numpy as np
import pytest
from av.stream import Disposition

from operators.media.assemble import assemble
from operators.media.audio import audio_blocks
from operators.media.encoders import EncoderOptions
from operators.media.loudness import loudness_of
from operators.media.probe import probe_video
from operators.media.reader import read_frames
from operators.media.writer import encode_segment
from operators.storage.errors import MediaError, NoAudioError
from tests.operators.media import synth
from tests.operators.media.conftest import VFR
from tests.operators.media.segments import FOLDER, Zoo, segments_of


def pictures(url: str) -> list[str]:
    info = probe_video(url)
    return [synth.digest(frame.picture) for frame in read_frames(url, 0, info.n_frames, info)]


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    synth.write_audio(tmp_path / "speech.wav", synth.burst(1.2, 0.5))
    return tmp_path / "speech.wav"


@pytest.fixture
def rich(zoo: Zoo, tmp_path: Path) -> Path:
    """1.6 s of video, two audio tracks of 2 s, subtitles, chapters."""
    audios = [(synth.tone(2), "aac", "eng"), (synth.burst(2, 1.0, seed=9), "aac", "fra")]
    synth.write_rich(tmp_path / "rich.mp4", zoo("cfr.mp4"), audios)
    return tmp_path / "rich.mp4"


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize(
    "name",
    ["vfr.mp4", "vfr.mkv", "cfr.mp4", "turn90.mp4", "interlaced.mp4", "ten.mp4", "vp9odd.webm", "open.ts"],
)
def test_pictures_and_times_are_those_of_the_segments(
    zoo: Zoo, tmp_path: Path, name: str, suffix: str
) -> None:
    info = probe_video(str(zoo(name)))
    n = info.n_frames
    urls = segments_of(info, sorted({0, 1, min(3, n), n // 2, n}))
    output = str(tmp_path / f"out{suffix}")
    warnings = assemble(output, urls, info.url)
    result = probe_video(output)
    assert pictures(output) == [digest for url in urls for digest in pictures(url)]
    expected = [int(t) * info.time_base for t in info.pts]
    times = [int(t) * result.time_base for t in result.pts]
    if suffix == ".mkv" and any((1000 * t).denominator > 1 for t in expected):
        assert any("milliseconds" in warning for warning in warnings)
        assert all(abs(a - b) <= Fraction(1, 2000) for a, b in zip(times, expected, strict=True))
    else:
        assert (times, warnings) == (expected, [])
        assert result.end == info.end
    assert (result.rotation, result.fields, result.color) == (info.rotation, info.fields, info.color)
    assert (result.width, result.height) == (info.width, info.height)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_the_header_tells_the_end_of_the_last_frame(tmp_path: Path, seed: int, suffix: str) -> None:
    """Of variable rates too, where the last packet is that of a picture shown in the middle."""
    steps = np.random.default_rng(seed).choice([300, 512, 3000, 9000], 11)
    synth.write_video(tmp_path / "a.mp4", 12, pts=[0, *np.cumsum(steps).tolist()], options={"bf": "3"})
    info = probe_video(str(tmp_path / "a.mp4"))
    output = tmp_path / f"out{suffix}"
    assemble(str(output), segments_of(info, [0, 5, 12], name=f"e{seed}"), info.url)
    data = output.read_bytes()
    scale, duration = struct.unpack_from(">II", data, data.index(b"mvhd") + 16)
    assert Fraction(duration, scale) == info.end


def test_plain_decoders_see_the_same_times(zoo: Zoo, tmp_path: Path) -> None:
    """Not only our reader: what PyAV gives for the output equals what it gives for the source."""
    info = probe_video(str(zoo("vfr.mp4")))
    assemble(str(tmp_path / "out.mp4"), segments_of(info, [0, 7, 30]), info.url)
    assert [time for time, _ in synth.decode_plain(tmp_path / "out.mp4")] == VFR


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("name", ["cfr.mp4", "vfr.mp4"])
def test_speech_starts_with_the_first_frame_to_the_sample(
    zoo: Zoo, tmp_path: Path, speech: Path, name: str, suffix: str
) -> None:
    info = probe_video(str(zoo(name)))
    output = tmp_path / f"out{suffix}"
    assemble(str(output), segments_of(info, [0, 10, info.n_frames]), info.url, str(speech), language="de")
    expected = round(info.start * 48000) + 24000
    assert abs(synth.find_burst(output, 0) - expected) <= 1
    with av.open(str(output)) as container:
        assert [s.language for s in container.streams.audio] == ["ger" if suffix == ".mov" else "deu"]


@pytest.mark.parametrize(("level", "noted"), [(1.1, False), (3.0, True)])
def test_speech_that_exceeds_full_scale_gets_a_note(
    zoo: Zoo, tmp_path: Path, level: float, noted: bool
) -> None:
    synth.write_audio(tmp_path / "a.wav", synth.tone(0.4, level=level), codec="pcm_f32le")
    info = probe_video(str(zoo("cfr.mp4")))
    notes = assemble(str(tmp_path / "out.mkv"), segments_of(info, [0, 10]), info.url, str(tmp_path / "a.wav"))
    assert any("a.wav: peaks of +9.5 dBFS, which players clip" in note for note in notes) == noted


@pytest.mark.parametrize("damage", [np.nan, np.inf, -1e20])
def test_damaged_samples_of_the_speech_become_silence_with_a_note(
    zoo: Zoo, tmp_path: Path, damage: float
) -> None:
    samples = synth.tone(0.4)
    samples[0, 1000:1500] = damage
    synth.write_audio(tmp_path / "a.wav", samples, codec="pcm_f32le")
    info = probe_video(str(zoo("cfr.mp4")))
    notes = assemble(str(tmp_path / "out.mp4"), segments_of(info, [0, 10]), info.url, str(tmp_path / "a.wav"))
    assert any("became silence, 500 of them" in note for note in notes)
    written, _ = synth.samples_of(tmp_path / "out.mp4", 0)
    assert 0.3 < np.abs(written).max() < 0.6


@pytest.mark.parametrize(("right", "noted"), [(-1.0, True), (0.0, False), (1.0, False)])
def test_channels_in_opposite_phase_get_a_note(zoo: Zoo, tmp_path: Path, right: float, noted: bool) -> None:
    voice = synth.burst(1.2, 0.1)
    synth.write_audio(tmp_path / "a.wav", np.concatenate([voice, right * voice]))
    info = probe_video(str(zoo("cfr.mp4")))
    notes = assemble(str(tmp_path / "out.mkv"), segments_of(info, [0, 10]), info.url, str(tmp_path / "a.wav"))
    assert any("a.wav: its two channels cancel each other" in note for note in notes) == noted


def test_speech_of_a_video_keeps_its_distance_to_that_video(zoo: Zoo, tmp_path: Path) -> None:
    """A video used as its own speech: what was heard with a frame is heard with it again, though the video
    starts late.
    """
    synth.write_rich(
        tmp_path / "late.mp4", zoo("vfr.mp4"), [(synth.burst(3, 1.5), "aac", "eng")], subtitle=None
    )
    info = probe_video(str(tmp_path / "late.mp4"))
    assert info.start > Fraction(1, 100)
    before = synth.find_burst(tmp_path / "late.mp4", 0)
    assemble(
        str(tmp_path / "out.mp4"), segments_of(info, [0, info.n_frames]), info.url, str(tmp_path / "late.mp4")
    )
    assert abs(synth.find_burst(tmp_path / "out.mp4", 0) - before) <= 1


@pytest.mark.parametrize(
    ("audio", "languages", "default"),
    [
        ("replace", ["deu", "fra"], [True, False]),
        ("add", ["eng", "fra", "deu"], [True, False, False]),
        ("keep", ["eng", "fra"], [True, False]),
    ],
)
def test_which_audio_tracks_there_are(
    rich: Path, speech: Path, tmp_path: Path, audio: str, languages: list[str], default: list[bool]
) -> None:
    info = probe_video(str(rich))
    output = str(tmp_path / "out.mp4")
    assert assemble(output, segments_of(info, [0, 40]), info.url, str(speech), audio, "deu") == []  # type: ignore[arg-type]
    with av.open(output) as container:
        assert [s.language for s in container.streams.audio] == languages
        assert [
            bool(s.disposition & av.stream.Disposition.default) for s in container.streams.audio
        ] == default
    original = synth.audio_packets(rich, 1)
    assert abs(synth.find_burst(output, 1, seed=9) - 48000) <= 1
    carried = synth.audio_packets(output, 1)
    assert carried == original, "it plays on behind the picture, as in the source"
    assemble(output, segments_of(info, [0, 20], name="part"), info.url, str(speech), audio, "deu")  # type: ignore[arg-type]
    shortened = synth.audio_packets(output, 1)
    assert shortened == original[: len(shortened)]
    end = int(info.pts[20]) * info.time_base
    assert shortened[-1][0] < end <= shortened[-1][0] + Fraction(1024, 48000), "and is cut with it"


def test_longer_output_carries_all_audio_and_shorter_cuts_it(
    rich: Path, speech: Path, tmp_path: Path
) -> None:
    info = probe_video(str(rich))
    slow = [1024 * i for i in range(40)]
    assemble(str(tmp_path / "long.mp4"), segments_of(info, [0, 40], slow), info.url, str(speech), "add")
    assert synth.audio_packets(tmp_path / "long.mp4", 1) == synth.audio_packets(rich, 1)
    assemble(str(tmp_path / "short.mp4"), segments_of(info, [0, 15]), info.url, str(speech), "add")
    for track in (0, 1, 2):
        assert synth.audio_packets(tmp_path / "short.mp4", track)[-1][0] < Fraction(15, 25)
    with av.open(str(tmp_path / "short.mp4")) as container:
        assert [chapter["metadata"]["title"] for chapter in container.chapters()] == ["Part 0", "Part 1"]
        assert container.chapters()[1]["end"] * (container.chapters()[1]["time_base"] or 0) == Fraction(
            15, 25
        )


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_subtitles_chapters_and_metadata_are_carried(rich: Path, tmp_path: Path, suffix: str) -> None:
    info = probe_video(str(rich))
    output = tmp_path / f"out{suffix}"
    warnings = assemble(str(output), segments_of(info, [0, 40]), info.url)
    assert len(warnings) == (suffix == ".mkv")
    with av.open(str(output)) as container:
        assert {"title": "A title", "comment": "kept"}.items() <= {
            key.lower(): value for key, value in container.metadata.items()
        }.items()
        assert [chapter["metadata"]["title"] for chapter in container.chapters()] == [
            "Part 0",
            "Part 1",
            "Part 2",
            "Part 3",
        ]
        lines = [p for p in container.demux(container.streams.subtitles[0]) if p.size > 2]
        assert [float((p.pts or 0) * p.time_base) for p in lines] == [0, 0.6, 1.2]
        assert [b"Line %d" % i in bytes(p) for i, p in enumerate(lines)] == [True] * 3
        assert container.streams.subtitles[0].language == "nor"


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_subtitles_stay_off_and_moved_chapters_are_noted(zoo: Zoo, tmp_path: Path, suffix: str) -> None:
    synth.write_rich(tmp_path / "all.mkv", zoo("cfr.mp4"), [(synth.tone(2), "aac", "eng")], "subrip")
    with av.open(str(tmp_path / "all.mkv")) as whole, av.open(str(tmp_path / "off.mkv"), "w") as out:
        streams = {one.index: out.add_stream_from_template(one, opaque=True) for one in whole.streams}
        for one in whole.streams.subtitles:
            streams[one.index].disposition = Disposition(0)
        spans = [(200, 600), (900, 1300)]
        out.set_chapters(
            [
                {"id": n, "start": a, "end": b, "time_base": Fraction(1, 1000), "metadata": {}}
                for n, (a, b) in enumerate(spans)
            ]
        )
        for packet in whole.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream_index]
                out.mux(packet)
    info = probe_video(str(tmp_path / "off.mkv"))
    output = tmp_path / f"out{suffix}"
    warnings = assemble(str(output), segments_of(info, [0, info.n_frames]), info.url)
    with av.open(str(output)) as container:
        (subtitle,) = container.streams.subtitles
        assert not subtitle.disposition & Disposition.default
        assert container.streams.video[0].disposition & Disposition.default
        kept = [
            tuple(float(one[end] * one["time_base"]) for end in ("start", "end"))
            for one in container.chapters()
        ]
    moved = [note for note in warnings if "chapters begin or end elsewhere" in note]
    if suffix == ".mkv":
        assert kept == [(0.2, 0.6), (0.9, 1.3)]
    assert bool(moved) == (kept != [(0.2, 0.6), (0.9, 1.3)])


def test_what_mp4_cannot_hold_is_converted_or_reported(zoo: Zoo, tmp_path: Path) -> None:
    """A Matroska file with SubRip subtitles, WavPack audio and an attachment, into MP4."""
    path = tmp_path / "rich.mkv"
    synth.write_rich(
        path,
        zoo("cfr.mp4"),
        [(synth.burst(2, 0.7), "aac", "eng"), (synth.burst(2, 1.0), "wavpack", "fra")],
        "subrip",
    )
    attached = tmp_path / "attached.mkv"
    with av.open(str(path)) as source, av.open(str(attached), "w") as out:
        copies = {s.index: out.add_stream_from_template(s, opaque=True) for s in source.streams}
        for index, copy in copies.items():
            copy.metadata.update(source.streams[index].metadata)
        out.add_attachment("font.ttf", "font/ttf", b"glyphs")
        for packet in source.demux():
            if packet.size:
                packet.stream = copies[packet.stream_index]
                out.mux(packet)
    info = probe_video(str(attached))
    urls = segments_of(info, [0, 40])
    warnings = assemble(str(tmp_path / "out.mp4"), urls, info.url)
    assert sorted(warning.split(":")[0] for warning in warnings) == [
        "attachment track 4 (unknown codec)",
        "audio track 2 (wavpack, fra)",
        "subtitle track 3 (srt, nor)",
    ]
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert [
            (s.type, s.codec_context.name, s.language) for s in container.streams if s.type != "data"
        ] == [
            ("video", "h264", "und"),
            ("audio", "aac", "eng"),
            ("audio", "aac", "fra"),
            ("subtitle", "mov_text", "nor"),
        ]
        lines = [p for p in container.demux(container.streams.subtitles[0]) if p.size > 2]
        assert [(float((p.pts or 0) * p.time_base), bytes(p)[2:]) for p in lines] == [
            (0, b"Line 0"),
            (0.6, b"Line 1"),
            (1.2, b"Line 2"),
        ]
    assert abs(synth.find_burst(tmp_path / "out.mp4", 1) - 48000) <= 1
    # Matroska counts AAC's encoder delay in milliseconds.
    assert abs(synth.find_burst(tmp_path / "out.mp4", 0) - synth.find_burst(path, 0)) <= 24
    # Matroska holds all of it.
    assert assemble(str(tmp_path / "out.mkv"), urls, info.url) == []
    with av.open(str(tmp_path / "out.mkv")) as container:
        assert [(a.name, a.data) for a in container.streams.attachments] == [("font.ttf", b"glyphs")]
        assert [s.codec_context.name for s in container.streams if s.codec_context] == [
            "h264",
            "aac",
            "wavpack",
            "srt",
        ]


@pytest.mark.parametrize(("layout", "kept"), [("7.1", 8), ("5.1(side)", 6), ("12 channels", 2)])
def test_many_channels_that_the_container_cannot_hold_are_encoded(
    zoo: Zoo, tmp_path: Path, layout: str, kept: int
) -> None:
    """A second track in a codec that QuickTime lacks: its channels stay where AAC has a place for them."""
    path, codec = tmp_path / "a.mkv", "wavpack" if layout == "12 channels" else "flac"
    count = len(av.AudioLayout(layout).channels)
    with av.open(str(zoo("cfr.mp4"))) as video, av.open(str(path), "w") as out:
        picture = out.add_stream_from_template(video.streams[0], opaque=True)
        sound = out.add_stream(codec, rate=48000, layout=layout)
        for packet in video.demux(video=0):
            if packet.size:
                packet.stream = picture
                out.mux(packet)
        samples = np.concatenate([synth.tone(1.5, hertz=300 + 50 * i, level=0.2) for i in range(count)])
        out.mux(sound.encode(synth.packed(samples, 48000, layout)))
        out.mux(sound.encode(None))
    info = probe_video(str(path))
    (note,) = assemble(str(tmp_path / "out.mov"), segments_of(info, [0, 40]), info.url)
    assert note.startswith("audio track 1")
    assert ("as stereo" in note) == (kept == 2)
    blocks = np.concatenate([b for b, _ in audio_blocks(str(tmp_path / "out.mov"))], axis=1)
    assert len(blocks) == kept
    if kept > 2:
        for place in (0, 1, 2, kept - 1):  # each tone in its own channel
            spectrum = np.abs(np.fft.rfft(blocks[place, 4800 : 4800 + 48000]))
            assert abs(int(np.argmax(spectrum)) - (300 + 50 * place)) <= 1 or place == 3


def test_speech_of_many_channels_is_mixed_down_with_a_note(zoo: Zoo, tmp_path: Path) -> None:
    speech = tmp_path / "speech.flac"
    synth.write_audio(speech, np.repeat(synth.burst(1.2, 0.5) / 8, 8, axis=0), 48000, "flac", "7.1")
    info = probe_video(str(zoo("cfr.mp4")))
    output = str(tmp_path / "out.mp4")
    (note,) = assemble(output, segments_of(info, [0, 40]), info.url, str(speech))
    assert note.startswith(f"{speech}: 8 channels (7.1) mixed down to stereo")
    assert abs(synth.find_burst(output, 0) - 24000) <= 1


def test_loudness_of_the_speech_is_what_was_asked_for(rich: Path, tmp_path: Path) -> None:
    speech = tmp_path / "speech.wav"
    synth.write_audio(speech, synth.tone(1.5, level=0.02))
    info = probe_video(str(rich))
    urls = segments_of(info, [0, 40])
    for target, expected in (("-23", -23.0), ("source", loudness_of(str(rich)).lufs)):
        output = str(tmp_path / f"out{target}.mp4")
        notes = assemble(output, urls, info.url, str(speech), loudness=target)
        assert any(str(speech) in note and "LUFS" in note for note in notes)
        assert loudness_of(output).lufs == pytest.approx(expected, abs=0.6)
    with pytest.raises(ValueError, match="loudness must be off, source or a number"):
        assemble(str(tmp_path / "x.mp4"), urls, info.url, str(speech), loudness="loud")


def test_cover_art_is_carried(zoo: Zoo, tmp_path: Path) -> None:
    cover = zoo("still.jpg").read_bytes()
    path = tmp_path / "covered.mp4"
    with (
        av.open(str(zoo("cfr.mp4"))) as video,
        av.open(str(zoo("still.jpg"))) as picture,
        av.open(str(path), "w") as out,
    ):
        main = out.add_stream_from_template(video.streams[0], opaque=True)
        art = out.add_stream_from_template(picture.streams[0], opaque=True)
        art.disposition = av.stream.Disposition.attached_pic
        for source, target in ((video, main), (picture, art)):
            for packet in source.demux(video=0):
                if packet.size:
                    packet.stream = target
                    out.mux(packet)
    info = probe_video(str(path))
    assert info.n_frames == 40
    urls = segments_of(info, [0, 40])
    for suffix in (".mp4", ".mkv"):
        output = tmp_path / f"out{suffix}"
        assert assemble(str(output), urls, info.url) == []
        with av.open(str(output)) as container:
            art = next(
                s for s in container.streams.video if s.disposition & av.stream.Disposition.attached_pic
            )
            assert bytes(next(p for p in container.demux(art) if p.size)) == cover


def test_audio_of_a_program_stream_stays_with_its_pictures(
    clips: Path | None, zoo: Zoo, tmp_path: Path
) -> None:
    """Clock times: the pictures move to the start of the time line and the audio with them."""
    path = tmp_path / "clock.ts"
    synth.write_rich(path, zoo("cfr.mp4"), [(synth.burst(1.5, 1.0), "mp2", "eng")], subtitle=None)
    before = synth.find_burst(path, 0) - synth.decode_plain(path)[0][0] * 48000 / 90000  # type: ignore[operator]
    info = probe_video(str(path))
    assemble(str(tmp_path / "out.mp4"), segments_of(info, [0, 40]), info.url)
    after = (
        synth.find_burst(tmp_path / "out.mp4", 0)
        - float(probe_video(str(tmp_path / "out.mp4")).start) * 48000
    )
    assert abs(after - before) <= 2
    if clips is not None:
        info = probe_video(str(clips / "grid_bbaf2n.mpg"))
        assemble(str(tmp_path / "grid.mp4"), segments_of(info, [0, 75]), info.url)
        assert [data for _, data in synth.audio_packets(tmp_path / "grid.mp4", 0)] == [
            data for _, data in synth.audio_packets(info.url, 0)
        ]


@pytest.mark.parametrize(("timecode", "kept"), [("01:00:00:00", True), ("nonsense", False)])
def test_time_code_is_carried_or_reported(zoo: Zoo, tmp_path: Path, timecode: str, kept: bool) -> None:
    """The track that holds it is written anew from the tag."""
    with av.open(str(zoo("cfr.mp4"))) as video, av.open(str(tmp_path / "a.mkv"), "w") as out:
        stream = out.add_stream_from_template(video.streams[0], opaque=True)
        stream.metadata["timecode"] = timecode
        for packet in video.demux(video=0):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    info = probe_video(str(tmp_path / "a.mkv"))
    writes = (
        kept and int(av.__version__.split(".")[0]) >= 18
    )  # older PyAV cannot tell the muxer the frame rate
    warnings = assemble(str(tmp_path / "out.mov"), segments_of(info, [0, 40]), info.url)
    assert [timecode in warning for warning in warnings] == [True] * (not writes)
    with av.open(str(tmp_path / "out.mov")) as container:
        assert (timecode in {stream.metadata.get("timecode") for stream in container.streams}) == writes


def test_audio_whose_times_stand_still_is_carried(zoo: Zoo, tmp_path: Path) -> None:
    synth.write_rich(tmp_path / "a.mkv", zoo("cfr.mp4"), [(synth.tone(1.5), "aac", "eng")], subtitle=None)
    times = {30: 29, 31: 29}
    with av.open(str(tmp_path / "a.mkv")) as source, av.open(str(tmp_path / "b.mkv"), "w") as out:
        copies = {s.index: out.add_stream_from_template(s, opaque=True) for s in source.streams}
        found = [packet for packet in source.demux() if packet.size]
        sound = [packet for packet in found if packet.stream_index == 1]
        original = [packet.pts for packet in sound]
        for late, early in times.items():
            sound[late].pts = sound[late].dts = original[early]
        for packet in found:
            packet.stream = copies[packet.stream_index]
            out.mux(packet)
    info = probe_video(str(tmp_path / "b.mkv"))
    assert assemble(str(tmp_path / "out.mp4"), segments_of(info, [0, 40]), info.url) == []
    assert len(synth.audio_packets(tmp_path / "out.mp4", 0)) == len(sound)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_same_inputs_give_the_same_bytes_anywhere(
    rich: Path, speech: Path, tmp_path: Path, suffix: str
) -> None:
    info = probe_video(str(rich))
    urls = segments_of(info, [0, 17, 40])
    contents = set()
    for output in (str(tmp_path / f"a{suffix}"), f"file://{tmp_path}/b{suffix}", f"{FOLDER}/c{suffix}"):
        assemble(output, urls, info.url, str(speech), "add", "de")
        with fsspec.open(output, "rb") as file:
            contents.add(file.read())
    assert len(contents) == 1


def test_failures_leave_no_output(rich: Path, speech: Path, zoo: Zoo, tmp_path: Path) -> None:
    info = probe_video(str(rich))
    urls = segments_of(info, [0, 20, 40])
    output = str(tmp_path / "done" / "out.mp4")
    encode_segment(
        f"{FOLDER}/other.mp4",
        ((f, f.pts) for f in read_frames(info.url, 20, 40, info)),
        info,
        EncoderOptions(preset="medium"),
    )
    synth.write_video(tmp_path / "mute.mp4", 3)
    for arguments, error, words in (
        (([], info.url), ValueError, "no segments"),
        ((urls[::-1], info.url), MediaError, "must ascend"),
        (([urls[0], f"{FOLDER}/other.mp4"], info.url), MediaError, "other options"),
        (([urls[0], f"{FOLDER}/gone.mp4"], info.url), MediaError, "no such file"),
        ((urls, info.url, str(tmp_path / "mute.mp4")), NoAudioError, "no audio stream"),
        ((urls, info.url, str(speech), "mix"), ValueError, "replace, add, keep"),
    ):
        with pytest.raises(error, match=words):
            assemble(output, *arguments)  # type: ignore[arg-type]
    assert not (tmp_path / "done").exists() or not list((tmp_path / "done").iterdir())
    with pytest.raises(ValueError, match=r"must end in one of \.mp4"):
        assemble(str(tmp_path / "out.avi"), urls, info.url)


def test_unknown_language_is_reported(rich: Path, speech: Path, tmp_path: Path) -> None:
    info = probe_video(str(rich))
    urls = segments_of(info, [0, 40])
    assert [
        "klingonish" in w
        for w in assemble(str(tmp_path / "a.mp4"), urls, info.url, str(speech), language="klingonish")
    ] == [True]
    assert [
        "'zu'" in w for w in assemble(str(tmp_path / "a.mov"), urls, info.url, str(speech), language="zu")
    ] == [True]
    assert assemble(str(tmp_path / "b.mp4"), urls, info.url, str(speech), language="zu") == []


def test_still_picture_with_speech(zoo: Zoo, speech: Path, tmp_path: Path) -> None:
    info = probe_video(str(zoo("still.jpg")))
    frame = next(read_frames(info.url, 0, 1, info))
    encode_segment(f"{FOLDER}/still.mp4", ((frame, i) for i in range(30)), info)
    assert assemble(str(tmp_path / "out.mp4"), [f"{FOLDER}/still.mp4"], info.url, str(speech)) == []
    result = probe_video(str(tmp_path / "out.mp4"))
    assert (result.n_frames, result.duration, result.width, result.height) == (30, Fraction(6, 5), 97, 65)
    assert [s.kind for s in result.streams] == ["video", "audio"]
    assert np.ptp(result.pts) * result.time_base == Fraction(29, 25)
