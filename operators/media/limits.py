"""Limits on input files, against broken or hostile ones that would exhaust a machine."""

from __future__ import annotations

from dataclasses import dataclass

import av.container

from operators.media.decoding import said_end
from operators.storage.errors import MediaError
from operators.storage.files import fingerprint

GIB = 1 << 30


class LimitError(MediaError):
    """A file is larger, longer or wider than allowed; the message names the limit."""


@dataclass(frozen=True)
class MediaLimits:
    """Upper limits of a file. Names are those of the profile's ``limits``."""

    max_megapixels: float = 36.0
    max_hours: float = 12.0
    max_gib: float = 512.0

    def check_file(self, url: str) -> None:
        """Hold the file's size against `max_gib`, before it is opened."""
        _, size, _ = fingerprint(url)
        if size > self.max_gib * GIB:
            raise LimitError(
                f"{url}: the file has {size / GIB:.4g} GiB, limits.max_gib allows {self.max_gib:g}: {HOW}"
            )

    def check_header(self, url: str, container: av.container.InputContainer) -> None:
        """Hold what the container says of itself against the limits, before anything is decoded."""
        for stream in container.streams.video:
            if stream.codec_context is not None:  # else there is no decoder for it, and nothing to say
                self.check_size(url, stream.width or 0, stream.height or 0)
        # A subtitle without an end may make a file last for weeks: what pictures and sound say comes first.
        said = [said_end(stream) for stream in (*container.streams.video, *container.streams.audio)]
        known = [float(end) for end in said if end is not None]
        if known and len(known) == len(said):
            self.check_seconds(url, max(known))
        elif container.duration:
            self.check_seconds(url, container.duration / 1_000_000)

    def check_size(self, url: str, width: int, height: int) -> None:
        """Hold a picture's size against `max_megapixels`."""
        if width * height > self.max_megapixels * 1e6:
            size = f"{width}x{height} pixels ({width * height / 1e6:.4g} megapixels)"
            raise LimitError(
                f"{url}: its pictures have {size}, limits.max_megapixels allows {self.max_megapixels:g}: {HOW}"
            )

    def check_seconds(self, url: str, seconds: float) -> None:
        """Hold a duration against `max_hours`."""
        if seconds > self.max_hours * 3600:
            raise LimitError(
                f"{url}: it lasts {seconds / 3600:.4g} hours, limits.max_hours allows {self.max_hours:g}: {HOW}"
            )


#: Limits that apply unless others are given.
DEFAULT_LIMITS = MediaLimits()
HOW = "raise it in the profile or with --limit, or convert the file"
