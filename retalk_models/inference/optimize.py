"""Fast forms of the networks for inference, each held to its exact form by a test, and the choice between
them.

`retalk_models.build` and `load` give the exact form: the official keys, the original's operations. `optimize`
    rewrites it in place.

A network says as attributes of its class what a faster form must know of it:
    ENTRIES: methods that callers may call; ("forward",) without it.
    CONTIGUOUS: True if it gains nothing from channels_last: many small maps, Fourier transforms, or 3-D
        convolutions.
    HALF: True if its error in float16 on a GPU stays below what 8-bit pictures show (docs/benchmarks.md#on-a-gpu).
    COMPILES: False if `torch.compile` takes minutes for it and gains nothing.
    WINOGRAD: parts that gain from `layers.winograd` ("" all of it).
    CONV_NORM: pairs of a convolution and the batch norm behind it that are no neighbours in a `Sequential`.
    KEEP_FLOAT32: parts that stay out of autocast.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from retalk_models.build import network_class
from retalk_models.layers import winograd
from retalk_models.layers.stylegan2 import ModulatedConv2d

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d)


@dataclasses.dataclass(frozen=True)
class OptimizationConfig:
    """Settings with which a network runs.

    Attributes:
        fold: constants computed beforehand: spectral norms and batch norms inside the convolutions, nearest
            enlargement without its redundant products, Fourier blocks on undivided channels, filter energies.
            float32 differences about 1e-5.
        channels_last: activations and weights with the channel as the innermost axis.
        dtype: ``torch.float32``, or ``torch.bfloat16``/``torch.float16`` for convolutions and linear layers
            under autocast; norms, spectra, warps, RGB sums and outputs stay float32.
        winograd: parts of the network ("" all of it) whose 3x3 convolutions of large maps take half the
            products (`layers.winograd`); CPU and float32 only.
        compile: `torch.compile`; needs a C++ compiler on the CPU, Triton on a GPU. Each new input shape
            compiles again.
    """

    fold: bool = True
    channels_last: bool = False
    dtype: torch.dtype = torch.float32
    winograd: tuple[str, ...] = ()
    compile: bool = False


def optimize(module: nn.Module, form: OptimizationConfig | None = None) -> nn.Module:
    """Turn a network with its final weights into a faster form, in place.

    Its ``state_dict`` no longer has the official keys; it cannot be trained. Move it to its device before.

    Args:
        module: from `retalk_models.build` or `load`, float32.
        form: default: folded, float32.

    Returns:
        The same module.

    Raises:
        ValueError: float16 on the CPU, where torch runs it slower than float32.
    """
    form = form or OptimizationConfig()
    device = next(module.parameters()).device
    if form.dtype == torch.float16 and device.type == "cpu":
        raise ValueError("float16 is slower than float32 on the CPU: choose torch.bfloat16 there")
    with torch.no_grad():
        if form.fold:
            fold(module)
        if form.channels_last:
            use_channels_last(module)
        if form.dtype == torch.float32 and device.type == "cpu":
            use_onednn(module)
            for part in form.winograd:
                use_winograd(module.get_submodule(part))
        if form.dtype != torch.float32:
            use_dtype(module, form.dtype, device.type)
    if form.compile and getattr(module, "COMPILES", True):
        for name in entries(module):  # `Module.compile` would leave all but ``forward`` as they are
            setattr(module, name, torch.compile(getattr(module, name), dynamic=False))
    return module


def fold(module: nn.Module) -> None:
    """Compute constants beforehand: batch norms first, then whatever a layer's own ``fold`` offers."""
    for parent in module.modules():
        for conv, norm in norm_pairs(parent):
            fold_norm(parent, conv, norm)
    replace_folded(module)


def norm_pairs(parent: nn.Module) -> Iterator[tuple[str, str]]:
    """Names of the convolutions or linear layers whose output goes through a batch norm and nowhere else.

    Neighbours in a `Sequential`, and the pairs that a class lists as ``CONV_NORM``.
    """
    if isinstance(parent, nn.Sequential):
        names = list(parent._modules)
        yield from itertools.pairwise(names)
    yield from getattr(parent, "CONV_NORM", ())


def fold_norm(parent: nn.Module, conv_name: str, norm_name: str) -> None:
    """Put one batch norm into the convolution before it; nothing happens where the pair is something else."""
    conv, norm = getattr(parent, conv_name), parent
    *path, leaf = norm_name.split(".")
    for step in path:
        norm = getattr(norm, step)
        if isinstance(norm, nn.Identity):
            return
    holder, norm = norm, getattr(norm, leaf)
    if not isinstance(norm, BATCH_NORMS):
        return
    if isinstance(conv, nn.Linear):
        setattr(parent, conv_name, fuse_linear_bn_eval(conv, norm))
    elif isinstance(conv, CONVS):
        setattr(
            parent, conv_name, fuse_conv_bn_eval(conv, norm, transpose=isinstance(conv, nn.ConvTranspose2d))
        )
    else:
        return
    setattr(holder, leaf, nn.Identity())


def replace_folded(module: nn.Module) -> None:
    """Each layer that has a ``fold`` gives way to what it returns; parents before their children."""
    for name, child in list(module.named_children()):
        folded: nn.Module = child.fold() if callable(getattr(child, "fold", None)) else child  # type: ignore[operator]
        if folded is not child:
            setattr(module, name, folded)
        replace_folded(folded)


def use_channels_last(module: nn.Module) -> None:
    """Weights, constant pictures and inputs of 2-D layers with the channel innermost; activations follow. 3-D
    ones are left as they are.
    """
    for layer in module.modules():
        for key, value in list(layer.named_parameters(recurse=False)):
            if value.ndim == 4:
                setattr(
                    layer, key, nn.Parameter(value.to(memory_format=torch.channels_last), requires_grad=False)
                )

    def arrange(value: Any) -> Any:
        return (
            value.contiguous(memory_format=torch.channels_last)
            if isinstance(value, Tensor) and value.ndim == 4
            else value
        )

    for name in entries(module):
        method = getattr(module, name)

        @wraps(method)
        def call(*args: Any, _method: Any = method, **kwargs: Any) -> Any:
            return _method(*map(arrange, args), **{key: arrange(value) for key, value in kwargs.items()})

        setattr(module, name, call)


def use_winograd(module: nn.Module) -> None:
    """`layers.winograd` for the 3x3 convolutions that do not shrink."""
    for layer in module.modules():
        modulated = isinstance(layer, ModulatedConv2d) and layer.weight.shape[3:] == (3, 3)
        plain = type(layer) is nn.Conv2d and (
            *(layer.kernel_size, layer.stride),
            *(layer.dilation, layer.groups),
        ) == ((3, 3), (1, 1), (1, 1), 1)
        if modulated or plain:
            winograd.enable(layer)
        if plain and layer.padding_mode == "zeros" and not isinstance(layer.padding, str):
            layer.__class__ = winograd.WinogradConv2d  # where it is called as a module


def use_onednn(module: nn.Module) -> None:
    """Let oneDNN compute the 1x1 convolutions, on a CPU in float32.

    In a process of one thread torch gives 1x1 convolutions of fewer than 16 pictures to the BLAS library, which has half of
    oneDNN's speed on some processors (docs/benchmarks.md#networks). It never does so with dilated ones, and the dilation of
    a single tap means nothing.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d) and (layer.kernel_size, layer.stride) == ((1, 1), (1, 1)):
            layer.dilation = (2, 2)


def use_dtype(module: nn.Module, dtype: torch.dtype, device_type: str) -> None:
    """Weights of convolutions and linear layers in ``dtype``, calls under autocast: weights are not cast
    again at each call.

    Parts that a class lists as ``KEEP_FLOAT32`` stay out of it.
    """
    kept = [
        part
        for owner in module.modules()
        for part in map(owner.get_submodule, getattr(owner, "KEEP_FLOAT32", ()))
    ]
    untouched = {id(layer) for part in kept for layer in part.modules()}
    for part in kept:
        part.forward = torch.autocast(device_type, enabled=False)(part.forward)  # type: ignore[method-assign]
    for layer in module.modules():
        if id(layer) in untouched:
            continue
        plain = isinstance(layer, (*CONVS, nn.Linear))
        for key, value in list(layer.named_parameters(recurse=False)):
            if plain or (key == "weight" and value.ndim >= 4):
                setattr(layer, key, nn.Parameter(value.to(dtype), requires_grad=False))
    for name in entries(module):
        setattr(module, name, torch.autocast(device_type, dtype)(getattr(module, name)))


def entries(module: nn.Module) -> tuple[str, ...]:
    """Methods that callers may call."""
    return getattr(module, "ENTRIES", ("forward",))


def default_optimization(name: str, device: str) -> OptimizationConfig:
    """The form that stages use: the fastest measured whose error stays below what 8-bit pictures and pixel
    positions show.

    float32 on the CPU although bfloat16 is twice as fast on processors that have it: it moves what 8-bit
    pictures show, and on other processors it is slower. Bytes are equal on processors of one kind; between
    kinds float32 differs by rounding. On a GPU float16, four times as fast there, for networks that make pictures or
    read coefficients and labels; those that find positions stay in float32 (docs/benchmarks.md#on-a-gpu).

    Args:
        name: the network.
        device: a torch device string.
    """
    cpu, network = torch.device(device).type == "cpu", network_class(name)
    return OptimizationConfig(
        channels_last=not getattr(network, "CONTIGUOUS", False),
        winograd=getattr(network, "WINOGRAD", ()) if cpu else (),
        dtype=torch.float16 if not cpu and getattr(network, "HALF", False) else torch.float32,
    )
