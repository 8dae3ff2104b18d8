"""Results of the numerics check, kept in the user's cache folder, so that only the first worker of a machine
pays for a check.

One JSON file for each network, weights, form, device, version of torch and source code. A file that is damaged
or belongs to something else is ignored and written again.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock
import torch
from torch import nn

from retalk_models.registry.home import user_cache, write_json

logger = logging.getLogger(__name__)

FOLDER = "numerics"
#: Environment variables that choose among the kernels of a CPU.
KERNEL_VARIABLES = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "ONEDNN_CPU_ISA_HINTS")
#: Seconds to wait for another worker's check of the same network before checking it here too.
PATIENCE = 60.0
#: Values of each tensor that are hashed one by one.
SAMPLES = 16


def device_identity(device: str | torch.device) -> dict[str, Any]:
    """All that decides which kernels a device runs: its name, instruction sets and the variables that limit
    them.
    """
    torch_device = torch.device(device)
    if torch_device.type != "cpu":
        found: dict[str, Any] = {"device": torch_device.type, "cuda": str(torch.version.cuda)}
        if torch_device.type == "cuda":
            found["name"] = torch.cuda.get_device_name(torch_device)
            found["cudnn"] = torch.backends.cudnn.version()
        return found
    return {
        "device": "cpu",
        "capability": torch.backends.cpu.get_cpu_capability(),
        "mkldnn": torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled,
        "processor": processor(),
        "variables": {name: os.environ[name] for name in KERNEL_VARIABLES if os.environ.get(name)},
    }


@functools.cache
def processor() -> str:
    """Model of this machine's CPU and a digest of its flags (AVX, AMX and the like)."""
    with contextlib.suppress(OSError):
        first = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
        fields = {
            key.strip(): value.strip()
            for key, _, value in (line.partition(":") for line in first.splitlines())
        }
        flags = " ".join(sorted(fields.get("flags", fields.get("Features", "")).split()))
        model = fields.get("model name", platform.machine())
        return f"{model} {hashlib.sha256(flags.encode()).hexdigest()[:16]}"
    return platform.processor() or platform.machine()


@functools.cache
def source_digest() -> str:
    """SHA-256 of the source code of networks, layers and forms."""
    root, sha = Path(__file__).parents[1], hashlib.sha256()
    for folder in ("inference", "layers", "networks"):
        for path in sorted((root / folder).glob("*.py")):
            sha.update(f"{folder}/{path.name}\n".encode() + path.read_bytes())
    return sha.hexdigest()


def weights_digest(module: nn.Module) -> str:
    """A digest that differs for other weights: keys, shapes, some values and the sum of all bits of each
    tensor. Milliseconds where hashing every byte takes half a second.
    """
    sha = hashlib.sha256()
    for key, value in module.state_dict().items():
        flat = value.detach().reshape(-1)
        if flat.storage_offset() * flat.element_size() % 8:
            flat = flat.clone()
        octets, whole = flat.view(torch.uint8), flat.nbytes // 8 * 8
        words = octets[:whole].view(torch.int64)
        sample = flat[:: max(1, len(flat) // SAMPLES)].contiguous().view(torch.uint8)
        sha.update(f"{key} {value.dtype} {tuple(value.shape)} {words.sum().item()};".encode())
        sha.update(torch.cat([sample, octets[whole:]]).cpu().numpy().tobytes())
    return sha.hexdigest()


class Verdicts:
    """Kept figures by identity; a folder that cannot be written keeps none.

    Args:
        folder: default: ``numerics`` in the user's cache folder (`registry.home.user_cache`).
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or user_cache() / FOLDER

    def path(self, identity: dict[str, Any]) -> Path:
        """The file of an identity, a JSON object with ``network``."""
        text = json.dumps(identity, sort_keys=True)
        return self.folder / f"{identity['network']}-{hashlib.sha256(text.encode()).hexdigest()[:24]}.json"

    def load(self, identity: dict[str, Any]) -> dict[str, float] | None:
        """Figures kept under an identity; None where there are none, or none that can be trusted."""
        try:
            kept = json.loads(self.path(identity).read_bytes())
            figures = {name: float(value) for name, value in kept["figures"].items()}
            if kept["identity"] == identity and kept["sha256"] == _checksum(identity, figures):
                return figures
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
            logger.debug("%s: not used (%s)", self.path(identity), problem)
        return None

    def save(self, identity: dict[str, Any], figures: dict[str, float]) -> None:
        """Keep figures, atomically."""
        kept = {"identity": identity, "figures": figures, "sha256": _checksum(identity, figures)}
        try:
            write_json(self.path(identity), kept)
        except OSError as problem:
            logger.debug("%s: cannot be written (%s)", self.path(identity), problem)

    @contextlib.contextmanager
    def alone(self, network: str) -> Iterator[None]:
        """Hold a network's lock, so that workers that start together check it once; without a lock where none
        can be had.
        """
        lock = filelock.FileLock(self.folder / f"{network}.lock", timeout=PATIENCE)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except (OSError, NotImplementedError, filelock.Timeout) as problem:
            logger.debug("%s: checked without a lock (%s)", network, problem)
        try:
            yield
        finally:
            lock.release()


def _checksum(identity: dict[str, Any], figures: dict[str, float]) -> str:
    return hashlib.sha256(json.dumps([identity, figures], sort_keys=True).encode()).hexdigest()
