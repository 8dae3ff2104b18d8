"""The two small MATLAB files of the release: expression templates and the 3-D points of the 5-point
alignment.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import scipy.io

from retalk_models.registry.errors import WeightsError
from retalk_models.registry.registry import Registry, default_registry

EXPRESSION = "expression.mat"
POINTS = "similarity_Lm3D_all.mat"
#: The original's names of the templates in expression.mat.
TEMPLATES = {"neutral": "expression_center", "smile": "expression_mouth"}
EXPRESSION_SIZE = 64


def _variable(path: Path, name: str) -> np.ndarray:
    try:
        content = scipy.io.loadmat(path, variable_names=[name])
    except (ValueError, TypeError, OSError, NotImplementedError, KeyError, IndexError) as error:
        raise WeightsError(f"{path}: cannot be read as a MATLAB file: {error}", [path.name]) from error
    if name not in content:
        held = ", ".join(entry for entry, *_ in scipy.io.whosmat(path))
        raise WeightsError(f"{path}: it has no variable {name!r}, but: {held}", [path.name])
    return np.asarray(content[name])


def load_expressions(registry: Registry | None = None) -> dict[str, np.ndarray]:
    """The expression templates of `expression.mat`: "neutral" and "smile", each float32[64], 3DMM expression
    coefficients.

    Row 0 of the variables ``expression_center`` and ``expression_mouth``
    (docs/reference.md#4-3dmm-coefficients).

    Raises:
        WeightsError: missing, unreadable or of another shape.
    """
    path = (registry or default_registry()).require([EXPRESSION])[EXPRESSION]
    templates = {}
    for template, name in TEMPLATES.items():
        rows = np.atleast_2d(_variable(path, name))
        if rows.shape[-1] != EXPRESSION_SIZE or rows.ndim != 2:
            raise WeightsError(
                f"{path}: variable {name!r} has shape {rows.shape}, expected (1 or more, {EXPRESSION_SIZE})",
                [path.name],
            )
        templates[template] = rows[0].astype(np.float32)
    return templates


def load_alignment_points(registry: Registry | None = None) -> np.ndarray:
    """The 3-D positions of the 68 landmarks of the mean face, float32[68, 3], from `similarity_Lm3D_all.mat`
    (variable ``lm``).

    The five points of the alignment are taken from these in the same way as from a picture's
    (docs/reference.md#4-3dmm-coefficients).

    Raises:
        WeightsError: missing, unreadable or of another shape.
    """
    path = (registry or default_registry()).require([POINTS])[POINTS]
    points = _variable(path, "lm")
    if points.shape != (68, 3):
        raise WeightsError(f"{path}: variable 'lm' has shape {points.shape}, expected (68, 3)", [path.name])
    return points.astype(np.float32)
