"""Every network: keys, shapes and numbers against the original's.

Two references: the goldens of ``../shared/parity`` (or ``RETALK_PARITY_GOLDENS``) where they are, and the
    committed digest everywhere.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from retalk_models import build
from retalk_models.build import NETWORKS
from tests.parity import NETWORK_TOLERANCE, assert_close, golden, golden_names, manifest
from tests.retalk_models import digest
from tests.retalk_models.adapters import matching, run
from tests.retalk_models.recipe import Subject, keys_crc32, recipe_crc32
from tests.weight_recipe import derived_entries

DIGEST = json.loads(digest.PATH.read_text())
SOURCES = [
    (name, source)
    for name in NETWORKS
    for source in ("digest", "golden")
    if source == "digest" or name in golden_names()
]


@pytest.mark.parametrize(("subject", "source"), SOURCES, indirect=["subject"])
def test_outputs_equal_the_originals(subject: Subject, source: str) -> None:
    name = subject.name
    if source == "digest":
        digest.assert_matches(name, subject.outputs, DIGEST[name]["outputs"])
        return
    arrays = golden(f"{name}/golden.npz")
    outputs = run(name, subject.module, arrays, mids=True)
    compared = [key for key in arrays if not key.startswith("in_")]
    assert any(key.startswith("out") for key in compared)
    for key in compared:
        ours, expected = matching(name, key, outputs), arrays[key]
        if key == "out_argmax":
            assert (ours == expected).mean() >= 0.999, f"{name} {key}"
        else:
            assert_close(f"{name} {key}", ours, expected, NETWORK_TOLERANCE)


@pytest.mark.parametrize("name", NETWORKS)
def test_recipe_rules_are_the_manifests(name: str) -> None:
    """The compact rule tables, used where there is no manifest, name the same keys, shapes and rules in the
    same order.
    """
    derived = [entry for entry in derived_entries(name, build(name)) if not entry.key.startswith("low_res.")]
    assert recipe_crc32(derived) == DIGEST[name]["recipe_crc32"]
    if listed := manifest(name):
        assert [(e.key, e.shape, e.init) for e in derived] == [(e.key, e.shape, e.init) for e in listed]


@pytest.mark.parametrize("name", NETWORKS)
def test_build_gives_an_empty_network_of_the_official_keys(name: str) -> None:
    module = build(name)
    assert not module.training
    assert keys_crc32(module) == DIGEST[name]["keys_crc32"]
    for key, value in module.state_dict().items():
        assert value.device.type == "cpu"
        assert value.dtype == (torch.int64 if key.endswith("num_batches_tracked") else torch.float32)


def test_build_fills_constant_buffers() -> None:
    kernel = dict(build("gpen").named_buffers())["ecd1.0.0.kernel"].numpy()
    taps = np.array([1, 3, 3, 1]) / 8
    assert_close("kernel", kernel, np.outer(taps, taps))


def test_build_names_the_networks_when_asked_for_another() -> None:
    with pytest.raises(ValueError, match=r"'lnett'.*lnet"):
        build("lnett")
