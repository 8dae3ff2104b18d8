"""Starting or joining Ray. The only module that sets Ray's environment; import it before `ray`."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

# A Ray that we start serves this process on this machine only; one that is joined keeps its own settings.
if not os.environ.get("RAY_ADDRESS"):
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# Rows wait in front of a pool in proportion to what it works on (`bundles.QUEUED`), also while the object store is far from full.
os.environ.setdefault("RAY_DATA_DOWNSTREAM_CAPACITY_OBJECT_STORE_BUDGET_UTIL_THRESHOLD", "0")
# Ray's core prints an error for every actor pool about arguments in the object store (its issue 53727); they never go out of scope here.
os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")


def machine_cpus() -> int:
    """CPUs that this process may use; a machine with one counts as two, so that the smallest profile runs there too, if more slowly."""
    return max(2, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def is_joined() -> bool:
    """Whether `ray_session` will join a Ray that somebody else has started, as far as this process knows."""
    import ray

    return bool(os.environ.get("RAY_ADDRESS")) or ray.is_initialized()


@contextmanager
def ray_session(store_mib: int | None, verbose: bool = False, before_start: Callable[[], None] | None = None) -> Iterator[Any]:
    """Give the connected `ray` module; what was started here is stopped at the end.

    Joins the Ray that this process is connected to, or the cluster of RAY_ADDRESS, or starts one on this machine.

    Args:
        store_mib: object store of a Ray started here, None for Ray's own choice.
        verbose: show the workers' output.
        before_start: called if a Ray is to be started here.
    """
    import ray

    if ray.is_initialized():
        yield ray
        return
    quiet: dict[str, Any] = {"logging_level": logging.INFO if verbose else logging.ERROR, "log_to_driver": verbose}
    if os.environ.get("RAY_ADDRESS"):
        ray.init(**quiet)
    else:
        if before_start is not None:
            before_start()
        store: dict[str, Any] = {"object_store_memory": store_mib << 20} if store_mib else {}
        with no_terminal_input(), nullcontext() if verbose else _silent_stderr():
            ray.init(address="local", num_cpus=machine_cpus(), include_dashboard=False, configure_logging=verbose, **store, **quiet)
    try:
        yield ray
    finally:
        ray.shutdown()


def detach_input() -> None:
    """Point this process's standard input at nothing.

    A process in the background that reads from the user's terminal or changes its settings is stopped by the kernel, its group with it.
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
    """Drop what is written to this process's standard error: Ray's core announces there that its log level was set."""
    sys.stderr.flush()
    kept, sink = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(sink, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(sink)
