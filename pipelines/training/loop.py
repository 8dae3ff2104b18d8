"""The training loop of one worker. Where it is killed and started again, it goes on from its last checkpoint with the same weights:
data hangs on seed and step alone, and nothing else is drawn at random.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from operators.storage.files import join
from pipelines.errors import UsageError
from pipelines.monitoring.formatting import count
from pipelines.training.agreement import anywhere, first_says, means, place, wait
from pipelines.training.batches import Items, batches
from pipelines.training.checkpoints import Checkpoints
from pipelines.training.config import TrainingConfig, differences
from pipelines.training.evaluate import measured, write_sheet
from pipelines.training.frozen import Sources, assemble
from pipelines.training.log import Log, Pace
from retalk_models.training.averages import WeightAverage
from retalk_models.training.steps import Networks, Step, training_step

#: Version of the state in a checkpoint.
STATE = 1


class TrainingError(Exception):
    """A training cannot go on; the message says why and what to do."""


class _Stepped(nn.Module):
    """The trained networks as one module whose call is a training step: the form that `DistributedDataParallel` takes."""

    def __init__(self, networks: Networks, config: TrainingConfig) -> None:
        super().__init__()
        self.trained = networks.trained()
        self._about = (networks, config)  # in a tuple: the frozen networks are no sub-modules
        self.last: Step | None = None

    def forward(self, batch: dict[str, Tensor], step: int, sync_on: bool) -> Tensor:
        networks, config = self._about
        self.last = training_step(config.kind, networks, batch, config.loss_weights, step, sync_on=sync_on)
        return self.last.total


def optimisers(config: TrainingConfig, trained: nn.ModuleDict) -> dict[str, torch.optim.Optimizer]:
    """Return an optimiser for each network that is trained."""
    found: dict[str, torch.optim.Optimizer] = {}
    for name, network in trained.items():
        parameters = [p for p in network.parameters() if p.requires_grad]
        rate = config.rate.rate if name == "generator" else config.critic_rate
        found[name] = torch.optim.Adam(parameters, lr=rate, betas=config.betas, eps=config.epsilon)
    return found


class Trainer:
    """One worker of a training.

    Args:
        config: settings.
        sources: files beside the data.
        data: URL of the prepared data set.
        run: URL of the folder of checkpoints, log and samples.
        device: "cpu" or "cuda[:n]".
        tell: called with lines for the user.
    """

    def __init__(
        self,
        config: TrainingConfig,
        sources: Sources,
        data: str,
        run: str,
        device: str = "cpu",
        tell: Callable[[str], None] = print,
    ) -> None:
        self.config, self.data, self.run_url, self.device, self.tell = config, data, run, device, tell
        self.rank, self.world = place()
        torch.manual_seed(config.seed)
        self.networks = assemble(config, sources)
        self.networks.trained().to(device)
        for network in self.networks.frozen():
            network.to(device)
        self.items = Items(data, "train", config)
        self._clips = self.items.fingerprint()
        self.checkpoints = Checkpoints(run, config.keep)
        self.average = WeightAverage(self.networks.generator, config.average)
        self.step = self.bad = self.skipped = self.stale = 0
        self.best = float("inf")
        self.sync_on = getattr(config.loss_weights, "sync_below", 0.0) == float("inf")
        self.stepped = _Stepped(self.networks, config)
        self.optimisers = optimisers(config, self.stepped.trained)
        self.log = Log(run, self.rank == 0)
        about = {"sources": dataclasses.asdict(sources), "workers": self.world}
        self._about = json.loads(json.dumps({**config.model_dump(mode="json"), **about}))
        self._resume()
        self.module: nn.Module = self.stepped
        if self.world > 1:
            self.module = DistributedDataParallel(
                self.stepped,
                device_ids=[torch.device(device)] if device.startswith("cuda") else None,
                find_unused_parameters=self.step < getattr(config.loss_weights, "warp_steps", 0),
            )

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        return {
            "format": STATE,
            "config": self._about,
            "clips": self._clips,
            "step": self.step,
            "networks": self.stepped.trained.state_dict(),
            "average": {"state": self.average.state, "steps": self.average.steps},
            "optimisers": {name: one.state_dict() for name, one in self.optimisers.items()},
            "counts": {"bad": self.bad, "skipped": self.skipped, "stale": self.stale},
            "best": self.best,
            "sync_on": self.sync_on,
            "log": self.log.rows,
        }

    def _resume(self) -> None:
        """Take up the newest checkpoint, if there is one."""
        if self.rank == 0:
            self.checkpoints.sweep()
        found = self.checkpoints.latest()
        if found is None:
            return
        step, state, notes = found
        for note in notes:
            self._say(note)
        if state.get("format") != STATE:
            raise UsageError(
                f"{self.checkpoints.url(step)}: of another version of retalk; begin in another folder"
            )
        if different := differences(state["config"], self._about):
            raise UsageError(
                f"{self.run_url}: holds a training with other settings (different: {', '.join(different)}); "
                "give the same ones to go on, or another folder"
            )
        if state.get("clips", self._clips) != self._clips:
            self._say(f"{self.data}: holds other clips than when this training was interrupted")
        self.stepped.trained.load_state_dict(state["networks"])
        for key, value in state["average"]["state"].items():
            self.average.state[key].copy_(value)
        self.average.steps = state["average"]["steps"]
        for name, one in self.optimisers.items():
            one.load_state_dict(state["optimisers"][name])
        self.step, self.best, self.sync_on = state["step"], state["best"], state["sync_on"]
        self.bad, self.skipped, self.stale = (state["counts"][k] for k in ("bad", "skipped", "stale"))
        self.log.take(state["log"])
        self._say(f"goes on from step {self.step}")

    def _say(self, text: str) -> None:
        if self.rank == 0:
            self.tell(text)

    def train(self) -> dict[str, Any]:
        """Train to the end; returns the last measurements.

        Raises:
            TrainingError: too many steps in a row were not finite.
        """
        config = self.config
        stream = batches(self.items, config, self.step, self.rank, self.world)
        saved, pace = time.monotonic(), Pace(self.step, config.steps)
        self._say(
            f"{count(len(self.items.clips), 'clip')}; steps {self.step:,} to {config.steps:,} in {self.run_url}"
        )
        result: dict[str, Any] = {}
        while self.step < config.steps:
            started = time.monotonic()
            parts = self._one_step(stream)
            self.step += 1
            row = {"step": self.step, "seconds": round(time.monotonic() - started, 4), **parts}
            self.log.add(row)
            if line := pace.line(self.step, parts):
                self._say(line)
            ended = self.step == config.steps
            if self.step % config.evaluate_every == 0 or ended:
                result = self._evaluate()
                ended = ended or self._is_good_enough(result)
            if first_says(ended or time.monotonic() - saved > 60 * config.checkpoint_minutes, self.device):
                self._save()
                saved = time.monotonic()
            if ended:
                break
        if not result:
            result = next((row for row in reversed(self.log.rows) if row.get("held_out")), {})
        self.log.close()
        return {
            "step": self.step,
            "skipped": self.skipped,
            **{k: v for k, v in result.items() if k != "step"},
        }

    def _one_step(self, stream: Any) -> dict[str, float]:
        """Accumulate, clip and update; a step that is not finite changes nothing but the count."""
        config = self.config
        rate = config.rate.at(self.step, config.steps)
        for name, one in self.optimisers.items():
            factor = rate / config.rate.rate
            for group in one.param_groups:
                group["lr"] = rate if name == "generator" else config.critic_rate * factor
            one.zero_grad(set_to_none=True)
        before = [buffer.clone() for buffer in self.stepped.trained.buffers()]
        sums: dict[str, float] = {}
        for part in range(config.accumulate):
            batch = {key: value.to(self.device, non_blocking=True) for key, value in next(stream).items()}
            last = part == config.accumulate - 1
            alone = contextlib.nullcontext() if last or self.world == 1 else self.module.no_sync()  # type: ignore[operator]
            half = config.precision == "bfloat16"
            with alone:
                with torch.autocast(self.device.split(":")[0], torch.bfloat16, enabled=half):
                    total = self.module(batch, self.step, self.sync_on)
                (total / config.accumulate).backward()
            assert self.stepped.last is not None
            for name, value in {
                "loss": self.stepped.last.generator.detach(),
                **self.stepped.last.parts,
            }.items():
                sums[name] = sums.get(name, 0.0) + float(value) / config.accumulate
        norms = {
            name: float(nn.utils.clip_grad_norm_(network.parameters(), config.clip))
            for name, network in self.stepped.trained.items()
        }
        sums = means(sums, self.device)
        finite = all(map(_is_finite, [*norms.values(), *sums.values()]))
        if anywhere(not finite, self.device):
            self._skip(before)
            return {"skipped": 1.0}
        self.bad = 0
        for one in self.optimisers.values():
            one.step()
        self.average.update(self.networks.generator)
        return {**sums, "norm": norms["generator"], "rate": rate}

    def _skip(self, before: list[Tensor]) -> None:
        self.bad += 1
        self.skipped += 1
        with torch.no_grad():
            for buffer, old in zip(self.stepped.trained.buffers(), before, strict=True):
                buffer.copy_(old)
        self._say(f"step {self.step + 1}: losses or gradients are not finite; the step is skipped")
        if self.bad >= self.config.bad_steps:
            raise TrainingError(
                f"{self.run_url}: {self.bad} steps in a row were not finite, up to step {self.step + 1}; nothing of them was saved. "
                "Lower rate.rate, or look at the data set's sheet.jpg"
            )

    def _save(self) -> None:
        if self.rank == 0:
            self.checkpoints.write(self.step, self.state())
            self.log.write()
        wait()

    def averaged(self) -> Networks:
        """The networks with the averaged weights of the generator, in eval mode."""
        generator = copy.deepcopy(self.networks.generator)
        generator.load_state_dict(self.average.state)
        return dataclasses.replace(self.networks, generator=generator.eval())

    def _evaluate(self) -> dict[str, Any]:
        """Measure the averaged weights on held-out clips; each worker the same ones."""
        config = self.config
        try:
            held_out = Items(self.data, "validation", config)
        except UsageError:
            self._say("no held-out clips: nothing to evaluate on (retalk train prepare --validation)")
            return {}
        sums, pictures = measured(self.averaged(), held_out, config, self.step, self.sync_on, self.device)
        row = {"step": self.step, "held_out": True, **{k: round(v, 6) for k, v in sums.items()}}
        self.log.add(row)
        if self.rank == 0:
            write_sheet(pictures, join(self.run_url, "samples", f"step-{self.step:09d}.jpg"))
        if not self.sync_on and sums.get("sync", float("inf")) < getattr(
            config.loss_weights, "sync_below", 0.0
        ):
            self.sync_on = True
            self._say(f"step {self.step}: the sync loss counts from now on")
        shown = ", ".join(f"{name} {value:.4g}" for name, value in sums.items())
        self._say(f"step {self.step}: held out: {shown}")
        return row

    def _is_good_enough(self, result: dict[str, Any]) -> bool:
        """Return whether to stop early."""
        loss = result.get("sync" if self.config.kind == "sync" else "loss")
        if loss is None:
            return False
        if loss < self.best:
            self.best, self.stale = loss, 0
        else:
            self.stale += 1
        if self.config.stop_below and loss < self.config.stop_below:
            self._say(f"step {self.step}: the loss is below {self.config.stop_below}; done")
            return True
        if self.config.patience and self.stale >= self.config.patience:
            self._say(f"step {self.step}: no better for {self.stale} evaluations; done")
            return True
        return False


def _is_finite(value: float) -> bool:
    return value - value == 0
