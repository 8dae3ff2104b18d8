"""HDTF: annotations with all that the published ones have, clips ready and cut, pairs drawn at random."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from operators.media.audio import load_audio
from operators.media.probe import probe_video
from pipelines.cli import main as cli
from pipelines.errors import UsageError
from pipelines.evaluation.hdtf import (
    Cutter,
    HdtfClip,
    annotated_clips,
    pair_clips,
    pairs_of_hdtf,
    read_annotations,
    ready_clips,
    scaled_box,
)
from pipelines.evaluation.pairs import Listing
from tests.pipelines.conftest import make_video


@pytest.fixture
def annotations(tmp_path: Path) -> Path:
    """The three sets' files, with a byte order mark, carriage returns, missing boxes, odd resolutions, a video without times."""
    folder = tmp_path / "HDTF_dataset"
    folder.mkdir()
    (folder / "RD_annotion_time.txt").write_text(
        "Radio1.mp4 00:01-00:03 00:04-00:05\r\nRadio2.mp4 01:00-01:20\r\n"
    )
    (folder / "RD_crop_wh.txt").write_text("Radio1_0.mp4 100 400 50 400\nRadio2_0 0 10 x 10\n")
    (folder / "RD_resolution.txt").write_text("Radio1.mp4 714\nRadio2.mp4 0\n")
    (folder / "RD_video_url.txt").write_text("Radio1 https://example.org/1\nRadio24 https://example.org/24\n")
    (folder / "WDA_annotation_time.txt").write_text("WDA_Bo.mp4 00:00-00:02\nWDA_No.mp4 00:00\n\n")
    (folder / "WDA_video_url.txt").write_bytes(b"\xef\xbb\xbfWDA_Bo https://example.org/b\n")
    (folder / "WDA_resolution.txt").write_text("WDA_Bo.mp4 700\n")
    return folder


def test_annotations_are_read_whatever_is_odd_about_them(annotations: Path) -> None:
    listing = Listing()
    found = read_annotations(str(annotations), listing)
    assert found.times == {
        "Radio1": [(1.0, 3.0), (4.0, 5.0)],
        "Radio2": [(60.0, 80.0)],
        "WDA_Bo": [(0.0, 2.0)],
    }
    assert found.crops == {"Radio1_0": (100, 400, 50, 400)}
    assert found.heights == {"Radio1": 714, "Radio2": 0, "WDA_Bo": 700}
    assert found.listed == {"Radio1", "Radio24", "WDA_Bo"}, "without the byte order mark"
    assert dict(listing.left_out) == {
        "a crop box that is not four numbers": 1,
        "times that are not MM:SS-MM:SS": 1,
    }
    assert listing.examples["times that are not MM:SS-MM:SS"] == ["WDA_annotation_time.txt line 2"]


def test_a_folder_without_annotations_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"RD_annotion_time\.txt"):
        read_annotations(str(tmp_path), Listing())


def test_clips_are_ready_or_cut_and_the_others_are_counted(annotations: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    for name in ("Radio1.mp4", "WDA_Bo_0.mp4"):
        (root / name).write_bytes(b"")
    listing = Listing()
    clips = list(annotated_clips(str(root), read_annotations(str(annotations), Listing()), listing))
    assert clips == [
        HdtfClip("Radio1_0", "Radio1", str(root / "Radio1.mp4"), 1.0, 3.0, (100, 400, 50, 400), 714),
        HdtfClip("WDA_Bo_0", "WDA_Bo", str(root / "WDA_Bo_0.mp4")),
    ]
    assert dict(listing.left_out) == {
        "a video with an address and no times": 1,
        "no crop box, and no ready clip": 1,
        "neither the clip nor the raw video is there": 1,
    }
    assert listing.examples["a video with an address and no times"] == ["Radio24"]
    assert listing.lines == len(clips) + 3


def test_a_box_is_meant_at_the_annotated_resolution(tmp_path: Path) -> None:
    video = str(make_video(tmp_path / "v.mp4", frames=2, size=(128, 96)))
    halved = HdtfClip("v_0", "v", video, crop=(20, 100, 40, 200), height=192)
    assert scaled_box(halved) == (10, 20, 60, 96), "half as large, and no larger than the picture"
    assert scaled_box(HdtfClip("v_0", "v", video, crop=(20, 60, 10, 60), height=0)) == (20, 10, 80, 70)


def test_a_clip_is_cut_once_to_its_box_and_length(tmp_path: Path) -> None:
    video = str(make_video(tmp_path / "v.mp4", frames=75, rate=25, size=(128, 96)))
    clip = HdtfClip("v_0", "v", video, 1.0, 2.6, (20, 60, 10, 60), 96)
    cutter = Cutter(str(tmp_path / "clips"), 1.2)
    cut = cutter.cut(clip)
    info = probe_video(cut)
    assert (info.width, info.height, info.n_frames) == (512, 512, 30)
    assert len(load_audio(cut, 16000)) / 16000 == pytest.approx(1.2, abs=0.05)
    before = Path(cut).stat().st_mtime_ns
    assert cutter.cut(clip) == cut
    assert Path(cut).stat().st_mtime_ns == before
    assert Cutter(str(tmp_path / "clips"), 20.0).url(clip) != cut


def test_pairs_are_of_different_videos_and_hang_on_the_seed() -> None:
    clips = [HdtfClip(f"v{k}_{n}", f"v{k}", "") for k in range(6) for n in range(3)]
    pairs = pair_clips(clips, "cross", 10, [1, 2])
    assert [seed for seed, _, _ in pairs] == [1] * 10 + [2] * 10
    assert all(picture.video != sound.video for _, picture, sound in pairs)
    assert pairs == pair_clips(list(reversed(clips)), "cross", 10, [1, 2])
    assert [pair[1] for pair in pairs[:10]] != [pair[1] for pair in pairs[10:]]
    assert len(pair_clips(clips, "cross", None, [])) == len(clips)
    assert all(a is b for _, a, b in pair_clips(clips, "reconstruction", 5, []))
    assert pair_clips(clips[:3], "cross", None, []) == [], "one video has no partner"


def test_a_clip_that_cannot_be_cut_is_noted(tmp_path: Path) -> None:
    (tmp_path / "broken_0.mp4").write_bytes(b"no video")
    good = str(make_video(tmp_path / "good_0.mp4", frames=5, size=(64, 64)))
    clips = list(ready_clips(str(tmp_path)))
    assert [(clip.name, clip.video) for clip in clips] == [("broken_0", "broken"), ("good_0", "good")]
    listing = Listing()
    pairs = pairs_of_hdtf([(0, clips[1], clips[0])], Cutter(str(tmp_path / "c"), 20.0), listing)
    assert [pair.id for pair in pairs] == ["good_0+broken_0"]
    assert "clip broken_0 cannot be cut: " in listing.notes[0]
    assert Path(pairs[0].video).is_file()
    assert good != pairs[0].video


def test_the_command_scores_clips(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for name in ("a_0", "b_0"):
        make_video(root / f"{name}.mp4", frames=25, rate=25, size=(80, 80))
    command = ["eval", "hdtf", "--root", str(root), "-o", str(tmp_path / "out"), "--systems", "source", "-q"]
    assert cli.main([*command, "--metrics", "cpbd", "--seconds", "0.6", "--runner", "local"]) == 0
    scores = [json.loads(path.read_text()) for path in (tmp_path / "out" / "scores").iterdir()]
    assert sorted(score["pair"] for score in scores) == ["a_0+b_0", "b_0+a_0"]
    assert {score["seconds"] for score in scores} == {0.6}
