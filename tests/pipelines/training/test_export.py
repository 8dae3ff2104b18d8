"""Exports load strictly into the networks of the engine and hold what was trained; cards say what is known."""

from __future__ import annotations

import dataclasses
import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.cli.main import main
from pipelines.errors import UsageError
from pipelines.training.checkpoints import Checkpoints
from pipelines.training.config import load_config
from pipelines.training.export import NESTING, export, released, safetensors
from pipelines.training.frozen import IDENTITY, Sources, assemble, listed
from pipelines.training.loop import Trainer
from retalk_models.networks.lnet import LNet
from retalk_models.registry.catalog import Part
from retalk_models.training.lora import add_lora, merge_lora
from retalk_models.weights.load import fill, read_state_dict
from tests.pipelines.training.made import TINY, made_set
from tests.pipelines.training.test_loop import NARROW, RANDOM, narrow


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A training of one step, of LoRA over random weights."""
    folder = tmp_path_factory.mktemp("export")
    settings = dataclasses.replace(TINY, heads=0, faces=32)
    data = made_set(folder / "data", clips=1, frames=20, settings=settings)
    sources = dataclasses.replace(RANDOM, lora=2)
    Trainer(
        narrow(steps=1, critic=None), sources, data.url, str(folder / "run"), tell=lambda text: None
    ).train()
    return str(folder / "run")


def test_an_export_is_read_as_the_official_file_is(
    run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "LNet.pth"
    assert main(["train", "export", run, "-o", str(out), "--data-terms", "made-up clips"]) == 0
    assert "the engine retalk takes official ones only" in " ".join(capsys.readouterr().err.split())
    state = read_state_dict(out, Part("LNet.pth", ("state_dict",), "everywhere", ("low_res",), "", ""))
    network = LNet((8, 8, 8, 16), 1)
    fill(network, state, [out])
    found = Checkpoints(run).latest()
    assert found is not None
    for key, value in released(found[1]).items():
        assert torch.equal(network.state_dict()[key], value)
    card = next(tmp_path.glob("*.md")).read_text()
    assert "made-up clips" in card
    assert "LoRA of rank 2, merged" in card
    assert "| psnr |" in card


def test_the_official_nesting_of_each_network() -> None:
    from retalk_models.registry.registry import default_registry

    for kind in ("dnet", "lnet", "enet"):
        assert default_registry().catalog.networks[kind][0].nest == (NESTING[kind],)


def test_safetensors_hold_the_same_numbers(run: str, tmp_path: Path) -> None:
    out = tmp_path / "lnet.safetensors"
    export(run, str(out))
    content = out.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    assert header.pop("__metadata__")["network"] == "lnet"
    found = Checkpoints(run).latest()
    assert found is not None
    weights = released(found[1])
    assert header.keys() == weights.keys()
    key = "decoder.final.model.0.weight_orig"
    start, end = header[key]["data_offsets"]
    values = np.frombuffer(content[8 + length :][start:end], np.float32).reshape(header[key]["shape"])
    assert np.array_equal(values, weights[key].numpy())
    assert max(one["data_offsets"][1] for one in header.values()) == len(content) - 8 - length
    begun = assemble(narrow(), dataclasses.replace(RANDOM, begin=str(out))).generator.state_dict()
    assert all(torch.equal(begun[key], value) for key, value in weights.items())


def test_safetensors_of_scalars_and_whole_numbers() -> None:
    content = safetensors({"n": torch.tensor(3), "h": torch.ones(2, dtype=torch.bfloat16)}, {})
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    assert header["n"] == {"dtype": "I64", "shape": [], "data_offsets": [0, 8]}
    assert header["h"] == {"dtype": "BF16", "shape": [2], "data_offsets": [8, 12]}


def test_an_export_is_where_a_training_may_begin(run: str, tmp_path: Path) -> None:
    out = str(tmp_path / "LNet.pth")
    export(run, out)
    begun = assemble(narrow(), dataclasses.replace(RANDOM, begin=out, freeze=("encoder.*",)))
    content = torch.load(out, weights_only=True)["state_dict"]
    for key, value in begun.generator.state_dict().items():
        assert torch.equal(value, content[key])
    held = {name for name, p in begun.generator.named_parameters() if not p.requires_grad}
    assert held
    assert all(name.startswith("encoder.") for name in held)
    with pytest.raises(UsageError, match=r"--freeze mouth.\*: fits no parameter"):
        assemble(narrow(), dataclasses.replace(RANDOM, freeze=("mouth.*",)))
    with pytest.raises(UsageError, match="not the weights of this network"):
        assemble(
            narrow(network={**NARROW["network"], "num_res_blocks": 2}), dataclasses.replace(RANDOM, begin=out)
        )


def test_weights_by_recipe_are_the_same_every_time_and_no_experts() -> None:
    torch.manual_seed(1)
    first = assemble(narrow(), dataclasses.replace(RANDOM, begin="recipe")).generator
    torch.manual_seed(2)
    again = assemble(narrow(), dataclasses.replace(RANDOM, begin="recipe")).generator
    random = assemble(narrow(), RANDOM).generator
    for key, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[key])
    assert not all(torch.equal(p, random.state_dict()[key]) for key, p in first.named_parameters())
    assert first.training
    assert any(parameter.requires_grad for parameter in first.parameters())
    with pytest.raises(UsageError, match="no official weights of the sync expert"):
        assemble(load_config("sync"), dataclasses.replace(RANDOM, begin="recipe"))


def test_lora_begins_as_the_network_and_merges_into_it() -> None:
    torch.manual_seed(0)
    coefficients = torch.randn(2, 73, 26)
    lower = torch.nn.Sequential(torch.nn.Linear(26, 26), torch.nn.ReLU(), torch.nn.Linear(26, 26))
    before = lower(coefficients)
    assert add_lora(lower, 2) == 2
    torch.testing.assert_close(lower(coefficients), before)
    trained = {name for name, p in lower.named_parameters() if p.requires_grad}
    assert all(name.endswith((".up", ".down")) for name in trained)
    for name, p in lower.named_parameters():
        if name.endswith(".up"):
            p.data.normal_()
    after = lower(coefficients)
    assert not torch.allclose(after, before)
    merge_lora(lower)
    assert set(lower.state_dict()) == {"0.weight", "0.bias", "2.weight", "2.bias"}
    torch.testing.assert_close(lower(coefficients), after)


def test_nothing_to_export(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no checkpoint to export"):
        export(str(tmp_path), str(tmp_path / "x.pth"))


def test_models_of_the_losses_are_those_of_the_registry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETALK_HOME", str(tmp_path))
    with pytest.raises(UsageError, match=r"--features: .*vgg19-dcbb9e9d.pth(.|\n)*models pull(.|\n)*random"):
        assemble(narrow(), Sources())
    place = tmp_path / "models" / IDENTITY
    place.parent.mkdir(exist_ok=True)
    torch.save({"bias": torch.zeros(1)}, place)
    assert listed("official", IDENTITY, "--identity") == str(place)
    assert listed("/mine.pth", IDENTITY, "--identity") == "/mine.pth"
