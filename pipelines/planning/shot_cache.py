"""Shots of a title and its person in each, from the cache where an earlier run has found them."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np

from operators.media.probe import VideoInfo
from operators.storage.files import exists, fingerprint, join
from operators.storage.redact import redact
from pipelines.engine.rows import Row
from pipelines.manifest.titles import Title
from pipelines.planning.context import PlanContext
from pipelines.planning.heartbeat import Heartbeats
from pipelines.planning.segments import Range
from pipelines.state.content_keys import content_key, shot_ingredients
from pipelines.state.run_directory import read_checksummed, write_checksummed

#: Box of the person's face in a shot, float32[4]; None: the person is not seen.
Anchor = np.ndarray | None


def shots_and_anchors(
    context: PlanContext, title: Title, info: VideoInfo, heartbeats: Heartbeats, rejected: list[str]
) -> Generator[Row, None, tuple[list[Range], list[Anchor]]]:
    """Find the shots of a title and an anchor for each; yields heartbeats.

    Args:
        context: of the run.
        title: whose video is looked through.
        info: of the video.
        heartbeats: of the title.
        rejected: descriptions of state that was found and is not used are added here.

    Raises:
        FaceError: the person is in no shot.
    """
    key = content_key(shot_ingredients(context.engine, title, fingerprint(title.video), context.provenance))
    cache = join(context.spec.cache or context.run.url, "plans", f"{key}.json")
    known = read_checksummed(cache)
    if known is None and exists(cache):
        rejected.append("shots and anchors: damaged")
    if known is not None and known.get("key") == key and known.get("n_frames") == info.n_frames:
        shots = [(int(a), int(b)) for a, b in known["shots"]]
        return shots, [None if a is None else np.array(a, np.float32) for a in known["anchors"]]
    from pipelines.planning.shots import look_through  # with OpenCV

    config = context.engine.config
    face = title.face if config.find_faces else None
    shots, anchors = yield from heartbeats.following(
        look_through(title.video, info, config.detect_shots, face)
    )
    content = {
        "key": key,
        "video": redact(title.video),
        "n_frames": info.n_frames,
        "shots": shots,
        "anchors": [None if a is None else [float(v) for v in a] for a in anchors],
    }
    write_checksummed(cache, content)
    return shots, anchors
