"""The stage: draws, passes through, runs backwards, spills, and encodes the same bytes every time."""

import dataclasses

import numpy as np
import pytest

from operators.columns import check_columns
from operators.exemplar.render_stage import RenderMouths, RenderOptions, drawn_frames
from operators.exemplar.warp import face_unit
from operators.faces.geometry import CHIN
from operators.media.kept_frames import KeptFrames
from operators.media.ordered_frames import chosen_frames
from operators.media.probe import probe_video
from operators.media.reader import read_frames
from tests.operators.exemplar.footage import carphone, carphone_file, open_mouth, put_mouth, row

#: Lossless, so that what the stage hands to the encoder can be read back.
LOSSLESS = RenderOptions(crf=0, preset="ultrafast")


@pytest.fixture(scope="module")
def video():
    """Info of the clip, and landmarks float32[120, 68, 2] of its frames: each second one found, the ones
    between interpolated.
    """
    found = (carphone()[1] + 0.5) / 3 - 0.5
    index = (np.arange(120) - 24) / 2
    flat = found.reshape(48, -1)
    between = np.stack([np.interp(index, np.arange(48), column) for column in flat.T], 1)
    return probe_video(str(carphone_file())), between.reshape(120, 68, 2).astype(np.float32)


def _dub(info, landmarks, target, **more):
    """A row whose frames 10 to 49 of 60 show the mouths of 40 frames later."""
    exemplar = np.full(60, -1)
    exemplar[10:50] = np.arange(50, 90)
    shape = landmarks[:60].copy()
    for frame in range(10, 50):
        shape[frame] = put_mouth(landmarks, frame + 40, frame)
    columns = {
        "exemplar": exemplar,
        "shape": shape,
        "source": np.arange(60),
        "out_pts": info.pts[:60],
        "blend": np.ones(60, np.float32),
    }
    return row(info, landmarks, str(target), **{**columns, **more})


def _pictures(path):
    info = probe_video(str(path))
    return [frame.rgb() for frame in read_frames(str(path), 0, info.n_frames, info)], info


def test_draws_where_told_and_leaves_all_else(video, tmp_path):
    info, landmarks = video
    segment = _dub(info, landmarks, tmp_path / "piece.mp4")
    stage = RenderMouths(LOSSLESS)
    stage.setup("cpu")
    columns = stage.process(segment)
    check_columns("render", RenderMouths.writes, columns, {"T": 120, "N": 60})
    assert columns["frames"] == 60
    assert columns["path"] == str(tmp_path / "piece.mp4")
    assert columns["bytes"] == (tmp_path / "piece.mp4").stat().st_size
    result, written = _pictures(tmp_path / "piece.mp4")
    assert (
        np.array_equal(written.pts * written.time_base, (info.pts[:60] - info.pts[0]) * info.time_base)
        or len(written.pts) == 60
    )
    source = [frame.rgb() for frame in read_frames(info.url, 0, 60, info)]
    for number, (before, after) in enumerate(zip(source, result)):
        changed = np.argwhere((before != after).any(-1))
        if not 10 <= number < 50:
            assert not len(changed), number
            continue
        own, unit = landmarks[number], face_unit(landmarks[number])
        bottom = max(own[CHIN, 1], segment["shape"][number][CHIN, 1])
        assert len(changed) > 100, number
        assert changed[:, 0].min() > own[27:30, 1].min()
        assert changed[:, 0].max() < bottom + 0.5 * unit
        assert changed[:, 1].min() > own[:, 0].min() - 0.3 * unit
        assert changed[:, 1].max() < own[:, 0].max() + 0.3 * unit


def test_same_bytes_whether_patches_are_in_memory_or_spilled(video, tmp_path):
    info, landmarks = video
    sums = []
    for name, limit in (("a", 512), ("b", 512), ("c", 0)):
        stage = RenderMouths(dataclasses.replace(LOSSLESS, patches_mib=limit))
        sums.append(stage.process(_dub(info, landmarks, tmp_path / f"{name}.mp4"))["sha256"])
    assert sums[0] == sums[1] == sums[2]


def test_options_of_the_title_count(video, tmp_path):
    info, landmarks = video
    plain = RenderMouths().process(_dub(info, landmarks, tmp_path / "a.mp4"))
    coarse = RenderMouths().process(
        _dub(info, landmarks, tmp_path / "b.mp4", options='{"render": {"crf": 40}}')
    )
    assert coarse["bytes"] < 0.5 * plain["bytes"]


def test_backwards_frozen_and_jumping_sources(video, tmp_path):
    info, landmarks = video
    source = np.array([*range(30, 45), *range(44, 2, -1), 3, 3, 3, 100, 101, 7, 110])
    total = len(source)
    more = {
        "source": source,
        "out_pts": info.pts[0] + np.arange(total) * 1000,
        "exemplar": np.full(total, -1),
    }
    more |= {"shape": landmarks[source], "blend": np.zeros(total, np.float32)}
    RenderMouths(LOSSLESS).process(row(info, landmarks, str(tmp_path / "piece.mp4"), **more))
    result, _ = _pictures(tmp_path / "piece.mp4")
    truth = {frame.index: frame.rgb() for frame in read_frames(info.url, 0, 120, info)}
    assert len(result) == total
    for number, picture in zip(source, result):
        assert np.array_equal(picture, truth[number])


def test_a_frozen_frame_speaks_and_stays_clean(video, tmp_path):
    """Each output frame is drawn on its own copy of the one source frame."""
    info, landmarks = video
    total = 12
    drops = np.linspace(0, 0.15, total)
    shape = np.array([open_mouth(landmarks[30], d) for d in drops])
    more = {
        "source": np.full(total, 30),
        "out_pts": info.pts[0] + np.arange(total) * 1000,
        "exemplar": np.full(total, 30),
    }
    more |= {"shape": shape, "blend": np.ones(total, np.float32), "still": True}
    RenderMouths(LOSSLESS).process(row(info, landmarks, str(tmp_path / "piece.mp4"), **more))
    result, _ = _pictures(tmp_path / "piece.mp4")
    (own,) = (frame.rgb() for frame in read_frames(info.url, 30, 31, info))
    changed = [(picture != own).any(-1).sum() for picture in result]
    assert changed[0] == 0
    assert changed[-1] > 300
    # Were the frames drawn over one another, the first rows' changes would pile up above the last one's.
    alone = {
        **more,
        "source": np.array([30]),
        "out_pts": info.pts[:1],
        "exemplar": np.array([30]),
        "shape": shape[:1],
        "blend": np.ones(1, np.float32),
    }
    alone["shape"] = shape[-1:]
    RenderMouths(LOSSLESS).process(row(info, landmarks, str(tmp_path / "one.mp4"), **alone))
    (single,), _ = _pictures(tmp_path / "one.mp4")
    assert np.abs(single.astype(int) - result[-1]).max() <= 40
    assert (np.abs(single.astype(int) - result[-1]).max(-1) > 8).mean() < 0.002


def test_frames_without_a_face_or_a_shape_are_not_drawn(video):
    info, landmarks = video
    valid, shape = np.ones(120, bool), landmarks.copy()
    valid[3] = False
    shape[4, 50] = np.nan
    exemplar, blend = np.full(120, 20), np.ones(120, np.float32)
    exemplar[5], blend[6] = -1, 0
    segment = row(info, landmarks, "unused", valid=valid, shape=shape, exemplar=exemplar, blend=blend)
    assert np.flatnonzero(~drawn_frames(segment)).tolist() == [3, 4, 5, 6]


def test_same_bytes_whether_patches_were_kept_or_are_decoded(video, tmp_path, monkeypatch):
    info, landmarks = video
    stage, kept_frames = RenderMouths(LOSSLESS), KeptFrames(whole=0)
    monkeypatch.setattr("operators.exemplar.render_stage.KEPT", kept_frames)
    stage.setup("cpu")
    decoded = stage.process(_dub(info, landmarks, tmp_path / "decoded.mp4"))
    reading = kept_frames.begin(info.url, 30)
    for frame in read_frames(info.url, 50, 80, info):  # not all: the others are decoded
        reading.offer(frame, landmarks[frame.index] + 0.4)
    opened = []
    monkeypatch.setattr(
        "operators.exemplar.render_stage.chosen_frames",
        lambda url, numbers, info: opened.extend(numbers.tolist()) or chosen_frames(url, numbers, info),
    )
    kept = stage.process(_dub(info, landmarks, tmp_path / "kept.mp4"))
    assert opened == list(range(80, 90))
    assert kept["sha256"] == decoded["sha256"]


def test_whole_frames_that_are_kept_are_not_decoded_and_give_the_same_bytes(video, tmp_path, monkeypatch):
    info, landmarks = video
    stage, kept_frames = RenderMouths(LOSSLESS), KeptFrames()
    monkeypatch.setattr("operators.exemplar.render_stage.KEPT", kept_frames)
    stage.setup("cpu")
    # Forwards, standing, and backwards.
    source = np.concatenate([np.arange(40), np.full(5, 39), np.arange(39, 24, -1)])
    decoded = stage.process(_dub(info, landmarks, tmp_path / "decoded.mp4", source=source))
    reading = kept_frames.begin(info.url, 120)
    for frame in read_frames(info.url, 0, 120, info):
        reading.offer(frame, None)

    def read(*_):
        pytest.fail("frames that are kept were decoded")

    monkeypatch.setattr("operators.exemplar.render_stage.source_frames", read)
    monkeypatch.setattr("operators.media.ordered_frames.read_frames", read)
    # Twice: what is drawn into the first output's frames does not show in the second.
    for name in ("one.mp4", "two.mp4"):
        kept = stage.process(_dub(info, landmarks, tmp_path / name, source=source))
        assert kept["sha256"] == decoded["sha256"]
