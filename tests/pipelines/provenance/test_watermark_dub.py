"""A dub carries its id, and `retalk verify` finds it."""

from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

import retalk
from operators.watermark.keys import MarkKey
from operators.watermark.learned import LearnedReading
from operators.watermark.speech_detector import Reading
from pipelines.cli.verify import _lines
from pipelines.provenance.findings import Subject, Trust
from pipelines.provenance.learned_check import with_learned
from pipelines.provenance.verify import Ledger, Verification
from pipelines.provenance.watermark_check import conclude, watermark_check
from tests.operators.watermark.test_speech import vowels

KEY = MarkKey(b"k" * 32)


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("speech") / "speech.wav"
    wavfile.write(path, 16000, vowels(7, seed=5))
    return path


def checked(path: Path):
    return watermark_check(Subject(str(path), path, Trust()))


def test_a_dub_carries_the_id_of_its_record(
    carphone: Path, speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETALK_WATERMARK_KEY", KEY.secret.hex())
    common = {"length": "freeze", "runner": "local", "engine": "exemplar"}
    marked, plain = tmp_path / "marked.mp4", tmp_path / "plain.mp4"
    (record,) = retalk.dub(carphone, speech, marked, watermark={"mode": "frame"}, **common).records
    assert record["state"] == "done", record["error"]
    assert record["watermark"] == "frame"
    assert record["watermark_speech"] > 12
    assert record["watermark_picture"] > 12
    found = checked(marked)
    assert (found.state, found.ids) == ("found", [record["watermark_id"]])
    assert found.details["picture"]["p"] < 1e-6
    assert KEY.secret.hex() not in repr(record)

    (record,) = retalk.dub(carphone, speech, plain, watermark={"mode": "off"}, **common).records
    assert [record[name] for name in record if name.startswith("watermark")] == [None] * 4
    found = checked(plain)
    assert (found.state, found.ids) == ("none", [])

    monkeypatch.setenv("RETALK_WATERMARK_KEY", "oops")
    assert checked(marked).state == "skipped"
    monkeypatch.setenv("RETALK_WATERMARK_KEY", MarkKey(b"o" * 32).secret.hex())
    assert checked(marked).state == "none"


def test_a_mark_without_a_readable_id_is_found_only_if_it_is_sure() -> None:
    noise = np.random.default_rng(1).normal(size=264)
    assert conclude(KEY, {"picture": Reading(9.0, 32, noise)}).state == "found"
    assert conclude(KEY, {"picture": Reading(4.0, 32, noise)}).state == "none"
    assert conclude(KEY, {}).state == "none"


def test_the_ledger_says_how_strong_the_marks_were_written() -> None:
    row = {"title": "a", "dub": "a", "output": "a.mp4", "finished": "now", "watermark_speech": 21.74}
    lines = _lines(Verification("a.mp4", [], row), True)
    assert lines[-1] == "  ledger: strength of the marks as written (normal deviates): speech 21.7"
    assert len(_lines(Verification("a.mp4", [], {**row, "watermark_speech": None}), True)) == 2


def test_very_small_p_values_are_not_said_to_be_zero() -> None:
    finding = conclude(KEY, {"picture": Reading(60.0, 32, np.zeros(264))})
    assert "picture p < 1e-300" in finding.text
    assert "0e+00" not in finding.text


def test_a_learned_mark_alone_is_found_and_leads_to_the_one_row_of_its_bits() -> None:
    nothing = conclude(KEY, {})
    found = with_learned(nothing, [LearnedReading("audioseal", 0.9, True, ("0123",))])
    assert (found.state, found.ids) == ("found", ["0123"])
    assert "the first 16 bits of an id, 0123" in found.text
    rows = {one: {"watermark_id": one} for one in ("0123456789abcdef", "fedcba9876543210")}
    assert Ledger(rows).row([found]) == rows["0123456789abcdef"]  # type: ignore[arg-type]
    twice = rows | {"0123000000000000": {"watermark_id": "0123000000000000"}}
    assert Ledger(twice).row([found]) is None, "two rows share the bits"  # type: ignore[arg-type]
    assert with_learned(nothing, [LearnedReading("audioseal", 0.1, False)]).state == "none"
