"""Options of a mark, checked before anything heavy is imported."""

from __future__ import annotations

import dataclasses
from typing import Literal, get_args

Mode = Literal["off", "on", "frame"]
#: Marks of the picture and of the speech.
PictureMark = Literal["builtin", "videoseal"]
SpeechMark = Literal["builtin", "audioseal"]
#: What each learned mark marks.
LEARNED = {"audioseal": "speech", "videoseal": "picture"}
MODES: tuple[str, ...] = get_args(Mode)
#: Factors of the amplitude: least, usual (no pattern is seen), most.
WEAKEST, USUAL, STRONGEST = 0.25, 0.6, 2.0


@dataclasses.dataclass(frozen=True)
class Marking:
    """Options of the mark of pictures, as every stage that encodes has them.

    Attributes:
        watermark: off; on: only samples that the dub draws; frame: the whole picture.
        watermark_strength: factor of the mark's amplitude.
        watermark_key: name of the key, which workers get from the driver.
        watermark_of: digest of the dub, from which its id follows.
        watermark_by: builtin, or videoseal: the learned mark in its place.
    """

    watermark: Mode = "off"
    watermark_strength: float = USUAL
    watermark_key: str = ""
    watermark_of: str = ""
    watermark_by: PictureMark = "builtin"


def marking_problem(mode: str, strength: float) -> str:
    """Say what is wrong with a mark; empty where nothing is."""
    if mode not in MODES:
        return f"watermark {mode!r} must be one of {', '.join(MODES)}"
    if not WEAKEST <= strength <= STRONGEST:
        return f"watermark_strength {strength:g} must be from {WEAKEST:g} to {STRONGEST:g}"
    return ""
