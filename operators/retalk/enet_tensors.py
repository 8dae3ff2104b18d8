"""The stage "enet" on a GPU: from L-Net's small faces to restored ones with their masks without coming back to the host
in between.

Equal to the stage's own way, which has OpenCV between the networks, within two grey levels
(`tests/operators/retalk/test_tensor_chain.py`). Not run on a GPU yet.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor, nn

from operators.numeric import affine
from operators.retalk import framing, restore
from operators.retalk.align3d import five_points
from operators.retalk.geometry import SIDE, Geometry
from operators.retalk.model_files import RESTORATIONS
from operators.retalk.nets import Networks
from operators.retalk.tensor_chain import FacePlaces, TensorFaces


def drawn_faces(
    networks: Networks,
    own: np.ndarray,
    lips: np.ndarray,
    identity: np.ndarray,
    crops: np.ndarray,
    face_boxes: np.ndarray,
    crop_boxes: np.ndarray,
    landmarks: np.ndarray,
    restoration: str,
    feather: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Faces and masks of output frames, with the options of the default mode.

    Args:
        networks: on the device.
        own: uint8[n, 384, 384, 3], the frames' faces.
        lips: float32[n, 96, 96, 3], L-Net's.
        identity: float32[n, 512], E-Net's code.
        crops: uint8[n, 256, 256, 3], the heads.
        face_boxes: int64[n, 4].
        crop_boxes: int64[n, 4].
        landmarks: float32[n, 68, 2], pixels of the frame.
        restoration: a GFPGAN of `RESTORATIONS`.
        feather: as `ENetOptions.feather`.

    Returns:
        uint8[n, 384, 384, 3] and uint8[n, 384, 384].
    """
    modules_of(networks, restoration)  # the row's notes are about the networks that it asks
    faces_on = tensor_faces(networks, restoration, feather)
    inside = [
        affine.apply(framing.into_box(box, SIDE), points.astype(np.float64))
        for box, points in zip(face_boxes, landmarks, strict=True)
    ]
    squares = np.stack([restore.alignment(five_points(points)) for points in inside])

    def draw(
        own: Tensor,
        lips: Tensor,
        identity: Tensor,
        crops: Tensor,
        boxes: Tensor,
        heads: Tensor,
        *rest: Tensor,
    ) -> Tensor:
        places = FacePlaces(heads, boxes, *rest)
        planes = [x.permute(0, 3, 1, 2).float().contiguous() for x in (own, lips, crops)]
        drawn = faces_on.enet(planes[0], planes[1], identity)
        restored = faces_on.restore(faces_on.in_context(drawn, planes[2], places))
        face, mask = faces_on.mask(drawn, restored, faces_on.parse(restored), places)
        return torch.cat([face, mask], 1).clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)

    boxes = (face_boxes, crop_boxes, landmarks, squares)
    places = (x.astype(np.float64) for x in boxes)
    made = networks.run(draw, own, lips, identity, crops, *places, kind=("drawn faces", restoration, feather))
    return np.ascontiguousarray(made[..., :3]), np.ascontiguousarray(made[..., 3])


def modules_of(networks: Networks, restoration: str) -> dict[str, nn.Module]:
    """The networks that are asked."""
    name, file = RESTORATIONS[restoration]
    return {
        "enet": networks.module("enet", low_res=False),
        "gfpgan": networks.module(name, file=file),
        "parsenet": networks.module("parsenet"),
    }


@functools.lru_cache(maxsize=4)
def tensor_faces(networks: Networks, restoration: str, feather: float) -> TensorFaces:
    """The steps with their constants on the device: those are copied there once, not for each batch."""
    device = torch.device(networks.compute.device)
    return TensorFaces(modules_of(networks, restoration), device, Geometry(feather=feather))
