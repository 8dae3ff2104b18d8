"""Place of the cache."""

import os
from pathlib import Path

import pytest

from retalk_models.registry.home import (
    home_url,
    is_remote,
    local_path,
    node_copy,
    read_json,
    user_cache,
    write_json,
)
from retalk_models.registry.registry import Registry


def test_home_is_retalk_home_else_xdg_else_dot_cache(tmp_path: Path) -> None:
    assert home_url({"RETALK_HOME": "s3://bucket/weights"}) == "s3://bucket/weights"
    assert home_url({"RETALK_HOME": "", "XDG_CACHE_HOME": str(tmp_path)}) == str(tmp_path / "retalk")
    assert user_cache({"XDG_CACHE_HOME": "relative/is/ignored"}) == Path.home() / ".cache" / "retalk"
    assert home_url({}) == str(Path.home() / ".cache" / "retalk")


def test_urls_of_this_machine_are_paths(tmp_path: Path) -> None:
    assert not is_remote(f"file://{tmp_path}")
    assert local_path(f"file://{tmp_path}") == tmp_path
    assert is_remote("s3://b/k")
    assert is_remote("simplecache::s3://b/k")
    one, two = (node_copy(url, {"XDG_CACHE_HOME": str(tmp_path)}) for url in ("s3://a/k", "s3://b/k"))
    assert one != two
    assert one.is_relative_to(tmp_path)


def test_environment_reaches_the_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RETALK_HOME", f"file://{tmp_path}/home")
    monkeypatch.setenv("RETALK_LOCK", str(tmp_path / "checked-in.json"))
    registry = Registry()
    assert registry.path("LNet.pth") == tmp_path / "home" / "models" / "LNet.pth"
    assert registry.lock.url == str(tmp_path / "checked-in.json")


def test_json_is_written_whole_and_sorted(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.json"
    write_json(path, {"b": 1, "a": 2})
    assert path.read_text().index('"a"') < path.read_text().index('"b"')
    assert read_json(str(path)) == {"a": 2, "b": 1}
    assert read_json(str(tmp_path / "none.json")) is None
    assert os.listdir(path.parent) == ["a.json"]
