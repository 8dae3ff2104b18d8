"""Options of the default mode's stages, on a real face with made-up weights: each does what it says, or says
what is wrong.
"""

from __future__ import annotations

import dataclasses
import functools
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import skimage.data
from torch import nn

from operators.retalk import emotion
from operators.retalk.blend_stage import BlendOptions
from operators.retalk.coefficients import SLICES
from operators.retalk.detectors import NetworkDetectors
from operators.retalk.dnet_stage import REFERENCE, DNetOptions, DNetStage, target_expression
from operators.retalk.enet_stage import MOUTH, RISE_FROM, ENetOptions, ENetStage, mouth_weight
from operators.retalk.lnet_stage import LNetOptions, LNetStage
from operators.retalk.model_files import Restoration
from operators.retalk.nets import Networks
from operators.retalk.network_runner import Compute
from operators.retalk.recon3d_stage import Recon3d, Recon3dOptions
from operators.retalk.source import standard_points
from operators.segment import Segment
from operators.stage import Stage
from retalk_models import build
from retalk_models.inference.memory import GPU_BATCH
from retalk_models.networks.parsenet import LABELS
from tests.pipelines.conftest import make_speech
from tests.retalk_home import OPTIONS, made_up, make_home, standard_landmarks

NEUTRAL = np.linspace(-1, 1, 64).astype(np.float32)


#: Label of the lower lip.
LIP = LABELS.index("l_lip")


@functools.cache
def network(name: str) -> nn.Module:
    """Made-up weights, made when a test asks for the network. The parser calls everything the lower lip,
    whatever the other weights.
    """
    net = build(name, **OPTIONS.get(name, {}))
    weights = made_up(name)
    if name == "parsenet":
        weights["out_mask_conv.conv2d.bias"][LIP] += 1e4
    net.load_state_dict(weights, assign=True)
    return net


def load(name: str, file: str | None = None, **options: Any) -> nn.Module:
    assert file in (None, "GFPGANv1.3.pth")
    return network(name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The astronaut as a video of one frame and as a picture, speech, and the two small model files."""
    folder = tmp_path_factory.mktemp("options")
    five = np.array([[-0.31, 0.3, 0.2], [0.31, 0.3, 0.2], [0, 0, 0.5], [-0.25, -0.3, 0.2], [0.25, -0.3, 0.2]])
    make_home(folder / "home", [], NEUTRAL, standard_landmarks(five))
    with av.open(str(folder / "face.mp4"), "w") as container:
        stream = container.add_stream(
            "libx264", rate=25, width=320, height=256, pix_fmt="yuv420p", options={"crf": "12"}
        )
        frame = av.VideoFrame.from_ndarray(
            np.ascontiguousarray(skimage.data.astronaut()[:256, 60:380]), "rgb24"
        )
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        container.mux([*stream.encode(frame), *stream.encode(None)])
    av.VideoFrame.from_ndarray(
        np.ascontiguousarray(skimage.data.astronaut()[:256, 60:380]), "rgb24"
    ).to_image().save(folder / "face.png")
    make_speech(folder / "speech.wav", 0.3)
    return folder


@pytest.fixture(scope="module")
def networks(folder: Path) -> Networks:
    return Networks(Compute(), weights=str(folder / "home"), loader=load)


class Face:
    """A row of one frame, as the stages before have left it."""

    def __init__(self, folder: Path, networks: Networks) -> None:
        self.networks = networks
        landmarks = NetworkDetectors(networks).clip_landmarks(0, skimage.data.astronaut()[:256, 60:380])
        assert landmarks is not None
        names = {
            "segment_id": "a/0",
            "title": "a",
            "video": str(folder / "face.mp4"),
            "work": "",
            "options": "",
            "dub": "",
            "target": "",
        }
        numbers = dict.fromkeys(("start", "halo_start", "shot_start", "out_start", "out_origin"), 0)
        ends = dict.fromkeys(("stop", "halo_stop", "shot_stop", "n_frames", "time_base_num"), 1)
        arrays = {
            "pts": np.zeros(1, np.int64),
            "source": np.zeros(1, np.int64),
            "out_pts": np.zeros(1, np.int64),
        }
        found = {"landmarks": landmarks[None].astype(np.float32), "valid": np.ones(1, bool)}
        size = {
            "frame_width": 320,
            "frame_height": 256,
            "time_base_den": 25,
            "speech": str(folder / "speech.wav"),
        }
        self.row: dict[str, Any] = {**names, **numbers, **ends, **arrays, **found, **size}

    def ask(self, stage: Stage, **changes: Any) -> dict[str, Any]:
        """The stage's result."""
        stage.networks = self.networks  # type: ignore[attr-defined]
        if isinstance(stage, Recon3d):
            stage._standard = standard_points(self.networks.registry)
        return stage.process(Segment({**self.row, **changes}))


@pytest.fixture(scope="module")
def face(folder: Path, networks: Networks) -> Face:
    made = Face(folder, networks)
    recon = Recon3d(Recon3dOptions(weights=str(folder / "home")))
    for stage in (recon, DNetStage(), LNetStage()):
        made.row.update(made.ask(stage))
    return made


def test_pads_enlarge_the_face_box(folder: Path, face: Face) -> None:
    assert Recon3dOptions().pads == (0, 20, 0, 0)
    x1, y1, x2, y2 = face.row["face_boxes"][0]
    grown = face.ask(Recon3d(Recon3dOptions(pads=(5, 30, 7, 9), weights=str(folder / "home"))))["face_boxes"][
        0
    ]
    assert (grown - [x1, y1, x2, y2]).tolist() == [-7, -5, 9, 10]


def test_expressions_are_templates_numbers_or_faces(folder: Path, networks: Networks) -> None:
    assert (target_expression("neutral", networks) == NEUTRAL).all()
    assert (target_expression("smile", networks) == NEUTRAL[::-1]).all()
    np.savetxt(folder / "own.txt", NEUTRAL / 2)
    np.testing.assert_allclose(target_expression(str(folder / "own.txt"), networks), NEUTRAL / 2, atol=1e-6)
    taken = target_expression(str(folder / "face.png"), networks)
    assert taken.shape == (64,)
    assert np.isfinite(taken).all()
    empty = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 90, np.uint8), "rgb24")
    empty.to_image().save(folder / "empty.png")
    (folder / "text.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"empty\.png: no face found"):
        target_expression(str(folder / "empty.png"), networks)
    with pytest.raises(ValueError, match=r"text\.png: cannot be read as a picture"):
        target_expression(str(folder / "text.png"), networks)


def test_a_pictures_expression_is_measured_as_a_frames_is(
    folder: Path, face: Face, networks: Networks
) -> None:
    """The picture is the frame before it was encoded: nearly the same numbers."""
    taken, measured = (
        target_expression(str(folder / "face.png"), networks),
        face.row["coeffs"][0, SLICES["exp"]],
    )
    assert np.abs(taken - measured).mean() < 0.25 * np.abs(measured).mean()


def test_dnet_changes_the_reference_and_can_be_left_out(face: Face) -> None:
    own = face.ask(DNetStage(DNetOptions(enabled=False, identity=False)))
    assert own["reference"].shape == (1, REFERENCE, REFERENCE, 3)
    assert not own["identity"].any()
    # Without D-Net the reference is the frame's own face.
    small = face.row["faces"][0].reshape(128, 3, 128, 3, 3).mean((1, 3))
    shown = own["reference"][0].reshape(128, 2, 128, 2, 3).mean((1, 3))
    assert np.abs(small - shown).mean() < 6
    assert np.abs(own["reference"].astype(int) - face.row["reference"]).mean() > 6
    assert face.row["identity"].any()
    smiling = face.ask(DNetStage(DNetOptions(expression="smile", identity=False)))["reference"]
    assert (smiling != face.row["reference"]).any()


def test_the_reference_can_be_enhanced(face: Face) -> None:
    enhanced = face.ask(DNetStage(DNetOptions(enhance="gpen", identity=False)))["reference"]
    assert (enhanced != face.row["reference"]).mean() > 0.2


def test_enet_without_its_code_says_what_to_set(face: Face) -> None:
    with pytest.raises(ValueError, match=r"dnet\.identity=False.*enet\.enabled=False"):
        face.ask(ENetStage(), identity=np.zeros((1, 512), np.float32))
    lean = ENetOptions(enabled=False, restoration="none", mask="ellipse")
    assert ENetStage().model_files(lean) == ()
    drawn = face.ask(ENetStage(lean), identity=np.zeros((1, 512), np.float32))
    assert drawn["mask"].max() == 255
    assert np.abs(drawn["face"][0, 216:].astype(int) - face.row["faces"][0, 216:]).mean() > 1


def test_restoration_changes_the_mouth_alone(face: Face) -> None:
    shown = face.networks.parse(np.zeros((1, 64, 64, 3), np.uint8))
    assert (shown == LIP).all(), "the mouth is labelled by construction"
    names: tuple[Restoration, ...] = ("none", "gfpgan-1.3", "gpen")
    plain, *others = (face.ask(ENetStage(ENetOptions(restoration=name)))["face"][0] for name in names)
    for restored in others:
        changed = (restored != plain).any(-1)
        assert changed.any()
        assert not changed[:RISE_FROM].any()
    assert (others[0] != others[1]).any()
    labels = np.full((512, 512), LIP, np.uint8)
    weight = mouth_weight(labels)
    assert weight[(MOUTH.top + MOUTH.bottom) // 2, (MOUTH.left + MOUTH.right) // 2] == pytest.approx(1)
    outside = np.ones_like(weight, bool)
    outside[MOUTH.top : MOUTH.bottom, MOUTH.left : MOUTH.right] = False
    assert not weight[outside].any()
    assert ENetStage().model_files(ENetOptions(restoration="gfpgan-1.4")) == (
        "ENet.pth",
        "GFPGANv1.4.pth",
        "parsenet",
    )


def test_upper_face_moves_brows_and_eyes(face: Face) -> None:
    lean = ENetOptions(enabled=False, restoration="none", mask="ellipse")
    plain = face.ask(ENetStage(lean))
    names: tuple[emotion.UpperFace, ...] = ("angry", "surprise", "sad")
    looks = {name: face.ask(ENetStage(dataclasses.replace(lean, upper_face=name))) for name in names}
    assert (plain["face"][0, :RISE_FROM] == face.row["faces"][0, :RISE_FROM]).all()
    for drawn in looks.values():
        assert (drawn["face"][0, :RISE_FROM] != plain["face"][0, :RISE_FROM]).any()
    assert (looks["angry"]["face"] != looks["sad"]["face"]).any()
    assert emotion.action_units("sad").any()
    assert not emotion.action_units("sad", parity=True).any()
    assert "ganimation" in ENetStage().model_files(dataclasses.replace(lean, upper_face="sad"))


def test_strength_and_feather_control_the_mask(face: Face) -> None:
    half = face.ask(LNetStage(LNetOptions(strength=0.5)))
    assert half["strength"].tolist() == [0.5]
    assert (half["lips"] == face.row["lips"]).all()
    off = face.ask(LNetStage(LNetOptions(strength=0)))
    assert not off["lips"].any()
    lean = ENetOptions(enabled=False, restoration="none", mask="ellipse", feather=0)
    hard, soft = (
        face.ask(ENetStage(dataclasses.replace(lean, feather=f)))["mask"][0].astype(int) for f in (0.0, 30.0)
    )
    assert np.abs(np.diff(hard[300])).max() == 255
    assert np.abs(np.diff(soft[300])).max() < 40
    assert soft.sum() < hard.sum()
    for wrong, allowed in (
        (lambda: ENetOptions(feather=-1), "from 0 to"),
        (lambda: BlendOptions(levels=9), "from 1 to 8"),
    ):
        with pytest.raises(ValueError, match=allowed):
            wrong()


def test_half_precision_is_for_who_asks() -> None:
    assert Compute.of("cpu").precision == "auto"
    assert Compute.of("cpu", "float16").precision == "auto"  # slower than float32 there
    assert Compute.of("cpu", "bfloat16").precision == "bfloat16"
    assert Compute.of("cuda:0", "float16") == Compute("cuda:0", batch=GPU_BATCH, precision="float16")
