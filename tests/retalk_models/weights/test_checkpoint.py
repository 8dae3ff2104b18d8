"""Checkpoint files are read without running what lies in them."""

import argparse
import collections
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from retalk_models.registry.errors import WeightsError
from retalk_models.weights.checkpoint import names_in_checkpoint, read_checkpoint

STATE = collections.OrderedDict(
    weight=torch.arange(6.0).reshape(2, 3), bias=torch.ones(2, dtype=torch.float16)
)


class Attack:
    """Unpickled the ordinary way, this makes a directory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.path),)


class Trainer:
    """A class of somebody's training code: not importable where the file is read."""

    def __init__(self) -> None:
        self.rate = 0.1
        self.history = [1, 2]


def save(path: Path, content: Any, zip_format: bool) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=zip_format)
    return path


@pytest.mark.parametrize("zip_format", [True, False])
def test_plain_state_dicts(tmp_path: Path, zip_format: bool) -> None:
    content = read_checkpoint(save(tmp_path / "a.pth", {"state_dict": STATE, "epoch": 3}, zip_format))
    assert content["epoch"] == 3
    assert torch.equal(content["state_dict"]["weight"], STATE["weight"])
    assert content["state_dict"]["bias"].dtype == torch.float16


@pytest.mark.parametrize("zip_format", [True, False])
def test_objects_beside_the_weights_become_inert(
    tmp_path: Path, zip_format: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = argparse.Namespace(lr=0.1, gpus=[0], nested=Trainer())
    content = {
        "net": STATE,
        "options": options,
        "loss": np.float64(0.5),
        "stats": np.arange(4),
        "trainer": Trainer(),
        "kinds": {Path("a")},
    }
    path = save(tmp_path / "a.pth", content, zip_format)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)
    trusted = set(torch.serialization.get_safe_globals())
    monkeypatch.delattr(f"{__name__}.Trainer")  # the reader has no such class
    found = read_checkpoint(path)
    assert torch.equal(found["net"]["weight"], STATE["weight"])
    assert not isinstance(found["options"], argparse.Namespace)
    assert found["options"].__dict__ == {}
    assert set(torch.serialization.get_safe_globals()) == trusted  # nothing of the file stays trusted


@pytest.mark.parametrize("zip_format", [True, False])
def test_code_in_a_file_is_not_run(tmp_path: Path, zip_format: bool) -> None:
    target = tmp_path / "made-by-the-file"
    path = save(tmp_path / "evil.pth", {"state_dict": STATE, "x": Attack(target)}, zip_format)
    with pytest.raises(WeightsError, match=rf"evil.pth.*{os.mkdir.__module__}\.mkdir"):
        read_checkpoint(path)
    assert not target.exists()
    torch.load(path, weights_only=False)  # the attack is a real one
    assert target.exists()


def test_code_behind_an_innocent_name_is_not_run(tmp_path: Path) -> None:
    """A callable that no list of bad modules would hold: it is replaced, not called."""
    called = tmp_path / "called"

    class Sneaky:
        def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
            return np.savetxt, (str(called), [1.0])

    path = save(tmp_path / "a.pth", {"w": STATE["weight"], "x": Sneaky()}, True)
    assert torch.equal(read_checkpoint(path)["w"], STATE["weight"])
    assert not called.exists()
    torch.load(path, weights_only=False)
    assert called.exists()


def test_names_are_listed_for_both_formats(tmp_path: Path) -> None:
    for zip_format in (True, False):
        names = names_in_checkpoint(
            save(tmp_path / f"{zip_format}.pth", {"w": STATE, "t": Trainer()}, zip_format)
        )
        assert f"{__name__}.Trainer" in names
        assert "collections.OrderedDict" in names


def test_torchscript_archives_are_recognised(tmp_path: Path) -> None:
    module = torch.jit.script(torch.nn.Linear(2, 2))
    path = tmp_path / "2DFAN4-cd938726ad.zip"
    torch.jit.save(module, path)
    with pytest.raises(WeightsError, match=r"2DFAN4-cd938726ad.zip.*TorchScript.*2DFAN4-11f355bf06.pth.tar"):
        read_checkpoint(path)


def test_damaged_files_are_named(tmp_path: Path) -> None:
    whole = save(tmp_path / "a.pth", {"w": torch.zeros(10_000)}, True).read_bytes()
    cut = tmp_path / "cut.pth"
    for damaged in (whole[: len(whole) // 2], b"", b"not a checkpoint", b"\x80\x02", whole[:100]):
        cut.write_bytes(damaged)
        with pytest.raises(WeightsError, match=r"cut\.pth"):
            read_checkpoint(cut)
    with zipfile.ZipFile(cut, "w") as archive:
        archive.writestr("readme.txt", "not a checkpoint either")
    with pytest.raises(WeightsError, match=r"cut\.pth"):
        read_checkpoint(cut)
