"""Choice of the runner: Ray, or this process where starting Ray would take longer than it saves.

The rule of ``--runner auto``. Ray, if this process is to join one (RAY_ADDRESS), if a pool of the profile
books GPUs, or if more than `MOST_TITLES` titles have work left. Otherwise this process, if the work left is
done here before Ray would have it: output seconds times CPU seconds per second, over the cores that this
process keeps busy, against `RAY_START` seconds and the same work over all cores. Nothing left to do is no
work. Files whose length cannot be told count as none: they fail, wherever they are planned.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from av.container import InputContainer

from operators.faces.mesh_backend import FILES as MESH_FILES
from operators.media.container import find_video, is_picture, open_input
from operators.media.limits import MediaLimits
from pipelines.engine.engine import Engine
from pipelines.engine.model_files import wanted_files
from pipelines.engine.profile_parts import PoolConfig
from pipelines.engine.specs import PlanSpec
from pipelines.execution.ray_session import machine_cpus
from pipelines.manifest.titles import Dub, Runner, Title
from pipelines.planning.planner import Planner
from pipelines.state.coordinator import Coordinator

#: Seconds from the start of Ray on this machine until its workers are up.
RAY_START = 20.0
#: CPU seconds for a second of output at 720p: of an engine without networks, and of one with them.
PLAIN_COST, NETWORK_COST = 0.8, 60.0
#: Cores that this process keeps busy, with and without networks: without, decoding and encoding run beside the
#: rest in threads of their own.
PLAIN_CORES, NETWORK_CORES = 1.4, 1.0
MEGAPIXELS_720P = 1280 * 720 / 1e6
#: Titles with work left that are looked into, at most, and seconds for all looking.
MOST_TITLES, PATIENCE = 16, 5.0


@dataclass(frozen=True)
class Choice:
    """The chosen runner, ``ray`` or ``local``, and the reason, for the user."""

    runner: Literal["ray", "local"]
    reason: str


def choose_runner(
    wanted: Runner, engine: Engine, pools: Sequence[PoolConfig], plan: PlanSpec, titles: Sequence[Title]
) -> Choice:
    """Decide where a run's work is done; touches no media but the headers of a few files, and imports nothing
    heavy.

    Args:
        wanted: the user's choice.
        engine: its networks decide the cost.
        pools: pools of the engine's stages.
        plan: of the run's planner.
        titles: titles to work on.
    """
    if wanted != "auto":
        return Choice(wanted, "as asked for")
    if os.environ.get("RAY_ADDRESS") or ("ray" in sys.modules and sys.modules["ray"].is_initialized()):
        return Choice("ray", "there is a Ray to join")
    if any(pool.num_gpus for pool in pools):
        return Choice("ray", "the profile books GPUs")
    planner, until = Planner(plan, Coordinator()), time.monotonic() + PATIENCE
    each, cores = (NETWORK_COST, NETWORK_CORES) if _has_networks(engine) else (PLAIN_COST, PLAIN_CORES)
    affordable = RAY_START / (1 / cores - 1 / machine_cpus())
    seconds, busy = 0.0, 0
    for title in titles:
        if time.monotonic() > until:
            return Choice("ray", f"finding out how much is left takes more than {PATIENCE:g} s")
        left = planner.left(title)
        if not left:
            continue
        busy += 1
        if busy > MOST_TITLES:
            return Choice("ray", f"more than {MOST_TITLES} titles have work left")
        seconds += sum(_cost(title, dub, plan.limits) for dub in left) * each
        if seconds > affordable:
            return Choice("ray", f"the work left takes more than {affordable:.0f} CPU seconds")
    if not busy:
        return Choice("local", "nothing is left to do")
    return Choice(
        "local", f"the work left takes about {seconds:.0f} CPU seconds, and Ray pays above {affordable:.0f}"
    )


def _has_networks(engine: Engine) -> bool:
    """True if an engine runs networks that decide its cost: the face mesh takes a few milliseconds a frame."""
    return any(set(names).difference(MESH_FILES) for names in wanted_files(engine).values())


def _cost(title: Title, dub: Dub, limits: MediaLimits) -> float:
    """Output seconds of a dub as of 720p, from the headers of its files; 0 for one that cannot be opened: it
    will fail.
    """
    try:
        limits.check_file(title.video)
        with open_input(title.video) as container:
            stream = find_video(container, title.video)
            size = stream.width * stream.height / 1e6
            length = _seconds(container)
        if dub.length in ("freeze", "loop", "pingpong") or length < 0.2:
            with open_input(dub.speech) as container:
                length = max(length, _seconds(container))
    except ValueError:
        return 0.0
    return length * max(1.0, size / MEGAPIXELS_720P) * max(1, len(dub.speakers))


def _seconds(container: InputContainer) -> float:
    """Length of a file as its header says. One that does not say counts as an hour, a picture as nothing."""
    if container.duration:
        return float(container.duration / 1e6)
    return 0.0 if is_picture(container) else 3600.0
