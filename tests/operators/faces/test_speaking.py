"""Finding the speaker: drawn mouths that follow a sound, another one, or none."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from operators.faces.speaking import NOBODY, find_turns

RATE = 25


def talk(seed: int, seconds: float = 12.0) -> np.ndarray:
    """float64[2, T], opening and width of standard deviation 1: syllables come and go about four times a second."""
    noise = np.random.default_rng(seed).normal(size=(2, round(seconds * RATE)))
    track = gaussian_filter1d(noise, 1.6, mode="wrap")
    return (track - track.mean(1, keepdims=True)) / track.std(1, keepdims=True)


def mouth(track: np.ndarray, seed: int, lag: int = 0) -> np.ndarray:
    """A mouth float64[2, T] in eye distances that follows a track with as much noise as landmarks have."""
    noise = gaussian_filter1d(np.random.default_rng(seed).normal(size=track.shape), 1, mode="wrap")
    rest, moves = np.array([[0.1], [0.8]]), np.array([[0.04], [0.025]])
    return rest + moves * (np.roll(track, lag, axis=1) + noise)


SOUND, OTHER = talk(1), talk(2)
TIMES = np.arange(SOUND.shape[1]) / RATE
SPEECH = np.zeros(len(TIMES))
STILL = np.array([[0.02], [0.8]]) + 0.002 * talk(3)


@pytest.mark.parametrize("lag", [-7, 0, 2])
def test_the_mouth_that_follows_the_sound_speaks_whatever_the_others_do(lag: int) -> None:
    mouths = np.array([mouth(OTHER, 10), mouth(SOUND, 11, lag), STILL])
    turns = find_turns(mouths, SOUND, SPEECH, TIMES)
    assert (turns.speaker == 1).mean() > 0.95


def test_a_voice_from_off_screen_moves_nobody() -> None:
    turns = find_turns(np.array([mouth(OTHER, 10), mouth(talk(4), 12), STILL]), SOUND, SPEECH, TIMES)
    assert (turns.speaker == NOBODY).all()


def test_one_mouth_that_talks_about_something_else_is_left_alone() -> None:
    """Of twelve such mouths, not of one: two seconds may agree by chance."""
    taken = [
        (find_turns(mouth(talk(seed), seed)[None], SOUND, SPEECH, TIMES).speaker != NOBODY).mean()
        for seed in range(20, 32)
    ]
    assert np.mean(taken) < 0.05
    assert (find_turns(mouth(SOUND, 10)[None], SOUND, SPEECH, TIMES).speaker == 0).mean() > 0.95


def test_turns_change_where_the_speaker_does() -> None:
    half = len(TIMES) // 2
    first, second = np.array([mouth(SOUND, 13), STILL]), np.array([STILL, mouth(SOUND, 14)])
    mouths = np.concatenate([first[..., :half], second[..., half:]], axis=2)
    speaker = find_turns(mouths, SOUND, SPEECH, TIMES).speaker
    assert (speaker[: half - RATE] == 0).all()
    assert (speaker[half + RATE :] == 1).all()


@pytest.mark.parametrize("second", [1, NOBODY])
def test_mouths_that_never_rest_are_told_apart_when_the_speaker_changes(second: int) -> None:
    """Half of the sound is the first mouth's, the rest the second's or that of somebody who is not seen. Both mouths talk all the time."""
    half, right, wrong = len(TIMES) // 2, [], []
    for seed in range(40, 48):
        first, other, unseen = talk(seed), talk(seed + 100), talk(seed + 200)
        heard = np.concatenate([first[:, :half], (other if second == 1 else unseen)[:, half:]], axis=1)
        truth = np.repeat([0, second], half)
        mouths = np.array([mouth(first, seed + 300), mouth(other, seed + 400)])
        speaker = find_turns(mouths, heard, SPEECH, TIMES).speaker
        right.append(((speaker == truth) & (truth != NOBODY)).mean() / (truth != NOBODY).mean())
        wrong.append(((speaker != truth) & (speaker != NOBODY)).mean())
    assert np.mean(right) > 0.6
    assert np.mean(wrong) < 0.05


def test_each_of_two_has_a_lag_of_their_own() -> None:
    """The first mouth is two frames early, the second two late, as of clips side by side; turns of 4.8 s, in which both talk."""
    length, right, wrong = round(4.8 * RATE), [], []
    for seed in range(60, 68):
        first, second = talk(seed, 9.6), talk(seed + 100, 9.6)
        heard = np.concatenate([first[:, :length], second[:, length:]], axis=1)
        mouths = np.array([mouth(first, seed + 200, -2), mouth(second, seed + 300, 2)])
        times = np.arange(2 * length) / RATE
        speaker = find_turns(mouths, heard, np.zeros(2 * length), times).speaker
        truth = np.repeat([0, 1], length)
        right.append([(speaker[truth == who] == who).mean() for who in (0, 1)])
        wrong.append(((speaker != truth) & (speaker != NOBODY)).mean())
    assert np.min(np.mean(right, axis=0)) > 0.6
    assert np.mean(wrong) < 0.05


def test_the_width_tells_mouths_apart_that_open_alike() -> None:
    mouths = np.array([mouth(np.stack([SOUND[0], OTHER[1]]), 10), mouth(SOUND, 11)])
    assert (find_turns(mouths, SOUND, SPEECH, TIMES).speaker == 1).mean() > 0.9
    mouths[0, 1] = mouths[1, 1]
    assert (find_turns(mouths, SOUND, SPEECH, TIMES).speaker == NOBODY).all()


def test_two_mouths_that_follow_one_sound_are_not_told_apart() -> None:
    """Wrong is worse than none."""
    turns = find_turns(np.array([mouth(SOUND, 15), mouth(SOUND, 16)]), SOUND, SPEECH, TIMES)
    assert (turns.speaker == NOBODY).all()
    assert turns.unsure.mean() > 0.9


def test_nobody_speaks_in_silence_or_unseen() -> None:
    mouths = np.array([mouth(SOUND, 11), np.full(SOUND.shape, np.nan)])
    assert (find_turns(mouths, SOUND, np.ones(len(TIMES)), TIMES).speaker == NOBODY).all()
    assert (find_turns(mouths[1:], SOUND, SPEECH, TIMES).speaker == NOBODY).all()
    assert (
        find_turns(np.zeros((0, 2, 5)), SOUND[:, :5], SPEECH[:5], TIMES[:5]).speaker.tolist() == [NOBODY] * 5
    )
