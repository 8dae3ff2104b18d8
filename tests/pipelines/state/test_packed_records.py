"""Records in little memory: the same records come out, and they take little."""

from __future__ import annotations

import pickle
import random
import sys

import pytest

from pipelines.state.packed_records import WINDOW, PackedRecords, SortedRecords
from pipelines.state.run_directory import Record


def record(number: int, dub: str = "deu", **more: object) -> Record:
    key = random.Random(number).randbytes(16).hex()
    return {
        "title": f"title-{number:05d}",
        "dub": dub,
        "state": "done",
        "key": key,
        "frames": number,
        "notes": [f"a note on title {number}: the speech is cut"],
        "metrics": [{"name": "sync", "value": number / 7, "worst": float("nan"), "per": None}],
        "consent": None,
        **more,
    }


def test_what_goes_in_comes_out() -> None:
    records = [record(n, dub) for n in (3, 1, 2) for dub in ("fra", "deu")]
    packed = PackedRecords(records)
    assert list(packed) == [(one["title"], one["dub"]) for one in records]
    assert [repr(one) for one in packed.values()] == [repr(one) for one in records]  # by text: nan is not nan
    assert ("title-00001", "fra") in packed
    assert ("title-00001", "ita") not in packed
    with pytest.raises(KeyError):
        packed["title-00001", "ita"]


def test_a_later_record_takes_the_place_of_an_earlier_one() -> None:
    packed = PackedRecords([record(1), record(2)])
    packed.put(record(1, state="failed", traceback="x" * (3 * WINDOW)))
    assert len(packed) == 2
    assert (packed["title-00001", "deu"]["state"], packed["title-00002", "deu"]["state"]) == (
        "failed",
        "done",
    )
    packed["title-00002", "deu"]["state"] = "changed"
    assert packed["title-00002", "deu"]["state"] == "done", "a copy is given out"


def test_a_first_record_longer_than_the_window() -> None:
    long = record(1, traceback="".join(map(chr, range(32, 4000))) * 20)
    assert len(pickle.dumps(long)) > WINDOW
    packed = PackedRecords([long, record(2)])
    assert packed["title-00001", "deu"]["traceback"] == long["traceback"]
    assert packed["title-00002", "deu"]["frames"] == 2


def test_five_records_take_the_memory_of_one() -> None:
    records = [record(n) for n in range(500)]
    packed = PackedRecords(records)
    plain = sum(len(pickle.dumps(one)) + sum(map(sys.getsizeof, (one, *one.values()))) for one in records)
    assert 5 * (sys.getsizeof(packed._text) + sys.getsizeof(packed._ends)) < plain


def test_records_are_sorted_and_the_last_mapping_prevails() -> None:
    earlier = PackedRecords([record(5), record(1, frames=-1), record(3)])
    now = PackedRecords([record(4), record(1)])
    both = SortedRecords(earlier, now)
    assert [one["title"] for one in both] == [f"title-{n:05d}" for n in (1, 3, 4, 5)]
    assert (both[0]["frames"], both[-1]["title"], len(both)) == (1, "title-00005", 4)
    assert [one["frames"] for one in both[1:3]] == [3, 4]
    assert not SortedRecords(PackedRecords())
