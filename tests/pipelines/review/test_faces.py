"""The people of a title: pictures that are choices of a face, seconds, and who speaks."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from operators.faces import backend
from operators.faces.anchors import FaceError
from pipelines.cli import main as cli
from pipelines.review.faces import list_faces
from pipelines.review.faces_folder import write_whole
from tests.operators.faces.footage import astronaut, carphone, encode
from tests.pipelines.conftest import make_video


@pytest.fixture(scope="module")
def title(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Twelve frames of a man and a woman, eighteen of the woman alone; no sound."""
    lady = cv2.resize(astronaut()[0:300, 70:370], (288, 288), interpolation=cv2.INTER_AREA)
    men = [cv2.resize(frame, (352, 288), interpolation=cv2.INTER_AREA) for frame in carphone()[:12]]
    both = [np.hstack([man, lady]) for man in men]
    alone = [np.hstack([np.full_like(men[0], 90), lady])] * 18
    return encode(tmp_path_factory.mktemp("faces") / "two.mp4", [*both, *alone], rate=12)


def listing(*people: int) -> str:
    """`faces.json` of an earlier call that has found these people."""
    return json.dumps({"video": "v.mp4", "people": [{"face": f"person-{number}.jpg"} for number in people]})


def test_each_person_has_a_picture_and_seconds(
    title: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["faces", title, "-o", str(tmp_path / "people"), "--json", "-q"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads((tmp_path / "people" / "faces.json").read_text())
    woman, man = found["people"]
    assert (woman["seconds"], man["seconds"]) == pytest.approx((2.5, 1.0), abs=0.1)
    assert (woman["shots"], man["shots"]) == (2, 1)
    assert "nobody_speaks" not in found, "there is no sound"
    names = sorted(path.name for path in (tmp_path / "people").iterdir())
    assert names == ["faces.jpg", "faces.json", "index.html", "person-1.jpg", "person-2.jpg"]
    page = (tmp_path / "people" / "index.html").read_text()
    assert page.count("person-2.jpg") == 2


def test_pictures_of_another_video_do_not_stay(title: str, tmp_path: Path) -> None:
    folder = tmp_path / "people"
    folder.mkdir()
    (folder / "faces.json").write_text(listing(1, 2, 3))
    for name in ("person-3.jpg", "person-4.jpg"):
        (folder / name).write_bytes(b"somebody else")
    list_faces(title, folder)
    names = sorted(path.name for path in folder.glob("person-*"))
    assert names == ["person-1.jpg", "person-2.jpg", "person-4.jpg"], "the last was not written by it"


def test_nobody_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FaceError, match=r"v\.mp4: no face found"):
        list_faces(str(make_video(tmp_path / "v.mp4", frames=6)), tmp_path / "people")
    assert not (tmp_path / "people").exists()


def test_a_folder_that_cannot_be_is_refused_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("precious")
    for output in (tmp_path / "file", tmp_path / "file" / "people"):
        assert cli.main(["faces", str(tmp_path / "absent.mp4"), "-o", str(output)]) == 2
        assert f"{tmp_path / 'file'} is a file; give a folder" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("index.html", "precious"),
        ("person-7.jpg", "precious"),
        ("faces.jpg", "precious"),
        ("faces.json", '{"faces": [1, 2, 3]}'),
        ("faces.json", '{"video": "v.mp4", "people": [{"face": Infinity}]}'),
        ("faces.json", '{"video": "v.mp4", "people": [{"face": "../precious.jpg"}]}'),
        ("faces.json", "[" * 100_000),
    ],
)
def test_files_of_somebody_else_are_not_replaced(
    title: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: str
) -> None:
    (tmp_path / name).write_text(content)
    assert cli.main(["faces", title, "-o", str(tmp_path), "-q"]) == 2
    assert f"{tmp_path / name} is there already, and not from `retalk faces`" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == content


def test_a_picture_of_somebody_else_among_those_of_an_earlier_call_stays(
    title: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "faces.json").write_text(listing(1))
    (tmp_path / "person-2.jpg").write_text("precious")
    assert cli.main(["faces", title, "-o", str(tmp_path), "-q"]) == 2
    assert "person-2.jpg is there already" in capsys.readouterr().err
    assert (tmp_path / "faces.json").read_text() == listing(1)


def test_symlinks_are_replaced_and_their_targets_stay(title: str, tmp_path: Path) -> None:
    folder, outside = tmp_path / "people", tmp_path / "precious"
    folder.mkdir()
    outside.write_text("precious")
    (folder / "faces.json").write_text(listing(1))
    for name in ("faces.jpg", "person-1.jpg"):
        (folder / name).symlink_to(outside)
    list_faces(title, folder)
    assert outside.read_text() == "precious"
    assert not any(path.is_symlink() for path in folder.iterdir())


def test_folders_that_cannot_be_are_told_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "nowhere").symlink_to(tmp_path / "absent")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "faces.json").write_text(listing(1))
    (tmp_path / "own" / "person-1.jpg").mkdir()
    (tmp_path / "dangling").mkdir()
    (tmp_path / "dangling" / "index.html").symlink_to(tmp_path / "absent")
    for name, said in (
        ("nowhere", "is a symlink to nowhere"),
        ("own", "person-1.jpg is there already"),
        ("dangling", "index.html is there already"),
        ("x" * 300, "File name too long; choose another folder"),
    ):
        assert cli.main(["faces", str(tmp_path / "absent.mp4"), "-o", str(tmp_path / name)]) == 2
        assert said in capsys.readouterr().err
    assert (tmp_path / "own" / "faces.json").exists()
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize("written", [0, 1, 4])
def test_an_interrupted_call_can_be_made_again(
    title: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    written: int,
) -> None:
    calls: list[str] = []

    def interrupted(path: Path, data: bytes) -> None:
        calls.append(path.name)
        if len(calls) > written:
            raise KeyboardInterrupt
        write_whole(path, data)

    (tmp_path / "faces.json").write_text(listing(1, 2, 3))
    (tmp_path / "person-3.jpg").write_text("of a longer video")
    command = ["faces", title, "-o", str(tmp_path), "--json", "-q"]
    with monkeypatch.context() as patched:
        patched.setattr("pipelines.review.faces.write_whole", interrupted)
        assert cli.main(command) == 130
    assert len(calls) == written + 1
    capsys.readouterr()
    assert cli.main(command) == 0
    assert len(json.loads(capsys.readouterr().out)["people"]) == 2
    assert sorted(path.name for path in tmp_path.glob("person-*")) == ["person-1.jpg", "person-2.jpg"]


def test_seconds_of_nobody_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {"nobody_speaks": {"seconds": 1.26}, "people": []}
    monkeypatch.setattr("pipelines.review.faces.list_faces", lambda *_: found)
    assert cli.main(["faces", "x.mp4", "-o", str(tmp_path), "-q"]) == 0
    assert "For 1.3 s nobody speaks, or it cannot be said" in capsys.readouterr().out


def test_the_mesh_sees_the_same_people(
    face_mesh: Path,
    title: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    backend._shared_mesh.cache_clear()  # of a test before, which had the files
    given = ["faces", title, "--backend", "mesh", "--json", "-q", "-o", str(tmp_path / "people")]
    assert cli.main(given) == 2, "its files are not installed"
    assert "retalk models pull face_landmarker.task" in capsys.readouterr().err
    monkeypatch.setenv("RETALK_HOME", str(face_mesh.parent))
    assert cli.main(given) == 0
    seconds = [person["seconds"] for person in json.loads(capsys.readouterr().out)["people"]]
    assert seconds == pytest.approx([2.5, 1.0], abs=0.1)
