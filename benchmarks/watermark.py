"""Marks of dubs after attacks: python -m benchmarks.watermark DUB... [--unmarked CLIP...]

DUB: outputs of `retalk dub` made with this user's key. Each is attacked in turn, and the marks of speech and picture are looked for as
`retalk verify` does. Unmarked clips are cut into windows of 5 s and looked at with several keys: their p-values say what p-values are
worth. Prints Markdown.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from operators.media.audio import load_audio
from operators.watermark.code import decode
from operators.watermark.keys import MarkKey
from operators.watermark.speech_detector import RATE, read_speech
from pipelines.provenance.watermark_check import SURE, _picture, _speech
from pipelines.provenance.watermarks import read_key

Pictures = list[np.ndarray]


def gamma(pictures: Pictures) -> Pictures:
    table = np.clip(255 * (np.arange(256) / 255) ** 0.85 + 8, 0, 255).astype(np.uint8)
    return [table[one] for one in pictures]


def half(pictures: Pictures) -> Pictures:
    height, width = pictures[0].shape[:2]
    return [
        cv2.resize(one, (width // 4 * 2, height // 4 * 2), interpolation=cv2.INTER_AREA) for one in pictures
    ]


def crop(pictures: Pictures) -> Pictures:
    height, width = (n // 2 * 2 for n in pictures[0].shape[:2])
    top, left = height * 3 // 100, width * 2 // 100
    return [one[top : top + height * 19 // 40 * 2, left : left + width * 19 // 40 * 2] for one in pictures]


def same(pictures: Pictures) -> Pictures:
    return pictures


X264, X265 = "libx264", "libx265"
#: Name: change of pictures, encoder, its crf, AAC or MP3 and bit rate, whether only 5 s are kept, frames a second.
ATTACKS: dict[str, tuple[Callable[[Pictures], Pictures], str, str, str, int, bool, int | None]] = {
    "H.264 crf 28, AAC 64k": (same, X264, "28", "aac", 64000, False, None),
    "HEVC crf 30, MP3 96k": (same, X265, "30", "libmp3lame", 96000, False, None),
    "half size": (half, X264, "20", "aac", 128000, False, None),
    "half size, crf 28": (half, X264, "28", "aac", 64000, False, None),
    "crop 5 %": (crop, X264, "20", "aac", 128000, False, None),
    "brightness, gamma": (gamma, X264, "20", "aac", 128000, False, None),
    "25 to 30 fps": (same, X264, "20", "aac", 128000, False, 30),
    "5 s cut, AAC 64k": (same, X264, "20", "aac", 64000, True, None),
}


def attacked(dub: Path, name: str, out: Path) -> Path:
    """Write an attacked copy of a dub."""
    change, codec, crf, sound, bits, cut, fps = ATTACKS[name]
    with av.open(str(dub)) as file:
        rate = Fraction(file.streams.video[0].average_rate or 25)
        pictures = [frame.to_ndarray(format="bgr24") for frame in file.decode(video=0)]
    speech = load_audio(str(dub), 48000)
    if cut:
        start = int(len(pictures) * 0.23)
        pictures = pictures[start : start + int(5 * rate)]
        speech = speech[int(start / rate * 48000) :][: 5 * 48000]
    if fps is not None:
        count = int(len(pictures) / rate * fps)
        pictures, rate = [pictures[int(n * rate / fps)] for n in range(count)], Fraction(fps)
    pictures = change(pictures)
    path = out / "attacked.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=rate, options={"crf": crf})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        track = file.add_stream(sound, rate=48000, layout="mono")
        track.bit_rate = bits
        for picture in pictures:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="bgr24")))
        file.mux(stream.encode(None))
        for start in range(0, len(speech), 4800):
            block = av.AudioFrame.from_ndarray(speech[None, start : start + 4800], "fltp", "mono")
            block.rate, block.pts, block.time_base = 48000, start, Fraction(1, 48000)
            file.mux(track.encode(block))
        file.mux(track.encode(None))
    return path


def attack_rows(dubs: Sequence[Path], key: MarkKey) -> list[str]:
    """Lines of the table of attacks."""
    lines = ["| dub | attack | speech p | picture p | id in |", "|---|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as folder:
        for dub in dubs:
            for name in ATTACKS:
                path = str(attacked(dub, name, Path(folder)))
                speech, picture = _speech(path, key), _picture(path, key)
                assert speech is not None
                assert picture is not None
                softs = {
                    "speech": speech.soft,
                    "picture": picture.soft,
                    "both": speech.soft + picture.soft,
                }
                read = [carrier for carrier, soft in softs.items() if decode(key, soft).valid]
                line = f"| {dub.stem} | {name} | {speech.p:.0e} | {picture.p:.0e} | {', '.join(read) or 'none'} |"
                print(line, flush=True)
                lines.append(line)
    return lines


def unmarked(clips: Sequence[Path], keys: int) -> str:
    """P-values of unmarked speech under made-up keys, in one sentence."""
    found = []
    for clip in clips:
        samples = load_audio(str(clip), RATE)
        for start in range(0, max(1, len(samples) - 5 * RATE + 1), 5 * RATE // 2):
            for number in range(keys):
                key = MarkKey(number.to_bytes(32, "big"))
                found.append(read_speech(key, samples[start : start + 5 * RATE]).p)
    shares = ", ".join(f"{np.mean(np.array(found) < level):.3f} below {level}" for level in (0.5, 0.1, 0.01))
    return f"{len(found)} looks at unmarked windows of 5 s: {shares}, least {min(found):.1e} (a mark counts below {SURE:.0e})"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dubs", nargs="*", type=Path, metavar="DUB")
    parser.add_argument("--unmarked", nargs="*", type=Path, default=[], metavar="CLIP")
    parser.add_argument("--keys", type=int, default=8, help="made-up keys for each unmarked window")
    args = parser.parse_args()
    if args.dubs:
        attack_rows(args.dubs, read_key())
    if args.unmarked:
        print(unmarked(args.unmarked, args.keys))


if __name__ == "__main__":
    main()
