"""Previews: small H.264 copies of a run's sources and outputs that every browser plays, made where they are asked for."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from fractions import Fraction
from typing import Any

from operators.storage.errors import MediaError, StorageError
from operators.storage.files import atomic_write, exists, filesystem, fingerprint, join
from operators.storage.redact import redact

#: Lines of a preview, x264's quality, bits a second of its sound.
LINES, CRF, SOUND = 360, "27", 64_000
RATE = 44100


def preview_name(url: str) -> str:
    """Name of a file's preview, another one whenever the file changes.

    Raises:
        StorageError: the file cannot be found.
    """
    told = repr(fingerprint(url))
    return f"previews/{hashlib.sha256(told.encode()).hexdigest()[:24]}.mp4"


def make_previews(folder: str, urls: Iterable[str], say: Any = None) -> tuple[dict[str, str], list[str]]:
    """Make the previews that are missing, a process a core.

    Args:
        folder: fsspec URL of the report.
        urls: of videos; each once.
        say: called with the number that is done and of all, after each.

    Returns:
        Path of each file's preview from the folder on, and notes about those that could not be made.
    """
    found: dict[str, str] = {}
    missing: dict[str, str] = {}
    notes: list[str] = []
    for url in dict.fromkeys(urls):
        try:
            name = preview_name(url)
        except (StorageError, OSError, ValueError) as problem:
            notes.append(redact(f"no preview: {problem}"))
            continue
        found[url] = name
        if not exists(join(folder, name)):
            missing[url] = name
    _sweep(folder, set(found.values()))
    if missing:
        workers = min(len(missing), os.cpu_count() or 1)
        # Not forked: this process has threads, those of its decoders among them.
        with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
            asked = {pool.submit(make_preview, url, join(folder, name)): url for url, name in missing.items()}
            for number, done in enumerate(as_completed(asked), 1):
                if (failed := done.exception()) is not None:
                    found.pop(asked[done])
                    notes.append(redact(f"no preview: {failed}"))
                if say is not None:
                    say(number, len(missing))
    return found, notes


def _sweep(folder: str, wanted: set[str]) -> None:
    """Delete previews of files that the page no longer shows."""
    fs, path = filesystem(join(folder, "previews"))
    for file in fs.ls(path, detail=False) if fs.isdir(path) else ():
        if file.endswith(".mp4") and f"previews/{file.rsplit('/', 1)[-1]}" not in wanted:
            fs.rm(file)


def make_preview(source: str, target: str) -> None:
    """Write the preview of a video: upright, `LINES` lines at most, its frames' own times, its default sound.

    Raises:
        MediaError: the video cannot be read, or the preview not be written.
    """
    import av
    import av.error

    from operators.media.probe import probe_video
    from operators.media.reader import read_frames

    info = probe_video(source)
    scale = min(1.0, LINES / info.height)
    width, height = (max(2, 2 * round(scale * side / 2)) for side in (info.width, info.height))
    sounds = any(stream.kind == "audio" for stream in info.streams)
    try:
        with (
            atomic_write(target) as path,
            av.open(
                f"file:{path}", "w", format="mp4", options={"movflags": "+faststart", "fflags": "+bitexact"}
            ) as container,
        ):
            picture = container.add_stream("libx264", rate=info.average_rate.limit_denominator(1000))
            picture.width, picture.height, picture.pix_fmt = width, height, "yuv420p"
            picture.options = {"preset": "veryfast", "crf": CRF, "x264-params": "keyint=50"}
            picture.codec_context.time_base = Fraction(1, 90000)
            sound = container.add_stream("aac", rate=RATE, layout="stereo") if sounds else None
            if sound is not None:
                sound.bit_rate = SOUND
            heard = iter(()) if sound is None else _heard(source, sound)
            piece = next(heard, None)
            for frame in read_frames(source, 0, info.n_frames, info):
                small = av.VideoFrame.from_ndarray(frame.rgb(), format="rgb24").reformat(
                    width, height, "yuv420p", interpolation="AREA"
                )
                seconds = (frame.pts - info.pts[0]) * info.time_base
                small.pts = round(seconds / picture.codec_context.time_base)
                small.time_base = picture.codec_context.time_base
                # Beside its pictures, or a browser has to read to the end of the file for it.
                while piece is not None and piece[0] <= seconds:
                    container.mux(piece[1])
                    piece = next(heard, None)
                container.mux(picture.encode(small))
            container.mux(picture.encode(None))
            while piece is not None:
                container.mux(piece[1])
                piece = next(heard, None)
    except av.error.FFmpegError as problem:
        raise MediaError(f"{source}: its preview cannot be written ({problem})") from problem


def _heard(source: str, sound: Any) -> Iterator[tuple[float, list[Any]]]:
    """Packets of a video's sound by piece, each with the time in seconds where it begins."""
    from operators.media.audio import audio_blocks
    from operators.media.samples import sound_frame

    position = 0
    for block, _ in audio_blocks(source, RATE, "stereo"):
        both = block if len(block) == 2 else block.repeat(2, axis=0)
        yield position / RATE, sound.encode(sound_frame(both, RATE, "stereo", position))
        position += both.shape[1]
    yield position / RATE, sound.encode(None)
