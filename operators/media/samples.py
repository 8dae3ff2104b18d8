"""Between audio frames and arrays: the only place that does it.

PyAV counts one plane too many in planar frames of 8 channels and never stops counting from 9 on, in both
directions; the process dies of it. Packed frames have one plane, so every frame is packed first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction

import av.error
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.layout import AudioLayout
from av.audio.resampler import AudioResampler
from av.filter import Graph

from operators.media.mixdown import mix_weights


def sound_frame(
    samples: np.ndarray, rate: int, layout: AudioLayout | str, position: int | None = None
) -> AudioFrame:
    """A packed frame of float32[channels, n] samples; ``position`` is its time in samples."""
    packed = np.ascontiguousarray(samples.T, np.float32).reshape(1, -1)
    frame = AudioFrame.from_ndarray(packed, format="flt", layout=layout)
    frame.sample_rate = rate
    if position is not None:
        frame.pts, frame.time_base = position, Fraction(1, rate)
    return frame


class Converter:
    """Decoded frames of one stream to float32[channels, n] arrays, resampled.

    Frames may change their rate and channels: the arrays go on as they began.

    Args:
        rate: samples per second of the arrays; those of the first frame if None.
        layout: of the arrays, where frames have another number of channels; that of the first frame if None.
    """

    def __init__(self, rate: int | None = None, layout: AudioLayout | None = None) -> None:
        self._rate, self._layout = rate, layout
        self._resampler: AudioResampler | None = None
        self._weights: np.ndarray | None = None
        self._kind: tuple[str, int, str] | None = None

    def convert(self, frame: AudioFrame | None) -> list[np.ndarray]:
        """Arrays of the next frame; None flushes what the resampler still holds."""
        if frame is None:
            return self._resampled(None)
        rest: list[np.ndarray] = []
        kind = (frame.format.name, frame.sample_rate, frame.layout.name)
        if kind != self._kind:
            rest = self._resampled(None)
            self._kind = kind
            self._rate, self._layout = self._rate or frame.sample_rate, self._layout or frame.layout
            self._weights, layout = _towards(frame.layout, self._layout)
            self._resampler = AudioResampler("flt", layout, self._rate)
        return rest + self._resampled(frame)

    def _resampled(self, frame: AudioFrame | None) -> list[np.ndarray]:
        if self._resampler is None:
            return []
        arrays = [_view(out) for out in self._resampler.resample(frame) if out is not None and out.samples]
        return arrays if self._weights is None else [self._weights @ array for array in arrays]


def _towards(layout: AudioLayout, wanted: AudioLayout) -> tuple[np.ndarray | None, AudioLayout]:
    """Weights that lead from one layout to another behind the resampler, and the layout that the resampler makes."""
    if layout.nb_channels == wanted.nb_channels:
        return None, layout
    if wanted.nb_channels > 2:
        return None, wanted
    if layout.nb_channels == 1:
        return np.ones([2, 1], np.float32), layout
    names = [channel.name for channel in layout.channels]
    return mix_weights(names, "mono" if wanted.nb_channels == 1 else "stereo"), layout


def _view(frame: AudioFrame) -> np.ndarray:
    """float32[channels, n] of a packed float frame, a view that keeps it alive."""
    channels = frame.layout.nb_channels
    values = np.frombuffer(memoryview(frame.planes[0]), np.float32, channels * frame.samples)
    return values.reshape(frame.samples, channels).T


class Chain:
    """FFmpeg's filters behind each other.

    Args:
        rate: samples a second.
        layout: of the channels.
        filters: names with arguments.
    """

    def __init__(self, rate: int, layout: AudioLayout | str, filters: Sequence[tuple[str, str]]) -> None:
        self._rate, self._layout, self._position = rate, layout, 0
        name = layout if isinstance(layout, str) else layout.name
        self._graph = graph = Graph()
        last = graph.add(
            "abuffer", sample_rate=str(rate), sample_fmt="flt", channel_layout=name, time_base=f"1/{rate}"
        )
        for kind, arguments in (*filters, ("aformat", "sample_fmts=flt"), ("abuffersink", "")):
            following = graph.add(kind, arguments) if arguments else graph.add(kind)
            last.link_to(following)
            last = following
        graph.configure()

    def push(self, block: np.ndarray) -> Iterator[AudioFrame]:
        """Put float32[channels, n] in, and give the packed float frames that come out."""
        self._graph.push(sound_frame(block, self._rate, self._layout, self._position))
        self._position += block.shape[1]
        yield from _pulled(self._graph)

    def flush(self) -> Iterator[AudioFrame]:
        """Give what is still inside."""
        if self._position:
            self._graph.push(None)
            yield from _pulled(self._graph)


def filtered(
    blocks: Iterable[np.ndarray], rate: int, layout: AudioLayout | str, filters: Sequence[tuple[str, str]]
) -> Iterator[AudioFrame]:
    """Packed float frames of float32[channels, n] blocks behind FFmpeg's filters, given as names with
    arguments.
    """
    chain = Chain(rate, layout, filters)
    for block in blocks:
        yield from chain.push(block)
    yield from chain.flush()


def filtered_samples(
    blocks: Iterable[np.ndarray], rate: int, layout: AudioLayout | str, filters: Sequence[tuple[str, str]]
) -> Iterator[np.ndarray]:
    """`filtered`, as float32[channels, n]."""
    return (_view(frame) for frame in filtered(blocks, rate, layout, filters) if frame.samples)


def _pulled(graph: Graph) -> Iterator[AudioFrame]:
    while True:
        try:
            frame = graph.pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        assert isinstance(frame, AudioFrame)
        yield frame
