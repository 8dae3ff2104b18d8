"""Rules about the faults of storages: by the protocol of a URL, which errors are retried, final, or about
credentials.

`operators.storage.retry` and the downloads of model files ask them before their own judgement. Rules of other
distributions are entry points of the group ``retalk.storage_rules``, named after the protocol. How to write
one: docs/extending.md.
"""

from __future__ import annotations

import functools
import logging
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any, Literal, get_args

from retalk_models.installation import DISTRIBUTION
from retalk_models.plugins import STORAGE_RULES, PluginError, plugin, plugins
from retalk_models.retrying import RETRYABLE_STATUS

log = logging.getLogger(__name__)

#: Judgement of an error: "retry": the same call may succeed later; "final": it will not; "credentials": it
#: will not until somebody mends the credentials; "missing": there is no such file.
Fault = Literal["retry", "final", "credentials", "missing"]
#: Judges an error of one protocol; None: the usual judgement holds.
Rule = Callable[[BaseException], "Fault | None"]

#: Protocols with another name.
ALIASES = {"s3a": "s3", "gcs": "gs", "abfss": "abfs", "az": "abfs", "https": "http"}
#: Names of botocore's exceptions, and S3's error codes, about credentials.
S3_CREDENTIALS = {
    "NoCredentialsError",
    "PartialCredentialsError",
    "CredentialRetrievalError",
    "UnknownCredentialError",
    "NoAuthTokenError",
    "TokenRetrievalError",
    "SSOTokenLoadError",
    "UnauthorizedSSOTokenError",
    "ProfileNotFound",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidToken",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
}
#: Azure's error codes about credentials.
AZURE_CREDENTIALS = {
    "AuthenticationFailed",
    "InvalidAuthenticationInfo",
    "NoAuthenticationInformation",
    "AccountIsDisabled",
}


def s3(problem: BaseException) -> Fault | None:
    """Judge an error of botocore, or one that s3fs has made of it."""
    for one in _causes(problem):
        response = getattr(one, "response", None)
        code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
        if code in S3_CREDENTIALS or (_is_of(one, "botocore") and type(one).__name__ in S3_CREDENTIALS):
            return "credentials"
        # The answer to HEAD has no body that could say so: 400 is what an expired token gets.
        if code == "400" and str(getattr(one, "operation_name", "")).startswith("Head"):
            return "credentials"
    return None


def gs(problem: BaseException) -> Fault | None:
    """Judge an error of google.auth, or the answer 401 of the storage."""
    for one in _causes(problem):
        name = type(one).__name__
        if _is_of(one, "google.auth") and name in ("DefaultCredentialsError", "RefreshError"):
            # A token server that is not reached makes a RefreshError too, and says that it can be retried.
            return "retry" if getattr(one, "retryable", False) else "credentials"
    return "credentials" if str(getattr(problem, "code", "")) == "401" else None


def azure(problem: BaseException) -> Fault | None:
    """Judge an error of azure.core, or one that adlfs has made of it."""
    for one in _causes(problem):
        if not _is_of(one, "azure"):
            continue
        status = getattr(one, "status_code", None)
        refused = status == 401 or str(getattr(one, "error_code", "") or "") in AZURE_CREDENTIALS
        if refused or type(one).__name__ in ("ClientAuthenticationError", "CredentialUnavailableError"):
            return "credentials"
    return None


def http(problem: BaseException) -> Fault | None:
    """Judge the answers of a web server that are not worth another try, and addresses that are none."""
    if type(problem).__name__.startswith("InvalidUrl"):
        return "final"
    status = getattr(problem, "status", None)
    if status in (401, 403, 407):
        return "credentials"
    if status in (404, 410):
        return "missing"
    return "final" if isinstance(status, int) and status >= 400 and status not in RETRYABLE_STATUS else None


#: Rules of this distribution, asked after those of others.
SHIPPED: dict[str, Rule] = {"s3": s3, "gs": gs, "abfs": azure, "http": http}


def _causes(problem: BaseException) -> Iterator[BaseException]:
    """An error and those that caused it, at most ten."""
    one: BaseException | None = problem
    for _ in range(10):
        if one is None:
            return
        yield one
        one = one.__cause__


def _is_of(problem: BaseException, package: str) -> bool:
    return f"{type(problem).__module__}.".startswith(f"{package}.")


def protocols(url: str) -> list[str]:
    """Return the protocols of a URL, of a chained one all, without other names: ``["zip", "s3"]``."""
    found = re.findall(r"(?:^|::)([A-Za-z][\w+.-]*)(?=://|::)", url)
    return [ALIASES.get(name.lower(), name.lower()) for name in found]


def judge(url: str, problem: BaseException) -> tuple[Fault | None, str]:
    """Ask the rules for the protocols of a URL about an error.

    Returns:
        The first judgement, None where no rule has one; and what is to be said of rules that cannot be used,
        "" where nothing is.
    """
    notes = []
    for protocol in protocols(url):
        rules, note = _rules(protocol, tuple(sys.path))
        notes += [note] if note else []
        for rule, whose in rules:
            try:
                fault: Any = rule(problem)
                if fault is not None and fault not in get_args(Fault):
                    raise ValueError(f"it returned {fault!r}, not one of {', '.join(get_args(Fault))}")
            except Exception as trouble:
                notes.append(
                    f"the storage rule {protocol!r} of {whose} fails: {type(trouble).__name__}: {trouble}"
                )
                continue
            if fault is not None:
                return fault, _said(notes)
    return None, _said(notes)


def installed_rules() -> list[tuple[str, str, str]]:
    """Return protocol, distributions that bring a rule, in the order in which they are asked, and why one
    cannot be used ("" if all can), by protocol.
    """
    found = []
    for protocol in sorted({*SHIPPED, *plugins(STORAGE_RULES)}):
        rules, note = _rules(protocol, tuple(sys.path))
        found.append(
            (
                protocol,
                ", ".join(whose for _, whose in rules) or "-",
                f"cannot be used: {note}" if note else "",
            )
        )
    return found


def describe(url: str, fault: Fault | None) -> str:
    """Return what a message about an error adds for the user, "" where nothing."""
    if fault != "credentials":
        return ""
    return f"; check the credentials for {protocols(url)[-1]}:// on this machine"


def _said(notes: list[str]) -> str:
    return f" ({'; '.join(notes)})" if notes else ""


@functools.lru_cache(maxsize=64)
def _rules(protocol: str, path: tuple[str, ...]) -> tuple[tuple[tuple[Rule, str], ...], str]:
    """Rules of a protocol with the distributions that bring them, others' first, and why one is left out."""
    del path
    shipped = ((SHIPPED[protocol], DISTRIBUTION),) if protocol in SHIPPED else ()
    try:
        entry = plugin(STORAGE_RULES, protocol)
        if entry is None:
            return shipped, ""
        rule = entry.load()
        if not callable(rule):
            raise entry.error(f"{type(rule).__name__} is no function of an error")
    except PluginError as problem:
        log.warning("%s", problem)
        return shipped, str(problem)
    return ((rule, entry.distribution), *shipped), ""
