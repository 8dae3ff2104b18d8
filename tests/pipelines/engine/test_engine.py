"""Engines: the lint over columns, what lives on each edge, halos and the table of stages."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from operators.columns import scalar, tensor
from operators.segment import DUB, PLAN, Segment
from operators.stage import Stage
from pipelines.engine.config import EngineConfig
from pipelines.engine.engine import FINAL, META, Engine, stage_table
from pipelines.errors import ConfigError
from tests.pipelines.conftest import STAGES, engine_config


class Wrong(Stage):
    name = "wrong"
    reads = pa.schema([tensor("brightness", "uint8", "T")])

    def process(self, segment: Segment) -> dict[str, Any]:
        raise NotImplementedError


class Twice(Wrong):
    name = "twice"
    reads = pa.schema([])
    writes = pa.schema([tensor("brightness", "float32", "T")])


class Early(Wrong):
    name = "early"
    reads = pa.schema([])
    writes = pa.schema([scalar("x", pa.int64()), tensor("y", "float32", "N")])


class Target(Wrong):
    name = "needs_target"
    reads = pa.schema([scalar("target", pa.string())])


def engine_of(*stages: str) -> Engine:
    entries = [{"stage": stage if ":" in stage else f"{STAGES}:{stage}"} for stage in stages]
    return Engine(EngineConfig.model_validate({"name": "e", "stages": entries}))


HERE = "tests.pipelines.engine.test_engine"


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        (["Level", "Paint"], "stage 'level' reads column 'brightness', which nothing upstream writes"),
        (
            ["Brightness", f"{HERE}:Wrong", "Level", "Paint"],
            "stage 'wrong' reads column 'brightness' as another type than 'brightness' writes",
        ),
        (
            ["Brightness", f"{HERE}:Twice", "Level", "Paint"],
            "stage 'twice' writes column 'brightness', which 'brightness' wrote already",
        ),
        (
            [f"{HERE}:Early", "Brightness", "Level", "Paint"],
            "stage 'early' writes column 'y' over N, but runs before the dubs part",
        ),
        (
            ["Brightness", f"{HERE}:Target", "Level", "Paint"],
            "stage 'needs_target' reads column 'target', which nothing upstream writes",
        ),
        (["Brightness", "Level"], "the last stage 'level' must write path, sha256, frames, bytes"),
        (["Brightness"], "stages per segment come first, then at least one per dub"),
        (["Brightness", "Level", "Misbehave", "Paint"], "stages per segment come first"),
        (["Brightness", "Brightness", "Level", "Paint"], "stage 'brightness' is listed twice"),
        (["Nothing", "Paint"], r"tests\.pipelines\.stages:Nothing is not a stage"),
        (["tests.nowhere:X", "Paint"], r"stage tests\.nowhere:X cannot be imported"),
    ],
)
def test_lint_refuses(stages: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        engine_of(*stages)


def test_edges_carry_what_is_read_downstream_and_no_more() -> None:
    engine = engine_of("Brightness", "Misbehave", "Level", "Paint")
    plan, behind_brightness, before_level, before_paint, end = engine.edges
    assert plan.names == [*PLAN.names, META.name]
    assert behind_brightness.names == [*PLAN.names, META.name, "brightness"], (
        "the thumbnail is read by nobody"
    )
    assert before_level.names == [
        *(name for name in PLAN.names if name != "dubs"),
        *DUB.names,
        META.name,
        "brightness",
    ]
    assert before_paint.names == [
        *(name for name in PLAN.names if name != "dubs"),
        *DUB.names,
        META.name,
        "level",
    ]
    assert end is FINAL


def test_halos_add_up_and_follow_a_titles_options() -> None:
    engine = Engine(engine_config(options={"Brightness": {"smooth": 3}}))
    assert engine.halo({}) == (3, 3)
    assert engine.halo({"brightness": {"smooth": 5}}) == (5, 5)


def test_wrong_options_name_stage_and_option() -> None:
    with pytest.raises(
        ConfigError, match=r"engine test: stage level: options: gian: unknown option, did you mean 'gain'\?"
    ):
        Engine(engine_config(options={"Level": {"gian": 1}}))
    with pytest.raises(
        ConfigError, match="here: lavel: engine test has no such stage; it has brightness, level, paint"
    ):
        Engine(engine_config()).check_overrides({"lavel": {}}, "here")


def test_table_of_stages() -> None:
    head, first, *_, last = stage_table(engine_of("Brightness", "Level", "Paint"))
    assert head == ["stage", "per", "reads", "writes", "halo", "carried on", "class"]
    assert first == [
        "brightness",
        "segment",
        "(plan)",
        "brightness float32[T], thumbnail uint8[T,2,2]",
        "−2 +2",
        "brightness",
        f"`{STAGES}:Brightness`",
    ]
    assert "path string" in last[3]
