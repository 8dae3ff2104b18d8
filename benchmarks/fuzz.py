"""Fuzz the manifest parser and the probe: seeded mutations of real manifests and real containers, for a given
time.

    python -m benchmarks.fuzz --seconds 300 [--seed 1] [--target manifest|probe] [--keep FOLDER]

Only a `UsageError` (manifest) or a `MediaError` (probe) may come out. Anything else, a crash of the process,
one input that takes longer than `PATIENCE`, or one that needs more than `MEMORY` of address space is a
finding; its input is kept. Exit code 1 if there is any. The suite runs the same for a few seconds
(tests/test_fuzz.py).
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

PATIENCE = 20.0
MEMORY = 8 << 30
TARGETS = ("manifest", "probe")
#: Bytes with a meaning in some format.
TOKENS = [
    b"\x00",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\x80\x00\x00\x00",
    b"\x00" * 8,
    b'"',
    b"{",
    b"[" * 50,
    b"\\ud800",
    b"\\u0000",
]
TOKENS += [
    b"::",
    b"file://",
    b"://",
    b"null",
    b"-1",
    b"1e999",
    b"NaN",
    b"\n",
    b",",
    b"moov",
    b"mdat",
    b"stts",
    b"\x1a\x45\xdf\xa3",
    b"G\x40",
]
VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    2**70,
    1e308,
    "",
    " ",
    "\x00",
    "\ud800",
    "é" * 300,
    "a" * 5000,
    "../../etc",
    "~",
    "s3://",
]
VALUES += [
    "memory://x",
    "zip::",
    "::",
    "file://",
    "data:,x",
    "a\nb",
    "[",
    "{}",
    "[{}]",
    [],
    {},
    [[]],
    [None],
    [{"speech": None}],
    {"a": {"b": 1}},
]
KEYS = [
    "id",
    "video",
    "speech",
    "output",
    "dubs",
    "face",
    "length",
    "audio",
    "language",
    "level",
    "level.gain",
    "x",
    "",
    "\x00",
    "paint.log",
]


@dataclass(frozen=True)
class Finding:
    """An outcome that no input may have."""

    what: str
    kept: str


# --- mutations ----------------------------------------------------------------------------------------------
def mutate(data: bytes, random_: random.Random) -> bytes:
    """A few random changes to bytes."""
    changed = bytearray(data)
    for _ in range(random_.choice((1, 1, 2, 4, 16))):
        if not changed:
            changed = bytearray(b"\x00")
        at = random_.randrange(len(changed))
        if random_.random() < 0.5:  # headers and indexes lie at the beginning and at the end
            at = random_.choice((at % 400, len(changed) - 1 - at % 2000)) % len(changed)
        kind, length = random_.randrange(8), random_.choice((1, 2, 4, 8, 64, 1000))
        if kind == 0:
            changed[at] ^= 1 << random_.randrange(8)
        elif kind == 1:
            changed[at] = random_.randrange(256)
        elif kind == 2:
            del changed[at : at + length]
        elif kind == 3:
            changed[at:at] = changed[at : at + length]
        elif kind == 4:
            changed[at : at + 4] = random_.choice(TOKENS)
        elif kind == 5:
            changed[at:at] = random_.choice(TOKENS)
        elif kind == 6:
            changed[at : at + length] = bytes(random_.randrange(256) for _ in range(length))
        else:
            del changed[at:]
    return bytes(changed)


def random_value(random_: random.Random, depth: int = 0) -> Any:
    kind = random_.randrange(4)
    if kind < 2 or depth > 3:
        return random_.choice(VALUES)
    if kind == 2:
        return [random_value(random_, depth + 1) for _ in range(random_.randrange(4))]
    return {random_.choice(KEYS): random_value(random_, depth + 1) for _ in range(random_.randrange(4))}


# --- manifests ----------------------------------------------------------------------------------------------
ROWS: list[dict[str, Any]] = [
    {"id": "a", "video": "a.mp4", "speech": "a.wav", "output": "a.mp4", "length": "loop", "level.gain": 1.5},
    {
        "id": 7,
        "video": "s3://b/a.mp4",
        "speech": "/x/a.wav",
        "face": "left",
        "language": "deu",
        "audio": "add",
    },
    {
        "id": "c",
        "video": "c.mkv",
        "dubs": [
            {"language": "de", "speech": "de.wav", "output": "de.mp4"},
            {"language": "fr", "speech": "f.wav"},
        ],
    },
    {"id": "d", "video": "d.mov", "speech": "d.flac", "level": {"gain": 0.5}, "output": "memory://d/d.mkv"},
]


def manifest_input(random_: random.Random) -> tuple[str, bytes]:
    """A mutated manifest: its suffix and content."""
    rows = [dict(row) for row in ROWS]
    for _ in range(random_.randrange(4)):
        row = random_.choice(rows)
        row[random_.choice(KEYS)] = random_value(random_)
    kind = random_.choice((".jsonl", ".jsonl", ".csv", ".parquet"))
    if kind == ".jsonl":
        data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    elif kind == ".csv":
        names = sorted({str(key) for row in rows for key in row})
        lines = [names, *([json.dumps(row.get(name, "")) for name in names] for row in rows)]
        data = "\n".join(
            ",".join('"' + str(cell).replace('"', '""') + '"' for cell in line) for line in lines
        ).encode("utf-8", "replace")
    else:
        data = _parquet(rows)
    return kind, mutate(data, random_) if random_.random() < 0.7 else data


def _parquet(rows: list[dict[str, Any]]) -> bytes:
    sink = io.BytesIO()
    columns: dict[str, Any] = {}
    for name in sorted({str(key) for row in rows for key in row}):
        values = [row.get(name) for row in rows]
        try:
            columns[name] = pa.array(values)
        except (pa.ArrowException, ValueError, OverflowError):
            columns[name] = pa.array(
                [json.dumps(value).encode("utf-8", "replace").decode() for value in values]
            )
    try:
        pq.write_table(pa.table(columns), sink)
    except (pa.ArrowException, ValueError):
        pq.write_table(pa.table({"id": ["a"]}), sink)
    return sink.getvalue()


def try_manifest(path: Path) -> None:
    """Do what a run does with a manifest before anything is opened, and with its titles' names afterwards."""
    from pipelines.engine.config import load_engine
    from pipelines.engine.engine import Engine
    from pipelines.manifest.confinement import restrict_paths
    from pipelines.manifest.reader import read_manifest
    from pipelines.manifest.titles import Title
    from pipelines.planning.plans import decode, encode
    from pipelines.state.content_keys import content_key
    from pipelines.state.run_directory import slug

    engine = try_manifest.__dict__.setdefault("engine", Engine(load_engine("exemplar")))
    titles = read_manifest(str(path), engine, "/nowhere/out", {"face": "largest"})
    for title in [*titles, *restrict_paths(titles, ["/nowhere", "s3://b"], "/nowhere/out")]:
        assert decode(Title, encode(title)) == title
        content_key(title.id, title.options)
        assert "/" not in slug(title.id)
        texts = [
            title.id,
            title.video,
            title.error,
            title.face,
            *(text for dub in title.dubs for text in (dub.dub, dub.speech, dub.output)),
        ]
        pa.array(texts, pa.string())  # the ledger is a table
        "".join(texts).encode()


# --- containers ---------------------------------------------------------------------------------------------
def seeds() -> dict[str, bytes]:
    """Small real files of many kinds, made here."""
    made: dict[str, bytes] = {}
    kinds = {
        ".mp4": ("libx264", "aac"),
        ".mkv": ("libx264", "aac"),
        ".ts": ("libx264", "aac"),
        ".mov": ("mpeg4", "pcm_s16le"),
    }
    kinds |= {
        ".avi": ("mpeg4", "mp3"),
        ".mpg": ("mpeg2video", "mp2"),
        ".webm": ("libvpx", "libopus"),
        ".flv": ("flv1", "mp3"),
    }
    kinds |= {
        ".gif": ("gif", ""),
        ".png": ("png", ""),
        ".jpg": ("mjpeg", ""),
        ".wav": ("", "pcm_s16le"),
        ".flac": ("", "flac"),
        ".mp3": ("", "mp3"),
    }
    for suffix, (video, audio) in kinds.items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, f"seed{suffix}")
            try:
                _seed(path, video, audio)
            except (av.error.FFmpegError, ValueError):  # this build has no such encoder
                continue
            made[suffix] = path.read_bytes()
    assert len(made) > 8, sorted(made)
    return made


def _seed(path: Path, video: str, audio: str) -> None:
    options = {"update": "1"} if path.suffix in (".png", ".jpg") else {}
    with av.open(str(path), "w", format="image2" if options else None, options=options) as container:
        pictures = container.add_stream(video, rate=25, width=48, height=32) if video else None
        if pictures is not None:
            formats = {"gif": "rgb8", "png": "rgb24", "mjpeg": "yuvj420p"}
            pictures.pix_fmt = formats.get(video, "yuv420p")
        sound = container.add_stream(audio, rate=48000 if audio == "libopus" else 44100) if audio else None
        for index in range(1 if options else 8 if pictures is not None else 0):
            assert pictures is not None
            image = np.full((32, 48, 3), 20 * index + 30, np.uint8)
            image[:, 4 * index : 4 * index + 8] = 200
            frame = av.VideoFrame.from_ndarray(image, "rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(pictures.encode(frame.reformat(format=pictures.pix_fmt)))
        if pictures is not None:
            container.mux(pictures.encode(None))
        if sound is not None:
            tone = (0.3 * np.sin(np.arange(int(sound.rate * 0.32)) / 20)).astype(np.float32)
            made = av.AudioFrame.from_ndarray(tone[None], "fltp", "mono")
            made.sample_rate = sound.rate
            for frame in av.AudioResampler(
                sound.format.name, sound.layout.name, sound.rate, sound.codec_context.frame_size or 1024
            ).resample(made):
                container.mux(sound.encode(frame))
            container.mux(sound.encode(None))


def try_probe(path: Path) -> None:
    """Probe an input as planning does: as a video, and as a speech."""
    from operators.media.limits import MediaLimits
    from operators.media.probe import is_still_image, probe_video
    from operators.storage.errors import MediaError
    from pipelines.planning.speech import speech_length

    limits = MediaLimits(max_megapixels=36, max_hours=12, max_gib=1)
    for look in (
        lambda: is_still_image(str(path)),
        lambda: probe_video(str(path), limits),
        lambda: speech_length(str(path), limits),
    ):
        try:
            look()
        except MediaError:
            continue


# --- running ------------------------------------------------------------------------------------------------
def worker(target: str, seed: int, seconds: float, folder: Path, inputs: int = 1 << 60) -> None:
    """Fuzz in this process, for a time or a number of inputs. Each input lies in `folder` while it is tried;
    a finding's stays, with what came out beside it.
    """
    from pipelines.errors import UsageError

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    files = seeds() if target == "probe" else {}
    until, count = time.monotonic() + seconds, 0
    while time.monotonic() < until and count < inputs:
        random_ = random.Random(f"{target} {seed} {count}")
        if target == "probe":
            suffix = random_.choice(sorted(files))
            data = mutate(files[suffix], random_)
            suffix = suffix if random_.random() < 0.9 else random_.choice(sorted(files))
        else:
            suffix, data = manifest_input(random_)
        path = folder / f"{target}-{seed}-{count}{suffix}"
        path.write_bytes(data)
        (folder / "now").write_text(path.name)
        action: Callable[[Path], None] = try_probe if target == "probe" else try_manifest
        try:
            action(path)
        except Exception as problem:
            if isinstance(problem, UsageError) and target == "manifest":
                path.unlink()
            else:
                path.with_name(f"{path.name}.txt").write_text(traceback.format_exc())
        else:
            path.unlink()
        count += 1
        (folder / "count").write_text(str(count))


def fuzz(
    target: str, seconds: float, seed: int, folder: Path, most: int = 20, inputs: int = 1 << 60
) -> tuple[int, list[Finding]]:
    """Fuzz in child processes, which may crash or hang.

    Args:
        target: one of `TARGETS`.
        seconds: for how long.
        seed: of the mutations.
        folder: where inputs lie, and those of findings stay.
        most: findings after which it gives up.
        inputs: how many are enough.

    Returns:
        How many inputs were tried, and the findings.
    """
    tried, findings, until = 0, list[Finding](), time.monotonic() + seconds
    while time.monotonic() < until and len(findings) < most and tried < inputs:
        for name in ("now", "count"):
            (folder / name).unlink(missing_ok=True)
        left = max(1.0, until - time.monotonic())
        asked = {"worker": folder, "seconds": left, "seed": seed, "target": target, "inputs": inputs - tried}
        arguments = [
            sys.executable,
            "-m",
            "benchmarks.fuzz",
            *(word for name, value in asked.items() for word in (f"--{name}", str(value))),
        ]
        with (folder / "log").open("w") as log:
            child = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
        moved, before, hung = time.monotonic(), "", False
        while child.poll() is None:
            time.sleep(0.1)
            now = (folder / "now").read_text() if (folder / "now").exists() else ""
            if now != before:
                before, moved = now, time.monotonic()
            if time.monotonic() - moved > PATIENCE * (3 if not now else 1):
                hung = True
                child.kill()
                child.wait()
        tried += int((folder / "count").read_text() or 0) if (folder / "count").exists() else 0
        if child.returncode != 0:
            name = (folder / "now").read_text() if (folder / "now").exists() else ""
            why = (
                f"more than {PATIENCE:g} s"
                if hung
                else f"the process ended with {child.returncode}: {(folder / 'log').read_text()[-2000:]}"
            )
            (folder / f"{name or 'start'}.txt").write_text(why)
        seed += 1
        findings = [
            Finding(path.read_text(), str(path.with_suffix(""))) for path in sorted(folder.glob("*.txt"))
        ]
    return tried, findings


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="for each target (default: 60)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--target", choices=TARGETS, help="default: both")
    parser.add_argument(
        "--keep", type=Path, help="where inputs of findings are kept (default: a new temporary folder)"
    )
    parser.add_argument(
        "--inputs",
        type=int,
        default=1 << 60,
        help="stop after so many inputs (default: when the time is over)",
    )
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.worker is not None:
        worker(args.target, args.seed, args.seconds, args.worker, args.inputs)
        return 0
    keep = args.keep or Path(tempfile.mkdtemp(prefix="retalk-fuzz-"))
    keep.mkdir(parents=True, exist_ok=True)
    bad = 0
    for target in [args.target] if args.target else TARGETS:
        tried, findings = fuzz(target, args.seconds, args.seed, keep, inputs=args.inputs)
        bad += len(findings)
        print(f"{target}: {tried} inputs in {args.seconds:g} s, {len(findings)} findings")
        for finding in findings:
            print(f"--- {finding.kept}\n{finding.what}")
        for path in keep.glob("*.txt"):
            path.rename(path.with_suffix(".told"))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
