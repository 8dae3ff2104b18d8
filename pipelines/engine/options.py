"""Options of stages: values as users give them, checked against a stage's frozen dataclass."""

from __future__ import annotations

import dataclasses
import difflib
import math
import typing
from typing import Any

from pydantic import TypeAdapter, ValidationError

from pipelines.engine.explain import explain
from pipelines.errors import ConfigError


def parse_options(options_type: type, values: dict[str, Any], where: str) -> dict[str, Any]:
    """Check values against a frozen dataclass of options.

    Args:
        options_type: the dataclass.
        values: what was given, option by name; strings are converted (``"0.8"`` for a float, ``"0,10,0,0"``
            for a tuple).
        where: file and key, for messages.

    Returns:
        The given options only, in their types.

    Raises:
        ConfigError: an unknown option or a wrong value.
    """
    fields = [field.name for field in dataclasses.fields(options_type)]
    for name in values:
        if name not in fields:
            near = difflib.get_close_matches(name, fields, 1)
            hint = f", did you mean {near[0]!r}?" if near else "."
            raise ConfigError(f"{where}: {name}: unknown option{hint} Allowed: {', '.join(fields) or 'none'}")
    hints = typing.get_type_hints(options_type)
    given = {name: _items(value) if "tuple[" in str(hints[name]) else value for name, value in values.items()}
    try:
        parsed: Any = TypeAdapter(options_type).validate_python(given)
    except ValidationError as error:
        raise ConfigError(explain(error, where, options_type)) from error
    found = {name: getattr(parsed, name) for name in values}
    for name, value in found.items():
        if any(isinstance(one, float) and not math.isfinite(one) for one in _each(value)):
            raise ConfigError(f"{where}: {name}: must be finite, got {values[name]!r}")
    return found


def _each(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _items(value: Any) -> Any:
    """Split a tuple that came as text: ``"0,10,0,0"`` or ``"[0, 10, 0, 0]"``."""
    return [part.strip() for part in value.strip("[]() ").split(",")] if isinstance(value, str) else value
