"""The training of talkin: two phases, checkpoints that a killed run goes on from, and a release that the engine takes.

Data order and initial weights depend on the seed alone; a checkpoint holds weights, optimisers and the step: in one process on a CPU a run
that was killed ends with the same bits as one that was not.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from operators.storage.files import atomic_write, exists, filesystem, join
from operators.talkin.crops import hole
from operators.talkin.factors import Factors
from operators.talkin.model import FILE, TalkinModel
from pipelines.errors import UsageError
from pipelines.state.run_directory import remove, write_text
from pipelines.training.agreement import anywhere, place, shared_gradients
from pipelines.training.data.reader import ClipSet
from pipelines.training.talkin.batches import Faces, Voices, choose_kind, learn_factors, read_utterances
from pipelines.training.talkin.config import TalkinConfig, plain
from pipelines.training.talkin.evaluation import expression_figures, renderer_figures
from retalk_models.registry.registry import LOCK_NAME
from retalk_models.talkin.expression import ExpressionNet, SpeakerCritic
from retalk_models.talkin.losses import edges, expression_loss, weighted_l1
from retalk_models.talkin.renderer import Renderer, TemporalCritic

#: Columns of the clips that the two networks learn from.
SPOKEN = ("landmarks", "mel", "coefficients", "identity", "source")
SEEN = ("heads", "landmarks", "head_boxes")
#: Steps in a row without a finite loss after which training stops.
MOST_BROKEN = 10
#: Largest norm of a gradient.
CLIP = 1.0
#: Steps between two lines of the log.
LOG_EVERY = 20
PHASES = ("expression", "renderer")


@dataclass
class State:
    """Everything that changes in training.

    Attributes:
        networks: by name; those of the release and the critics.
        optimizers: by name.
        phase: number in `PHASES`; 2 at the end.
        step: of the phase that is next.
        broken: steps in a row whose loss was not finite.
    """

    networks: dict[str, nn.Module]
    optimizers: dict[str, torch.optim.Optimizer]
    phase: int = 0
    step: int = 0
    broken: int = field(default=0)

    def content(self) -> dict[str, Any]:
        """Content of a checkpoint."""
        return {
            "networks": {name: one.state_dict() for name, one in self.networks.items()},
            "optimizers": {name: one.state_dict() for name, one in self.optimizers.items()},
            "phase": self.phase,
            "step": self.step,
        }

    def restore(self, content: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        for name, one in self.networks.items():
            one.load_state_dict(content["networks"][name])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(content["optimizers"][name])
        self.phase, self.step = content["phase"], content["step"]


class Training:
    """A run.

    Args:
        config: of the run.
        data: URL of the data set.
        url: of the run's folder.
        device: torch device.
        say: is told how it stands.
    """

    def __init__(
        self, config: TalkinConfig, data: str, url: str, device: str, say: Callable[[str], None]
    ) -> None:
        self.rank, self.world = place()
        self.config, self.data, self.url, self.device = config, data, url, device
        self.say = say if self.rank == 0 else lambda text: None
        say = self.say
        say("reading sound and landmarks")
        clips = ClipSet(data, "train", SPOKEN, least_frames=20)
        spoken = read_utterances(clips)
        self.factors: Factors = learn_factors(spoken, choose_kind(spoken, config.factors), config.parameters)
        self.voices = Voices(spoken, self.factors)
        renderer = config.renderer
        self.faces = Faces(
            ClipSet(data, "train", SEEN, least_frames=renderer.num_frames + 3),
            renderer.side,
            renderer.num_frames,
        )
        self.hole = torch.from_numpy(hole(renderer.side).copy()).to(device)
        self.basis = (
            torch.from_numpy(self.factors.basis.reshape(self.factors.num_parameters, -1)).float().to(device)
        )
        self.state = self._fresh()

    def _fresh(self) -> State:
        torch.manual_seed(self.config.seed)
        expression = ExpressionNet(self.factors.num_parameters, **self.sizes["expression"])
        critic = SpeakerCritic(self.config.expression.dim, max(2, len(self.voices.speakers)))
        renderer = Renderer(**self.sizes["renderer"])
        temporal = TemporalCritic(self.config.renderer.channels)
        networks: dict[str, nn.Module] = {
            "expression": expression,
            "speaker": critic,
            "renderer": renderer,
            "temporal": temporal,
        }
        for one in networks.values():
            one.to(self.device)
        rates = self.config.expression.rate, self.config.renderer.rate
        optimizers: dict[str, torch.optim.Optimizer] = {
            "expression": torch.optim.Adam([*expression.parameters(), *critic.parameters()], rates[0]),
            "renderer": torch.optim.Adam(renderer.parameters(), rates[1], (0.5, 0.999)),
            "temporal": torch.optim.Adam(temporal.parameters(), rates[1], (0.5, 0.999)),
        }
        return State(networks, optimizers)

    @property
    def sizes(self) -> dict[str, dict[str, int]]:
        """Constructor arguments of the networks."""
        own = plain(self.config)
        names = {
            "expression": ("dim", "state", "num_layers", "num_maps", "rank"),
            "renderer": ("channels", "num_levels", "num_frames"),
        }
        return {kind: {name: own[kind][name] for name in wanted} for kind, wanted in names.items()}

    # --- steps ----------------------------------------------------------------------------------------------
    def steps(self) -> Iterator[dict[str, float]]:
        """Train to the end; yields the parts of the loss after each step.

        Raises:
            UsageError: the loss was not finite `MOST_BROKEN` times in a row.
        """
        work = (
            (self.config.expression.steps, self._expression_step),
            (self.config.renderer.steps, self._renderer_step),
        )
        while self.state.phase < len(PHASES):
            total, step = work[self.state.phase]
            while self.state.step < total:
                parts = step(self.state.step)
                self.state.step += 1
                yield {"step": self.state.step, **parts}
            self.state.phase, self.state.step = self.state.phase + 1, 0

    def _expression_step(self, step: int) -> dict[str, float]:
        config = self.config.expression
        sound, wanted, speakers = (
            one.to(self.device)
            for one in self.voices.batch(
                self.config.seed, step, config.batch, config.frames, self.rank, self.world
            )
        )
        predicted, features = self.state.networks["expression"](sound)
        loss, parts = expression_loss(predicted, wanted, self.basis, config.motion, config.points)
        if config.adversary and len(self.voices.speakers) > 1:
            guess = F.cross_entropy(self.state.networks["speaker"](features), speakers)
            loss, parts["speaker"] = loss + config.adversary * guess, float(guess.detach())
        self._update(loss, "expression")
        return parts

    def _renderer_step(self, step: int) -> dict[str, float]:
        config, networks = self.config.renderer, self.state.networks
        batch = {
            name: one.to(self.device)
            for name, one in self.faces.batch(
                self.config.seed, step, config.batch, self.rank, self.world
            ).items()
        }
        middle = config.num_frames // 2
        true, drawn = batch["frames"][:, :, middle], batch["sketches"][:, :, middle]
        critic_on = config.critic > 0 and step >= config.critic_from
        painted = [self._painted(batch, k) for k in range(2 if critic_on else 1)]
        parts: dict[str, float] = {}
        loss = torch.zeros((), device=self.device)
        for k, picture in enumerate(painted):
            weight = self.hole * (1 + config.mouth * _near_mouth(drawn[:, k, 1:]))
            values, slopes = weighted_l1(picture, true[:, k], weight), edges(picture, true[:, k], weight)
            loss = loss + (values + config.edges * slopes) / len(painted)
            parts |= {"values": float(values.detach()), "edges": float(slopes.detach())}
        if critic_on:
            pair = torch.stack(painted, 1)
            judged = -networks["temporal"](pair, drawn).mean()
            loss, parts["judged"] = loss + config.critic * judged, float(judged.detach())
        self._update(loss, "renderer")
        if critic_on:
            real, made = networks["temporal"](true, drawn), networks["temporal"](pair.detach(), drawn)
            hinge = F.relu(1 - real).mean() + F.relu(1 + made).mean()
            parts["critic"] = float(hinge.detach())
            self._update(hinge, "temporal")
        return parts

    def _painted(self, batch: dict[str, Tensor], k: int) -> Tensor:
        painted: Tensor = self.state.networks["renderer"](
            batch["frames"][:, k],
            batch["sketches"][:, k],
            batch["reference"],
            batch["reference_sketch"],
            self.hole,
        )
        return painted

    def _update(self, loss: Tensor, name: str) -> None:
        """One step of an optimiser; a loss that is not finite changes nothing."""
        for optimizer in self.state.optimizers.values():
            optimizer.zero_grad(set_to_none=True)
        if anywhere(not bool(torch.isfinite(loss)), self.device):
            self.state.broken += 1
            if self.state.broken >= MOST_BROKEN:
                raise UsageError(
                    f"{self.url}: the loss of {name} was not a finite number {MOST_BROKEN} times in a row; lower the rate "
                    f"and go on from the checkpoint with --resume"
                )
            return
        self.state.broken = 0
        loss.backward()  # type: ignore[no-untyped-call]
        parameters = [p for group in self.state.optimizers[name].param_groups for p in group["params"]]
        shared_gradients(parameters)
        norm = nn.utils.clip_grad_norm_(parameters, CLIP)
        if math.isfinite(float(norm)):
            self.state.optimizers[name].step()

    # --- files ----------------------------------------------------------------------------------------------
    def save(self) -> None:
        """Write the checkpoint, whole; of several workers the first does."""
        if self.rank:
            return
        with atomic_write(join(self.url, "checkpoint.pt")) as path:
            torch.save(self.state.content(), path)

    def resume(self) -> bool:
        """Go on from the checkpoint; False where there is none."""
        url = join(self.url, "checkpoint.pt")
        if not exists(url):
            return False
        fs, path = filesystem(url)
        with fs.open(path, "rb") as file:
            self.state.restore(torch.load(file, map_location=self.device, weights_only=True))
        return True

    def release(self) -> dict[str, float]:
        """Evaluate on held-out identities (without any: on the training's), and write the model, the engine's file, a strip and
        the figures. Of several workers the first calls it.

        Returns:
            The figures.
        """
        networks = self.state.networks
        for one in networks.values():
            one.eval()
        voices, faces, split = self._held_out()
        expression, renderer = networks["expression"], networks["renderer"]
        assert isinstance(expression, ExpressionNet)
        assert isinstance(renderer, Renderer)
        figures = expression_figures(expression, self.factors, voices, self.device)
        more, pictures = renderer_figures(renderer, faces, self.device)
        figures |= more
        about = {
            "trained_on": self.data,
            "factors": self.factors.kind,
            "evaluated_on": split,
            "figures": figures,
            "config": plain(self.config),
        }
        model = TalkinModel(self.factors, expression, renderer, self.config.renderer.side, about)
        remove(join(self.url, "models", LOCK_NAME))  # it pins the model of an earlier release
        with atomic_write(join(self.url, "models", FILE)) as path:
            torch.save(model.content(self.sizes["expression"], self.sizes["renderer"]), path)
        with atomic_write(join(self.url, "strip.png")) as path:
            Image.fromarray(pictures).save(path)
        write_text(join(self.url, "figures.json"), json.dumps(about, indent=1))
        return figures

    def _held_out(self) -> tuple[Voices, Faces, str]:
        renderer = self.config.renderer
        try:
            spoken = read_utterances(ClipSet(self.data, "validation", SPOKEN, least_frames=20))
            seen = ClipSet(self.data, "validation", SEEN, least_frames=renderer.num_frames + 3)
        except UsageError:
            return self.voices, self.faces, "train"
        return Voices(spoken, self.factors), Faces(seen, renderer.side, renderer.num_frames), "validation"


def _near_mouth(inside: Tensor) -> Tensor:
    """Pixels of the mouth and beside it, float[B, 1, S, S] 0 ... 1, of drawings of its inside float[B, 1, S, S]."""
    reach = 2 * (inside.shape[-1] // 16) + 1
    return F.avg_pool2d(F.max_pool2d(inside, reach, 1, reach // 2), reach, 1, reach // 2)
