"""The networks as the stages call them: pictures in, pictures out, in micro-batches on one device.

Weights are loaded on first use, by the registry's rules. Pictures are RGB, in and out. The original feeds L-Net,
E-Net and GANimation BGR pictures, contrary to its comments, so their official weights expect BGR: red and blue
are exchanged here, and nobody else needs to know.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import retalk_models
from operators.retalk.emotion import ACTION_UNITS
from operators.retalk.mel import CHUNK
from operators.retalk.mel_windows import windows
from operators.retalk.model_files import RESTORATIONS, Precision
from operators.retalk.network_inputs import SIDE
from operators.retalk.transfer import Transfer
from operators.segment import Segment
from operators.stage import Stage
from retalk_models.inference.allocator import disable_malloc_trim
from retalk_models.inference.memory import GPU_BATCH
from retalk_models.layers.region import Region
from retalk_models.registry.registry import home_registry

logger = logging.getLogger(__name__)

#: GANimation sees faces of this size.
EMOTION_SIZE = 128
Loader = Callable[..., nn.Module]


@dataclasses.dataclass(frozen=True)
class Compute:
    """Settings with which networks run.

    Attributes:
        device: torch device.
        exact: the networks as they are built, float32; False: their fast forms
            (`retalk_models.inference.optimize`).
        batch: pictures at a time. On a GPU the last batch is filled up, so that a picture's result does not
            depend on how many follow it.
        precision: of the fast forms; auto: the choice of `optimize.default_optimization` for the network and the
            device.
    """

    device: str = "cpu"
    exact: bool = False
    batch: int = 1
    precision: Precision = "auto"

    @staticmethod
    def of(device: str, precision: Precision = "auto") -> Compute:
        """Best settings of a device: single pictures on a CPU (docs/benchmarks.md#networks), batches of `GPU_BATCH`
        on a GPU (docs/benchmarks.md#on-a-gpu).

        float16 is for GPUs: on a CPU, where it is slow, it means auto.
        """
        if device.startswith("cuda"):
            return Compute(device, batch=GPU_BATCH, precision=precision)
        return Compute(device, precision="auto" if precision == "float16" else precision)


class Networks:
    """The networks of the engine on one device, each loaded when it is first called.

    Args:
        compute: how they run.
        weights: home of other model files than the official ones (`home_registry`).
        loader: in the place of `retalk_models.load`; takes the network's name and options, gives the module
            on the CPU.
    """

    def __init__(self, compute: Compute = Compute(), weights: str = "", loader: Loader | None = None) -> None:
        self.compute = compute
        self.registry = home_registry(weights)
        self._loader = loader or functools.partial(retalk_models.load, registry=self.registry)
        self._modules: dict[str, nn.Module] = {}
        #: What users of a network's results should know, e.g. that it runs in another form than asked for.
        self.warnings: dict[str, list[str]] = {}
        #: Keys of `warnings` for the networks that were asked since this was last cleared.
        self.asked: set[str] = set()

    def module(self, name: str, file: str | None = None, **options: Any) -> nn.Module:
        """A network, loaded and in the form that `Compute` says, or in the next safer one if that is wrong on
        this device.

        Raises:
            WeightsError: its files are missing or wrong.
            NumericsError: it gives infinities or no numbers even as built.
        """
        key = f"{name} {file} {sorted(options.items())}"
        self.asked.add(key)
        if key not in self._modules:

            def make() -> nn.Module:
                return self._loader(name, **({"file": file} if file else {}), **options).to(
                    self.compute.device
                )

            def warn(text: str) -> None:
                logger.warning(text)
                self.warnings.setdefault(key, []).append(text)

            files = self._files(name, file, bool(options))
            self._modules[key] = make() if self.compute.exact else fast(make, name, self.compute, warn, files)
        return self._modules[key]

    def _files(self, name: str, file: str | None, part: bool) -> str:
        """Paths of the files that a network (or its own part alone) is loaded from, for messages."""
        own, *others = self.registry.catalog.networks[name]
        names = [file or own.file, *(other.file for other in others if not part)]
        return ", ".join(str(self.registry.path(name)) for name in names)

    def run(
        self, function: Callable[..., Tensor], *arrays: np.ndarray, batch: int | None = None
    ) -> np.ndarray:
        """Call ``function`` on tensors of the arrays' items, a micro-batch at a time, and join what it
        returns (float32 or uint8).
        """
        size, count = batch or self.compute.batch, len(arrays[0])
        transfer = Transfer(self.compute.device)
        results = []
        with torch.inference_mode():
            for start in range(0, count, size):
                parts = [torch.from_numpy(np.array(a[start : start + size])) for a in arrays]
                n = len(parts[0])
                if transfer.stream is not None and n < size:
                    parts = [torch.cat([p, p[-1:].expand(size - n, *p.shape[1:])]) for p in parts]
                results.append(transfer.back(function(*transfer.there(parts))[:n]))
            transfer.finish()
        return np.concatenate([result.numpy() for result in results])

    # --- the networks ---------------------------------------------------------------------------------------
    def coefficients(self, crops: np.ndarray) -> np.ndarray:
        """3DMM numbers float32[n, 257] of `align3d.align` crops uint8[n, 224, 224, 3]."""
        net = self.module("face3d")
        return self.run(lambda x: net(_planes(x) / 255.0), crops)

    def edit(self, crops: np.ndarray, windows: np.ndarray) -> np.ndarray:
        """D-Net: faces uint8[n, 256, 256, 3] with the expression and pose of windows float32[n, 73, 26]."""
        net = self.module("dnet")
        return self.run(
            lambda x, w: _pictures((net(_signed(x), w)["fake_image"].clamp(-1, 1) + 1) / 2), crops, windows
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
        return self.run(self._lips(), mel.astype(np.float32), pairs, batch=batch)

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
        return self.run(lambda reference: net.style_code(_unit(swapped(reference))).float(), reference)

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

        return self.run(call, lips, reference, batch=batch)

    def enhance(self, faces: np.ndarray) -> np.ndarray:
        """GPEN on aligned faces uint8[n, 512, 512, 3]."""
        net = self.module("gpen")
        return self.run(lambda x: _pictures((net(_signed(x))[0] * 0.5 + 0.5).clamp(0, 1)), faces)

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

        return self.run(call, faces)

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

        return self.run(call, faces)

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

        return self.run(call, faces, batch=batch)


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


def fast(
    make: Callable[[], nn.Module], name: str, compute: Compute, warn: Callable[[str], None], files: str = ""
) -> nn.Module:
    """A network's fastest form that is right on its device (`retalk_models.inference.numerics`)."""
    from retalk_models.inference.numerics import safest
    from retalk_models.inference.optimize import default_optimization

    form = default_optimization(name, compute.device)
    if compute.precision != "auto":
        form = dataclasses.replace(form, dtype=getattr(torch, compute.precision))
    return safest(name, make, form, warn, files)[0]


class NetworkStage(Stage):
    """A stage that asks networks: `compute` is its `process`, and warnings about the networks that it asks
    become notes of the row.
    """

    networks: Networks

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
