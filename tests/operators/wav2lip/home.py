"""A home of model files for the engine `wav2lip` with made-up weights, in the official names and nestings."""

from __future__ import annotations

from pathlib import Path

import torch

from tests.retalk_home import made_up


def wav2lip_home(folder: Path) -> Path:
    """Write S3FD's and Wav2Lip's files into ``folder/models``; returns the folder."""
    models = folder / "models"
    models.mkdir(parents=True, exist_ok=True)
    torch.save(made_up("s3fd"), models / "s3fd-619a316812.pth")
    state = {f"module.{key}": value for key, value in made_up("wav2lip").items()}
    torch.save({"state_dict": state, "optimizer": None, "global_step": 7}, models / "wav2lip_gan.pth")
    return folder
