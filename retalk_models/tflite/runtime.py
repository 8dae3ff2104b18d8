"""Runtimes of TensorFlow Lite networks: torch on any device (`network`), or LiteRT on the CPU, which takes less than half the time there.

LiteRT is Google's own runtime (package `ai-edge-litert`, extra `litert`); nothing here needs it. Only torch's runner imports torch.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections.abc import Iterator
from typing import Any, Literal, Protocol

import numpy as np

from retalk_models.installation import install_hint

RuntimeName = Literal["auto", "torch", "litert"]
#: The distribution of LiteRT.
DISTRIBUTION = "ai-edge-litert"
#: What LiteRT prints when it makes the first network of a process, and no error.
_CHATTER = b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU."


class MissingRuntimeError(ImportError):
    """LiteRT is asked for and not there; the message has the command that installs it."""


class Runner(Protocol):
    """A network that is ready to run; any number of threads may call it.

    Attributes:
        input_shape: of its input, with the batch as its first size.
    """

    input_shape: tuple[int, ...]

    def __call__(self, values: np.ndarray, divisor: float = 1.0, offset: float = 0.0) -> list[np.ndarray]:
        """Run the network on ``values / divisor + offset`` in float32.

        Args:
            values: [N, ...], any numbers.
            divisor, offset: what makes the network's scale of them.

        Returns:
            Its outputs float32[N, ...] in the file's order.
        """


def litert_problem() -> str:
    """Say why LiteRT cannot be used in this process; "" where it can."""
    try:
        from ai_edge_litert import interpreter  # noqa: F401
    except (ImportError, OSError) as problem:
        return str(problem) or type(problem).__name__
    return ""


def chosen_runtime(name: RuntimeName, device: str = "cpu") -> Literal["torch", "litert"]:
    """The runtime that a name stands for here: ``"auto"`` is LiteRT on a CPU where it can be imported, else torch.

    Args:
        name: of the runtime.
        device: torch device that the networks are meant for. LiteRT, asked for by name, runs on the CPU all the same.

    Raises:
        MissingRuntimeError: LiteRT is asked for by name and cannot be imported.
        ValueError: unknown name.
    """
    if name not in ("auto", "torch", "litert"):
        raise ValueError(f"runtime {name!r} is unknown: use auto, torch or litert")
    if name == "torch" or (name == "auto" and not device.startswith("cpu")):
        return "torch"
    problem = litert_problem()
    if problem and name == "litert":
        raise MissingRuntimeError(
            f"the face mesh's runtime litert needs the package {DISTRIBUTION}, which cannot be imported ({problem}): "
            f"{install_hint('litert')}"
        )
    return "torch" if problem else "litert"


def make_runner(data: bytes, runtime: RuntimeName = "torch", device: str = "cpu") -> Runner:
    """The network of a TensorFlow Lite file.

    Args:
        data: the file.
        runtime: what runs it, see `chosen_runtime`.
        device: torch device.

    Raises:
        MissingRuntimeError: LiteRT is asked for and not there.
        ValueError: the file is damaged, or something in it is not supported.
    """
    return LiteRTRunner(data) if chosen_runtime(runtime, device) == "litert" else TorchRunner(data, device)


class TorchRunner:
    """A network run by torch; see `Runner`.

    Args:
        data: the TensorFlow Lite file.
        device: torch device.
    """

    def __init__(self, data: bytes, device: str = "cpu") -> None:
        from retalk_models.tflite.network import TFLiteNetwork

        self._network, self._device = TFLiteNetwork(data).eval().to(device), device
        self.input_shape = self._network.input_shape

    def __call__(self, values: np.ndarray, divisor: float = 1.0, offset: float = 0.0) -> list[np.ndarray]:
        """See `Runner`."""
        import torch

        batch = torch.from_numpy(np.ascontiguousarray(values)).to(self._device).float()
        if divisor != 1:
            batch = batch / divisor
        if offset:
            batch = batch + offset
        with torch.inference_mode():
            return [output.cpu().numpy() for output in self._network(batch)]


class LiteRTRunner:
    """A network run by LiteRT on one thread of the CPU, picture by picture; see `Runner`.

    Args:
        data: the TensorFlow Lite file.

    Raises:
        ValueError: it is no network, or more than one input goes in.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        #: An interpreter is one thread's at a time; as many are made as threads run at once.
        self._idle: list[Any] = []
        first = self._make()
        self.input_shape = tuple(int(size) for size in first.get_input_details()[0]["shape"])
        if len(first.get_input_details()) != 1:
            raise ValueError(f"a network with {len(first.get_input_details())} inputs; one is supported")
        self._idle.append(first)

    def _make(self) -> Any:
        from ai_edge_litert.interpreter import Interpreter

        with _without_chatter():
            made = Interpreter(model_content=self._data, num_threads=1)
            made.allocate_tensors()
        return made

    def __call__(self, values: np.ndarray, divisor: float = 1.0, offset: float = 0.0) -> list[np.ndarray]:
        """See `Runner`."""
        try:
            interpreter = self._idle.pop()
        except IndexError:
            interpreter = self._make()
        place = interpreter.get_input_details()[0]["index"]
        outputs = [details["index"] for details in interpreter.get_output_details()]
        found: list[list[np.ndarray]] = [[] for _ in outputs]
        for one in values:
            scaled = np.divide(one[None], np.float32(divisor), dtype=np.float32)
            interpreter.set_tensor(
                place, np.add(scaled, np.float32(offset), out=scaled) if offset else scaled
            )
            interpreter.invoke()
            for kept, index in zip(found, outputs, strict=True):
                kept.append(interpreter.get_tensor(index))
        self._idle.append(interpreter)
        return [self._joined(kept, len(values)) for kept in found]

    @staticmethod
    def _joined(parts: list[np.ndarray], count: int) -> np.ndarray:
        # A file may leave the batch of one away.
        whole = np.stack(parts) if parts else np.zeros((count, 0), np.float32)
        return whole[:, 0] if whole.ndim > 2 and whole.shape[1] == 1 else whole


_quiet = threading.Lock()
_said = False


@contextlib.contextmanager
def _without_chatter() -> Iterator[None]:
    """Keep one line of LiteRT's off the standard error, which it prints into once a process; all others go on their way."""
    global _said  # noqa: PLW0603
    with _quiet:
        if _said:
            yield
            return
        try:
            kept = os.dup(2)
        except OSError:  # it is closed: nobody sees it
            yield
            return
        with tempfile.TemporaryFile() as file:
            os.dup2(file.fileno(), 2)
            try:
                yield
            finally:
                os.dup2(kept, 2)
                os.close(kept)
                file.seek(0)
                for line in file.read().splitlines(keepends=True):
                    if line.rstrip() == _CHATTER:
                        _said = True
                    else:
                        os.write(2, line)
