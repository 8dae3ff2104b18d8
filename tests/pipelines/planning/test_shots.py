"""Shots: cuts are found at the exact frame, by our own frame numbers, also in VFR files; motion and single
frames are no cuts.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import av
import numpy as np
import pytest
import torch

from operators.faces.backend import BackendName
from operators.media.probe import probe_video
from operators.media.reader import read_frames
from pipelines.planning.shots import Looked, look_through
from tests.operators.faces.footage import carphone as talking
from tests.operators.faces.footage import encode
from tests.pipelines.conftest import make_video


def looked_through(
    path: Path, face: str | None = None
) -> tuple[list[tuple[int, int]], list[np.ndarray | None]]:
    info = probe_video(str(path))
    looking, frames = look_through(str(path), info, faces=[face] if face else []), []
    while True:
        try:
            frames.append(next(looking))
        except StopIteration as end:
            assert frames == (list(range(info.n_frames)) if info.n_frames > 1 or face else []), (
                "each frame is decoded once"
            )
            looked: Looked = end.value
            return looked.shots, looked.anchors[face] if face else [None] * len(looked.shots)


def looked(url: str, backend: BackendName) -> Looked:
    looking = look_through(url, probe_video(url), faces=["largest"], backend=backend)
    while True:
        try:
            next(looking)
        except StopIteration as end:
            return cast(Looked, end.value)


def shots_of(path: Path) -> list[tuple[int, int]]:
    return looked_through(path)[0]


def test_cuts_are_exact(tmp_path: Path) -> None:
    assert shots_of(make_video(tmp_path / "v.mp4", frames=60, scenes=3)) == [(0, 20), (20, 40), (40, 60)]


def test_irregular_times_change_nothing(tmp_path: Path) -> None:
    times = [k * 100 + (61 * k) % 70 + (900 if k > 33 else 0) for k in range(60)]
    assert shots_of(make_video(tmp_path / "v.mp4", frames=60, scenes=3, times=times)) == [
        (0, 20),
        (20, 40),
        (40, 60),
    ]


@pytest.mark.parametrize("frames", [1, 2, 3, 9])
def test_short_videos_are_one_shot(tmp_path: Path, frames: int) -> None:
    assert shots_of(make_video(tmp_path / "v.mp4", frames=frames)) == [(0, frames)]


def test_a_talking_head_is_one_shot(carphone: Path) -> None:
    """The view through the car's window rushes by: fast motion is no cut."""
    info = probe_video(str(carphone))
    assert shots_of(carphone) == [(0, info.n_frames)]


def test_cut_between_two_people(carphone: Path, tmp_path: Path) -> None:
    """A cut from real footage to another part of it, mirrored and darker: one cut, at its frame."""
    info = probe_video(str(carphone))
    images = [frame.rgb() for frame in read_frames(str(carphone), 0, 60, info)]
    path = tmp_path / "cut.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "libx264", rate=30, width=images[0].shape[1], height=images[0].shape[0], pix_fmt="yuv420p"
        )
        for image in [
            *images[:31],
            *(np.ascontiguousarray((im[:, ::-1] * 0.7).astype(np.uint8)) for im in images[31:]),
        ]:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(stream.encode(None))
    assert shots_of(path) == [(0, 31), (31, 60)]


def test_real_clips(clips: Path | None, carphone: Path) -> None:
    """People who talk and move are one shot each; a grey card for a second makes three."""
    expected: dict[Path, list[int]] = {carphone: []}
    if clips is not None:
        names = (
            "vr_face1.mp4",
            "vr_face3.mp4",
            "vr_face5.mp4",
            "grid_bbaf2n.mpg",
            "grid_brbk7n.mpg",
            "lp_d20.mp4",
        )
        expected |= {clips / name: [] for name in names}
        expected[clips / "tricky/face_absent_1s.mp4"] = [50, 76]
    assert {path: [start for start, _ in shots_of(path)[1:]] for path in expected} == expected


def test_each_shot_has_its_face(carphone: Path, tmp_path: Path) -> None:
    """A face on the left, a wall, the same face on the right, and the wall again: found while the cuts are."""
    info = probe_video(str(carphone))
    faces = [
        frame.picture.reformat(width=352, height=288, format="rgb24").to_ndarray()
        for frame in read_frames(str(carphone), 0, 40, info)
    ]
    wall = np.full_like(faces[0], 120)
    left, right = (
        [np.hstack(pair) for pair in pairs]
        for pairs in ([(f, wall) for f in faces], [(wall, f) for f in faces])
    )
    none = [np.hstack([wall, wall])] * 12
    path = tmp_path / "people.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, width=704, height=288, pix_fmt="yuv420p")
        for image in [*left, *none, *right, *none]:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24")))
        container.mux(stream.encode(None))
    shots, anchors = looked_through(path, "largest")
    assert shots == [(0, 40), (40, 52), (52, 92), (92, 104)]
    assert [None if a is None else float(a[0] + a[2]) / 2 > 352 for a in anchors] == [False, None, True, None]


def test_the_mesh_finds_faces_with_one_thread(
    face_mesh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torch comes in with it, after the planner has limited the threads of what was there."""
    monkeypatch.setenv("RETALK_HOME", str(face_mesh.parent))
    url = encode(tmp_path / "talk.mp4", talking()[:6])
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        found = looked(url, "mesh")
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
    (anchor,) = found.anchors["largest"]
    assert anchor is not None
    assert 190 < (anchor[0] + anchor[2]) / 2 < 300
    assert [who for who, _ in found.people[0]] == [-1]
