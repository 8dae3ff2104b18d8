"""Verdicts: a record's metrics against the thresholds."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from operators.evaluation import shot_measures
from operators.evaluation.watch import NOBODY_SPEAKS, OUTSIDE
from operators.exemplar.render_stage import LETTERS
from operators.faces.validity import FAULTS
from pipelines.errors import UsageError
from pipelines.review.decisions import titles_asked_for
from pipelines.review.exports import as_csv, as_junit
from pipelines.review.verdict import Reason, judge, severity
from pipelines.state import verdict
from tests.pipelines.review.records import HOSTILE, metric, record


def test_a_dub_without_remarks_is_ok() -> None:
    assert judge(record("a")) == ("ok", [])
    assert judge(record("a", metrics=[])) == ("ok", []), "what was not measured says nothing"


@pytest.mark.parametrize(
    ("metrics", "reason"),
    [
        ([metric("dubbed", 0.0)], Reason("no frame was dubbed", None)),
        (
            [
                metric("dubbed", 0.0),
                metric("passed_nobody_speaks_for_certain", 90),
                metric("passed_turned", 10),
                metric("passed_outside_the_ranges", 900),
            ],
            Reason("no frame was dubbed: nobody speaks for certain", None),
        ),
        (
            [metric("dubbed", 0.0), metric("passed_letters", 50), metric("passed_other", 4)],
            Reason("no frame was dubbed: letters are in front of the mouth", None),
        ),
        ([metric("dubbed", 0.15)], Reason("only 15 % of the frames were dubbed", None)),
        (
            [metric("mouth_change", 5.0, 0.3, 1.5)],
            Reason("the mouth was hardly changed (0.3 grey levels)", 1.5),
        ),
        (
            [metric("seam", 0.4, 2.86, 1.0, "lower")],
            Reason("the edge of the drawn region can be seen (2.9 times the texture around it)", 1.0),
        ),
        (
            [metric("jitter", 0.4, 6.0, 1.0, "lower")],
            Reason("the mouth shimmers (6.0 grey levels more than the footage)", 1.0),
        ),
        (
            [metric("sharpness", 0.9, 0.31, 2.0)],
            Reason("the mouth is softer than the footage around it (0.31 of its detail)", 2.0),
        ),
    ],
)
def test_what_is_remarkable_is_to_be_reviewed(metrics: list[dict[str, object]], reason: Reason) -> None:
    assert judge(record("a", metrics=metrics)) == ("review", [reason])


def test_a_dark_face_is_said_to_be_dark() -> None:
    metrics = [metric("dubbed", 0.0), metric("passed_too_dark", 41.0), metric("passed_no_face", 19.0)]
    (reason,) = judge(record("a", metrics=metrics))[1]
    assert reason.text == "no frame was dubbed: the face is too dark"


def test_the_reasons_of_passed_frames_have_the_names_that_are_measured() -> None:
    assert verdict.PASSED == shot_measures.PASSED
    reasons = (*FAULTS, NOBODY_SPEAKS, OUTSIDE, LETTERS, shot_measures.NO_SPEECH, shot_measures.OTHER)
    assert set(verdict.CAUSES) <= set(reasons)
    assert OUTSIDE == "outside the ranges", "which the verdict leaves out"


def test_failures_come_first() -> None:
    failed = judge(record("a", state="failed", error="no face"))
    assert failed == ("failed", [Reason("no face", None)])
    review = judge(record("a", metrics=[metric("dubbed", 0.0), metric("sharpness", 0.1, 0.1, 0.0)]))
    order = [severity(*failed), severity(*review), severity("review", review[1][:1]), severity("ok", [])]
    assert order == sorted(order, reverse=True)
    assert len(set(order)) == 4


def test_csv_has_a_line_for_each_dub_and_no_formulas() -> None:
    records = [record(name) for name in HOSTILE] + [record("last", metrics=[metric("dubbed", 0.0)])]
    rows = list(csv.DictReader(io.StringIO(as_csv(records))))
    assert [row["title"] for row in rows[:5]] == list(HOSTILE[:5])
    assert rows[5]["title"] == "'=HYPERLINK(1)"
    assert (rows[-1]["verdict"], rows[-1]["reasons"]) == ("review", "no frame was dubbed")
    assert (rows[0]["sharpness"], rows[-1]["sharpness"]) == ("0.95", "")


def test_junit_counts_failures_and_what_is_to_be_looked_at() -> None:
    records = [
        record("a\x00b"),
        record("b", state="failed", error="<no face>"),
        record("c", metrics=[metric("dubbed", 0)]),
    ]
    suite = ElementTree.fromstring(as_junit(records))
    assert {name: suite.get(name) for name in ("tests", "failures", "skipped")} == {
        "tests": "3",
        "failures": "1",
        "skipped": "1",
    }
    assert [case.get("name") for case in suite] == ["a?b [deu]", "b [deu]", "c [deu]"]
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert failure.get("message") == "<no face>"


def test_junit_names_who_was_dubbed() -> None:
    people = [{"name": name, "speech": "s.wav", "seconds": 1.5} for name in ("an\x00na.jpg", "left")]
    suite = ElementTree.fromstring(as_junit([record("a", people=people), record("b", people=None)]))
    first, second = suite
    assert [(one.get("name"), one.get("value")) for one in first.iter("property")] == [
        ("people", "an?na.jpg 1.5 s; left 1.5 s")
    ]
    assert len(second) == 0, "it was not measured"


def test_rejected_titles_are_computed_again(tmp_path: Path) -> None:
    file = tmp_path / "decisions.json"
    decided = [("a", "rejected"), ("b", "approved"), ("a", "rejected"), ("c", "rejected"), ("d", "")]
    decisions = [{"title": title, "dub": "deu", "decision": one, "comment": ""} for title, one in decided]
    file.write_text(json.dumps({"run": "out", "decisions": decisions}))
    assert titles_asked_for(["z", str(file)], str(tmp_path / "out")) == (["z"], ["a", "c"]), (
        "it was moved there"
    )
    for content, message in (
        ("[]", "is no file of decisions"),
        ("{", "is no file of decisions"),
        ('{"decisions": []}', "nothing is rejected in it"),
    ):
        file.write_text(content)
        with pytest.raises(UsageError, match=message):
            titles_asked_for([str(file)], "out")
    with pytest.raises(UsageError, match=r"absent\.json: no such file; name decisions"):
        titles_asked_for([str(tmp_path / "absent.json")], "out")


def test_decisions_about_another_run_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "decisions.json"
    for name in ("night", "b/night"):
        (tmp_path / name).mkdir(parents=True)
    rejected = [{"title": "a", "dub": "", "decision": "rejected", "comment": ""}]

    def asked(run: str, run_dir: Path) -> list[str]:
        file.write_text(json.dumps({"run": run, "decisions": rejected}))
        return titles_asked_for([str(file)], str(run_dir))[1]

    assert asked(str(tmp_path / "night"), tmp_path / "b" / ".." / "night") == ["a"]
    assert asked(str(tmp_path / "gone" / "night"), tmp_path / "night") == ["a"]
    for run in (tmp_path / "b" / "night", tmp_path / "day"):
        with pytest.raises(UsageError, match=rf"decisions about the run {run}, not about {tmp_path}/night"):
            asked(str(run), tmp_path / "night")
    file.write_text(json.dumps({"decisions": rejected}))
    assert titles_asked_for([str(file)], "any")[1] == ["a"], "written by hand"
