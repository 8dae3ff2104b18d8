"""Where time lines start, and recordings whose clock starts anew."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from operators.media import reader
from operators.media.assemble import assemble
from operators.media.audio import load_audio
from operators.media.clock import clock_joins
from operators.media.decoding import pictures
from operators.media.probe import probe_video
from operators.media.reader import read_frames
from operators.storage.errors import DecodeError
from tests.operators.media import synth
from tests.operators.media.segments import Zoo, segments_of

#: Times of MPEG-TS files: 25 pictures a second.
TICK = 3600


def part(zoo: Zoo, path: Path, seed: int, name: str = "mpeg2.ts") -> Path:
    """A recording of 2.4 s with a burst at 1.0 s of its sound."""
    synth.write_rich(path, zoo(name), [(synth.burst(2.4, 1.0, seed=seed), "mp2", "eng")], subtitle=None)
    return path


@pytest.mark.parametrize("seconds", [20, 5000, 1])
@pytest.mark.parametrize("suffix", [".mkv", ".flv", ".nut", ".ts"])
def test_a_late_clock_is_no_blank_beginning(zoo: Zoo, tmp_path: Path, suffix: str, seconds: int) -> None:
    synth.write_rich(
        tmp_path / "a.mkv", zoo("cfr.mp4"), [(synth.burst(1.6, 1.0), "aac", "eng")], subtitle=None
    )
    path = tmp_path / f"late{suffix}"
    synth.shifted(tmp_path / "a.mkv", path, Fraction(seconds))
    speech = tmp_path / "speech.wav"
    synth.write_audio(speech, synth.burst(1.2, 0.5))
    info = probe_video(str(path))
    output = tmp_path / "out.mp4"
    assemble(str(output), segments_of(info, [0, 40]), info.url, str(speech), "add")
    result = probe_video(str(output))
    assert result.start <= Fraction(1, 20)
    assert result.duration == pytest.approx(1.6, abs=0.002)
    first = float(result.start) * 48000
    assert abs(synth.find_burst(output, 1) - first - 24000) <= 1
    # Matroska and FLV count milliseconds.
    assert abs(synth.find_burst(output, 0) - synth.find_burst(tmp_path / "a.mkv", 0)) <= 1200


@pytest.mark.parametrize(
    ("picture", "sound"), [("-0.3", "-0.3"), ("-0.04", "0"), ("0.5", "-0.7"), ("-1", "0.2")]
)
def test_nothing_before_the_time_0_of_matroska_is_hidden(
    zoo: Zoo, tmp_path: Path, picture: str, sound: str
) -> None:
    synth.write_rich(
        tmp_path / "a.mkv", zoo("cfr.mp4"), [(synth.burst(1.6, 1.0), "flac", "eng")], subtitle=None
    )
    path, output = tmp_path / "early.mkv", tmp_path / "out.mp4"
    moved = (Fraction(picture), Fraction(sound))
    synth.shifted(tmp_path / "a.mkv", path, moved, avoid_negative_ts="disabled")
    info = probe_video(str(path))
    assert info.start == pytest.approx(max(0, moved[0] - moved[1]), abs=0.002)
    assert set(np.diff(info.pts) * info.time_base) == {Fraction(1, 25)}
    assemble(str(output), segments_of(info, [0, 40]), info.url)
    assert len(synth.decode_plain(output)) == 40
    begin = float(moved[1] - min(moved)) * 48000
    assert abs(synth.find_burst(output, 0) - begin - 48000) <= 100
    # As the speech of another video it keeps its distance to its own picture; what was heard before that is cut.
    distance = float(1 + moved[1] - moved[0]) * 48000
    heard = np.correlate(load_audio(str(path), 48000), synth.burst(0.1, 0)[0], "valid")
    assert abs(int(np.argmax(heard)) - distance) <= 100 or distance < 0


def test_sound_and_picture_move_by_the_same_where_a_unit_of_time_is_a_whole_picture(tmp_path: Path) -> None:
    """Ogg counts pictures: its clock begins with a sound between two of them."""
    path, output, late = tmp_path / "late.ogg", tmp_path / "out.mov", Fraction(80)
    with av.open(str(path), "w") as out:
        video = out.add_stream("libvpx", rate=25, width=96, height=64, pix_fmt="yuv420p")
        video.codec_context.thread_count = 1  # its threads wait for each other by turning on the spot
        sound = out.add_stream("libopus", rate=48000, layout="mono")
        for i in range(25):
            frame = synth.picture(i, 96, 64)
            frame.pts, frame.time_base = i + 25 * late, Fraction(1, 25)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        out.mux(sound.encode(synth.packed(synth.burst(1.2, 0.5), 48000, "mono", int(48000 * late) - 144)))
        out.mux(sound.encode(None))
    info = probe_video(str(path))
    assert (info.source_time_base, info.origin) == (Fraction(1, 25), 1999)
    assemble(str(output), segments_of(info, [0, info.n_frames]), info.url)
    found = synth.find_burst(output, 0) - float(probe_video(str(output)).start) * 48000
    assert abs(found - 24000 + 144) <= 48


def test_a_delay_that_an_edit_list_says_is_kept(zoo: Zoo, tmp_path: Path) -> None:
    for seconds, kept in ((2, 2), (3600, 0)):
        synth.shifted(zoo("cfr.mp4"), tmp_path / "late.mp4", Fraction(seconds))
        assert probe_video(str(tmp_path / "late.mp4")).start == kept


@pytest.mark.parametrize("name", ["mpeg2.ts", "open.ts"])
def test_parts_joined_end_to_end_are_one_recording(zoo: Zoo, tmp_path: Path, name: str) -> None:
    """The second part's clock starts where the first one's did; its pictures and its sound follow."""
    first, second = (part(zoo, tmp_path / f"{i}.ts", i, name) for i in (1, 2))
    path = tmp_path / "joined.ts"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    info = probe_video(str(path))
    alone = probe_video(str(first))
    count = len(synth.decode_plain(path))
    assert info.n_frames == count >= 2 * alone.n_frames - 3
    assert set(np.diff(info.pts).tolist()) == {TICK}
    assert len(clock_joins(str(path))) == 1
    whole = [synth.digest(f.picture) for f in read_frames(str(path), 0, count, info)]
    assert whole == [digest for _, digest in synth.decode_plain(path)]
    middle = [synth.digest(f.picture) for f in read_frames(str(path), count - 20, count - 10, info)]
    assert middle == whole[count - 20 : count - 10]
    output = tmp_path / "out.mp4"
    assemble(str(output), segments_of(info, [0, count]), info.url)
    before = synth.find_burst(first, 0, seed=1) - float(synth.decode_plain(first)[0][0] or 0) / 90000 * 48000
    begin = float(probe_video(str(output)).start) * 48000
    length = (count - alone.n_frames) * 48000 / 25
    assert abs(synth.find_burst(output, 0, seed=1) - begin - before) <= 50
    assert abs(synth.find_burst(output, 0, seed=2) - begin - before - length) <= 2000
    assert len(load_audio(str(path))) / 16000 == pytest.approx(float(info.duration), abs=1.0)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_sound_that_overlaps_at_a_joint_is_kept(zoo: Zoo, tmp_path: Path, suffix: str) -> None:
    """Part 1 is heard longer than it is seen, and the sound of part 2 begins before its picture."""
    parts = [tmp_path / f"{i}.ts" for i in (1, 2)]
    for seed, one in enumerate(parts, 1):
        synth.write_rich(
            one, zoo("open.ts"), [(synth.burst(2.5, 1.0, seed=seed), "aac", "eng")], subtitle=None
        )
    path, output = tmp_path / "joined.ts", tmp_path / f"out{suffix}"
    path.write_bytes(b"".join(one.read_bytes() for one in parts))
    info = probe_video(str(path))
    notes = assemble(str(output), segments_of(info, [0, info.n_frames]), info.url)
    assert [note for note in notes if "milliseconds" not in note] == []
    assert len(synth.audio_packets(output, 0)) == sum(len(synth.audio_packets(one, 0)) for one in parts)
    assert 0 < synth.find_burst(output, 0, seed=1) < synth.find_burst(output, 0, seed=2)


def test_joined_matroska_files_are_one_recording(zoo: Zoo, tmp_path: Path) -> None:
    parts = [tmp_path / f"{i}.mkv" for i in (1, 2)]
    for seed, one in enumerate(parts, 1):
        synth.write_rich(
            one, zoo("open.mp4"), [(synth.burst(2.4, 1.0, seed=seed), "flac", "eng")], subtitle=None
        )
    path, output = tmp_path / "joined.mkv", tmp_path / "out.mp4"
    path.write_bytes(b"".join(one.read_bytes() for one in parts))
    assert [clock_joins(str(one)) for one in (*parts, path)] == [(), (), (Fraction(12, 5),)]
    info = probe_video(str(path))
    whole = [synth.digest(f.picture) for f in read_frames(str(path), 0, info.n_frames, info)]
    assert whole == 2 * [digest for _, digest in synth.decode_plain(parts[0])]
    assert set(np.diff(info.pts) * info.time_base) == {Fraction(1, 25)}
    assemble(str(output), segments_of(info, [0, info.n_frames]), info.url)
    for seed, second in ((1, 1.0), (2, 3.4)):
        assert abs(synth.find_burst(output, 0, seed=seed) - second * 48000) <= 100


def test_a_live_recording_of_unknown_size_is_no_joined_one(zoo: Zoo, tmp_path: Path) -> None:
    synth.shifted(zoo("open.mp4"), tmp_path / "live.mkv", Fraction(0), live="1")
    assert bytes.fromhex("1853806701ffffffffffffff") in (tmp_path / "live.mkv").read_bytes()[:200]
    assert clock_joins(str(tmp_path / "live.mkv")) == ()


@pytest.mark.parametrize(
    ("suffix", "channels", "rate"), [(".mp4", 1, 44100), (".mkv", 2, 44100), (".mp4", 6, 48000)]
)
def test_sound_that_becomes_another_at_a_joint_is_encoded(
    zoo: Zoo, tmp_path: Path, suffix: str, channels: int, rate: int
) -> None:
    """As a copy it would play at a wrong speed, or not at all."""
    parts, output = [tmp_path / f"{i}.ts" for i in (1, 2)], tmp_path / f"out{suffix}"
    for seed, (one, count, hertz) in enumerate(zip(parts, (2, channels), (48000, rate), strict=True), 1):
        sound = np.repeat(synth.burst(2.4, 1.0, rate=hertz, seed=seed), count, axis=0)
        synth.write_rich(one, zoo("open.ts"), [(sound, "aac", "eng")], subtitle=None, rate=hertz)
    path = tmp_path / "joined.ts"
    path.write_bytes(b"".join(one.read_bytes() for one in parts))
    info = probe_video(str(path))
    notes = assemble(str(output), segments_of(info, [0, info.n_frames]), info.url)
    assert any("encoded as AAC" in n and "its rate or channels change at 2." in n for n in notes), notes
    samples, start = synth.samples_of(output, 0)
    assert len(samples) / 48000 + float(start) == pytest.approx(4.8, abs=0.1)
    loud = np.flatnonzero(np.abs(samples) > 0.1) / 48000
    for second in (1.02, 3.42):  # transport streams do not hide the encoder's delay
        near = loud[abs(loud - second) < 0.5]
        assert (near.min(), near.max()) == pytest.approx((second, second + 0.1), abs=0.05)


@pytest.mark.parametrize("name", ["mpeg2.ts", "open.ts"])
def test_ranges_of_joined_parts_begin_at_the_key_frame_before_them(
    zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Pictures are those of a decode from the beginning, though times repeat; few are decoded for a range."""
    parts = [part(zoo, tmp_path / f"{i}.ts", i, name) for i in (1, 2, 3)]
    path = tmp_path / "joined.ts"
    path.write_bytes(b"".join(one.read_bytes() for one in parts))
    info = probe_video(str(path))
    whole = [digest for _, digest in synth.decode_plain(path)]
    decoded: list[int] = []

    def counted(*args: Any) -> Iterator[Any]:
        for picture in pictures(*args):
            decoded.append(1)
            yield picture

    monkeypatch.setattr(reader, "pictures", counted)
    group = int(np.diff(info.timeline.keys).max())
    for start in range(0, info.n_frames - 2, 7):
        decoded.clear()
        found = [synth.digest(f.picture) for f in read_frames(str(path), start, start + 2, info)]
        assert found == whole[start : start + 2], start
        assert len(decoded) <= 2 * group + 2 + 16, start


def test_a_later_part_follows_without_a_gap(zoo: Zoo, tmp_path: Path) -> None:
    first = part(zoo, tmp_path / "1.ts", 1)
    synth.shifted(first, tmp_path / "2.ts", Fraction(3600))
    (tmp_path / "joined.ts").write_bytes(first.read_bytes() + (tmp_path / "2.ts").read_bytes())
    info = probe_video(str(tmp_path / "joined.ts"))
    assert set(np.diff(info.pts).tolist()) == {TICK}
    assert len(load_audio(str(tmp_path / "joined.ts"))) < 16000 * 10


def test_a_marked_packet_is_looked_at(zoo: Zoo, tmp_path: Path) -> None:
    """Packets of a transport stream that are lost: what they held is missing. Those that are only counted
    wrongly are not.
    """
    data = bytearray(zoo("mpeg2.ts").read_bytes())
    packets = [data[i : i + 188] for i in range(0, len(data), 188)]
    pictures = [i for i, p in enumerate(packets) if (p[1] & 0x1F) << 8 | p[2] == 0x100]
    for number in pictures[len(pictures) // 2 :]:
        packets[number][3] = packets[number][3] & 0xF0 | (packets[number][3] + 5) & 0x0F
    (tmp_path / "counted.ts").write_bytes(b"".join(packets))
    info = probe_video(str(tmp_path / "counted.ts"))
    assert [d for _, d in synth.decode_plain(tmp_path / "counted.ts")] == [
        synth.digest(f.picture) for f in read_frames(info.url, 0, info.n_frames, info)
    ]
    lost = [p for i, p in enumerate(packets) if i not in pictures[40:46]]
    (tmp_path / "lost.ts").write_bytes(b"".join(lost))
    with pytest.raises(DecodeError, match=r"lost\.ts: the frame at \d"):
        probe_video(str(tmp_path / "lost.ts"))
