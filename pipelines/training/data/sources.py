"""Raw videos of data sets as sources: LRS2, LRS3, VoxCeleb, HDTF, plain folders and manifests.

Nothing is downloaded: data sets are under licences of their own, and are read from the user's copy.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from operators.storage.files import filesystem, is_url, join
from operators.storage.files import suffix as suffix_of
from pipelines.errors import UsageError
from pipelines.evaluation.hdtf import annotated_clips, read_annotations, ready_clips
from pipelines.evaluation.lists import folder_url, text_lines
from pipelines.evaluation.pairs import Listing
from pipelines.manifest.cells import RowError, resolve
from pipelines.manifest.files import folder_of, read_rows
from pipelines.manifest.titles import name_problem

KINDS = ("folder", "lrs2", "lrs3", "voxceleb", "hdtf", "manifest")
VIDEOS = (".mp4", ".mov", ".mkv", ".m4v", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mxf")
MANIFESTS = (".csv", ".tsv", ".jsonl", ".parquet")


@dataclass(frozen=True)
class Source:
    """A video, or a part of one.

    Attributes:
        name: in the data set, unique.
        url: fsspec URL.
        identity: of the person, as far as names tell.
        sound: fsspec URL of another file with the sound; "" for the video's own.
        start, stop: seconds of the video; stop 0: to its end.
    """

    name: str
    url: str
    identity: str
    sound: str = ""
    start: float = 0.0
    stop: float = 0.0


@dataclass
class Found:
    """Sources of a data set.

    Attributes:
        sources: ascending by name.
        listing: lines and files that fell out, with reasons.
    """

    sources: list[Source] = field(default_factory=list)
    listing: Listing = field(default_factory=Listing)


def find_sources(where: str, kind: str = "", list_file: str = "", annotations: str = "") -> Found:
    """Find the videos of a data set.

    Args:
        where: folder of the data set, or a manifest with the columns ``video`` and, if known, ``id``, ``identity``,
            ``audio``, ``start`` and ``stop`` (seconds).
        kind: one of `KINDS`; "": by what ``where`` is.
        list_file: of LRS2 and LRS3, the file that names the clips to use, one a line; "": all.
        annotations: folder with HDTF's annotations; "": every .mp4 is a clip.

    Raises:
        UsageError: ``where`` is not there, or holds no video; the kind is unknown or does not take the option.
    """
    if not kind:
        kind = "manifest" if suffix_of(where) in MANIFESTS else "folder"
    if kind not in KINDS:
        raise UsageError(f"--kind {kind}: there are {', '.join(KINDS)}")
    if list_file and kind not in ("lrs2", "lrs3"):
        raise UsageError("--list: is for --kind lrs2 and lrs3; for others give a manifest")
    if annotations and kind != "hdtf":
        raise UsageError("--annotations: is for --kind hdtf")
    found = Found()
    root = where if kind == "manifest" else folder_url(where)
    if kind == "manifest":
        sources = _of_manifest(root, found.listing)
    elif kind == "hdtf":
        sources = _of_hdtf(root, annotations, found.listing)
    elif list_file:
        sources = _of_list(root, list_file, found.listing)
    else:
        sources = _below(root, IDENTITY[kind])
    taken: set[str] = set()
    for source in sources:
        if source.name in taken:
            found.listing.drop("the name is taken", source.name)
            continue
        taken.add(source.name)
        found.sources.append(source)
    found.sources.sort(key=lambda source: source.name)
    if not found.sources:
        raise UsageError(f"{where}: no videos found" + "".join(f"\n{line}" for line in found.listing.words()))
    return found


def _folder_identity(relative: str) -> str:
    """The folder above the video; a video that lies in no folder is a person of its own."""
    folder, _, name = relative.rpartition("/")
    return folder or name.rpartition(".")[0]


def _lrs_identity(relative: str) -> str:
    """LRS2, LRS3: the folder is a broadcast or talk (``main/ID/CLIP.mp4``); its people count as one."""
    return relative.split("/")[-2] if "/" in relative else _folder_identity(relative)


def _voxceleb_identity(relative: str) -> str:
    """VoxCeleb: ``id10270``, whatever is above it."""
    return next(
        (part for part in relative.split("/") if re.fullmatch(r"id\d+", part)), _folder_identity(relative)
    )


def hdtf_identity(name: str) -> str:
    """HDTF: ``WDA_BarackObama_000`` is BarackObama; radio shows are numbered by guest (``RD_Radio31_000``)."""
    return re.sub(r"^(RD|WDA|WRA)_|(_\d+)+$", "", name) or name


IDENTITY: dict[str, Callable[[str], str]] = {
    "folder": _folder_identity,
    "lrs2": _lrs_identity,
    "lrs3": _lrs_identity,
    "voxceleb": _voxceleb_identity,
}


def _below(root: str, identity: Callable[[str], str]) -> Iterator[Source]:
    """All videos below a folder."""
    fs, folder = filesystem(root)
    for path in sorted(fs.find(folder)):
        relative = path[len(folder.rstrip("/")) + 1 :]
        hidden = any(part.startswith(".") for part in relative.split("/"))
        if suffix_of(path) in VIDEOS and not hidden:
            yield Source(relative.rpartition(".")[0], join(root, relative), identity(relative))


def _of_list(root: str, list_file: str, listing: Listing) -> Iterator[Source]:
    """Clips that a list names: ``ID/CLIP`` first in a line, with or without ``.mp4``; LRS2 has them below ``main``."""
    fs, folder = filesystem(root)
    below = {path[len(folder.rstrip("/")) + 1 :] for path in fs.find(folder)}
    for number, line in text_lines(list_file, "--list"):
        listing.lines += 1
        name = (line or "").split()[0].removesuffix(".mp4") if line and line.split() else ""
        place = next((p for p in (f"{name}.mp4", f"main/{name}.mp4") if p in below), "")
        if not place:
            listing.drop("a clip that is not there", f"line {number}")
            continue
        yield Source(place.removesuffix(".mp4"), join(root, place), _lrs_identity(place))


def _of_hdtf(root: str, annotations: str, listing: Listing) -> Iterator[Source]:
    if annotations:
        clips = annotated_clips(root, read_annotations(annotations, listing), listing)
    else:
        clips = ready_clips(root)
    for clip in clips:
        yield Source(clip.name, clip.url, hdtf_identity(clip.video), start=clip.start, stop=clip.stop or 0.0)


def _of_manifest(url: str, listing: Listing) -> Iterator[Source]:
    folder = folder_of(url)
    for number, (where, content) in enumerate(read_rows(url), 1):
        listing.lines += 1
        try:
            if isinstance(content, str):
                raise RowError(content)
            row = {key: value for key, value in content.items() if value not in (None, "")}
            video = _file(row, "video", folder)
            name = str(row.get("id") or str(row["video"]).rpartition(".")[0]).strip("/")
            if not name or name_problem(name):
                raise RowError("id: cannot be a name")
            start, stop = (float(row.get(key) or 0.0) for key in ("start", "stop"))
            if start < 0 or (stop and stop <= start):
                raise RowError("start, stop: must ascend")
            sound = _file(row, "audio", folder) if "audio" in row else ""
            yield Source(name, video, str(row.get("identity") or name), sound, start, stop)
        except (RowError, ValueError) as problem:
            listing.drop(str(problem).split(": no such file")[0] or "no row", where or f"row {number}")


def _file(row: dict[str, object], key: str, folder: str) -> str:
    value = row.get(key)
    if not isinstance(value, str) or not value.strip():
        raise RowError(f"{key}: is missing")
    path = value.strip()
    if is_url(path) or path.startswith("/"):
        return path
    found, missing = resolve(path, folder, key)
    return join(folder, path) if missing else found
