"""`dub`: one title, in a run directory beside its output that is removed with the work done."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from operators.media.codec_names import container_of
from operators.storage.files import filesystem, is_url, join, normalized
from pipelines.errors import DONE, PreflightError, UsageError
from pipelines.manifest.cells import RowError, encoding
from pipelines.manifest.speakers import speakers_of
from pipelines.manifest.titles import AudioRule, LengthRule, PlaceRule
from pipelines.preflight.checks import MAX_NAME_BYTES, check_dub
from pipelines.runner import Report, run
from pipelines.state.ownership import read_run_metadata
from pipelines.state.run_directory import remove

#: Bytes of an output's name that its run directory keeps where the whole would be too long.
NAME_BYTES_KEPT = 120


def dub(
    video: str | Path,
    speech: str | Path | None,
    output: str | Path,
    *,
    speakers: Sequence[Mapping[str, str | Path]] = (),
    mix: str | Path = "",
    face: str = "largest",
    length: LengthRule = "keep",
    audio: AudioRule = "replace",
    language: str = "",
    loudness: str = "off",
    place: PlaceRule = "track",
    codec: str = "auto",
    crf: float | str | None = None,
    bitrate: str = "",
    preset: str = "",
    consent: str | Mapping[str, str] = "",
    ranges: Any = "",
    exclude: Any = "",
    keep_segments: bool = False,
    cache: str | bool | None = None,
    overwrite: bool = False,
    **options: Any,
) -> Report:
    """Dub one video: the same video, with mouths that speak the new speech.

    The work is kept beside the output (``.NAME.retalk``) until the output is there: after an interruption the
    same call resumes.

    Args:
        video: path or fsspec URL of the video, or of a still picture.
        speech: the new speech: any file with an audio stream; None where there are speakers.
        output: the file to write: .mp4, .m4v, .mkv or .mov.
        speakers: several people and what each says, ``{"face": ..., "speech": ...}``; ``face`` as below. All of them are dubbed, and
            the sum of their speeches is heard.
        mix: what is heard in place of that sum.
        face: whom to dub: "largest", "left", "right", "speaking" (whoever speaks in the video), a number counted from the left
            ("0" is the first), or a picture of the person.
        length: when speech and video differ in length: "keep" the video's, "trim" to the shorter, or extend a
            shorter video by "freeze", "loop" or "pingpong".
        audio: "replace" the video's first audio track, "add" one, or "keep" the video's audio.
        language: of the speech, a code such as "deu"; it is written into the output.
        loudness: of the speech in the output: "off": its own, also where many channels are mixed down;
            "source": that of the video's audio; or a number of LUFS such as "-23", with true peaks limited to
            -1 dBTP.
        place: "track": the speech's track holds it alone; "centre": it takes the place of the centre channel in the video's
            sound, where that is 5.1 or the like.
        codec: of the output's picture: "auto": what a viewer of the source would expect; "h264", "hevc", "prores",
            "dnxhr", "av1", "ffv1"; "h264_nvenc", "hevc_nvenc" on NVIDIA GPUs; "h264_videotoolbox",
            "hevc_videotoolbox", "prores_videotoolbox" on macOS.
        crf: constant rate factor, lower is better; None: 17.
        bitrate: mean bits a second such as "8M", in place of a constant quality.
        preset: speed of the encoder, "ultrafast" to "veryslow"; empty: auto, see `Encoding`.
        consent: of the person who is dubbed: a text, a URL, or a table of ``who``, ``when``, ``scope``, ``text``, ``url``.
        ranges: stretches that are dubbed, ``[[start, end], ...]`` in seconds or texts such as "00:01:02:12" or "310f", or one text
            "0-12.5, 60-"; empty: all of the video. Elsewhere picture and sound stay the video's.
        exclude: stretches that are not dubbed.
        keep_segments: keep the encoded segments, and with them the directory beside the output.
        cache: fsspec URL of a folder where analysis is kept and looked for; None or False: nowhere.
        overwrite: replace an output that exists already; a call that was interrupted is resumed with what it
            was given.
        **options: any other option of `run`, such as ``engine``, ``profile``, ``options`` and ``progress``;
        not ``defaults``.

    Returns:
        The report. Its one record has ``state`` "done" or "failed", ``error``, ``output``, ``frames``,
        ``video_seconds``.

    Raises:
        UsageError: wrong usage, as `run` raises, or a file that cannot be opened as media; nothing has run.

    Examples:
        >>> report = retalk.dub("ep1.mp4", "ep1.de.wav", "ep1.de.mp4", language="deu")  # doctest: +SKIP
        >>> report.failed[0]["error"] if report.failed else "done"  # doctest: +SKIP
        'done'
    """
    row = row_of(str(video), speech, absolute(str(output)), speakers, mix)
    check_speakers(row)
    if speakers and face != "largest":
        raise UsageError("face: goes with one speech; each of the speakers names its own")
    check_dub(str(video), speeches_of(row), str(output), faces_of(row, face), row.get("mix", ""))
    encoder = {"codec": "" if codec == "auto" else codec, "crf": crf, "bitrate": bitrate, "preset": preset}
    try:
        encoding(encoder, container_of(PurePosixPath(str(output)).suffix.lower()))
    except RowError as problem:
        raise UsageError(str(problem)) from problem
    target = absolute(str(output))
    directory = side_directory(target)
    defaults: dict[str, Any] = {"face": face, "length": length, "audio": audio, "language": language}
    defaults |= {"loudness": loudness, "place": place}
    defaults |= {"consent": consent} if consent else {}
    defaults |= {name: value for name, value in (("ranges", ranges), ("exclude", exclude)) if value}
    defaults |= {name: value for name, value in encoder.items() if value not in ("", None)}
    # The run directory goes with the work: analysis is kept only where it is told to be.
    options = {**options, "cache": cache or False, "keep_segments": keep_segments}
    # After an interruption the same work resumes; its directory says whether the output may be replaced.
    overwrite = overwrite or bool((read_run_metadata(directory) or {}).get("overwrite"))
    try:
        report = run([row], run_dir=directory, defaults=defaults, overwrite=overwrite, **options)
    except (KeyboardInterrupt, PreflightError):
        with contextlib.suppress(OSError):  # of a file system that cannot be written, for one
            if not has_work(directory):
                remove(directory, recursive=True)
        raise
    if not keep_segments and (report.exit_code == DONE or not has_work(directory)):
        remove(directory, recursive=True)
    return report


def row_of(
    video: str,
    speech: str | Path | None,
    output: str,
    speakers: Sequence[Mapping[str, str | Path]] = (),
    mix: str | Path = "",
) -> dict[str, Any]:
    """Return the manifest row of one dub."""
    target = absolute(output)
    row: dict[str, Any] = {
        "id": target.rsplit("/", 1)[-1].rsplit(".", 1)[0].strip() or "title",
        "video": video,
        "output": target,
    }
    if speech is not None:
        row["speech"] = str(speech)
    if speakers:
        row["speakers"] = [{name: str(value) for name, value in one.items()} for one in speakers]
    return row | ({"mix": str(mix)} if mix else {})


def check_speakers(row: Mapping[str, Any]) -> None:
    """Refuse a row of `row_of` without anybody who speaks, or with speakers that cannot be.

    Raises:
        UsageError: saying so.
    """
    try:
        found, _ = speakers_of(row, "")
    except RowError as problem:
        raise UsageError(str(problem)) from problem
    if not found and "speech" not in row:
        raise UsageError("the speech is missing: give SPEECH, or --speaker FACE=SPEECH for each who speaks")


def speeches_of(row: Mapping[str, Any]) -> list[str]:
    """Return all speeches of a row of `row_of`, without its mix."""
    return [one["speech"] for one in row.get("speakers", ())] or [row["speech"]]


def faces_of(row: Mapping[str, Any], face: str) -> list[str]:
    """Return the faces of a row's speakers; the one that is given where it has none."""
    return [one["face"] for one in row.get("speakers", ())] or [face]


def absolute(output: str) -> str:
    """An output given on the command line lies below the working directory, not below a run directory."""
    return output if is_url(output) else normalized(str(Path(output).absolute()))


def has_work(directory: str) -> bool:
    """Return whether a run directory holds committed segments."""
    fs, path = filesystem(join(directory, "receipts"))
    return bool(fs.isdir(path) and fs.find(path))


def side_directory(output: str) -> str:
    """Run directory of `retalk dub`: beside the output, so that the same command finds it again after an
    interruption.
    """
    if is_url(output):
        return f"{output}.retalk"
    path = Path(absolute(output))
    name = f".{path.name}.retalk"
    if len(name.encode()) > MAX_NAME_BYTES:
        told = hashlib.sha256(path.name.encode()).hexdigest()[:16]
        name = f".{path.name.encode()[:NAME_BYTES_KEPT].decode(errors='ignore')}.{told}.retalk"
    return str(path.with_name(name))
