"""Notices of a run: forms by language, one for each dub, in the picture, the file and the notes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from operators.media import label_fonts
from operators.media.encoders import EncoderOptions
from operators.media.label_drawing import notice
from operators.media.label_fonts import BUNDLED, bundled_font, digest_of
from operators.media.probe import probe_video
from operators.media.reader import read_frames
from pipelines.engine.config import load_profile, names, with_sections
from pipelines.engine.engine import Engine
from pipelines.engine.profile_parts import LabelConfig
from pipelines.engine.resolve import resolve_engine
from pipelines.errors import ConfigError, UsageError
from pipelines.manifest.reader import parse_rows
from pipelines.provenance.dub_manifest import DubFacts, actions
from pipelines.rights.labels import EU_TEXTS, PRESETS, label_for, label_note, label_text, labelled
from pipelines.runner import Report, run
from tests.pipelines.conftest import engine_config, make_speech, make_video, profile_config
from tests.pipelines.execution.test_low_quality import HERE, engine


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("de", "Mit KI verändert"),
        ("deu", "Mit KI verändert"),
        ("pt-BR", "Modificado com IA"),
        ("el", EU_TEXTS["ell"]),
        ("ja", "Altered with AI"),
        ("", "Altered with AI"),
    ],
)
def test_the_form_of_the_eu_speaks_the_language_of_the_dub(language: str, text: str) -> None:
    label = label_for(LabelConfig(text="eu"), language)
    assert (label.label, label.label_seconds, label.label_position) == (text, "all", "top-left")


def test_the_form_of_china_names_ai_and_that_it_is_synthetic() -> None:
    label = label_for(LabelConfig(text="cn"), "deu")
    assert "人工智能" in label.label
    assert "合成" in label.label
    assert (label.label_size, label.label_seconds) == (0.06, "5")


def test_all_forms_are_drawn_by_the_fonts_of_retalk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_fonts, "font_folders", list)
    for preset in PRESETS.values():
        for text in {preset.text, *preset.texts.values()}:
            assert bundled_font(text) is not None, text


def test_what_is_given_goes_before_the_form(tmp_path: Path) -> None:
    own = str(BUNDLED[0])
    config = LabelConfig(text="eu", position="bottom-right", seconds="3", size=0.1, font=own)
    label = label_for(config, "fr")
    assert vars(label) == {
        "label": "Modifié par IA",
        "label_position": "bottom-right",
        "label_seconds": "3",
        "label_size": 0.1,
        "label_font": own,
        "label_font_sha256": digest_of(own),
    }
    free = label_for(LabelConfig(text="Synthetic mouth"))
    assert (free.label, free.label_position, free.label_seconds) == ("Synthetic mouth", "top-left", "all")


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"text": "a" * 300}, "longer than 200"),
        ({"text": "eu", "seconds": "soon"}, "label_seconds 'soon' must be"),
        ({"text": "eu", "size": 1.0}, "label_size 1 must be from"),
        ({"text": "cn", "font": str(BUNDLED[0])}, "has no glyph for 本"),
        ({"text": "eu", "font": "/no/such.ttf"}, "cannot be opened"),
        ({"seconds": "5"}, "seconds given, but nothing has a label"),
        ({"text": "eu", "producer": "Example Ltd"}, "of the label cn alone"),
    ],
)
def test_wrong_notices_are_refused_before_anything_runs(
    fields: dict[str, Any], told: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=told):
        run(
            [ROW],
            run_dir=tmp_path / "out",
            engine=engine(f"{HERE}:Painted"),
            profile=profile_config(),
            label=fields,
        )
    assert not (tmp_path / "out").exists()


def test_settings_may_be_for_the_notice_of_one_row() -> None:
    built = Engine(engine(f"{HERE}:Painted"))
    rows = [ROW, {**ROW, "id": "u", "output": "u.mp4", f"{built.stages[-1].name}.label": "cn"}]
    titles = parse_rows([(f"m row {n}", row) for n, row in enumerate(rows, 1)], built, "/out")
    config = LabelConfig(producer="Example Ltd", seconds="9")
    (_, second) = labelled(titles, built, config, ["producer", "seconds"])
    assert second.dubs[0].aigc == "Example Ltd"
    assert labelled(titles[:1], built, config)[0].dubs[0].aigc is None, "a profile's may be for another run"


def test_a_wrong_key_is_named() -> None:
    with pytest.raises(ConfigError, match="txt"):
        with_sections(load_profile("laptop"), label={"txt": "eu"})


ROW = {"id": "t", "video": "/v.mp4", "speech": "/s.wav", "output": "t.mp4", "language": "deu"}


def test_an_engine_that_cannot_draw_it_is_refused() -> None:
    plain = Engine(engine_config())
    titles = parse_rows([("m row 1", ROW)], plain, "/out")
    with pytest.raises(UsageError, match="engine test encodes without labels"):
        labelled(titles, plain, LabelConfig(text="eu"))
    assert labelled(titles, plain, LabelConfig()) == titles


@pytest.mark.parametrize("name", names("engines"))
def test_every_shipped_engine_draws_it(name: str) -> None:
    built = resolve_engine(name, None)
    (title,) = labelled(parse_rows([("m row 1", ROW)], built, "/out"), built, LabelConfig(text="eu"))
    options = title.dubs[0].options[built.stages[-1].name]
    assert options["label"] == "Mit KI verändert"
    made = built.stages[-1].stage.Options(**options)
    assert EncoderOptions.of(made).label == "Mit KI verändert"


def test_dubs_have_notices_of_their_own() -> None:
    built = Engine(engine(f"{HERE}:Painted"))
    last = built.stages[-1].name
    row = {
        "id": "t",
        "video": "/v.mp4",
        "dubs": [
            {"language": "de", "speech": "/d.wav"},
            {"language": "fr", "speech": "/f.wav", f"{last}.label": "à moi"},
        ],
    }
    (title,) = labelled(parse_rows([("m row 1", row)], built, "/out"), built, LabelConfig(text="eu"))
    assert [dub.options[last]["label"] for dub in title.dubs] == ["Mit KI verändert", "à moi"]


def test_a_form_in_a_row_is_the_form() -> None:
    built = Engine(engine(f"{HERE}:Painted"))
    last = built.stages[-1].name
    rows = [
        {**ROW, "id": "eu", "language": "de", f"{last}.label": "eu", f"{last}.label_position": "bottom"},
        {**ROW, "id": "cn", "output": "cn.mp4", f"{last}.label": "cn"},
        {**ROW, "id": "own", "output": "own.mp4", f"{last}.label": "nur ich", f"{last}.label_seconds": "0-2"},
        {**ROW, "id": "none", "output": "none.mp4"},
        {
            **ROW,
            "id": "font",
            "output": "font.mp4",
            f"{last}.label": "x",
            f"{last}.label_font": "/absent.ttf",
        },
    ]
    parsed = parse_rows([(f"m row {number}", row) for number, row in enumerate(rows)], built, "/out")
    eu, cn, own, none, font = (
        title.dubs[0] for title in labelled(parsed, built, LabelConfig(producer="Beispiel GmbH"))
    )
    assert (eu.options[last]["label"], eu.options[last]["label_position"]) == ("Mit KI verändert", "bottom")
    assert (cn.options[last]["label"], cn.aigc) == ("本视频由人工智能合成", "Beispiel GmbH")
    assert "in the seconds 0-2" in label_note(own.options)
    assert not label_note(none.options)
    assert [dub.aigc for dub in (eu, own, none)] == [None] * 3
    assert "/absent.ttf" in font.error
    assert not any(dub.error for dub in (eu, cn, own, none))
    of_engine = resolve_engine("exemplar", {"render": {"label": "cn"}})
    (title,) = labelled(parse_rows([("m row 1", ROW)], of_engine, "/out"), of_engine, LabelConfig())
    assert title.dubs[0].options["render"]["label"] == "本视频由人工智能合成"
    assert title.dubs[0].aigc == ""


# --- runs -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of two shots that is large enough for letters, and a speech."""
    folder = tmp_path_factory.mktemp("large")
    make_video(folder / "a.mp4", size=(320, 180), scenes=2)
    make_speech(folder / "exact.wav", 2.0)
    return folder


def dubbed(footage: Path, folder: Path, name: str = "t.mp4", video: str = "a.mp4", **fields: Any) -> Report:
    row = {**ROW, "video": str(footage / video), "speech": str(footage / "exact.wav"), "output": name}
    return run(
        [row],
        run_dir=folder,
        engine=engine(f"{HERE}:Painted"),
        profile=profile_config(),
        runner="local",
        **fields,
    )


def tags(path: Path) -> dict[str, str]:
    with av.open(str(path)) as file:
        return {name.upper(): value for name, value in file.metadata.items()}


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
def test_a_run_with_the_form_of_china(footage: Path, tmp_path: Path, suffix: str) -> None:
    plain = dubbed(footage, tmp_path / "plain", f"t.{suffix}")
    (record,) = dubbed(
        footage,
        tmp_path / "cn",
        f"t.{suffix}",
        label={"text": "cn", "seconds": "1", "producer": "Beispiel GmbH"},
    ).records
    assert (plain.exit_code, record["state"]) == (0, "done")
    assert any("本视频由人工智能合成" in note and "in the first 1 s" in note for note in record["notes"])
    assert not any("names no producer" in note for note in record["notes"])
    tag = json.loads(tags(tmp_path / "cn" / f"t.{suffix}")["AIGC"])
    assert list(tag) == [
        "Label",
        "ContentProducer",
        "ProduceID",
        "ReservedCode1",
        "ContentPropagator",
        "PropagateID",
        "ReservedCode2",
    ]
    assert (tag["Label"], tag["ContentProducer"]) == ("1", "Beispiel GmbH")
    assert tag["ProduceID"] == record["key"], "the ledger's, by which the dub is looked up"
    assert "AIGC" not in tags(tmp_path / "plain" / f"t.{suffix}")
    first, second = (
        [frame.luma().astype(int) for frame in read_frames(str(tmp_path / kind / f"t.{suffix}"), 0, 24)]
        for kind in ("plain", "cn")
    )
    changed = [np.abs(a - b).max() > 40 for a, b in zip(first, second, strict=True)]
    assert changed == [True] * 12 + [False] * 12, "12 frames a second, in the first second"


def test_a_source_keeps_its_own_tag_beside(footage: Path, tmp_path: Path) -> None:
    source = tmp_path / "tagged.mkv"
    with av.open(str(footage / "a.mp4")) as before, av.open(str(source), "w") as after:
        after.metadata["AIGC"] = '{"Label":"3"}'
        stream = before.streams.video[0]
        copy = after.add_stream_from_template(stream)
        for packet in before.demux(stream):
            if packet.dts is not None:
                packet.stream = copy
                after.mux(packet)
    report = dubbed(footage, tmp_path / "out", video=str(source), label={"text": "cn"})
    assert report.exit_code == 0
    assert any("names no producer" in note for note in report.records[0]["notes"])
    found = tags(tmp_path / "out" / "t.mp4")
    assert json.loads(found["AIGC"])["Label"] == "1"
    assert found["AIGC_SOURCE"] == '{"Label":"3"}'


def test_shots_that_pass_have_the_notice_too(footage: Path, tmp_path: Path) -> None:
    """With --on-low-quality passthrough the source's own pictures are encoded again."""
    bad = {"review": {"mouth_change": 100}}
    report = dubbed(
        footage, tmp_path, options=bad, on_low_quality="passthrough", label={"text": "AI", "size": 0.2}
    )
    assert any("keeps its own mouth" in note for note in report.records[0]["notes"])
    info = probe_video(str(footage / "a.mp4"))
    label = EncoderOptions(label="AI", label_size=0.2)
    (x1, y1, x2, y2), rgb, alpha = notice(label, info.width, info.height)
    letters = (rgb[..., 0] > 200) & (alpha > 0.95)
    assert letters.any()
    for frame in read_frames(str(tmp_path / "t.mp4"), 0, 24):
        assert frame.luma((x1, y1, x2, y2))[letters].mean() > 150


def test_another_notice_is_another_dub(footage: Path, tmp_path: Path) -> None:
    assert dubbed(footage, tmp_path).computed > 0
    again = dubbed(footage, tmp_path, label={"text": "eu"})
    assert again.computed > 0
    assert any("label" in note for note in again.records[0]["notes"])
    assert dubbed(footage, tmp_path, label={"text": "eu"}).computed == 0


def test_the_signed_actions_tell_of_it() -> None:
    """The dubbing changes the lips alone; a notice is an action of its own."""
    facts = DubFacts(
        "k", "o.mp4", "v.mp4", ("s.wav",), notice=label_text({"render": {"crf": 1}, "paste": {"label": "AI"}})
    )
    told = {action["action"]: action for action in actions(facts)}
    assert told["c2pa.addedText"]["description"] == "the notice 'AI'"
    assert "c2pa.addedText" not in [
        one["action"] for one in actions(DubFacts("k", "o.mp4", "v.mp4", ("s.wav",)))
    ]


def test_notes_say_where_and_when() -> None:
    assert label_note({"render": {"lag": 1}}) == ""
    told = label_note({"render": {"label": "AI", "label_position": "top", "label_seconds": "all"}})
    assert told == "labelled: 'AI' is drawn into the picture at the top, all the time"
