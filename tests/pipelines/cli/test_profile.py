"""`retalk profile`: real measurements of the test engine's stages, a profile that loads and runs, and the
arithmetic behind it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from operators.media.probe import probe_video
from pipelines import runner
from pipelines.capacity.measure import Measure
from pipelines.capacity.profile_writer import Machine, fit, make_profile
from pipelines.cli import main as cli
from pipelines.cli.profile import cut, measure_all
from pipelines.engine.config import load_engine, load_profile
from pipelines.engine.engine import Engine
from pipelines.preflight.checks import check_resources, check_store
from tests.pipelines.conftest import engine_config

GPU_BOX = Machine(cpus=48, ram_mib=400_000, shm_mib=100_000, gpus=4, gpu_mib=24_000)


def test_the_written_profile_loads_forecasts_and_runs(
    footage: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], ray_session: Any
) -> None:
    engine, profile, out = tmp_path / "engine.yaml", tmp_path / "mine.yaml", tmp_path / "out"
    engine.write_text(yaml.safe_dump(engine_config().model_dump()))
    video, speech = str(footage / "a.mp4"), str(footage / "exact.wav")
    assert (
        cli.main(
            [
                "profile",
                "--engine",
                str(engine),
                "--video",
                video,
                "--speech",
                speech,
                "-o",
                str(profile),
                "--device",
                "cpu",
            ]
        )
        == 0
    )
    assert "paint" in capsys.readouterr().out
    text, loaded = profile.read_text(), load_profile(str(profile))
    assert (loaded.name, [pool.stages for pool in loaded.pools]) == (
        "mine",
        [["brightness"], ["level", "paint"]],
    )
    rates = loaded.rates["test"]
    assert set(rates.stages) == {"plan", "brightness", "level", "paint", "assemble"}
    assert rates.megapixels == [round(32 * 24 / 1e6, 4), round(64 * 48 / 1e6, 4)]
    for name, rate in rates.stages.items():
        assert rate.seconds + rate.per_megapixel > 0, name
        assert rate.rss_mib is not None
        assert 20 < rate.rss_mib < 20_000, name
    assert "# store_mib: rows under way" in text
    assert "% of the CPUs' work" in text

    manifest = tmp_path / "m.jsonl"
    manifest.write_text(json.dumps({"id": "a", "video": video, "speech": speech, "output": "a.mp4"}) + "\n")
    assert (
        cli.main(["plan", str(manifest), "--engine", str(engine), "--profile", str(profile), "--json"]) == 0
    )
    (forecast,) = json.loads(capsys.readouterr().out)["forecasts"]
    assert forecast["wall_seconds"] > 0
    assert forecast["unknown"] == []
    report = runner.run(str(manifest), run_dir=str(out), engine=str(engine), profile=str(profile))
    assert [record["state"] for record in report.records] == ["done"]
    assert probe_video(str(out / "a.mp4")).n_frames == 24


def test_every_measured_title_is_really_computed(footage: Path, tmp_path: Path) -> None:
    """No title's last stage finds what the measurement itself has committed before: a frame takes at least
    what its stage sleeps.
    """
    built = Engine(engine_config(options={"Paint": {"pause": 0.02}}))
    clips = [(footage / "a.mp4", str(footage / "exact.wav")), (footage / "b.mp4", str(footage / "exact.wav"))]
    found = measure_all(built, clips, tmp_path, "cpu", lambda text: None)
    assert {name: len(measure.points) for name, measure in found.items()} == dict.fromkeys(
        ("plan", *built.names, "assemble"), 2
    )
    assert min(seconds for _, seconds in found["paint"].points) >= 0.02


def test_wrong_usage(footage: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = ["profile", "--engine", "exemplar", "-o"]
    assert cli.main([*base, str(tmp_path / "x.json")]) == 2
    assert "a profile is a .yaml file" in capsys.readouterr().err
    assert cli.main([*base, str(tmp_path / "x.yaml"), "--video", str(footage / "a.mp4")]) == 2
    assert "give both --video and --speech" in capsys.readouterr().err
    assert (
        cli.main(
            [
                *base,
                str(tmp_path / "x.yaml"),
                "--video",
                str(footage / "none.mp4"),
                "--speech",
                str(footage / "exact.wav"),
            ]
        )
        == 2
    )
    assert "none.mp4: no such file" in capsys.readouterr().err
    assert not (tmp_path / "x.yaml").exists()


def test_a_stage_that_fails_is_named(
    footage: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = tmp_path / "engine.yaml"
    engine.write_text(
        yaml.safe_dump(engine_config("Misbehave", options={"Misbehave": {"kill": "whole"}}).model_dump())
    )
    given = ["--video", str(footage / "a.mp4"), "--speech", str(footage / "exact.wav")]
    assert (
        cli.main(
            [
                "profile",
                "--engine",
                str(engine),
                *given,
                "-o",
                str(tmp_path / "x.yaml"),
                "--device",
                "cpu",
                "--quiet",
            ]
        )
        == 2
    )
    assert "stage misbehave cannot be measured: its process ended with exit code 1" in capsys.readouterr().err
    assert not (tmp_path / "x.yaml").exists()


def test_clips_are_the_beginning_at_a_fraction_of_the_size(footage: Path, tmp_path: Path) -> None:
    cut(str(footage / "b.mp4"), tmp_path / "half.mp4", 1.0, 0.5)
    whole, half = probe_video(str(footage / "b.mp4")), probe_video(str(tmp_path / "half.mp4"))
    assert (half.width, half.height) == (32, 24)
    count = sum(float((pts - whole.pts[0]) * whole.time_base) < 1.0 for pts in whole.pts)
    assert half.n_frames == count
    times = [float((pts - whole.pts[0]) * whole.time_base) for pts in whole.pts[:count]]
    assert [float((pts - half.pts[0]) * half.time_base) for pts in half.pts] == pytest.approx(times, abs=1e-3)


def test_rates_are_a_line_over_the_size_and_never_negative() -> None:
    assert fit([(1.0, 3.0), (2.0, 5.0)]) == (pytest.approx(1.0), pytest.approx(2.0))
    assert fit([(1.0, 5.0), (2.0, 3.0)]) == (pytest.approx(4.0), 0.0), "noise: slower at the smaller size"
    assert fit([(1.0, 1.0), (2.0, 4.0)]) == (0.0, pytest.approx(9 / 5)), "the line through the origin"
    assert fit([(1.0, 2.0)]) == (2.0, 0.0)


def measured(engine: Engine, seconds: dict[str, float], gpu: dict[str, float]) -> dict[str, Measure]:
    return {
        name: Measure(
            name, [(2.0, seconds.get(name, 0.001))], rss_mib=3000, base_mib=500, gpu_mib=gpu.get(name, 0.0)
        )
        for name in ("plan", *engine.names, "assemble")
    }


def test_gpu_fractions_follow_memory_and_numbers_follow_work() -> None:
    engine = Engine(load_engine("retalk"))
    seconds = {"detect": 0.01, "recon3d": 0.01, "dnet": 0.01, "lnet": 0.04, "enet": 0.05, "blend": 0.2}
    gpu = {"detect": 1000.0, "recon3d": 1500.0, "dnet": 1500.0, "lnet": 3000.0, "enet": 5000.0}
    text, profile = make_profile("box", engine, measured(engine, seconds, gpu), GPU_BOX, "by hand")
    pools = {pool.name: pool for pool in profile.pools}
    assert [pool.stages for pool in profile.pools] == [
        ["detect", "recon3d", "dnet"],
        ["lnet", "enet"],
        ["blend"],
    ]
    # 4000 MiB with room are 21 % of a GPU, 8000 are 42 %; three quarters of the work is the second pool's.
    assert pools["detect-dnet"].num_gpus == 0.25
    assert pools["lnet-enet"].num_gpus == 0.5
    assert (pools["detect-dnet"].size, pools["lnet-enet"].size) == (4, 6)
    assert pools["blend"].num_gpus == 0
    assert pools["blend"].size is not None
    assert pools["blend"].size > 30, "the cores that GPU actors leave"
    groups = profile.place("retalk", engine.names)
    check_resources(profile, [pool for pool, _ in groups], {"CPU": 48.0, "GPU": 4.0})
    assert profile.store_mib is not None
    check_store(profile, engine, groups, profile.store_mib << 20, 48)
    assert "4000 MiB with 1.25 × room on a GPU of 24000: 0.25; 25% of the GPUs' work" in text
    assert profile.nodes[0].gpus == 4


def test_what_does_not_fit_is_refused() -> None:
    engine = Engine(load_engine("retalk"))
    with pytest.raises(ValueError, match="needs 30000 MiB, the GPU has 24000"):
        make_profile(
            "box", engine, measured(engine, {}, {"lnet": 15_000.0, "enet": 15_000.0}), GPU_BOX, "by hand"
        )
    one = Machine(cpus=8, ram_mib=32_000, shm_mib=8_000, gpus=1, gpu_mib=24_000)
    with pytest.raises(ValueError, match=r"one actor of each pool needs 1\.5 GPUs, there are 1"):
        make_profile(
            "box", engine, measured(engine, {}, {"detect": 15_000.0, "lnet": 9_000.0}), one, "by hand"
        )


@pytest.mark.parametrize(("cpus", "ram"), [(2, 8_000), (16, 64_000), (16, 16_000)])
def test_cpu_pools_fit_cores_and_memory(cpus: int, ram: float) -> None:
    engine = Engine(load_engine("exemplar"))
    box = Machine(cpus=cpus, ram_mib=ram, shm_mib=4_000)
    _, profile = make_profile(
        "box", engine, measured(engine, {"detect": 0.03, "render": 0.09}, {}), box, "by hand"
    )
    sizes = {pool.name: pool.size or 0 for pool in profile.pools}
    assert set(sizes) == {"detect", "speak-render"}
    check_resources(profile, profile.pools, {"CPU": float(cpus)})
    # detect: 3000 MiB an actor; speak, choose and render in one: 500 + 3 × 2500.
    assert sizes["detect"] * 3000 + sizes["speak-render"] * 8000 <= max(11_000, ram * 0.6)
    if cpus == 16 and ram == 64_000:
        assert sizes["speak-render"] > sizes["detect"]
        assert sum(sizes.values()) < 16, "memory is what is scarce here"
