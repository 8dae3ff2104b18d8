"""Each server is started once, when the first test asks for it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from operators.storage import retry
from tests.pipelines.conftest import footage
from tests.stores import servers

__all__ = ["footage"]


class Running(dict[str, servers.Store]):
    """Stores by kind, started when they are asked for."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        super().__init__()
        self.stack, self.folder = stack, folder

    def __missing__(self, kind: str) -> servers.Store:
        self[kind] = self.stack.enter_context(servers.SERVERS[kind](self.folder))
        return self[kind]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The servers of a module: they do not outlive its tests, for one of them keeps a core busy as long as it runs."""
    with ExitStack() as stack:
        yield Running(stack, tmp_path_factory.mktemp("servers"))


@pytest.fixture(params=sorted(servers.SERVERS))
def store(
    request: pytest.FixtureRequest, running: Running, monkeypatch: pytest.MonkeyPatch
) -> Iterator[servers.Store]:
    """A store of each kind, or of those that a test names by indirect parameters."""
    one = running[request.param]
    one.proxy.rule = None
    one.proxy.seen.clear()
    one.proxy.refused.clear()
    servers.point(one, monkeypatch)
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(retry, "LONGEST_PAUSE", 0.1)
    yield one
    one.proxy.rule = None
    servers.forget_clients()


@pytest.fixture
def folder(store: servers.Store) -> str:
    """URL of an empty folder of the store."""
    return store.folder()


@pytest.fixture
def big(tmp_path: Path) -> Path:
    """A file of 12 MiB."""
    path = tmp_path / "big.mp4"
    path.write_bytes(bytes(range(256)) * (12 << 12))
    return path


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clients' own retries pause no longer than retalk's do in these tests."""
    import gcsfs.retry
    import s3fs.core
    from azure.storage.blob._shared import policies, policies_async

    for policy in (policies.ExponentialRetry, policies_async.ExponentialRetry):
        monkeypatch.setattr(policy, "get_backoff_time", lambda *_: 0.01)

    class Hasty:
        sleep = staticmethod(lambda seconds: asyncio.sleep(min(seconds, 0.01)))

        def __getattr__(self, name: str) -> Any:
            return getattr(asyncio, name)

    for module in (gcsfs.retry, s3fs.core):
        monkeypatch.setattr(module, "asyncio", Hasty())
