"""Choice of metrics: usual ones of a protocol, places with arguments, model files that are missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from operators.evaluation.title_metrics import LseD
from pipelines.engine.metrics import load_metric
from pipelines.engine.resolve import resolve_engine
from pipelines.errors import UsageError
from pipelines.evaluation.measures import LSE_PROTOCOLS, choose_measures
from tests.retalk_home import made_up


def measures(text: str = "usual", protocol: Any = "cross", lse: str = "lrs", weights: str = "") -> Any:
    return choose_measures(text, protocol, lse, "/features", weights)


def test_paired_metrics_are_usual_where_the_source_is_the_truth() -> None:
    paired = {"psnr", "ssim", "lpips", "lmd"}
    assert not paired & set(measures().names)
    assert paired <= set(measures(protocol="reconstruction").names)


def test_the_protocol_of_lse_and_the_folder_of_features_reach_the_metric() -> None:
    metric = load_metric(measures(lse="latentsync", weights="/home of mine").place("lse_d"))
    assert isinstance(metric, LseD)
    assert vars(metric) == {"_protocol": "latentsync", "_weights": "/home of mine"}
    frames = load_metric(measures().place("fid"))
    assert (frames.name, vars(frames)["_folder"]) == ("fid_frames", "/features")


def test_protocols_are_those_of_the_metric() -> None:
    from operators.evaluation.sync_protocols import PROTOCOLS

    assert set(LSE_PROTOCOLS) == set(PROTOCOLS)


def test_every_engine_can_be_measured_with_the_usual_metrics() -> None:
    for name in ("exemplar", "retalk", "wav2lip"):
        places = measures(protocol="reconstruction").places(resolve_engine(name))
        engine = resolve_engine(name, {"metrics": {"on": places}})
        assert len(engine.config.metrics or ()) == len(places) > 15


def test_metrics_without_their_files_are_named_with_the_command(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "models").mkdir(parents=True)
    missing = measures("lse_d,fid,cpbd", weights=str(home)).missing()
    assert sorted(missing) == ["fid", "lse_d", "lse_offset"]
    assert "syncnet_v2.model" in missing["lse_d"]
    assert "retalk models pull" in missing["fid"]
    torch.save(made_up("syncnet"), home / "models" / "syncnet_v2.model")
    there = measures("lse_d,fid,cpbd", weights=str(home))
    assert sorted(there.missing()) == ["fid"]
    digests, origins = there.digests()
    assert list(digests) == ["syncnet_v2.model"]
    assert origins == {"lse_d": "recipe"}
    assert "lse_d" in measures("lse_d", lse="tracked", weights=str(home)).missing(), "S3FD is not there"


@pytest.mark.parametrize(("text", "message"), [("lse-d", "did you mean 'lse_d'"), ("fidd,cpbd", "fid, ")])
def test_unknown_metrics_are_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=rf"--metrics: .*{message}"):
        measures(text)
