"""Records of a large run in little memory."""

from __future__ import annotations

import pickle
import sys
import zlib
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import overload

from pipelines.state.run_directory import Record

#: Bytes at the end of a dictionary that zlib looks at.
WINDOW = 32 << 10


class PackedRecords(Mapping[tuple[str, str], Record]):
    """Records by title and dub, each compressed: some hundred bytes instead of some thousand.

    Records of a run are alike, so the first one serves as the dictionary for compressing the others. What is taken out is a
    copy: changes to it do not come back. Not for several threads at once.

    All lie in one piece of memory: an object for each, between the many that come and go, would keep the memory around it
    from being used again. A record that another one takes the place of stays there.

    Args:
        records: to begin with.
    """

    def __init__(self, records: Iterable[Record] = ()) -> None:
        #: Number of each record, by title and dub; number n is the text from ``_ends[n]`` to ``_ends[n + 1]``.
        self._numbers: dict[tuple[str, str], int] = {}
        self._text, self._ends = bytearray(), array("q", [0])
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
        self._numbers[record["title"], sys.intern(record["dub"])] = len(self._ends) - 1
        self._text += packer.compress(plain)
        self._text += packer.flush()
        self._ends.append(len(self._text))

    def __getitem__(self, key: tuple[str, str]) -> Record:
        number = self._numbers[key]
        packed = bytes(self._text[self._ends[number] : self._ends[number + 1]])
        unpacker = zlib.decompressobj(wbits=-15, zdict=self._dictionary)
        record: Record = pickle.loads(unpacker.decompress(packed) + unpacker.flush())
        return record

    def __contains__(self, key: object) -> bool:
        return key in self._numbers

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)


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
