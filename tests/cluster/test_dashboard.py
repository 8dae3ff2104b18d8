"""The shipped Grafana dashboard on a real Prometheus, which scrapes a real Ray head during a run as docs/cluster.md says."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.conftest import Head, environment, free_ports
from tests.pipelines.conftest import engine_config, make_speech, make_video, profile_config

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "cluster" / "grafana" / "retalk.json"
#: Seconds for what takes a few where the machine has nothing else to do.
PATIENCE = 300.0


@contextmanager
def prometheus(config: dict[str, Any], folder: Path) -> Iterator[str]:
    """The URL of a Prometheus with this configuration."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("prometheus is not installed: apt-get install prometheus")
    (port,) = free_ports(1)
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    command = [
        program,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
    ]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, f"--web.listen-address=127.0.0.1:{port}"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=10):
                    break
            except OSError:
                said = (folder / "prometheus.log").read_text()
                assert process.poll() is None, said
                assert time.monotonic() < deadline, said
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def ask(url: str, path: str, **parameters: str) -> Any:
    """The data of an answer of Prometheus' API."""
    with urllib.request.urlopen(
        f"{url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}", timeout=30
    ) as answer:
        return json.load(answer)["data"]


def documented() -> dict[str, Any]:
    """The configuration that docs/cluster.md shows."""
    text = (ROOT / "docs" / "cluster.md").read_text()
    (block,) = re.findall(r"```yaml\n(scrape_configs:.*?)```", text, re.DOTALL)
    config: dict[str, Any] = yaml.safe_load(block)
    return config


def expressions(run: str) -> dict[str, str]:
    """The queries of the dashboard's panels by panel and number, for one run."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    found = {
        f"{panel['title']} {target['refId']}": target["expr"].replace("$run", run)
        for panel in panels
        for target in panel["targets"]
    }
    assert len(found) > 15
    assert not [text for text in found.values() if "$" in text]
    return found


@contextmanager
def running(head: Head, folder: Path) -> Iterator[Path]:
    """A run on the head with a failed title and one that stands still before its end until a file is there.

    It commits for half a minute: a forecast of the time left needs four readings, one every 5 s.
    """
    go = folder / "go"
    make_video(folder / "a.mp4", frames=72, scenes=2)
    make_speech(folder / "a.wav", 6.0)
    rows = [
        {
            "id": name,
            "video": str(folder / f"{name}.mp4"),
            "speech": str(folder / "a.wav"),
            "output": f"{name}.o.mp4",
        }
        for name in ("absent", "a")
    ]
    (folder / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    engine = engine_config(options={"Paint": {"wait": str(go), "wait_at": 20, "pause": 0.45}})
    (folder / "engine.yaml").write_text(yaml.safe_dump(engine.model_dump()))
    profile = profile_config(1, segment_frames=3).model_dump(exclude_none=True)
    (folder / "profile.yaml").write_text(yaml.safe_dump(profile))
    command = [sys.executable, "-m", "pipelines", "run", str(folder / "m.jsonl"), "-o", str(folder / "night")]
    command += ["--engine", str(folder / "engine.yaml"), "--profile", str(folder / "profile.yaml")]
    with (folder / "run.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**environment(), "RAY_ADDRESS": head.address, "PYTHONPATH": os.fspath(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield go
        go.touch()
        assert process.wait(PATIENCE) == 3, (folder / "run.log").read_text()
    finally:
        process.kill()
        process.wait()


def test_every_panel_shows_a_run(head: Head, tmp_path: Path) -> None:
    config = documented()
    (job,) = config["scrape_configs"]
    (found,) = job["file_sd_configs"]
    assert found["files"] == ["/tmp/ray/prom_metrics_service_discovery.json"]
    # This head has another temporary folder, and this test less time.
    found |= {"files": [str(head.folder / "prom_metrics_service_discovery.json")], "refresh_interval": "1s"}
    config["global"] = {"scrape_interval": "1s"}
    with prometheus(config, tmp_path) as url, running(head, tmp_path) as go:
        missing = expressions("night")
        deadline = time.monotonic() + PATIENCE
        while missing:
            for panel, text in list(missing.items()):
                values = [float(one["value"][1]) for one in ask(url, "query", query=text)["result"]]
                if any(map(math.isfinite, values)):
                    del missing[panel]
            # What a counter has done is known when it rises again.
            if all("rate(" in text for text in missing.values()):
                go.touch()
            said = (tmp_path / "run.log").read_text()
            assert time.monotonic() < deadline, f"no data for {missing}; the run: {said}"
            time.sleep(0.5)
        (variable,) = [
            one for one in json.loads(DASHBOARD.read_text())["templating"]["list"] if one["type"] == "query"
        ]
        metric = re.fullmatch(r"label_values\((\w+), run\)", variable["query"]["query"])
        assert metric is not None
        assert "night" in ask(url, "label/run/values", **{"match[]": metric[1]})
