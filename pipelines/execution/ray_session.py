"""Starting or joining Ray. The only module that sets Ray's environment; import it before `ray`."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from pipelines.errors import RAY_LOST
from pipelines.execution.ray_output import worker_lines_kept
from pipelines.monitoring.supervision import NO_RAY, RAY, tell
from pipelines.monitoring.worker_startup import children, first_ended

#: Seconds after the end of the raylet after which this process ends where it hangs in a call of Ray.
LOST_PATIENCE = 6.0
#: Seconds that a raylet, whose node has left the cluster, may take to end its workers and itself.
LEAVING_PATIENCE = 60.0
#: What Ray says of a start that took longer than the half a minute it waits, for which it has no setting: a busy machine may need
#: another one.
SLOW_START, STARTS = "timed out during startup", 3
#: Processes of Ray without which it cannot live.
WATCHED = ("raylet", "gcs_server")
#: What to do when Ray has ended.
AGAIN = "Run the same command again: what is committed is not computed again"

# A Ray that we start serves this process on this machine only; one that is joined keeps its own settings.
if not os.environ.get("RAY_ADDRESS"):
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    # No events of tasks: only the dashboard shows them, which we do not start, and Ray's GCS would keep them.
    os.environ.setdefault("RAY_task_events_report_interval_ms", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# Rows wait in front of a pool in proportion to what it works on (`batching.QUEUED`), also while the object
# store is far from full.
os.environ.setdefault("RAY_DATA_DOWNSTREAM_CAPACITY_OBJECT_STORE_BUDGET_UTIL_THRESHOLD", "0")
# Ray's core prints an error for every actor pool about arguments in the object store (its issue 53727); they
# never go out of scope here.
os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")


def machine_cpus() -> int:
    """CPUs that this process may use; a machine with one counts as two, so that the smallest profile runs
    there too, if more slowly.
    """
    return max(2, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def is_joined() -> bool:
    """Return whether `ray_session` will join a Ray that somebody else has started, as far as this process knows."""
    import ray

    return bool(os.environ.get("RAY_ADDRESS")) or ray.is_initialized()


class RayLostError(Exception):
    """The Ray that was started for this run has ended while the run was at work."""


class RayStartError(RayLostError):
    """Ray did not start, or the one to be joined does not answer. No work has begun."""


#: Set when the raylet of the Ray that was started here has ended by itself.
_LOST = threading.Event()
#: Set while the raylet of a Ray that was started here is watched.
_WATCHING = threading.Event()


def ray_lost() -> bool:
    """Return whether the Ray that was started here has ended by itself; calls of Ray may then hang, or end this
    process.
    """
    return _LOST.is_set()


def ray_has_ended() -> bool:
    """Return whether the Ray that was started here ends by itself, asked after a call of Ray has failed.

    A raylet that is told to end leaves the cluster first; its workers die then, while its process may live on
    for seconds. This waits for it, so that `ray_lost` is true from then on.
    """
    import ray

    if _WATCHING.is_set() and not ray_lost():
        with suppress(Exception):  # of many kinds, where Ray's GCS ends too
            here = ray.get_runtime_context().get_node_id()
            if any(node["NodeID"] == here and not node["Alive"] for node in ray.nodes()):
                _LOST.wait(LEAVING_PATIENCE)
    return ray_lost()


@contextmanager
def ray_session(
    store_mib: int | None,
    verbose: bool = False,
    before_start: Callable[[], None] | None = None,
    output: Path | None = None,
) -> Iterator[Any]:
    """Give the connected `ray` module; what was started here is stopped at the end.

    Joins the Ray that this process is connected to, or the cluster of RAY_ADDRESS, or starts one on this
    machine.

    Args:
        store_mib: object store of a Ray started here, None for Ray's own choice.
        verbose: show the workers' output.
        before_start: called if a Ray is to be started here.
        output: file that the workers' output is appended to.

    Raises:
        RayStartError: no Ray could be started or joined.
        RayLostError: the Ray that was started here has ended by itself.
    """
    import ray

    if ray.is_initialized():
        yield ray
        return
    shown = verbose or output is not None
    quiet: dict[str, Any] = {
        "logging_level": logging.INFO if verbose else logging.ERROR,
        "log_to_driver": shown,
    }
    joined = bool(os.environ.get("RAY_ADDRESS"))
    with worker_lines_kept(output, verbose), _told_above():
        if joined:
            with _start_explained(output), own_signal_handlers():
                ray.init(**quiet)
        else:
            if before_start is not None:
                before_start()
            store: dict[str, Any] = {"object_store_memory": store_mib << 20} if store_mib else {}
            silence = nullcontext() if shown else _silent_stderr()
            with _start_explained(output), own_signal_handlers(), no_terminal_input(), silence:
                _start(
                    ray,
                    address="local",
                    num_cpus=machine_cpus(),
                    include_dashboard=False,
                    configure_logging=verbose,
                    **store,
                    **quiet,
                )
        try:
            with nullcontext() if joined else _raylet_watched(output):
                yield ray
        finally:
            ray.shutdown()


@contextmanager
def _told_above() -> Iterator[None]:
    """Let the process above know that Ray may end this one."""
    tell(RAY)
    try:
        yield
    finally:
        tell(NO_RAY)


def _start(ray: Any, **options: Any) -> None:
    """Start Ray, and again where the machine was too busy for it."""
    for left in reversed(range(STARTS)):
        before = _children()
        try:
            ray.init(**options)
            return
        except Exception as problem:
            if not left or SLOW_START not in str(problem):
                raise
            _end_children(before)
            ray.shutdown()


def _children() -> set[int]:
    return {pid for pid, _ in children(os.getpid())}


def _end_children(before: set[int]) -> None:
    """Ask the processes to end that were not yet there before."""
    for pid in _children() - before:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)


@contextmanager
def _start_explained(output: Path | None) -> Iterator[None]:
    """Turn a failed start into one `RayStartError`, with the whole of it in the file, and end what it has
    left behind.
    """
    before = _children()
    try:
        yield
    except Exception as problem:  # of many kinds, most of them plain Exception
        _end_children(before)
        where = ""
        if output is not None:
            with suppress(OSError), output.open("a", encoding="utf-8") as file:
                file.write("".join(traceback.format_exception(problem)))
            where = f"; more is in {output}"
        address = os.environ.get("RAY_ADDRESS")
        said = f"Ray at RAY_ADDRESS={address} cannot be joined" if address else "Ray did not start"
        reason = " ".join(str(problem).split()) or type(problem).__name__
        raise RayStartError(f"{said}: {reason.rstrip('.')}{where}") from problem


@contextmanager
def own_signal_handlers() -> Iterator[None]:
    """Let Ray set no handlers of signals meanwhile: on SIGTERM it would end this process at once, with exit
    code 1 and without a word.

    Ray has no setting for it, only this function of its own.
    """
    from ray._private import utils

    setter = getattr(utils, "set_sigterm_handler", None)
    if setter is not None:
        utils.set_sigterm_handler = lambda *_: None
    kept = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if setter is not None:
            utils.set_sigterm_handler = setter
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, kept)


@contextmanager
def _raylet_watched(output: Path | None) -> Iterator[None]:
    """Raise `RayLostError` from the body when the raylet below this process ends.

    Ray itself would end this process without a word as soon as it asks the raylet for something.
    """
    watched = {pid: name for pid, name in children(os.getpid()) if name in WATCHED}
    if not watched:
        yield
        return
    _LOST.clear()
    where = f"; its last words are in {output}" if output is not None else ""
    missing: list[str] = []

    def words() -> str:
        return f"Ray has ended by itself ({missing[0]}: was it killed, or is this machine out of memory?){where}. {AGAIN}"

    ended, in_main = threading.Event(), threading.current_thread() is threading.main_thread()
    stop, stopping = os.pipe()

    def watch() -> None:
        gone = first_ended(watched, stop)
        if gone is None:
            return
        missing.append(f"its {watched[gone]}, process {gone}, is gone")
        _LOST.set()
        if in_main:
            # A real signal, so that waiting for a lock ends too.
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        if not ended.wait(LOST_PATIENCE):  # it hangs in a call of Ray
            os.write(sys.stderr.fileno() if sys.stderr else 2, f"retalk: {words()}\n".encode())
            os._exit(RAY_LOST)

    watcher = threading.Thread(target=watch, name="raylet-watch", daemon=True)
    watcher.start()
    _WATCHING.set()
    try:
        yield
    except BaseException as problem:
        if ray_lost():
            raise RayLostError(words()) from problem
        raise
    finally:
        _WATCHING.clear()
        ended.set()
        os.close(stopping)
        watcher.join()
        os.close(stop)


def detach_input() -> None:
    """Point this process's standard input at nothing.

    A process in the background that reads from the user's terminal or changes its settings is stopped by the
    kernel, its group with it.
    """
    nothing = os.open(os.devnull, os.O_RDONLY)
    if nothing != 0:
        os.dup2(nothing, 0)
        os.close(nothing)


@contextmanager
def no_terminal_input() -> Iterator[None]:
    """Let processes that are started meanwhile inherit no terminal as their standard input."""
    try:
        kept = os.dup(0)
    except OSError:  # closed: there is nothing to inherit
        yield
        return
    try:
        detach_input()
        yield
    finally:
        os.dup2(kept, 0)
        os.close(kept)


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Drop what is written to this process's standard error: Ray's core announces there that its log level
    was set.
    """
    sys.stderr.flush()
    kept, sink = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(sink, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(sink)
