"""The check of a network's form at set-up, with layers that really are wrong in one form and right in
another.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from operators.retalk.nets import Networks, NetworkStage
from operators.retalk.network_runner import Compute
from operators.segment import Segment
from retalk_models import build
from retalk_models.build import NETWORKS
from retalk_models.inference import numerics
from retalk_models.inference.numerics import NumericsError, describe, differences, safer_forms, safest
from retalk_models.inference.optimize import OptimizationConfig, default_optimization, optimize
from retalk_models.inference.probes import probe
from retalk_models.layers import winograd
from tests.retalk_models.inference.parsenets import HALF, Counted, another_process, kept, parsenet

BOLD = OptimizationConfig(channels_last=True, dtype=torch.bfloat16)
WINOGRAD_FORM = {name: default_optimization(name, "cpu") for name in ("dnet", "enet", "gfpgan", "parsenet")}


def innermost(conv: nn.Conv2d) -> bool:
    """True where a convolution's weights have the channels as the innermost axis."""
    return conv.weight.is_contiguous(memory_format=torch.channels_last) and not conv.weight.is_contiguous()


class WrongConv(nn.Conv2d):
    """A convolution that is wrong where `when` says, as a kernel of some processor may be."""

    value: float | None = math.inf

    def when(self) -> bool:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        right = super().forward(x)
        if not self.when():
            return right
        return right.flip(1) * 2 if self.value is None else torch.full_like(right, self.value)


class InfInHalfChannelsLast(WrongConv):
    def when(self) -> bool:
        return self.weight.dtype == torch.bfloat16 and innermost(self)


class InfInHalf(WrongConv):
    def when(self) -> bool:
        return self.weight.dtype == torch.bfloat16


class OtherNumbersInChannelsLast(WrongConv):
    """Finite, of the right size, and wrong."""

    value = None

    def when(self) -> bool:
        return innermost(self)


class AlwaysNan(WrongConv):
    value = math.nan

    def when(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("conv", "wanted", "taken", "figures"),
    [
        (InfInHalfChannelsLast, BOLD, dataclasses.replace(BOLD, channels_last=False), "not finite"),
        (InfInHalf, BOLD, default_optimization("parsenet", "cpu"), "not finite"),
        (
            OtherNumbersInChannelsLast,
            default_optimization("parsenet", "cpu"),
            OptimizationConfig(),
            "largest error",
        ),
    ],
)
def test_a_wrong_form_gives_way_to_the_next_that_is_right(
    conv: type[nn.Conv2d], wanted: OptimizationConfig, taken: OptimizationConfig, figures: str
) -> None:
    warnings: list[str] = []
    net, accuracy = safest("parsenet", lambda: parsenet(conv), wanted, warnings.append)
    assert accuracy is not None
    assert accuracy.form == taken
    assert accuracy.ok
    for part in ("parsenet", describe(wanted), "cpu", figures):
        assert part in warnings[0]
    assert describe(taken) in warnings[-1].rsplit("wrong here", 1)[1]
    outputs, exact = probe("parsenet", net)[0], probe("parsenet", parsenet(nn.Conv2d))[0]
    assert differences(outputs, exact)[0] < 0.1


def test_the_exact_form_is_the_last_resort_and_must_be_finite() -> None:
    class InfWhereFolded(WrongConv):
        def when(self) -> bool:
            return self.bias is not None  # a folded norm gives it one

    warnings: list[str] = []
    form = OptimizationConfig(winograd=("",))
    net, accuracy = safest("parsenet", lambda: parsenet(InfWhereFolded), form, warnings.append)
    assert accuracy is None
    assert warnings[-1].endswith("the exact form is used instead")
    assert net.get_submodule("body.0.conv1.norm.norm").training is False
    with pytest.raises(NumericsError, match=r"parsenet on cpu .*not finite.*as built.*/home/x\.pth.*damaged"):
        safest("parsenet", lambda: parsenet(AlwaysNan), BOLD, files="/home/x.pth")


def test_each_form_is_checked_once_a_machine_for_the_same_weights(
    calls: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings: list[str] = []
    for seed, expected in ((0, 2), (0, 2), (1, 4), (0, 4), (1, 4)):
        another_process(monkeypatch)
        _, accuracy = safest("parsenet", lambda seed=seed: parsenet(Counted, seed), HALF, warnings.append)  # type: ignore[misc]
        assert accuracy is not None
        assert accuracy.ok
        assert len(calls) == expected
    assert not warnings
    assert len(kept(tmp_path)) == 2
    # A form that was found wrong is not tried again, and is told again: another set of stages may use it.
    for count in (1, 2):
        another_process(monkeypatch)
        safest("parsenet", lambda: parsenet(InfInHalf, seed=2), HALF, warnings.append)
        assert len(warnings) == count
        assert "not finite" in warnings[-1]


def test_float32_by_the_originals_algorithms_needs_no_check(calls: list[int], tmp_path: Path) -> None:
    for form in (
        OptimizationConfig(),
        OptimizationConfig(channels_last=True),
        OptimizationConfig(fold=False),
    ):
        net, accuracy = safest("parsenet", lambda: parsenet(Counted), form)
        assert accuracy is None
        assert innermost(net.get_submodule("body.0.conv1.conv2d")) == form.channels_last  # type: ignore[arg-type]
    assert (calls, kept(tmp_path)) == ([], [])
    unchecked = {name for name in NETWORKS if not numerics.needs_check(default_optimization(name, "cpu"))}
    assert unchecked == set(NETWORKS) - {"dnet", "enet", "gfpgan", "parsenet"}


def test_a_float32_error_above_the_expected_only_warns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = default_optimization("parsenet", "cpu")
    check = numerics._Check("parsenet", parsenet(nn.Conv2d))
    warnings: list[str] = []
    for error, taken, count in ((0.04, form, 0), (0.1, form, 1), (0.3, OptimizationConfig(), 2)):
        another_process(monkeypatch)
        check.verdicts.save(check.identity(form), {"error": error, "rms": 0.01, "seconds": 1.0})
        _, accuracy = safest("parsenet", lambda: parsenet(nn.Conv2d), form, warnings.append)
        assert accuracy is not None
        assert accuracy.form == taken
        assert len(warnings) == count
    assert "more than expected" in warnings[0]
    assert "used instead" in warnings[1]


@pytest.mark.parametrize("name", ["dnet", "enet", "gfpgan", "parsenet"])
def test_the_smaller_input_runs_by_winograds_algorithm(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check runs the form that differs."""
    net = optimize(
        numerics.made_up(build(name, **({"low_res": False} if name == "enet" else {}))), WINOGRAD_FORM[name]
    )
    convolve, runs = winograd.convolve, list[int]()

    def counted(*args: Any, **kwargs: Any) -> Tensor:
        runs.append(1)
        return convolve(*args, **kwargs)

    monkeypatch.setattr(winograd, "convolve", counted)
    probe(name, net)
    assert len(runs) >= 3


def test_the_check_changes_no_output() -> None:
    checked, accuracy = safest(
        "parsenet", lambda: parsenet(nn.Conv2d), default_optimization("parsenet", "cpu")
    )
    assert accuracy is not None
    plain = optimize(parsenet(nn.Conv2d), default_optimization("parsenet", "cpu"))
    assert all(
        (a == b).all()
        for a, b in zip(probe("parsenet", checked)[0], probe("parsenet", plain)[0], strict=True)
    )


def test_stages_are_given_a_right_form_and_say_so() -> None:
    networks = Networks(
        Compute(precision="bfloat16"), loader=lambda name, **options: parsenet(InfInHalfChannelsLast)
    )
    types = {value.dtype for key, value in networks.module("parsenet").named_parameters() if value.ndim == 4}
    assert types == {torch.bfloat16}
    ((warning,),) = networks.warnings.values()
    assert warning.startswith("parsenet,")
    assert warning.endswith("bfloat16 is used instead")


def test_a_stage_notes_the_warnings_of_the_networks_that_it_asks() -> None:
    class Asks(NetworkStage):
        name = "asks"

        def __init__(self, networks: Networks, *names: str) -> None:
            super().__init__()
            self.networks, self.names = networks, names

        def compute(self, segment: Segment) -> dict[str, Any]:
            for name in self.names:
                self.networks.module(name)
            return {}

    networks = Networks(
        Compute(precision="bfloat16"), loader=lambda name, **options: parsenet(InfInHalfChannelsLast)
    )
    for names, count in ((("parsenet",), 1), ((), 0), (("parsenet", "parsenet"), 1)):
        segment = Segment({})
        assert Asks(networks, *names).process(segment) == {}
        assert len(segment.notes) == count
        assert all("parsenet, bfloat16 channels last" in note for note in segment.notes)


def test_every_form_has_an_end() -> None:
    for name in NETWORKS:
        for form in (BOLD, OptimizationConfig(), default_optimization(name, "cpu")):
            chain = list(safer_forms(name, form, "cpu"))
            assert chain[0] == form
            assert chain[-1] is None
            assert len(chain) == len(set(chain))


def test_the_forms_of_a_gpu_are_float16_for_pictures_and_float32_for_positions() -> None:
    half = {name for name in NETWORKS if default_optimization(name, "cuda").dtype == torch.float16}
    assert half >= {"face3d", "dnet", "lnet", "enet", "gfpgan", "gpen", "parsenet", "wav2lip"}
    assert not half & {"s3fd", "fan", "retinaface", "syncnet"}
    assert all(default_optimization(name, "cpu").dtype == torch.float32 for name in NETWORKS)


def test_after_float16_come_forms_in_float32_and_the_network_as_built() -> None:
    forms = list(safer_forms("dnet", default_optimization("dnet", "cuda"), "cuda"))
    assert [form and form.dtype for form in forms] == [
        torch.float16,
        torch.float16,
        torch.float32,
        torch.float32,
        None,
    ]
