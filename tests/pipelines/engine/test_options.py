"""Options of stages: types, text forms, and explanations of wrong ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pytest

from pipelines.engine.options import parse_options
from pipelines.errors import ConfigError


@dataclass(frozen=True)
class Options:
    strength: float = 1.0
    mode: Literal["soft", "hard"] = "soft"
    count: int = 3
    box: tuple[int, int] | None = None


@pytest.mark.parametrize("text", ["0,10", "[0, 10]", "(0, 10)"])
def test_tuples_may_come_as_text(text: str) -> None:
    assert parse_options(Options, {"box": text}, "x") == {"box": (0, 10)}
    with pytest.raises(ConfigError, match=r"x: box\.1: is missing"):
        parse_options(Options, {"box": "0"}, "x")
    with pytest.raises(ConfigError, match=r"x: box\.0: .*whole number, got 'wide'"):
        parse_options(Options, {"box": "wide, 10"}, "x")


def test_options_are_typed() -> None:
    assert parse_options(Options, {"strength": "0.5", "count": 4}, "x") == {"strength": 0.5, "count": 4}
    with pytest.raises(ConfigError, match=r"x: mode: .*'soft' or 'hard'.*got 'loud'"):
        parse_options(Options, {"mode": "loud"}, "x")
    with pytest.raises(
        ConfigError,
        match=r"x: strenght: unknown option, did you mean 'strength'\? Allowed: strength, mode, count, box",
    ):
        parse_options(Options, {"strenght": 1}, "x")
    with pytest.raises(ConfigError, match=r"x: count: .*whole number, got 'many'"):
        parse_options(Options, {"count": "many"}, "x")
