"""From a golden file's arrays to a network's call and back: one adapter a network (README of
../shared/parity, sections 3 and 4).
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tests.parity import stride
from tests.weight_recipe import generator

Arrays = dict[str, np.ndarray]
#: Strides over (channels, height, width) or (height, width) where they are not those of the name's suffix on
#: the last two axes.
STEPS: dict[str, tuple[int, ...]] = {
    "lnet/mid_enc0_s8": (8, 8, 8),
    "lnet/mid_enc1_s8": (8, 8, 8),
    "lnet/mid_enc2_s8": (8, 4, 4),
    "lnet/mid_enc_last_s8": (8, 2, 2),
    "lnet/mid_first_ref_s8": (8, 8, 8),
    "lnet/mid_ca2_s8": (8, 2, 2),
    "lnet/mid_res2_res0_ffc_local_s8": (8, 2, 2),
    "lnet/mid_res2_res0_ffc_global_s8": (8, 2, 2),
    "lnet/mid_res2_res0_s8": (8, 2, 2),
    "lnet/mid_res2_s8": (8, 2, 2),
    "lnet/mid_up2_s8": (8, 4, 4),
    "lnet/mid_res0_s8": (8, 8, 8),
    "dnet/mid_hourglass_s8": (8, 4, 4),
    "dnet/mid_edit_enc_last_s8": (8, 4, 4),
    "face3d/mid_layer1_s8": (16, 4, 4),
    "gfpgan/mid_scale3_s8": (8, 4, 4),
    "gfpgan/mid_torgb3_s4": (2, 2),
    "gpen/mid_ecd3_s16": (16, 4, 4),
    "parsenet/mid_encoder_s8": (16, 2, 2),
    "retinaface/mid_fpn0_s8": (8, 2, 2),
    "retinaface/mid_ssh1_s8": (8, 2, 2),
    "wav2lip/mid_face_enc4_s8": (8, 1, 1),
    "ganimation/mid_embed_s8": (8, 4, 4),
    "fan/out_first_s4": (4, 4, 4),
}
#: Windows of the ``_crop`` arrays.
CROPS = {"enet": slice(160, 224), "gfpgan": slice(224, 288), "gpen": slice(224, 288)}


def matching(name: str, key: str, outputs: Arrays) -> np.ndarray:
    """The part of an adapter's outputs that a golden array shows.

    Raises:
        KeyError: the golden holds an array that the adapter does not know.
    """
    if key in outputs:
        return outputs[key]
    if key.endswith("_crop"):
        return outputs[key.removesuffix("_crop")][..., CROPS[name], CROPS[name]]
    if match := re.fullmatch(r"(.+)_s(\d+)", key):
        return stride(outputs[match[1]], STEPS.get(f"{name}/{key}", (int(match[2]),) * 2))
    raise KeyError(f"{name}: the adapter has no output for {key}")


def unit(pixels: np.ndarray) -> Tensor:
    """uint8 -> 0..1."""
    return torch.from_numpy(pixels.astype(np.float32) / np.float32(255))


def signed(pixels: np.ndarray) -> Tensor:
    """uint8 -> -1..1."""
    return torch.from_numpy((pixels.astype(np.float32) / np.float32(255) - np.float32(0.5)) / np.float32(0.5))


def centred(pixels: np.ndarray) -> Tensor:
    """uint8 -> minus the means (104, 117, 123) of channels 0, 1, 2."""
    return torch.from_numpy(pixels.astype(np.float32) - np.array([104, 117, 123], np.float32)[:, None, None])


def pick(value: Any) -> Any:
    """A hook's output, copied: later layers may write into it."""
    if isinstance(value, Tensor):
        return value.float().numpy().copy()
    return [pick(item) for item in value]


@contextlib.contextmanager
def captured(module: nn.Module, **paths: str) -> Iterator[Arrays]:
    """Outputs of sub-modules during a call, under the given names."""
    seen: dict[str, Any] = {}

    def hook(name: str) -> Callable[..., None]:
        def keep(_module: nn.Module, _args: Any, output: Any) -> None:
            seen[name] = pick(output)

        return keep

    handles = [module.get_submodule(path).register_forward_hook(hook(name)) for name, path in paths.items()]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


@contextlib.contextmanager
def noise_strengths(module: nn.Module) -> Iterator[None]:
    """Noise strengths 0.1 * z of the recipe instead of zero: entries of one element called ``weight``."""
    strengths = {
        key: value
        for key, value in module.named_parameters()
        if value.shape == (1,) and key.endswith(".weight")
    }
    before = {key: value.data for key, value in strengths.items()}
    for key, value in strengths.items():
        value.data = torch.from_numpy((0.1 * generator(key).standard_normal((1,))).astype(np.float32))
    try:
        yield
    finally:
        for key, value in strengths.items():
            value.data = before[key]


def lnet(module: nn.Module, arrays: Arrays, mids: bool) -> Arrays:
    paths = {
        "mid_audio_embedding": "audio_encoder",
        "encoder": "encoder",
        "mid_first_ref": "encoder.first_ref",
        "mid_ca2": "encoder.ca2",
        "ffc": "decoder.res2.res0.conv1.ffc",
        "mid_res2_res0": "decoder.res2.res0",
        "mid_res2": "decoder.res2",
        "mid_up2": "decoder.up2",
        "mid_res0": "decoder.res0",
    }
    with captured(module, **paths if mids else {}) as seen:
        out = module(torch.from_numpy(arrays["in_mel"]), unit(arrays["in_faces_u8"])).numpy()
    if mids:
        seen["mid_audio_embedding"] = seen["mid_audio_embedding"].reshape(len(out), -1)
        names = ("mid_enc0", "mid_enc1", "mid_enc2", "mid_enc_last")
        seen |= dict(zip(names, seen.pop("encoder")))
        seen |= dict(zip(("mid_res2_res0_ffc_local", "mid_res2_res0_ffc_global"), seen.pop("ffc")))
    return {"out": out, **seen}


def enet(module: nn.Module, arrays: Arrays, mids: bool) -> Arrays:
    faces = unit(arrays["in_faces_u8"])
    with captured(
        module, **{"mid_style_code": "final_linear", "mid_rgb0": "to_rgbs.0"} if mids else {}
    ) as seen:
        out, low = module(torch.from_numpy(arrays["in_mel"]), faces)
    sizes = (200, 200, 400, 400)
    noises = [
        torch.from_numpy(generator(f"enet-noise-{i}").standard_normal((1, 1, s, s)).astype(np.float32))
        for i, s in enumerate(sizes)
    ]
    with noise_strengths(module):
        noisy = module.enhance(low[:1], faces[:1], noises)
    return {"out": out.numpy(), "out_low_res": low.numpy(), "out_noise": noisy.numpy(), **seen}


def dnet(module: nn.Module, arrays: Arrays, mids: bool) -> Arrays:
    paths = {
        "mid_descriptor": "mapping_net",
        "mid_hourglass": "warpping_net.hourglass",
        "encoder": "editing_net.encoder",
    }
    with captured(module, **paths if mids else {}) as seen:
        outputs = module(signed(arrays["in_image_u8"]), torch.from_numpy(arrays["in_coeff"]))
    if mids:
        seen["mid_descriptor"] = seen["mid_descriptor"][..., 0]
        seen["mid_edit_enc_last"] = seen.pop("encoder")[-1]
    fake = {f"out_fake_image_{i}": image.numpy() for i, image in enumerate(outputs["fake_image"])}
    return {
        "out_flow_field": outputs["flow_field"].numpy(),
        "out_warp_image": outputs["warp_image"].numpy(),
        **fake,
        **seen,
    }


def face3d(module: nn.Module, arrays: Arrays, mids: bool) -> Arrays:
    with captured(module, **{"mid_layer1": "backbone.layer1", "maps": "backbone"} if mids else {}) as seen:
        out = module(unit(arrays["in_image_u8"])).numpy()
    if mids:
        seen["mid_pooled"] = seen.pop("maps")[-1].mean(axis=(2, 3), dtype=np.float64)
    return {"out_coeff": out, **seen}


def gfpgan(module: nn.Module, arrays: Arrays, mids: bool) -> Arrays:
    image = signed(arrays["in_image_u8"])
    with noise_strengths(module):
        stored = module(image, return_rgb=not mids)
    if not mids:
        return {"out_storednoise": stored[0].numpy(), "out_unet_rgb_last": stored[1][-1].numpy()}
    paths = {
        "mid_style_code": "final_linear",
        "mid_scale3": "condition_scale.3",
        "mid_torgb3": "stylegan_decoder.to_rgbs.3",
    }
    with captured(module, **paths) as seen:
        out, pictures = module(image)
    return {
        "out": out.numpy(),
        "out_unet_rgb_last": pictures[-1].numpy(),
        "out_storednoise": stored[0].numpy(),
        **seen,
    }


def gpen(module: nn.Module, arrays: Arrays, mids: bool) -> Arrays:
    paths = {
        "mid_encoder_code": "final_linear",
        "mid_latent": "generator.style",
        "mid_ecd3": "ecd3",
        "mid_torgb2": "generator.to_rgbs.2",
    }
    with captured(module, **paths if mids else {}) as seen:
        out = module(signed(arrays["in_image_u8"]))[0].numpy()
    return {"out": out, **seen}


def parsenet(module: nn.Module, arrays: Arrays, mids: bool) -> Arrays:
    image = torch.from_numpy((arrays["in_image_u8"] / 255 * 2 - 1).astype(np.float32))
    with captured(module, **{"mid_encoder": "encoder"} if mids else {}) as seen:
        mask, picture = module(image)
    return {
        "out_mask_logits": mask.numpy(),
        "out_argmax": mask.argmax(1).byte().numpy(),
        "out_img": picture.numpy(),
        **seen,
    }


def retinaface(module: nn.Module, arrays: Arrays, mids: bool) -> Arrays:
    with captured(module, **{"fpn": "fpn", "mid_ssh1": "ssh1"} if mids else {}) as seen:
        loc, conf, landm = module(centred(arrays["in_bgr_u8"]))
    if mids:
        seen["mid_fpn0"] = seen.pop("fpn")[0]
    return {"out_loc": loc.numpy(), "out_conf": conf.numpy(), "out_landm": landm.numpy(), **seen}


def s3fd(module: nn.Module, arrays: Arrays, mids: bool) -> Arrays:
    del mids
    maps = [m.numpy() for m in module(centred(arrays["in_u8"]))]
    return {
        f"out_{kind}{i // 2 + 1}": maps[i + j]
        for i in range(0, 12, 2)
        for j, kind in enumerate(("cls", "reg"))
    }


def fan(module: nn.Module, arrays: Arrays, mids: bool) -> Arrays:
    del mids
    stacks = module(unit(arrays["in_image_u8"]))
    return {"out_first": stacks[0].numpy(), "out_last": stacks[-1].numpy()}


def ganimation(module: nn.Module, arrays: Arrays, mids: bool) -> Arrays:
    image = signed(arrays["in_image_u8"])
    colour, mask, embedding = module(image, torch.from_numpy(arrays["in_aus"]))
    fake = mask * image + (1 - mask) * colour
    outputs = {"out_color": colour.numpy(), "out_au_mask": mask.numpy(), "out_fake": fake.numpy()}
    return {**outputs, "mid_embed": embedding.float().numpy()} if mids else outputs


def syncnet(module: nn.Module, arrays: Arrays, mids: bool) -> Arrays:
    del mids
    lip = torch.from_numpy(arrays["in_lip_u8"].astype(np.float32))
    with captured(module, out_lipfeat="netcnnlip") as seen:
        out_lip = module.forward_lip(lip).numpy()
    return {
        "out_lip": out_lip,
        "out_lipfeat": seen["out_lipfeat"].reshape(len(out_lip), -1),
        "out_aud": module.forward_aud(torch.from_numpy(arrays["in_mfcc"])).numpy(),
    }


def inception(module: nn.Module, arrays: Arrays, mids: bool) -> Arrays:
    del mids
    return {"out": module(unit(arrays["in_image_u8"])).numpy()}


def lpips(module: nn.Module, arrays: Arrays, mids: bool) -> Arrays:
    del mids
    return {"out": module(unit(arrays["in_first_u8"]), unit(arrays["in_second_u8"])).numpy()}


def wav2lip(module: nn.Module, arrays: Arrays, mids: bool) -> Arrays:
    paths = {"mid_audio_embedding": "audio_encoder", "mid_face_enc4": "face_encoder_blocks.4"}
    with captured(module, **paths if mids else {}) as seen:
        out = module(torch.from_numpy(arrays["in_mel"]), unit(arrays["in_faces_u8"])).numpy()
    if mids:
        seen["mid_audio_embedding"] = seen["mid_audio_embedding"].reshape(len(out), -1)
    return {"out": out, **seen}


ADAPTERS = (
    dnet,
    lnet,
    enet,
    face3d,
    gfpgan,
    gpen,
    parsenet,
    retinaface,
    s3fd,
    fan,
    ganimation,
    syncnet,
    inception,
    lpips,
    wav2lip,
)


def run(name: str, module: nn.Module, arrays: Arrays, *, mids: bool = False) -> Arrays:
    """Call a network on the inputs of a golden file.

    Args:
        name: the network.
        module: it, in exact or fast form.
        arrays: what the golden file holds; only ``in_*`` are read.
        mids: also the ``mid_*`` arrays, which exist in the exact form only.

    Returns:
        Whole arrays under the golden's names without their stride or crop suffix.
    """
    adapter = {function.__name__: function for function in ADAPTERS}[name]
    with torch.inference_mode():
        return adapter(module, arrays, mids)
