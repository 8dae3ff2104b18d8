"""Secrets of URLs do not come through; everything else does."""

from __future__ import annotations

import pytest

from operators.storage.errors import DecodeError, MediaError, StorageError
from operators.storage.redact import MASK, has_secret, redact, redact_all

SECRET = "wJalrXUtn/FEMI+K7MDENG"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"s3://AKIA123:{SECRET}@bucket/a/b.mp4: no such file", "s3://***@bucket/a/b.mp4: no such file"),
        (
            f"https://host/a.mp4?X-Amz-Credential=x&X-Amz-Signature={SECRET}: 403",
            "https://host/a.mp4?***: 403",
        ),
        (f"ftp://user:{SECRET}@host:21/a", "ftp://***@host:21/a"),
        (f"https://{SECRET.replace('/', '')}@host/a", "https://***@host/a"),
        (f"url='https://x/y?sig={SECRET}' failed", "url='https://x/y?***' failed"),
        (f"simplecache::https://u:{SECRET}@h/a?b=c", "simplecache::https://***@h/a?***"),
        (f'{{"Authorization": "Bearer {SECRET}"}}', '{"Authorization": "Bearer ***"}'),
        (f"aws_secret_access_key={SECRET}", "aws_secret_access_key=***"),
        (f"s3://a:{SECRET}@b/1 and https://h/2?k={SECRET}", "s3://***@b/1 and https://h/2?***"),
    ],
)
def test_secrets_go(text: str, left: str) -> None:
    assert redact(text) == left
    assert SECRET not in redact(text)
    assert has_secret(text)
    assert redact(left) == left


@pytest.mark.parametrize(
    "text",
    [
        "/films/what?.mp4: no such file; check the path",
        "s3://bucket/dir/a@2x.png",
        "abfs://container@account.dfs.core.windows.net/a",
        "http://host:8080/people@work/a.mp4",
        "the time stamps jump from 3.5 s to 99 s; remux",
        "lnet: unexpected token: x",
        "C:/films/a.mp4",
    ],
)
def test_everything_else_stays(text: str) -> None:
    assert redact(text) == text
    assert not has_secret(text)


def test_errors_and_records_are_clean() -> None:
    for kind in (MediaError, DecodeError, StorageError):
        assert str(kind(f"https://h/a?sig={SECRET}: gone")) == f"https://h/a?{MASK}: gone"
    record = {
        "video": f"s3://k:{SECRET}@b/v",
        "notes": [f"https://h/?{SECRET}"],
        "frames": 3,
        "deep": {"a": (f"ftp://u:{SECRET}@h/",)},
    }
    assert SECRET not in str(redact_all(record))
    assert redact_all(record)["frames"] == 3
