"""Shots: where the picture cuts, by PySceneDetect's adaptive detector on our own frames, so that frame
numbers agree exactly.

Used by the planner. A segment never crosses a cut, and each shot has its own anchor face.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Generator, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from operators.faces.frame_sampler import ShotFrameSampler
from operators.imports import without_programs
from operators.media.formats import reformatted
from operators.media.frames import Frame
from operators.media.kept_frames import KEPT
from operators.media.probe import VideoInfo
from operators.media.reader import read_frames
from operators.threads import ahead, single_thread

if TYPE_CHECKING:
    from scenedetect import FrameTimecode

    from operators.faces.anchors import AnchorSearch
    from operators.faces.backend import BackendName
    from operators.faces.people import Person
    from retalk_models.tflite.runtime import RuntimeName

#: Long side of the pictures that the detector compares.
LONG_SIDE = 320
#: Frames between two cuts, at least: shorter ones are flashes.
SHORTEST = 5
#: A timecode asks for a rate; counting frames, it plays no part.
RATE = 25.0


@dataclasses.dataclass(frozen=True)
class Looked:
    """Shots of a title and the faces in them.

    Attributes:
        shots: [start, stop) frame numbers, covering the title without gaps.
        anchors: by face that was asked for, float32[4] of each shot; None where it is not seen.
        people: of each shot all who are seen, left to right: number of the person in the title (-1: not known) and float32[4].
        notes: what the user should know.
        seen: behind `people`, not kept in the cache; samples: pictures of each shot that were looked at, likewise.
    """

    shots: list[tuple[int, int]]
    anchors: dict[str, list[np.ndarray | None]]
    people: list[list[tuple[int, np.ndarray]]]
    notes: list[str]
    seen: list[list[Person]] = dataclasses.field(default_factory=list)
    samples: list[int] = dataclasses.field(default_factory=list)


def looked_through(
    url: str,
    info: VideoInfo,
    cuts: bool = True,
    faces: Sequence[str] = (),
    backend: BackendName = "dlib",
    runtime: RuntimeName = "auto",
) -> Looked:
    """Run `look_through` to its end; arguments, result and errors as there."""
    looking = look_through(url, info, cuts, faces, backend, runtime=runtime)
    while True:
        try:
            next(looking)
        except StopIteration as ended:
            found: Looked = ended.value
            return found


def look_through(
    url: str,
    info: VideoInfo,
    cuts: bool = True,
    faces: Sequence[str] = (),
    backend: BackendName = "dlib",
    recognise: bool = True,
    runtime: RuntimeName = "auto",
) -> Generator[int, None, Looked]:
    """Find the shots of a title and the faces in each, decoding it once; yields the numbers of the frames as
    they pass.

    Args:
        url: video.
        info: what `probe_video` said of it.
        cuts: False: it is one shot.
        faces: whose, see `operators.faces.anchors.find_anchors`; none: nobody is looked for.
        backend: finds the faces.
        recognise: see `operators.faces.anchors.AnchorSearch`.
        runtime: of the backend "mesh", see `operators.faces.backend.make_backend`.

    Returns:
        What was found.

    Raises:
        FaceError: see `find_anchors`.
        WeightsError: the backend's model files are missing.
        DecodeError: a frame cannot be decoded.
    """
    finder = ShotFinder() if cuts and info.n_frames > 1 else None
    search = _search(url, faces, backend, recognise, runtime)
    samples, edges = ShotFrameSampler(info, colour=search is not None and search.colour), [0]

    def ended(at: list[int]) -> None:
        """Shots end before these frames."""
        edges.extend(at)
        if search is not None:
            for edge in at:
                search.add(samples.take(edge))

    if finder is not None or search is not None:
        # For stages of this process, if it has any.
        reading = KEPT.begin(url, info.n_frames)
        for frame in ahead(read_frames(url, 0, info.n_frames, info)):
            ended(finder.add(frame) if finder is not None else [])
            if search is not None:
                samples.add(frame)
            reading.offer(frame, None)
            yield frame.index
    ended([*(finder.rest() if finder is not None else []), info.n_frames])
    shots = list(itertools.pairwise(edges))
    if search is None:
        return Looked(shots, {}, [[] for _ in shots], [])
    anchors = search.anchors()
    people = [[(person.identity, person.anchor) for person in found] for found in search.people]
    return Looked(shots, anchors, people, search.notes, search.people, search.samples)


def _search(
    url: str, faces: Sequence[str], backend: BackendName, recognise: bool, runtime: RuntimeName
) -> AnchorSearch | None:
    """Engines that look for no faces need none of their libraries."""
    if not faces:
        return None
    from operators.faces.anchors import AnchorSearch
    from operators.faces.backend import make_backend

    finder = make_backend(backend, "cpu", runtime)
    if finder.colour:
        # It may have brought in torch, whose results depend on the number of threads.
        single_thread()
    return AnchorSearch(url, faces, finder, recognise)


@functools.cache
def _scenedetect() -> Any:
    """Import PySceneDetect, which would run ``ffmpeg`` in doing so."""
    with without_programs():
        import scenedetect
    return scenedetect


class ShotFinder:
    """Finds the cuts of a title, frame by frame: gives each (the first frame of a shot but the title's first)
    once, some frames late.
    """

    def __init__(self) -> None:
        self._detector = _scenedetect().AdaptiveDetector(min_scene_len=SHORTEST)
        self._timecode: FrameTimecode = _scenedetect().FrameTimecode(0, RATE)
        self._last = 0

    def add(self, frame: Frame) -> list[int]:
        """Look at the next frame; returns the cuts that it shows, at itself or before."""
        self._timecode = _scenedetect().FrameTimecode(frame.index, RATE)
        return self._new(self._detector.process_frame(self._timecode, _small_bgr(frame)))

    def rest(self) -> list[int]:
        """After the last frame: the cuts that have not been given."""
        return self._new(self._detector.post_process(self._timecode))

    def _new(self, found: Iterable[FrameTimecode]) -> list[int]:
        cuts = sorted(
            {cut.frame_num for cut in found if self._last < cut.frame_num <= self._timecode.frame_num}
        )
        self._last = max([self._last, *cuts])
        return cuts


def _small_bgr(frame: Frame) -> np.ndarray:
    """uint8[h, w, 3] BGR, reduced, in coded orientation: a cut is a cut from any side."""
    picture = frame.picture
    scale = min(1.0, LONG_SIDE / max(picture.width, picture.height))
    size = {"width": max(2, round(picture.width * scale)), "height": max(2, round(picture.height * scale))}
    return reformatted(picture, **size, format="bgr24", interpolation="AREA", threads=1).to_ndarray()
