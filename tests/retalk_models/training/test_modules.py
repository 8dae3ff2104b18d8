"""Feature networks, critics and the expert: keys, shapes, and what may learn."""

import pytest
import torch

from retalk_models.layers.conv import SpectralConv2d
from retalk_models.training.arcface import ArcFace, arcface
from retalk_models.training.averages import Schedule, WeightAverage
from retalk_models.training.critics import PatchCritic, frozen_call
from retalk_models.training.features import CHANNELS, VGG19, random_features, vgg19
from retalk_models.training.initial import initialise
from retalk_models.training.sync_expert import SyncExpert, lower_halves


def test_vgg19_has_torchvisions_keys_and_ignores_the_rest() -> None:
    state = {key: torch.randn_like(value) * 0.01 for key, value in VGG19().state_dict().items()}
    assert list(state)[:3] == ["features.0.weight", "features.0.bias", "features.2.weight"]
    assert list(state)[-1] == "features.28.bias"
    # torchvision's file goes on.
    made = vgg19({**state, "features.30.weight": torch.zeros(1), "classifier.0.weight": torch.zeros(1)})
    torch.testing.assert_close(made.features[28].weight, state["features.28.weight"])
    del state["features.5.bias"]
    with pytest.raises(RuntimeError, match=r"features\.5\.bias"):
        vgg19(state)


def test_maps_of_features_and_the_random_ones_see_differences() -> None:
    features = random_features()
    maps = features(torch.rand(1, 3, 32, 32))
    assert [m.shape[-1] for m in maps] == [32, 16, 8, 4, 2]
    assert all(0.1 < float(m.std()) < 3 for m in maps)  # the spread is kept through all layers
    torch.testing.assert_close(
        maps[0], random_features()(torch.zeros(1, 3, 32, 32))[0].new_tensor(0) + maps[0]
    )
    assert not any(p.requires_grad for p in features.parameters())
    assert not features.train().training
    assert len(CHANNELS) == len(maps)


def test_random_features_are_the_same_everywhere() -> None:
    one, other = random_features(3), random_features(3)
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values()))
    assert not torch.equal(one.features[0].weight, random_features(4).features[0].weight)


def test_arcface_reads_gfpgans_keys_and_gives_unit_vectors() -> None:
    torch.manual_seed(0)
    made = ArcFace()
    state = {f"module.{key}": value for key, value in made.state_dict().items()}
    assert {
        "module.layer2.0.downsample.0.weight",
        "module.layer1.0.prelu.weight",
        "module.fc5.weight",
    } <= set(state)
    faces = torch.rand(2, 3, 96, 96)
    embeddings = arcface(state)(faces)
    assert embeddings.shape == (2, 512)
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(2))
    torch.testing.assert_close(embeddings, made(faces))


def test_a_critics_gradients_reach_pictures_but_not_its_weights() -> None:
    torch.manual_seed(0)
    critic = PatchCritic((8, 8)).train()
    initialise(critic)
    pictures = torch.rand(2, 3, 32, 32, requires_grad=True)
    frozen_call(critic, pictures).mean().backward()
    assert pictures.grad is not None
    assert pictures.grad.abs().max() > 0
    assert all(p.grad is None for p in critic.parameters())
    critic(pictures.detach()).mean().backward()
    assert all(p.grad is not None for p in critic.parameters())


def test_spectral_norm_follows_the_weights_in_train_mode_only() -> None:
    torch.manual_seed(0)
    conv = SpectralConv2d(4, 8, 3, 1)
    initialise(conv)
    conv.weight_orig.data.normal_()
    conv.train()
    for _ in range(50):
        conv(torch.rand(1, 4, 8, 8))
    assert torch.linalg.matrix_norm(conv.weight().flatten(1), 2).item() == pytest.approx(1, abs=0.02)
    before = conv.eval().weight_u.clone()
    conv(torch.rand(1, 4, 8, 8))
    assert torch.equal(before, conv.weight_u)


def test_spectral_norm_has_the_gradient_of_torchs_own() -> None:
    torch.manual_seed(0)
    theirs = torch.nn.utils.spectral_norm(torch.nn.Conv2d(3, 4, 3, padding=1)).train()
    ours = SpectralConv2d(3, 4, 3, 1).train()
    ours.load_state_dict(theirs.state_dict())
    x = torch.rand(2, 3, 8, 8)
    for conv in (theirs, ours):
        conv(x).square().sum().backward()
        conv(x).square().sum().backward()  # the vectors have moved on
    torch.testing.assert_close(ours.weight_orig.grad, theirs.weight_orig.grad, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours.weight_u, theirs.weight_u)


def test_an_expert_of_motion_sees_no_still_picture() -> None:
    torch.manual_seed(0)
    expert, faces = SyncExpert((4, 4, 8, 8, 8), motion=True).eval(), torch.rand(2, 5, 3, 96, 96)
    seen = expert.faces(faces)
    torch.testing.assert_close(expert.faces(faces + torch.rand(2, 1, 3, 96, 96)), seen)
    assert not torch.allclose(expert.faces(faces.flip(1)), seen)


def test_the_expert_compares_lower_halves_with_sound() -> None:
    torch.manual_seed(0)
    expert = SyncExpert((4, 4, 8, 8, 8)).eval()
    faces, mel = torch.rand(2, 5, 3, 96, 96), torch.randn(2, 1, 80, 16)
    assert lower_halves(faces).shape == (2, 15, 48, 96)
    agreement = expert(faces, mel)
    assert agreement.shape == (2,)
    assert ((agreement >= 0) & (agreement <= 1)).all()
    changed = faces.clone()
    changed[..., :48, :] = 0
    torch.testing.assert_close(expert(changed, mel), agreement)


def test_weight_averages_follow_and_copy_buffers() -> None:
    layer = torch.nn.BatchNorm1d(2)
    average = WeightAverage(layer, 0.5)
    with torch.no_grad():
        layer.weight.fill_(3.0)
        layer.running_mean.fill_(7.0)
    average.update(layer)  # early: a tenth stays
    torch.testing.assert_close(average.state["weight"], torch.full((2,), 1 + 0.9 * 2))
    assert average.state["running_mean"].tolist() == [7.0, 7.0]


def test_schedules() -> None:
    assert Schedule(1.0, warmup=4).at(0, 100) == 0.25
    assert Schedule(1.0).at(99, 100) == 1.0
    assert Schedule(1.0, kind="cosine").at(50, 100) == pytest.approx(0.5)
    steps = Schedule(1.0, kind="steps", drops=(10, 20), factor=0.2)
    assert [steps.at(n, 100) for n in (9, 10, 20)] == pytest.approx([1.0, 0.2, 0.04])
