"""Dubs to measure marks on, in pairs with and without a mark: their cost, and how much of picture and sound they change."""

from __future__ import annotations

import itertools
import json
import shutil
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from scipy.io import wavfile

from benchmarks.exemplar import SUFFIXES
from benchmarks.watermark_attacks import read_rows
from operators.media.audio import has_sound, load_audio
from operators.media.probe import probe_video
from operators.media.reader import read_frames
from operators.watermark.keys import MarkKey, dub_id
from operators.watermark.speech import marked_speech, segmental_snr
from pipelines.one_title import dub as dub_one
from pipelines.state.sidecars import with_sidecars

#: Seconds of a dub at least, and pixels of the shorter side of its picture at most.
SECONDS, SIDE = 11.0, 540
#: Samples a second of the speech.
RATE = 48000
#: Frames of a pair that are compared.
COMPARED = 100


def footage(clip: Path, part: int, path: Path) -> None:
    """Write up to `SECONDS` of a clip, of no more than `SIDE`; a clip that is short and small enough is copied."""
    info = probe_video(str(clip))
    times = (info.pts - info.pts[0]) * float(info.time_base)
    if times[-1] < 1.5 * SECONDS and min(info.width, info.height) <= SIDE:
        shutil.copy(clip, path)
        return
    begin = part * SECONDS if times[-1] >= (part + 1) * SECONDS - 0.5 else 0.0
    first, last = (int(np.searchsorted(times, at)) for at in (begin, begin + SECONDS))
    scale = min(1.0, SIDE / min(info.width, info.height))
    size = tuple(int(n * scale) // 2 * 2 for n in (info.width, info.height))
    with av.open(str(path), "w") as file:
        rate = Fraction((last - first - 1) / (times[last - 1] - times[first])).limit_denominator(1001)
        stream = file.add_stream("libx264", rate=rate, options={"crf": "12", "preset": "veryfast"})
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        for frame in read_frames(str(clip), first, last):
            picture = cv2.resize(frame.rgb(), size, interpolation=cv2.INTER_AREA)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(stream.encode(None))


def speech_of(sounds: list[Path], first: int, other_than: str, path: Path) -> None:
    """Write `SECONDS` of other people's speech, from the first of some files on."""
    found = np.zeros(0, np.float32)
    for number in range(len(sounds)):
        sound = sounds[(first + number) % len(sounds)]
        if len(found) < SECONDS * RATE and sound.stem != other_than:
            found = np.concatenate([found, load_audio(str(sound), RATE)])
    wavfile.write(path, RATE, (found[: int(SECONDS * RATE)] * 32767).astype(np.int16))


def make(folder: Path, out: Path, rounds: int, paired: int) -> Iterator[dict[str, Any]]:
    """Dub every clip of a folder, and in the first rounds without a mark too: what the mark costs and changes.

    Args:
        folder: of clips and sounds.
        out: gets the dubs, ``NAME.mp4``, and one JSON line for each in ``dubs.jsonl``; dubs that stand there are not made again.
        rounds: dubs of each clip, each with other speech.
        paired: rounds in which dubs are also made without a mark, and both once more without loss.

    Yields:
        A row for each dub.
    """
    clips = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES)
    sounds = sorted(path for path in folder.iterdir() if path.suffix == ".wav")
    sounds += [path for path in clips if has_sound(str(path))]
    out.mkdir(parents=True, exist_ok=True)
    told = out / "dubs.jsonl"
    rows = read_rows(told)
    for number, (index, clip) in itertools.product(range(rounds), enumerate(clips)):
        name = f"{clip.stem}_{number}"
        if known := [row for row in rows if row["dub"] == name]:
            yield known[0]
            continue
        video, speech = (
            out / f"{name}.source{'.mpg' if clip.suffix == '.mpg' else '.mp4'}",
            out / f"{name}.wav",
        )
        footage(clip, number, video)
        speech_of(sounds, 2 * index + 5 * number, clip.stem, speech)
        row = {"dub": name, **_dubbed(video, speech, out / f"{name}.mp4", number < paired)}
        with told.open("a") as file:
            file.write(json.dumps(row) + "\n")
        yield row


def _dubbed(video: Path, speech: Path, output: Path, pairs: bool) -> dict[str, Any]:
    """Dub once with a mark, and in a pair also without; both orders would differ in what is warm: the unmarked one is first."""
    common: dict[str, Any] = {
        "engine": "exemplar",
        "runner": "local",
        "length": "pingpong",
        "overwrite": True,
    }
    seconds: dict[str, float] = {}
    record: dict[str, Any] = {}
    plain = output.with_suffix(".off.mp4")
    for mode in ("off", "on") if pairs else ("on",):
        began = time.process_time()
        (record,) = dub_one(
            video, speech, output if mode == "on" else plain, watermark={"mode": mode}, **common
        ).records
        seconds[mode] = time.process_time() - began
        if record["state"] != "done":
            raise ValueError(f"{video}: {record['error']}")
    row: dict[str, Any] = {
        "id": record["watermark_id"],
        "seconds": record["video_seconds"],
        "cpu": seconds,
        "expected": {name: record.get(f"watermark_{name}") for name in ("speech", "picture")},
    }
    if pairs:
        row |= picture_change_of(video, speech, output.with_suffix(""), common)
    return row


def picture_change_of(video: Path, speech: Path, stem: Path, common: dict[str, Any]) -> dict[str, float]:
    """PSNR of the pixels that the mark may change, from two dubs that are encoded without loss.

    Those pixels are the closed region of the ones that it does change, in each frame.
    """
    paths = []
    for mode in ("off", "on"):
        path = stem.with_name(f"{stem.name}.{mode}.mkv")
        dub_one(video, speech, path, watermark={"mode": mode}, codec="ffv1", **common)
        paths.append(str(path))
    squared, pixels, frames = 0.0, 0, 0
    for plain, marked in zip(*(read_frames(path, 0, COMPARED) for path in paths), strict=True):
        change = marked.luma().astype(np.float32) - plain.luma()
        if change.any():
            region = cv2.morphologyEx((change != 0).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((15, 15)))
            squared, pixels, frames = (
                squared + float(np.square(change).sum()),
                pixels + int(region.sum()),
                frames + 1,
            )
    for name in with_sidecars(paths):
        Path(name).unlink(missing_ok=True)
    if not pixels:
        return {"psnr": float("nan"), "pixels": 0}
    return {"psnr": round(float(10 * np.log10(255**2 * pixels / squared)), 2), "pixels": pixels // frames}


def snr_of_speech(key: MarkKey, speech: Path) -> float:
    """Segmental SNR of the mark of a speech, dB."""
    samples = load_audio(str(speech), RATE)
    marked = np.concatenate(
        list(marked_speech(key, dub_id(key, speech.name), iter([samples[None]]), RATE)), 1
    )[0]
    return segmental_snr(samples, marked - samples, RATE)
