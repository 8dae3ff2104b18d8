"""Exemplar choice: exact against brute force, runs rather than joins, no mouth pulled open, pose respected."""

import itertools

import numpy as np

from operators.exemplar.choose import (
    BACKWARDS,
    JOIN,
    STEPS,
    TURN,
    Costs,
    MouthFeatures,
    best_path,
    frame_costs,
)
from tests.operators.exemplar.talker import speech_like


def mouths(
    opening: np.ndarray, *, yaw: np.ndarray | float = 0.0, shut: np.ndarray | float = 0.0, rate: float = 25.0
) -> MouthFeatures:
    count = len(opening)
    angles = np.zeros([count, 3])
    angles[:, 0] = yaw
    speed = np.gradient(opening) if count > 1 else np.zeros(1)
    full = np.broadcast_to(np.asarray(shut, np.float64), count)
    return MouthFeatures(
        opening, np.full(count, 0.8), full, speed, angles, np.zeros(count), np.arange(count) / rate
    )


def test_same_as_brute_force() -> None:
    rng = np.random.default_rng(0)
    frames = np.array([10, 11, 12, 15, 16])
    for trial in range(3):
        source, wanted = mouths(rng.uniform(0, 0.2, 5)), mouths(rng.uniform(0, 0.2, 5))
        features = np.stack([source.opening / 0.03, rng.normal(size=5)], -1)
        unary_penalty = rng.uniform(0, 1, 5)
        unary = frame_costs(wanted, source, unary_penalty, Costs())

        def look_after(candidate: int, direction: int, features: np.ndarray = features) -> np.ndarray:
            following = np.flatnonzero(frames == frames[candidate] + direction)
            return features[following[0]] if len(following) else features[candidate]

        def cost(path: tuple[int, ...], unary: np.ndarray = unary, features: np.ndarray = features) -> float:
            """The cheapest price of a sequence of candidates over all directions it may be thought to run in."""
            totals = {d: float(unary[0, path[0]]) for d in (1, -1)}
            for index, (a, b) in enumerate(itertools.pairwise(path), 1):
                step, now = int(frames[b] - frames[a]), {}
                for into in (1, -1):
                    ways = [
                        totals[d] + JOIN + float(((look_after(a, d) - features[b]) ** 2).sum())
                        for d in (1, -1)
                    ]
                    ways += [
                        totals[into] + price + (into < 0) * BACKWARDS
                        for ahead, price in STEPS
                        if step == ahead * into
                    ]
                    ways += [totals[-into] + TURN] if step == into else []
                    now[into] = min(ways) + float(unary[index, b])
                totals = now
            return min(totals.values())

        found = tuple(int(p) for p in best_path(wanted, source, frames, features, unary_penalty, 0.04))
        best = min(itertools.product(range(5), repeat=5), key=cost)
        assert np.isclose(cost(found), cost(best), atol=1e-4), trial


def test_a_held_mouth_does_not_tremble() -> None:
    own = 0.08 + 0.05 * speech_like(100, 4)
    path = best_path(
        mouths(np.full(50, own.max())),
        mouths(own),
        np.arange(100),
        (own / 0.03)[:, None],
        np.zeros(100),
        0.04,
    )
    turns = np.diff(path)[1:] * np.diff(path)[:-1] < 0
    assert (turns[1:] & turns[:-1]).mean() < 0.03, "forth and back within two frames"
    assert np.ptp(path) >= 2, "nor does it freeze"


def test_long_natural_runs() -> None:
    own, asked = 0.08 + 0.05 * speech_like(750, 1), 0.08 + 0.05 * speech_like(250, 2)
    features = (own / 0.03)[:, None]
    path = best_path(mouths(asked), mouths(own), np.arange(750), features, np.zeros(750), 0.04)
    joins = ~np.isin(np.diff(path), [-2, -1, 0, 1, 2])
    assert joins.mean() < 0.2
    assert len(path) / (joins.sum() + 1) >= 5, "mean run"
    assert np.corrcoef(own[path], asked)[0, 1] > 0.75
    fast = best_path(
        mouths(np.repeat(asked, 2), rate=50), mouths(own), np.arange(750), features, np.zeros(750), 0.02
    )
    assert 250 / (~np.isin(np.diff(fast), [-2, -1, 0, 1, 2])).sum() > 2.5, (
        "runs last in seconds, not in frames"
    )


def test_the_same_speech_finds_its_own_frames() -> None:
    own = 0.08 + 0.05 * speech_like(300, 1)
    path = best_path(
        mouths(own[100:200]), mouths(own), np.arange(300), (own / 0.03)[:, None], np.zeros(300), 0.04
    )
    assert (path == np.arange(100, 200)).mean() > 0.9


def test_no_shut_mouth_is_pulled_open() -> None:
    # The only open mouths are turned away somewhat; pulling a shut one open would cost less warping of the
    # pose but invent teeth.
    own = np.concatenate([np.full(50, 0.02), np.full(50, 0.15)])
    yaw = np.concatenate([np.zeros(50), np.full(50, 7.0)])
    source = mouths(own, yaw=yaw)
    path = best_path(
        mouths(np.full(30, 0.16)), source, np.arange(100), np.zeros([100, 1]), np.zeros(100), 0.04
    )
    assert (own[path] > 0.1).all()


def test_shut_lips_come_from_shut_lips() -> None:
    source = mouths(np.array([0.05] * 20 + [0.03] * 20), shut=np.array([0.0] * 20 + [1.0] * 20))
    near = frame_costs(mouths(np.full(1, 0.04), shut=1.0), source, np.zeros(40), Costs())[0]
    free = frame_costs(mouths(np.full(1, 0.04), shut=0.0), source, np.zeros(40), Costs())[0]
    assert near[:20].min() > near[20:].min() + 2
    assert abs(free[:20].min() - free[20:].min()) < 0.5


def test_pose_and_doubt_are_avoided() -> None:
    opening = np.full(60, 0.1)
    source = mouths(opening, yaw=np.repeat([-20.0, 0.0, 20.0], 20))
    unary_penalty = np.zeros(60)
    unary_penalty[20:30] = 4.0
    path = best_path(
        mouths(np.full(25, 0.1), yaw=18.0), source, np.arange(60), np.zeros([60, 1]), np.zeros(60), 0.04
    )
    assert (path >= 40).all()
    path = best_path(mouths(np.full(8, 0.1)), source, np.arange(60), np.zeros([60, 1]), unary_penalty, 0.04)
    assert ((path >= 30) & (path < 40)).all()


def test_one_candidate_and_one_frame() -> None:
    one = mouths(np.array([0.1]))
    assert best_path(one, one, np.array([7]), np.zeros([1, 1]), np.zeros(1), 0.04).tolist() == [0]
    assert (
        best_path(mouths(np.full(4, 0.1)), one, np.array([7]), np.zeros([1, 1]), np.zeros(1), 0.04).tolist()
        == [0] * 4
    )


def test_a_silent_mouth_is_held() -> None:
    opening = 0.02 + 0.004 * np.sin(np.arange(120) * 0.9)
    source, wanted = mouths(opening), mouths(np.full(60, 0.02))
    arguments = (wanted, source, np.arange(120), opening[:, None] / 0.03, np.zeros(120), 0.04)
    quiet = np.zeros(60)
    quiet[20:50] = 1
    changes = np.diff(best_path(*arguments, quiet=quiet)) != 0
    assert not changes[22:49].any(), "one picture stays"
    assert changes[:18].sum() >= 15, "while somebody speaks, the footage runs"
    assert (np.diff(best_path(*arguments)) != 0)[22:49].any(), "it would run on in silence as well"


def test_a_mouth_rests_in_frames_that_show_it_at_rest() -> None:
    source, wanted = mouths(np.full(120, 0.02)), mouths(np.full(60, 0.02))
    arguments = (wanted, source, np.arange(120), np.zeros([120, 1]), np.repeat([0.0, 0.3], 60), 0.04)
    quiet = np.zeros(60)
    quiet[20:50] = 1
    pressed = np.repeat([3.0, 0.0], 60)
    path = best_path(*arguments, quiet=quiet, resting_penalty=pressed)
    assert (path[20:50] >= 60).all()
    assert (best_path(*arguments, quiet=quiet)[20:50] < 60).all(), "which cost more otherwise"
    assert (best_path(*arguments, resting_penalty=pressed) < 60).all(), "in speech it does not count"
