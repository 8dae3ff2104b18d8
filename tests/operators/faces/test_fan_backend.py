"""face-alignment with untrained weights in the official files' format: its own code runs, and points come
back where the maps peak.
"""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from operators.faces import fan_backend
from operators.faces.backend import make_backend
from operators.faces.canonical import BOX_EYES, SIDE, TEMPLATE
from operators.faces.dlib_backend import DlibBackend
from operators.faces.fan_backend import DETECTOR_FILE, LANDMARKS_FILE, FaceAlignmentBackend, missing_weights


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(fan_backend, "checkpoint_folder", lambda: tmp_path / "hub" / "checkpoints")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def test_missing_weights_are_named_and_not_fetched(hub: Path) -> None:
    assert [path.name for path in missing_weights()] == [DETECTOR_FILE, LANDMARKS_FILE]
    with pytest.raises(FileNotFoundError, match=f"{DETECTOR_FILE}.*{LANDMARKS_FILE}"):
        make_backend("face-alignment", "cpu")
    (hub / DETECTOR_FILE).touch()
    assert [path.name for path in missing_weights()] == [LANDMARKS_FILE]
    assert isinstance(make_backend("auto", "cuda"), DlibBackend)
    with pytest.raises(ValueError, match="auto, dlib, face-alignment, mesh"):
        make_backend("mtcnn", "cpu")  # type: ignore[arg-type]


def test_a_missing_package_is_named(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (DETECTOR_FILE, LANDMARKS_FILE):
        (hub / name).touch()
    monkeypatch.setitem(sys.modules, "face_alignment", None)  # as where the extra `fan` is not installed
    with pytest.raises(FileNotFoundError, match=r"pip install .*\[fan\].*or use the backend dlib"):
        make_backend("face-alignment", "cpu")
    assert isinstance(make_backend("auto", "cuda"), DlibBackend)


class BrightSpots(torch.nn.Module):
    """In the place of the landmark network: 68 equal maps that peak where the picture is bright."""

    def forward(self, crops: torch.Tensor) -> list[torch.Tensor]:
        maps = torch.nn.functional.avg_pool2d(crops.mean(1, keepdim=True), 4)
        return [maps.repeat(1, 68, 1, 1)]


@pytest.fixture
def networks(hub: Path, monkeypatch: pytest.MonkeyPatch) -> FaceAlignmentBackend:
    from face_alignment import utils
    from face_alignment.detection.sfd.net_s3fd import s3fd
    from face_alignment.models import FAN

    # Its small functions for peaks take half a minute to compile and milliseconds to run uncompiled.
    for name, function in list(vars(utils).items()):
        if hasattr(function, "py_func"):
            monkeypatch.setattr(utils, name, function.py_func)
    torch.manual_seed(0)
    torch.save(s3fd().state_dict(), hub / DETECTOR_FILE)
    torch.save(FAN(4).state_dict(), hub / LANDMARKS_FILE)
    backend = make_backend("face-alignment", "cpu")
    assert isinstance(backend, FaceAlignmentBackend)
    return backend


def test_networks_run_and_points_map_back(networks: FaceAlignmentBackend) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    boxes, scores = networks.detect(noise, -2.0)
    assert boxes.dtype == scores.dtype == np.float32
    assert boxes.shape == (len(scores), 4)
    assert (np.diff(scores) <= 0).all()
    np.testing.assert_allclose(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1], rtol=1e-3)
    networks._networks.face_alignment_net = BrightSpots()
    for x, y in [(180, 180), (98, 226), (250, 141)]:
        crop = np.zeros((SIDE, SIDE, 3), np.uint8)
        rows, columns = np.mgrid[0:SIDE, 0:SIDE]
        crop[:] = (255 * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 170))[..., None]
        points, spread = networks.landmarks(crop)
        assert points.shape == (68, 2)
        np.testing.assert_allclose(points, np.tile([x, y], (68, 1)), atol=3)  # a cell of the map is 7 pixels
        assert 0.004 < spread.mean() < 0.03
    assert networks.landmarks(np.zeros((SIDE, SIDE, 3), np.uint8))[1].min() == pytest.approx(
        0.1
    )  # knows nothing


def test_detections_become_dlibs_squares(
    networks: FaceAlignmentBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    face = [*(TEMPLATE.min(0) - (0, 45)), *TEMPLATE.max(0), 0.99]  # hair line to chin
    monkeypatch.setattr(networks._networks.face_detector, "detect_from_image", lambda picture: [face])
    crop = np.zeros((SIDE, SIDE, 3), np.uint8)
    boxes, scores = networks.detect(crop)
    assert scores[0] == pytest.approx(1.96)
    side = boxes[0, 2] - boxes[0, 0]
    eyes = np.linalg.norm(TEMPLATE[42:48].mean(0) - TEMPLATE[36:42].mean(0))
    assert 0.8 < side / (BOX_EYES * eyes) < 1.3
    np.testing.assert_allclose((boxes[0, :2] + boxes[0, 2:]) / 2, (SIDE / 2, SIDE / 2), atol=0.35 * eyes)
    monkeypatch.setattr(networks._networks.face_detector, "detect_from_image", lambda picture: [])
    assert networks.confirm(crop) == -1
