"""Published numbers: Table 1 and the ablation of VideoReTalking (Cheng et al., SIGGRAPH Asia 2022); docs/evaluation.md."""

from __future__ import annotations

#: Metrics of the paper's table, in its order.
PUBLISHED_METRICS = ("fid", "cpbd", "lse_d", "lse_c")
#: Data sets of the paper's table by the names of `retalk eval`.
DATA = {"lrs2": "LRS2", "hdtf": "HDTF"}
#: System, then the four metrics on LRS2 and on HDTF; None where the paper has none.
TABLE_1: dict[str, dict[str, tuple[float, float, float, float] | None]] = {
    "LipGAN": {"lrs2": (5.168, 0.2615, 9.609, 3.062), "hdtf": (7.684, 0.2754, 9.943, 4.052)},
    "Wav2Lip without GAN": {"lrs2": (5.069, 0.2607, 7.116, 6.889), "hdtf": (7.358, 0.2764, 8.689, 5.427)},
    "Wav2Lip": {"lrs2": (3.911, 0.2714, 7.191, 6.870), "hdtf": (5.632, 0.2763, 8.895, 5.228)},
    "PC-AVS": {"lrs2": (12.800, 0.2085, 7.666, 5.974), "hdtf": None},
    "VideoReTalking": {"lrs2": (5.193, 0.2809, 6.519, 7.089), "hdtf": (4.504, 0.2903, 9.359, 4.518)},
}
#: The paper's ablation on HDTF.
ABLATION: dict[str, tuple[float, float, float, float]] = {
    "L-Net without cross-attention": (5.951, 0.2743, 9.788, 4.164),
    "L-Net": (6.471, 0.2755, 9.578, 4.382),
    "L-Net + E-Net (no D-Net)": (3.334, 0.2873, 10.171, 3.764),
}


def published_rows(data: str) -> dict[str, dict[str, float]]:
    """Published values of a data set: system, metric, value. {} for other data."""
    rows = {
        system: dict(zip(PUBLISHED_METRICS, values))
        for system, sets in TABLE_1.items()
        if (values := sets.get(data)) is not None
    }
    if data == "hdtf":
        rows |= {system: dict(zip(PUBLISHED_METRICS, values)) for system, values in ABLATION.items()}
    return rows
