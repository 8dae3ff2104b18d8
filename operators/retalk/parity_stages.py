"""The engine's parity mode (`configs/engines/retalk-parity.yaml`): the original frame for frame, quirks
included, as stages of the graph.

For comparisons with the original only. Columns hold **BGR** pictures where the original does. What the
original decides once for a clip (its crop, the end of the box smoothing, the number of frames) is worked out
from the title's frame numbers, so that results do not depend on the segment length. Where the original ends
before the video or the speech does, frames stay as they are.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from typing import Any, ClassVar

import cv2
import numpy as np
import pyarrow as pa

from operators.columns import tensor
from operators.media.frames import Frame
from operators.media.ordered_frames import source_frames
from operators.media.probe import VideoInfo, probe_video
from operators.media.reader import read_frames
from operators.media.writer import EncoderOptions, Preset, encode_segment
from operators.receipt import RECEIPT, receipt
from operators.retalk import align3d, coefficients, mel, oriented_crops
from operators.retalk.detectors import Detectors, make_detectors
from operators.retalk.face_boxes import DEFAULT_PADS, WINDOW, pad_boxes, smooth_boxes
from operators.retalk.model_files import Restoration, restoration_files
from operators.retalk.nets import NetworkStage, shared_networks
from operators.retalk.network_inputs import SIDE, face_input, reference_frame, swap_colours
from operators.retalk.original import Box, Steps
from operators.retalk.source import PICTURES, check_expression, speech_mel, standard_points, template
from operators.segment import Segment

CROP = 256


@dataclasses.dataclass(frozen=True)
class ParityOptions:
    """Options of the stages of parity mode.

    Attributes:
        recorded: .npz of detector answers (`detectors.RecordedDetectors`); what it does not hold, the
            detectors find.
        weights: home of other model files than the official ones
            (`retalk_models.registry.registry.home_registry`).
    """

    recorded: str = ""
    weights: str = ""


class ParityStage(NetworkStage):
    """A stage with networks and detectors."""

    Options: ClassVar[type] = ParityOptions

    def setup(self, device: str) -> None:
        """The networks of this process; each is loaded when it is first called."""
        self.networks = shared_networks(device, self.options.weights)

    def detectors(self, segment: Segment) -> Detectors:
        """Detectors of this row."""
        return make_detectors(self.options_for(segment).recorded, self.networks)


def bgr(frame: Frame) -> np.ndarray:
    """uint8[h, w, 3] BGR of a whole frame."""
    return np.ascontiguousarray(frame.rgb()[..., ::-1])


class DetectOriginal(ParityStage):
    """dlib on the clip's first frame, S3FD and FAN on each crop, S3FD on each frame.

    Writes ``crops`` RGB, ``landmarks`` in their pixels, ``found`` (False: no face in this and any earlier
    crop), ``clip_box`` (oy1, oy2, ox1, ox2) and ``boxes`` x1, y1, x2, y2 (for the core and what its smoothing
    reads).
    """

    name = "detect"
    doing = "finding faces"
    writes = pa.schema(
        [
            tensor("crops", "uint8", "T", CROP, CROP, 3),
            tensor("landmarks", "float32", "T", 68, 2),
            tensor("found", "bool", "T"),
            tensor("clip_box", "int64", 4),
            tensor("boxes", "int64", "T", 4),
        ]
    )

    def model_files(self, options: ParityOptions) -> tuple[str, ...]:
        return () if options.recorded else ("s3fd", "fan")

    def compute(self, segment: Segment) -> dict[str, Any]:
        """Raises ValueError where the original fails: no face in the first half of the clip, or in a frame."""
        detectors, (start, stop) = self.detectors(segment), segment.frames
        low, high = segment.core[0] - WINDOW + 1, segment.core[1] + WINDOW - 1
        y1, y2, x1, x2 = box = self._clip_box(segment, detectors)
        crops, boxes = (
            np.zeros((stop - start, CROP, CROP, 3), np.uint8),
            np.zeros((stop - start, 4), np.int64),
        )
        landmarks = np.full((stop - start, 68, 2), np.nan, np.float32)
        for t, frame in enumerate(read_frames(segment.video, start, stop)):
            crops[t] = cv2.resize(np.ascontiguousarray(frame.rgb((x1, y1, x2, y2))), (CROP, CROP))
            points = detectors.source_landmarks(frame.index, crops[t])
            if points is None:
                points = landmarks[t - 1] if t else self._earlier(segment, detectors, box)
            landmarks[t] = points
            if low <= frame.index < high:
                found = detectors.face_box(frame.index, bgr(frame))
                if found is None:
                    raise ValueError(
                        f"{segment.video}: no face in frame {frame.index}; the original stops here (engine retalk does not)"
                    )
                boxes[t] = found
        seen = ~np.isnan(landmarks[:, 0, 0])
        columns = {"crops": crops, "landmarks": np.nan_to_num(landmarks), "found": seen, "boxes": boxes}
        return {**columns, "clip_box": np.array(box, np.int64)}

    def _clip_box(self, segment: Segment, detectors: Detectors) -> Box:
        for frame in read_frames(segment.video, 0, max(1, segment.n_frames // 2)):
            points = detectors.clip_landmarks(frame.index, frame.rgb())
            if points is not None:
                return oriented_crops.clip_crop(points, *segment.size).box
        raise ValueError(f"{segment.video}: no face in the first half of the video; the original stops here")

    def _earlier(self, segment: Segment, detectors: Detectors, box: Box) -> np.ndarray:
        """Landmarks of the last crop before the segment that has a face, NaN where none has."""
        y1, y2, x1, x2 = box
        for index in range(segment.frames[0] - 1, -1, -1):
            for frame in read_frames(segment.video, index, index + 1):
                points = detectors.source_landmarks(
                    index, cv2.resize(frame.rgb((x1, y1, x2, y2)), (CROP, CROP))
                )
                if points is not None:
                    return points
        return np.full((68, 2), np.nan, np.float32)


class Recon3dOriginal(ParityStage):
    """3DMM coefficients of each crop."""

    name = "recon3d"
    doing = "fitting 3D faces"
    reads = pa.schema(
        [
            tensor("crops", "uint8", "T", CROP, CROP, 3),
            tensor("landmarks", "float32", "T", 68, 2),
            tensor("found", "bool", "T"),
        ]
    )
    writes = pa.schema([tensor("coeffs", "float32", "T", 262)])

    def model_files(self, options: ParityOptions) -> tuple[str, ...]:
        return ("face3d", "similarity_Lm3D_all.mat")

    def compute(self, segment: Segment) -> dict[str, Any]:
        """See the class."""
        standard = standard_points(self.networks.registry)
        pictures, parameters = [], []
        for crop, points, found in zip(segment["crops"], segment["landmarks"], segment["found"], strict=True):
            picture, trans = align3d.align(crop, points if found else None, standard)
            pictures.append(picture)
            parameters.append(trans)
        return {
            "coeffs": np.concatenate(
                [self.networks.coefficients(np.stack(pictures)), np.stack(parameters)], axis=1
            ).astype(np.float32)
        }


@dataclasses.dataclass(frozen=True)
class DNetOriginalOptions(ParityOptions):
    """Options of `DNetOriginal`.

    Attributes:
        expression: neutral, smile, or a file of 64 numbers.
    """

    expression: str = "neutral"

    def __post_init__(self) -> None:
        check_expression(self.expression)
        if self.expression.lower().endswith(PICTURES):
            raise ValueError(
                f"expression {self.expression}: a picture is for engine retalk; the original's release cannot take one"
            )


class DNetOriginal(ParityStage):
    """Stabilised pictures, enhanced (BGR), and the oriented square of the face in each."""

    name = "dnet"
    doing = "neutralising expressions"
    Options = DNetOriginalOptions
    reads = pa.schema([tensor("crops", "uint8", "T", CROP, CROP, 3), tensor("coeffs", "float32", "T", 262)])
    writes = pa.schema(
        [tensor("enhanced", "uint8", "C", CROP, CROP, 3), tensor("quad", "float64", "C", 4, 2)]
    )

    def halo(self, options: DNetOriginalOptions) -> tuple[int, int]:
        """The coefficients' window, which is also more than the smoothing of the boxes needs."""
        del options
        return coefficients.BEFORE, coefficients.AFTER

    def model_files(self, options: DNetOriginalOptions) -> tuple[str, ...]:
        return (
            "dnet",
            "gpen",
            "parsenet",
            "expression.mat",
            *(() if options.recorded else ("retinaface", "s3fd", "fan")),
        )

    def compute(self, segment: Segment) -> dict[str, Any]:
        """See the class."""
        options, detectors, steps = self.options_for(segment), self.detectors(segment), Steps(self.networks)
        expression = template(options.expression, self.networks.registry)
        low, high = segment.core[0] - segment.frames[0], segment.core[1] - segment.frames[0]
        # The segment's rows end where the title's do, or further away than a window reaches; the source's own
        # row is among them: ratio 1.
        rows = np.asarray(segment["coeffs"])
        windows = np.stack(
            [
                coefficients.window(rows, i, float(coefficients.crop_ratio(rows[i], rows)), expression)
                for i in range(low, high)
            ]
        )
        stabilised = self.networks.edit(np.asarray(segment["crops"])[low:high], windows)[..., ::-1]
        enhanced, landmarks = np.zeros_like(stabilised), []
        for k in range(len(stabilised)):
            index, picture = segment.core[0] + k, np.ascontiguousarray(stabilised[k])
            faces = detectors.reference_faces(index, picture)
            enhanced[k] = steps.reference(picture, faces)
            points = detectors.enhanced_landmarks(index, enhanced[k])
            if points is None:
                raise ValueError(
                    f"{segment.video}: no face in the enhanced picture of frame {index}; the original stops here"
                )
            landmarks.append(points)
        return {"enhanced": enhanced, "quad": oriented_crops.oriented_crops(np.stack(landmarks))}


@dataclasses.dataclass(frozen=True)
class LNetOriginalOptions(ParityOptions):
    """Options of `LNetOriginal`.

    Attributes:
        pads: top, bottom, left, right, pixels by which the face box is larger than the face.
        smooth: False as the original's --nosmooth.
    """

    pads: tuple[int, int, int, int] = DEFAULT_PADS
    smooth: bool = True


def smoothed_box(raw: np.ndarray, first: int, index: int, used: int) -> np.ndarray:
    """The original's smoothed box of one frame from those around it.

    Args:
        raw: int64[T, 4], padded boxes of frames ``first`` and following.
        first: frame of ``raw[0]``.
        index: the frame asked for.
        used: frames of the clip that the original uses; its smoothing ends there.
    """
    if index + WINDOW <= used:
        return smooth_boxes(raw[index - first : index - first + WINDOW])[0]
    start = max(0, used - WINDOW)
    return smooth_boxes(raw[start - first : used - first])[index - start]


class LNetOriginal(ParityStage):
    """Low-resolution speaking faces (BGR), with the references and boxes that the next stages need.

    ``speaks`` is False where the original's result has ended.
    """

    name = "lnet"
    doing = "speaking"
    per = "dub"
    Options = LNetOriginalOptions
    reads = pa.schema(
        [
            tensor("clip_box", "int64", 4),
            tensor("boxes", "int64", "T", 4),
            tensor("enhanced", "uint8", "C", CROP, CROP, 3),
            tensor("quad", "float64", "C", 4, 2),
        ]
    )
    writes = pa.schema(
        [
            tensor("lips", "float32", "N", 96, 96, 3),
            tensor("reference", "uint8", "N", SIDE, SIDE, 3),
            tensor("face_box", "int64", "N", 4),
            tensor("speaks", "bool", "N"),
        ]
    )

    def model_files(self, options: LNetOriginalOptions) -> tuple[str, ...]:
        return ("lnet",)

    def compute(self, segment: Segment) -> dict[str, Any]:
        """See the class."""
        options = self.options_for(segment)
        spectrogram = speech_mel(segment.speech)
        starts = mel.chunk_starts(spectrogram.shape[1], float(probe_video(segment.video).average_rate))
        out = segment.out_start + np.arange(len(segment.source))
        speaks = out < len(starts)
        used = min(segment.n_frames, len(starts))
        face_box = np.zeros((len(out), 4), np.int64)
        padded = pad_boxes(np.asarray(segment["boxes"]), options.pads, segment.size)
        for k in np.flatnonzero(speaks):
            index, first = int(segment.source[k]), segment.frames[0]
            box = smoothed_box(padded, first, index, used) if options.smooth else padded[index - first]
            face_box[k] = box[[1, 3, 0, 2]]
        lips, reference = (
            np.zeros((len(out), 96, 96, 3), np.float32),
            np.zeros((len(out), SIDE, SIDE, 3), np.uint8),
        )
        if speaks.any():
            pairs = self._pairs(segment, np.flatnonzero(speaks), face_box)
            chunks = np.stack([spectrogram[:, starts[i] : starts[i] + mel.CHUNK] for i in out[speaks]])
            spoken = self.networks.lips(chunks, swap_colours(pairs))
            lips[speaks], reference[speaks] = swap_colours(spoken), pairs[..., 3:]
        return {"lips": lips, "reference": reference, "face_box": face_box, "speaks": speaks}

    def _pairs(self, segment: Segment, chosen: np.ndarray, face_box: np.ndarray) -> np.ndarray:
        """uint8[len(chosen), 384, 384, 6]: masked face and reference of output frames."""
        clip_box: Any = tuple(int(v) for v in segment["clip_box"])
        pairs = []
        for k, frame in zip(
            chosen,
            source_frames(segment.video, segment.source[chosen], probe_video(segment.video), 8),
            strict=True,
        ):
            core, picture = frame.index - segment.core[0], bgr(frame)
            reference = reference_frame(
                picture, np.asarray(segment["enhanced"])[core], np.asarray(segment["quad"])[core], clip_box
            )
            box: Any = tuple(int(v) for v in face_box[k])
            pairs.append(np.rint(face_input(picture, reference, box).pair * 255).astype(np.uint8))
        return np.stack(pairs)


class ENetOriginal(ParityStage):
    """Faces of full size, uint8 BGR, cut off as the original does before it pastes them."""

    name = "enet"
    doing = "refining faces"
    per = "dub"
    reads = pa.schema(
        [
            tensor("lips", "float32", "N", 96, 96, 3),
            tensor("reference", "uint8", "N", SIDE, SIDE, 3),
            tensor("speaks", "bool", "N"),
        ]
    )
    writes = pa.schema([tensor("face", "uint8", "N", SIDE, SIDE, 3)])

    def model_files(self, options: ParityOptions) -> tuple[str, ...]:
        return ("ENet.pth",)

    def compute(self, segment: Segment) -> dict[str, Any]:
        """See the class."""
        chosen = np.flatnonzero(segment["speaks"])
        face = np.zeros((len(segment["speaks"]), SIDE, SIDE, 3), np.uint8)
        if len(chosen):
            lips, reference = (
                swap_colours(np.asarray(segment[name])[chosen]) for name in ("lips", "reference")
            )
            drawn = np.clip(self.networks.faces(lips, reference), 0, 1) * 255.0
            face[chosen] = swap_colours(drawn.astype(np.uint8))
        return {"face": face}


@dataclasses.dataclass(frozen=True)
class BlendOriginalOptions(ParityOptions):
    """Options of `BlendOriginal`.

    Attributes:
        restoration: what restores the face.
        pictures: a local folder into which each rendered frame is also written before it is encoded, as PNG
            named by its number.
        crf: constant rate factor of the encoder.
        preset: speed of the encoder.
    """

    restoration: Restoration = "gfpgan-1.3"
    pictures: str = ""
    crf: float = EncoderOptions.crf
    preset: Preset = EncoderOptions.preset


class BlendOriginal(ParityStage):
    """Everything behind the networks, on whole frames through 512 x 512 as the original does it, and the
    encoded output segment.
    """

    name = "blend"
    doing = "blending"
    per = "dub"
    Options = BlendOriginalOptions
    reads = pa.schema(
        [
            tensor("face", "uint8", "N", SIDE, SIDE, 3),
            tensor("face_box", "int64", "N", 4),
            tensor("speaks", "bool", "N"),
        ]
    )
    writes = RECEIPT

    def model_files(self, options: BlendOriginalOptions) -> tuple[str, ...]:
        return (
            *restoration_files(options.restoration),
            "parsenet",
            *(() if options.recorded else ("retinaface",)),
        )

    def compute(self, segment: Segment) -> dict[str, Any]:
        """See the class."""
        options, info = self.options_for(segment), probe_video(segment.video)
        encoder = EncoderOptions(crf=options.crf, preset=options.preset)
        made = encode_segment(
            segment["target"], self.shown(self._frames(segment, info, options)), info, encoder
        )
        return receipt(segment["target"], made)

    def _frames(
        self, segment: Segment, info: VideoInfo, options: BlendOriginalOptions
    ) -> Iterator[tuple[Frame, int]]:
        steps, detectors, (width, height) = (
            Steps(self.networks, options.restoration),
            self.detectors(segment),
            segment.size,
        )
        whole = np.ones((height, width), np.float32)
        for k, frame in enumerate(source_frames(segment.video, segment.source, info, 8)):
            if segment["speaks"][k]:
                box: Any = tuple(int(v) for v in segment["face_box"][k])
                out = segment.out_start + k
                final = steps.finish(bgr(frame), np.asarray(segment["face"][k]), box, out, detectors).final
                if options.pictures:
                    os.makedirs(options.pictures, exist_ok=True)
                    cv2.imwrite(os.path.join(options.pictures, f"{out:06d}.png"), final)
                frame.paste((0, 0, width, height), np.ascontiguousarray(final[..., ::-1]), whole)
            yield frame, int(segment.out_pts[k])
