"""Evaluation of a training on held-out people: its losses, PSNR, SSIM, and of a sync expert how often it finds the offset."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from operators.evaluation.contact_sheet import stack, strip
from operators.evaluation.paired import ssim
from operators.storage.files import atomic_write
from pipelines.training.batches import Items, batches, planes
from pipelines.training.config import TrainingConfig
from pipelines.training.data.reader import ClipSet
from retalk_models.training.steps import Networks, training_step
from retalk_models.training.sync_expert import FRAMES, SyncExpert

#: Offsets that are tried, frames to either side.
REACH = 7
#: Windows of a clip that are looked at together.
WINDOWS = 12


def psnr(drawn: Tensor, real: Tensor) -> float:
    """Return the peak signal-to-noise ratio of pictures 0..1 in dB; 100 for equal ones."""
    error = float((drawn.clamp(0, 1) - real).square().mean())
    return 100.0 if error <= 1e-10 else float(-10 * np.log10(error))


def mean_ssim(drawn: Tensor, real: Tensor, most: int = 8) -> float:
    """Return the structural similarity (`operators.evaluation.paired.ssim`) of pictures float[n, 3, h, w] 0..1, a mean over the first
    ``most``.
    """
    pairs = zip(pictures_of(drawn[:most]), pictures_of(real[:most]), strict=True)
    return float(np.mean([ssim(one, other) for one, other in pairs]))


@torch.no_grad()
def offset_accuracy(
    expert: nn.Module, clips: ClipSet, device: str = "cpu", shuffled: bool = False, most: int = 64
) -> dict[str, float]:
    """Return how often an expert finds the offset of sound and picture.

    From each clip `WINDOWS` consecutive windows are compared with sound moved by -REACH ... REACH frames; the offset with
    the highest mean agreement is the expert's answer.

    Args:
        expert: `SyncExpert` in eval mode.
        clips: with the columns ``faces`` and ``mel``; shorter ones are passed over.
        device: where it runs.
        shuffled: sound of another clip, a control: what is left is chance.
        most: clips that are looked at.

    Returns:
        ``clips``, ``accuracy`` (offsets right to a frame) and ``chance``.
    """
    assert isinstance(expert, SyncExpert)
    need = WINDOWS + 2 * REACH + FRAMES - 1
    found, numbers = [], [n for n in range(len(clips)) if clips.frames[n] >= need][:most]
    for place, number in enumerate(numbers):
        other = numbers[(place + max(1, len(numbers) // 2)) % len(numbers)] if shuffled else number
        seen = planes(clips.read(number, REACH, WINDOWS + FRAMES - 1)["faces"])
        windows = np.stack([seen[k : k + FRAMES] for k in range(WINDOWS)])
        heard = clips.read(other, 0, WINDOWS + 2 * REACH)["mel_chunks"][:, None]
        faces = expert.faces(torch.from_numpy(windows).to(device))
        sound = expert.sound(torch.from_numpy(heard).to(device))
        scores = [float((faces * sound[k : k + WINDOWS]).sum(1).mean()) for k in range(2 * REACH + 1)]
        found.append(int(np.argmax(scores)) - REACH)
    right = float(np.mean(np.abs(found) <= 1)) if found else 0.0
    return {"clips": len(found), "accuracy": right, "chance": 3 / (2 * REACH + 1)}


@torch.no_grad()
def measured(
    networks: Networks, items: Items, config: TrainingConfig, step: int, sync_on: bool, device: str
) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Return means over held-out items, and the pictures of the first batch.

    Args:
        networks: generator in eval mode; the critic is put into it for the time.
        items: held out.
        config: batch, kind and number of batches count.
        step: decides D-Net's phase.
        sync_on: the lip-sync loss is part of ``loss``.
        device: of the networks.

    Returns:
        Means of ``loss``, of its parts and, where pictures are drawn, of ``psnr`` in dB and ``ssim``; for the sync expert
        ``offset_accuracy``.
    """
    sums: dict[str, float] = {}
    pictures: dict[str, Tensor] = {}
    stream, critic = batches(items, config, 0), networks.critic
    trained_mode = critic is not None and critic.training
    if critic is not None:
        critic.eval()
    for number in range(config.evaluate_batches):
        batch = {key: value.to(device) for key, value in next(stream).items()}
        result = training_step(config.kind, networks, batch, config.loss_weights, step, sync_on=sync_on)
        found = {
            "loss": float(result.generator),
            **{name: float(value) for name, value in result.parts.items()},
        }
        for name in ("drawn", "warped"):
            if name in result.pictures:
                found["psnr"] = psnr(result.pictures[name], result.pictures["target"])
                found["ssim"] = mean_ssim(result.pictures[name], result.pictures["target"])
                break
        for name, value in found.items():
            sums[name] = sums.get(name, 0.0) + value / config.evaluate_batches
        if number == 0:
            pictures = result.pictures
    if critic is not None:
        critic.train(trained_mode)
    if config.kind == "sync":
        sums["offset_accuracy"] = offset_accuracy(networks.generator, items.clips, device)["accuracy"]
    return sums, pictures


def write_sheet(pictures: dict[str, Tensor], url: str) -> None:
    """Write `sheet` as JPEG."""
    with atomic_write(url) as path:
        path.write_bytes(cv2.imencode(".jpg", sheet(pictures)[..., ::-1])[1].tobytes())


def sheet(pictures: dict[str, Tensor], most: int = 4) -> np.ndarray:
    """Return a picture uint8[h, w, 3] RGB: a row for each item, its pictures side by side."""
    columns = [pictures_of(row[:most]) for row in pictures.values()]
    height = columns[0].shape[1]
    return stack([strip([column[n] for column in columns], height) for n in range(len(columns[0]))])


def pictures_of(pictures: Tensor) -> np.ndarray:
    """float[n, 3, h, w] 0..1 -> uint8[n, h, w, 3]."""
    made: np.ndarray = (pictures.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    return made
