"""Several data sets that are trained on together."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from pipelines.errors import UsageError
from pipelines.training.batches import Items
from pipelines.training.data.reader import ClipSet
from pipelines.training.data.store import DataSet
from tests.pipelines.training.made import TINY, made_set
from tests.pipelines.training.test_loop import narrow

SMALL = dataclasses.replace(TINY, heads=0, faces=32, validation=0.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two data sets, and a manifest of both."""
    folder = tmp_path_factory.mktemp("collection")
    made_set(folder / "one", ["ann", "bob"], clips=1, frames=12, settings=SMALL)
    made_set(folder / "two", ["cid"], clips=2, frames=12, settings=SMALL)
    (folder / "both.csv").write_text("data\none\ntwo\n")
    return folder


def test_the_clips_of_all_data_sets_are_there_in_their_order(folder: Path) -> None:
    both = ClipSet(str(folder / "both.csv"), "train", ["faces", "identity"])
    apart = [ClipSet(str(folder / name), "train", ["faces", "identity"]) for name in ("one", "two")]
    assert both.identities == ["ann", "bob", "cid", "cid"]
    expected = [one.read(n, 2, 3) for one in apart for n in range(len(one))]
    for number, clip in enumerate(expected):
        assert np.array_equal(both.read(number, 2, 3)["faces"], clip["faces"])
    assert len(Items(str(folder / "both.csv"), "train", narrow()).clips) == 4


def test_a_data_set_of_other_pictures_is_named(folder: Path, tmp_path: Path) -> None:
    other = made_set(tmp_path / "large", ["dee"], 1, 12, dataclasses.replace(SMALL, faces=48))
    (tmp_path / "sets.csv").write_text(f"data\n{folder / 'one'}\n{other.url}\n")
    with pytest.raises(UsageError, match=r"large: its faces are 48 pixels a side, lnet needs 32"):
        Items(str(tmp_path / "sets.csv"), "train", narrow())


def test_nobody_is_learned_from_and_held_out(folder: Path, tmp_path: Path) -> None:
    rows = DataSet(str(folder / "one")).index().to_pylist()
    other = made_set(tmp_path / "held", ["ann"], 1, 12, SMALL)
    other.write_index([{**rows[0], "split": "validation"}])
    sets = tmp_path / "sets.jsonl"
    sets.write_text("".join(json.dumps({"data": url}) + "\n" for url in (str(folder / "one"), other.url)))
    with pytest.raises(
        UsageError, match=r"'ann' is in the split 'train' of one and 'validation' of the other"
    ):
        ClipSet(str(sets), "train", ["faces"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("video\na.mp4\n", "it names videos: retalk train prepare .*sets.csv -o DIR"),
        ("data,id\n,x\n", "each row names a data set"),
        ("data\nnowhere\n", "nowhere"),
        ("data\none\none\n", "stands there twice"),
    ],
)
def test_mistakes_in_a_manifest_name_the_row(folder: Path, content: str, message: str) -> None:
    sets = folder / "sets.csv"
    sets.write_text(content)
    with pytest.raises(UsageError, match=message) as caught:
        ClipSet(str(sets), "train", ["faces"])
    assert "sets.csv" in str(caught.value)
