"""Tracks that are carried beside the picture: what the source does not play, the output does not play."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.packet import Packet

from operators.media.assemble import assemble
from operators.media.outlook import check_carried_sound
from operators.media.probe import probe_video
from tests.operators.media import synth
from tests.operators.media.segments import Zoo, segments_of


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov"])
def test_hidden_samples_stay_hidden(zoo: Zoo, tmp_path: Path, suffix: str) -> None:
    """A track cut by an edit list: its first second is in the file and not played."""
    audios = [(synth.burst(3, 0.3, seed=5) + synth.burst(3, 1.8, seed=6), "aac", "eng")] * 2
    synth.write_rich(tmp_path / "a.mp4", zoo("cfr.mp4"), audios, subtitle=None)
    synth.shifted(tmp_path / "a.mp4", tmp_path / "cut.mp4", [Fraction(0), Fraction(-1), Fraction(-1)])
    info = probe_video(str(tmp_path / "cut.mp4"))
    output = tmp_path / f"out{suffix}"
    assert assemble(str(output), segments_of(info, [0, 40]), info.url) == []
    for track in (0, 1):
        wanted = synth.find_burst(tmp_path / "cut.mp4", track, seed=6)
        assert abs(wanted - 38400) < 2
        assert abs(synth.find_burst(output, track, seed=6) - wanted) <= 48
        samples, start = synth.samples_of(output, track)
        assert abs(float(start)) < 0.03
        # The burst that is hidden is the louder of the two noises where it would be.
        assert abs(samples[: 48000 // 2]).max() < 0.02


@pytest.mark.parametrize(("layout", "copied"), [("3.1", False), ("quad", True)])
def test_flac_is_copied_into_mp4_where_its_channels_need_no_names(
    tmp_path: Path, layout: str, copied: bool
) -> None:
    """MP4 tells the number of FLAC's channels only: a centre would come out of a loudspeaker behind."""
    source = tmp_path / "source.mkv"
    synth.write_title(source, np.repeat(synth.tone(2.0), 4, axis=0), layout, "flac")
    info = probe_video(str(source))
    notes = assemble(str(tmp_path / "out.mp4"), segments_of(info, [0, info.n_frames]), str(source))
    with av.open(str(tmp_path / "out.mp4")) as container:
        context = container.streams.audio[0].codec_context
        assert (context.name == "flac") == copied
        assert context.layout.name == layout or not copied
    assert bool(notes) != copied
    assert copied or "encoded as AAC" in notes[0]


@pytest.mark.parametrize("suffix", ["mp4", "mov"])
def test_a_track_that_is_over_before_the_first_picture_ends_nothing(
    zoo: Zoo, tmp_path: Path, suffix: str
) -> None:
    synth.write_rich(tmp_path / "a.mkv", zoo("cfr.mp4"), [(synth.tone(2), "wavpack", "eng")], subtitle=None)
    synth.shifted(tmp_path / "a.mkv", tmp_path / "late.mkv", [Fraction(3), Fraction(0)])
    info = probe_video(str(tmp_path / "late.mkv"))
    check_carried_sound(info.url, suffix, "keep", "track")
    notes = assemble(str(tmp_path / f"out.{suffix}"), segments_of(info, [0, info.n_frames]), info.url)
    assert any("encoded as AAC" in note for note in notes)
    assert probe_video(str(tmp_path / f"out.{suffix}")).n_frames == info.n_frames


@pytest.mark.parametrize("codec", ["flac", "wavpack"])
def test_sound_before_the_first_picture_is_kept_where_it_is_encoded(
    zoo: Zoo, tmp_path: Path, codec: str
) -> None:
    """The picture comes a second later than a sound that QuickTime cannot hold."""
    synth.write_rich(
        tmp_path / "a.mkv", zoo("cfr.mp4"), [(synth.burst(2.6, 0.3), codec, "eng")], subtitle=None
    )
    synth.shifted(tmp_path / "a.mkv", tmp_path / "late.mkv", [Fraction(1), Fraction(0)])
    info = probe_video(str(tmp_path / "late.mkv"))
    assert info.start == 1
    (note,) = assemble(str(tmp_path / "out.mov"), segments_of(info, [0, 40]), info.url)
    assert f"audio track 1 ({codec}, eng): encoded as AAC" in note
    assert abs(synth.find_burst(tmp_path / "out.mov", 0) - 14400) <= 1
    assert probe_video(str(tmp_path / "out.mov")).start == 1


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_damaged_packets_of_a_copied_track_are_left_out_with_a_note(tmp_path: Path, suffix: str) -> None:
    """A recording of a broadcast with a damaged header in its sound, which containers with an index refuse."""
    source = tmp_path / "a.ts"
    synth.write_title(source, synth.tone(2), "mono", "aac")
    data, packets = bytearray(source.read_bytes()), synth.audio_packets(source, 0)
    headers = [at for _, packet in packets if (at := data.find(packet[:16])) >= 0]
    assert len(headers) > 20
    data[headers[20] : headers[20] + 2] = b"\0\0"
    source.write_bytes(data)
    info, output = probe_video(str(source)), tmp_path / f"out{suffix}"
    (note,) = [n for n in assemble(str(output), segments_of(info, [0, 50]), info.url) if "damaged" in n]
    assert note.startswith("audio track 1 (aac): damaged packets are left out, 1 of them, the first at ")
    kept = synth.audio_packets(output, 0)
    assert len(packets) - 3 <= len(kept) < len(packets)
    assert abs(synth.samples_of(output, 0)[0][:4800]).max() > 0.1


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_tracks_of_which_nothing_is_played_are_noted(zoo: Zoo, tmp_path: Path, suffix: str) -> None:
    """The first of two sounds begins behind the output's end: MP4 and QuickTime files hold no empty track."""
    audios = [(synth.burst(2, 0.3, seed=5), "aac", "eng"), (synth.burst(2, 0.3, seed=6), "aac", "fra")]
    synth.write_rich(tmp_path / "a.mkv", zoo("cfr.mp4"), audios, subtitle=None)
    synth.shifted(tmp_path / "a.mkv", tmp_path / "late.mkv", [Fraction(0), Fraction(20), Fraction(0)])
    info, output = probe_video(str(tmp_path / "late.mkv")), tmp_path / f"out{suffix}"
    notes = [n for n in assemble(str(output), segments_of(info, [0, 20]), info.url) if "audio" in n]
    assert notes == ([] if suffix == ".mkv" else ["audio track 1 (aac, eng): left out, it is empty"])
    with av.open(str(output)) as written:
        languages = [stream.language for stream in written.streams.audio]
    assert languages == (["eng", "fra"] if suffix == ".mkv" else ["fra"])


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_reordered_pictures_of_a_second_track_keep_their_times(zoo: Zoo, tmp_path: Path, suffix: str) -> None:
    """Matroska stores no decoding times: the first pictures would come out late."""
    path, output = tmp_path / "two.mkv", tmp_path / f"out{suffix}"
    with av.open(str(zoo("open.mp4"))) as source, av.open(str(path), "w") as out:
        template = source.streams.video[0]
        copies = [out.add_stream_from_template(template, opaque=True) for _ in range(2)]
        for packet in source.demux(template):
            for copy in copies if packet.size else ():
                again = Packet(bytes(packet))
                again.pts, again.dts, again.duration = packet.pts, packet.dts, packet.duration
                again.time_base, again.stream, again.is_keyframe = packet.time_base, copy, packet.is_keyframe
                out.mux(again)
    info = probe_video(str(path))
    assert assemble(str(output), segments_of(info, [0, info.n_frames]), info.url) == []

    def times(file: Path) -> list[float]:
        with av.open(str(file)) as container:
            stream = container.streams.video[1]
            return sorted(float((p.pts or 0) * p.time_base) for p in container.demux(stream) if p.size)

    assert times(output) == pytest.approx(times(path), abs=0.0006)
