"""Manifests: three formats to the same titles, relative paths, what stops a run, and what fails one row only."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import av
import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.engine.config import load_engine
from pipelines.engine.engine import Engine
from pipelines.manifest.reader import ManifestError, parse_rows, read_manifest
from pipelines.manifest.titles import UNNAMED, Title, label, merged
from pipelines.planning.plans import decode, encode
from tests.pipelines.conftest import engine_config

ENGINE = Engine(engine_config())
ROWS: list[dict[str, Any]] = [
    {
        "id": "a",
        "video": "/v/a.mp4",
        "speech": "/s/a.wav",
        "output": "a.mp4",
        "length": "loop",
        "level.gain": 0.5,
    },
    {"id": "b", "video": "/v/b.mp4", "speech": "/s/b.wav", "output": "b.mp4"},
]


def write(folder: Path, kind: str, rows: list[dict[str, Any]]) -> str:
    path = folder / f"m.{kind}"
    keys = list(dict.fromkeys(key for row in rows for key in row))
    if kind == "jsonl":
        path.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")
    elif kind == "csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, keys)
            writer.writeheader()
            writer.writerows(rows)
    else:
        pq.write_table(pa.Table.from_pylist([{key: row.get(key) for key in keys} for row in rows]), path)
    return str(path)


def parse(*rows: dict[str, Any]) -> list[Title]:
    return parse_rows([(f"m.jsonl row {n}", row) for n, row in enumerate(rows, 1)], ENGINE, "/out")


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_formats_agree(tmp_path: Path, kind: str) -> None:
    first, second = read_manifest(write(tmp_path, kind, ROWS), ENGINE, "/out")
    assert (first.id, first.video, first.error) == ("a", "/v/a.mp4", "")
    assert first.options == {"level": {"gain": 0.5}}
    (dub,) = first.dubs
    assert (dub.dub, dub.speech, dub.output, dub.length, dub.audio) == (
        "dub",
        "/s/a.wav",
        "/out/a.mp4",
        "loop",
        "replace",
    )
    assert second.options == {}
    assert second.dubs[0].length == "keep"


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_ranges_of_a_row_and_of_a_dub(tmp_path: Path, kind: str) -> None:
    text = "1.5-4, 00:01:00:12-"
    rows = [{**ROWS[1], "ranges": text if kind == "csv" else [["1.5", "4"], ["00:01:00:12", None]]}]
    (dub,) = read_manifest(write(tmp_path, kind, rows), ENGINE, "/out")[0].dubs
    assert dub.ranges == (("1.5", "4"), ("00:01:00:12", ""))
    listed = [
        {"language": "deu", "speech": "/s/a.wav", "exclude": "3f-9f"},
        {"language": "fra", "speech": "/s/b.wav"},
    ]
    (title,) = parse({"id": "x", "video": "/v/a.mp4", "ranges": "0-2", "dubs": listed})
    assert [(dub.ranges, dub.exclude) for dub in title.dubs] == [
        ((("0", "2"),), (("3f", "9f"),)),
        ((("0", "2"),), ()),
    ]


@pytest.mark.parametrize(
    ("given", "read"), [(-23, "-23"), (-23.5, "-23.5"), ("-16", "-16"), ("source", "source"), ("off", "off")]
)
def test_loudness_is_a_word_or_a_number(given: Any, read: str) -> None:
    (title,) = parse({**ROWS[0], "loudness": given})
    assert (title.error, title.dubs[0].loudness) == ("", read)


@pytest.mark.parametrize("given", ["loud", 7, True, -99.5])
def test_another_loudness_is_refused(given: Any) -> None:
    (title,) = parse({**ROWS[0], "loudness": given})
    assert "loudness: must be" in title.error


def test_a_hardware_encoder_that_this_machine_lacks_fails_its_title() -> None:
    if "h264_videotoolbox" in av.codecs_available:
        pytest.skip("this FFmpeg has VideoToolbox")
    (title,) = parse({**ROWS[0], "codec": "h264_videotoolbox"})
    assert "codec h264_videotoolbox: this build of FFmpeg has no encoder" in title.error
    assert "needs macOS; choose another codec" in title.error


@pytest.fixture(scope="module")
def exemplar() -> Engine:
    return Engine(load_engine("exemplar"))


def test_the_encoding_of_a_row_goes_to_the_last_stage(exemplar: Engine) -> None:
    """With the output's container; a dub's own words come before its row's and the command's."""
    dubs = [
        {"language": "deu", "speech": "/s/d.wav", "output": "/o/d.mov"},
        {"language": "fra", "speech": "/s/f.wav", "output": "/o/f.mp4", "codec": "hevc", "crf": "21"},
    ]
    row = {"id": "a", "video": "/v/a.mp4", "dubs": dubs, "codec": "prores", "render.patches_mib": 64}
    (title,) = parse_rows([("", row)], exemplar, "/out", defaults={"preset": "fast", "codec": "av1"})
    assert title.error == ""
    assert [dub.options for dub in title.dubs] == [
        {"render": {"codec": "prores", "preset": "fast", "container": "mov"}},
        {"render": {"codec": "hevc", "preset": "fast", "crf": 21.0, "container": "mp4"}},
    ]
    assert merged(title.options, title.dubs[0].options)["render"] == {
        "patches_mib": 64,
        "codec": "prores",
        "preset": "fast",
        "container": "mov",
    }


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"codec": "prores"}, "codec prores does not fit an output in .mp4: name it .mov or .mkv"),
        ({"codec": "xvid"}, "codec 'xvid' must be one of auto"),
        ({"crf": "good"}, "crf: must be a number, got 'good'"),
        ({"crf": 99}, "crf 99 must be from 0 to 51"),
        ({"bitrate": 8}, ""),
        ({"bitrate": "8 Mbit"}, "bitrate '8 Mbit' must be"),
        ({"preset": "placebo"}, "preset 'placebo' must be"),
        ({"crf": 20, "bitrate": "8M"}, "crf 20 and bitrate 8M: one excludes the other"),
        ({"codec": "ffv1", "crf": "20"}, "crf 20: ffv1 has no choice of quality but its profile's"),
        ({"audio": "keep", "place": "centre"}, "place centre: audio keep writes no speech"),
        ({"audio": "keep", "loudness": -23}, "loudness -23: audio keep writes no speech"),
        ({"audio": "keep", "place": "track", "loudness": "off", "bitrate": "8M"}, ""),
    ],
)
def test_an_encoding_that_cannot_be_fails_its_row(
    exemplar: Engine, given: dict[str, Any], words: str
) -> None:
    row = {"id": "a", "video": "/v/a.mp4", "speech": "/s/a.wav", "output": "/o/a.mp4", **given}
    (title,) = parse_rows([("", row)], exemplar, "/out")
    assert words in title.error
    assert bool(words) == bool(title.error and "no such file" not in title.error)


def test_what_a_row_says_replaces_what_it_contradicts(exemplar: Engine) -> None:
    """Of the command's options and of those that the row gives for all of its dubs."""
    dubs = [
        {"language": "deu", "speech": "/s/d.wav", "output": "/o/d.mkv", "bitrate": "2M"},
        {"language": "fra", "speech": "/s/f.wav", "output": "/o/f.mkv", "audio": "keep", "codec": "ffv1"},
    ]
    row = {"id": "a", "video": "/v/a.mp4", "dubs": dubs, "crf": 20}
    defaults = {"bitrate": "8M", "place": "centre", "loudness": "-23"}
    (title,) = parse_rows([("", row)], exemplar, "/out", defaults=defaults)
    assert title.error == ""
    assert [dub.options["render"] for dub in title.dubs] == [
        {"bitrate": "2M", "container": "mkv"},
        {"codec": "ffv1", "container": "mkv"},
    ]
    assert [(dub.place, dub.loudness) for dub in title.dubs] == [("centre", "-23"), ("track", "off")]
    with pytest.raises(ManifestError, match="place centre: audio keep"):
        parse_rows([("", row)], exemplar, "/out", defaults={"audio": "keep", "place": "centre"})


def test_several_dubs_from_jsonl_and_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dubs = [
        {"language": "deu", "speech": "d.wav", "output": "d.mkv"},
        {"language": "fra", "speech": "f.wav", "output": "s3://b/f.mp4"},
    ]
    rows = [{"id": 7, "video": "v.mp4", "dubs": dubs, "level": {"gain": 2}}]
    for name in ("v.mp4", "d.wav", "elsewhere/f.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path / "elsewhere")
    titles = [read_manifest(write(tmp_path, kind, rows), ENGINE, "/out")[0] for kind in ("jsonl", "parquet")]
    for title in titles:
        assert title.error == ""
        assert (title.id, title.video, title.options) == (
            "7",
            str(tmp_path / "v.mp4"),
            {"level": {"gain": 2.0}},
        )
        assert [(dub.dub, dub.language, dub.output) for dub in title.dubs] == [
            ("deu", "deu", "/out/d.mkv"),
            ("fra", "fra", "s3://b/f.mp4"),
        ]
        assert title.dubs[0].speech == str(tmp_path / "d.wav"), "beside the manifest"
        assert title.dubs[1].speech == str(tmp_path / "elsewhere" / "f.wav"), (
            "not beside the manifest: below the working directory"
        )
        assert decode(Title, encode(title)) == title


def test_manifest_on_another_file_system() -> None:
    with fsspec.open("memory://catalogue/m.jsonl", "w") as file:
        file.write(json.dumps({**ROWS[0], "video": "a.mp4"}))
    with fsspec.open("memory://catalogue/a.mp4", "w") as file:
        file.write("x")
    (title,) = read_manifest("memory://catalogue/m.jsonl", ENGINE, "memory://out")
    assert title.video == "memory://catalogue/a.mp4"
    assert title.dubs[0].output == "memory://out/a.mp4"


def test_dubs_have_options_of_their_own() -> None:
    (title,) = parse(
        {
            "id": "a",
            "video": "v",
            "dubs": [{"language": "de", "speech": "s", "level.gain": 3}, {"language": "fr", "speech": "s"}],
        }
    )
    assert [dub.options for dub in title.dubs] == [{"level": {"gain": 3.0}}, {}]
    assert [dub.output for dub in title.dubs] == ["/out/a.de.mp4", "/out/a.fr.mp4"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{**ROWS[0]}, {**ROWS[1], "id": "a"}], r"m\.jsonl row 2: id 'a' appears in m\.jsonl row 1"),
        (
            [{**ROWS[0]}, {**ROWS[1], "output": "/out/a.mp4"}],
            r"m\.jsonl row 2: output /out/a\.mp4 appears in m\.jsonl row 1",
        ),
        (
            [{**ROWS[0]}, {**ROWS[1], "output": "/out/x/../a.mp4"}],
            r"row 2: output /out/x/\.\./a\.mp4 appears in m\.jsonl row 1 already as /out/a\.mp4",
        ),
        (
            [{**ROWS[0], "output": "./o.mp4"}, {**ROWS[1], "output": "o.mp4"}],
            r"row 2: output /out/o\.mp4 appears in m\.jsonl row 1 already as /out/\./o\.mp4",
        ),
        (
            [{**ROWS[0], "output": "s3://b/o.mp4"}, {**ROWS[1], "output": "s3://b/x/../o.mp4"}],
            r"row 2: output s3://b/x/\.\./o\.mp4 appears in m\.jsonl row 1 already",
        ),
        (
            [
                {
                    "id": "a",
                    "video": "v",
                    "dubs": [{"language": c, "speech": "s", "output": "o.mp4"} for c in ("de", "fr")],
                }
            ],
            r"row 1: output /out/o\.mp4 appears in this row already",
        ),
        (
            [{**ROWS[0], "speach": "x"}],
            r"m\.jsonl row 1: column 'speach' is unknown: did you mean 'speech'\?",
        ),
        ([{**ROWS[0], "level.gian": 1}], r"column 'level\.gian' is unknown: did you mean 'level\.gain'\?"),
        (
            [{**ROWS[0], "level": {"gian": 1}}],
            r"column 'level\.gian' is unknown: did you mean 'level\.gain'\?",
        ),
        (
            [{"id": "a", "video": "v", "dubs": [{"speech": "s", "out": "o"}]}],
            r"row 1: dubs\.1: column 'out' is unknown: did you mean 'output'\?",
        ),
    ],
)
def test_what_stops_the_run(rows: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        parse(*rows)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"id": "x", "video": "v", "output": "o.mp4"}, "m.jsonl row 2: speech: is missing"),
        ({"id": "x", "speech": "s", "output": "o.mp4"}, "m.jsonl row 2: video: is missing"),
        ({"video": "v", "speech": "s"}, "m.jsonl row 2: id: is missing"),
        ({"id": " ", "video": "v", "speech": "s"}, "m.jsonl row 2: id: is missing"),
        ({"id": [1], "video": "v", "speech": "s"}, "m.jsonl row 2: id: must be a text or a number"),
        ({"id": "x", "video": "", "speech": "s"}, "m.jsonl row 2: video: is missing"),
        (
            {"id": "x", "video": "D:/films/x.mp4", "speech": "s"},
            "video: D:/films/x.mp4: looks like a Windows path",
        ),
        ({"id": "x", "video": "v", "speech": "C:\\x.wav"}, "speech: C:\\x.wav: looks like a Windows path"),
        (
            {"id": "x", "video": "v", "speech": "s", "output": "D:/x.mp4"},
            "output: D:/x.mp4: looks like a Windows path",
        ),
        (
            {"id": "x", "video": "v", "speech": "s", "language": "german"},
            "'german' is an unknown language: did you mean 'deu' (German)?",
        ),
        (
            {"id": "x", "video": "v", "speech": "s", "face": "upper"},
            "face: must be largest, left, right, speaking, a number counted from the left (0 is the first), or the path of a picture "
            "such as face.jpg; got 'upper'",
        ),
        ({"id": "x", "video": "v", "speech": "s", "face": "rigth"}, "got 'rigth' (did you mean 'right'?)"),
        (
            {"id": "x", "video": 5, "speech": "s"},
            "m.jsonl row 2: video: must be the path or URL of a file, got 5",
        ),
        (
            {"id": "x", "video": "v", "speech": "s", "length": "longest"},
            "length: must be one of keep, trim, freeze, loop, pingpong, got 'longest'",
        ),
        ({"id": "x", "video": "v", "speech": "s", "level.gain": "loud"}, "m.jsonl row 2: level: gain:"),
        ({"id": "x", "video": "v", "speech": "s", "level": 3}, "level: must be a mapping of options, got 3"),
        (
            {"id": "x", "video": "/v/x.mp4", "speech": "s", "output": "/v/x.mp4"},
            "output /v/x.mp4 is one of the inputs: the video; choose another name",
        ),
        (
            {"id": "x", "video": "/v/x.mp4", "speech": "s", "output": "/v/y/../x.mp4"},
            "output /v/y/../x.mp4 is one of the inputs: the video",
        ),
        (
            {"id": "x", "video": "v", "speech": "s3://b/x.mp4", "output": "s3a://b//./x.mp4"},
            "output s3a://b//./x.mp4 is one of the inputs: the speech",
        ),
        (
            {"id": "x", "video": "v", "speech": "s", "face": "/f/face.mp4", "output": "file:///f/face.mp4"},
            "output file:///f/face.mp4 is one of the inputs: the picture of the face",
        ),
        (
            {"id": "x", "video": "v", "speech": "s", "output": ROWS[0]["video"]},
            "output /v/a.mp4 is one of the inputs: the video of m.jsonl row 1; choose another name",
        ),
        (
            {"id": "x\ny", "video": "v", "speech": "s"},
            "m.jsonl row 2: id: 'x\\ny' holds a line break; choose another id",
        ),
        (
            {"id": "x", "video": "a\tb.mp4", "speech": "s"},
            "video: 'a\\tb.mp4' holds a control character; rename the file",
        ),
        ({"id": "x", "video": "v", "speech": "s", "audio": ["keep"]}, "audio: must be a text, got ['keep']"),
        ({"id": "x", "video": "v", "speech": "s", "codec": {}}, "codec: "),
        ({"id": "x", "video": "v", "dubs": []}, "dubs: must be a list of {language, speech, output}"),
        (
            {"id": "x", "video": "v", "dubs": [{"language": "de", "speech": "s"}] * 2},
            "dubs.2: language 'de' appears twice",
        ),
        (
            {"id": "x", "video": "v", "dubs": [{"speech": "s", "brightness.smooth": 1}]},
            "dubs.1: options: brightness: runs once for all dubs",
        ),
        (
            {"id": "x", "video": "v", "speech": "s", "ranges": "9-5"},
            "ranges: the range 9-5 ends before it starts",
        ),
        (
            {"id": "x", "video": "v", "dubs": [{"speech": "s", "exclude": "1"}]},
            "dubs.1: exclude: '1' is no range: write START-END",
        ),
        (
            {"id": "x", "video": "v", "speech": "s", "exclude": "5-9", "length": "loop"},
            "exclude: goes with length keep or trim, not with loop",
        ),
        (
            {"id": "x", "video": "v", "speech": "s", "ranges": "5-9", "place": "centre"},
            "ranges: goes with place track, not with centre",
        ),
        (
            {"id": "x", "video": "v", "speech": "s", "dubs": [{"speech": "s"}]},
            "speech: give it either in dubs or beside id and video",
        ),
    ],
)
def test_a_bad_row_fails_alone(row: dict[str, Any], message: str) -> None:
    good, bad = parse(ROWS[0], row)
    assert good.error == ""
    assert message in bad.error
    assert bad.error.startswith("m.jsonl row 2")
    named = isinstance(row.get("id"), str) and row["id"].strip() and "\n" not in row["id"]
    assert bad.id == (row["id"] if named else "row-2")


def test_lines_that_cannot_be_parsed_fail_alone(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text(json.dumps(ROWS[0]) + "\n{oops\n[1]\n" + json.dumps(ROWS[1]))
    titles = read_manifest(str(path), ENGINE, "/out")
    assert [bool(title.error) for title in titles] == [False, True, True, False]
    assert "m.jsonl row 2: not JSON" in titles[1].error
    assert "m.jsonl row 3: must be a JSON object" in titles[2].error
    table = tmp_path / "m.csv"
    table.write_text("id,video,speech,output\na,/v,/s,o.mp4\nb,/v,/s\nc,/v,/s,p.mp4,extra\n")
    titles = read_manifest(str(table), ENGINE, "/out")
    assert [title.error[len(str(table)) :] for title in titles] == [
        "",
        " row 3: has fewer cells than the 4 columns",
        " row 4: has more cells than the 4 columns",
    ]


def test_a_row_without_an_id_has_the_number_of_its_line(tmp_path: Path) -> None:
    table = tmp_path / "m.csv"
    table.write_text("id,video,speech,output\na,/v,/s,o.mp4\n,/v,/s,p.mp4\n")
    _, bad = read_manifest(str(table), ENGINE, "/out")
    assert (bad.id, bad.error) == ("row-3", f"{table} row 3: id: is missing")


def test_links_to_an_input_are_found(tmp_path: Path) -> None:
    video = tmp_path / "v.mp4"
    video.write_bytes(b"x")
    (tmp_path / "hard.mp4").hardlink_to(video)
    (tmp_path / "soft.mp4").symlink_to(video)
    (tmp_path / "other.mp4").write_bytes(b"x")
    (tmp_path / "other2.mp4").hardlink_to(tmp_path / "other.mp4")
    rows = [
        {"id": name, "video": str(video), "speech": "/s", "output": str(tmp_path / f"{name}.mp4")}
        for name in ("hard", "soft", "other", "new")
    ]
    errors = {title.id: title.error for title in parse(*rows)}
    assert "hard.mp4 is one of the inputs: the video;" in errors["hard"]
    assert "soft.mp4 is one of the inputs: the video;" in errors["soft"]
    assert (errors["other"], errors["new"]) == ("", "")


def test_only_a_lone_dub_goes_without_a_name() -> None:
    several = {"id": "b", "video": "v", "dubs": [{"speech": "s"}, {"language": "de", "speech": "t"}]}
    several["dubs"][0]["output"] = "b1.mp4"
    first, second = parse(ROWS[0], several)
    assert [dub.dub for dub in first.dubs] == [UNNAMED]
    assert [dub.dub for dub in second.dubs] == ["dub-1", "de"]
    assert [label(second.id, dub.dub) for dub in second.dubs] == ["b [dub-1]", "b [de]"]
    assert label(first.id, first.dubs[0].dub) == "a"


def test_a_wrong_column_is_told_once() -> None:
    rows = [{**ROWS[0], "id": str(n), "output": f"{n}.mp4", "speach": "x"} for n in range(120)]
    with pytest.raises(ManifestError) as told:
        parse(*rows)
    assert (
        str(told.value)
        == "m.jsonl row 1: column 'speach' is unknown: did you mean 'speech'? (all 120 rows have it)"
    )
    with pytest.raises(ManifestError) as told:
        parse(
            ROWS[0],
            {**ROWS[1], "colour": 1, "speach": 1},
            {**ROWS[1], "id": "c", "output": "c.mp4", "colour": 2},
        )
    first, second, last = str(told.value).splitlines()
    assert first == "m.jsonl row 2: column 'colour' is unknown (2 rows have it)"
    assert second == "m.jsonl row 2: column 'speach' is unknown: did you mean 'speech'?"
    assert last.startswith("known columns: id, video, ")


def test_columns_in_capitals_are_told_all_at_once_and_the_list_once() -> None:
    with pytest.raises(ManifestError) as told:
        parse({"ID": "a", "Vidoe": "/v/a.mp4", "SPEECH": "/s", "colour": 1, "weather": 2})
    text = str(told.value)
    for wrong, meant in (("ID", "id"), ("Vidoe", "video"), ("SPEECH", "speech")):
        assert f"column {wrong!r} is unknown: did you mean {meant!r}?" in text
    assert "'colour' is unknown\n" in text
    assert "'weather' is unknown\n" in text
    assert text.count("known columns: ") == 1


def test_a_missing_file_names_both_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "v.mp4").touch()
    monkeypatch.chdir(tmp_path / "here")
    dubs = [{"language": "de", "speech": "no.wav"}, {"language": "fr", "speech": "v.mp4"}]
    url = write(
        tmp_path,
        "jsonl",
        [{"id": "a", "video": "w.mp4", "speech": "s"}, {"id": "b", "video": "v.mp4", "dubs": dubs}],
    )
    first, second = read_manifest(url, ENGINE, "/out")
    places = f"no such file in {tmp_path} (the manifest's folder) or in {tmp_path / 'here'} (the working directory)"
    assert first.error == f"{url} row 1: video: w.mp4: {places}"
    assert second.error == ""
    assert [dub.error for dub in second.dubs] == [f"{url} row 2: dubs.1: speech: no.wav: {places}", ""], (
        "the other dub is made"
    )
    monkeypatch.chdir(tmp_path)
    assert read_manifest(url, ENGINE, "/out")[0].error.endswith(
        f"video: w.mp4: no such file in {tmp_path} (the manifest's folder)"
    )


@pytest.mark.parametrize(
    ("defaults", "message"),
    [
        ({"language": "german"}, "language: 'german' is an unknown language: did you mean 'deu'"),
        ({"face": "upper"}, "face: must be largest, left, right, speaking"),
        ({"length": "longest"}, "length: must be one of keep, trim"),
    ],
)
def test_wrong_defaults_stop_the_run(defaults: dict[str, str], message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        parse_rows([("", ROWS[0])], ENGINE, "/out", defaults=defaults)


def test_language_tags_of_all_kinds_are_taken() -> None:
    tags = ["de", "deu", "ger", "pt-BR", "zh_Hant", "qaa", "mul"]
    titles = parse(*({"id": tag, "video": "/v", "speech": "/s", "language": tag} for tag in tags))
    assert [(title.error, title.dubs[0].language) for title in titles] == [("", tag) for tag in tags]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.jsonl", b"", "no rows"),
        ("m.jsonl", b"hello\nworld\n", r"no row can be read; the first: .*row 1: not JSON"),
        ("m.jsonl", b"\xff\xfe\x00", "not UTF-8 text"),
        ("m.parquet", b"PAR0", "not a Parquet file"),
        ("m.csv", b"id,video,speech,output\n", "no rows"),
        ("m.mp4", b"x", r"a manifest is a \.jsonl, \.csv, \.tsv or \.parquet file"),
    ],
)
def test_files_that_are_no_manifest(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ManifestError, match=message):
        read_manifest(str(path), ENGINE, "/out")
    with pytest.raises(ManifestError, match="no such file"):
        read_manifest(str(tmp_path / "absent.csv"), ENGINE, "/out")
