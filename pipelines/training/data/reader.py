"""Clips of a prepared data set as a PyTorch data set: no Ray, any fsspec URL, only the columns that are wanted."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch.utils.data

from operators.storage.files import filesystem
from pipelines.errors import UsageError
from pipelines.training.data.collection import check_splits, data_sets
from pipelines.training.data.schema import CLIP, PICTURES, SPLITS, from_table, mel_chunks, shape_of

#: Clips whose undecoded columns are kept, and files that are kept open.
KEPT_CLIPS, KEPT_FILES = 16, 16


class ClipSet(torch.utils.data.Dataset[dict[str, Any]]):
    """Clips of one split; item i is a dict of the wanted columns.

    Pictures are decoded: uint8[n, side, side, 3] RGB. With the column ``mel`` comes ``mel_chunks``, float32[n, 80, 16]: what is heard
    from each frame on (`schema.mel_chunks`); ``mel`` and ``sound`` themselves are the whole clip's. The other arrays have a row for
    each frame asked for.

    Pickles without its open files, so that workers of a `torch.utils.data.DataLoader` open their own.

    Args:
        url: of the data set, or a manifest of several (`collection.data_sets`).
        split: "train", "validation", "test", or None for all clips.
        columns: of `schema.CLIP`; None: all.
        least_frames: shorter clips are passed over.

    Raises:
        UsageError: there is no finished data set, the split or a column is unknown, no clip is left, or somebody is in two splits.
    """

    def __init__(
        self, url: str, split: str | None = None, columns: Sequence[str] | None = None, least_frames: int = 1
    ) -> None:
        self.sets = data_sets(url)
        if split is not None and split not in SPLITS:
            raise UsageError(f"{url}: no split {split!r}; there are {', '.join(SPLITS)}")
        self.columns = list(CLIP.names if columns is None else columns)
        if unknown := sorted(set(self.columns) - set(CLIP.names)):
            raise UsageError(f"{url}: clips have no columns {unknown}; they have {', '.join(CLIP.names)}")
        indices = [one.index() for one in self.sets]
        check_splits(self.sets, indices)
        index = pa.concat_tables(
            one.append_column("set", pa.array([number] * len(one), pa.int32()))
            for number, one in enumerate(indices)
        )
        if split is not None:
            index = index.filter(pc.equal(index["split"], split))
        self.index: pa.Table = index.filter(pc.greater_equal(index["frames"], least_frames))
        if not len(self.index):
            raise UsageError(
                f"{url}: no clip of {least_frames} frames or more"
                f"{f' in the split {split!r}' if split else ''}; see its statistics.md"
            )
        self.frames = self.index["frames"].to_numpy()
        self.identities = self.index["identity"].to_pylist()
        self._clips: OrderedDict[int, dict[str, Any]] = OrderedDict()
        self._files: OrderedDict[str, pq.ParquetFile] = OrderedDict()  # by URL

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, number: int) -> dict[str, Any]:
        return self.read(number)

    def read(self, number: int, start: int = 0, frames: int | None = None) -> dict[str, Any]:
        """Return frames [start, start + frames) of a clip, decoding no other pictures.

        Raises:
            IndexError: there is no such clip, or it is shorter.
        """
        if not 0 <= number < len(self):
            raise IndexError(f"clip {number} of {len(self)}")
        count = int(self.frames[number]) - start if frames is None else frames
        if start < 0 or count < 1 or start + count > self.frames[number]:
            raise IndexError(
                f"{self.index['id'][number]}: has {self.frames[number]} frames, asked for {start} to {start + count}"
            )
        row = dict(self._row(number))
        for name, value in list(row.items()):
            if name in PICTURES:
                row[name] = decoded(value[start : start + count])
            elif name == "mel":
                row["mel_chunks"] = mel_chunks(value, start, count)
            elif (spec := shape_of(CLIP.field(name))) is not None and name != "sound" and len(spec[1]) > 1:
                row[name] = value[start : start + count]
        return {**row, "start": start, "frames": count}

    def _row(self, number: int) -> dict[str, Any]:
        """The undecoded columns of a clip; the last few are kept."""
        if number not in self._clips:
            data = self.sets[self.index["set"][number].as_py()]
            file = self._file(data.file("shards", self.index["shard"][number].as_py()))
            table = file.read_row_group(self.index["row_group"][number].as_py(), columns=self.columns)
            self._clips[number] = from_table(table, self.columns)
            while len(self._clips) > KEPT_CLIPS:
                self._clips.popitem(last=False)
        self._clips.move_to_end(number)
        return self._clips[number]

    def _file(self, url: str) -> pq.ParquetFile:
        if url not in self._files:
            fs, path = filesystem(url)
            self._files[url] = pq.ParquetFile(fs.open(path, "rb"))
            while len(self._files) > KEPT_FILES:
                self._files.popitem(last=False)[1].close(force=True)
        self._files.move_to_end(url)
        return self._files[url]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_clips": OrderedDict(), "_files": OrderedDict()}


def encoded(pictures: np.ndarray, quality: int) -> list[bytes]:
    """JPEG files of pictures uint8[n, h, w, 3] RGB, colour at full resolution."""
    flags = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x111111]
    return [
        cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), flags)[1].tobytes()
        for picture in pictures
    ]


def decoded(files: Sequence[bytes]) -> np.ndarray:
    """Pictures uint8[n, h, w, 3] RGB of JPEG files; uint8[0, 0, 0, 3] of none.

    Raises:
        ValueError: a picture is damaged.
    """
    if not files:
        return np.zeros((0, 0, 0, 3), np.uint8)
    pictures = []
    for file in files:
        picture = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR)
        if picture is None:
            raise ValueError(f"a picture of {len(file)} bytes is no JPEG: prepare the shard again")
        pictures.append(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
    return np.stack(pictures)
