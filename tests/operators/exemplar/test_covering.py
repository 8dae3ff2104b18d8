"""Something in front of a talking mouth: drawn over real footage, found by the colours of lips and skin."""

from __future__ import annotations

import functools
from pathlib import Path

import cv2
import numpy as np
import pytest

from operators.exemplar.covering import FEWEST, IN_PLACES, covered_frames
from operators.faces.colours import CELLS, SCALE, UNSEEN, mouth_colours
from operators.faces.geometry import eye_distance
from operators.media.reader import read_frames
from tests.operators.exemplar.footage import carphone
from tests.operators.faces.footage import encode

#: Frames in which the mouth is hidden, and the seconds of one.
HIDDEN, SECONDS = slice(18, 30), 0.08


def colours_of(path: Path, frames: list[np.ndarray], landmarks: np.ndarray) -> np.ndarray:
    url = encode(path, frames)
    return np.stack(
        [mouth_colours(frame, landmarks[frame.index]) for frame in read_frames(url, 0, len(frames))]
    )


def cover(picture: np.ndarray, landmarks: np.ndarray, kind: str) -> np.ndarray:
    """Draw a finger of the face's own colour upon the lips, or a microphone or a cup before lower lip and chin."""
    eye = float(eye_distance(landmarks))
    x, y = landmarks[48:68].mean(0)
    drawn = picture.copy()
    if "finger" in kind:
        x -= 0.2 * eye if "beside" in kind else 0
        cheek = landmarks[[2, 14, 30]].mean(0).astype(int)
        colour = np.median(
            picture[cheek[1] - 4 : cheek[1] + 5, cheek[0] - 4 : cheek[0] + 5].reshape(-1, 3), 0
        )
        ends = [(round(x), round(y - 0.35 * eye)), (round(x + 0.1 * eye), round(y + 2 * eye))]
        cv2.line(
            drawn,
            *ends,
            tuple(map(float, colour)),
            round((0.4 if "beside" in kind else 0.3) * eye),
            cv2.LINE_AA,
        )
    elif kind == "microphone":
        axes = (round(0.4 * eye), round(0.5 * eye))
        cv2.ellipse(drawn, (round(x), round(y + 0.5 * eye)), axes, 0, 0, 360, (70, 70, 76), -1, cv2.LINE_AA)
    else:
        corners = (round(x - 0.55 * eye), round(y + 0.1 * eye)), (round(x + 0.55 * eye), round(y + 1.2 * eye))
        cv2.rectangle(drawn, *corners, (225, 225, 215), -1)
    return drawn


def redden(picture: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Paint the lips, which are hardly redder than his skin in this footage."""
    mask = np.zeros(picture.shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.round(landmarks[48:60]).astype(np.int32)], 255, cv2.LINE_AA)
    cv2.fillPoly(mask, [np.round(landmarks[60:68]).astype(np.int32)], 0)
    share = mask[..., None] / 510
    return np.round(picture * (1 - share) + np.array([170, 40, 60]) * share).astype(np.uint8)


@functools.cache
def footage() -> tuple[list[np.ndarray], np.ndarray]:
    frames, landmarks, _ = carphone()
    return [redden(picture, where) for picture, where in zip(frames, landmarks)], landmarks


@pytest.fixture(scope="module")
def free(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    return colours_of(tmp_path_factory.mktemp("free") / "free.mp4", *footage())


def test_a_free_mouth_is_never_covered(free: np.ndarray) -> None:
    assert (free != UNSEEN).all()
    assert not covered_frames(free, np.ones(len(free), bool), SECONDS).any()


@pytest.mark.parametrize("kind", ["finger", "microphone", "cup"])
def test_what_is_in_front_of_the_mouth_is_found(free: np.ndarray, tmp_path: Path, kind: str) -> None:
    frames, landmarks = footage()
    frames = [cover(picture, where, kind) for picture, where in zip(frames[HIDDEN], landmarks[HIDDEN])]
    colours = free.copy()
    colours[HIDDEN] = colours_of(tmp_path / "covered.mp4", frames, landmarks[HIDDEN])
    valid = np.ones(len(colours), bool)
    covered = covered_frames(colours, valid, SECONDS)
    assert covered[HIDDEN].all()
    assert not covered[: HIDDEN.start - 4].any()
    assert not covered[HIDDEN.stop + 4 :].any()
    # As the stage "detect" gives it: every second frame.
    colours[1::2] = UNSEEN
    assert covered_frames(colours, valid, SECONDS)[HIDDEN].all()
    # Lips that are drawn in for a moment are no finger.
    brief = free.copy()
    brief[20:22] = colours[20]
    assert not covered_frames(brief, valid, SECONDS).any()


def test_a_chin_that_moves_behind_something_is_covered_throughout(free: np.ndarray, tmp_path: Path) -> None:
    frames, landmarks = footage()
    (x, y), eye = landmarks[:, 8].mean(0), float(eye_distance(landmarks).mean())
    low, high = (round(x - 1.5 * eye), round(y - 0.42 * eye)), (round(x + 1.5 * eye), round(y + 1.5 * eye))
    behind = []
    for picture in frames:
        drawn = picture.copy()
        cv2.rectangle(drawn, low, high, (70, 70, 76), -1)
        behind.append(drawn)
    colours = colours_of(tmp_path / "standing.mp4", behind, landmarks)
    assert covered_frames(colours, np.ones(len(colours), bool), SECONDS).all()


def test_a_chin_in_deep_shade_is_no_other_thing(tmp_path: Path) -> None:
    """A grade that crushes blacks makes shade redder and less blue than light: the whole title counted as covered."""
    frames, landmarks = footage()
    crushed = [np.clip(picture.astype(int) - 60, 0, 255).astype(np.uint8) for picture in frames]
    colours = colours_of(tmp_path / "crushed.mp4", crushed, landmarks)
    assert (colours != UNSEEN).all()
    assert covered_frames(colours, np.ones(len(colours), bool), SECONDS).mean() < 0.5


def test_few_frames_say_nothing_about_the_free_face(free: np.ndarray) -> None:
    few = free[: FEWEST - 1].copy()
    few[-3:] = 0
    assert not covered_frames(few, np.ones(len(few), bool), SECONDS).any()
    nobody = np.full((40, CELLS, 2), UNSEEN, np.int8)
    assert not covered_frames(nobody, np.ones(40, bool), SECONDS).any()


def test_a_face_outside_the_picture_is_not_looked_at(tmp_path: Path) -> None:
    frames, landmarks = footage()
    away = landmarks[:1] + 5000
    assert (colours_of(tmp_path / "away.mp4", frames[:1], away) == UNSEEN).all()


def drawn_on_the_head(picture: np.ndarray, landmarks: np.ndarray, kind: str) -> np.ndarray:
    """Draw a mask from nose to chin, or a hand of the nose's colour upon lips and chin, with folds, light and noise, on a head."""
    eye = float(eye_distance(landmarks))
    nose = landmarks[30].astype(int)
    colour = np.median(picture[nose[1] - 3 : nose[1] + 4, nose[0] - 3 : nose[0] + 4].reshape(-1, 3), 0)
    if kind == "blue mask":
        colour = np.array([140.0, 185, 205])
    corners = np.concatenate([landmarks[[28]], landmarks[2:15], landmarks[[28]]])
    if kind == "hand":
        corners = np.concatenate([landmarks[[33]], landmarks[3:14]])
    corners = np.round(corners + 0.03 * (corners - landmarks[33])).astype(np.int32)
    mask = np.zeros(picture.shape[:2], np.uint8)
    cv2.fillPoly(mask, [corners], 255)
    share = cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), 1.0)[..., None]
    luma = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    light = np.clip(cv2.GaussianBlur(luma, (0, 0), 0.5 * eye) / luma[mask > 0].mean(), 0.6, 1.4)
    folds = 1 + 0.06 * np.sin(np.arange(len(picture)) * 2 * np.pi / (0.25 * eye))[:, None]
    noise = 1 + 0.012 * np.random.default_rng(1).standard_normal(picture.shape[:2])
    paint = colour * (light * folds * noise)[..., None]
    return np.clip(picture * (1 - share) + paint * share, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("kind", ["blue mask", "skin-coloured mask", "hand"])
def test_lips_that_are_never_seen_are_covered_throughout(tmp_path: Path, kind: str) -> None:
    frames, landmarks = carphone()[:2]
    drawn = [drawn_on_the_head(picture, where, kind) for picture, where in zip(frames[:16], landmarks)]
    colours = colours_of(tmp_path / "masked.mp4", drawn, landmarks)
    assert covered_frames(colours, np.ones(len(colours), bool), SECONDS).all()


def test_a_hand_that_comes_and_stays_is_covered_to_the_end(free: np.ndarray, tmp_path: Path) -> None:
    frames, landmarks = footage()
    here = slice(12, 32)
    drawn = [
        drawn_on_the_head(picture, where, "hand") for picture, where in zip(frames[here], landmarks[here])
    ]
    colours = free[:32].copy()
    colours[here] = colours_of(tmp_path / "stays.mp4", drawn, landmarks[here])
    covered = covered_frames(colours, np.ones(len(colours), bool), SECONDS)
    assert covered[16:].all()
    assert not covered[:7].any()


@pytest.mark.parametrize("tint", [(1.0, 1.0, 1.0), (1.15, 1.0, 0.75)], ids=["grey", "sepia"])
def test_a_picture_without_colours_has_no_covered_lips(tmp_path: Path, tint: tuple[float, ...]) -> None:
    frames, landmarks = carphone()[:2]
    plain = [
        np.clip(picture.mean(-1, keepdims=True) * tint, 0, 255).astype(np.uint8) for picture in frames[:12]
    ]
    colours = colours_of(tmp_path / "plain.mp4", plain, landmarks[:12])
    assert not covered_frames(colours, np.ones(12, bool), SECONDS).any()


@pytest.mark.parametrize(
    ("paint", "saturation"), [(0.0, 1.0), (0.65, 0.55)], ids=["as filmed", "in pale colours"]
)
def test_pale_lips_are_not_covered(tmp_path: Path, paint: float, saturation: float) -> None:
    frames, landmarks = carphone()[:2]
    pale = []
    for picture, where in zip(frames, landmarks):
        mask = np.zeros(picture.shape[:2], np.uint8)
        cv2.fillPoly(mask, [np.round(where[48:60]).astype(np.int32)], 255, cv2.LINE_AA)
        skin = cv2.blur(picture, (3, 3))[tuple(np.round(where[[2, 14, 30]].mean(0)).astype(int)[::-1])]
        share = paint * mask[..., None] / 255
        drawn = picture * (1 - share) + skin * share
        grey = drawn.mean(-1, keepdims=True)
        pale.append(np.clip(grey + saturation * (drawn - grey), 0, 255).astype(np.uint8))
    colours = colours_of(tmp_path / "pale.mp4", pale, landmarks)
    assert not covered_frames(colours, np.ones(len(colours), bool), SECONDS).any()


def test_dark_pictures_and_light_of_one_colour_say_nothing(tmp_path: Path) -> None:
    frames, landmarks = footage()
    looks = {"dark": (np.full(3, 0.35), -48), "green": (np.array([0.0, 1.0, 0.0]), 0)}
    for look, (gains, offset) in looks.items():
        drawn = [np.clip(picture * gains + offset, 0, 255).astype(np.uint8) for picture in frames[:16]]
        colours = colours_of(tmp_path / f"{look}.mp4", drawn, landmarks)
        assert (colours == UNSEEN).all(), look
        assert not covered_frames(colours, np.ones(16, bool), SECONDS).any()
    dim = [(picture * 0.25).astype(np.uint8) for picture in frames[:16]]
    assert (colours_of(tmp_path / "dim.mp4", dim, landmarks) != UNSEEN).all()


def test_a_finger_that_stays_on_part_of_the_lips_is_covered_throughout(
    free: np.ndarray, tmp_path: Path
) -> None:
    frames, landmarks = footage()
    drawn = [
        cover(picture, where, "finger beside the middle") for picture, where in zip(frames[:24], landmarks)
    ]
    colours = colours_of(tmp_path / "finger.mp4", drawn, landmarks)
    assert covered_frames(colours, np.ones(24, bool), SECONDS).all()
    # Lips beside it are seen: it is not that no lips were found.
    assert np.abs(np.median(colours[:, -19:-1].astype(float), 0)).sum(-1).max() / SCALE > IN_PLACES
    # Where it comes in the middle and stays, what was before is dubbed.
    comes = free[:40].copy()
    comes[16:] = colours
    found = covered_frames(comes, np.ones(40, bool), SECONDS)
    assert found[20:].all()
    assert not found[:8].any()


def test_lips_of_which_a_part_is_paler_are_not_covered(tmp_path: Path) -> None:
    """A highlight, half a face in the shade, a moustache that hangs over the upper lip."""
    frames, landmarks = footage()
    shown = []
    for picture, where in zip(frames[:16], landmarks):
        x, unit = where[33, 0], float(np.ptp(where[:17, 0]))
        shade = 0.3 + 0.7 / (1 + np.exp(-(np.arange(picture.shape[1]) - x) / (0.1 * unit)))
        dark = picture * shade[None, :, None]
        hair = np.zeros(picture.shape[:2], np.uint8)
        lip = 0.35 * where[49:54] + 0.65 * where[60:65]
        cv2.fillPoly(hair, [np.round(np.concatenate([where[31:36], lip[::-1]])).astype(np.int32)], 255)
        share = cv2.GaussianBlur(hair.astype(np.float32) / 255, (0, 0), 1.0)[..., None]
        dark = dark * (1 - share) + np.array([48, 36, 28]) * share
        light = np.zeros(picture.shape[:2], np.float32)
        cv2.circle(light, tuple(np.round(where[57] * 0.4 + where[66] * 0.6).astype(int).tolist()), 2, 1.0, -1)
        light = cv2.GaussianBlur(light, (0, 0), 1.0)[..., None]
        shown.append(np.clip(dark + (255 - dark) * light, 0, 255).astype(np.uint8))
    colours = colours_of(tmp_path / "parts.mp4", shown, landmarks)
    assert not covered_frames(colours, np.ones(16, bool), SECONDS).any()


def test_single_frames_that_look_covered_are_no_hand(free: np.ndarray) -> None:
    colours, valid = free.copy(), np.ones(len(free), bool)
    colours[[10, 14]] = -colours[[10, 14]] - 60
    assert not covered_frames(colours, valid, SECONDS).any()
    colours[10:15] = colours[10]
    assert covered_frames(colours, valid, SECONDS)[10:15].all()
