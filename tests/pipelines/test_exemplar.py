"""The exemplar engine through the whole graph, on real footage: the same bytes with and without Ray and from
any profile.
"""

from __future__ import annotations

import hashlib
import wave
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from operators.media.kept_frames import KEPT
from operators.media.reader import read_frames
from pipelines.cli import main as cli
from pipelines.cli.speech_synthesis import speak
from pipelines.provenance.c2pa_check import read_manifest
from pipelines.provenance.home import own_roots
from pipelines.runner import Report, run
from pipelines.state.run_directory import RunDirectory
from tests.operators.faces.footage import encode
from tests.pipelines.conftest import make_video, profile_config
from tests.signatures import without_signature

FRAMES, PAIR = 45, 24
#: Thresholds of measures that no dub is beyond.
LENIENT = {
    **dict.fromkeys(("dubbed", "mouth_change", "sharpness"), 0),
    **dict.fromkeys(("identity_gap", "sync_lag", "stands", "silent_motion"), 1000),
    **dict.fromkeys(("seam", "color_step", "flicker", "jitter"), 1000),
    "sync_r": -1,
}


@pytest.fixture(scope="module")
def inputs(carphone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with talk.mp4 (carphone, three times its size), faceless.mp4, en.wav and de.wav."""
    folder = tmp_path_factory.mktemp("talk")
    with av.open(str(folder / "talk.mp4"), "w") as container:
        stream = container.add_stream(
            "libx264",
            rate=30,
            width=528,
            height=432,
            pix_fmt="yuv420p",
            options={"preset": "superfast", "crf": "12"},
        )
        for frame in read_frames(str(carphone), 0, FRAMES):
            image = cv2.resize(frame.rgb(), (528, 432), interpolation=cv2.INTER_CUBIC)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(stream.encode(None))
    one, two = (
        [
            cv2.resize(f.rgb(), (352, 288), interpolation=cv2.INTER_CUBIC)
            for f in read_frames(str(carphone), k, k + PAIR)
        ]
        for k in (0, 60)
    )
    encode(folder / "pair.mp4", [np.hstack([a, b[:, ::-1]]) for a, b in zip(one, two, strict=True)], rate=30)
    make_video(folder / "faceless.mp4", frames=12)
    speak("Bob may buy a big apple.", folder / "en.wav", words_per_minute=180)
    speak("Wir machen das.", folder / "de.wav", voice="de")
    return folder


def manifest(inputs: Path) -> list[dict[str, Any]]:
    dubs = [
        {"language": "eng", "speech": str(inputs / "en.wav"), "output": "eng.mp4", "length": "pingpong"},
        {"language": "deu", "speech": str(inputs / "de.wav"), "output": "deu.mkv", "render.crf": 20},
    ]
    return [
        {"id": "talk", "video": str(inputs / "talk.mp4"), "dubs": dubs},
        {
            "id": "nobody",
            "video": str(inputs / "faceless.mp4"),
            "speech": str(inputs / "en.wav"),
            "output": "nobody.mp4",
        },
        {
            "id": "pair",
            "video": str(inputs / "pair.mp4"),
            "speakers": [
                {"face": "left", "speech": str(inputs / "en.wav")},
                {"face": "right", "speech": str(inputs / "de.wav"), "consent": {"who": "Bob"}},
            ],
            "ranges": [["0", "10f"], ["14f", ""]],
            "output": "pair.mp4",
        },
    ]


@pytest.fixture(scope="module")
def plain(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    folder = tmp_path_factory.mktemp("plain")
    return folder, run(
        manifest(inputs),
        run_dir=str(folder),
        engine="exemplar",
        profile=profile_config(1, segment_frames=11),
        runner="local",
    )


def digests(folder: Path, *names: str) -> dict[str, str]:
    return {
        name: hashlib.sha256(without_signature(folder / name)).hexdigest()
        for name in names or ("eng.mp4", "deu.mkv", "pair.mp4")
    }


def test_the_mouth_moves_and_the_rest_stays(plain: tuple[Path, Report], inputs: Path) -> None:
    folder, report = plain
    errors = {(record["title"], record["dub"]): record["error"] for record in report.records}
    assert errors[("talk", "eng")] == errors[("talk", "deu")] == ""
    source, result = (
        [f.luma().astype(int) for f in read_frames(str(path), 0, FRAMES)]
        for path in (inputs / "talk.mp4", folder / "eng.mp4")
    )
    difference = np.mean([np.abs(a - b) for a, b in zip(source, result)], axis=0)
    changed = np.argwhere(cv2.boxFilter(difference, -1, (9, 9)) > 4)
    assert len(changed) > 500, "a mouth is drawn"
    (top, left), (bottom, right) = changed.min(axis=0), changed.max(axis=0)
    assert (bottom - top) * (right - left) < 0.25 * difference.size, "in one place"
    outside = np.ones(difference.shape, bool)
    outside[max(0, top - 16) : bottom + 16, max(0, left - 16) : right + 16] = False
    assert difference[outside].mean() < 2, "nothing but the encoder's noise elsewhere"


def test_each_of_two_faces_gets_its_own_mouth_inside_the_ranges(
    plain: tuple[Path, Report], inputs: Path
) -> None:
    folder, report = plain
    (record,) = [record for record in report.records if record["title"] == "pair"]
    assert record["error"] == ""
    assert [one["face"] for one in record["speakers"]] == ["left", "right"]
    assert [one["consent"] for one in record["speakers"]] == [None, {"who": "Bob"}]
    signed = read_manifest(folder / "pair.mp4", "pair.mp4", own_roots()[0].read_text(), None)["found"]
    assert signed["dub"]["consents"] == [{"who": "Bob"}]
    source, result = (
        [f.luma().astype(int) for f in read_frames(str(path), 0, PAIR)]
        for path in (inputs / "pair.mp4", folder / "pair.mp4")
    )
    difference = np.abs(np.array(source) - np.array(result))
    shown = np.r_[2:8, 17:PAIR]
    changed = cv2.boxFilter(difference[shown].mean(0), -1, (9, 9)) > 4
    assert changed[:, :352].sum() > 150
    assert changed[:, 352:].sum() > 150
    assert [(one["name"], Path(one["speech"]).name) for one in record["people"]] == [
        ("left", "en.wav"),
        ("right", "de.wav"),
    ]
    trace = RunDirectory(str(folder)).read_trace(record)
    assert trace is not None
    for one, side in zip(trace["people"], (0, 1), strict=True):
        (before, after), (_, x1, _, x2, _) = one["dubbed"], one["mouths"][0]
        assert before[1] <= 10 / 30 + 0.01, "the ranges leave four frames out"
        assert after[0] >= 14 / 30 - 0.01
        assert side / 2 < (x1 + x2) / 2 < (side + 1) / 2
    assert trace["shots"][0]["people"] == [0]
    assert difference[10:14].mean(0).max() < 25, "the encoder's noise alone"


def test_a_title_without_a_face_fails_alone(plain: tuple[Path, Report]) -> None:
    _, report = plain
    (record,) = report.failed
    assert record["title"] == "nobody"
    assert "faceless.mp4" in record["error"]
    assert "no face" in record["error"]


def test_ray_and_the_shipped_profile_give_the_same_bytes(
    plain: tuple[Path, Report], inputs: Path, tmp_path: Path, ray_session: Any
) -> None:
    folder, before = plain
    report = run(manifest(inputs), run_dir=str(tmp_path), engine="exemplar", profile="laptop", runner="ray")
    assert report.exit_code == 3
    assert digests(tmp_path) == digests(folder)
    assert report.computed == before.computed
    for one, other in zip(report.records, before.records, strict=True):
        assert one["metrics"] == other["metrics"]
        assert one["reasons"] == other["reasons"]
        traces = [
            RunDirectory(str(where)).read_trace(record)
            for where, record in ((tmp_path, one), (folder, other))
        ]
        assert (traces[0] is None) == (one["state"] == "failed")
        assert traces[0] == traces[1]


def test_a_short_title_is_decoded_once_in_this_process_and_gives_the_same_bytes(
    plain: tuple[Path, Report], inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decode(*_: object) -> None:
        pytest.fail("the planner had decoded these frames")

    for place in ("operators.faces.stage.read_frames", "operators.exemplar.render_stage.source_frames"):
        monkeypatch.setattr(place, decode)
    row = {**manifest(inputs)[0], "dubs": manifest(inputs)[0]["dubs"][:1]}
    run([row], run_dir=str(tmp_path), engine="exemplar", runner="local")
    assert digests(tmp_path, "eng.mp4") == {"eng.mp4": digests(plain[0])["eng.mp4"]}
    assert KEPT.bytes == 0, "nothing stays behind"
    video = str(inputs / "talk.mp4")
    KEPT.begin(video, 1).offer(next(read_frames(video, 0, 1)), None)
    assert KEPT.bytes == 0, "nobody asks any more"


def test_the_command_line_without_an_engine_takes_exemplar(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out" / "x.mp4"
    arguments = [
        "dub",
        str(inputs / "talk.mp4"),
        str(inputs / "de.wav"),
        "-o",
        str(output),
        "--runner",
        "local",
        "--quiet",
        "--set",
        "render.crf=30",
        "--set",
        "review.mouth_change=200",
    ]
    assert cli.main([*arguments, "--length", "trim"]) == 0
    assert [path.name for path in output.parent.iterdir()] == ["x.mp4"]
    assert "for review: the mouth was hardly changed (" in capsys.readouterr().err
    assert cli.main(["stages"]) == 0
    assert [line.split("|")[1].strip() for line in capsys.readouterr().out.splitlines() if "`" in line] == [
        "detect",
        "speak",
        "choose",
        "render",
    ]


def test_a_speaker_without_a_mouth_and_a_short_mix_ask_for_a_look(inputs: Path, tmp_path: Path) -> None:
    mix = tmp_path / "mix.wav"
    with wave.open(str(inputs / "en.wav"), "rb") as source, wave.open(str(mix), "wb") as short:
        short.setparams(source.getparams())
        short.writeframes(source.readframes(source.getframerate() // 4))
    speakers = [{"face": face, "speech": str(inputs / "en.wav")} for face in ("left", "right", "5")]
    row = {"id": "one", "video": str(inputs / "talk.mp4"), "speakers": speakers, "output": "one.mp4"}
    report = run(
        [row | {"mix": str(mix)}],
        run_dir=str(tmp_path / "run"),
        engine="exemplar",
        profile=profile_config(1, segment_frames=11),
        runner="local",
        options={"review": LENIENT},
        on_low_quality="passthrough",
    )
    (record,) = report.records
    assert (record["state"], record["verdict"]) == ("done", "review"), record["error"]
    short_mix, same, unseen = (reason["text"] for reason in record["reasons"])
    assert short_mix.startswith(f"the mix {mix} ends ")
    assert same.endswith("en.wav moves no mouth: right is the same person as left")
    assert unseen.endswith("en.wav moves no mouth: 5 is not seen")
    assert any(
        note.startswith("only one face is found in shot 1: there left and right") for note in record["notes"]
    )
    # Nothing speaks against the mouths that are drawn: passthrough leaves them.
    assert not any("keeps its own mouth:" in note for note in record["notes"])
    values = {one["name"]: one["value"] for one in record["metrics"]}
    assert values["speech_padded"] == pytest.approx(record["video_seconds"] - 0.25, abs=0.01)
