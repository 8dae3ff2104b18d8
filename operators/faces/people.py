"""People of a title: faces seen in one place of a shot, and which of them are the same person in other shots.

Descriptors (`operators.faces.identity`) of a face in one shot are averaged, and averages gathered by agglomerative clustering
(average linkage). Two faces in one shot are never one person. docs/speakers.md says how good that is.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from operators.faces.backend import FaceBackend, PictureBackend, gives_mesh
from operators.faces.canonical import transform_of_box
from operators.faces.frame_sampler import LEAST
from operators.faces.identity import Recogniser
from operators.faces.picture import Picture
from operators.faces.search import LONG_SIDES, find_anywhere, separation
from operators.faces.seed import look

#: Score of a face that needs no second look.
CLEAR = 0.7
#: Mean descriptors of two faces nearer than this are one person's.
SAME_MEAN = 0.45
#: Distance of two faces in one shot, for the clustering.
APART = 4.0
#: Samples of a face in a shot that are described: those in which the detector was surest.
DESCRIBED = 3
#: Shots from one in which a person is seen to the next, at most, within a scene.
REACH = 3
#: People who are seen less than this share of the one who is seen most have no place in a scene's order.
PASSER_BY = 0.125


@dataclasses.dataclass
class Person:
    """A face seen in one place in several samples of a shot.

    Attributes:
        boxes: float32[4] each.
        frames: index of the sample's frame, for each box.
        scores: the detector's, for each box.
        descriptors: float64[n, 128], none where it was not described.
        identity: number of the person in the title; -1: not known.
    """

    boxes: list[np.ndarray]
    frames: list[int]
    scores: list[float]
    descriptors: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros((0, 128)))
    identity: int = -1

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


def people_of_shot(
    pictures: Mapping[int, Picture], backend: FaceBackend, sides: Sequence[int] = LONG_SIDES
) -> list[Person]:
    """The people of one shot, left to right.

    Args:
        pictures: of its samples by frame, ascending, as the backend wants them.
        backend: finds faces.
        sides: as in `find_anywhere`.
    """
    people: list[Person] = []
    for index, picture in pictures.items():
        _assign(people, index, *_confirmed(backend, picture, *find_anywhere(backend, picture, sides)))
    # A single weak detection among many samples is a pattern on a wall.
    seen = [p for p in people if len(p.boxes) >= 2 or len(pictures) < LEAST or max(p.scores) > 0.8]
    return sorted(seen, key=lambda person: person.centre)


def _confirmed(
    backend: FaceBackend, picture: Picture, boxes: np.ndarray, scores: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The boxes float32[n, 4] and scores float32[n] of what a mesh says is a face; all of them where there is none to ask."""
    if not gives_mesh(backend):
        return boxes, scores
    kept = [number for number, box in enumerate(boxes) if _shows_face(backend, picture, box)]
    return boxes[kept], scores[kept]


def _shows_face(backend: PictureBackend, picture: Picture, box: np.ndarray) -> bool:
    """Tell whether a mesh sees a face in a box float[4]: clearly at the first look, or at a second one where the first places the face."""
    place = transform_of_box(box)
    if backend.look(picture, place, None, guess=False, exact=False).score > CLEAR:
        return True
    return backend.look(picture, place, None, guess=True, exact=False).score > 0


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


def describe(
    person: Person, pictures: Mapping[int, Picture], recogniser: Recogniser, backend: FaceBackend
) -> np.ndarray:
    """float64[n, 128] of the person in the three samples where the detector was surest."""
    out = []
    for i in sorted(np.argsort(person.scores)[-DESCRIBED:], key=lambda i: person.frames[i]):
        picture = pictures[person.frames[i]]
        seen = look(backend, picture, transform_of_box(person.boxes[i]), person.scores[i], guesses=2)
        out.append(recogniser.describe(picture, seen.landmarks))
    return np.array(out)


def identify(shots: Sequence[Sequence[Person]]) -> int:
    """Number the people of a title: sets the `identity` of those who are described.

    Args:
        shots: the people of each.

    Returns:
        How many people there are. Numbers follow the order in which they are first seen, left to right.
    """
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import pdist, squareform

    known = [
        (shot, person) for shot, people in enumerate(shots) for person in people if len(person.descriptors)
    ]
    if not known:
        return 0
    means = np.array([person.descriptors.mean(0) for _, person in known])
    labels = np.ones(len(known), np.int64)
    if len(known) > 1:
        apart = squareform(pdist(means))
        number = np.array([shot for shot, _ in known])
        apart[(number[:, None] == number) & ~np.eye(len(known), dtype=bool)] = APART
        labels = fcluster(linkage(squareform(apart, checks=False), "average"), SAME_MEAN, "distance")
    _part(known, means, labels)
    order = {label: k for k, label in enumerate(dict.fromkeys(labels.tolist()))}
    for (_, person), label in zip(known, labels.tolist(), strict=True):
        person.identity = order[label]
    return len(order)


def _part(known: Sequence[tuple[int, Person]], means: np.ndarray, labels: np.ndarray) -> None:
    """Where a cluster has two faces of one shot, the one further from its middle becomes a person of its own."""
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        away = np.linalg.norm(means[members] - means[members].mean(0), axis=1)
        taken: set[int] = set()
        for member in members[np.argsort(away, kind="stable")]:
            if known[member][0] in taken:
                labels[member] = labels.max() + 1
            taken.add(known[member][0])


def scenes(shots: Sequence[Sequence[Person]]) -> list[tuple[int, int]]:
    """[start, stop) of shots that belong together: whoever is seen again within three shots joins all in between."""
    last: dict[int, int] = {}
    joined = np.zeros(max(len(shots) - 1, 0), bool)  # of each shot with the next
    for number, people in enumerate(shots):
        for person in people:
            if person.identity >= 0:
                before = last.get(person.identity, -REACH - 1)
                if number - before <= REACH:
                    joined[before:number] = True
                last[person.identity] = number
    edges = [0, *(int(k) + 1 for k in np.flatnonzero(~joined)), len(shots)]
    return [(a, b) for a, b in itertools.pairwise(edges) if a < b]


@dataclasses.dataclass(frozen=True)
class Seen:
    """A person of a scene: number in the title, summed area of the faces, median horizontal position, and samples."""

    identity: int
    area: float
    centre: float
    samples: int


def cast_of(shots: Sequence[Sequence[Person]]) -> list[Seen]:
    """The people of a scene, left to right, passers-by left out."""
    found: dict[int, list[Person]] = {}
    for people in shots:
        for person in people:
            if person.identity >= 0:
                found.setdefault(person.identity, []).append(person)
    seen = [
        Seen(
            identity,
            sum(one.area for one in ones),
            float(np.median([(box[0] + box[2]) / 2 for one in ones for box in one.boxes])),
            sum(len(one.boxes) for one in ones),
        )
        for identity, ones in found.items()
    ]
    most = max((one.samples for one in seen), default=0)
    return sorted((one for one in seen if one.samples >= PASSER_BY * most), key=lambda one: one.centre)
