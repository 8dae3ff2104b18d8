"""The networks in the original's order, batch sizes and repetitions: the baseline of the chain.

As in `benchmarks.reference_loop`, with what lies between the networks left out, which the original does on the CPU:
this loop is faster than the original. Networks in the exact form, with torch's default of TF32 in convolutions, each
picture sent to the device and each result fetched before the next call.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.gpu.device import synchronise
from benchmarks.gpu.settings import Settings
from operators.retalk.geometry import SQUARE

#: Frames that L-Net and E-Net are given at a time.
BATCH = 16
#: Networks of each step.
NEEDED = {
    "landmarks": ("s3fd", "fan"),
    "coefficients": ("face3d",),
    "dnet": ("dnet",),
    "enhance": ("retinaface", "gpen", "parsenet"),
    "box": ("s3fd",),
    "lips": ("lnet",),
    "face": ("enet",),
    "points": ("retinaface",),
    "restore": ("gfpgan",),
    "labels": ("parsenet",),
}


class Loop:
    """The loop's steps.

    Args:
        networks: as built, on the device.
        settings: sizes.
        device: torch device.
    """

    def __init__(self, networks: dict[str, nn.Module], settings: Settings, device: torch.device) -> None:
        self.networks: dict[str, Any] = networks
        self.settings, self.device = settings, device
        width, height = settings.size
        geometry = settings.geometry
        self.frame = self._picture(height, width)
        self.crop, self.face = self._picture(geometry.crop), self._picture(geometry.side)
        whole = geometry.crop == 256
        # GFPGAN and GPEN take 512; the parser's picture is small where the rest is.
        self.square, self.parsed = self._picture(SQUARE), self._picture(SQUARE if whole else 64)
        self.window = np.zeros((1, 73, 26), np.float32)

    @staticmethod
    def _picture(height: int, width: int = 0) -> np.ndarray:
        return np.full((1, 3, height, width or height), 0.4, np.float32)

    def _ask(self, function: Callable[..., Any], *arrays: np.ndarray) -> Any:
        """Send, compute, fetch."""
        result = function(*(torch.from_numpy(a).to(self.device) for a in arrays))
        first = next(iter(result.values())) if isinstance(result, dict) else result
        first = first[0] if isinstance(first, list | tuple) else first
        return first.float().cpu().numpy()

    # --- a frame's steps ------------------------------------------------------------------------------------
    def landmarks(self) -> None:
        """S3FD and FAN on the crop."""
        self._ask(self.networks["s3fd"], self.crop)
        self._ask(self.networks["fan"], self.crop)

    def coefficients(self) -> None:
        """face3d on the aligned crop."""
        self._ask(self.networks["face3d"], self.crop[..., :224, :224])

    def dnet(self) -> None:
        """D-Net, one picture."""
        self._ask(self.networks["dnet"], self.crop, self.window)

    def enhance(self) -> None:
        """RetinaFace, GPEN and the parser on D-Net's picture."""
        self._ask(self.networks["retinaface"], self.crop)
        self._ask(self.networks["gpen"], self.square)
        self.labels()

    def box(self) -> None:
        """S3FD on the whole frame."""
        self._ask(self.networks["s3fd"], self.frame)

    def points(self) -> None:
        """RetinaFace on the whole frame."""
        self._ask(self.networks["retinaface"], self.frame)

    def restore(self) -> None:
        """GFPGAN, the whole face."""
        net = self.networks["gfpgan"]
        region = None if self.settings.geometry.crop == 256 else self.settings.geometry.mouth
        self._ask(lambda x: net(x, return_rgb=False, region=region), self.square)

    def labels(self) -> None:
        """The parser, the whole face."""
        self._ask(lambda x: self.networks["parsenet"](x)[0].argmax(1), self.parsed)

    # --- a batch's steps ------------------------------------------------------------------------------------
    def lips(self, count: int) -> None:
        """L-Net on a batch."""
        mel = np.zeros((count, 1, 80, 16), np.float32)
        lips = self.settings.geometry.lips
        self._ask(self.networks["lnet"], mel, np.full((count, 6, lips, lips), 0.4, np.float32))

    def draw(self, count: int) -> None:
        """E-Net's own part on a batch."""
        lips, side = self.settings.geometry.lips, self.settings.geometry.side
        low = np.full((count, 3, lips, lips), 0.4, np.float32)
        self._ask(self.networks["enet"].enhance, low, np.full((count, 6, side, side), 0.4, np.float32))

    def run(self, frames: int, steps: tuple[str, ...]) -> dict[str, float]:
        """Seconds of each step over so many frames."""
        spent: dict[str, float] = {}

        def timed(name: str, call: Callable[[], None]) -> None:
            began = time.perf_counter()
            call()
            spent[name] = spent.get(name, 0.0) + time.perf_counter() - began

        with torch.inference_mode():
            for step in steps:
                if step in ("lips", "face"):
                    call: Callable[[int], None] = self.lips if step == "lips" else self.draw
                    for start in range(0, frames, BATCH):
                        timed(step, lambda call=call, start=start: call(min(BATCH, frames - start)))  # type: ignore[misc]
                else:
                    for _ in range(frames):
                        timed(step, getattr(self, step))
            synchronise(self.device)
        return spent
