"""Columns of a prepared data set, and the files that it consists of; docs/training-data.md.

A row is a clip: consecutive frames of one face in one shot, at 25 frames a second, with the sound that belongs to them.
Arrays are flat Arrow lists; the metadata of a field keep dtype and shape. Axes: N frames, M mel columns, S samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from operators.retalk.mel import BANDS, CHUNK, COLUMNS_PER_SECOND, HOP, SAMPLE_RATE

#: Version of the format, in `prepare.json`; a reader refuses another.
FORMAT = 1
#: Frames a second of every clip.
RATE = 25
#: Mel columns and samples of the sound before a clip's first frame and after its last one.
MARGIN = CHUNK
SOUND_MARGIN = MARGIN * HOP
#: Mel columns a frame.
COLUMNS_PER_FRAME = COLUMNS_PER_SECOND / RATE
#: Samples a frame.
SAMPLES_PER_FRAME = SAMPLE_RATE // RATE
#: Numbers of a row of 3DMM coefficients: 257 of the network, width, height, scale, tx, ty of the crop.
COEFFICIENTS = 262
#: Columns that hold pictures, a JPEG for each frame.
PICTURES = ("heads", "faces")
SPLITS = ("train", "validation", "test")


def array(name: str, dtype: str, *shape: int | str) -> pa.Field:
    """Declare a column of arrays.

    Args:
        name: of the column.
        dtype: NumPy's name.
        shape: sizes; the first may be an axis: "N", "M" or "S".
    """
    metadata = {b"dtype": dtype.encode(), b"shape": ",".join(map(str, shape)).encode()}
    return pa.field(name, pa.list_(pa.from_numpy_dtype(np.dtype(dtype))), nullable=False, metadata=metadata)


def _plain(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)


#: What is known of a clip beside its arrays; the index holds these columns too.
ABOUT = pa.schema(
    [
        _plain("id", pa.string()),  # SOURCE/shot/clip, unique
        _plain("source", pa.string()),  # name of the video in the data set
        _plain("identity", pa.string()),  # of the person; splits go by it
        _plain("shot", pa.int32()),  # number of the shot in the source
        _plain("first", pa.int64()),  # number of the clip's first frame in the source
        _plain("frames", pa.int32()),  # N
        _plain("face", pa.float32()),  # median width of the face, pixels of the source
        _plain(
            "sync_by", pa.string()
        ),  # what measured the offset: "expert", "landmarks", "" where nothing did
        _plain("sync_offset", pa.float32()),  # frames by which the picture was late; the sound has been moved
        _plain("sync_confidence", pa.float32()),
        _plain("signature", pa.string()),  # of picture and sound; equal for copies
    ]
)
#: A row of a shard.
CLIP = pa.schema(
    [
        *ABOUT,
        _plain("heads", pa.list_(pa.binary())),  # JPEG of each frame's head, side settings.heads; [] if 0
        _plain("faces", pa.list_(pa.binary())),  # JPEG of each frame's face, side settings.faces; [] if 0
        array("head_boxes", "float32", "N", 4),  # x1, y1, x2, y2 in the source, pixels; may leave the picture
        array("face_boxes", "float32", "N", 4),  # x1, y1, x2, y2 in the source, pixels; not square
        array("landmarks", "float32", "N", 68, 2),  # iBUG order, pixels of the source
        array("coefficients", "float32", "N", COEFFICIENTS),  # empty where the weights were missing
        array("mel", "float32", "M", BANDS),  # -4 ... 4; column MARGIN is at the first frame
        array("sound", "int16", "S"),  # mono, 16 kHz; sample SOUND_MARGIN is at the first frame
    ]
)
#: A row of `index.parquet`: a clip in use, and where it lies.
INDEX = pa.schema(
    [
        *ABOUT,
        _plain("split", pa.string()),  # one of SPLITS
        _plain("shard", pa.string()),  # name of the file in the folder `shards`
        _plain("row_group", pa.int32()),  # a row group holds one clip
    ]
)


def mel_columns(frames: int) -> int:
    """M of a clip of so many frames."""
    return MARGIN + int(np.ceil(frames * COLUMNS_PER_FRAME)) + MARGIN


def sound_samples(frames: int) -> int:
    """S of a clip of so many frames."""
    return SOUND_MARGIN + frames * SAMPLES_PER_FRAME + SOUND_MARGIN


def mel_chunks(mel: np.ndarray, start: int, frames: int) -> np.ndarray:
    """Return the 16 mel columns from each frame on, as L-Net, Wav2Lip and the sync expert hear them.

    Args:
        mel: float32[M, 80] of a whole clip.
        start: first frame that is asked for, counted in the clip.
        frames: number of frames n.

    Returns:
        float32[n, 80, 16].
    """
    first = MARGIN + np.floor((start + np.arange(frames)) * COLUMNS_PER_FRAME + 1e-6).astype(np.int64)
    return np.ascontiguousarray(mel[first[:, None] + np.arange(CHUNK)].transpose(0, 2, 1))


def shape_of(field: pa.Field) -> tuple[np.dtype, tuple[int, ...]] | None:
    """Dtype and shape of a column of arrays, -1 for its axis; None for other columns."""
    if not field.metadata or b"shape" not in field.metadata:
        return None
    sizes = field.metadata[b"shape"].decode().split(",")
    return np.dtype(field.metadata[b"dtype"].decode()), tuple(
        int(size) if size.isdigit() else -1 for size in sizes
    )


def check_clip(clip: Mapping[str, Any]) -> None:
    """Hold a clip against `CLIP`.

    Raises:
        ValueError: a column is missing or unknown, or an array has another dtype or shape than its column, or another
            number of frames than the clip; names clip and column.
    """
    name, frames = clip.get("id", "a clip without id"), int(clip.get("frames", 0))
    if missing := sorted(set(CLIP.names) - set(clip)):
        raise ValueError(f"{name}: columns {missing} are missing")
    if extra := sorted(set(clip) - set(CLIP.names)):
        raise ValueError(f"{name}: columns {extra} are unknown")
    sizes = {"M": mel_columns(frames), "S": sound_samples(frames)}
    for field in CLIP:
        value = clip[field.name]
        if field.name in PICTURES and len(value) not in (0, frames):
            raise ValueError(f"{name}: column {field.name!r} has {len(value)} pictures for {frames} frames")
        if (spec := shape_of(field)) is None:
            continue
        dtype, shape = spec
        axis = field.metadata[b"shape"].decode().split(",")[0]
        expected = (sizes.get(axis, frames), *shape[1:])
        empty = field.name == "coefficients" and np.shape(value) == (0, *shape[1:])
        if (
            not isinstance(value, np.ndarray)
            or value.dtype != dtype
            or (value.shape != expected and not empty)
        ):
            got = (
                f"{value.dtype}{list(value.shape)}" if isinstance(value, np.ndarray) else type(value).__name__
            )
            raise ValueError(f"{name}: column {field.name!r} must be {dtype}{list(expected)}, got {got}")


def to_table(clip: Mapping[str, Any]) -> pa.Table:
    """Return a clip as an Arrow table of one row.

    Raises:
        ValueError: see `check_clip`.
    """
    check_clip(clip)
    columns = []
    for field in CLIP:
        value = clip[field.name]
        if shape_of(field) is None:
            columns.append(pa.array([value], field.type))
        else:
            flat = pa.array(np.ascontiguousarray(value).reshape(-1))
            columns.append(pa.ListArray.from_arrays(pa.array([0, len(flat)], pa.int32()), flat))
    return pa.Table.from_arrays(columns, schema=CLIP)


def from_table(table: pa.Table, columns: Iterable[str]) -> dict[str, Any]:
    """Return columns of a table of one row: arrays in their shapes, pictures as a list of JPEG files, the rest as they are."""
    row: dict[str, Any] = {}
    for name in columns:
        spec, value = shape_of(CLIP.field(name)), table.column(name)[0]
        if spec is None:
            row[name] = value.as_py()
        else:
            dtype, shape = spec
            row[name] = value.values.to_numpy(zero_copy_only=False).astype(dtype, copy=False).reshape(shape)
    return row
