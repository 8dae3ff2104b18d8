"""Metrics as Prometheus reads them: scraped from the real endpoint of a real Ray while a run goes on; the
dashboard asks for no others.
"""

from __future__ import annotations

import json
import re
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

from pipelines import runner
from pipelines.monitoring.prometheus import METRICS, PrometheusExporter, exported
from tests.pipelines.conftest import engine_config, profile_config

DASHBOARD = Path(__file__).parents[3] / "cluster" / "grafana" / "retalk.json"
SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)


def scrape(ray: Any) -> dict[str, dict[str, float]]:
    """Values by metric and by labels."""
    (node,) = ray.nodes()
    found: dict[str, dict[str, float]] = {}
    with urllib.request.urlopen(
        f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics", timeout=10
    ) as answer:
        for name, labels, value in SAMPLE.findall(answer.read().decode()):
            found.setdefault(name, {})[labels] = float(value)
    return found


def value(samples: dict[str, dict[str, float]], name: str, **labels: str) -> float | None:
    wanted = [f'{key}="{text}"' for key, text in labels.items()]
    found = [
        number
        for text, number in samples.get(exported(name), {}).items()
        if all(label in text.split(",") for label in wanted)
    ]
    assert len(found) <= 1, found
    return found[0] if found else None


def asked() -> set[str]:
    """Names of the metrics that the dashboard's queries use."""
    dashboard = json.loads(DASHBOARD.read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    queries += [one["query"]["query"] for one in dashboard["templating"]["list"] if one["type"] == "query"]
    assert len(queries) > 15
    return {name for query in queries for name in re.findall(r"\bray_\w+", query)}


def test_endpoint_and_dashboard(footage: Path, tmp_path: Path, ray_session: Any) -> None:
    rows = [
        {
            "id": "bad",
            "video": str(footage / "absent.mp4"),
            "speech": str(footage / "exact.wav"),
            "output": "bad.mp4",
        },
        {"id": "a", "video": str(footage / "a.mp4"), "speech": str(footage / "exact.wav"), "output": "a.mp4"},
    ]
    config = engine_config(options={"Paint": {"wait": str(tmp_path / "go")}})
    reports: list[runner.Report] = []
    run = threading.Thread(
        target=lambda: reports.append(
            runner.run(rows, run_dir=str(tmp_path / "metrics-run"), engine=config, profile=profile_config(1))
        )
    )
    run.start()
    anew = PrometheusExporter("anew")
    for total in (0, 5, 5, 9, 2, 3):  # the coordinator's node died after the fourth
        anew._count("retalk_frames_done", {}, total)
    # Of a run with so few commits the remaining time is unknown, and is not exported.
    known = dict.fromkeys(("titles", "planned_titles", "ended", "failed"), 1)
    later = PrometheusExporter("later")
    numbers = {"done": 90, "expected": 120, "fps": 3.0, "eta": 12.5}
    state = [
        ("retalk_titles", {"state": "failed"}, {1.0}),
        ("retalk_titles", {"state": "running"}, {1.0}),
        ("retalk_titles", {"state": "waiting"}, {0.0}),
        ("retalk_stage_errors", {"stage": "plan"}, {1.0}),
        ("retalk_stage_rows", {"stage": "paint", "pool": "all"}, {1.0, 2.0, 3.0}),
        ("retalk_stage_running", {"stage": "brightness"}, {1.0, 2.0}),
    ]
    wanted, seen = {exported(name) for name in METRICS} | asked(), set[str]()
    try:
        deadline = time.monotonic() + 300
        while True:
            later.update({**known, **numbers}, {}, {})  # a gauge that is not set again disappears
            samples = scrape(ray_session)
            seen |= samples.keys()
            wrong = [
                name
                for name, labels, right in state
                if value(samples, name, run="metrics-run", **labels) not in right
            ]
            if not wanted - seen and not wrong:
                break
            assert time.monotonic() < deadline, (
                f"not on the endpoint: {sorted(wanted - seen)}; wrong: {wrong}"
            )
            time.sleep(0.5)
        assert value(samples, "retalk_frames_done", run="anew") == 5 + 4 + 2 + 1, (
            "a counter is not turned back"
        )
        assert value(samples, "retalk_eta_seconds", run="later") == 12.5
        assert value(samples, "retalk_eta_seconds", run="metrics-run") is None
    finally:
        (tmp_path / "go").touch()
        run.join(120)
    assert reports[0].computed == 4
    deadline = time.monotonic() + 60
    while value(scrape(ray_session), "retalk_stage_frames", run="metrics-run", stage="paint") != 24:
        assert time.monotonic() < deadline, "the last numbers of a run reach the endpoint too"
        time.sleep(0.5)
