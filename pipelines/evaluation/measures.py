"""Choice of a sweep's metrics: their names, the places of their classes with arguments, the model files they need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from operators.evaluation.finished_video import PAIRED
from operators.evaluation.metric import TitleMetric
from pipelines.engine.engine import Engine
from pipelines.engine.metrics import applies, load_metric, metric_names, metric_place, place_with
from pipelines.errors import ConfigError, UsageError
from pipelines.evaluation.pairs import Protocol
from pipelines.evaluation.systems import Weights, origin_of
from pipelines.state.content_keys import model_digests
from retalk_models.registry.registry import check_files

#: Metrics of each protocol unless others are asked for.
CROSS = (
    "fid",
    "cpbd",
    "lse_d",
    "lse_c",
    "csim_dlib",
    "opening_r",
    "opening_lag",
    "lip_leak",
    "identity_drift",
    "seam",
    "jitter",
)
USUAL: dict[str, tuple[str, ...]] = {
    "cross": CROSS,
    "reconstruction": (*CROSS, "psnr", "ssim", "lpips", "lmd"),
}
#: The metric of a set, and the metric of clips by whose features it is computed.
FID, FRAMES = "fid", "fid_frames"
FID_PLACE = "operators.evaluation.fid_features:FidFrames"
SYNC = ("lse_d", "lse_c")
OFFSET = "lse_offset"
OFFSET_PLACE = "operators.evaluation.title_metrics:LseOffset"
LPIPS = "lpips"
#: Properties of pairs, by column of the scores.
COVARIATES = {
    "yaw_degrees": "operators.evaluation.covariates:Yaw",
    "loudness_lufs": "operators.evaluation.covariates:SpeechLoudness",
    "face_height": "operators.evaluation.covariates:FaceHeight",
    OFFSET: OFFSET_PLACE,
}
#: Names of the protocols of LSE; operators.evaluation.sync_protocols, which imports torch.
LSE_PROTOCOLS = ("lrs", "tracked", "latentsync")
#: Why a metric mostly has no value where it says nothing itself.
SILENT = {
    "opening_r": "the sound is no video of its speaker, or no face was found",
    "opening_lag": "the sound is no video of its speaker, or no face was found",
    "lip_leak": "less than 0.4 s of silence in the sound, or no face was found",
    "identity_drift": "the clip is too short, or no face was found",
    "csim_dlib": "no face was found",
    "lmd": "no face was found",
    "seam": "nothing was drawn, or by somebody else: it needs the region that a dub has drawn",
    "jitter": "nothing was drawn, or by somebody else: it needs the region that a dub has drawn",
}


@dataclass(frozen=True)
class Measures:
    """Metrics of a sweep, with what their classes are told.

    Attributes:
        names: of metrics as asked for, `FID` among them.
        protocol: of the pairs.
        lse_protocol: of LSE-D and LSE-C.
        folder: fsspec URL of the folder for features of frames.
        weights: home of other model files for the metrics than the official ones; "" for the usual home.
    """

    names: tuple[str, ...]
    protocol: Protocol
    lse_protocol: str
    folder: str
    weights: str = ""

    @property
    def columns(self) -> list[str]:
        """Metrics of clips, in the order of columns."""
        return [name for name in self.names if name != FID]

    @property
    def covariates(self) -> list[str]:
        """Properties of pairs that are measured beside them."""
        return [name for name in COVARIATES if name != OFFSET or set(SYNC) & set(self.names)]

    def place(self, name: str) -> str:
        """Place of a metric or covariate with its arguments."""
        if name in SYNC or name == OFFSET:
            where = OFFSET_PLACE if name == OFFSET else metric_place(name)
            return place_with(where, protocol=self.lse_protocol, weights=self.weights)
        if name == FID:
            return place_with(FID_PLACE, folder=self.folder, weights=self.weights)
        if name == LPIPS:
            return place_with(metric_place(name), weights=self.weights)
        return COVARIATES[name] if name in COVARIATES else metric_place(name)

    def places(self, engine: Engine | None = None) -> list[str]:
        """Places of all metrics and covariates; of those only that apply to an engine, if one is given."""
        found = [self.place(name) for name in (*self.names, *self.covariates)]
        return [place for place in found if engine is None or applies(load_metric(place), engine)]

    def measurable(self) -> list[str]:
        """Metrics and covariates that can be measured on a finished video: those with their model files here, and without need of the
        region that was drawn.
        """
        absent = self.missing()
        found = []
        for name in (*self.names, *self.covariates):
            of_frames = name in (*PAIRED, "cpbd")
            if name not in absent and (of_frames or isinstance(load_metric(self.place(name)), TitleMetric)):
                found.append(name)
        return found

    @property
    def networks(self) -> dict[str, list[str]]:
        """Networks that the metrics need, by metric."""
        sync = ["syncnet"] if self.lse_protocol == "lrs" else ["syncnet", "s3fd"]
        wanted = {**dict.fromkeys(SYNC, sync), FID: ["inception"], LPIPS: ["lpips"]}
        return {name: wanted[name] for name in self.names if name in wanted}

    def missing(self) -> dict[str, str]:
        """Metrics and covariates whose model files are not here, with what is missing and the command that brings it."""
        found = {}
        for name, networks in self.networks.items():
            try:
                check_files(networks, self.weights)
            except ValueError as problem:
                found[name] = str(problem)
        if lacking := next((found[name] for name in SYNC if name in found), ""):
            found[OFFSET] = lacking
        return found

    def digests(self) -> tuple[dict[str, str], dict[str, Weights]]:
        """Digests of the metrics' model files by file, and where those of each metric come from; of those that are here."""
        files: dict[str, str] = {}
        origins: dict[str, Weights] = {}
        absent = self.missing()
        for name, networks in self.networks.items():
            if name not in absent:
                digests = model_digests(networks, self.weights)
                files |= digests
                origins[name] = origin_of(digests, self.weights)
        return files, origins


def choose_measures(
    text: str, protocol: Protocol, lse_protocol: str, folder: str, weights: str = ""
) -> Measures:
    """Read ``--metrics``: names with commas, or "usual".

    Raises:
        UsageError: an unknown name or protocol.
    """
    names: Sequence[str] = [name.strip() for name in text.split(",") if name.strip()]
    if names == ["usual"]:
        names = USUAL[protocol]
    for name in names:
        if name == FID:
            continue
        try:
            metric_place(name)
        except ConfigError as problem:
            known = ", ".join([FID, *metric_names()])
            raise UsageError(
                f"--metrics: {str(problem).split(': choose ')[0]}: choose {known}, or usual"
            ) from problem
    if lse_protocol not in LSE_PROTOCOLS:
        raise UsageError(f"--lse-protocol {lse_protocol}: there are {', '.join(LSE_PROTOCOLS)}")
    assert protocol in get_args(Protocol)
    return Measures(tuple(dict.fromkeys(names)), protocol, lse_protocol, folder, weights)
