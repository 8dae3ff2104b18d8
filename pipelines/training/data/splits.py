"""Choice of the clips in use: copies are dropped, identities divided into training, validation and test."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from operators.faces.identity import SAME
from pipelines.training.data.schema import RATE
from pipelines.training.data.store import LeftOut, Settings

#: Means over a video are closer than single faces (`operators.faces.identity.SAME`): a wrong union costs variety, a missed one
#: lets a person into two splits.
SAME_PERSON = 0.9 * SAME


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
    names = sorted(descriptors)
    parent = {identity: identity for identity in identities.values()}

    def root(identity: str) -> str:
        while parent[identity] != identity:
            identity = parent[identity]
        return identity

    points = np.array([descriptors[name] for name in names], np.float64).reshape(len(names), -1)
    for number, name in enumerate(names):
        near = np.linalg.norm(points[number + 1 :] - points[number], axis=1) < SAME_PERSON
        for other in np.flatnonzero(near) + number + 1:
            first, second = sorted((root(identities[name]), root(identities[names[other]])))
            parent[second] = first
    return {source: root(identity) for source, identity in identities.items()}


def without_copies(rows: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], list[LeftOut]]:
    """Drop clips whose signature another one has; of copies the first by id stays."""
    first: dict[str, str] = {}
    for row in sorted(rows, key=lambda row: row["id"]):
        first.setdefault(row["signature"], row["id"])
    kept, dropped = [], []
    for row in rows:
        if first[row["signature"]] == row["id"]:
            kept.append(dict(row))
        else:
            seconds = row["frames"] / RATE
            dropped.append(
                LeftOut(row["source"], "duplicate", f"{row['id']} = {first[row['signature']]}", seconds)
            )
    return kept, dropped
