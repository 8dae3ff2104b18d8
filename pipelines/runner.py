"""`run`: a whole run, and the Python API. `retalk dub` and `retalk run` are both this code.

from pipelines.runner import run
report = run([{"id": "a", "video": "a.mp4", "speech": "a.wav", "output": "a-dubbed.mp4"}], run_dir="work")
print(report.exit_code, report.records[0]["error"])
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from operators.storage.errors import refusal
from operators.storage.files import join, sweep
from pipelines.engine.config import (
    EngineConfig,
    ProfileConfig,
    load_profile,
    with_sections,
)
from pipelines.engine.metrics import REVIEW
from pipelines.engine.model_files import check_weights, wanted_files
from pipelines.errors import DONE, FAILED, UsageError
from pipelines.execution.collector import Collector
from pipelines.execution.local_loop import run_in_process
from pipelines.execution.ray_session import RayStartError, is_joined
from pipelines.execution.run_spec import RunSpec, cache_folder
from pipelines.execution.runner_choice import choose_runner
from pipelines.manifest.confinement import restrict_paths
from pipelines.manifest.consent import check_consent
from pipelines.manifest.reader import titles_of
from pipelines.manifest.titles import LOW_QUALITY, LowQuality, Runner, Title, label, overrides_of
from pipelines.monitoring.command_log import LOGGER, command_log
from pipelines.monitoring.grouping import will_fail
from pipelines.monitoring.progress import Progress
from pipelines.planning.selection import forget, select, select_rejected
from pipelines.preflight import checks as preflight
from pipelines.preflight.decisions import decided
from pipelines.provenance.signing import checked_signing
from pipelines.provenance.watermarks import watermark_key, watermarked
from pipelines.rights.labels import labelled
from pipelines.rights.licence_clean import check_titles, clean_engine
from pipelines.state.changes import summary
from pipelines.state.listed import write_listed
from pipelines.state.lock import RunLock
from pipelines.state.outputs import check_outputs, left_behind
from pipelines.state.ownership import check_owner, run_metadata
from pipelines.state.packed_records import SortedRecords
from pipelines.state.run_directory import Record, RunDirectory, write_text

#: Records that a note lists.
NAMED = 3


@dataclass(frozen=True)
class Report:
    """Outcome of a run.

    Attributes:
        run_dir: its run directory.
        records: one per title and dub, sorted; see `pipelines.state.ledger.LEDGER`, and ``traceback`` for failures.
        already: dubs that an earlier run had finished.
        computed: output segments that were computed now.
        reused: output segments that an earlier run had committed.
        noticed: remarks on the run as a whole, such as damaged files; those on a title are notes of its record.
        unwritten: why records could not be written, by title and dub. The outputs are as their records say, but a
            later run does not know it.
        ray_output: file with the output of Ray and its workers, where something failed or `verbose` was asked
            for; "" for none.
    """

    run_dir: str
    records: Sequence[Record] = ()
    computed: int = 0
    reused: int = 0
    noticed: list[str] = field(default_factory=list)
    already: int = 0
    ray_output: str = ""
    unwritten: dict[tuple[str, str], str] = field(default_factory=dict)

    @property
    def failed(self) -> list[Record]:
        return [record for record in self.records if record["state"] != "done"]

    @property
    def exit_code(self) -> int:
        return FAILED if self.failed or self.unwritten else DONE


def run(
    manifest: str | Path | Sequence[Mapping[str, Any]],
    *,
    run_dir: str | Path,
    engine: str | EngineConfig = "auto",
    profile: str | ProfileConfig = "laptop",
    options: Mapping[str, Mapping[str, Any]] | None = None,
    defaults: Mapping[str, Any] | None = None,
    runner: Runner = "auto",
    keep_segments: bool = False,
    progress: TextIO | Progress | None = None,
    verbose: bool = False,
    roots: Sequence[str] = (),
    limits: Mapping[str, float] | None = None,
    cache: str | bool | None = None,
    only: Sequence[str] = (),
    redo: Sequence[str] = (),
    rejected: Sequence[str] = (),
    log_file: str | None = None,
    overwrite: bool = False,
    ended: Callable[[Record], None] | None = None,
    on_low_quality: LowQuality = "keep",
    rights: Mapping[str, Any] | None = None,
    label: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
    watermark: Mapping[str, Any] | None = None,
) -> Report:
    """Dub titles. Run again with the same run directory to resume.

    Args:
        manifest: path or URL of a manifest (.jsonl, .csv, .parquet), or its rows: ``id``, ``video``,
            ``speech``, ``output``, and optionally ``face``, ``length``, ``audio``, ``language``, ``loudness``, ``codec``,
            ``crf``, ``bitrate``, ``preset``, ``consent`` and options of stages (``"speak.lag"``); or ``id``, ``video`` and ``dubs``,
            a list of such dubs. Relative outputs lie in the run directory.
        run_dir: fsspec URL of the run directory.
        engine: name, path of a .yaml file, or configuration.
        profile: the same.
        options: engine-wide options of stages, ``{stage: {option: value}}``; under ``"metrics"`` and ``"review"`` the choice of
            metrics and the thresholds for review.
        defaults: ``face``, ``length``, ``audio``, ``language``, ``loudness``, ``codec``, ``crf``, ``bitrate``, ``preset``, ``consent``
            for rows that have none.
        runner: "ray"; "local": a plain loop in this process; "auto": the latter where Ray would not pay
            (`pipelines.execution.runner_choice`).
        keep_segments: do not delete encoded segments after assembly.
        progress: where progress is shown: a stream, e.g. `sys.stderr`, or a display that is open already.
        verbose: show what the workers print.
        roots: folders that the manifest's paths must lie in (outputs may lie in the run directory too); none:
            anywhere.
        limits: in place of the profile's, by name.
        cache: fsspec URL of a folder where analysis is kept and looked for, True for the run directory, False
            for nowhere; None: as the profile says.
        only: ids of the titles to work on; none: all. Records of other titles stay in the ledger.
        redo: ids of titles that are computed again though they are finished; their outputs are replaced.
        rejected: ids of titles that a review has rejected: as `redo`, but no others are worked on, and those that the manifest
            does not have are left out with a note.
        overwrite: replace outputs that exist and that no run in this directory has made.
        on_low_quality: of a dub whose measures ask for a look: "keep" writes it; "passthrough" writes it with the source's own
            pictures in the shots that are bad; "fail" fails it with the reasons, nothing is written.
        rights: in place of the profile's conditions on rights, by name: ``require_consent``, ``licence_clean``, ``accepted_models``.
        label: in place of the profile's notice on the picture, by name: ``text`` (or ``eu``, ``cn``), ``position``, ``seconds``,
            ``size``, ``font``, ``producer``; see docs/rights.md.
        provenance: in place of the profile's signing, by name: ``on``, ``sign_cert``, ``sign_key``, ``tsa``; see docs/provenance.md.
        watermark: in place of the profile's watermarks, by name: ``mode``, ``strength``, ``key``; see docs/watermark.md.
        log_file: a full log is appended to this file: steps, progress, tracebacks of failed titles.
        ended: called with the record of each title and dub as soon as it has ended, those that an earlier run
            has finished included; from any thread.

    Raises:
        ConfigError, ManifestError: wrong usage; nothing has run.
        CredentialsError: the key or the certificates for signing cannot be used; nothing has run.
        MissingConsentError: rows have no consent where it is required; nothing has run.
        UncleanPartsError: models are not for commercial use where they must be; nothing has run.
        ExistingOutputError: an output exists that no run in this directory has made; nothing has run.
        PreflightError: the run would crawl or fail; nothing has run.
        LockedError: another run is at work in the run directory.

    Returns:
        The report, with a record for each title and dub. A title that cannot be dubbed is a failed record, no
        exception.

    Examples:
        >>> rows = [{"id": "a", "video": "a.mp4", "speech": "a.wav", "output": "a.mp4"}]  # doctest: +SKIP
        >>> report = retalk.run(rows, run_dir="out", engine="exemplar")  # doctest: +SKIP
        >>> [(record["title"], record["error"]) for record in report.failed]  # doctest: +SKIP
        []
    """
    if on_low_quality not in LOW_QUALITY:
        raise UsageError(f"on_low_quality {on_low_quality!r}: choose {', '.join(LOW_QUALITY)}")
    chosen = with_sections(
        load_profile(profile) if isinstance(profile, str) else profile,
        limits=limits,
        review=(options or {}).get(REVIEW),
        rights=rights,
        label=label,
        provenance=provenance,
        watermark=watermark,
    )
    built, noticed = clean_engine(engine, options, chosen.rights)
    directory = RunDirectory(str(run_dir))
    manifested = restrict_paths(titles_of(manifest, built, directory.url, defaults), roots, directory.url)
    manifested = labelled(manifested, built, chosen.label, (label or {}).keys())
    key = watermark_key(chosen.watermark)
    manifested = watermarked(manifested, built, chosen.watermark, key)
    built, manifested = decided(built, manifested, chosen)
    only, redo, left_out = select_rejected(manifested, only, redo, rejected)
    titles = select(manifested, only, redo)
    if chosen.rights.require_consent:
        check_consent(titles)
    check_titles(built, titles, chosen.rights)
    titles = preflight.with_missing_files(titles)
    spec = RunSpec(
        directory,
        built,
        chosen,
        titles,
        others=frozenset(title.id for title in manifested) - {title.id for title in titles},
        cache=cache_folder(cache, chosen, directory.url),
        keep_segments=keep_segments,
        told=ended,
        on_low_quality=on_low_quality,
        mark_secret=b"" if key is None else key.secret,
    )
    noticed += _check(spec, overwrite)
    noticed += [*built.notes, *left_out]
    spec = dataclasses.replace(spec, signing=checked_signing(chosen.provenance, built.config.draws))
    with command_log(log_file), RunLock(directory.url) as lock, Progress.of(progress) as shown:
        for text in will_fail(titles, "the ledger will list them"):
            shown.say(text)
        try:
            _write_metadata(spec, manifested, overwrite)
            write_listed(directory.url, manifested)
            if redo:
                forget(directory, redo)
        except OSError as problem:
            raise UnwritableError(
                f"{directory.url}: cannot be written ({refusal(problem)}); make room or repair it, and run again"
            ) from problem
        tidy(directory, titles)
        if wanted_files(built, overrides_of(titles)):
            shown.phase("looking at model files")  # those that are new to this machine are hashed
        pools = [pool for pool, _ in spec.placement(isolated=False)]
        choice = choose_runner(runner, built, pools, spec.plan, titles)
        LOGGER.info("runner: %s, %s", choice.runner, choice.reason)
        if verbose:
            shown.say(f"runner: {choice.runner} ({choice.reason})")
        if choice.runner == "local":
            report = _report(run_in_process(spec, lock, shown))
        else:
            report = _on_ray(spec, lock, shown, verbose, may_change=runner == "auto")
        # Again: workers that were killed have left files in this run too.
        try:
            tidy(directory, titles)
        except UnwritableError as problem:
            noticed.append(str(problem))  # what has been done matters more
        _log_failures(report)
    if again := summary(report.records):
        noticed.append(again)
    noticed += left_behind(directory, report.records)
    if report.unwritten:
        noticed.append(_unwritten(report.unwritten, directory.url))
    return dataclasses.replace(report, noticed=noticed)


def _unwritten(records: Mapping[tuple[str, str], str], directory: str) -> str:
    """Return one line on the records that could not be written."""
    told = "; ".join(f"{label(title, dub)}: {why}" for (title, dub), why in list(records.items())[:NAMED])
    more = f" and {len(records) - NAMED} more" if len(records) > NAMED else ""
    count = "1 record" if len(records) == 1 else f"{len(records)} records"
    return (
        f"{count} could not be written in {directory} ({told}{more}): make room or repair it, and run again"
    )


def _check(spec: RunSpec, overwrite: bool) -> list[str]:
    """Refuse what cannot work before anything runs, and return what is to be said of the run directory.

    Raises:
        UsageError: of the kinds that `run` raises.
    """
    directory, titles = spec.directory, spec.titles
    dubs = [dub for title in titles for dub in title.dubs]
    check_weights(spec.engine, overrides_of(titles), spec.profile.rights.licence_clean)
    preflight.check_inputs(titles)
    if not overwrite:
        check_outputs(directory, titles)
    preflight.check_writable(directory.url, titles)
    if spec.cache not in ("", directory.url):
        preflight.check_writable(spec.cache, [])
    return check_owner(directory.url, [directory.relative(dub.output) for dub in dubs])


def _write_metadata(spec: RunSpec, manifested: Sequence[Title], overwrite: bool) -> None:
    """Write ``run.json``, by which the folder is known as a run directory. The caller holds the lock."""
    metadata = run_metadata(
        engine=spec.engine.name,
        profile=spec.profile.name,
        titles=len(manifested),
        dubs=sum(len(title.dubs) for title in manifested),
        started=time.time(),
        overwrite=overwrite,
    )
    write_text(join(spec.directory.url, "run.json"), json.dumps(metadata))


def _report(collector: Collector) -> Report:
    """Write the plan and the ledger, and return the report.

    Raises:
        UnwritableError: they cannot be written; the message has the failures.
    """
    # Ray promises that every row comes out; should it not, no title goes without its record.
    collector.abort(
        "segments of this title were lost in the graph; run again: what is committed is not computed again"
    )
    records = SortedRecords(collector.records)
    try:
        collector.write_plan()
        collector.write_ledger()
    except OSError as problem:
        ended = ", ".join(
            f"{sum(r['state'] == state for r in records)} {state}" for state in ("done", "failed")
        )
        failures = "".join(
            f"\n{label(r['title'], r['dub'])}: {r['error']}" for r in records if r["state"] != "done"
        )
        raise UnwritableError(
            f"the ledger cannot be written ({refusal(problem)}); {ended}{failures}"
        ) from problem
    return Report(
        collector.run.url,
        records,
        collector.computed,
        collector.reused,
        already=collector.already,
        unwritten=dict(collector.unwritten),
    )


def _on_ray(spec: RunSpec, lock: RunLock, shown: Progress, verbose: bool, may_change: bool) -> Report:
    """Run titles on Ray, or in this process where Ray does not start and the user has not asked for it."""
    from pipelines.execution.ray_run import run_on_ray

    try:
        collector, output = run_on_ray(spec, lock, shown, verbose)
    except RayStartError as problem:
        if not may_change or is_joined() or any(pool.num_gpus for pool, _ in spec.placement(isolated=False)):
            raise
        shown.say(f"note: {problem}; the work is done in this process, on one core")
        return _report(run_in_process(spec, lock, shown))
    return _with_output(_report(collector), output, verbose)


def _with_output(report: Report, output: Path, verbose: bool) -> Report:
    """Name the file with Ray's output in the report where it is wanted, else delete it."""
    if not output.exists():
        return report
    if report.failed or verbose:
        return dataclasses.replace(report, ray_output=str(output))
    output.unlink()
    return report


def _log_failures(report: Report) -> None:
    for record in report.failed:
        trace = record.get("traceback") or ""
        LOGGER.error("%s: %s\n%s", label(record["title"], record["dub"]), record["error"], trace)


def tidy(directory: RunDirectory, titles: Sequence[Title]) -> None:
    """Remove temporary files of killed writers from the run directory and beside the outputs. The caller holds
    the lock.
    """
    folders: dict[str, list[str]] = {}
    for output in (dub.output for title in titles for dub in title.dubs if "/" in dub.output):
        folder, name = output.rsplit("/", 1)
        folders.setdefault(folder, []).append(name)
    try:
        directory.tidy()
        for folder, names in folders.items():
            sweep(folder, names)
    except OSError as problem:
        where = getattr(problem, "filename", None) or directory.url
        raise UnwritableError(f"{where}: cannot be tidied up ({refusal(problem)})") from problem


class UnwritableError(UsageError):
    """The run's state cannot be written; the message says why. What is committed is safe."""
