"""Storage rules: errors of the clients' own classes, which rules are asked, and those that cannot be used."""

from __future__ import annotations

import errno
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from operators.storage import retry
from operators.storage.errors import StorageError
from retalk_models import storage_rules
from retalk_models.registry.download import download
from retalk_models.registry.errors import FetchError
from retalk_models.storage_rules import Fault, judge, protocols


def boto_error(name: str, code: str = "") -> Exception:
    """An error of botocore: its own class where that is installed (the extra cloud), else one of its name."""
    if importlib.util.find_spec("botocore"):
        from botocore import exceptions

        if code:
            return exceptions.ClientError({"Error": {"Code": code}}, "GetObject")
        return getattr(exceptions, name)()
    made = type(name, (Exception,), {"__module__": "botocore.exceptions"})(name)
    if code:
        made.response = {"Error": {"Code": code}}
    return made


def translated(problem: Exception, cause: Exception) -> Exception:
    """An error as s3fs raises it: Python's own class, caused by the client's."""
    problem.__cause__ = cause
    return problem


@pytest.mark.parametrize(
    ("problem", "fault"),
    [
        (boto_error("NoCredentialsError"), "credentials"),
        (boto_error("NoRegionError"), None),
        (translated(PermissionError("expired"), boto_error("ClientError", "ExpiredToken")), "credentials"),
        (
            translated(OSError(errno.EINVAL, "token"), boto_error("ClientError", "InvalidToken")),
            "credentials",
        ),
        (translated(PermissionError("no"), boto_error("ClientError", "AccessDenied")), None),
        (translated(OSError(errno.EBUSY, "slow"), boto_error("ClientError", "SlowDown")), None),
    ],
    ids=repr,
)
def test_errors_of_s3(problem: Exception, fault: Fault | None) -> None:
    assert judge("s3://bucket/x", problem) == judge("s3a://bucket/x", problem) == (fault, "")
    assert judge("gs://bucket/x", problem) == (None, "")


def test_errors_of_google_cloud() -> None:
    exceptions = pytest.importorskip("google.auth.exceptions")
    for problem, fault in (
        (exceptions.DefaultCredentialsError("none found"), "credentials"),
        (exceptions.RefreshError("revoked"), "credentials"),
        (exceptions.RefreshError("token server away", retryable=True), "retry"),
        (exceptions.TransportError("away"), None),
    ):
        assert judge("gcs://bucket/x", problem) == (fault, "")
    assert retry.transient(exceptions.TransportError("away"))


def test_errors_of_web_servers() -> None:
    import aiohttp
    from yarl import URL

    about = aiohttp.RequestInfo(URL("http://x"), "GET", {}, URL("http://x"))  # type: ignore[arg-type]
    answers = {
        401: "credentials",
        403: "credentials",
        404: "missing",
        410: "missing",
        451: "final",
        429: None,
        500: None,
    }
    for status, fault in answers.items():
        assert judge("https://x/y", aiohttp.ClientResponseError(about, (), status=status)) == (fault, "")


def test_missing_credentials_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETALK_STORAGE_PATIENCE", "1e6")
    calls = []

    def call() -> None:
        calls.append(1)
        raise boto_error("NoCredentialsError")

    with pytest.raises(StorageError, match=r"s3://b/x: NoCredentialsError.*check the credentials for s3://"):
        retry.retry(call, "s3://b/x")
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("s3a://b/x", ["s3"]),
        ("zip://a.mp4::s3://b/x.zip", ["zip", "s3"]),
        ("simplecache::https://x/y?z=gs://b", ["simplecache", "http"]),
        ("/films/a::b.mp4", []),
        ("a.mp4", []),
    ],
)
def test_protocols_of_a_url(url: str, found: list[str]) -> None:
    assert protocols(url) == found


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Installs a distribution with one storage rule; its module has the given source."""

    def made(name: str, protocol: str, source: str) -> None:
        site = tmp_path / name
        info = site / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[retalk.storage_rules]\n{protocol} = rule_of_{name}:judge\n")
        (site / f"rule_of_{name}.py").write_text(source)
        monkeypatch.syspath_prepend(site)
        monkeypatch.delitem(sys.modules, f"rule_of_{name}", raising=False)

    return made


def test_a_rule_of_a_protocol_that_has_one_is_asked_first(install: Callable[..., None]) -> None:
    install("first", "s3", "def judge(problem):\n    return 'final' if str(problem) == 'thawing' else None\n")
    assert judge("s3://b/x", OSError("thawing")) == ("final", "")
    assert judge("s3://b/x", boto_error("NoCredentialsError")) == ("credentials", "")
    assert ("s3", "first 1.0, retalk-dub", "") in storage_rules.installed_rules()


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("def judge(problem):\n    return problem.colour\n", "of bad 1.0 fails: AttributeError"),
        ("def judge(problem):\n    return 'again'\n", "it returned 'again', not one of retry, final"),
        ("import no_such_module\n", "of bad 1.0 .*cannot be used: ModuleNotFoundError.*uninstall bad"),
        ("judge = 7\n", "of bad 1.0 .*cannot be used: int is no function"),
    ],
)
def test_a_rule_that_cannot_be_used_is_left_out_and_named(
    install: Callable[..., None], source: str, reason: str
) -> None:
    install("bad", "ark", source)

    def refuse() -> None:
        raise PermissionError("no")

    with pytest.raises(StorageError, match=f"ark://x: PermissionError: no .*{reason}"):
        retry.retry(refuse, "ark://x")


def test_two_rules_for_one_protocol_are_both_left_out(install: Callable[..., None]) -> None:
    for name in ("one", "two"):
        install(name, "ark", "def judge(problem):\n    return 'retry'\n")
    fault, note = judge("ark://x", OSError("no"))
    assert fault is None
    assert "one 1.0 and two 1.0" in note


class Ark(MemoryFileSystem):
    """A storage whose files cannot be opened for the reason in their name."""

    protocol = "ark"

    def info(self, path: str, **options: object) -> dict[str, object]:
        raise RuntimeError(path.rpartition("/")[2])


def test_downloads_of_model_files_follow_the_rules(install: Callable[..., None], tmp_path: Path) -> None:
    install(
        "noah",
        "ark",
        "words = {'flood': 'final', 'dove': 'credentials', 'raven': 'missing'}\n"
        "def judge(problem):\n    return words.get(str(problem))\n",
    )
    fsspec.register_implementation("ark", Ark, clobber=True)
    for name, said in (
        ("flood", "ark://flood: flood$"),
        ("dove", "check the credentials for ark://"),
        ("raven", "ark://raven: no such file"),
    ):
        with pytest.raises(FetchError, match=said) as caught:
            download(f"ark://{name}", tmp_path / "part")
        assert not caught.value.retry
    with pytest.raises(RuntimeError, match="olive"):
        download("ark://olive", tmp_path / "part")
