"""Licence-clean runs: what is refused by name, what is replaced, what is accepted, and what is taken on trust."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pytest

from operators.columns import tensor
from operators.segment import Segment
from operators.stage import Stage
from pipelines.engine.config import load_profile, names, with_sections
from pipelines.engine.model_files import check_weights
from pipelines.engine.profile_parts import RightsConfig
from pipelines.engine.resolve import resolve_engine
from pipelines.errors import UsageError
from pipelines.manifest.reader import parse_rows
from pipelines.rights.licence_clean import UncleanPartsError, check_titles, clean_engine
from pipelines.rights.parts import PEOPLE, SEARCH, problem_of, stage_models, terms_of, uses_of
from pipelines.runner import run
from tests.pipelines.conftest import STAGES, engine_config, profile_config

PREDICTOR, PERSON = "dlib/shape_predictor_68_face_landmarks.dat", "dlib/face_recognition_resnet_model_v1.dat"
CLEAN = RightsConfig(licence_clean=True)


def accepting(*models: str) -> RightsConfig:
    return RightsConfig(licence_clean=True, accepted_models=list(models))


class Picky(Stage):
    """A stage that does with or without a model that is not for commercial use."""

    @dataclasses.dataclass(frozen=True)
    class Options:
        """Options of `Picky`.

        Attributes:
            way: of doing it.
            speed: of no account.
        """

        way: Literal["gfpgan", "mirror", "points"] = "gfpgan"
        speed: Literal["slow", "fast"] = "slow"

    name = "picky"
    writes: ClassVar[pa.Schema] = pa.schema([tensor("picked", "float32", "T")])

    def model_files(self, options: Options) -> tuple[str, ...]:
        return ("GFPGANv1.3.pth",) if options.way == "gfpgan" else ()

    def bundled_models(self, options: Options) -> tuple[str, ...]:
        return (PREDICTOR,) if options.way == "points" else ()

    def process(self, segment: Segment) -> dict[str, Any]:
        return {"picked": np.zeros(len(segment.pts), np.float32)}


def picky() -> Any:
    """The test engine with that stage in front, which looks for no faces."""
    config = engine_config()
    first = config.stages[0].model_copy(
        update={"stage": f"{__name__}:Picky", "options": {}, "like": "brightness"}
    )
    return config.model_copy(update={"stages": [first, *config.stages], "find_faces": False, "metrics": []})


@pytest.mark.parametrize("name", [name for name in names("engines") if name != "exemplar"])
def test_engines_with_networks_are_refused_by_the_names_of_their_models(name: str) -> None:
    """None of them does without research-only data."""
    with pytest.raises(UncleanPartsError) as refused:
        clean_engine(name, None, CLEAN)
    text = str(refused.value)
    assert f"engine {name} needs models" in text
    assert "(commercial use: " in text
    assert "--accept-model NAME" in text
    # Whoever may use these, and no others, may run it.
    named = re.findall(r"^  (\S+) \(", text, re.MULTILINE)
    assert all(problem_of(model) for model in named)
    clean_engine(name, None, accepting(*named))


def test_exemplar_does_without_research_only_data_by_the_face_mesh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built, notes = clean_engine("exemplar", None, CLEAN)
    assert (built.stages[0].options.backend, built.stages[0].options.recognise) == ("mesh", "never")
    assert (
        f"licence-clean: detect.backend is 'mesh' instead of 'mesh-or-dlib', which needs {PREDICTOR}, dlib/frontal_face_detector"
        in notes
        or f"licence-clean: detect.backend is 'mesh' instead of 'mesh-or-dlib', which needs {PREDICTOR}"
        in notes
    )
    assert f"licence-clean: detect.recognise is 'never' instead of 'auto', which needs {PERSON}" in notes
    (word,) = (note for note in notes if "publishers' word" in note)
    assert "face_landmarker.task (trained on: pictures of Google's" in word
    # The planner finds faces with the mesh as well.
    uses = uses_of(built)
    assert SEARCH in uses["face_landmarker.task"]
    assert "dlib/frontal_face_detector" not in uses
    # It tells people apart with a network of dlib's unless it is told not to.
    assert PERSON not in uses
    assert PEOPLE in uses_of(resolve_engine("exemplar"))[PERSON]
    assert not any(problem_of(name) for name in uses_of(built))
    # The files are not here: whoever asks for the engine is told the command, and so is "auto".
    monkeypatch.setenv("RETALK_HOME", str(tmp_path))
    for check in (lambda: check_weights(built), lambda: clean_engine("auto", None, CLEAN)):
        with pytest.raises(UsageError, match=r"retalk models pull face_detection_full_range\.tflite face"):
            check()
    # What is refused is not named as a way out.
    for check in (
        lambda: check_weights(built, licence_clean=True),
        lambda: clean_engine("auto", None, CLEAN),
    ):
        with pytest.raises(UsageError) as missing:
            check()
        assert "backend=dlib" not in str(missing.value)


def test_a_setting_that_needs_what_is_refused_is_named_with_the_one_that_does_not() -> None:
    with pytest.raises(UncleanPartsError) as refused:
        clean_engine("exemplar", {"detect": {"backend": "dlib"}}, CLEAN)
    assert "\n--set detect.backend=mesh does without them, and so does leaving" in str(refused.value)
    assert "no option" not in str(refused.value)
    clean_engine("exemplar", {"detect": {"backend": "mesh"}}, CLEAN)
    with pytest.raises(UncleanPartsError, match="no option does without them"):
        clean_engine("exemplar", {"metrics": {"on": "identity_gap"}}, CLEAN)


def test_without_the_condition_nothing_changes() -> None:
    built, notes = clean_engine("exemplar", None, RightsConfig())
    assert notes == []
    assert built.config == resolve_engine("exemplar").config


def test_an_option_that_does_without_a_model_takes_the_others_place() -> None:
    built, notes = clean_engine(picky(), None, CLEAN)
    assert (built.stages[0].options.way, built.stages[0].options.speed) == ("mirror", "slow")
    assert notes == ["licence-clean: picky.way is 'mirror' instead of 'gfpgan', which needs GFPGANv1.3.pth"]


def test_an_option_that_was_asked_for_is_not_replaced() -> None:
    with pytest.raises(UncleanPartsError, match=r"GFPGANv1.3.pth \(stage picky\): trained on: FFHQ"):
        clean_engine(picky(), {"picky": {"way": "gfpgan"}}, CLEAN)
    built, _ = clean_engine(picky(), {"picky": {"way": "gfpgan"}}, accepting("GFPGANv1.3.pth"))
    assert built.stages[0].options.way == "gfpgan"


def test_metrics_that_need_such_models_are_off_and_named() -> None:
    built, notes = clean_engine("exemplar", None, accepting(PREDICTOR))
    assert not any("IdentityGap" in place for place in built.config.metrics or ())
    assert any("Seam" in place for place in built.config.metrics or ())
    assert f"licence-clean: metrics are off: identity_gap, which need {PERSON}" in notes
    with pytest.raises(UncleanPartsError, match=r"resnet_model_v1.dat \(metric identity_gap\)"):
        clean_engine("exemplar", {"metrics": {"on": "identity_gap"}}, accepting(PREDICTOR))


def test_what_nobody_knows_is_said() -> None:
    _, notes = clean_engine("exemplar", None, accepting(PREDICTOR))
    (word,) = (note for note in notes if "publishers' word" in note)
    assert "pocketsphinx/en-us (trained on: not known)" in word
    assert f"licence-clean: accepted by name: {PREDICTOR}" in notes
    _, quiet = clean_engine("exemplar", {"speak": {"phones": "off"}}, accepting(PREDICTOR))
    assert not any("pocketsphinx" in note for note in quiet)


def test_auto_takes_what_is_clean() -> None:
    built, _ = clean_engine("auto", None, accepting(PREDICTOR))
    assert built.name == "exemplar"


def test_an_unknown_name_is_not_accepted() -> None:
    with pytest.raises(UsageError, match=r"no model is called 'shape': known are .*pocketsphinx/en-us"):
        clean_engine("exemplar", None, accepting("shape"))


def test_a_learned_mark_of_pictures_is_among_the_models() -> None:
    render = resolve_engine("exemplar", None).stages[-1]
    assert "videoseal_y_256b_img.jit" in stage_models(
        render, {"watermark": "on", "watermark_by": "videoseal"}
    )
    assert not any("seal" in name for name in stage_models(render, {"watermark": "on"}))


def test_rows_that_ask_for_such_models_are_named() -> None:
    rights = accepting(PREDICTOR)
    built, _ = clean_engine("exemplar", None, rights)
    row = {"id": "t", "video": "/v.mp4", "speech": "/s.wav"}
    rows = [
        {**row, "id": "a"},
        {**row, "id": "b", "face": "/person.jpg"},
        {**row, "id": "c", "detect.backend": "face-alignment"},
    ]
    titles = parse_rows([(f"m row {n}", one) for n, one in enumerate(rows, 1)], built, "/out")
    with pytest.raises(UncleanPartsError) as refused:
        check_titles(built, titles, rights)
    text = str(refused.value)
    assert f"m row 2: b: {PERSON} (face pictures)" in text
    assert (
        "choose the face by left, right, largest or a number"
        in text.split("m row 3", maxsplit=1)[0].split("m row 2")[1]
    )
    assert "choose the face" not in text.split("m row 3")[1]
    assert "m row 3: c: s3fd-619a316812.pth (stage detect)" in text
    assert "row 1" not in text
    alone = dataclasses.replace(titles[1], where="")
    with pytest.raises(UncleanPartsError, match=rf"\nb: {PERSON} "):
        check_titles(built, [alone], rights)
    check_titles(built, titles[:1], rights)
    check_titles(built, titles, RightsConfig())


def test_a_run_starts_nothing(tmp_path: Path) -> None:
    row = {"id": "t", "video": "/no.mp4", "speech": "/no.wav", "output": "t.mp4"}
    for how in (
        {"rights": {"licence_clean": True}},
        {"profile": with_sections(load_profile("laptop"), rights={"licence_clean": True})},
    ):
        with pytest.raises(UncleanPartsError):
            run([row], run_dir=tmp_path / "out", engine="retalk", runner="local", **how)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_a_clean_engine_runs(footage: Path, tmp_path: Path) -> None:
    row = {
        "id": "t",
        "video": str(footage / "a.mp4"),
        "speech": str(footage / "exact.wav"),
        "output": "t.mp4",
    }
    report = run(
        [row],
        run_dir=tmp_path,
        engine=picky(),
        profile=profile_config(1, 30),
        runner="local",
        rights={"licence_clean": True},
    )
    assert report.exit_code == 0
    assert any("picky.way is 'mirror'" in note for note in report.noticed)


@pytest.mark.parametrize("name", names("engines"))
def test_all_models_of_an_engine_have_terms(name: str) -> None:
    uses = uses_of(resolve_engine(name, {"metrics": {"on": "all"}}))
    assert all(terms_of(model) is not None for model in uses)
    assert SEARCH in uses.get("dlib/frontal_face_detector", ()) or name == "retalk-parity"
    assert STAGES
