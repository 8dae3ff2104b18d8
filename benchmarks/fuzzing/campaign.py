"""Many trials: forks one process for each, looks after it, judges what it leaves, and keeps a journal.

The process that forks has imported everything and dubbed the undamaged file once: a trial costs no start.
"""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.fuzzing import bases
from benchmarks.fuzzing.mutations import Undamaged, damaged
from benchmarks.fuzzing.trial import Inputs, attempt, stack_of

#: Seconds after which a trial hangs. Its limit of CPU seconds ends it earlier where the machine is not busy.
PATIENCE = 300.0
#: Bytes of memory that a trial may take.
MOST_MEMORY = 3 << 30
STEPS = ("probe", "plan", "dub")
#: Verdicts: the output is whole; the input was refused with its name. All others are findings.
DONE, REFUSED = "done", "refused"
FINE = (DONE, REFUSED)
#: What findings mean.
FINDINGS = {
    "crash": "a signal ended the process",
    "hang": "it did not end in time",
    "memory": "it took more memory than a trial may",
    "traceback": "an exception came through, or an exit code that is not meant",
    "surprise": "the message is an exception's, not one that was written for the user",
    "nameless": "the message does not name the damaged file",
    "partial": "files were left behind",
    "unreadable": "the output does not decode as what the report says",
}


@dataclass(frozen=True)
class Verdict:
    """The end of a case.

    Attributes:
        number: of the case.
        kind: of the file, as in `bases.KINDS`.
        damage: names of its damages.
        verdict: one of `FINE` or `FINDINGS`.
        step: where it ended.
        text: messages of a finding or a refusal.
        seconds: that the trial took.
    """

    number: int
    kind: str
    damage: str
    verdict: str
    step: str
    text: str
    seconds: float


class Campaign:
    """Runs cases by their numbers.

    Args:
        folder: for the undamaged files and the trials; findings are kept in its folder ``findings``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "findings").mkdir(parents=True, exist_ok=True)
        (folder / "bases").mkdir(exist_ok=True)
        self.paths = bases.make(folder / "bases")
        self.undamaged = {kind: Undamaged(kind, path.read_bytes()) for kind, path in self.paths.items()}

    def warm(self) -> None:
        """Dub an undamaged file in this process: libraries are imported and functions compiled for all trials."""
        from operators.threads import single_thread
        from pipelines.cli import plan
        from pipelines.one_title import dub

        del plan  # imported for the trials
        video, speech, output = self.paths["mp4"], self.paths["wav"], self.folder / "bases" / "warm.mp4"
        report = dub(video, speech, output, engine="exemplar", runner="local", overwrite=True)
        assert report.exit_code == 0, report.failed
        single_thread()

    def case(self, number: int) -> tuple[str, bytes, str, random.Random]:
        """Make a case: the kind of file, its damaged bytes, the damages' names, and what decides the rest.

        Numbers below 0 are the undamaged files.
        """
        kinds = sorted(self.paths)
        kind, random_ = kinds[number % len(kinds)], random.Random(f"retalk {number}")
        if number < 0:
            return kind, self.undamaged[kind].data, "", random_
        data, names = damaged(self.undamaged[kind], random_)
        return kind, data, names, random_

    def run(self, number: int, steps: Sequence[str] = STEPS) -> Verdict:
        """Run one case."""
        began = time.monotonic()
        kind, data, names, random_ = self.case(number)
        folder, report = self.folder / f"trial-{os.getpid()}", self.folder / f"report-{os.getpid()}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        path = folder / f"case-{number}{bases.KINDS[kind].suffix}"
        path.write_bytes(data)
        is_speech = kind in bases.SPEECHES
        inputs = Inputs(
            folder,
            path,
            video=self.paths["mp4"] if is_speech else path,
            speech=path if is_speech else self.paths["wav"],
            output=folder / f"out{random_.choice(('.mp4', '.mov', '.mkv'))}",
            audio=random_.choice(("replace", "add", "keep")),
            steps=tuple(steps),
        )
        report.unlink(missing_ok=True)
        sys.stdout.flush()
        sys.stderr.flush()
        child = os.fork()
        if child == 0:
            attempt(inputs, report)
        status, memory = _wait(child, PATIENCE)
        said = (
            json.loads(report.read_text())
            if report.exists()
            else {"step": "start", "problem": "", "text": ""}
        )
        verdict, text = self._judge(inputs, status, memory, said)
        if verdict in ("hang", "crash"):
            text += f"\n{stack_of(report).read_text()}"
        if verdict not in FINE:
            kept = self.folder / "findings" / path.name
            shutil.copyfile(path, kept)
            kept.with_name(f"{path.name}.txt").write_text(
                f"{verdict} in {said['step']} ({names}; --audio {inputs.audio}, {inputs.output.name})\n{text}"
            )
        shutil.rmtree(folder, ignore_errors=True)
        seconds = round(time.monotonic() - began, 3)
        return Verdict(number, kind, names, verdict, said["step"], text[-2000:], seconds)

    def _judge(
        self, inputs: Inputs, status: int | None, memory: int, said: dict[str, str]
    ) -> tuple[str, str]:
        text = said["text"]
        if status is None or status == -signal.SIGXCPU:
            return "hang", f"in {said['step']}: {text}"
        if status < 0:
            return "crash", f"{signal.Signals(-status).name} in {said['step']}: {text}"
        if status or said["problem"]:
            return said["problem"] or "traceback", text
        # A fork begins with the memory of this process.
        if memory > MOST_MEMORY + (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10):
            return "memory", f"{memory >> 20} MiB in {said['step']}: {text}"
        expected = {inputs.damaged.name, "tmp"}
        if said["step"] == "dub" and not text:
            expected |= {inputs.output.name, inputs.output.with_suffix(".c2pa").name}  # its provenance
        if f"work is kept in {inputs.folder}" in text:
            expected.add(f".{inputs.output.name}.retalk")
        left = [path.name for path in inputs.folder.iterdir() if path.name not in expected]
        left += [path.name for path in (inputs.folder / "tmp").iterdir()]
        if left:
            return "partial", f"{', '.join(sorted(left))}\n{text}"
        return (REFUSED, text) if text else (DONE, "")


def _wait(child: int, patience: float) -> tuple[int | None, int]:
    """Wait for a process; returns its exit code (None if it was killed for taking too long), and its memory in bytes."""
    until, pause = time.monotonic() + patience, 0.002
    while True:
        found, status, usage = os.wait4(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status), usage.ru_maxrss << 10
        if time.monotonic() > until:
            os.kill(child, signal.SIGKILL)
            _, _, usage = os.wait4(child, 0)
            return None, usage.ru_maxrss << 10
        time.sleep(pause)
        pause = min(0.05, pause * 1.5)


class Journal:
    """A file of verdicts, one JSON object a line; the last one of a case counts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.verdicts: dict[int, Verdict] = {}
        if path.exists():
            for line in path.read_text().splitlines():
                try:
                    verdict = Verdict(**json.loads(line))
                except (ValueError, TypeError):
                    continue  # the last line of a process that was killed
                self.verdicts[verdict.number] = verdict

    def add(self, verdict: Verdict) -> None:
        """Write a verdict down."""
        self.verdicts[verdict.number] = verdict
        with self.path.open("a") as file:
            file.write(json.dumps(asdict(verdict)) + "\n")

    def left(self, numbers: Iterable[int], again: bool) -> list[int]:
        """Those cases that have no verdict yet, or, if they are wanted again, whose verdict is a finding."""
        return [
            n for n in numbers if n not in self.verdicts or (again and self.verdicts[n].verdict not in FINE)
        ]


def counts(verdicts: Iterable[Verdict]) -> str:
    """Counts of verdicts by kind of file, as a table."""
    found = list(verdicts)
    columns = [DONE, REFUSED, *(name for name in FINDINGS if any(v.verdict == name for v in found))]
    rows = [("kind", "cases", *columns)]
    for kind in [*bases.KINDS, "all"]:
        own = [v for v in found if kind in (v.kind, "all")]
        by = Counter(v.verdict for v in own)
        if own:
            rows.append((kind, str(len(own)), *(str(by[name]) for name in columns)))
    rows.insert(1, ("---", *("---:" for _ in rows[0][1:])))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
