"""Choice of the person to dub: one box for each shot of a title, by the rule of ``--face``. The planner uses
`AnchorSearch`.

Faces are found in samples of each shot, and gathered into people (`people`). A rule then picks one and the same person
throughout a scene (largest, left, right, a number) or everywhere (a reference picture).
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from operators.faces.backend import FaceBackend, make_backend
from operators.faces.canonical import transform_of_box
from operators.faces.frame_sampler import ShotFrameSampler
from operators.faces.identity import SAME, Recogniser, distance
from operators.faces.people import Person, Seen, cast_of, describe, identify, people_of_shot, scenes
from operators.faces.picture import Picture
from operators.faces.search import CERTAIN, LONG_SIDES, find_anywhere
from operators.faces.seed import look
from operators.media.probe import VideoInfo
from operators.media.reader import read_frames
from operators.storage.files import exists, local_copy, suffix

logger = logging.getLogger(__name__)

Placed = TypeVar("Placed", Person, Seen)

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
RULES = "largest, left, right, speaking, a number (0 is the leftmost face), or the path of a picture of the person"


class FaceError(ValueError):
    """There is no face where one is needed; the message names the file and what to do."""


def find_anchors(
    url: str,
    info: VideoInfo,
    shots: Sequence[tuple[int, int]],
    face: str = "largest",
    backend: FaceBackend | None = None,
) -> list[np.ndarray | None]:
    """One box for each shot: where the chosen person's face is.

    Args:
        url: video.
        info: what `probe_video` said of it.
        shots: source frames [start, stop) of each.
        face: "largest" (summed over the samples), "left", "right", a number counted from the left beginning with 0, or the path or
            URL of a picture of the person. Words and numbers mean one person throughout a scene (`people.scenes`), who is not in
            all of its shots; "largest" then takes the largest of the shot. "speaking" as "largest": who speaks is found later.
        backend: finds faces; dlib if None.

    Returns:
        float32[4] in upright pixels for each shot, or None where that person is not seen.

    Raises:
        FaceError: no sampled frame of the title shows a face, the number or the pictured person is nowhere,
            or the picture shows no face.
        ValueError: ``face`` is no rule.
    """
    search = AnchorSearch(url, face, backend)
    for start, stop in shots:
        samples = ShotFrameSampler(info, start, search.colour)
        for frame in read_frames(url, start, stop, info):
            samples.add(frame)
        search.add(samples.take(stop))
    (anchors,) = search.anchors().values()
    return anchors


class AnchorSearch:
    """`find_anchors`, shot by shot, for one or several faces.

    Args:
        url: video.
        faces: one or several, see `find_anchors`.
        backend: finds faces; dlib if None.
        recognise: False: nobody is recognised from shot to shot, and no descriptor is loaded, unless a picture asks for its person;
            left, right and numbers count in each shot by itself.

    Raises:
        FaceError: a reference picture cannot be used.
        ValueError: one is no rule.
    """

    def __init__(
        self,
        url: str,
        faces: str | Sequence[str] = "largest",
        backend: FaceBackend | None = None,
        recognise: bool = True,
    ) -> None:
        self._url, self._backend = url, backend or make_backend("dlib", "cpu")
        named = [faces] if isinstance(faces, str) else list(dict.fromkeys(faces))
        self._rules = {face: parse_rule(face) for face in named}
        #: What the user should know: pictures of several people, faces that were not found where others were.
        self.notes: list[str] = []
        self._references: dict[str, np.ndarray] = {}
        for face in (face for face, rule in self._rules.items() if rule == "reference"):
            self._references[face], notes = _describe_picture(face, self._backend)
            self.notes += notes
        self._only_largest = list(self._rules.values()) == ["largest"]
        # The largest face is found first; by all other rules the small ones count as well.
        self._sides = LONG_SIDES if self._only_largest else LONG_SIDES[1:]
        self._recogniser: Recogniser | None = None
        self._recognise = recognise or "reference" in self._rules.values()
        #: The people of each shot that was searched.
        self.people: list[list[Person]] = []
        #: The number of pictures that were looked at for each.
        self.samples: list[int] = []

    @property
    def colour(self) -> bool:
        """True if samples have to be in colour."""
        return self._backend.colour

    def add(self, pictures: Mapping[int, Picture]) -> None:
        """Search the samples of the next shot (`ShotFrameSampler.take`)."""
        people = people_of_shot(pictures, self._backend, self._sides)
        # A title that never shows two people needs nobody recognised, unless a picture or a place is asked for.
        if self._recogniser is None and self._recognise and (len(people) > 1 or not self._only_largest):
            self._recogniser = Recogniser()
        if self._recogniser is not None:
            for person in people:
                person.descriptors = describe(person, pictures, self._recogniser, self._backend)
        self.people.append(people)
        self.samples.append(len(pictures))

    def anchors(self) -> dict[str, list[np.ndarray | None]]:
        """The anchor of each shot, by face; see `find_anchors`. Where several faces are asked for, one that is not found has no
        anchors, and there is a note; `FaceError` where none is found.
        """
        if not any(self.people):
            shots = len(self.people)
            where = "the only shot" if shots == 1 else f"any of the {shots} shots"
            raise FaceError(
                f"{self._url}: no face found in {where}; a face must be seen from the front, 20 pixels wide or more"
            )
        identify(self.people)
        found: dict[str, list[np.ndarray | None]] = {}
        problems: list[FaceError] = []
        for face, rule in self._rules.items():
            try:
                chosen = (
                    self._matching(face, self._references[face])
                    if rule == "reference"
                    else self._placed(face, rule)
                )
            except FaceError as problem:
                problems.append(problem)
                chosen = [None] * len(self.people)
            found[face] = [None if person is None else person.anchor for person in chosen]
        if len(problems) == len(found):
            raise problems[0]
        self.notes += [f"{problem}; that speech moves no mouth" for problem in problems]
        return found

    def _placed(self, face: str, rule: str | int) -> list[Person | None]:
        """The person of a rule by place or size in each shot."""
        # Who speaks is found where the lips are followed; until then, shots with anybody in them count.
        rule = "largest" if rule == "speaking" else rule
        chosen: list[Person | None] = []
        most = 0
        for start, stop in scenes(self.people):
            shots = self.people[start:stop]
            cast = cast_of(shots)
            most = max(most, len(cast), *(len(people) for people in shots))
            wanted = _by_place(cast, rule)
            for people in shots:
                person = next(
                    (p for p in people if wanted is not None and p.identity == wanted.identity), None
                )
                if person is None and (rule == "largest" or not cast):
                    person = _by_place(people, rule)
                chosen.append(person)
        if all(person is None for person in chosen):
            raise FaceError(
                f"{self._url}: face {face}: no shot shows that many faces (at most {most}); numbers begin with 0"
            )
        return chosen

    def _matching(self, face: str, reference: np.ndarray) -> list[Person | None]:
        """The person that a reference picture shows, in each shot: who is near to it, or the same as one who is."""
        shots = [
            [(person, distance(reference, person.descriptors)) for person in people] for people in self.people
        ]
        whole: dict[int, list[float]] = {}
        for person, value in itertools.chain.from_iterable(shots):
            whole.setdefault(person.identity, []).append(value)
        same = {identity for identity, values in whole.items() if np.median(values) < SAME}
        found: list[tuple[Person, float] | None] = []
        for pairs in shots:
            near = [(person, value) for person, value in pairs if value < SAME or person.identity in same]
            found.append(min(near, key=lambda pair: pair[1], default=None))
        matched = [f"{shot} ({pair[1]:.2f})" for shot, pair in enumerate(found) if pair is not None]
        if not matched:
            least = min(value for _, value in itertools.chain.from_iterable(shots))
            limit = f"the nearest face is {least:.2f} away, {SAME} would be the same person"
            raise FaceError(f"{self._url}: nobody in it looks like {face}: {limit}")
        seen = f"{', '.join(matched)} of {len(found)}"
        logger.info(
            "%s: the person of %s is in shots %s (distance; %.1f is the limit)", self._url, face, seen, SAME
        )
        return [None if pair is None else pair[0] for pair in found]


def parse_rule(face: str) -> str | int:
    """Choice made by ``--face``: "largest", "left", "right", "reference" or the number.

    Raises:
        ValueError: none of these; lists them.
    """
    if face in ("largest", "left", "right", "speaking"):
        return face
    if face.isdigit():
        return int(face)
    if suffix(face).lower() in PICTURES or exists(face):
        return "reference"
    raise ValueError(f"face {face!r}: use {RULES}")


def _by_place(people: Sequence[Placed], rule: str | int) -> Placed | None:
    """The one of some people from left to right that a rule means."""
    if not people:
        return None
    if isinstance(rule, int):
        return people[rule] if rule < len(people) else None
    if rule == "largest":
        return max(people, key=lambda person: person.area)
    return people[0] if rule == "left" else people[-1]


def _describe_picture(path: str, backend: FaceBackend) -> tuple[np.ndarray, list[str]]:
    """float64[128] of the largest face in a picture file, and a note where it shows several."""
    if not exists(path):
        raise FaceError(f"face: {path}: there is no such file; use {RULES}")
    with local_copy(path) as local:
        data = np.frombuffer(Path(local).read_bytes(), np.uint8)
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    if decoded is None:
        raise FaceError(f"face: {path}: cannot be read as a picture")
    picture = cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB if backend.colour else cv2.COLOR_BGR2GRAY)
    boxes, scores = find_anywhere(backend, picture)
    if not len(boxes):
        raise FaceError(
            f"face: {path}: no face found in the picture; use one that shows the person from the front"
        )
    if (scores > CERTAIN).any():
        # What scores less does not count beside it.
        boxes = boxes[scores > CERTAIN]
    largest = boxes[int(np.argmax(boxes[:, 2] - boxes[:, 0]))]
    notes = []
    if len(boxes) > 1:
        place = int((boxes[:, 0] + boxes[:, 2] < largest[0] + largest[2]).sum())
        notes = [
            f"face: {path}: {len(boxes)} faces in the picture: number {place} from the left (0 is the first), the largest, is meant; "
            "crop it to the person"
        ]
    landmarks = look(backend, picture, transform_of_box(largest), 0.0, guesses=2).landmarks
    return Recogniser().describe(picture, landmarks), notes
