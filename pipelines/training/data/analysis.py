"""A raw video through the stages of dubbing: shots, the person in each, landmarks, 3DMM coefficients, sound and its offset."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from operators.evaluation.heard import hear
from operators.evaluation.sync_protocols import PROTOCOLS, score_clip, shown_frames
from operators.faces.geometry import bounding_box, lip_opening
from operators.faces.stage import DetectFaces
from operators.media.audio import check_audible, load_audio
from operators.media.probe import VideoInfo, probe_video
from operators.retalk.mel import SAMPLE_RATE
from operators.segment import Segment
from operators.threads import single_thread
from pipelines.planning.segments import halo_range, segment_columns
from pipelines.planning.shots import looked_through
from pipelines.training.data.schema import COEFFICIENTS
from pipelines.training.data.sources import Source
from pipelines.training.data.store import Settings
from pipelines.training.data.sync import Sync, by_expert, by_landmarks, tick_times

Result = TypeVar("Result")
#: Frames that go through a stage at once, without halo.
SEGMENT = 500
#: Margin (share of the landmarks' box) that makes a box as a face detector draws it.
BOX_MARGIN = 0.1


@dataclass(frozen=True)
class ShotFaces:
    """The chosen person's face in one shot.

    Attributes:
        number: of the shot.
        start, stop: its source frames.
        landmarks: float32[T, 68, 2], pixels; 0 where not valid.
        valid: bool[T].
        coefficients: float32[T, 262]; [0, 262] without the weights.
    """

    number: int
    start: int
    stop: int
    landmarks: np.ndarray
    valid: np.ndarray
    coefficients: np.ndarray


@dataclass(frozen=True)
class Analysis:
    """Faces, sound and offset of a source.

    Attributes:
        info: of the video.
        shown: int64[n], the source frame of each tick, 25 a second from the first frame on.
        shots: those that show somebody.
        faceless: seconds of shots that show nobody.
        sound: float32[k], mono, 16 kHz, from the first frame on.
        sync: its offset.
    """

    info: VideoInfo
    shown: np.ndarray
    shots: list[ShotFaces]
    faceless: float
    sound: np.ndarray
    sync: Sync


class Analyst:
    """The stages and networks of one worker.

    Args:
        settings: with what is "auto" decided.
        device: torch device of the networks.
    """

    def __init__(self, settings: Settings, device: str = "cpu") -> None:
        self.settings, self.device = settings, device
        self._detect = DetectFaces()
        self._detect.setup(device)
        self._recon: Any = None
        if settings.coefficients == "on":
            from operators.retalk.recon3d_stage import Recon3d, Recon3dOptions

            self._recon = Recon3d(Recon3dOptions(weights=settings.weights))
            self._recon.setup(device)
        self._syncnet: Any = None
        if settings.sync == "expert":
            import retalk_models
            from retalk_models.registry.registry import home_registry

            registry = home_registry(settings.weights)
            self._syncnet = retalk_models.load("syncnet", registry=registry).to(device)
        single_thread()

    def analyse(self, source: Source) -> Analysis:
        """Analyse a video.

        Raises:
            ValueError: it cannot be read, has no sound or shows nobody; of the kinds of `operators.storage.errors` and
                `operators.faces.anchors.FaceError`.
        """
        info = probe_video(source.url)
        sound_url = source.sound or source.url
        sound = load_audio(sound_url, SAMPLE_RATE)
        check_audible(sound, sound_url)
        looked = looked_through(source.url, info, faces=["largest"])
        found, faceless = [], 0.0
        largest = zip(looked.shots, looked.anchors["largest"], strict=True)
        for number, ((start, stop), anchor) in enumerate(largest):
            if anchor is None:
                faceless += (stop - start) / float(info.average_rate or 25)
            else:
                found.append(self._shot(source, info, number, (start, stop), anchor))
        shown = shown_frames(info)
        return Analysis(info, shown, found, faceless, sound, self._sync(source, info, shown, found))

    def _shot(
        self, source: Source, info: VideoInfo, number: int, shot: tuple[int, int], anchor: np.ndarray
    ) -> ShotFaces:
        parts = []
        count = max(1, -(-(shot[1] - shot[0]) // SEGMENT))
        edges = np.linspace(shot[0], shot[1], count + 1).round().astype(int).tolist()
        stages = [self._detect, *([] if self._recon is None else [self._recon])]
        halos = [stage.halo(stage.options) for stage in stages]
        halo = sum(before for before, _ in halos), sum(after for _, after in halos)
        for core in itertools.pairwise(edges):
            columns = segment_columns(source.url, info, core, halo_range(core, shot, halo), shot)
            low = columns["halo_start"]
            row = {
                "segment_id": f"{source.name}/{number}",
                "title": source.name,
                "options": "",
                **columns,
                "anchor": anchor,
            }
            row |= self._detect.process(Segment(row))
            if self._recon is not None:
                row |= self._recon.process(Segment(row))
            inside = slice(core[0] - low, core[1] - low)
            parts.append([row[name][inside] for name in ("landmarks", "valid")])
            parts[-1].append(
                row["coeffs"][inside] if self._recon is not None else np.zeros((0, COEFFICIENTS), np.float32)
            )
        landmarks, valid, coefficients = (np.concatenate(column) for column in zip(*parts))
        return ShotFaces(number, *shot, landmarks, valid, coefficients)

    def _sync(self, source: Source, info: VideoInfo, shown: np.ndarray, shots: list[ShotFaces]) -> Sync:
        if self.settings.sync == "off":
            return Sync()
        if self._syncnet is not None:
            boxes: list[np.ndarray] = [np.zeros((0, 5))] * info.n_frames
            for shot in shots:
                for t in np.flatnonzero(shot.valid):
                    boxes[shot.start + t] = _detection(shot.landmarks[t])
            scored = score_clip(
                source.url,
                PROTOCOLS["latentsync"],
                self._syncnet,
                speech=source.sound,
                detections=boxes,
                cuts=[shot.start for shot in shots],
            )
            return by_expert(scored.rows)
        ticks, openings = [], []
        for shot in shots:
            inside = np.flatnonzero((shown >= shot.start) & (shown < shot.stop))
            inside = inside[shot.valid[shown[inside] - shot.start]]
            ticks.append(inside)
            openings.append(lip_opening(shot.landmarks[shown[inside] - shot.start]))
        if not ticks:
            return Sync()
        times = tick_times(np.concatenate(ticks))
        return by_landmarks(times, np.concatenate(openings), hear(source.sound or source.url))


def _detection(landmarks: np.ndarray) -> np.ndarray:
    """float64[1, 5], box and score of a face as a detector would give them."""
    box = bounding_box(landmarks).astype(np.float64)
    margin = BOX_MARGIN * (box[2:] - box[:2])
    return np.concatenate([box[:2] - margin, box[2:] + margin, [1.0]])[None]
