"""Specifications of planners and workers: plain data, and no library that takes long to import.

A worker unpickles its specification before any code of its own runs, and reports that it is starting before
it imports more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from operators.media.limits import DEFAULT_LIMITS, MediaLimits
from pipelines.engine.config import EngineConfig


@dataclass(frozen=True)
class Provenance:
    """Ingredients of results beside titles and options, as the driver has found them
    (`pipelines.state.content_keys.provenance_of`).

    Attributes:
        version: of this package.
        code: SHA-256 of source code, by package.
        libraries: versions, by distribution.
        devices: of each stage, by its name.
        weights: digests of model files, by their home ("": the usual one) and name.
    """

    version: str
    code: Mapping[str, str]
    libraries: Mapping[str, str]
    devices: Mapping[str, str]
    weights: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class PlanSpec:
    """Specification of a planner, as plain data."""

    engine: EngineConfig
    run: str
    segment_frames: int
    cache: str = ""  # folder for shots and anchors; "": the run directory
    limits: MediaLimits = DEFAULT_LIMITS
    provenance: Provenance | None = None  # None: the planner looks, and all stages run on the CPU


@dataclass(frozen=True)
class CacheSpec:
    """Specification of the analysis cache, as plain data.

    Attributes:
        url: folder (the run directory, or one that several runs share); the files lie in its ``analysis/``.
        provenance: part of the files' names.
        bytes_per_frame: stages with larger columns are not cached.
    """

    url: str
    provenance: Provenance
    bytes_per_frame: int


@dataclass(frozen=True)
class GroupSpec:
    """Specification of a worker, as plain data that can be sent to any process."""

    engine: EngineConfig
    stages: tuple[str, ...]
    run: str
    device: str = "cpu"
    isolated: bool = False  # the process is the worker's own
    cache: CacheSpec | None = None
    mark_secret: bytes = field(default=b"", repr=False)  # the watermark's key; empty: none
    block_segments: int = 1  # segments of the profile's length that a block behind it may have the size of
