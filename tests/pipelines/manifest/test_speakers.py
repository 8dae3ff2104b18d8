"""Several speakers of a row: from every kind of manifest, and errors that name the speaker."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.engine.engine import Engine
from pipelines.manifest.confinement import restrict_paths
from pipelines.manifest.conflicts import without_overwritten_inputs
from pipelines.manifest.reader import parse_rows, read_manifest
from pipelines.manifest.titles import Speaker, Title
from tests.pipelines.conftest import engine_config

ENGINE = Engine(engine_config(find_faces=True))
SPEAKERS = [{"face": "/f/anna.jpg", "speech": "/s/anna.wav"}, {"face": "left", "speech": "/b/bob.wav"}]
ROW: dict[str, Any] = {"id": "a", "video": "/v/a.mp4", "output": "a.mp4", "speakers": SPEAKERS}


def parse(row: dict[str, Any], engine: Engine = ENGINE) -> Title:
    (title,) = parse_rows([("m row 1", row)], engine, "/out")
    return title


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_formats_agree(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"m.{kind}"
    if kind == "jsonl":
        path.write_text(json.dumps(ROW))
    elif kind == "csv":
        cell = json.dumps(SPEAKERS).replace('"', '""')
        path.write_text(f'id,video,output,speakers\na,/v/a.mp4,a.mp4,"{cell}"\n')
    else:
        pq.write_table(pa.Table.from_pylist([ROW]), path)
    (title,) = read_manifest(str(path), ENGINE, "/out")
    (dub,) = title.dubs
    assert dub.speakers == (Speaker("/f/anna.jpg", "/s/anna.wav"), Speaker("left", "/b/bob.wav"))
    assert title.faces == ("/f/anna.jpg", "left")
    assert dub.mixed
    assert dub.speeches == dub.spoken == ("/s/anna.wav", "/b/bob.wav")


def test_a_mix_is_heard_in_place_of_the_sum() -> None:
    (dub,) = parse({**ROW, "mix": "/s/final.wav"}).dubs
    assert (dub.speech, dub.mixed) == ("/s/final.wav", False)
    assert dub.speeches == ("/s/anna.wav", "/b/bob.wav", "/s/final.wav")


def test_dubs_have_speakers_of_their_own() -> None:
    dubs = [{"language": "deu", "speakers": SPEAKERS}, {"language": "fra", "speech": "/s/f.wav"}]
    title = parse({"id": "a", "video": "/v/a.mp4", "face": "right", "dubs": dubs})
    assert title.error == ""
    assert title.faces == ("/f/anna.jpg", "left", "right")
    assert title.dubs[1].spoken == ("/s/f.wav",)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"speech": "/s/a.wav"}, "speech: each of the speakers has its own"),
        ({"speakers": "anna"}, 'speakers: must be JSON such as [{"face": "left"'),
        ({"speakers": {"face": "left"}}, "speakers: must be a list of {face, speech}"),
        ({"speakers": [{"face": "left"}]}, "speakers.1: speech: is missing"),
        ({"speakers": [SPEAKERS[0], {"speech": "/s/b.wav"}]}, "speakers.2: face: is missing"),
        (
            {"speakers": [{**SPEAKERS[1], "face": "lefft"}]},
            "speakers.1: face: must be largest, left, right, a number",
        ),
        ({"speakers": [SPEAKERS[1], SPEAKERS[1]]}, "speakers.2: face 'left' is named twice"),
        ({"speakers": [{**SPEAKERS[1], "name": "Bob"}]}, "speakers.1: 'name' is unknown"),
        (
            {"speakers": [{**SPEAKERS[1], "face": "speaking"}]},
            "speakers.1: face: 'speaking' is for one speech",
        ),
        (
            {"speakers": [SPEAKERS[0], {**SPEAKERS[1], "consent": "yes"}]},
            "speakers.2: consent: 'yes' does not say who",
        ),
        ({"speakers": [{"face": str(k), "speech": "/s/b.wav"} for k in range(9)]}, "at most 8"),
        ({"speakers": None, "speech": "/s/a.wav", "mix": "/s/m.wav"}, "mix: goes with speakers"),
    ],
)
def test_errors_name_the_speaker(change: dict[str, Any], told: str) -> None:
    title = parse({**ROW, **change})
    assert title.error.startswith("m row 1: ")
    assert told in title.error


def test_an_engine_that_looks_for_one_face_by_itself_refuses() -> None:
    assert "engine test looks for one face by itself" in parse(ROW, Engine(engine_config())).error


def test_every_file_of_the_speakers_is_guarded() -> None:
    title = parse(ROW)
    for outside in ("/f/anna.jpg", "/b/bob.wav"):
        roots = [folder for folder in ("/f", "/s", "/b", "/v") if not outside.startswith(folder)]
        (refused,) = restrict_paths([title], roots, "/out")
        assert f"{outside} lies outside" in refused.error
    for output in ("/b/bob.wav", "/f/anna.jpg"):
        row = {**ROW, "output": output.rsplit(".", 1)[0] + ".mp4"}
        row["speakers"] = json.loads(json.dumps(SPEAKERS).replace(output, row["output"]))
        (overwritten,) = without_overwritten_inputs([parse(row)])
        assert "is one of the inputs" in overwritten.error
