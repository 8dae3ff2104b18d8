"""Sweeps through the real planner, stages, ledger and scoring, on small clips and made-up model files."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
import yaml

import retalk_models
from operators.evaluation.sync_protocols import PROTOCOLS, score_clip
from operators.media import container
from pipelines import runner
from pipelines.cli import main as cli
from pipelines.preflight import checks
from pipelines.state.run_directory import RunDirectory
from retalk_models.registry.registry import home_registry
from tests.pipelines.conftest import engine_config, make_video, profile_config
from tests.retalk_home import made_up

SIZE = (96, 80)


class PlannedError(Exception):
    """Planning is over."""


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips of 2 s at 25 frames a second, in the shape of LRS2, and a home with made-up networks for metrics."""
    folder = tmp_path_factory.mktemp("clips")
    for name, scenes in (("1/00001", 1), ("2/00001", 2)):
        make_video(folder / "main" / f"{name}.mp4", frames=50, rate=25, size=SIZE, scenes=scenes)
    models = folder / "home" / "models"
    models.mkdir(parents=True)
    torch.save(made_up("syncnet"), models / "syncnet_v2.model")
    torch.save(made_up("inception"), models / "pt_inception-2015-12-05-6726825d.pth")
    return folder


@pytest.fixture
def sweep(clips: Path, tmp_path: Path) -> Callable[..., int]:
    """Run `retalk eval lrs2` with the test engine over a list of a good line, one whose video is missing, and a broken one."""
    engine, profile = tmp_path / "engine.yaml", tmp_path / "profile.yaml"
    config = engine_config().model_dump()
    engine.write_text(yaml.safe_dump(config))
    profile.write_text(yaml.safe_dump(profile_config(1).model_dump(exclude_none=True)))
    (tmp_path / "list.txt").write_text("1/00001 2/00001\n2/00001 3/00009\nonly-one\n")

    def run(*more: str, systems: str = f"{engine},source", metrics: str = "cpbd") -> int:
        places = ["--root", str(clips), "--list", str(tmp_path / "list.txt"), "-o", str(tmp_path / "out")]
        options = [
            "--systems",
            systems,
            "--metrics",
            metrics,
            "--profile",
            str(profile),
            "--runner",
            "local",
            "-q",
        ]
        return cli.main(["eval", "lrs2", *places, *options, *more])

    return run


def scores(folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    found = [json.loads(path.read_text()) for path in sorted((folder / "scores").glob("*.json"))]
    return {(one["system"], one["pair"]): one for one in found}


GOOD, GONE = "2_00001+1_00001", "3_00009+2_00001"


def test_attempted_scored_and_why_the_others_fell_out(
    sweep: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep() == 3
    out = capsys.readouterr().out
    assert "1 left out: not two ids, AUDIO_ID VIDEO_ID (line 3)" in out
    assert "test: 2 attempted, 1 scored\n  1 failed: no such file" in out
    assert "source: 2 attempted, 1 scored\n  1 failed: no such file" in out
    assert out.endswith(f"{tmp_path}/out/table.md\n")
    found = scores(tmp_path / "out")
    assert sorted(found) == [(system, pair) for system in ("source", "test") for pair in (GOOD, GONE)]
    good, gone = found["test", GOOD], found["test", GONE]
    assert (good["state"], gone["state"]) == ("scored", "failed")
    assert "3/00009.mp4: no such file" in gone["reason"]
    assert gone["output"] is None
    assert Path(good["output"]).is_file()
    assert 0 <= good["metrics"]["cpbd"] <= 1
    assert good["cost_seconds"] > 0
    assert found["source", GOOD]["cost_seconds"] is None
    assert good["seconds"] == pytest.approx(2.0, abs=0.1)
    assert good["covariates"]["loudness_lufs"] == found["source", GOOD]["covariates"]["loudness_lufs"] < 0
    about = json.loads((tmp_path / "out" / "sweep.json").read_text())
    assert (about["attempted"], about["systems"], about["lse_protocol"]) == (4, ["test", "source"], "lrs")
    assert about["list"]["left_out"] == {"not two ids, AUDIO_ID VIDEO_ID": 1}
    assert about["finished"] >= about["started"]
    # The ledger of each system says the same.
    for system in ("test", "source"):
        ledger = pq.read_table(tmp_path / "out" / "runs" / f"{system}.cross" / "ledger.parquet")
        assert dict(zip(ledger["title"].to_pylist(), ledger["state"].to_pylist())) == {
            GOOD: "done",
            GONE: "failed",
        }


def test_the_table_holds_every_score(sweep: Callable[..., int], tmp_path: Path) -> None:
    sweep("--allow-failures")
    table = pq.read_table(tmp_path / "out" / "scores.parquet").to_pylist()
    found = scores(tmp_path / "out")
    assert len(table) == len(found) == 4
    for row in table:
        score = found[row["system"], row["pair"]]
        assert row["cpbd"] == score["metrics"]["cpbd"]
        assert row["loudness_lufs"] == score["covariates"]["loudness_lufs"]
        assert json.loads(row["notes"]) == score["notes"]
        assert row["state"] == score["state"]
    with (tmp_path / "out" / "scores.csv").open(newline="") as file:
        assert [row["pair"] for row in csv.DictReader(file)] == [row["pair"] for row in table]


def test_the_same_command_again_computes_nothing_and_more_metrics_dub_nothing(
    sweep: Callable[..., int], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    painted = ("--set", f"paint.log={log}")
    sweep(*painted)
    once = log.read_text()
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "scores").iterdir()}
    sweep(*painted)
    assert log.read_text() == once
    assert {path: path.stat().st_mtime_ns for path in written} == written
    sweep(*painted, metrics="cpbd,lip_leak,opening_r")
    assert log.read_text() == once, (
        "metrics that are asked for afterwards are measured on the outputs that are there"
    )
    score = scores(tmp_path / "out")["test", GOOD]
    assert score["metrics"]["cpbd"] is not None
    assert set(score["notes"]) == {"lip_leak", "opening_r"}, "nobody has a face here, and that is said"
    assert "no face" in score["notes"]["opening_r"]
    afterwards = RunDirectory(str(tmp_path / "out" / "runs" / "test.cross.afterwards"))
    (first,) = afterwards.records()
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "scores").iterdir()}
    sweep(*painted, metrics="cpbd,lip_leak,opening_r")
    assert {path: path.stat().st_mtime_ns for path in written} == written
    assert [record["finished"] for record in afterwards.records()] == [first["finished"]], "once"


def test_lse_and_fid_with_made_up_networks_are_those_of_the_functions_and_marked(
    sweep: Callable[..., int], clips: Path, tmp_path: Path
) -> None:
    home = str(clips / "home")
    assert sweep("--metric-weights", home, metrics="lse_d,lse_c,fid") == 3
    found = scores(tmp_path / "out")
    network = retalk_models.load("syncnet", registry=home_registry(home))
    for system in ("test", "source"):
        score = found[system, GOOD]
        clip = score_clip(score["output"], PROTOCOLS["lrs"], network)
        assert score["metrics"]["lse_d"] == pytest.approx(clip.lse_d, abs=1e-5)
        assert score["metrics"]["lse_c"] == pytest.approx(clip.lse_c, abs=1e-5)
        assert score["covariates"]["lse_offset"] == clip.offset
    about = json.loads((tmp_path / "out" / "sweep.json").read_text())
    assert about["metric_weights"] == dict.fromkeys(("lse_d", "lse_c", "lse_offset", "fid"), "recipe")
    assert sorted(about["digests"]) == ["pt_inception-2015-12-05-6726825d.pth", "syncnet_v2.model"]
    (entry,) = json.loads((tmp_path / "out" / "sets.json").read_text())
    assert (entry["system"], entry["metric"], entry["count"]) == ("test", "fid", 10)
    assert entry["value"] > 0
    assert "10 pictures against 10 of the sources" in entry["note"]


def test_fid_needs_the_sources(sweep: Callable[..., int], clips: Path, tmp_path: Path) -> None:
    sweep("--metric-weights", str(clips / "home"), metrics="fid", systems=f"{tmp_path}/engine.yaml")
    (entry,) = json.loads((tmp_path / "out" / "sets.json").read_text())
    assert entry["value"] is None
    assert "add source" in entry["note"]


def test_metrics_without_files_leave_the_others_running(
    sweep: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep("--metric-weights", str(tmp_path), metrics="cpbd,lse_d,fid")
    score = scores(tmp_path / "out")["test", GOOD]
    assert score["metrics"]["cpbd"] is not None
    assert score["metrics"]["lse_d"] is None
    assert "syncnet_v2.model" in score["notes"]["lse_d"]
    (entry,) = json.loads((tmp_path / "out" / "sets.json").read_text())
    assert "pt_inception" in entry["note"]


def test_planning_looks_once_at_each_file_of_a_pair_and_opens_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reads are counted up to the choice of the runner, where planning ends and the first pair would be worked on."""
    names = [f"{k:02d}/00001" for k in range(50)]
    for name in names:
        path = tmp_path / "data" / f"{name}.mp4"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x")
    lines = "".join(f"{audio} {video}\n" for audio in names for video in names)
    (tmp_path / "list.txt").write_text(lines)
    looked, whole = Counter[str](), checks.fingerprint

    def counted(url: str) -> Any:
        looked[url] += 1
        return whole(url)

    def planned(*arguments: Any) -> None:
        raise PlannedError(len(arguments[-1]))

    monkeypatch.setattr(checks, "fingerprint", counted)
    monkeypatch.setattr(container, "open_input", lambda *a, **k: pytest.fail("media were opened"))
    monkeypatch.setattr(runner, "choose_runner", planned)
    command = ["--list", str(tmp_path / "list.txt"), "-o", str(tmp_path / "out"), "--systems", "exemplar"]
    args = cli.parser().parse_args(["eval", "lrs2", "--root", str(tmp_path / "data"), *command, "-q"])
    with pytest.raises(PlannedError) as ended:
        args.run(args)
    assert ended.value.args == (2_500,)
    assert looked.total() == 5_000, "the picture and the sound of each pair"


def test_systems_share_the_analysis_of_a_video(sweep: Callable[..., int], tmp_path: Path) -> None:
    """A second engine with the same first stage finds what the first one has left."""
    other = yaml.safe_load((tmp_path / "engine.yaml").read_text()) | {"name": "other"}
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(other))
    sweep(systems=f"{tmp_path}/engine.yaml")
    analysed = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "cache").rglob("*.arrow")}
    assert analysed
    sweep(systems=f"{tmp_path}/other.yaml")
    again = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "cache").rglob("*.arrow")}
    assert again == analysed
    assert scores(tmp_path / "out")["other", GOOD]["state"] == "scored"


def test_on_ray_the_scores_are_those_of_the_plain_loop(
    sweep: Callable[..., int], tmp_path: Path, ray_session: Any
) -> None:
    sweep(metrics="psnr,cpbd")
    here = scores(tmp_path / "out")
    sweep("-o", str(tmp_path / "ray"), "--runner", "ray", metrics="psnr,cpbd")
    there = scores(tmp_path / "ray")
    assert here.keys() == there.keys()
    for key, score in there.items():
        for column in ("state", "reason", "metrics", "covariates", "notes", "seconds"):
            assert score[column] == here[key][column], (key, column)


def test_shards_fill_one_table(sweep: Callable[..., int], tmp_path: Path) -> None:
    assert sweep("--shard", "1/2") == 3
    assert {pair for _, pair in scores(tmp_path / "out")} == {GOOD}
    sweep("--shard", "2/2")
    assert pq.read_table(tmp_path / "out" / "scores.parquet").num_rows == 4
    assert json.loads((tmp_path / "out" / "sweep.json").read_text())["attempted"] == 4


def test_reconstruction_dubs_each_video_with_its_own_sound(sweep: Callable[..., int], tmp_path: Path) -> None:
    sweep("--protocol", "reconstruction", metrics="psnr,ssim")
    found = scores(tmp_path / "out")
    good = found["test", "2_00001"]
    assert good["audio"] == good["video"]
    assert good["metrics"]["psnr"] > 10
    assert found["source", "2_00001"]["notes"]["psnr"] == "the source is the truth itself"


def test_commands_that_add_to_a_sweep_leave_what_was_said_of_the_others(
    sweep: Callable[..., int], clips: Path, tmp_path: Path
) -> None:
    home = str(clips / "home")
    sweep("--metric-weights", home, systems="source", metrics="lse_d")
    sweep("--limit", "1", metrics="cpbd", systems=f"{tmp_path}/engine.yaml")
    about = json.loads((tmp_path / "out" / "sweep.json").read_text())
    assert about["systems"] == ["source", "test"]
    assert about["attempts"] == {"source cross": 2, "test cross": 1}
    assert (about["attempted"], about["metrics"]) == (3, ["lse_d", "cpbd"])
    assert list(about["digests"]) == ["syncnet_v2.model"]
    assert about["metric_weights"]["lse_d"] == "recipe"
    (first,) = about["earlier"]
    assert first["options"]["metric_weights"] == home
    assert first["finished"]


def test_a_folder_holds_sweeps_over_one_data_set(
    sweep: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep(systems="source")
    assert sweep("--lse-protocol", "tracked", systems="source") == 2
    assert "holds a sweep with lse_protocol lrs" in capsys.readouterr().err


def test_videos_of_others_are_scored_as_they_are(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = (str(clips / "main" / f"{n}/00001.mp4") for n in (1, 2))
    (tmp_path / "m.csv").write_text(
        f"id,output,video\nsame,{one},{one}\nother,{one},{two}\ngone,/no.mp4,{two}\n"
    )
    command = [
        "eval",
        "score",
        str(tmp_path / "m.csv"),
        "-o",
        str(tmp_path / "out"),
        "--name",
        "theirs",
        "-q",
    ]
    command += [
        "--protocol",
        "reconstruction",
        "--metrics",
        "psnr,cpbd,seam",
        "--runner",
        "local",
        "--with-source",
    ]
    assert cli.main(command) == 3
    found = scores(tmp_path / "out")
    assert found["theirs", "same"]["metrics"]["psnr"] == 130, "equal pictures"
    assert 5 < found["theirs", "other"]["metrics"]["psnr"] < 100, "the second scene is another"
    assert "needs the region that a dub has drawn" in found["theirs", "same"]["notes"]["seam"]
    assert "no such file" in found["theirs", "gone"]["reason"]
    assert found["source", "gone"]["state"] == "scored"
    assert not list((tmp_path / "out" / "runs").rglob("*.mp4")), "nothing is dubbed"


def test_a_dry_run_shows_the_sweep_and_writes_nothing(
    sweep: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep("--dry-run", "--shard", "1/2", metrics="cpbd,lse_d") == 0
    out = capsys.readouterr().out
    assert "lrs2, protocol cross: 2 pairs, of them 1 in shard 1/2" in out
    assert "1 left out: not two ids" in out
    assert GOOD in out
    assert "system test: model files: none" in out
    assert "not measured: lse_d: " in out
    assert not (tmp_path / "out").exists()
    assert sweep("--dry-run", systems="wav2lip") == 2
    assert "wav2lip_gan.pth" in capsys.readouterr().err
