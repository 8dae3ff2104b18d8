"""Choice of the runner: the rule of ``--runner auto``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines.engine.config import ProfileConfig
from pipelines.engine.engine import Engine
from pipelines.engine.model_files import wanted_files
from pipelines.engine.profile_parts import PoolConfig
from pipelines.engine.resolve import resolve_engine
from pipelines.engine.specs import PlanSpec
from pipelines.execution import runner_choice as choice
from pipelines.execution.run_spec import groups_of
from pipelines.execution.runner_choice import choose_runner
from pipelines.manifest.titles import Dub, Title
from pipelines.runner import run
from tests.pipelines.conftest import engine_config, profile_config


def chosen(
    titles: list[Title], folder: Path, wanted: Any = "auto", profile: ProfileConfig | None = None
) -> tuple[str, str]:
    engine, config = Engine(engine_config()), profile or profile_config(1)
    pools = [pool for pool, _ in groups_of(engine, config, str(folder), isolated=False)]
    found = choose_runner(wanted, engine, pools, PlanSpec(engine.config, str(folder), 7), titles)
    return found.runner, found.reason


def titles(footage: Path, folder: Path, count: int = 1, video: str = "a.mp4") -> list[Title]:
    dubs = [Dub("dub", str(footage / "exact.wav"), str(folder / f"{number}.mp4")) for number in range(count)]
    return [Title(str(number), str(footage / video), (dub,)) for number, dub in enumerate(dubs)]


@pytest.fixture(autouse=True)
def no_ray_to_join(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.delitem(choice.sys.modules, "ray", raising=False)


def test_what_is_asked_for_is_done(footage: Path, tmp_path: Path) -> None:
    for wanted in ("ray", "local"):
        assert chosen([], tmp_path, wanted) == (wanted, "as asked for")


def test_little_work_is_done_here_and_much_on_ray(
    footage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner, reason = chosen(titles(footage, tmp_path), tmp_path)
    assert runner == "local"
    assert reason.startswith("the work left takes about 2 CPU seconds")
    assert chosen(titles(footage, tmp_path, choice.MOST_TITLES + 1), tmp_path)[0] == "ray"
    monkeypatch.setattr(choice, "RAY_START", 0.2)
    assert chosen(titles(footage, tmp_path), tmp_path)[0] == "ray"


def test_the_face_mesh_does_not_cost_what_networks_do(footage: Path, tmp_path: Path) -> None:
    engine = resolve_engine("exemplar", {"detect": {"backend": "mesh"}})
    assert wanted_files(engine)
    plan = PlanSpec(engine.config, str(tmp_path), 7)
    (reason,) = {
        choose_runner("auto", one, [], plan, titles(footage, tmp_path)).reason
        for one in (engine, resolve_engine("exemplar", {"detect": {"backend": "dlib"}}))
    }
    assert reason.startswith("the work left takes about 2 CPU seconds")


def test_longer_speech_counts_where_the_video_is_extended(
    footage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "machine_cpus", lambda: 2)
    # 2.1 CPU seconds can be done here; the video takes 1.6, the speech 2.6.
    monkeypatch.setattr(choice, "RAY_START", 2.1 * (1 / choice.PLAIN_CORES - 1 / 2))
    for length, runner in (("keep", "local"), ("loop", "ray")):
        dub = Dub("dub", str(footage / "long.wav"), str(tmp_path / "x.mp4"), length=length)  # type: ignore[arg-type]
        assert chosen([Title("t", str(footage / "a.mp4"), (dub,))], tmp_path)[0] == runner


def test_files_that_are_missing_are_no_reason_to_start_ray(footage: Path, tmp_path: Path) -> None:
    assert chosen(titles(footage, tmp_path, choice.MOST_TITLES + 1, "absent.mp4"), tmp_path) == (
        "local",
        "nothing is left to do",
    )


def test_gpus_and_a_ray_to_join_ask_for_ray(
    footage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = PoolConfig(name="all", stages=[], size=1, num_cpus=0.2, num_gpus=1, device="cuda", in_flight=1)
    assert chosen([], tmp_path, profile=profile_config(1).model_copy(update={"pools": [gpu]})) == (
        "ray",
        "the profile books GPUs",
    )
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert chosen([], tmp_path) == ("ray", "there is a Ray to join")


def test_a_run_with_nothing_to_do_starts_no_ray(
    footage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {
        "id": "a",
        "video": str(footage / "a.mp4"),
        "speech": str(footage / "exact.wav"),
        "output": "a.mp4",
    }
    options: dict[str, Any] = {
        "run_dir": str(tmp_path),
        "engine": engine_config(),
        "profile": profile_config(1),
    }
    assert run([row], runner="local", **options).exit_code == 0
    monkeypatch.setattr(choice, "RAY_START", 0.0)  # any work would be Ray's
    report = run([row], runner="auto", **options)
    assert (report.exit_code, report.computed) == (0, 0)
    assert "ray" not in choice.sys.modules
