"""Watermarks of a run's dubs: the key, and the options that the stages and the assembly get."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import os
import secrets
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from operators.watermark.keys import KEY_BYTES, MarkKey
from operators.watermark.learned import AUDIOSEAL, FILES
from pipelines.engine.engine import Engine
from pipelines.engine.profile_parts import WatermarkConfig
from pipelines.errors import UsageError
from pipelines.manifest.titles import Title, merged
from pipelines.provenance.home import provenance_home
from retalk_models.registry.errors import WeightsError
from retalk_models.registry.registry import check_files

#: The user's own key, in the folder of the signing identity; and the variable that takes its place.
OWN, VARIABLE = "watermark.key", "RETALK_WATERMARK_KEY"


def watermark_key(config: WatermarkConfig) -> MarkKey | None:
    """Return the key that dubs are marked with, None where they are not. The user's own is made if there is none yet.

    Raises:
        UsageError: it cannot be read, is no key, or others may read it.
    """
    return None if config.mode == "off" else read_key(config.key, make=True)


def read_key(place: str = "", make: bool = False) -> MarkKey:
    """Read a key.

    Args:
        place: path of its file, or ``env:NAME``; empty: ``RETALK_WATERMARK_KEY``, else the user's own.
        make: make the user's own if there is none yet.

    Raises:
        UsageError: it cannot be read, is no key, or others may read it.
    """
    if not place and os.environ.get(VARIABLE):
        place = f"env:{VARIABLE}"
    if place.startswith("env:"):
        name = place.removeprefix("env:")
        if not os.environ.get(name):
            raise UsageError(f"the watermark's key: the environment variable {name} is not set")
        return _parsed(os.environ[name], f"environment variable {name}")
    path = Path(place).expanduser() if place else provenance_home() / OWN
    if not place and make and not path.exists():
        _make(path)
    if not place and not path.exists():
        raise UsageError(
            f"this user has no watermark key yet ({path}); --watermark-key or ${VARIABLE} names another's"
        )
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        text = path.read_text("ascii")
    except (OSError, ValueError) as problem:
        reason = getattr(problem, "strerror", None) or "is no text"
        raise UsageError(f"{path}: the watermark's key cannot be read ({reason})") from problem
    if os.name == "posix" and mode & 0o077:
        raise UsageError(
            f"{path}: others may read the watermark's key (mode {mode:o}); run: chmod 600 {path}"
        )
    return _parsed(text, str(path))


def _parsed(text: str, where: str) -> MarkKey:
    try:
        return MarkKey(bytes.fromhex(text.strip()))
    except ValueError as problem:
        raise UsageError(f"{where}: a watermark's key is {2 * KEY_BYTES} hexadecimal digits") from problem


def _make(path: Path) -> None:
    """Write a new key, once: of several processes that try, the first one's stays."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(KEY_BYTES) + "\n")
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
    except OSError as problem:
        raise UsageError(
            f"{path}: the watermark's key cannot be written ({problem.strerror}). Set XDG_CONFIG_HOME to a folder that can be "
            "written (the signing keys lie there too), or name your own with --watermark-key, --sign-cert and --sign-key, or run with "
            "--watermark off --provenance off"
        ) from problem
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def check_learned(names: Iterable[str]) -> None:
    """Look for the package and the model files of learned marks.

    Raises:
        UsageError: some are missing.
    """
    for name in names:
        try:
            check_files([FILES[name][0]])
        except WeightsError as problem:
            raise UsageError(f"watermark {name}: {problem}") from problem
        if name == AUDIOSEAL and importlib.util.find_spec(name) is None:
            raise UsageError(f"watermark {name}: needs the package {name}; run: pip install {name}")


def watermarked(
    titles: Sequence[Title], engine: Engine, config: WatermarkConfig, key: MarkKey | None
) -> list[Title]:
    """Give the dubs of titles the watermark that was asked for. Stages whose options have no `Marking` leave pictures as
    they are; the speech is marked all the same.

    Args:
        titles: of the manifest.
        engine: whose last stage marks the pictures.
        config: what was asked for.
        key: to mark with; None: nothing is marked.

    Raises:
        UsageError: the whole picture is asked for, and the engine cannot mark pictures; or what a learned mark needs is not here.
    """
    if key is None:
        return list(titles)
    last, asked = engine.stages[-1], {"mode": config.mode, "strength": config.strength, "key": key.name}
    # Entries for what is not the usual way only: dubs that are done keep their keys.
    learned = {name: mark for name in ("speech", "picture") if (mark := getattr(config, name)) != "builtin"}
    check_learned(learned.values())
    asked |= learned
    options: dict[str, dict[str, Any]] = {}
    if "watermark" in type(last.options).__dataclass_fields__:
        values = {f"watermark_{name}": asked[name] for name in ("strength", "key")}
        if "picture" in learned:
            values["watermark_by"] = learned["picture"]
        options = engine.check_overrides({last.name: {"watermark": config.mode, **values}}, "watermark")
    elif config.mode == "frame":
        raise UsageError(f"watermark frame: engine {engine.name} encodes without marks; use on or off")
    return [
        dataclasses.replace(
            title,
            dubs=tuple(
                dataclasses.replace(dub, options=merged(options, dub.options), watermark=asked)
                for dub in title.dubs
            ),
        )
        for title in titles
    ]
