"""Readers side by side: PyAV (`operators.media.reader`) and decord on the same files, in one run.

Usage: python -m benchmarks.readers VIDEO [VIDEO ...] [--span 48] [--picks 12]

Prints CPU milliseconds of all threads for each frame that was asked for, and their ratio to `read_frames` with
`Frame.rgb`, the baseline. Both decoders get one thread. Ways to read:

* planes: `read_frames` alone, the frames' own planes as the stages that draw need them. decord has no such thing.
* rgb: `read_frames` and `Frame.rgb` of the whole picture, by the stream's colour matrix.
* swscale: `read_frames` and FFmpeg's own conversion to RGB: decord's pixels, made by PyAV.
* swscale, chosen: the same in as few stretches as seeking is worth (`ordered_frames.chosen_frames`).
* decord: a `decord.VideoReader` opened for each range.
* decord, kept open: one reader for all ranges; opening it once counts.

Whole videos, ranges of ``--span`` frames and single frames at ``--picks`` random places are read, and the whole
video in the size in which the planner looks for cuts (which decord reduces itself, with its own filter).

The last line of a file says in how many of its frames decord's pixels differ from those of PyAV and swscale.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np

from benchmarks.media import carphone, machine
from operators.media.frames import Frame
from operators.media.ordered_frames import chosen_frames
from operators.media.probe import VideoInfo, probe_video
from operators.media.reader import read_frames
from operators.media.rgb_reader import swscale_rgb
from pipelines.planning.shots import LONG_SIDE

Spans = list[tuple[int, int]]
Read = Callable[[VideoInfo, Spans], object]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("videos", nargs="*", help="default: the carphone sequence")
    parser.add_argument("--span", type=int, default=48, help="frames of a range")
    parser.add_argument("--picks", type=int, default=12, help="random ranges, and single frames")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    print(machine())
    for video in options.videos or [carphone()]:
        measure(probe_video(video), options.span, options.picks, options.repeats)


def measure(info: VideoInfo, span: int, picks: int, repeats: int) -> None:
    """Print the table of one file."""
    random = np.random.default_rng(0)
    span = min(span, info.n_frames)
    starts = random.integers(0, info.n_frames - span + 1, picks).tolist()
    singles = sorted(set(random.integers(0, info.n_frames, picks).tolist()))
    cases: dict[str, tuple[Spans, dict[str, Read]]] = {
        "whole": ([(0, info.n_frames)], FULL),
        f"ranges of {span}": ([(start, start + span) for start in starts], FULL),
        "single frames": ([(at, at + 1) for at in singles], {**FULL, "swscale, chosen": chosen}),
        f"whole, {LONG_SIDE} px": ([(0, info.n_frames)], REDUCED),
    }
    print(f"\n{Path(info.url).name}, {info.width}x{info.height} {info.codec}, {info.n_frames} frames")
    print(f"{'':18} {'':20} {'CPU ms/frame':>12} {'of rgb':>7}")
    for case, (spans, readers) in cases.items():
        costs = cpu(info, spans, readers, repeats)
        baseline = costs["rgb"] if "rgb" in costs else costs["swscale"]
        for name, cost in costs.items():
            print(f"{case:18} {name:20} {cost:12.2f} {cost / baseline:7.2f}")
    print(f"frames whose pixels differ between decord and swscale: {differing(info)} of {info.n_frames}")


def cpu(info: VideoInfo, spans: Spans, readers: dict[str, Read], repeats: int) -> dict[str, float]:
    """The least CPU time of each reader, in milliseconds a frame; readers take turns."""
    costs: dict[str, list[float]] = {name: [] for name in readers}
    for _ in range(repeats):
        for name, read in readers.items():
            begin = time.process_time()
            read(info, spans)
            costs[name].append(time.process_time() - begin)
    frames = sum(stop - start for start, stop in spans)
    return {name: 1000 * min(seconds) / frames for name, seconds in costs.items()}


def by_pyav(convert: Callable[[Frame], object]) -> Read:
    """Return a reader that converts each frame of PyAV."""

    def read(info: VideoInfo, spans: Spans) -> None:
        for start, stop in spans:
            for frame in read_frames(info.url, start, stop, info):
                convert(frame)

    return read


def chosen(info: VideoInfo, spans: Spans) -> None:
    """PyAV and swscale for single ascending frames."""
    for frame in chosen_frames(info.url, np.array([start for start, _ in spans]), info):
        swscale_rgb(frame)


def decord_frames(reader: object, numbers: Iterable[int]) -> Iterable[np.ndarray]:
    """uint8[h, w, 3] RGB of ascending frames, one at a time as `read_frames` gives them."""
    for number in numbers:
        yield reader[number].asnumpy()  # type: ignore[index]


def opened_each_time(info: VideoInfo, spans: Spans) -> None:
    """decord, opened anew for each range."""
    for start, stop in spans:
        for _ in decord_frames(video_reader(info), range(start, stop)):
            pass


def kept_open(info: VideoInfo, spans: Spans) -> None:
    """decord, opened once."""
    reader = video_reader(info)
    for start, stop in spans:
        for _ in decord_frames(reader, range(start, stop)):
            pass


def reduced_size(info: VideoInfo) -> dict[str, int]:
    """Width and height in which cuts are looked for."""
    scale = min(1.0, LONG_SIDE / max(info.width, info.height))
    return {"width": max(2, round(info.width * scale)), "height": max(2, round(info.height * scale))}


def reduced_by_decord(info: VideoInfo, spans: Spans) -> None:
    """decord, which reduces the pictures."""
    reader = video_reader(info, **reduced_size(info))
    for start, stop in spans:
        for _ in decord_frames(reader, range(start, stop)):
            pass


def reduced_by_pyav(info: VideoInfo, spans: Spans) -> None:
    """PyAV with swscale, as the planner does it."""
    size = reduced_size(info)
    for start, stop in spans:
        for frame in read_frames(info.url, start, stop, info):
            picture = frame.picture.reformat(format="bgr24", interpolation="AREA", threads=1, **size)
            picture.to_ndarray()


def video_reader(info: VideoInfo, width: int = -1, height: int = -1) -> object:
    """A reader of decord's with one thread."""
    import decord

    return decord.VideoReader(info.url, num_threads=1, width=width, height=height)


def differing(info: VideoInfo) -> int:
    """Number of frames in which decord's pixels are not those of PyAV and swscale."""
    reader = video_reader(info)
    pairs = zip(
        read_frames(info.url, 0, info.n_frames, info),
        decord_frames(reader, range(info.n_frames)),
        strict=True,
    )
    return sum(not np.array_equal(swscale_rgb(frame), picture) for frame, picture in pairs)


FULL: dict[str, Read] = {
    "planes": by_pyav(lambda frame: None),
    "rgb": by_pyav(Frame.rgb),
    "swscale": by_pyav(swscale_rgb),
    "decord": opened_each_time,
    "decord, kept open": kept_open,
}
REDUCED: dict[str, Read] = {"swscale": reduced_by_pyav, "decord": reduced_by_decord}


if __name__ == "__main__":
    main()
