"""Safetensors files: values by hand, and damage that is told."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch

from retalk_models.registry.errors import WeightsError
from retalk_models.weights.checkpoint import read_checkpoint
from retalk_models.weights.safetensors_format import read_safetensors

HEADER: dict[str, Any] = {
    "__metadata__": {"network": "lnet"},
    "flag": {"dtype": "BOOL", "shape": [1], "data_offsets": [0, 1]},
    "w": {"dtype": "F32", "shape": [2, 1], "data_offsets": [1, 9]},
    "n": {"dtype": "I64", "shape": [], "data_offsets": [9, 17]},
}
BYTES = b"\1" + struct.pack("<2f", 1.5, -2.0) + struct.pack("<q", 7)


def written(path: Path, header: dict[str, Any] = HEADER, content: bytes = BYTES) -> Path:
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content)
    return path


def test_values_come_back_wherever_their_bytes_begin(tmp_path: Path) -> None:
    tensors, metadata = read_safetensors(written(tmp_path / "a.safetensors"))
    assert metadata == {"network": "lnet"}
    assert torch.equal(tensors["w"], torch.tensor([[1.5], [-2.0]]))
    assert tensors["n"].shape == ()
    assert (int(tensors["n"]), tensors["flag"].tolist()) == (7, [True])
    assert read_checkpoint(tmp_path / "a.safetensors").keys() == tensors.keys()


def test_tensors_are_read_from_the_map_and_written_beside_it(tmp_path: Path) -> None:
    header = {"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}
    padded = {
        **header,
        "__metadata__": {"pad": "x" * (-(8 + len(json.dumps({**header, "__metadata__": {"pad": ""}}))) % 64)},
    }
    path = written(tmp_path / "a.safetensors", padded, BYTES[1:9])
    kept = path.read_bytes()
    tensor = read_safetensors(path)[0]["w"]
    assert tensor.data_ptr() % 64 == 0
    tensor[0] = 9
    assert (tensor.tolist(), path.read_bytes()) == ([9, -2], kept)


@pytest.mark.parametrize(
    ("header", "content", "message"),
    [
        (HEADER, BYTES[:-1], "n: its bytes are not all there"),
        ({"w": {**HEADER["w"], "shape": [3]}}, BYTES, "w: its bytes are not all there"),
        ({"w": {**HEADER["w"], "dtype": "F8"}}, BYTES, "w: 'F8'"),
    ],
)
def test_damage_names_the_file_and_the_tensor(
    tmp_path: Path, header: dict[str, Any], content: bytes, message: str
) -> None:
    with pytest.raises(WeightsError, match=r"a.safetensors: cannot be read as safetensors") as caught:
        read_safetensors(written(tmp_path / "a.safetensors", header, content))
    assert message in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"short", struct.pack("<Q", 99) + b"{}", b"<html>" + bytes(40)])
def test_what_is_no_such_file_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="cannot be read as safetensors: header"):
        read_safetensors(path)
