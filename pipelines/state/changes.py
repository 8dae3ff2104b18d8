"""Reasons why a finished dub is computed again: its ingredients then, compared with those now."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from operators.storage.redact import redact_all
from pipelines.state.content_keys import Ingredients

#: Beginning of the note of a dub that is computed again.
RECOMPUTED = "computed again: "
#: Changed options that a note lists.
NAMED = 3
#: Names of ingredients whose values are of no use to a reader.
WORDS = {"engine": "the engine's stages", "segments": "the length of segments"}

#: Name of what differs where a finished dub's output is missing or another file.
GONE = "output gone"
#: Packages that are this distribution's own.
OWN = ("operators", "retalk_models", "pipelines")


def readable(ingredients: Mapping[str, Any]) -> Ingredients:
    """Ingredients of a content key as they are kept with a record: plain JSON, without the secrets of URLs."""
    plain: Ingredients = redact_all(json.loads(json.dumps(ingredients, default=str)))
    return plain


def changes(record: Mapping[str, Any], now: Ingredients) -> dict[str, str]:
    """Compare a finished dub with what would be made now.

    Args:
        record: of the finished dub, with its ``ingredients`` as `readable` gave them.
        now: as `readable` gives them.

    Returns:
        For each ingredient that differs, a text that says how; the name of options says which.
    """
    before = record.get("ingredients")
    if not record.get("key"):
        return {"redo": "it was asked for"}
    if not isinstance(before, dict) or now.keys() - before.keys():
        return {"version": "an earlier version of retalk made it"}
    found = {
        _named(name, before.get(name), now[name]): _change(name, before.get(name), now[name])
        for name in now
        if before.get(name) != now[name]
    }
    # Equal without the secrets of URLs: a signed address is new.
    return found or {"address": "the address of an input changed"}


def _named(name: str, before: Any, now: Any) -> str:
    """Name of an ingredient that differs, with the options that do."""
    if name != "options" or not isinstance(before, dict):
        return name
    return f"options {_listed([option for option, _, _ in _changed_options(before, now)])}".rstrip()


def _change(name: str, before: Any, now: Any) -> str:
    if name in ("video", "speech") and isinstance(before, list):
        return f"{name} changed" if before[0] == now[0] else f"{name} {before[0]} → {now[0]}"
    if name in BY_PART and isinstance(before, dict):
        return _listed(BY_PART[name](before, now)) or f"{name} changed"
    if name == "engine" and isinstance(before, dict) and before.get("name") != now["name"]:
        return f"engine {before.get('name')} → {now['name']}"
    if name in WORDS:
        return f"{WORDS[name]} changed"
    if not all(value is None or isinstance(value, (str, int, float)) for value in (before, now)):
        return f"{name} changed"
    return f"{name} {_value(before)} → {_value(now)}"


def _listed(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - NAMED} more" if len(texts) > NAMED else ""
    return ", ".join(texts[:NAMED]) + more


def _differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [name for name in {**before, **now} if before.get(name) != now.get(name)]


def _changed_options(
    before: Mapping[str, Mapping[str, Any]], now: Mapping[str, Mapping[str, Any]]
) -> list[tuple[str, Any, Any]]:
    """Options that differ, by stage and name, with their values then and now."""
    return [
        (f"{stage}.{option}", before.get(stage, {}).get(option), values.get(option))
        for stage, values in now.items()
        for option in _differing(before.get(stage, {}), values)
    ]


def _options(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [
        f"{option} {_value(then)} → {_value(value)}" for option, then, value in _changed_options(before, now)
    ]


def _weights(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [f"weights of {stage} changed" for stage in _differing(before, now)]


def _code(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    tops = [unit.partition(".")[0] for unit in _differing(before, now)]
    names = dict.fromkeys("retalk" if top in OWN else top for top in tops)
    return [f"code of {name} changed" for name in names]


def _libraries(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [
        f"{name} {_value(before.get(name))} → {_value(now.get(name))}" for name in _differing(before, now)
    ]


def _devices(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [
        f"device of {name} {_value(before.get(name))} → {_value(now.get(name))}"
        for name in _differing(before, now)
    ]


#: Ingredients of several parts, and what is said of those that differ.
BY_PART: dict[str, Callable[[Mapping[str, Any], Mapping[str, Any]], list[str]]] = {
    "options": _options,
    "weights": _weights,
    "code": _code,
    "libraries": _libraries,
    "devices": _devices,
}


def _value(value: Any) -> str:
    return "none" if value in ("", None) else str(value)


def summary(records: Sequence[Mapping[str, Any]]) -> str:
    """One line on the dubs of a run that had been finished and were computed again; empty if there are none."""
    again = [record["changed"] for record in records if record.get("changed")]
    gone = sum(changed == [GONE] for changed in again)
    again = [changed for changed in again if changed != [GONE]]
    missing = (
        "1 output that was gone is made again"
        if gone == 1
        else f"{gone} outputs that were gone are made again"
    )
    if not again:
        return missing if gone else ""
    counts = Counter(name for changed in again for name in changed)
    reasons = ", ".join(f"{name} ({count})" for name, count in counts.most_common())
    dubs = "1 finished dub was" if len(again) == 1 else f"{len(again)} finished dubs were"
    return f"{dubs} computed again because of changes: {reasons}; -v and the ledger's notes say which" + (
        f"; {missing}" if gone else ""
    )
