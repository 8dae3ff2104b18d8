"""Metrics by name: which ones `metrics.on` chooses, and what is said of those that cannot be chosen."""

from __future__ import annotations

import pyarrow as pa
import pytest

from operators.columns import tensor
from operators.evaluation.metric import FinishedDub, SegmentMetric, TitleMetric
from operators.segment import Segment
from pipelines.engine import metrics as module
from pipelines.engine.resolve import resolve_engine
from pipelines.errors import ConfigError
from tests.pipelines.conftest import engine_config

HERE = "tests.pipelines.engine.test_metrics"


class Levels(SegmentMetric):
    """Frames of a segment, for engines whose last stage reads a level."""

    name = "levels"
    reads = pa.schema([tensor("level", "uint8", "N")])

    def measure(self, segment: Segment, samples: object) -> float:
        return float(len(segment["level"]))


class Asked(TitleMetric):
    """Seconds, where somebody asks for it."""

    name = "asked"
    on = False

    def measure(self, dub: FinishedDub) -> float:
        return dub.seconds


class Elsewhere(Levels):
    """Needs a column that the test engine lacks."""

    name = "elsewhere"
    reads = pa.schema([tensor("landmarks", "float32", "T", 68, 2)])


@pytest.fixture(autouse=True)
def four(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"sharpness": module.SHIPPED["sharpness"]}
    there |= {metric.name: f"{HERE}:{metric.__name__}" for metric in (Levels, Asked, Elsewhere)}
    monkeypatch.setattr(module, "BY_DEFAULT", ("sharpness", "levels", "elsewhere"))
    monkeypatch.setattr(module, "SHIPPED", there)


def chosen(choice: str | None) -> list[str]:
    """Names of the metrics that `--set metrics.on=...` chooses for the test engine."""
    options = {} if choice is None else {"metrics": {"on": choice}}
    places = resolve_engine(engine_config(), options).config.metrics
    assert places is not None
    return [module.load_metric(place).name for place in places]


def test_by_default_those_are_measured_that_are_on_and_apply() -> None:
    assert chosen(None) == chosen("default") == ["sharpness", "levels"]


def test_all_none_and_names() -> None:
    assert chosen("all") == ["sharpness", "levels", "asked"]
    assert chosen("none") == []
    assert chosen("asked") == ["asked"]
    assert chosen("levels, asked") == ["levels", "asked"]
    assert chosen(f"{HERE}:Asked") == ["asked"]


def test_an_engines_own_list_holds_unless_the_user_asks_for_others() -> None:
    config = engine_config(metrics=["asked"])
    assert resolve_engine(config).config.metrics == [f"{HERE}:Asked"]
    assert resolve_engine(config, {"metrics": {"on": "none"}}).config.metrics == []


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("levles", r"'levles' is unknown \(did you mean 'levels'\?\): choose .*asked.*, all or none"),
        ("elsewhere", r"'elsewhere' does not fit engine test: it reads landmarks, .*'paint' reads level"),
        (f"{HERE}:Absent", "Absent cannot be loaded: AttributeError"),
        (f"{HERE}:FinishedDub", "cannot be loaded|neither"),
    ],
)
def test_a_name_that_cannot_be_measured_is_an_error(choice: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        chosen(choice)


def test_shipped_metrics_are_what_their_names_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert len(module.SHIPPED) > 10
    for name in module.SHIPPED:
        metric = module.load_metric(module.metric_place(name))
        assert metric.name == name
        # Only what costs next to nothing runs without being asked for.
        assert metric.on == (name in module.BY_DEFAULT)


def test_metrics_has_the_one_option() -> None:
    with pytest.raises(ConfigError, match=r"metrics: off: unknown option\. Allowed: on"):
        resolve_engine(engine_config(), {"metrics": {"off": "all"}})
