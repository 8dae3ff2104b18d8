"""A sweep: pairs dubbed and scored by several systems. Each system is a run of its own below the sweep's directory; all share one
analysis cache, so that a video is analysed once.

DIR/runs/SYSTEM.PROTOCOL/  run directories, with ledger, lock and outputs
DIR/cache/                 what the systems share: shots, faces, landmarks
DIR/features/              features of frames, for FID
DIR/scores/*.json          one file a pair and system, as soon as it is scored
DIR/scores.parquet, .csv   all of them, when the command ends
DIR/sets.json              metrics of sets; DIR/sweep.json: what was asked for, of what, on which machine
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from operators.storage.files import join, local_path, normalized
from pipelines.engine.config import load_profile, with_sections
from pipelines.errors import DONE, FAILED, UsageError
from pipelines.evaluation.about import about_sweep, now
from pipelines.evaluation.existing import Clip, ScoringSpec, score_existing
from pipelines.evaluation.measures import COVARIATES
from pipelines.evaluation.pairs import Pair
from pipelines.evaluation.scores import (
    AGAINST_SOURCE,
    SCORED,
    lacking,
    score_of,
    write_score,
    write_scores,
)
from pipelines.evaluation.sets import set_metrics, write_sets
from pipelines.evaluation.spec import Execution, SweepSpec
from pipelines.evaluation.systems import SOURCE, System, check_systems, system_digests
from pipelines.monitoring.progress import Progress
from pipelines.runner import run
from pipelines.state.content_keys import content_key
from pipelines.state.run_directory import Record, read_json, slug, write_text

LOGGER = logging.getLogger("retalk")


@dataclass(frozen=True)
class Outcome:
    """End of a sweep's command.

    Attributes:
        directory: of the sweep.
        attempted: pairs of the whole sweep, all shards.
        scored: by system, pairs of this command.
        failed: by system, reasons and numbers of those that were not scored.
        notes: on the sweep as a whole.
        left_out: lines of the list that are no pairs.
    """

    directory: str
    attempted: int
    scored: dict[str, int]
    failed: dict[str, Counter[str]]
    notes: list[str]
    left_out: int

    @property
    def exit_code(self) -> int:
        return FAILED if any(self.failed.values()) or self.left_out else DONE


def sweep_url(path: str) -> str:
    """URL of a sweep's directory, absolute."""
    local = local_path(path)
    return normalized(str(local.absolute())) if local is not None else path.rstrip("/")


def run_sweep(spec: SweepSpec, execution: Execution, progress: Progress) -> Outcome:
    """Dub and score the pairs of a sweep. Run again with the same directory to resume.

    Raises:
        UsageError: wrong usage, or model files of a system are missing; nothing has run.
        LockedError: another command is at work on one of the systems.
    """
    check_systems(spec.systems)
    _check_directory(spec)
    started = now()
    about = about_sweep(spec, started)
    write_text(join(spec.directory, "sweep.json"), json.dumps(about, indent=1))
    missing = spec.measures.missing()
    notes = [*spec.listing.notes, *missing_words(missing)]
    for text in notes:
        progress.say(f"note: {text}")
    scored, failed = dict[str, int](), dict[str, Counter[str]]()
    for system in spec.systems:
        progress.say(f"{system.name}: {len(spec.mine)} pairs")
        work = _SystemSweep(spec, system, execution, progress, missing)
        records = work.run()
        wrong = [record for record in records if record["state"] != "done"]
        scored[system.name] = len(records) - len(wrong)
        failed[system.name] = Counter(map(_reason, wrong))
        notes += work.noticed
    progress.phase("writing tables")
    table = write_scores(spec.directory)
    write_sets(spec.directory, set_metrics(table, spec.measures, missing))
    about["finished"] = now()
    write_text(join(spec.directory, "sweep.json"), json.dumps(about, indent=1))
    return Outcome(
        spec.directory, len(spec.pairs), scored, failed, notes, sum(spec.listing.left_out.values())
    )


class _SystemSweep:
    """One system's part of a sweep."""

    def __init__(
        self,
        spec: SweepSpec,
        system: System,
        execution: Execution,
        progress: Progress,
        missing: Mapping[str, str],
    ) -> None:
        self.spec, self.system, self.execution = spec, system, execution
        self.progress, self.missing = progress, missing
        self.measures = spec.measures
        self.noticed: list[str] = []
        self.pairs: dict[str, list[Pair]] = {}
        for pair in spec.mine:
            self.pairs.setdefault(pair.id, []).append(pair)
        profile = execution.profile
        self.profile = with_sections(
            load_profile(profile) if isinstance(profile, str) else profile, limits=execution.limits
        )
        files, self.weights = system_digests(system)
        self.measurable = spec.measures.measurable()
        self.identity = content_key(files, spec.measures.digests()[0])

    def folder(self, suffix: str = "") -> str:
        """URL of the system's run directory."""
        name = f"{self.system.folder}.{self.measures.protocol}{suffix}{self.spec.shard.suffix}"
        return join(self.spec.directory, "runs", name)

    def run(self) -> list[Record]:
        """Dub and score, or score only."""
        if self.system.engine is None:
            return self._existing()
        records = self._dubbed()
        again = {
            record["title"]: names
            for record in records
            if record["state"] == "done" and (names := lacking(record, self.measurable))
        }
        if again:
            self._afterwards({record["title"]: record for record in records}, again)
        return records

    def _dubbed(self) -> list[Record]:
        system, spec, execution = self.system, self.spec, self.execution
        assert system.engine is not None
        places = self.measures.places(system.resolved())
        cache = join(spec.directory, "cache") if execution.cache is None else execution.cache
        rows = [
            {"id": id, "video": pair.video, "speech": pair.audio, "output": _output_name(id)}
            for id, (pair, *_) in self.pairs.items()
        ]
        report = run(
            rows,
            run_dir=self.folder(),
            engine=system.engine,
            profile=self.profile,
            options={**system.options, "metrics": {"on": places}},
            defaults={"length": spec.length},
            runner=execution.runner,
            progress=self.progress,
            verbose=execution.verbose,
            cache=cache,
            overwrite=execution.overwrite,
            ended=self._told,
            watermark={"mode": "off"},  # scores are of what the engine draws
        )
        self.noticed += report.noticed
        return list(report.records)

    def _existing(self) -> list[Record]:
        """Score the sources, or results of others."""
        source = self.system.name == SOURCE
        clips = [
            Clip(id, pair.video, pair.audio, pair.video if source else pair.output)
            for id, (pair, *_) in self.pairs.items()
        ]
        names = [*self.measures.names, *self.measures.covariates]
        if source:
            names = [name for name in names if name not in AGAINST_SOURCE]
        return self._score(clips, names, "")

    def _afterwards(self, records: Mapping[str, Record], again: Mapping[str, Sequence[str]]) -> None:
        """Measure what finished dubs lack, on their outputs."""
        clips = [
            Clip(id, self.pairs[id][0].video, self.pairs[id][0].audio, join(self.folder(), _output_name(id)))
            for id in again
        ]
        names = sorted({name for found in again.values() for name in found})
        found = self._score(clips, names, ".afterwards", told=False)
        for later in found:
            self._told(records[later["title"]], later)

    def _score(
        self, clips: Sequence[Clip], names: Sequence[str], suffix: str, told: bool = True
    ) -> list[Record]:
        places = tuple(self.measures.place(name) for name in names)
        paired = self.measures.protocol == "reconstruction" and self.system.name != SOURCE
        scoring = ScoringSpec(self.folder(suffix), self.system.name, places, paired, self.identity)
        ended: Callable[[Record], None] = self._told if told else _nothing
        execution = self.execution
        return score_existing(
            clips, scoring, self.profile, execution.runner, self.progress, ended, execution.verbose
        )

    def _told(self, record: Record, more: Record | None = None) -> None:
        """Write the scores of a pair that has ended; called from any thread. A dub that lacks something waits for it."""
        dubbed = self.system.engine is not None and record["state"] == "done"
        if dubbed and more is None and lacking(record, self.measurable):
            return
        for pair in self.pairs.get(record["title"], ()):
            score = score_of(pair, self.system, self.measures, record, self.weights, more, self.missing)
            try:
                write_score(self.spec.directory, self.system, pair, score)
            except OSError as problem:
                # The record is there: the next call of the same command writes the score.
                LOGGER.warning(
                    "%s: the score of %s cannot be written (%s)", self.spec.directory, pair.id, problem
                )


def _output_name(pair: str) -> str:
    """Name of a pair's dub in its run directory."""
    return f"{slug(pair)}.mp4"


def _nothing(record: Record) -> None:
    """Ignore a record."""


def _reason(record: Record) -> str:
    """Reason why a pair was not scored, without the file's name, so that equal reasons are counted together."""
    text = str(record["error"]).strip() or "no reason was given"
    for name in ("video", "speech", "output"):
        text = text.removeprefix(f"{record[name]}: ")
    return text.splitlines()[0]


def missing_words(missing: Mapping[str, str]) -> list[str]:
    """Say which metrics are not measured, a line for each reason."""
    reasons: dict[str, list[str]] = {}
    for name, reason in missing.items():
        if name not in COVARIATES:
            reasons.setdefault(reason, []).append(name)
    return [f"not measured: {', '.join(names)}: {reason}" for reason, names in reasons.items()]


def _check_directory(spec: SweepSpec) -> None:
    """Refuse a directory that holds a sweep over something else.

    Raises:
        UsageError: it does.
    """
    before = read_json(join(spec.directory, "sweep.json"))
    if not isinstance(before, dict):
        return
    for name, asked in (("data", spec.data), ("lse_protocol", spec.measures.lse_protocol)):
        if before.get(name, asked) != asked:
            raise UsageError(
                f"-o {spec.directory}: holds a sweep with {name} {before[name]}, this one has {asked}; choose another folder"
            )


def scored_words(outcome: Outcome) -> list[str]:
    """Say how many pairs each system was attempted on and scored, and why the others fell out."""
    lines = []
    for system, scored in outcome.scored.items():
        why = outcome.failed[system]
        lines.append(f"{system}: {scored + why.total()} attempted, {scored} {SCORED}")
        lines += [f"  {number} failed: {reason}" for reason, number in why.most_common(5)]
        if len(why) > 5:
            lines.append(f"  and {len(why) - 5} more reasons")
    return lines
