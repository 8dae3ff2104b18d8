"""The mark of pictures in the frames of a video, on their way to the encoder."""

from __future__ import annotations

import functools

import numpy as np

from operators.media.frames import Frame
from operators.media.orientation import Box
from operators.media.probe import VideoInfo
from operators.watermark.keyring import held
from operators.watermark.keys import dub_id
from operators.watermark.learned import VIDEOSEAL, VideoSealMarker
from operators.watermark.marking import USUAL, Marking
from operators.watermark.picture import CELLS, pattern, picture_change, turn_at
from operators.watermark.picture_tally import PictureTally

#: Marked frames from one that the strength is measured in to the next: neighbours say the same.
TALLIED = 2


class PictureMarker:
    """Marks the frames of one output segment. What it writes into a frame depends on the frame, its time and the id alone.

    Args:
        info: the video.
        options: of the mark.

    Raises:
        ValueError: this process does not have the key.
    """

    def __init__(self, info: VideoInfo, options: Marking) -> None:
        self._info, self._options, self._marked = info, options, 0
        self._size = info.width, info.height
        if self._options.watermark != "off":
            self._key = held(options.watermark_key)
            self._id = dub_id(self._key, options.watermark_of)
            if options.watermark_by == VIDEOSEAL:
                self._learned = VideoSealMarker(self._key, self._id, options.watermark_strength / USUAL)
            self._pattern = functools.lru_cache(maxsize=2)(self._cut)
            self._tally = PictureTally(self._key, self._id, self._size)

    def _cut(self, box: Box) -> np.ndarray:
        return pattern(self._key, self._id, self._size, box)

    def on(self, frame: Frame, pts: int) -> Frame:
        """The frame with the mark; the frame itself where there is nothing to mark."""
        options = self._options
        if options.watermark == "off" or (options.watermark == "on" and frame.drawn is None):
            return frame
        whole = (0, 0, *frame.size)
        box = whole if options.watermark == "frame" or frame.drawn is None else frame.drawn
        weight = None if box == whole and options.watermark == "frame" else frame.drawn_weight(box)
        seconds = float((pts - int(self._info.pts[0])) * self._info.time_base)
        turn, pitch = turn_at(self._key, seconds), min(self._size) / CELLS
        marked = frame.copy()
        if options.watermark_by == VIDEOSEAL:
            marked.change_luma(box, self._learned.change(frame.rgb(box), weight))
            return marked
        change = picture_change(
            self._pattern(box), frame.luma(box), weight, turn, pitch, options.watermark_strength
        )
        marked.change_luma(box, change)
        if self._marked % TALLIED == 0:
            around = self._tally.around(box)
            self._tally.add(marked.luma(around), around, box, weight, seconds)
        self._marked += 1
        return marked

    @property
    def power(self) -> float:
        """Square of the expected normal deviate of what was marked so far (`operators.watermark.picture_tally`)."""
        return 0.0 if self._options.watermark == "off" else self._tally.power
