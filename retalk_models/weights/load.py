"""Networks with their official weights: `load` builds one and fills it from the cache, key by key.

The catalogue says how each network's keys lie in its files (nesting, prefixes, keys that the original
ignores). Everything else must match: the original loads some files non-strictly and would not notice a wrong
one; here each missing or unexpected key is an error.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from retalk_models.registry.catalog import Part
from retalk_models.registry.errors import KeysError, WeightsError
from retalk_models.registry.registry import Registry, default_registry
from retalk_models.weights.checkpoint import read_checkpoint

#: Counters of training steps that batch norms keep; checkpoints older than torch 0.4.1 lack them, inference
#: never reads them.
UNUSED_KEY = "num_batches_tracked"
SHOWN_KEYS = 20
#: Bytes on which torch lets tensors begin.
ALIGNMENT = 64


def _unnest(content: Any, part: Part, path: Path) -> dict[str, Any]:
    """The state dict inside a checkpoint's content."""
    if isinstance(content, dict):
        for key in part.nest:
            if isinstance(content.get(key), dict):
                return content[key]
        if any(isinstance(value, torch.Tensor) for value in content.values()):
            return content
        wanted = " or ".join(part.nest) if part.nest else "a flat state dict"
        raise WeightsError(
            f"{path}: expected {wanted}, but its top level holds {', '.join(map(str, list(content)[:SHOWN_KEYS]))}",
            [path.name],
        )
    raise WeightsError(
        f"{path}: expected a dictionary of tensors, found {type(content).__name__}", [path.name]
    )


def _rename(key: str, part: Part) -> str:
    if part.module == "everywhere":
        return part.prefix + key.replace("module.", "")
    return part.prefix + key.removeprefix("module.")


def read_state_dict(path: Path, part: Part) -> dict[str, torch.Tensor]:
    """One file's tensors under the network's keys, on the CPU.

    Raises:
        WeightsError: unreadable, or no state dict where one should be.
    """
    state = _unnest(read_checkpoint(path), part, path)
    return {
        _rename(key, part): value
        for key, value in state.items()
        if isinstance(value, torch.Tensor) and not any(text in key for text in part.drop)
    }


def check_finite(state: dict[str, torch.Tensor], path: Path) -> None:
    """Refuse weights that are not numbers.

    Raises:
        WeightsError: values are infinite or not numbers; names the file and the tensors.
    """
    # A sum takes a tenth of the time of looking at each value.
    broken = [
        key
        for key, value in state.items()
        if value.is_floating_point()
        and not bool(value.sum(dtype=torch.float32).isfinite())
        and not bool(value.isfinite().all())
    ]
    if broken:
        raise WeightsError(
            f"{path}: damaged: it holds values that are not finite (inf or nan); fetch it again (retalk models pull "
            f"{path.name}){_listed('tensors with such values', broken)}",
            [path.name],
        )


def _listed(title: str, keys: list[str]) -> str:
    more = f" and {len(keys) - SHOWN_KEYS} more" if len(keys) > SHOWN_KEYS else ""
    return f"\n  {len(keys)} {title}: {', '.join(keys[:SHOWN_KEYS])}{more}" if keys else ""


def fill(
    module: nn.Module, state: dict[str, torch.Tensor], files: Iterable[Path], ignore_extra: bool = False
) -> nn.Module:
    """Put a state dict into a network whose keys and shapes must be the same.

    Tensors of a mapped file become the network's own as they are (`owned`): what no form of the network rewrites lies in
    memory once for all processes of a machine.

    Args:
        ignore_extra: keys that the network lacks are ignored.

    Raises:
        KeysError: with the names of all missing and unexpected keys and of those whose shapes differ.
    """
    own = module.state_dict()
    missing = [key for key in own if key not in state and not key.endswith(UNUSED_KEY)]
    unexpected = (
        [] if ignore_extra else [key for key in state if key not in own and not key.endswith(UNUSED_KEY)]
    )
    shapes = [
        f"{key}: file {tuple(state[key].shape)} network {tuple(own[key].shape)}"
        for key in own
        if key in state and own[key].shape != state[key].shape
    ]
    if missing or unexpected or shapes:
        names = [path.name for path in files]
        text = f"{', '.join(str(path) for path in files)}: not the weights of {type(module).__name__}:"
        text += (
            _listed("missing", missing)
            + _listed("unexpected", unexpected)
            + _listed("of another shape", shapes)
        )
        raise KeysError(text, names, missing, unexpected, shapes)
    # Strictness was judged above; what this call could still complain of are the unused counters.
    given = {key: value for key, value in state.items() if key in own}
    if all(value.device.type == "cpu" for value in own.values()):
        module.load_state_dict(owned(given, own), strict=False, assign=True)
    else:
        module.load_state_dict(given, strict=False)
    return module


def owned(state: Mapping[str, torch.Tensor], like: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors that a network may have for its own: of the types of ``like``, contiguous, each in memory that no other
    one has, which begins on 64 bytes as torch's own does, so that libraries compute the same bits with them.

    Those that are so already are not copied. A file that was mapped is mapped privately: what is written to a tensor does
    not reach the file.
    """
    end = 0  # of the memory that is taken already
    result = {}
    for key, value in sorted(state.items(), key=lambda item: item[1].data_ptr()):
        start, kept = value.data_ptr(), value.detach().to(like[key].dtype).contiguous()
        if kept.data_ptr() == start:
            if start % ALIGNMENT or start < end:
                kept = kept.clone()
            else:
                end = start + kept.nbytes
        result[key] = kept
    return result


def parts_of(name: str, registry: Registry, file: str | None = None) -> tuple[Part, ...]:
    """Loading plan of a network; with ``file`` in the place of its (first) file.

    Raises:
        WeightsError: no network has that name.
    """
    parts = registry.catalog.networks.get(name)
    if parts is None:
        raise WeightsError(
            f"no network is called {name!r}; known: {', '.join(registry.catalog.networks)}", [name]
        )
    if file is None:
        return parts
    if os.sep in file:
        file = str(Path(file).expanduser().absolute())
    else:
        file = registry.catalog.files_of([file])[0].file
    first = parts[0]
    return (Part(file, first.nest, first.module, first.drop, first.extra, first.prefix), *parts[1:])


def load_into(
    module: nn.Module, name: str, *, file: str | None = None, registry: Registry | None = None
) -> nn.Module:
    """Fill a module that has a network's keys (or, of a network of two files, the keys of one of them) with
    its official weights.

    Args:
        module: e.g. E-Net without its embedded L-Net, as one stage uses it: a part is read only if the module
            has keys under its prefix.
        name: the network, as in `load`.

    Raises:
        WeightsError: files are missing, wrong or damaged. KeysError: the keys do not match.
    """
    registry = registry or default_registry()
    parts = parts_of(name, registry, file)
    own = module.state_dict()
    parts = tuple(
        part for part in parts if not part.prefix or any(key.startswith(part.prefix) for key in own)
    )
    outside = {part.file: Path(part.file) for part in parts if Path(part.file).is_absolute()}
    paths = outside | registry.require([part.file for part in parts if part.file not in outside])
    state: dict[str, torch.Tensor] = {}
    for part in parts:
        found = read_state_dict(paths[part.file], part)
        check_finite({key: value for key, value in found.items() if key in own}, paths[part.file])
        state |= found
    ignore_extra = any(part.extra == "ignore" for part in parts)
    fill(module, state, [paths[part.file] for part in parts], ignore_extra)
    return module.eval()


def load(
    name: str,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    *,
    file: str | None = None,
    registry: Registry | None = None,
    **options: Any,
) -> nn.Module:
    """A network with its official weights, in eval mode.

    Args:
        name: one of `retalk_models.build.NETWORKS`.
        device: where to put it.
        dtype: of its floating-point parameters and buffers.
        file: another file of the catalogue in the place of the network's own ("GFPGANv1.4.pth"), or a path
            (anything with a slash in it), whose digest is not checked.
        registry: default: the cache of this environment.
        options: of `retalk_models.build`, for instance ``low_res=False`` for "enet", which then reads
            ENet.pth only.

    Returns:
        The module of `retalk_models.build(name, **options)`; its call signature is given there.

    Raises:
        WeightsError: files are missing (one error names all of them and the command that brings them), wrong
            or unreadable.
        KeysError: the file's keys are not the network's; all of them are named.
    """
    registry = registry or default_registry()
    parts_of(name, registry)
    from retalk_models.build import build

    module = load_into(build(name, **options), name, file=file, registry=registry)
    return module.to(device=device, dtype=dtype)
