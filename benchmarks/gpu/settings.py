"""Sizes of the measurements: full ones on a GPU, small on a CPU, where it shows that the command works."""

from __future__ import annotations

import dataclasses

import torch

from benchmarks.network_cases import CASES, SMALL, Case
from operators.retalk.geometry import TOP, Geometry
from retalk_models.inference.optimize import OptimizationConfig
from retalk_models.layers.region import Region

#: The names of precisions, and whether products in TF32 are allowed in float32.
PRECISIONS = ("float32", "tf32", "bfloat16", "float16")


@dataclasses.dataclass(frozen=True)
class Form:
    """A way in which a network runs.

    Attributes:
        precision: one of `PRECISIONS`.
        exact: as built; False: folded.
        channels_last: the channel innermost.
        graph: captured in a CUDA graph.
        compiled: by `torch.compile`.
        tuned: cuDNN looks for its fastest kernel.
    """

    precision: str = "float32"
    exact: bool = False
    channels_last: bool = True
    graph: bool = False
    compiled: bool = False
    tuned: bool = False

    @property
    def name(self) -> str:
        """E.g. ``float16 channels last, graph``."""
        if self.exact:
            return f"{self.precision} exact"
        words = self.precision + (" channels last" if self.channels_last else "")
        more = [word for word in ("tuned", "graph", "compiled") if getattr(self, word)]
        return ", ".join([words, *more])

    @property
    def tf32(self) -> bool:
        """Products in TF32 are allowed."""
        return self.precision == "tf32"

    def config(self) -> OptimizationConfig | None:
        """The form for `optimize`; None: as built."""
        if self.exact:
            return None
        dtype = torch.float32 if self.precision in ("float32", "tf32") else getattr(torch, self.precision)
        return OptimizationConfig(channels_last=self.channels_last, dtype=dtype, compile=self.compiled)


@dataclasses.dataclass(frozen=True)
class Settings:
    """Sizes of one run.

    Attributes:
        cases: networks as stages call them, the default chain's first.
        precisions: that the device has.
        batches: of single networks.
        chain: labels of the cases that the default chain consists of.
        forms: of single networks.
        others: how many of the forms are measured for cases beside the chain's.
        seconds: to measure each form.
        size: width and height of frames.
        side, box: as `TensorChain`.
        geometry: of the chain.
        frames: of a run through the chain.
        few: frames whose errors are looked at.
        chain_batches: sizes of its micro-batches.
        chain_forms: its forms.
        loop: steps of the plain loop (`benchmarks.gpu.loop`).
        loop_frames: of it.
        processes: numbers of processes on the device.
        process_seconds: that each number runs; 0: one batch each.
    """

    cases: dict[str, Case]
    precisions: tuple[str, ...]
    batches: tuple[int, ...]
    chain: tuple[str, ...]
    forms: tuple[Form, ...]
    others: int
    seconds: float
    size: tuple[int, int]
    side: int
    box: int
    geometry: Geometry
    frames: int
    few: int
    chain_batches: tuple[int, ...]
    chain_forms: tuple[Form, ...]
    loop: tuple[str, ...]
    loop_frames: int
    processes: tuple[int, ...]
    process_seconds: float


#: Labels of `CASES` that the default chain consists of, in the order of its calls.
CHAIN = (
    "dnet",
    "lnet",
    "enet, own part",
    f"enet, rows from {TOP}",
    "gfpgan, the mouth",
    "parsenet, eyes to chin",
)
LOOP = (
    *("landmarks", "coefficients", "dnet", "enhance", "landmarks", "box", "lips", "face"),
    *("points", "restore", "labels", "points", "labels"),
)
GPU = Settings(
    cases={**{label: CASES[label] for label in CHAIN}, **CASES},
    precisions=PRECISIONS,
    batches=(1, 4, 16, 32),
    chain=CHAIN,
    forms=(
        Form(exact=True),
        Form("float16"),
        Form("float16", graph=True),
        Form("float16", tuned=True),
        Form("tf32"),
        Form("float16", channels_last=False),
        Form("bfloat16"),
        Form(),
        Form("tf32", graph=True),
        Form("float16", compiled=True),
    ),
    others=3,
    seconds=0.3,
    size=(1920, 1080),
    side=832,
    box=448,
    geometry=Geometry(),
    frames=384,
    few=4,
    chain_batches=(32, 16, 64),
    chain_forms=(
        Form("float16", graph=True),
        Form("float16"),
        Form("float16", graph=True, compiled=True),
        Form("float16", tuned=True, graph=True),
        Form("tf32", graph=True),
        Form("bfloat16", graph=True),
        Form("float32"),
    ),
    loop=LOOP,
    loop_frames=16,
    processes=(1, 2, 3, 4),
    process_seconds=8.0,
)
CPU = Settings(
    cases={name: SMALL[name] for name in ("dnet", "enet", "parsenet")},
    precisions=("bfloat16",),
    batches=(1, 2),
    chain=("dnet", "enet", "parsenet"),
    forms=(Form(exact=True), Form(), Form(graph=True)),
    others=0,
    seconds=0.0,
    size=(320, 180),
    side=160,
    box=96,
    geometry=Geometry(
        crop=64,
        lips=32,
        reference=64,
        parsed=Region(304, 464, 160, 352),
        mouth=Region(352, 416, 208, 304),
        rise=(56, 72),
        near=7,
        fade=6,
    ),
    frames=2,
    few=1,
    chain_batches=(1,),
    chain_forms=(Form(), Form(graph=True)),
    loop=("dnet", "lips", "face", "labels"),
    loop_frames=1,
    processes=(2,),
    process_seconds=0.0,
)
