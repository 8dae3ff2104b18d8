"""Training steps of narrow networks: losses, gradients of every weight, phases, and that losses fall."""

import dataclasses
import math

import pytest
import torch

from benchmarks.training_gpu import NARROW, made_up
from retalk_models.build import build
from retalk_models.training.features import random_features
from retalk_models.training.initial import initial
from retalk_models.training.settings import LOSSES, DNetLosses, LNetLosses
from retalk_models.training.steps import Networks, masked, networks_for, training_step
from retalk_models.training.sync_expert import SyncExpert

pytestmark = pytest.mark.usefixtures("one_thread")


def narrow(kind: str) -> Networks:
    torch.manual_seed(0)
    networks = networks_for(kind, {"channels": (8, 8)}, **NARROW[kind])
    networks.features = random_features(0, (4, 4, 4, 4, 4))
    if kind in ("lnet", "enet"):
        networks.expert = SyncExpert(**NARROW["sync"]).requires_grad_(False).eval()
    return networks


def losses_of(kind: str, **changes: object) -> object:
    scales = {} if kind == "sync" else {"scales": 1}
    return dataclasses.replace(LOSSES[kind](), **{**scales, **changes})


@pytest.mark.parametrize("kind", ["sync", "dnet", "lnet", "enet"])
def test_every_weight_that_is_trained_gets_a_gradient(kind: str) -> None:
    networks = narrow(kind)
    changes = {"warp_steps": 0} if kind == "dnet" else {}
    step = training_step(kind, networks, made_up(kind, 2, "cpu", small=True), losses_of(kind, **changes), 0)
    step.total.backward()
    missing = [
        name for name, p in networks.trained().named_parameters() if p.requires_grad and p.grad is None
    ]
    # Biases and mean shifts before a normalisation change nothing, but they are in the graph.
    assert not missing
    assert step.total.isfinite()
    assert all(not any(p.grad is not None for p in one.parameters()) for one in networks.frozen())
    assert all(row.ndim == 4 and row.min() >= 0 for name, row in step.pictures.items() if name != "drawn")


@pytest.mark.parametrize("kind", ["sync", "dnet", "lnet", "enet"])
def test_losses_fall_on_one_batch(kind: str) -> None:
    networks, batch = narrow(kind), made_up(kind, 6 if kind == "sync" else 2, "cpu", small=True)
    networks.critic = None
    if kind == "sync":
        batch["in_sync"] = torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
    config = losses_of(kind, **({"warp_steps": 0} if kind == "dnet" else {}))
    optimiser = torch.optim.Adam(
        networks.trained().parameters(), lr={"sync": 1e-3, "dnet": 3e-4}.get(kind, 3e-3)
    )
    seen = []
    for number in range({"sync": 12, "dnet": 8}.get(kind, 5)):
        step = training_step(kind, networks, batch, config, number)
        optimiser.zero_grad()
        step.total.backward()
        optimiser.step()
        seen.append(float(step.total.detach()))
    assert min(seen[-3:]) < 0.98 * seen[0], seen


def test_windows_of_a_clip_are_told_apart() -> None:
    """An expert that learns one clip by heart finds the sound of each of its windows."""
    networks, pairs = narrow("sync"), made_up("sync", 4, "cpu")
    batch = {name: pairs[name][None] for name in ("faces", "mel")}
    optimiser = torch.optim.Adam(networks.trained().parameters(), lr=3e-3)
    for number in range(25):
        step = training_step("sync", networks, batch, LOSSES["sync"](), number)
        optimiser.zero_grad()
        step.total.backward()
        optimiser.step()
    assert set(step.parts) == {"sync", "matching", "matched"}
    assert step.parts["matched"] == 1.0
    assert step.parts["matching"] < 0.9 * math.log(4)


def test_dnet_warps_alone_before_it_edits() -> None:
    networks, batch = narrow("dnet"), made_up("dnet", 1, "cpu", small=True)
    config = losses_of("dnet", warp_steps=5)
    assert isinstance(config, DNetLosses)
    step = training_step("dnet", networks, batch, config, 4)
    step.total.backward()
    assert set(step.parts) == {"warp", "flow"}
    assert all(p.grad is None for p in networks.generator.editing_net.parameters())  # type: ignore[union-attr]
    assert set(training_step("dnet", networks, batch, config, 5).parts) == {"warp", "flow", "final", "style"}


def test_the_sync_loss_counts_only_when_it_is_on() -> None:
    networks, batch = narrow("lnet"), made_up("lnet", 2, "cpu", small=True)
    networks.critic, networks.generator = None, networks.generator.eval()
    config = losses_of("lnet", sync=1.0)
    off = training_step("lnet", networks, batch, config, 0, sync_on=False)
    on = training_step("lnet", networks, batch, config, 0, sync_on=True)
    assert float((on.total - off.total).detach()) == pytest.approx(float(on.parts["sync"]), rel=1e-3)
    assert isinstance(config, LNetLosses)
    assert off.parts["sync"] > 0


def test_lnet_sees_no_mouth() -> None:
    faces = torch.rand(1, 3, 8, 8)
    seen = masked(faces)
    assert torch.equal(seen[..., :4, :], faces[..., :4, :])
    assert not seen[..., 4:, :].any()


@pytest.mark.parametrize("kind", ["dnet", "lnet", "enet"])
def test_networks_begin_with_the_official_keys(kind: str) -> None:
    options = {"low_res": False} if kind == "enet" else {}
    official = build(kind, **options)
    made = initial(kind, **options)
    assert {k: v.shape for k, v in made.state_dict().items()} == {
        k: v.shape for k, v in official.state_dict().items()
    }
    assert all(value.isfinite().all() for value in made.state_dict().values() if value.is_floating_point())


def test_an_unknown_network_is_refused() -> None:
    with pytest.raises(ValueError, match="no training of 'gpen'"):
        training_step("gpen", narrow("sync"), {}, LOSSES["sync"](), 0)
