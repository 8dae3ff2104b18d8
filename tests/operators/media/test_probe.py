"""Results of `probe_video`, and the files that they refuse."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from operators.media.probe import is_still_image, probe_video
from operators.media.reader import read_frames
from operators.storage.errors import DecodeError, MediaError
from tests.operators.media import synth
from tests.operators.media.conftest import GOP, VFR

Zoo = Callable[[str], Path]


def test_all_of_a_plain_file(zoo: Zoo) -> None:
    info = probe_video(str(zoo("cfr.mp4")))
    assert (info.width, info.height, info.coded_width, info.coded_height) == (96, 64, 96, 64)
    assert (info.codec, info.pix_fmt, info.rotation, info.fields) == ("h264", "yuv420p", 0, "")
    assert not info.mirrored
    assert not info.still
    assert info.time_base == Fraction(1, 12800)
    assert info.pts.tolist() == [512 * i for i in range(40)]
    assert (info.average_rate, info.duration, info.start) == (25, Fraction(8, 5), 0)
    assert [(s.kind, s.codec) for s in info.streams] == [("video", "h264")]
    assert info.sample_aspect_ratio == 1


def test_variable_rate_and_late_start_are_kept(zoo: Zoo) -> None:
    info = probe_video(str(zoo("vfr.mp4")))
    assert info.pts.tolist() == VFR
    assert info.start == Fraction(VFR[0], 12800)


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_rotation_is_clockwise_and_swaps_the_size(zoo: Zoo, turn: int) -> None:
    info = probe_video(str(zoo(f"turn{turn}.mp4")))
    assert info.rotation == turn
    assert not info.mirrored
    assert (info.width, info.height) == ((64, 96) if turn in (90, 270) else (96, 64))
    assert (info.coded_width, info.coded_height) == (96, 64)


def test_mirrored_picture(zoo: Zoo) -> None:
    info = probe_video(str(zoo("mirror.mp4")))
    assert (info.rotation, info.mirrored) == (0, True)


def test_colour_tags_and_aspect_ratio(tmp_path: Path) -> None:
    attributes = {
        "colorspace": 9,
        "color_primaries": 9,
        "color_trc": 16,
        "color_range": 2,
        "sample_aspect_ratio": Fraction(4, 3),
    }
    synth.write_video(tmp_path / "a.mp4", 4, pix_fmt="yuv420p10le", attributes=attributes)
    info = probe_video(str(tmp_path / "a.mp4"))
    assert (info.color.matrix, info.color.primaries, info.color.transfer, info.color.range) == (9, 9, 16, 2)
    assert info.sample_aspect_ratio == Fraction(4, 3)


@pytest.mark.parametrize("name", ["mpeg1.mpg", "mpeg2.ts", "open.ts"])
def test_clock_times_start_at_zero_and_agree_with_a_decode(zoo: Zoo, name: str) -> None:
    """MPEG streams with B-frames: times of frames in presentation order, less the clock's start."""
    info = probe_video(str(zoo(name)))
    plain = [time for time, _ in synth.decode_plain(zoo(name))]
    assert plain[0]
    assert info.pts.tolist() == [time - plain[0] for time in plain if time is not None]
    assert len(info.pts) == 60


@pytest.mark.parametrize(
    "name", ["mpeg4.avi", "h264.avi", "raw.h264", "fragmented.mp4", "vp9odd.webm", "animation.gif"]
)
def test_all_frames_are_found(zoo: Zoo, name: str) -> None:
    info = probe_video(str(zoo(name)))
    plain = synth.decode_plain(zoo(name))
    assert info.n_frames == len(plain)
    times = sorted(time * info.source_time_base for time, _ in plain if time is not None)
    assert (info.pts * info.time_base).tolist() == (times or [Fraction(i, 25) for i in range(40)])
    assert info.average_rate == 25


def test_frames_without_times_are_spread(zoo: Zoo, tmp_path: Path) -> None:
    """Repeated times (a broken muxer) keep their frames: each gets a time of its own between its neighbours."""
    times = [0, 1, 2, 2, 2, 3, 4, 5, 5, 6]
    track = zip(synth.read_track(zoo("mjpeg.avi")).packets, times, strict=True)
    packets = [(data, time * 40, time * 40, 40, key) for (data, *_, key), time in track]
    with av.open(str(zoo("mjpeg.avi"))) as source, av.open(str(tmp_path / "twice.mkv"), "w") as out:
        stream = out.add_stream_from_template(source.streams[0], opaque=True)
        for data, pts, _, duration, key in packets:
            packet = av.Packet(data)
            packet.pts = packet.dts = pts
            packet.duration, packet.is_keyframe, packet.time_base, packet.stream = (
                duration,
                key,
                Fraction(1, 1000),
                stream,
            )
            out.mux(packet)
    info = probe_video(str(tmp_path / "twice.mkv"))
    assert info.n_frames == 10
    assert (np.diff(info.pts) > 0).all()
    seconds = info.pts * float(info.time_base)
    assert np.allclose(seconds[[0, 1, 5, 6, 7, 9]], [0, 0.04, 0.12, 0.16, 0.2, 0.24], atol=1e-3)


def test_edit_list_hides_the_frames_before_it(zoo: Zoo, tmp_path: Path) -> None:
    """An MP4 whose edit list starts 11 frames into the stream, in the middle of a group of pictures."""
    track = synth.read_track(zoo("cfr.mp4"))
    shift = 11 * 512
    packets = [
        (data, (pts or 0) - shift, (dts or 0) - shift, duration, key)
        for data, pts, dts, duration, key in track.packets
    ]
    synth.remux(zoo("cfr.mp4"), tmp_path / "edit.mp4", packets, movie_timescale="12800")
    info = probe_video(str(tmp_path / "edit.mp4"))
    plain = synth.decode_plain(tmp_path / "edit.mp4")
    assert info.n_frames == len(plain) == 29
    assert info.pts.tolist() == [time for time, _ in plain]
    assert [picture for _, picture in plain] == [
        picture for _, picture in synth.decode_plain(zoo("cfr.mp4"))[11:]
    ]


def test_pictures_before_the_first_entry_point_are_no_frames(zoo: Zoo, tmp_path: Path) -> None:
    """A recording cut in the middle of an open group of pictures: nobody can show what refers to before the
    cut.
    """
    track = synth.read_track(zoo("open265.mkv"))
    second = [i for i, packet in enumerate(track.packets) if packet[4]][1]
    synth.remux(zoo("open265.mkv"), tmp_path / "cut.mkv", track.packets[second:])
    plain = synth.decode_plain(tmp_path / "cut.mkv")
    info = probe_video(str(tmp_path / "cut.mkv"))
    assert len(plain) < len(track.packets) - second
    assert info.pts.tolist() == [time for time, _ in plain]


def test_still_picture_is_a_video_of_one_frame(zoo: Zoo) -> None:
    for name, size in (("still.png", (96, 64)), ("still.jpg", (97, 65))):
        info = probe_video(str(zoo(name)))
        assert is_still_image(str(zoo(name)))
        assert (info.still, info.n_frames, info.average_rate, info.duration) == (True, 1, 25, Fraction(1, 25))
        assert (info.width, info.height) == size
    assert not is_still_image(str(zoo("cfr.mp4")))


@pytest.mark.parametrize(
    ("tag", "turn", "mirrored"),
    [(1, 0, False), (2, 0, True), (3, 180, False), (5, 90, True), (6, 90, False), (8, 270, False)],
)
def test_exif_orientation_of_photographs(
    zoo: Zoo, tmp_path: Path, tag: int, turn: int, mirrored: bool
) -> None:
    """Telephones store pictures as the sensor lies; the picture shown is compared with OpenCV's, which knows
    Exif too.
    """
    (tmp_path / "a.jpg").write_bytes(synth.with_exif(zoo("still.jpg").read_bytes(), tag))
    info = probe_video(str(tmp_path / "a.jpg"))
    assert (info.rotation, info.mirrored) == (turn, mirrored)
    theirs = cv2.cvtColor(cv2.imread(str(tmp_path / "a.jpg")), cv2.COLOR_BGR2RGB).astype(int)
    ours = next(read_frames(str(tmp_path / "a.jpg"), 0, 1)).rgb()
    assert np.abs(ours - theirs).mean() < 4


def test_reordering_is_known_before_decoding(zoo: Zoo) -> None:
    assert probe_video(str(zoo("prores.mov"))).timeline.reordering == 0
    assert probe_video(str(zoo("open.mp4"))).timeline.reordering == 2


def test_names_are_taken_literally(zoo: Zoo, tmp_path: Path) -> None:
    for name, source in (("frame%03d.png", "still.png"), ("a:b #1.mp4", "cfr.mp4")):
        shutil.copy(zoo(source), tmp_path / name)
        assert probe_video(str(tmp_path / name)).width == 96


def test_description_travels_between_processes(zoo: Zoo) -> None:
    info = pickle.loads(pickle.dumps(probe_video(str(zoo("vfr.mp4")))))
    assert [frame.pts for frame in read_frames(info.url, 3, 6, info)] == VFR[3:6]


def test_cover_art_is_no_video(zoo: Zoo, tmp_path: Path) -> None:
    path = tmp_path / "song.m4a"
    with av.open(str(zoo("still.jpg"))) as picture, av.open(str(path), "w", format="mp4") as out:
        cover = out.add_stream_from_template(picture.streams[0], opaque=True)
        cover.disposition = av.stream.Disposition.attached_pic
        synth.mux_audio(out, synth.tone(0.5), 48000, "aac")
        packet = next(p for p in picture.demux(video=0) if p.size)
        packet.stream = cover
        out.mux(packet)
    with pytest.raises(MediaError, match="cover art"):
        probe_video(str(path))


def test_refusals_name_file_and_cause(zoo: Zoo, tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("Dear editor,\nthe clip is attached.\n" * 40)
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(5000))
    synth.write_audio(tmp_path / "speech.wav", synth.tone(0.2))
    for name, cause in {
        "missing.mp4": "no such file",
        "": "directory",
        "empty.mp4": "empty",
        "text.mp4": "not a media file",
        "noise.mp4": "not a media file",
        "speech.wav": "no video stream",
    }.items():
        with pytest.raises(MediaError, match=cause) as refused:
            probe_video(str(tmp_path / name))
        assert str(tmp_path / name) in str(refused.value)


@pytest.mark.parametrize("name", ["cfr.mp4", "vfr.mkv", "h264.avi", "fragmented.mp4"])
def test_truncated_files_are_refused_wherever_the_cut_falls(zoo: Zoo, tmp_path: Path, name: str) -> None:
    whole = zoo(name).read_bytes()
    if name == "cfr.mp4":  # the index in front, or a truncated file cannot be opened at all
        synth.remux(
            zoo(name), tmp_path / "front.mp4", synth.read_track(zoo(name)).packets, movflags="faststart"
        )
        whole = (tmp_path / "front.mp4").read_bytes()
    for share in (0.5, 0.62, 0.87):
        path = tmp_path / f"cut{share}{Path(name).suffix}"
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(MediaError, match="truncated"):
            probe_video(str(path))


def test_missing_fragments_are_truncation_though_all_indexed_pictures_are_there(
    zoo: Zoo, tmp_path: Path
) -> None:
    """FFmpeg's index tells of the first fragments, whose pictures lie in front of the sound that is cut."""
    synth.write_rich(tmp_path / "a.mp4", zoo("cfr.mp4"), [(synth.tone(1.6), "aac", "eng")], subtitle=None)
    options = {"movflags": "frag_keyframe+empty_moov"}
    synth.shifted(tmp_path / "a.mp4", tmp_path / "whole.mp4", Fraction(0), **options)
    whole = (tmp_path / "whole.mp4").read_bytes()
    assert probe_video(str(tmp_path / "whole.mp4")).n_frames == 40
    (tmp_path / "longer.mp4").write_bytes(whole + b"\0\0\1\0junk")  # appended by some transfer
    assert probe_video(str(tmp_path / "longer.mp4")).n_frames == 40
    second = whole.index(b"moof", whole.index(b"moof") + 4)
    third = whole.index(b"moof", second + 4) - 4
    for end in (third - 4, second + 20):
        (tmp_path / "cut.mp4").write_bytes(whole[:end])
        with pytest.raises(MediaError, match="truncated"):
            probe_video(str(tmp_path / "cut.mp4"))


@pytest.mark.parametrize("name", ["mpeg1.mpg", "mpeg4.avi"])
def test_damaged_frame_of_a_scanned_stream_is_refused_with_its_time(
    zoo: Zoo, tmp_path: Path, name: str
) -> None:
    synth.damage(zoo(name), tmp_path / name, packet=5)
    with pytest.raises(DecodeError, match=rf"{name}: the frame at \d+\.\d+ s is damaged"):
        probe_video(str(tmp_path / name))


def test_jumping_clock_is_refused(zoo: Zoo, tmp_path: Path) -> None:
    """The clock jumps between pictures that are decoded out of their order."""
    packets = synth.read_track(zoo("mpeg2.ts")).packets
    later = [
        (d, (p or 0) + 90000 * 60 if i >= 36 else p, (t or 0) + 90000 * 60 if i >= 36 else t, *r)
        for i, (d, p, t, *r) in enumerate(packets)
    ]
    synth.remux(zoo("mpeg2.ts"), tmp_path / "two.ts", later)
    with pytest.raises(MediaError, match=r"time stamps jump from \d+\.\d+ s to 6\d\.\d+ s"):
        probe_video(str(tmp_path / "two.ts"))


def test_a_frame_that_lasts_longer_than_mp4_can_say_is_refused(tmp_path: Path) -> None:
    path, milliseconds = tmp_path / "long.mkv", Fraction(1, 1000)
    options = {"x264-params": "bframes=0"}
    synth.write_video(path, 3, pts=[0, 40, 1 << 32], time_base=milliseconds, options=options)
    with pytest.raises(MediaError, match=r"long\.mkv: the frame at 0\.040 s lasts 4294967 s; remux"):
        probe_video(str(path))


def test_a_clock_that_is_too_fast_is_refused(tmp_path: Path) -> None:
    """A damaged header: frames that nobody sees, and tables with a row for each of its ticks."""
    slow, fast = tmp_path / "slow.mp4", tmp_path / "fast.mp4"
    synth.write_video(slow, 4, pts=[0, 1, 2, 3], time_base=Fraction(1, 10_000))
    assert probe_video(str(slow)).n_frames == 4
    synth.write_video(fast, 4, pts=[0, 1, 2, 3], time_base=Fraction(1, 20_000))
    with pytest.raises(MediaError, match=r"fast\.mp4: 20,000 frames a second; remux"):
        probe_video(str(fast))


@pytest.mark.parametrize("seconds", [601, 10**9])
def test_a_picture_that_begins_long_after_the_sound_is_refused(
    zoo: Zoo, tmp_path: Path, seconds: int
) -> None:
    """A damaged time stamp: all of the time before it would be written as silence."""
    synth.write_rich(tmp_path / "a.mkv", zoo("cfr.mp4"), [(synth.tone(2), "flac", "eng")], subtitle=None)
    synth.shifted(tmp_path / "a.mkv", tmp_path / "late.mkv", [Fraction(seconds), Fraction(0)])
    with pytest.raises(
        MediaError, match=rf"late\.mkv: the picture begins {seconds} s after the sound; remux"
    ):
        probe_video(str(tmp_path / "late.mkv"))
    synth.shifted(tmp_path / "a.mkv", tmp_path / "some.mkv", [Fraction(599), Fraction(0)])
    assert probe_video(str(tmp_path / "some.mkv")).start == 599


def test_probe_is_remembered_until_the_file_changes(zoo: Zoo, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    shutil.copy(zoo("cfr.mp4"), path)
    first = probe_video(str(path))
    assert probe_video(str(path)) is first
    shutil.copy(zoo("ten.mp4"), path)
    assert probe_video(str(path)).pix_fmt == "yuv420p10le"


def test_same_answers_through_memory(zoo: Zoo) -> None:
    import fsspec

    for name in ("cfr.mp4", "mpeg1.mpg", "still.jpg"):
        with fsspec.open(f"memory://probe/{name}", "wb") as file:
            file.write(zoo(name).read_bytes())
        local, remote = probe_video(str(zoo(name))), probe_video(f"memory://probe/{name}")
        assert local.pts.tolist() == remote.pts.tolist()
        assert (local.width, local.codec, local.time_base, local.still) == (
            remote.width,
            remote.codec,
            remote.time_base,
            remote.still,
        )


def test_hdr_metadata(tmp_path: Path) -> None:
    master = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1)"
    params = f"log-level=none:master-display={master}:max-cll=1000,400:hdr10=1:repeat-headers=1"
    synth.write_video(
        tmp_path / "hdr.mp4",
        3,
        (128, 96),
        codec="libx265",
        pix_fmt="yuv420p10le",
        options={"x265-params": params},
    )
    assert probe_video(str(tmp_path / "hdr.mp4")).hdr == f"mastering-display={master}:cll=1000,400"


def test_truncated_clip_of_the_shared_folder(clips: Path | None, zoo: Zoo) -> None:
    path = clips / "tricky" / "truncated.mp4" if clips else None
    if path is None:
        packets = synth.read_track(zoo("cfr.mp4")).packets
        path = zoo("cfr.mp4").with_name("front-cut.mp4")
        synth.remux(zoo("cfr.mp4"), path, packets, movflags="faststart")
        path.write_bytes(path.read_bytes()[:-4000])
    with pytest.raises(MediaError, match=r"missing from \d+\.\d+ s on"):
        probe_video(str(path))


def test_gop_of_the_zoo_is_what_the_tests_rely_on(zoo: Zoo) -> None:
    assert GOP["x264-params"].startswith("keyint=8")
    assert probe_video(str(zoo("cfr.mp4"))).timeline.keys.tolist() == [0, 8, 16, 24, 32]
