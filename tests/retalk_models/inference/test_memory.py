"""The stated memory of networks, counted again."""

from __future__ import annotations

import weakref
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.network_cases import CASES, Case
from operators.retalk.geometry import TOP
from retalk_models.build import build
from retalk_models.inference.memory import MEMORY, actor_memory, networks_of
from retalk_models.inference.optimize import OptimizationConfig, optimize

MIB = 1 << 20
#: Label of `CASES` where it is not the network's name.
LABELS = {
    "enet": f"enet, rows from {TOP}",
    "gfpgan": "gfpgan, the mouth",
    "parsenet": "parsenet, eyes to chin",
    "retinaface": "retinaface 640x360",
    "s3fd": "s3fd 640x360",
}


class Alive(TorchDispatchMode):
    """Bytes of the tensors that are made while it lasts: those alive, and the most at once."""

    def __init__(self, known: list[Tensor]) -> None:
        super().__init__()
        self.now = self.most = 0
        self._seen = {x.untyped_storage()._cdata for x in known}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for x in tree_leaves(result):
            if isinstance(x, Tensor) and x.untyped_storage()._cdata not in self._seen:
                storage = x.untyped_storage()
                self._seen.add(storage._cdata)
                self.now += storage.nbytes()
                self.most = max(self.most, self.now)
                weakref.finalize(storage, self._gone, storage._cdata, storage.nbytes())
        return result

    def _gone(self, key: int, size: int) -> None:
        self.now -= size
        self._seen.discard(key)


def most(case: Case, module: nn.Module, batch: int) -> int:
    """Bytes alive at once during a call, beside weights and inputs."""
    inputs = [make(batch).to("meta") for make in case.inputs]
    with torch.inference_mode(), Alive([*module.parameters(), *module.buffers(), *inputs]) as alive:
        case.call(module, inputs)
    return alive.most


def test_the_count_knows_when_a_tensor_is_gone() -> None:
    x = torch.empty(1000, device="meta")
    with Alive([x]) as alive:
        y = x + 1
        y = y * 2
        y = y * 2
        z = y.reshape(10, 100)  # no memory of its own
    assert alive.now == z.untyped_storage().nbytes() == 4000
    assert alive.most == 8000


@pytest.mark.parametrize("name", MEMORY)
def test_memory_is_as_stated(name: str) -> None:
    case = CASES[LABELS.get(name, name)]
    module = build(name, **case.build)
    weights = sum(value.nbytes for value in module.state_dict().values()) / MIB
    assert weights == pytest.approx(MEMORY[name].weights, abs=0.1)
    module = optimize(module.to("meta"), OptimizationConfig(channels_last=True))
    item = (most(case, module, 3) - most(case, module, 1)) / 2 / MIB
    assert item == pytest.approx(MEMORY[name].item, rel=0.01)


def test_networks_are_found_by_the_names_and_the_files_that_stages_declare() -> None:
    files = ("ENet.pth", "GFPGANv1.4.pth", "parsenet", "expression.mat", "enet")
    assert networks_of(files) == ("enet", "gfpgan", "parsenet")
    one = actor_memory(("enet", "parsenet"), 16)
    assert one.weights == MEMORY["enet"].weights + MEMORY["parsenet"].weights
    assert one.item == 16 * MEMORY["parsenet"].item
    assert actor_memory((), 16) == (0, 0)
