"""Parts of a profile: pools, nodes, measured rates, limits, the analysis cache."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from operators.media.label import Position
from operators.media.limits import MediaLimits
from operators.watermark.marking import STRONGEST, USUAL, WEAKEST, Mode, PictureMark, SpeechMark


class Strict(BaseModel):
    """A model without unknown keys, which is not changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PoolConfig(Strict):
    """One actor pool: the stages it runs, fused in the engine's order, and its size.

    Sizes are actors: `size` for a fixed pool, or `min` and `max` (and `initial`) for one that grows with its
    backlog, or `per_cpu` for a fixed pool of that many actors per CPU of this machine (at least one).
    """

    name: str
    stages: list[str] = Field(default_factory=list)
    size: int | None = Field(default=None, ge=1)
    min: int | None = Field(default=None, ge=1)
    max: int | None = Field(default=None, ge=1)
    initial: int | None = Field(default=None, ge=1)
    per_cpu: float | None = Field(default=None, gt=0)
    num_cpus: float = Field(default=1.0, ge=0)
    num_gpus: float = Field(default=0.0, ge=0)
    device: Literal["cpu", "cuda"] = "cpu"
    in_flight: int = Field(default=2, ge=1)

    @model_validator(mode="after")
    def _sizes(self) -> PoolConfig:
        ways = [self.size is not None, self.min is not None or self.max is not None, self.per_cpu is not None]
        if sum(ways) != 1:
            raise ValueError("give either size, or min and max, or per_cpu")
        if ways[1] and (
            self.min is None or self.max is None or not self.min <= (self.initial or self.min) <= self.max
        ):
            raise ValueError("min, initial and max must satisfy min <= initial <= max")
        if ways[1] and self.min != self.max and self.in_flight < 2:
            raise ValueError(
                "in_flight must be at least 2 in a pool that grows: with 1 its utilisation never reaches Ray's threshold"
            )
        if self.device == "cuda" and self.num_gpus == 0:
            raise ValueError("device cuda needs num_gpus above 0")
        if self.device == "cpu" and self.num_gpus > 0:
            raise ValueError("num_gpus above 0 needs device cuda")
        return self

    def bounds(self, cpus: int) -> tuple[int, int, int]:
        """Minimum, maximum and initial number of actors on a machine (or cluster) with this many CPUs."""
        if self.min is not None and self.max is not None:
            return self.min, self.max, self.initial or self.min
        size = self.size if self.size is not None else max(1, int((self.per_cpu or 0) * cpus))
        return size, size, size


class AssembleConfig(Strict):
    """Assembly tasks: one for each finished dub."""

    num_cpus: float = Field(default=0.0, ge=0)
    at_once: int = Field(default=4, ge=1)


class CacheConfig(Strict):
    """Analysis cache: results of the stages that run once per segment, kept for later runs."""

    on: bool = True
    bytes_per_frame: int = Field(
        default=4096, ge=0, description="a stage with larger columns (pixels) is computed anew"
    )
    max_gib: float = Field(
        default=50.0, gt=0, description="of a cache folder; when it is full nothing is added"
    )


class NodeGroup(Strict):
    """Nodes of one kind: for `retalk plan`, and for the preflight where the cluster grows. `cpus` and `gpus`
    are what Ray sees of one.
    """

    name: str
    cpus: float = Field(ge=0)
    gpus: float = Field(default=0, ge=0)
    min: int = Field(default=1, ge=0)
    max: int = Field(default=1, ge=1)
    price: float | None = Field(
        default=None, ge=0, description="of one node for one hour, in the profile's currency"
    )

    @model_validator(mode="after")
    def _range(self) -> NodeGroup:
        if self.min > self.max:
            raise ValueError("min must not be above max")
        return self


class StageRate(Strict):
    """Cost of one stage for one actor, as measured by `retalk profile`: ``seconds + per_megapixel *
    megapixels`` a frame.
    """

    seconds: float = Field(ge=0)
    per_megapixel: float = Field(default=0, ge=0)
    rss_mib: float | None = Field(default=None, ge=0, description="memory of a process with this stage alone")
    gpu_mib: float | None = Field(default=None, ge=0)


class Rates(Strict):
    """Rates of an engine's stages (and of ``plan`` and ``assemble``), and what they were measured on."""

    measured: str
    megapixels: list[float] = Field(default_factory=list, description="picture sizes of the footage")
    stages: dict[str, StageRate]


class LimitsConfig(Strict):
    """Upper limits of a title; larger ones fail. They keep a broken or hostile file from using up a node."""

    max_megapixels: float = Field(
        default=36.0, gt=0, description="of a picture, width times height; 8K is 33.2"
    )
    max_hours: float = Field(default=12.0, gt=0, description="of a video, and of a speech")
    max_gib: float = Field(default=512.0, gt=0, description="size of a file")

    def media(self) -> MediaLimits:
        """Return the limits as `probe_video` takes them."""
        return MediaLimits(**self.model_dump())


class ReviewConfig(Strict):
    """Thresholds beyond which somebody should look at a dub; docs/review.md says how they were chosen. Those of single shots
    are compared with the worst one.
    """

    dubbed: float = Field(default=0.2, ge=0, le=1, description="least share of the frames that is dubbed")
    mouth_change: float = Field(default=1.0, ge=0, description="least change of a shot's mouth, grey levels")
    stands: float = Field(
        default=2.5, gt=0, description="longest speech during which the mouth stands, seconds"
    )
    sync_r: float = Field(
        default=0.15, ge=-1, le=1, description="least correlation of the mouth with the speech"
    )
    sync_lag: float = Field(
        default=3.0, ge=0, description="largest lag of the mouth, frames of 25 a second, on either side"
    )
    silent_motion: float = Field(
        default=0.8, ge=0, description="largest motion of a shot's mouth in silence over that in speech"
    )
    identity_gap: float = Field(
        default=0.4, ge=0, description="largest distance of a shot's drawn face from the source's"
    )
    seam: float = Field(default=0.8, gt=0, description="largest seam of a shot")
    color_step: float = Field(
        default=3.3, gt=0, description="largest step of tone at the edge of what was drawn in a shot, levels"
    )
    sharpness: float = Field(default=0.78, ge=0, description="least sharpness of a shot")
    flicker: float = Field(default=0.6, ge=0, description="largest flicker of a shot, levels")
    jitter: float = Field(default=3.0, ge=0, description="largest jitter of a shot, levels")


class RightsConfig(Strict):
    """Conditions on the rights of a run's titles and parts; docs/rights.md."""

    require_consent: bool = Field(
        default=False, description="refuse rows without consent before anything runs"
    )
    licence_clean: bool = Field(
        default=False, description="run only with models whose licence and training data allow commercial use"
    )
    accepted_models: list[str] = Field(
        default_factory=list, description="models that are used all the same: somebody has the right to"
    )


class LabelConfig(Strict):
    """A notice that is drawn into the picture; docs/rights.md. None: as the form `text` names has it."""

    text: str = Field(default="", description="the notice, or the name of a form: eu or cn; empty: none")
    position: Position | None = Field(default=None, description="corner or edge of the picture")
    seconds: str | None = Field(
        default=None, description="all, a number from the beginning, or stretches such as 0-5,60-65"
    )
    size: float | None = Field(
        default=None, description="height of the letters, a share of the picture's shorter side"
    )
    font: str = Field(default="", description="file of a font; empty: retalk's own, or one of this machine")
    producer: str = Field(default="", description="ContentProducer of the tag AIGC, for the form cn")


class ProvenanceConfig(Strict):
    """Signed provenance of outputs; docs/provenance.md."""

    on: bool = True
    sign_cert: str = Field(
        default="",
        description="PEM file: the signer's certificate, then its issuers'; empty: this user's own identity",
    )
    sign_key: str = Field(default="", description="its private key: a PEM file, env:NAME or cmd:COMMAND")
    tsa: str = Field(default="", description="address of an RFC 3161 time-stamp authority; empty: none")


class WatermarkConfig(Strict):
    """Invisible marks of speech and picture; docs/watermark.md."""

    mode: Mode = Field(
        default="on",
        description="on: the speech and what is drawn; frame: the speech and the whole picture; off",
    )
    strength: float = Field(
        default=USUAL, ge=WEAKEST, le=STRONGEST, description="factor of the amplitude in the picture"
    )
    key: str = Field(
        default="",
        description="file of a key (64 hexadecimal digits, mode 0600), or env:NAME; empty: this user's own",
    )
    speech: SpeechMark = Field(
        default="builtin", description="builtin, or audioseal: the learned mark in its place"
    )
    picture: PictureMark = Field(
        default="builtin", description="builtin, or videoseal: the learned mark in its place"
    )


class EnginePools(Strict):
    """Pools for one engine, in place of the profile's general ones."""

    pools: list[PoolConfig] = Field(min_length=1)
