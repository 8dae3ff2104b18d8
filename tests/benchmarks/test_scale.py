"""Parts of `benchmarks.scale` that need no Ray: what they count is what happens."""

from __future__ import annotations

import gc
import os
import threading
import time
import tracemalloc
from pathlib import Path

import fsspec
import pytest

from benchmarks import scale_driver, scale_threads
from benchmarks.scale_memory import cpu_seconds, private_memory
from benchmarks.scale_nodes import profile_of, shares
from benchmarks.scale_requests import counted, of_one_more
from benchmarks.scale_threads import DriverThreads, spent


def test_the_driver_takes_every_title_to_its_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale_driver, "STEP", 20)
    found = list(scale_driver.work(tmp_path, 50))
    assert [one["titles"] for one in found] == [0, 20, 40, 50, 50]
    assert all(one["ms"] > 0 for one in found[1:4])
    ledger = (tmp_path / "run" / "ledger.jsonl").read_text().splitlines()
    assert len(ledger) == 50
    assert sum('"state": "done"' in line for line in ledger) == 50


def test_calls_to_the_storage_count_once() -> None:
    store = fsspec.filesystem("memory")
    with counted() as found:
        store.pipe_file("/counted/a", b"x")
        assert store.isfile("/counted/a")  # asks `info` itself
        assert store.cat_file("/counted/a") == b"x"
        store.mv("/counted/a", "/counted/b")  # copies and deletes
        store.rm("/counted", recursive=True)
    assert +found == {"write": 1, "look": 1, "read": 1, "copy": 1, "delete": 1}
    assert not store.exists("/counted")


def test_a_title_more_costs_calls_of_every_kind(tmp_path: Path) -> None:
    """Its segment, its receipt, its record and its output are written, each as a whole: written and moved."""
    found = of_one_more(tmp_path, 1, 3)
    assert found["write"] >= 4
    assert found["copy"] >= 4
    assert 20 < sum(found.values()) < 100


def test_a_title_leaves_little_in_the_drivers_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python objects per title: 4.5 KB as dictionaries of Python, 1 KB packed."""
    monkeypatch.setattr(scale_driver, "STEP", 300)
    traced: dict[float, int] = {}
    for one in scale_driver.work(tmp_path, 900):
        gc.collect()
        if not traced:
            tracemalloc.start()
        traced.setdefault(one["titles"], tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert (traced[900] - traced[300]) / 600 < 1500


@pytest.mark.parametrize(("nodes", "raylets"), [(1, 8), (8, 8), (30, 8), (32, 4)])
def test_every_node_has_a_worker_and_every_actor_a_place(nodes: int, raylets: int) -> None:
    cpus, profile = shares(nodes, raylets), profile_of(nodes)
    pools = [profile.plan, *profile.pools]
    assert profile.pools[-1].size == nodes
    assert len(cpus) == min(nodes, raylets)
    assert sum(pool.num_cpus * (pool.size or 0) for pool in pools) <= sum(cpus)


def test_what_a_process_has_taken() -> None:
    before = cpu_seconds(os.getpid())
    began = time.process_time()
    while time.process_time() - began < 0.05:
        pass
    assert before + 0.03 <= cpu_seconds(os.getpid()) <= time.process_time() + 0.05
    assert private_memory(os.getpid()) > 1 << 20
    assert cpu_seconds(2**31) == private_memory(2**31) == 0


def test_the_drivers_time_is_told_by_thread_and_its_memory_by_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(scale_threads, "STEP", 20)
    done = threading.Event()

    def burn() -> None:
        while not done.is_set():
            sum(range(1000))

    burner = threading.Thread(target=burn, name="burner-7")
    burner.start()
    with DriverThreads(60) as threads:
        list(scale_driver.work(tmp_path, 60))
    done.set()
    burner.join()
    before, after = threads.moments
    assert (before.ended, after.ended) == (15, 54)
    names = spent(before, after)
    assert names["burner"] > 0
    assert names["MainThread"] > 0
    assert sum(names.values()) == pytest.approx((after.cpu - before.cpu) / 39 * 1000)
    said = capsys.readouterr().out
    assert [line.split(":")[1] for line in said.splitlines()] == [f" the {n}th" for n in (20, 40, 60)]
