"""Files of a data set: settings, shards with their receipts, and the index; docs/training-data.md#files.

A shard appears whole or not at all, and its receipt after it: what has a receipt is never computed again.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter, ValidationError

from operators.storage.files import atomic_write, filesystem, join
from pipelines.errors import UsageError
from pipelines.state.run_directory import (
    read_checksummed,
    read_json,
    write_checksummed,
    write_table,
    write_text,
)
from pipelines.training.data.schema import ABOUT, CLIP, FORMAT, INDEX, to_table

Clip = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of a data set; written to `prepare.json`, they decide its shards.

    Attributes:
        heads: side of the head crops in pixels (D-Net, talkin: 256), 0 without.
        faces: side of the face crops in pixels (L-Net, sync: 96; E-Net: 384), 0 without.
        quality: of the JPEGs, 1 ... 100.
        least_seconds, most_seconds: length of a clip.
        least_face: width of a face in the source below which it is too small, pixels.
        sync: what measures and corrects the offset of sound and picture; "auto": the expert where its weights are
            here, else landmarks.
        keep_out_of_sync: keep clips whose offset cannot be told.
        people: "given": identities are those of the data set's names; "faces": videos that show the same face are
            one identity.
        coefficients: 3DMM coefficients; "auto": where the weights are here.
        weights: home of other model files than the official ones; "": the usual home.
        sources_per_shard: videos of a shard.
        validation, test: shares of identities that are held out.
        seed: of the splits.
    """

    heads: int = 256
    faces: int = 96
    quality: int = 95
    least_seconds: float = 1.0
    most_seconds: float = 5.0
    least_face: float = 48.0
    sync: Literal["auto", "expert", "landmarks", "off"] = "auto"
    keep_out_of_sync: bool = False
    people: Literal["given", "faces"] = "given"
    coefficients: Literal["auto", "on", "off"] = "auto"
    weights: str = ""
    sources_per_shard: int = 8
    validation: float = 0.05
    test: float = 0.05
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """Something that is not in the data set.

    Attributes:
        source: name of the video.
        reason: the same words for the same reason, so that they can be counted.
        detail: more, for a reader.
        seconds: of video.
    """

    source: str
    reason: str
    detail: str = ""
    seconds: float = 0.0


@dataclasses.dataclass
class Receipt:
    """A finished shard.

    Attributes:
        clips: columns `ABOUT` of each clip, in the order of the row groups.
        left_out: what was left out.
        seconds: of video that were looked at.
        descriptors: by source, 128 numbers of the face, for identities.
        measured: which means were used: "expert" or "landmarks", "coefficients".
    """

    clips: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    left_out: list[LeftOut] = dataclasses.field(default_factory=list)
    seconds: float = 0.0
    descriptors: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    measured: list[str] = dataclasses.field(default_factory=list)


_RECEIPT = TypeAdapter(Receipt)
_SETTINGS = TypeAdapter(Settings)


class DataSet:
    """A data set at an fsspec URL."""

    def __init__(self, url: str) -> None:
        self.url = str(url).rstrip("/") or "/"

    def file(self, *parts: str) -> str:
        """URL of a file or folder in it."""
        return join(self.url, *parts)

    def shard(self, name: str) -> str:
        """URL of a shard's Parquet file."""
        return self.file("shards", f"{name}.parquet")

    def settings(self) -> Settings | None:
        """Settings that it was begun with; None where there is no data set.

        Raises:
            UsageError: the format is another, or the file is damaged.
        """
        content = read_json(self.file("prepare.json"))
        if content is None:
            return None
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise UsageError(
                f"{self.file('prepare.json')}: not of format {FORMAT}; prepare the data set again in another folder"
            )
        try:
            return _SETTINGS.validate_python(content["settings"])
        except (KeyError, ValidationError) as problem:
            raise UsageError(f"{self.file('prepare.json')}: damaged ({problem})") from problem

    def begin(self, settings: Settings, about: Mapping[str, Any]) -> None:
        """Write the settings, or hold them against those that are there.

        Raises:
            UsageError: the folder holds a data set with other settings or sources; names what differs.
        """
        there = read_json(self.file("prepare.json"))
        wanted = {"format": FORMAT, "settings": dataclasses.asdict(settings), **about}
        if there is None:
            write_text(self.file("prepare.json"), json.dumps(wanted, indent=1))
            return
        self.settings()
        flat = [
            {**{k: v for k, v in one.items() if k != "settings"}, **one["settings"]}
            for one in (there, json.loads(json.dumps(wanted)))
        ]
        if different := sorted(
            k for k in flat[0].keys() | flat[1].keys() if flat[0].get(k) != flat[1].get(k)
        ):
            raise UsageError(
                f"{self.url}: holds a data set that was prepared otherwise (different: {', '.join(different)}); "
                "give the same options to go on, or another folder"
            )

    def receipt(self, name: str) -> Receipt | None:
        """Receipt of a finished shard; None where there is none or its file is gone."""
        content = read_checksummed(self.file("shards", f"{name}.json"))
        fs, path = filesystem(self.shard(name))
        return None if content is None or not fs.exists(path) else _RECEIPT.validate_python(content)

    def write_shard(self, name: str, clips: Iterable[Clip], receipt: Receipt) -> Receipt:
        """Write a shard, a row group for each clip, one clip in memory at a time, and then its receipt.

        Args:
            name: of the shard.
            clips: rows of `CLIP`; `Receipt.clips` is filled with their columns `ABOUT`.
            receipt: the rest of it, complete when the clips are exhausted.
        """
        with (
            atomic_write(self.shard(name)) as path,
            pq.ParquetWriter(path, CLIP, compression="zstd") as writer,
        ):
            for clip in clips:
                writer.write_table(to_table(clip), row_group_size=1)
                receipt.clips.append({column: clip[column] for column in ABOUT.names})
        write_checksummed(self.file("shards", f"{name}.json"), _RECEIPT.dump_python(receipt, mode="json"))
        return receipt

    def write_index(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write the index: rows of `INDEX`."""
        write_table(self.file("index.parquet"), pa.Table.from_pylist(list(rows), schema=INDEX))

    def index(self) -> pa.Table:
        """The index: a row of `INDEX` for each clip in use.

        Raises:
            UsageError: there is no finished data set.
        """
        self.settings()
        fs, path = filesystem(self.file("index.parquet"))
        if not fs.exists(path):
            raise UsageError(
                f"{self.url}: holds no finished data set (no index.parquet); run `retalk train prepare` to its end"
            )
        with fs.open(path, "rb") as file:
            return pq.read_table(file, schema=INDEX)


def indexed(name: str, receipt: Receipt) -> Iterator[dict[str, Any]]:
    """Rows of `INDEX` of a shard's clips, the split still empty."""
    for number, clip in enumerate(receipt.clips):
        yield {**clip, "split": "", "shard": f"{name}.parquet", "row_group": number}
