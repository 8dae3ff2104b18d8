"""Common to planning all titles of a run."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.engine.engine import Engine
from pipelines.engine.specs import PlanSpec, Provenance
from pipelines.state.content_keys import provenance_of
from pipelines.state.run_directory import RunDirectory


@dataclass(frozen=True)
class PlanContext:
    """The planner's specification with what is made of it.

    Attributes:
        spec: engine, run directory, the profile's segment length.
        engine: its stages.
        provenance: part of all content keys.
        run: the run directory.
    """

    spec: PlanSpec
    engine: Engine
    provenance: Provenance
    run: RunDirectory

    @classmethod
    def of(cls, spec: PlanSpec) -> PlanContext:
        """Import the engine's stages, and find the provenance where the specification has none."""
        engine = Engine(spec.engine)
        return cls(spec, engine, spec.provenance or provenance_of(engine), RunDirectory(spec.run))
