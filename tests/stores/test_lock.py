"""The run lock in object stores: made only where there is none, so that of several runs one works."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import pytest

from operators.storage.files import exists, join
from pipelines.state import lock as lock_module
from pipelines.state.lock import LockedError, RunLock, holder
from pipelines.state.run_directory import read_json, write_text
from tests.stores.proxy import Answer, Request
from tests.stores.servers import Store


def dead(beat: float) -> str:
    return json.dumps({"owner": "dead", "machine": "elsewhere", "pid": 1, "started": 0, "beat": beat})


def test_a_second_run_is_refused_and_the_first_lets_go(store: Store, folder: str) -> None:
    with RunLock(folder), pytest.raises(LockedError, match="another run is at work here"), RunLock(folder):
        pass
    assert holder(folder) is None
    assert store.names(folder) == []


def race(folder: str, count: int) -> list[str]:
    """Runs that start at once: what became of each."""
    said: list[str] = []
    ready, done = threading.Barrier(count), threading.Barrier(count)

    def run() -> None:
        one = RunLock(folder)
        ready.wait(60)
        try:
            one.__enter__()
        except LockedError:
            said.append("refused")
            done.wait(60)
            return
        said.append("held")
        done.wait(60)
        one.__exit__(None, None, None)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(said)


def test_of_many_that_start_at_once_one_runs(store: Store, folder: str) -> None:
    assert race(folder, 6) == ["held", *["refused"] * 5]
    assert store.names(folder) == []


def test_of_many_that_find_a_dead_run_one_runs(
    store: Store, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock_module, "HEARTBEAT", 0.2)
    write_text(join(folder, "lock.json"), dead(time.time() - 1000))
    assert race(folder, 6) == ["held", *["refused"] * 5]
    assert store.names(folder) == []


def test_a_claim_of_a_run_that_died_over_it_is_given_up(
    store: Store, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock_module, "HEARTBEAT", 0.2)
    write_text(join(folder, "lock.json"), dead(time.time() - 1000))
    write_text(join(folder, "lock.json.claim-dead"), dead(time.time()))
    with pytest.raises(LockedError, match="another run is just starting here"), RunLock(folder):
        pass
    write_text(join(folder, "lock.json.claim-dead"), dead(time.time() - 1000))
    with RunLock(folder) as held:
        assert (read_json(held.path) or {})["owner"] == held.owner
    assert store.names(folder) == []


@pytest.mark.parametrize("store", ["s3"], indirect=True)
def test_an_answer_that_is_lost_does_not_lock_a_run_out(store: Store, folder: str) -> None:
    """The lock was made, the connection broke before the answer came."""
    lost: list[Any] = []

    def lose(request: Request) -> Answer | None:
        if request.method != "PUT" or lost:
            return None
        lost.append(request)
        store.proxy.after = Answer(0)
        return None

    store.proxy.rule = lose
    with RunLock(folder) as held:
        assert (holder(folder) or {})["owner"] == held.owner
    assert lost


@pytest.mark.parametrize("store", ["s3"], indirect=True)
def test_a_store_without_the_condition_is_locked_by_looking_again(store: Store, folder: str) -> None:
    """Some stores that speak S3 know no conditional writes."""
    unknown = b"<Error><Code>NotImplemented</Code><Message>A header is not implemented</Message></Error>"

    def rule(request: Request) -> Answer | None:
        return Answer(501, unknown) if "If-None-Match" in request.headers else None

    store.proxy.rule = rule
    with RunLock(folder):
        assert exists(join(folder, "lock.json"))
        with pytest.raises(LockedError, match="another run is at work here"), RunLock(folder):
            pass
    assert store.proxy.refused[501] > 0
