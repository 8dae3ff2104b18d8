"""The networks of VideoReTalking as torch modules with the official checkpoint keys, and the registry of
their weights.

Networks import torch and numpy only; the registry also fsspec, filelock, yaml and scipy. Knows no files of
users, no video, no Ray.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from retalk_models.build import build

if TYPE_CHECKING:
    from retalk_models.registry.errors import KeysError, WeightsError
    from retalk_models.registry.registry import available, missing, require
    from retalk_models.weights.load import load, load_into
    from retalk_models.weights.matlab import load_alignment_points, load_expressions
    from retalk_models.weights.torch_hub import seed_face_alignment

#: Version of the distribution; pyproject.toml reads it here, so that a checkout that is not installed has it
#: too.
__version__ = "0.1.0"

__all__ = [
    "KeysError",
    "WeightsError",
    "__version__",
    "available",
    "build",
    "load",
    "load_alignment_points",
    "load_expressions",
    "load_into",
    "missing",
    "require",
    "seed_face_alignment",
]

_HOMES = {
    "KeysError": "retalk_models.registry.errors",
    "WeightsError": "retalk_models.registry.errors",
    "available": "retalk_models.registry.registry",
    "load": "retalk_models.weights.load",
    "load_alignment_points": "retalk_models.weights.matlab",
    "load_expressions": "retalk_models.weights.matlab",
    "load_into": "retalk_models.weights.load",
    "missing": "retalk_models.registry.registry",
    "require": "retalk_models.registry.registry",
    "seed_face_alignment": "retalk_models.weights.torch_hub",
}


def __getattr__(name: str) -> Any:
    """Everything but `build` on first use: importing this package for its catalogue must not wait for torch."""
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
