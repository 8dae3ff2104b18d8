"""`retalk submit` on a real Ray head: real jobs, real footage, real exit codes."""

from __future__ import annotations

import io
import json
import signal
import subprocess
from pathlib import Path

import av
import pytest

from cluster.jobs import Jobs
from operators.media.probe import probe_video
from operators.media.reader import read_frames
from tests.cluster.conftest import BIN, environment
from tests.pipelines.conftest import make_speech

FRAMES = 30
#: One worker for all stages: what takes time here is starting workers. The file is sent along with the
#: manifest.
PROFILE = """
name: small
plan: {name: plan, size: 1, num_cpus: 0.2, in_flight: 1}
pools: [{name: all, size: 1, num_cpus: 0.2, in_flight: 1}]
"""


@pytest.fixture(scope="module")
def inputs(carphone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with talk.mp4 (the first second of carphone) and speech.wav."""
    folder = tmp_path_factory.mktemp("inputs")
    with av.open(str(folder / "talk.mp4"), "w") as container:
        stream = container.add_stream(
            "libx264", rate=30, width=176, height=144, pix_fmt="yuv420p", options={"crf": "12"}
        )
        for frame in read_frames(str(carphone), 0, FRAMES):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame.rgb(), "rgb24")))
        container.mux(stream.encode(None))
    make_speech(folder / "speech.wav", 1.0)
    return folder


def submit(address: str, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    (folder / "small.yaml").write_text(PROFILE)
    command = [
        str(BIN / "retalk"),
        "submit",
        "--address",
        address,
        "--profile",
        "small.yaml",
        "--engine",
        "exemplar",
        *more,
    ]
    return subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, check=False, timeout=400
    )


def test_a_job_with_a_good_and_a_bad_title_then_again(ray_head: str, inputs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out put; touch injected"
    good = {
        "id": "good",
        "video": str(inputs / "talk.mp4"),
        "speech": str(inputs / "speech.wav"),
        "output": "good.mp4",
    }
    bad = {**good, "id": "bad", "video": str(inputs / "absent.mp4"), "output": "bad.mp4"}
    (tmp_path / "both.jsonl").write_text(json.dumps(good) + "\n" + json.dumps(bad) + "\n")
    (tmp_path / "one.jsonl").write_text(json.dumps(good) + "\n")

    first = submit(ray_head, tmp_path, "both.jsonl", "-o", str(out), "--env", "RETALK_TEST=hidden-value")
    said = first.stdout + first.stderr
    assert first.returncode == 3, said
    assert "absent.mp4: no such file" in first.stdout, "the job's log is shown"
    assert "ray job stop" in first.stderr
    assert "hidden-value" not in said
    assert probe_video(str(out / "good.mp4")).pts.size == FRAMES
    ledger = [json.loads(line) for line in (out / "ledger.jsonl").read_text().splitlines()]
    assert {record["title"]: record["state"] for record in ledger} == {"good": "done", "bad": "failed"}
    assert not list(tmp_path.rglob("injected"))

    written = (out / "good.mp4").stat().st_mtime_ns
    second = submit(ray_head, tmp_path, "one.jsonl", "-o", str(out))
    assert second.returncode == 0, second.stdout + second.stderr
    assert (out / "good.mp4").stat().st_mtime_ns == written, "what is done stays"


def test_no_wait_returns_and_the_name_is_taken(ray_head: str, tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text("{not json\n")
    arguments = ("m.jsonl", "-o", str(tmp_path / "out"), "--no-wait", "--submission-id", "once")
    assert submit(ray_head, tmp_path, *arguments).returncode == 0
    again = submit(ray_head, tmp_path, *arguments)
    assert again.returncode == 2
    assert "did not take the job" in again.stderr


def test_a_cluster_that_does_not_answer_is_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text("")
    ended = submit("http://127.0.0.1:9", tmp_path, "m.jsonl", "-o", str(tmp_path / "out"))
    assert ended.returncode == 2, ended.stderr
    assert "http://127.0.0.1:9" in ended.stderr


def test_ctrl_c_leaves_the_job_whose_wrong_usage_is_exit_code_2(ray_head: str, tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text("{not json\n")
    command = [
        str(BIN / "retalk"),
        "submit",
        "--address",
        ray_head,
        "--submission-id",
        "left",
        "m.jsonl",
        "-o",
        str(tmp_path / "out"),
    ]
    running = subprocess.Popen(
        command, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert running.stderr is not None
    assert any(line.startswith("job left on") for line in iter(running.stderr.readline, "")), (
        "Ray's own lines come before it"
    )
    running.send_signal(signal.SIGINT)
    _, more = running.communicate(timeout=60)
    assert running.returncode == 130, more
    assert "the job continues" in more
    assert f"ray job stop --address {ray_head} left" in more
    # The job itself was not stopped: it comes to its own end, which is that of a wrong manifest.
    end = io.StringIO()
    assert Jobs(ray_head).follow("left", end) == 2
    assert "m.jsonl" in end.getvalue()
