"""Usable frames, from observations made up to show one thing each."""

import numpy as np
import pytest

from operators.faces.appearance import COLUMNS, ROWS, References
from operators.faces.canonical import EYE, SIDE, TEMPLATE
from operators.faces.geometry import head_model
from operators.faces.validity import (
    ABSENT,
    BOXES,
    CONTEXT,
    COVERED_MOUTH,
    CUT,
    DARK,
    FALL,
    GAP,
    MARGIN,
    MESH,
    NO_FACE,
    TOO_DARK,
    TURNED,
    Observations,
    fault_of,
    faults,
    fill,
    frontality,
    occluded,
    occlusion,
    plausible,
    usable,
)
from tests.operators.faces.test_geometry import SIZE as POSE_SIZE
from tests.operators.faces.test_geometry import project

SIZE = (SIDE, SIDE)
COUNT = 40


def free() -> Observations:
    """A face that is there and free in every frame."""
    return Observations(
        landmarks=np.tile(TEMPLATE, (COUNT, 1, 1)),
        motion=np.tile(np.eye(2, 3), (COUNT, 1, 1)),
        spread=np.full(COUNT, 0.005),
        score=np.where(np.arange(COUNT) % 3 == 0, 1.5, np.nan),
        doubtful=np.zeros(COUNT, bool),
        ghost=np.zeros(COUNT, bool),
        patches=np.zeros((COUNT, ROWS, COLUMNS), np.float32),
        yaw=np.full(COUNT, np.nan),
    )


@pytest.fixture
def references() -> References:
    return References(np.zeros((4, ROWS, COLUMNS), np.float32), np.full(4, 0.005), np.full(4, 1.5))


def moved(x: float, y: float) -> np.ndarray:
    """The face, shifted by eye distances."""
    return TEMPLATE + np.array([x, y]) * EYE


def judged(seen: Observations, references: References) -> np.ndarray:
    return usable(seen, occlusion(seen, references), SIZE, 50.0)


def test_a_free_face_is_usable(references: References) -> None:
    assert occlusion(free(), references).max() < 0.2
    assert judged(free(), references).all()


@pytest.mark.parametrize("sign", ["covered", "scattered", "both and doubt"])
def test_each_sign_of_occlusion(sign: str, references: References) -> None:
    seen = free()
    if sign == "covered":
        seen.patches[15:22, :, 5:12] = 2.0
    elif sign == "scattered":
        seen.spread[15:22] = 0.06
    else:
        seen.patches[15:22, :, 5] = 2.0
        seen.spread[15:22] = 0.015
        seen.score[15:22] = 0.9
    valid = judged(seen, references)
    assert not valid[15:22].any()
    assert valid[: 15 - MARGIN - 2].all()
    assert valid[22 + MARGIN + 2 :].all()


def test_landmarks_that_scatter_in_the_dark_are_no_covered_mouth(references: References) -> None:
    seen = free()
    seen.spread[15:30] = 0.09
    seen.landmarks[35:] = np.nan
    evidence = occlusion(seen, references)
    valid = usable(seen, evidence, SIZE, 50.0)
    brightness = np.full(COUNT, 150.0)
    brightness[22:] = DARK - 15
    found = faults(seen, evidence, valid, SIZE, 50.0, brightness)
    assert (found[15:22] == COVERED_MOUTH).all()
    assert (found[22:30] == TOO_DARK).all()
    assert (found[36:] == NO_FACE).all()
    assert not found[valid].any()
    unknown = faults(seen, evidence, valid, SIZE, 50.0, np.full(COUNT, np.nan))
    assert (unknown[15:30] == COVERED_MOUTH).all()


def test_a_face_that_leaves_the_picture_is_not_covered_for_a_moment_before(references: References) -> None:
    seen = free()
    seen.landmarks[20:26] += [0.0, 3.0 * SIZE[1]]
    valid = np.ones(COUNT, bool)
    valid[17:26] = valid[30:32] = False
    evidence = np.zeros(COUNT)
    evidence[12:26] = evidence[29:34] = 5.0
    found = faults(seen, evidence, valid, SIZE, 50.0, np.full(COUNT, 150.0))
    assert (found[17:26] == CUT).all()
    assert (found[30:32] == COVERED_MOUTH).all()


def test_one_sign_that_is_weak_is_not_enough(references: References) -> None:
    for change in ("patches", "spread", "score"):
        seen = free()
        if change == "patches":
            seen.patches[15:22, :, 5] = 2.0
        elif change == "spread":
            seen.spread[15:22] = 0.012
        else:
            seen.score[15:22] = 0.6
        assert judged(seen, references).all(), change


def test_skin_that_looks_covered_counts_less_where_a_mesh_is_as_sure_of_the_face_as_ever(
    references: References,
) -> None:
    """A face that shouts looks unlike itself."""
    seen = free()
    seen.patches[15:22, :, 5:9] = 2.0
    seen.score[:] = 1.5
    shouting = occlusion(seen, references, MESH)
    seen.score[15:22] = 1.5 - FALL
    hidden = occlusion(seen, references, MESH)
    assert usable(seen, shouting, SIZE, 50.0).all()
    assert not usable(seen, hidden, SIZE, 50.0)[15:22].any()
    assert not usable(seen, occlusion(seen, references, BOXES), SIZE, 50.0)[15:22].any()
    seen.score[15:22] = np.nan
    assert (occlusion(seen, references, MESH)[18] > 1.0) == (hidden[18] > 1.0)


def test_noise_of_a_frame_or_two_is_ignored_and_pauses_are_bridged() -> None:
    evidence = np.zeros(COUNT)
    evidence[10:12] = 1.2
    assert not occluded(evidence).any()
    evidence[20:24], evidence[26:30] = 1.2, 1.2
    assert list(np.flatnonzero(occluded(evidence))) == list(range(20 - MARGIN, 30 + MARGIN))


def test_short_gaps_are_filled_and_long_ones_are_not(references: References) -> None:
    for length in (1, GAP, GAP + 1):
        seen = free()
        seen.landmarks[10 : 10 + length] = np.nan
        seen.ghost[10 : 10 + length] = True
        seen.landmarks[:10] += (8, 0)
        valid = judged(seen, references)
        assert valid[10 : 10 + length].all() == (length <= GAP)
        filled = fill(seen.landmarks, valid)
        if length <= GAP:
            x = filled[9 : 11 + length, 30, 0]
            np.testing.assert_allclose(np.diff(x), np.diff(x)[0])
        else:
            assert np.isnan(filled[10 : 10 + length]).all()


def test_a_gap_that_shows_something_else_is_not_filled(references: References) -> None:
    seen = free()
    seen.landmarks[10:12] = np.nan
    seen.ghost[10:12] = True
    seen.patches[10:12] = 3.0
    assert not judged(seen, references)[10:12].any()


def test_absent_and_doubtful_frames_are_not_usable(references: References) -> None:
    seen = free()
    seen.landmarks[5:15] = np.nan
    seen.doubtful[25:35] = True
    evidence = occlusion(seen, references)
    assert (evidence[5:15] == ABSENT).all()
    valid = usable(seen, evidence, SIZE, 50.0)
    assert not valid[5:15].any()
    assert not valid[25:35].any()
    assert valid[:5].all()


def test_faces_cut_by_the_edge_tiny_or_turned_are_not_plausible() -> None:
    assert plausible(TEMPLATE, SIZE, 50.0)
    assert not plausible(moved(1.7, 0), SIZE, 50.0)
    assert plausible(moved(0, 0.73), SIZE, 50.0)  # the chin is cut, the mouth is there
    assert not plausible(moved(0, 1.18), SIZE, 50.0)
    assert not plausible(TEMPLATE / 12, SIZE, 50.0)
    for yaw in (-60, -30, 0, 30, 60):
        assert plausible(project(head_model(), yaw, 0, 0), POSE_SIZE, 50.0) == (abs(yaw) <= 50)
    squashed = TEMPLATE.copy()
    squashed[[27, 30]] = squashed[[30, 27]]  # a nose upside down
    assert not plausible(squashed, SIZE, 50.0)


def test_a_yaw_that_is_known_counts_in_place_of_the_landmarks() -> None:
    assert fault_of(TEMPLATE, SIZE, 50.0, -51.0) == TURNED
    assert fault_of(project(head_model(), 60, 0, 0), POSE_SIZE, 50.0, 45.0) == 0
    seen = free()
    seen.yaw = np.linspace(-60, 0, COUNT)
    valid = usable(seen, np.zeros(COUNT), SIZE, 50.0)
    np.testing.assert_array_equal(valid, seen.yaw >= -50)


def test_a_face_that_turns_away_counts_less_and_less() -> None:
    yaw = np.array([0.0, 39, -40, 42, np.nan, 48, -50, 80])
    share = frontality(yaw, 50.0)
    np.testing.assert_allclose(share[[0, 1, 2, 4, 6, 7]], [1, 1, 1, 0.5, 0, 0])
    assert 1 > share[3] > share[4] > share[5] > 0
    np.testing.assert_array_equal(frontality(np.full(3, np.nan), 50.0), np.ones(3))


def test_a_frame_depends_on_its_context_only(references: References) -> None:
    seen = free()
    random = np.random.default_rng(3)
    seen.patches += random.choice([0, 1], (COUNT, 1, COLUMNS), p=[0.9, 0.1]).astype(np.float32)
    seen.spread = random.uniform(0.004, 0.012, COUNT)
    whole = judged(seen, references)
    assert 0 < whole.sum() < COUNT

    def cut(values: np.ndarray) -> np.ndarray:
        return values[3:37]

    part = Observations(*(cut(getattr(seen, field)) for field in Observations.__dataclass_fields__))
    np.testing.assert_array_equal(
        judged(part, references)[CONTEXT:-CONTEXT], whole[3 + CONTEXT : 37 - CONTEXT]
    )
