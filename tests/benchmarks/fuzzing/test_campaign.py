"""The fuzzer sees what it is there to see, and the product's first cases are without findings."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.fuzzing import campaign
from benchmarks.fuzzing.bases import KINDS
from benchmarks.fuzzing.campaign import FINE, Campaign, Journal, counts
from benchmarks.fuzzing.trial import Inputs

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def instrument(tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    """A campaign whose trials are replaced."""
    return Campaign(tmp_path_factory.mktemp("campaign"))


def _says(problem: str, text: str) -> Callable[[Inputs, Path], None]:
    def attempt(inputs: Inputs, report: Path) -> None:
        (inputs.folder / "tmp").mkdir()
        report.write_text(f'{{"step": "dub", "problem": "{problem}", "text": "{text}"}}')
        os._exit(0)

    return attempt


def _leaves(name: str) -> Callable[[Inputs, Path], None]:
    def attempt(inputs: Inputs, report: Path) -> None:
        (inputs.folder / "tmp").mkdir()
        (inputs.folder / name).write_text("half")
        _says_again(inputs, report)

    def _says_again(inputs: Inputs, report: Path) -> None:
        report.write_text('{"step": "dub", "problem": "", "text": "failed: no"}')
        os._exit(0)

    return attempt


def _dies(inputs: Inputs, report: Path) -> None:
    report.with_suffix(".stack").write_text("in a library")
    os.kill(os.getpid(), signal.SIGSEGV)


def _hangs(inputs: Inputs, report: Path) -> None:
    report.with_suffix(".stack").write_text("in a loop")
    time.sleep(3600)


@pytest.mark.parametrize(
    ("attempt", "verdict", "text"),
    [
        (_says("", ""), "done", ""),
        (_says("", "failed: case-7"), "refused", "case-7"),
        (_says("nameless", "failed"), "nameless", "failed"),
        (_leaves(".out.part.mp4"), "partial", ".out.part.mp4"),
        (_leaves("tmp/retalk-io-1"), "partial", "retalk-io-1"),
        (_leaves("out.mp4"), "partial", "out.mp4"),
        (_dies, "crash", "SIGSEGV in start: \nin a library"),
    ],
)
def test_verdicts(
    instrument: Campaign,
    monkeypatch: pytest.MonkeyPatch,
    attempt: Callable[[Inputs, Path], None],
    verdict: str,
    text: str,
) -> None:
    monkeypatch.setattr(campaign, "attempt", attempt)
    monkeypatch.setattr(campaign.random.Random, "choice", lambda _, among: among[0])  # the output is out.mp4
    found = instrument.run(-7)
    assert (found.verdict, found.number, found.kind) == (verdict, -7, sorted(KINDS)[-7])
    assert text in found.text
    kept = instrument.folder / "findings" / f"case--7{KINDS[found.kind].suffix}"
    assert kept.exists() == (verdict not in FINE)
    kept.unlink(missing_ok=True)


def test_a_hang_is_ended(instrument: Campaign, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaign, "attempt", _hangs)
    monkeypatch.setattr(campaign, "PATIENCE", 3.0)
    found = instrument.run(3)
    assert (found.verdict, found.text) == ("hang", "in start: \nin a loop")


def test_a_journal_is_taken_up_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    fine = campaign.Verdict(0, "mp4", "flips", "done", "dub", "", 0.5)
    crash = campaign.Verdict(1, "mkv", "size", "crash", "probe", "SIGSEGV", 0.1)
    journal.add(fine)
    journal.add(crash)
    with journal.path.open("a") as file:
        file.write('{"number": 2, "ki')
    again = Journal(journal.path)
    assert again.verdicts == {0: fine, 1: crash}
    assert again.left(range(4), again=False) == [2, 3]
    assert again.left(range(4), again=True) == [1, 2, 3]
    lines = counts(again.verdicts.values()).splitlines()
    assert lines[0] == "| kind | cases | done | refused | crash |"
    assert lines[2:] == ["| mp4 | 1 | 1 | 0 | 0 |", "| mkv | 1 | 0 | 0 | 1 |", "| all | 2 | 1 | 0 | 1 |"]


def _fuzz(folder: Path, *arguments: str) -> Journal:
    """Run the fuzzer in a process of its own, which forks, and return its journal."""
    command = [sys.executable, "-m", "benchmarks.fuzzing", str(folder), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    found = [v for p in sorted(folder.glob("journal-*")) for v in Journal(p).verdicts.values()]
    bad = [verdict for verdict in found if verdict.verdict not in FINE]
    assert not bad, f"{folder}:\n" + "\n".join(map(str, bad))
    assert done.returncode == 0, done.stdout + done.stderr
    (journal,) = map(Journal, folder.glob("journal-*"))
    return journal


@pytest.mark.timeout(1800)  # a quarter of a minute on two cores that have nothing else to do
def test_the_first_cases(tmp_path: Path) -> None:
    """The undamaged files are dubbed; three damaged ones of each kind are probed and planned, and every fifth of them
    dubbed.
    """
    count = 3 * len(KINDS)
    found = _fuzz(tmp_path, "--first", "-19", "--count", str(19 + count), "--dub-every", "5").verdicts
    assert sorted(found) == list(range(-19, count))
    assert [found[number].verdict for number in range(-19, 0)] == ["done"] * 19
    damaged = [found[number] for number in range(count)]
    assert {verdict.kind for verdict in damaged} == set(KINDS)
    # Neither does everything pass, nor is everything thrown away at the first look.
    assert count / 5 < sum(verdict.verdict == "done" for verdict in damaged) < 4 * count / 5


@pytest.mark.slow
@pytest.mark.timeout(4 * 3600)
def test_ten_thousand_cases(tmp_path: Path) -> None:
    """All of them are probed, planned and dubbed."""
    found = _fuzz(tmp_path, "--count", "10000").verdicts
    print(counts(found.values()))
    assert len(found) == 10_000
