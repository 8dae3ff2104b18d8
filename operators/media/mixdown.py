"""Mixing of many channels down to two or one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

Target = Literal["mono", "stereo"]
#: Gain of each channel into left and right (ITU-R BS.775, annex 4; channels above the listener like those
#: below them).
MIX = {
    **dict.fromkeys(("FL", "FLC", "DL"), (1.0, 0.0)),
    **dict.fromkeys(("FR", "FRC", "DR"), (0.0, 1.0)),
    **dict.fromkeys(("FC", "TFC", "BFC"), (0.7071, 0.7071)),
    **dict.fromkeys(("BL", "SL", "WL", "SDL", "TFL", "TBL", "TSL", "BFL", "SSL", "TTL"), (0.7071, 0.0)),
    **dict.fromkeys(("BR", "SR", "WR", "SDR", "TFR", "TBR", "TSR", "BFR", "SSR", "TTR"), (0.0, 0.7071)),
    **dict.fromkeys(("LFE", "LFE2"), (0.0, 0.0)),
    # The first channel of a sound field is what an omnidirectional microphone hears.
    "AMBI0": (1.0, 1.0),
}
#: Gain of channels that MIX does not know (BC, and those without a place).
CENTRED = (0.5, 0.5)


def mix_weights(names: Sequence[str], target: Target, alone: int | None = None) -> np.ndarray | None:
    """float32[targets, channels] such that equal channels give the same one and nothing gets louder; None
    where there is nothing to mix.

    Args:
        names: FFmpeg's names of the channels.
        target: "mono" or "stereo".
        alone: number of the only channel that is used; None: all of them.
    """
    count = 1 if target == "mono" else 2
    if alone is not None:
        weights = np.zeros([count, len(names)], np.float32)
        weights[:, alone] = 1
        return weights
    if count >= len(names):
        return None
    if len(names) == 2:
        sides = np.eye(2, dtype=np.float32)
    else:
        gains = [(0.0, 0.0) if _is_field(name) else MIX.get(name, CENTRED) for name in names]
        sides = np.array(gains, np.float32).T
    weights = sides / np.maximum(sides.sum(axis=1, keepdims=True), 1e-6)
    return weights.mean(axis=0, keepdims=True) if count == 1 else weights


def _is_field(name: str) -> bool:
    """True for the directional channels of an ambisonic sound field."""
    return name.startswith("AMBI") and name != "AMBI0"
