"""Construction of networks by name, without weights, for the registry and the benchmarks."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

#: Name -> module and class. Networks are imported when built: `import retalk_models` stays cheap.
NETWORKS = {
    "dnet": ("retalk_models.networks.dnet", "DNet"),
    "lnet": ("retalk_models.networks.lnet", "LNet"),
    "enet": ("retalk_models.networks.enet", "ENet"),
    "face3d": ("retalk_models.networks.face3d", "Face3D"),
    "gfpgan": ("retalk_models.networks.gfpgan", "GFPGAN"),
    "gpen": ("retalk_models.networks.gpen", "GPEN"),
    "parsenet": ("retalk_models.networks.parsenet", "ParseNet"),
    "retinaface": ("retalk_models.networks.retinaface", "RetinaFace"),
    "s3fd": ("retalk_models.networks.s3fd", "S3FD"),
    "fan": ("retalk_models.networks.fan", "FAN"),
    "ganimation": ("retalk_models.networks.ganimation", "GANimation"),
    "syncnet": ("retalk_models.networks.syncnet", "SyncNet"),
    "inception": ("retalk_models.networks.inception", "Inception"),
    "lpips": ("retalk_models.networks.lpips", "LPIPS"),
    "wav2lip": ("retalk_models.networks.wav2lip", "Wav2Lip"),
}


def network_class(name: str) -> type[nn.Module]:
    """The class of a network, imported when asked for.

    Raises:
        ValueError: no such network.
    """
    if name not in NETWORKS:
        raise ValueError(f"no network {name!r}: choose one of {', '.join(NETWORKS)}")
    module, network = NETWORKS[name]
    found: type[nn.Module] = getattr(importlib.import_module(module), network)
    return found


def build(name: str, **options: Any) -> nn.Module:
    """A network in eval mode, float32, on the CPU, ready for ``load_state_dict`` with the official
    checkpoint's keys.

    Nothing is initialised: weights are zeros that occupy no memory until they are written (load with
    ``assign=True`` to keep it so); constant buffers hold their values.

    Args:
        name: one of `NETWORKS`.
        options: constructor arguments of the network, for instance ``low_res=False`` for ``enet``.

    Raises:
        ValueError: no such network.
    """
    network = network_class(name)
    import torch

    with torch.device("meta"):  # constant buffers name the CPU explicitly and are not affected
        net: nn.Module = network(**options)
    for owner in net.modules():
        for key, parameter in owner._parameters.items():
            if parameter is not None and parameter.is_meta:
                zeros = torch.zeros(parameter.shape, dtype=parameter.dtype)
                owner._parameters[key] = torch.nn.Parameter(zeros, requires_grad=False)
        for key, buffer in owner._buffers.items():
            if buffer is not None and buffer.is_meta:
                owner._buffers[key] = torch.zeros(buffer.shape, dtype=buffer.dtype)
    return net.eval()
