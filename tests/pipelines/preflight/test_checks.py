"""Preflight: what would crawl is refused with the numbers and the line to change."""

from __future__ import annotations

from collections import namedtuple
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from operators.columns import tensor
from operators.stage import Stage
from pipelines.engine.config import EngineConfig, ProfileConfig, load_profile, names
from pipelines.engine.engine import Engine
from pipelines.engine.profile_parts import PoolConfig
from pipelines.errors import PreflightError
from pipelines.manifest.titles import Dub, Title
from pipelines.preflight import checks as preflight
from tests.pipelines.conftest import engine_config

RETALK = ["detect", "recon3d", "dnet", "lnet", "enet", "blend"]


def pools(profile: ProfileConfig, engine: str, stages: list[str]) -> list[PoolConfig]:
    return [pool for pool, _ in profile.place(engine, stages)]


def test_minimums_of_the_shipped_profiles_fit_their_machines() -> None:
    machines = {
        "laptop": {"CPU": 2.0},
        "node-8gpu": {"CPU": 80.0, "GPU": 8.0},
        "autoscaling": {"CPU": 24.0, "GPU": 4.0},
    }
    assert set(names("profiles")) == set(machines)
    for name, resources in machines.items():
        profile = load_profile(name)
        for engine, stages in (("exemplar", ["detect", "speak", "choose", "render"]), ("retalk", RETALK)):
            preflight.check_resources(profile, pools(profile, engine, stages), resources)


def test_too_few_gpus_are_refused_with_the_sum() -> None:
    profile = load_profile("node-8gpu")
    with pytest.raises(PreflightError) as refused:
        preflight.check_resources(profile, pools(profile, "retalk", RETALK), {"CPU": 80.0, "GPU": 3.0})
    text = str(refused.value)
    assert text.startswith("profile node-8gpu holds at least 4 GPUs at once, Ray has 3:")
    for line in (
        "detect: 4 × num_gpus 0.25 = 1",
        "reconstruct: 2 × num_gpus 0.5 = 1",
        "generate: 4 × num_gpus 0.5 = 2",
        "lower min (or size)",
    ):
        assert line in text


def test_too_few_cpus_are_refused() -> None:
    profile = ProfileConfig(
        name="p",
        pools=[PoolConfig(name="a", size=3, num_cpus=2)],
        plan=PoolConfig(name="plan", size=1, num_cpus=0.5),
    )
    with pytest.raises(
        PreflightError,
        match=r"at least 6\.5 CPUs at once, Ray has 6:\n  plan: 1 × num_cpus 0\.5 = 0\.5\n  a: 3 × num_cpus 2 = 6",
    ):
        preflight.check_resources(profile, profile.pools, {"CPU": 6.0})
    preflight.check_resources(profile, profile.pools, {"CPU": 7.0})


class Crops(Stage):
    """A stage that gives a lot."""

    name = "crops"
    writes = pa.schema([tensor("crops", "uint8", "T", 256, 256, 3)])

    def process(self, segment: Any) -> dict[str, Any]:
        raise NotImplementedError


class UsesCrops(Stage):
    name = "uses_crops"
    reads = Crops.writes

    def process(self, segment: Any) -> dict[str, Any]:
        raise NotImplementedError


def test_rows_that_do_not_fit_the_store_are_refused() -> None:
    config = engine_config()
    stages = [{"stage": f"{__name__}:{name}"} for name in ("Crops", "UsesCrops")] + [
        entry.model_dump() for entry in config.stages
    ]
    engine = Engine(EngineConfig.model_validate({**config.model_dump(), "stages": stages}))
    pool = PoolConfig(name="second", size=2, in_flight=1)
    groups = [
        (PoolConfig(name="first", size=1), ["crops"]),
        (pool, ["uses_crops", "brightness", "level", "paint"]),
    ]
    profile = ProfileConfig(name="p", segment_frames=250, pools=[pool], store_mib=100)
    # 254 frames of 196,608 bytes with two pools' rows under way: four rows of 47.6 MiB.
    with pytest.raises(PreflightError) as refused:
        preflight.check_store(profile, engine, groups, 100 << 20, 2)
    text = str(refused.value)
    assert text.startswith("profile p: rows under way need 191 MiB, the object store has 100 MiB:")
    assert "before second: 4 rows × 47.6 MiB" in text
    assert "lower segment_frames (250), or raise store_mib (100)" in text
    preflight.check_store(profile, engine, groups, 200 << 20, 2)


def test_shared_memory_smaller_than_the_store_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(64 << 20, 0, 64 << 20))
    with pytest.raises(
        PreflightError,
        match=r"store_mib is 1024 MiB, /dev/shm has 64 MiB free: lower store_mib, or give the container more",
    ):
        preflight.check_shared_memory(load_profile("laptop"))
    preflight.check_shared_memory(load_profile("node-8gpu"))


def test_outputs_must_be_writable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    title = Title("t", "v", (Dub("dub", "s", str(tmp_path / "file" / "out.mp4")),))
    with pytest.raises(PreflightError) as refused:
        preflight.check_writable(str(tmp_path), [title])
    assert (
        str(refused.value)
        == f"{tmp_path}/file: cannot be written (a file has the name of a folder); choose another output folder"
    ), "no names of files that are there for a moment"
    good = Title("t", "v", (Dub("dub", "s", str(tmp_path / "new" / "out.mp4")),))
    preflight.check_writable(str(tmp_path), [good])
    assert list((tmp_path / "new").iterdir()) == []
