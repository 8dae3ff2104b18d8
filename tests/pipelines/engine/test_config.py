"""Engines and profiles: what is shipped loads and fits together, and wrong files are explained."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.engine.config import ProfileConfig, load_engine, load_profile, names, with_sections
from pipelines.engine.engine import Engine
from pipelines.engine.profile_parts import PoolConfig
from pipelines.errors import ConfigError
from tests.pipelines.conftest import profile_config


@pytest.mark.parametrize("profile", names("profiles"))
@pytest.mark.parametrize("engine", names("engines"))
def test_every_profile_serves_every_engine(profile: str, engine: str) -> None:
    built = Engine(load_engine(engine))
    placed = load_profile(profile).place(engine, built.names, built.like)
    assert [stage for _, group in placed for stage in group] == built.names
    assert all(1 <= low <= initial <= high for pool, _ in placed for low, high, initial in [pool.bounds(8)])


def test_a_stage_that_no_pool_names_goes_where_its_like_goes() -> None:
    profile = load_profile("node-8gpu")
    placed = profile.place("other", ["detect", "draw", "lay"], {"draw": "lnet", "lay": "blend"})
    assert [(pool.name, stages) for pool, stages in placed] == [
        ("detect", ["detect"]),
        ("generate", ["draw"]),
        ("blend", ["lay"]),
    ]
    placed = load_profile("laptop").place(
        "other", ["detect", "draw", "lay"], {"draw": "lnet", "lay": "blend"}
    )
    assert [(pool.name, stages) for pool, stages in placed] == [
        ("analyse", ["detect"]),
        ("finish", ["draw", "lay"]),
    ]


def test_a_stage_that_has_no_place_is_refused_unless_the_profile_takes_the_rest() -> None:
    refused = r"profile node-8gpu: no pool runs stage 'draw' of engine 'other' \(the pools run detect, .*engines\.other\.pools.*`like:`"
    with pytest.raises(ConfigError, match=refused):
        load_profile("node-8gpu").place("other", ["detect", "draw"], {"draw": "nothing that it knows"})
    assert [pool.name for pool, _ in load_profile("laptop").place("other", ["detect", "draw"])] == [
        "analyse",
        "finish",
    ]
    two = [PoolConfig(name="rest", size=1), PoolConfig(name="last", stages=["paint"], size=1)]
    assert [pool.name for pool, _ in ProfileConfig(name="p", pools=two).place("other", ["x", "paint"])] == [
        "rest",
        "last",
    ]


def test_a_section_that_is_no_mapping_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="watermark: 'off' is not a mapping of its values by name"):
        with_sections(load_profile("laptop"), watermark="off")  # type: ignore[arg-type]


def test_shipped_names() -> None:
    assert {"laptop", "node-8gpu", "autoscaling"} <= set(names("profiles"))
    assert load_engine("exemplar").segments.kind == "shot"


def test_fusion_is_a_line_of_the_profile() -> None:
    stages = ["brightness", "level", "paint"]
    assert [group for _, group in profile_config(1).place("test", stages)] == [stages]
    assert [group for _, group in profile_config(3).place("test", stages)] == [
        ["brightness"],
        ["level"],
        ["paint"],
    ]


def test_pool_that_would_run_twice_is_refused() -> None:
    profile = ProfileConfig(
        name="p",
        pools=[PoolConfig(name="a", stages=["x", "z"], size=1), PoolConfig(name="b", stages=["y"], size=1)],
    )
    with pytest.raises(ConfigError, match=r"profile p: pool 'a' would run stage 'z'.*engines\.e\.pools"):
        profile.place("e", ["x", "y", "z"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "name: p\npools:\n  - {name: a, size: 0}\n",
            r"p\.yaml: pools\.0\.size: must be at least 1, got 0",
        ),
        (
            "name: p\npools:\n  - {name: a, sice: 2}\n",
            r"p\.yaml: pools\.0\.sice: unknown key, did you mean 'size'\? Allowed: name, stages, size",
        ),
        (
            "name: p\npools:\n  - {name: a, size: 1, device: gpu}\n",
            r"p\.yaml: pools\.0\.device: .*'cpu' or 'cuda'.*got 'gpu'",
        ),
        (
            "name: p\npools:\n  - {name: a, min: 1, max: 4, in_flight: 1}\n",
            r"p\.yaml: pools\.0: in_flight must be at least 2",
        ),
        (
            "name: p\npools:\n  - {name: a, size: 1, max: 4}\n",
            r"give either size, or min and max, or per_cpu",
        ),
        ("name: p\npools:\n  - {name: a, size: 1, num_gpus: 1}\n", r"num_gpus above 0 needs device cuda"),
        ("name: p\npools:\n  - {name: a, size: 1}\n  - {name: a, size: 1}\n", r"pool 'a' is named twice"),
        ("name: p\n", r"p\.yaml: pools: is missing"),
        ("- 1\n", r"must be a mapping with the keys name"),
        ("a: [", r"p\.yaml line 1: not YAML"),
    ],
)
def test_wrong_profiles_are_explained(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_profile(str(path))


def test_unknown_names_are_explained() -> None:
    with pytest.raises(
        ConfigError,
        match=r"profile 'labtop' is unknown \(did you mean 'laptop'\?\): choose autoscaling, laptop, node-8gpu",
    ):
        load_profile("labtop")
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: no such file"):
        load_engine("nowhere.yaml")
