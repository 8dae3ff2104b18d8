"""`benchmarks.gpu`: the command as a whole on a CPU, with nothing but torch and numpy; what it keeps, what it
recommends.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from benchmarks.gpu import report
from benchmarks.gpu.__main__ import main
from benchmarks.gpu.chain import OTHERS
from benchmarks.gpu.device import seconds_of
from benchmarks.gpu.loop import NEEDED, Loop
from benchmarks.gpu.networks import BOUND
from benchmarks.gpu.results import DONE, DeviceLostError, Piece, Results
from benchmarks.gpu.scene import batches, make_chain, mouths, psnr, scene
from benchmarks.gpu.settings import CHAIN, CPU, GPU
from benchmarks.network_cases import CASES, made_up
from operators.retalk.double_buffer import DoubleBuffer
from operators.retalk.tensor_chain import STEPS
from pipelines.capacity.gpu_shares import SHARES
from pipelines.engine.config import ProfileConfig, load_engine
from pipelines.engine.engine import Engine
from retalk_models.build import NETWORKS
from tests.parity import NETWORK_TOLERANCE, manifest
from tests.weight_recipe import recipe_weights

ROOT = Path(__file__).parents[2]
#: Packages that a bare machine with torch and numpy lacks.
ABSENT = (
    *(
        "ray",
        "av",
        "cv2",
        "scipy",
        "pyarrow",
        "pydantic",
        "dlib",
        "decord",
        "librosa",
        "numba",
        "yaml",
        "PIL",
    ),
    *("pytest", "rich", "skimage", "filelock", "pandas", "packaging"),
)


def command(*arguments: str, absent: bool = False) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, on one thread."""
    blocked = f"import sys\nfor name in {ABSENT!r}: sys.modules[name] = None\n" if absent else ""
    code = f"{blocked}import runpy\nrunpy.run_module('benchmarks.gpu', run_name='__main__')"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_the_whole_command_runs_on_a_cpu_without_other_packages(tmp_path: Path) -> None:
    """In two goes: what the first has measured the second leaves as it is."""
    output = tmp_path / "results"
    options = ("--device", "cpu", "--output", str(output), "--minutes", "9")
    first = command(*options, "--only", "speed", absent=True)
    assert first.returncode == 0, first.stdout + first.stderr
    kept = json.loads((output / "results.json").read_text())["pieces"]
    assert set(kept) == {f"speed/{label}/{form.name}" for label in CPU.cases for form in CPU.forms}
    second = command(*options, "--resume", absent=True)
    assert second.returncode == 0, second.stdout + second.stderr
    pieces = json.loads((output / "results.json").read_text())["pieces"]
    assert all(piece["state"] == DONE for piece in pieces.values())
    assert {name: pieces[name] for name in kept} == kept
    figures = {name: piece["figures"] for name, piece in pieces.items()}
    for label in CPU.cases:
        assert figures[f"parity/{label}"]["within"]
        assert figures[f"parity/{label}"]["exact"]["max"] == 0  # the device is the CPU
        assert 0 < figures[f"parity/{label}"]["folded"]["max"] <= BOUND
        assert BOUND < figures[f"precision/{label}/bfloat16"]["max"] < 0.5
    # A picture of a mouth: folding moves single labels, bfloat16 all of it, and something was drawn at all.
    exact, half = figures["parity/chain"], figures["precision/chain/bfloat16"]
    assert exact["drawn"] > 2
    assert exact["psnr_db"] > 45
    assert exact["psnr_db"] > half["psnr_db"] > 20
    chain = figures[f"chain/{CPU.chain_forms[0].name}/1"]
    assert chain["frames"] == CPU.frames
    assert set(chain["step_seconds_of_a_frame"]) == set(STEPS)
    assert "GPU" in figures[f"chain/{CPU.chain_forms[1].name}/1"]["skipped"]
    assert len(figures["processes/2"]["each"]) == 2
    profile = ProfileConfig.model_validate(yaml.safe_load((output / "profile.yaml").read_text()))
    assert [pool.device for pool in profile.pools] == ["cpu"] * 4
    assert "| dnet |" in (output / "report.md").read_text()
    assert sorted(path.name for path in output.iterdir()) == ["profile.yaml", "report.md", "results.json"]


def test_a_device_that_is_not_there_is_wrong_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    assert main(["--output", str(tmp_path / "out")]) == 2
    assert "torch sees no GPU" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


# --- results ------------------------------------------------------------------------------------------------
def soon() -> float:
    return time.monotonic() + 3600


def test_pieces_are_kept_as_they_finish_and_not_done_again(tmp_path: Path) -> None:
    done: list[str] = []

    def piece(name: str, **figures: Any) -> Piece:
        return Piece(name, lambda: (done.append(name), figures)[1])

    def broken() -> dict[str, Any]:
        raise ValueError("no such kernel")

    results = Results(tmp_path, {"device": "cpu"}, resume=False)
    pieces = [piece("parity/a", x=1), Piece("parity/b", broken), piece("speed/a", y=2)]
    said: list[str] = []
    assert results.run(pieces[:2], soon(), said.append) == []
    kept = json.loads((tmp_path / "results.json").read_text())["pieces"]
    assert kept["parity/a"]["figures"] == {"x": 1}
    assert kept["parity/b"]["error"] == "ValueError: no such kernel"
    again = Results(tmp_path, {"device": "cpu"}, resume=True)
    assert again.run(pieces, soon(), said.append) == []
    assert done == ["parity/a", "speed/a"]
    assert dict(again.part("parity")) == {"a": {"x": 1}}
    assert "no such kernel" in said[1]
    retried = Results(tmp_path, {"device": "cpu"}, resume=True, retry=True)
    assert retried.run([piece("parity/b", z=3)], soon(), said.append) == []
    assert retried.figures("parity/b") == {"z": 3}


def test_results_of_other_conditions_and_results_that_are_there_are_refused(tmp_path: Path) -> None:
    Results(tmp_path, {"gpu": "A"}, resume=False)
    with pytest.raises(ValueError, match="--resume"):
        Results(tmp_path, {"gpu": "A"}, resume=False)
    with pytest.raises(ValueError, match="gpu"):
        Results(tmp_path, {"gpu": "B"}, resume=True)


def test_a_piece_that_ended_the_process_is_not_begun_again(tmp_path: Path) -> None:
    """The file says that it was begun: whoever resumes goes on behind it."""
    results = Results(tmp_path, {}, resume=False)

    def ends() -> dict[str, Any]:
        state = json.loads((tmp_path / "results.json").read_text())["pieces"]["chain/x"]["state"]
        assert state == "started"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        results.run([Piece("chain/x", ends)], soon(), print)
    resumed = Results(tmp_path, {}, resume=True)
    assert resumed.pieces["chain/x"]["state"] == "failed"


def test_what_has_no_time_is_left_and_what_runs_too_long_is_given_up(tmp_path: Path) -> None:
    results = Results(tmp_path, {}, resume=False)

    def endless() -> dict[str, Any]:
        while True:
            time.sleep(0.01)

    def short() -> dict[str, Any]:
        return {"x": 1}

    long = Piece("speed/long", endless, most=0.2)
    later = Piece("speed/later", short, least=60.0)
    assert results.run([long, later], time.monotonic() + 30, print) == ["speed/later"]
    assert "TooLongError" in results.pieces["speed/long"]["error"]
    # Cut off by the end of the time: no fault of the piece.
    cut = Piece("speed/cut", endless, most=600.0, least=0.0)
    assert results.run([cut], time.monotonic() + 0.2, print) == ["speed/cut"]
    assert "speed/cut" not in results.pieces


def test_a_lost_device_ends_the_process_with_the_piece_noted(tmp_path: Path) -> None:
    def broken() -> dict[str, Any]:
        raise RuntimeError("illegal memory access")

    results = Results(tmp_path, {}, resume=False)
    with pytest.raises(DeviceLostError):
        results.run([Piece("chain/x", broken)], soon(), print, healthy=lambda: False)
    assert Results(tmp_path, {}, resume=True).pieces["chain/x"]["state"] == "failed"


def test_calls_are_timed_in_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]

    def call() -> None:
        now[0] += 0.25

    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    device = torch.device("cpu")
    assert seconds_of(call, device, 1.0) == (0.25, 4)
    assert seconds_of(call, device, 0.0) == (0.25, 1)
    assert seconds_of(call, device, 100.0, most=5) == (0.25, 5)
    assert now[0] == 0.25 * (5 + 1 + 6)


# --- inputs -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("settings", [CPU, GPU], ids=["cpu", "gpu"])
def test_the_scene_lies_where_the_chain_expects_it(settings: Any) -> None:
    made = scene(settings, 4)
    width, height = settings.size
    assert (made.corners % 2 == 0).all()
    assert (made.corners >= 0).all()
    assert (made.corners + settings.side <= torch.tensor([height, width])).all()
    local = made.face_boxes - made.corners.flip(1).repeat(1, 2)
    assert (local >= 0).all()
    assert (local <= settings.side).all()
    assert (made.face_boxes[:, 2:] - made.face_boxes[:, :2] <= settings.box).all()
    inside = made.landmarks - made.face_boxes[:, None, :2]
    assert (inside >= 0).all()
    assert (inside <= settings.box).all()
    assert made.frames.shape == (4, 3 * height // 2, width)
    parts = batches(made, 3, 3)
    assert torch.equal(parts[1].frames, made.frames[[3, 0, 1]])


def test_batches_come_back_in_order(tmp_path: Path) -> None:
    made = scene(CPU, 4)
    given = batches(made, 2, 3)
    buffer = DoubleBuffer(lambda batch: batch.frames.add_(1), torch.device("cpu"))
    arrived = list(buffer.run(given))
    assert len(arrived) == 3
    assert all(torch.equal(ours, batch.frames + 1) for ours, batch in zip(arrived, given))
    assert torch.equal(given[0].frames, made.frames[:2])  # what is given stays as it is
    assert buffer.busy_seconds() == 0


def test_mouths_are_compared_where_they_lie() -> None:
    made = scene(CPU, 2)
    before = mouths(made.frames, made, CPU)
    changed = made.frames.clone()
    y, x = (int(v) for v in made.face_boxes[0, [1, 0]])
    changed[0, y + CPU.box // 2 + 4, x + 8] ^= 64
    after = mouths(changed, made, CPU)
    assert psnr(before, before) == 100
    assert 30 < psnr(before, after) < 100
    assert (before != after).flatten(1).any(1).tolist() == [True, False]
    chain = make_chain({}, CPU, torch.device("cpu"))
    assert chain.side == CPU.side


def test_weights_are_the_recipes() -> None:
    """Those of the parity fixtures where they are at hand, and the same on every machine otherwise."""
    ours = made_up("wav2lip")
    listed = manifest("wav2lip")
    if listed is None:
        pytest.skip("no parity fixtures beside this checkout")
    theirs = recipe_weights(listed)
    assert set(ours) == set(theirs)
    assert all((ours[key].numpy() == value).all() for key, value in theirs.items())


def test_settings_name_what_there_is() -> None:
    assert set(CHAIN) <= set(CASES)
    assert list(GPU.cases)[: len(CHAIN)] == list(CHAIN)  # the default chain first
    assert {name for names in NEEDED.values() for name in names} <= set(NETWORKS)
    assert set(GPU.loop) == set(NEEDED)
    assert set(OTHERS) < set(NEEDED)
    for step in GPU.loop:
        assert hasattr(Loop, "draw" if step == "face" else step)
    assert BOUND == NETWORK_TOLERANCE


# --- the profile --------------------------------------------------------------------------------------------
def measured(tmp_path: Path) -> Results:
    """Results as a GPU could give them."""
    about = {
        "device": "cuda",
        "gpu": "a GPU",
        "gpu_mib": 80000,
        "cores": 16,
        "cpu": "a CPU",
        "frames": [1920, 1080],
    }
    results = Results(tmp_path, about, resume=False)
    steps = dict.fromkeys(STEPS, 0.0005) | {
        "dnet": 0.001,
        "identity": 0.001,
        "restore": 0.003,
        "parse": 0.0025,
    }

    def done(name: str, **figures: Any) -> None:
        results.pieces[name] = {"state": DONE, "figures": figures}

    done(
        "chain/loop",
        frames_per_second=4.0,
        frames_per_second_without_detectors_and_enhancer=9.0,
        reserved_mib=9000.0,
    )
    for number, form in enumerate(GPU.chain_forms[:2]):
        done(
            f"chain/{form.name}/16",
            frames_per_second=120.0 - 30 * number,
            busy_share=0.9,
            nvidia_smi_share=None,
            kernel_seconds_of_a_batch=0.1,
            step_seconds_of_a_frame=steps,
            reserved_mib=7000.0,
        )
    for count, rate in ((1, 120.0), (2, 150.0), (3, 151.0)):
        done(
            f"processes/{count}",
            frames_per_second=rate,
            mib_of_a_process=7000.0,
            context_mib=600.0,
            form="x",
            batch=16,
        )
    done("precision/chain/bfloat16", psnr_db=38.0, max_levels=60.0)
    done("precision/chain/float16", psnr_db=47.0, max_levels=12.0)
    done(
        "parity/dnet",
        exact={"max": 1e-5, "mean": 1e-6},
        folded={"max": 1e-4, "mean": 1e-6},
        bound=BOUND,
        within=True,
    )
    done(
        "speed/dnet/float16",
        **{"1": {"items_per_second": 100.0, "reserved_mib": 500.0}, "4": {"skipped": "no room"}},
    )
    return results


def test_the_profile_follows_from_the_figures(tmp_path: Path) -> None:
    results = measured(tmp_path)
    text = report.profile(results, GPU)
    profile = ProfileConfig.model_validate(yaml.safe_load(text))
    pools = {pool.name: pool for pool in profile.pools}
    # Two processes gave nearly all that three did: half a GPU each.
    assert pools["reconstruct"].num_gpus == pools["generate"].num_gpus == 0.5
    sizes = {name: pools[name].size or 0 for name in ("reconstruct", "generate")}
    assert sum(sizes.values()) * 0.5 <= report.GPUS
    assert sizes["generate"] > 2 * sizes["reconstruct"]
    assert "lnet.precision=float16" in text
    stages = [stage for pool in profile.pools for stage in pool.stages]
    assert stages == list(Engine(load_engine("retalk")).names)
    assert profile.place("retalk", stages)
    shown = report.text(results, GPU)
    assert "| float16 channels last, graph | 16 | 120.00 | 30.0 |" in shown
    assert "no room" in shown
    assert "47.0 dB" in shown


def test_lower_precision_is_recommended_only_where_the_mouth_is_good_enough(tmp_path: Path) -> None:
    results = measured(tmp_path)
    results.pieces["precision/chain/float16"]["figures"]["psnr_db"] = 44.0
    assert report.recommended_precision(results) == "float32"
    results.pieces["precision/chain/bfloat16"]["figures"]["psnr_db"] = 46.0
    assert report.recommended_precision(results) == "bfloat16"


def test_an_actor_that_needs_much_memory_gets_a_larger_share(tmp_path: Path) -> None:
    results = measured(tmp_path)
    results.pieces["processes/2"]["figures"]["mib_of_a_process"] = 45000.0
    assert report.sharing(results)[0] == 1.0
    del results.pieces["processes/2"], results.pieces["processes/3"]
    assert report.sharing(results)[0] == 1.0
    assert set(SHARES) >= {1.0, 0.5}


def test_an_interrupted_command_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: Any) -> list[str]:
        raise KeyboardInterrupt

    monkeypatch.setattr(Results, "run", interrupted)
    assert main(["--device", "cpu", "--output", str(tmp_path), "--only", "parity"]) == 130
    assert f"go on with: python -m benchmarks.gpu --resume --output {tmp_path}" in capsys.readouterr().out
    assert (tmp_path / "report.md").exists()
