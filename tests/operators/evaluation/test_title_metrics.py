"""Metrics of whole outputs on a real person; those without their files say which are missing."""

import dataclasses
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from operators.evaluation.lpips import Lpips, lpips
from operators.evaluation.metric import FinishedDub, Meter
from operators.evaluation.paired import Psnr
from operators.evaluation.title_metrics import (
    Csim,
    IdentityDrift,
    LipLeak,
    LseC,
    LseCSource,
    LseD,
    LseDSource,
    MouthDistance,
    OpeningCorrelation,
    OpeningLag,
)
from operators.media.reader import read_frames
from operators.segment import Segment
from retalk_models.registry.errors import WeightsError
from tests.pipelines.conftest import make_speech, make_video
from tests.retalk_home import made_up
from tests.retalk_models.recipe import Subject


@pytest.fixture
def dub(carphone: Path, tmp_path: Path) -> FinishedDub:
    """The person again, unchanged, with a sound of two seconds in a clip of four."""
    speech = make_speech(tmp_path / "s.wav", 2.0)
    return FinishedDub(str(carphone), str(speech), str(carphone), "", 120, 4.0)


def test_an_unchanged_output_is_the_person_and_his_mouth(dub: FinishedDub) -> None:
    assert MouthDistance().measure(dub) == 0
    assert Csim().measure(dub) > 0.95
    assert abs(IdentityDrift().measure(dub)) < 0.3
    himself = dataclasses.replace(dub, speech=dub.video)
    assert OpeningCorrelation().measure(himself) == pytest.approx(1)
    assert OpeningLag().measure(himself) == 0


def test_speech_without_a_picture_has_no_speaker_to_agree_with(dub: FinishedDub) -> None:
    assert math.isnan(OpeningCorrelation().measure(dub))
    assert math.isnan(OpeningLag().measure(dub))


def test_a_man_who_goes_on_talking_leaks(dub: FinishedDub) -> None:
    assert 0.2 < LipLeak().measure(dub) <= 1


@pytest.mark.parametrize("metric", [LseD(), LseC(), LseDSource(), LseCSource()])
def test_missing_files_are_named_with_the_command(dub: FinishedDub, metric: LseD | LseC) -> None:
    with pytest.raises(
        WeightsError, match=r"(?s)syncnet_v2\.model.*s3fd-619a316812\.pth.*retalk models pull"
    ):
        metric.measure(dub)


def test_a_segment_metric_without_files_leaves_the_others_running(carphone: Path) -> None:
    frame = next(iter(read_frames(str(carphone), 10, 11)))
    frame.paste((40, 30, 120, 110), np.zeros((80, 80, 3), np.uint8), np.ones((80, 80), np.float32))
    segment = Segment({"shot_start": 0, "shot_stop": 9, "source": np.zeros(0)})
    meter = Meter([Lpips(), Psnr()], segment)
    meter.frame(0, frame)
    (note,) = meter.notes
    assert "alexnet-owt-7be5be79.pth" in note
    assert "lpips-alex.pth" in note
    assert "retalk models pull" in note
    assert list(meter.result()["values"]) == ["psnr"]


def test_lpips_grows_with_blur(carphone: Path) -> None:
    """With a made-up trunk and heads."""
    network = Subject("lpips").module
    truth = next(iter(read_frames(str(carphone), 10, 11))).rgb()
    values = [lpips(network, cv2.GaussianBlur(truth, (0, 0), sigma), truth) for sigma in (0.5, 1, 3)]
    assert lpips(network, truth, truth) == 0
    assert 0 < values[0] < values[1] < values[2]
    with pytest.raises(ValueError, match="do not pair up"):
        lpips(network, truth[1:], truth)


def test_the_sources_own_scores_are_those_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "home" / "models").mkdir(parents=True)
    torch.save(made_up("syncnet"), tmp_path / "home" / "models" / "syncnet_v2.model")
    source, output = (
        str(make_video(tmp_path / f"{scenes}.mp4", frames=50, rate=25, scenes=scenes)) for scenes in (1, 3)
    )
    dub = FinishedDub(source, source, output, "", 50, 2.0)
    itself = dataclasses.replace(dub, output=source)
    how = "lrs", str(tmp_path / "home")
    assert LseDSource(*how).measure(dub) == LseD(*how).measure(itself) != LseD(*how).measure(dub)
    assert LseCSource(*how).measure(dub) == LseC(*how).measure(itself)
