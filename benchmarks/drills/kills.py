"""Drills in which processes die: workers, the driver, whole nodes; rows that kill every worker that touches
them; a hang.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.drills import nodes, processes
from benchmarks.drills.catalogue import Setting, configure, footage, setting
from benchmarks.drills.check import Calm, Flight, calm_of, check, committed, look
from pipelines.errors import DONE, FAILED
from tests.drills.faulty import VARIABLE, Faults


def calm_run(folder: Path, titles: int) -> tuple[Setting, Calm]:
    """A run without Ray that nothing disturbs. One of the same folder that had more titles serves too: it
    began with the same ones.
    """
    inputs, kept = folder / "inputs", folder / "calm" / "titles"
    inputs.mkdir(parents=True, exist_ok=True)
    if kept.exists() and int(kept.read_text()) >= titles:
        at = setting(folder / "calm", inputs, int(kept.read_text()))
    else:
        at = setting(folder / "calm", footage(inputs), titles)
        running = processes.start(at, configure(at), None, "--runner", "local")
        assert running.wait(600) == DONE, processes.said(at)
        check(at, None, {})
        kept.write_text(str(titles))
    return setting(folder / "calm", inputs, titles), calm_of(at)


def kill_workers(
    folder: Path,
    titles: int = 50,
    kills: int = 20,
    seed: int = 1,
    pause: float = 0.05,
    kinds: Sequence[str] = ("",),
) -> dict[str, Any]:
    """SIGKILL of random workers of one run: planners, stages, assemblers, the coordinator. `kinds`: by turns,
    a part of the victim's name.
    """
    _, calm = calm_run(folder, titles)
    at, flight, dice = setting(folder / "workers", folder / "inputs", titles), Flight(), random.Random(seed)
    began = time.monotonic()
    running = processes.start(at, configure(at, pause))
    victims: list[str] = []
    while running.poll() is None and len(victims) < kills:
        time.sleep(dice.uniform(0.2, 1.0))
        # Not before work has begun: a worker that never started anything is no drill.
        alive = processes.workers(running.pid) if at.log.exists() else {}
        wanted = kinds[len(victims) % len(kinds)]
        alive = {pid: name for pid, name in alive.items() if wanted in name}
        if not alive:
            continue
        victim = dice.choice(sorted(alive))
        before = committed(at, calm)
        if processes.kill(victim):
            look(at, calm, flight, before)
            victims.append(alive[victim].removeprefix("ray::").split(".")[0].split("(")[-1].rstrip(")"))
    code = running.wait(1200)
    assert code == DONE, processes.said(at)
    assert len(victims) == kills, f"the run ended after {len(victims)} kills: make it longer"
    counts = check(at, calm, {}, flight)
    return {
        "kills": len(victims),
        "under way": flight.under_way["write"],
        **counts,
        "seconds": round(time.monotonic() - began),
    }


def kill_board_and_planner(folder: Path, titles: int = 30) -> dict[str, Any]:
    """SIGKILL of the coordinator, which keeps the decisions on each title, and then of the planner, which has to
    decide the same again; three times.
    """
    return kill_workers(folder, titles, 6, kinds=("Coordinator", "PlanActor"))


def kill_driver(
    folder: Path, titles: int = 50, kills: int = 8, seed: int = 1, pause: float = 0.05
) -> dict[str, Any]:
    """SIGKILL of the driver at random moments, and the same command again after each, until it is done."""
    _, calm = calm_run(folder, titles)
    at, flight, dice = setting(folder / "driver", folder / "inputs", titles), Flight(), random.Random(seed)
    agents: list[int] = []
    began, runs = time.monotonic(), 0
    files = configure(at, pause)
    while True:
        runs += 1
        assert runs < 5 * kills + 5, "it does not get on"
        running, lines = processes.start(at, files), len(at.written())
        if len(flight.lines) < kills:
            # Anywhere from the lock to well into the work; every fourth time while it is still starting.
            if dice.random() < 0.75:
                while running.poll() is None and len(at.written()) == lines:
                    time.sleep(0.05)
                time.sleep(dice.uniform(0.0, 3.0))
            else:
                time.sleep(dice.uniform(0.5, 8.0))
            before, below = committed(at, calm), processes.descendants(running.pid)
            if running.poll() is None:
                processes.kill(running.pid)
                running.wait()
                # Ray's agents look for their raylet now and then: they are waited for at the end.
                agents += [pid for pid in below if processes.command_of(pid).endswith("Agent")]
                left = processes.wait_gone([pid for pid in below if pid not in agents])
                assert not left, (
                    f"processes of the dead run live on: {[processes.command_of(pid) for pid in left]}"
                )
                look(at, calm, flight, before)
                continue
        code = running.wait(1200)
        assert code == DONE, processes.said(at)
        break
    assert not processes.wait_gone(agents), "Ray's agents of the dead runs live on"
    counts = check(at, calm, {}, flight)
    return {
        "kills": len(flight.lines),
        "under way": flight.under_way["write"],
        **counts,
        "seconds": round(time.monotonic() - began),
    }


def killer_rows(folder: Path, titles: int = 20) -> dict[str, Any]:
    """An output segment that always kills its worker, a video that kills its planner, a speech that kills
    the worker that assembles the output.
    """
    inputs = folder / "inputs"
    _, calm = calm_run(folder, titles)
    at = setting(folder / "killers", inputs, titles, "faulty://")
    (inputs / "deadly.mp4").write_bytes((inputs / "0.mp4").read_bytes())
    at.rows[1]["video"] = f"faulty://{inputs}/deadly.mp4"
    began = time.monotonic()
    trouble = {"kill": "t003", "segment": 1, "dub": "deu"}
    running = processes.start(
        at, configure(at, trouble=trouble), {VARIABLE: Faults(kill="deadly").variable()}
    )
    code = running.wait(1200)
    assert code == FAILED, processes.said(at)
    failed = {
        ("t003", "deu"): "the worker died 3 times in a row on this segment",
        ("t001", "dub"): "killed its worker 3 times in a row",
    }
    counts = check(at, calm, failed)
    return {"kills": 6, **counts, "seconds": round(time.monotonic() - began)}


def hang(folder: Path, titles: int = 10, watchdog: float = 25.0) -> dict[str, Any]:
    """A title's segments never end: the watchdog ends the run; when the cause is gone the rest is done."""
    _, calm = calm_run(folder, titles)
    at, flight, began = setting(folder / "hang", folder / "inputs", titles), Flight(), time.monotonic()
    files = configure(at, watchdog=watchdog, write={"hang": "t002", "until": str(at.folder / "gone")})
    running = processes.start(at, files)
    code = running.wait(600)
    assert code == FAILED, processes.said(at)
    assert f"no progress for {watchdog:g} s, watchdog_seconds of profile drill" in processes.said(at)
    # The work in progress stands still, so it is known after the end as well.
    look(at, calm, flight, committed(at, calm))
    assert 0 < len(list(at.out.iterdir())) < len(at.outputs()), "some titles are done, not all"
    (at.folder / "gone").touch()
    assert processes.start(at, files).wait(600) == DONE, processes.said(at)
    counts = check(at, calm, {}, flight)
    return {
        "kills": 0,
        "under way": flight.under_way["write"],
        **counts,
        "seconds": round(time.monotonic() - began),
    }


def kill_nodes(
    folder: Path, titles: int = 40, kills: int = 3, seed: int = 1, pause: float = 0.1
) -> dict[str, Any]:
    """SIGKILL of a node's raylet, which takes its workers and its object store with it; a new node joins each
    time.
    """
    _, calm = calm_run(folder, titles)
    at, flight, dice = setting(folder / "nodes", folder / "inputs", titles), Flight(), random.Random(seed)
    began = time.monotonic()
    with nodes.cluster([{"num_cpus": 1}, {"num_cpus": 1}, {"num_cpus": 1}]) as made:
        running = processes.start(at, configure(at, pause), {"RAY_ADDRESS": made.address})
        killed = 0
        while running.poll() is None and killed < kills:
            while running.poll() is None and not at.log.exists():
                time.sleep(0.1)
            time.sleep(dice.uniform(1.0, 4.0))
            # One that is at work: there is nothing to lose on an idle one.
            busy = [node for node in made.worker_nodes if processes.workers(nodes.raylet(node))]
            if not busy:
                continue
            victim, before = dice.choice(busy), committed(at, calm)
            processes.kill(nodes.raylet(victim))
            look(at, calm, flight, before)
            made.remove_node(victim, allow_graceful=False)
            made.add_node(num_cpus=1, object_store_memory=nodes.STORE)
            killed += 1
        code = running.wait(1200)
    assert code == DONE, processes.said(at)
    assert killed == kills, f"the run ended after {killed} kills: make it longer"
    counts = check(at, calm, {}, flight)
    return {
        "kills": killed,
        "under way": flight.under_way["write"],
        **counts,
        "seconds": round(time.monotonic() - began),
    }
