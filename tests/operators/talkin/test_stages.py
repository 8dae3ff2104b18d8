"""The stages of talkin on a synthetic speaker: factors, expression of a sound, recomposed faces and references."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from operators.columns import check_columns
from operators.exemplar.mouths import JAW_AND_MOUTH, generic_opening
from operators.faces.geometry import MOUTH, eye_distance, lip_opening
from operators.segment import Segment
from operators.talkin.choose_stage import ChooseReferences
from operators.talkin.express_stage import Express, ExpressOptions
from operators.talkin.factors import Factors
from operators.talkin.factors_stage import FactorFaces
from operators.talkin.model import TalkinModel, shared_model
from retalk_models.talkin.expression import ExpressionNet
from retalk_models.talkin.renderer import Renderer
from tests.operators.exemplar.talker import EYE, speech_like, talker
from tests.operators.exemplar.test_choose_stage import row

UNIT = 0.02


def faces(count: int = 120, **given: Any) -> dict[str, Any]:
    """A row behind the stage `factors`: somebody who talks and nods."""
    phase = np.linspace(0, 4, count)
    angles = np.stack([6 * np.sin(phase), 4 * np.cos(phase), 2 * np.sin(2 * phase)], -1)
    own = np.maximum(0.09 + 0.05 * speech_like(count, 1), 0.012)
    face = talker(own, 0.8 + 0.02 * speech_like(count, 2), angles, 0.1)
    columns = row(face.landmarks, given.pop("source", np.arange(count)), **given)
    stage = FactorFaces()
    stage.setup("cpu")
    found = stage.process(Segment(columns))
    check_columns("factors", FactorFaces.writes, found, {"T": count})
    return columns | found


def asked(columns: dict[str, Any], opening: np.ndarray, **given: Any) -> dict[str, Any]:
    """The row with an expression that opens the mouth by so many eye distances from the person's mean."""
    amplitude = np.clip(columns["liveliness"] / UNIT, 0.5, 2)
    moved = (opening / amplitude)[:, None, None] * generic_opening()[JAW_AND_MOUTH]
    strength = np.ones(len(opening), np.float32)
    return columns | {"moved": moved.astype(np.float32), "unit": UNIT, "strength": strength} | given


def choose(columns: dict[str, Any]) -> dict[str, Any]:
    stage = ChooseReferences()
    stage.setup("cpu")
    out = stage.process(Segment(columns))
    check_columns(
        "choose", ChooseReferences.writes, out, {"T": len(columns["pts"]), "N": len(columns["source"])}
    )
    assert np.isfinite(out["shape"]).all()
    return out


def test_geometry_and_liveliness_are_the_persons() -> None:
    columns = faces()
    assert columns["usable"].all()
    assert columns["eye"] == pytest.approx(EYE, rel=0.03)
    assert columns["geometry"].shape == (37, 2)
    widest = columns["geometry"][17 + 6, 0] - columns["geometry"][17, 0]  # corners of the mouth, 54 and 48
    assert widest == pytest.approx(0.8 * EYE, rel=0.05)
    calm = talker(np.maximum(0.09 + 0.02 * speech_like(120, 1), 0.012))
    stage = FactorFaces()
    stage.setup("cpu")
    assert stage.process(Segment(row(calm.landmarks, np.arange(120))))["liveliness"] < columns["liveliness"]


def test_nobody_has_no_factors() -> None:
    columns = row(np.zeros((10, 68, 2), np.float32), np.arange(10), valid=np.zeros(10, bool))
    found = FactorFaces().process(Segment(columns))
    assert not found["usable"].any()
    out = choose(asked(columns | found, np.zeros(10)))
    assert (out["exemplar"] == -1).all()
    assert not out["blend"].any()


def test_the_recomposed_mouth_opens_as_asked_on_the_targets_own_head() -> None:
    columns = faces()
    wanted = 0.05 * speech_like(120, 7)
    out = choose(asked(columns, wanted))
    opening = lip_opening(out["shape"].astype(np.float64))
    assert np.corrcoef(opening, wanted)[0, 1] > 0.97
    assert 0.8 < opening.std() / wanted.std() < 1.1
    upper = [*range(17, 48)]
    assert np.array_equal(out["shape"][:, upper], columns["landmarks"][:, upper])


def test_references_show_mouths_like_those_asked_for() -> None:
    columns = faces()
    wanted = 0.06 * speech_like(120, 7)
    out = choose(asked(columns, wanted))
    own = lip_opening(columns["landmarks"].astype(np.float64))
    shown = own[out["exemplar"]]
    assert np.corrcoef(shown, lip_opening(out["shape"].astype(np.float64)))[0, 1] > 0.8
    assert np.mean(np.abs(np.diff(out["exemplar"])) <= 2) > 0.6  # in runs


def test_no_mouth_is_wider_open_than_the_persons_or_crossed() -> None:
    columns = faces()
    for opening in (np.full(120, 0.6), np.full(120, -0.6)):
        found = lip_opening(choose(asked(columns, opening))["shape"].astype(np.float64))
        own = lip_opening(columns["landmarks"].astype(np.float64))
        assert found.max() < 1.3 * own.max() + 0.02
        assert found.min() > -0.01


def test_where_the_speech_is_over_the_frame_keeps_its_mouth() -> None:
    columns = faces()
    strength = np.concatenate([np.ones(60), np.linspace(1, 0, 6), np.zeros(54)]).astype(np.float32)
    out = choose(asked(columns, 0.05 * speech_like(120, 7), strength=strength))
    assert (out["exemplar"][66:] == -1).all()
    assert np.array_equal(out["shape"][66:], columns["landmarks"][66:])
    eye = eye_distance(columns["landmarks"][:60]).mean()
    assert np.abs(out["shape"][:60, MOUTH] - columns["landmarks"][:60, MOUTH]).max() > 0.02 * eye


@pytest.fixture
def home(tmp_path: Path) -> str:
    """A model whose expression is made of what its network hears."""
    torch.manual_seed(0)
    sizes = {"dim": 16, "state": 8, "num_layers": 1, "num_maps": 2, "rank": 2}
    small = {"channels": 8, "num_levels": 1, "num_frames": 1}
    network = ExpressionNet(2, **sizes)
    torch.nn.init.normal_(network.head.weight, 0, 2.0)
    basis = np.stack([0.03 * generic_opening()[JAW_AND_MOUTH], np.zeros((37, 2))])
    model = TalkinModel(Factors("landmarks", basis, np.ones(2)), network, Renderer(**small), 32, {})
    (tmp_path / "models").mkdir()
    torch.save(model.content(sizes, small), tmp_path / "models" / "talkin.pt")
    shared_model.cache_clear()
    return str(tmp_path)


def test_the_whole_speech_is_heard_and_read_at_the_frames_times(home: str, tmp_path: Path) -> None:
    speech = tmp_path / "speech.wav"
    time = np.arange(2 * 16000) / 16000
    sound = 0.4 * np.sin(2 * np.pi * 200 * time) * (1 + np.sin(2 * np.pi * 3 * time)) / 2
    with wave.open(str(speech), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes((sound * 32767).astype("<i2").tobytes())
    blank = np.zeros((75, 68, 2), np.float32)

    def express(lag: float = 0.0, strength: float = 1.0, first: int = 0) -> dict[str, Any]:
        columns = row(blank, np.arange(first, 75), speech=str(speech))
        columns |= {"out_pts": np.arange(first, 75), "options": ""}
        stage = Express(ExpressOptions(weights=home, lag=lag, strength=strength))
        stage.setup("cpu")
        out = stage.process(Segment(columns))
        check_columns("express", Express.writes, out, {"T": 75, "N": 75 - first})
        return out

    whole, part, late, half = express(), express(first=20), express(lag=0.08), express(strength=0.5)
    assert whole["moved"].std() > 1e-4
    np.testing.assert_allclose(part["moved"], whole["moved"][20:], atol=1e-6)
    np.testing.assert_allclose(late["moved"][4:50], whole["moved"][2:48], atol=1e-5)
    np.testing.assert_allclose(half["moved"], whole["moved"] / 2, atol=1e-6)
    assert (whole["strength"][:50] == 1).all()
    assert not whole["strength"][56:].any()
