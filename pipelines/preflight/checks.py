"""Checks that refuse, before anything runs, what would crawl or fail late: pools, stores, memory, outputs."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from operators.storage.errors import MediaError, UnsupportedURLError, refusal, unanswered
from operators.storage.files import filesystem, fingerprint, is_url, join, suffix
from operators.storage.identity import FileMap
from pipelines.engine.config import ProfileConfig
from pipelines.engine.engine import Engine
from pipelines.engine.profile_parts import PoolConfig
from pipelines.engine.rows import row_bytes
from pipelines.errors import PreflightError, UsageError
from pipelines.manifest.titles import SUFFIXES, Title, face_problem, is_picture, name_problem
from pipelines.state.run_directory import remove, write_text

#: Frame rate that the store is sized for where the engine bounds its segments in seconds.
HIGH_RATE = 60
#: Folders of outputs that are tried, at most.
FOLDERS = 32
MIB = 1 << 20
#: Bytes of a file's name on common file systems.
MAX_NAME_BYTES = 255
#: Name of the small file that is written for a moment, with its folder, in messages.
_MOMENTARY = re.compile(r"[^\s'\"]*/?\.retalk-[^\s'\":]*")


def minimum(pools: Sequence[PoolConfig], cpus: int) -> tuple[float, float]:
    """CPUs and GPUs that the pools hold at least, on a machine or cluster with this many CPUs."""
    sizes = [pool.bounds(cpus)[0] for pool in pools]
    return sum(n * pool.num_cpus for n, pool in zip(sizes, pools)), sum(
        n * pool.num_gpus for n, pool in zip(sizes, pools)
    )


def check_resources(
    profile: ProfileConfig,
    pools: Sequence[PoolConfig],
    resources: Mapping[str, float],
    grown: Mapping[str, float] | None = None,
    source: str = "",
) -> None:
    """Compare the pools' minimums with what Ray has, or can get. Ray itself would not refuse: it would crawl.

    Args:
        profile: for its name and planner pool.
        pools: the pools that this engine uses.
        resources: of `ray.cluster_resources()`.
        grown: what a cluster that grows can come to have, None where it does not grow.
        source: who says so.

    Raises:
        PreflightError: with the sums and the lines of the profile that add up to them.
    """
    every = [profile.plan, *pools]
    cpus = int(resources.get("CPU", 0))
    need = dict(zip(("CPU", "GPU"), minimum(every, cpus)))
    for kind, field in (("GPU", "num_gpus"), ("CPU", "num_cpus")):
        have = float(resources.get(kind, 0))
        most = max(have, float(grown.get(kind, 0))) if grown is not None else have
        if need[kind] > most + 1e-6:
            lines = [
                f"  {pool.name}: {n} × {field} {each:g} = {n * each:g}"
                for pool in every
                for n, each in [(pool.bounds(cpus)[0], getattr(pool, field))]
                if each
            ]
            raise PreflightError(
                f"profile {profile.name} holds at least {need[kind]:g} {kind}s at once, Ray has {have:g}"
                + (f" and can grow to {most:g} ({source}):\n" if grown is not None else ":\n")
                + "\n".join(lines)
                + f"\nlower min (or size) or {field} of a pool, choose another profile, or add {kind}s"
            )


def longest_row(profile: ProfileConfig, engine: Engine) -> tuple[int, int]:
    """Frames of the longest row that may be under way, and those of them that are no halo."""
    rule = engine.config.segments
    core = profile.segment_frames if rule.kind == "frames" else int(rule.max_seconds * HIGH_RATE)
    return core + sum(engine.halo({})), core


def check_store(
    profile: ProfileConfig,
    engine: Engine,
    groups: Sequence[tuple[PoolConfig, Sequence[str]]],
    store: float,
    cpus: int,
) -> None:
    """Hold the largest rows that can be under way at once against the object store.

    Args:
        profile: for `segment_frames`.
        engine: whose rows.
        groups: pools with the names of their stages.
        store: bytes of the object store (of the whole cluster).
        cpus: of the whole cluster.

    Raises:
        PreflightError: rows under way would fill more than the store, so that Ray would spill to disk all the
            time.
    """
    rule = engine.config.segments
    frames, core = longest_row(profile, engine)
    total, lines = 0, []
    for pool, stages in groups:
        edge = engine.edges[engine.names.index(stages[0])]
        rows = pool.bounds(cpus)[0] * (pool.in_flight + 1)
        size = row_bytes(edge, frames, core) * engine.segments_together(stages, pool.device)
        total += rows * size
        lines.append(f"  before {pool.name}: {rows} rows × {size / MIB:.1f} MiB")
    if total > store:
        change = (
            f"lower segment_frames ({profile.segment_frames})"
            if rule.kind == "frames"
            else "fuse stages into fewer pools"
        )
        raise PreflightError(
            f"profile {profile.name}: rows under way need {total / MIB:.0f} MiB, the object store has {store / MIB:.0f} MiB:\n"
            + "\n".join(lines)
            + f"\n{change}, or raise store_mib ({profile.store_mib})"
        )


def check_shared_memory(profile: ProfileConfig) -> None:
    """The object store of a Ray that we start lies in /dev/shm; with too little there Ray falls back to the
    disk and crawls.

    Raises:
        PreflightError: with both sizes.
    """
    shared = Path("/dev/shm")
    if profile.store_mib is None or not shared.is_dir():
        return
    free = shutil.disk_usage(shared).free // MIB
    if free < profile.store_mib:
        raise PreflightError(
            f"profile {profile.name}: store_mib is {profile.store_mib} MiB, /dev/shm has {free} MiB free: lower store_mib, "
            "or give the container more (docker run --shm-size)"
        )


def check_writable(run: str, titles: Sequence[Title]) -> None:
    """Write and delete a small file in the run directory and in the folders of the outputs; of many folders,
    in some.

    Raises:
        PreflightError: naming the folder and the reason.
    """
    folders = sorted(
        {
            dub.output.rsplit("/", 1)[0]
            for title in titles
            for dub in title.dubs
            if dub.output and "/" in dub.output
        }
    )
    # A folder for each title would take minutes on an object store; what is wrong with one is mostly wrong
    # with its neighbours.
    for folder in dict.fromkeys([run, *folders[:: -(-len(folders) // FOLDERS) or 1]]):
        probe = join(folder, f".retalk-{uuid.uuid4().hex[:8]}")
        try:
            write_text(probe, "")
            remove(probe)
        except Exception as problem:
            # Names of files that are there for a moment say nothing.
            said = _MOMENTARY.sub(folder, refusal(problem))
            if isinstance(problem, (FileExistsError, NotADirectoryError)):
                said = "a file has the name of a folder"
            raise PreflightError(
                f"{folder}: cannot be written ({said}); choose another output folder"
            ) from problem


def with_missing_files(titles: Sequence[Title]) -> list[Title]:
    """Titles and dubs with an error where a file of this machine is missing, a folder or empty: known before
    anything starts.

    Files elsewhere are left to the planner, which asks for many at a time.
    """
    return [title if title.error else _with_missing_files(title) for title in titles]


def _with_missing_files(title: Title) -> Title:
    try:
        for url in (title.video, *(face for face in title.faces if is_picture(face))):
            _check_here(url)
    except ValueError as problem:
        return dataclasses.replace(title, error=str(problem))
    dubs = []
    for dub in title.dubs:
        try:
            if not dub.error:
                for speech in dub.speeches:
                    _check_here(speech)
                if wrong := output_problem(dub.output):
                    raise ValueError(f"{dub.output[:200]}: {wrong}")
            dubs.append(dub)
        except ValueError as problem:
            dubs.append(dataclasses.replace(dub, error=str(problem)))
    return dataclasses.replace(title, dubs=tuple(dubs))


def output_problem(output: str) -> str:
    """Say why no file of this machine can be written under a name; empty if one can, or for other storages."""
    if is_url(output):
        return ""
    path = Path(output)
    if len(os.fsencode(path.name)) > MAX_NAME_BYTES:
        return f"the name of the result is longer than {MAX_NAME_BYTES} bytes; choose a shorter one"
    return "is a folder; give the name of a file in it" if os.path.isdir(output) else ""


def _check_here(url: str) -> None:
    """Look for a file, if it is one of this machine.

    Raises:
        MediaError: it is missing, a folder or empty.
    """
    if not is_url(url):
        fingerprint(url)


def check_dub(
    video: str, speeches: Sequence[str], output: str, faces: Sequence[str] = ("largest",), mix: str = ""
) -> None:
    """Look for the files of `retalk dub`, wherever they are, and at their headers, before anything is started.

    Args:
        video, output: paths or URLs.
        speeches: one, or one of each speaker.
        faces: as many choices of faces; those that are pictures are files too.
        mix: what is heard in place of the speakers' sum; empty: none.

    Raises:
        UsageError: naming what is wrong with the video, a speech, the mix, the picture of a face or the output's
            name, or that the output is one of the inputs.
    """
    for face in faces:
        if wrong := face_problem(face):
            raise UsageError(f"face: {wrong}")
    alone = len(speeches) == 1
    sounds = [
        ("the speech" if alone else f"the stem of {face}", speech)
        for face, speech in zip(faces, speeches, strict=True)
    ] + ([("the mix", mix)] if mix else [])
    pictures = [("the picture of the face", face) for face in faces if is_picture(face)]
    named = [("the video", video), *sounds, *pictures]
    for what, url in named:
        if not url.strip():
            raise UsageError(f"{what} is missing: its path is empty")
        if wrong := name_problem(url):
            raise UsageError(f"{what}: {url[:80]!r} {wrong}; rename the file")
        try:
            fingerprint(url)
        except UsageError:
            raise
        except ValueError as problem:
            raise UsageError(f"{what}: {problem}{_below_here(url)}") from problem
    if wrong := name_problem(output):
        raise UsageError(f"-o {output[:80]!r} {wrong}; choose another name")
    if suffix(output) not in SUFFIXES:
        raise UsageError(f"-o {output}: the name of the result ends in {', '.join(SUFFIXES)}")
    if wrong := output_problem(output):
        raise UsageError(f"-o {output[:200]}: {wrong}")
    if overwritten := FileMap((url, what) for what, url in named).find(output):
        raise UsageError(f"-o {output}: is {overwritten} itself; choose another name")
    for what, url in sounds:
        _check_streams(video, what, url)


def _check_streams(video: str, what: str, speech: str) -> None:
    """Look into the headers: for a file that is no media, a video without pictures, a speech (or mix: ``what``) without sound.

    Raises:
        UsageError: saying so, and where it seems so that the two were swapped.
    """
    shows, speaks = _kinds("the video", video), _kinds(what, speech)
    if "video" not in shows:
        swapped = " (did you swap VIDEO and SPEECH?)" if "video" in speaks else ""
        raise UsageError(
            f"the video: {video}: has no video stream, it holds {', '.join(sorted(shows)) or 'nothing'}{swapped}"
        )
    if "audio" not in speaks:
        raise UsageError(
            f"{what}: {speech}: has no audio stream, it holds {', '.join(sorted(speaks)) or 'nothing'}; "
            "give any file with sound"
        )


def _kinds(what: str, url: str) -> set[str]:
    """Kinds of streams in a file, cover art not counted.

    Raises:
        UsageError: it cannot be opened.
    """
    # Imported here: FFmpeg is not needed where a path is wrong.
    from operators.media.container import COVER, open_input

    try:
        with open_input(url) as container:
            covers = {stream.index for stream in container.streams.video if stream.disposition & COVER}
            return {stream.type for stream in container.streams if stream.index not in covers}
    except MediaError as problem:
        raise UsageError(f"{what}: {problem}") from problem


def _below_here(url: str) -> str:
    """Return the places where a relative path was looked for."""
    return "" if is_url(url) or url.startswith("/") else f" (looked for in {Path.cwd()})"


def check_inputs(titles: Sequence[Title]) -> None:
    """Ask each storage for one of its inputs. A file that is not there is its title's failure; a run for
    which no storage answers at all would be nothing but failures.

    Raises:
        PreflightError: naming the storages and what they say.
    """
    stores: dict[str, str] = {}
    for title in titles:
        for url in (title.video, *(speech for dub in title.dubs for speech in dub.speeches)):
            if url and not title.error:
                stores.setdefault("/".join(url.split("/", 3)[:3]) if "://" in url else "", url)
    problems = {}
    for store, url in stores.items():
        try:
            fs, path = filesystem(url)
            fs.exists(path) if store == "" else fs.info(path)
        except FileNotFoundError as problem:
            if (silent := unanswered(problem)) is None:
                return
            problems[store] = f"{store}: cannot be reached ({silent})"
        except UnsupportedURLError as problem:
            problems[store] = str(problem)
        except Exception as problem:  # credentials, networks, timeouts: each library has its own
            problems[store] = f"{store or url}: cannot be reached ({type(problem).__name__}: {problem})"
        else:
            return
    if problems:
        raise PreflightError(
            "no storage of the inputs answers; check credentials and network:\n  "
            + "\n  ".join(problems.values())
        )


def check_shared_urls(run: str, titles: Sequence[Title]) -> None:
    """Workers are processes of their own: a ``memory://`` URL means another memory there.

    Raises:
        PreflightError: naming the URL.
    """
    urls: list[Any] = [
        run,
        *(u for t in titles for u in (t.video, *(x for d in t.dubs for x in (*d.speeches, d.output)))),
    ]
    for url in urls:
        if any(part.startswith("memory://") for part in url.split("::")):
            raise PreflightError(
                f"{url}: memory:// is seen by one process only; use --runner local, or another storage"
            )
