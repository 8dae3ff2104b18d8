"""The table of docs/media.md: every property of a source is in its output, or a note says that it is not.

The source and the result are probed by their streams, pictures and side data. What differs and is neither named
here as meant nor in a note fails, so that a property that nobody thought of shows up.
"""

from __future__ import annotations

import dataclasses
import struct
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition

from operators.media.assemble import assemble
from operators.media.boxes import UNOFFICIAL, box_kinds, template_with
from operators.media.container import COVER
from operators.media.glance import glance
from operators.media.matroska import chroma_location
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


def write_source(
    path: Path,
    video: Path,
    boxes: list[bytes] | None = None,
    tags: dict[str, str] | None = None,
    audios: list[tuple[str, str, Disposition]] | None = None,
) -> None:
    """A file of a video's packets with boxes, tags and audio tracks (codec, language, flags)."""
    options = {} if path.suffix == ".mkv" else {**UNOFFICIAL, "movflags": "use_metadata_tags"}
    with ExitStack() as stack:
        source = stack.enter_context(av.open(str(video)))
        template = stack.enter_context(template_with(source.streams.video[0], boxes or []))
        with av.open(str(path), "w", container_options=options) as out:
            out.metadata.update(tags or {})
            picture = out.add_stream_from_template(template, opaque=True)
            tracks = []
            for codec, language, flags in audios or []:
                stream = out.add_stream(codec, rate=48000, layout="stereo")
                stream.metadata["language"] = language
                stream.disposition = flags
                tracks.append(stream)
            for packet in source.demux(video=0):
                if packet.size:
                    packet.stream = picture
                    out.mux(packet)
            for stream in tracks:
                out.mux(stream.encode(synth.packed(synth.tone(1.6, channels=2), 48000, "stereo")))
                out.mux(stream.encode(None))


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
                (round(float(c["start"] * c["time_base"]), 3), c["metadata"].get("title"))
                for c in container.chapters()
            ]
            dubbed = next(s for s in container.streams.video if not s.disposition & COVER)
            values |= {f"box {kind}": True for kind in box_kinds(dubbed)}
            values["chroma location"] = chroma_location(dubbed)
            for kind in ("audio", "subtitle", "attachment"):
                for n, stream in enumerate(s for s in container.streams if s.type == kind):
                    values[f"{kind} {n} language"] = stream.language
                    values[f"{kind} {n} flags"] = stream.disposition & ~Disposition.default
                    if kind == "audio":
                        values[f"audio {n} channels"] = stream.codec_context.channels
        values |= {f"side data {kind}": True for kind in look.side_data}
        values["fields"], values["format"] = look.fields, look.pix_fmt
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
            ("aac", language, Disposition(0)) for language in ("deu", "fra", "cze", "dut", "swe", "zul")
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
}


@pytest.fixture(scope="module")
def source_of(zoo: Zoo, tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    folder = tmp_path_factory.mktemp("properties")

    def get(name: str) -> Path:
        where = ".mkv" if name in ("languages", "flags") or VIDEOS.get(name, {}).get("codec") else ".mp4"
        path = folder / f"{name.replace(':', '')}{where}"
        if path.exists():
            return path
        if name in VIDEOS:
            base = {"time_base": synth.MS} if where == ".mkv" else {}
            synth.write_video(path, **{"count": 6, **base, **VIDEOS[name]})
        else:
            target = path.with_suffix(".mov") if name == "pcm" else path
            write_source(target, zoo("cfr.mp4"), **SOURCES[name])
            return target
        return path

    return get


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", [*VIDEOS, *SOURCES])
def test_every_property_is_kept_or_noted(source_of: Zoo, tmp_path: Path, name: str, suffix: str) -> None:
    source, output = str(source_of(name)), str(tmp_path / f"out{suffix}")
    info = probe_video(source)
    notes = assemble(output, segments_of(info, [0, info.n_frames], name="p"), source)
    assert unexplained(Seen.of(source), Seen.of(output), notes) == {}, notes
    if name in (
        "plain",
        "topleft",
        "hdr",
        "pixels",
        "480i",
        "486i 4:2:2",
        "turned",
        "apple",
        "crop",
        "sphere",
    ):
        assert notes == []


@pytest.mark.parametrize(
    ("name", "suffix", "words"),
    [
        ("486i 4:2:0", ".mp4", "interlaced (top field first), written as progressive"),
        ("twelve", ".mov", "12 bits become 10"),
        ("alpha", ".mkv", "alpha is dropped"),
        ("rgb", ".mp4", "R'G'B' becomes Y'CbCr"),
        ("languages", ".mov", "audio track 6 (aac, zul): QuickTime cannot name its language 'zul'"),
        ("flags", ".mov", "audio track 1 (aac, eng): QuickTime does not keep its flag comment"),
        ("pcm", ".mp4", "audio track 1 (pcm_s16le, eng): kept as PCM"),
    ],
)
def test_what_is_not_kept_is_said(source_of: Zoo, tmp_path: Path, name: str, suffix: str, words: str) -> None:
    source = str(source_of(name))
    info = probe_video(source)
    notes = assemble(str(tmp_path / f"out{suffix}"), segments_of(info, [0, info.n_frames], name="p"), source)
    assert any(words in note for note in notes), notes


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
