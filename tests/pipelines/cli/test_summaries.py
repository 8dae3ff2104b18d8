"""End of a run in words and as JSON; errors as JSON."""

from __future__ import annotations

import datetime
import json
from typing import Any

import pytest

from pipelines.cli import main as cli
from pipelines.cli.summaries import as_json, closing_line
from pipelines.runner import Report


def record(title: str, ago: float, state: str = "done") -> dict[str, Any]:
    ended = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=ago)
    return {
        **{"title": title, "dub": "dub", "state": state, "error": "", "video_seconds": 60.0},
        **{"notes": None, "stage_seconds": json.dumps({"paint": 1.5}), "ingredients": {"video": "x" * 1000}},
        "finished": ended.isoformat(timespec="seconds"),
    }


def test_a_run_with_nothing_left_says_so() -> None:
    report = Report("/out", [record("a", 500), record("b", 500)], already=2)
    assert closing_line(report, 0.4) == "nothing to do: 2 already done; ledger: /out/ledger.jsonl"


def test_only_video_of_this_run_is_counted() -> None:
    report = Report("/out", [record("a", 500), record("b", 1)], already=1)
    assert closing_line(report, 20) == (
        "1 already done, 1 dubbed, 0 failed; 1 min 00 s of video in 20 s; ledger: /out/ledger.jsonl"
    )
    failed = Report("/out", [record("a", 1, "failed")])
    assert closing_line(failed, 20) == "0 dubbed, 1 failed; 20 s; ledger: /out/ledger.jsonl"


def test_records_hold_values_and_nothing_bulky() -> None:
    found = as_json(Report("/out", [record("a", 1)]), 2.0, has_directory=False)
    assert found["run_dir"] is None
    (one,) = found["records"]
    assert one["stage_seconds"] == {"paint": 1.5}
    assert one["notes"] == []
    assert "ingredients" not in one


@pytest.mark.parametrize(
    "arguments",
    [
        ["dub", "absent.mp4", "absent.wav", "-o", "x.mp4", "--json", "--quiet"],
        ["run", "absent.jsonl", "-o", "out", "--json", "--quiet"],
        ["status", "absent", "--json"],
        ["run", "m.jsonl", "--json"],
    ],
)
def test_wrong_usage_is_json_too(
    arguments: list[str], tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        code: Any = cli.main(arguments)
    except SystemExit as ended:
        code = ended.code
    assert code == 2
    said = capsys.readouterr()
    (line,) = said.out.splitlines()
    found = json.loads(line)
    assert found["exit_code"] == 2
    assert found["error"].splitlines()[0] in said.err


def test_run_has_no_dry_run_and_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["run", "m.jsonl", "-o", "out", "--dry-run"])
    assert (
        "unknown option --dry-run (`retalk plan MANIFEST` shows what a run would do)"
        in capsys.readouterr().err
    )
