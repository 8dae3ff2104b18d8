"""Speech for a face whose footage shows no other mouth (a still picture, lips that never part): one picture,
split at the lip line.

Everything above the split (upper lip, and the teeth that the picture shows) stays with the skull; lower lip
and jaw move to the wanted shape; a dark cavity lies between them. No tooth is invented. See
docs/exemplar.md#stills-and-closed-mouths. Used by `render_stage`.
"""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np

from operators.exemplar.jaw import base_points, moving_region
from operators.exemplar.masks import Box, fill
from operators.exemplar.warp import (
    LOWER_INNER,
    UPPER_INNER,
    Field,
    face_axes,
    face_unit,
    grid_nodes,
    order_lips,
    positions,
    solve_field,
    unfold,
)
from operators.faces.geometry import NOSE, OUTER_LIPS
from operators.numeric.masks import smoothstep

#: The line between the lips is sampled at so many places from corner to corner, and looked for at so many
#: heights around the landmarks.
COLUMNS, HEIGHTS = 48, 25
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
#: Red, green and blue of the inside of a mouth beside those of the skin.
FLESH = np.array([1.3, 0.8, 0.84], np.float32)
#: Luma of the tongue and of the wet inside of the lower lip beside the chin's (lips may be painted), and the share of it that lies in
#: the shadow of the teeth.
TONGUE, INNER_LIP, SHADOW = 0.46, 0.58, 0.38
#: (red - green) / luma of skin whose mouth is as red as that; in pictures without colours, mouths are grey.
SKIN_RED = 0.12
#: Face units over which tongue, inside of the lip and shadow fall off.
TONGUE_HEIGHT, INNER_LIP_HEIGHT, SHADOW_HEIGHT = 0.13, 0.035, 0.07
#: A lower lip that touches the teeth leaves them late: face units, it follows openings of a third of this by a tenth, of twice this fully.
CLINGS = 0.06
#: Landmarks' gap, face units, from which on teeth are seen, and from which on surely.
SHUT, SHOWS_TEETH = 0.03, 0.06
#: Softness of the edges of lips and teeth beside the gap, face units.
SOFT_EDGE = 0.008
UPPER_LIP = np.array([48, 49, 50, 51, 52, 53, 54, 60, 61, 62, 63, 64])
OUTER_UPPER = np.array([48, 49, 50, 51, 52, 53, 54])


@dataclasses.dataclass(frozen=True)
class Drawing:
    """A drawn crop.

    Attributes:
        rgb: uint8[h, w, 3].
        alpha: float32[h, w], 0..1, exactly 0 on the crop's border where that is not the picture's own.
    """

    rgb: np.ndarray
    alpha: np.ndarray


@dataclasses.dataclass(frozen=True)
class LipLine:
    """Upper edge of the lower lip in the picture.

    Attributes:
        points: float32[COLUMNS, 2], upright pixels, from the left corner of the mouth to the right one.
        offset: float32[COLUMNS], its height below the landmarks' own line, face units.
    """

    points: np.ndarray
    offset: np.ndarray


def along_lip(values: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """Landmarks (float[68, 2], positions or moves) interpolated along an inner lip: float64[COLUMNS, 2],
    smooth, from corner to corner.
    """
    knots = values[[60, *inner, 64]].astype(np.float64)
    along = np.linspace(0, 1, 5)
    power = np.polynomial.polynomial.polyfit(along, knots, 4)
    return np.polynomial.polynomial.polyval(np.linspace(0, 1, COLUMNS), power).T


def find_lip_line(
    rgb: np.ndarray, origin: tuple[int, int], landmarks: np.ndarray, before: LipLine | None = None
) -> LipLine:
    """Follow the lower lip's upper edge in the pixels: landmarks miss it by a pixel or two, and a tooth's
    edge must not move with the lip.

    Open mouths show it as the step from teeth or dark to red, shut ones as the dark line between the lips.

    Args:
        rgb: uint8[h, w, 3], a crop that holds the mouth.
        origin: x and y of its first pixel in the upright picture.
        landmarks: float32[68, 2].
        before: the line found in the frame before; both are averaged, so that it does not tremble.
    """
    unit = face_unit(landmarks)
    _, down = face_axes(landmarks)
    lower, upper = along_lip(landmarks, LOWER_INNER), along_lip(landmarks, UPPER_INNER)
    gap = np.clip((lower - upper) @ down, 0, None)
    shut = float(np.median(gap)) < SHUT * unit
    line = (lower + upper) / 2 if shut else lower
    heights = np.linspace(-0.06, 0.06, HEIGHTS)
    strip = line[None] + heights[:, None, None] * unit * down - np.array(origin)
    picture = cv2.GaussianBlur(rgb, (0, 0), max(0.6, 0.006 * unit)).astype(np.float32)
    seen = cv2.remap(
        picture,
        strip[..., 0].astype(np.float32),
        strip[..., 1].astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    luma = seen @ LUMA
    if shut:
        evidence = -luma
    else:
        red = (seen[..., 0] - seen[..., 1]) / (luma + 16)
        evidence = np.gradient(cv2.GaussianBlur(red, (0, 0), 1.2), axis=0)
    evidence = (evidence - evidence.mean(0)) / (evidence.std() + 1e-6)
    # Close to the corners both lips meet: the landmarks decide there.
    trust = np.clip(np.minimum(np.arange(COLUMNS), np.arange(COLUMNS)[::-1]) / 8, 0, 1)
    cost = -evidence * trust + 2.0 * (heights[:, None] / 0.06) ** 2
    offset = heights[best_path(cost)].astype(np.float32)
    offset = cv2.GaussianBlur(offset[None], (0, 0), 3.0, borderType=cv2.BORDER_REPLICATE)[0] * trust.astype(
        np.float32
    )
    if before is not None:
        offset = (offset + 2 * before.offset) / 3
    return LipLine((line + offset[:, None] * unit * down).astype(np.float32), offset)


def best_path(cost: np.ndarray, stiffness: float = 0.8) -> np.ndarray:
    """Cheapest path through the columns of a cost table, int64[columns] row numbers; a step of one row costs
    ``stiffness``.
    """
    rows = np.arange(cost.shape[0])
    step = stiffness * abs(rows[:, None] - rows)
    total, came = cost[:, 0], []
    for column in cost.T[1:]:
        options = total[:, None] + step
        came.append(options.argmin(0))
        total = options.min(0) + column
    path = [int(total.argmin())]
    for back in reversed(came):
        path.append(int(back[path[-1]]))
    return np.array(path[::-1])


def below_line(points: np.ndarray, box: Box, right: np.ndarray, down: np.ndarray, soft: float) -> np.ndarray:
    """float32[h, w] of a crop: 1 below a line (float[K, 2], extended straight beyond its ends), 0 above, with an
    edge that is ``soft`` pixels wide (sigma).
    """
    width, height = box[2] - box[0], box[3] - box[1]
    far = 2.0 * (width + height)
    first, last = points[0], points[-1]
    outline = np.concatenate(
        [
            [first - far * right],
            points,
            [last + far * right, last + far * (right + down), first + far * (down - right)],
        ]
    )
    return fill(outline - np.array(box[:2]), (width, height), soft)


@dataclasses.dataclass(frozen=True)
class Split:
    """The two layers of a split face, all relative to the crop.

    Attributes:
        upper: displacement of what the upper lip shows.
        rest: displacement of everything else, the lower lip included.
        lip: float32[h, w], 1 from the lower lip's edge downwards.
        teeth: float32[h, w], 1 below the edge of the teeth (of the upper lip where no teeth show).
    """

    upper: Field
    rest: Field
    lip: np.ndarray
    teeth: np.ndarray


def split_face(
    landmarks: np.ndarray, shape: np.ndarray, line: LipLine, box: Box, size: tuple[int, int]
) -> Split:
    """Fields that move both layers so that the landmarks reach ``shape``, and the extent of each. Arguments
    as of `still_composite`.
    """
    unit, origin = face_unit(landmarks), np.array(box[:2], np.float32)
    right, down = face_axes(shape)
    crop = (box[2] - box[0], box[3] - box[1])
    nodes = grid_nodes(crop, max(2.0, unit / 28))
    window = moving_region(nodes, landmarks, shape, box, size, unit)
    moves = landmarks - shape
    # Along the split the lower lip moves as its landmarks say, whatever the upper lip a pixel above does.
    lip_moves = along_lip(moves, LOWER_INNER)
    lip_moves += _clinging(landmarks, moves, lip_moves)[:, None] * down
    lip_edge = line.points - lip_moves
    some = np.s_[3:-3:3]
    points, shifts = base_points(landmarks, shape, unit, OUTER_LIPS)
    points, shifts = np.concatenate([points, lip_edge[some]]), np.concatenate([shifts, lip_moves[some]])
    rest = solve_field(points - origin, shifts, nodes, crop, 0.9 * unit)
    # Teeth are bone: all of what the upper lip shows moves as the lip's edge does, also where the lower lip
    # used to be.
    edge = moves[UPPER_INNER].mean(0)
    teeth_edge = line.points - edge
    points = np.concatenate([shape[UPPER_LIP], teeth_edge[some], shape[NOSE]])
    shifts = np.concatenate(
        [moves[UPPER_LIP], np.broadcast_to(edge, teeth_edge[some].shape), np.zeros((len(NOSE), 2))]
    )
    upper = solve_field(points - origin, shifts, nodes, crop, 0.9 * unit)
    # Half a pixel and more to both sides: no shred of tooth goes with the lip, no shred of lip stays with the
    # teeth.
    teeth_margin, lip_margin = (0.5 + 0.004 * unit) * down, (0.5 + 0.012 * unit) * down
    heights = nodes.reshape(-1, 2) @ down
    hidden = (heights < ((lip_edge - origin) @ down).max()).reshape(nodes.shape[:2])
    hidden &= (heights > ((teeth_edge - origin) @ down).min()).reshape(nodes.shape[:2])
    return Split(
        unfold(Field(upper.grid * window, crop), hidden=hidden),
        unfold(Field(rest.grid * window, crop), hidden=hidden),
        below_line(lip_edge + lip_margin, box, right, down, max(0.6, SOFT_EDGE * unit)),
        below_line(teeth_edge - teeth_margin, box, right, down, max(0.6, SOFT_EDGE * unit)),
    )


def _clinging(landmarks: np.ndarray, moves: np.ndarray, lip_moves: np.ndarray) -> np.ndarray:
    """Pixels float64[COLUMNS] by which the lower lip's edge stays behind its landmarks because it lies against the teeth.

    Args:
        landmarks: float32[68, 2], as they are in the picture.
        moves: float32[68, 2], from where they shall be to where they are.
        lip_moves: float64[COLUMNS, 2], the same along the lower lip's edge.
    """
    unit = face_unit(landmarks)
    _, down = face_axes(landmarks)
    own = float(np.median((landmarks[LOWER_INNER] - landmarks[UPPER_INNER]) @ down)) / unit
    teeth = float(smoothstep((own - SHUT) / (SHOWS_TEETH - SHUT)))
    opened = np.maximum((moves[UPPER_INNER].mean(0) - lip_moves) @ down, 0)
    behind: np.ndarray = teeth * opened * np.exp(-((opened / (CLINGS * unit)) ** 2))
    return behind


def cavity(rgb: np.ndarray, landmarks: np.ndarray, shape: np.ndarray, split: Split, box: Box) -> np.ndarray:
    """The inside of an open mouth, float32[h, w, 3]: a tongue in the shade lies along the lower lip, and above it, it is as dark as
    the darkest of the mouth itself.

    Args:
        rgb: uint8[h, w, 3], the crop.
        landmarks: float32[68, 2], as they are in it.
        shape: float32[68, 2], wanted there.
        split: the layers.
        box: of the crop.
    """
    unit = face_unit(landmarks)
    mouth = np.round(landmarks[48:68] - np.array(box[:2])).astype(np.int32)
    inside = cv2.fillConvexPoly(np.zeros(rgb.shape[:2], np.uint8), cv2.convexHull(mouth), 1)
    pixels = rgb[inside > 0].astype(np.float32)
    if not len(pixels):
        return np.zeros(rgb.shape, np.float32)
    luma = pixels @ LUMA
    lips = np.median(pixels[luma <= np.percentile(luma, 60)], 0)
    skin = _chin_colour(rgb, landmarks - np.array(box[:2]))
    level = float(skin @ LUMA)
    red = min(max(float(skin[0] - skin[1]) / (SKIN_RED * (level + 1)), 0.0), 1.0)
    flesh = skin * (1 + (FLESH - 1) * red)
    flesh /= max(float(flesh @ LUMA), 1.0)
    dark = min(float(np.percentile(luma, 2)), 0.22 * float(np.median(luma))) * flesh
    flesh *= level
    tongue = TONGUE * flesh
    inner_lip = 0.5 * (INNER_LIP * flesh + lips)
    centre = between_corners(shape, box, rgb.shape[1::-1])
    # A mouth that opens a little shows next to nothing but tongue: how near the lower lip is counts, not how deep the gap.
    colour = dark + (_beside(split.lip, TONGUE_HEIGHT * unit) * centre)[..., None] * (tongue - dark)
    colour *= 1 - SHADOW * _beside(1 - split.teeth, SHADOW_HEIGHT * unit)[..., None]
    return colour + (_beside(split.lip, INNER_LIP_HEIGHT * unit) * centre)[..., None] * (inner_lip - colour)


def _beside(mask: np.ndarray, reach: float) -> np.ndarray:
    """float32[h, w]: 1 in a mask and at its edge, 0 about ``reach`` pixels away from it."""
    # Two box filters are a wide blur whose cost does not grow with its width.
    size = (max(1, round(2.45 * reach)),) * 2
    return np.minimum(2 * cv2.blur(cv2.blur(mask, size), size), 1)


def _chin_colour(rgb: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Median RGB float64[3] of the skin between lower lip and chin, of a crop and landmarks in its pixels."""
    lip, chin = landmarks[56:59], landmarks[7:10]
    places = np.concatenate([lip + share * (chin - lip) for share in (0.35, 0.5, 0.65)]).round().astype(int)
    x, y = np.clip(places, 0, [rgb.shape[1] - 1, rgb.shape[0] - 1]).T
    return np.asarray(np.median(rgb[y, x], 0))


def between_corners(shape: np.ndarray, box: Box, crop: tuple[int, int]) -> np.ndarray:
    """float32[h, w] of a crop: 1 between the inner corners of the mouth, smoothly 0 at the outer ones."""
    right, _ = face_axes(shape)
    x, y = np.arange(crop[0]) + box[0], np.arange(crop[1]) + box[1]
    across = x * right[0] + (y * right[1])[:, None]
    outer, inner = shape[[48, 54]] @ right, shape[[60, 64]] @ right
    left, other = (
        (across - outer[0]) / max(inner[0] - outer[0], 1.0),
        (outer[1] - across) / max(outer[1] - inner[1], 1.0),
    )
    return smoothstep(np.minimum(left, other)).astype(np.float32)


def still_composite(
    rgb: np.ndarray,
    box: Box,
    size: tuple[int, int],
    landmarks: np.ndarray,
    shape: np.ndarray,
    line: LipLine | None = None,
) -> tuple[Drawing, LipLine]:
    """Render one frame's lower face out of its own pixels; see `composite.composite` for the arguments.

    Args:
        rgb: uint8[h, w, 3], the target frame's crop.
        line: lip line of the frame before, None at the start.

    Returns:
        What to paste, and this frame's lip line.
    """
    unit, crop = face_unit(landmarks), (rgb.shape[1], rgb.shape[0])
    landmarks = order_lips(landmarks)
    shape = order_lips(shape)
    _, down = face_axes(shape)
    line = find_lip_line(rgb, box[:2], landmarks, line)
    split = split_face(landmarks, shape, line, box, size)
    upper, rest = split.upper.dense(), split.rest.dense()
    moved = cv2.remap(rgb, *positions(*rest), cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE).astype(
        np.float32
    )
    kept = cv2.remap(rgb, *positions(*upper), cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE).astype(
        np.float32
    )
    # Where both layers move alike there is no gap to see through, whatever the soft edges of the masks say.
    apart = smoothstep(np.hypot(rest[0] - upper[0], rest[1] - upper[1]) - 0.25)
    hole = (split.teeth * apart * between_corners(shape, box, crop))[..., None]
    inside = kept + (cavity(rgb, landmarks, shape, split, box) - kept) * hole
    outline = np.concatenate([shape[OUTER_UPPER], shape[[64, *LOWER_INNER[::-1], 60]] + 0.25 * unit * down])
    mouth = fill(outline - np.array(box[:2]), crop, 0.012 * unit) * (1 - split.lip)
    result = moved + (inside - moved) * mouth[..., None]
    change = np.maximum(
        np.maximum(abs(rest[0]), abs(rest[1])), np.maximum(abs(upper[0]), abs(upper[1])) * (mouth > 0)
    )
    alpha = np.maximum(smoothstep((change - 0.05) * 4), smoothstep(mouth * apart * 8))
    return Drawing(np.clip(result + 0.5, 0, 255).astype(np.uint8), alpha), line
