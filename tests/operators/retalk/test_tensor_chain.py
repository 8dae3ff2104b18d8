"""The chain on tensors against the stages, step by step and as a whole, and what it asks of the host meanwhile.

Networks are held elsewhere; here cheap ones stand in for them, whose answers depend on all that they are shown.
"""

from __future__ import annotations

import collections
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from av.video.frame import VideoFrame
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, resolve_name
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from operators.media.color import ColorTags
from operators.media.formats import working_format
from operators.media.frames import Frame, FrameLayout
from operators.media.orientation import Orientation
from operators.media.tensor_frames import PlanarFrames
from operators.numeric import affine
from operators.retalk import blend_stage, framing, lnet_stage, restore
from operators.retalk.align3d import five_points
from operators.retalk.enet_stage import ENetOptions, ENetStage, usual
from operators.retalk.geometry import CROP, LEVELS, REFERENCE, SIDE
from operators.retalk.nets import Networks
from operators.retalk.network_runner import Compute
from operators.retalk.tensor_chain import NETWORKS, STEPS, Batch, TensorChain
from operators.segment import Segment
from retalk_models import build
from retalk_models.inference.optimize import OptimizationConfig, optimize
from retalk_models.inference.probes import picture
from retalk_models.layers.region import Region
from tests.operators.retalk.test_default_mode import face_in_box

FRAMES, WIDTH, HEIGHT = 3, 640, 480
PART, BOX = 448, 320
RNG = np.random.default_rng(11)


class DNet(nn.Module):
    def forward(self, image: Tensor, coeff: Tensor) -> dict[str, Tensor]:
        return {"fake_image": torch.tanh(image.flip(1) + coeff.mean((1, 2))[:, None, None, None])}


class LNet(nn.Module):
    def forward(self, mel: Tensor, faces: Tensor) -> Tensor:
        heard = mel.mean((1, 2, 3))[:, None, None, None]
        return (0.3 * faces[:, :3] + 0.6 * faces[:, 3:] + 0.05 * heard).clamp(0, 1)


class ENet(nn.Module):
    def style_code(self, reference: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(reference, (1, 1)).flatten(1).repeat(1, 171)[:, :512]

    def draw(self, low: Tensor, code: Tensor, noises: Any = None, top: int = 0) -> Tensor:
        large = F.interpolate(low, scale_factor=4.0, mode="bilinear", align_corners=False)
        return (large + 0.2 * code[:, :3, None, None])[:, :, top:]


class GFPGAN(nn.Module):
    def forward(self, image: Tensor, return_rgb: bool, region: Region) -> tuple[Tensor, list[Tensor]]:
        return 0.8 * region.of(image) + 0.1, []


class ParseNet(nn.Module):
    """Skin in a circle, a mouth in the middle of it."""

    def logits(self, image: Tensor, region: Region | None = None) -> Tensor:
        made = torch.zeros(len(image), 19, *image.shape[2:], device=image.device)
        y = torch.arange(image.shape[2], device=image.device)[:, None] - 150
        x = torch.arange(image.shape[3], device=image.device) - 190
        made[:, 1] = (x * x + y * y < 150**2).float() * 2
        made[:, 11] = (x * x + 2 * (y - 40) ** 2 < 50**2).float() * 3
        return made


STAND_INS = {"dnet": DNet, "lnet": LNet, "enet": ENet, "gfpgan": GFPGAN, "parsenet": ParseNet}


class Scene:
    """Frames with a face that moves and grows, and what the stages before D-Net have found in them."""

    def __init__(self) -> None:
        luma = picture(FRAMES, 1, HEIGHT, WIDTH, low=20, high=235).numpy()
        chroma = picture(FRAMES, 2, HEIGHT // 2, WIDTH // 2, low=90, high=170).numpy()
        planes = [luma.reshape(FRAMES, HEIGHT, WIDTH), chroma.reshape(FRAMES, HEIGHT // 2, WIDTH)]
        self.planes = np.concatenate(planes, 1).round().astype(np.uint8)
        # The first two face boxes shrink to E-Net's size, the last grows; corners are odd and even.
        corners, sides = (
            np.array([[181, 93], [200, 101], [207, 96]]),
            np.array([[210, 243], [300, 300], [283, 311]]),
        )
        self.face_boxes = np.concatenate([corners, corners + sides], 1)
        middle = corners + sides / 2
        half = np.array([[170], [210], [205]])
        self.crop_boxes = np.rint(np.concatenate([middle - half, middle + half], 1)).astype(np.int64)
        inside = face_in_box()
        self.landmarks = np.stack(
            [affine.apply(affine.invert(framing.into_box(box, SIDE)), inside) for box in self.face_boxes]
        ).astype(np.float32)
        self.windows = RNG.normal(0, 0.3, (FRAMES, 73, 26)).astype(np.float32)
        self.mel = RNG.normal(0, 1, (FRAMES, 80, 16)).astype(np.float32)
        self.strength = np.array([1, 0.5, 1], np.float32)

    def frame(self, k: int) -> Frame:
        made = VideoFrame.from_ndarray(self.planes[k], format="yuv420p")
        form = working_format("yuv420p", WIDTH, HEIGHT)
        return Frame(k, k, made, FrameLayout(form, ColorTags(matrix=1), Orientation(), WIDTH, HEIGHT))

    def batch(self) -> Batch:
        boxes = [framing.into_box(box, SIDE) for box in self.face_boxes]
        points = [affine.apply(m, p.astype(np.float64)) for m, p in zip(boxes, self.landmarks)]
        corners = np.minimum(
            np.maximum(self.crop_boxes[:, 1::-1], 0), np.array([HEIGHT - PART, WIDTH - PART])
        )
        return Batch(
            torch.from_numpy(self.planes.copy()),
            torch.from_numpy(corners // 2 * 2),
            torch.from_numpy(self.crop_boxes.astype(np.float64)),
            torch.from_numpy(self.face_boxes.astype(np.float64)),
            torch.from_numpy(self.landmarks.astype(np.float64)),
            torch.from_numpy(np.stack([restore.alignment(five_points(p)) for p in points])),
            torch.from_numpy(self.windows),
            torch.from_numpy(self.mel),
            torch.from_numpy(self.strength),
        )


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene()


def chain(device: str = "cpu", networks: dict[str, nn.Module] | None = None) -> TensorChain:
    made = networks or {name: STAND_INS[name]() for name in NETWORKS}
    return TensorChain(made, PlanarFrames(HEIGHT, WIDTH, device=device), PART, BOX)


def by_the_stages(scene: Scene) -> dict[str, np.ndarray]:
    """Results of the stages for the scene; frames as planes."""
    networks = Networks(Compute(exact=True, batch=FRAMES), loader=lambda name, **_: STAND_INS[name]())
    networks.module = lambda name, file=None, **_: STAND_INS[name]()  # type: ignore[method-assign]
    frames = [scene.frame(k) for k in range(FRAMES)]
    crops = np.stack([framing.cut(f, box, CROP) for f, box in zip(frames, scene.crop_boxes)])
    faces = np.stack([framing.cut(f, box, SIDE) for f, box in zip(frames, scene.face_boxes)])
    edited = networks.edit(crops, scene.windows)
    reference = np.stack(
        [
            cv2.warpAffine(
                shown,
                affine.compose(
                    framing.into_box(face, REFERENCE), affine.invert(framing.into_box(crop, CROP))
                ),
                (REFERENCE, REFERENCE),
                borderMode=cv2.BORDER_REPLICATE,
            )
            for shown, face, crop in zip(edited, scene.face_boxes, scene.crop_boxes)
        ]
    )
    order = np.arange(FRAMES)
    pairs = np.concatenate(
        [lnet_stage.reduced(faces, order, hide=True), lnet_stage.reduced(reference, order)], axis=3
    )
    lips = networks.lips(scene.mel, pairs)
    stage = ENetStage(ENetOptions())
    stage.networks = networks
    row = {"source": order, "start": 0, "stop": FRAMES, "halo_start": 0, "halo_stop": FRAMES}
    row |= {"faces": faces, "lips": lips, "identity": networks.identity(reference), "crops": crops}
    row |= {"face_boxes": scene.face_boxes, "crop_boxes": scene.crop_boxes, "landmarks": scene.landmarks}
    face, mask = stage._draw(Segment(row), order, ENetOptions())
    other_face, other_mask = stage._draw_there(Segment(row), order, order, lips, ENetOptions())
    planes = []
    for k, frame in enumerate(frames):
        box: Any = tuple(int(v) for v in scene.face_boxes[k])
        rgb, alpha = blend_stage.composite(frame.rgb(box), face[k], mask[k], float(scene.strength[k]), LEVELS)
        frame.paste(box, rgb, alpha)
        planes.append(frame.picture.to_ndarray())
    return {
        "crops": crops,
        "faces": faces,
        "reference": reference,
        "lips": lips * 255,
        "face": face,
        "mask": mask[..., None],
        "other face": other_face,
        "other mask": other_mask[..., None],
        "planes": np.stack(planes),
    }


def by_the_chain(scene: Scene, made: TensorChain) -> dict[str, np.ndarray]:
    """The same by `TensorChain`."""
    batch, found = scene.batch(), {}

    def kept(name: str, function: Any, *positions: int) -> Any:
        def call(*arguments: Any) -> Any:
            result = function(*arguments)
            parts = result if isinstance(result, tuple) else (result,)
            for key, position in zip(name.split(), positions):
                found[key] = parts[position].permute(0, 2, 3, 1).numpy().copy()
            return result

        return call

    made.cut = kept("crops faces", made.cut, 1, 2)  # type: ignore[method-assign]
    made.dnet = kept("reference", made.dnet, 0)  # type: ignore[method-assign]
    made.lnet = kept("lips", made.lnet, 0)  # type: ignore[method-assign]
    made.mask = kept("face mask", made.mask, 0, 1)  # type: ignore[method-assign]
    found["planes"] = made(batch).numpy()
    found["lips"] *= 255
    return found


def test_every_step_equals_the_stages_within_a_grey_level(scene: Scene) -> None:
    """Conversion to RGB may be off by a level and enlargement by another: no sample of a picture is off by more than
    two. Masks may differ by what a sample of the landmarks' outline moves them.
    """
    ours, theirs = by_the_chain(scene, chain()), by_the_stages(scene)
    for name in ("crops", "faces", "reference", "lips", "face"):
        gap = np.abs(ours[name] - theirs[name].astype(np.float64))
        assert gap.max() <= 2.01, name
        assert (gap > 1.01).mean() < 1e-3, name
        assert gap.mean() < 0.1, name
    mask_gap = np.abs(ours["mask"] - theirs["mask"].astype(np.float64))
    assert mask_gap.mean() < 0.3
    assert mask_gap.max() <= 60
    gap = np.abs(ours["planes"].astype(int) - theirs["planes"])
    changed = np.abs(theirs["planes"].astype(int) - scene.planes) > 2
    assert changed.mean() > 0.05  # a face was drawn at all
    assert gap.max() <= 8
    assert (gap > 1).mean() < 5e-4


def test_the_stage_enet_draws_the_same_without_opencv(scene: Scene) -> None:
    found = by_the_stages(scene)
    gap = np.abs(found["other face"].astype(int) - found["face"])
    assert gap.max() <= 2
    assert (gap > 1).mean() < 1e-3
    mask_gap = np.abs(found["other mask"].astype(int) - found["mask"])
    assert mask_gap.mean() < 0.3
    assert mask_gap.max() <= 60
    assert usual(ENetOptions())
    assert not usual(ENetOptions(mask="ellipse"))
    assert not usual(ENetOptions(restoration="gpen"))


def test_nothing_outside_the_face_box_changes(scene: Scene) -> None:
    planes = chain()(scene.batch()).numpy()
    for k, (x1, y1, x2, y2) in enumerate(scene.face_boxes):
        luma, before = planes[k, :HEIGHT].copy(), scene.planes[k, :HEIGHT].copy()
        assert (luma != before).any()
        luma[y1:y2, x1:x2] = before[y1:y2, x1:x2] = 0
        assert (luma == before).all()


# --- what it asks of the host -------------------------------------------------------------------------------
#: Functions that wait for a device, or copy from or to the host, by name.
WAITS = (
    *("cpu", "numpy", "item", "tolist", "__array__", "__bool__", "__int__", "__float__", "__index__"),
    *("nonzero", "masked_select", "unique", "from_numpy", "tensor", "as_tensor", "pin_memory", "cuda"),
)


class Waits(TorchFunctionMode):
    """Counts the calls of `WAITS` while it lasts."""

    def __init__(self) -> None:
        super().__init__()
        self.found: collections.Counter[str] = collections.Counter()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = (resolve_name(func) or getattr(func, "__name__", "")).rpartition(".")[2]
        if name in WAITS:
            self.found[name] += 1
        return func(*args, **(kwargs or {}))


class Reads(TorchDispatchMode):
    """Counts operators that read a value back or have a result whose size depends on values."""

    def __init__(self) -> None:
        super().__init__()
        self.found: collections.Counter[str] = collections.Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket._qualified_op_name.rpartition("::")[2]
        if name in ("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "equal", "is_nonzero"):
            self.found[name] += 1
        if name.startswith("index") and any(
            isinstance(i, Tensor) and i.dtype == torch.bool for i in (args[1] if len(args) > 1 else ()) or ()
        ):
            self.found[f"{name} by a mask"] += 1
        return func(*args, **(kwargs or {}))


def test_counters_see_what_they_are_there_for() -> None:
    x = torch.arange(4.0)
    with Waits() as waits, Reads() as reads:
        x.sum().item()
        bool(x.any())
        x.cpu().numpy()
        x[x > 2]
        torch.tensor([1.0])
    assert set(waits.found) >= {"item", "cpu", "numpy", "tensor"}
    assert reads.found["_local_scalar_dense"] == 2
    assert reads.found["index by a mask"] == 1


def test_a_batch_asks_nothing_of_the_host(scene: Scene) -> None:
    """Neither values of the device nor new constants: those are made beforehand, or on the device."""
    made, batch, steps = chain(), scene.batch(), []
    with Waits() as waits, Reads() as reads:
        made(batch, steps.append)
    assert not waits.found
    assert not reads.found
    assert tuple(steps) == STEPS


class OnOneDevice(TorchDispatchMode):
    """Refuses operators that take or make a tensor on the CPU."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for x in tree_leaves((args, kwargs, result)):
            assert not isinstance(x, Tensor) or x.device.type != "cpu", func
        return result


def test_the_real_networks_find_all_they_need_on_their_device(scene: Scene) -> None:
    """On the device "meta", whose tensors have shapes and no values: one left on the CPU, or a value that is read
    back, is an error.
    """
    networks = {}
    for name in NETWORKS:
        module = build(name, **({"low_res": False} if name == "enet" else {}))
        networks[name] = optimize(module.to("meta"), OptimizationConfig(channels_last=True))
    made, batch = chain("meta", networks), scene.batch().mapped(lambda x: x.to("meta"))
    with OnOneDevice():
        result = made(batch)
    assert result.is_meta
    assert result.shape == scene.planes.shape
    with OnOneDevice(), pytest.raises(AssertionError):
        made.outline(torch.empty(1, 1, SIDE, SIDE, device="meta"), torch.empty(1, 68, 2))
