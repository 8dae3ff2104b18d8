"""The stage "detect": follows the chosen person's face through a segment."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import cv2
import numpy as np
import pyarrow as pa

from operators.columns import tensor
from operators.faces import smoothing, tracking, validity
from operators.faces.appearance import COLUMNS, ROWS
from operators.faces.backend import (
    BackendName,
    FaceBackend,
    backend_files,
    backend_models,
    chosen_backend,
    gives_mesh,
    make_backend,
    mesh_runtime,
)
from operators.faces.canonical import box_of_transform, transform_of_landmarks
from operators.faces.colours import CELLS, EVERY, UNSEEN, mouth_colours
from operators.faces.identity import MODEL as IDENTITY
from operators.faces.picture import FramePicture, Picture
from operators.faces.seed import Seeder
from operators.faces.shot import ShotModel
from operators.faces.tracking import Sighting, Tracker
from operators.media.frames import Frame
from operators.media.kept_frames import KEPT
from operators.media.reader import read_frames
from operators.segment import Segment
from operators.stage import Stage
from operators.threads import ahead, single_thread
from retalk_models.tflite.runtime import RuntimeName

CROP = 256


@dataclasses.dataclass(frozen=True)
class DetectOptions:
    """Options of the stage "detect".

    Attributes:
        backend: "dlib", "face-alignment", "mesh" (`retalk models pull face_landmarker.task face_detection_full_range.tflite`), or
            "auto": face-alignment where it is installed and a GPU is there, else dlib; or "mesh-or-dlib": the mesh where its
            files and LiteRT, or a GPU, are there, else dlib, decided once for a run.
        crops: also write `crop_box` of every frame.
        max_yaw: degrees; faces turned further are not usable. With a mesh dubs fade out over the last `validity.FADE` of them.
        references: frames of the shot that show what the free face looks like.
        recognise: whether a face far from where the person was is that person, and people of several shots are the same: "auto" by
            dlib's descriptor, which is loaded for that; "never": they are not.
        mesh_runtime: what runs the networks of the backend "mesh": "torch"; "litert", on the CPU in less than half the time (extra
            `litert`); "auto": litert on a CPU where it is installed, else torch, decided once for a run.
    """

    backend: BackendName = "auto"
    crops: bool = False
    max_yaw: float = 50.0
    references: int = 10
    recognise: Literal["auto", "never"] = "auto"
    mesh_runtime: RuntimeName = "auto"


def crop_box(anchor: np.ndarray, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The shot's crop in the picture: a square 1.75 anchor boxes wide with the head in its middle (FFHQ's
    framing), cut at the edges.
    """
    side = float((anchor[2:] - anchor[:2]).mean())
    x, y = (anchor[0] + anchor[2]) / 2, (anchor[1] + anchor[3]) / 2 - 0.145 * side
    half = 0.875 * side
    x1, y1 = max(round(float(x - half)), 0), max(round(float(y - half)), 0)
    return (
        x1,
        y1,
        min(max(round(float(x + half)), x1 + 1), size[0]),
        min(max(round(float(y + half)), y1 + 1), size[1]),
    )


class DetectFaces(Stage):
    """Boxes, landmarks and validity of the face that the segment's anchor names.

    Columns, for each frame of `Segment.frames`:

    * ``landmarks`` float32[T, 68, 2]: iBUG order, pixels of the upright picture, smoothed; 0 where not valid.
    * ``boxes`` float32[T, 4]: square face boxes of the smoothed landmarks; 0 where not valid.
    * ``valid`` bool[T]: the face is there, frontal enough, inside the picture, and nothing hides its mouth.
    * ``residual`` float32[T]: what speaks against the frame; 1 is the limit, `validity.ABSENT` where there is
      no face at all.
    * ``frontal`` float32[T]: 0..1, how fully the frame may be dubbed as far as the head's turn goes (`validity.frontality`); 0
      where not valid, 1 in the other frames of a backend that gives no mesh.
    * ``fault`` uint8[T]: why it is not valid, a number of `validity.FAULTS`; 0 where it is.
    * ``colours`` int8[T, CELLS, 2]: of lips and skin, `colours.mouth_colours` of every second frame; UNSEEN in the others, and
      where there is no face.
    * with the option ``crops`` also ``crops`` uint8[T, 256, 256, 3]: RGB of `crop_box`.

    With its halo, what it says of a core frame does not depend on the segment: seeds, confirmations and the
    frames that serve as references are tied to frame numbers of the title and to the shot, and nothing is
    remembered longer than `tracking.MEMORY` frames.
    """

    name = "detect"
    doing = "finding faces"
    Options = DetectOptions
    writes = pa.schema(
        [
            tensor("landmarks", "float32", "T", 68, 2),
            tensor("boxes", "float32", "T", 4),
            tensor("valid", "bool", "T"),
            tensor("residual", "float32", "T"),
            tensor("frontal", "float32", "T"),
            tensor("fault", "uint8", "T"),
            tensor("colours", "int8", "T", CELLS, 2),
        ]
    )

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        if self.options.crops:
            self.writes = self.writes.append(tensor("crops", "uint8", "T", CROP, CROP, 3))
        self._backends: dict[tuple[str, str], FaceBackend] = {}
        self._models: OrderedDict[tuple[Any, ...], ShotModel] = OrderedDict()

    def halo(self, options: Any) -> tuple[int, int]:
        """Frames before: what tracking remembers, then what validity and smoothing look at; after: the latter
        two.
        """
        del options
        around = validity.CONTEXT + smoothing.RADIUS
        return tracking.MEMORY + around, around

    def bundled_models(self, options: DetectOptions) -> tuple[str, ...]:
        """See `Stage.bundled_models`."""
        return (*backend_models(options.backend), *((IDENTITY,) if options.recognise == "auto" else ()))

    def model_files(self, options: DetectOptions) -> tuple[str, ...]:
        """See `Stage.model_files`."""
        return backend_files(options.backend)

    def decided(self, options: DetectOptions, device: str) -> DetectOptions:
        """See `Stage.decided`. Without the mesh nothing depends on its runtime: installing one changes no key."""
        backend, _ = chosen_backend(options.backend, device, options.mesh_runtime)
        options = dataclasses.replace(options, backend=backend)
        if options.backend != "mesh":
            return dataclasses.replace(options, mesh_runtime="auto")
        return dataclasses.replace(options, mesh_runtime=mesh_runtime(options.mesh_runtime, device))

    def decision_note(self, options: DetectOptions, device: str) -> str:
        """See `Stage.decision_note`: why it is dlib."""
        _, why = chosen_backend(options.backend, device, options.mesh_runtime)
        return why and f"faces are found with dlib: {why}"

    def setup(self, device: str) -> None:
        """Load the backend.

        Raises:
            MissingRuntimeError: the mesh's runtime is not installed here; names the package and the option.
        """
        self._device = device
        self._backend_for(self.options)

    def _backend_for(self, options: DetectOptions) -> FaceBackend:
        """The backend of a row, which may have options of its own; each is made once."""
        asked = options.backend, options.mesh_runtime
        if asked not in self._backends:
            self._backends[asked] = make_backend(options.backend, self._device, options.mesh_runtime)
            single_thread()
        return self._backends[asked]

    def process(self, segment: Segment) -> dict[str, Any]:
        """See the class."""
        options = self.options_for(segment)
        start, stop = segment.frames
        count = stop - start
        crops = np.zeros((count if self.options.crops else 0, CROP, CROP, 3), np.uint8)
        colours = np.full((count, CELLS, 2), UNSEEN, np.int8)
        anchor = segment.anchor
        if anchor is None:
            nobody = np.full(count, validity.NO_FACE, np.uint8)
            return self._columns(
                *(np.full((count, 68, 2), np.nan), np.full(count, validity.ABSENT), np.ones(count)),
                *(nobody, colours, crops),
            )
        backend = self._backend_for(options)
        model, seeder = self._model(segment, anchor, options, backend)
        tracker = Tracker(seeder, segment.shot[0])
        box = crop_box(anchor, segment.size)
        sightings: list[Sighting | None] = []
        brightness = np.full(count, np.nan)
        # Decoded for the plan, or for another person of the segment.
        frames, reading = KEPT.frames(segment.video, range(start, stop)), None
        if frames is None:
            reading = KEPT.begin(segment.video, count)
            frames = ahead(read_frames(segment.video, start, stop))
        for frame in self.counted(frames):
            picture = _picture(backend, frame)
            sighting = tracker.step(frame.index, picture)
            sightings.append(sighting)
            if reading is not None:
                reading.offer(frame, None if sighting is None else sighting.landmarks)
            if sighting is not None:
                brightness[frame.index - start] = brightness_of(picture, sighting.landmarks)
                if frame.index % EVERY == 0:
                    colours[frame.index - start] = mouth_colours(frame, sighting.landmarks)
            if tracking.on_grid(frame.index, segment.shot[0]):
                model.note(frame.index, tracker.seed)
            if self.options.crops:
                crops[frame.index - start] = cv2.resize(
                    frame.rgb(box), (CROP, CROP), interpolation=cv2.INTER_AREA
                )
        seen = observations(sightings)
        signs = validity.MESH if gives_mesh(backend) else validity.BOXES
        evidence = validity.occlusion(seen, model.references(), signs)
        valid = validity.usable(seen, evidence, segment.size, options.max_yaw)
        landmarks = smoothing.smooth(validity.fill(seen.landmarks, valid), seen.motion)
        fault = validity.faults(seen, evidence, valid, segment.size, options.max_yaw, brightness)
        frontal = validity.frontality(seen.yaw, options.max_yaw)
        return self._columns(landmarks, evidence, frontal, fault, colours, crops)

    def _model(
        self, segment: Segment, anchor: np.ndarray, options: DetectOptions, backend: FaceBackend
    ) -> tuple[ShotModel, Seeder]:
        """The shot's model; the last few are kept, since a worker often gets several segments of a shot."""
        count, recognise = options.references, options.recognise
        key = (
            *(segment.video, segment.shot, anchor.tobytes(), count, recognise),
            *(options.backend, options.mesh_runtime),
        )
        if key not in self._models:
            video = segment.video  # the model outlives the segment
            seeder = Seeder(backend, anchor, lambda picture, landmarks: False)

            def fetch(indices: Iterable[int]) -> Iterator[tuple[int, Picture]]:
                for index in indices:
                    for frame in read_frames(video, index, index + 1):
                        yield index, _picture(backend, frame)

            self._models[key] = ShotModel(seeder, segment.shot, count, fetch, recognise == "auto")
            while len(self._models) > 4:
                self._models.popitem(last=False)
        model = self._models[key]
        return model, model.seeder

    def _columns(
        self,
        landmarks: np.ndarray,
        evidence: np.ndarray,
        frontal: np.ndarray,
        fault: np.ndarray,
        colours: np.ndarray,
        crops: np.ndarray,
    ) -> dict[str, Any]:
        valid = ~np.isnan(landmarks[:, 0, 0])
        boxes = np.zeros((len(landmarks), 4), np.float32)
        for t in np.flatnonzero(valid):
            boxes[t] = box_of_transform(transform_of_landmarks(landmarks[t]))
        columns = {
            "landmarks": np.nan_to_num(landmarks).astype(np.float32),
            "boxes": boxes,
            "valid": valid,
            "residual": evidence.astype(np.float32),
            "frontal": np.where(valid, frontal, 0).astype(np.float32),
            "fault": fault,
            "colours": colours,
        }
        return {**columns, "crops": crops} if self.options.crops else columns


def _picture(backend: FaceBackend, frame: Frame) -> Picture:
    if gives_mesh(backend):
        return FramePicture(frame)
    return frame.rgb() if backend.colour else np.ascontiguousarray(frame.luma())


def brightness_of(picture: Picture, landmarks: np.ndarray) -> float:
    """Return the level that the brightest twentieth of a face reaches; NaN where it is not known.

    Args:
        picture: uint8[h, w], [h, w, 3], or a frame, of which luma is taken.
        landmarks: float64[68, 2], of the face.
    """
    if isinstance(picture, FramePicture):
        picture = picture.luma
    if not np.isfinite(landmarks).all():
        return float("nan")
    (x1, y1), (x2, y2) = (np.maximum(edge, 0).astype(int) for edge in (landmarks.min(0), landmarks.max(0)))
    step = max(1, (x2 - x1) // 32)
    face = picture[y1 : y2 + 1 : step, x1 : x2 + 1 : step]
    return float(np.percentile(face, 95)) if face.size else float("nan")


def observations(sightings: list[Sighting | None]) -> validity.Observations:
    """The tracker's sightings as arrays."""
    count = len(sightings)
    seen = validity.Observations(
        landmarks=np.full((count, 68, 2), np.nan),
        motion=np.full((count, 2, 3), np.nan),
        spread=np.full(count, np.nan),
        score=np.full(count, np.nan),
        doubtful=np.ones(count, bool),
        ghost=np.zeros(count, bool),
        patches=np.zeros((count, ROWS, COLUMNS), np.float32),
        yaw=np.full(count, np.nan),
    )
    for t, sighting in enumerate(sightings):
        if sighting is not None:
            seen.landmarks[t], seen.spread[t], seen.score[t] = (
                sighting.landmarks,
                sighting.spread,
                sighting.score,
            )
            seen.doubtful[t], seen.ghost[t], seen.patches[t] = (
                sighting.doubtful,
                sighting.ghost,
                sighting.patch,
            )
            seen.yaw[t] = sighting.yaw
            if sighting.motion is not None:
                seen.motion[t] = sighting.motion
    return seen
