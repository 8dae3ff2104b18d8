"""The face mesh as a backend: the 68 points, faces that are turned, absent or covered, and the stage with it."""

import dataclasses
import json
import platform
import resource
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from operators.faces import validity
from operators.faces.backend import gives_mesh, make_backend
from operators.faces.canonical import transform_of_box
from operators.faces.dlib_backend import DlibBackend
from operators.faces.geometry import MIRROR, eye_distance, lip_opening
from operators.faces.mesh_backend import MeshBackend, missing_files, to_68
from operators.faces.search import overlap
from operators.faces.seed import look
from operators.faces.stage import DetectFaces, DetectOptions
from operators.numeric.affine import apply
from operators.segment import Segment
from retalk_models.registry.errors import WeightsError
from retalk_models.tflite.runtime import litert_problem
from tests.operators.faces.footage import astronaut, carphone, cover_mouth, encode, luma, segment
from tests.operators.faces.head import rotation_matrix

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def mesh(face_mesh: Path) -> MeshBackend:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RETALK_HOME", str(face_mesh.parent))
        return MeshBackend("cpu", "torch")


def at_face(backend: MeshBackend | DlibBackend, picture: np.ndarray) -> np.ndarray:
    boxes, scores = backend.detect(picture if backend.colour else luma(picture))
    return look(
        backend, picture if backend.colour else luma(picture), transform_of_box(boxes[0]), float(scores[0]), 2
    ).landmarks


def test_the_68_points_lie_where_dlibs_do(mesh: MeshBackend, backend: DlibBackend) -> None:
    assert gives_mesh(mesh)
    assert not gives_mesh(backend)
    for picture in (astronaut(), carphone()[20]):
        ours, theirs = at_face(mesh, picture), at_face(backend, picture)
        apart = np.linalg.norm(ours - theirs, axis=1) / eye_distance(theirs)
        assert np.median(apart) < 0.05
        assert apart[17:].max() < 0.2
        assert apart[8] < 0.15


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator")
def test_a_pass_takes_its_memory_from_the_one_before(mesh: MeshBackend) -> None:
    """Pages that go back to the system and return empty cost a quarter of the time."""
    crop = cv2.resize(astronaut()[60:220, 144:304], (256, 256), interpolation=cv2.INTER_LINEAR)
    taken = []
    for _ in range(6):
        before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
        mesh.networks.mesh(np.stack([crop, crop]))
        taken.append(resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before)
    assert min(taken) < 500  # 1500 and more where they are returned


def test_faces_are_found_in_wide_and_high_pictures(mesh: MeshBackend) -> None:
    picture = astronaut()
    black = np.zeros_like(picture)
    (alone, *_), _ = mesh.detect(picture)
    for both, shift in (((black, picture), (512, 0)), ((black, black, picture), (0, 1024))):
        boxes, scores = mesh.detect(np.concatenate(both, 1 if shift[0] else 0))
        assert scores[0] > 0
        np.testing.assert_allclose(boxes[0], alone + np.array([*shift, *shift]), atol=35)
    assert mesh.detect(black)[0].shape == (0, 4)
    # A face of 80 pixels is found in a picture of any size, and once where tiles overlap.
    large = np.zeros((1080, 1920, 3), np.uint8)
    large[300:812, 700:1212] = picture
    boxes, scores = mesh.detect(large)
    assert scores[0] > 0
    np.testing.assert_allclose(boxes[0], alone + np.array([700, 300, 700, 300]), atol=20)
    assert sum(overlap(box, boxes[0]) > 0.2 for box in boxes) == 1


def test_a_turned_picture_gives_the_turned_points(mesh: MeshBackend) -> None:
    picture = astronaut()
    upright = at_face(mesh, picture)
    for degrees in (20, 50):
        turn = cv2.getRotationMatrix2D((226, 120), degrees, 1.0)
        turned = cv2.warpAffine(picture, turn, (512, 512), borderMode=cv2.BORDER_REFLECT)
        apart = np.linalg.norm(at_face(mesh, turned) - apply(turn, upright), axis=1) / eye_distance(upright)
        assert apart[36:].max() < 0.05, degrees


def test_the_mirrored_picture_gives_the_mirrored_points(mesh: MeshBackend) -> None:
    picture = astronaut()
    width = picture.shape[1]
    points = at_face(mesh, picture)
    mirrored = at_face(mesh, np.ascontiguousarray(picture[:, ::-1]))[MIRROR]
    mirrored[:, 0] = width - 1 - mirrored[:, 0]
    shift = (mirrored - points)[36:].mean(0) / eye_distance(points)
    assert np.abs(shift).max() < 0.006  # half a pixel of the network's crop would be 0.014 between the two


def test_yaw_follows_the_turn_of_the_mesh_and_the_mirrored_picture(mesh: MeshBackend) -> None:
    picture = astronaut()
    looks = []
    for one in (picture, np.ascontiguousarray(picture[:, ::-1])):
        box = transform_of_box(mesh.detect(one)[0][0])
        looks.append(look(mesh, one, box, 1.0, guesses=2).yaw)
    assert abs(looks[0] + looks[1]) < 4
    assert abs(looks[0]) < 30
    solid = mesh.networks.canonical.vertices * [1, -1, -1]
    for yaw in (-45.0, 0.0, 30.0):
        turned = 20 * solid @ rotation_matrix(yaw, 8.0, -12.0).T + [300, 200, 0]
        assert mesh._yaw(turned) == pytest.approx(yaw, abs=1e-6)


def test_points_do_not_depend_on_whether_a_second_crop_is_looked_at(mesh: MeshBackend) -> None:
    picture = astronaut()
    place = transform_of_box(mesh.detect(picture)[0][0])
    quick, exact = (mesh.look(picture, place, None, guess=True, exact=exact) for exact in (False, True))
    assert np.abs(quick.mesh - exact.mesh).max() < 0.01  # batches have other last bits
    assert quick.spread.max() == 0
    assert 0 < exact.spread[48:].mean() < 0.02


def test_what_is_no_face_has_no_presence(mesh: MeshBackend) -> None:
    rng = np.random.default_rng(1)
    noise = cv2.GaussianBlur(rng.integers(0, 256, (300, 300, 3)).astype(np.uint8), (0, 0), 3)
    box = np.array([50, 50, 250, 250], np.float32)
    assert look(mesh, noise, transform_of_box(box), 1.0, guesses=2).score < -0.3
    seen = look(mesh, carphone()[0], transform_of_box(mesh.detect(carphone()[0])[0][0]), 0.0, guesses=2)
    assert 0.6 < seen.score < 1.6
    assert seen.mesh is not None
    assert seen.mesh.shape == (478, 3)
    assert 0 < seen.spread[48:].mean() < 0.02


def test_to_68_spreads_the_jaw_evenly_and_takes_stacks() -> None:
    rng = np.random.default_rng(3)
    meshes = rng.normal(size=(2, 3, 478, 3))
    points = to_68(meshes)
    assert points.shape == (2, 3, 68, 2)
    np.testing.assert_array_equal(points[1, 2], to_68(meshes[1, 2]))
    np.testing.assert_allclose(points[..., [0, 8, 16], :], meshes[..., [127, 152, 356], :2])
    np.testing.assert_allclose(points[..., 49, :], meshes[..., [39, 40], :2].mean(-2))


def test_the_stage_follows_a_face_with_the_mesh(
    mesh: MeshBackend, face_mesh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And says of a core frame the same wherever its segment begins, which dlib's tests hold the tracker to as well."""
    monkeypatch.setenv("RETALK_HOME", str(face_mesh.parent))
    frames = list(carphone()[:45])
    grey = np.full_like(frames[0], 90)
    url = encode(tmp_path / "talk.mp4", [*frames[:28], *[grey] * 8, *frames[36:]])
    stage = DetectFaces(DetectOptions(backend="mesh", recognise="never"))
    assert stage.model_files(stage.options) == ("face_landmarker.task", "face_detection_full_range.tflite")
    assert not stage.bundled_models(stage.options)
    stage.setup("cpu")
    anchor = mesh.detect(frames[0])[0][0]
    whole = stage.process(segment(url, (0, 45), (0, 45), anchor))
    assert whole["valid"][:28].all()
    assert not whole["valid"][28:36].any()
    assert whole["valid"][36:].all()
    opening = lip_opening(whole["landmarks"][:28].astype(float))
    assert opening.min() > -0.005
    assert opening.max() > 0.05
    part = stage.process(segment(url, (40, 45), (0, 45), anchor, stage.halo(stage.options)))
    np.testing.assert_array_equal(part["landmarks"][-5:], whole["landmarks"][-5:])


def talk(mesh: MeshBackend, folder: Path, count: int) -> Segment:
    """The first ``count`` frames of the carphone clip as a segment."""
    frames = carphone()[:count]
    url = encode(folder / "talk.mp4", list(frames))
    return segment(url, (0, count), (0, count), mesh.detect(frames[0])[0][0])


@pytest.mark.skipif(bool(litert_problem()), reason="the extra litert is not installed")
def test_landmarks_do_not_depend_on_the_runtime(
    mesh: MeshBackend, face_mesh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETALK_HOME", str(face_mesh.parent))
    row = talk(mesh, tmp_path, 30)
    seen = {}
    for runtime in ("torch", "litert"):
        stage = DetectFaces(DetectOptions(backend="mesh", recognise="never", mesh_runtime=runtime))
        stage.setup("cpu")
        seen[runtime] = stage.process(row)
    ours, theirs = seen["torch"], seen["litert"]
    np.testing.assert_array_equal(theirs["valid"], ours["valid"])
    assert ours["valid"].all()
    eyes = eye_distance(ours["landmarks"].astype(np.float64))[:, None]
    apart = np.linalg.norm(theirs["landmarks"] - ours["landmarks"], axis=-1)
    assert (apart / eyes).max() < 0.01


def test_a_row_has_the_backend_that_it_asks_for(
    mesh: MeshBackend, face_mesh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETALK_HOME", str(face_mesh.parent))
    row = talk(mesh, tmp_path, 12)
    results = []
    for options, own in (
        (DetectOptions(backend="dlib"), {"backend": "mesh", "mesh_runtime": "torch"}),
        (DetectOptions(backend="mesh", mesh_runtime="torch"), {}),
        (DetectOptions(backend="dlib"), {}),
    ):
        stage = DetectFaces(dataclasses.replace(options, recognise="never"))
        stage.setup("cpu")
        asked = {**row._row, "options": json.dumps({"detect": own})}
        results.append(stage.process(Segment(asked))["landmarks"])
    np.testing.assert_array_equal(results[0], results[1])
    assert np.abs(results[2] - results[1]).max() > 0.1


def test_a_worker_without_the_runtime_says_what_is_missing(
    face_mesh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETALK_HOME", str(face_mesh.parent))
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)  # as where the extra is not installed
    stage = DetectFaces(DetectOptions(backend="mesh", mesh_runtime="litert"))
    with pytest.raises(ImportError, match=r"ai-edge-litert.*or set detect\.mesh_runtime=torch"):
        stage.setup("cpu")
    assert stage.decided(DetectOptions(backend="mesh"), "cpu").mesh_runtime == "torch"
    stage = DetectFaces(DetectOptions(backend="mesh"))
    stage.setup("cpu")


def test_a_covered_mouth_is_noticed_and_a_free_one_is_not(
    mesh: MeshBackend, face_mesh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETALK_HOME", str(face_mesh.parent))
    frames = list(carphone()[:54])
    for t in range(30, 40):
        frames[t] = cover_mouth(frames[t], at_face(mesh, frames[t]), 1.0)
    stage = DetectFaces(DetectOptions(backend="mesh", recognise="never"))
    stage.setup("cpu")
    url = encode(tmp_path / "covered.mp4", frames)
    seen = stage.process(segment(url, (0, 54), (0, 54), mesh.detect(frames[0])[0][0]))
    assert (seen["residual"][30:40] > 2).all()
    assert (seen["fault"][31:39] == validity.COVERED_MOUTH).all()
    assert seen["valid"][:26].all()
    assert seen["valid"][44:].all()


def test_without_its_files_the_error_has_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETALK_HOME", str(tmp_path))
    assert missing_files() == ["face_landmarker.task", "face_detection_full_range.tflite"]
    make_backend("dlib", "cpu")
    with pytest.raises(WeightsError, match=r"2 model files missing") as caught:
        MeshBackend("cpu")
    assert "retalk models pull face_landmarker.task face_detection_full_range.tflite" in str(caught.value)
