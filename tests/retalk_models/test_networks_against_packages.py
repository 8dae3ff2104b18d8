"""Networks against what other packages ship of them, with the same weights: a second opinion that needs no
recorded data.
"""

from __future__ import annotations

import pytest
import torch
from face_alignment.detection.sfd.net_s3fd import s3fd
from face_alignment.models import FAN

from tests.parity import assert_close
from tests.retalk_models.adapters import centred, signed, unit
from tests.retalk_models.digest_inputs import inputs
from tests.retalk_models.recipe import Subject


@pytest.mark.parametrize("subject", ["s3fd"], indirect=True)
def test_s3fd_equals_face_alignments(subject: Subject) -> None:
    reference = s3fd().eval()
    reference.load_state_dict(subject.weights, strict=True)
    x = centred(inputs("s3fd")["in_u8"])
    with torch.inference_mode():
        for i, (ours, theirs) in enumerate(zip(subject.module(x), reference(x), strict=True)):
            assert_close(f"map {i}", ours.numpy(), theirs.numpy(), 1e-5)


@pytest.mark.parametrize("subject", ["fan"], indirect=True)
def test_fan_equals_face_alignments(subject: Subject) -> None:
    reference = FAN(num_modules=4).eval()
    reference.load_state_dict(subject.weights, strict=True)
    image = unit(inputs("fan")["in_image_u8"])
    with torch.inference_mode():
        for i, (ours, theirs) in enumerate(zip(subject.module(image), reference(image), strict=True)):
            assert_close(f"stack {i}", ours.numpy(), theirs.numpy(), 1e-5)


@pytest.mark.parametrize("subject", ["gfpgan"], indirect=True)
def test_gfpgan_equals_the_optional_package(subject: Subject) -> None:
    """The extra ``gfpgan``. Beside torchvision 0.17 and later it cannot be imported, and there is nothing to
    hold against.
    """
    clean = pytest.importorskip(
        "gfpgan.archs.gfpganv1_clean_arch",
        reason="the extra gfpgan is absent or broken",
        exc_type=ImportError,
    )
    reference = clean.GFPGANv1Clean(
        out_size=512,
        num_style_feat=512,
        channel_multiplier=2,
        fix_decoder=False,
        input_is_latent=True,
        different_w=True,
        sft_half=True,
    ).eval()
    reference.load_state_dict(subject.weights, strict=True)
    image = signed(inputs("gfpgan")["in_image_u8"])
    with torch.inference_mode():
        theirs, their_pictures = reference(image, return_rgb=True, randomize_noise=False)
        ours, our_pictures = subject.module(image)
    assert_close("image", ours.numpy(), theirs.numpy())
    for i, (a, b) in enumerate(zip(our_pictures, their_pictures, strict=True)):
        assert_close(f"picture {i}", a.numpy(), b.numpy())
