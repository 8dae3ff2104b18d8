"""The neural engine through the real graph, on made-up weights: parity with the original's recorded run, and
the default mode.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from benchmarks.reference_loop import reference_loop
from operators.retalk.detectors import NetworkDetectors, RecordedDetectors
from operators.retalk.nets import Networks
from operators.stage import option_help
from pipelines.engine.config import ProfileConfig, load_engine
from pipelines.engine.engine import Engine
from pipelines.engine.profile_parts import CacheConfig
from pipelines.engine.resolve import resolve_engine
from pipelines.errors import UsageError
from pipelines.runner import Report, run
from pipelines.state.run_directory import RunDirectory
from retalk_models.registry.catalog import load_catalog
from tests.parity import assert_close
from tests.pipelines.conftest import make_speech
from tests.pipelines.remembering import Remembered, RememberingNetworks, answers, remembering_engine
from tests.recorded_run import E2E, FINE, parity_run, pictures, profile, recipe_home, recorded_clip, rendered
from tests.signatures import without_signature

needs_fixture = pytest.mark.skipif(
    not E2E.is_dir(), reason="no recorded run of the original beside this checkout"
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Model files for both modes: gigabytes, so they go with this module's last test."""
    folder = recipe_home(tmp_path_factory.mktemp("home"))
    yield folder
    shutil.rmtree(folder)


def assert_like(ours: np.ndarray, theirs: np.ndarray) -> None:
    """The bound of the parity material for pictures: 8-bit truncation sits between the stages."""
    difference = np.abs(ours.astype(int) - theirs.astype(int))
    assert difference.mean() < 0.5
    assert (difference <= 2).mean() >= 0.99


@pytest.mark.timeout(1800)
@needs_fixture
def test_parity_mode_equals_the_original_for_any_segment_length_and_on_ray(
    tmp_path: Path, home: Path, ray_session: Any
) -> None:
    """All six frames of the original's recorded run; those that it shows again, and its steps one by one, are
    in the slow test below.
    """
    clip, engine = recorded_clip(tmp_path / "clip"), remembering_engine("retalk-parity")
    parity_run(tmp_path / "whole", clip, home, profile(50), length="keep", engine=engine)
    whole, theirs = rendered(tmp_path / "whole"), np.load(E2E / "final_frames.npz")["frames_bgr"]
    assert len(whole) == min(len(pictures(clip[0])), len(theirs))
    assert_like(whole, theirs[: len(whole)])
    asked = answers(home)
    parity_run(tmp_path / "ray", clip, home, profile(3, pools=2), ray=True, length="keep", engine=engine)
    assert (rendered(tmp_path / "ray") == whole).all()
    assert answers(home) == asked, (
        "with another segment length or on Ray the networks were asked something else"
    )


@pytest.mark.slow
@pytest.mark.timeout(3600)
@needs_fixture
def test_every_step_and_the_whole_recorded_run_equal_the_original(tmp_path: Path, home: Path) -> None:
    clip, engine = recorded_clip(tmp_path / "clip"), remembering_engine("retalk-parity")
    check_the_loop(clip, home)
    asked = answers(home)
    parity_run(tmp_path / "whole", clip, home, profile(4), engine=engine)
    whole, theirs = rendered(tmp_path / "whole"), np.load(E2E / "final_frames.npz")["frames_bgr"]
    assert len(whole) == len(theirs)
    assert_like(whole, theirs)
    assert answers(home) == asked, "loop and stages asked the networks different things"
    encoded, source = pictures(tmp_path / "whole" / "out.mp4"), pictures(clip[0])
    # The speech's length; the original leaves out the last few, which stay as they were.
    assert len(encoded) > len(whole)
    assert np.abs(encoded[: len(whole), ..., ::-1].astype(int) - whole).mean() < 1
    rest = np.arange(len(whole), len(encoded)) % len(source)
    assert np.abs(encoded[len(whole) :].astype(int) - source[rest]).mean() < 1


def check_the_loop(clip: tuple[Path, Path, Path], home: Path) -> None:
    """The benchmarks' baseline on the original's input, step by step."""
    with np.load(E2E / "inputs.npz") as arrays:
        given = dict(arrays)
    networks = RememberingNetworks(Networks(weights=str(home)), home / "answers")
    detectors = RecordedDetectors(str(clip[2]), NetworkDetectors(networks))
    record = reference_loop(
        *(given["frames_bgr"], given["wav"], float(given["fps"]), networks, detectors),
        *(given["expression_center"], given["lm3d_5x3"].astype(np.float64), int(given["lnet_batch_size"])),
    )
    references, outputs = np.load(E2E / "stage_refs.npz"), np.load(E2E / "stage_outputs.npz")
    assert_close("semantic", record.semantic, outputs["semantic"])
    assert record.starts.tolist() == outputs["chunk_starts"].tolist()
    assert_like(np.stack(record.stabilised), references["stabilised_bgr"])
    assert_like(np.stack(record.enhanced), references["enhanced_ref_bgr"])
    faces = np.stack(record.faces).transpose(0, 3, 1, 2)[:, :, ::4, ::4]
    assert np.abs(faces - outputs["enet_pred_s4"]).mean() < 0.5 / 255
    names = {"pasted_bgr": "pasted", "gfpgan_frame": "restored", "mouth_blended": "blended"}
    steps = [key.rsplit("_", 1) for key in outputs if key.rsplit("_", 1)[0] in names]
    assert {kind for kind, _ in steps} == set(names)
    for kind, number in steps:
        assert_like(getattr(record.finished[int(number)], names[kind]), outputs[f"{kind}_{number}"])
    finals = np.load(E2E / "final_frames.npz")["frames_bgr"]
    for ours, theirs in zip(record.finished, finals, strict=True):
        assert_like(ours.final, theirs)


def talking_clip(folder: Path, frames: int) -> tuple[Path, Path]:
    """The astronaut under a moving camera, 25 frames a second, and speech for the first two frames."""
    import skimage.data

    folder.mkdir(parents=True, exist_ok=True)
    astronaut = skimage.data.astronaut()
    views = [astronaut[:256, 60 + 2 * index : 380 + 2 * index] for index in range(frames)]
    video = folder / "astronaut.mp4"
    with av.open(str(video), "w") as container:
        stream = container.add_stream(
            "libx264", rate=25, width=320, height=256, pix_fmt="yuv420p", options={"crf": "12"}
        )
        for index, view in enumerate(views):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(view), "rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    make_speech(folder / "speech.wav", 0.08)
    return video, folder / "speech.wav"


def default_run(
    folder: Path,
    clip: tuple[Path, Path],
    home: Path,
    chosen: ProfileConfig,
    enet: dict[str, Any],
    ray: bool = False,
    **more: Any,
) -> Report:
    """The default mode; 8-bit crf 0 is lossless: what is decoded from the output is what the stages made."""
    options: dict[str, dict[str, Any]] = {
        name: {"weights": str(home)} for name in ("recon3d", "dnet", "lnet")
    }
    options |= {
        "lnet": {"weights": str(home), "ease": 0},
        "enet": {"weights": str(home), **enet},
        "blend": dict(FINE),
    }
    engine = remembering_engine("retalk")
    rows = [{"id": "clip", "video": str(clip[0]), "speech": str(clip[1]), "output": str(folder / "out.mp4")}]
    runner, more = "ray" if ray else "local", {"watermark": {"mode": "off"}, **more}
    report = run(
        rows, run_dir=str(folder), engine=engine, profile=chosen, options=options, runner=runner, **more
    )
    assert not report.failed, report.failed
    return report


def test_default_mode_draws_the_mouth_and_leaves_the_rest(tmp_path: Path, home: Path) -> None:
    clip = talking_clip(tmp_path / "clip", 5)
    default_run(tmp_path / "whole", clip, home, profile(50), {})
    directory = RunDirectory(str(tmp_path / "whole"))
    (record,) = directory.records()
    trace = directory.read_trace(record)
    assert trace is not None
    assert [one["reason"] for one in trace["shots"][0]["passed"]] == ["no speech"]
    assert None not in trace["opening"]["dub"][:2]
    assert trace["opening"]["dub"][0] != trace["opening"]["source"][0], (
        "the mouth is that of the drawn pixels"
    )
    source, made = pictures(clip[0]), pictures(tmp_path / "whole" / "out.mp4")
    changed = (made != source).any(-1)
    assert [bool(frame.any()) for frame in changed] == [
        True,
        True,
        False,
        False,
        False,
    ]  # the own mouth after the speech
    landmarks = NetworkDetectors(Networks()).clip_landmarks(0, source[0])
    assert landmarks is not None
    x, y = np.rint(landmarks[48:68].mean(0)).astype(int)
    assert changed[0, y - 2 : y + 3, x - 5 : x + 6].mean() > 0.8
    assert not changed[:2, : landmarks[27:31, 1].min()].any(), "eyes and brows were touched"
    left, right = landmarks[:, 0].min(), landmarks[:, 0].max()
    assert not changed[0, :, : left - 12].any()
    assert not changed[0, :, right + 12 :].any()
    asked = answers(home)
    default_run(tmp_path / "cut", clip, home, profile(1), {})
    assert (pictures(tmp_path / "cut" / "out.mp4") == made).all()
    assert answers(home) == asked, "with another segment length the networks were asked something else"


def test_default_mode_gives_the_same_bytes_on_any_number_of_workers(
    tmp_path: Path, home: Path, ray_session: Any
) -> None:
    clip = talking_clip(tmp_path / "clip", 5)  # what the test before has asked the networks, they remember
    default_run(tmp_path / "local", clip, home, profile(2), {})
    asked = answers(home)
    default_run(tmp_path / "ray", clip, home, profile(2, pools=2, workers=2), {}, ray=True)
    assert without_signature(tmp_path / "ray" / "out.mp4") == without_signature(
        tmp_path / "local" / "out.mp4"
    )
    assert answers(home) == asked, "other workers asked the networks something else"


def test_a_language_added_later_asks_no_network_of_the_analysis(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With room for D-Net's pictures in the cache: another run, for another language, only draws, and draws
    the same.
    """
    clip, asked = talking_clip(tmp_path / "clip", 5), set[str]()
    ask = Remembered._ask

    def noted(self: Remembered, *call: Any) -> Any:
        asked.add(self.name.split()[0])
        return ask(self, *call)

    monkeypatch.setattr(Remembered, "_ask", noted)
    chosen = profile(50).model_copy(update={"cache": CacheConfig(bytes_per_frame=10_000_000)})
    default_run(tmp_path / "one", clip, home, chosen, {}, cache=str(tmp_path / "kept"))
    every, drawing = set(asked), {"lnet", "enet", "gfpgan", "parsenet"}
    assert {"face3d", "dnet"} <= every - drawing
    asked.clear()
    default_run(tmp_path / "two", clip, home, chosen, {}, cache=str(tmp_path / "kept"))
    assert asked == every & drawing
    assert without_signature(tmp_path / "two" / "out.mp4") == without_signature(tmp_path / "one" / "out.mp4")


def test_without_weights_nothing_runs_and_the_one_command_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETALK_HOME", str(tmp_path / "empty"))
    options = {"dnet": {"enhance": "gpen"}}
    rows = [{"id": "a", "video": "a.mp4", "speech": "a.wav", "output": str(tmp_path / "out.mp4")}]
    with pytest.raises(
        UsageError,
        match=r"DNet\.pt[\s\S]*GPEN-BFR-512\.pth[\s\S]*retalk models pull .*DNet\.pt[\s\S]*--engine exemplar",
    ):
        run(
            rows,
            run_dir=str(tmp_path / "run"),
            engine="retalk",
            profile=profile(50),
            options=options,
            runner="local",
        )
    assert not (tmp_path / "out.mp4").exists()


def test_auto_takes_the_networks_where_their_weights_are(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETALK_HOME", str(tmp_path))
    assert resolve_engine("auto").name == "exemplar"
    own = {name: {"weights": str(home)} for name in ("recon3d", "dnet", "lnet", "enet")}
    assert resolve_engine("auto", own).name == "retalk"
    # The official files are known by their names and sizes until they are read.
    catalog, needed = (
        load_catalog(),
        {"ENet.pth", "GFPGANv1.3.pth", "expression.mat", "similarity_Lm3D_all.mat"},
    )
    (tmp_path / "models").mkdir()
    for entry in catalog.files_of(["face3d", "dnet", "lnet", "parsenet", *needed]):
        with open(tmp_path / "models" / entry.file, "wb") as file:
            file.truncate(entry.size or entry.about or 1000)
    assert resolve_engine("auto").name == "retalk"
    (tmp_path / "models" / "DNet.pt").unlink()
    assert resolve_engine("auto").name == "exemplar"


def test_options_that_cannot_be_are_refused_with_their_names(tmp_path: Path) -> None:
    rows = [{"id": "a", "video": "a.mp4", "speech": "a.wav", "output": str(tmp_path / "out.mp4")}]
    wrong: list[tuple[str, str, Any, str]] = [
        ("dnet", "expression", "grumpy", "neutral, smile"),
        ("enet", "restoration", "magic", "gfpgan-1.4"),
        ("enet", "upper_face", "bored", "surprise"),
        ("lnet", "strength", 2.0, "from 0 to 1"),
        ("blend", "levels", 0, "from 1 to 8"),
    ]
    for stage, option, value, allowed in wrong:
        with pytest.raises(UsageError, match=re.escape(allowed)):
            run(
                rows,
                run_dir=str(tmp_path / "run"),
                engine="retalk",
                profile=profile(50),
                options={stage: {option: value}},
                runner="local",
            )


@pytest.mark.parametrize("engine", ["retalk", "retalk-parity", "exemplar"])
def test_every_option_says_what_it_means(engine: str) -> None:
    for spec in Engine(load_engine(engine)).stages:
        for name, text in option_help(type(spec.options)).items():
            assert text, f"{spec.name}.{name}: nothing under Attributes"
