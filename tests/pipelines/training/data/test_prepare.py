"""Preparation of a real face with made-up sound: what comes out, what is left out, and that it goes on after a kill."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from operators.faces.geometry import lip_opening
from operators.retalk.mel import mel_spectrogram
from pipelines.cli.main import main
from pipelines.training.data.clips import signature, sound_at
from pipelines.training.data.prepare import prepare, shards
from pipelines.training.data.reader import ClipSet
from pipelines.training.data.schema import MARGIN, SOUND_MARGIN
from pipelines.training.data.shard import MAX_ATTEMPTS, ShardMaker, Work
from pipelines.training.data.sources import Source, find_sources
from pipelines.training.data.store import DataSet, Settings
from tests.pipelines.conftest import make_video
from tests.pipelines.training.footage import manifest, openings, sound_of, write_sound

ROOT = Path(__file__).parents[4]
SMALL = Settings(heads=64, faces=48, least_seconds=0.5, most_seconds=2.0, least_face=30, sync="landmarks")
EARLY = 3  # frames by which the sound of "early" is before the picture


@pytest.fixture(scope="module")
def raw(carphone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of five videos: in step, out of step, a copy, without a face, and one that is no video."""
    folder = tmp_path_factory.mktemp("raw")
    shutil.copy(carphone, folder / "talk.mp4")
    times, opening = openings(folder / "talk.mp4", folder)
    write_sound(folder / "step.wav", sound_of(times, opening))
    write_sound(folder / "early.wav", sound_of(times, opening, EARLY / 25))
    make_video(folder / "bars.mp4", 30, 25)
    (folder / "broken.mp4").write_bytes(b"no video")
    talk = {"video": "talk.mp4", "identity": "talker"}
    rows = [
        {**talk, "id": "step", "audio": "step.wav"},
        {**talk, "id": "step2", "audio": "step.wav", "identity": "else"},
        {**talk, "id": "early", "audio": "early.wav", "start": "0.4"},
        {"video": "bars.mp4", "id": "bars"},
        {"video": "broken.mp4", "id": "broken"},
        {"video": "talk.mp4", "id": "mute"},
    ]
    return manifest(folder / "raw.csv", rows)


@pytest.fixture(scope="module")
def made(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[DataSet, dict[str, Any]]:
    """The data set of these videos, and its statistics."""
    url = str(tmp_path_factory.mktemp("made"))
    return DataSet(url), prepare(find_sources(str(raw)).sources, url, SMALL)


def test_clips_are_cut_to_length_and_what_is_left_out_has_a_reason(
    made: tuple[DataSet, dict[str, Any]],
) -> None:
    data, found = made
    assert {row["source"] for row in data.index().to_pylist()} == {"early", "step"}
    assert found["clips"] == len(data.index()) >= 4
    assert max(data.index()["frames"].to_pylist()) <= 50
    assert {"no face", "unreadable", "no sound", "duplicate"} <= set(found["left_out"])
    lines = [json.loads(line) for line in Path(data.file("left_out.jsonl")).read_text().splitlines()]
    reasons = {one["source"]: one["reason"] for one in lines if one["source"] in ("bars", "broken", "mute")}
    assert reasons == {"bars": "no face", "broken": "unreadable", "mute": "no sound"}
    assert {one["source"] for one in lines if one["reason"] == "duplicate"} == {"step2"}
    assert Path(data.file("sheet.jpg")).stat().st_size > 5000


def test_the_sound_is_moved_into_step(made: tuple[DataSet, dict[str, Any]]) -> None:
    """Mouth and hiss of the video whose sound is early agree at no offset after it has been corrected."""
    clips = ClipSet(made[0].url, columns=["source", "landmarks", "mel", "sync_offset"], least_frames=40)
    seen = 0
    for number in range(len(clips)):
        clip = clips[number]
        assert clip["sync_offset"] == (EARLY if clip["source"] == "early" else 0)
        opening = lip_opening(clip["landmarks"])
        level = 10 ** (clip["mel"][:, 45:70].mean(1) * 100 / 160)  # amplitude of 2 to 4.5 kHz
        at = MARGIN + (np.arange(len(opening)) + 0.5) * 3.2

        def agreement(lag: int) -> float:
            heard = np.interp(at + 3.2 * lag, np.arange(len(level)), level)  # noqa: B023
            return float(np.corrcoef(opening, heard)[0, 1])  # noqa: B023

        if opening.std() > 0.05:  # the mouth moves in it
            seen += 1
            assert max(range(-6, 7), key=agreement) in (-1, 0, 1)
            assert agreement(0) > 0.6
    assert seen


def test_crops_show_the_face(made: tuple[DataSet, dict[str, Any]]) -> None:
    clip = ClipSet(made[0].url)[0]
    assert clip["heads"].shape == (clip["frames"], 64, 64, 3)
    assert clip["faces"].shape == (clip["frames"], 48, 48, 3)
    inside = (clip["landmarks"] >= clip["head_boxes"][:, None, :2]) & (
        clip["landmarks"] < clip["head_boxes"][:, None, 2:]
    )
    assert inside.all()
    assert clip["coefficients"].shape == (0, 262)


def test_a_resumed_run_makes_the_same_shards(
    raw: Path, made: tuple[DataSet, dict[str, Any]], tmp_path: Path
) -> None:
    """Killed without warning as soon as one of three shards is there, and run again."""
    one_each = [
        "--per-shard",
        "2",
        "--heads",
        "64",
        "--faces",
        "48",
        "--seconds",
        "0.5",
        "2",
        "--least-face",
        "30",
    ]
    arguments = [
        "train",
        "prepare",
        str(raw),
        "--sync",
        "landmarks",
        "--runner",
        "local",
        "--coefficients",
        "off",
        *one_each,
    ]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pipelines", *arguments, "-o", str(parts)]
    with subprocess.Popen(
        command, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as run:
        while run.poll() is None and not (parts / "shards" / "00000.json").exists():
            time.sleep(0.02)
        run.send_signal(signal.SIGKILL)
    first = (parts / "shards" / "00000.parquet").stat().st_mtime_ns
    assert not (parts / "index.parquet").exists()
    assert main([*arguments, "-o", str(parts), "-q"]) == 0
    assert main([*arguments, "-o", str(whole), "-q"]) == 0
    assert (parts / "shards" / "00000.parquet").stat().st_mtime_ns == first
    names = sorted(path.name for path in (whole / "shards").iterdir())
    assert names == [f"0000{number}.{kind}" for number in range(3) for kind in ("json", "parquet")]
    assert sorted(path.name for path in (parts / "shards").iterdir()) == names
    for name in [*(f"shards/{name}" for name in names), "index.parquet", "left_out.jsonl", "statistics.json"]:
        assert (parts / name).read_bytes() == (whole / name).read_bytes(), name


def test_ray_makes_the_same_shards(
    raw: Path, made: tuple[DataSet, dict[str, Any]], tmp_path: Path, ray_session: Any
) -> None:
    said: list[str] = []
    sources = find_sources(str(raw)).sources
    found = prepare(sources, str(tmp_path), SMALL, "ray", workers=1, say=said.append)
    assert found == made[1]
    assert (tmp_path / "shards" / "00000.parquet").read_bytes() == Path(made[0].shard("00000")).read_bytes()
    assert [text for text in said if text.startswith("shard ")] == [
        f"shard 1 of 1, {found['clips'] + 2} clips"
    ]


def test_a_video_that_kills_its_workers_is_left_out(raw: Path, tmp_path: Path) -> None:
    """The count of attempts is what a killed worker leaves behind; another run counts anew."""
    (source,) = (one for one in find_sources(str(raw)).sources if one.name == "step")
    maker = ShardMaker(str(tmp_path), Settings(sync="off", coefficients="off", heads=32, faces=0))
    (tmp_path / "shards").mkdir()
    attempts = tmp_path / "shards" / "00000.attempts.json"
    attempts.write_text(json.dumps({"run": "this", "attempts": {"step": MAX_ATTEMPTS}}))
    maker.make(Work("00000", (source,), "this"))
    receipt = DataSet(str(tmp_path)).receipt("00000")
    assert receipt is not None
    assert [(one.reason, one.detail[:6]) for one in receipt.left_out] == [("unreadable", "killed")]
    assert not attempts.exists()
    attempts.write_text(json.dumps({"run": "last", "attempts": {"step": MAX_ATTEMPTS}}))
    maker.make(Work("00000", (source,), "this"))
    again = DataSet(str(tmp_path)).receipt("00000")
    assert again is not None
    assert again.clips


def test_sound_before_and_after_the_file_is_silence() -> None:
    sound = np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32)
    samples, mel = sound_at(sound, -5, 40)
    assert not samples[: SOUND_MARGIN + 5 * 640].any()
    np.testing.assert_allclose(samples[SOUND_MARGIN + 5 * 640 :][:16000] / 32768, sound, atol=2e-5)
    assert not samples[SOUND_MARGIN + 30 * 640 :].any()
    whole = mel_spectrogram(np.pad(sound, (20000, 20000)))
    # frame 5 of the clip is at the sound's first sample, column 100 of this spectrogram
    np.testing.assert_allclose(mel[MARGIN + 16 : MARGIN + 96].T, whole[:, 100:180], atol=1e-4)
    for first in (100, -100):
        assert not sound_at(sound, first, 10)[0].any()


def test_signatures_tell_clips_apart_and_survive_another_encoding() -> None:
    random = np.random.default_rng(0)
    pictures = [random.integers(0, 255, (32, 32, 3)).astype(np.uint8) for _ in range(3)]
    mel, other = (random.uniform(-4, 4, (2 * MARGIN + 60, 80)).astype(np.float32) for _ in range(2))

    def apart(a: str, b: str) -> int:
        return (int(a, 16) ^ int(b, 16)).bit_count()

    noisy = [np.clip(p + random.normal(0, 2, p.shape), 0, 255).astype(np.uint8) for p in pictures]
    assert apart(signature(pictures, mel), signature(noisy, mel + 0.01)) <= 7
    assert apart(signature(pictures, mel), signature(pictures, other)) > 16


def test_shards_have_equal_numbers_of_sources() -> None:
    sources = [Source(f"{k:02d}", "", "") for k in range(17)]
    work = shards(sources, Settings(sources_per_shard=8))
    assert [(one.name, len(one.sources)) for one in work] == [("00000", 8), ("00001", 8), ("00002", 1)]


def test_the_command_says_what_it_did(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "prepare", str(raw), "-o", str(tmp_path / "x"), "--dry-run"]) == 0
    assert "6 videos of 5 identities by name" in capsys.readouterr().out
    assert not (tmp_path / "x").exists()
    assert main(["train", "prepare", str(raw), "-o", str(tmp_path), "--heads", "0", "--faces", "0"]) == 2
    assert "needs pictures" in capsys.readouterr().err
    only = manifest(tmp_path / "bars.csv", [{"video": str(raw.parent / "bars.mp4")}])
    assert main(["train", "prepare", str(only), "-o", str(tmp_path / "bars"), "--json", "-q"]) == 3
    found = json.loads(capsys.readouterr().out)
    assert found["exit_code"] == 3
    assert found["left_out"]["no face"]["count"] == 1
