"""`retalk eval report` and `retalk eval compare`: what they print, and their exit codes."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.cli import main as cli
from tests.pipelines.evaluation.results.synthetic import row, write_scores


def test_report_names_what_it_has_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_scores(tmp_path, [row("x", "exemplar", cpbd=0.5, video="/gone.mp4", output="/gone too.mp4")] * 2)
    assert cli.main(["eval", "report", str(tmp_path), "--no-sheets"]) == 0
    captured = capsys.readouterr()
    assert "exemplar" in captured.out
    assert "0.5000" in captured.out
    assert f"{tmp_path}/report.html" in captured.err
    assert (tmp_path / "report.html").is_file()


def test_report_of_no_sweep(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["eval", "report", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "has no scores.parquet" in captured.err
    assert "Traceback" not in captured.err


def test_compare_prints_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, value in (("a", 0.5), ("b", 0.75)):
        write_scores(tmp_path / name, [row("x", "exemplar", cpbd=value)])
    places = [str(tmp_path / name) for name in "ab"]
    assert cli.main(["eval", "compare", *places, "-o", str(tmp_path / "out")]) == 0
    captured = capsys.readouterr()
    assert "+0.2500" in captured.out
    assert captured.out == (tmp_path / "out" / "comparison.md").read_text()
    assert cli.main(["eval", "compare", places[0], str(tmp_path / "gone")]) == 2
    assert "gone: has no scores.parquet" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["report", "compare"])
def test_help_ends_with_examples_that_parse(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["eval", command, "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    examples = [
        line.split() for line in text.partition("Examples:")[2].splitlines() if line.startswith("  retalk")
    ]
    assert examples
    for words in examples:
        assert cli.parser().parse_args(words[1:]).eval_command == command


def test_a_command_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["eval"])
    assert ended.value.code == 2
    with pytest.raises(SystemExit) as ended:
        cli.main(["eval", "reprot", "x"])
    assert ended.value.code == 2
    assert "did you mean report?" in capsys.readouterr().err
