"""Systems by name: variants, what needs other weights, settings, where model files come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.errors import UsageError
from pipelines.evaluation.systems import check_systems, origin_of, parse_systems, system_digests
from retalk_models.registry.catalog import load_catalog
from tests.operators.wav2lip.home import wav2lip_home


def test_the_rows_of_the_ablation_are_options_of_the_engine() -> None:
    whole, no_dnet, no_enet, lnet = parse_systems("retalk,retalk:no-dnet,retalk:no-enet,retalk:lnet", {})
    stages = {
        system.name: {spec.name: spec.options for spec in system.resolved().stages}
        for system in (whole, no_dnet, no_enet, lnet)
    }
    enabled = {name: (of["dnet"].enabled, of["enet"].enabled) for name, of in stages.items()}
    assert enabled == {
        "retalk": (True, True),
        "retalk:no-dnet": (False, True),
        "retalk:no-enet": (True, False),
        "retalk:lnet": (False, False),
    }
    # A variant needs fewer model files: those of the network that it leaves out are not asked for.
    with pytest.raises(UsageError, match=r"DNet\.pt"):
        check_systems([whole])
    with pytest.raises(UsageError) as without:
        check_systems([no_dnet])
    assert "DNet.pt" not in str(without.value)
    with pytest.raises(UsageError) as without:
        check_systems([no_enet])
    assert "ENet.pth" not in str(without.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("retalk:no-cross-attention", r"needs an LNet\.pth that was trained without cross-attention"),
        ("retalk:no-dnett", r"'retalk:no-dnett' is unknown \(did you mean retalk:no-dnet\?\)"),
        ("exemplar:no-dnet", "is unknown"),
        ("sorce", r"did you mean source\?"),
        ("source,source", "named twice"),
        (" , ", "at least one"),
    ],
)
def test_a_name_that_is_no_system_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_systems(text, {})


def test_settings_go_to_the_systems_that_have_the_stage() -> None:
    exemplar, wav2lip, source = parse_systems("exemplar,wav2lip,source", {"render": {"crf": "20"}})
    assert {spec.name: spec.options for spec in exemplar.resolved().stages}["render"].crf == 20
    assert (wav2lip.options, source.options) == ({}, {})
    with pytest.raises(UsageError, match="none of the systems exemplar has a stage"):
        parse_systems("exemplar", {"dnet": {"enabled": "false"}})
    with pytest.raises(UsageError, match="--metrics"):
        parse_systems("exemplar", {"metrics": {"on": "all"}})


def test_model_files_are_marked_by_where_they_come_from(tmp_path: Path) -> None:
    exemplar, source = parse_systems("exemplar,source", {})
    assert system_digests(exemplar) == system_digests(source) == ({}, "none")
    home = str(wav2lip_home(tmp_path / "home"))
    (made_up,) = parse_systems("wav2lip", {"detect": {"weights": home}, "wav2lip": {"weights": home}})
    digests, origin = system_digests(made_up)
    assert sorted(digests) == ["s3fd-619a316812.pth", "wav2lip_gan.pth"]
    assert origin == "recipe"
    pinned = load_catalog().files["syncnet_v2.model"].sha256
    assert pinned is not None
    assert origin_of({"syncnet_v2.model": pinned}, home) == "official", "the same bytes elsewhere"
