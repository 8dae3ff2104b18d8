"""Forecasts: work times measured rates on pools and nodes; nothing is made up where nothing was measured."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.capacity.forecast import (
    Work,
    cost_of,
    describe,
    forecast,
    hours_of_forms,
    node_hours,
    rates_of_runs,
)
from pipelines.cli import main as cli
from pipelines.cli.report import group_failures, read_report
from pipelines.engine.config import ProfileConfig
from pipelines.engine.engine import Engine
from pipelines.engine.profile_parts import NodeGroup, PoolConfig, StageRate
from pipelines.monitoring.formatting import short_time
from tests.pipelines.conftest import engine_config, make_speech, profile_config
from tests.rights import without_root

GROUPS = [
    NodeGroup(name="cpu", cpus=16, max=10, min=0, price=1.0),
    NodeGroup(name="gpu", cpus=40, gpus=4, min=0, max=2, price=10.0),
]
RATES = {
    name: StageRate(seconds=s)
    for name, s in (("plan", 0.01), ("brightness", 0.5), ("level", 0.1), ("paint", 0.2), ("assemble", 0.0))
}


def work(source: int, output: int, megapixels: float = 1.0) -> Work:
    made = Work(titles=1, dubs=2, segments=4)
    made.plan.add(source, megapixels)
    made.segment.add(source, megapixels)
    made.dub.add(output, megapixels)
    return made


def test_hours_and_money_by_hand() -> None:
    """3600 frames to analyse and 7200 to dub: 36 + 1800 + 720 + 1440 seconds of actors."""
    pools = [
        PoolConfig(name="first", stages=["brightness"], size=4, num_cpus=1, num_gpus=0.5, device="cuda"),
        PoolConfig(name="rest", size=10, num_cpus=0.5),
    ]
    profile = ProfileConfig(
        name="p", pools=pools, nodes=GROUPS, currency="EUR", plan=PoolConfig(name="plan", size=2)
    )
    result = forecast(Engine(engine_config()), profile, work(3600, 7200), RATES, "measured", cpus=2)
    assert [(row["stage"], row["frames"], pytest.approx(row["seconds"])) for row in result["stages"]] == [
        ("plan", 3600, 36.0),
        ("brightness", 3600, 1800.0),
        ("level", 7200, 720.0),
        ("paint", 7200, 1440.0),
        ("assemble", 7200, 0.0),
    ]
    assert result["gpu_hours"] == pytest.approx(1800 * 0.5 / 3600)
    # An actor at work keeps a core busy though its pool books half of one.
    assert result["cpu_hours"] == pytest.approx((36 + 1800 + 720 + 1440) / 3600)
    # Pool first: 1800 s over 4 actors; all else is faster (rest: 2160 / 10, GPUs: 900 / 8, CPUs: 3996 / 240).
    assert result["wall_seconds"] == pytest.approx(450.0)
    assert result["bound_by"] == "pool first (at most 4 actors)"
    # 0.25 GPU-hours are 0.0625 hours of a node with four; it brings 2.5 CPU-hours, more than needed.
    assert result["node_hours"] == {"cpu": 0.0, "gpu": pytest.approx(0.0625)}
    assert result["cost"] == pytest.approx(0.625)
    assert (
        "15 min 00 s of GPU time booked; 1 h 06 min of CPU time booked; 7 min 30 s at least, "
        "bound by pool first (at most 4 actors); 0.62 EUR" in describe(result)[0]
    )


def test_nodes_that_are_always_there_are_paid_and_cpus_come_from_cpu_nodes() -> None:
    groups = [group.model_copy(update={"min": 1}) for group in GROUPS]
    assert node_hours(groups, 0.0, 0.0, 2.0) == {"cpu": 2.0, "gpu": 2.0}
    # 8 GPU-hours: two hours of GPU nodes with 80 CPU-hours; of 400 CPU-hours 320 are left, 20 hours of CPU
    # nodes.
    hours = node_hours(GROUPS, 400.0, 8.0, 10.0)
    assert hours == {"cpu": pytest.approx(20.0), "gpu": pytest.approx(2.0)}
    assert cost_of(GROUPS, hours) == pytest.approx(40.0)
    assert cost_of([groups[0].model_copy(update={"price": None}), groups[1]], hours) is None


def test_what_was_never_measured_is_unknown() -> None:
    rates = {name: rate for name, rate in RATES.items() if name != "level"}
    result = forecast(Engine(engine_config()), profile_config(), work(10, 10), rates, "measured", cpus=2)
    assert [result[kind] for kind in ("cpu_hours", "gpu_hours", "wall_seconds", "cost")] == [None] * 4
    assert describe(result) == [
        "forecast for profile test, engine test: unknown: run retalk profile (no rate is known of level), or plan again after a first run"
    ]
    done = forecast(Engine(engine_config()), profile_config(), Work(), {}, "", cpus=2)
    assert (done["cpu_hours"], done["bound_by"]) == (0, "nothing to do"), "no work needs no rates"


def test_rates_grow_with_the_picture_and_other_sizes_are_doubted() -> None:
    rates = {**RATES, "paint": StageRate(seconds=0.1, per_megapixel=0.2)}
    fields: dict[str, Any] = {
        "rates": {"test": {"measured": "here", "megapixels": [0.5, 1.0], "stages": rates}}
    }
    profile = ProfileConfig.model_validate({**profile_config().model_dump(), **fields})
    small, large = (
        forecast(Engine(engine_config()), profile, work(100, 100, size), rates, "x", 2) for size in (1.0, 4.0)
    )
    assert small["stages"][3]["seconds"] == pytest.approx(30.0)
    assert large["stages"][3]["seconds"] == pytest.approx(90.0)
    assert not any("doubtful" in note for note in small["notes"])
    assert any("doubtful: pictures have 4.00 megapixels" in note for note in large["notes"])


def test_gpus_that_no_node_has_leave_the_time_unknown() -> None:
    pool = PoolConfig(name="all", size=1, num_gpus=1, device="cuda")
    result = forecast(
        Engine(engine_config()), ProfileConfig(name="p", pools=[pool]), work(10, 10), RATES, "x", cpus=2
    )
    assert result["gpu_hours"] > 0
    assert result["wall_seconds"] is None
    assert "its nodes have none: add a group to nodes" in result["notes"][0]


def test_rates_of_runs_weigh_frames_and_know_other_engines() -> None:
    def log(engine: str, frames: int, seconds: float) -> dict[str, Any]:
        return {
            "engine": engine,
            "stages": {
                "level": {"frames": frames, "seconds": seconds},
                "paint": {"frames": 0, "seconds": 0.0},
            },
        }

    records = [{"state": "done", "engine": "a", "frames": 50, "stage_seconds": json.dumps({"assemble": 5.0})}]
    rates = rates_of_runs([log("a", 100, 10.0), log("a", 300, 10.0), log("b", 100, 900.0)], records, "a")
    assert rates == {"level": StageRate(seconds=0.05), "assemble": StageRate(seconds=0.1)}


def test_nodes_of_a_log_belong_to_the_nearest_group() -> None:
    assert hours_of_forms(GROUPS, {"14c0g": 3600.0, "44c4g": 7200.0}) == {"cpu": 1.0, "gpu": 2.0}
    assert hours_of_forms(GROUPS, {"14c1g": 3600.0}) is None


def test_failures_are_grouped_by_what_went_wrong() -> None:
    errors = [
        "s3://in/a.mp4: no such file; check the path",
        "/data/films/b.mov: no such file; check the path",
        "c.mkv: the time stamps jump from 3.5 s to 99 s; remux",
        "/x/d.mkv: the time stamps jump from 1.0 s to 7.25 s; remux",
        "",
    ]
    records = [
        {"state": "failed", "title": str(n), "dub": "dub", "error": error} for n, error in enumerate(errors)
    ]
    records += [
        {"state": "failed", "title": "9", "dub": "de", "error": errors[0]},
        {"state": "done", "title": "8", "dub": "de", "error": ""},
    ]
    groups = group_failures(records)
    assert [(group["count"], group["titles"]) for group in groups] == [
        (3, ["0", "1", "9 [de]"]),
        (2, ["2", "3"]),
        (1, ["4"]),
    ]
    assert groups[0]["reason"] == "FILE: no such file; check the path"


def test_plan_run_report(footage: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Unknown at first; measured rates give hours and money; after the run the report has both, and the next
    plan knows the run's rates.
    """
    out = tmp_path / "out"
    make_speech(tmp_path / "other.wav", 1.5)
    row = {
        "id": "a",
        "video": str(footage / "a.mp4"),
        "speech": str(footage / "exact.wav"),
        "output": "a.mp4",
    }
    bad = {
        "id": "bad",
        "video": str(footage / "absent.mp4"),
        "speech": str(footage / "exact.wav"),
        "output": "bad.mp4",
    }
    manifest = tmp_path / "m.jsonl"
    manifest.write_text(json.dumps(row) + "\n" + json.dumps(bad) + "\n")
    bare = profile_config(1).model_dump(exclude_none=True)
    rates = {
        "test": {
            "measured": "by hand",
            "stages": {name: {"seconds": rate.seconds} for name, rate in RATES.items()},
        }
    }
    nodes = [{"name": "here", "cpus": 2, "price": 36.0}]
    files = {
        "engine": engine_config().model_dump(),
        "bare": bare,
        "priced": {**bare, "name": "priced", "rates": rates, "nodes": nodes},
    }
    for name, content in files.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(content))
    engine, bare_file, priced = (str(tmp_path / f"{name}.yaml") for name in files)

    assert (
        cli.main(["plan", str(manifest), "--engine", engine, "--profile", bare_file, "--profile", priced])
        == 3
    )
    text = capsys.readouterr().out
    assert "forecast for profile test, engine test: unknown: run retalk profile" in text
    # 24 frames at 0.5 + 0.1 + 0.2 seconds in one pool of one actor, and a node of 36 an hour: 19.2 seconds
    # cost 0.19.
    assert (
        "forecast for profile priced, engine test: 0 s of GPU time booked; 19 s of CPU time booked; 19 s at least, bound by pool all"
        in text
    )
    assert "0.19 USD" in text

    assert (
        cli.main(["plan", str(manifest), "-o", str(out), "--engine", engine, "--profile", priced, "--json"])
        == 3
    )
    content = json.loads(capsys.readouterr().out)
    assert [(title["title"], title["state"], title["segments_to_do"]) for title in content["titles"]] == [
        ("a", "run", 4),
        ("bad", "failed", 0),
    ]
    assert content["problems"][0].startswith("bad: ")
    assert content["work"]["dub"] == {"frames": 24, "frame_megapixels": pytest.approx(24 * 64 * 48 / 1e6)}

    assert (
        cli.main(
            ["plan", str(manifest), "-o", str(out), "--engine", engine, "--profile", bare_file, "--json"]
        )
        == 3
    )
    capsys.readouterr()
    assert cli.main(["report", str(out)]) == 2, "a forecast is no run"
    run = [
        "run",
        str(manifest),
        "-o",
        str(out),
        "--engine",
        engine,
        "--profile",
        priced,
        "--runner",
        "local",
        "--quiet",
    ]
    assert cli.main(run) == 3
    assert cli.main([*run, "--allow-failures"]) == 0
    capsys.readouterr()
    assert cli.main(["report", str(out)]) == 3
    text = capsys.readouterr().out
    report = read_report(str(out))
    assert report["forecast"]["stages"][1]["seconds"] == pytest.approx(12.0)
    actual = report["actual"]
    assert actual["stages"]["paint"]["frames"] == 24
    assert actual["stages"]["assemble"]["seconds"] > 0
    assert actual["cpu_hours"] == pytest.approx(
        sum(stage["seconds"] for stage in actual["stages"].values()) / 3600
    )
    assert actual["node_hours"] is None or set(actual["node_hours"]) == {"here"}
    assert f"| brightness | 24     | {short_time(actual['stages']['brightness']['seconds'] / 24)}" in text
    assert "Dubs: 1 of 2 done, 1 failed" in text
    assert re.search(r"\| CPU time booked +\| 19 s +\| \d+ s +\|", text)
    assert "hours" not in text.lower(), "times are for people"
    assert "* 1 × " in text
    assert "absent.mp4: no such file" in text
    assert (out / "report" / "report.md").read_text() == text
    shutil.rmtree(out / "report")
    out.chmod(0o555)
    with without_root():
        assert cli.main(["report", str(out)]) == 3, "a directory that may only be read"
    out.chmod(0o755)
    told = capsys.readouterr()
    assert told.out == text
    assert told.err == f"note: the report cannot be kept in {out}/report (Permission denied)\n"
    assert cli.main(["report", str(out)]) == 3
    capsys.readouterr()
    assert json.loads((out / "report" / "report.json").read_text())["dubs"]["failed"] == 1

    manifest.write_text(json.dumps({**row, "speech": str(tmp_path / "other.wav")}) + "\n")
    assert (
        cli.main(
            ["plan", str(manifest), "-o", str(out), "--engine", engine, "--profile", bare_file, "--json"]
        )
        == 0
    )
    (learnt,) = json.loads(capsys.readouterr().out)["forecasts"]
    assert learnt["rates"] == "earlier runs in the run directory"
    paint = next(stage for stage in learnt["stages"] if stage["stage"] == "paint")
    assert paint["seconds"] == pytest.approx(actual["stages"]["paint"]["seconds"], rel=1e-6), (
        "24 frames again"
    )

    # Planned again after the run: the runs are not forgotten, nor is the forecast that they followed.
    after = read_report(str(out))
    assert (after["actual"]["runs"], after["since_forecast"]["runs"]) == (2, 2)
    assert after["forecast"]["made"] == report["forecast"]["made"]
    assert cli.main([*run, "--redo", "a"]) == 0
    capsys.readouterr()
    assert cli.main(["plan", str(manifest), "-o", str(out), "--engine", engine, "--profile", priced]) == 0
    manifest.write_text(json.dumps(row) + "\n")
    assert cli.main(["plan", str(manifest), "-o", str(out), "--engine", engine, "--profile", priced]) == 0
    assert cli.main(run) == 0
    capsys.readouterr()
    cli.main(["report", str(out)])
    text = capsys.readouterr().out
    later = read_report(str(out))
    assert (later["actual"]["runs"], later["since_forecast"]["runs"]) == (4, 1)
    assert later["forecast"]["made"] > report["forecast"]["made"]
    assert later["actual"]["stages"]["paint"]["frames"] == 3 * 24
    assert later["since_forecast"]["stages"]["paint"]["frames"] == 24
    assert "since the forecast" in text
    assert "## Stages, of the runs since the forecast was made" in text


def test_planning_by_ray_finds_the_same_work(
    footage: Path,
    tmp_path: Path,
    ray_session: Any,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = [
        {
            "id": f"t{n}",
            "video": str(footage / name),
            "speech": str(footage / "long.wav"),
            "output": f"{n}.mp4",
            "length": "loop",
        }
        for n, name in enumerate(("a.mp4", "b.mp4", "absent.mp4"))
    ]
    manifest, engine = tmp_path / "m.jsonl", tmp_path / "engine.yaml"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    engine.write_text(yaml.safe_dump(engine_config().model_dump()))
    found = []
    for least in (100, 1):
        monkeypatch.setattr("pipelines.cli.plan.PARALLEL_TITLES", least)
        assert cli.main(["plan", str(manifest), "--engine", str(engine), "--json"]) == 3
        content = json.loads(capsys.readouterr().out)
        found.append([content["work"], content["titles"], content["problems"]])
    assert found[0] == found[1]
    assert found[0][0]["segments"] > 2
    assert [title["state"] for title in found[0][1]] == ["run", "run", "failed"]
