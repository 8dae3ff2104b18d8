"""The table of docs/media.md: every property of a source is in its output, or a note says that it is not.

The source and the result are probed by their streams, pictures and side data. What differs and is neither named
here as meant nor in a note fails, so that a property that nobody thought of shows up.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.codeccontext import VideoCodecContext

from operators.media.assemble import assemble
from operators.media.boxes import UNOFFICIAL, box_kinds, described, stereo_mode, template_with
from operators.media.codec_names import CODECS, HOLDS, hardware_needs
from operators.media.container import COVER
from operators.media.encoders import EncoderOptions
from operators.media.glance import glance
from operators.media.probe import probe_video
from tests.operators.media import synth
from tests.operators.media.segments import Zoo, segments_of

SUFFIXES = (".mp4", ".mov", ".mkv")
HDR = "mastering-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,500):cll=1000,400"


def box(kind: bytes, *parts: bytes) -> bytes:
    data = b"".join(parts)
    return struct.pack(">I4s", 8 + len(data), kind) + data


SPHERE = box(
    b"sv3d",
    box(b"svhd", bytes(4), b"x\0"),
    box(b"proj", box(b"prhd", bytes(4), struct.pack(">3i", 90 << 16, 0, 0)), box(b"equi", bytes(20))),
)
CROP = box(b"clap", struct.pack(">8I", 80, 1, 48, 1, 0, 1, 0, 1))
STEREO = box(b"st3d", bytes(4), b"\x02")


def with_captions(packet: Packet[Any], number: int) -> bytes:
    """The access unit of H.264 with closed captions (CEA-608 in ATSC A/53, a registered SEI message) in front."""
    triples = bytes([0xFC, 0x80 | 0x41 + number % 20, 0xA0]) * 2
    message = b"\xb5\0\x31GA94\3" + bytes([0x40 | 2, 0xFF]) + triples + b"\xff"
    unit = b"\6" + bytes([4, len(message)]) + message + b"\x80"
    return struct.pack(">I", len(unit)) + unit + bytes(packet)


def write_source(
    path: Path,
    video: Path,
    boxes: list[bytes] | None = None,
    tags: dict[str, str] | None = None,
    audios: list[tuple[str, str, Disposition]] | None = None,
    *,
    layout: str = "stereo",
    seconds: float = 1.6,
    packet: Callable[[Packet[Any], int], bytes] | None = None,
    second: bool = False,
    covers: int = 0,
    chapters: int = 0,
    track_tags: dict[str, str] | None = None,
    data: str = "",
    suffix: str = "",
) -> None:
    """Write a file of a video's packets with everything that a title may hold beside them.

    Args:
        path, video: the file, and the one whose first stream is copied.
        boxes, tags: of the picture's description, and of the file.
        audios: codec, language and flags of each track.
        layout, seconds: of the sound.
        packet: gives the bytes of a packet and its number in place of its own.
        second: another video track, with the same pictures.
        covers, chapters: how many.
        track_tags: of each track but the picture.
        data: codec of a track of data.
        suffix: for the caller.
    """
    # With every tag under its own name FFmpeg's muxer writes no cover art.
    named = {} if covers else {"movflags": "use_metadata_tags"}
    options = {} if path.suffix in (".mkv", ".ts") else {**UNOFFICIAL, **named}
    with ExitStack() as stack:
        source = stack.enter_context(av.open(str(video)))
        template = stack.enter_context(template_with(source.streams.video[0], boxes or []))
        with av.open(str(path), "w", container_options=options) as out:
            out.metadata.update(tags or {})
            pictures = [out.add_stream_from_template(template, opaque=True) for _ in range(1 + second)]
            tracks = []
            for codec, language, flags in audios or []:
                stream = out.add_stream(codec, rate=48000, layout=layout)
                stream.metadata["language"] = language
                stream.disposition = flags
                tracks.append(stream)
            others: list[Any] = [out.add_data_stream(data)] if data else []
            for stream in (*pictures[1:], *tracks):
                stream.metadata.update(track_tags or {})
            arts = []
            for number in range(covers):
                if path.suffix == ".mkv":
                    out.add_attachment("cover.png", "image/png", cover(number))
                    continue
                art = out.add_stream("png", width=16, height=16, pix_fmt="rgb24")
                art.disposition = Disposition.attached_pic
                arts.append(art)
            out.set_chapters(
                [
                    {
                        "id": i,
                        "start": 400 * i,
                        "end": 400 * (i + 1),
                        "time_base": Fraction(1, 1000),
                        "metadata": {"title": f"Part {i}"},
                    }
                    for i in range(chapters)
                ]
            )
            for number, one in enumerate(p for p in source.demux(video=0) if p.size):
                for stream in pictures:
                    copy: Packet[Any] = Packet(packet(one, number) if packet else bytes(one))
                    copy.pts, copy.dts, copy.duration = one.pts, one.dts, one.duration
                    copy.is_keyframe, copy.time_base, copy.stream = one.is_keyframe, one.time_base, stream
                    out.mux(copy)
                for stream in others:
                    blob: Packet[Any] = Packet(b"\x06\x0e\x2b\x34" + bytes(12) + b"\4data")
                    blob.pts = blob.dts = one.dts
                    blob.time_base, blob.stream = one.time_base, stream
                    out.mux(blob)
            for number, art in enumerate(arts):
                picture: Packet[Any] = Packet(cover(number))
                picture.pts = picture.dts = 0
                picture.time_base, picture.stream = Fraction(1, 25), art
                out.mux(picture)
            for stream in tracks:
                samples = synth.tone(seconds, channels=av.AudioLayout(layout).nb_channels)
                out.mux(stream.encode(synth.packed(samples, 48000, layout)))
                out.mux(stream.encode(None))


def write_transparent(path: Path) -> None:
    """Write an animation whose left half shows what is behind it."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("apng", rate=25, width=96, height=64, pix_fmt="rgba")
        for i in range(6):
            pixels = synth.picture(i, 96, 64, "rgba").to_ndarray()
            pixels[:, :48, 3] = 0
            frame = av.VideoFrame.from_ndarray(pixels, "rgba")
            frame.pts, frame.time_base = i, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def write_vp8(path: Path) -> None:
    """Write VP8 with a projection and a cropping, which MP4 files cannot tell of that codec: those of VP9 in Matroska."""
    packets, described = path.with_suffix(".webm"), path.with_suffix(".mp4")
    synth.write_video(packets, 6, codec="libvpx", time_base=synth.MS)
    synth.write_video(described, 2, codec="libvpx-vp9")
    with ExitStack() as stack:
        source = stack.enter_context(av.open(str(packets)))
        nine = stack.enter_context(av.open(str(described)))
        template = stack.enter_context(template_with(nine.streams.video[0], [SPHERE, CROP]))
        with av.open(str(path), "w") as out:
            stream = out.add_stream_from_template(template, opaque=True)
            for packet in source.demux(video=0):
                if packet.size:
                    packet.stream = stream
                    out.mux(packet)
    path.write_bytes(path.read_bytes().replace(b"V_VP9", b"V_VP8"))


def cover(number: int) -> bytes:
    """A PNG picture."""
    context = av.CodecContext.create("png", "w")
    assert isinstance(context, VideoCodecContext)
    context.width = context.height = 16
    context.pix_fmt, context.time_base = "rgb24", Fraction(1, 25)
    return bytes(context.encode(synth.picture(number, 16, 16, "rgb24"))[0])


@dataclasses.dataclass
class Seen:
    """All that PyAV and the header of a file tell."""

    values: dict[str, Any]

    @classmethod
    def of(cls, path: str) -> Seen:
        values: dict[str, Any] = {}
        look = glance(path)
        info = probe_video(path)
        with av.open(path) as container:
            values |= {
                f"tag {key.casefold().replace(' ', '_')}": value
                for key, value in container.metadata.items()
                if value
            }
            values["chapters"] = [
                (
                    round(float(c["start"] * c["time_base"]), 3),
                    round(float(c["end"] * c["time_base"]), 3),
                    c["metadata"].get("title"),
                )
                for c in container.chapters()
            ]
            dubbed = next(s for s in container.streams.video if not s.disposition & COVER)
            values |= {f"box {kind}": True for kind in box_kinds(dubbed)}
            if "420" in look.pix_fmt:
                values["chroma location"] = look.chroma_location
            covers = [stream for stream in container.streams.video if stream.disposition & COVER]
            values["cover art"] = [stream.codec_context.name for stream in covers]
            tracks: dict[str, list[Stream]] = {}
            for stream in container.streams:
                if stream not in covers and not is_derived(container, stream):
                    tracks.setdefault(stream.type, []).append(stream)
            for kind, streams in tracks.items():
                for n, stream in enumerate(streams):
                    values |= track(f"{kind} {n}" if kind != "video" or n else "picture", stream)
        with av.open(path) as container:
            for n, stream in enumerate(container.streams.audio):
                heard = [packet for packet in container.demux(stream) if packet.size]
                if heard:
                    last = heard[-1]
                    values[f"audio {n} end"] = float((last.pts + last.duration) * last.time_base)
                container.seek(0)
        values |= {f"side data {kind}": True for kind in look.side_data}
        values["fields"] = look.fields
        values["format"] = look.pix_fmt if Path(path).suffix != ".apng" else ""
        values["transparent"] = look.transparent
        values |= {
            "size": (info.width, info.height),
            "turn": (info.rotation, info.mirrored),
            "pixel shape": info.sample_aspect_ratio,
            "colours": info.color,
            "frames": info.n_frames,
            "start": round(float(info.start), 3),
            "duration": round(float(info.duration), 3),
        }
        return cls(values)


def is_derived(container: Any, stream: Stream) -> bool:
    """True for the tracks of chapters and time code, which FFmpeg reads as tags too."""
    return stream.type == "data" and (
        bool(container.chapters()) or "timecode" in map(str.lower, stream.metadata)
    )


def track(name: str, stream: Stream) -> dict[str, Any]:
    """All that a track's header tells."""
    values: dict[str, Any] = {
        f"{name} language": stream.language,
        f"{name} flags": stream.disposition & ~Disposition.default,
        **{
            # FFmpeg reads the title of a track of MP4 and QuickTime files as its name.
            f"{name} tag {'title' if key == 'name' else key.casefold().replace(' ', '_')}": value
            for key, value in stream.metadata.items()
            if value and key.casefold() not in OWN_TAGS
        },
    }
    if stream.type == "audio":
        context: Any = stream.codec_context
        values[f"{name} layout"] = context.layout.name
        values[f"{name} rate"] = context.sample_rate
    if stream.type == "video" and name != "picture":
        values[f"{name} size"] = (stream.codec_context.width, stream.codec_context.height)
    return values


#: Tags of tracks by which a muxer describes its own file.
OWN_TAGS = {
    *("language", "handler_name", "vendor_id", "encoder", "duration", "creation_time", "stereo_mode"),
    *(
        "number_of_frames",
        "number_of_bytes",
        "bps",
        "_statistics_writing_app",
        "rotate",
        "filename",
        "mimetype",
    ),
}
#: Values in which an output may differ by what it is: its muxer's own tags, x264's name, and how FFmpeg spells
#: times and languages.
MEANT = (
    *("tag encoder", "tag major_brand", "tag minor_version", "tag compatible_brands", "tag creation_time"),
    "side data SEI_UNREGISTERED",
)
#: Words of the note that speaks of a value.
NOTED = {
    "tag ": "tags of the file",
    "audio": "audio track",
    "subtitle": "subtitle track",
    "attachment": "attachment",
    "side data": "the picture",
    "fields": "interlaced",
    "chroma location": "chroma samples",
    "cover art": "cover art",
    "transparent": "transparent",
    "data": "data track",
    "picture": "the picture",
    "video": "video track",
    "format": "is written as",
    "box ": "the picture",
}


def unexplained(before: Seen, after: Seen, notes: list[str]) -> dict[str, tuple[Any, Any]]:
    """Differences that no note speaks of."""
    found = {}
    for key, was in before.values.items():
        now = after.values.get(key)
        same = (
            was == now
            or (key == "format" and (not was or no_coarser(was, now)))
            or (key == "chroma location" and now is None)
            or (key.endswith("layout") and (now in UNNAMED or str(was).endswith(" channels")))
            or (key == "cover art" and sorted(was) == sorted(now))
            or (key.endswith(" end") and now is not None and abs(was - now) < 0.025)  # a packet's
            or (key == "chapters" and chapters_agree(was, now))
            # Matroska counts the display size in whole pixels.
            or (key == "pixel shape" and abs(was - now) * before.values["size"][0] < 1)
            or key in MEANT
            or (isinstance(was, str) and isinstance(now, str) and synonyms(was) & synonyms(now))
            or (key.endswith("language") and was in (None, "und") and now in (None, "und"))
        )
        word = next((word for start, word in NOTED.items() if key.startswith(start)), key)
        if not same and not any(word in note for note in notes):
            found[key] = (was, now)
    return found


#: Layouts of so many channels need no name.
UNNAMED = ("1 channels", "2 channels")


def no_coarser(before: str, after: str) -> bool:
    """True where a pixel format holds all that another one does: ProRes and DNxHR have more of everything."""
    was, now = av.VideoFormat(before, 16, 16), av.VideoFormat(after, 16, 16)
    return (
        not was.is_rgb
        and now.components[0].bits >= was.components[0].bits
        and now.chroma_width(16) >= was.chroma_width(16)
        and now.chroma_height(16) >= was.chroma_height(16)
        and len(now.components) >= len(was.components)
    )


def chapters_agree(before: list[Any], after: list[Any]) -> bool:
    """True for the same chapters; MP4 and QuickTime end each where the next one begins, and tell milliseconds."""
    return len(before) == len(after) and all(
        abs(one[0] - other[0]) < 0.0011 and one[2] == other[2] for one, other in zip(before, after)
    )


def synonyms(language: str) -> set[str]:
    pairs = [{"deu", "ger"}, {"fra", "fre"}, {"ces", "cze"}, {"nld", "dut"}, {"swe", "sve"}]
    return next((pair for pair in pairs if language in pair), {language})


#: Sources by name: arguments of `write_source`, and of `synth.write_video` for the picture.
VIDEOS: dict[str, dict[str, Any]] = {
    "plain": {},
    "topleft": {"options": {"x264-params": "chromaloc=2"}},
    "hdr": {
        "pix_fmt": "yuv420p10le",
        "options": {"x264-params": HDR},
        "attributes": {"color_primaries": 9, "color_trc": 16, "colorspace": 9, "color_range": 1},
    },
    "pixels": {"attributes": {"sample_aspect_ratio": Fraction(16, 11)}},
    "480i": {"size": (96, 64), "fields": "bottom"},
    "486i 4:2:2": {"size": (96, 54), "fields": "bottom", "pix_fmt": "yuv422p"},
    "486i 4:2:0": {"size": (96, 54), "fields": "top", "codec": "ffv1"},
    "twelve": {"codec": "ffv1", "pix_fmt": "yuv422p12le"},
    "alpha": {"codec": "ffv1", "pix_fmt": "yuva420p"},
    "rgb": {"codec": "ffv1", "pix_fmt": "bgr0"},
    "turned": {"matrix": synth.TURNS[90]},
    "uncompressed": {
        "codec": "rawvideo",
        "pix_fmt": "uyvy422",
        "time_base": Fraction(1, 25),
        "suffix": ".avi",
    },
    "ycgco": {"attributes": {"colorspace": 8}},
    "ictcp odd": {
        "size": (97, 65),
        "codec": "ffv1",
        "attributes": {"colorspace": 14, "color_primaries": 9, "color_trc": 16},
    },
    "mpeg-1": {"codec": "mpeg1video", "time_base": Fraction(1, 25), "suffix": ".mpg"},
    "mpeg-2 fields": {
        "codec": "mpeg2video",
        "time_base": Fraction(1, 25),
        "fields": "top",
        "size": (96, 64),
        "options": {"gop_timecode": "10:11:12:13", "flags": "+ilme"},
        "suffix": ".ts",
    },
    "dv": {
        "codec": "dvvideo",
        "size": (720, 576),
        "count": 2,
        "time_base": Fraction(1, 25),
        "fields": "bottom",
        "suffix": ".avi",
    },
    "transparent": {"suffix": ".apng"},
    "vp8 sphere": {"suffix": ".mkv"},
}
SOURCES: dict[str, dict[str, Any]] = {
    "apple": {
        "tags": {
            "com.apple.quicktime.make": "Apple",
            "com.apple.quicktime.model": "iPhone 15",
            "com.apple.quicktime.location.ISO6709": "+48.1+011.5/",
            "com.apple.quicktime.creationdate": "2024-01-02T03:04:05+0100",
            "creation_time": "2024-01-02T02:04:05.000000Z",
            "title": "Title",
            "a key of its own": "kept",
        }
    },
    "languages": {
        "audios": [
            ("aac", language, Disposition(0))
            for language in ("deu", "fra", "cze", "dut", "swe", "zul", "zh-Hant")
        ]
    },
    "flags": {
        "audios": [
            ("aac", "eng", Disposition.comment),
            ("aac", "eng", Disposition.visual_impaired),
            ("flac", "eng", Disposition.original),
        ]
    },
    "sphere": {"boxes": [SPHERE]},
    "crop": {"boxes": [CROP]},
    "stereo": {"boxes": [STEREO, SPHERE]},
    "pcm": {"audios": [("pcm_s16le", "eng", Disposition(0))]},
    "surround": {"audios": [("pcm_s16le", "eng", Disposition(0))], "layout": "7.1"},
    "unnamed pcm": {"audios": [("pcm_s16le", "eng", Disposition(0))], "suffix": ".mkv"},
    "six unnamed": {"audios": [("pcm_s16le", "eng", Disposition(0))], "layout": "5.1", "suffix": ".mkv"},
    "seven unnamed": {"audios": [("pcm_s24le", "eng", Disposition(0))], "layout": "6.1", "suffix": ".mkv"},
    "named tracks": {"audios": [("aac", "eng", Disposition(0))], "track_tags": {"title": "Commentary"}},
    "captions": {"packet": with_captions},
    "two pictures": {"second": True, "track_tags": {"title": "Second camera"}},
    "covers": {"covers": 2},
    "attached cover": {"covers": 1, "suffix": ".mkv"},
    "chapters": {"chapters": 3},
    "long sound": {
        "audios": [("aac", "eng", Disposition(0)), ("flac", "fra", Disposition(0))],
        "seconds": 4.0,
    },
    "titles of tracks": {
        "audios": [("aac", "eng", Disposition(0))],
        "track_tags": {"title": "Director's commentary", "NOTE": "kept"},
        "suffix": ".mkv",
    },
    "data": {"data": "klv", "suffix": ".ts"},
}


@pytest.fixture(scope="module")
def source_of(zoo: Zoo, tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    folder = tmp_path_factory.mktemp("properties")

    def get(name: str) -> Path:
        given = dict({**VIDEOS, **SOURCES}[name])
        usual = ".mkv" if name in ("languages", "flags") or given.get("codec") else ".mp4"
        where = ".mov" if name in ("pcm", "surround") else given.pop("suffix", usual)
        path = folder / f"{name.replace(':', '')}{where}"
        if path.exists():
            return path
        if name == "transparent":
            write_transparent(path)
        elif name == "vp8 sphere":
            write_vp8(path)
        elif name in VIDEOS:
            base = {"time_base": synth.MS} if where == ".mkv" else {}
            synth.write_video(path, **{"count": 6, **base, **given})
        else:
            write_source(path, zoo("cfr.mp4"), **given)
        return path

    return get


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", [*VIDEOS, *SOURCES])
def test_every_property_is_kept_or_noted(source_of: Zoo, tmp_path: Path, name: str, suffix: str) -> None:
    source, output = str(source_of(name)), str(tmp_path / f"out{suffix}")
    info = probe_video(source)
    notes = assemble(output, segments_of(info, [0, info.n_frames], name="p"), source)
    assert unexplained(Seen.of(source), Seen.of(output), notes) == {}, notes
    if name in KEPT and (name, suffix) != ("vp8 sphere", ".mov"):  # whose pose FFmpeg reads
        assert notes == []


#: Sources of which nothing is lost or changed in any container.
KEPT = (
    *("plain", "topleft", "hdr", "pixels", "480i", "486i 4:2:2", "turned", "apple", "crop", "sphere"),
    *("captions", "chapters", "vp8 sphere", "ycgco", "named tracks", "uncompressed"),
)


def in_each_codec() -> list[tuple[str, str]]:
    """Sources of pictures, with codecs."""
    names = (
        "plain",
        "topleft",
        "hdr",
        "480i",
        "twelve",
        "alpha",
        "captions",
        "mpeg-1",
        "sphere",
        "crop",
        "ycgco",
    )
    codecs = [codec for codec in CODECS if codec != "auto" and not hardware_needs(codec) and codec != "dnxhr"]
    return [(name, codec) for name in names for codec in codecs]


@pytest.mark.parametrize(("name", "codec"), in_each_codec())
def test_every_property_is_kept_or_noted_in_each_codec(
    source_of: Zoo, tmp_path: Path, name: str, codec: str
) -> None:
    """DNxHR takes larger pictures only: see test_codecs.py."""
    source = str(source_of(name))
    info = probe_video(source)
    container = HOLDS[codec][0]
    output = str(tmp_path / f"out.{container}")
    options = EncoderOptions(codec=codec, container=container)  # type: ignore[arg-type]
    segments = segments_of(info, [0, info.n_frames], name=f"{codec}-{info.n_frames}", options=options)
    notes = assemble(output, segments, source)
    assert unexplained(Seen.of(source), Seen.of(output), notes) == {}, notes
    if name == "captions":
        assert any("closed captions" in note for note in notes) == (codec not in ("h264", "hevc"))
    if name == "hdr":
        assert any("mastering display" in note for note in notes) == (codec in ("prores", "ffv1"))


@pytest.mark.parametrize(
    ("name", "suffix", "words"),
    [
        ("486i 4:2:0", ".mp4", "interlaced (top field first), written as progressive"),
        ("twelve", ".mov", "12 bits become 10"),
        ("alpha", ".mkv", "alpha is dropped"),
        ("rgb", ".mp4", "R'G'B' becomes Y'CbCr"),
        ("languages", ".mov", "audio track 6 (aac, zul): QuickTime cannot name its language 'zul'"),
        (
            "languages",
            ".mp4",
            "audio track 7 (aac, zh-Hant): MP4 keeps its language as 'zho', not as 'zh-Hant'",
        ),
        ("flags", ".mov", "audio track 1 (aac, eng): QuickTime does not keep its flag comment"),
        ("pcm", ".mp4", "audio track 1 (pcm_s16le, eng): kept as PCM"),
        ("surround", ".mkv", "does not keep the names of its channels (7.1), only their order"),
        ("covers", ".mov", "2 of 2 pictures of cover art that QuickTime does not keep"),
        ("mpeg-2 fields", ".mkv", "time code of groups of pictures cannot be kept"),
        ("transparent", ".mp4", "the picture: transparent parts become opaque"),
        ("data", ".mov", "data track 1"),
        ("vp8 sphere", ".mov", "QuickTime does not keep its pose of its projection"),
    ],
)
def test_what_is_not_kept_is_said(source_of: Zoo, tmp_path: Path, name: str, suffix: str, words: str) -> None:
    source = str(source_of(name))
    info = probe_video(source)
    notes = assemble(str(tmp_path / f"out{suffix}"), segments_of(info, [0, info.n_frames], name="p"), source)
    assert any(words in note for note in notes), notes


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_pose_and_arrangement_of_360_degrees(source_of: Zoo, tmp_path: Path, suffix: str) -> None:
    """Of a file with Google's boxes alone: behind Apple's, FFmpeg reads no pose and no arrangement."""
    source, output = tmp_path / "source.mp4", tmp_path / f"out{suffix}"
    source.write_bytes(source_of("stereo").read_bytes().replace(b"vexu", b"free"))
    info = probe_video(str(source))
    assert assemble(str(output), segments_of(info, [0, info.n_frames], name="pose"), str(source)) == []

    def pose(path: Path) -> tuple[tuple[int, ...], str]:
        with av.open(str(path)) as container:
            boxes = described(container.streams.video[0])
        (sphere,) = (box for box in boxes if box[4:8] == b"sv3d")
        return struct.unpack_from(">3i", sphere, sphere.index(b"prhd") + 8), stereo_mode(boxes)

    assert pose(output) == pose(source) == ((90 << 16, 0, 0), "left_right")


def test_fields_are_seen_behind_a_progressive_beginning(tmp_path: Path) -> None:
    """A title card in whole pictures, then a programme in fields."""
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=25, width=64, height=64, pix_fmt="yuv420p")
        stream.codec_context.flags |= 1 << 18
        for i in range(200):
            frame = synth.picture(i, 64, 64)
            frame.pts, frame.time_base = i, Fraction(1, 25)
            out.mux(stream.encode(synth.with_fields(frame, "bottom") if i >= 20 else frame))
        out.mux(stream.encode(None))
    with av.open(str(path)) as written:
        marks = [frame.interlaced_frame for frame in written.decode(video=0)]
    if marks[0] == marks[-1]:
        pytest.skip("this FFmpeg's FFV1 marks all pictures alike")
    assert probe_video(str(path)).fields == "bottom"


@pytest.mark.parametrize("shape", [Fraction(16, 11), Fraction(1, 2), Fraction(4, 3)])
def test_matroska_tells_the_display_size(tmp_path: Path, shape: Fraction) -> None:
    path, output = tmp_path / "a.mp4", tmp_path / "out.mkv"
    synth.write_video(path, 6, attributes={"sample_aspect_ratio": shape})
    info = probe_video(str(path))
    assert assemble(str(output), segments_of(info, [0, 6], name="d"), info.url) == []
    data = output.read_bytes()
    at = data.index(bytes.fromhex("54b082"))
    assert int.from_bytes(data[at + 3 : at + 5], "big") == round(96 * shape)
    assert data[at + 5 : at + 8] == bytes.fromhex("54ba82")
    assert int.from_bytes(data[at + 8 : at + 10], "big") == 64
    # The list of elements leads to the tracks, and the checksum is right.
    assert probe_video(str(output)).sample_aspect_ratio == pytest.approx(float(shape), rel=0.02)
    assert [d for _, d in synth.decode_plain(output)] == [
        d for _, d in synth.decode_plain_url("memory://assemble/d-0.mp4", tmp_path)
    ]


@pytest.mark.parametrize(("size", "wanted"), [((96, 64), "yuv420p"), ((97, 65), "yuv444p")])
def test_animated_pictures_play_everywhere(tmp_path: Path, size: tuple[int, int], wanted: str) -> None:
    path = tmp_path / "a.gif"
    synth.write_video(path, 8, size, codec="gif", pix_fmt="rgb8", time_base=Fraction(1, 100))
    assert probe_video(str(path)).layout.format.name == wanted
    assert np.diff(probe_video(str(path)).pts).min() > 0
