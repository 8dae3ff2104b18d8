"""Samples of shots: which frames are searched for faces, held in bounded memory while a shot of
unknown length is read.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from operators.faces import frame_sampler as samples_module
from operators.faces.frame_sampler import LATEST, LEAST, MOST, TITLE, ShotFrameSampler, sample_frames
from operators.media.frames import Frame
from operators.media.probe import VideoInfo, probe_video
from operators.media.reader import read_frames
from tests.pipelines.conftest import make_video

LENGTH = 130


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> tuple[VideoInfo, list[Frame]]:
    path = str(make_video(tmp_path_factory.mktemp("samples") / "v.mp4", frames=LENGTH))
    info = probe_video(path)
    return info, list(read_frames(path, 0, LENGTH, info))


def taken(info: VideoInfo, frames: list[Frame], cuts: list[int], late: int = 2) -> list[list[int]]:
    """Numbers of the samples of each shot, where cuts are noticed some frames late."""
    samples, found = ShotFrameSampler(info), []
    for frame in frames:
        found += [samples.take(cut) for cut in cuts if cut == frame.index - late]
        samples.add(frame)
    found += [samples.take(cut) for cut in [cut for cut in cuts if cut >= len(frames) - late] + [len(frames)]]
    return [list(shot) for shot in found]


def test_samples_are_bounded_spread_and_inside_the_shot(frames: tuple[VideoInfo, list[Frame]]) -> None:
    shots = [
        (0, 1),
        (1, 4),
        (4, 90),
        (100, 10_000),
        *((10_000 + 30 * i, 10_030 + 30 * i) for i in range(2000)),
    ]
    info = dataclasses.replace(frames[0], pts=np.arange(70_000) * int(frames[0].pts[1] - frames[0].pts[0]))
    samples = [sample_frames(info, start, stop) for start, stop in shots]
    assert samples[0] == [0]
    assert sum(map(len, samples)) <= TITLE + len(shots)
    for (start, stop), numbers in zip(shots, samples, strict=True):
        assert 1 <= len(numbers) <= MOST
        assert all(start <= number < stop for number in numbers)
        assert numbers == sorted(set(numbers))
    assert len(samples[3]) == MOST
    assert len(sample_frames(frames[0], 0, 90)) == round(90 / float(info.average_rate) * samples_module.RATE)
    assert len(sample_frames(frames[0], 90, 100)) == LEAST


@pytest.mark.parametrize("cuts", [[], [40], [5, 10, 47], [90, 128], [125]])
def test_of_shots_that_fit_exactly_the_wanted_frames_are_taken(
    frames: tuple[VideoInfo, list[Frame]], cuts: list[int]
) -> None:
    edges = [0, *cuts, LENGTH]
    found = taken(*frames, cuts)
    for start, stop, numbers in zip(edges[:-1], edges[1:], found, strict=True):
        wanted = sample_frames(frames[0], start, stop)
        assert len(numbers) == len(wanted)
        if stop - start <= 2 * MOST - LATEST:
            assert numbers == wanted
        else:
            assert max(abs(a - b) for a, b in zip(numbers, wanted, strict=True)) <= (stop - start) / MOST, (
                "thinned, still evenly spread"
            )


def test_pictures_are_luma_or_rgb_of_their_frames(frames: tuple[VideoInfo, list[Frame]]) -> None:
    info, pictures = frames
    for colour in (False, True):
        samples = ShotFrameSampler(info, 100, colour)
        for frame in pictures[100:]:
            samples.add(frame)
        for index, picture in samples.take(LENGTH).items():
            assert np.array_equal(picture, pictures[index].rgb() if colour else pictures[index].luma())


def test_what_is_held_has_an_end(
    frames: tuple[VideoInfo, list[Frame]], monkeypatch: pytest.MonkeyPatch
) -> None:
    info, pictures = frames
    monkeypatch.setattr(samples_module, "HELD_BYTES", 10 * info.width * info.height)
    samples, most = ShotFrameSampler(info), 0
    for frame in pictures:
        samples.add(frame)
        most = max(most, len(samples._held))
    assert most == 10
    wanted, numbers = sample_frames(info, 0, LENGTH), list(samples.take(LENGTH))
    assert numbers == sorted(set(numbers))
    assert max(min(abs(number - other) for other in numbers) for number in wanted) <= 13
    assert samples.take(LENGTH) == {}
