"""Properties of a source that its output lacks, found by comparing the two files."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.audio.stream import AudioStream
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

from operators.media.boxes import box_kinds
from operators.media.container import unread_names
from operators.media.glance import Glance
from operators.media.languages import same_language
from operators.media.tags import FORMAT_NAMES, content_tags, track_tags

#: Flags of a stream that say how it is kept, not what it is; players choose a track where none is default.
_HOW_KEPT = (
    Disposition.default
    | Disposition.attached_pic
    | Disposition.timed_thumbnails
    | Disposition.still_image
    | Disposition.dependent
)
#: Tags of streams by which a muxer describes its own file, or that stand elsewhere in an output.
_OWN = {
    "handler_name",
    "vendor_id",
    "language",
    "creation_time",
    "timecode",
    "rotate",
    "stereo_mode",
    "filename",
    "mimetype",
}
#: Layouts of channels without names.
_UNNAMED = re.compile(r"\d+ channels")
#: Numbers of a place on earth (ISO 6709), and how far they may differ where a muxer rounds them.
_DEGREES, _NEAR = re.compile(r"[+-]\d+(?:\.\d+)?"), 0.001
#: Share by which the shape of pixels may differ where a display size is in whole pixels.
SHAPE_ROUNDING = Fraction(1, 50)
#: Seconds by which a chapter may be moved where a muxer rounds.
NEAR_CHAPTER = Fraction(1, 10)
#: Names of what boxes hold.
_BOXES = {
    "sv3d": "projection (360° video)",
    "pose": "pose of its projection",
    "st3d": "stereo arrangement",
    "clap": "cropping",
    "amve": "ambient viewing environment",
    "mdcv": "mastering display",
    "clli": "content light level",
}


@dataclasses.dataclass(frozen=True)
class Properties:
    """Properties of a stream that a container may or may not be able to hold."""

    label: str
    language: str
    tags: Mapping[str, str]
    flags: Disposition
    boxes: frozenset[str]
    #: FFmpeg's name of the layout of three or more channels, "" where they have no names.
    layout: str = ""
    channels: int = 0
    #: Subtitles that players do not show unless they are chosen.
    off: bool = False
    #: Width of a pixel of a picture divided by its height.
    shape: Fraction = Fraction(1)


def properties(stream: Stream, label: str = "") -> Properties:
    """Read the properties of a stream."""
    boxes = box_kinds(stream) if isinstance(stream, VideoStream) else frozenset()
    flags = stream.disposition & ~_HOW_KEPT
    if isinstance(stream, AudioStream) and stream.codec_context is not None:
        layout = stream.codec_context.layout
        named = layout.name if layout.nb_channels > 2 and not _UNNAMED.fullmatch(layout.name) else ""
        return Properties(
            label, stream.language or "", _tags(stream.metadata), flags, boxes, named, layout.nb_channels
        )
    shape = (stream.sample_aspect_ratio if isinstance(stream, VideoStream) else None) or Fraction(1)
    off = stream.type == "subtitle" and not stream.disposition & Disposition.default
    return Properties(
        label, stream.language or "", _tags(stream.metadata), flags, boxes, off=off, shape=shape
    )


def names_not_read(url: str, tracks: Iterable[Stream]) -> list[str]:
    """Note that channels of these tracks of a file have names that are not read (see `operators.media.channel_names`)."""
    nameless = any(
        isinstance(track, AudioStream)
        and track.codec_context is not None
        and _UNNAMED.fullmatch(track.codec_context.layout.name)
        for track in tracks
    )
    order = unread_names(url) if nameless else ""
    return (
        [f"{url}: the names of its sound's channels are not read ({order}), only their order is kept"]
        if order
        else []
    )


def container_tags(metadata: Mapping[str, str]) -> dict[str, str]:
    """Tags of a whole file, without what its muxer wrote about itself."""
    tags = _tags(metadata, frozenset())
    return {key: value[:19] if key == "creation_time" else value for key, value in tags.items()}


def _tags(metadata: Mapping[str, str], own: set[str] | frozenset[str] = frozenset(_OWN)) -> dict[str, str]:
    return {
        key.casefold().replace(" ", "_"): value  # Matroska writes no spaces
        for key, value in (track_tags if own else content_tags)(dict(metadata)).items()
        if key.casefold() not in own and value
    }


def losses(
    path: Path,
    name: str,
    tags: Mapping[str, str],
    before: Mapping[int, Properties],
    chapters: Sequence[tuple[Fraction, Fraction]],
    covers: int,
) -> list[str]:
    """Say what a written file lacks.

    Args:
        path: of the file.
        name: FFmpeg's name of its format.
        tags: of the source, by `container_tags`.
        before: of the source's streams, by the number of the stream that each became.
        chapters: that the file should have, from and to in seconds.
        covers: number of pictures of cover art that it should have.
    """
    called = FORMAT_NAMES[name]
    notes = []
    with av.open(f"file:{path}") as written:
        missing = _missing(tags, container_tags(written.metadata))
        if missing:
            notes.append(f"tags of the file that {called} does not keep: {missing}")
        kept = [_span(chapter) for chapter in written.chapters()]
        if len(kept) < len(chapters):
            notes.append(f"{len(chapters) - len(kept)} chapters that {called} does not keep")
        elif moved := sum(_elsewhere(*pair) for pair in zip(chapters, kept, strict=False)):
            notes.append(
                f"{moved} of {len(chapters)} chapters begin or end elsewhere: in {called} they follow on each other from the beginning on"
            )
        found = sum(bool(stream.disposition & Disposition.attached_pic) for stream in written.streams.video)
        if found < covers:
            notes.append(f"{covers - found} of {covers} pictures of cover art that {called} does not keep")
        for index, was in before.items():
            now = properties(written.streams[index])
            if was.language not in ("", "und") and not same_language(was.language, now.language):
                notes.append(f"{was.label}: {called} cannot name its language {was.language!r}")
            elif "-" in was.language and "-" not in now.language:
                notes.append(
                    f"{was.label}: {called} keeps its language as {now.language!r}, not as {was.language!r}"
                )
            lost = [flag.name for flag in Disposition if flag & was.flags & ~now.flags]
            if lost:
                notes.append(f"{was.label}: {called} does not keep its flag {', '.join(map(str, lost))}")
            if missing := _missing(was.tags, now.tags):
                notes.append(f"{was.label}: tags that {called} does not keep: {missing}")
            if was.layout and not now.layout and was.channels == now.channels:
                notes.append(
                    f"{was.label}: {called} does not keep the names of its channels ({was.layout}), only their order"
                )
            if abs(now.shape / was.shape - 1) > SHAPE_ROUNDING:
                notes.append(
                    f"{was.label}: {called} does not keep its shape of pixels, {was.shape.numerator}:{was.shape.denominator}"
                )
            gone = [text for kind, text in _BOXES.items() if kind in was.boxes - now.boxes]
            if gone:
                notes.append(f"{was.label}: {called} does not keep its {', '.join(gone)}")
    return notes


def _span(chapter: Any) -> tuple[Fraction, Fraction]:
    """Seconds from and to."""
    base = chapter["time_base"] or Fraction(1, 1000)
    return chapter["start"] * base, chapter["end"] * base


def _elsewhere(one: tuple[Fraction, Fraction], other: tuple[Fraction, Fraction]) -> bool:
    return any(abs(a - b) > NEAR_CHAPTER for a, b in zip(one, other, strict=True))


#: Side data of pictures that is worth a note.
_SIDE_DATA = {
    "A53_CC": "closed captions (CEA-608/708)",
    "AFD": "active format description",
    "PANSCAN": "pan and scan",
    "MASTERING_DISPLAY_METADATA": "mastering display",
    "CONTENT_LIGHT_LEVEL": "content light level",
    "DYNAMIC_HDR_PLUS": "HDR10+ metadata",
    "DYNAMIC_HDR_VIVID": "HDR Vivid metadata",
    "DOVI_RPU_BUFFER": "Dolby Vision metadata",
    "DOVI_METADATA": "Dolby Vision metadata",
    "FILM_GRAIN_PARAMS": "film grain parameters",
    "S12M_TIMECODE": "time code of each picture",
    "GOP_TIMECODE": "time code of groups of pictures",
    "AMBIENT_VIEWING_ENVIRONMENT": "ambient viewing environment",
}


def picture_losses(before: Glance, after: Glance, still: bool) -> list[str]:
    """Say what encoded pictures lack of those of their source.

    Args:
        before, after: the source's pictures and the encoded ones.
        still: the source is a still or animated picture, whose format is not worth a note; what shows through it is.
    """
    notes = []
    if before.fields and not after.fields:
        notes.append(
            f"the picture: interlaced ({before.fields} field first), written as progressive "
            "(H.264 holds 4:2:0 fields only of heights that divide by 4; HEVC, AV1 and DNxHR are written without fields)"
        )
    if before.unread_alpha:
        notes.append("the picture: its transparency is lost: FFmpeg does not read the alpha of VP8 and VP9")
    if still and before.transparent and not after.transparent:
        notes.append("the picture: transparent parts become opaque")
    gone = {text for kind, text in _SIDE_DATA.items() if kind in before.side_data - after.side_data}
    if gone:
        notes.append(f"the picture: {', '.join(sorted(gone))} cannot be kept")
    if before.pix_fmt and after.pix_fmt and not still:
        if (
            before.chroma_location != after.chroma_location
            and "420" in before.pix_fmt
            and "420" in after.pix_fmt
        ):
            place = _CHROMA_PLACES.get(before.chroma_location, str(before.chroma_location))
            notes.append(f"the picture: its chroma samples lie {place}, which the codec cannot say")
        was, now = av.VideoFormat(before.pix_fmt, 16, 16), av.VideoFormat(after.pix_fmt, 16, 16)
        bits = [max(component.bits for component in form.components) for form in (was, now)]
        changes = ["alpha is dropped"] if _alpha(was) and not _alpha(now) else []
        changes += [f"{bits[0]} bits become {bits[1]}"] if bits[1] < bits[0] and not was.has_palette else []
        changes += ["R'G'B' becomes Y'CbCr"] if was.is_rgb and not now.is_rgb else []
        changes += ["colour gets coarser"] if _coarser(was, now) else []
        changes += ["full range becomes limited"] if _full(was, before) and not _full(now, after) else []
        if changes:
            notes.append(f"the picture: {before.pix_fmt} is written as {after.pix_fmt}: {', '.join(changes)}")
    return notes


#: Words for H.273's numbers of places of chroma samples.
_CHROMA_PLACES = {
    0: "left",
    1: "in the centre",
    2: "top left",
    3: "at the top",
    4: "bottom left",
    5: "at the bottom",
}


def _full(form: av.VideoFormat, seen: Glance) -> bool:
    return seen.full_range and not form.is_rgb


def _alpha(form: av.VideoFormat) -> bool:
    return any(component.is_alpha for component in form.components)


def _coarser(was: av.VideoFormat, now: av.VideoFormat) -> bool:
    """True where a format has fewer chroma samples than another; R'G'B' has one a pixel."""
    if len(was.components) < 3 or len(now.components) < 3:
        return False
    before = (16, 16) if was.is_rgb or was.has_palette else (was.chroma_width(16), was.chroma_height(16))
    return now.chroma_width(16) < before[0] or now.chroma_height(16) < before[1]


def _missing(before: Mapping[str, str], after: Mapping[str, str]) -> str:
    return ", ".join(
        f"{key}={value!r}"
        for key, value in before.items()
        if after.get(key) != value
        and not (key.startswith("location") and _same_place(value, after.get(key, "")))
    )


def _same_place(first: str, second: str) -> bool:
    """True for two places on earth that differ in how they are written (``+52.5-13.4/``, ``+52.5000-013.4000/``)."""
    one, other = ([float(number) for number in _DEGREES.findall(place)] for place in (first, second))
    return len(one) == len(other) >= 2 and all(abs(a - b) < _NEAR for a, b in zip(one, other, strict=True))
