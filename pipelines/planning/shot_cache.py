"""Shots of a title and its people in each, from the cache where an earlier run has found them."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

import numpy as np

from operators.media.probe import VideoInfo
from operators.storage.files import exists, fingerprint, join
from operators.storage.redact import redact, redact_all
from pipelines.engine.rows import Row
from pipelines.manifest.titles import Title
from pipelines.planning.context import PlanContext
from pipelines.planning.heartbeat import Heartbeats
from pipelines.planning.shots import Looked, look_through
from pipelines.state.content_keys import content_key, shot_ingredients
from pipelines.state.run_directory import read_checksummed, write_checksummed


def shots_and_anchors(
    context: PlanContext, title: Title, info: VideoInfo, heartbeats: Heartbeats, rejected: list[str]
) -> Generator[Row, None, Looked]:
    """Find the shots of a title and the anchors of its faces in each; yields heartbeats.

    Args:
        context: of the run.
        title: whose video is looked through.
        info: of the video.
        heartbeats: of the title.
        rejected: descriptions of state that was found and is not used are added here.

    Raises:
        FaceError: none of the faces is in any shot.
    """
    key = content_key(shot_ingredients(context.engine, title, fingerprint(title.video), context.provenance))
    cache = join(context.spec.cache or context.run.url, "plans", f"{key}.json")
    known = read_checksummed(cache)
    if known is None and exists(cache):
        rejected.append("shots and anchors: damaged")
    if known is not None and known.get("key") == key and known.get("n_frames") == info.n_frames:
        return _read(known, title)
    config = context.engine.config
    faces = title.faces if config.find_faces else ()
    engine = context.engine
    looked = yield from heartbeats.following(
        look_through(
            *(title.video, info, config.detect_shots, faces),
            backend=engine.face_finder(title.options),
            recognise=engine.recognises(title.options),
            runtime=engine.mesh_runtime(title.options),
        )
    )
    content = {
        "key": key,
        "video": redact(title.video),
        "n_frames": info.n_frames,
        "shots": looked.shots,
        # In the title's order: a face's name may hold a secret.
        "anchors": [
            [None if a is None else [float(v) for v in a] for a in found] for found in looked.anchors.values()
        ],
        "people": [[[who, *(float(v) for v in box)] for who, box in found] for found in looked.people],
        "notes": redact_all(looked.notes),
    }
    write_checksummed(cache, content)
    return looked


def _read(known: Mapping[str, Any], title: Title) -> Looked:
    """Return what `shots_and_anchors` has kept."""
    anchors = [[None if a is None else np.array(a, np.float32) for a in found] for found in known["anchors"]]
    people = [[(int(who), np.array(box, np.float32)) for who, *box in found] for found in known["people"]]
    shots = [(int(a), int(b)) for a, b in known["shots"]]
    return Looked(shots, dict(zip(title.faces, anchors)), people, list(known["notes"]))
