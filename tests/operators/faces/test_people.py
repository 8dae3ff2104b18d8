"""People of a title: the same in several shots, scenes, and their order."""

from __future__ import annotations

import numpy as np

from operators.faces.people import Person, cast_of, identify, scenes

RANDOM = np.random.default_rng(7)
FACES = {name: RANDOM.normal(size=128) * 0.06 for name in "abcd"}  # about 0.95 apart


def person(name: str, x: float = 0, size: float = 100, samples: int = 4, noise: float = 0.02) -> Person:
    """A described person; noise 0.02 puts two descriptors about 0.3 apart."""
    boxes = [np.array([x, 50, x + size, 50 + size], np.float32)] * samples
    descriptors = FACES[name] + RANDOM.normal(size=(3, 128)) * noise
    return Person(boxes, list(range(samples)), [1.0] * samples, descriptors)


def numbers(shots: list[list[Person]]) -> list[list[int]]:
    return [[one.identity for one in people] for people in shots]


def test_one_person_has_one_number_through_a_title() -> None:
    shots = [
        [person("a"), person("b", 300)],
        [person("b")],
        [],
        [person("c")],
        [person("a"), person("c", 300)],
    ]
    assert identify(shots) == 3
    assert numbers(shots) == [[0, 1], [1], [], [2], [0, 2]]


def test_two_faces_of_a_shot_are_two_people_however_alike() -> None:
    shots = [[person("a"), person("a", 300)], [person("a")]]
    assert identify(shots) == 2
    assert sorted(numbers(shots)[0]) == [0, 1]


def test_who_was_not_described_has_no_number() -> None:
    unknown = Person([np.zeros(4, np.float32)], [0], [1.0])
    shots = [[unknown], [person("a")]]
    assert identify(shots) == 1
    assert numbers(shots) == [[-1], [0]]
    assert identify([[unknown]]) == 0


def test_scenes_join_shots_between_two_of_one_person() -> None:
    shots = [[person(name)] for name in "abadcc"]
    identify(shots)
    assert scenes(shots) == [(0, 3), (3, 4), (4, 6)]
    far = [[person(name)] for name in "abcda"]
    identify(far)
    assert scenes(far) == [(k, k + 1) for k in range(5)]
    assert scenes([]) == []


def test_a_scene_is_ordered_from_left_to_right_without_passers_by() -> None:
    shots = [
        [person("a", 400, 200), person("b", 100)],
        [person("b", 120)],
        [person("c", 0, samples=1), person("a", 380)],
    ]
    shots[0][0].boxes *= 3
    identify(shots)
    assert [one.identity for one in cast_of(shots)] == [1, 0]
    assert max(cast_of(shots), key=lambda one: one.area).identity == 0
