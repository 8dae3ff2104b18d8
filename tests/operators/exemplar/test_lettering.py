"""Letters over time: which finds are believed, where lines begin, and how a mouth gives way to letters that reach the lips."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from operators.exemplar import render_stage
from operators.exemplar.graphics import Line, lines_of_letters
from operators.exemplar.letter_tracks import FINDS, LetterTracks
from operators.exemplar.lettering import EASED, LEAST_AHEAD, QUIET, SPARSE, Lettering, Look
from operators.exemplar.standing_lines import KNOWN, Follower, StandingLines
from operators.exemplar.warp import face_unit
from operators.faces.geometry import CHIN
from tests.operators.exemplar.footage import carphone
from tests.operators.exemplar.test_graphics import WORDS, encoded, rendered, written

LINE = (100, 200, 300, 240)


def tracks(finds: dict[int, tuple[int, int, int, int]], count: int = 60) -> LetterTracks:
    """Frames 0 ... count - 1 looked at, with the finds in some."""
    result = LetterTracks()
    for frame in range(count):
        result.add(frame, [finds[frame]] if frame in finds else [])
    return result


def test_a_line_is_believed_that_is_found_in_a_third_of_its_frames() -> None:
    dense = tracks(dict.fromkeys(range(20, 45, 3), LINE))
    assert all(dense.believed(frame, LINE) for frame in range(20, 45, 3))
    short = tracks(dict.fromkeys((30, 31, 33), LINE))
    assert short.believed(30, LINE)
    assert short.believed(33, LINE)


def test_hair_that_is_found_now_and_then_is_not_believed() -> None:
    """The finds of a head tilted by 45 degrees."""
    hair = {
        15: (168, 287, 314, 341),
        27: (176, 357, 384, 420),
        34: (190, 385, 308, 412),
        37: (189, 386, 309, 414),
        47: (179, 353, 379, 419),
    }
    found = tracks(hair)
    assert not any(found.believed(frame, box) for frame, box in hair.items())
    once = tracks({0: LINE, 59: LINE})
    assert not once.believed(0, LINE)
    assert not once.believed(59, LINE)


def test_a_line_that_moves_is_one_line_and_one_in_other_rows_is_not() -> None:
    ticker = {frame: (300 - 9 * frame, 200, 500 - 9 * frame, 240) for frame in range(40)}
    found = tracks(ticker)
    assert all(found.believed(frame, box) for frame, box in ticker.items())
    titles = {frame: (100, 400 - 3 * frame, 300, 440 - 3 * frame) for frame in range(0, 40, 2)}
    found = tracks(titles)
    assert all(found.believed(frame, box) for frame, box in titles.items())
    jumping = {20: LINE, 22: (100, 300, 300, 340), 24: (400, 200, 600, 240)}
    found = tracks(jumping)
    assert not any(found.believed(frame, box) for frame, box in jumping.items())


def test_where_few_frames_are_looked_at_each_find_counts() -> None:
    """A picture has one."""
    assert tracks({0: LINE}, 1).believed(0, LINE)
    assert tracks({1: LINE}, 2).believed(1, LINE)
    assert not tracks({1: LINE}, 3).believed(1, LINE)


def looks(
    pictures: list[np.ndarray],
    landmarks: np.ndarray,
    search: Callable[[np.ndarray, np.ndarray, float], list[Line]] = lines_of_letters,
    beforehand: int = 25,
) -> list[tuple[Look, float]]:
    """Look at whole pictures, so many before one is given back."""
    letters, result = Lettering(search), []
    height, width = pictures[0].shape[:2]
    for index, (picture, points) in enumerate(zip(pictures, landmarks)):
        crop = functools.partial(np.asarray, picture)
        letters.look(index, (0, 0, width, height), crop, (points, points), face_unit(points))
        if index >= beforehand:
            result.append(letters.next())
    result += [letters.next() for _ in range(len(pictures) - len(result))]
    given = [(look, weight) for look, weight in result if look is not None]
    assert [look.frame for look, _ in given] == list(range(len(pictures)))
    return given


def moving(
    count: int, begin: int, found_from: int
) -> tuple[list[np.ndarray], np.ndarray, Callable[..., list[Line]]]:
    """A caption that moves by 4 pixels a frame from frame ``begin``, and a search that sees it only from a later one."""
    frames, landmarks, _ = carphone()
    at = landmarks[:, 57].mean(0)
    pictures = [
        written(one, WORDS[0], (at[0] + 60 - 4 * i, at[1] - 4), 20) if i >= begin else one
        for i, one in enumerate(frames[:count])
    ]
    late = {id(picture) for picture in pictures[found_from:]}

    def search(rgb: np.ndarray, points: np.ndarray, unit: float) -> list[Line]:
        return lines_of_letters(rgb, points, unit) if id(rgb) in late else []

    return pictures, landmarks[:count], search


def test_a_moving_line_is_followed_back_to_where_it_begins() -> None:
    begin, found_from = 8, 16
    pictures, landmarks, search = moving(32, begin, found_from)
    given = looks(pictures, landmarks, search)
    assert [look.frame for look, _ in given if look.on_lips] == list(range(begin, 32))
    for look, _ in given[begin : found_from - 1]:
        (box,) = look.followed
        centre = landmarks[:, 57].mean(0)[0]
        assert (
            abs((box[0] + box[2]) / 2 - given[-1][0].boxes[0][0] / 2 - given[-1][0].boxes[0][2] / 2) < 4 * 32
        )
        assert box[0] < centre + 60 - 4 * look.frame < box[2]
    assert not any(look.followed for look, _ in given[:begin])
    # Without a look ahead they are seen when they are found, and believed later still.
    late = looks(pictures, landmarks, search, 0)
    assert min(look.frame for look, _ in late if look.on_lips) >= found_from


def test_a_mouth_gives_way_before_letters_reach_the_lips() -> None:
    pictures, landmarks, search = moving(32, 12, 12)
    weights = [weight for _, weight in looks(pictures, landmarks, search)]
    assert weights[: 12 - EASED] == [1.0] * (12 - EASED)
    assert 1 > weights[12 - EASED] > weights[11] > 0
    assert weights[12:] == [0.0] * 20


def test_a_search_that_errs_now_and_then_changes_nothing() -> None:
    frames, landmarks, _ = carphone()
    mouth = landmarks[:, 48:60].mean((0, 1)).astype(int)
    box = (int(mouth[0]) - 60, int(mouth[1]) - 15, int(mouth[0]) + 60, int(mouth[1]) + 15)
    line = Line(box, np.ones((30, 120), bool))
    wrong = {id(frames[index]) for index in (0, 12, 13, 24)}
    given = looks(frames[:32], landmarks[:32], lambda rgb, *_: [line] if id(rgb) in wrong else [])
    assert all(weight == 1 and look.kept is None for look, weight in given)
    often = {id(frame) for frame in frames[3:12:2]}
    given = looks(frames[:32], landmarks[:32], lambda rgb, *_: [line] if id(rgb) in often else [])
    assert all(look.on_lips for look, _ in given[3:12:2])


def test_where_nothing_is_found_few_frames_are_searched_and_no_letter_is_missed() -> None:
    begin = QUIET + 3 * SPARSE + 1  # between two that are searched
    pictures, landmarks, _ = moving(40, begin, 0)
    searched: list[int] = []
    numbers = {id(picture): number for number, picture in enumerate(pictures)}

    def search(rgb: np.ndarray, points: np.ndarray, unit: float) -> list[Line]:
        searched.append(numbers[id(rgb)])
        return lines_of_letters(rgb, points, unit)

    given = looks(pictures, landmarks, search)
    assert searched[:QUIET] == list(range(QUIET))
    first = next(number for number in searched if number >= begin)
    skipped = range(first - SPARSE + 1, first)
    assert searched[QUIET:] == [
        *range(QUIET + SPARSE - 1, first, SPARSE),
        *(first, *skipped, *range(first + 1, 40)),
    ]
    assert begin < first < begin + SPARSE
    assert [look.frame for look, _ in given if look.on_lips] == list(range(begin, 40))


@pytest.mark.parametrize("beforehand", [LEAST_AHEAD, 25])
@pytest.mark.parametrize("begin", range(QUIET + 2 * SPARSE, QUIET + 3 * SPARSE))
def test_the_briefest_caption_that_is_believed_is_found_wherever_it_begins(
    begin: int, beforehand: int
) -> None:
    frames, landmarks, _ = carphone()
    shown = range(begin, begin + FINDS)
    pictures = [
        written(frame, WORDS[0], tuple(landmarks[index, 57] + [0, -4]), 20) if index in shown else frame
        for index, frame in enumerate(frames[:30])
    ]
    given = looks(pictures, landmarks[:30], beforehand=beforehand)
    assert all(look.on_lips for look, _ in given[shown.start : shown.stop])


@pytest.mark.parametrize("begin", [18, 19])
def test_letters_in_the_last_frames_before_one_that_stands_are_found(begin: int) -> None:
    """Three frames show them, of which one or two would be searched."""
    frames, landmarks, _ = carphone()
    last, points = begin + 2, landmarks[begin]
    picture = written(frames[begin], WORDS[0], tuple(landmarks[begin, 57] + [0, -4]), 20)
    height, width = picture.shape[:2]
    letters = Lettering(lines_of_letters)
    for index in range(last + 25):
        number = min(index, last)
        rgb, faces = (picture, points) if number >= begin else (frames[number], landmarks[number])
        crop = functools.partial(np.asarray, rgb)
        letters.look(number, (0, 0, width, height), crop, (faces, faces), face_unit(faces))
    given = [letters.next()[0] for _ in range(last + 25)]
    assert [look is not None and look.on_lips for look in given] == [False] * begin + [True] * (
        last + 25 - begin
    )


def test_a_follower_sees_a_line_that_fades_and_none_where_it_is_not() -> None:
    frames, landmarks, _ = carphone()
    chin = landmarks[10][CHIN]
    picture = written(frames[10], WORDS[0], (chin[0], chin[1] - 8), 20)
    (line,) = lines_of_letters(picture, landmarks[10], face_unit(landmarks[10]))
    follower = Follower(line, picture, (0, 0))
    for step, share in ((1, 0.7), (2, 0.4), (3, 0.2)):
        whole = written(frames[10 - step], WORDS[0], (chin[0] + 5 * step, chin[1] - 8), 20)
        plain = frames[10 - step].astype(np.float32)
        faded = np.round(plain + share * (whole - plain)).astype(np.uint8)
        box = follower.next(faded, (0, 0))
        assert box is not None
        assert np.abs(np.array(box) - line.box - [5 * step, 0, 5 * step, 0]).max() <= 1
    assert follower.next(frames[6], (0, 0)) is None


def test_the_line_that_was_seen_longest_ago_makes_room_for_new_ones() -> None:
    frames, landmarks, _ = carphone()
    chin = landmarks[10][CHIN]
    picture = written(frames[10], WORDS[0], (chin[0], chin[1] - 8), 20)
    (line,) = lines_of_letters(picture, landmarks[10], face_unit(landmarks[10]))
    standing = StandingLines()
    for number in range(KNOWN + 6):
        standing.learn([line], picture, (0, 60 * number))
        assert standing.seen(picture, (0, 0)) == [line.box], "seen again, it stays"
    assert standing.seen(picture, (0, 60 * (KNOWN + 5))) == [line.box]
    assert standing.seen(picture, (0, 60)) == []


def test_letters_that_are_believed_late_were_never_drawn_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A caption crosses the lips and is followed back from frames later than those in which it begins."""
    pictures, landmarks, _ = moving(40, 6, 6)
    pictures = pictures[:26] + carphone()[0][26:40]
    info = encoded(tmp_path / "crossing.mp4", pictures)
    states: list[tuple[str, int]] = []
    calls = iter(range(10**6))

    def search(rgb: np.ndarray, points: np.ndarray, unit: float) -> list[Line]:
        """Sees nothing in the first frames that are searched, nor in exemplars."""
        return lines_of_letters(rgb, points, unit) if next(calls) >= exemplars + 8 else []

    exemplars = 20
    monkeypatch.setattr(render_stage, "lines_of_letters", search)
    rendered(info, landmarks, tmp_path / "made.mp4", states)
    assert [state for state, _ in states] == ["dubbed", "letters", "dubbed"]
    assert states[0][1] <= 6
