"""Shards, receipts, index, splits and readers of a data set."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch.utils.data

from pipelines.errors import UsageError
from pipelines.training.data.reader import ClipSet, decoded, encoded
from pipelines.training.data.schema import CLIP, MARGIN, mel_chunks, to_table
from pipelines.training.data.splits import merge_identities, split_identities, without_copies
from pipelines.training.data.store import DataSet, Receipt, Settings
from tests.pipelines.training.made import made_clip, made_set

SMALL = Settings(heads=64, faces=48, quality=100)


def test_a_clip_comes_back_as_it_was_written(tmp_path: Path) -> None:
    data = made_set(tmp_path / "set", settings=dataclasses.replace(SMALL, validation=0.25))
    clips = ClipSet(data.url)
    assert len(clips) == 8
    number = clips.index["id"].to_pylist().index("bob-1/0/0")
    wanted, clip = made_clip("bob-1/0/0", "bob", 30, SMALL, 101), clips[number]
    for name in ("landmarks", "mel", "sound", "head_boxes", "coefficients"):
        np.testing.assert_array_equal(clip[name], wanted[name])
    assert clip["identity"] == "bob"
    assert clip["heads"].shape == (30, 64, 64, 3)
    assert clip["faces"].shape == (30, 48, 48, 3)
    part = clips.read(number, 7, 5)
    np.testing.assert_array_equal(part["heads"], clip["heads"][7:12])
    np.testing.assert_array_equal(part["landmarks"], clip["landmarks"][7:12])
    np.testing.assert_array_equal(part["mel_chunks"], clip["mel_chunks"][7:12])


def test_red_stays_red() -> None:
    picture = np.full((1, 16, 16, 3), (200, 40, 60), np.uint8)
    np.testing.assert_allclose(decoded(encoded(picture, 95)), picture, atol=4)
    with pytest.raises(ValueError, match="no JPEG"):
        decoded([b"nothing"])


def test_the_sound_of_a_frame_begins_at_the_frame() -> None:
    mel = np.arange(MARGIN + 32 + MARGIN, dtype=np.float32)[:, None].repeat(80, 1)
    chunks = mel_chunks(mel, 0, 10)
    assert chunks.shape == (10, 80, 16)
    assert chunks[:, 0, 0].tolist() == [MARGIN + int(3.2 * frame) for frame in range(10)]
    assert mel_chunks(mel, 4, 3)[:, 5, 15].tolist() == chunks[4:7, 5, 15].tolist()


def test_a_data_loader_with_workers_reads_it(tmp_path: Path) -> None:
    clips = ClipSet(made_set(tmp_path / "set").url, columns=["landmarks"])
    assert clips[0]["landmarks"].shape == (30, 68, 2)  # a file is open now
    again = pickle.loads(pickle.dumps(clips))
    np.testing.assert_array_equal(again[3]["landmarks"], clips[3]["landmarks"])
    loader = torch.utils.data.DataLoader(clips, batch_size=4, collate_fn=lambda rows: rows)
    assert sum(len(rows) for rows in loader) == 8


def test_only_the_wanted_columns_are_read(tmp_path: Path) -> None:
    data = made_set(tmp_path / "set")
    assert set(ClipSet(data.url, columns=["sound"])[0]) == {"sound", "start", "frames"}
    with pytest.raises(UsageError, match=r"no columns \['lips'\]"):
        ClipSet(data.url, columns=["lips"])


def test_identities_are_not_in_two_splits(tmp_path: Path) -> None:
    data = made_set(tmp_path / "set", identities=[f"p{k}" for k in range(12)], clips=1)
    index = data.index().to_pylist()
    train = {row["identity"] for row in index if row["split"] == "train"}
    held = {row["identity"] for row in index if row["split"] == "validation"}
    assert train
    assert held
    assert not train & held
    assert {row["identity"] for row in index} == train | held
    assert sorted(ClipSet(data.url, "validation", ["landmarks"]).identities) == sorted(held)


def test_splits_do_not_move_when_a_data_set_grows() -> None:
    settings = Settings(validation=0.2, test=0.2)
    few, many = (split_identities((f"p{k}" for k in range(count)), settings) for count in (40, 200))
    assert {name: many[name] for name in few} == few
    assert {0.1 < list(many.values()).count(split) / 200 < 0.3 for split in ("validation", "test")} == {True}
    assert split_identities(["a", "b"], Settings(validation=1e-9, test=0)) in (
        {"a": "validation", "b": "train"},
        {"a": "train", "b": "validation"},
    )


def test_videos_with_the_same_face_are_one_identity() -> None:
    near, far = np.zeros(128), np.full(128, 1.0)
    people = merge_identities(
        {"v1": "b", "v2": "a", "v3": "c", "v4": "d"}, {"v1": near, "v2": near + 0.01, "v3": far}
    )
    assert people == {"v1": "a", "v2": "a", "v3": "c", "v4": "d"}


def test_copies_are_dropped_with_the_name_of_the_one_that_stays() -> None:
    whole = 0x0123456789ABCDEF_FEDCBA9876543210
    one_each = sum(1 << (16 * k) for k in range(7))  # a bit in each of seven parts
    signatures = {"b": whole ^ one_each, "a": whole, "c": whole ^ 0xFF, "d": 0}
    rows: list[dict[str, Any]] = [
        {"id": name, "source": name, "signature": f"{bits:032x}", "frames": 50}
        for name, bits in signatures.items()
    ]
    kept, dropped = without_copies(rows)
    assert [row["id"] for row in kept] == ["a", "c", "d"]  # eight bits are too many
    assert [(one.source, one.reason, one.detail, one.seconds) for one in dropped] == [
        ("b", "duplicate", "b = a", 2.0)
    ]


def test_a_shard_without_a_receipt_does_not_count(tmp_path: Path) -> None:
    data = DataSet(str(tmp_path))
    data.write_shard("00000", [made_clip("a/0/0", "a", settings=SMALL)], Receipt(seconds=2))
    found = data.receipt("00000")
    assert found is not None
    assert [clip["id"] for clip in found.clips] == ["a/0/0"]
    receipt = tmp_path / "shards" / "00000.json"
    receipt.write_text(receipt.read_text().replace("a/0/0", "b/0/0"))
    assert data.receipt("00000") is None
    assert data.receipt("00001") is None


def test_a_writer_that_fails_leaves_no_shard(tmp_path: Path) -> None:
    data = DataSet(str(tmp_path))

    def clips() -> Any:
        yield made_clip("a/0/0", "a", settings=SMALL)
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        data.write_shard("00000", clips(), Receipt())
    assert not list((tmp_path / "shards").glob("*"))


def test_shards_are_plain_parquet_with_a_row_group_for_each_clip(tmp_path: Path) -> None:
    made_set(tmp_path, identities=["ann"], clips=3)
    file = pq.ParquetFile(tmp_path / "shards" / "00000.parquet")
    assert file.schema_arrow.equals(CLIP)
    assert file.num_row_groups == 3


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (
            "landmarks",
            np.zeros((29, 68, 2), np.float32),
            r"'landmarks' must be float32\[30, 68, 2\], got float32\[29",
        ),
        ("sound", np.zeros(5, np.int16), r"'sound' must be int16"),
        ("heads", [b""], "'heads' has 1 pictures for 30 frames"),
    ],
)
def test_a_clip_that_does_not_fit_its_columns_is_refused(column: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"a/0/0: column {message}"):
        to_table({**made_clip("a/0/0", "a", settings=SMALL), column: value})


def test_other_settings_do_not_go_into_the_same_folder(tmp_path: Path) -> None:
    data = DataSet(str(tmp_path))
    data.begin(Settings(), {"sources": "x"})
    data.begin(Settings(), {"sources": "x"})
    with pytest.raises(UsageError, match=r"different: heads, sources"):
        data.begin(Settings(heads=128), {"sources": "y"})


def test_an_unfinished_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no finished data set"):
        ClipSet(str(tmp_path))
    data = made_set(tmp_path / "set")
    with pytest.raises(UsageError, match="no clip of 31 frames or more"):
        ClipSet(data.url, least_frames=31)


def test_statistics_count_what_is_there(tmp_path: Path) -> None:
    data = made_set(tmp_path / "set")
    page = (tmp_path / "set" / "statistics.md").read_text()
    assert page.startswith("# Data set\n\n8 clips of 4 identities from 8 videos")
    assert "| sound moved by, frames | clips |\n|---|---|\n| 1 | 8 |" in page
    assert len(data.index()) == 8
