"""The engine talkin on a real face with the weights of a training of seconds: what it changes, what it leaves, and its messages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import retalk
from operators.media.probe import probe_video
from operators.media.reader import read_frames
from operators.talkin.factors import Factors
from operators.talkin.model import TalkinModel, shared_model
from operators.talkin.render_stage import window_indices
from pipelines.errors import PreflightError
from pipelines.training.talkin.run import engine_file
from retalk_models.talkin.expression import ExpressionNet
from retalk_models.talkin.renderer import Renderer
from tests.pipelines.conftest import make_speech

SIDE = 64
EXPRESSION = {"dim": 16, "state": 16, "num_layers": 1, "num_maps": 2, "rank": 2}
RENDERER = {"channels": 8, "num_levels": 2, "num_frames": 3}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model, which shows references, in a home with its engine file. Its expression opens and closes the mouth."""
    from operators.exemplar.mouths import JAW_AND_MOUTH, generic_opening

    folder = tmp_path_factory.mktemp("home")
    torch.manual_seed(3)
    expression = ExpressionNet(1, **EXPRESSION)
    torch.nn.init.normal_(expression.head.weight, 0, 3.0)
    basis = 0.05 * generic_opening()[None, JAW_AND_MOUTH]
    model = TalkinModel(
        Factors("landmarks", basis, np.ones(1)), expression.eval(), Renderer(**RENDERER).eval(), SIDE, {}
    )
    (folder / "models").mkdir()
    torch.save(model.content(EXPRESSION, RENDERER), folder / "models" / "talkin.pt")
    (folder / "talkin.yaml").write_text(engine_file(str(folder), SIDE))
    shared_model.cache_clear()
    return folder


@pytest.fixture(scope="module")
def dubbed(home: Path, carphone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The carphone sequence, dubbed with three seconds of speech; the last second keeps its mouth."""
    folder = tmp_path_factory.mktemp("dubbed")
    speech = make_speech(folder / "speech.wav", 3.0)
    out = folder / "out.mp4"
    engine = str(home / "talkin.yaml")
    report = retalk.dub(
        str(carphone), str(speech), str(out), engine=engine, runner="local", watermark={"mode": "off"}
    )
    assert report.exit_code == 0, [record["error"] for record in report.failed]
    return out


def pictures(path: Path) -> np.ndarray:
    info = probe_video(str(path))
    return np.stack([frame.rgb() for frame in read_frames(str(path), 0, info.n_frames, info)]).astype(int)


def test_the_mouth_changes_and_the_rest_does_not(dubbed: Path, carphone: Path) -> None:
    before, after = pictures(carphone), pictures(dubbed)
    assert before.shape == after.shape
    change = np.abs(after - before).mean(-1)
    speaking, after_speech = change[10:80], change[100:]
    top = speaking[:, : before.shape[1] // 3].mean()
    mouth = np.sort(speaking.mean(0).reshape(-1))[-400:].mean()
    assert mouth > 3 * top + 2
    assert np.sort(after_speech.mean(0).reshape(-1))[-400:].mean() < mouth / 2


def test_without_weights_the_engine_says_what_to_do(
    carphone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETALK_HOME", str(tmp_path / "empty"))
    speech = make_speech(tmp_path / "speech.wav", 1.0)
    with pytest.raises(PreflightError, match=r"engine talkin: 1 model file missing[\s\S]*talkin\.pt"):
        retalk.dub(str(carphone), str(speech), str(tmp_path / "out.mp4"), engine="talkin", runner="local")


def test_a_model_of_another_side_is_refused(home: Path, carphone: Path, tmp_path: Path) -> None:
    speech = make_speech(tmp_path / "speech.wav", 1.0)
    weights = {"express": {"weights": str(home)}, "render": {"weights": str(home)}}
    report = retalk.dub(
        str(carphone),
        str(speech),
        str(tmp_path / "out.mp4"),
        engine="talkin",
        options=weights,
        runner="local",
    )
    assert report.exit_code == 3
    assert "set render.side and blend.side to 64" in report.failed[0]["error"]


def test_a_window_stays_on_frames_that_are_painted() -> None:
    drawn = np.array([0, 1, 1, 1, 0, 1], bool)
    found = window_indices(np.flatnonzero(drawn), drawn, 5)
    assert found.tolist() == [[1, 1, 1, 2, 3], [1, 1, 2, 3, 3], [1, 2, 3, 3, 3], [5, 5, 5, 5, 5]]
