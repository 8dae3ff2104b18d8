"""Tags of files and streams: which of them belong to the content, and how an output keeps them."""

from __future__ import annotations

import functools
import io
from collections.abc import Mapping
from fractions import Fraction

import av
import numpy as np

from operators.media.samples import sound_frame

#: Names of formats for messages.
FORMAT_NAMES = {"mp4": "MP4", "mov": "QuickTime", "matroska": "Matroska"}
#: Tags in which a muxer describes its own file, not the content.
_FILE_TAGS = {
    "encoder",
    "major_brand",
    "minor_version",
    "compatible_brands",
    "duration",
    "number_of_frames",
    "number_of_bytes",
    "bps",
    "alpha_mode",
}
#: Apple's keys, which are written with small letters; Matroska makes them capitals.
_APPLE, _ISO6709 = "com.apple.quicktime.", "iso6709"
#: Muxer option that writes every tag under its own name, in the way of QuickTime.
_EVERY_TAG = "use_metadata_tags"


def content_tags(metadata: dict[str, str]) -> dict[str, str]:
    """Metadata without what the old file's muxer wrote about itself."""
    own = {
        key for key in metadata if key.lower().split("-")[0] in _FILE_TAGS or key.startswith("_STATISTICS")
    }
    return {_named(key): value for key, value in metadata.items() if key not in own}


def with_added(tags: Mapping[str, str], added: Mapping[str, str]) -> dict[str, str]:
    """Return a source's tags with others; a tag of the source that has the name of one of them moves to ``NAME_SOURCE``."""
    names = {name.casefold() for name in added}
    kept = {f"{key.upper()}_SOURCE" if key.casefold() in names else key: value for key, value in tags.items()}
    return {**kept, **added}


def track_tags(metadata: dict[str, str]) -> dict[str, str]:
    """Metadata of a track, as `content_tags`. FFmpeg reads the title of a track of MP4 and QuickTime files as its name."""
    tags = content_tags(metadata)
    name = tags.pop("name", None)
    return tags if name is None else {"title": name, **tags}


def _named(key: str) -> str:
    if not key.lower().startswith(_APPLE):
        return key
    return key.lower().replace(_ISO6709, _ISO6709.upper())


def movflags(name: str, tags: Mapping[str, str]) -> str:
    """Flags of the MP4 and QuickTime muxer with which it keeps the tags of a file: those that its own places
    for tags do not hold are written under their names.
    """
    if name == "matroska" or not tags:
        return ""
    kept = _kept(name, tuple(sorted(tags.items())))
    return "" if all(key.casefold() in kept for key in tags) else f"+{_EVERY_TAG}"


@functools.lru_cache(maxsize=64)
def _kept(name: str, tags: tuple[tuple[str, str], ...]) -> frozenset[str]:
    """Names of the tags that a file without further flags has. Found by trying."""
    file = io.BytesIO()
    with av.open(file, "w", format=name) as trial:
        trial.metadata.update(dict(tags))
        stream = trial.add_stream("aac", rate=8000, layout="mono", time_base=Fraction(1, 8000))
        trial.mux(stream.encode(sound_frame(np.zeros([1, 1024], np.float32), 8000, "mono", 0)))
        trial.mux(stream.encode(None))
    file.seek(0)
    with av.open(file) as written:
        return frozenset(key.casefold() for key in written.metadata)
