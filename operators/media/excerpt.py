"""Excerpts of videos: some seconds from a time on, optionally a box of each picture at another size. Encoded again, nearly without loss."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.audio.resampler import AudioResampler
from av.filter import Graph

from operators.media.container import find_video, open_input
from operators.media.orientation import Box
from operators.storage.errors import MediaError
from operators.storage.files import atomic_write

#: Encoder of pictures: as good as the source for any metric.
ENCODER = {"crf": "10", "preset": "veryfast"}
#: Samples per second of the excerpt's sound.
RATE = 48000


def write_excerpt(
    source: str, target: str, start: float, seconds: float, box: Box | None = None, side: int | None = None
) -> None:
    """Write an excerpt as MP4, H.264 and AAC; it appears whole or not at all.

    Args:
        source: fsspec URL of the video.
        target: fsspec URL of the excerpt.
        start: seconds from the source's beginning.
        seconds: length; less where the source ends.
        box: x1, y1, x2, y2 of the picture that is kept; None: all of it.
        side: width and height that it is scaled to; None: its own, made even.

    Raises:
        MediaError: the source cannot be read, or has no picture in that time, or the box leaves it.
    """
    stop = start + seconds
    try:
        with (
            atomic_write(target) as path,
            open_input(source) as container,
            av.open(str(path), "w", format="mp4") as writer,
        ):
            stream = find_video(container, source)
            sound = next(iter(container.streams.audio), None)
            rate = stream.average_rate or Fraction(25)
            shape = _Shape(source, stream, box, side)
            video = writer.add_stream("libx264", rate=rate, options=ENCODER)
            video.width, video.height, video.pix_fmt = shape.width, shape.height, "yuv420p"
            video.codec_context.time_base = stream.time_base or Fraction(1, 90000)
            video.codec_context.color_range = stream.codec_context.color_range
            video.codec_context.colorspace = stream.codec_context.colorspace
            layout = "mono" if sound is not None and sound.channels == 1 else "stereo"
            audio = writer.add_stream("aac", rate=RATE, layout=layout) if sound is not None else None
            container.seek(max(0, int((start - 1) * av.time_base)))
            origin = None
            for frame in container.decode(stream):
                pts, unit = frame.pts or 0, frame.time_base or Fraction(1, 90000)
                time = float(pts * unit) - _begin(stream)
                if time >= stop - 1e-6:
                    break
                if time < start - 1e-6:
                    continue
                origin = pts if origin is None else origin
                shown = shape.applied(frame)
                shown.pts, shown.time_base = pts - origin, unit
                writer.mux(video.encode(shown))
            if origin is None:
                raise MediaError(f"{source}: has no picture between {start:g} and {stop:g} s")
            writer.mux(video.encode(None))
            if audio is not None:
                container.seek(max(0, int((start - 1) * av.time_base)))
                for part in _sound(container, sound, layout, start, stop):
                    writer.mux(audio.encode(part))
                writer.mux(audio.encode(None))
    except av.FFmpegError as problem:
        raise MediaError(f"{source}: no excerpt can be made of it ({problem})") from problem


class _Shape:
    """Crop and scaling of pictures by FFmpeg, which keeps their colours."""

    def __init__(self, source: str, stream: Any, box: Box | None, side: int | None) -> None:
        x1, y1, x2, y2 = box or (0, 0, stream.width, stream.height)
        if not (0 <= x1 < x2 <= stream.width and 0 <= y1 < y2 <= stream.height):
            raise MediaError(
                f"{source}: the box {x1},{y1},{x2},{y2} leaves its picture of {stream.width}x{stream.height}"
            )
        self._crop = f"{x2 - x1}:{y2 - y1}:{x1}:{y1}"
        self.width, self.height = (side, side) if side else ((x2 - x1) // 2 * 2, (y2 - y1) // 2 * 2)
        self._stream = stream
        self._graph: Graph | None = None

    def applied(self, frame: av.VideoFrame) -> av.VideoFrame:
        """The part of a picture that is kept."""
        if self._graph is None:
            graph = Graph()
            nodes = [
                graph.add_buffer(template=self._stream),
                graph.add("crop", self._crop),
                graph.add("scale", f"{self.width}:{self.height}:flags=bicubic"),
                graph.add("format", "yuv420p"),
                graph.add("buffersink"),
            ]
            graph.link_nodes(*nodes).configure()
            self._graph = graph
        self._graph.push(frame)
        return self._graph.pull()  # type: ignore[return-value]


def _begin(stream: Any) -> float:
    """Time of a stream's first picture, seconds."""
    return float((stream.start_time or 0) * stream.time_base)


def _sound(container: Any, sound: Any, layout: str, start: float, stop: float) -> Iterator[av.AudioFrame]:
    """Yield the sound of a time as frames of a layout, from its first sample on."""
    resampler, written = AudioResampler(format="fltp", layout=layout, rate=RATE), 0
    begin = _begin(sound)
    wanted = round((stop - start) * RATE)
    for frame in container.decode(sound):
        time = float(frame.pts * frame.time_base) - begin
        if time >= stop:
            break
        for part in resampler.resample(frame):
            values: np.ndarray = part.to_ndarray()
            early = max(0, round((start - time) * RATE))
            values = np.ascontiguousarray(values[:, early:][:, : wanted - written])
            if not values.shape[1]:
                continue
            cut = av.AudioFrame.from_ndarray(values, "fltp", layout)
            cut.sample_rate, cut.pts, cut.time_base = RATE, written, Fraction(1, RATE)
            written += values.shape[1]
            yield cut
