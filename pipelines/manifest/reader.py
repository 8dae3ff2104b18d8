"""The manifest: JSON lines, CSV, TSV or Parquet from any fsspec URL, to titles.

A row is ``id``, ``video``, ``speech``, ``output`` and optional overrides; or, for several dubs of one video,
``id``, ``video`` and ``dubs``, a list of ``{language, speech, output}``. In place of ``speech`` a row or a dub may have
``speakers`` and ``mix`` (`pipelines.manifest.speakers`). Overrides are ``face``, ``length``,
``audio``, ``language``, ``loudness``, ``place``, ``codec``, ``crf``, ``bitrate``, ``preset``, ``consent`` (see
`pipelines.manifest.consent`), ``ranges`` and ``exclude`` (`pipelines.manifest.ranges`), and any option of the
engine's stages, as ``"speak.lag": 0.04`` or ``"speak": {"lag": 0.04}``.

A table that is doubtful as a whole (unreadable, unknown columns, two rows with the same id or output) raises
`ManifestError` before anything runs; a row that cannot be used becomes a title with an error, and the others
run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from operators.media.codec_names import container_of
from operators.storage.files import join
from pipelines.engine.engine import Engine
from pipelines.errors import ConfigError
from pipelines.manifest.cells import (
    RowError,
    check_name,
    check_sound,
    choice,
    encoding,
    face_choice,
    file_path,
    in_effect,
    language_code,
    loudness_target,
    printable,
    word,
)
from pipelines.manifest.columns import row_prefix, unknown_columns
from pipelines.manifest.conflicts import repeated, without_overwritten_inputs
from pipelines.manifest.consent import consent_of
from pipelines.manifest.files import DUB_KEYS, ManifestError, folder_of, read_rows
from pipelines.manifest.ranges import ranges_of
from pipelines.manifest.speakers import speakers_of
from pipelines.manifest.titles import (
    AUDIO_RULES,
    LENGTH_RULES,
    PLACE_RULES,
    SPEAKING,
    UNNAMED,
    Dub,
    Speaker,
    Title,
    is_picture,
    merged,
    name_problem,
)

#: Keys of a row that its dubs take over.
SHARED_KEYS = (
    *("length", "audio", "loudness", "place", "codec", "crf", "bitrate", "preset", "consent"),
    *("ranges", "exclude"),
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
    return parse_rows(read_rows(url), engine, outputs, folder_of(url), defaults)


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
        language_code(defaults, "")
        face_choice(defaults, "largest")
        for key, allowed in (("length", LENGTH_RULES), ("audio", AUDIO_RULES), ("place", PLACE_RULES)):
            choice(defaults, key, allowed, allowed[0])
        loudness_target(defaults)
        check_sound(defaults)
        encoding(defaults, "")
        consent_of(defaults.get("consent"))
        for key in ("ranges", "exclude"):
            ranges_of(defaults.get(key), key)
    except RowError as problem:
        raise ManifestError(str(problem)) from problem


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
            raise RowError("id: is missing")
        if not name:
            raise RowError("id: must be a text or a number")
        if wrong := name_problem(name):
            shown, name = name[:80], ""
            raise RowError(f"id: {shown!r} {wrong}; choose another id")
        video, missing = file_path(row, "video", folder)
        if missing:
            raise RowError(missing)
        dubs = _dubs(row, name, engine, outputs, folder, defaults, where)
        face = face_choice(row, str(defaults.get("face", "largest")))
        if is_picture(face):
            face, missing = file_path({"face": face}, "face", folder)
            if missing:
                raise RowError(missing)
        if face == SPEAKING and "landmarks" not in engine.edges[engine.fan_out].names:
            raise RowError(
                f"face: engine {engine.name} does not follow lips, so it cannot tell who is {SPEAKING}"
            )
        options = engine.check_overrides(_stage_options(row, engine), where or "options")
        return Title(name, video, tuple(dubs), face, options, where)
    except (RowError, ConfigError) as problem:
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
            printable(str(row.get("video", ""))),
            tuple(failed) or (Dub(UNNAMED, "", ""),),
            where=where,
            error=printable(text),
        )


def _dub_name(entry: Mapping[str, Any], number: int, of: int) -> str:
    """Name of the dub with this number of `of`."""
    language = entry.get("language")
    return printable(str(language)) if language else (UNNAMED if of <= 1 else f"dub-{number}")


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
            raise RowError(f"dubs: not JSON ({error})") from error
    if listed is None:
        # Options of the one dub stand beside id and video, and belong to the title.
        listed = [{key: row[key] for key in DUB_KEYS if key in row}]
    elif clash := [key for key in ("speech", "speakers", "output", "language") if key in row]:
        raise RowError(f"{clash[0]}: give it either in dubs or beside id and video, not in both")
    if not isinstance(listed, list) or not listed or not all(isinstance(entry, dict) for entry in listed):
        raise RowError("dubs: must be a list of {language, speech, output}")
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
            raise RowError(f"{where}: language {dub.dub!r} appears twice")
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
        speakers, missing = speakers_of(entry, folder)
        speech, unheard = _heard(entry, speakers, folder)
        missing = missing or unheard
        if speakers and not engine.config.find_faces:
            raise RowError(f"speakers: engine {engine.name} looks for one face by itself")
        language = language_code(entry, defaults.get("language", ""))
        shared = {key: row[key] for key in SHARED_KEYS if key in row}
        values = in_effect(defaults, shared, entry)
        check_sound(values)
        output = word(
            entry, "output", f"{name}.{language}.mp4" if "dubs" in row and language else f"{name}.mp4"
        )
        check_name("output", output)
        options = (
            engine.check_overrides(_stage_options(entry, engine), "options", per_dub=True)
            if "dubs" in row
            else {}
        )
        container = container_of(PurePosixPath(output).suffix.lower())
        encoder = {**encoding(values, container), "container": container}
        options = merged(options, _of_encoder(encoder, engine))
        length, place = (
            choice(values, "length", LENGTH_RULES, "keep"),
            choice(values, "place", PLACE_RULES, "track"),
        )
        stretches = {key: ranges_of(values.get(key), key) for key in ("ranges", "exclude")}
        if any(stretches.values()):
            _check_beside_ranges(next(key for key in stretches if stretches[key]), length, place)
        return Dub(
            dub=_dub_name(entry, number, of),
            speech=speech,
            output=output
            if "://" in output or output.startswith("/")
            else join(outputs, output)
            if outputs
            else output,
            language=language,
            length=length,
            audio=choice(values, "audio", AUDIO_RULES, "replace"),
            loudness=loudness_target(values),
            place=place,
            consent=consent_of(values.get("consent")),
            options=options,
            ranges=stretches["ranges"],
            exclude=stretches["exclude"],
            speakers=speakers,
            mixed=len(speakers) > 1 and not entry.get("mix"),
            error=f"{row_prefix(at)}{row_prefix(where)}{missing}" if missing else "",
        )
    except (RowError, ConfigError) as problem:
        raise RowError(f"{where}: {problem}" if where else str(problem)) from problem


def _heard(entry: Mapping[str, Any], speakers: Sequence[Speaker], folder: str) -> tuple[str, str]:
    """The file of a dub's sound, and what is wrong where it is missing; the first speaker's where their sum is to be heard."""
    if not speakers:
        return file_path(entry, "speech", folder)
    return file_path(entry, "mix", folder) if entry.get("mix") else (speakers[0].speech, "")


def _check_beside_ranges(key: str, length: str, place: str) -> None:
    """Refuse rules that say nothing of the sound outside a dub's ranges.

    Raises:
        RowError: naming the rule.
    """
    if length not in ("keep", "trim"):
        raise RowError(
            f"{key}: goes with length keep or trim, not with {length}: what is added has no place in the title"
        )
    if place != "track":
        raise RowError(f"{key}: goes with place track, not with {place}")


def _of_encoder(given: dict[str, Any], engine: Engine) -> dict[str, dict[str, Any]]:
    """Options of the encoder as those of the engine's last stage.

    Raises:
        RowError: that stage has no such option.
    """
    last = engine.stages[-1]
    known = type(last.options).__dataclass_fields__
    if unknown := [name for name in given if name not in known and name != "container"]:
        raise RowError(f"{unknown[0]}: engine {engine.name} encodes without such an option")
    kept = {name: value for name, value in given.items() if name in known}
    return {last.name: kept} if kept else {}


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
            raise RowError(f"{key}: must be a mapping of options, got {value!r}")
    return found
