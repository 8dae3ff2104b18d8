"""A run on Ray: session, checks of the cluster, the stream of rows, assembly beside it."""

from __future__ import annotations

import dataclasses
import gc
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from operators.storage.redact import redact
from operators.storage.scratch import scratch_folder
from pipelines.engine.config import ProfileConfig
from pipelines.engine.model_files import wanted_files
from pipelines.engine.rows import Row
from pipelines.errors import UsageError
from pipelines.execution.assembler_pool import AssemblerPool
from pipelines.execution.assembly import assemble_dub
from pipelines.execution.collector import Collector
from pipelines.execution.coordinator_client import snapshot_of, start_coordinator
from pipelines.execution.ray_graph import stream
from pipelines.execution.ray_output import kept_output
from pipelines.execution.ray_session import RayLostError, is_joined, ray_has_ended, ray_lost, ray_session
from pipelines.execution.run_spec import Placement, RunSpec
from pipelines.execution.signing_desk import signing_desk
from pipelines.manifest.titles import overrides_of
from pipelines.monitoring.progress import Progress
from pipelines.monitoring.prometheus import PrometheusExporter
from pipelines.monitoring.run_log import node_shapes
from pipelines.monitoring.worker_startup import StartWatch
from pipelines.preflight import checks, cluster
from pipelines.state.lock import RunLock
from retalk_models.inference.allocator import trim_heaps

#: Seconds between two returns of free memory to the system.
TRIM_PERIOD = 10.0


def run_on_ray(spec: RunSpec, lock: RunLock, progress: Progress, verbose: bool) -> tuple[Collector, Path]:
    """Run titles on the Ray that is joined or started here.

    Args:
        spec: the run.
        lock: of the run directory; held as long as the run lasts.
        progress: display that watches the run.
        verbose: show the workers' output.

    Returns:
        The collector, with a record for each dub that has ended, and the file with Ray's and its workers'
        output, which does not exist where there was none.

    Raises:
        PreflightError: the cluster cannot run this, or would crawl.
        RayStartError: no Ray could be started or joined.
        RayLostError: the Ray that was started here has ended by itself.
    """
    checks.check_shared_urls(spec.directory.url, spec.titles)
    placed = spec.placement(isolated=True)
    progress.phase("starting Ray")
    joined = is_joined()

    def before_start() -> None:
        checks.check_shared_memory(spec.profile)

    with kept_output() as output:
        try:
            with ray_session(spec.profile.store_mib, verbose, before_start, output.path) as ray:
                _check_cluster(spec, ray, placed, joined)
                with scratch_folder() as folder, signing_desk(spec.signing, folder, joined) as signing:
                    asking = dataclasses.replace(spec, signing=signing)
                    with _searched_no_more():
                        collector = _Driver(asking, ray, placed, lock, progress).run(str(folder))
        except RayLostError:
            output.keep()  # the message names it
            raise
        except UsageError:  # nothing of Ray's output explains it
            raise
        except Exception:
            if output.keep():
                progress.say(f"Ray's own output: {output.path}")
            raise
        output.keep()
    return collector, output.path


@contextmanager
def _searched_no_more() -> Iterator[None]:
    """Leave out what is there already, a catalogue's titles above all, when Python searches for garbage meanwhile."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _check_cluster(spec: RunSpec, ray: Any, placed: Placement, joined: bool) -> None:
    """Refuse a run that would crawl on the connected Ray, or not start at all.

    Raises:
        PreflightError: with the numbers.
    """
    pools, layout = [pool for pool, _ in placed], [(pool, group.stages) for pool, group in placed]
    found = cluster.read_cluster(ray, spec.profile, joined)
    checks.check_resources(spec.profile, pools, found.now, found.grown, found.source)
    cluster.check_actors_fit(spec.profile, pools, found)
    cluster.check_row_fits(spec.profile, spec.engine, layout, found)
    if not found.waits:  # stores come with their nodes
        store = found.now.get("object_store_memory", 0)
        checks.check_store(spec.profile, spec.engine, layout, store, int(found.now.get("CPU", 1)))
    cluster.check_nodes(ray, wanted_files(spec.engine, overrides_of(spec.titles)), spec.directory.url)


class _Driver:
    """The driver's side of a run: takes rows from the graph and keeps the assemblers busy."""

    def __init__(self, spec: RunSpec, ray: Any, placed: Placement, lock: RunLock, progress: Progress) -> None:
        self.spec, self.ray, self.placed, self.lock, self.progress = spec, ray, placed, lock, progress
        assemble = spec.profile.assemble
        self.assemblers = AssemblerPool(assemble.num_cpus, assemble.at_once, spec.assembly, assemble_dub)
        self.threads = ThreadPoolExecutor(assemble.at_once, "assemble")
        self.collector = spec.collector(self.assemblers.put)

    def run(self, scratch: str) -> Collector:
        """Run the graph to its end; what it leaves undone is recorded as failed.

        Args:
            scratch: folder on this machine for the coordinator's decisions.
        """
        name, coordinator = start_coordinator(self.spec.cache_bytes, scratch)
        error = ""
        try:
            with self._watched(coordinator):
                error = self._take_all(
                    stream(self.spec.titles, self.spec.plan, self.placed, self.spec.profile, name)
                )
                self.threads.shutdown(wait=True)
        finally:
            self.threads.shutdown(wait=False, cancel_futures=True)
            if not ray_lost():
                self.assemblers.stop()
                self.ray.kill(coordinator)
        if error:
            self.collector.abort(
                f"the run stopped before this title was done ({error}); run again: what is committed is not computed again"
            )
        return self.collector

    def _take_all(self, blocks: Iterator[list[Row]]) -> str:
        """Take rows until there are none, and return why they ended early: "" if they did not.

        Raises:
            LockedError: another run has taken the run directory.
        """
        due = 0.0
        while True:
            if time.monotonic() > due:
                # Each of Ray's threads has an arena of its own, where what it frees stays between the little that lasts.
                trim_heaps()
                due = time.monotonic() + TRIM_PERIOD
            try:
                rows = next(blocks, None)
            except Exception as problem:  # of many kinds: a pool's set-up, a lost cluster, the watchdog
                if ray_has_ended():
                    raise
                return _reason(problem, self.spec.profile)
            if rows is None:
                return ""
            self.lock.check()
            for row in rows:
                self.collector.take(row)
            # All that have become complete together, so that short ones go to an assembler together.
            for _ in range(self.assemblers.wanted()):
                self.threads.submit(self._assemble_waiting)
            self.assemblers.wait_for_room()

    def _assemble_waiting(self) -> None:
        for dub, result in self.assemblers.run():
            if isinstance(result, Exception):
                if ray_has_ended():  # nothing is wrong with the title
                    return
                self.collector.failed(dub, f"assemble: {_last_words(result)}")
            else:
                self.collector.ended(result)

    @contextmanager
    def _watched(self, coordinator: Any) -> Iterator[None]:
        """Show the run's progress and write its log and metrics meanwhile."""
        spec, cpus = self.spec, int(self.ray.cluster_resources().get("CPU", 1))
        least = {"+".join(group.stages): pool.bounds(cpus)[0] for pool, group in self.placed}
        startup = StartWatch({"plan": spec.profile.plan.bounds(cpus)[0], **least})
        with self.progress.watch(
            self.collector.state,
            lambda: startup.look(snapshot_of(coordinator)),
            spec.stage_words,
            spec.log(self.placed, cpus),
            lambda: node_shapes(self.ray.nodes()),
            PrometheusExporter(redact(spec.directory.url).rstrip("/").rsplit("/", 1)[-1]),
        ):
            yield


def _reason(problem: Exception, profile: ProfileConfig) -> str:
    """Return why the graph has ended early."""
    if type(problem).__name__ == "ExecutionTimeoutError":
        return f"no progress for {profile.watchdog_seconds:g} s, watchdog_seconds of profile {profile.name}: something hangs"
    return _last_words(problem)


def _last_words(problem: BaseException) -> str:
    """Return the end of the last traceback in one of Ray's long errors, on one line."""
    lines = str(problem).strip().splitlines()
    starts = [n for n, line in enumerate(lines) if re.match(r"[\w.]*(Error|Exception|Timeout)\w*: ", line)]
    text = " ".join(line.strip() for line in lines[starts[-1] :]) if starts else (lines[-1] if lines else "")
    return f"{type(problem).__name__}: {text}"
