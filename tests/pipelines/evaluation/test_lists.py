"""Readers of lists on small trees of the data sets' shapes, and on lists of 10,000 lines."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from operators.media import container
from pipelines.errors import UsageError
from pipelines.evaluation import lists
from pipelines.evaluation.lists import folder_url, pairs_of_list, pairs_of_manifest, results_of_manifest
from pipelines.evaluation.pairs import Listing, Pair, drawn, reconstructed, without_repeats


def lrs2_tree(root: Path) -> Path:
    """Empty files where LRS2 has its clips."""
    for name in ("5535415699068794046/00001", "5535415699068794046/00002", "6330311066473698535/00011"):
        path = root / "main" / f"{name}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return root


def read(tmp_path: Path, content: bytes) -> tuple[list[Pair], Listing]:
    (tmp_path / "list.txt").write_bytes(content)
    listing = Listing()
    root = lrs2_tree(tmp_path / "mvlrs_v1")
    found = without_repeats(pairs_of_list(str(tmp_path / "list.txt"), str(root), listing), listing)
    return list(found), listing


def test_a_line_names_the_sound_first_and_the_picture_second(tmp_path: Path) -> None:
    (pair,), listing = read(tmp_path, b"6330311066473698535/00011 5535415699068794046/00001\n")
    main = tmp_path / "mvlrs_v1" / "main"
    assert pair.video == str(main / "5535415699068794046" / "00001.mp4")
    assert pair.audio == str(main / "6330311066473698535" / "00011.mp4")
    assert pair.id == "5535415699068794046_00001+6330311066473698535_00011"
    assert (listing.lines, listing.pairs, listing.left_out.total()) == (1, 1, 0)


def test_the_folder_main_may_be_the_root_itself(tmp_path: Path) -> None:
    (tmp_path / "l.txt").write_text("6330311066473698535/00011 5535415699068794046/00001\n")
    root = lrs2_tree(tmp_path / "mvlrs_v1")
    found = [
        list(pairs_of_list(str(tmp_path / "l.txt"), str(place), Listing())) for place in (root, root / "main")
    ]
    assert found[0] == found[1]


def test_marks_line_ends_suffixes_and_spaces_do_no_harm(tmp_path: Path) -> None:
    plain = b"a/1 b/1\na/2 b/2\n"
    odd = b"\xef\xbb\xbfa/1.mp4  b/1\r\n\r\n  a/2\tb/2.mp4"
    assert read(tmp_path, odd)[0] == read(tmp_path, plain)[0]


def test_lines_that_cannot_be_used_fall_out_with_reason_and_place(tmp_path: Path) -> None:
    content = b"a/1 b/1\na/1\na/1 b/1\na/1 ../../x\n/etc/x b/1\n\xff\xfe b/1\na b c\n"
    pairs, listing = read(tmp_path, content)
    assert len(pairs) == 1
    assert listing.lines == 7
    assert dict(listing.left_out) == {
        "not two ids, AUDIO_ID VIDEO_ID": 2,
        "listed more than once": 1,
        "an id that leads out of the data set's folder": 2,
        "not a line of text in UTF-8": 1,
    }
    assert listing.examples["not two ids, AUDIO_ID VIDEO_ID"] == ["line 2", "line 7"]
    assert "2 left out: not two ids, AUDIO_ID VIDEO_ID (line 2, line 7)" in listing.words()


@pytest.mark.parametrize("name", ["nowhere.txt", "."])
def test_a_list_that_is_no_file_is_wrong_usage(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"--list .*(no such file|is a folder)"):
        list(pairs_of_list(str(tmp_path / name), str(tmp_path), Listing()))
    with pytest.raises(UsageError, match=r"--root .*no such folder"):
        folder_url(str(tmp_path / "nowhere"))


@pytest.fixture
def long_list(tmp_path: Path) -> Path:
    path = tmp_path / "long.txt"
    path.write_text("".join(f"v{k % 977}/{k:05d} v{k % 1009}/{k:05d}\n" for k in range(10_000)))
    return path


def test_ten_thousand_lines_are_read_in_order_and_no_media_is_opened(
    tmp_path: Path, long_list: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reads are counted: the list is opened once, and the file system is asked twice for where the data lies, not for each line."""
    opened, asked = [], []
    monkeypatch.setattr(container, "open_input", lambda *a, **k: pytest.fail("media were opened"))
    whole, there = lists.filesystem, lists.exists
    monkeypatch.setattr(lists, "filesystem", lambda url: opened.append(url) or whole(url))
    monkeypatch.setattr(lists, "exists", lambda url: asked.append(url) or there(url))
    listing = Listing()
    pairs = list(without_repeats(pairs_of_list(str(long_list), str(tmp_path), listing), listing))
    assert len(pairs) == listing.pairs == 10_000
    assert pairs[1234].audio.endswith(f"/v{1234 % 977}/01234.mp4")
    assert opened == [str(long_list)]
    assert len(asked) <= 2


def test_a_list_is_streamed(long_list: Path) -> None:
    """The first pairs come before the rest has been read."""
    listing = Listing()
    assert len(list(itertools.islice(pairs_of_list(str(long_list), "/data", listing), 5))) == 5
    assert listing.lines == 5


def test_a_limit_stops_reading_and_seeds_draw_from_the_whole_list(long_list: Path) -> None:
    def pairs(listing: Listing) -> Iterator[Pair]:
        return pairs_of_list(str(long_list), "/data", listing)

    listing = Listing()
    first = drawn(pairs(listing), 7, [])
    assert [pair.id[-5:] for pair in first] == [f"{k:05d}" for k in range(7)]
    assert listing.lines <= 8
    by_seed = drawn(pairs(Listing()), 50, [1, 2])
    numbers = {seed: [int(p.id[-5:]) for p in by_seed if p.seed == seed] for seed in (1, 2)}
    assert [len(found) for found in numbers.values()] == [50, 50]
    assert numbers[1] == sorted(numbers[1])
    assert max(numbers[1]) > 5_000
    assert numbers[1] != numbers[2]
    assert by_seed == drawn(pairs(Listing()), 50, [1, 2]), "the same seeds draw the same pairs"
    with pytest.raises(UsageError, match="--limit"):
        drawn(pairs(Listing()), None, [1])


def test_reconstruction_takes_each_video_once_with_its_own_sound() -> None:
    pairs = [Pair("v+a", "v.mp4", "a.mp4"), Pair("v+b", "v.mp4", "b.mp4"), Pair("w+a", "w.mp4", "a.mp4")]
    listing = Listing(pairs=3)
    assert list(reconstructed(pairs, listing)) == [
        Pair("v", "v.mp4", "v.mp4"),
        Pair("w", "w.mp4", "w.mp4"),
    ]
    assert listing.notes == ["reconstruction: 2 videos in 3 pairs"]


def test_manifests_of_pairs_and_of_results(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"")
    rows = [
        {"id": "x", "video": "a.mp4", "speech": "/far/b.wav", "colour": "red"},
        {"video": "nowhere.mp4", "audio": "s3://bucket/b.wav"},
        {"id": "z", "video": "a.mp4"},
    ]
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + "{broken\n")
    listing = Listing()
    pairs = list(pairs_of_manifest(str(tmp_path / "m.jsonl"), listing))
    assert pairs == [
        Pair("x", str(tmp_path / "a.mp4"), "/far/b.wav"),
        Pair("row-2", str(tmp_path / "nowhere.mp4"), "s3://bucket/b.wav"),
    ]
    assert listing.left_out["audio: is missing"] == 1
    assert listing.left_out.total() == 2
    assert listing.notes == ["columns that mean nothing here: colour"]
    (tmp_path / "r.csv").write_bytes(b"\xef\xbb\xbfid,output,video\r\nq,a.mp4,\r\nr,/o.mp4,/s.mp4\r\n")
    assert list(results_of_manifest(str(tmp_path / "r.csv"), Listing())) == [
        Pair("q", "", str(tmp_path / "a.mp4"), output=str(tmp_path / "a.mp4")),
        Pair("r", "/s.mp4", "/o.mp4", output="/o.mp4"),
    ]
