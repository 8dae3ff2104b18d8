"""Fast forms against exact ones, each with a stated bound. Recipe weights amplify errors more than trained
ones would.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch._inductor.config
from torch import nn
from torch._dynamo.utils import counters

from retalk_models import build
from retalk_models.build import NETWORKS
from retalk_models.inference.numerics import safest
from retalk_models.inference.optimize import BATCH_NORMS, OptimizationConfig, default_optimization, optimize
from retalk_models.layers.conv import SpectralConv2d, UpConv2d
from tests.parity import assert_close, difference
from tests.retalk_models.adapters import run
from tests.retalk_models.digest_inputs import inputs
from tests.retalk_models.recipe import Subject

#: Largest difference from the exact form, relative to the largest value where that exceeds 1: float32 folded
#: as on the CPU, bfloat16. D-Net samples a picture along a flow: where the picture has an edge, a flow that
#: differs by 1e-5 pixels shows. L-Net's spectra come to 1.01e-4 with AVX2's kernels.
FLOAT32_BOUND = dict.fromkeys(NETWORKS, 1e-4) | {"dnet": 1e-3, "lnet": 5e-4}
BFLOAT16_BOUND = dict.fromkeys(NETWORKS, 0.03) | {
    "dnet": 0.1,
    "lnet": 0.15,
    "enet": 0.15,
    "gfpgan": 0.06,
    "ganimation": 0.2,
}
#: Networks that take minutes in bfloat16 on a processor without instructions for it.
LARGEST = ("enet", "gfpgan", "gpen")


def worst(ours: dict[str, np.ndarray], exact: dict[str, np.ndarray]) -> dict[str, float]:
    """Largest relative difference of each output. Labels are compared as logits, not as numbers."""
    assert set(ours) == set(exact)
    return {key: difference(ours[key], exact[key]) for key in exact if key != "out_argmax"}


@pytest.mark.parametrize("subject", NETWORKS, indirect=True)
def test_form_of_the_stages_is_exact_to_rounding(subject: Subject) -> None:
    module = optimize(subject.fresh(), default_optimization(subject.name, "cpu"))
    for key, gap in worst(run(subject.name, module, inputs(subject.name)), subject.outputs).items():
        assert gap <= FLOAT32_BOUND[subject.name], f"{subject.name} {key}: {gap:.3g}"


@pytest.mark.parametrize(
    "subject",
    [pytest.param(name, marks=pytest.mark.slow if name in LARGEST else ()) for name in NETWORKS],
    indirect=True,
)
def test_bfloat16_stays_within_its_bound(subject: Subject) -> None:
    """In the layout that is right on this processor: there are kernels that give infinities
    (`retalk_models.inference.numerics`).
    """
    module, accuracy = safest(
        subject.name, subject.fresh, OptimizationConfig(channels_last=True, dtype=torch.bfloat16)
    )
    assert accuracy is not None
    assert accuracy.form is not None
    assert accuracy.form.dtype == torch.bfloat16, f"neither layout is right on this processor: {accuracy}"
    outputs = run(subject.name, module, inputs(subject.name))
    gaps = worst(outputs, subject.outputs)
    assert all(array.dtype == np.float32 for key, array in outputs.items() if key != "out_argmax")
    assert max(gaps.values()) > 1e-4, "nothing ran in half precision"
    for key, gap in gaps.items():
        assert gap <= BFLOAT16_BOUND[subject.name], f"{subject.name} {key}: {gap:.3g}"


@pytest.mark.parametrize("subject", ["lnet", "s3fd", "wav2lip"], indirect=True)
def test_weights_cast_as_a_whole_run_on_cast_inputs(subject: Subject) -> None:
    """``load(name, dtype=torch.bfloat16)``: no spectrum, norm or final activation asks for float32 weights or
    inputs.
    """
    module = subject.fresh().to(torch.bfloat16)
    forward = module.forward
    module.forward = lambda *tensors: forward(*(tensor.bfloat16() for tensor in tensors))
    for key, gap in worst(run(subject.name, module, inputs(subject.name)), subject.outputs).items():
        assert gap <= BFLOAT16_BOUND[subject.name], f"{subject.name} {key}: {gap:.3g}"


def test_compiled_form_is_exact_to_rounding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`torch.compile` on GPEN's mapping network, eight linear layers: compiling a whole network takes minutes
    on a CPU.
    """
    # Programs that another run has compiled for another instruction set crash.
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch.manual_seed(0)
    mapping = build("gpen").generator.style
    for value in mapping.parameters():
        value.copy_(torch.randn_like(value) * 100)
    code = torch.randn(2, 512)
    # Inductor writes vector code for what the processor has, which torch's headers lack where
    # ATEN_CPU_CAPABILITY=default forbids it.
    scalar = {"cpp.simdlen": 1} if torch.backends.cpu.get_cpu_capability() == "DEFAULT" else {}
    with torch.inference_mode(), torch._inductor.config.patch(scalar):
        exact = mapping(code).numpy()
        counters.clear()
        compiled = optimize(mapping, OptimizationConfig(compile=True))
        assert_close("compiled", compiled(code).numpy(), exact, 1e-5)
    assert counters["stats"]["unique_graphs"] == 1


def test_folding_removes_norms_that_follow_convolutions() -> None:
    for name in set(NETWORKS) - {"fan"}:
        module = optimize(build(name))
        left = [
            key
            for key, layer in module.named_modules()
            if isinstance(layer, (*BATCH_NORMS, SpectralConv2d, UpConv2d))
        ]
        assert not left, f"{name}: {left}"
    # FAN normalises before its convolutions; only five of its norms follow one.
    before, after = (
        sum(isinstance(layer, BATCH_NORMS) for layer in m.modules())
        for m in (build("fan"), optimize(build("fan")))
    )
    assert before - after == 5


def test_optimise_twice_changes_nothing() -> None:
    torch.manual_seed(0)
    module = build("gpen").generator.convs[0]
    for value in module.parameters():
        value.copy_(torch.randn_like(value))
    arguments = torch.randn(1, 1024, 4, 4), torch.randn(1, 512), torch.randn(1, 512, 8, 8)
    with torch.inference_mode():
        exact = module(*arguments).numpy()
        assert_close("once", optimize(module)(*arguments).numpy(), exact, 1e-5)
        assert_close("twice", optimize(module)(*arguments).numpy(), exact, 1e-5)


def test_float16_is_refused_on_the_cpu() -> None:
    with pytest.raises(ValueError, match="bfloat16"):
        optimize(build("wav2lip"), OptimizationConfig(dtype=torch.float16))


def test_no_convolution_of_one_tap_is_left_to_the_slow_way() -> None:
    """torch gives 1x1 convolutions to BLAS where one thread runs; the optimised form keeps the values and takes oneDNN."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(96, 64, 1), nn.ReLU(), nn.Conv2d(64, 96, 1, bias=False)).eval()
    x = torch.randn(1, 96, 24, 24)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            exact = net(x)
            with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
                fast = optimize(net)(x)
    finally:
        torch.set_num_threads(threads)
    torch.testing.assert_close(fast, exact, rtol=1e-5, atol=1e-5)
    names = [event.key for event in profile.key_averages()]
    assert any("conv" in name for name in names)
    if torch.backends.mkldnn.is_available():
        assert not [name for name in names if "slow_conv" in name]
