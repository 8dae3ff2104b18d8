"""Columns that the last stage of an engine writes: the receipt of the encoded segment."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from operators.columns import scalar
from operators.media.writer import EncodedSegment

RECEIPT = pa.schema(
    [
        scalar("path", pa.string()),
        scalar("sha256", pa.string()),
        scalar("frames", pa.int64()),
        scalar("bytes", pa.int64()),
        scalar("mark_power", pa.float64()),
    ]
)


def receipt(url: str, written: EncodedSegment) -> dict[str, Any]:
    """The columns of `RECEIPT` for the file that `encode_segment` has written at a URL."""
    return {
        "path": url,
        "sha256": written.sha256,
        "frames": written.frames,
        "bytes": written.bytes,
        "mark_power": written.mark_power,
    }
