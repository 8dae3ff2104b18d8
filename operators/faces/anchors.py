"""Choice of the person to dub: one box for each shot of a title, by the rule of ``--face``. The planner uses
`AnchorSearch`.

Faces are found in samples of each shot (`samples`), and faces of one shot gathered into people by where they
are. A rule then picks a person in each shot by itself (largest, left, right, a number), or one and the same
person everywhere (a reference picture).
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from operators.faces.backend import FaceBackend, make_backend
from operators.faces.canonical import transform_of_box
from operators.faces.frame_sampler import LEAST, ShotFrameSampler
from operators.faces.identity import SAME, Recogniser, distance
from operators.faces.search import LONG_SIDES, find_anywhere, separation
from operators.faces.seed import look
from operators.media.probe import VideoInfo
from operators.media.reader import read_frames
from operators.storage.files import exists, local_copy, suffix

logger = logging.getLogger(__name__)

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
RULES = "largest, left, right, a number (0 is the leftmost face), or the path of a picture of the person"


class FaceError(ValueError):
    """There is no face where one is needed; the message names the file and what to do."""


@dataclasses.dataclass
class Person:
    """A face seen in one place in several samples of a shot.

    Attributes:
        boxes: float32[4] each.
        frames: index of the sample's frame, for each box.
        scores: the detector's, for each box.
        distance: from the reference picture (`identity.distance`), where there is one.
    """

    boxes: list[np.ndarray]
    frames: list[int]
    scores: list[float]
    distance: float = float("inf")

    @property
    def area(self) -> float:
        """Summed over the samples: who is long in the picture counts as large."""
        return float(sum(np.prod(box[2:] - box[:2]) for box in self.boxes))

    @property
    def centre(self) -> float:
        """Median horizontal position."""
        return float(np.median([(box[0] + box[2]) / 2 for box in self.boxes]))

    @property
    def anchor(self) -> np.ndarray:
        """float32[4]: the seen box that is nearest to the median of all."""
        median = np.median(self.boxes, axis=0)
        return self.boxes[int(np.argmin(separation(np.array(self.boxes), median)))]


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
        face: "largest" (summed over the shot's samples), "left", "right", a number counted from the left
            beginning with 0, or the path or URL of a picture of the person.
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
    return search.anchors()


class AnchorSearch:
    """`find_anchors`, shot by shot.

    Args:
        url: video.
        face: see `find_anchors`.
        backend: finds faces; dlib if None.

    Raises:
        FaceError: the reference picture cannot be used.
        ValueError: ``face`` is no rule.
    """

    def __init__(self, url: str, face: str = "largest", backend: FaceBackend | None = None) -> None:
        self._url, self._face, self._rule = url, face, parse_rule(face)
        self._backend = backend or make_backend("dlib", "cpu")
        self._wanted = (
            (_describe_picture(face, self._backend), Recogniser()) if self._rule == "reference" else None
        )
        # The largest face is found first; by all other rules the small ones count as well.
        self._sides = LONG_SIDES if self._rule == "largest" else LONG_SIDES[1:]
        self._people: list[list[Person]] = []

    @property
    def colour(self) -> bool:
        """True if samples have to be RGB."""
        return self._backend.colour

    def add(self, pictures: Mapping[int, np.ndarray]) -> None:
        """Search the samples of the next shot (`ShotFrameSampler.take`)."""
        people = people_of_shot(pictures, self._backend, self._sides)
        self._people.append(people)
        if self._wanted is not None:
            reference, recogniser = self._wanted
            for person in people:
                person.distance = distance(reference, _describe(person, pictures, recogniser, self._backend))

    def anchors(self) -> list[np.ndarray | None]:
        """The anchor of each shot; see `find_anchors`."""
        if not any(self._people):
            shots = len(self._people)
            raise FaceError(
                f"{self._url}: no face found in any of the {shots} shots; a face must be seen from the front, 20 pixels wide or more"
            )
        if self._wanted is not None:
            return self._matching()
        chosen = [_by_place(people, self._rule) for people in self._people]
        if all(person is None for person in chosen):
            most = max(len(people) for people in self._people)
            raise FaceError(
                f"{self._url}: --face {self._face}: no shot shows that many faces (at most {most}); numbers begin with 0"
            )
        return [None if person is None else person.anchor for person in chosen]

    def _matching(self) -> list[np.ndarray | None]:
        """Anchors of the people that the reference picture shows."""
        nearest = [min(people, key=lambda person: person.distance, default=None) for people in self._people]
        found = [person if person is not None and person.distance < SAME else None for person in nearest]
        matched = [
            f"{shot} ({person.distance:.2f})" for shot, person in enumerate(found) if person is not None
        ]
        if not matched:
            least = min(person.distance for person in nearest if person is not None)
            limit = f"the nearest face is {least:.2f} away, {SAME} would be the same person"
            raise FaceError(f"{self._url}: nobody in it looks like {self._face}: {limit}")
        shots = f"{', '.join(matched)} of {len(found)}"
        logger.info(
            "%s: the person of %s is in shots %s (distance; %.1f is the limit)",
            self._url,
            self._face,
            shots,
            SAME,
        )
        return [None if person is None else person.anchor for person in found]


def parse_rule(face: str) -> str | int:
    """Choice made by ``--face``: "largest", "left", "right", "reference" or the number.

    Raises:
        ValueError: none of these; lists them.
    """
    if face in ("largest", "left", "right"):
        return face
    if face.isdigit():
        return int(face)
    if suffix(face).lower() in PICTURES or exists(face):
        return "reference"
    raise ValueError(f"--face {face!r}: use {RULES}")


def people_of_shot(
    pictures: Mapping[int, np.ndarray], backend: FaceBackend, sides: Sequence[int] = LONG_SIDES
) -> list[Person]:
    """The people of one shot, left to right.

    Args:
        pictures: luma uint8[h, w] (RGB for backends with colour) of its samples by frame, ascending.
        backend: finds faces.
        sides: as in `find_anywhere`.
    """
    people: list[Person] = []
    for index, picture in pictures.items():
        _assign(people, index, *find_anywhere(backend, picture, sides))
    # A single weak detection among many samples is a pattern on a wall.
    seen = [p for p in people if len(p.boxes) >= 2 or len(pictures) < LEAST or max(p.scores) > 0.8]
    return sorted(seen, key=lambda person: person.centre)


def _assign(people: list[Person], index: int, boxes: np.ndarray, scores: np.ndarray) -> None:
    """Give each face of a sample to the person last seen nearest to it, each person one at most; the others
    are new.
    """
    pairs = sorted(
        (float(separation(boxes[[i]], person.boxes[-1])[0]), i, p)
        for i in range(len(boxes))
        for p, person in enumerate(people)
    )
    taken: dict[int, int] = {}
    for apart, i, p in pairs:
        if apart < 1.0 and i not in taken and p not in taken.values():
            taken[i] = p
    for i, box in enumerate(boxes):
        if i not in taken:
            people.append(Person([], [], []))
        person = people[taken[i]] if i in taken else people[-1]
        person.boxes.append(box)
        person.frames.append(index)
        person.scores.append(float(scores[i]))


def _by_place(people: list[Person], rule: str | int) -> Person | None:
    if not people:
        return None
    if isinstance(rule, int):
        return people[rule] if rule < len(people) else None
    if rule == "largest":
        return max(people, key=lambda person: person.area)
    return people[0] if rule == "left" else people[-1]


def _describe_picture(path: str, backend: FaceBackend) -> np.ndarray:
    """float64[128] of the largest face in a picture file."""
    if not exists(path):
        raise FaceError(f"--face {path}: there is no such file; use {RULES}")
    with local_copy(path) as local:
        data = np.frombuffer(Path(local).read_bytes(), np.uint8)
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    if decoded is None:
        raise FaceError(f"--face {path}: cannot be read as a picture")
    picture = cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB if backend.colour else cv2.COLOR_BGR2GRAY)
    boxes, _ = find_anywhere(backend, picture)
    if not len(boxes):
        raise FaceError(
            f"--face {path}: no face found in the picture; use one that shows the person from the front"
        )
    largest = boxes[int(np.argmax(boxes[:, 2] - boxes[:, 0]))]
    return Recogniser().describe(
        picture, look(backend, picture, transform_of_box(largest), 0.0, guesses=2).landmarks
    )


def _describe(
    person: Person, pictures: Mapping[int, np.ndarray], recogniser: Recogniser, backend: FaceBackend
) -> np.ndarray:
    """float64[n, 128] of the person in the three samples where the detector was surest."""
    out = []
    for i in sorted(np.argsort(person.scores)[-3:], key=lambda i: person.frames[i]):
        picture = pictures[person.frames[i]]
        seen = look(backend, picture, transform_of_box(person.boxes[i]), person.scores[i], guesses=2)
        out.append(recogniser.describe(picture, seen.landmarks))
    return np.array(out)
