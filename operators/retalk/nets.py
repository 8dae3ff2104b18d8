"""The networks as the stages call them: pictures in, pictures out, in micro-batches on one device.

Weights are loaded on first use, by the registry's rules. Pictures are RGB, in and out. The original feeds L-Net,
E-Net and GANimation BGR pictures, contrary to its comments, so their official weights expect BGR: red and blue
are exchanged here, and nobody else needs to know.
"""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from operators.retalk.emotion import ACTION_UNITS
from operators.retalk.mel import CHUNK
from operators.retalk.mel_windows import windows
from operators.retalk.model_files import RESTORATIONS, Precision
from operators.retalk.network_inputs import SIDE
from operators.retalk.network_runner import Compute, NetworkRunner
from operators.retalk.transfer import Transfer
from operators.segment import Segment
from operators.shared_batches import current_row
from operators.stage import Stage
from retalk_models.inference.allocator import disable_malloc_trim
from retalk_models.layers.region import Region

#: GANimation sees faces of this size.
EMOTION_SIZE = 128


class Networks(NetworkRunner):
    """The networks of the engine on one device."""

    def coefficients(self, crops: np.ndarray) -> np.ndarray:
        """3DMM numbers float32[n, 257] of `align3d.align` crops uint8[n, 224, 224, 3]."""
        net = self.module("face3d")
        return self.run(lambda x: net(_planes(x) / 255.0), crops, kind="face3d")

    def edit(self, crops: np.ndarray, windows: np.ndarray) -> np.ndarray:
        """D-Net: faces uint8[n, 256, 256, 3] with the expression and pose of windows float32[n, 73, 26]."""
        net = self.module("dnet")
        return self.run(
            lambda x, w: _pictures((net(_signed(x), w)["fake_image"].clamp(-1, 1) + 1) / 2),
            crops,
            windows,
            kind="dnet",
        )

    def lips(self, mel: np.ndarray, pairs: np.ndarray, batch: int | None = None) -> np.ndarray:
        """L-Net (E-Net's ``low_res``): speaking faces.

        Args:
            mel: float[n, 80, 16].
            pairs: float32[n, 384, 384, 6] 0 ... 1, or of any other size; uint8 counts 0 ... 255. Masked
                face and reference.
            batch: items at a time, the micro-batch by default.

        Returns:
            float32[n, 96, 96, 3], 0 ... 1.
        """
        return self.run(self._lips(), mel.astype(np.float32), pairs, batch=batch, kind="lnet")

    def speak(
        self, spectrogram: np.ndarray, starts: np.ndarray, pairs: np.ndarray, silence: float
    ) -> np.ndarray:
        """`lips` that hear one speech, which goes to the device once and is cut into windows there.

        Args:
            spectrogram: float32[80, columns].
            starts: int64[n], first column of each window of `mel.CHUNK`.
            pairs: as `lips`.
            silence: value of columns before and after the speech.
        """
        if current_row() is not None:  # other rows hear other speeches
            cut = windows(torch.from_numpy(spectrogram), torch.from_numpy(starts), CHUNK, silence)
            return self.lips(cut.numpy(), pairs)
        lips = self._lips()
        with torch.inference_mode():
            (heard,) = Transfer(self.compute.device).there([torch.from_numpy(spectrogram)])
        return self.run(lambda start, pair: lips(windows(heard, start, CHUNK, silence), pair), starts, pairs)

    def _lips(self) -> Callable[[Tensor, Tensor], Tensor]:
        net, size = self.module("lnet"), (96, 96)

        def call(mel: Tensor, pair: Tensor) -> Tensor:
            x = F.interpolate(_unit(swapped(pair)), size, mode="bilinear")
            return swapped(net(mel[:, None], x).permute(0, 2, 3, 1))

        return call

    def identity(self, reference: np.ndarray) -> np.ndarray:
        """E-Net's code float32[n, 512] of whom a reference shows, [n, h, w, 3] of any size, float32 0 ... 1
        or uint8.
        """
        net: Any = self.module("enet", low_res=False)
        return self.run(
            lambda reference: net.style_code(_unit(swapped(reference))).float(), reference, kind="identity"
        )

    def draw(self, lips: np.ndarray, identity: np.ndarray, top: int = 0) -> np.ndarray:
        """`faces` with an identity that is known already, float32[n, 512].

        Args:
            lips: float32[n, 96, 96, 3], 0 ... 1.
            identity: from `identity`.
            top: first row that is wanted, a multiple of 4; those above are not computed.

        Returns:
            float32[n, 384 - top, 384, 3], about 0 ... 1, not clamped.
        """
        net: Any = self.module("enet", low_res=False)
        return self.run(
            lambda low, code: swapped(net.draw(_planes(swapped(low)), code, top=top).permute(0, 2, 3, 1)),
            lips,
            identity,
            kind=("draw", top),
        )

    def faces(self, lips: np.ndarray, reference: np.ndarray, batch: int | None = None) -> np.ndarray:
        """E-Net without L-Net: faces of full size with the identity of the reference.

        Args:
            lips: float32[n, 96, 96, 3], 0 ... 1.
            reference: [n, h, w, 3] of any size, float32 0 ... 1 or uint8.
            batch: items at a time, the micro-batch by default.

        Returns:
            float32[n, 384, 384, 3], about 0 ... 1, not clamped.
        """
        net: Any = self.module("enet", low_res=False)

        def call(low: Tensor, reference: Tensor) -> Tensor:
            seen = _unit(swapped(reference))
            drawn = net.enhance(_planes(swapped(low)), torch.cat([seen, seen], 1))
            return swapped(drawn.permute(0, 2, 3, 1))

        return self.run(call, lips, reference, batch=batch, kind="faces")

    def enhance(self, faces: np.ndarray) -> np.ndarray:
        """GPEN on aligned faces uint8[n, 512, 512, 3]."""
        net = self.module("gpen")
        return self.run(
            lambda x: _pictures((net(_signed(x))[0] * 0.5 + 0.5).clamp(0, 1)), faces, kind="enhance"
        )

    def restore(
        self, faces: np.ndarray, name: str = "gfpgan-1.3", region: Region | None = None
    ) -> np.ndarray:
        """GFPGAN (or GPEN) on aligned faces uint8[n, 512, 512, 3].

        Args:
            faces: aligned by `restore.alignment` (GPEN: by `enhance.alignment`).
            name: one of `RESTORATIONS`. GFPGAN adds the noise stored with its weights, the same in every
                frame: the original's fresh noise in every frame is a grain that flickers, and gives other
                pictures each time.
            region: the part that is wanted; None: all. GFPGAN computes no more than it needs for that part.

        Returns:
            uint8[n, h, w, 3] of the region.
        """
        network, file = RESTORATIONS[name]
        if network == "gpen":
            restored = self.enhance(faces)
            return (
                restored
                if region is None
                else restored[:, region.top : region.bottom, region.left : region.right]
            )
        net = self.module(network, file=file)

        def call(x: Tensor) -> Tensor:
            return _pictures(
                (net(_signed(x), return_rgb=False, region=region)[0].clamp(-1, 1) + 1) / 2, rounded=True
            )

        return self.run(call, faces, kind=("restore", name, region))

    def parse(self, faces: np.ndarray, region: Region | None = None) -> np.ndarray:
        """ParseNet's labels uint8[n, h, w] of aligned faces uint8[n, H, W, 3], 512 x 512 as it was trained.

        Args:
            faces: or parts of them; sides are multiples of 16.
            region: the part whose labels are wanted; None: all.
        """
        net: Any = self.module("parsenet")

        def call(x: Tensor) -> Tensor:
            scaled = (_planes(x.double() if self.compute.exact else x) / 255 * 2 - 1).float()
            return net.logits(scaled, region=region).argmax(1).to(torch.uint8)

        return self.run(call, faces, kind=("parse", region))

    def emote(self, faces: np.ndarray, units: np.ndarray, batch: int | None = None) -> np.ndarray:
        """GANimation: faces float32[n, 384, 384, 3], 0 ... 1, with the action units float32[17], at 128
        pixels and enlarged.
        """
        net = self.module("ganimation")
        assert units.shape == (len(ACTION_UNITS),)

        def call(x: Tensor) -> Tensor:
            small = F.interpolate(
                _planes(swapped(x)) * 2 - 1,
                (EMOTION_SIZE, EMOTION_SIZE),
                mode="bilinear",
                align_corners=False,
            )
            target = torch.from_numpy(units).to(small).expand(len(small), -1)
            colour, keep, _ = net(small, target)
            mixed = (keep * small + (1 - keep) * colour) / 2 + 0.5
            large = F.interpolate(mixed, (SIDE, SIDE), mode="bilinear", align_corners=False)
            return swapped(large.permute(0, 2, 3, 1))

        return self.run(call, faces, batch=batch, kind=("emote", units.tobytes()))


@functools.lru_cache(maxsize=4)
def shared_networks(device: str, weights: str = "", precision: Precision = "auto") -> Networks:
    """This process's networks on a device: stages that are fused into one worker load each network once."""
    if device.startswith("cuda"):
        # The same inputs give the same bytes on GPUs of one kind; and float32 means float32.
        (
            torch.backends.cudnn.deterministic,
            torch.backends.cudnn.benchmark,
            torch.backends.cudnn.allow_tf32,
        ) = True, False, False
    else:
        disable_malloc_trim()
    return Networks(Compute.of(device, precision), weights)


class NetworkStage(Stage):
    """A stage that asks networks: `compute` is its `process`, and warnings about the networks that it asks
    become notes of the row.
    """

    networks: Networks
    #: What it asks of networks may share micro-batches with other rows.
    shares: ClassVar[bool] = False

    def shares_batches(self, device: str) -> bool:
        """See `Stage.shares_batches`."""
        compute = Compute.of(device)
        return self.shares and compute.filled and compute.batch > 1

    @abstractmethod
    def compute(self, segment: Segment) -> dict[str, Any]:
        """See `Stage.process`."""

    def process(self, segment: Segment) -> dict[str, Any]:
        """See the class and `compute`."""
        self.networks.asked.clear()
        columns = self.compute(segment)
        for key in sorted(self.networks.asked & self.networks.warnings.keys()):
            for text in self.networks.warnings[key]:
                segment.note(text)
        return columns


def swapped(pictures: Tensor) -> Tensor:
    """[..., 3 * k]: red and blue exchanged in each picture of three channels."""
    return pictures.unflatten(-1, (-1, 3)).flip(-1).flatten(-2)


def _planes(pictures: Tensor) -> Tensor:
    """[n, h, w, c] of any dtype -> float [n, c, h, w]; float64 stays."""
    x = pictures.permute(0, 3, 1, 2)
    # One layout whatever came in: bilinear sampling rounds differently in another.
    return (x if x.is_floating_point() else x.float()).contiguous()


def _unit(pictures: Tensor) -> Tensor:
    """[n, h, w, c], uint8 or 0 ... 1 -> float32 [n, c, h, w] in 0 ... 1."""
    return _planes(pictures) / (255.0 if pictures.dtype == torch.uint8 else 1.0)


def _signed(pictures: Tensor) -> Tensor:
    """uint8 [n, h, w, 3] -> float32 [n, 3, h, w] in -1 ... 1."""
    return (_planes(pictures) / 255.0 - 0.5) / 0.5


def _pictures(x: Tensor, rounded: bool = False) -> Tensor:
    """float [n, 3, h, w] in 0 ... 1 -> uint8 [n, h, w, 3], truncated as the original does unless ``rounded``."""
    scaled = x.float() * 255.0
    return (scaled.round() if rounded else scaled).to(torch.uint8).permute(0, 2, 3, 1)
