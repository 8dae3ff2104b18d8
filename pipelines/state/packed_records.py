"""Records of a large run in little memory."""

from __future__ import annotations

import pickle
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import overload

from pipelines.state.run_directory import Record

#: Bytes at the end of a dictionary that zlib looks at.
WINDOW = 32 << 10


class PackedRecords(Mapping[tuple[str, str], Record]):
    """Records by title and dub, each compressed: some hundred bytes instead of some thousand.

    Records of a run are alike, so the first one serves as the dictionary for compressing the others. What is taken out is a
    copy: changes to it do not come back. Not for several threads at once.

    Args:
        records: to begin with.
    """

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self._packed: dict[tuple[str, str], bytes] = {}
        self._dictionary = b""
        for record in records:
            self.put(record)

    def put(self, record: Record) -> None:
        """Keep a record in place of an earlier one of the same title and dub."""
        plain = pickle.dumps(record, protocol=5)
        if not self._dictionary:
            self._dictionary = plain[-WINDOW:]
        packer = zlib.compressobj(level=1, wbits=-15, zdict=self._dictionary)
        # Names of dubs are few, those of titles as many as there are.
        self._packed[record["title"], sys.intern(record["dub"])] = packer.compress(plain) + packer.flush()

    def __getitem__(self, key: tuple[str, str]) -> Record:
        unpacker = zlib.decompressobj(wbits=-15, zdict=self._dictionary)
        record: Record = pickle.loads(unpacker.decompress(self._packed[key]) + unpacker.flush())
        return record

    def __contains__(self, key: object) -> bool:
        return key in self._packed

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._packed)

    def __len__(self) -> int:
        return len(self._packed)


class SortedRecords(Sequence[Record]):
    """Records of one or more mappings as a sequence, by title and dub; of a dub that several have, the last one's.

    Args:
        parts: the mappings. Dubs that they get later are not seen.
    """

    def __init__(self, *parts: Mapping[tuple[str, str], Record]) -> None:
        self._parts = parts
        self._keys = sorted(set().union(*parts))

    def __len__(self) -> int:
        return len(self._keys)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | list[Record]:
        if isinstance(index, slice):
            return [self._of(key) for key in self._keys[index]]
        return self._of(self._keys[index])

    def _of(self, key: tuple[str, str]) -> Record:
        return next(part[key] for part in reversed(self._parts) if key in part)
