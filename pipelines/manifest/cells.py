"""Values of a manifest's row: texts, choices, languages, files. Each function raises `RowError` if a value is none of
its kind.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from operators.media.codec_names import FIXED, encoding_problem, hardware_needs, without_effect
from operators.media.languages import language_problem
from operators.media.loudness_target import loudness_problem
from operators.storage.files import (
    WINDOWS_ADVICE,
    exists,
    is_chain,
    is_known_kind,
    is_url,
    is_windows_path,
    join,
    local_path,
    normalized,
)
from pipelines.manifest.titles import FACES, NO_TEXT, face_problem, name_problem


class RowError(ValueError):
    """One row cannot be used."""


def word(row: Mapping[str, Any], key: str, default: str) -> str:
    """A text, or a number as a text."""
    value = row.get(key, default)
    if not isinstance(value, (str, int)) or isinstance(value, bool):
        raise RowError(f"{key}: must be a text, got {value!r}")
    if NO_TEXT.search(str(value)):
        raise RowError(f"{key}: {value!r} is not Unicode text")
    return str(value).strip()


def choice(row: Mapping[str, Any], key: str, allowed: Sequence[str], default: str) -> Any:
    """One of the allowed texts."""
    value = word(row, key, default)
    if value not in allowed:
        raise RowError(f"{key}: must be one of {', '.join(allowed)}, got {value!r}")
    return value


def loudness_target(row: Mapping[str, Any]) -> str:
    """ "off", "source" or a number of LUFS, which may stand in a row as a number."""
    value = row.get("loudness", "off")
    loudness = f"{value:g}" if isinstance(value, float) else word(row, "loudness", "off")
    if problem := loudness_problem(loudness):
        raise RowError(f"loudness: {problem}")
    return loudness


def encoding(row: Mapping[str, Any], container: str) -> dict[str, Any]:
    """Options of the encoder that a row gives; those it does not give are left out.

    Args:
        row: its values.
        container: of the output, see `operators.media.codec_names.container_of`.
    """
    given: dict[str, Any] = {}
    for key in ("codec", "bitrate", "preset"):
        if row.get(key) not in (None, ""):
            given[key] = word(row, key, "")
    if row.get("crf") not in (None, ""):
        try:
            given["crf"] = float(row["crf"])
        except (TypeError, ValueError):
            raise RowError(f"crf: must be a number, got {row['crf']!r}") from None
    if problem := encoding_problem(**given, container=container) or without_effect(given):
        raise RowError(problem)
    if hardware_needs(given.get("codec", "")):
        # Imported here: FFmpeg is not needed for the others, which every build of it has.
        from operators.media.encoders import missing_encoder, unopened_encoder

        # Where a Ray is joined, other machines encode.
        here = not os.environ.get("RAY_ADDRESS")
        if problem := missing_encoder(given["codec"]) or (unopened_encoder(given["codec"]) if here else ""):
            raise RowError(problem)
    return given


#: Values that have no effect beside another one: the more particular of the two counts.
_INSTEAD_OF = {"crf": ("bitrate",), "bitrate": ("crf",), "keep": ("place", "loudness")}
_INSTEAD_OF |= dict.fromkeys(FIXED, ("crf",))


def in_effect(*levels: Mapping[str, Any]) -> dict[str, Any]:
    """Values of a row, from those for all rows to its own: each level replaces what it contradicts."""
    values: dict[str, Any] = {}
    for level in levels:
        for name, value in level.items():
            if value not in (None, ""):
                for other in _INSTEAD_OF.get(str(value) if name in ("audio", "codec") else name, ()):
                    values.pop(other, None)
        values |= level
    return values


def check_sound(values: Mapping[str, Any]) -> None:
    """Refuse rules for the sound of a speech that is not written."""
    if values.get("audio") != "keep":
        return
    for name, usual in (("place", "track"), ("loudness", "off")):
        if (value := values.get(name)) not in (None, "", usual):
            raise RowError(f"{name} {value}: audio keep writes no speech; choose audio replace or add")


def language_code(row: Mapping[str, Any], default: str) -> str:
    """The code of a language that is known; "" for none."""
    language = word(row, "language", default)
    if language and (problem := language_problem(language)):
        raise RowError(f"language: {problem}")
    return language


def face_choice(row: Mapping[str, Any], default: str, words: Sequence[str] = FACES) -> str:
    """A choice of a face: a word, of which some may be all that are offered, a number, or the path of a picture."""
    face = word(row, "face", default)
    if problem := face_problem(face, words):
        raise RowError(f"face: {problem}")
    return face


def file_path(row: Mapping[str, Any], key: str, folder: str) -> tuple[str, str]:
    """A file of a row, and what is wrong where it lies in none of the places that a relative path may mean."""
    value = row.get(key)
    if value is None or value == "" or (isinstance(value, str) and not value.strip()):
        raise RowError(f"{key}: is missing")
    if not isinstance(value, str):
        raise RowError(f"{key}: must be the path or URL of a file, got {value!r}")
    check_name(key, value)
    return resolve(value.strip(), folder, key)


def check_name(key: str, value: str) -> None:
    """Refuse what can be no file's name here. Nothing is opened."""
    if wrong := name_problem(value):
        raise RowError(f"{key}: {value[:80]!r} {wrong}; rename the file")
    if is_windows_path(value):
        raise RowError(f"{key}: {value}: {WINDOWS_ADVICE}")
    *wrappers, target = value.split("::") if is_chain(value) else [value]
    schemes = [part.partition("://")[0] for part in (*wrappers, *([target] if "://" in target else []))]
    for scheme in schemes:
        if not is_known_kind(scheme):
            raise RowError(f"{key}: {value}: unknown kind of URL {scheme!r}")


def printable(text: str) -> str:
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
    if is_url(path) or path.startswith("/"):
        return path, ""  # a URL: not even looked at here, for it may lie outside the roots
    local = local_path(path)
    here = normalized(str(local.absolute())) if local is not None else path
    if not folder:
        return here, ""
    if exists(join(folder, path)):
        return normalized(join(folder, path)), ""
    # A path that leads out of a folder is not looked for: it may lie outside the roots, and the message would tell
    # whether it is there.
    if ".." in path.split("/") or exists(here):
        return here, ""
    places = f"{folder} (the manifest's folder)"
    if here != join(folder, path):
        places = f"{places} or in {Path.cwd()} (the working directory)"
    return here, f"{key}: {path}: no such file in {places}"
