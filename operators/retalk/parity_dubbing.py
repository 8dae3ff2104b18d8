"""Stages of parity mode that run once per dub: `lnet`, `enet`, `blend` (see `parity_stage`)."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pyarrow as pa

from operators.columns import tensor
from operators.media.codec_names import Encoding
from operators.media.encoders import EncoderOptions
from operators.media.frames import Frame
from operators.media.ordered_frames import source_frames
from operators.media.probe import VideoInfo, probe_video
from operators.media.writer import encode_segment
from operators.receipt import RECEIPT, receipt
from operators.retalk import mel
from operators.retalk.face_boxes import DEFAULT_PADS, WINDOW, pad_boxes, smooth_boxes
from operators.retalk.model_files import Restoration, restoration_files
from operators.retalk.network_inputs import SIDE, face_input, reference_frame, swap_colours
from operators.retalk.original import Steps
from operators.retalk.parity_stage import CROP, ParityOptions, ParityStage, bgr
from operators.retalk.source import speech_mel
from operators.segment import Segment


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
class BlendOriginalOptions(ParityOptions, Encoding):
    """Options of `BlendOriginal`: the encoder's (`Encoding`) and the following.

    Attributes:
        restoration: what restores the face.
        pictures: a local folder into which each rendered frame is also written before it is encoded, as PNG
            named by its number.
    """

    restoration: Restoration = "gfpgan-1.3"
    pictures: str = ""


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
        encoder = EncoderOptions.of(options)
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
