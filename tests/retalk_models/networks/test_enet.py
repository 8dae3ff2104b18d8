"""E-Net as two stages."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from retalk_models import build
from tests.parity import assert_close
from tests.retalk_models.adapters import unit
from tests.retalk_models.digest_inputs import inputs
from tests.retalk_models.recipe import Subject


@pytest.mark.parametrize("subject", ["enet"], indirect=True)
def test_two_stages_equal_the_whole(subject: Subject) -> None:
    """L-Net alone and an E-Net without L-Net give what the whole network gives."""
    arrays = inputs("enet")
    mel, faces = torch.from_numpy(arrays["in_mel"]), unit(arrays["in_faces_u8"])
    own = build("enet", low_res=False)
    assert not hasattr(own, "low_res")
    own.load_state_dict(
        {key: value for key, value in subject.weights.items() if not key.startswith("low_res.")},
        strict=True,
        assign=True,
    )
    with torch.inference_mode():
        low = subject.module.lowres(mel, faces)
        image = own.enhance(low, faces)
        lower = own.enhance(low, faces, top=160)
    assert_close("low", low.numpy(), subject.outputs["out_low_res"], 1e-6)
    assert_close("image", image.numpy(), subject.outputs["out"], 1e-6)
    assert_close("lower part", lower.numpy(), subject.outputs["out"][:, :, 160:], 1e-5)


@pytest.mark.parametrize("subject", ["enet"], indirect=True)
def test_lnets_reference_may_be_another_picture(subject: Subject) -> None:
    arrays = inputs("enet")
    mel, faces = torch.from_numpy(arrays["in_mel"]), unit(arrays["in_faces_u8"])
    with torch.inference_mode():
        same = subject.module.lowres(mel, faces, faces[:, 3:]).numpy()
        other = subject.module.lowres(mel, faces, faces[:, 3:].flip(-1)).numpy()
    assert_close("same", same, subject.outputs["out_low_res"], 1e-6)
    assert np.abs(other - same).max() > 0.01
