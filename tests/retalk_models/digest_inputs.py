"""Inputs of the committed digest: made from nothing, by integer arithmetic, under the names that golden files
use.
"""

from __future__ import annotations

import numpy as np

from tests.weight_recipe import generator

#: Network -> input name -> shape. Pictures (``_u8``) are smaller than in use where the network allows it.
SHAPES: dict[str, dict[str, tuple[int, ...]]] = {
    "dnet": {"in_image_u8": (1, 3, 128, 128), "in_coeff": (1, 73, 26)},
    "lnet": {"in_faces_u8": (2, 6, 32, 32), "in_mel": (2, 1, 80, 16)},
    "enet": {"in_faces_u8": (1, 6, 384, 384), "in_mel": (1, 1, 80, 16)},
    "face3d": {"in_image_u8": (2, 3, 96, 96)},
    "gfpgan": {"in_image_u8": (1, 3, 512, 512)},
    "gpen": {"in_image_u8": (1, 3, 512, 512)},
    "parsenet": {"in_image_u8": (1, 3, 128, 128)},
    "retinaface": {"in_bgr_u8": (1, 3, 96, 128)},
    "s3fd": {"in_u8": (1, 3, 96, 128)},
    "fan": {"in_image_u8": (1, 3, 128, 128)},
    "ganimation": {"in_image_u8": (2, 3, 64, 64), "in_aus": (2, 17)},
    "syncnet": {"in_lip_u8": (1, 3, 5, 224, 224), "in_mfcc": (2, 1, 13, 20)},
    "inception": {"in_image_u8": (1, 3, 96, 128)},
    "lpips": {"in_first_u8": (2, 3, 64, 96), "in_second_u8": (2, 3, 64, 96)},
    "wav2lip": {"in_faces_u8": (2, 6, 96, 96), "in_mel": (2, 1, 80, 16)},
}
CELL = 16


def picture(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """A smooth uint8 picture: random values on a grid of `CELL` pixels, interpolated in integers, so the same
    on every machine.
    """
    *outer, height, width = shape
    grid = rng.integers(0, 256, (*outer, height // CELL + 1, width // CELL + 1))

    def stretch(values: np.ndarray) -> np.ndarray:  # along the last axis
        step = np.arange(CELL)
        between = values[..., :-1, None] * (CELL - step) + values[..., 1:, None] * step
        return (between // CELL).reshape(*values.shape[:-1], -1)

    return stretch(stretch(grid).swapaxes(-1, -2)).swapaxes(-1, -2).astype(np.uint8)


def inputs(name: str) -> dict[str, np.ndarray]:
    """The digest's inputs of one network."""
    made = {}
    for key, shape in SHAPES[name].items():
        rng = generator(f"digest-{name}-{key}")
        made[key] = (
            picture(rng, shape) if key.endswith("_u8") else rng.standard_normal(shape).astype(np.float32)
        )
    return made
