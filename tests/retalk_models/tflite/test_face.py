"""The face networks with their official weights, against what LiteRT 2.3 computes for the same pictures (recorded once)."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data

from retalk_models.tflite.detector import FaceDetector, suppressed
from retalk_models.tflite.face import MOUTH_SHAPES, FaceLandmarker

pytestmark = pytest.mark.usefixtures("one_thread")

#: Vertex: x, y, z in the crop below, as LiteRT gives them.
MESH = {
    0: (127.126, 129.850, -15.021),
    13: (127.252, 134.111, -9.277),
    14: (126.618, 146.702, -3.683),
    33: (83.138, 66.891, 6.886),
    61: (95.328, 128.458, 13.243),
    152: (124.653, 193.872, 16.821),
    234: (58.799, 81.206, 66.700),
    263: (176.683, 72.193, 4.887),
    454: (201.917, 89.202, 63.552),
    468: (95.386, 67.139, 0.403),
}
PRESENCE = 13.904
SHAPES = {"jawOpen": 0.0321, "mouthClose": 0.0020, "mouthFunnel": 0.0086, "mouthPucker": 0.0058}
#: Detector: logit of the best face, its box, and its left eye.
FULL = (2.746, (173.3, 67.9, 279.8, 174.5), (205.3, 102.0))
SHORT = (2.478, (180.2, 82.4, 274.2, 176.4), (204.5, 102.7))


@pytest.fixture(scope="module")
def networks(face_mesh: Path) -> FaceLandmarker:
    return FaceLandmarker(face_mesh / "face_landmarker.task")


@pytest.fixture(scope="module")
def crop() -> np.ndarray:
    return cv2.resize(skimage.data.astronaut()[60:220, 144:304], (256, 256), interpolation=cv2.INTER_LINEAR)


def test_the_mesh_is_that_of_litert_half_a_pixel_further_in(
    networks: FaceLandmarker, crop: np.ndarray
) -> None:
    points, presence = networks.mesh(np.stack([crop, crop[:, ::-1]]))
    expected = np.array(list(MESH.values())) - [0.5, 0.5, 0]
    np.testing.assert_allclose(points[0, list(MESH)], expected, atol=0.05)
    assert presence[0] == pytest.approx(PRESENCE, abs=0.02)
    # The mirrored face has the same mouth, mirrored: that is what the half pixel is for.
    mirrored = 255 - points[1, [13, 14, 0], 0]
    np.testing.assert_allclose(mirrored, points[0, [13, 14, 0], 0], atol=1.0)


def test_blendshapes_are_those_of_litert(networks: FaceLandmarker, crop: np.ndarray) -> None:
    points, _ = networks.mesh(crop[None])
    (weights,) = networks.blendshapes(points + np.array([0.5, 0.5, 0]))
    assert weights.shape == (52,)
    for name, value in SHAPES.items():
        assert weights[MOUTH_SHAPES[name]] == pytest.approx(value, abs=1e-3)
    assert weights[44:46].min() > 0.85  # she smiles


def test_detectors_find_the_face_where_litert_does(networks: FaceLandmarker, face_mesh: Path) -> None:
    full = FaceDetector((face_mesh / "face_detection_full_range.tflite").read_bytes())
    for detector, (score, box, eye) in ((full, FULL), (networks.detector, SHORT)):
        side = detector.side
        picture = cv2.resize(skimage.data.astronaut(), (side, side), interpolation=cv2.INTER_AREA)
        found = detector(picture)
        assert found.scores[0] == pytest.approx(score, abs=0.01)
        np.testing.assert_allclose(found.boxes[0] * 512 / side, box, atol=0.1)
        np.testing.assert_allclose(found.points[0, 0] * 512 / side, eye, atol=0.1)
        assert not len(detector(np.zeros((side, side, 3), np.uint8)).scores)


def test_the_canonical_face_is_upright_and_symmetric(networks: FaceLandmarker) -> None:
    face = networks.canonical
    assert face.vertices.shape == (468, 3)
    assert face.triangles.shape == (898, 3)
    assert face.triangles.max() == 467
    numbers, weights = face.basis
    assert len(numbers) == 33
    assert weights.min() > 0
    left, right, chin, tip = face.vertices[[33, 263, 152, 1]]
    np.testing.assert_allclose(left * [-1, 1, 1], right, atol=1e-4)
    assert chin[1] < left[1]
    assert tip[2] > left[2]


def test_a_file_that_is_no_bundle_is_named(tmp_path: Path) -> None:
    path = tmp_path / "face_landmarker.task"
    path.write_bytes(b"no zip archive")
    with pytest.raises(ValueError, match=r"face_landmarker\.task"):
        FaceLandmarker(path)


def test_boxes_of_one_face_become_the_best_one() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 1, 11, 11], [20, 0, 30, 10], [5, 5, 5, 9]], np.float32)
    assert suppressed(boxes, 0.3) == [0, 2]
