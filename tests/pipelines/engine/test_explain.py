"""Mistakes in configurations, in a user's words."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.engine.config import load_engine, load_profile
from pipelines.engine.explain import read_yaml
from pipelines.errors import ConfigError

PROFILE = """\
name: x
segment_frames: -1
watchdog_seconds: soon
default: [a]
limits: 3
pools:
- {name: a, size: 0, num_cpus: -0.5}
- {name: b, size: 1, device: tpu, num_cpu: 1}
- {size: 1.5, name: c, stages: detect}
"""


def test_every_mistake_is_told_in_own_words(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(PROFILE)
    with pytest.raises(ConfigError) as problem:
        load_profile(str(path))
    lines = [line.removeprefix(f"{path}: ") for line in str(problem.value).splitlines()]
    assert sorted(lines) == sorted(
        [
            "segment_frames: must be at least 1, got -1",
            "watchdog_seconds: must be a number, got 'soon'",
            "default: must be a text, got ['a']",
            "limits: must be a mapping, got 3",
            "pools.0.size: must be at least 1, got 0",
            "pools.0.num_cpus: must be at least 0, got -0.5",
            "pools.1.device: must be 'cpu' or 'cuda', got 'tpu'",
            "pools.1.num_cpu: unknown key, did you mean 'num_cpus'? Allowed: name, stages, size, min, max, initial, "
            "per_cpu, num_cpus, num_gpus, device, in_flight",
            "pools.2.size: must be a whole number, got 1.5",
            "pools.2.stages: must be a list, got 'detect'",
        ]
    )


def test_missing_and_empty_keys(tmp_path: Path) -> None:
    path = tmp_path / "e.yaml"
    path.write_text("stages: []\n")
    with pytest.raises(
        ConfigError, match=r"name: is missing\n.*stages: must have at least 1 of them, got \[\]"
    ):
        load_engine(str(path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: 1\nb: [1, 2\nc: 3\n", r"^f\.yaml line 3: not YAML \(expected "),
        (b"# R\n![a\nb: c\n", r"^f\.yaml line \d: not YAML \("),
        (b"name: \xff\n", r"^f\.yaml: not YAML text in UTF-8 \(.*\)$"),
        (b"a: \x00\n", r"^f\.yaml: not YAML text in UTF-8 \(.*\)$"),
    ],
)
def test_a_file_that_is_no_yaml_is_named_with_its_line(content: bytes, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as problem:
        read_yaml(content, "f.yaml")
    assert "\n" not in str(problem.value)


def test_a_folder_is_no_configuration(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").mkdir()
    with pytest.raises(ConfigError, match=r"p\.yaml: is a folder"):
        load_profile(str(tmp_path / "p.yaml"))
