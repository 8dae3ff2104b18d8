"""A run as decided before anything starts: titles, engine, placement, folders. Both runners are built from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

from pipelines.engine.config import ProfileConfig
from pipelines.engine.engine import Engine
from pipelines.engine.profile_parts import PoolConfig
from pipelines.engine.specs import CacheSpec, GroupSpec, PlanSpec, Provenance
from pipelines.execution.assembly import AssemblySpec
from pipelines.execution.collector import Collector
from pipelines.execution.plan_table import earlier_plan
from pipelines.manifest.titles import LowQuality, Title, overrides_of
from pipelines.monitoring.progress_text import StageWords, stage_words
from pipelines.monitoring.run_log import RunLog
from pipelines.planning.plans import DubPlan
from pipelines.provenance.credentials import Signing
from pipelines.state.analysis_cache import cache_room
from pipelines.state.content_keys import provenance_of
from pipelines.state.run_directory import Record, RunDirectory

#: Groups of stages in order, each with its pool.
Placement = list[tuple[PoolConfig, GroupSpec]]


def groups_of(
    engine: Engine,
    profile: ProfileConfig,
    run_dir: str,
    isolated: bool,
    cache: str = "",
    provenance: Provenance | None = None,
    mark_secret: bytes = b"",
) -> Placement:
    """Return the engine's groups of stages as the profile places them.

    Args:
        engine: its stages.
        profile: its pools.
        run_dir: URL of the run directory.
        isolated: each worker has a process of its own.
        cache: folder of the analysis cache, "" for none.
        provenance: part of the keys of what is in that folder; None: as it is found here.
        mark_secret: key of the watermark, empty for none.
    """
    placed = profile.place(engine.name, engine.names, engine.like)
    kept = None
    if cache:
        found = provenance or provenance_of(engine, profile)
        kept = CacheSpec(cache, found, profile.cache.bytes_per_frame)
    together = [engine.segments_together(stages, pool.device) for pool, stages in placed]
    return [
        (
            pool,
            GroupSpec(
                *(engine.config, tuple(stages), run_dir, pool.device, isolated, kept, mark_secret),
                block_segments=behind,
            ),
        )
        for (pool, stages), behind in zip(placed, [*together[1:], 1], strict=True)
    ]


def cache_folder(cache: str | bool | None, profile: ProfileConfig, run_dir: str) -> str:
    """Return the folder of the analysis cache, "" for none.

    Args:
        cache: the user's choice: a folder, True for the run directory, False for none, None for the profile's.
        profile: its default.
        run_dir: URL of the run directory.
    """
    chosen = profile.cache.on if cache is None else cache
    if isinstance(chosen, str):
        return RunDirectory(chosen).url
    return run_dir if chosen else ""


@dataclass(frozen=True)
class RunSpec:
    """Everything that is decided about a run before it starts.

    Attributes:
        directory: run directory.
        engine: stages.
        profile: pools, limits, watchdog.
        titles: titles to work on.
        others: ids of titles of the manifest that this run leaves alone.
        cache: folder of the analysis cache, "" for none.
        keep_segments: encoded segments stay after assembly.
        told: called with the record of each dub that has ended, from any thread of this process.
        on_low_quality: handling of dubs whose measures ask for a look.
        signing: what outputs are signed with; None: they are not.
        mark_secret: key of the watermark, empty for none.
    """

    directory: RunDirectory
    engine: Engine
    profile: ProfileConfig
    titles: list[Title]
    others: frozenset[str]
    cache: str
    keep_segments: bool
    told: Callable[[Record], None] | None = None
    on_low_quality: LowQuality = "keep"
    signing: Signing | None = None
    mark_secret: bytes = field(default=b"", repr=False)

    @cached_property
    def provenance(self) -> Provenance:
        """Part of all content keys. Model files that are new to this machine are hashed."""
        return provenance_of(self.engine, self.profile, overrides_of(self.titles))

    @property
    def plan(self) -> PlanSpec:
        """Specification of the planners."""
        limits = self.profile.limits.media()
        return PlanSpec(
            self.engine.config,
            self.directory.url,
            self.profile.segment_frames,
            cache=self.cache,
            limits=limits,
            provenance=self.provenance,
        )

    @property
    def cache_bytes(self) -> float:
        """Bytes that may still be added to the analysis cache."""
        return cache_room(self.cache, self.profile.cache.max_gib) if self.cache else 0

    @property
    def stage_words(self) -> list[StageWords]:
        """Wording of each stage for the progress display."""
        return stage_words(spec.stage for spec in self.engine.stages)

    def placement(self, isolated: bool) -> Placement:
        """Return the groups of stages with their pools; `isolated`: each worker has a process of its own."""
        return groups_of(
            *(
                self.engine,
                self.profile,
                self.directory.url,
                isolated,
                self.cache,
                self.provenance,
                self.mark_secret,
            )
        )

    @property
    def assembly(self) -> AssemblySpec:
        """Specification of the assembly."""
        metrics = tuple(self.engine.config.metrics or ())
        return AssemblySpec(
            *(self.directory.url, self.engine.name, metrics, self.keep_segments),
            review=self.profile.review,
            on_low_quality=self.on_low_quality,
            signing=self.signing,
            mark_secret=self.mark_secret,
        )

    def collector(self, finish: Callable[[DubPlan], None]) -> Collector:
        """Make the run's collector; `finish` takes complete dubs."""
        plan = earlier_plan(self.directory, self.others) if self.others else []
        return Collector(self.directory, self.engine.name, self.titles, finish, plan, self.told)

    def log(self, placed: Placement, cpus: int) -> RunLog:
        """Make the run's log; `cpus`: of the machine or cluster, which pools grow with."""
        pools = {
            stage: (pool.name, pool.num_cpus, pool.num_gpus, pool.bounds(cpus)[1])
            for pool, spec in placed
            for stage in spec.stages
        }
        return RunLog(self.directory.url, self.engine.name, self.profile, pools)
