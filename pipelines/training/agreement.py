"""Values that all workers of a training share; of a single worker they are its own."""

from __future__ import annotations

import torch
import torch.distributed as dist


def place() -> tuple[int, int]:
    """Number of this worker, and of workers."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def shared_gradients(parameters: list[torch.nn.Parameter]) -> None:
    """Replace gradients by their means over the workers; parameters without one are left out, on all workers the same."""
    world = place()[1]
    found = [one.grad for one in parameters if one.grad is not None]
    if world == 1 or not found:
        return
    flat = torch.cat([one.flatten() for one in found])
    dist.all_reduce(flat)
    for grad, part in zip(found, flat.div_(world).split([one.numel() for one in found]), strict=True):
        grad.copy_(part.view_as(grad))


def wait() -> None:
    """Wait for all workers."""
    if place()[1] > 1:
        dist.barrier()


def means(values: dict[str, float], device: str) -> dict[str, float]:
    """Return means over the workers."""
    world = place()[1]
    if world == 1:
        return values
    told = torch.tensor(list(values.values()), device=device)
    dist.all_reduce(told)
    return dict(zip(values, (told / world).tolist(), strict=True))


def anywhere(flag: bool, device: str) -> bool:
    """Return True if a flag is set on any worker."""
    if place()[1] == 1:
        return flag
    told = torch.tensor(float(flag), device=device)
    dist.all_reduce(told, op=dist.ReduceOp.MAX)
    return bool(told > 0)


def first_says(flag: bool, device: str) -> bool:
    """Return the first worker's flag."""
    if place()[1] == 1:
        return flag
    told = torch.tensor(float(flag), device=device)
    dist.broadcast(told, 0)
    return bool(told > 0)
