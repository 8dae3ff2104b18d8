"""Networks on one device: loaded when they are first asked for, and called in micro-batches."""

from __future__ import annotations

import dataclasses
import functools
import logging
import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import retalk_models
from operators.retalk.model_files import Precision
from operators.retalk.transfer import Transfer
from operators.shared_batches import current_row
from retalk_models.inference.memory import GPU_BATCH
from retalk_models.registry.registry import home_registry

logger = logging.getLogger(__name__)

#: Micro-batches that a GPU has before it while the host takes a result.
AHEAD = 2
Loader = Callable[..., nn.Module]


@dataclasses.dataclass(frozen=True)
class Compute:
    """Settings with which networks run.

    Attributes:
        device: torch device.
        exact: the networks as they are built, float32; False: their fast forms
            (`retalk_models.inference.optimize`).
        batch: pictures at a time.
        static: the last micro-batch is filled up, so that a picture's result does not depend on how many follow
            it; on a GPU always. Rows that are worked on at the same time then share micro-batches.
        precision: of the fast forms; auto: the choice of `optimize.default_optimization` for the network and the
            device.
    """

    device: str = "cpu"
    exact: bool = False
    batch: int = 1
    precision: Precision = "auto"
    static: bool = False

    @property
    def filled(self) -> bool:
        """See `static`."""
        return self.static or self.device.startswith("cuda")

    @staticmethod
    def of(device: str, precision: Precision = "auto") -> Compute:
        """Best settings of a device: single pictures on a CPU (docs/benchmarks.md#networks), batches of `GPU_BATCH`
        on a GPU (docs/benchmarks.md#on-a-gpu).

        float16 is for GPUs: on a CPU, where it is slow, it means auto.
        """
        if device.startswith("cuda"):
            return Compute(device, batch=GPU_BATCH, precision=precision)
        return Compute(device, precision="auto" if precision == "float16" else precision)


class _Asked(threading.local):
    def __init__(self) -> None:
        self.keys: set[str] = set()


class NetworkRunner:
    """Networks on one device, each loaded when it is first called.

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
        self._asked, self._loading = _Asked(), threading.RLock()

    @property
    def asked(self) -> set[str]:
        """Keys of `warnings` for the networks that this thread has asked since this was last cleared."""
        return self._asked.keys

    def module(self, name: str, file: str | None = None, **options: Any) -> nn.Module:
        """A network, loaded and in the form that `Compute` says, or in the next safer one if that is wrong on
        this device.

        Raises:
            WeightsError: its files are missing or wrong.
            NumericsError: it gives infinities or no numbers even as built.
        """
        key = f"{name} {file} {sorted(options.items())}"
        self.asked.add(key)
        with self._loading:
            if key not in self._modules:
                self._modules[key] = self._loaded(key, name, file, options)
        return self._modules[key]

    def _loaded(self, key: str, name: str, file: str | None, options: dict[str, Any]) -> nn.Module:
        """`module`, the first time."""

        def make() -> nn.Module:
            return self._loader(name, **({"file": file} if file else {}), **options).to(self.compute.device)

        def warn(text: str) -> None:
            logger.warning(text)
            self.warnings.setdefault(key, []).append(text)

        files = self._files(name, file, bool(options))
        return make() if self.compute.exact else fast(make, name, self.compute, warn, files)

    def _files(self, name: str, file: str | None, part: bool) -> str:
        """Paths of the files that a network (or its own part alone) is loaded from, for messages."""
        own, *others = self.registry.catalog.networks[name]
        names = [file or own.file, *(other.file for other in others if not part)]
        return ", ".join(str(self.registry.path(name)) for name in names)

    def run(
        self,
        function: Callable[..., Tensor],
        *arrays: np.ndarray,
        batch: int | None = None,
        kind: Hashable = None,
    ) -> np.ndarray:
        """Call ``function`` on tensors of the arrays' items, a micro-batch at a time, and join what it
        returns (float32 or uint8).

        Args:
            function: computes a micro-batch, each item for itself.
            arrays: for each argument its items.
            batch: items of a micro-batch, the usual number by default.
            kind: calls with the same kind have the same ``function``: rows that are worked on at the same time
                share their micro-batches. None: no other call has.
        """
        size = batch or self.compute.batch
        execute = functools.partial(self._computed, function, size)
        row = current_row()
        if row is not None and len(arrays[0]):
            return row.ask(object() if kind is None else (id(self), kind), execute, arrays, size)
        parts = (
            [np.array(a[start : start + size]) for a in arrays] for start in range(0, len(arrays[0]), size)
        )
        return np.concatenate(list(execute(parts)))

    def _computed(
        self, function: Callable[..., Tensor], size: int, batches: Iterable[list[np.ndarray]]
    ) -> Iterator[np.ndarray]:
        """Results of micro-batches; on a GPU one is given while the next is computed."""
        transfer, waiting = Transfer(self.compute.device), deque[Callable[[], Tensor]]()
        for arrays in batches:
            parts, n = [torch.from_numpy(a) for a in arrays], len(arrays[0])
            with torch.inference_mode():
                if self.compute.filled and n < size:
                    parts = [torch.cat([p, p[-1:].expand(size - n, *p.shape[1:])]) for p in parts]
                waiting.append(transfer.back(function(*transfer.there(parts))[:n]))
            if transfer.stream is None or len(waiting) > AHEAD:
                yield waiting.popleft()().numpy()
        while waiting:
            yield waiting.popleft()().numpy()


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
