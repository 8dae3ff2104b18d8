"""Metrics of videos that exist: one decode for those of frames, the truth beside each frame, reasons where there is no value."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from operators.evaluation import finished_video
from operators.evaluation.covariates import FaceHeight, SpeechLoudness, Yaw, face_view
from operators.evaluation.cpbd import Cpbd, cpbd
from operators.evaluation.fid_features import FidFrames, read_features
from operators.evaluation.finished_video import measure_video
from operators.evaluation.metric import FinishedDub, TitleMetric, noted
from operators.evaluation.paired import Psnr, Ssim, psnr
from operators.evaluation.seam import Seam
from operators.evaluation.title_metrics import LipLeak
from operators.media.probe import probe_video
from operators.media.reader import read_frames
from tests.pipelines.conftest import make_video


class Raises(TitleMetric):
    """Goes wrong."""

    name = "raises"

    def measure(self, dub: FinishedDub) -> float:
        raise RuntimeError("on purpose")


def dub_of(output: Path, video: Path | str = "") -> FinishedDub:
    return FinishedDub(str(video), str(output), str(output), "", 0, 0.0)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A video with two scenes and one with one, of the same size."""
    folder = tmp_path_factory.mktemp("videos")
    return make_video(folder / "two.mp4", size=(96, 80), scenes=2), make_video(
        folder / "one.mp4", size=(96, 80)
    )


def test_frames_are_decoded_once_and_held_against_those_of_the_source(
    videos: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[str] = []

    def counted(url: str, *rest: Any) -> Iterator[Any]:
        decoded.append(url)
        return read_frames(url, *rest)

    monkeypatch.setattr(finished_video, "read_frames", counted)
    two, one = videos
    found, notes = measure_video([Psnr(), Ssim()], dub_of(two, one), paired=True)
    values = {entry["name"]: entry["value"] for entry in found}
    assert sorted(decoded) == sorted(map(str, videos))
    assert notes == []
    count = probe_video(str(two)).n_frames
    pairs = list(zip(read_frames(str(two), 0, count), read_frames(str(one), 0, count), strict=True))[::5]
    assert values["psnr"] == pytest.approx(np.mean([psnr(a.luma(), b.luma()) for a, b in pairs]), abs=1e-5)
    assert sorted(values) == ["psnr", "ssim"]


def test_metrics_of_frames_need_no_source(carphone: Path) -> None:
    ((entry), *more), notes = measure_video([Cpbd()], dub_of(carphone))
    shown = list(read_frames(str(carphone), 0, probe_video(str(carphone)).n_frames))[::5]
    assert entry["value"] == pytest.approx(np.mean([cpbd(frame.luma()) for frame in shown]), abs=1e-5)
    assert more == notes == []


def test_what_has_no_value_says_why(videos: tuple[Path, Path], tmp_path: Path) -> None:
    two, _ = videos
    small = make_video(tmp_path / "small.mp4", size=(64, 64))
    metrics = [Psnr(), Seam(), Raises(), LipLeak()]
    for video, paired, why in (
        ("", True, "needs the true pictures"),
        (two, False, "needs the true pictures"),
        (small, True, "96x80 pixels and its source 64x64"),
    ):
        found, notes = measure_video(metrics, dub_of(two, video), paired)
        assert found == []
        reasons = dict(map(noted, notes))
        assert why in reasons["psnr"]
        assert reasons["raises"] == "RuntimeError: on purpose"
        assert reasons["lip_leak"]
    assert noted("the speech is 1.0 s longer than the video: it is cut") == ("", "")


def test_covariates_of_a_real_face_and_of_none(carphone: Path, videos: tuple[Path, Path]) -> None:
    view = face_view(str(carphone))
    assert 0 <= view.yaw < 45
    assert 20 < view.height < 144
    assert Yaw().measure(dub_of(carphone, carphone)) == view.yaw
    assert FaceHeight().measure(dub_of(carphone)) == view.height, "of the result, where no source is known"
    assert np.isnan(face_view(str(videos[0])).yaw)
    assert -40 < SpeechLoudness().measure(dub_of(videos[0])) < 0


def test_features_are_kept_by_the_videos_content(videos: tuple[Path, Path], tmp_path: Path) -> None:
    """With a network that gives each frame its mean as all 2048 numbers."""
    import torch

    from operators.evaluation import fid_features

    class Mean(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(1))

        def forward(self, pictures: torch.Tensor) -> torch.Tensor:
            return pictures.mean((1, 2, 3))[:, None].expand(-1, 2048) * self.scale

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(fid_features, "_network", lambda weights: Mean())
        counts = [FidFrames(str(tmp_path)).measure(dub_of(video)) for video in videos]
        assert counts == [5, 5]
        assert FidFrames(str(tmp_path)).measure(dub_of(videos[0])) == 5, "taken from the file"
    two, one = read_features(str(tmp_path), map(str, videos))
    frames = list(read_frames(str(videos[0]), 0, 24))[::5]
    assert two[:, 7] == pytest.approx([frame.rgb().mean() / 255 for frame in frames], abs=1e-5)
    assert not np.allclose(two, one)
    assert list(read_features(str(tmp_path), [str(tmp_path / "nowhere.mp4")])) == []
    with pytest.raises(ValueError, match="need a folder"):
        FidFrames().measure(dub_of(videos[0]))
