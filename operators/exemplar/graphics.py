"""Captions and other letters in front of a face: lines of bright, dark or coloured letters, which do not move with the head and must
not be bent with it.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Sequence

import cv2
import numpy as np

from operators.exemplar.caption_boxes import with_box
from operators.exemplar.masks import Box, lip_mask
from operators.faces.geometry import EYES, OUTER_LIPS
from operators.numeric.masks import runs

#: Luma of a bright letter at least, how far it stands above what surrounds it, and the share of its box that it fills at least.
BRIGHT, ABOVE, FILLED = 190, 70, 0.12
#: The same of a dark letter, counted from white. Faces hold more that is dark: lashes, nostrils, beards.
DARK, BELOW, DARK_FILLED = 205, 90, 0.2
#: How far a dark letter stands below its surroundings at half size: those below a chin stand in its shadow.
SHADED = 35
#: Share of its box that a letter fills which is found by its colour or its faint light.
COLOUR_FILLED = 0.15
#: These letters run together, because chroma is coarse: one is taken to be so many heights wide, a line is so many long at least.
RUN_WIDTH, RUN_LENGTH = 0.65, 2.5
#: How much less colour faint letters have than what is between them (sum of both channels): white and grey on skin.
PALER = 9.0
#: In the light of one colour, chroma follows luma: where they correlate more than this, folds and shadows have a letter's colour. Nine
#: clips reach 0.64.
ONE_LIGHT = 0.7
#: Strokes are thinner than this share of the face's unit, and than so many pixels at most.
STROKE, WIDEST = 0.2, 41
#: Heights of letters: pixels at least, share of the face's unit at most.
LEAST, TALLEST = 6, 0.8
#: Letters of a line at least, the length of a line and the widest gap in it, in heights of its letters.
LETTERS, LENGTH, GAP = 5, 3.0, 1.6
#: Letters of a line are at most so many times as high as its median one.
ALIKE = 1.7
#: Faces of more than so many pixels are looked at in half the size: what their captions are written in is large as well.
LARGE = 160.0
#: Margin around a line, as a share of its letters' height; rows of a line hold so much of what its fullest row does at least: what is seen
#: beside letters (lips, hair, folds) does not belong to them.
MARGIN, FULL = 0.3, 0.22


@dataclasses.dataclass(frozen=True)
class Line:
    """A line of letters.

    Attributes:
        box: x1, y1, x2, y2 with margins.
        letters: bool[h, w] of the box, pixels of the letters.
    """

    box: Box
    letters: np.ndarray


@dataclasses.dataclass(frozen=True)
class _Shapes:
    """Boxes float64[n, 4] of what may be letters, how many letters each holds (float64[n]), and the mask they are seen in."""

    boxes: np.ndarray
    counts: np.ndarray
    seen: np.ndarray


@dataclasses.dataclass(frozen=True)
class _Look:
    """Limits for letters that are not simply bright or dark.

    Attributes:
        apart: how far a channel of theirs differs from what surrounds them at least.
        strong: the same of the middle of their strokes: four fifths of all of a line's pixels differ by less.
        alternates: how often a line goes up and down between letter and gap, over a height's length.
        spread: standard deviation of the colour along a line at most.
        tallest: their height at most, as a share of the face's unit.
    """

    apart: int
    strong: int
    alternates: float
    spread: float
    tallest: float


#: By one of the chroma channels; by luma, where they are grey or translucent.
COLOURFUL, FAINT = _Look(18, 27, 1.6, 14.0, TALLEST), _Look(22, 32, 2.0, 8.0, 0.45)


def lines_of_letters(rgb: np.ndarray, landmarks: np.ndarray, unit: float) -> list[Line]:
    """Find lines of letters in a crop of a face.

    A line is a row of thin shapes of about one height, all bright, all dark or all of one colour. What lies on the lips is left out:
    teeth are bright, the mouth is dark, and lips are red.

    Args:
        rgb: uint8[h, w, 3], the crop.
        landmarks: float32[68, 2], in pixels of the crop.
        unit: the face's size in pixels (`operators.exemplar.warp.face_unit`).

    Returns:
        Lines in pixels of the crop.
    """
    if unit > LARGE:
        reduced = cv2.resize(rgb, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        return [_doubled(line, rgb.shape) for line in lines_of_letters(reduced, landmarks / 2, unit / 2)]
    luma = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    found = _lines(_standing_out(luma, landmarks, unit, (BRIGHT, ABOVE, FILLED)), landmarks)
    # Only where mouths are drawn: below the eyes.
    top = int(np.clip(landmarks[EYES, 1].max(), 0, luma.shape[0] - 1))
    places = landmarks - [0, top]
    below = _standing_out(255 - luma[top:], places, unit, (DARK, BELOW, DARK_FILLED))
    dark = _lines(below, places)
    half = cv2.resize(rgb[top:], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    channels = cv2.split(cv2.cvtColor(half, cv2.COLOR_RGB2YCrCb))
    shaded = _standing_out(255 - channels[0], places / 2, unit / 2, (DARK, SHADED, DARK_FILLED))
    small = _lines(shaded, places / 2) + _coloured_lines(channels, places / 2, unit / 2)
    found += _moved([*dark, *(_doubled(line, rgb[top:].shape) for line in small)], top)
    # The outlines of bright letters are dark, and coloured letters are partly bright or dark as well.
    return [_in_its_box(_tight(line, rgb.shape), luma) for line in _joined(found)]


def _in_its_box(line: Line, luma: np.ndarray) -> Line:
    x1, y1, x2, y2 = with_box(line.box, luma)
    a, b, c, d = line.box
    return Line((x1, y1, x2, y2), np.pad(line.letters, ((b - y1, y2 - d), (a - x1, x2 - c))))


def _tight(line: Line, shape: tuple[int, ...]) -> Line:
    """A line without the rows above and below its letters, in a picture of that shape."""
    x1, y1, x2, _ = line.box
    counts = line.letters.sum(1)
    rows = counts > FULL * counts.max()
    parts = runs(rows)
    margin = round(MARGIN * max(stop - start for start, stop in parts)) + 1
    top, bottom = max(parts[0][0] - margin, -y1), min(parts[-1][1] + margin, shape[0] - y1)
    letters = np.zeros((bottom - top, x2 - x1), bool)
    first, last = max(top, 0), min(bottom, len(counts))
    letters[first - top : last - top] = line.letters[first:last]
    return Line((x1, y1 + top, x2, y1 + bottom), letters)


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _moved(lines: list[Line], down: int) -> list[Line]:
    return [
        dataclasses.replace(one, box=(one.box[0], one.box[1] + down, one.box[2], one.box[3] + down))
        for one in lines
    ]


def _kernel(unit: float) -> np.ndarray:
    side = int(np.clip(STROKE * unit, 7, WIDEST)) | 1
    return np.ones((side, side), np.uint8)


def _standing_out(
    luma: np.ndarray, landmarks: np.ndarray, unit: float, limits: tuple[int, int, float]
) -> _Shapes:
    """Possible letters, brighter than what surrounds them; ``limits`` as the constants above."""
    least, above, filled = limits
    standing = cv2.morphologyEx(luma, cv2.MORPH_TOPHAT, _kernel(unit))
    seen = ((standing > above) & (luma > least)).astype(np.uint8)
    return _shapes(seen, landmarks, unit, filled, 4.0)


def _shapes(
    seen: np.ndarray,
    landmarks: np.ndarray,
    unit: float,
    filled: float,
    broadest: float,
    tallest: float = TALLEST,
) -> _Shapes:
    """Parts of a mask uint8[h, w] that may be letters: of a letter's height, at most ``broadest`` times as wide, not on the lips."""
    none = _Shapes(np.zeros((0, 4)), np.zeros(0), seen)
    if np.count_nonzero(seen) < LETTERS * LEAST:
        return none
    # Labelling costs by the pixel: only where anything was seen.
    left, top, wide, high = cv2.boundingRect(seen)
    _, _, stats, centres = cv2.connectedComponentsWithStats(
        np.ascontiguousarray(seen[top : top + high, left : left + wide]), connectivity=8
    )
    tall = stats[1:, cv2.CC_STAT_HEIGHT]
    broad, area = stats[1:, cv2.CC_STAT_WIDTH], stats[1:, cv2.CC_STAT_AREA]
    shaped = (tall >= LEAST) & (tall <= tallest * unit) & (broad <= broadest * tall)
    shaped &= area >= filled * broad * tall
    if not shaped.any():
        return none
    lips = lip_mask([landmarks], (0, 0, seen.shape[1], seen.shape[0]))
    numbers = np.flatnonzero(shaped) + 1
    middles = centres[numbers].astype(int)
    numbers = numbers[~lips[middles[:, 1] + top, middles[:, 0] + left]]
    corners = stats[numbers][:, [cv2.CC_STAT_LEFT, cv2.CC_STAT_TOP]] + [left, top]
    sizes = stats[numbers][:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]]
    boxes = np.concatenate([corners, corners + sizes], 1).astype(np.float64)
    return _Shapes(boxes, np.ones(len(boxes)), seen)


def _coloured_lines(channels: Sequence[np.ndarray], landmarks: np.ndarray, unit: float) -> list[Line]:
    """Lines of letters whose colour differs from what surrounds them, or which are faintly brighter.

    Args:
        channels: uint8[h, w] each: luma, then two of chroma.
        landmarks: float32[68, 2], in their pixels.
        unit: the face's size in their pixels.
    """
    # Video carries chroma at half size; luma of skin, folds and shadows does not come in.
    kernel = _kernel(unit)
    found: list[Line] = []
    sides = (cv2.MORPH_TOPHAT, cv2.MORPH_BLACKHAT)
    coloured = [number for number in (1, 2) if _correlation(channels[number], channels[0]) <= ONE_LIGHT]
    for number, side in ((0, cv2.MORPH_TOPHAT), *itertools.product(coloured, sides)):
        look = COLOURFUL if number else FAINT
        apart = cv2.morphologyEx(channels[number], side, kernel)
        seen = (apart > look.apart).view(np.uint8)
        if np.count_nonzero(seen) < LETTERS * LEAST:
            continue
        shapes = _shapes(seen, landmarks, unit, COLOUR_FILLED, np.inf, look.tallest)
        size = shapes.boxes[:, 2:] - shapes.boxes[:, :2]
        counts = np.maximum(1, np.round(size[:, 0] / (RUN_WIDTH * size[:, 1])))
        for line in _lines(dataclasses.replace(shapes, counts=counts), landmarks, RUN_LENGTH):
            x1, y1, x2, y2 = line.box
            parts = [channel[y1:y2, x1:x2] for channel in channels]
            strength, colours = apart[y1:y2, x1:x2], parts[1:] if number else parts
            if not number and not _paler(parts[1:], line.letters):
                continue
            if _alternates(strength, line.letters, look) and _one_colour(
                strength, colours, line.letters, look.spread
            ):
                found.append(line)
    return _joined(found)


def _correlation(one: np.ndarray, two: np.ndarray) -> float:
    """Return the correlation of two channels uint8[h, w] without its sign: 0..1; 0 where one of them is flat."""
    first, second = (part[::2, ::2].astype(np.float32) - part[::2, ::2].mean() for part in (one, two))
    scale = float(np.sqrt((first**2).sum() * (second**2).sum()))
    return abs(float((first * second).sum())) / scale if scale > 0 else 0.0


def _paler(chroma: Sequence[np.ndarray], letters: np.ndarray) -> bool:
    """The letters of a line have less colour than what is between them."""
    distance = np.abs(np.stack(chroma).astype(np.float32) - 128).sum(0)
    inside = cv2.erode(letters.view(np.uint8), np.ones((1, 2), np.uint8)) > 0
    gaps = ~cv2.dilate(letters.view(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
    rows = np.flatnonzero(letters.any(1))
    gaps[: rows[0]] = gaps[rows[-1] + 1 :] = False
    if inside.sum() < 20 or gaps.sum() < 20:
        return False
    return float(np.median(distance[gaps]) - np.median(distance[inside])) > PALER


def _joined(lines: list[Line]) -> list[Line]:
    """Lines of which none overlap: letters are seen by several of their properties, and by each some are missed."""
    result: list[Line] = []
    for line in lines:
        joined = line
        while touching := [other for other in result if _overlap(joined.box, other.box)]:
            result = [other for other in result if not _overlap(joined.box, other.box)]
            joined = functools.reduce(_union, touching, joined)
        result.append(joined)
    return result


def _union(one: Line, two: Line) -> Line:
    (a, b, c, d), (e, f, g, h) = one.box, two.box
    box = (min(a, e), min(b, f), max(c, g), max(d, h))
    letters = np.zeros((box[3] - box[1], box[2] - box[0]), bool)
    for line in (one, two):
        x1, y1, x2, y2 = line.box
        letters[y1 - box[1] : y2 - box[1], x1 - box[0] : x2 - box[0]] |= line.letters
    return Line(box, letters)


def _doubled(line: Line, shape: tuple[int, ...]) -> Line:
    """A line in a picture of twice the size, of that shape."""
    x1, y1, x2, y2 = line.box
    box = (2 * x1, 2 * y1, min(2 * x2, shape[1]), min(2 * y2, shape[0]))
    letters = line.letters.repeat(2, 0).repeat(2, 1)
    return Line(box, letters[: box[3] - box[1], : box[2] - box[0]])


def _alternates(apart: np.ndarray, letters: np.ndarray, look: _Look) -> bool:
    """Tell whether the strength of colour uint8[h, w] is that of letters, and goes up and down along the line as strokes do."""
    rows = np.flatnonzero(letters.any(1))
    columns = np.flatnonzero(letters.any(0))
    if np.percentile(apart[letters], 80) < look.strong:
        return False
    first, last = int(rows[0]), int(rows[-1]) + 1
    height = last - first
    line = apart[first:last, columns[0] : columns[-1] + 1].astype(np.float32)
    times = []
    for share in (0.3, 0.5, 0.7):
        values = line[int(share * height)]
        level = cv2.blur(values[None], (2 * height + 1, 1), borderType=cv2.BORDER_REPLICATE)[0]
        # Hysteresis: noise around the level is no stroke.
        state = np.where(values > level + 4, 1, np.where(values < level - 4, -1, 0))
        state = state[state != 0]
        times.append(np.count_nonzero(np.diff(state)))
    return float(np.median(times)) >= look.alternates * line.shape[1] / max(height, 1)


def _one_colour(
    apart: np.ndarray, channels: Sequence[np.ndarray], letters: np.ndarray, spread: float
) -> bool:
    """The letters of a line have one colour; clothes and jewellery seldom do over such a length."""
    # Thin strokes take on some of what is behind them: only the middle of strokes counts.
    core = letters & (apart >= np.median(apart[letters]))
    columns = np.flatnonzero(core.any(0))
    for channel in channels:
        parts = [
            np.median(channel[:, some][core[:, some]])
            for some in np.array_split(columns, 6)
            if core[:, some].any()
        ]
        if np.std(np.sort(parts)[1:-1]) > spread:
            return False
    return True


def _lines(shapes: _Shapes, landmarks: np.ndarray, length: float = LENGTH) -> list[Line]:
    """Rows of letters, with margins, inside the picture they were seen in."""
    found: list[Line] = []
    letters, counts, seen = shapes.boxes, shapes.counts, shapes.seen
    if counts.sum() < LETTERS:
        return found
    left = np.ones(len(letters), bool)
    heights = letters[:, 3] - letters[:, 1]
    lips = np.concatenate([landmarks[OUTER_LIPS].min(0), landmarks[OUTER_LIPS].max(0)])
    middles = letters[:, [1, 3]].mean(1)
    beside = np.abs(middles - middles[:, None]) < 0.5 * heights[:, None]
    beside &= heights > 0.4 * heights[:, None]
    # Most shapes are no letters, and few lie in rows.
    seeds = np.flatnonzero(beside @ counts >= LETTERS)
    for number in seeds[np.argsort(-heights[seeds], kind="stable")].tolist():
        if not left[number]:
            continue
        tall = heights[number]
        row = left & beside[number]
        row &= _chained(letters, row, number, GAP * tall, lips)
        if counts[row].sum() < LETTERS:
            continue
        # Hair and folds between letters: a line without them is still one.
        alike = row & (heights <= ALIKE * np.median(np.repeat(heights[row], counts[row].astype(int))))
        if (
            counts[alike].sum() >= LETTERS
            and np.ptp(letters[alike][:, [0, 2]]) >= length * heights[alike].max()
        ):
            left &= ~row
            row, tall = alike, heights[alike].max()
        elif length < LENGTH and (row & ~alike).any():
            # Letters that run together are counted by their length: a few shapes of other heights are none.
            continue
        x1, y1 = letters[row, :2].min(0)
        x2, y2 = letters[row, 2:].max(0)
        if x2 - x1 < length * tall:
            continue
        left &= ~row
        margin = MARGIN * tall
        box = (
            int(max(0, x1 - margin)),
            int(max(0, y1 - margin)),
            int(min(seen.shape[1], x2 + margin + 1)),
            int(min(seen.shape[0], y2 + margin + 1)),
        )
        mask = np.zeros((box[3] - box[1], box[2] - box[0]), bool)
        for a, b, c, d in letters[row].astype(int).tolist():
            mask[b - box[1] : d - box[1], a - box[0] : c - box[0]] |= seen[b:d, a:c] > 0
        found.append(Line(box, mask))
    return found


def _chained(letters: np.ndarray, row: np.ndarray, seed: int, gap: float, lips: np.ndarray) -> np.ndarray:
    """bool[n]: those of a row that are joined to the letter `seed` by gaps of a width at most; lips (float[4], their box) do not
    count, because no letter is looked for on them.
    """
    members = np.flatnonzero(row)
    members = members[np.argsort(letters[members, 0], kind="stable")]
    ends = np.maximum.accumulate(letters[members, 2])
    first, last = ends[:-1], letters[members[1:], 0]
    middle = letters[seed, [1, 3]].mean()
    on_lips = (
        np.maximum(np.minimum(last, lips[2]) - np.maximum(first, lips[0]), 0)
        if lips[1] < middle < lips[3]
        else 0
    )
    parts = np.concatenate([[0], np.cumsum(last - first - on_lips > gap)])
    chained = np.zeros(len(letters), bool)
    chained[members[parts == parts[members == seed][0]]] = True
    return chained
