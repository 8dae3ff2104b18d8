"""The manifest: JSON lines, CSV, TSV or Parquet from any fsspec URL, to titles.

A row is ``id``, ``video``, ``speech``, ``output`` and optional overrides; or, for several dubs of one video,
``id``, ``video`` and ``dubs``, a list of ``{language, speech, output}``. Overrides are ``face``, ``length``,
``audio``, ``language`` and any option of the engine's stages, as ``"speak.lag": 0.04`` or ``"speak": {"lag":
0.04}``.

A table that is doubtful as a whole (unreadable, unknown columns, two rows with the same id or output) raises
`ManifestError` before anything runs; a row that cannot be used becomes a title with an error, and the others
run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from operators.media.languages import language_problem
from operators.media.loudness_target import loudness_problem
from operators.storage.files import (
    WINDOWS_ADVICE,
    exists,
    is_known_kind,
    is_windows_path,
    join,
    local_path,
)
from pipelines.engine.engine import Engine
from pipelines.errors import ConfigError
from pipelines.manifest.columns import row_prefix, unknown_columns
from pipelines.manifest.conflicts import repeated, without_overwritten_inputs
from pipelines.manifest.files import DUB_KEYS, ManifestError, read_rows
from pipelines.manifest.titles import (
    AUDIO_RULES,
    LENGTH_RULES,
    NO_TEXT,
    UNNAMED,
    Dub,
    Title,
    face_problem,
    is_picture,
    name_problem,
)

MAX_PROBLEMS = 20


def read_manifest(
    url: str, engine: Engine, outputs: str, defaults: Mapping[str, Any] | None = None
) -> list[Title]:
    """Read a manifest file into titles; paths inside it that are relative are taken from the manifest's
    folder, or else from here.

    Args:
        url: the file.
        engine: whose stages' options may be overridden.
        outputs: folder that relative outputs lie in.
        defaults: values for ``face``, ``length``, ``audio`` and ``language`` where a row has none.

    Raises:
        ManifestError: see `parse_rows` and `read_rows`.
    """
    local = local_path(url)
    folder = str(local.absolute().parent) if local is not None else url.rsplit("/", 1)[0]
    return parse_rows(read_rows(url), engine, outputs, folder, defaults)


def titles_of(
    manifest: str | Path | Sequence[Mapping[str, Any]],
    engine: Engine,
    outputs: str,
    defaults: Mapping[str, Any] | None = None,
) -> list[Title]:
    """Titles of a manifest, given as its URL or as its rows (paths may be `Path`); arguments and errors as
    for `read_manifest`.
    """
    if isinstance(manifest, (str, Path)):
        return read_manifest(str(manifest), engine, outputs, defaults)
    rows = [
        (f"row {number}" if len(manifest) > 1 else "", _texts(row)) for number, row in enumerate(manifest, 1)
    ]
    return parse_rows(rows, engine, outputs, defaults=defaults)


def _texts(value: Any) -> Any:
    """A row with its paths as texts."""
    if isinstance(value, Mapping):
        return {name: _texts(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_texts(one) for one in value]
    return str(value) if isinstance(value, Path) else value


def parse_rows(
    rows: Sequence[tuple[str, dict[str, Any] | str]],
    engine: Engine,
    outputs: str,
    folder: str = "",
    defaults: Mapping[str, Any] | None = None,
) -> list[Title]:
    """Rows to titles.

    Args:
        rows: where each stands (for messages; empty: nowhere that is worth a word) and its content.
        engine, outputs, defaults: see `read_manifest`.
        folder: that relative inputs may lie in, beside the working directory; empty: none.

    Raises:
        ManifestError: a default that is not allowed, unknown columns (the nearest known one is suggested), or
            an id or output that appears twice.
    """
    if not rows:
        raise ManifestError("there are no titles to dub")
    _check_defaults(defaults or {})
    options = {spec.name: list(type(spec.options).__dataclass_fields__) for spec in engine.stages}
    problems = unknown_columns(rows, options)
    titles = [
        _title(where, number, row, engine, outputs, folder, defaults or {})
        for number, (where, row) in enumerate(rows, 1)
    ]
    problems += repeated(titles)
    if problems:
        more = f"\n... and {len(problems) - MAX_PROBLEMS} more" if len(problems) > MAX_PROBLEMS else ""
        raise ManifestError("\n".join(problems[:MAX_PROBLEMS]) + more)
    return without_overwritten_inputs(titles)


def _check_defaults(defaults: Mapping[str, Any]) -> None:
    """Refuse options for all titles that no title could have.

    Raises:
        ManifestError: naming the option and what is allowed.
    """
    try:
        _language(defaults, "")
        _face_word(defaults, "largest")
        for key, allowed in (("length", LENGTH_RULES), ("audio", AUDIO_RULES)):
            _choice(defaults, key, allowed, allowed[0])
        _loudness(defaults)
    except _RowError as problem:
        raise ManifestError(str(problem)) from problem


class _RowError(ValueError):
    """One row cannot be used."""


def _title(
    where: str,
    number: int,
    row: dict[str, Any] | str,
    engine: Engine,
    outputs: str,
    folder: str,
    defaults: Mapping[str, Any],
) -> Title:
    """One row as a title, with its error where it cannot be used."""
    told = re.search(r"row (\d+)$", where)
    fallback = f"row-{told[1] if told else number}"
    if isinstance(row, str):
        return Title(fallback, "", (Dub(UNNAMED, "", ""),), where=where, error=f"{row_prefix(where)}{row}")
    row = {key: value for key, value in row.items() if value is not None}
    given = row.get("id")
    name = str(given).strip() if isinstance(given, (str, int)) and not isinstance(given, bool) else ""
    try:
        if given is None or given == "" or (isinstance(given, str) and not name):
            raise _RowError("id: is missing")
        if not name:
            raise _RowError("id: must be a text or a number")
        if wrong := name_problem(name):
            shown, name = name[:80], ""
            raise _RowError(f"id: {shown!r} {wrong}; choose another id")
        video, missing = _path(row, "video", folder)
        if missing:
            raise _RowError(missing)
        dubs = _dubs(row, name, engine, outputs, folder, defaults, where)
        face = _face_word(row, str(defaults.get("face", "largest")))
        if is_picture(face):
            face, missing = _path({"face": face}, "face", folder)
            if missing:
                raise _RowError(missing)
        options = engine.check_overrides(_stage_options(row, engine), where or "options")
        return Title(name, video, tuple(dubs), face, options, where)
    except (_RowError, ConfigError) as problem:
        text = (
            str(problem) if str(problem).startswith(where or "options") else f"{row_prefix(where)}{problem}"
        )
        listed = row["dubs"] if isinstance(row.get("dubs"), list) else [row]
        failed = [
            Dub(_dub_name(entry, n, len(listed)), "", "")
            for n, entry in enumerate(listed or [row], 1)
            if isinstance(entry, dict)
        ]
        return Title(
            name or fallback,
            _printable(str(row.get("video", ""))),
            tuple(failed) or (Dub(UNNAMED, "", ""),),
            where=where,
            error=_printable(text),
        )


def _dub_name(entry: Mapping[str, Any], number: int, of: int) -> str:
    """Name of the dub with this number of `of`."""
    language = entry.get("language")
    return _printable(str(language)) if language else (UNNAMED if of <= 1 else f"dub-{number}")


def _dubs(
    row: dict[str, Any],
    name: str,
    engine: Engine,
    outputs: str,
    folder: str,
    defaults: Mapping[str, Any],
    at: str,
) -> list[Dub]:
    listed = row.get("dubs")
    if isinstance(listed, str):
        try:
            listed = json.loads(listed)
        except ValueError as error:
            raise _RowError(f"dubs: not JSON ({error})") from error
    if listed is None:
        # Options of the one dub stand beside id and video, and belong to the title.
        listed = [{key: row[key] for key in DUB_KEYS if key in row}]
    elif clash := [key for key in ("speech", "output", "language") if key in row]:
        raise _RowError(f"{clash[0]}: give it either in dubs or beside id and video, not in both")
    if not isinstance(listed, list) or not listed or not all(isinstance(entry, dict) for entry in listed):
        raise _RowError("dubs: must be a list of {language, speech, output}")
    dubs: list[Dub] = []
    for number, entry in enumerate(listed, 1):
        where = f"dubs.{number}" if "dubs" in row else ""
        dub = _dub(
            {key: value for key, value in entry.items() if value is not None},
            number,
            len(listed),
            row,
            name,
            engine,
            outputs,
            folder,
            defaults,
            at,
            where,
        )
        if dub.dub in {other.dub for other in dubs}:
            raise _RowError(f"{where}: language {dub.dub!r} appears twice")
        dubs.append(dub)
    return dubs


def _dub(
    entry: dict[str, Any],
    number: int,
    of: int,
    row: dict[str, Any],
    name: str,
    engine: Engine,
    outputs: str,
    folder: str,
    defaults: Mapping[str, Any],
    at: str,
    where: str,
) -> Dub:
    """One dub of `of` in a row; `at` is where the row stands, `where` the dub in it."""
    try:
        speech, missing = _path(entry, "speech", folder)
        language = _language(entry, defaults.get("language", ""))
        values: dict[str, Any] = {
            **defaults,
            **{key: row[key] for key in ("length", "audio", "loudness") if key in row},
            **entry,
        }
        output = _word(
            entry, "output", f"{name}.{language}.mp4" if "dubs" in row and language else f"{name}.mp4"
        )
        _usable("output", output)
        options = (
            engine.check_overrides(_stage_options(entry, engine), "options", per_dub=True)
            if "dubs" in row
            else {}
        )
        return Dub(
            dub=_dub_name(entry, number, of),
            speech=speech,
            output=output
            if "://" in output or output.startswith("/")
            else join(outputs, output)
            if outputs
            else output,
            language=language,
            length=_choice(values, "length", LENGTH_RULES, "keep"),
            audio=_choice(values, "audio", AUDIO_RULES, "replace"),
            loudness=_loudness(values),
            options=options,
            error=f"{row_prefix(at)}{row_prefix(where)}{missing}" if missing else "",
        )
    except (_RowError, ConfigError) as problem:
        raise _RowError(f"{where}: {problem}" if where else str(problem)) from problem


def _word(row: Mapping[str, Any], key: str, default: str) -> str:
    value = row.get(key, default)
    if not isinstance(value, (str, int)) or isinstance(value, bool):
        raise _RowError(f"{key}: must be a text, got {value!r}")
    if NO_TEXT.search(str(value)):
        raise _RowError(f"{key}: {value!r} is not Unicode text")
    return str(value).strip()


def _choice(row: Mapping[str, Any], key: str, allowed: Sequence[str], default: str) -> Any:
    value = _word(row, key, default)
    if value not in allowed:
        raise _RowError(f"{key}: must be one of {', '.join(allowed)}, got {value!r}")
    return value


def _loudness(row: Mapping[str, Any]) -> str:
    """ "off", "source" or a number of LUFS, which may stand in a row as a number."""
    value = row.get("loudness", "off")
    loudness = f"{value:g}" if isinstance(value, float) else _word(row, "loudness", "off")
    if problem := loudness_problem(loudness):
        raise _RowError(f"loudness: {problem}")
    return loudness


def _language(row: Mapping[str, Any], default: str) -> str:
    language = _word(row, "language", default)
    if language and (problem := language_problem(language)):
        raise _RowError(f"language: {problem}")
    return language


def _face_word(row: Mapping[str, Any], default: str) -> str:
    face = _word(row, "face", default)
    if problem := face_problem(face):
        raise _RowError(f"face: {problem}")
    return face


def _path(row: Mapping[str, Any], key: str, folder: str) -> tuple[str, str]:
    """A file of a row, and what is wrong where it lies in none of the places that a relative path may mean."""
    value = row.get(key)
    if value is None or value == "" or (isinstance(value, str) and not value.strip()):
        raise _RowError(f"{key}: is missing")
    if not isinstance(value, str):
        raise _RowError(f"{key}: must be the path or URL of a file, got {value!r}")
    _usable(key, value)
    return resolve(value.strip(), folder, key)


def _usable(key: str, value: str) -> None:
    """Refuse what can be no file's name here. Nothing is opened."""
    if wrong := name_problem(value):
        raise _RowError(f"{key}: {value[:80]!r} {wrong}; rename the file")
    if is_windows_path(value):
        raise _RowError(f"{key}: {value}: {WINDOWS_ADVICE}")
    *wrappers, target = value.split("::")
    schemes = [part.partition("://")[0] for part in (*wrappers, *([target] if "://" in target else []))]
    for scheme in schemes:
        if not is_known_kind(scheme):
            raise _RowError(f"{key}: {value}: unknown kind of URL {scheme!r}")


def _printable(text: str) -> str:
    """A text of a row that cannot be used, such that it can be written down."""
    return text.encode("utf-8", "replace").decode()


def resolve(path: str, folder: str, key: str = "") -> tuple[str, str]:
    """Find what a path of a manifest means.

    Args:
        path: a URL or an absolute path means itself; a relative one lies below `folder`, or else below the
            working directory.
        folder: the manifest's; empty: only the working directory is meant.
        key: the column, for the message.

    Returns:
        The path, and a message where a relative one leads to nothing in both places.
    """
    if "://" in path or "::" in path or path.startswith("/"):
        return path, ""  # a URL: not even looked at here, for it may lie outside the roots
    local = local_path(path)
    here = str(local.absolute()) if local is not None else path
    if not folder:
        return here, ""
    if exists(join(folder, path)):
        return join(folder, path), ""
    # A path that leads out of a folder is not looked for: it may lie outside the roots, and the message would tell
    # whether it is there.
    if ".." in path.split("/") or exists(here):
        return here, ""
    places = f"{folder} (the manifest's folder)"
    if here != join(folder, path):
        places = f"{places} or in {Path.cwd()} (the working directory)"
    return here, f"{key}: {path}: no such file in {places}"


def _stage_options(row: Mapping[str, Any], engine: Engine) -> dict[str, dict[str, Any]]:
    """Overrides of stages' options in a row, from dotted keys and from nested ones."""
    found: dict[str, dict[str, Any]] = {}
    for key, value in row.items():
        stage, dot, option = key.partition(".")
        if stage not in engine.names:
            continue
        if dot:
            found.setdefault(stage, {})[option] = value
        elif isinstance(value, dict):
            # Parquet gives a struct's absent fields as None.
            found.setdefault(stage, {}).update({name: v for name, v in value.items() if v is not None})
        else:
            raise _RowError(f"{key}: must be a mapping of options, got {value!r}")
    return found
