"""Content keys: each thing that decides a result changes the key, and nothing else does; a run whose weights or
code have changed computes again, and says so.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from operators.storage.files import fingerprint
from pipelines.engine.config import EngineConfig, ProfileConfig, load_engine
from pipelines.engine.engine import Engine
from pipelines.engine.specs import Provenance
from pipelines.execution.run_spec import RunSpec
from pipelines.manifest.titles import Dub, Title
from pipelines.runner import Report, run
from pipelines.state import content_keys
from pipelines.state.content_keys import (
    CODE,
    content_key,
    libraries,
    model_digests,
    output_key,
    provenance_of,
    segment_ingredients,
    shot_ingredients,
    source_hash,
)
from pipelines.state.run_directory import RunDirectory
from tests.pipelines.conftest import engine_config, make_speech, make_video, profile_config
from tests.signatures import without_signature

PROVENANCE = Provenance(
    "1",
    dict.fromkeys((*CODE, "tests"), "a"),
    {"numpy": "1"},
    {"brightness": "cpu", "level": "cpu", "paint": "cpu"},
    {},
)
#: A stage from elsewhere that loads a model file.
SOURCE = """
from dataclasses import dataclass
from pathlib import Path

from tests.pipelines.stages import Level
from tests.signatures import without_signature


@dataclass(frozen=True)
class Options:
    gain: float = 1.0
    weights: str = ""


class Trained(Level):
    Options = Options

    def model_files(self, options):
        return ("expression.mat",)

    def setup(self, device):
        self.step = Path(self.options.weights, "models", "expression.mat").read_bytes()[-1]

    def process(self, segment):
        return {"level": (super().process(segment)["level"] // 2 + self.step + BIAS).astype("uint8")}
"""


@pytest.fixture
def asked(footage: Path, tmp_path: Path) -> dict[str, Any]:
    """Arguments of `segment_ingredients` for a title with one dub."""
    video, speech = tmp_path / "v.mp4", tmp_path / "s.wav"
    shutil.copy2(footage / "a.mp4", video)
    shutil.copy2(footage / "exact.wav", speech)
    dub = Dub("dub", str(speech), str(tmp_path / "out.mp4"))
    return {
        "engine": Engine(engine_config()),
        "title": Title("t", str(video), (dub,)),
        "dub": dub,
        "video": fingerprint(str(video)),
        "segment_frames": 7,
        "provenance": PROVENANCE,
    }


def key(asked: dict[str, Any], **changes: Any) -> str:
    return content_key(segment_ingredients(**{**asked, **changes}))


def test_each_ingredient_changes_the_key(asked: dict[str, Any], footage: Path, tmp_path: Path) -> None:
    title, dub = asked["title"], asked["dub"]
    picture = tmp_path / "face.png"
    picture.write_bytes(b"one")
    pictured = dataclasses.replace(title, face=str(picture))

    def known(**fields: Any) -> dict[str, Any]:
        return {"provenance": dataclasses.replace(PROVENANCE, **fields)}

    changed: dict[str, dict[str, Any]] = {
        "nothing": {},
        "engine": {"engine": Engine(engine_config(name="other"))},
        "stages": {"engine": Engine(engine_config("MisbehaveDub"))},
        "shots": {"engine": Engine(engine_config(detect_shots=False))},
        "engine's option": {"engine": Engine(engine_config(options={"Level": {"gain": 2.0}}))},
        "title's option": {"title": dataclasses.replace(title, options={"level": {"gain": 3.0}})},
        "dub's option": {"dub": dataclasses.replace(dub, options={"level": {"gain": 4.0}})},
        "segments": {"segment_frames": 8},
        "face": {"title": dataclasses.replace(title, face="left")},
        "picture": {"title": pictured},
        "length": {"dub": dataclasses.replace(dub, length="loop")},
        "speech": {"dub": dataclasses.replace(dub, speech=str(footage / "long.wav"))},
        "video": {"video": fingerprint(str(footage / "b.mp4"))},
        "version": known(version="2"),
        "code of operators": known(code={**PROVENANCE.code, "operators": "b"}),
        "code of networks": known(code={**PROVENANCE.code, "retalk_models": "b"}),
        "code of the planner": known(code={**PROVENANCE.code, "pipelines.planning": "b"}),
        "code of a foreign stage": known(code={**PROVENANCE.code, "tests": "b"}),
        "libraries": known(libraries={"numpy": "2"}),
        "device": known(devices={**PROVENANCE.devices, "level": "cuda"}),
    }
    keys = {name: key(asked, **changes) for name, changes in changed.items()}
    picture.write_bytes(b"other")
    keys["picture's content"] = key(asked, title=pictured)
    make_speech(Path(dub.speech), 2.0, 0.2)
    keys["speech's content"] = key(asked)
    make_video(Path(title.video), scenes=3)
    keys["video's content"] = key(asked, video=fingerprint(title.video))
    assert len(set(keys.values())) == len(keys), keys


def test_nothing_else_changes_the_key(asked: dict[str, Any]) -> None:
    """Names, outputs, other dubs, and how many workers there are and of what size."""
    title, dub = asked["title"], asked["dub"]
    other = Dub("other", dub.speech, "/elsewhere/other.mp4", language="fra")
    same: list[dict[str, Any]] = [
        {"title": dataclasses.replace(title, id="another", dubs=(dub, other), where="row 7")},
        {"dub": dataclasses.replace(dub, dub="deu", output="/x.mkv", audio="add", language="deu")},
        {"engine": Engine(engine_config(description="in other words"))},
    ]
    assert {key(asked, **changes) for changes in same} == {key(asked)}
    engine = Engine(engine_config())
    assert engine.config.segments.kind == "frames"
    shots = Engine(engine_config(segments={"kind": "shot"}))
    assert key(asked, engine=shots) == key(asked, engine=shots, segment_frames=100)

    def placed(**fields: Any) -> Provenance:
        profile = profile_config(3)
        pools = [pool.model_copy(update=fields) for pool in profile.pools]
        return provenance_of(engine, profile.model_copy(update={"pools": pools, "name": "x"}))

    assert placed() == placed(size=4, num_cpus=2.0, in_flight=5) == provenance_of(engine)


def test_an_outputs_key_follows_its_segments_and_its_assembly() -> None:
    dub = Dub("d", "/s.wav", "/o.mp4")
    keys = {output_key("k", dub), output_key("other", dub)}
    keys |= {
        output_key("k", dataclasses.replace(dub, **change))
        for change in ({"output": "/p.mp4"}, {"audio": "add"}, {"language": "deu"}, {"loudness": "-23"})
    }
    assert len(keys) == 6
    assert output_key("k", dataclasses.replace(dub, dub="e", error="x")) == output_key("k", dub)


def test_shots_follow_the_video_the_face_and_how_they_are_looked_for(asked: dict[str, Any]) -> None:
    title, video = asked["title"], asked["video"]

    def shots(engine: EngineConfig, title: Title = title, known: Provenance = PROVENANCE) -> str:
        return content_key(shot_ingredients(Engine(engine), title, video, known))

    plain = shots(engine_config())
    assert plain == shots(engine_config("MisbehaveDub", options={"Level": {"gain": 2.0}}, name="other"))
    assert plain == shots(engine_config(), known=dataclasses.replace(PROVENANCE, devices={}, weights={}))
    keys = {
        plain,
        shots(engine_config(detect_shots=False)),
        shots(engine_config(find_faces=True)),
        shots(engine_config(), dataclasses.replace(title, face="left")),
        shots(engine_config(), known=dataclasses.replace(PROVENANCE, version="2")),
        shots(engine_config(), known=dataclasses.replace(PROVENANCE, libraries={})),
        *(
            shots(engine_config(), known=dataclasses.replace(PROVENANCE, code={**PROVENANCE.code, unit: "b"}))
            for unit in CODE
        ),
    }
    assert len(keys) == 6 + len(CODE)
    # What the planner finds faces with follows the stage that follows them.
    exemplar = load_engine("exemplar")
    with_mesh = dataclasses.replace(title, options={"detect": {"backend": "mesh"}})
    assert Engine(exemplar).face_finder(title.options) == "dlib"
    assert Engine(exemplar).face_finder(with_mesh.options) == "mesh"
    assert shots(exemplar) != shots(exemplar, with_mesh)
    assert shots(exemplar) == shots(
        exemplar, dataclasses.replace(title, options={"detect": {"max_yaw": 40.0}})
    )


def test_devices_come_from_the_profile_not_from_this_machine() -> None:
    """The driver of a mixed cluster has no GPU."""
    profile = profile_config(2)
    pools = [
        profile.pools[0],
        profile.pools[1].model_copy(update={"device": "cuda", "num_gpus": 0.5}),
    ]
    found = provenance_of(Engine(engine_config()), profile.model_copy(update={"pools": pools}))
    assert found.devices == {"brightness": "cpu", "level": "cuda", "paint": "cuda"}


def test_libraries_and_sources_are_those_that_are_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert {"numpy", "av", "torch"} <= libraries().keys()
    monkeypatch.syspath_prepend(tmp_path)
    for package in ("key_one", "key_two"):
        (tmp_path / package / "inner").mkdir(parents=True)
        (tmp_path / package / "__init__.py").write_text("A = 1\n")
        (tmp_path / package / "inner" / "deep.py").write_text("B = 1\n")
    importlib.invalidate_caches()
    first = source_hash("key_one")
    assert source_hash("key_two") == first
    source_hash.cache_clear()
    (tmp_path / "key_two" / "inner" / "deep.py").write_text("B = 2\n")
    assert source_hash("key_one") == first != source_hash("key_two")


def test_model_files_are_hashed_once_and_again_when_they_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "models" / "expression.mat"
    file.parent.mkdir()
    file.write_bytes(b"MATLAB one")
    hashed: list[Path] = []
    real = content_keys.home_registry.__globals__["sha256_of"]
    monkeypatch.setitem(
        content_keys.home_registry.__globals__, "sha256_of", lambda path: hashed.append(path) or real(path)
    )
    first = model_digests(["expression.mat"], str(tmp_path))
    assert model_digests(["expression.mat"], str(tmp_path)) == first
    assert hashed == [file]
    file.write_bytes(b"MATLAB two")
    os.utime(file, ns=(1, 1))
    assert model_digests(["expression.mat"], str(tmp_path)) != first
    file.unlink()
    assert model_digests(["expression.mat"], str(tmp_path)) == {"expression.mat": ""}


# --- end to end ---------------------------------------------------------------------------------------------
@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package outside of the tree with the stage `Trained`, and its weights."""
    folder = tmp_path / "site" / "key_acme"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "numbers.py").write_text("BIAS = 1\n")
    (folder / "stages.py").write_text(f"from key_acme.numbers import BIAS\n{SOURCE}")
    monkeypatch.syspath_prepend(tmp_path / "site")
    (tmp_path / "home" / "models").mkdir(parents=True)
    (tmp_path / "home" / "models" / "expression.mat").write_bytes(b"MATLAB 5.0 \x05")
    yield folder
    forget(folder.name)


def forget(package: str) -> None:
    """Make a package be imported anew, as by a new process."""
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        del sys.modules[name]
    importlib.invalidate_caches()
    source_hash.cache_clear()


def trained(
    footage: Path, tmp_path: Path, profile: ProfileConfig | None = None, keep_segments: bool = False
) -> Report:
    config = engine_config()
    options = {"weights": str(tmp_path / "home")}
    stages = [
        config.stages[0],
        config.stages[1].model_copy(update={"stage": "key_acme.stages:Trained", "options": options}),
        config.stages[2],
    ]
    rows = [
        {"id": "t", "video": str(footage / "a.mp4"), "speech": str(footage / "exact.wav"), "output": "o.mp4"}
    ]
    return run(
        rows,
        run_dir=str(tmp_path / "run"),
        engine=config.model_copy(update={"stages": stages}),
        profile=profile or profile_config(2),
        runner="local",
        keep_segments=keep_segments,
    )


def test_swapped_weights_and_edited_code_are_computed_again_and_told(
    footage: Path, tmp_path: Path, package: Path
) -> None:
    """Also where encoded segments of before lie in the run directory as if committed."""
    output = tmp_path / "run" / "o.mp4"
    first = trained(footage, tmp_path, keep_segments=True)
    assert (first.exit_code, first.computed, first.noticed) == (0, 4, [])
    before = without_signature(output)
    assert trained(footage, tmp_path, keep_segments=True).already == 1
    assert trained(footage, tmp_path, profile_config(1), keep_segments=True).already == 1, "other pools"

    (tmp_path / "home" / "models" / "expression.mat").write_bytes(b"MATLAB 5.0 \x46")
    swapped = trained(footage, tmp_path, keep_segments=True)
    assert (swapped.computed, swapped.reused) == (4, 0)
    assert without_signature(output) != before
    assert swapped.records[0]["notes"] == ["computed again: weights of level changed"]
    assert "weights (1)" in swapped.noticed[-1]

    before = without_signature(output)
    (package / "numbers.py").write_text("BIAS = 90\n")
    forget(package.name)
    edited = trained(footage, tmp_path, keep_segments=True)
    assert (edited.computed, edited.reused) == (4, 0)
    assert without_signature(output) != before
    assert edited.records[0]["notes"] == ["computed again: code of key_acme changed"]
    assert trained(footage, tmp_path).already == 1


def test_planners_and_workers_are_told_what_the_driver_has_found(tmp_path: Path) -> None:
    """They make the same keys wherever they run."""
    engine, profile, directory = Engine(engine_config()), profile_config(2), RunDirectory(str(tmp_path))
    spec = RunSpec(directory, engine, profile, [], frozenset(), directory.url, False)
    assert spec.plan.provenance == provenance_of(engine, profile)
    caches = [group.cache for _, group in spec.placement(isolated=True)]
    assert all(cache is not None and cache.provenance is spec.plan.provenance for cache in caches)
