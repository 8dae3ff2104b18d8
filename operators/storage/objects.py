"""Object stores beside plain reading and writing: uploads in parts, objects that are made only where there is
none, and what a killed writer has left.
"""

from __future__ import annotations

import errno
import logging
import math
from collections.abc import Collection, Iterator
from functools import partial
from typing import Any

from operators.storage.errors import StorageError
from operators.storage.retry import retry

log = logging.getLogger(__name__)

#: fsspec protocols whose uploads go in parts and show nothing before the last one.
OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oci", "ossfs", "oss", "obs", "r2"}
#: Protocols whose clients make an object only where there is none.
EXCLUSIVE = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az"}
#: Bytes of one part of an upload, at least; Google Cloud takes multiples of 256 KiB.
PART = 16 << 20
#: Parts of one object, at most: S3 takes 10,000.
PARTS = 9_000
#: Parts sent at a time, so that an upload holds no more than four of them in memory.
PARALLEL_PARTS = 4


def protocols(fs: Any) -> set[str]:
    """Return the names of a file system's protocol."""
    return {fs.protocol} if isinstance(fs.protocol, str) else set(fs.protocol)


def is_object_store(fs: Any) -> bool:
    """Return whether a file shows only when its upload is complete."""
    return bool(protocols(fs) & OBJECT_STORES)


def upload_options(fs: Any, size: int) -> dict[str, Any]:
    """Options of ``put_file`` that bound the size and number of an upload's parts.

    Args:
        fs: file system of an object store.
        size: bytes of the file.
    """
    named = protocols(fs)
    if named & {"s3", "s3a"}:
        blocks = math.ceil(size / PARTS / PART) or 1
        return {"chunksize": blocks * PART, "max_concurrency": PARALLEL_PARTS}
    if named & {"gs", "gcs"}:
        return {"chunksize": PART}
    return {"max_concurrency": PARALLEL_PARTS} if named & {"abfs", "abfss", "az"} else {}


def create(fs: Any, path: str, content: bytes) -> bool | None:
    """Make an object where there is none, as one step of the store.

    Args:
        fs: file system of `operators.storage.files.filesystem`.
        path: path in it.
        content: of the new object.

    Returns:
        False where there is one already; after a lost answer it may be the one that this call has made. None
        where the store or its client has no such call: nothing is made then.

    Raises:
        StorageError: the store does not answer or refuses.
    """
    if not protocols(fs) & EXCLUSIVE:
        return None
    try:
        fs.pipe_file(path, content, mode="create")
    except FileExistsError:
        return False
    except (StorageError, TypeError) as problem:
        cause = problem.__cause__
        code = _code(cause)
        if code in ("PreconditionFailed", "412", "ConditionalRequestConflict", "409"):
            return False
        if isinstance(problem, TypeError) or getattr(cause, "errno", None) == errno.ENOSYS:
            return None
        raise
    return True


def _code(problem: BaseException | None) -> str:
    """S3's code of an error, "" where it has none."""
    for one in (problem, getattr(problem, "__cause__", None)):
        response = getattr(one, "response", None)
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Code", ""))
    return ""


def abort_uploads(fs: Any, folder: str, names: Collection[str] | None = None) -> list[str]:
    """Abort the incomplete uploads of killed writers, which cost space and which no listing shows. Only for
    folders or files that no living process writes.

    Only S3 keeps them until they are aborted; Google Cloud and Azure drop theirs after a week. A store that
    does not let its uploads be listed is left as it is.

    Args:
        fs: file system of `operators.storage.files.filesystem`.
        folder: path in it.
        names: files in the folder whose uploads are aborted; None: those of all files below it.

    Returns:
        URLs of the files whose uploads were aborted.
    """
    if not protocols(fs) & {"s3", "s3a"}:
        return []
    bucket, key, _ = fs.split_path(folder)
    prefix = f"{key.rstrip('/')}/" if key else ""
    wanted = None if names is None else {f"{prefix}{name}" for name in names}
    aborted = []
    url = str(fs.unstrip_protocol(folder))
    try:
        for upload in _uploads(fs, bucket, prefix, url):
            if upload["Key"].startswith(prefix) and (wanted is None or upload["Key"] in wanted):
                _abort(fs, bucket, upload)
                aborted.append(str(fs.unstrip_protocol(f"{bucket}/{upload['Key']}")))
    except OSError as problem:
        log.warning("%s: incomplete uploads of killed writers cannot be aborted: %s", url, problem)
    return aborted


def _uploads(fs: Any, bucket: str, prefix: str, url: str) -> Iterator[dict[str, Any]]:
    marks: dict[str, str] = {}
    while True:
        ask = partial(fs.call_s3, "list_multipart_uploads", Bucket=bucket, Prefix=prefix, **marks)
        page: dict[str, Any] = retry(ask, url)
        yield from page.get("Uploads") or []
        if not page.get("IsTruncated"):
            return
        marks = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page.get("NextUploadIdMarker", "")}


def _abort(fs: Any, bucket: str, upload: dict[str, Any]) -> None:
    key, upload_id = upload["Key"], upload["UploadId"]
    try:
        retry(
            lambda: fs.call_s3("abort_multipart_upload", Bucket=bucket, Key=key, UploadId=upload_id),
            str(fs.unstrip_protocol(f"{bucket}/{key}")),
        )
    except FileNotFoundError:
        return  # its writer was alive after all and has just ended
