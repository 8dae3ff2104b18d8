"""The stage "paste" of the engine `wav2lip`: lays the made faces into their boxes and encodes the output
segment.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, ClassVar

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
from operators.segment import Segment
from operators.stage import Stage
from operators.wav2lip.wav2lip_stage import BLOCK, SIDE


@dataclasses.dataclass(frozen=True)
class PasteOptions(Encoding):
    """Options of `PasteStage`: the encoder's (`Encoding`)."""


class PasteStage(Stage):
    """The face, enlarged to its box, in the place of the frame's own: a hard paste, without mask or blending,
    as the original does.

    Samples outside the box are the decoder's; frames that do not speak are encoded as decoded. ``found`` is read by the
    measures alone (`operators.evaluation.watch`).

    Writes:
        path, sha256, frames, bytes: the receipt of the encoded segment, which lies at ``segment["target"]``.
    """

    name = "paste"
    per = "dub"
    Options: ClassVar[type] = PasteOptions
    reads = pa.schema(
        [
            tensor("face_boxes", "int64", "C", 4),
            tensor("found", "bool", "C"),
            tensor("face", "uint8", "N", SIDE, SIDE, 3),
            tensor("speaks", "bool", "N"),
        ]
    )
    writes = RECEIPT

    def process(self, segment: Segment) -> dict[str, Any]:
        """Paste and encode.

        Raises:
            MediaError: the video cannot be read, or the segment not be written; names file and time.
        """
        options, info = self.options_for(segment), probe_video(segment.video)
        encoder = EncoderOptions.of(options)
        made = encode_segment(segment["target"], self.shown(self._frames(segment, info)), info, encoder)
        return receipt(segment["target"], made)

    def _frames(self, segment: Segment, info: VideoInfo) -> Iterator[tuple[Frame, int]]:
        for k, frame in enumerate(source_frames(segment.video, segment.source, info, BLOCK)):
            for one in (segment, *segment.others):
                if one["speaks"][k]:
                    box: Any = tuple(int(v) for v in one["face_boxes"][frame.index - one.core[0]])
                    size = box[2] - box[0], box[3] - box[1]
                    face = cv2.resize(np.asarray(one["face"][k]), size)
                    frame.paste(box, face, np.ones((size[1], size[0]), np.float32))
            yield frame, int(segment.out_pts[k])
