"""Options that depend on the machine are decided once, for the engine and for titles with options of their own, and are part of keys."""

import dataclasses
import sys
from pathlib import Path
from typing import Any

import pytest

from pipelines.engine.config import ProfileConfig, load_engine, load_profile
from pipelines.engine.engine import Engine
from pipelines.engine.resolve import resolve_engine
from pipelines.errors import ConfigError
from pipelines.manifest.titles import Dub, Title
from pipelines.preflight.decisions import decided
from pipelines.state.content_keys import (
    LITERT,
    analysis_ingredients,
    libraries,
    provenance_of,
    shot_ingredients,
)
from retalk_models.tflite.runtime import litert_problem

HERE = "torch" if litert_problem() else "litert"
MESH = {"backend": "mesh"}


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)  # as where the extra is not installed


def title(**options: Any) -> Title:
    return Title(
        "t", "/v.mp4", (Dub("", "/s.wav", "/o.mp4"),), options={"detect": options} if options else {}
    )


def with_mesh(runtime: str = "auto") -> Engine:
    return resolve_engine("exemplar", {"detect": {**MESH, "mesh_runtime": runtime}})


def laptop(device: str = "cpu") -> ProfileConfig:
    profile = load_profile("laptop")
    pools = [pool.model_copy(update={"device": device}) for pool in profile.pools]
    return profile.model_copy(update={"pools": pools, "engines": {}})


def runtime_of(engine: Engine) -> str:
    return str(next(spec.options.mesh_runtime for spec in engine.stages if spec.name == "detect"))


def test_the_engines_runtime_is_what_is_installed() -> None:
    built, (own, other) = decided(with_mesh(), [title(), title(max_yaw=40.0)], laptop())
    assert runtime_of(built) == HERE
    assert own.options == {}
    assert other.options == {"detect": {"max_yaw": 40.0}}
    assert built.mesh_runtime(own.options) == HERE
    assert runtime_of(decided(with_mesh("torch"), [], laptop())[0]) == "torch"


def test_a_gpu_has_torch() -> None:
    assert runtime_of(decided(with_mesh(), [], laptop("cuda"))[0]) == "torch"


@pytest.mark.usefixtures("absent")
def test_without_the_package_it_is_torch_and_asking_for_litert_is_refused() -> None:
    built, _ = decided(with_mesh(), [], laptop())
    assert runtime_of(built) == "torch"
    with pytest.raises(ConfigError, match=r"exemplar: detect: .*ai-edge-litert.*detect\.mesh_runtime=torch"):
        decided(with_mesh("litert"), [], laptop())
    asking = dataclasses.replace(title(**MESH, mesh_runtime="litert"), where="m.jsonl:3")
    _, (refused, fine) = decided(resolve_engine("exemplar"), [asking, title(**MESH)], laptop())
    assert refused.error.startswith("m.jsonl:3: detect: ")
    assert LITERT in refused.error
    assert fine.options["detect"] == {"backend": "mesh", "mesh_runtime": "torch"}
    assert not fine.error


def test_a_title_has_its_own_and_without_the_mesh_none_is_decided() -> None:
    plain = resolve_engine("exemplar", {"detect": {"backend": "dlib"}})
    built, (with_own, without) = decided(plain, [title(**MESH), title()], laptop())
    assert built is plain
    assert with_own.options["detect"] == {"backend": "mesh", "mesh_runtime": HERE}
    assert built.mesh_runtime(with_own.options) == HERE
    assert without == title()
    _, (back,) = decided(with_mesh("torch"), [title(backend="dlib")], laptop())
    assert back.options["detect"] == {"backend": "dlib", "mesh_runtime": "auto"}


def backend_of(engine: Engine) -> str:
    return str(next(spec.options.backend for spec in engine.stages if spec.name == "detect"))


def either(**options: str) -> Engine:
    """The engine as it is: its backend is "mesh-or-dlib"."""
    return resolve_engine("exemplar", {"detect": options})


def test_mesh_or_dlib_is_the_mesh_where_its_files_and_litert_are(
    face_mesh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETALK_HOME", str(face_mesh.parent))
    usual = either()
    built, (turned, own) = decided(usual, [title(max_yaw=40.0), title(backend="dlib")], laptop())
    assert backend_of(built) == built.face_finder({}) == ("mesh" if HERE == "litert" else "dlib")
    assert turned.options == {"detect": {"max_yaw": 40.0}}
    assert built.face_finder(own.options) == "dlib"
    # Without it, the mesh takes three times dlib's time, but not on a GPU.
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    assert backend_of(decided(usual, [], laptop())[0]) == "dlib"
    built, _ = decided(usual, [], laptop("cuda"))
    assert (backend_of(built), runtime_of(built)) == ("mesh", "torch")
    assert backend_of(decided(either(mesh_runtime="torch"), [], laptop())[0]) == "mesh"


def test_without_the_files_the_usual_engine_takes_dlib_and_a_note_tells_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETALK_HOME", str(tmp_path))
    built, _ = decided(resolve_engine("exemplar"), [], laptop())
    assert backend_of(built) == built.face_finder({}) == "dlib"
    (note,) = built.notes
    assert note.startswith("faces are found with dlib: ")
    assert note.endswith("retalk models pull face_landmarker.task face_detection_full_range.tflite")
    # Who asks for dlib need not be told.
    assert not decided(resolve_engine("exemplar", {"detect": {"backend": "dlib"}}), [], laptop())[0].notes


def test_keys_differ_by_runtime_and_litert_counts_only_where_it_is_used() -> None:
    def ingredients(engine: Engine, version: str) -> tuple[dict[str, Any], dict[str, Any]]:
        known = provenance_of(engine, laptop())
        known = dataclasses.replace(known, libraries={**known.libraries, LITERT: version})
        row = {
            **dict.fromkeys(("start", "halo_start", "shot_start"), 0),
            **dict.fromkeys(("stop", "halo_stop", "shot_stop", "n_frames"), 9),
            "anchor": [0.0, 0.0, 9.0, 9.0],
        }
        detect = engine.stages[0]
        video = ("/v.mp4", 1, "2")
        return (
            analysis_ingredients([(detect, detect.options)], row, video, known),
            shot_ingredients(engine, title(), video, known),
        )

    for litert, torch, plain in zip(
        *(
            ingredients(engine, "1")
            for engine in (with_mesh("litert"), with_mesh("torch"), Engine(load_engine("exemplar")))
        ),
        strict=True,
    ):
        assert litert != torch != plain
        assert LITERT in litert["libraries"]
        assert LITERT not in torch["libraries"]
        assert LITERT not in plain["libraries"]
    assert ingredients(with_mesh("litert"), "1") != ingredients(with_mesh("litert"), "2")
    assert ingredients(with_mesh("torch"), "1") == ingredients(with_mesh("torch"), "2")
    if HERE == "litert":
        assert LITERT in libraries()
