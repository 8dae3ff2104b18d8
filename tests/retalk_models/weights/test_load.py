"""Networks filled from files in the official nesting: every key goes where it belongs, and every wrong key is
named.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from torch import nn

from retalk_models.build import build
from retalk_models.registry.catalog import Catalog, Part, load_catalog
from retalk_models.registry.errors import KeysError, WeightsError
from retalk_models.registry.registry import Registry
from retalk_models.weights.load import load, load_into, owned
from retalk_models.weights.matlab import load_alignment_points, load_expressions
from retalk_models.weights.torch_hub import face_alignment_paths, seed_face_alignment
from tests.conftest import PARITY
from tests.retalk_models.fetch_server import catalog_of, model_file

State = dict[str, torch.Tensor]

#: Network -> how its official file holds the state dict
#: (docs/reference.md#14-how-the-files-hold-the-weights).
OFFICIAL: dict[str, Callable[[State], object]] = {
    "dnet": lambda s: {"net_G": {}, "net_G_ema": s, "current_epoch": 12},
    "enet": lambda s: {
        "state_dict": {f"module.{k}": v for k, v in s.items()} | {"module.low_res.encoder.x": torch.ones(1)}
    },
    "face3d": lambda s: {"net_recon": s, "opt_00": {"state": {}, "param_groups": []}},
    "lnet": lambda s: {
        "state_dict": {f"module.{k}": v for k, v in s.items()} | {"module.low_res.x": torch.ones(1)},
        "optimizer": {"state": {}},
    },
    "gfpgan": lambda s: {"params": {"decoy": torch.ones(1)}, "params_ema": s},
    "gpen": lambda s: s,
    "parsenet": lambda s: s,
    "retinaface": lambda s: (
        {f"module.{k}": v for k, v in s.items()}
        | {"module.body.fc.weight": torch.ones(3), "module.body.fc.bias": torch.ones(3)}
    ),
    "s3fd": lambda s: s,
    "fan": lambda s: s,
    "ganimation": lambda s: s | {"not.in.the.net": torch.ones(1)},
    "syncnet": lambda s: {k: v for k, v in s.items() if not k.endswith("num_batches_tracked")},
    "wav2lip": lambda s: {
        "state_dict": {f"module.{k}": v for k, v in s.items()},
        "optimizer": None,
        "global_step": 7,
    },
}
OPTIONS = {"enet": {"low_res": False}}


def official_keys(name: str) -> dict[str, tuple[list[int], torch.dtype]]:
    """Shapes and dtypes by official key: from the parity manifest where that is at hand, from the network
    otherwise.
    """
    manifest = PARITY / name / "manifest.json"
    if manifest.is_file():
        entries = json.loads(manifest.read_text())["state_dict"]
        return {entry["key"]: (entry["shape"], getattr(torch, entry["dtype"])) for entry in entries}
    return {
        key: (list(value.shape), value.dtype)
        for key, value in build(name, **OPTIONS.get(name, {})).state_dict().items()
    }


def weights_for(name: str) -> State:
    """A value of its own for each official key. The 30 MB network has one for each number; the others'
    tensors are stretched from one number, which torch stores as one number, so that a gigabyte of keys makes
    a small file.
    """
    weights = {}
    for index, (key, (shape, dtype)) in enumerate(official_keys(name).items()):
        value = torch.tensor(index + 1, dtype=dtype)
        weights[key] = torch.rand(shape) if name == "ganimation" else value.expand(shape)
    return weights


def registry_with(home: Path, network: str, content: object, file: str = "net.pth") -> Registry:
    """A cache whose one file holds ``content`` and is what the package's catalogue says of a network, but for
    its digest.
    """
    parts = [
        Part(**{**part.__dict__, "file": file})
        for part in load_catalog().networks[network]
        if not part.prefix
    ]
    registry = Registry(home, Catalog({file: model_file(file)}, {network: tuple(parts)}))
    registry.directory.mkdir(parents=True, exist_ok=True)
    torch.save(content, registry.path(file))
    return registry


@pytest.mark.parametrize("name", OFFICIAL)
def test_each_network_takes_its_official_file(tmp_path: Path, name: str) -> None:
    weights = weights_for(name)
    registry = registry_with(tmp_path, name, OFFICIAL[name](weights))
    module = load(name, registry=registry, **OPTIONS.get(name, {}))
    assert not module.training
    found = module.state_dict()
    assert set(found) == set(weights)
    for key, value in found.items():
        if name == "syncnet" and key.endswith("num_batches_tracked"):
            continue  # the old file has no such counters
        assert torch.equal(value, weights[key]), key


def test_enet_whole_takes_lnet_from_its_own_file(tmp_path: Path) -> None:
    """The catalogue's own entry: ENet.pth without its low_res keys, and LNet.pth under low_res."""
    own, low = weights_for("enet"), weights_for("lnet")
    files = {"ENet.pth": OFFICIAL["enet"](own), "LNet.pth": OFFICIAL["lnet"](low)}
    catalog = Catalog({file: model_file(file) for file in files}, {"enet": load_catalog().networks["enet"]})
    registry = Registry(tmp_path, catalog)
    registry.directory.mkdir()
    for file, content in files.items():
        torch.save(content, registry.path(file))
    found = load("enet", registry=registry).state_dict()
    wanted = own | {f"low_res.{key}": value for key, value in low.items()}
    assert set(found) == set(wanted)
    assert all(torch.equal(found[key], value) for key, value in wanted.items())


class Inner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 1)
        self.norm = nn.BatchNorm2d(3)


class Outer(nn.Module):
    """Shaped as E-Net is: an own part, and another network's under low_res."""

    def __init__(self, low_res: bool = True) -> None:
        super().__init__()
        self.head = nn.Linear(2, 2)
        if low_res:
            self.low_res = Inner()


def two_files(home: Path) -> tuple[Registry, State, State]:
    own = {f"head.{key}": torch.full_like(value, 2.0) for key, value in nn.Linear(2, 2).state_dict().items()}
    low = {key: torch.full_like(value, 3) for key, value in Inner().state_dict().items()}
    stale = {f"module.low_res.{key}": torch.full_like(value, 9) for key, value in low.items()}
    parts = (
        Part("E.pth", ("state_dict",), "everywhere", ("low_res",)),
        Part("L.pth", ("state_dict",), "everywhere", ("low_res",), prefix="low_res."),
    )
    registry = Registry(home, catalog_of(model_file("E.pth"), model_file("L.pth"), enet=parts))
    registry.directory.mkdir(parents=True)
    torch.save(
        {"state_dict": {f"module.{key}": value for key, value in own.items()} | stale}, registry.path("E.pth")
    )
    torch.save(
        {"state_dict": {key.replace("conv.", "conv.module."): value for key, value in low.items()}},
        registry.path("L.pth"),
    )
    return registry, own, low


def test_a_network_of_two_files_takes_each_part_from_its_own(tmp_path: Path) -> None:
    """E-Net: its file's own low_res keys are ignored, L-Net's file fills them."""
    registry, own, low = two_files(tmp_path)
    state = load_into(Outer(), "enet", registry=registry).state_dict()
    assert all(torch.equal(state[key], value) for key, value in own.items())
    assert all(torch.equal(state[f"low_res.{key}"], value) for key, value in low.items())
    registry.path("L.pth").unlink()  # a stage that holds the own part only does not need the other file
    assert torch.equal(
        load_into(Outer(low_res=False), "enet", registry=registry).state_dict()["head.bias"], own["head.bias"]
    )
    with pytest.raises(WeightsError, match=r"L\.pth[\s\S]*retalk models pull L\.pth"):
        load_into(Outer(), "enet", registry=registry)


def test_wrong_keys_are_named_one_by_one(tmp_path: Path) -> None:
    state = {key: value for key, value in Inner().state_dict().items() if key != "norm.bias"}
    state |= {"conv.weight": torch.zeros(3, 2, 3, 3), "conv.weight_orig": torch.zeros(1)}
    registry = registry_with(tmp_path, "dnet", {"net_G_ema": state}, "DNet.pt")
    module = Inner()
    before = module.norm.weight.clone()
    with pytest.raises(KeysError) as caught:
        load_into(module, "dnet", registry=registry)
    assert caught.value.missing == ("norm.bias",)
    assert caught.value.unexpected == ("conv.weight_orig",)
    assert caught.value.shapes == ("conv.weight: file (3, 2, 3, 3) network (3, 2, 1, 1)",)
    for text in ("DNet.pt", "norm.bias", "conv.weight_orig", "(3, 2, 3, 3)", "Inner"):
        assert text in str(caught.value)
    assert torch.equal(module.norm.weight, before)  # nothing was half loaded


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_weights_that_are_not_finite_are_named_with_their_file(tmp_path: Path, value: float) -> None:
    state = {key: tensor.clone() for key, tensor in Inner().state_dict().items()}
    state |= {"conv.weight": torch.full((3, 2, 1, 1), 3e38), "norm.bias": state["norm.bias"].fill_(value)}
    registry = registry_with(tmp_path, "dnet", {"net_G_ema": state}, "DNet.pt")
    with pytest.raises(
        WeightsError, match=r"DNet\.pt: damaged.*not finite.*retalk models pull[\s\S]*norm\.bias"
    ) as caught:
        load_into(Inner(), "dnet", registry=registry)
    assert "conv.weight" not in str(caught.value), "its sum overflows, its values are finite"


def test_other_nestings_and_no_nesting(tmp_path: Path) -> None:
    state = Inner().state_dict()
    load_into(Inner(), "dnet", registry=registry_with(tmp_path / "flat", "dnet", state))
    with pytest.raises(
        WeightsError, match=r"net.pth: expected net_G_ema, but its top level holds generator, step"
    ):
        load_into(
            Inner(), "dnet", registry=registry_with(tmp_path / "b", "dnet", {"generator": state, "step": 1})
        )
    with pytest.raises(WeightsError, match="found list"):
        load_into(Inner(), "dnet", registry=registry_with(tmp_path / "c", "dnet", [1, 2]))
    with pytest.raises(WeightsError, match="no network is called 'nosuch'"):
        load("nosuch", registry=Registry(tmp_path))


def test_dtype_and_another_file_of_the_catalogue(tmp_path: Path) -> None:
    weights = weights_for("ganimation")
    registry = registry_with(tmp_path, "ganimation", weights)
    half = load("ganimation", "cpu", torch.float16, registry=registry)
    assert {value.dtype for value in half.state_dict().values()} == {torch.float16}
    torch.save({key: value + 1 for key, value in weights.items()}, tmp_path / "mine.pth")
    mine = load("ganimation", file=str(tmp_path / "mine.pth"), registry=registry)
    key = next(iter(weights))
    assert torch.equal(mine.state_dict()[key], weights[key] + 1)


def matlab_registry(home: Path) -> Registry:
    registry = Registry(home, catalog_of(model_file("expression.mat"), model_file("similarity_Lm3D_all.mat")))
    registry.directory.mkdir(parents=True)
    return registry


def test_matlab_files(tmp_path: Path) -> None:
    registry = matlab_registry(tmp_path)
    rows = np.arange(2 * 64, dtype=np.float64).reshape(2, 64)
    points = np.arange(204, dtype=np.float32).reshape(68, 3)
    scipy.io.savemat(
        registry.path("expression.mat"), {"expression_center": rows, "expression_mouth": rows[:1] + 0.5}
    )
    scipy.io.savemat(registry.path("similarity_Lm3D_all.mat"), {"lm": points}, do_compression=True)
    templates = load_expressions(registry)
    assert templates["neutral"].dtype == np.float32
    np.testing.assert_array_equal(templates["neutral"], rows[0])
    np.testing.assert_array_equal(templates["smile"], rows[0] + 0.5)
    np.testing.assert_array_equal(load_alignment_points(registry), points)


def test_wrong_matlab_files_are_named(tmp_path: Path) -> None:
    registry = matlab_registry(tmp_path)
    scipy.io.savemat(registry.path("expression.mat"), {"expression_center": np.zeros((1, 63))})
    with pytest.raises(
        WeightsError, match=r"expression.mat: variable 'expression_center' has shape \(1, 63\)"
    ):
        load_expressions(registry)
    scipy.io.savemat(registry.path("similarity_Lm3D_all.mat"), {"points": np.zeros((68, 3))})
    with pytest.raises(WeightsError, match=r"no variable 'lm', but: points"):
        load_alignment_points(registry)
    second = matlab_registry(tmp_path / "2")
    second.path("similarity_Lm3D_all.mat").write_bytes(b"MATLAB 5.0 MAT-file, cut short")
    with pytest.raises(WeightsError, match=r"similarity_Lm3D_all.mat: cannot be read"):
        load_alignment_points(second)


def test_face_alignment_finds_our_files(tmp_path: Path) -> None:
    files = [path.name for path in face_alignment_paths(tmp_path)]
    registry = Registry(tmp_path / "home", catalog_of(*(model_file(file) for file in files)))
    with pytest.raises(WeightsError, match=files[1]):
        seed_face_alignment(tmp_path / "hub", registry)
    registry.directory.mkdir(parents=True, exist_ok=True)
    for file in files:
        registry.path(file).write_bytes(file.encode())
    hub = tmp_path / "hub" / "checkpoints"
    hub.mkdir(parents=True)
    (hub / files[0]).write_bytes(b"half a download")
    assert seed_face_alignment(tmp_path / "hub", registry) == [hub / file for file in files]
    assert all((hub / file).samefile(registry.path(file)) for file in files)
    assert seed_face_alignment(tmp_path / "hub", registry) == [hub / file for file in files]
    assert sorted(path.name for path in hub.iterdir()) == sorted(files)


def test_face_alignment_asks_for_exactly_these_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Against the installed package: its addresses end in our names, and its loader looks in the folder that
    we fill.
    """
    from face_alignment import api, utils
    from face_alignment.detection.sfd import sfd_detector

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    detector, landmarks = face_alignment_paths()
    assert sfd_detector.models_urls["s3fd"] == load_catalog().files[detector.name].urls[0]
    assert api.models_urls["2DFAN-4"] == load_catalog().files[landmarks.name].urls[0]
    for path in (detector, landmarks):
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"w": torch.ones(1)}, path)
    assert utils.load_file_from_url(api.models_urls["2DFAN-4"]) == str(landmarks)
    assert torch.equal(
        torch.hub.load_state_dict_from_url(sfd_detector.models_urls["s3fd"])["w"], torch.ones(1)
    )


# --- shared memory ------------------------------------------------------------------------------------------
def mapped(path: Path) -> list[tuple[int, int]]:
    """Addresses at which this process has mapped a file."""
    lines = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
    spans = [fields[0].split("-") for fields in lines if fields[-1] == str(path)]
    return [(int(start, 16), int(stop, 16)) for start, stop in spans]


def lies_in(tensor: torch.Tensor, spans: list[tuple[int, int]]) -> bool:
    return any(start <= tensor.data_ptr() < stop for start, stop in spans)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="this system does not tell what is mapped")
def test_a_network_lies_in_its_mapped_file(tmp_path: Path) -> None:
    """All processes of a machine have the same pages; what one of them writes is its own."""
    weights = {key: torch.rand(value.shape) for key, value in Inner().state_dict().items()}
    weights["norm.num_batches_tracked"] = torch.tensor(3)
    registry = registry_with(tmp_path, "dnet", {"net_G_ema": weights}, "DNet.pt")
    path = registry.path("DNet.pt")
    content = path.read_bytes()
    module = load_into(Inner(), "dnet", registry=registry)
    spans = mapped(path)
    assert spans
    assert all(lies_in(value, spans) for value in module.state_dict().values())
    assert all(parameter.requires_grad for parameter in module.parameters())
    other = load_into(Inner(), "dnet", registry=registry)
    with torch.no_grad():
        module.conv.weight.zero_()
    assert torch.equal(other.conv.weight, weights["conv.weight"])
    assert path.read_bytes() == content
    for one in (module, other):
        one.to("meta")  # as to a GPU: the processes of one keep nothing of the file
    assert not mapped(path)


def test_tensors_that_a_network_cannot_have_as_they_are_are_copied(tmp_path: Path) -> None:
    """Of another type, turned, two in the same memory, or beginning where torch lets none begin."""
    whole = torch.rand(64)
    given = {
        "half": torch.rand(4).half(),
        "turned": torch.rand(3, 2).t(),
        "one": whole[:32],
        "same": whole[16:48],  # begins on 64 bytes
        "odd": whole[49:],
        "fine": torch.rand(5),
        "none": torch.rand(0),
    }
    like = {key: torch.empty(value.shape) for key, value in given.items()}
    found = owned(given, like)
    assert all(torch.equal(found[key], value.float()) for key, value in given.items())
    assert all(value.dtype == torch.float32 and value.is_contiguous() for value in found.values())
    kept = {key for key, value in found.items() if len(value) and value.data_ptr() == given[key].data_ptr()}
    assert kept == {"one", "fine"}
