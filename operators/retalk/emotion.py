"""Upper-face emotions as action units for GANimation (docs/reference.md#9-faces-into-frames)."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

UpperFace = Literal["angry", "surprise", "sad"]

#: The action units that the network was trained with, in its order.
ACTION_UNITS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 45)
_ORIGINAL: dict[str, dict[int, float]] = {"angry": {4: 0.3}, "surprise": {5: 0.2}, "sad": {}}
#: The original's `sad` is all zeros. Sadness is inner brows up (1), brows together (4), lip corners down (15)
#: (Ekman and Friesen 1978).
_SAD = {1: 0.3, 4: 0.2, 15: 0.2}


def action_units(name: UpperFace, *, parity: bool = False) -> np.ndarray:
    """Target intensities float32[17].

    Args:
        name: the emotion.
        parity: the original's vector, also where it does nothing (`sad`).

    Raises:
        ValueError: an unknown emotion.
    """
    if name not in _ORIGINAL:
        raise ValueError(f"upper_face {name!r} is not one of original, {', '.join(get_args(UpperFace))}")
    wanted = _SAD if name == "sad" and not parity else _ORIGINAL[name]
    return np.array([wanted.get(unit, 0.0) for unit in ACTION_UNITS], np.float32)
