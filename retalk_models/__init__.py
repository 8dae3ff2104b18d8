"""The networks of VideoReTalking as torch modules with the official checkpoint keys, and the registry of their weights.

May import torch and numpy only. Knows no files of users, no video, no Ray.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from retalk_models.build import build

if TYPE_CHECKING:
    from retalk_models.weights import load

__all__ = ["build", "load"]


def __getattr__(name: str) -> Any:
    """`load` on first use: importing this package for its catalogue must not wait for torch."""
    if name == "load":
        from retalk_models.weights import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
