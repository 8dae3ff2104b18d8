"""Pixel formats: which ones frames are worked on and encoded in, and how a decoded picture gets there.

The working formats are the planar ones that x264 encodes: gray, 4:2:0, 4:2:2 and 4:4:4 with 8 or 10 bits. A
decoded picture in one of them is used as it is. Others are converted once, right after decoding:

* semi-planar and packed Y'CbCr of 8 or 10 bits: the same samples, rearranged (nothing is lost);
* more than 10 bits: reduced to 10, the most that x264 encodes;
* 4:1:1 becomes 4:2:2, 4:1:0 becomes 4:2:0, 4:4:0 and all of an odd size become 4:4:4, by repeating chroma samples, which keeps
  every luma and chroma value. H.264 cannot crop a chroma sample in half, so an odd size exists in 4:4:4 only;
* R'G'B' and palettes: Y'CbCr 4:4:4 (still pictures: 4:2:0), BT.709, limited range.

Alpha, except that of still and animated pictures, stays beside the other planes, as deep as they are; encoders that have no
place for it leave it out.
"""

from __future__ import annotations

import dataclasses
import errno
import functools
from typing import Any

import av
import av.error
import numpy as np
from av.video.frame import VideoFrame

from operators.media.color import FULL_RANGE, LIMITED_RANGE, UNSPECIFIED, ColorTags

#: FFmpeg names of the working formats; the yuvj ones are the 8-bit ones with full range.
WORKING = (
    *("gray", "gray10le", "yuv420p", "yuv420p10le", "yuv422p", "yuv422p10le", "yuv444p", "yuv444p10le"),
    *("yuvj420p", "yuvj422p", "yuvj444p"),
    *("yuva420p", "yuva420p10le", "yuva422p", "yuva422p10le", "yuva444p", "yuva444p10le"),
)
#: Formats that hold the same samples under another name: full range is said by the colour tags.
DIRECT = {"yuvj420p": "yuv420p", "yuvj422p": "yuv422p", "yuvj444p": "yuv444p"}
#: Flags of swscale (SWS_* of libswscale/swscale.h; older PyAV names only some of them).
_POINT, _AREA = 0x10, 0x20
#: Accurate rounding, full chroma input and interpolation, the same result on every processor.
_EXACT = 0x40000 | 0x4000 | 0x2000 | 0x80000
_SAMPLING = {(0, 0): "444", (1, 0): "422", (1, 1): "420", (2, 0): "411", (2, 2): "410", (0, 1): "440"}
BT709 = 1
#: Attributes of a picture that are H.273's code points.
_TAGS = ("colorspace", "color_primaries", "color_trc")


@dataclasses.dataclass(frozen=True)
class WorkingFormat:
    """Layout in which frames of a stream are held, and the conversion of decoded pictures to it."""

    #: FFmpeg pixel format of the frames.
    name: str
    #: log2 of the frames' chroma subsampling, horizontal and vertical.
    chroma: tuple[int, int]
    #: Bits of a sample: 8 or 10.
    depth: int
    #: Planar format that swscale makes of a decoded picture of another format; its chroma is repeated where
    #: `name` is another one.
    planar: str
    #: Decoded pictures are R'G'B' (or XYZ): the conversion changes matrix and range.
    from_rgb: bool = False

    @property
    def gray(self) -> bool:
        return self.name.startswith("gray")

    @property
    def alpha(self) -> bool:
        return self.name.startswith("yuva")

    @property
    def opaque(self) -> str:
        """The format without alpha."""
        return self.name.replace("yuva", "yuv")

    @property
    def dtype(self) -> type[np.unsignedinteger[Any]]:
        return np.uint8 if self.depth == 8 else np.uint16


@functools.lru_cache(maxsize=64)
def working_format(decoded: str, width: int, height: int, still: bool = False) -> WorkingFormat:
    """The working format for pictures that are decoded as ``decoded`` (an FFmpeg pixel format name) in this
    coded size.

    Args:
        decoded: FFmpeg's name of the pixel format.
        width, height: coded size.
        still: the file is a still or animated picture, made into a video that should play everywhere: 4:2:0
            where the size is even.
    """
    source = av.VideoFormat(decoded, 16, 16)
    color = [c for c in source.components if not c.is_alpha]
    depth = 8 if max(c.bits for c in color) <= 8 else 10
    tail = "" if depth == 8 else "10le"
    if source.is_rgb or source.has_palette or decoded.startswith("xyz"):
        if still and width % 2 == height % 2 == 0:
            return WorkingFormat("yuv420p", (1, 1), 8, "yuv420p", from_rgb=True)
        name = (
            f"yuva444p{tail}"
            if any(c.is_alpha for c in source.components) and not still
            else f"yuv444p{tail}"
        )
        return WorkingFormat(name, (0, 0), depth, name, from_rgb=True)
    if len(color) < 3:
        return WorkingFormat(f"gray{tail}", (0, 0), depth, f"gray{tail}")
    shift = (
        (16 // source.chroma_width(16)).bit_length() - 1,
        (16 // source.chroma_height(16)).bit_length() - 1,
    )
    family = next(name for name in ("yuvj", "yuva", "yuv") if decoded.startswith(name) or name == "yuv")
    planar = f"{family}{_SAMPLING[shift]}p{tail}"
    kept = (min(shift[0], 1), min(shift[1], 1)) if shift[0] else (0, 0)
    if width % (1 << kept[0]) or height % (1 << kept[1]):
        kept = (0, 0)
    return WorkingFormat(f"{family}{_SAMPLING[kept]}p{tail}", kept, depth, planar)


def working_tags(decoded: str, tags: ColorTags) -> ColorTags:
    """The colour tags of frames in the working format, given the decoded picture's."""
    source = av.VideoFormat(decoded, 16, 16)
    if source.is_rgb or source.has_palette or decoded.startswith("xyz"):
        return dataclasses.replace(tags, range=LIMITED_RANGE, matrix=BT709)
    if decoded.startswith(("yuvj", "mono")):
        return dataclasses.replace(tags, range=FULL_RANGE)
    # Where nothing is said Y'CbCr has the limited range, and H.264 says nothing where it has.
    return dataclasses.replace(tags, range=tags.range or LIMITED_RANGE)


def planes(picture: VideoFrame) -> list[np.ndarray]:
    """Views of a planar picture's planes, uint8 or uint16 [h,w]. They keep the picture alive, and do not
    survive its `make_writable`.
    """
    dtype = np.uint16 if picture.format.components[0].bits > 8 else np.uint8
    return [
        np.frombuffer(memoryview(plane), dtype).reshape(plane.height, -1)[:, : plane.width]
        for plane in picture.planes
    ]


def to_working(picture: VideoFrame, working: WorkingFormat) -> VideoFrame:
    """A decoded picture in the working format: itself, or a converted one with the same time stamps."""
    if picture.format.name == working.name:
        return picture
    converted = picture
    if working.from_rgb:
        colors: dict[str, Any] = {
            "dst_colorspace": "ITU709",
            "src_color_range": "JPEG",
            "dst_color_range": "MPEG",
        }
        converted = reformatted(
            picture, format=working.planar, interpolation=_EXACT | _AREA, threads=1, **colors
        )
    elif picture.format.name != working.planar:
        converted = reformatted(picture, format=working.planar, interpolation=_EXACT | _POINT, threads=1)
    if working.planar != working.name:
        converted = _repeat_chroma(converted, working.name)
    converted.pts, converted.time_base = picture.pts, picture.time_base
    return converted


def converted(picture: VideoFrame, name: str, limited: bool = False) -> VideoFrame:
    """A picture in another planar format, for an encoder: chroma is repeated where it gets finer and averaged where it
    gets coarser; deeper samples are shifted, alpha is left out where the format has none. If `limited`, samples of the full
    range become those of the limited one.
    """
    target = av.VideoFormat(name, 16, 16)
    finer = target.chroma_height(16) > picture.format.chroma_height(16) or target.chroma_width(
        16
    ) > picture.format.chroma_width(16)
    ranges: dict[str, Any] = {"src_color_range": "JPEG", "dst_color_range": "MPEG"} if limited else {}
    scaler = _EXACT | (_POINT if finer else _AREA)
    made = reformatted(picture, format=name, interpolation=scaler, threads=1, **ranges)
    made.pts, made.time_base = picture.pts, picture.time_base
    return made


def reformatted(picture: VideoFrame, **options: Any) -> VideoFrame:
    """`VideoFrame.reformat`, also for pictures whose colour tags swscale does not know (YCgCo, ICtCp, constant luminance): samples
    are then converted as if nothing were said of colours, and the tags stay.
    """
    try:
        return picture.reformat(**options)
    except av.error.OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
    said = {name: int(getattr(picture, name)) for name in _TAGS}
    for name in _TAGS:
        setattr(picture, name, UNSPECIFIED)
    try:
        made = picture.reformat(**options)
    finally:
        for name, value in said.items():
            setattr(picture, name, value)
    if not made.format.is_rgb:
        for name, value in said.items():
            setattr(made, name, value)
    return made


def is_transparent(picture: VideoFrame) -> bool:
    """True if a picture has pixels that are not opaque."""
    if (
        not any(component.is_alpha for component in picture.format.components)
        and not picture.format.has_palette
    ):
        return False
    alpha = reformatted(picture, format="rgba").to_ndarray()[:, :, 3]
    return bool((alpha < 255).any())


def _repeat_chroma(picture: VideoFrame, name: str) -> VideoFrame:
    """A 4:4:4 picture in which each chroma sample of a subsampled one is repeated over the luma samples that
    it covers.
    """
    full = VideoFrame(picture.width, picture.height, name)
    for source, target in zip(planes(picture), planes(full), strict=True):
        height, width = target.shape
        across, down = -(-width // source.shape[1]), -(-height // source.shape[0])
        target[:] = source.repeat(down, 0)[:height].repeat(across, 1)[:, :width]
    return full
