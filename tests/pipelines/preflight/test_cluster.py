"""Preflight on clusters: what can still grow is not refused, what never fits is; nodes are asked for what
workers need.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from pipelines import runner
from pipelines.engine.config import EngineConfig, ProfileConfig, load_engine, load_profile
from pipelines.engine.engine import Engine
from pipelines.engine.profile_parts import NodeGroup, PoolConfig
from pipelines.errors import PreflightError
from pipelines.preflight import checks as preflight
from pipelines.preflight import cluster as pc
from pipelines.preflight.cluster import Cluster, NodeSize
from pipelines.state.content_keys import source_hash, version
from tests.pipelines.conftest import engine_config, profile_config

HEAD_ONLY = SimpleNamespace(
    cluster_resources=lambda: {"memory": 1.0, "object_store_memory": 1e9},
    nodes=lambda: [{"Alive": True, "Resources": {"object_store_memory": 1e9}}],
)


def pools(profile: ProfileConfig, engine: str) -> list[PoolConfig]:
    return [pool for pool, _ in profile.place(engine, Engine(load_engine(engine)).names)]


@pytest.mark.parametrize("engine", ["retalk", "exemplar"])
def test_a_cluster_that_has_not_grown_yet_is_not_refused(engine: str) -> None:
    """The head alone, without CPUs: its nodes come when the pools ask for them."""
    profile = load_profile("autoscaling")
    cluster = pc.read_cluster(HEAD_ONLY, profile, joined=True)
    assert cluster.waits
    assert cluster.grown == {"CPU": 14 * 32 + 44 * 8, "GPU": 32.0}
    preflight.check_resources(profile, pools(profile, engine), cluster.now, cluster.grown, cluster.source)
    pc.check_actors_fit(profile, pools(profile, engine), cluster)
    with pytest.raises(PreflightError, match="holds at least 4 GPUs at once, Ray has 0:"):
        preflight.check_resources(profile, pools(profile, "retalk"), cluster.now)


def test_what_it_cannot_grow_to_is_refused_with_both_numbers() -> None:
    profile = load_profile("autoscaling").model_copy(
        update={"nodes": [NodeGroup(name="gpu", cpus=44, gpus=1, min=0, max=3)]}
    )
    cluster = pc.read_cluster(HEAD_ONLY, profile, joined=True)
    with pytest.raises(
        PreflightError,
        match=r"at least 4 GPUs at once, Ray has 0 and can grow to 3 \(nodes of profile autoscaling\):\n  detect: 4",
    ):
        preflight.check_resources(
            profile, pools(profile, "retalk"), cluster.now, cluster.grown, cluster.source
        )


def test_a_ray_of_ones_own_does_not_grow() -> None:
    assert pc.read_cluster(HEAD_ONLY, load_profile("autoscaling"), joined=False).grown is None
    fixed = load_profile("node-8gpu")
    assert pc.read_cluster(HEAD_ONLY, fixed, joined=True).grown is None, "its one node is there or not"


def test_the_launchers_own_word_counts_more_than_the_profiles(tmp_path: Path) -> None:
    launcher = yaml.safe_load((Path(__file__).parents[3] / "cluster" / "launcher" / "aws.yaml").read_text())
    path = tmp_path / "bootstrap.yaml"
    path.write_text(yaml.safe_dump(launcher))
    cluster = pc.read_cluster(HEAD_ONLY, load_profile("autoscaling"), joined=True, bootstrap=path)
    assert cluster.grown == {"CPU": 16 * 32 + 48 * 8, "GPU": 32.0}
    assert cluster.source == str(path)


def test_an_actor_that_fits_no_node_is_refused() -> None:
    """In all there would be enough."""
    pool = PoolConfig(name="big", size=1, num_cpus=20)
    profile = ProfileConfig(name="p", pools=[pool])
    cluster = Cluster({"CPU": 32.0}, None, "", [NodeSize(16, 0), NodeSize(16, 0)])
    preflight.check_resources(profile, [pool], cluster.now)
    with pytest.raises(
        PreflightError,
        match=r"pool big books 20 CPUs and 0 GPUs, and no node has that \(nodes have 16 CPUs and 0 GPUs\)",
    ):
        pc.check_actors_fit(profile, [pool], cluster)
    pc.check_actors_fit(profile, [pool], Cluster({}, {"CPU": 64.0}, "x", [NodeSize(16, 0), NodeSize(64, 0)]))


def test_a_row_that_fits_no_nodes_store_is_refused() -> None:
    config = engine_config()
    stages = [{"stage": f"tests.pipelines.preflight.test_checks:{name}"} for name in ("Crops", "UsesCrops")]
    engine = Engine(
        EngineConfig.model_validate(
            {**config.model_dump(), "stages": [*stages, *(entry.model_dump() for entry in config.stages)]}
        )
    )
    pool = PoolConfig(name="first", size=1)
    groups = [(pool, ["crops"]), (PoolConfig(name="rest", size=1), engine.names[1:])]
    profile = ProfileConfig(name="p", segment_frames=250, pools=[pool])
    small = Cluster({}, None, "", [NodeSize(4, 0, 40 << 20)] * 20)
    with pytest.raises(
        PreflightError,
        match=r"pool first takes and gives rows of 47\.6 MiB, the largest node's object store has 40 MiB",
    ):
        pc.check_row_fits(profile, engine, groups, small)
    pc.check_row_fits(profile, engine, groups, Cluster({}, None, "", [NodeSize(4, 0, 50 << 20)]))


def test_nodes_are_asked_by_ray(ray_session: Any, tmp_path: Path) -> None:
    """A real task on a real node, which looks for model files and for the run directory there."""
    (node,) = ray_session.nodes()
    home = str(tmp_path / "home")
    (tmp_path / "home" / "models").mkdir(parents=True)
    said = pc.ask_nodes(ray_session, [node], {home: ["lnet"]}, str(tmp_path))
    assert len(said) == 2
    assert (
        "model files are missing: LNet.pth; run there: retalk models pull LNet.pth, or set RETALK_HOME"
        in said[0]
    )
    assert f"does not see the run directory {tmp_path}: use storage that all nodes share" in said[1]
    (tmp_path / "run.json").write_text("{}")
    assert pc.ask_nodes(ray_session, [node], {}, str(tmp_path)) == []
    (
        pc.check_nodes(ray_session, {home: ["lnet"]}, "/nowhere"),
        "one machine is not asked: the driver has looked",
    )


def test_what_a_node_answers_is_judged() -> None:
    code = {package: source_hash(package) for package in pc.PACKAGES}
    good = {"version": version(), "code": code, "missing": [], "sees": True, "shm": 64 << 20}
    assert pc.judge(good, {"object_store_memory": 60 << 20}, "/run") == []
    edited = {**good, "code": {**code, "operators": "0" * 64}}
    assert pc.judge(edited, {}, "/run") == [
        "its code of operators is not the driver's: use one image, or install one wheel"
    ]
    (old,) = pc.judge({**good, "version": "0.0.1"}, {}, "/run")
    assert old == f"has version 0.0.1 of retalk, the driver {version()}: use one image"
    (mesh,) = pc.judge({**good, "missing": ["face_landmarker.task"]}, {}, "/run")
    assert (
        "run there: retalk models pull face_landmarker.task, or set RETALK_HOME, or use dlib: --set" in mesh
    )
    (network,) = pc.judge({**good, "missing": ["face_landmarker.task", "LNet.pth"]}, {}, "/run")
    assert "dlib" not in network
    (shm,) = pc.judge(good, {"object_store_memory": 1024 << 20}, "/run")
    assert "object store of 1024 MiB does not fit into /dev/shm with 64 MiB" in shm


def test_storage_that_does_not_answer_refuses_the_run_only_if_nothing_else_does(
    footage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETALK_STORAGE_PATIENCE", "0.1")
    away = {
        "id": "away",
        "video": "http://127.0.0.1:9/a.mp4",
        "speech": "http://127.0.0.1:9/a.wav",
        "output": "away.mp4",
    }
    here = {
        "id": "here",
        "video": str(footage / "a.mp4"),
        "speech": str(footage / "exact.wav"),
        "output": "here.mp4",
    }
    options: dict[str, Any] = {"engine": engine_config(), "profile": profile_config(1), "runner": "local"}
    with pytest.raises(
        PreflightError,
        match=r"no storage of the inputs answers.*\n  http://127\.0\.0\.1:9: cannot be reached",
    ):
        runner.run([away], run_dir=str(tmp_path / "one"), **options)
    assert not (tmp_path / "one").exists()
    states = {
        record["title"]: record["state"]
        for record in runner.run([away, here], run_dir=str(tmp_path / "two"), **options).records
    }
    assert states == {"away": "failed", "here": "done"}
