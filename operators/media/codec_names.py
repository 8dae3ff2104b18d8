"""Codecs by name, the containers that hold them, and what can be asked of them; checked before anything heavy is
imported.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, Literal, get_args

from operators.media.label import Label
from operators.watermark.marking import Marking, marking_problem

Software = Literal["auto", "h264", "hevc", "prores", "dnxhr", "av1", "ffv1"]
Hardware = Literal[
    "h264_nvenc", "hevc_nvenc", "h264_videotoolbox", "hevc_videotoolbox", "prores_videotoolbox"
]
Codec = Literal[Software, Hardware]
CODECS: tuple[str, ...] = get_args(Codec)
Container = Literal["", "mp4", "mov", "mkv"]
Preset = Literal[
    "auto", "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"
]
PRESETS: tuple[str, ...] = get_args(Preset)
#: Containers that hold each codec.
HOLDS: dict[str, tuple[Container, ...]] = {
    "h264": ("mp4", "mov", "mkv"),
    "hevc": ("mp4", "mov", "mkv"),
    "prores": ("mov", "mkv"),
    "dnxhr": ("mov",),
    "av1": ("mp4", "mkv"),
    "ffv1": ("mp4", "mkv"),
    "h264_nvenc": ("mp4", "mov", "mkv"),
    "hevc_nvenc": ("mp4", "mov", "mkv"),
    "h264_videotoolbox": ("mp4", "mov", "mkv"),
    "hevc_videotoolbox": ("mp4", "mov", "mkv"),
    "prores_videotoolbox": ("mov", "mkv"),
}
#: Hardware encoders by the end of their names, and what they need.
HARDWARE = {
    "_nvenc": "an NVIDIA GPU with an encoder (H100 and other GPUs for computing have none) and its driver",
    "_videotoolbox": "macOS",
}
#: Codecs whose quality is set by their profile alone.
FIXED = ("prores", "dnxhr", "ffv1", "prores_videotoolbox")
_BITRATE = re.compile(r"(\d+(?:\.\d+)?)([kM]?)")


@dataclasses.dataclass(frozen=True)
class Encoding(Label, Marking):
    """Options of every stage that encodes: a notice's (`Label`), a mark's (`Marking`), and the following.

    Attributes:
        codec: auto: by the source and the output's container, see docs/media.md; or its name. Hardware encoders are used
            where they are named.
        crf: constant rate factor, lower is better: 0 to 51, for av1 to 63; 15 is beyond seeing for most footage.
        bitrate: mean bits a second such as 8M or 800k in place of a constant quality; empty: crf rules.
        preset: speed of the encoder, by x264's names; auto: what gives most for its time (`operators.media.encoders`).
        container: of the output, known by its name; "": as MP4.
    """

    codec: Codec = "auto"
    crf: float = 17.0
    bitrate: str = ""
    preset: Preset = "auto"
    container: Container = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if problem := marking_problem(self.watermark, self.watermark_strength):
            raise ValueError(problem)
        if problem := encoding_problem(self.codec, self.crf, self.bitrate, self.preset, self.container):
            raise ValueError(problem)


def container_of(suffix: str) -> Container:
    """The container of an output by its suffix, such as ``.m4v``."""
    return {".mov": "mov", ".mkv": "mkv"}.get(suffix, "mp4")  # type: ignore[return-value]


def bits_of(bitrate: str) -> int:
    """Bits a second of a text such as 8M, 800k or 800000.

    Raises:
        ValueError: it is none.
    """
    found = _BITRATE.fullmatch(bitrate)
    if not found or not float(found[1]):
        raise ValueError(f"bitrate {bitrate!r} must be a number of bits a second such as 8M or 800k")
    return round(float(found[1]) * {"": 1, "k": 1000, "M": 1_000_000}[found[2]])


def hardware_needs(codec: str) -> str:
    """Return what a hardware encoder needs, in words; empty for encoders that run everywhere."""
    return next((needs for end, needs in HARDWARE.items() if codec.endswith(end)), "")


def without_effect(given: Mapping[str, Any]) -> str:
    """Say which of the options that were given has no effect beside the others; empty where all have one."""
    if given.get("bitrate") and given.get("crf") is not None:
        return (
            f"crf {given['crf']:g} and bitrate {given['bitrate']}: one excludes the other, give one of them"
        )
    codec = given.get("codec", "auto")
    if codec in FIXED and given.get("crf") is not None:
        return f"crf {given['crf']:g}: {codec} has no choice of quality but its profile's"
    return ""


def encoding_problem(
    codec: str = "auto",
    crf: float = Encoding.crf,
    bitrate: str = "",
    preset: str = Encoding.preset,
    container: str = "",
) -> str:
    """Say what is wrong with a choice of encoding; empty where nothing is.

    Args:
        codec, crf, bitrate, preset: see `Encoding`.
        container: of the output; "" where it is not known.
    """
    if codec not in CODECS:
        return f"codec {codec!r} must be one of {', '.join(CODECS)}"
    top = 63 if codec == "av1" else 51
    if not 0 <= crf <= top:
        return f"crf {crf:g} must be from 0 to {top}"
    if preset not in PRESETS:
        return f"preset {preset!r} must be one of {', '.join(PRESETS)}"
    if bitrate:
        try:
            bits_of(bitrate)
        except ValueError as problem:
            return str(problem)
        if codec in FIXED:
            return f"bitrate {bitrate}: {codec} has no choice of one"
    if codec != "auto" and container and container not in HOLDS[codec]:
        suffixes = " or ".join(f".{name}" for name in HOLDS[codec])
        return (
            f"codec {codec} does not fit an output in .{container}: name it {suffixes}, or choose codec auto"
        )
    return ""
