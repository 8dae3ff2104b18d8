"""Whole runs from and to each object store: inputs, manifest, run directory and outputs lie in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from operators.storage.errors import StorageError
from operators.storage.files import filesystem, join
from pipelines import runner
from pipelines.errors import UsageError
from pipelines.state import lock
from pipelines.state.run_directory import read_json, write_text
from tests.pipelines.conftest import engine_config, profile_config
from tests.signatures import without_box, without_signature
from tests.stores.proxy import Answer, Request
from tests.stores.servers import BUCKET, KEY, Store, forget_clients
from tests.stores.test_objects import EXPIRED

ROOT = Path(__file__).parents[2]
#: Names of the titles' outputs.
OUTPUTS = ("plain.mp4", "two words + 100%#1?.mp4", "映画.mp4")
SECRETS = (KEY, "verysecretkey", "anothersecret", "AKIA")


def upload(store: Store, footage: Path, folder: str) -> list[dict[str, Any]]:
    """Rows of three titles whose files lie in the store."""
    for name in ("a.mp4", "b.mp4", "exact.wav"):
        store.put(footage / name, join(folder, "in put", name))
    return [
        {
            "id": f"title {number}",
            "video": join(folder, "in put", "b.mp4" if number == 1 else "a.mp4"),
            "speech": join(folder, "in put", "exact.wav"),
            "output": join(folder, "out", name),
        }
        for number, name in enumerate(OUTPUTS)
    ]


def run(rows: Sequence[dict[str, Any]] | str, run_dir: str | Path, **options: Any) -> runner.Report:
    return runner.run(
        rows,
        run_dir=run_dir,
        engine=engine_config(),
        profile=profile_config(1),
        runner="local",
        # The id of a mark depends on the files that a dub is made of: copies elsewhere have another one.
        watermark={"mode": "off"},
        **options,
    )


@pytest.fixture(scope="module")
def expected(footage: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The outputs of the same titles on this machine's disk."""
    out = tmp_path_factory.mktemp("expected")
    rows = [
        {
            "id": f"title {number}",
            "video": str(footage / ("b.mp4" if number == 1 else "a.mp4")),
            "speech": str(footage / "exact.wav"),
            "output": str(out / name),
        }
        for number, name in enumerate(OUTPUTS)
    ]
    assert not run(rows, out / "run").failed
    return {name: without_signature(out / name) for name in OUTPUTS}


def outputs(folder: str) -> dict[str, bytes]:
    fs, _ = filesystem(folder)
    return {name: without_box(fs.cat_file(filesystem(join(folder, "out", name))[1])) for name in OUTPUTS}


def test_from_and_to(store: Store, folder: str, footage: Path, expected: dict[str, bytes]) -> None:
    rows = upload(store, footage, folder)
    manifest, run_dir = join(folder, "m.jsonl"), join(folder, "run")
    store.fs().pipe_file(manifest, "".join(json.dumps(row) + "\n" for row in rows).encode())
    first = run(manifest, run_dir)
    assert not first.failed, first.failed
    assert outputs(folder) == expected
    assert store.names(join(folder, "out")) == sorted(OUTPUTS)
    again = run(manifest, run_dir)
    assert again.computed == 0
    assert outputs(folder) == expected
    left = store.names(run_dir)
    assert "ledger.jsonl" in left
    assert not [name for name in left if name.startswith(("segments/", "lock.json"))]


@pytest.mark.parametrize("store", ["s3"], indirect=True)
def test_on_ray_each_worker_speaks_to_the_store(
    store: Store, folder: str, footage: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    """Planner, workers and assembler are processes of their own, with clients and credentials of their own."""
    rows = upload(store, footage, folder)
    manifest, run_dir = join(folder, "m.jsonl"), join(folder, "run")
    store.fs().pipe_file(manifest, "".join(json.dumps(row) + "\n" for row in rows).encode())
    engine, profile = tmp_path / "engine.yaml", tmp_path / "profile.yaml"
    engine.write_text(yaml.safe_dump(engine_config().model_dump()))
    profile.write_text(yaml.safe_dump(profile_config(2).model_dump(exclude_none=True)))
    command = [
        sys.executable,
        "-m",
        "pipelines",
        "run",
        manifest,
        "-o",
        run_dir,
        "--runner",
        "ray",
        "--watermark",
        "off",
        "--verbose",
    ]
    ended = subprocess.run(
        [*command, "--engine", str(engine), "--profile", str(profile)],
        cwd=ROOT,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
            "PYTHONPATH": str(ROOT),
            "RAY_AUTH_MODE": "disabled",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )
    said = ended.stdout + ended.stderr
    assert ended.returncode == 0, said
    assert "runner: ray" in said
    assert outputs(folder) == expected
    assert not [secret for secret in SECRETS if secret in said]
    assert not [name for name in store.names(run_dir) if name.startswith(("segments/", "lock.json"))]


def test_what_was_throttled_and_broken_off_is_done_all_the_same(
    store: Store, folder: str, footage: Path, expected: dict[str, bytes], impatient: None
) -> None:
    rows = upload(store, footage, folder)

    def rule(request: Request) -> Answer | None:
        number = len(store.proxy.seen)
        slow = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
        if number % 7 == 0:
            return Answer(503, slow)
        return Answer(0) if number % 7 == 3 else None

    store.proxy.rule = rule
    report = run(rows, join(folder, "run"))
    store.proxy.rule = None
    assert not report.failed, report.failed
    assert outputs(folder) == expected
    assert store.proxy.refused[503] > 5
    assert store.proxy.refused[0] > 5


def test_credentials_that_expire_in_the_middle(
    store: Store,
    folder: str,
    footage: Path,
    expected: dict[str, bytes],
    impatient: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first run stops or fails with a message; with good credentials the same command goes on, and what was
    committed is not computed again.
    """
    rows = upload(store, footage, folder)
    run_dir = join(folder, "run")
    expired = False

    def rule(request: Request) -> Answer | None:
        nonlocal expired
        # The record of the second title is to be written: from now on nothing is allowed.
        name = f"{request.path} {request.head!r}"
        expired = expired or (request.method in ("PUT", "POST") and "records" in name and "title_1" in name)
        return EXPIRED[store.kind]() if expired else None

    store.proxy.rule = rule
    said = ""
    try:
        report = run(rows, run_dir)
        said = " ".join(record["error"] for record in report.failed)
    except (UsageError, OSError) as problem:
        said = str(problem)
    store.proxy.rule = None
    assert expired
    assert "check the credentials for" in said, said
    assert f"{store.kind}://{BUCKET}/" in said
    assert not [secret for secret in SECRETS if secret in said]
    monkeypatch.setattr(lock, "_alive", lambda pid: False)  # the process of the first run has ended
    report = run(rows, run_dir)
    assert not report.failed, report.failed
    assert outputs(folder) == expected
    fs, ledger = filesystem(join(run_dir, "ledger.jsonl"))
    records = [json.loads(line) for line in fs.cat_file(ledger).splitlines()]
    assert sorted(record["title"] for record in records) == [row["id"] for row in rows], "nothing doubled"
    assert report.computed < 12, report.computed


def profile(folder: Path, key: str) -> Path:
    path = folder / "credentials"
    path.write_text(f"[studio]\naws_access_key_id = {key}\naws_secret_access_key = anothersecret\n")
    return path


@pytest.mark.parametrize("store", ["s3"], indirect=True)
@pytest.mark.parametrize("source", ["environment", "profile"])
def test_where_credentials_come_from(
    store: Store, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    key = "AKIATESTTESTTEST"
    if source == "profile":
        key = "AKIAOFTHEPROFILE"
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(profile(tmp_path, key)))
        monkeypatch.setenv("AWS_PROFILE", "studio")
    forget_clients()
    write_text(join(folder, "x"), "x")
    assert read_json(join(folder, "absent.json")) is None
    signed = {request.headers.get("Authorization", "") for request in store.proxy.seen}
    assert signed
    assert all(f"Credential={key}/" in one for one in signed), signed


@pytest.mark.parametrize("store", ["s3"], indirect=True)
def test_a_profile_that_is_not_there_is_told(
    store: Store, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "absent")
    forget_clients()
    with pytest.raises(
        StorageError, match=r"s3://.*ProfileNotFound: .*absent.*check the credentials for s3://"
    ):
        write_text(join(folder, "x"), "x")


@pytest.mark.parametrize("store", ["az"], indirect=True)
def test_an_account_and_its_key_from_the_environment(
    store: Store, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Azurite's address cannot be told this way: what is asked of Azure's own is what shows it."""
    from adlfs import AzureBlobFileSystem

    monkeypatch.delenv("AZURE_STORAGE_CONNECTION_STRING")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "studio")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", KEY)
    forget_clients()
    fs = AzureBlobFileSystem()
    assert fs.service_client.primary_hostname == "studio.blob.core.windows.net"
    assert fs.service_client.credential.account_key == KEY
