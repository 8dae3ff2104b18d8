"""Removal of secrets from texts: credentials in a URL never reach a message, a log or the ledger."""

from __future__ import annotations

import re
from typing import Any

#: Replacement for a secret.
MASK = "***"
#: ``user:secret@`` of a URL. The secret may hold slashes, as those of S3 do; ``host:8080/path@`` is no such
#: thing.
_USER = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)([^\s/@:'\"]*):(?!\d{1,5}/)([^\s@'\"]+)@")
#: ``token@`` of a URL that is fetched over the network by name and password.
_TOKEN = re.compile(r"((?:https?|ftps?|sftp|ssh|webdav|smb|git)://)([^\s/@'\"]+)@", re.IGNORECASE)
#: A URL's query: signatures, tokens, keys. Any of it may be one.
_QUERY = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://[^\s?'\"]*)\?[^\s'\"]+?(?=[:;,.)\]}]*(?:[\s'\"]|$))")
#: Credentials that libraries print on their own, as ``name=value`` or ``"name": "value"``.
_NAMED = re.compile(
    r"((?:X-Amz-(?:Signature|Credential|Security-Token)|AWSAccessKeyId|aws_secret_access_key|aws_access_key_id|aws_session_token|"
    r"secret_access_key|account_key|sas_token|Authorization)['\"]?\s*[=:]\s*['\"]?(?:Bearer\s+|Basic\s+)?|"
    r"\b(?:password|secret|token|signature)=)"
    r"((?!Bearer\b|Basic\b|\*\*\*)[^\s&'\",;)]{4,})",
    re.IGNORECASE,
)


def redact(text: str) -> str:
    """A text without the secrets of the URLs in it; everything else stays.

    ``s3://key:secret@bucket/x`` becomes ``s3://***@bucket/x``; ``https://host/x?X-Amz-Signature=...`` becomes
    ``https://host/x?***``.
    """
    if "://" in text:
        text = _USER.sub(rf"\1{MASK}@", text)
        text = _TOKEN.sub(rf"\1{MASK}@", text)
        text = _QUERY.sub(rf"\1?{MASK}", text)
    return _NAMED.sub(rf"\1{MASK}", text)


def redact_all(value: Any) -> Any:
    """The same for all texts in nested dicts and lists."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {key: redact_all(one) for key, one in value.items()}
    return [redact_all(one) for one in value] if isinstance(value, list | tuple) else value


def has_secret(url: str) -> bool:
    """True if a URL carries something that `redact` removes."""
    return redact(url) != url
