"""Readers of data sets on small trees of their shapes."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.errors import UsageError
from pipelines.training.data.sources import find_sources, hdtf_identity
from tests.pipelines.training.footage import manifest


def tree(root: Path, *names: str) -> str:
    """Empty files."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    return str(root)


def test_folders_name_the_people_of_plain_folders(tmp_path: Path) -> None:
    root = tree(tmp_path, "ann/1.mp4", "ann/2.mov", "bob.mkv", "notes.txt", ".cache/3.mp4")
    found = find_sources(root).sources
    assert [(one.name, one.identity) for one in found] == [("ann/1", "ann"), ("ann/2", "ann"), ("bob", "bob")]
    assert found[0].url == f"{tmp_path}/ann/1.mp4"


def test_lrs2_goes_by_its_list(tmp_path: Path) -> None:
    root = tree(tmp_path / "mvlrs", "main/6330/00011.mp4", "main/6330/00012.mp4", "main/5535/00001.mp4")
    (tmp_path / "train.txt").write_text("6330/00011 NF\n5535/00001 MV\n6330/09999\n")
    found = find_sources(root, "lrs2", str(tmp_path / "train.txt"))
    assert [(one.name, one.identity) for one in found.sources] == [
        ("main/5535/00001", "5535"),
        ("main/6330/00011", "6330"),
    ]
    assert found.listing.words() == ["1 left out: a clip that is not there (line 3)"]
    assert len(find_sources(root, "lrs2").sources) == 3
    (tmp_path / "whole.txt").write_text("main/6330/00012\n")
    assert [one.name for one in find_sources(root, "lrs2", str(tmp_path / "whole.txt")).sources] == [
        "main/6330/00012"
    ]


def test_voxceleb_and_lrs3_have_a_folder_for_each_person(tmp_path: Path) -> None:
    root = tree(tmp_path / "vox", "dev/mp4/id00012/21Uxsk56VDQ/00001.mp4", "dev/mp4/id00015/x/00001.mp4")
    assert [one.identity for one in find_sources(root, "voxceleb").sources] == ["id00012", "id00015"]
    root = tree(tmp_path / "lrs3", "trainval/0Amg/00001.mp4", "trainval/1xyz/00002.mp4")
    assert [one.identity for one in find_sources(root, "lrs3").sources] == ["0Amg", "1xyz"]


def test_names_of_hdtf_hold_the_person() -> None:
    names = {
        "WDA_BarackObama_000": "BarackObama",
        "RD_Radio31_000": "Radio31",
        "WRA_AnnWagner_000": "AnnWagner",
    }
    assert {name: hdtf_identity(name) for name in names} == names
    assert hdtf_identity("RD_Radio1_000_3") == "Radio1"


def test_hdtf_takes_spans_from_its_annotations(tmp_path: Path) -> None:
    root = tree(tmp_path / "hdtf", "WDA_Ann_000.mp4")
    folder = tmp_path / "annotations"
    folder.mkdir()
    (folder / "WDA_annotion_time.txt").write_text("Ann_000.mp4 00:05-00:15 01:00-01:30\n")
    (folder / "WDA_crop_wh.txt").write_text("Ann_000_0.mp4 1 2 3 4\nAnn_000_1.mp4 1 2 3 4\n")
    found = find_sources(root, "hdtf", annotations=str(folder))
    assert [(one.name, one.identity, one.start, one.stop) for one in found.sources] == [
        ("Ann_000_0", "Ann", 5.0, 15.0),
        ("Ann_000_1", "Ann", 60.0, 90.0),
    ]


def test_a_manifest_says_who_it_is(tmp_path: Path) -> None:
    tree(tmp_path, "a.mp4", "b.wav")
    rows = [
        {"video": "a.mp4", "identity": "ann", "audio": "b.wav", "start": "1.5", "stop": "9"},
        {"video": "a.mp4", "start": "5", "stop": "3", "id": "wrong"},
        {"id": "no-video"},
        {"video": "a.mp4"},
        {"id": "again", "video": "a.mp4"},
    ]
    found = find_sources(str(manifest(tmp_path / "people.csv", rows)))
    assert [(one.name, one.identity, one.start, one.stop) for one in found.sources] == [
        ("a", "ann", 1.5, 9.0),
        ("again", "again", 0.0, 0.0),
    ]
    assert found.sources[0].sound == str(tmp_path / "b.wav")
    reasons = {"start, stop: must ascend", "video: is missing", "the name is taken"}
    assert set(found.listing.left_out) == reasons


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("", {}, "no videos found"),
        ("vimeo", {}, "--kind vimeo"),
        ("folder", {"list_file": "x"}, "--list: is for"),
        ("folder", {"annotations": "x"}, "--annotations: is for"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, kind: str, options: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        find_sources(str(tmp_path), kind, **options)
    with pytest.raises(UsageError, match="no such folder"):
        find_sources(str(tmp_path / "none"))
