"""Keys that this process may mark with. A driver sends its key to the workers; it never stands in options, rows or records."""

from __future__ import annotations

from operators.watermark.keys import MarkKey

_keys: dict[str, MarkKey] = {}


def hold(key: MarkKey) -> None:
    """Keep a key for this process."""
    _keys[key.name] = key


def held(name: str) -> MarkKey:
    """Return a key by its `MarkKey.name`.

    Raises:
        ValueError: this process has no such key.
    """
    if name not in _keys:
        raise ValueError(
            f"watermark: this process does not have the key {name}; it comes from the run's driver"
        )
    return _keys[name]
