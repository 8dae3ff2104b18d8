"""Mistakes in configurations and options, in a user's words: file, key, what is wrong, what is allowed."""

from __future__ import annotations

import difflib
import typing
from typing import Any

import yaml
from pydantic import ValidationError

from pipelines.errors import ConfigError

#: Texts in place of pydantic's, by the type of the error; fields are those of its context.
_TEXTS = {
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "dict_type": "must be a mapping",
    "finite_number": "must be a finite number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be at most {le}",
    "list_type": "must be a list",
    "literal_error": "must be {expected}",
    "missing": "is missing",
    "model_type": "must be a mapping",
    "string_pattern_mismatch": "must match {pattern}",
    "string_type": "must be a text",
    "too_short": "must have at least {min_length} of them",
    "tuple_type": "must be a list",
}


def explain(error: ValidationError, where: str, top: Any = None) -> str:
    """Return one line per problem.

    Args:
        error: of pydantic.
        where: the file or option.
        top: model or dataclass that was validated, for the keys that are allowed.
    """
    lines = []
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"]) or "(top level)"
        if problem["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            allowed = _fields_at(top, problem["loc"][:-1])
            near = difflib.get_close_matches(str(problem["loc"][-1]), allowed, 1)
            hint = f", did you mean {near[0]!r}?" if near else "."
            text = f"unknown key{hint} Allowed: {', '.join(allowed)}"
        elif problem["type"] == "value_error":
            text = problem["msg"].removeprefix("Value error, ")
        else:
            known = _TEXTS.get(problem["type"])
            text = known.format(**_plain(problem.get("ctx", {}))) if known else problem["msg"]
            if problem["type"] != "missing":
                text += f", got {problem['input']!r}"
        lines.append(f"{where}: {key}: {text}")
    return "\n".join(lines)


def _plain(context: typing.Mapping[str, Any]) -> dict[str, str]:
    """Values of a context, floats without trailing zeros."""
    return {name: f"{value:g}" if isinstance(value, float) else str(value) for name, value in context.items()}


def _fields_at(model: Any, path: tuple[int | str, ...]) -> list[str]:
    """Names of the fields of the model that a path of keys leads to."""
    for part in path:
        if isinstance(part, int) or not hasattr(model, "model_fields"):
            continue
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        candidates = [annotation, *typing.get_args(annotation)]
        model = next((c for c in candidates if hasattr(c, "model_fields")), model)
    if hasattr(model, "model_fields"):
        return list(model.model_fields)
    return list(getattr(model, "__dataclass_fields__", {}))


def read_yaml(content: bytes, where: str) -> Any:
    """Parse a YAML file.

    Raises:
        ConfigError: it is no YAML, or no text; the message names the file and the line.
    """
    try:
        return yaml.safe_load(content)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f" line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{where}{line}: not YAML ({error.problem or error.context})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{where}: not YAML text in UTF-8 ({' '.join(str(error).split())})") from error
