"""People who were dubbed, as the review page shows them and the CSV has them."""

from __future__ import annotations

import csv
import io

from pipelines.review.exports import as_csv
from pipelines.review.people import SPANS, people_of
from tests.pipelines.review.records import record


def test_all_are_named_with_their_speech_and_how_long_nobody_was_dubbed() -> None:
    trace = {
        "people": [
            {"name": "person 1", "speech": "s.wav", "dubbed": [[0.5, 2.0], [4.0, 6.0]], "mouths": []},
            {"name": "person 2", "speech": "s.wav", "dubbed": [[1.0, 3.0]], "mouths": []},
        ]
    }
    one, two, nobody = people_of(record("a", video_seconds=10.0), trace)
    assert (one["name"], one["speech"], one["seconds"], one["share"]) == ("person 1", "s.wav", 3.5, 0.35)
    assert two["spans"] == [[1.0, 3.0]]
    assert (nobody["name"], nobody["seconds"]) == ("nobody", 5.5)
    assert nobody["spans"] == [[0.0, 0.5], [3.0, 4.0], [6.0, 10.0]]


def test_a_page_holds_no_more_stretches_than_it_has_room_for() -> None:
    spans = [[float(2 * k), float(2 * k + 1)] for k in range(SPANS + 5)]
    trace = {"people": [{"name": "left", "speech": "s.wav", "dubbed": spans, "mouths": []}]}
    one, _ = people_of(record("a", video_seconds=1000.0), trace)
    assert (len(one["spans"]), one["more"], one["seconds"]) == (SPANS, 5, SPANS + 5)


def test_without_measures_the_speakers_are_named_all_the_same() -> None:
    speakers = [{"face": "left", "speech": "a.wav"}, {"face": "right", "speech": "b.wav"}]
    found = people_of(record("a", speakers=speakers), None)
    assert [(one["name"], one["speech"], one["seconds"]) for one in found] == [
        ("left", "a.wav", None),
        ("right", "b.wav", None),
    ]
    assert people_of(record("a"), None) == []


def test_the_csv_has_a_column_of_them() -> None:
    people = [{"name": name, "speech": "s.wav", "seconds": 1.25} for name in ("left", "right")]
    first, second = csv.DictReader(io.StringIO(as_csv([record("a", people=people), record("b")])))
    assert first["people"] == "left 1.2 s; right 1.2 s"
    assert second["people"] == ""
