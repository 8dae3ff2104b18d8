"""The user's own model files in the place of official ones: `--set lnet.weights=person/LNet.pth`."""

from __future__ import annotations

from pathlib import Path

import pytest

from retalk_models.registry.errors import WeightsError
from retalk_models.registry.registry import Registry, check_files, home_registry

MINE = b"PK\x05\x06" + bytes(18)  # an empty zip archive


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RETALK_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("RETALK_LOCK", raising=False)
    (tmp_path / "home" / "models").mkdir(parents=True)
    (tmp_path / "person").mkdir()
    (tmp_path / "person" / "LNet.pth").write_bytes(MINE)
    return tmp_path


def test_a_file_takes_the_place_of_the_official_one_and_nothing_is_written_down(home: Path) -> None:
    mine = home / "person" / "LNet.pth"
    registry = home_registry(str(mine))
    assert registry.require(["lnet"]) == {"LNet.pth": mine}
    assert registry.path("ENet.pth") == home / "home" / "models" / "ENet.pth"
    assert registry.missing(["enet"]) == ["ENet.pth"]
    assert registry.catalog.files["ENet.pth"].sha256, "what is not replaced is held to its digest"
    assert not (home / "home" / "models" / "models.lock.json").exists()
    assert Registry().missing(["lnet"]) == ["LNet.pth"]
    first = registry.check(registry.catalog.files["LNet.pth"]).sha256
    mine.write_bytes(b"other" + MINE)
    assert home_registry(str(mine)).check(registry.catalog.files["LNet.pth"]).sha256 not in ("", first)


def test_several_files_are_separated_by_commas(home: Path) -> None:
    files = [home / "person" / name for name in ("DNet.pt", "ENet.pth")]
    for file in files:
        file.write_bytes(MINE)
    check_files(["dnet", "ENet.pth"], ", ".join(map(str, files)))
    assert home_registry(str(home / "person")).own == {}, "a folder is a home"
    other = home / "person" / "LNet.safetensors"
    other.write_bytes(MINE)
    assert home_registry(str(other)).require(["lnet"]) == {"LNet.pth": other}


def test_mistakes_are_told_before_anything_is_loaded(home: Path) -> None:
    mine = str(home / "person" / "LNet.pth")
    for names, weights, message in (
        (["lnet"], str(home / "best.pth"), "its name says which network it is for"),
        (["lnet"], "s3://bucket/LNet.pth", "must be a file of this machine"),
        (["dnet"], mine, "LNet.pth: is not read here; model files are DNet.pt"),
        (["dnet"], str(home / "DNet.pt"), f"{home / 'DNet.pt'}: no such file"),
    ):
        with pytest.raises(WeightsError) as caught:
            check_files(names, weights)
        assert message in str(caught.value)
