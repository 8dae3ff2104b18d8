"""Objects in front of the face are found within one frame, and parts of the face are not taken for one."""

import cv2
import numpy as np
import pytest

from operators.exemplar.composite import composite
from operators.exemplar.jaw import face_box
from operators.exemplar.masks import MaskOptions, mouth_mask
from operators.exemplar.occlusion import covered
from operators.exemplar.patches import PatchStore
from operators.exemplar.warp import face_unit
from tests.operators.exemplar.footage import carphone, picture_420

SIZE = (528, 432)


def _crop(number):
    """A frame's mouth region float32[h, w, 3], and its skin."""
    frames, landmarks, _ = carphone()
    mask = mouth_mask(landmarks[number], (0, 0, *SIZE), face_unit(landmarks[number]), MaskOptions())
    x1, y1, x2, y2 = mask.box
    return frames[number][y1:y2, x1:x2].astype(np.float32), mask.skin


def test_open_and_shut_mouths_cover_nothing():
    """A yawn and shut lips of one man, roughly brought into place."""
    shut, skin = _crop(2)
    wide, _ = _crop(18)
    assert covered(shut, cv2.resize(wide, shut.shape[1::-1]), skin) is None
    assert covered(shut, shut, skin) is None


@pytest.mark.parametrize("in_exemplar", [False, True])
@pytest.mark.parametrize("level", [25.0, 245.0])
def test_a_microphone_on_the_skin_is_seen_whichever_picture_shows_it(level, in_exemplar):
    clean, skin = _crop(2)
    held = clean.copy()
    centre = (int(held.shape[1] * 0.68), int(held.shape[0] * 0.6))
    cv2.circle(held, centre, 12, (level, level, level), -1, cv2.LINE_AA)
    mask = covered(clean, held, skin) if in_exemplar else covered(held, clean, skin)
    spot = np.zeros(held.shape[:2], np.uint8)
    cv2.circle(spot, centre, 10, 1, -1)
    assert mask[spot > 0].min() > 0.9
    far = cv2.dilate(spot, np.ones((41, 41))) == 0
    assert mask[far].max() < 0.05


def test_nothing_is_pasted_over_a_microphone():
    frames, landmarks, _ = carphone()
    shape = landmarks[2]
    x, y = (int(v) for v in (landmarks[2][8] * 0.5 + landmarks[2][57] * 0.5 + [12, 0]))
    held = frames[2].copy()
    cv2.circle(held, (x, y), 11, (20, 20, 20), -1, cv2.LINE_AA)
    box = face_box(landmarks[2], shape, SIZE)
    with PatchStore([36], landmarks[36:37], SIZE, 1 << 30) as store:
        x1, y1, x2, y2 = store.box(36)
        store.add(36, picture_420(frames[36][y1:y2, x1:x2]))
        picture = picture_420(held[box[1] : box[3], box[0] : box[2]])
        result, crop = composite(picture, box, SIZE, landmarks[2], shape, store[36]), picture.rgb
    seen = crop + (result.picture.rgb - crop.astype(np.float32)) * result.alpha[..., None]
    spot = np.zeros(crop.shape[:2], np.uint8)
    cv2.circle(spot, (x - box[0], y - box[1]), 9, 1, -1)
    assert np.abs(seen - crop)[spot > 0].max() < 12
    # The upper lip is the exemplar's all the same.
    lips = np.round(shape[51] - box[:2]).astype(int)
    assert np.abs(seen - crop)[lips[1] : lips[1] + 12, lips[0] - 8 : lips[0] + 8].max() > 20
