"""Model files that the engine's options need. Imports no torch: the preflight asks before anything is loaded."""

from __future__ import annotations

from typing import Literal

#: Numbers that networks compute in. auto: float32 until something else has been measured on the device
#: (`retalk_models.inference.optimize.default_optimization`).
Precision = Literal["auto", "float32", "bfloat16", "float16"]
Restoration = Literal["gfpgan-1.3", "gfpgan-1.4", "gpen", "none"]
#: Network that a restoration option stands for, and its file in the catalogue.
RESTORATIONS = {
    "gfpgan-1.3": ("gfpgan", "GFPGANv1.3.pth"),
    "gfpgan-1.4": ("gfpgan", "GFPGANv1.4.pth"),
    "gpen": ("gpen", "GPEN-BFR-512.pth"),
}


def restoration_files(*chosen: Restoration) -> tuple[str, ...]:
    """Model files of restoration options."""
    return tuple(RESTORATIONS[name][1] for name in chosen if name != "none")
