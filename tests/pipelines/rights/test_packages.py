"""Packages and native libraries of this installation: what they need, their licences, the build of FFmpeg."""

from __future__ import annotations

import hashlib
import importlib.metadata
from email.message import Message
from typing import Any

import av
import pytest

from pipelines.rights.packages import (
    FFMPEG,
    NativeLibrary,
    closure,
    ffmpeg_note,
    licence_of,
    native_libraries,
    packages,
)


def distribution(**fields: Any) -> Any:
    """A distribution with this metadata."""

    class Made:
        metadata = Message()

    for name, value in fields.items():
        for one in value if isinstance(value, list) else [value]:
            Made.metadata[name.replace("_", "-")] = one
    return Made


@pytest.mark.parametrize(
    ("fields", "licence"),
    [
        ({"License_Expression": "MIT AND Zlib", "License": "other"}, "MIT AND Zlib"),
        ({"License": "BSD"}, "BSD"),
        (
            {"License": "A licence\nof many lines", "Classifier": ["License :: OSI Approved :: MIT License"]},
            "MIT License",
        ),
        (
            {
                "Classifier": [
                    "License :: OSI Approved",
                    "License :: OSI Approved :: BSD License",
                    "Topic :: X",
                ]
            },
            "BSD License",
        ),
        ({"License": "A licence\nof many lines"}, "A licence"),
        ({}, ""),
    ],
)
def test_the_licence_of_a_package(fields: dict[str, Any], licence: str) -> None:
    assert licence_of(distribution(**fields)) == licence


def test_the_closure_has_what_is_needed_and_no_more() -> None:
    found = {package.name: package for package in packages(closure())}
    assert found["av"].version == importlib.metadata.version("av")
    assert {"retalk-dub", "numpy", "torch", "ray", "pyarrow", "pandas"} <= found.keys(), (
        "needs of needs, and of extras"
    )
    assert not {"pytest", "ruff", "pip"} & found.keys(), "tools of the developers are no part of a run"
    assert list(found) == sorted(found)
    assert [package.name for package in packages(closure(["pydantic"]))] == sorted(
        ["annotated-types", "pydantic", "pydantic-core", "typing-extensions", "typing-inspection"]
    )
    assert closure(["no-such-package"]) == []


def test_native_libraries_of_pyav_say_their_build() -> None:
    (package,) = (one for one in closure(["av"]) if one.metadata["Name"] == "av")
    found = {library.name: library for library in native_libraries([package])}
    if not set(FFMPEG) <= found.keys():
        pytest.skip("this PyAV uses the system's FFmpeg")
    codec = found["libavcodec"]
    assert codec.version == ".".join(map(str, av.library_versions["libavcodec"]))
    assert "GPL" in codec.licence
    assert "--" in codec.build
    place = next(file for file in package.files or () if file.name.startswith("libavcodec"))
    with open(str(place.locate()), "rb") as file:
        assert hashlib.sha256(file.read()).hexdigest() == codec.sha256


def test_a_build_with_gpl_parts_is_said() -> None:
    def library(name: str, package: str) -> NativeLibrary:
        return NativeLibrary(name, "1", "", "", package)

    assert "in av with libx264 and libx265" in ffmpeg_note(
        [library("libx265", "av"), library("libx264", "av")]
    )
    assert "(in decord with libx264)" in ffmpeg_note([library("libx264", "decord"), library("libopus", "av")])
    assert ffmpeg_note([library("libopus", "av")]) == ""
