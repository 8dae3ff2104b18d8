"""Metrics of a run on Ray's Prometheus endpoint (every node's `MetricsExportPort`);
`cluster/grafana/retalk.json` shows them.

The driver sets them from the counts of the coordinator and the collector. Ray puts ``ray_`` in
front of each name and ``_total`` behind a counter's. Queues, alive actors and the object store are Ray Data's
own metrics (``ray_data_*``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Name, kind, tags beside ``run``, and description.
METRICS: dict[str, tuple[str, tuple[str, ...], str]] = {
    "retalk_stage_seconds": ("counter", ("stage", "pool"), "Seconds that actors have worked in a stage"),
    "retalk_stage_rows": ("counter", ("stage", "pool"), "Rows that a stage has finished, errors included"),
    "retalk_stage_frames": ("counter", ("stage", "pool"), "Frames that a stage has finished"),
    "retalk_stage_errors": ("counter", ("stage", "pool"), "Rows that a stage has failed on"),
    "retalk_stage_running": (
        "gauge",
        ("stage", "pool"),
        "Rows that are in a stage's pool now, counted at the pool's first stage",
    ),
    "retalk_stage_utilisation": (
        "gauge",
        ("stage", "pool"),
        "Seconds worked per second, as a share of the pool's largest size",
    ),
    "retalk_titles": ("gauge", ("state",), "Titles by state: waiting, running, done, failed"),
    "retalk_frames_done": ("counter", (), "Output frames that are committed"),
    "retalk_frames_expected": (
        "gauge",
        (),
        "Output frames of the whole run, those of titles not yet planned estimated",
    ),
    "retalk_fps": ("gauge", (), "Output frames per second since the run began"),
    "retalk_eta_seconds": (
        "gauge",
        (),
        "Seconds that the run still needs at this speed; absent while unknown",
    ),
}


def exported(name: str) -> str:
    """A metric's name on the endpoint."""
    return f"ray_{name}{'_total' if METRICS[name][0] == 'counter' else ''}"


class PrometheusExporter:
    """Exports a run's numbers from this process, which must be connected to Ray.

    Args:
        run: name of the run in the tag ``run``.
    """

    def __init__(self, run: str) -> None:
        from ray.util.metrics import Counter, Gauge

        self._run = run
        self._metrics: dict[str, Any] = {}
        for name, (kind, tags, about) in METRICS.items():
            self._metrics[name] = {"counter": Counter, "gauge": Gauge}[kind](
                name, description=about, tag_keys=("run", *tags)
            )
        self._counted: dict[tuple[str, ...], float] = {}

    def update(
        self,
        state: Mapping[str, Any],
        stages: Mapping[str, Mapping[str, Any]],
        utilisation: Mapping[str, float],
    ) -> None:
        """Set everything. To be called every few seconds: a gauge that is not set again soon disappears.

        Args:
            state: as for `run_log.RunLog.write`.
            stages: ``{stage: {rows, frames, seconds, errors, running, pool}}``.
            utilisation: by stage.
        """
        for stage, count in stages.items():
            tags = {"stage": stage, "pool": str(count["pool"])}
            for kind in ("seconds", "rows", "frames", "errors"):
                self._count(f"retalk_stage_{kind}", tags, count[kind])
            self._set("retalk_stage_running", tags, count["running"])
            self._set("retalk_stage_utilisation", tags, utilisation.get(stage, 0.0))
        running = max(0, state["planned_titles"] - state["ended"])
        titles = {
            "waiting": state["titles"] - state["ended"] - running,
            "running": running,
            "failed": state["failed"],
        }
        for name, number in {**titles, "done": state["ended"] - state["failed"]}.items():
            self._set("retalk_titles", {"state": name}, number)
        self._count("retalk_frames_done", {}, state["done"])
        self._set("retalk_frames_expected", {}, state["expected"])
        self._set("retalk_fps", {}, state["fps"])
        if state["eta"] is not None:
            self._set("retalk_eta_seconds", {}, state["eta"])

    def _set(self, name: str, tags: Mapping[str, str], value: float) -> None:
        self._metrics[name].set(float(value), tags={"run": self._run, **tags})

    def _count(self, name: str, tags: Mapping[str, str], total: float) -> None:
        """Raise a counter to a total. A total that has become smaller was begun anew: the coordinator's node
        has died.
        """
        key = (name, *tags.values())
        before = self._counted.get(key, 0.0)
        step = total - before if total >= before else total
        self._counted[key] = float(total)
        if step > 0:  # Ray refuses 0: a series begins with its first row
            self._metrics[name].inc(float(step), tags={"run": self._run, **tags})
