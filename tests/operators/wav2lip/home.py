"""Model files for the engine `wav2lip` in the official names and nestings: made-up weights, and an S3FD that
finds blue marks.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch

from retalk_models.build import build
from tests.retalk_home import State, made_up

#: Colour that `mark_finder` takes for a face, RGB, and the size of the boxes that it draws around it.
MARK, BOX = (0, 0, 255), (96, 112)


def mark_finder() -> State:
    """S3FD's state dict with weights set by hand: one channel carries how blue a place is to the head of
    stride 32.

    A real network that runs as the trained one does, whose answers are known and do not hang on rounding: the
    box's middle lies on a grid of 32 pixels, and the bluest mark scores best.
    """
    state = {key: torch.zeros_like(value) for key, value in build("s3fd").state_dict().items()}
    state["conv1_1.weight"][0, 2, 1, 1], state["conv1_1.weight"][0, 0, 1, 1] = 1, -1
    state["conv1_1.bias"][0] = 19 - 150  # the means that were subtracted, and how blue it must be at least
    for key, value in state.items():
        if (
            key.startswith("conv")
            and key.endswith("weight")
            and value.ndim == 4
            and "mbox" not in key
            and key != "conv1_1.weight"
        ):
            value[0, 0, value.shape[2] // 2, value.shape[3] // 2] = 1
        if key.endswith("mbox_conf.bias"):
            value[-1] = -10
    state["fc6.weight"][0, 0, 2, 2] = state["fc7.weight"][0, 0, 0, 0] = 1
    state["fc7_mbox_conf.weight"][1, 0, 1, 1], state["fc7_mbox_conf.bias"][1] = 0.06, -3.5
    # fc6 pads by 3: its map is shifted by a cell. Centres are offset in tenths of 128 pixels, sizes by e to
    # the fifths.
    state["fc7_mbox_loc.bias"][:] = torch.tensor([-2.5, -2.5, *(5 * math.log(side / 128) for side in BOX)])
    return state


def marked(
    picture: np.ndarray, x: int, y: int, colour: tuple[int, int, int] = MARK, side: int = 10
) -> np.ndarray:
    """A picture uint8[h, w, 3] RGB with a mark around a point."""
    result = picture.copy()
    result[y - side // 2 : y + side // 2, x - side // 2 : x + side // 2] = colour
    return result


def wav2lip_home(folder: Path) -> Path:
    """Write S3FD's and Wav2Lip's files into ``folder/models``; returns the folder."""
    models = folder / "models"
    models.mkdir(parents=True, exist_ok=True)
    torch.save(mark_finder(), models / "s3fd-619a316812.pth")
    state = {f"module.{key}": value for key, value in made_up("wav2lip").items()}
    torch.save({"state_dict": state, "optimizer": None, "global_step": 7}, models / "wav2lip_gan.pth")
    return folder
