"""Scoring of videos that exist: sources, results of others, dubs whose metrics were asked for afterwards.

As in a run there are a lock, a record for each clip as soon as it is scored, a ledger, and no second measurement
of what has been measured. On Ray the clips go to the actors that assemble dubs in a run; a clip that kills its
actor three times is a failure.
"""

from __future__ import annotations

import datetime
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from operators.evaluation.finished_video import measure_video
from operators.evaluation.metric import FinishedDub
from operators.media.probe import probe_video
from operators.storage.files import fingerprint, join
from operators.storage.redact import redact_all
from operators.threads import single_thread
from pipelines.engine.config import ProfileConfig
from pipelines.engine.metrics import load_metrics
from pipelines.execution.assembler_pool import AssemblerPool
from pipelines.execution.assembly import write_record
from pipelines.execution.ray_session import RayStartError, is_joined, ray_session
from pipelines.manifest.titles import UNNAMED, Runner
from pipelines.monitoring.progress import Progress
from pipelines.state.content_keys import content_key
from pipelines.state.lock import RunLock
from pipelines.state.ownership import check_owner, run_metadata
from pipelines.state.run_directory import Record, RunDirectory, write_text

#: Clips with work left above which ``--runner auto`` takes Ray.
MOST_CLIPS = 16
#: Actors that score clips at once, at most: each is waited for by a thread of this process.
MOST_ACTORS = 256
#: Seconds between two reports of progress.
PERIOD = 1.0


@dataclass(frozen=True)
class Clip:
    """A video to be scored.

    Attributes:
        id: of its pair.
        video: fsspec URL of the source; "" where none is known.
        speech: fsspec URL of the sound that it should show.
        output: fsspec URL of the video to be scored.
        frames: a guess, by which clips are sent a few at a time.
    """

    id: str
    video: str
    speech: str
    output: str
    frames: int = 500


@dataclass(frozen=True)
class ScoringSpec:
    """Common to the scoring of all clips. Plain data: it is sent to actors.

    Attributes:
        run: fsspec URL of the run directory.
        system: that made the videos, for the records.
        places: of the metrics.
        paired: the sources are the truth, frame by frame.
        identity: hash of what decides values beside the files: metrics, model files.
    """

    run: str
    system: str
    places: tuple[str, ...]
    paired: bool
    identity: str


def score_clip_file(clip: Clip, spec: ScoringSpec) -> Record:
    """Score a clip and write its record; a clip that cannot be read is a failed record."""
    began, values, notes = time.perf_counter(), list[dict[str, object]](), list[str]()
    frames, seconds, error = 0, 0.0, ""
    try:
        if not clip.output:
            raise ValueError("no source video is known")
        info = probe_video(clip.output)
        frames, seconds = info.n_frames, float(info.duration)
        metrics, notes = load_metrics(spec.places)
        dub = FinishedDub(clip.video, clip.speech, clip.output, "", frames, seconds)
        values, more = measure_video(metrics, dub, spec.paired)
        notes += more
    except ValueError as problem:
        error = str(problem)
    record = _record(clip, spec, error)
    record |= {
        "frames": frames,
        "video_seconds": round(seconds, 3),
        "seconds": round(time.perf_counter() - began, 3),
        "metrics": values,
        "notes": [str(redact_all(note)) for note in notes],
    }
    write_record(RunDirectory(spec.run), record)
    return record


def _record(clip: Clip, spec: ScoringSpec, error: str) -> Record:
    record: Record = {
        **{"title": clip.id, "dub": UNNAMED, "state": "failed" if error else "done", "error": error},
        **{"video": clip.video, "speech": clip.speech, "output": clip.output, "language": ""},
        **{
            "engine": spec.system,
            "key": _key(clip, spec),
            "frames": 0,
            "segments": 0,
            "reused": 0,
            "bytes": 0,
        },
        **{
            "size": 0,
            "seconds": 0.0,
            "video_seconds": 0.0,
            "stage_seconds": "{}",
            "metrics": [],
            "notes": [],
        },
        "finished": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }
    return {name: redact_all(value) for name, value in record.items()}


def _key(clip: Clip, spec: ScoringSpec) -> str:
    """Hash of all that decides a clip's values; "" where a file is missing."""
    try:
        files = [fingerprint(url) if url else None for url in (clip.output, clip.video, clip.speech)]
    except ValueError:
        return ""
    return content_key(files, sorted(spec.places), spec.paired, spec.identity)


def score_existing(
    clips: Sequence[Clip],
    spec: ScoringSpec,
    profile: ProfileConfig,
    runner: Runner,
    progress: Progress,
    ended: Callable[[Record], None],
    verbose: bool = False,
) -> list[Record]:
    """Score clips, those left out that an earlier call has scored.

    Args:
        clips: to be scored.
        spec: metrics, run directory.
        profile: for the object store of a Ray that is started.
        runner: "ray", "local", or "auto": Ray where more than `MOST_CLIPS` clips are left, or one is there to join.
        progress: display.
        ended: called with each record, those of earlier calls included; from any thread.
        verbose: show what the actors print.

    Raises:
        LockedError: another command is at work in the run directory.

    Returns:
        The records, in the order of the clips.
    """
    directory = RunDirectory(spec.run)
    check_owner(directory.url)
    with RunLock(directory.url) as lock:
        metadata = run_metadata(
            engine=spec.system,
            profile=profile.name,
            titles=len(clips),
            dubs=len(clips),
            started=time.time(),
            overwrite=False,
        )
        write_text(join(directory.url, "run.json"), json.dumps(metadata))
        found = {record["title"]: record for record in directory.records()}
        kept = {
            clip.id: found[clip.id]
            for clip in clips
            if clip.id in found
            and found[clip.id]["state"] == "done"
            and found[clip.id].get("key") == _key(clip, spec) != ""
        }
        for record in kept.values():
            ended(record)
        left = [clip for clip in clips if clip.id not in kept]
        began = 0.0
        for number, record in enumerate(_scored(left, spec, profile, runner, progress, verbose), 1):
            lock.check()
            kept[record["title"]] = record
            ended(record)
            if time.monotonic() - began > PERIOD or number == len(left):
                began = time.monotonic()
                progress.phase(f"scoring {spec.system}: {number} of {len(left)}")
        records = [kept[clip.id] for clip in clips]
        directory.write_ledger(sorted({**found, **kept}.values(), key=lambda one: one["title"]))
    return records


def _scored(
    clips: Sequence[Clip],
    spec: ScoringSpec,
    profile: ProfileConfig,
    runner: Runner,
    progress: Progress,
    verbose: bool,
) -> Iterator[Record]:
    """Score clips where the runner says."""
    if not clips:
        return
    if _on_ray(runner, len(clips)):
        try:
            progress.phase("starting Ray")
            with ray_session(profile.store_mib, verbose) as ray:
                yield from _by_actors(ray, clips, spec)
            return
        except RayStartError as problem:
            if runner == "ray" or is_joined():
                raise
            progress.say(f"note: {problem}; the work is done in this process, on one core")
    progress.phase(f"scoring {spec.system}: 0 of {len(clips)}")
    single_thread()
    for clip in clips:
        yield score_clip_file(clip, spec)


def _on_ray(runner: Runner, left: int) -> bool:
    joined = bool(os.environ.get("RAY_ADDRESS")) or ("ray" in sys.modules and is_joined())
    return runner == "ray" or (runner == "auto" and (joined or left > MOST_CLIPS))


def _by_actors(ray: Any, clips: Sequence[Clip], spec: ScoringSpec) -> Iterator[Record]:
    """Score clips in actors of one CPU each, as many as the Ray has."""
    cpus = int(ray.cluster_resources().get("CPU", 1))
    at_once = min(max(1, cpus), MOST_ACTORS, len(clips))
    pool: AssemblerPool[Clip] = AssemblerPool(1, at_once, spec, score_clip_file)
    for clip in clips:
        pool.put(clip)
    ready: list[Record] = []
    news = threading.Condition()

    def work() -> None:
        for clip, result in pool.run():
            record = result if isinstance(result, dict) else _killed(clip, spec, result)
            with news:
                ready.append(record)
                news.notify()

    threads = ThreadPoolExecutor(pool.wanted(), "score")
    futures = [threads.submit(work) for _ in range(pool.wanted())]
    try:
        told = 0
        while told < len(clips):
            with news:
                news.wait_for(lambda: ready or all(future.done() for future in futures), timeout=PERIOD)
                now, ready[:] = list(ready), []
            if not now and all(future.done() for future in futures):
                for future in futures:
                    future.result()
                break
            told += len(now)
            yield from now
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
        pool.stop()


def _killed(clip: Clip, spec: ScoringSpec, problem: Exception) -> Record:
    """Record a clip that killed its actors."""
    text = (str(problem).strip().splitlines() or [type(problem).__name__])[-1]
    record = _record(clip, spec, f"scoring {clip.output} killed its worker: is the file damaged? ({text})")
    write_record(RunDirectory(spec.run), record)
    return record
