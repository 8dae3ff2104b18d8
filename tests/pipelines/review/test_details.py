"""Details of a dub on the page: curves with few points, options, licences, what changed since the earlier version."""

from __future__ import annotations

from typing import Any

import numpy as np

from operators.storage.redact import redact
from pipelines.review.details import POINTS, SHOTS, curves, detail, kept, marks_of, models_of, options_of
from tests.pipelines.review.records import metric, record

MADE_OF: dict[str, Any] = {
    "face": "left",
    "length": "keep",
    "options": {"render": {"codec": "hevc", "bitrate": "", "crf": 17.0}, "speak": {"lag": 0.04}},
    "weights": {"lnet": {"LNet.pth": "ab", "foreign.pth": "cd"}},
}


def trace(count: int, shots: int = 1) -> dict[str, Any]:
    one = {"start": 0.0, "end": 1.0, "state": "dubbed", "reason": None, "passed": [], "metrics": {}}
    opening = {"source": [0.1] * count, "dub": [None] * (count - 1) + [0.5]}
    return {"rate": 12.5, "start": 0, "loudness": [-80.0] * count, "opening": opening, "shots": [one] * shots}


def test_a_short_trace_is_as_it_was() -> None:
    whole = trace(40)
    assert curves(whole) == {**whole, "more": 0, "kept": [], "people": []}


def test_an_hour_has_few_points_and_its_peaks() -> None:
    whole = trace(45_000, SHOTS + 7)
    whole["loudness"][31_000] = -3.0
    shown = curves(whole)
    assert len(shown["loudness"]) <= POINTS
    assert max(shown["loudness"]) == -3.0
    at = int(np.argmax(shown["loudness"])) / shown["rate"]
    assert abs(at - 31_000 / 12.5) < 2 / shown["rate"]
    assert shown["opening"]["dub"][-1] == 0.5
    assert set(shown["opening"]["dub"][:-1]) == {None}
    assert (len(shown["shots"]), shown["more"]) == (SHOTS, 7)


def test_reasons_are_counted_over_all_shots() -> None:
    dubbed, passed = {"state": "dubbed", "reason": None}, {"state": "passed", "reason": "turned"}
    covered, absent = (
        {"start": start, "end": start + 0.5, "reason": reason}
        for start, reason in ((1.0, "covered"), (8.0, "no face"))
    )
    many = [{"start": 0.0, "end": 4.0, **dubbed, "passed": [covered]}] * (SHOTS + 3)
    many += [
        {"start": 4.0, "end": 8.0, **passed, "passed": []},
        {"start": 8.0, "end": 9.0, **dubbed, "passed": [absent]},
        {"start": 9.0, "end": 10.0, **dubbed, "passed": []},
    ]
    assert kept(many) == [
        ["covered", SHOTS + 3, 0.5 * (SHOTS + 3)],
        ["turned", 1, 4.0],
        ["no face", 1, 0.5],
    ]
    assert curves({**trace(4), "shots": many})["kept"] == kept(many)


def test_signature_marks_consent_and_labels_are_shown_where_there_are_any() -> None:
    label = {"label": "AI", "label_seconds": "5", "label_position": "top", "label_font": ""}
    made = {"face": "left", "options": {"render": label, "paste": {**label, "label": ""}}}
    consent = {"who": "Ana Lind", "url": "https://rights.example/a?token=secret", "text": None}
    signed = {
        "provenance": "embedded",
        "signed_by": "Studio",
        "watermark_id": "0f0f",
        "watermark_speech": 9.5,
    }
    assert marks_of({**record("a"), **signed, "consent": consent}) == [
        ["provenance", "embedded"],
        ["signed by", "Studio"],
        ["watermark's id", "0f0f"],
        ["watermark in the speech, strength", "9.5"],
        ["consent: who", "Ana Lind"],
        ["consent: url", redact(consent["url"] or "")],
    ]
    assert marks_of(record("a")) == []
    speakers = [
        {"face": "anna.jpg", "speech": "anna.wav"},
        {"face": "left", "speech": "bob.wav", "consent": {"who": "Bob"}},
    ]
    assert marks_of({**record("a"), "speakers": speakers}) == [
        ["speaker 1", "anna.jpg: anna.wav"],
        ["speaker 2", "left: bob.wav"],
        ["speaker 2, consent: who", "Bob"],
    ]
    several = {"face": ["anna.jpg", "left"], "ranges": [["0", "1.5"], ["00:00:02:00", ""]], "exclude": []}
    assert options_of(record("a", ingredients=several)) == [["ranges", "0-1.5, 00:00:02:00-"]]
    assert options_of({**record("a", ingredients=made), "consent": consent}) == [
        ["face", "left"],
        ["render.label", "AI"],
        ["render.label_seconds", "5"],
        ["render.label_position", "top"],
    ]


def test_what_is_heard_of_several_speakers_is_not_one_of_their_stems() -> None:
    speakers = [{"face": "left", "speech": "a.wav"}, {"face": "right", "speech": "b.wav"}]
    told = {
        name: detail("/run/report", record("a", speech=name, speakers=speakers), "ok", [])["speech"]
        for name in ("a.wav", "mix.wav")
    }
    assert told == {"a.wav": "what the speakers say, together", "mix.wav": "mix.wav, the mix"}
    assert detail("/run/report", record("a", speech="a.wav"), "ok", [])["speech"] == "a.wav"


def test_options_and_licences_are_read_from_the_record() -> None:
    made = record("a", ingredients=MADE_OF)
    assert options_of(made) == [
        ["face", "left"],
        ["length", "keep"],
        ["render.codec", "hevc"],
        ["render.crf", "17.0"],
        ["speak.lag", "0.04"],
    ]
    listed = dict(models_of(made))
    assert listed["foreign.pth"] == "unknown"
    assert listed["LNet.pth"] not in ("", "unknown")
    (own,) = models_of(record("a", ingredients={"options": {"detect": {"backend": "auto"}}}))
    assert "300-W" in own[1], "the default engine's predictor has a licence as well"
    assert (options_of(record("a")), models_of(record("a"))) == ([], [])


def test_the_earlier_version_and_what_changed() -> None:
    before = record(
        "a",
        ingredients={**MADE_OF, "options": {"render": {"codec": "auto"}, "speak": {"lag": 0.0}}},
        key="k",
        metrics=[metric("seam", 0.9)],
        kept="/run/earlier/a/deu.mp4",
        finished="yesterday",
    )
    now = record("a", ingredients=MADE_OF)
    shown = detail("/run/report", now, "ok", [], earlier=before)["earlier"]
    assert (shown["media"], shown["finished"], shown["metrics"][0]["value"]) == (
        "../earlier/a/deu.mp4",
        "yesterday",
        0.9,
    )
    (text,) = shown["changes"]
    assert "render.codec auto → hevc" in text
    assert detail("/run/report", now, "ok", [])["earlier"] is None
    same = detail("/run/report", now, "ok", [], earlier={**before, "ingredients": MADE_OF})["earlier"]
    assert same["changes"] == []
