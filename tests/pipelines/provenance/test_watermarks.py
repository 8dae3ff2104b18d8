"""Keys of watermarks, and the options that dubs get."""

import os
from pathlib import Path

import pytest

from operators.watermark.keys import MarkKey
from pipelines.engine.config import load_engine
from pipelines.engine.engine import Engine
from pipelines.engine.profile_parts import WatermarkConfig
from pipelines.errors import UsageError
from pipelines.manifest.titles import Dub, Title
from pipelines.provenance import watermarks
from pipelines.provenance.watermarks import OWN, read_key, watermark_key, watermarked

KEY = MarkKey(b"k" * 32)
TITLE = Title("a", "a.mp4", (Dub("deu", "a.wav", "a.de.mp4"),))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("RETALK_WATERMARK_KEY", raising=False)
    return tmp_path / "config" / "retalk" / "provenance"


def test_the_own_key_is_made_once_and_for_its_user_alone(home: Path) -> None:
    first = watermark_key(WatermarkConfig())
    assert first == watermark_key(WatermarkConfig()) == read_key()
    assert (home / OWN).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in home.iterdir()] == [OWN]


def test_a_folder_that_cannot_be_written_is_told_with_all_that_lies_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    with pytest.raises(UsageError, match=r"XDG_CONFIG_HOME.*--watermark off --provenance off"):
        watermark_key(WatermarkConfig())


def test_no_key_is_made_to_read_or_for_no_watermark(home: Path) -> None:
    assert watermark_key(WatermarkConfig(mode="off")) is None
    with pytest.raises(UsageError, match="has no watermark key yet"):
        read_key()
    assert not home.exists()


@pytest.mark.skipif(os.name != "posix", reason="modes of files are of POSIX")
def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(KEY.secret.hex())
    path.chmod(0o644)
    with pytest.raises(UsageError, match=r"others may read.*chmod 600"):
        read_key(str(path))
    path.chmod(0o600)
    assert read_key(str(path)) == KEY


def test_keys_come_from_variables_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE", KEY.secret.hex())
    assert watermark_key(WatermarkConfig(key="env:MINE")) == KEY
    monkeypatch.setenv("RETALK_WATERMARK_KEY", KEY.secret.hex())
    assert read_key() == KEY
    monkeypatch.setenv("MINE", "1234")
    with pytest.raises(
        UsageError, match="variable MINE: a watermark's key is 64 hexadecimal digits"
    ) as problem:
        read_key("env:MINE")
    assert "1234" not in str(problem.value)
    monkeypatch.delenv("MINE")
    with pytest.raises(UsageError, match="variable MINE is not set"):
        read_key("env:MINE")


@pytest.mark.parametrize(
    ("engine", "last"), [("exemplar", "render"), ("retalk", "blend"), ("wav2lip", "paste")]
)
def test_the_last_stage_of_every_engine_marks(engine: str, last: str) -> None:
    (title,) = watermarked([TITLE], Engine(load_engine(engine)), WatermarkConfig(strength=0.5), KEY)
    (dub,) = title.dubs
    assert dub.watermark == {"mode": "on", "strength": 0.5, "key": KEY.name}
    assert dub.options[last]["watermark"] == "on"
    assert dub.options[last]["watermark_key"] == KEY.name
    assert KEY.secret.hex() not in repr(title)


def test_a_learned_mark_is_asked_of_the_stage_and_its_weights_are_looked_for_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETALK_HOME", str(tmp_path / "models"))
    engine, config = Engine(load_engine("exemplar")), WatermarkConfig(picture="videoseal")
    with pytest.raises(UsageError, match=r"(?s)watermark videoseal: .*videoseal_y_256b_img.jit"):
        watermarked([TITLE], engine, config, KEY)
    monkeypatch.setattr(watermarks, "check_files", lambda names: None)
    (title,) = watermarked([TITLE], engine, config, KEY)
    assert title.dubs[0].watermark["picture"] == "videoseal"
    assert title.dubs[0].options["render"]["watermark_by"] == "videoseal"
    assert "speech" not in title.dubs[0].watermark


def test_off_leaves_titles_as_they_are() -> None:
    assert watermarked([TITLE], Engine(load_engine("exemplar")), WatermarkConfig(mode="off"), None) == [TITLE]
