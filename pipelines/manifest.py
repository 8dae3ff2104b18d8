"""The manifest: JSON lines, CSV or Parquet from any fsspec URL, to titles.

A row is ``id``, ``video``, ``speech``, ``output`` and optional overrides; or, for several dubs of one video, ``id``, ``video`` and
``dubs``, a list of ``{language, speech, output}``. Overrides are ``face``, ``length``, ``audio``, ``language`` and any option of the
engine's stages, as ``"speak.lag": 0.04`` or ``"speak": {"lag": 0.04}``.

What makes the table itself doubtful (unreadable, unknown columns, two rows with the same id or output) raises `ManifestError` before
anything runs; a row that cannot be used becomes a title with an error, and the others run.
"""

from __future__ import annotations

import csv
import difflib
import io
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.registry import known_implementations, registry

from operators.media.storage import exists, filesystem, join, local_path
from pipelines.config import ConfigError, UsageError
from pipelines.engine import Engine
from pipelines.titles import AUDIO_RULES, LENGTH_RULES, Dub, Title

#: Keys of a row that are no stage's options; those of a dub; those allowed in both places.
ROW_KEYS = ("id", "video", "dubs", "face")
DUB_KEYS = ("speech", "output", "language", "length", "audio")
MAX_PROBLEMS = 20
#: Characters of a path or URL; bytes of a manifest.
MAX_NAME, MAX_MANIFEST = 8192, 1 << 30


class ManifestError(UsageError):
    """The manifest as a whole cannot be used; the message names file and rows."""


def read_rows(url: str) -> list[tuple[str, dict[str, Any] | str]]:
    """Rows of a manifest file.

    Returns:
        For each row where it stands (for messages) and its content, or what is wrong with it where a row cannot be parsed.

    Raises:
        ManifestError: missing, empty, of an unknown kind, or not a table at all.
    """
    try:
        fs, path = filesystem(url)
        known = fs.exists(path)
    except Exception as error:  # credentials, networks, a package that is not installed: each storage has its own
        raise ManifestError(f"{url}: cannot be read ({type(error).__name__}: {error})") from error
    if not known:
        raise ManifestError(f"{url}: no such file")
    if fs.isdir(path):
        raise ManifestError(f"{url}: is a directory; give a .jsonl, .csv or .parquet file")
    kind = (path.split("?", 1)[0] if "://" in path else path).lower().rsplit(".", 1)[-1]
    if (fs.size(path) or 0) > MAX_MANIFEST:
        raise ManifestError(f"{url}: the manifest is larger than 1 GiB; split it")
    readers = {"jsonl": _read_jsonl, "ndjson": _read_jsonl, "json": _read_jsonl, "csv": _read_csv, "parquet": _read_parquet}
    if kind not in readers:
        raise ManifestError(f"{url}: a manifest is a .jsonl, .csv or .parquet file")
    rows = readers[kind](url, fs.cat_file(path))
    if not rows:
        raise ManifestError(f"{url}: the manifest has no rows")
    if all(isinstance(row, str) for _, row in rows):
        raise ManifestError(f"{url}: no row can be read; the first: {rows[0][0]}: {rows[0][1]}")
    return rows


def _text(url: str, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ManifestError(f"{url}: not UTF-8 text (byte {error.start})") from error


def _read_jsonl(url: str, content: bytes) -> list[tuple[str, dict[str, Any] | str]]:
    rows: list[tuple[str, dict[str, Any] | str]] = []
    for number, line in enumerate(_text(url, content).splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            rows.append((f"{url} row {number}", f"not JSON ({error})"))
            continue
        rows.append((f"{url} row {number}", row if isinstance(row, dict) else "must be a JSON object {...} on one line"))
    return rows


def _read_csv(url: str, content: bytes) -> list[tuple[str, dict[str, Any] | str]]:
    try:
        reader = csv.DictReader(io.StringIO(_text(url, content), newline=""), strict=True)
        header = [name.strip() for name in reader.fieldnames or []]
        reader.fieldnames = header
        rows: list[tuple[str, dict[str, Any] | str]] = []
        for row in reader:
            where = f"{url} row {reader.line_num}"
            if None in row:
                rows.append((where, f"has more cells than the {len(header)} columns"))
            elif None in row.values():
                rows.append((where, f"has fewer cells than the {len(header)} columns"))
            else:
                rows.append((where, {name: value for name, value in row.items() if value != ""}))
        return rows
    except csv.Error as error:
        raise ManifestError(f"{url}: not CSV ({error})") from error


def _read_parquet(url: str, content: bytes) -> list[tuple[str, dict[str, Any] | str]]:
    try:
        # Arrow's errors are of many kinds (also NotImplementedError and KeyError), and texts may be no UTF-8.
        rows = pq.read_table(io.BytesIO(content)).to_pylist()
    except (pa.ArrowException, OSError, ValueError, LookupError, TypeError, ArithmeticError) as error:
        raise ManifestError(f"{url}: not a Parquet file that can be read ({error})") from error
    return [(f"{url} row {number}", row) for number, row in enumerate(rows, 1)]


def read_manifest(url: str, engine: Engine, outputs: str, defaults: Mapping[str, Any] | None = None) -> list[Title]:
    """Read a manifest file into titles; paths inside it that are relative are taken from the manifest's folder, or else from here.

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
    manifest: str | Sequence[Mapping[str, Any]], engine: Engine, outputs: str, defaults: Mapping[str, Any] | None = None
) -> list[Title]:
    """Titles of a manifest, given as its URL or as its rows; arguments and errors as for `read_manifest`."""
    if isinstance(manifest, str):
        return read_manifest(manifest, engine, outputs, defaults)
    return parse_rows([(f"row {number}", dict(row)) for number, row in enumerate(manifest, 1)], engine, outputs, defaults=defaults)


def parse_rows(
    rows: Sequence[tuple[str, dict[str, Any] | str]],
    engine: Engine,
    outputs: str,
    folder: str = "",
    defaults: Mapping[str, Any] | None = None,
) -> list[Title]:
    """Rows to titles.

    Raises:
        ManifestError: unknown columns (the nearest known one is suggested), or an id or output that appears twice.
    """
    if not rows:
        raise ManifestError("there are no titles to dub")
    options = {spec.name: list(type(spec.options).__dataclass_fields__) for spec in engine.stages}
    problems = [f"{where}: {problem}" for where, row in rows if isinstance(row, dict) for problem in _unknown(row, options)]
    titles = [_title(where, number, row, engine, outputs, folder, defaults or {}) for number, (where, row) in enumerate(rows, 1)]
    ids: dict[str, str] = {}
    files: dict[str, str] = {}
    for title in titles:
        if title.id in ids:
            problems.append(f"{title.where}: id {title.id!r} appears in {ids[title.id]} already")
        ids.setdefault(title.id, title.where)
        for dub in title.dubs:
            if dub.output and dub.output in files:
                problems.append(f"{title.where}: output {dub.output} appears in {files[dub.output]} already")
            files.setdefault(dub.output, title.where)
    if problems:
        more = f"\n... and {len(problems) - MAX_PROBLEMS} more" if len(problems) > MAX_PROBLEMS else ""
        raise ManifestError("\n".join(problems[:MAX_PROBLEMS]) + more)
    return titles


def _unknown(row: Mapping[str, Any], options: dict[str, list[str]]) -> list[str]:
    """Columns of a row, and keys of its dubs, that mean nothing; `options` are the names of those of each stage."""
    known = [*ROW_KEYS, *DUB_KEYS, *options, *(f"{stage}.{name}" for stage, names in options.items() for name in names)]
    found = []
    dubs = row.get("dubs")
    nested = [(f"dubs.{n}: ", dub) for n, dub in enumerate(dubs if isinstance(dubs, list) else [], 1) if isinstance(dub, dict)]
    for prefix, keys in (("", row), *nested):
        for key, value in keys.items():
            names = [key] if key not in options or not isinstance(value, dict) else [f"{key}.{name}" for name in value]
            found += [f"{prefix}{_hint(str(name), known, options)}" for name in names if name not in known]
    return found


def _hint(name: str, known: list[str], options: dict[str, list[str]]) -> str:
    """What to say of an unknown column."""
    near = difflib.get_close_matches(name, known, 1, 0.6)
    if near and near[0] not in options:
        return f"column {name!r} is unknown: did you mean {near[0]!r}?"
    stage = name.partition(".")[0]
    if stage in options:
        return f"column {name!r} is unknown: stage {stage} has the options {', '.join(options[stage]) or '(none)'}"
    return f"column {name!r} is unknown; known: {', '.join(known)}"


class _RowError(ValueError):
    """One row cannot be used."""


def _title(
    where: str, number: int, row: dict[str, Any] | str, engine: Engine, outputs: str, folder: str, defaults: Mapping[str, Any]
) -> Title:
    """One row as a title, with its error where it cannot be used."""
    fallback = f"row-{number}"
    if isinstance(row, str):
        return Title(fallback, "", (Dub("dub", "", ""),), where=where, error=f"{where}: {row}")
    row = {key: value for key, value in row.items() if value is not None}
    name = str(row["id"]).strip() if isinstance(row.get("id"), (str, int)) else ""
    try:
        if not name or any(ord(c) < 32 or 0xD800 <= ord(c) <= 0xDFFF for c in name):
            name = ""
            raise _RowError("id: must be a text or a number")
        video = _path(row, "video", folder)
        dubs = _dubs(row, name, engine, outputs, folder, defaults)
        for dub in dubs:
            if dub.output in (video, dub.speech):
                raise _RowError(f"output {dub.output} is one of the inputs")
        face = _word(row, "face", defaults.get("face", "largest"))
        if "/" in face or "." in face or "::" in face:
            _usable("face", face)
            face = resolve(face, folder)
        options = engine.check_overrides(_stage_options(row, engine), where)
        return Title(name, video, tuple(dubs), face, options, where)
    except (_RowError, ConfigError) as problem:
        text = str(problem) if str(problem).startswith(where) else f"{where}: {problem}"
        listed = row["dubs"] if isinstance(row.get("dubs"), list) else [row]
        failed = [Dub(_dub_name(entry, n), "", "") for n, entry in enumerate(listed or [row], 1) if isinstance(entry, dict)]
        return Title(
            name or fallback,
            _printable(str(row.get("video", ""))),
            tuple(failed) or (Dub("dub", "", ""),),
            where=where,
            error=_printable(text),
        )


def _dub_name(entry: Mapping[str, Any], number: int) -> str:
    language = entry.get("language")
    return _printable(str(language)) if language else ("dub" if number == 1 else f"dub-{number}")


def _dubs(row: dict[str, Any], name: str, engine: Engine, outputs: str, folder: str, defaults: Mapping[str, Any]) -> list[Dub]:
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
            {key: value for key, value in entry.items() if value is not None}, number, row, name, engine, outputs, folder, defaults, where
        )
        if dub.dub in {other.dub for other in dubs}:
            raise _RowError(f"{where}: language {dub.dub!r} appears twice")
        dubs.append(dub)
    return dubs


def _dub(
    entry: dict[str, Any],
    number: int,
    row: dict[str, Any],
    name: str,
    engine: Engine,
    outputs: str,
    folder: str,
    defaults: Mapping[str, Any],
    where: str,
) -> Dub:
    try:
        speech = _path(entry, "speech", folder)
        language = _word(entry, "language", defaults.get("language", ""))
        values: dict[str, Any] = {**defaults, **{key: row[key] for key in ("length", "audio") if key in row}, **entry}
        output = _word(entry, "output", f"{name}.{language}.mp4" if "dubs" in row and language else f"{name}.mp4")
        _usable("output", output)
        options = engine.check_overrides(_stage_options(entry, engine), "options", per_dub=True) if "dubs" in row else {}
        return Dub(
            dub=_dub_name(entry, number),
            speech=speech,
            output=output if "://" in output or output.startswith("/") else join(outputs, output) if outputs else output,
            language=language,
            length=_choice(values, "length", LENGTH_RULES, "keep"),
            audio=_choice(values, "audio", AUDIO_RULES, "replace"),
            options=options,
        )
    except (_RowError, ConfigError) as problem:
        raise _RowError(f"{where}: {problem}" if where else str(problem)) from problem


#: What no text holds (halves of surrogate pairs), and what no file's name holds.
_NO_TEXT, _NO_NAME = re.compile("[\ud800-\udfff]"), re.compile("[\x00-\x1f\ud800-\udfff]")


def _word(row: Mapping[str, Any], key: str, default: str) -> str:
    value = row.get(key, default)
    if not isinstance(value, (str, int)) or isinstance(value, bool):
        raise _RowError(f"{key}: must be a text, got {value!r}")
    if _NO_TEXT.search(str(value)):
        raise _RowError(f"{key}: {value!r} is no text")
    return str(value).strip()


def _choice(row: Mapping[str, Any], key: str, allowed: Sequence[str], default: str) -> Any:
    value = _word(row, key, default)
    if value not in allowed:
        raise _RowError(f"{key}: must be one of {', '.join(allowed)}, got {value!r}")
    return value


def _path(row: Mapping[str, Any], key: str, folder: str) -> str:
    value = row.get(key)
    if value is None:
        raise _RowError(f"{key}: is missing")
    if not isinstance(value, str) or not value.strip():
        raise _RowError(f"{key}: must be the path or URL of a file, got {value!r}")
    _usable(key, value)
    return resolve(value.strip(), folder)


def _usable(key: str, value: str) -> None:
    """Refuse what can be no file's name anywhere. Nothing is opened."""
    if len(value) > MAX_NAME or _NO_NAME.search(value):
        raise _RowError(f"{key}: {value[:80]!r} cannot be the name of a file")
    *wrappers, target = value.split("::")
    schemes = [part.partition("://")[0] for part in (*wrappers, *([target] if "://" in target else []))]
    for scheme in schemes:
        if scheme not in known_implementations and scheme not in registry:
            raise _RowError(f"{key}: {value}: unknown kind of URL {scheme!r}")


def _printable(text: str) -> str:
    """A text of a row that cannot be used, such that it can be written down."""
    return text.encode("utf-8", "replace").decode()


def resolve(path: str, folder: str) -> str:
    """A path as given when it is a URL or absolute; else below `folder` (the manifest's) where that exists, or below the working
    directory."""
    if "://" in path or "::" in path or path.startswith("/"):
        return path  # a URL: not even looked at here, for it may lie outside the roots
    if folder and exists(join(folder, path)):
        return join(folder, path)
    local = local_path(path)
    return str(local.absolute()) if local is not None else path


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
