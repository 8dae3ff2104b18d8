"""Assemblers whose process ends: the other items go on, and the error names the file that was being read. A run that
waits for its assemblers.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from operators.media.reading import reading
from pipelines.execution import ray_run
from pipelines.execution.assembler_pool import MAX_ASSEMBLED, ROUNDS, AssemblerPool
from pipelines.state.run_directory import Record


@dataclass(frozen=True)
class Item:
    name: str
    frames: int = 1


def work(item: Item, spec: str) -> Record:
    """Read a file named after the item; the process ends while it reads "deadly", and before "silent" reads anything."""
    if item.name == "silent":
        os._exit(1)
    with reading(f"{spec}/{item.name}.mp4"):
        if item.name == "deadly":
            os._exit(1)
    return {"title": item.name}


@pytest.mark.usefixtures("ray_session")
def test_the_file_that_ends_an_assembler_is_named() -> None:
    pool: AssemblerPool[Item] = AssemblerPool(0.1, 1, "/films", work)
    for name in ("a", "deadly", "b", "silent"):
        pool.put(Item(name))
    found: dict[str, Any] = {item.name: record for item, record in pool.run()}
    pool.stop()
    assert (found["a"], found["b"]) == ({"title": "a"}, {"title": "b"})
    assert str(found["deadly"]).startswith("reading /films/deadly.mp4 killed its worker again and again")
    assert isinstance(found["silent"], Exception)
    assert "films" not in str(found["silent"])


def slow(item: Item, spec: float) -> Record:
    time.sleep(spec)
    return {"title": item.name}


class HerePool(AssemblerPool[Item]):
    """Works in the thread that calls `run`."""

    def _actor(self) -> Any:
        return None

    def _assembled(self, actor: Any, dubs: list[Item]) -> Iterator[tuple[Item, Record | Exception]]:
        del actor
        for dub in dubs:
            yield dub, self._work(dub, self._spec)


def test_more_rows_are_taken_when_most_dubs_before_them_are_assembled() -> None:
    """The driver of a run takes ten blocks as fast as it may."""
    pool, ended, backlog = HerePool(0, 1, 0.001, slow), threading.Event(), []

    def blocks() -> Iterator[list[str]]:
        for number in range(10):
            if number == 1:
                ended.wait()  # assemblers have done their first round
            backlog.append(len(pool._waiting))
            yield [f"{number}-{row}" for row in range(64)]

    driver: Any = object.__new__(ray_run._Driver)
    driver.assemblers, driver.threads = pool, ThreadPoolExecutor(1)
    driver.lock = SimpleNamespace(check=lambda: None)
    records: list[Record] = []

    def count(record: Record) -> None:
        records.append(record)
        if len(records) > MAX_ASSEMBLED:
            ended.set()

    driver.collector = SimpleNamespace(take=lambda row: pool.put(Item(row)), ended=count)
    assert driver._take_all(blocks()) == ""
    driver.threads.shutdown()
    assert len(records) == 640
    assert max(backlog[2:]) <= ROUNDS * MAX_ASSEMBLED


def test_assemblers_that_stand_still_are_not_waited_for() -> None:
    """Nothing has been assembled yet, or nothing more is: what they wait for may be what the caller holds."""
    pool = HerePool(0, 1, 0.0, slow)
    assembled = pool.run()
    for number in range(100):
        pool.put(Item(str(number)))
    pool.wait_for_room()
    for _ in range(MAX_ASSEMBLED + 1):  # one round is done, and the next one has begun
        next(assembled)
    before = len(pool._waiting)
    pool.wait_for_room(stalled=0.01)
    pool.wait_for_room()
    assert len(pool._waiting) == before > ROUNDS * MAX_ASSEMBLED
