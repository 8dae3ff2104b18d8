"""The sound of an output's speech track where it is made of several: the speeches of a title's speakers, and the source's own
sound outside the ranges that are dubbed.
"""

from __future__ import annotations

import numpy as np

from operators.media.container import open_input
from operators.media.mixing import write_mix
from operators.media.probe import VideoInfo
from pipelines.manifest.titles import Dub
from pipelines.planning.stretches import spoken_seconds
from pipelines.state.run_directory import RunDirectory


def make_sound(
    run: RunDirectory, title: str, video: str, dub: Dub, inside: np.ndarray | None, info: VideoInfo
) -> tuple[str, list[str]]:
    """Write the sound of a dub's speech track into the run directory, if it is not the dub's speech alone.

    Args:
        run: the run directory.
        title: id of the dub's title.
        video: URL of the title's video.
        dub: with its speech.
        inside: of `pipelines.planning.stretches.dubbed_frames`.
        info: of the video.

    Returns:
        URL of the file (empty: the dub's speech is its sound), and notes.

    Raises:
        MediaError: a sound cannot be read.
    """
    if dub.audio == "keep" or (inside is None and not dub.is_mixed):
        return "", []
    url = run.sound(title, dub.dub)
    speeches = [one.speech for one in dub.speakers] if dub.is_mixed else [dub.speech]
    if inside is None:
        return url, write_mix(url, speeches)
    spans, seconds = spoken_seconds(inside, info), float(info.duration)
    return url, write_mix(url, speeches, video if _has_sound(video) else None, spans, seconds)


def _has_sound(video: str) -> bool:
    with open_input(video) as container:
        return bool(container.streams.audio)
