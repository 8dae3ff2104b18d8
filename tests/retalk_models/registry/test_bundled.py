"""Models inside packages: they are there, are what the catalogue says, and have terms."""

from __future__ import annotations

import hashlib
import importlib.metadata
from pathlib import Path

import pytest

from retalk_models.registry.bundled import BundledModel, bundled_models
from retalk_models.registry.catalog import is_clean, shipped_catalog

PREDICTOR = "dlib/shape_predictor_68_face_landmarks.dat"


@pytest.mark.parametrize("name", bundled_models())
def test_each_is_installed_and_has_terms(name: str) -> None:
    model = bundled_models()[name]
    assert model.commercial in ("yes", "no", "unknown")
    assert model.data_commercial in ("yes", "no", "unknown")
    assert model.licence
    assert model.data or model.data_commercial != "no"
    assert importlib.metadata.version(model.distribution)
    assert (model.place() is not None) == bool(model.path)
    assert len(model.sha256()) == (64 if model.path else 0)


def test_the_predictor_in_the_package_is_the_file_of_the_catalogue() -> None:
    """Both have the same terms, for they are the same bytes."""
    inside, file = (
        bundled_models()[PREDICTOR],
        shipped_catalog().files["shape_predictor_68_face_landmarks.dat"],
    )
    assert inside.sha256() == file.sha256
    assert (inside.licence, inside.commercial, inside.data_commercial) == (
        file.licence,
        file.commercial,
        file.data_commercial,
    )
    assert not is_clean(inside)


def test_a_folder_has_a_digest_of_names_and_contents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = BundledModel("x", "numpy", "MIT", "yes", "tests", path="model")
    monkeypatch.setattr(BundledModel, "place", lambda self: tmp_path)
    (tmp_path / "a").write_bytes(b"1")
    first = model.sha256()
    assert first == hashlib.sha256(f"a\0{hashlib.sha256(b'1').hexdigest()}\n".encode()).hexdigest()
    (tmp_path / "a").rename(tmp_path / "b")
    assert model.sha256() != first


def test_a_package_that_is_not_installed_has_no_place() -> None:
    assert BundledModel("x", "no-such-package", "MIT", "yes", "tests", path="model").place() is None


def test_the_documents_table_has_them_all() -> None:
    page = (Path(__file__).parents[3] / "docs" / "rights.md").read_text()
    for model in bundled_models().values():
        row = (
            f"| `{model.name}` | {model.distribution} | {model.licence} ({model.commercial}) | "
            f"{model.data or 'not known'} ({model.data_commercial}) | {model.used_by} |"
        )
        assert row in page
