"""Wanted landmarks: the opening is exact, the upper face and the ears stay, joins do not jump."""

import numpy as np

from operators.evaluation.mouth_tracks import flicker
from operators.exemplar.choose_stage import SegmentAnalysis
from operators.exemplar.fit import Wanted
from operators.faces.geometry import eye_distance, lip_opening
from tests.operators.exemplar.talker import SIZE, speech_like, talker

COUNT = 200


def analysis(seed: int = 1, noise: float = 0.1, angles: np.ndarray | None = None) -> SegmentAnalysis:
    opening = np.maximum(0.09 + 0.05 * speech_like(COUNT, seed), 0.01)
    face = talker(opening, 0.8 + 0.02 * speech_like(COUNT, 7), angles, noise)
    return SegmentAnalysis(face.landmarks, np.ones(COUNT, bool), np.arange(COUNT) / 25, SIZE)


def nodding() -> np.ndarray:
    phase = np.linspace(0, 6, COUNT)
    return np.stack([10 * np.sin(phase), 6 * np.cos(phase), 3 * np.sin(2 * phase)], -1)


def ask(count: int = COUNT, seed: int = 2) -> Wanted:
    return Wanted(
        np.maximum(0.09 + 0.05 * speech_like(count, seed), 0.02), np.full(count, 0.8), np.zeros(count)
    )


def shapes(
    of: SegmentAnalysis,
    wanted: Wanted,
    target: np.ndarray,
    chosen: np.ndarray,
    blend: np.ndarray | None = None,
) -> np.ndarray:
    return of.shapes(
        target, chosen, wanted, np.ones(len(target)) if blend is None else blend, np.arange(len(target)) / 25
    )


def test_opening_follows_the_speech_whatever_was_chosen() -> None:
    of, wanted, target = analysis(angles=nodding()), ask(), np.arange(COUNT)
    chosen = np.random.default_rng(0).permutation(COUNT)
    got = lip_opening(shapes(of, wanted, target, chosen).astype(np.float64))
    assert np.corrcoef(got, wanted.opening)[0, 1] > 0.995
    assert np.abs(got - wanted.opening).mean() < 0.006


def test_only_mouth_and_jaw_move_and_the_ears_stay() -> None:
    of, target = analysis(), np.arange(COUNT)
    got = shapes(of, ask(), target, target[::-1].copy())
    assert np.array_equal(got[:, 17:48], of.landmarks[:, 17:48])
    assert np.allclose(got[:, [0, 1, 15, 16]], of.landmarks[:, [0, 1, 15, 16]], atol=1e-3)
    assert np.abs(got[:, 48:] - of.landmarks[:, 48:]).max() > 2


def test_chin_goes_down_with_the_wanted_opening_and_not_with_the_old_one() -> None:
    of, wanted, target = analysis(), ask(), np.arange(COUNT)
    got = shapes(of, wanted, target, target)
    drop = got[:, 8, 1] - got[:, 27, 1]
    assert np.corrcoef(drop, wanted.opening)[0, 1] > 0.9
    assert abs(np.corrcoef(drop, of.mouths.opening)[0, 1]) < 0.3


def test_blend_zero_is_the_own_face_and_between_lies_between() -> None:
    of, wanted, target = analysis(), ask(), np.arange(COUNT)
    blend = np.concatenate([np.zeros(50), np.full(100, 0.5), np.ones(50)])
    got, full = shapes(of, wanted, target, target, blend), shapes(of, wanted, target, target)
    assert np.array_equal(got[:50], of.landmarks[:50])
    assert np.allclose(got[150:], full[150:])
    half = (full[50:150] + of.landmarks[50:150]) / 2
    assert np.abs(got[50:150] - half).max() < 0.3


def test_joins_do_not_jump() -> None:
    of, wanted, target = analysis(noise=0.3), ask(), np.arange(COUNT)
    # Every eight frames another place of the footage.
    chosen = (
        np.random.default_rng(3).integers(0, COUNT - 8, COUNT // 8 + 1)[:, None] + np.arange(8)
    ).ravel()[:COUNT]
    assert flicker(shapes(of, wanted, target, chosen)) < 1.2 * flicker(of.landmarks)


def test_a_join_between_different_lips_is_eased() -> None:
    base = analysis(noise=0.05)
    landmarks = base.landmarks.copy()
    landmarks[:, 55:60, 1] += 4 * np.sin(np.arange(COUNT) / 12)[:, None].astype(np.float32)
    of = SegmentAnalysis(landmarks, np.ones(COUNT, bool), base.times, SIZE)
    wanted, target = ask(), np.arange(COUNT)
    # Lower lips at their thinnest, then at their fullest.
    chosen = np.where(np.arange(COUNT) < 100, 56, 94)
    thick = shapes(of, wanted, target, chosen)
    lip = thick[:, 57, 1] - thick[:, 66, 1]
    assert abs(lip[110:].mean() - lip[:90].mean()) > 4
    assert np.abs(np.diff(lip)).max() < 0.55 * abs(lip[110:].mean() - lip[:90].mean())


def test_the_outlines_jitter_is_not_kept() -> None:
    base = analysis(noise=0.05)
    landmarks = base.landmarks.copy()
    landmarks[:, 3:14] += np.random.default_rng(4).normal(0, 1.5, (COUNT, 1, 2)).astype(np.float32)
    of, wanted, target = (
        SegmentAnalysis(landmarks, np.ones(COUNT, bool), base.times, SIZE),
        ask(),
        np.arange(COUNT),
    )
    clean, got = shapes(base, wanted, target, target), shapes(of, wanted, target, target)
    assert (got - clean)[:, 8].std() < 0.4 * (landmarks - base.landmarks)[:, 8].std()


def test_pose_is_that_of_the_target() -> None:
    of, wanted = analysis(angles=nodding()), ask(40)
    straight, turned = np.full(40, 100), np.full(40, 150)
    got = shapes(of, wanted, straight, turned)
    own = shapes(of, wanted, straight, straight)
    assert np.abs(got - own).max() < 0.05 * eye_distance(of.landmarks[100])


def test_lips_do_not_cross() -> None:
    of, target = analysis(noise=0.5), np.arange(COUNT)
    closed = Wanted(np.full(COUNT, 0.005), np.full(COUNT, 0.8), np.ones(COUNT))
    got = shapes(of, closed, target, target)
    assert (got[:, [67, 66, 65], 1] - got[:, [61, 62, 63], 1]).min() > -0.15
