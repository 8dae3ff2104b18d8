"""Frames in memory with a made-up face that moves, and what the stages before D-Net would have found in them."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.gpu.settings import Settings
from operators.media.tensor_frames import PlanarFrames
from operators.numeric import tensor_pictures as pictures
from operators.retalk.geometry import SQUARE
from operators.retalk.tensor_chain import Batch, TensorChain

#: Different frames that are held; a run goes through them again and again.
HELD = 48


def landmarks() -> Tensor:
    """float64[68, 2]: a face in a box of 1 x 1."""
    points = torch.zeros(68, 2, dtype=torch.float64)
    jaw = torch.linspace(math.pi, 0, 17, dtype=torch.float64)
    points[:17] = torch.stack([0.5 + 0.43 * jaw.cos(), 0.39 + 0.52 * jaw.sin()], 1)
    points[17:27] = torch.stack([torch.linspace(0.16, 0.84, 10), torch.full((10,), 0.25)], 1)
    points[27:36] = torch.stack([torch.full((9,), 0.5), torch.linspace(0.35, 0.58, 9)], 1)
    around = torch.linspace(0, 2 * math.pi, 7, dtype=torch.float64)[:6]
    for first, x in ((36, 0.33), (42, 0.67)):
        points[first : first + 6] = torch.stack([x + 0.06 * around.cos(), 0.37 + 0.03 * around.sin()], 1)
    around = torch.linspace(0, 2 * math.pi, 21, dtype=torch.float64)[:20]
    points[48:] = torch.stack([0.5 + 0.13 * around.cos(), 0.70 + 0.05 * around.sin()], 1)
    return points


def smooth(
    generator: torch.Generator, count: int, height: int, width: int, low: float, high: float
) -> Tensor:
    """uint8[count, height, width], smooth pictures with some grain."""
    grid = torch.rand(count, 1, height // 24 + 2, width // 24 + 2, generator=generator)
    large = F.interpolate(grid, (height, width), mode="bilinear")[:, 0] * (high - low) + low
    return (large + 3 * torch.randn(height, width, generator=generator)).round().clamp(0, 255).to(torch.uint8)


def scene(settings: Settings, count: int) -> Batch:
    """Inputs of ``count`` frames on the CPU, the same every time."""
    generator = torch.Generator().manual_seed(5)
    width, height = settings.size
    luma = smooth(generator, count, height, width, 30, 220)
    chroma = smooth(generator, count, height // 2, width, 100, 160)
    time = torch.arange(count, dtype=torch.float64)
    # The face box is seven eighths of the part that is blended, the head's crop nine tenths of what is cut out.
    face = (0.875 * settings.box + 0.02 * settings.box * (time / 9).sin()).round()
    head = (0.9 * settings.side).__floor__()
    x = (width - settings.side) / 2 + settings.side / 2 + 0.04 * settings.side * (time / 11).sin()
    y = (height - settings.side) / 2 + settings.side / 2 + 0.01 * settings.side * (time / 7).cos()
    low = torch.stack([(x - face / 2).round(), (y - face / 2).round()], 1)
    face_boxes = torch.cat([low, low + face[:, None]], 1)
    middle = torch.stack([x, y], 1).round()
    crop_boxes = torch.cat([middle - head // 2, middle + head // 2], 1)
    corners = (middle - settings.side // 2).long().flip(1)
    limits = torch.tensor([height - settings.side, width - settings.side])
    corners = torch.minimum(corners.clamp(min=0), limits) // 2 * 2
    points = low[:, None] + landmarks() * face[:, None, None]
    # Onto the aligned square as eyes and mouth lie there.
    scale = 0.9 * SQUARE / settings.geometry.side
    shift = 0.05 * SQUARE
    square = torch.tensor([[scale, 0, shift], [0, scale, shift]], dtype=torch.float64)
    return Batch(
        torch.cat([luma, chroma], 1),
        corners,
        crop_boxes,
        face_boxes,
        points,
        square.expand(count, 2, 3).contiguous(),
        0.3 * torch.randn(count, 73, 26, generator=generator),
        torch.randn(count, 80, 16, generator=generator),
        torch.ones(count),
    )


def batches(source: Batch, size: int, count: int) -> list[Batch]:
    """``count`` batches of ``size`` frames, one after the other through the source and from its start again."""
    total = len(source.frames)
    order = [torch.arange(k * size, (k + 1) * size) % total for k in range(count)]
    return [source.mapped(lambda x, index=index: x[index]) for index in order]  # type: ignore[misc]


def make_chain(networks: dict[str, nn.Module], settings: Settings, device: torch.device) -> TensorChain:
    """The chain for the scene."""
    width, height = settings.size
    frames = PlanarFrames(height, width, device=device)
    return TensorChain(networks, frames, settings.side, settings.box, settings.geometry)


def mouths(frames: Tensor, batch: Batch, settings: Settings) -> Tensor:
    """RGB of the lower half of each face, float32[n, 3, box / 2, box], on the CPU."""
    width, height = settings.size
    planar = PlanarFrames(height, width)
    part = planar.part(frames.cpu(), batch.corners, settings.side)
    corner = batch.face_boxes[:, :2].flip(1).long() - batch.corners
    corner[:, 0] += settings.box // 2
    return pictures.moved(planar.rgb(part), corner, (settings.box // 2, settings.box))


def psnr(ours: Tensor, theirs: Tensor) -> float:
    """dB, peak 255; 100 where the two are equal."""
    error = float((ours.double() - theirs.double()).square().mean())
    return min(100.0, 10 * math.log10(255**2 / max(error, 1e-10)))
