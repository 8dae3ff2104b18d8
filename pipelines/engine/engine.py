"""An engine made of its configuration: stage classes, checked options, and which columns live between which
stages.

Built anew in every process from `EngineConfig` (plain data), so that no stage is ever pickled.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import pyarrow as pa

from operators.columns import tensor_spec
from operators.receipt import RECEIPT
from operators.segment import DUB, PLAN
from operators.stage import Stage
from pipelines.engine.config import EngineConfig
from pipelines.engine.options import parse_options
from pipelines.errors import ConfigError
from retalk_models.installation import explain_import_error
from retalk_models.tflite.runtime import RuntimeName

#: Segments of the profile's length that short ones may have the frames of together where they share micro-batches
#: (docs/benchmarks.md#rows-that-share-micro-batches).
SHARED_SEGMENTS = 2
#: The adapter's own column: JSON with each stage's seconds, and for an error the stage and the traceback.
META = pa.field("meta", pa.string(), nullable=False)
#: Columns of a row behind the last stage.
FINAL = pa.schema(
    [
        *(PLAN.field(name) for name in ("kind", "segment_id", "title", "error", "segment")),
        *(DUB.field(name) for name in ("dub", "output_segment", "key")),
        *RECEIPT,
        META,
    ]
)


@dataclass(frozen=True)
class StageSpec:
    """A stage with the engine's options, not set up, and the place of its class: `reads` and
    `writes` may follow options.
    """

    where: str
    stage: Stage

    @property
    def name(self) -> str:
        return self.stage.name

    @property
    def options(self) -> Any:
        return self.stage.options


def _import_stage(where: str, engine: str) -> type[Stage]:
    module, _, name = where.partition(":")
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ImportError as error:
        reason = explain_import_error(error) or f"stage {where} cannot be imported: {error}"
        raise ConfigError(f"engine {engine}: {reason}") from error
    except Exception as error:  # a package of somebody else's may raise anything
        reason = f"stage {where} cannot be imported: {type(error).__name__}: {error}"
        raise ConfigError(f"engine {engine}: {reason}") from error
    if not (isinstance(found, type) and issubclass(found, Stage)):
        raise ConfigError(
            f"engine {engine}: {where} is not a stage: module {module} has no Stage class {name}"
        )
    return found


class Engine:
    """The stages of an engine in order, with the engine-wide options of each.

    Args:
        config: the stages and their options.

    Raises:
        ConfigError: a stage cannot be imported, an option is wrong, or columns do not fit (`lint`).
    """

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self.stages: list[StageSpec] = []
        for entry in config.stages:
            cls = _import_stage(entry.stage, config.name)
            values = parse_options(
                cls.Options, entry.options, f"engine {config.name}: stage {cls.name}: options"
            )
            self.stages.append(StageSpec(entry.stage, cls(cls.Options(**values))))
        lint(self)
        #: What its users should know: metrics that cannot be used.
        self.notes: list[str] = []

    @property
    def name(self) -> str:
        return self.config.name

    @cached_property
    def names(self) -> list[str]:
        """The stages' names in order."""
        return [stage.name for stage in self.stages]

    @cached_property
    def like(self) -> dict[str, str]:
        """For stages that profiles need not know: the stage that each is placed like."""
        return {spec.name: entry.like for spec, entry in zip(self.stages, self.config.stages) if entry.like}

    @cached_property
    def fan_out(self) -> int:
        """Index of the first stage that runs once per dub."""
        return next(i for i, stage in enumerate(self.stages) if stage.stage.per == "dub")

    def segments_together(self, names: Sequence[str], device: str) -> int:
        """Segments of the profile's length whose frames and bytes a block in front of a group of stages may have, and
        whose rows it works on at the same time: 1, or more where all its stages share micro-batches on the device.
        """
        stages = {spec.name: spec.stage for spec in self.stages}
        return SHARED_SEGMENTS if all(stages[name].shares_batches(device) for name in names) else 1

    def check_overrides(
        self, overrides: dict[str, dict[str, Any]], where: str, per_dub: bool = False
    ) -> dict[str, dict[str, Any]]:
        """Hold a title's overrides ``{stage: {option: value}}`` against the stages' options; values come back
        in their types.

        Raises:
            ConfigError: unknown stage or option, wrong value, or (``per_dub``) a stage that runs before the
                dubs part.
        """
        checked = {}
        for name, values in overrides.items():
            stage = next((stage for stage in self.stages if stage.name == name), None)
            if stage is None:
                raise ConfigError(
                    f"{where}: {name}: engine {self.name} has no such stage; it has {', '.join(self.names)}"
                )
            if per_dub and stage.stage.per != "dub":
                raise ConfigError(
                    f"{where}: {name}: runs once for all dubs of a title: set it beside id and video, not in a dub"
                )
            checked[name] = parse_options(stage.stage.Options, values, f"{where}: {name}")
        return checked

    def halo(self, overrides: dict[str, dict[str, Any]]) -> tuple[int, int]:
        """Frames needed before and after a segment's core: the sum of the stages' halos, since each stage reads
        the results of the one before.
        """
        before = after = 0
        for spec in self.stages:
            options = type(spec.options)(**{**vars(spec.options), **overrides.get(spec.name, {})})
            left, right = spec.stage.halo(options)
            before, after = before + left, after + right
        return before, after

    def face_finder(self, overrides: dict[str, dict[str, Any]]) -> Literal["dlib", "mesh"]:
        """Backend with which the planner finds a title's faces, given the title's overrides: the mesh where a stage follows them
        with it, dlib for all others, which are no quicker at that or see no more.
        """
        return "mesh" if "mesh" in self._chosen("backend", overrides) else "dlib"

    def mesh_runtime(self, overrides: dict[str, dict[str, Any]]) -> RuntimeName:
        """Runtime of the networks with which the planner finds a title's faces, given the title's overrides: that of the stage that
        follows them with the mesh.
        """
        for backend, runtime in zip(
            self._chosen("backend", overrides), self._chosen("mesh_runtime", overrides), strict=True
        ):
            if backend == "mesh":
                found: RuntimeName = runtime or "auto"
                return found
        return "auto"

    def recognises(self, overrides: dict[str, dict[str, Any]]) -> bool:
        """True if the planner may recognise people, given a title's overrides: no stage is told never to."""
        return "never" not in self._chosen("recognise", overrides)

    def _chosen(self, option: str, overrides: dict[str, dict[str, Any]]) -> list[Any]:
        """Values of an option, stage by stage; None for stages that lack it."""
        return [
            overrides.get(spec.name, {}).get(option, getattr(spec.options, option, None))
            for spec in self.stages
        ]

    @cached_property
    def edges(self) -> list[pa.Schema]:
        """Columns of a row before each stage and, last, behind all: what a stage further down still reads,
        and the plan's.

        The planner's rows come first, so the fan-out lies in front of an edge except for the first one.
        """
        schemas = []
        for position in range(len(self.stages) + 1):
            if position == len(self.stages):
                schemas.append(FINAL)
                continue
            needed = {name for spec in self.stages[position:] for name in spec.stage.reads.names}
            fields = (
                list(PLAN)
                if position < max(1, self.fan_out)
                else [*(f for f in PLAN if f.name != "dubs"), *DUB]
            )
            fields.append(META)
            present = {field.name for field in fields}
            for spec in self.stages[:position]:
                fields += [field for field in spec.stage.writes if field.name in needed - present]
            schemas.append(pa.schema(fields))
        return schemas


def lint(engine: Engine) -> None:
    """Check that each column that a stage reads is in the plan or was written upstream with the same type, and
    that the last stage writes a receipt.

    Raises:
        ConfigError: naming engine, stage and column.
    """
    where = f"engine {engine.name}"
    if twice := sorted({name for name in engine.names if engine.names.count(name) > 1}):
        raise ConfigError(f"{where}: stage {twice[0]!r} is listed twice")
    per = [spec.stage.per for spec in engine.stages]
    if "dub" not in per or "segment" in per[per.index("dub") :]:
        order = ", ".join(f"{spec.name} (per {spec.stage.per})" for spec in engine.stages)
        raise ConfigError(f"{where}: stages per segment come first, then at least one per dub; got {order}")
    known: dict[str, tuple[str, pa.Field]] = {field.name: ("plan", field) for field in PLAN}
    for position, spec in enumerate(engine.stages):
        if position == engine.fan_out:
            known.pop("dubs")
            known.update({field.name: ("fan-out", field) for field in DUB})
        for field in spec.stage.reads:
            if field.name not in known:
                raise ConfigError(
                    f"{where}: stage {spec.name!r} reads column {field.name!r}, which nothing upstream writes"
                )
            writer, written = known[field.name]
            if (written.type, tensor_spec(written)) != (field.type, tensor_spec(field)):
                raise ConfigError(
                    f"{where}: stage {spec.name!r} reads column {field.name!r} as another type than {writer!r} writes"
                )
        for field in spec.stage.writes:
            if field.name in known and field.name not in RECEIPT.names:
                raise ConfigError(
                    f"{where}: stage {spec.name!r} writes column {field.name!r}, which {known[field.name][0]!r} wrote already"
                )
            if (tensor_spec(field) or ((), ("",)))[1][0] == "N" and spec.stage.per != "dub":
                raise ConfigError(
                    f"{where}: stage {spec.name!r} writes column {field.name!r} over N, but runs before the dubs part"
                )
            known[field.name] = (spec.name, field)
    last = engine.stages[-1]
    for field in RECEIPT:
        if (
            field.name not in last.stage.writes.names
            or last.stage.writes.field(field.name).type != field.type
        ):
            raise ConfigError(
                f"{where}: the last stage {last.name!r} must write {', '.join(RECEIPT.names)}: the file that it committed"
            )


def _describe(field: pa.Field) -> str:
    spec = tensor_spec(field)
    return (
        f"{field.name} {field.type}"
        if spec is None
        else f"{field.name} {spec[0]}[{','.join(map(str, spec[1]))}]"
    )


def stage_table(engine: Engine) -> list[list[str]]:
    """Return the engine's stages as rows of a table, its heading first.

    A row holds the columns that a stage reads beside the plan and writes, its halo, and the columns that are
    carried on behind it.
    """
    rows = [["stage", "per", "reads", "writes", "halo", "carried on", "class"]]
    for position, spec in enumerate(engine.stages):
        left, right = spec.stage.halo(spec.options)
        after = engine.edges[position + 1]
        carried = [name for name in after.names if name not in {*PLAN.names, *DUB.names, META.name}]
        rows.append(
            [
                spec.name,
                spec.stage.per,
                ", ".join(spec.stage.reads.names) or "(plan)",
                ", ".join(_describe(field) for field in spec.stage.writes),
                f"−{left} +{right}",
                ", ".join(carried) or "–",
                f"`{spec.where}`",
            ]
        )
    return rows
