"""Records of dubs for machines."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

#: Fields that `--json` leaves out: what a record's key was made of.
BULKY = ("ingredients",)


def record_json(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record with its notes and the seconds of its stages as values, without what is bulky."""
    seconds = record.get("stage_seconds") or {}
    return {
        **{name: value for name, value in record.items() if name not in BULKY},
        "notes": list(record.get("notes") or []),
        "stage_seconds": json.loads(seconds) if isinstance(seconds, str) else seconds,
    }
