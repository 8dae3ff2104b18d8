"""One frame's lower face: follows the wanted shape, changes nothing else, keeps light and colour."""

import cv2
import numpy as np
import pytest

from operators.exemplar.composite import composite, fit_tone
from operators.exemplar.jaw import face_box
from operators.exemplar.masks import MaskOptions, cells, mouth_mask
from operators.exemplar.patches import PatchStore
from operators.exemplar.warp import face_axes, face_unit
from operators.faces.geometry import CHIN, lip_opening
from tests.operators.exemplar.footage import carphone, find_landmarks, picture_420, put_mouth

SIZE = (528, 432)


def _patch(number, gain=1.0):
    frames, landmarks, _ = carphone()
    store = PatchStore([number], landmarks[number : number + 1], SIZE, 1 << 30)
    x1, y1, x2, y2 = store.box(number)
    store.add(number, picture_420(np.round(frames[number][y1:y2, x1:x2] * gain).astype(np.uint8)))
    return store[number]


def _render(target, shape, patch, **more):
    """The whole frame with the result pasted, and the pieces."""
    frames, landmarks, _ = carphone()
    box = face_box(landmarks[target], shape, SIZE)
    region = np.s_[box[1] : box[3], box[0] : box[2]]
    crop = picture_420(frames[target][region])
    result = composite(crop, box, SIZE, landmarks[target], shape, patch, **more)
    frame, alpha = frames[target].astype(np.float32), result.alpha[..., None]
    # What the crop's chroma does not hold stays the frame's.
    frame[region] += (result.picture.rgb.astype(np.float32) - crop.rgb) * alpha
    frame = np.clip(frame, 0, 255)
    return np.round(frame).astype(np.uint8), box, result


def _skin(landmarks):
    """A mask of the ring around the mouth and one of the lips, bool[h, w] of the whole picture."""
    mask = mouth_mask(landmarks, (0, 0, *SIZE), face_unit(landmarks), MaskOptions())
    ring = np.zeros(SIZE[::-1], bool)
    x1, y1, x2, y2 = mask.box
    rows = np.linspace(0, mask.skin.shape[0] - 1, y2 - y1).round().astype(int)
    columns = np.linspace(0, mask.skin.shape[1] - 1, x2 - x1).round().astype(int)
    ring[y1:y2, x1:x2] = mask.skin[np.ix_(rows, columns)] > 0.9
    return ring


def test_the_frame_itself_as_its_own_exemplar_changes_nothing():
    frames, landmarks, _ = carphone()
    frame, _, _ = _render(5, landmarks[5], _patch(5))
    assert np.abs(frame.astype(int) - frames[5]).max() <= 2


def test_samples_that_are_no_colour_are_no_trouble():
    """Dark and saturated: red is far below 0, where a logarithm of light has no value."""
    frames, landmarks, _ = carphone()
    box = face_box(landmarks[5], landmarks[5], SIZE)
    crop, patch = picture_420(frames[5][box[1] : box[3], box[0] : box[2]]), _patch(5)
    for picture in (crop, patch.picture):
        picture.luma[...] //= 16
        picture.chroma[...] = 255 - picture.chroma
        picture.chroma[..., 1] //= 3
    result = composite(crop, box, SIZE, landmarks[5], landmarks[5], patch)
    assert np.isfinite(result.memory.tone).all()
    assert np.isfinite(result.memory.shown).all()
    assert (crop.luma < 16).all()
    assert np.abs(result.picture.luma.astype(int) - crop.luma).max() <= 2
    assert np.abs(result.picture.chroma.astype(int) - crop.chroma).max() <= 2


def test_nothing_changes_away_from_the_lower_face():
    frames, landmarks, _ = carphone()
    shape = put_mouth(landmarks, 36, 2)
    frame, _, result = _render(2, shape, _patch(36))
    assert result.alpha.max() == 1
    assert not result.alpha[[0, -1]].any()
    assert not result.alpha[:, [0, -1]].any()
    changed = np.argwhere((frame != frames[2]).any(-1))[:, ::-1]
    unit, (_, down) = face_unit(landmarks[2]), face_axes(landmarks[2])
    heights = changed @ down
    # From below the eyes to below the chin, to the sides not past the ears; the tip of the nose stays as it
    # is.
    assert heights.min() > (landmarks[2][[40, 41, 46, 47]] @ down).max()
    x, y = np.round(landmarks[2][30]).astype(int)
    assert np.array_equal(frame[y - 5 : y + 5, x - 5 : x + 6], frames[2][y - 5 : y + 5, x - 5 : x + 6])
    # The crop ends on whole pixels, and the head is tilted.
    assert heights.max() < max(landmarks[2][CHIN] @ down, shape[CHIN] @ down) + 0.42 * unit + 1
    assert changed[:, 0].min() > landmarks[2][0, 0] - 0.35 * unit
    assert changed[:, 0].max() < landmarks[2][16, 0] + 0.35 * unit
    assert np.abs(frame.astype(int) - frames[2])[_skin(shape)].max() > 0


def test_the_opening_that_a_detector_sees_follows_the_wanted_one():
    _, landmarks, boxes = carphone()
    # He turns away in the last frames, where dlib errs.
    opening = lip_opening(landmarks[:42])
    targets = np.arange(0, 42, 2)
    # Mouths of other frames, half the clip's range of openings away from the target's own.
    exemplars = np.argsort(opening)[(np.argsort(np.argsort(opening))[targets] + 21) % 42]
    shapes = [put_mouth(landmarks, e, t) for e, t in zip(exemplars, targets)]
    rendered = [_render(t, s, _patch(e))[0] for t, s, e in zip(targets, shapes, exemplars)]
    wanted, seen = (
        lip_opening(np.array(shapes)),
        lip_opening(find_landmarks(rendered, [boxes[t] for t in targets], consecutive=False)),
    )
    assert wanted.std() > 0.05
    assert np.corrcoef(wanted, opening[targets])[0, 1] < 0.5
    assert np.corrcoef(wanted, seen)[0, 1] > 0.9


def test_the_exemplar_takes_the_targets_light():
    _, landmarks, _ = carphone()
    shape = put_mouth(landmarks, 20, 2)
    ring = _skin(shape)
    plain = _render(2, shape, _patch(20))[0][ring].astype(float).mean(0)
    dark = _render(2, shape, _patch(20, 0.6))[0][ring].astype(float).mean(0)
    np.testing.assert_allclose(dark, plain, rtol=0.03)


def test_tone_is_fitted_on_skin_and_not_on_the_mouth():
    rng = np.random.default_rng(0)
    patch = rng.uniform(80, 120, (60, 72, 3)).astype(np.float32)
    gain = np.array([1.2, 0.9, 1.05], np.float32)
    base = patch * gain
    base[20:40, 20:50] = 5
    skin = np.ones((20, 24), np.float32)
    skin[6:14, 6:17] = 0
    tone = fit_tone(cells(base), cells(patch), skin)
    np.testing.assert_allclose(np.exp(tone).reshape(-1, 3).mean(0), gain, rtol=0.03)
    # Something dark before a quarter of the ring does not darken the rest.
    base[:, :18] = 10
    np.testing.assert_allclose(
        np.exp(fit_tone(cells(base), cells(patch), skin))[:, 16:].reshape(-1, 3).mean(0), gain, rtol=0.08
    )


def test_a_join_glides_on_the_skin():
    """The same picture twice, the second time with a shadow on one side: light that the tone's fit, which is
    smooth, cannot take away.
    """
    _, landmarks, _ = carphone()
    shape = landmarks[4]
    ring = cv2.erode(_skin(shape).astype(np.uint8), np.ones((5, 5))) > 0
    shaded = _patch(4)
    shaded.picture.luma[:, : shaded.size[0] // 2] //= 2
    first = _render(4, shape, _patch(4))
    steps = [first[0][ring].astype(float)]
    memory, joined = first[2].memory, True
    for _ in range(3):
        frame, _, result = _render(4, shape, shaded, memory=memory, joined=joined)
        memory, joined = result.memory, False
        steps.append(frame[ring].astype(float))
    jump = np.abs(_render(4, shape, shaded)[0][ring] - steps[0]).mean()
    away = [np.abs(s - steps[0]).mean() for s in steps[1:]]
    assert away[0] < 0.75 * jump
    assert away[0] < away[1] < away[2] <= 1.05 * jump


def test_blend_leads_from_the_own_mouth_to_the_exemplar():
    frames, landmarks, _ = carphone()
    shape = landmarks[6]
    own, full = frames[6].astype(float), _render(6, shape, _patch(30))[0].astype(float)
    half = _render(6, shape, _patch(30), blend=0.5)[0].astype(float)
    none = _render(6, shape, _patch(30), blend=0.0)[0].astype(float)
    assert np.abs(none - own).max() <= 1
    assert 0.3 < np.abs(half - own).sum() / np.abs(full - own).sum() < 0.7


@pytest.mark.parametrize("cut", [(0, 0, 528, 300), (0, 0, 250, 432), (240, 230, 528, 432)])
def test_faces_at_the_pictures_edge(cut):
    frames, landmarks, _ = carphone()
    x1, y1, x2, y2 = cut
    size, move = (x2 - x1, y2 - y1), np.array([x1, y1], np.float32)
    shape = put_mouth(landmarks, 36, 2)
    points = landmarks[36] - move
    with PatchStore([36], points[None], size, 1 << 30) as store:
        a, b, c, d = store.box(36)
        store.add(36, picture_420(frames[36][y1:y2, x1:x2][b:d, a:c]))
        box = face_box(landmarks[2] - move, shape - move, size)
        crop = picture_420(frames[2][y1:y2, x1:x2][box[1] : box[3], box[0] : box[2]])
        result = composite(crop, box, size, landmarks[2] - move, shape - move, store[36])
    assert result.picture.rgb.shape == crop.rgb.shape
    assert 0 <= box[0] < box[2] <= size[0]
    assert 0 <= box[1] < box[3] <= size[1]
