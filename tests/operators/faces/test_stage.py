"""The stage on real footage: what it finds, how steady, where it declines, and that it does not depend on the
segments.
"""

from pathlib import Path

import numpy as np
import pytest

from operators.columns import check_columns
from operators.faces.anchors import find_anchors
from operators.faces.dlib_backend import DlibBackend
from operators.faces.geometry import EYES, NOSE, eye_distance, lip_opening
from operators.faces.stage import CROP, DetectFaces, brightness_of, crop_box
from operators.faces.validity import ABSENT, DARK
from operators.media.probe import probe_video
from operators.numeric.masks import runs
from tests.operators.faces.footage import (
    CARPHONE,
    astronaut,
    carphone,
    cover_mouth,
    detector,
    encode,
    segment,
    swaying,
)

ABSENCE, OCCLUSION = (40, 58), (80, 104)


def run(stage: DetectFaces, url: str, backend: DlibBackend, face: str = "largest") -> dict[str, np.ndarray]:
    info = probe_video(url)
    shot = (0, info.n_frames)
    (anchor,) = find_anchors(url, info, [shot], face, backend)
    columns = stage.process(segment(url, shot, shot, anchor))
    check_columns("detect", stage.writes, columns, {"T": info.n_frames})
    return columns


@pytest.fixture(scope="module")
def stage() -> DetectFaces:
    return detector()


@pytest.fixture(scope="module")
def eventful(
    tmp_path_factory: pytest.TempPathFactory, stage: DetectFaces, backend: DlibBackend
) -> tuple[str, dict[str, np.ndarray]]:
    """carphone: a card hides all from 40 to 58, a microphone is before the mouth from 84 to 100. And what the
    stage says of it.
    """
    folder = tmp_path_factory.mktemp("eventful")
    free = run(stage, encode(folder / "free.mp4", carphone()), backend)
    frames = []
    for t, picture in enumerate(carphone()):
        if ABSENCE[0] <= t < ABSENCE[1]:
            picture = np.full_like(picture, 128)  # noqa: PLW2901
        share = min(t - OCCLUSION[0], OCCLUSION[1] - t) / 4
        frames.append(cover_mouth(picture, free["landmarks"][t], min(share, 1.0)) if share > 0 else picture)
    url = encode(folder / "eventful.mp4", frames)
    return url, run(stage, url, backend)


def test_the_small_original(stage: DetectFaces, backend: DlibBackend) -> None:
    columns = run(stage, str(CARPHONE), backend)
    assert columns["valid"].mean() > 0.85
    shown = columns["landmarks"][columns["valid"]]
    assert 18 < eye_distance(shown).mean() < 25
    assert np.ptp(lip_opening(shown)) > 0.2  # he talks
    assert (columns["landmarks"][~columns["valid"]] == 0).all()
    assert columns["residual"][columns["valid"]].max() < 2


def test_card_and_microphone(eventful: tuple[str, dict[str, np.ndarray]]) -> None:
    valid, residual = eventful[1]["valid"], eventful[1]["residual"]
    assert not valid[ABSENCE[0] : ABSENCE[1]].any()
    assert (residual[ABSENCE[0] + 5 : ABSENCE[1]] == ABSENT).all()
    assert valid[: ABSENCE[0]].all()
    assert not valid[OCCLUSION[0] + 3 : OCCLUSION[1] - 3].any()
    assert valid[ABSENCE[1] + 3 : OCCLUSION[0] - 5].all()
    assert valid[OCCLUSION[1] + 5 : 110].mean() > 0.8


@pytest.mark.parametrize("length", [25, 50])
def test_results_do_not_depend_on_the_segments(
    eventful: tuple[str, dict[str, np.ndarray]], stage: DetectFaces, backend: DlibBackend, length: int
) -> None:
    url, whole = eventful
    info = probe_video(url)
    shot = (0, info.n_frames)
    (anchor,) = find_anchors(url, info, [shot], "largest", backend)
    # Another worker, that has seen nothing of this title.
    other, halo = detector(), stage.halo(stage.options)
    for start in reversed(range(0, info.n_frames, length)):
        core = (start, min(start + length, info.n_frames))
        part = segment(url, core, shot, anchor, halo)
        columns, first = other.process(part), part.frames[0]
        for name in ("landmarks", "boxes", "valid", "residual", "frontal", "colours"):
            np.testing.assert_array_equal(
                columns[name][core[0] - first : core[1] - first],
                whole[name][core[0] : core[1]],
                err_msg=f"{name} {core}",
            )


def test_a_still_face_stays_still_and_a_moving_one_is_followed(
    tmp_path: Path, stage: DetectFaces, backend: DlibBackend
) -> None:
    portrait = astronaut()[0:300, 70:370]
    noise = np.random.default_rng(0)
    frames, transforms = swaying(portrait, 45, 6)
    noisy = [np.clip(frame + noise.normal(0, 3, frame.shape), 0, 255).astype(np.uint8) for frame in frames]
    columns = run(stage, encode(tmp_path / "sway.mp4", noisy), backend)
    assert columns["valid"].all()
    landmarks = columns["landmarks"].astype(np.float64)
    eyes = eye_distance(landmarks).mean()
    back = np.array(
        [(p - a[:, 2]) @ np.linalg.inv(a[:, :2]).T for a, p in zip(transforms, landmarks, strict=True)]
    )
    jitter = np.sqrt((np.diff(back, 2, axis=0) ** 2).mean() / 6) / eyes
    assert jitter < 0.003
    drift = back[:, [*NOSE, *EYES]].std(0).mean() / eyes
    assert drift < 0.006


def test_two_people_are_told_apart(tmp_path: Path, stage: DetectFaces, backend: DlibBackend) -> None:
    lady = swaying(astronaut()[0:288, 80:368].repeat(3, 0).repeat(3, 1)[::2, ::2], 40, 6)[0]
    both = [np.hstack([man, woman]) for man, woman in zip(carphone()[:40], lady, strict=True)]
    both[20:30] = [
        np.hstack([np.full_like(man[:, :528], 100), man[:, 528:]]) for man in both[20:30]
    ]  # he is gone for a while
    url = encode(tmp_path / "two.mp4", both)
    left, right = run(stage, url, backend, "left"), run(stage, url, backend, "right")
    assert right["valid"].all()
    assert (right["boxes"][:, 0] > 528).all()
    assert runs(left["valid"])[0] == (0, 20)
    assert not left["valid"][20:30].any()
    assert left["valid"][33:].all()
    assert (left["boxes"][left["valid"], 2] < 528).all()


def test_a_person_who_walks_is_followed_by_who_it_is(
    tmp_path: Path, stage: DetectFaces, backend: DlibBackend
) -> None:
    portrait = astronaut()[0:300, 90:330]
    frames = []
    for t in range(48):
        picture = np.full((300, 960, 3), 150, np.uint8)
        picture[:, 15 * t : 15 * t + 240] = portrait
        frames.append(picture)
    columns = run(stage, encode(tmp_path / "walk.mp4", frames), backend)
    assert columns["valid"].all()
    x = columns["landmarks"][:, 30, 0]
    np.testing.assert_allclose(np.diff(x), 15, atol=1.5)
    assert np.abs(np.diff(x, 2)).mean() < 0.3


def test_nobody_is_dubbed_where_there_is_no_anchor(stage: DetectFaces) -> None:
    columns = stage.process(segment(str(CARPHONE), (0, 20), (0, 120), None))
    check_columns("detect", stage.writes, columns, {"T": 20})
    assert not columns["valid"].any()
    assert (columns["residual"] == ABSENT).all()


def test_crops_are_the_shots_square(backend: DlibBackend) -> None:
    stage = detector(crops=True)
    info = probe_video(str(CARPHONE))
    (anchor,) = find_anchors(str(CARPHONE), info, [(0, 120)], "largest", backend)
    assert anchor is not None
    columns = stage.process(segment(str(CARPHONE), (0, 12), (0, 120), anchor))
    check_columns("detect", stage.writes, columns, {"T": 12})
    x1, y1, x2, y2 = crop_box(anchor, (info.width, info.height))
    assert columns["crops"].shape == (12, CROP, CROP, 3)
    assert x2 - x1 == pytest.approx(1.75 * (anchor[2] - anchor[0]), abs=2)
    inside = (columns["landmarks"][0] - [x1, y1]) / [x2 - x1, y2 - y1]
    assert inside.min() > 0.05
    assert inside.max() < 0.97
    assert columns["crops"][0].std() > 20
    assert crop_box(np.array([-20, -20, 60, 60], np.float32), (100, 80)) == (0, 0, 90, 78)


def test_real_clips(clips: Path | None, stage: DetectFaces, backend: DlibBackend) -> None:
    if clips is None:
        assert run(stage, str(CARPHONE), backend)["valid"].any()
        return
    absent = run(stage, str(clips / "tricky" / "face_absent_1s.mp4"), backend)
    assert runs(~absent["valid"]) == [(50, 76)]  # the card, no frame more
    turned = run(stage, str(clips / "tricky" / "rotated_meta.mp4"), backend)
    assert turned["valid"].all()
    assert (np.diff(turned["landmarks"][:, [27, 8], 1], axis=1) > 50).all()  # upright


def test_the_brightness_of_a_face_is_that_of_its_brightest_parts() -> None:
    picture = astronaut()
    shown = np.array([[170.0, 80.0], [280.0, 180.0]]).repeat(34, 0)
    assert 150 < brightness_of(picture, shown) <= 255
    assert brightness_of((picture * 0.08).astype(np.uint8), shown) < DARK
    assert np.isnan(brightness_of(picture, shown * np.nan))
    assert np.isnan(brightness_of(picture, shown + 2000))
