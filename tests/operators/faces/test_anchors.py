"""Choosing the person: a title of three shots, a man and a woman side by side, the woman alone, a wall."""

import logging
from pathlib import Path

import cv2
import numpy as np
import pytest

from operators.faces.anchors import AnchorSearch, FaceError, find_anchors, parse_rule
from operators.faces.backend import make_backend
from operators.faces.dlib_backend import DlibBackend
from operators.faces.frame_sampler import ShotFrameSampler
from operators.faces.people import people_of_shot
from operators.faces.search import LONG_SIDES
from operators.media.probe import VideoInfo, probe_video
from operators.media.reader import read_frames
from tests.operators.faces.footage import astronaut, carphone, encode, swaying

SHOTS = [(0, 40), (40, 70), (70, 90)]


def woman(count: int, size: int) -> list[np.ndarray]:
    portrait = cv2.resize(astronaut()[0:300, 70:370], (size, size), interpolation=cv2.INTER_CUBIC)
    return swaying(portrait, count, 6)[0]


@pytest.fixture(scope="module")
def title(tmp_path_factory: pytest.TempPathFactory) -> str:
    both = [np.hstack([man, lady]) for man, lady in zip(carphone()[:40], woman(40, 432), strict=True)]
    alone = [
        cv2.copyMakeBorder(lady, 0, 0, 300, 228, cv2.BORDER_CONSTANT, value=(90, 90, 90))
        for lady in woman(30, 432)
    ]
    wall = [np.full_like(both[0], 120)] * 20
    return encode(tmp_path_factory.mktemp("anchors") / "title.mp4", [*both, *alone, *wall])


@pytest.fixture(scope="module")
def info(title: str) -> VideoInfo:
    return probe_video(title)


def centres(anchors: list[np.ndarray | None]) -> list[float | None]:
    return [None if a is None else float((a[0] + a[2]) / 2) for a in anchors]


MAN, WOMAN, ALONE = 240, 750, 525


WANTED: dict[str, list[float | None]] = {
    "left": [MAN, None, None],  # she is no more on the left where she is alone
    "right": [WOMAN, ALONE, None],
    "0": [MAN, None, None],
    "1": [WOMAN, ALONE, None],
    "largest": [WOMAN, ALONE, None],  # his face is larger, hers is seen for longer
    "speaking": [WOMAN, ALONE, None],
}


def test_rules_by_place_mean_one_person_throughout_a_scene(
    title: str, info: VideoInfo, backend: DlibBackend
) -> None:
    search = AnchorSearch(title, [*WANTED], backend)
    for start, stop in SHOTS:
        samples = ShotFrameSampler(info, start, search.colour)
        for frame in read_frames(title, start, stop, info):
            samples.add(frame)
        search.add(samples.take(stop))
    anchors = search.anchors()
    assert search.notes == []
    assert [[one.identity for one in people] for people in search.people] == [[0, 1], [1], []]
    for face, wanted in WANTED.items():
        for found, at in zip(centres(anchors[face]), wanted, strict=True):
            assert (found is None) == (at is None), face
            assert at is None or found == pytest.approx(at, abs=45), face
    first = anchors["left"][0]
    assert first is not None
    assert first.dtype == np.float32
    assert first.shape == (4,)


@pytest.mark.usefixtures("one_thread")
def test_the_mesh_sees_tilted_people_and_no_pattern(
    face_mesh: Path, backend: DlibBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two people side by side with their heads on one side: dlib's detector wants them upright."""
    monkeypatch.setenv("RETALK_HOME", str(face_mesh.parent))
    halves = []
    for picture in (carphone()[20], cv2.resize(astronaut()[0:300, 70:370], (528, 432))):
        turn = cv2.getRotationMatrix2D((264, 200), 35, 1.0)
        halves.append(cv2.warpAffine(picture, turn, (528, 432), borderMode=cv2.BORDER_REFLECT))
    both = np.hstack(halves)
    noise = np.random.default_rng(2).integers(0, 256, both.shape).astype(np.uint8)
    mesh = make_backend("mesh", "cpu")
    found = people_of_shot({0: both}, mesh, LONG_SIDES[1:])
    assert [person.centre // 528 for person in found] == [0, 1]
    assert not people_of_shot({0: cv2.GaussianBlur(noise, (0, 0), 6)}, mesh)
    assert len(people_of_shot({0: cv2.cvtColor(both, cv2.COLOR_RGB2GRAY)}, backend, LONG_SIDES[1:])) < 2


def test_reference_picture_finds_the_person(
    title: str, info: VideoInfo, backend: DlibBackend, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    portrait = tmp_path / "she.png"
    cv2.imwrite(
        str(portrait),
        cv2.resize(astronaut(), None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA)[:, ::-1, ::-1],
    )
    with caplog.at_level(logging.INFO):
        found = centres(find_anchors(title, info, SHOTS, str(portrait), backend))
    assert found[0] == pytest.approx(WOMAN, abs=45)
    assert found[1] == pytest.approx(ALONE, abs=45)
    assert found[2] is None
    assert "0 (0." in caplog.text
    he = tmp_path / "he.jpg"
    cv2.imwrite(str(he), carphone()[100][..., ::-1])
    found = centres(find_anchors(title, info, SHOTS, str(he), backend))
    assert found[0] == pytest.approx(MAN, abs=45)
    assert found[1:] == [None, None]


def test_of_a_picture_of_several_people_a_note_says_who_is_meant(
    title: str, info: VideoInfo, backend: DlibBackend, tmp_path: Path
) -> None:
    both = tmp_path / "both.png"
    cv2.imwrite(str(both), np.hstack([carphone()[0], woman(1, 432)[0]])[..., ::-1])
    search = AnchorSearch(title, str(both), backend)
    (note,) = search.notes
    told = f"face: {both}: 2 faces in the picture: number %d from the left (0 is the first), the largest, is meant; "
    meant = {f"{told % number}crop it to the person": at for number, at in enumerate((MAN, WOMAN))}
    assert note in meant
    samples = ShotFrameSampler(info, 0, search.colour)
    for frame in read_frames(title, 0, 40, info):
        samples.add(frame)
    search.add(samples.take(40))
    assert centres(search.anchors()[str(both)]) == [pytest.approx(meant[note], abs=45)]
    assert search.notes == [note]


def test_what_cannot_be_found_is_said(
    title: str, info: VideoInfo, backend: DlibBackend, tmp_path: Path
) -> None:
    with pytest.raises(FaceError, match=r"title\.mp4: no face found in the only shot;"):
        find_anchors(title, info, SHOTS[2:], "largest", backend)
    with pytest.raises(FaceError, match=r"no shot shows that many faces \(at most 2\)"):
        find_anchors(title, info, SHOTS, "5", backend)
    he = tmp_path / "he.jpg"
    cv2.imwrite(str(he), carphone()[100][..., ::-1])
    with pytest.raises(
        FaceError, match=r"nobody in it looks like .*he\.jpg: the nearest face is 0\.\d+ away"
    ):
        find_anchors(title, info, SHOTS[1:2], str(he), backend)
    wall = tmp_path / "wall.png"
    cv2.imwrite(str(wall), np.full((300, 300, 3), 90, np.uint8))
    with pytest.raises(FaceError, match=r"wall\.png: no face found in the picture"):
        find_anchors(title, info, SHOTS, str(wall), backend)
    text = tmp_path / "text.jpg"
    text.write_text("no picture")
    with pytest.raises(FaceError, match=r"text\.jpg: cannot be read as a picture"):
        find_anchors(title, info, SHOTS, str(text), backend)
    with pytest.raises(FaceError, match="no such file"):
        find_anchors(title, info, SHOTS, str(tmp_path / "none.jpg"), backend)


def test_without_recognition_rules_count_in_each_shot(
    title: str, info: VideoInfo, backend: DlibBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(
        "operators.faces.anchors.Recogniser"
    )  # It would load a model trained on research data.
    search = AnchorSearch(title, ["largest", "left"], backend, recognise=False)
    for start, stop in SHOTS[:2]:
        samples = ShotFrameSampler(info, start, search.colour)
        for frame in read_frames(title, start, stop, info):
            samples.add(frame)
        search.add(samples.take(stop))
    anchors = search.anchors()
    assert centres(anchors["left"]) == centres(anchors["largest"]) == pytest.approx([MAN, ALONE], abs=45)
    assert all(one.identity < 0 for people in search.people for one in people)


def test_rules_are_listed_in_the_error() -> None:
    assert parse_rule("largest") == "largest"
    assert parse_rule("3") == 3
    assert parse_rule("some/where.PNG") == "reference"
    with pytest.raises(ValueError, match=r"middle.*use largest, left, right, speaking, a number"):
        parse_rule("middle")


def test_of_several_faces_one_that_nobody_looks_like_is_a_note(
    title: str, info: VideoInfo, backend: DlibBackend, tmp_path: Path
) -> None:
    he = tmp_path / "he.jpg"
    cv2.imwrite(str(he), carphone()[100][..., ::-1])
    search = AnchorSearch(title, ["largest", str(he)], backend)
    samples = ShotFrameSampler(info, 40, search.colour)
    for frame in read_frames(title, 40, 70, info):
        samples.add(frame)
    search.add(samples.take(70))
    found = search.anchors()
    assert found[str(he)] == [None]
    assert centres(found["largest"]) == [pytest.approx(ALONE, abs=45)]
    (note,) = search.notes
    assert "he.jpg" in note
    assert note.endswith("that speech moves no mouth")
