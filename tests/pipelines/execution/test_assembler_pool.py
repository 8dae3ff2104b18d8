"""Assemblers whose process ends: the other items go on, and the error names the file that was being read."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import pytest

from operators.media.reading import reading
from pipelines.execution.assembler_pool import AssemblerPool
from pipelines.state.run_directory import Record


@dataclass(frozen=True)
class Item:
    name: str
    frames: int = 1


def work(item: Item, spec: str) -> Record:
    """Read a file named after the item; the process ends while it reads "deadly", and before "silent" reads anything."""
    if item.name == "silent":
        os._exit(1)
    with reading(f"{spec}/{item.name}.mp4"):
        if item.name == "deadly":
            os._exit(1)
    return {"title": item.name}


@pytest.mark.usefixtures("ray_session")
def test_the_file_that_ends_an_assembler_is_named() -> None:
    pool: AssemblerPool[Item] = AssemblerPool(0.1, 1, "/films", work)
    for name in ("a", "deadly", "b", "silent"):
        pool.put(Item(name))
    found: dict[str, Any] = {item.name: record for item, record in pool.run()}
    pool.stop()
    assert (found["a"], found["b"]) == ({"title": "a"}, {"title": "b"})
    assert str(found["deadly"]).startswith("reading /films/deadly.mp4 killed its worker again and again")
    assert isinstance(found["silent"], Exception)
    assert "films" not in str(found["silent"])
