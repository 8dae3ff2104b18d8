"""Both runtimes give the same numbers; LiteRT is chosen where it can be imported, and named where it cannot."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data

from retalk_models.tflite.detector import FaceDetector
from retalk_models.tflite.face import FaceLandmarker
from retalk_models.tflite.runtime import (
    LiteRTRunner,
    MissingRuntimeError,
    TorchRunner,
    chosen_runtime,
    litert_problem,
    make_runner,
)
from tests.retalk_models.tflite.test_network import small

pytestmark = pytest.mark.usefixtures("one_thread")
with_litert = pytest.mark.skipif(bool(litert_problem()), reason="the extra litert is not installed")


def crops(count: int) -> np.ndarray:
    """uint8[count, 256, 256, 3]: a face, each time a little further left."""
    picture = skimage.data.astronaut()
    return np.stack(
        [
            cv2.resize(picture[60:220, 144 + k : 304 + k], (256, 256), interpolation=cv2.INTER_LINEAR)
            for k in range(count)
        ]
    )


@with_litert
def test_the_mesh_and_its_blendshapes_are_the_same_by_both(face_mesh: Path) -> None:
    ours, theirs = (
        FaceLandmarker(face_mesh / "face_landmarker.task", "cpu", runtime) for runtime in ("torch", "litert")
    )
    assert (ours.runtime, theirs.runtime) == ("torch", "litert")
    batch = crops(3)
    points, presence = ours.mesh(batch)
    others, also = theirs.mesh(batch)
    assert points.shape == others.shape == (3, 478, 3)
    assert points.dtype == others.dtype == np.float64
    np.testing.assert_allclose(others, points, atol=0.02)  # 0.0007 measured
    np.testing.assert_allclose(also, presence, atol=1e-3)
    np.testing.assert_array_equal(theirs.mesh(batch[2:])[0][0], others[2])
    np.testing.assert_allclose(theirs.blendshapes(points), ours.blendshapes(points), atol=1e-4)


@with_litert
def test_detectors_find_the_same_by_both(face_mesh: Path) -> None:
    bundle = face_mesh / "face_landmarker.task"
    full = (face_mesh / "face_detection_full_range.tflite").read_bytes()
    pairs = [
        [FaceDetector(full, "cpu", runtime) for runtime in ("torch", "litert")],
        [FaceLandmarker(bundle, "cpu", runtime).detector for runtime in ("torch", "litert")],
    ]
    for ours, theirs in pairs:
        side = (ours.side, ours.side)
        picture = cv2.resize(skimage.data.astronaut(), side, interpolation=cv2.INTER_AREA)
        found, also = ours(picture), theirs(picture)
        assert len(found.scores) == len(also.scores) > 0
        np.testing.assert_allclose(also.boxes, found.boxes, atol=0.02)
        np.testing.assert_allclose(also.points, found.points, atol=0.02)
        np.testing.assert_allclose(also.scores, found.scores, atol=1e-3)


@with_litert
def test_threads_do_not_meet_in_one_interpreter(face_mesh: Path) -> None:
    networks = FaceLandmarker(face_mesh / "face_landmarker.task", "cpu", "litert")
    batch = crops(6)
    alone, _ = networks.mesh(batch)
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda k: networks.mesh(batch[k : k + 1])[0][0], [*range(6)] * 4))
    np.testing.assert_array_equal(np.stack(together), np.concatenate([alone] * 4))


@with_litert
def test_a_damaged_file_is_refused() -> None:
    with pytest.raises(ValueError, match="model"):
        LiteRTRunner(b"no network at all")


@with_litert
def test_litert_brings_in_no_torch_and_prints_nothing_but_errors(face_mesh: Path) -> None:
    code = """
import os, sys
from pathlib import Path
import numpy as np
from retalk_models.tflite import runtime
from retalk_models.tflite.face import FaceLandmarker
made = runtime.LiteRTRunner._make
def with_error(self):
    with runtime._without_chatter():
        os.write(2, b"ERROR: shown\\n")
    return made(self)
if sys.argv[2:]:
    runtime.LiteRTRunner._make = with_error
FaceLandmarker(Path(sys.argv[1]), "cpu", "litert").mesh(np.zeros((1, 256, 256, 3), np.uint8))
assert "torch" not in sys.modules
"""
    command = [sys.executable, "-c", code, str(face_mesh / "face_landmarker.task")]
    for more, shown in (([], ""), (["error"], "ERROR: shown\n")):
        done = subprocess.run([*command, *more], capture_output=True, text=True, timeout=120, check=True)
        assert done.stderr == shown
        assert done.stdout == ""


def test_without_the_package_torch_runs_the_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)  # as where the extra is not installed
    assert litert_problem()
    assert chosen_runtime("auto") == "torch"
    runner = make_runner(small(), "auto")
    assert isinstance(runner, TorchRunner)
    assert runner.input_shape == (1, 8, 9, 2)
    values = np.random.default_rng(5).integers(0, 256, (3, 8, 9, 2)).astype(np.uint8)
    scaled, plain = runner(values, divisor=2, offset=-1), runner(values / np.float32(2) - 1)
    np.testing.assert_allclose(scaled[0], plain[0], rtol=1e-5)
    assert len(scaled[0]) == 3
    with pytest.raises(MissingRuntimeError, match=r"ai-edge-litert.*pip install .*litert"):
        make_runner(small(), "litert")


@with_litert
def test_litert_is_for_the_cpu_unless_it_is_asked_for() -> None:
    assert chosen_runtime("auto", "cpu") == "litert"
    assert chosen_runtime("auto", "cuda") == "torch"
    assert chosen_runtime("litert", "cuda") == "litert"


def test_torch_can_be_asked_for_and_other_names_cannot() -> None:
    assert chosen_runtime("torch", "cpu") == "torch"
    with pytest.raises(ValueError, match="auto, torch or litert"):
        chosen_runtime("onnx", "cpu")  # type: ignore[arg-type]
