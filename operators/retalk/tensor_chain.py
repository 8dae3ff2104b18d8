"""The default mode from D-Net to the blended frame on one device, without a copy to the host in between.

The stages do the same with OpenCV between the networks; this is the form for a GPU: a micro-batch of frames goes
up, finished frames come back, shapes are static, and nothing waits for the device, so that the whole of it can be
captured in a CUDA graph. Results equal the stages' within one grey level where the networks' do
(`tests/operators/retalk/test_tensor_chain.py`). The stage "enet" runs its part of it on a GPU. Imports torch and numpy
only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from operators.media.tensor_frames import Part, PlanarFrames
from operators.numeric import tensor_pictures as pictures
from operators.retalk.geometry import FACE_LABELS, GREY, MOUTH_LABELS, SQUARE, Geometry

#: Networks of the chain, in the order in which they are called.
NETWORKS = ("dnet", "enet", "lnet", "gfpgan", "parsenet")
#: Steps of the chain, in order.
STEPS = ("cut", "dnet", "identity", "lnet", "enet", "restore", "parse", "mask", "blend")
DEFAULT = Geometry()


@dataclasses.dataclass
class Batch:
    """Inputs of n frames; tensors on the host or on the device.

    Attributes:
        frames: uint8[n, 3 h / 2, w] (`PlanarFrames`).
        corners: int64[n, 2], even: the part of the frame that holds crop and face, inside the picture.
        crop_boxes: float64[n, 4], the head, pixels of the frame.
        face_boxes: float64[n, 4], the face, inside the picture, whole numbers.
        landmarks: float64[n, 68, 2], pixels of the frame.
        squares: float64[n, 2, 3], maps from the face box into the aligned square.
        windows: float32[n, 73, 26], D-Net's coefficients.
        mel: float32[n, 80, 16], what is heard.
        strength: float32[n], 0 ... 1.
    """

    frames: Tensor
    corners: Tensor
    crop_boxes: Tensor
    face_boxes: Tensor
    landmarks: Tensor
    squares: Tensor
    windows: Tensor
    mel: Tensor
    strength: Tensor

    def tensors(self) -> dict[str, Tensor]:
        """All of them by name."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def mapped(self, function: Callable[[Tensor], Tensor]) -> Batch:
        """The same with a function applied to each tensor."""
        return Batch(**{name: function(value) for name, value in self.tensors().items()})


class Places(Protocol):
    """Where faces lie; `Batch` has these tensors, and so has `FacePlaces`."""

    crop_boxes: Tensor
    face_boxes: Tensor
    landmarks: Tensor
    squares: Tensor


@dataclasses.dataclass
class FacePlaces:
    """`Places` alone; see `Batch`."""

    crop_boxes: Tensor
    face_boxes: Tensor
    landmarks: Tensor
    squares: Tensor


class TensorFaces:
    """The steps on pictures of faces, on one device.

    Args:
        networks: those of `NETWORKS` that are asked, on the device, in any form of `retalk_models.inference.optimize`.
        device: torch device.
        geometry: sizes.
    """

    def __init__(
        self, networks: Mapping[str, nn.Module], device: torch.device, geometry: Geometry = DEFAULT
    ) -> None:
        self.networks: Mapping[str, Any] = networks
        self.geometry = geometry
        self._grey = torch.tensor(GREY, dtype=torch.float32).to(device)
        face, mouth = torch.zeros(256), torch.zeros(256)
        face[list(FACE_LABELS)] = mouth[list(MOUTH_LABELS)] = 1
        self._face, self._mouth = face.to(device), mouth.to(device)
        low, high = geometry.rise
        rows = torch.arange(geometry.side, dtype=torch.float32)
        self._ramp = pictures.smoothstep((rows - low) / (high - low))[:, None].to(device)

    def lnet(self, faces: Tensor, reference: Tensor, mel: Tensor) -> Tensor:
        """Speaking faces [n, 3, lips, lips] RGB 0 ... 1."""
        hidden = faces.clone()
        hidden[:, :, hidden.shape[2] // 2 :] = 0
        size = (self.geometry.lips,) * 2
        pair = [
            _swapped(F.interpolate(x / 255, size, mode="bilinear", align_corners=False))
            for x in (hidden, reference)
        ]
        return _swapped(self.networks["lnet"](mel[:, None], torch.cat(pair, 1)).float())

    def enet(self, faces: Tensor, lips: Tensor, identity: Tensor) -> Tensor:
        """Faces [n, 3, side, side] with the lower half drawn."""
        top = self.geometry.rise[0]
        lower = _swapped(self.networks["enet"].draw(_swapped(lips), identity, top=top).float())
        rise = self._ramp[top:]
        mixed = rise * lower.clamp(0, 1) * 255 + (1 - rise) * faces[:, :, top:]
        return torch.cat([faces[:, :, :top], mixed.round()], 2)

    def in_context(self, faces: Tensor, crops: Tensor, places: Places) -> Tensor:
        """Aligned faces [n, 3, 512, 512] for the restoring network, with the frame's crop around them."""
        around = pictures.compose(
            pictures.into_box(places.face_boxes, self.geometry.side),
            pictures.invert(pictures.into_box(places.crop_boxes, self.geometry.crop)),
        )
        size = (SQUARE, SQUARE)
        canvas = pictures.warp(crops, pictures.compose(places.squares, around), size, self._grey)
        return pictures.warp(faces, places.squares, size, onto=canvas).round()

    def restore(self, aligned: Tensor) -> Tensor:
        """The same with the mouth restored."""
        region = self.geometry.mouth
        made = self.networks["gfpgan"]((aligned / 255 - 0.5) / 0.5, return_rgb=False, region=region)[0]
        result = aligned.clone()
        result[:, :, region.top : region.bottom, region.left : region.right] = (
            (made.float().clamp(-1, 1) + 1) / 2 * 255
        ).round()
        return result

    def parse(self, aligned: Tensor) -> Tensor:
        """The parser's labels int64[n, 1, 512, 512], 0 outside what it is shown."""
        region = self.geometry.parsed
        shown = region.of(aligned) / 255 * 2 - 1
        labels = torch.zeros_like(aligned[:, :1], dtype=torch.int64)
        labels[:, 0, region.top : region.bottom, region.left : region.right] = (
            self.networks["parsenet"].logits(shown).argmax(1)
        )
        return labels

    def mask(self, faces: Tensor, restored: Tensor, labels: Tensor, places: Places) -> tuple[Tensor, Tensor]:
        """Faces [n, 3, side, side] with the restored mouth, and the mask [n, 1, side, side] in 0 ... 255 of what is
        pasted.
        """
        geometry, back = self.geometry, pictures.invert(places.squares)
        size = (geometry.side, geometry.side)
        region, fade = geometry.mouth, geometry.fade
        mouth = torch.zeros_like(restored[:, :1])
        rows, columns = (
            slice(region.top + fade, region.bottom - fade),
            slice(region.left + fade, region.right - fade),
        )
        mouth[..., rows, columns] = self._mouth[labels[..., rows, columns]]
        weight = pictures.warp(pictures.gaussian_blur(mouth, fade, fade / 3), back, size) * self._ramp
        shown = pictures.warp(restored, back, size).round()
        faces = (weight * shown + (1 - weight) * faces).round()
        skin = pictures.warp(self._face[labels], back, size)
        points = pictures.apply(pictures.into_box(places.face_boxes, geometry.side), places.landmarks)
        return faces, self.outline(skin, points)

    def outline(self, skin: Tensor, points: Tensor) -> Tensor:
        """`operators.retalk.enet_stage.outline` of what the parser calls face, [n, 1, side, side] in 0 ... 1, and of
        landmarks in the face box, float64[n, 68, 2].
        """
        geometry = self.geometry
        jaw = torch.cat([points[:, 0:17], points[:, 17:27].flip(1)], 1)
        inside = pictures.polygons(jaw, (geometry.side, geometry.side))
        near = pictures.dilated(inside, geometry.near)
        whole = (torch.maximum(inside.float(), skin * near) > 0.5)[..., 1:-1, 1:-1]
        whole = F.pad(whole.to(torch.uint8), (1, 1, 1, 1)) > 0
        soft = pictures.smoothstep(pictures.distance(whole, geometry.feather) / max(geometry.feather, 1e-3))
        return (soft * self._ramp * 255).round()


class TensorChain(TensorFaces):
    """The chain on one device.

    Args:
        networks: `NETWORKS`, as in `TensorFaces`.
        frames: format of the frames, on the device.
        side: of the part of the frame around the head, even.
        box: side of the part that is blended, at least the longer side of the largest face box and a multiple of
            2 ** (levels - 1).
        geometry: sizes.
    """

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        frames: PlanarFrames,
        side: int,
        box: int,
        geometry: Geometry = DEFAULT,
    ) -> None:
        assert side % 2 == 0
        assert box % (1 << (geometry.levels - 1)) == 0
        super().__init__(networks, frames.to_rgb.device, geometry)
        self.frames, self.side, self.box = frames, side, box

    def __call__(self, batch: Batch, mark: Callable[[str], None] | None = None) -> Tensor:
        """Frames with the drawn faces, uint8[n, 3 h / 2, w].

        Args:
            batch: on the device; its frames are drawn into.
            mark: called with the name of each step once it has been issued.
        """
        done = mark or (lambda step: None)
        with torch.no_grad():
            part = self.frames.part(batch.frames, batch.corners, self.side)
            rgb, crops, faces, local = self.cut(batch, part)
            done("cut")
            reference = self.dnet(crops, batch, local)
            done("dnet")
            identity = self.networks["enet"].style_code(_swapped(reference / 255)).float()
            done("identity")
            lips = self.lnet(faces, reference, batch.mel)
            done("lnet")
            drawn = self.enet(faces, lips, identity)
            done("enet")
            aligned = self.in_context(drawn, crops, batch)
            restored = self.restore(aligned)
            done("restore")
            labels = self.parse(restored)
            done("parse")
            face, mask = self.mask(drawn, restored, labels, batch)
            done("mask")
            self.blend(batch, part, rgb, local, face, mask)
            done("blend")
        return batch.frames

    # --- steps ----------------------------------------------------------------------------------------------
    def cut(self, batch: Batch, part: Part) -> tuple[Tensor, Tensor, Tensor, Batch]:
        """RGB of the part [n, 3, side, side], the head [n, 3, crop, crop], the face [n, 3, 4 lips, 4 lips], and the
        batch with boxes in pixels of the part.
        """
        rgb = self.frames.rgb(part)
        corner = batch.corners.flip(1).to(batch.face_boxes.dtype)
        shift = torch.cat([corner, corner], 1)
        local = dataclasses.replace(
            batch, crop_boxes=batch.crop_boxes - shift, face_boxes=batch.face_boxes - shift
        )
        size = self.geometry.crop
        crops = pictures.resize(rgb, local.crop_boxes, (size, size))
        side = self.geometry.side
        return rgb, crops, pictures.resize(rgb, local.face_boxes, (side, side)), local

    def dnet(self, crops: Tensor, batch: Batch, local: Batch) -> Tensor:
        """The face with a steady expression [n, 3, reference, reference], as L-Net and E-Net are shown it."""
        edited = self.networks["dnet"]((crops / 255 - 0.5) / 0.5, batch.windows)["fake_image"]
        edited = ((edited.float().clamp(-1, 1) + 1) / 2 * 255).floor()
        size = self.geometry.reference
        into = pictures.compose(
            pictures.into_box(local.face_boxes, size),
            pictures.invert(pictures.into_box(local.crop_boxes, self.geometry.crop)),
        )
        return pictures.warp(edited, into, (size, size), None).round()

    def blend(self, batch: Batch, part: Part, rgb: Tensor, local: Batch, face: Tensor, mask: Tensor) -> None:
        """`operators.retalk.blend_stage.composite`, and paste into the frames."""
        side, box = self.geometry.side, (self.box, self.box)
        whole = local.face_boxes.new_zeros(local.face_boxes.shape)
        whole[:, 2:] = side
        size = local.face_boxes[:, 2:] - local.face_boxes[:, :2]
        into = torch.cat([torch.zeros_like(size), size], 1)
        corner = local.face_boxes[:, :2].flip(1).long()
        own = pictures.moved(rgb, corner, box)
        weight = pictures.resize(mask, whole, box, into) / 255
        x, y = (torch.arange(self.box, device=rgb.device, dtype=size.dtype) for _ in range(2))
        inside = (x[None, None] < size[:, :1, None]) & (y[None, :, None] < size[:, 1:, None])
        new = torch.where(inside[:, None], pictures.resize(face, whole, box, into), own)
        mixed = pictures.blend(new, own, weight, self.geometry.levels).round().clamp(0, 255)
        alpha = (2 * weight).clamp(0, 1) * batch.strength[:, None, None, None]
        # Back to the part, whose corner is even; alpha is 0 outside the box.
        alpha = F.pad(alpha, (1, 1, 1, 1))
        square = (self.side, self.side)
        self.frames.paste(
            batch.frames,
            part,
            pictures.moved(mixed, -corner, square),
            pictures.moved(alpha, 1 - corner, square),
        )


def _swapped(channels: Tensor) -> Tensor:
    """Red and blue exchanged, [n, 3, h, w]: L-Net and E-Net expect BGR (`operators.retalk.nets`)."""
    return channels.flip(1)
