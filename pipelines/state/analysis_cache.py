"""The analysis cache: results of stages that run once per segment, kept for later runs, such as one that adds
a language to a title.

One Arrow IPC file (zstd) for each stage and segment, under ``analysis/`` of the run directory or of another
folder that runs share. Its name carries a hash of all that decides its content: the video's identity, shot,
segment and halo, the anchor, the stage and those before it with their options and devices, the model files,
the code and the libraries. Its content has a checksum: a file that is damaged or belongs to another
segment is not used, and the stage runs.

Columns that hold pixels are large and mostly cheap to make again, so a stage is cached only if its columns
need at most `bytes_per_frame`.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from operators.columns import tensor_spec
from operators.segment import Segment
from operators.storage.files import atomic_write, exists, filesystem, fingerprint, join
from operators.storage.redact import redact
from pipelines.engine.engine import Engine
from pipelines.engine.rows import Row, from_table, to_table
from pipelines.engine.specs import CacheSpec
from pipelines.state.content_keys import analysis_ingredients, content_key
from pipelines.state.coordinator import CoordinatorProtocol
from pipelines.state.run_directory import REJECTED_STATE, slug

logger = logging.getLogger(__name__)

FOLDER = "analysis"
ZSTD = pa.ipc.IpcWriteOptions(compression="zstd")


def cache_room(url: str, max_gib: float) -> float:
    """Bytes that may still be added to a cache folder."""
    fs, path = filesystem(join(url, FOLDER))
    return max_gib * (1 << 30) - (fs.du(path) if fs.isdir(path) else 0)


class AnalysisCache:
    """Reads and writes cached columns for one worker.

    Args:
        spec: where.
        engine: whose stages.
        coordinator: says whether there is room for a file.
    """

    def __init__(self, spec: CacheSpec, engine: Engine, coordinator: CoordinatorProtocol) -> None:
        self.spec, self.engine, self.coordinator = spec, engine, coordinator

    def load(self, index: int, row: Row, notes: list[str]) -> dict[str, Any] | None:
        """The columns of the engine's stage at `index` for a row; None where they are not there, damaged or
        another's.

        Notes of the stage that computed them are added to `notes`, and so is the refusal of a file.
        """
        url, key = self.place(index, row)
        if not exists(url):
            return None
        fs, path = filesystem(url)
        schema = self.engine.stages[index].stage.writes
        try:
            table = pa.ipc.open_file(pa.BufferReader(fs.cat_file(path))).read_all()
            stated = json.loads((table.schema.metadata or {})[b"retalk"])
            columns = from_table(table.cast(schema), schema)
            noted = [str(note) for note in stated["notes"]]
            if stated == {"key": key, "notes": noted, "sha256": digest(columns, schema, noted)}:
                notes += noted
                return columns
            problem = "another key or checksum"
        except (
            OSError,
            ValueError,
            KeyError,
            IndexError,
            TypeError,
        ) as error:  # Arrow's errors are of these kinds
            problem = f"damaged ({type(error).__name__})"
        notes.append(
            f"{REJECTED_STATE}cached analysis {url.rsplit('/', 1)[-1]}: {problem}: the work is done again"
        )
        return None

    def save(self, index: int, row: Row, columns: Mapping[str, Any], notes: Sequence[str] = ()) -> None:
        """Keep a stage's columns and what it noted about them, unless they are large or the cache is full."""
        schema = self.engine.stages[index].stage.writes
        frames = int(row["halo_stop"]) - int(row["halo_start"])
        size = sum(value.nbytes for value in columns.values() if isinstance(value, np.ndarray))
        if size > self.spec.bytes_per_frame * frames or not self.coordinator.claim(size):
            return
        url, key = self.place(index, row)
        noted = [note for note in notes if not note.startswith(REJECTED_STATE)]
        stated = {"key": key, "notes": noted, "sha256": digest(columns, schema, noted)}
        table = to_table(columns, schema).replace_schema_metadata({b"retalk": json.dumps(stated).encode()})
        try:
            with (
                atomic_write(url) as path,
                pa.OSFile(str(path), "wb") as sink,
                pa.ipc.new_file(sink, table.schema, options=ZSTD) as writer,
            ):
                writer.write_table(table)
        except OSError as problem:
            # A later run computes it again; this one has what it needs.
            logger.warning("%s: analysis cannot be kept (%s)", url, problem)

    def place(self, index: int, row: Row) -> tuple[str, str]:
        """URL and key of the file of a stage and row."""
        video = _fingerprint(row["video"])
        segment = Segment(row)
        stages = [(spec, spec.stage.options_for(segment)) for spec in self.engine.stages[: index + 1]]
        key = content_key(analysis_ingredients(stages, row, video, self.spec.provenance))
        folder = f"{slug(redact(str(row['video'])).rsplit('/', 1)[-1])}-{content_key(video)[:8]}"
        name = f"{self.engine.names[index]}-{int(row['segment']):05d}-{key}.arrow"
        return join(self.spec.url, FOLDER, folder, name), key


def digest(columns: Mapping[str, Any], schema: pa.Schema, notes: Sequence[str] = ()) -> str:
    """SHA-256 of columns (names, types, shapes and values) and notes."""
    sha = hashlib.sha256(json.dumps(list(notes)).encode() if notes else b"")
    for field in schema:
        value = columns[field.name]
        if tensor_spec(field) is None:
            sha.update(f"{field.name} {field.type} {value!r};".encode())
        else:
            sha.update(f"{field.name} {value.dtype} {value.shape};".encode())
            sha.update(np.ascontiguousarray(value).data)
    return sha.hexdigest()


@functools.lru_cache(maxsize=256)
def _fingerprint(url: str) -> tuple[str, int, str]:
    """The video's identity; a worker gets many segments of one video, and lives no longer than a run."""
    return fingerprint(url)
