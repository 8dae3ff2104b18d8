"""Encoders of segments: the codec for a source, and its stream with settings that give closed groups of pictures, headers
that do not depend on the content, and the same bytes every time.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import re
from collections.abc import Mapping
from fractions import Fraction

import av
import av.error
from av.container import OutputContainer
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from operators.media.codec_names import HOLDS, Codec, Encoding, bits_of, hardware_needs
from operators.media.color import LIMITED_RANGE, UNSPECIFIED
from operators.media.container import describe
from operators.media.formats import DIRECT, converted
from operators.media.probe import VideoInfo
from operators.threads import no_realtime

# Errors only: SVT-AV1 introduces itself on stderr at each start, and looks at this at the first.
os.environ.setdefault("SVT_LOG", "1")

#: H.273 transfer characteristics of high dynamic range: PQ and HLG.
HDR_TRANSFERS = (16, 18)
#: FFmpeg's names of mezzanine codecs.
MEZZANINE = ("prores", "dnxhd")
#: ProRes: FFmpeg's name of the source's profile, and prores_ks' number.
PRORES = {"Proxy": 0, "LT": 1, "Standard": 2, "HQ": 3, "4444": 4, "XQ": 5}
#: SVT-AV1's numbers for x264's names of presets.
SVT_PRESETS = {
    "ultrafast": 12,
    "superfast": 11,
    "veryfast": 10,
    "faster": 9,
    "fast": 8,
    "medium": 7,
    "slow": 5,
    "slower": 4,
    "veryslow": 2,
}
#: Formats of pictures that an encoder takes, best first; others are written in the working format without alpha.
TAKES = {
    "prores": ("yuv422p10le", "yuv444p10le", "yuva444p10le"),
    "dnxhr": ("yuv422p", "yuv422p10le", "yuv444p10le"),
    "av1": ("yuv420p", "yuv420p10le"),
}
#: Pixels that DNxHR needs at least.
DNXHR_LEAST = (256, 120)
#: H.273 matrices that DNxHR can name.
DNXHR_MATRICES = (1, 9)


@dataclasses.dataclass(frozen=True)
class EncoderOptions(Encoding):
    """Encoder settings of segments. All segments of a title must be encoded with the same options.

    The preset "auto" takes 0.4 to 0.9 of the CPU time of x264's ``superfast`` and 0.75 to 1.05 of its bytes, for up to 0.5 dB
    less (talking heads, 2 cores; `benchmarks/codecs.py` measures it again).

    Attributes:
        keyint: most frames from one key frame to the next.
    """

    codec: Codec = "h264"
    keyint: int = 250

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.keyint < 1:
            raise ValueError(f"keyint {self.keyint} must be at least 1")

    @classmethod
    def of(cls, options: Encoding) -> EncoderOptions:
        """The settings that a stage's options ask for."""
        names = [field.name for field in dataclasses.fields(Encoding)]
        return cls(**{name: getattr(options, name) for name in names})


def codec_for(info: VideoInfo, options: Encoding) -> str:
    """The codec of a source's segments: the one that is named, or, for ``auto``, the one that a viewer of the source would
    expect where the output's container holds it.

    Mezzanine codecs stay what they are; pictures with alpha become ProRes 4444; high dynamic range becomes HEVC; all else
    H.264. Interlaced pictures are no HEVC, which x265 writes as single fields.
    """
    if options.codec != "auto":
        return options.codec
    wanted = []
    if info.codec == "dnxhd" and not info.fields and not dnxhr_problem(info):
        wanted.append("dnxhr")
    if info.codec in MEZZANINE or info.layout.format.alpha:
        wanted.append("prores")
    if info.layout.tags.transfer in HDR_TRANSFERS and not info.fields:
        wanted.append("hevc")
    return next((codec for codec in wanted if (options.container or "mp4") in HOLDS[codec]), "h264")


def dnxhr_problem(info: VideoInfo) -> str:
    """Say why DNxHR cannot hold a source's pictures; empty where it can."""
    size = (info.coded_width, info.coded_height)
    if size[0] < DNXHR_LEAST[0] or size[1] < DNXHR_LEAST[1]:
        return f"DNxHR holds pictures of {DNXHR_LEAST[0]}x{DNXHR_LEAST[1]} and larger, not of {size[0]}x{size[1]}"
    matrix = info.layout.tags.matrix
    if matrix not in DNXHR_MATRICES and not (matrix == UNSPECIFIED and size[1] >= 720):
        return "DNxHR holds colours by BT.709 and BT.2020 only"
    return ""


def encoder_problem(info: VideoInfo, codec: str) -> str:
    """Say why a codec, one of `codec_for`, cannot hold a source's pictures; empty where it can."""
    if codec == "dnxhr" and (problem := dnxhr_problem(info)):
        return f"{problem}: choose another codec"
    if codec == "av1" and (info.coded_width % 2 or info.coded_height % 2):
        return f"AV1 is written with 4:2:0, and {info.coded_width}x{info.coded_height} is no even size: choose h264"
    return ""


def segment_format(codec: str) -> str:
    """FFmpeg's name of the container of encoded segments: times are exact in both."""
    return "mov" if "mp4" not in HOLDS[codec] else "mp4"


def segment_options(codec: str) -> dict[str, str]:
    """Options of that container's muxer: FFV1 says nothing of colours, so that a box has to."""
    return {"movflags": "+write_colr"} if codec == "ffv1" else {}


def reordering(codec: str, options: EncoderOptions) -> int:
    """Packets that come before one whose frame is shown before theirs: B-frames of x264 and x265, of which one in a run is a
    reference. SVT-AV1 hides its reordering inside packets.
    """
    if codec == "hevc":
        return 0 if options.keyint == 1 else 2
    return 2 if codec == "h264" and options.preset != "ultrafast" and options.keyint > 1 else 0


def encoded_format(codec: str, info: VideoInfo) -> str:
    """FFmpeg's pixel format of the encoded pictures: the working one, or the nearest that the encoder takes."""
    working = info.layout.format
    if codec == "ffv1":
        return working.name.replace("yuvj", "yuv")
    if codec == "prores_videotoolbox":
        full = working.chroma == (0, 0) and not working.gray
        return "ayuv64le" if working.alpha else "p416le" if full else "p210le"
    if hardware_needs(codec):
        # Their formats of 10 bits have no planes; H.264 has 8.
        return "p010le" if working.depth > 8 and codec.startswith("hevc") else "yuv420p"
    if codec not in TAKES:
        return working.opaque
    full, deep = working.chroma == (0, 0) and not working.gray, working.depth > 8
    if codec == "prores":
        return "yuva444p10le" if working.alpha else "yuv444p10le" if full else "yuv422p10le"
    if codec == "dnxhr":
        return "yuv444p10le" if full else "yuv422p10le" if deep else "yuv422p"
    return "yuv420p10le" if deep else "yuv420p"


def encoded_range(codec: str, info: VideoInfo) -> int:
    """H.273's number of the range of encoded samples: the source's; ProRes knows the limited one only."""
    return LIMITED_RANGE if codec.startswith("prores") else info.layout.tags.range


def to_encoded(picture: VideoFrame, name: str, limited: bool = False) -> VideoFrame:
    """A picture in the encoder's format; chroma samples are repeated or averaged, others keep their values unless those of the
    full range are to become `limited`.
    """
    if not limited and (picture.format.name == name or DIRECT.get(picture.format.name) == name):
        return picture
    return converted(picture, name, limited)


def add_encoder(
    container: OutputContainer, info: VideoInfo, codec: str, options: EncoderOptions
) -> VideoStream:
    """Add the stream of encoded pictures: the source's size and orientation, colours and shape of pixels.

    One thread encodes, so that the bytes do not depend on the number of cores.

    Raises:
        ValueError: the encoder cannot encode such pictures.
        av.error.FFmpegError: it cannot be opened.
    """
    layout = info.layout
    if problem := encoder_problem(info, codec):
        raise ValueError(f"{info.url}: {problem}")
    settings_of = _videotoolbox if codec.endswith("_videotoolbox") else _nvenc
    encoder, settings = {
        "h264": _x264,
        "hevc": _x265,
        "prores": _prores,
        "dnxhr": _dnxhr,
        "av1": _svt_av1,
        "ffv1": _ffv1,
    }.get(codec, settings_of)(info, codec, options)
    if problem := missing_encoder(codec, encoder):
        raise ValueError(f"{info.url}: {problem}")
    stream = container.add_stream(
        encoder,
        rate=info.average_rate,
        options=dict(settings),
        width=layout.width,
        height=layout.height,
        pix_fmt=encoded_format(codec, info),
        time_base=info.time_base,
    )
    assert isinstance(stream, VideoStream)
    context = stream.codec_context
    context.thread_count = 1
    if options.bitrate:
        context.bit_rate = bits_of(options.bitrate)
    if codec.startswith("hevc"):
        context.codec_tag = "hvc1"  # Apple's players take no other
    context.sample_aspect_ratio = info.sample_aspect_ratio
    context.color_range = encoded_range(codec, info)
    context.colorspace = layout.tags.matrix
    context.color_primaries = layout.tags.primaries
    context.color_trc = layout.tags.transfer
    stream.set_display_matrix(info.display_matrix)
    with no_realtime():
        context.open()
    return stream


def missing_encoder(codec: str, encoder: str = "") -> str:
    """Say why this machine's FFmpeg cannot encode a codec; empty where it has the encoder.

    Args:
        codec: one of `codec_names.CODECS`.
        encoder: FFmpeg's name of its encoder; if "", only hardware encoders are looked for, which are named like their codecs.
    """
    needs = hardware_needs(codec)
    if (encoder or codec) in av.codecs_available or not (encoder or needs):
        return ""
    return (
        f"codec {codec}: this build of FFmpeg has no encoder {encoder or codec}"
        f"{f', which needs {needs}' if needs else ''}; choose another codec"
    )


@functools.cache
def unopened_encoder(codec: str) -> str:
    """Say why a hardware encoder, which this machine's FFmpeg has, cannot be opened here; empty where it can, and for others."""
    needs = hardware_needs(codec)
    if not needs:
        return ""
    context = av.CodecContext.create(codec, "w")
    assert isinstance(context, VideoCodecContext)
    context.width, context.height, context.time_base = 640, 360, Fraction(1, 25)
    context.pix_fmt = "p210le" if codec.startswith("prores") else "yuv420p"
    try:
        context.open()
    except av.error.FFmpegError as error:
        return (
            f"codec {codec}: its encoder cannot be opened on this machine ({describe(error)}), it needs {needs}; "
            "choose another codec"
        )
    return ""


#: What x264's preset ultrafast leaves out although it takes next to no time and saves most bytes, for the preset "auto". Deciding where
#: to put B-frames takes as long as all the rest.
LIGHT = "cabac=1:8x8dct=1:partitions=i8x8,i4x4:deblock=1,0,0:bframes=3:b-adapt=0"
Settings = tuple[str, Mapping[str, str]]


def _x264(info: VideoInfo, codec: str, options: EncoderOptions) -> Settings:
    del codec
    layout = info.layout
    # Macroblock tree is off: with B-frames its AVX-512 code reads memory that nothing has written, and the
    # bytes differ from run to run.
    x264 = f"open-gop=0:stitchable=1:mbtree=0:keyint={options.keyint}:lookahead-threads=1"
    if info.chroma_location and layout.format.chroma == (1, 1):
        x264 += f":chromaloc={info.chroma_location}"
    # Fields of half a chroma sample cannot be cropped.
    if info.fields and layout.height % (2 << layout.format.chroma[1]) == 0:
        x264 += ":tff=1" if info.fields == "top" else ":bff=1"
    if info.hdr:
        x264 += f":{info.hdr}"
    if options.preset == "auto":
        return "libx264", {"preset": "ultrafast", **_rate(options), "x264-params": f"{x264}:{LIGHT}"}
    return "libx264", {"preset": options.preset, **_rate(options), "x264-params": x264}


def _preset(options: EncoderOptions) -> str:
    return "superfast" if options.preset == "auto" else options.preset


def _rate(options: EncoderOptions) -> dict[str, str]:
    return {} if options.bitrate else {"crf": f"{options.crf:g}"}


def _x265(info: VideoInfo, codec: str, options: EncoderOptions) -> Settings:
    del codec
    x265 = (
        f"log-level=none:info=0:open-gop=0:keyint={options.keyint}:bframes=3:b-pyramid=1:pools=none:frame-threads=1:wpp=0"
        ":repeat-headers=0"
    )
    if info.chroma_location and info.layout.format.chroma == (1, 1):
        x265 += f":chromaloc={info.chroma_location}"
    if info.hdr:
        # x264's and x265's names of the same.
        x265 += ":hdr10=1:" + info.hdr.replace("mastering-display=", "master-display=").replace(
            "cll=", "max-cll="
        )
    # Closed captions, which x264 takes without being asked.
    return "libx265", {"preset": _preset(options), **_rate(options), "a53cc": "1", "x265-params": x265}


def _prores(info: VideoInfo, codec: str, options: EncoderOptions) -> Settings:
    del options
    profile = PRORES["HQ"]
    if encoded_format(codec, info) != "yuv422p10le":
        profile = PRORES["XQ"] if info.profile == "XQ" else PRORES["4444"]
    elif info.codec == "prores":
        profile = min(PRORES.get(info.profile, PRORES["HQ"]), PRORES["HQ"])
    settings = {"profile": str(profile), "vendor": "apl0"}
    if info.fields:
        settings |= {"flags": "+ildct", "field_order": "tt" if info.fields == "top" else "bb"}
    if encoded_format(codec, info).startswith("yuva"):
        settings["alpha_bits"] = "16"
    return "prores_ks", settings


def _dnxhr(info: VideoInfo, codec: str, options: EncoderOptions) -> Settings:
    del options
    profiles = {"yuv422p": "dnxhr_hq", "yuv422p10le": "dnxhr_hqx", "yuv444p10le": "dnxhr_444"}
    return "dnxhd", {"profile": profiles[encoded_format(codec, info)]}


def _svt_av1(info: VideoInfo, codec: str, options: EncoderOptions) -> Settings:
    del codec
    # AV1 knows two places of chroma samples, in SVT-AV1's numbers: left (what H.273 calls 0) and top left.
    siting = ":chroma-sample-position=2" if info.chroma_location == 2 else ""
    return "libsvtav1", {
        "preset": str(SVT_PRESETS[_preset(options)]),
        **_rate(options),
        "g": str(options.keyint),
        "svtav1-params": f"lp=1:irefresh-type=2{siting}{_svt_hdr(info.hdr)}",
    }


def _svt_hdr(hdr: str) -> str:
    """x264's parameters of HDR in SVT-AV1's words, which count in whole units."""
    if not hdr:
        return ""

    def scaled(found: re.Match[str]) -> str:
        unit = 10000 if found[1] == "L" else 50000
        return f"{found[1]}({int(found[2]) / unit:g},{int(found[3]) / unit:g})"

    return ":" + re.sub(r"([A-Z]+)\((\d+),(\d+)\)", scaled, hdr).replace("cll=", "content-light=")


def _ffv1(info: VideoInfo, codec: str, options: EncoderOptions) -> Settings:
    del info, codec, options
    return "ffv1", {"level": "3", "slices": "4", "slicecrc": "1", "g": "1"}


def _nvenc(info: VideoInfo, codec: str, options: EncoderOptions) -> Settings:
    del info
    rate = {"rc": "vbr"} if options.bitrate else {"rc": "constqp", "qp": f"{options.crf:.0f}"}
    return codec, {**rate, "preset": "p4", "bf": "0", "g": str(options.keyint), "forced-idr": "1"}


def _videotoolbox(info: VideoInfo, codec: str, options: EncoderOptions) -> Settings:
    if codec == "prores_videotoolbox":
        form = encoded_format(codec, info)
        four = "xq" if info.profile == "XQ" else "4444"
        return codec, {"profile": "hq" if form == "p210le" else four}
    settings = {"bf": "0", "g": str(options.keyint), "flags": "+cgop"}
    if not options.bitrate:
        # Qualities from 1 to 100 in place of x264's 51 to 0; FFmpeg counts them in units of 118.
        quality = max(1, round(100 * (1 - options.crf / 51)))
        settings |= {"flags": "+cgop+qscale", "global_quality": str(118 * quality)}
    return codec, settings
