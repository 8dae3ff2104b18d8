"""Frames of a segment whose mouth something hides (a hand, a microphone, a cup): they are neither dubbed nor shown elsewhere.

`operators.faces` judges a frame by a few others of its shot and by the doubts of its landmarks; here all frames of a segment are
compared by the colours of lips and skin (`operators.faces.colours`). Used by `choose_stage`.
"""

from __future__ import annotations

import cv2
import numpy as np
import scipy

from operators.faces.colours import LIPS, SCALE, SKIN, UNSEEN
from operators.numeric.masks import runs

NOTE = "where something (a hand, a microphone, letters) seems to be in front of the mouth or the chin, the mouth stays as it is"
#: Share of the frames, those most like all others, that show what the free face looks like, and the share of these that may be
#: beyond what counts as its range.
PLAIN, BEYOND = 0.3, 0.15
#: Colours beyond that range by so much (natural logarithms) are not skin's, not lips'; so large a share of such cells is something else.
#: Ten clips without anything in front of the mouth reach 0.04 of the skin (0.31 for two frames in which a man gapes and the landmarks leave
#: his chin), and 0.39 of the lips for two frames in which they are drawn in.
SKIN_APART, LIPS_APART = 0.08, 0.2
SKIN_COVERED, LIPS_COVERED = 0.2, 0.16
#: Seconds that it takes for something to cover a mouth, frames between such stretches that are no pause, and the frames before and
#: after that show part of it.
LASTS, PAUSE, MARGIN = 0.24, 0.4, 0.24
#: Share of such a stretch, pauses included, that must be seen to be covered: two single frames are no hand.
SHOWN = 0.5
#: Rows of the chin, whose colours hardly change: where those of so large a share of its cells do, by more than that between so many of
#: the frames, the head moves behind something that stands there. Nine clips reach 0.17, a standing microphone and a cup 0.7 (without
#: `SHADE`, which makes both less).
CHIN, CHIN_APART, CHIN_UNSTEADY, MOST = slice(6, 8), 0.2, 0.4, (0.08, 0.92)
#: A chin in its own shade is redder and less blue than the cheeks, by up to so much where blacks are crushed: it is no other colour. So is
#: brown wood, which is then not noticed; a grey microphone, a pale cup and red and blue ones are.
SHADE = 0.3
#: Lips have another colour than the skin around them (sum of the two logarithms' medians): 0.058 at least over any second of ten clips. A
#: mask reaches 0.01, hands and most fingers 0.03. Eyes differ from the skin around them by 0.17, less where the picture's
#: colours are pale: lips reach 0.22 of it at least, in pale colours too; masks 0.04, hands and fingers 0.1.
LIPS_RED, LIPS_OF_EYES, EYES_APART = 0.03, 0.13, 0.08
#: Where lips are seen in other frames as clearly as this, they are hidden in those that show this share of it (free ones: 0.23) in the
#: median over so many frames that were looked at.
CLEARLY, HIDDEN_SHARE, AROUND = 0.12, 0.15, 7
#: Where lips are seen this clearly in one place, and a stretch of so many of their nine columns (in both lips, or in the lower one alone)
#: has this share of that colour at most, a finger lies on it. Medians over so many frames that were looked at; in free lips the share
#: is 0.41 and 0.5 at least.
IN_PLACES, BOTH_LIPS, LOWER_LIP, STRETCH = 0.15, (3, 0.3), (5, 0.2), 13
#: Lips that are hidden in more than this share of the frames are taken to be hidden in all.
MOSTLY = 0.66
#: Frames that must have been looked at to know what the free face looks like.
FEWEST = 12
#: Frames that must have been looked at to say that no lips are seen.
FEWEST_LIPS = 6


def covered_frames(colours: np.ndarray, valid: np.ndarray, seconds: float) -> np.ndarray:
    """bool[T]: something hides the mouth, or stands in front of a chin that moves behind it, which would be seen twice if the mouth were
    drawn. All frames where lips, or a part of them, are not seen in most: a mask, or a hand or a finger that stays and moves with the head.

    Args:
        colours: int8[T, CELLS, 2], of `operators.faces.colours.mouth_colours`.
        valid: bool[T], frames with a usable face.
        seconds: duration of a frame.
    """
    looked = np.flatnonzero(valid & (colours[:, 0, 0] != UNSEEN))
    covered = np.zeros(len(valid), bool)
    if len(looked) < FEWEST_LIPS:
        return covered
    values = colours[looked].astype(np.float32) / SCALE
    cells = SKIN[0] * SKIN[1]
    skin, lips = values[:, :cells].reshape(-1, *SKIN, 2), values[:, cells:-1].reshape(-1, *LIPS, 2)
    lost = _lips_unseen(skin, lips, values[:, -1])
    mostly = bool(lost.mean() > MOSTLY)
    if mostly or len(looked) < FEWEST:
        covered[:] = mostly
        return covered
    unlike = lost * 1e3 + sum(
        np.minimum(np.linalg.norm(part - np.median(part, 0), axis=-1) / scale, 3).mean((1, 2))
        for part, scale in ((skin, 0.1), (lips, 0.2))
    )
    plain = np.argsort(unlike, kind="stable")[: max(FEWEST // 2, int(PLAIN * len(looked)))]
    hidden = (_beyond(skin, plain, (3, 3)) > SKIN_APART).mean((1, 2)) > SKIN_COVERED
    hidden |= (_beyond(lips, plain, (1, 3)) > LIPS_APART).mean((1, 2)) > LIPS_COVERED
    hidden |= lost
    nearest = np.abs(np.arange(len(valid))[:, None] - looked).argmin(1)
    seen = hidden[nearest] & valid
    known = seen.copy()
    frames = [max(1, round(span / max(seconds, 1e-3))) for span in (LASTS, PAUSE, MARGIN)]
    for start, stop in runs(~seen):
        if start > 0 and stop < len(seen) and stop - start <= frames[1]:
            seen[start:stop] = True
    for start, stop in runs(seen):
        if stop - start >= frames[0] and known[start:stop].mean() > SHOWN:
            covered[max(start - frames[2], 0) : stop + frames[2]] = True
    free = _unshaded(skin[~covered[looked]][:, CHIN])
    if len(free) >= FEWEST:
        low, high = np.quantile(free, MOST, 0)
        if (np.linalg.norm(high - low, axis=-1) > CHIN_APART).mean() > CHIN_UNSTEADY:
            covered[:] = True
    return covered


def _unshaded(skin: np.ndarray) -> np.ndarray:
    """Colours float32[..., 2] less what shade adds to them (`SHADE`)."""
    redder, bluer = skin[..., 0], skin[..., 1]
    return np.stack([redder - np.clip(redder, 0, SHADE), bluer - np.clip(bluer, -SHADE, 0)], -1)


def _lips_unseen(skin: np.ndarray, lips: np.ndarray, eyes: np.ndarray) -> np.ndarray:
    """bool[n]: the lips have no other colour than the skin around them, in all of n frames or in some.

    Args:
        skin: float32[n, *SKIN, 2].
        lips: float32[n, *LIPS, 2].
        eyes: float32[n, 2], less the skin around them.
    """
    count = len(lips)
    colourful = float(np.abs(np.median(eyes, 0)).sum())
    if colourful < EYES_APART:
        return np.zeros(count, bool)
    around = skin[:, 2:6, 1:-1].reshape(count, -1, 2)
    apart = np.median(lips[:, :, 1:-1].reshape(count, -1, 2), 1) - np.median(around, 1)
    if np.abs(apart.mean(0)).sum() < min(LIPS_RED, LIPS_OF_EYES * colourful):
        return np.ones(count, bool)
    parted = _partly_unseen(lips - np.median(around, 1)[:, None, None])
    seen = scipy.ndimage.median_filter(np.abs(apart).sum(-1), AROUND, mode="nearest")
    clear = float(np.quantile(seen, 0.9))
    return parted | (seen < HIDDEN_SHARE * clear) if clear > CLEARLY else parted


def _partly_unseen(apart: np.ndarray) -> np.ndarray:
    """bool[n]: a part of the lips has the colour of the skin around them, while the rest differs from it (float32[n, *LIPS, 2])."""
    strength = np.abs(scipy.ndimage.median_filter(apart, (STRETCH, 1, 1, 1), mode="nearest")).sum(-1)
    clearest = strength.max((1, 2))
    hidden = np.zeros(len(apart), bool)
    for rows, (width, share) in ((slice(0, 2), BOTH_LIPS), (slice(1, 2), LOWER_LIP)):
        stretches = np.lib.stride_tricks.sliding_window_view(strength[:, rows].max(1), width, axis=1)
        least = stretches.max(-1).min(-1) / np.maximum(clearest, 1e-6)
        hidden |= scipy.ndimage.median_filter(least, STRETCH, mode="nearest") < share
    return hidden & (clearest > IN_PLACES)


def _beyond(values: np.ndarray, plain: np.ndarray, reach: tuple[int, int]) -> np.ndarray:
    """Distance of cells from the range that they and their neighbours have in the plain frames: float32[n, rows, columns] of
    float32[n, rows, columns, 2].
    """
    kernel = np.ones(reach, np.uint8)
    low = np.quantile([cv2.erode(values[index], kernel) for index in plain], BEYOND, 0)
    high = np.quantile([cv2.dilate(values[index], kernel) for index in plain], 1 - BEYOND, 0)
    apart: np.ndarray = np.linalg.norm(np.maximum(np.maximum(low - values, values - high), 0), axis=-1)
    return apart
