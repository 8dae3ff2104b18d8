"""Memory that a network takes on its device: of its weights, and of one item on the way through it.

Counted, not measured: the tensors that are alive at once when a network is run as the stages run it, on torch's
device "meta" (`tests/retalk_models/inference/test_memory.py` counts them again). cuDNN's workspaces, what an allocator
holds back and CUDA's own context come on top; `retalk profile` and `benchmarks.gpu` measure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from retalk_models.registry.catalog import load_catalog

#: Pictures that a network is given at a time on a GPU (docs/benchmarks.md#on-a-gpu); on a CPU it is one.
GPU_BATCH = 32


class NetworkMemory(NamedTuple):
    """MiB in float32, folded, channels last.

    Attributes:
        weights: of the parameters and constants.
        item: of one item's tensors that are alive at once; n items take n times as much.
    """

    weights: float
    item: float


#: By network, as the default mode's stages call it: E-Net reads a code and draws, GFPGAN restores a mouth, ParseNet is
#: shown eyes to chin, detectors see a frame of 640 x 360.
MEMORY: Mapping[str, NetworkMemory] = {
    "face3d": NetworkMemory(91.9, 13.6),
    "dnet": NetworkMemory(85.9, 86.5),
    "lnet": NetworkMemory(487.6, 14.8),
    "enet": NetworkMemory(119.0, 165.2),
    "gfpgan": NetworkMemory(332.4, 91.0),
    "gpen": NetworkMemory(270.9, 510.4),
    "parsenet": NetworkMemory(81.3, 169.0),
    "retinaface": NetworkMemory(104.3, 62.4),
    "s3fd": NetworkMemory(85.7, 171.4),
    "fan": NetworkMemory(91.1, 36.8),
    "ganimation": NetworkMemory(32.3, 9.4),
    "wav2lip": NetworkMemory(138.6, 8.9),
}
#: Files of a network beside the one that the catalogue names for it.
OTHER_FILES = {"GFPGANv1.4.pth": "gfpgan"}


def networks_of(files: Iterable[str]) -> tuple[str, ...]:
    """Networks of `MEMORY` that are loaded from these files, each once.

    Args:
        files: names of networks or of model files, as `Stage.model_files` gives them.
    """
    by_file = {parts[0].file: name for name, parts in load_catalog().networks.items()} | OTHER_FILES
    names = (by_file.get(file, file) for file in files)
    return tuple(dict.fromkeys(name for name in names if name in MEMORY))


def actor_memory(networks: Iterable[str], batch: int) -> NetworkMemory:
    """MiB of an actor that holds networks and calls one after the other with so many items.

    Args:
        networks: keys of `MEMORY`.
        batch: items at a time.

    Returns:
        All weights, and the tensors of the call that takes most.
    """
    found = [MEMORY[name] for name in networks]
    return NetworkMemory(
        sum(one.weights for one in found), batch * max((one.item for one in found), default=0.0)
    )
