"""Choice of the clips in use: copies are dropped, identities divided into training, validation and test."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from operators.faces.identity import SAME
from pipelines.training.data.schema import RATE
from pipelines.training.data.store import LeftOut, Settings

#: Means over a video are closer than single faces (`operators.faces.identity.SAME`): a wrong union costs variety, a missed one
#: lets a person into two splits.
SAME_PERSON = 0.9 * SAME
#: Bits of 128 in which the signatures of copies differ at most, and of a part of a signature.
ALIKE, PART_BITS = 7, 16


def split_identities(identities: Iterable[str], settings: Settings) -> dict[str, str]:
    """Give each identity one of `schema.SPLITS`.

    It depends on the identity's name and the seed alone, so that a data set that grows moves nobody. Where there are two
    identities or more and none would be held out for validation, the one nearest to it is.
    """

    def place(identity: str) -> float:
        digest = hashlib.sha256(f"{settings.seed}/{identity}".encode()).digest()
        return int.from_bytes(digest[:8], "big") / 2.0**64

    places = {identity: place(identity) for identity in sorted(set(identities))}
    held = settings.validation + settings.test
    found = {
        identity: "validation" if at < settings.validation else "test" if at < held else "train"
        for identity, at in places.items()
    }
    rest = [identity for identity in places if found[identity] == "train"]
    if settings.validation > 0 and len(rest) > 1 and "validation" not in found.values():
        found[min(rest, key=places.__getitem__)] = "validation"
    return found


def merge_identities(
    identities: Mapping[str, str], descriptors: Mapping[str, Sequence[float]]
) -> dict[str, str]:
    """Make one identity of those whose videos show the same face.

    Args:
        identities: by source.
        descriptors: by source, 128 numbers (`operators.faces.identity`); sources without keep theirs.

    Returns:
        Identities by source; of those that are merged, the alphabetically first.
    """
    names = sorted(set(descriptors) & set(identities))
    parent = {identity: identity for identity in identities.values()}

    def root(identity: str) -> str:
        while parent[identity] != identity:
            identity = parent[identity]
        return identity

    points = np.array([descriptors[name] for name in names], np.float64).reshape(len(names), 128)
    for number, name in enumerate(names):
        near = np.linalg.norm(points[number + 1 :] - points[number], axis=1) < SAME_PERSON
        for other in np.flatnonzero(near) + number + 1:
            first, second = sorted((root(identities[name]), root(identities[names[other]])))
            parent[second] = first
    return {source: root(identity) for source, identity in identities.items()}


def without_copies(rows: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], list[LeftOut]]:
    """Drop clips whose signature is nearly another's; of copies the first by id stays.

    Signatures that differ in up to `ALIKE` bits agree in at least one of `ALIKE` + 1 equal parts: only those are compared.
    """
    kept: set[str] = set()
    copies: dict[str, str] = {}
    parts: dict[tuple[int, int], list[tuple[int, str]]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row["id"]):
        bits = int(row["signature"] or "0", 16)
        keys = [(part, bits >> (part * PART_BITS) & (1 << PART_BITS) - 1) for part in range(ALIKE + 1)]
        near = (name for key in keys for other, name in parts[key] if (bits ^ other).bit_count() <= ALIKE)
        if (first := min(near, default="")) != "":
            copies[row["id"]] = first
            continue
        kept.add(row["id"])
        for key in keys:
            parts[key].append((bits, row["id"]))
    dropped = [
        LeftOut(row["source"], "duplicate", f"{row['id']} = {copies[row['id']]}", row["frames"] / RATE)
        for row in rows
        if row["id"] in copies
    ]
    return [dict(row) for row in rows if row["id"] in kept], dropped
