"""L-Net on clips."""

from __future__ import annotations

import pytest
import torch

from tests.parity import assert_close
from tests.retalk_models.adapters import unit
from tests.retalk_models.digest_inputs import inputs
from tests.retalk_models.recipe import Subject


@pytest.mark.parametrize("subject", ["lnet"], indirect=True)
def test_clips_equal_their_frames(subject: Subject) -> None:
    arrays = inputs("lnet")
    mel, faces = (
        torch.from_numpy(arrays["in_mel"]),
        unit(arrays["in_faces_u8"]),
    )  # two samples, made the two frames of one clip
    with torch.inference_mode():
        clip = subject.module(mel[None], faces.transpose(0, 1)[None])
    assert clip.shape == (1, 3, 2, 32, 32)
    assert_close("clip", clip[0].transpose(0, 1).numpy(), subject.outputs["out"], 1e-5)
