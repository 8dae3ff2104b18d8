"""OpenCV's picture functions for batches of tensors on any device: warps, changes of size, blurs, pyramids,
distances, polygons.

Imports torch only. Nothing here waits for the device: shapes depend on arguments alone, and no value is read back.
Pictures are float32[n, c, h, w] in 0 ... 255 where nothing else is said; results equal OpenCV's within one grey
level (`tests/operators/numeric/test_tensor_pictures.py`).
"""

from __future__ import annotations

import itertools
import math

import torch
import torch.nn.functional as F
from torch import Tensor

#: Costs of a step to the side and of a diagonal one, of OpenCV's DIST_L2 with a 3 x 3 mask.
SIDEWAYS, DIAGONAL = 0.955, 1.3693
#: Coefficient of OpenCV's bicubic kernel.
CUBIC = -0.75
#: Burt and Adelson's kernel.
BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)


# --- affine maps of the plane, float64[n, 2, 3] -------------------------------------------------------------
def into_box(boxes: Tensor, side: int) -> Tensor:
    """Maps float64[n, 2, 3] from picture pixels into square pictures of boxes float64[n, 4] x1, y1, x2, y2; pixel
    centres at whole numbers.
    """
    x1, y1, x2, y2 = boxes.unbind(1)
    sx, sy = side / (x2 - x1), side / (y2 - y1)
    zero = torch.zeros_like(sx)
    rows = [sx, zero, (0.5 - x1) * sx - 0.5, zero, sy, (0.5 - y1) * sy - 0.5]
    return torch.stack(rows, 1).reshape(-1, 2, 3)


def invert(maps: Tensor) -> Tensor:
    """The inverse maps."""
    a, b, c, d, e, f = maps.flatten(1).unbind(1)
    scale = 1 / (a * e - b * d)
    rows = [e * scale, -b * scale, (b * f - e * c) * scale, -d * scale, a * scale, (d * c - a * f) * scale]
    return torch.stack(rows, 1).reshape(-1, 2, 3)


def compose(outer: Tensor, inner: Tensor) -> Tensor:
    """The maps that do ``inner`` first and then ``outer``."""
    turn = outer[:, :, :2] @ inner[:, :, :2]
    shift = outer[:, :, :2] @ inner[:, :, 2:] + outer[:, :, 2:]
    return torch.cat([turn, shift], 2)


def apply(maps: Tensor, points: Tensor) -> Tensor:
    """Points float64[n, m, 2] under maps float64[n, 2, 3]."""
    return points @ maps[:, :, :2].transpose(1, 2) + maps[:, None, :, 2]


def seen_at(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Place in the source, float64[n, h, w, 2] x and y, of each pixel of a result of this size."""
    height, width = size
    y, x = (torch.arange(n, dtype=maps.dtype, device=maps.device) for n in (height, width))
    # Not a matrix product: of so many small ones a GPU makes a kernel each.
    back = invert(maps)[:, :, :, None, None]
    return torch.stack([row[:, 0] * x + (row[:, 1] * y[:, None] + row[:, 2]) for row in back.unbind(1)], -1)


def warp(
    pictures: Tensor,
    maps: Tensor,
    size: tuple[int, int],
    value: Tensor | float | None = 0.0,
    onto: Tensor | None = None,
) -> Tensor:
    """``cv2.warpAffine``, bilinear.

    Args:
        pictures: float32[n, c, h, w].
        maps: float64[n, 2, 3] from the picture into the result.
        size: height and width of the result.
        value: outside the picture, a number or float32[c]; None: its edge is repeated.
        onto: float32[n, c, *size], what stays where the picture is not (BORDER_TRANSPARENT).

    Returns:
        float32[n, c, *size], not rounded.
    """
    height, width = pictures.shape[-2:]
    place = seen_at(maps, size)
    scale = torch.stack([place.new_full((), 2 / width), place.new_full((), 2 / height)])
    grid = ((place + 0.5) * scale - 1).to(pictures.dtype)
    border = "border" if value is None else "zeros"
    offset: Tensor | float = 0.0 if value is None else value
    if isinstance(offset, Tensor):
        offset = offset.reshape(1, -1, 1, 1)
    moved = F.grid_sample(pictures - offset, grid, padding_mode=border, align_corners=False) + offset
    if onto is None:
        return moved
    x, y = place.unbind(-1)
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    return torch.where(inside[:, None], moved, onto)


# --- change of size -----------------------------------------------------------------------------------------
AXES = 2
Span = tuple[Tensor, Tensor]


def weights(source: Span, size: int, target: Span, result: int, shrinks: Tensor, area: Tensor) -> Tensor:
    """Matrices float32[n, result, size] that change the size of spans along one axis as ``cv2.resize`` does.

    Args:
        source: first sample and length of each span, float64[n], inside an axis of ``size`` samples; taps beyond
            the axis read its end.
        size: samples of the source axis.
        target: first sample and length of each result, whole numbers in float64[n], inside an axis of ``result``
            samples; 0 outside.
        result: samples of the result's axis.
        shrinks: bool[n], INTER_AREA; False: INTER_CUBIC.
        area: bool[n], whether both axes of the picture shrink, without which INTER_AREA is a kind of bilinear.
    """
    (start, length), (first, count) = source, target
    t = torch.arange(result, dtype=start.dtype, device=start.device)[None] - first[:, None]
    s = torch.arange(size, dtype=start.dtype, device=start.device)
    scale = (length / count)[:, None]
    begin, last = start[:, None], (start + length)[:, None] - 1

    def tap(place: Tensor, weight: Tensor) -> Tensor:
        at = torch.minimum((place + begin).clamp(min=begin), last).clamp(0, size - 1)
        return (at[..., None] == s) * weight[..., None]

    middle = (t + 0.5) * scale - 0.5
    left = middle.floor()
    cubic = sum(tap(left + k, cubic_weight(middle - left - k)) for k in (-1, 0, 1, 2))
    corner = (t * scale).floor()
    share = (t + 1) - (corner + 1) / scale
    share = torch.where(share <= 0, torch.zeros_like(share), share - share.floor())
    bilinear = tap(corner, 1 - share) + tap(corner + 1, share)
    low = (t * scale + begin)[..., None]
    covered = torch.minimum(low + scale[..., None], s + 1) - torch.maximum(low, s)
    averaged = covered.clamp(min=0)
    averaged = averaged / averaged.sum(2, keepdim=True).clamp(min=1e-12)
    chosen = torch.where(area[:, None, None], averaged, bilinear)
    chosen = torch.where(shrinks[:, None, None], chosen, cubic)
    valid = (t >= 0) & (t < count[:, None])
    return (chosen * valid[..., None]).float()


def cubic_weight(distance: Tensor) -> Tensor:
    """Bicubic kernel at a distance of up to 2 samples."""
    x = distance.abs()
    near = ((CUBIC + 2) * x - (CUBIC + 3)) * x * x + 1
    far = ((CUBIC * x - 5 * CUBIC) * x + 8 * CUBIC) * x - 4 * CUBIC
    return torch.where(x <= 1, near, torch.where(x < AXES, far, torch.zeros_like(x)))


def resize(
    pictures: Tensor,
    boxes: Tensor,
    size: tuple[int, int],
    into: Tensor | None = None,
) -> Tensor:
    """Change the size of boxes of pictures: averaged where they shrink, bicubic where they grow
    (`operators.retalk.framing.scaled`).

    Args:
        pictures: float32[n, c, h, w].
        boxes: float64[n, 4] x1, y1, x2, y2 in them; may leave the picture, whose edge is repeated.
        size: height and width of the result.
        into: float64[n, 4], the box of the result that is filled, whole numbers; None: all of it.

    Returns:
        float32[n, c, *size] rounded to whole numbers in 0 ... 255, 0 outside ``into``.
    """
    height, width = pictures.shape[-2:]
    full = boxes.new_zeros(boxes.shape)
    full[:, 2], full[:, 3] = size[1], size[0]
    target = full if into is None else into
    w, h = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    tw, th = target[:, 2] - target[:, 0], target[:, 3] - target[:, 1]
    shrinks, area = w * h > tw * th, (w >= tw) & (h >= th)
    rows = weights((boxes[:, 1], h), height, (target[:, 1], th), size[0], shrinks, area)
    columns = weights((boxes[:, 0], w), width, (target[:, 0], tw), size[1], shrinks, area)
    return (rows[:, None] @ pictures @ columns[:, None].transpose(2, 3)).round().clamp(0, 255)


def moved(pictures: Tensor, corners: Tensor, size: tuple[int, int]) -> Tensor:
    """Parts [n, c, *size] of pictures from corners int64[n, 2] (y, x) on; the edge is repeated outside."""
    height, width = pictures.shape[-2:]
    rows = (corners[:, :1] + torch.arange(size[0], device=corners.device)).clamp(0, height - 1)
    columns = (corners[:, 1:] + torch.arange(size[1], device=corners.device)).clamp(0, width - 1)
    item = torch.arange(len(pictures), device=corners.device)[:, None, None]
    return pictures.permute(0, 2, 3, 1)[item, rows[:, :, None], columns[:, None]].permute(0, 3, 1, 2)


# --- blurs and pyramids -------------------------------------------------------------------------------------
def filtered(pictures: Tensor, kernel: Tensor, step: int = 1) -> Tensor:
    """A symmetric kernel float32[k] along both axes, BORDER_REFLECT_101, every ``step``-th sample."""
    n, c, height, width = pictures.shape
    reach = len(kernel) // 2
    x = F.pad(pictures.reshape(n * c, 1, height, width), (reach,) * 4, mode="reflect")
    x = F.conv2d(x, kernel[None, None, None], stride=(1, step))
    x = F.conv2d(x, kernel[None, None, :, None], stride=(step, 1))
    return x.reshape(n, c, *x.shape[-2:])


def gaussian_blur(pictures: Tensor, radius: int, sigma: float) -> Tensor:
    """``cv2.GaussianBlur`` with a kernel of ``2 * radius + 1``."""
    x = torch.arange(-radius, radius + 1, dtype=torch.float64, device=pictures.device)
    kernel = (-x.square() / (2 * sigma * sigma)).exp()
    return filtered(pictures, (kernel / kernel.sum()).to(pictures.dtype))


def binomial(like: Tensor) -> Tensor:
    """The pyramids' kernel on the device of ``like``; made there, not copied."""
    x = torch.arange(5, device=like.device)
    distance = (x - 2).abs()
    kernel = torch.where(distance == 0, BINOMIAL[2], torch.where(distance == 1, BINOMIAL[1], BINOMIAL[0]))
    return kernel.to(like.dtype)


def pyramid_up(pictures: Tensor) -> Tensor:
    """``cv2.pyrUp`` to twice the size; its border is reflected at the beginning and repeated at the end."""
    for axis in (-1, -2):
        size = pictures.shape[axis]
        before = pictures.narrow(axis, min(1, size - 1), 1)
        after = pictures.narrow(axis, size - 1, 1)
        padded = torch.cat([before, pictures, after], axis)
        a, b, c = (padded.narrow(axis, k, size) for k in range(3))
        shape = list(pictures.shape)
        shape[axis] *= 2
        pictures = torch.stack([(a + 6 * b + c) / 8, (b + c) / 2], axis).reshape(shape)
    return pictures


def bands(pictures: Tensor, levels: int) -> list[Tensor]:
    """`operators.numeric.pyramid.bands` of 8-bit pictures held as float32: rounded at every level."""
    pyramid, kernel = [pictures], binomial(pictures)
    for _ in range(levels - 1):
        pyramid.append((filtered(pyramid[-1], kernel, 2) + 0.5).floor())
    parts = [fine - pyramid_up(coarse) for fine, coarse in itertools.pairwise(pyramid)]
    return [*parts, pyramid[-1]]


def blend(a: Tensor, b: Tensor, mask: Tensor, levels: int) -> Tensor:
    """`operators.numeric.pyramid.blend`: A where the mask is 1, B where it is 0, each band by itself.

    Args:
        a: float32[n, 3, h, w], whole numbers; h and w divisible by 2 ** (levels - 1).
        b: the same.
        mask: float32[n, 1, h, w], 0 ... 1.
        levels: pictures in the pyramid.

    Returns:
        float32[n, 3, h, w], not clipped.
    """
    kernel = binomial(a)
    shares = [mask]
    for _ in range(levels - 1):
        shares.append(filtered(shares[-1], kernel, 2))
    mixed = [
        x * share + y * (1 - share)
        for x, y, share in zip(bands(a, levels), bands(b, levels), shares, strict=True)
    ]
    result = mixed[-1]
    for band in reversed(mixed[:-1]):
        result = pyramid_up(result) + band
    return result


# --- masks --------------------------------------------------------------------------------------------------
def smoothstep(value: Tensor) -> Tensor:
    """3t² - 2t³ of values clipped to 0 ... 1."""
    t = value.clamp(0, 1)
    return t * t * (3 - 2 * t)


def polygons(points: Tensor, size: tuple[int, int]) -> Tensor:
    """``cv2.fillPoly`` of one polygon a picture, with its outline, whose samples may be off by one.

    Args:
        points: float64[n, m, 2], rounded to sixteenths of a pixel as with ``shift=4``.
        size: height and width.

    Returns:
        bool[n, 1, h, w].
    """
    points = (points * 16).round() / 16
    following = points.roll(-1, 1)
    height, width = size
    y, x = (torch.arange(n, dtype=points.dtype, device=points.device) for n in size)
    step = following - points
    crossing, rows = _along(points, following, step, y, 1)
    inside = ((rows[..., None] & (crossing[..., None] <= x)).sum(1) % 2) == 1
    # The outline: each edge has one sample a column, or a row where it is steep.
    outline = torch.zeros(len(points), height + 1, width + 1, dtype=torch.bool, device=points.device)
    item = torch.arange(len(points), device=points.device)[:, None, None]
    steep = (step[..., 1].abs() > step[..., 0].abs())[..., None]
    for places, other, axis in ((y, width, 1), (x, height, 0)):
        at, valid = _along(points, following, step, places, axis, closed=True)
        valid = valid & (steep if axis else ~steep) & (at > -0.5) & (at < other - 0.5)
        line = torch.where(valid, (at + 0.5).floor(), float(other)).long()
        index = places.long().expand_as(line)
        outline.index_put_((item, index, line) if axis else (item, line, index), steep.new_ones(()))
    return (inside | outline[:, :height, :width])[:, None]


def _along(
    points: Tensor, following: Tensor, step: Tensor, places: Tensor, axis: int, closed: bool = False
) -> tuple[Tensor, Tensor]:
    """Where edges cross lines of samples, float64[n, m, k], and whether they reach them, bool[n, m, k].

    Args:
        points, following, step: ends of the edges, and the way between them, float64[n, m, 2].
        places: float64[k], the lines.
        axis: of the lines: 1: rows, 0: columns.
        closed: both ends belong to an edge; False: the lower one does, so that neighbours share no line.
    """
    start, stop = points[..., axis, None], following[..., axis, None]
    low, high = torch.minimum(start, stop), torch.maximum(start, stop)
    way = step[..., axis, None]
    slope = step[..., 1 - axis, None] / torch.where(way == 0, torch.ones_like(way), way)
    crossing = points[..., 1 - axis, None] + (places - start) * slope
    if closed:
        return crossing, (places >= low - 0.5) & (places <= high + 0.5)
    return crossing, (places >= low) & (places < high)


def dilated(masks: Tensor, radius: int) -> Tensor:
    """bool[n, 1, h, w]: ``cv2.dilate`` by the ellipse of ``2 * radius + 1``."""
    height, width = masks.shape[-2:]
    sums = F.pad(masks.float(), (radius + 1, radius, radius, radius)).cumsum(-1)
    covered = torch.zeros_like(masks, dtype=torch.float32)
    for k in range(2 * radius + 1):  # each row of the ellipse is a run of samples
        reach = round(radius * math.sqrt(max(0.0, 1 - ((k - radius) / radius) ** 2)))
        rows = sums[..., k : k + height, :]
        first, last = radius - reach, radius + reach + 1
        covered += rows[..., last : last + width] - rows[..., first : first + width]
    return covered > 0.5


def distance(masks: Tensor, most: float) -> Tensor:
    """``cv2.distanceTransform`` (DIST_L2, 3 x 3): distance to the next sample outside, exact up to ``most``.

    Args:
        masks: bool[n, 1, h, w].
        most: distances above it may come out larger.
    """
    far = torch.where(masks, 1e6, 0.0)
    for _ in range(math.ceil(most / SIDEWAYS)):
        lines = torch.maximum(F.max_pool2d(-far, (1, 3), 1, (0, 1)), F.max_pool2d(-far, (3, 1), 1, (1, 0)))
        around = F.max_pool2d(-far, 3, 1, 1)
        far = torch.minimum(far, torch.minimum(SIDEWAYS - lines, DIAGONAL - around))
    return far
