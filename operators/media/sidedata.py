"""Side data of pictures: order of fields, static HDR metadata (SMPTE ST 2086 and CTA-861.3) in x264's
notation.
"""

from __future__ import annotations

import struct
from fractions import Fraction
from typing import Any

import av.error
from av.filter import Graph
from av.sidedata.sidedata import SideDataContainer
from av.sidedata.sidedata import Type as SideDataType
from av.video.frame import VideoFrame

#: The marker bit in the 25 bits of the time code of a group of pictures (ISO/IEC 13818-2, 6.3.8).
_GOP_MARKER = 1 << 12


def side_data(picture: VideoFrame, kind: SideDataType) -> bytes | None:
    """A picture's side data of one kind as FFmpeg's structure; None without any, or where PyAV cannot list
    it.
    """
    try:
        data = _listed(picture).get(kind)  # type: ignore[call-overload]
    except ValueError:
        # PyAV 18 does not know all kinds that FFmpeg 8 attaches (Exif is one) and then gives none.
        return None
    return None if data is None else bytes(data)


def side_data_kinds(picture: VideoFrame) -> set[str]:
    """FFmpeg's names of the kinds of side data of a picture, but for ICC profiles and for those that say nothing: pan
    and scan of the whole picture, the time code 00:00:00:00; none where PyAV cannot list them.
    """
    try:
        listed: Any = _listed(picture)  # PyAV's stubs call it a mapping; iterating gives the data
        found = {data.type.name: bytes(data) for data in listed}
    except ValueError:
        return set()
    if "PANSCAN" in found:
        # MPEG-2's decoder attaches one to each picture: number, size in sixteenths of a pixel, three places.
        _, width, height, *places = struct.unpack("=3i6h", found["PANSCAN"][:24])
        if not any(places) and (width, height) in ((0, 0), (16 * picture.width, 16 * picture.height)):
            del found["PANSCAN"]
    if not int.from_bytes(found.get("GOP_TIMECODE", b""), "little") & ~_GOP_MARKER:
        found.pop("GOP_TIMECODE", None)
    return set(found)


def _listed(picture: VideoFrame) -> SideDataContainer:
    """The side data of a picture, listed anew: what `VideoFrame.side_data` lists refers to the picture and the picture to it, so that
    its samples would be freed by the garbage collector alone.

    Raises:
        ValueError: PyAV cannot list them.
    """
    # The stubs leave the argument out.
    return SideDataContainer(_without_profile(picture))  # type: ignore[call-arg]


def _without_profile(picture: VideoFrame) -> VideoFrame:
    """The picture without its ICC profile: PyAV 17 and 18 free the name of one (PNG files carry it) twice,
    and the process dies.
    """
    graph = Graph()
    source = graph.add_buffer(
        width=picture.width, height=picture.height, format=picture.format, time_base=Fraction(1, 25)
    )
    delete, sink = graph.add("sidedata", "mode=delete:type=ICC_PROFILE"), graph.add("buffersink")
    source.link_to(delete)
    delete.link_to(sink)
    graph.configure()
    graph.push(picture)
    return graph.pull()  # type: ignore[return-value]


def first_field(picture: VideoFrame) -> str:
    """ "top" or "bottom" by the field that is shown first, empty for a progressive picture."""
    if not picture.interlaced_frame:
        return ""
    # PyAV does not show the flag; a filter lets those pictures pass that have it.
    graph = Graph()
    source = graph.add_buffer(
        width=picture.width, height=picture.height, format=picture.format, time_base=Fraction(1, 25)
    )
    select, sink = graph.add("select", "eq(interlace_type,BOTTOMFIRST)"), graph.add("buffersink")
    source.link_to(select)
    select.link_to(sink)
    graph.configure()
    graph.push(picture)
    try:
        graph.pull()
    except (av.error.BlockingIOError, av.error.EOFError):
        return "top"
    return "bottom"


def hdr_parameters(picture: VideoFrame) -> str:
    """x264 parameters that repeat the picture's mastering display and content light level, empty without
    them.
    """
    parameters = []
    mastering = side_data(picture, SideDataType.MASTERING_DISPLAY_METADATA)
    if mastering is not None and len(mastering) >= 88:
        numbers = struct.unpack("=22i", mastering[:88])
        values = [n / d if d else 0.0 for n, d in zip(numbers[0:20:2], numbers[1:20:2], strict=True)]
        rx, ry, gx, gy, bx, by, wx, wy = (round(v * 50000) for v in values[:8])
        darkest, brightest = (round(v * 10000) for v in values[8:])
        if numbers[20] and numbers[21]:
            parameters.append(
                f"mastering-display=G({gx},{gy})B({bx},{by})R({rx},{ry})WP({wx},{wy})L({brightest},{darkest})"
            )
    light = side_data(picture, SideDataType.CONTENT_LIGHT_LEVEL)
    if light is not None and len(light) >= 8:
        peak, average = struct.unpack("=2I", light[:8])
        parameters.append(f"cll={peak},{average}")
    return ":".join(parameters)
