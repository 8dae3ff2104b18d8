"""Output segments of the source's own pictures, encoded as those of a dub are, without a mark."""

from __future__ import annotations

import dataclasses

import numpy as np

from operators.media.encoders import EncoderOptions
from operators.media.ordered_frames import source_frames
from operators.media.probe import probe_video
from operators.media.writer import EncodedSegment, encode_segment

#: Frames held where the output runs backwards.
BLOCK = 16


def encode_untouched(
    url: str, video: str, source: np.ndarray, pts: np.ndarray, options: EncoderOptions
) -> EncodedSegment:
    """Encode frames of a video as they are.

    Args:
        url: fsspec URL of the file to write.
        video: fsspec URL of the source.
        source: int64[N], the source frame that each output frame shows.
        pts: int64[N], presentation times of the output frames in the video's time base.
        options: those of the dub's other segments, so that they can be joined.

    Raises:
        MediaError: the video cannot be read, or the segment not be written.
    """
    info = probe_video(video)
    options = dataclasses.replace(options, watermark="off")
    frames = zip(source_frames(video, source, info, BLOCK), pts.tolist(), strict=True)
    return encode_segment(url, frames, info, options)
