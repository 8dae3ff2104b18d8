"""Dense, smooth warps between two lower faces given by their landmarks; used by `composite` and `still`.

A warp is kept as a displacement on a coarse grid: ``source position = output position + displacement``. It is
the sum of one similarity (head motion) and a radial basis interpolant with Wendland's C2 kernel (compact
support, positive definite: H. Wendland 1995), which passes through the landmarks and dies away from them, so
that a moving chin drags its surroundings and leaves the rest of the picture alone.
"""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np

#: `UPPER_INNER[k]` and `LOWER_INNER[k]` lie above one another.
UPPER_INNER, LOWER_INNER = np.array([61, 62, 63]), np.array([67, 66, 65])

#: Share of the kernel's diagonal added to it: noise of the landmarks that the warp need not follow (they
#: jitter by some 0.2 % of the eyes' distance), and what keeps lips that touch (coinciding points) solvable.
SMOOTHING = 2e-3


def face_unit(landmarks: np.ndarray) -> float:
    """The face's size in pixels that all lengths of the renderer are fractions of: about the distance of the
    outer eye corners.

    A head turned sideways shortens the eyes' distance, a nodding one the nose: the larger of both, scaled
    alike, is taken.
    """
    eyes = float(np.linalg.norm(landmarks[45] - landmarks[36]))
    nose = float(np.linalg.norm(landmarks[33] - landmarks[27]))
    return max(eyes, 1.7 * nose, 1.0)


def face_axes(landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors (float64[2] each) to the picture's right along the eyes' line, and downwards at right
    angles to it.
    """
    right = (landmarks[42:48].mean(0) - landmarks[36:42].mean(0)).astype(np.float64)
    right /= max(float(np.linalg.norm(right)), 1e-6)
    return right, np.array([-right[1], right[0]])


def order_lips(landmarks: np.ndarray) -> np.ndarray:
    """The same landmarks with inner lips that crossed (lower one above the upper one, as detectors place them
    on shut mouths) put together.

    Args:
        landmarks: float[68, 2].

    Returns:
        float32[68, 2] copy.
    """
    fixed = np.array(landmarks, np.float32)
    _, down = face_axes(fixed)
    gap = (fixed[LOWER_INNER] - fixed[UPPER_INNER]) @ down
    crossed = np.minimum(gap, 0.0)[:, None] * down / 2
    fixed[UPPER_INNER] += crossed
    fixed[LOWER_INNER] -= crossed
    return fixed


def kernel(distance2: np.ndarray, radius: float) -> np.ndarray:
    """Wendland C2 kernel of squared distances (any shape): 1 at 0, 0 from ``radius`` on."""
    r = np.sqrt(distance2) * np.asarray(1.0 / radius, distance2.dtype)
    np.minimum(r, 1, out=r)
    s = (1 - r) ** 2
    return s * s * (4 * r + 1)


@dataclasses.dataclass(frozen=True)
class Field:
    """A displacement on a coarse grid over a crop.

    Attributes:
        grid: float32[gh, gw, 2], x and y displacement in pixels at the grid's nodes, which span the crop
            corner pixel to corner pixel.
        size: width and height of the crop in pixels.
    """

    grid: np.ndarray
    size: tuple[int, int]

    def dense(self) -> tuple[np.ndarray, np.ndarray]:
        """x and y displacement of every pixel, float32[h, w] each."""
        # OpenCV's warpAffine is slower and places its samples to a 32nd of a cell only.
        from operators.exemplar.warp_kernels import between_nodes

        x, y = between_nodes(np.ascontiguousarray(self.grid, np.float32), *self.size)
        return x, y

    def jacobian(self) -> np.ndarray:
        """Determinant of the map's derivative in every grid cell, float32[gh - 1, gw - 1]: folds where it is
        not above 0.
        """
        step_x = (self.size[0] - 1) / (self.grid.shape[1] - 1)
        step_y = (self.size[1] - 1) / (self.grid.shape[0] - 1)
        along_x = (np.diff(self.grid, axis=1) / step_x)[:-1]
        along_y = (np.diff(self.grid, axis=0) / step_y)[:, :-1]
        return (1 + along_x[..., 0]) * (1 + along_y[..., 1]) - along_x[..., 1] * along_y[..., 0]


def positions(
    dx: np.ndarray, dy: np.ndarray, origin: tuple[int, int] = (0, 0)
) -> tuple[np.ndarray, np.ndarray]:
    """Source position of every pixel under a displacement: two float32[h, w] maps for `cv2.remap`.

    Args:
        dx, dy: float32[h, w].
        origin: x and y of their first pixel.
    """
    x, y = origin
    across = np.arange(x, x + dx.shape[1], dtype=np.float32)
    down = np.arange(y, y + dy.shape[0], dtype=np.float32)
    return dx + across, dy + down[:, None]


def grid_nodes(size: tuple[int, int], step: float) -> np.ndarray:
    """Positions of a crop's grid nodes, float32[gh, gw, 2] (x, y), about ``step`` pixels apart, first and
    last on the corner pixels.
    """
    width, height = size
    x = np.linspace(0, width - 1, max(2, round(width / step) + 1), dtype=np.float32)
    y = np.linspace(0, height - 1, max(2, round(height / step) + 1), dtype=np.float32)
    nodes = np.empty((len(y), len(x), 2), np.float32)
    nodes[..., 0], nodes[..., 1] = x, y[:, None]
    return nodes


def solve_field(
    points: np.ndarray,
    moves: np.ndarray,
    nodes: np.ndarray,
    size: tuple[int, int],
    radius: float,
    smoothing: float = SMOOTHING,
) -> Field:
    """Spread displacements known at points over a crop.

    Args:
        points: float[K, 2], positions in the crop's pixels.
        moves: float[K, 2], displacement wanted at each.
        nodes: float32[gh, gw, 2] of `grid_nodes`.
        size: crop's width and height.
        radius: pixels after which a point has no influence.
        smoothing: see `SMOOTHING`.

    Returns:
        The field; exactly zero where all moves are zero.
    """
    from operators.exemplar.warp_kernels import influence

    centres = points.astype(np.float64)
    gram = kernel(((centres[:, None] - centres[None]) ** 2).sum(-1), radius)
    gram.flat[:: len(gram) + 1] += smoothing
    weights = np.linalg.solve(gram, moves.astype(np.float64)).astype(np.float32)
    spread = influence(nodes.reshape(-1, 2), centres.astype(np.float32), weights, radius)
    return Field(spread.reshape(nodes.shape), size)


def unfold(field: Field, least: float = 0.08, hidden: np.ndarray | None = None) -> Field:
    """The same field, smoothed until no cell of the grid is squeezed to less than ``least`` of its area:
    smooth fields do not fold.

    Args:
        field: displacements.
        least: see above.
        hidden: bool[gh, gw], nodes where folds may stay because nothing of them is shown.
    """
    seen = np.ones(np.subtract(field.grid.shape[:2], 1), bool)
    if hidden is not None:
        seen = ~(hidden[1:, 1:] & hidden[:-1, 1:] & hidden[1:, :-1] & hidden[:-1, :-1])

    def flat(grid: np.ndarray) -> bool:
        return bool((Field(grid, field.size).jacobian()[seen] >= least).all())

    grid = field.grid
    for sigma in (0.8, 1.4, 2.4, 4.0, 7.0):
        if flat(grid):
            return Field(grid, field.size)
        grid = cv2.GaussianBlur(field.grid, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
    # Still folded: shrink the move itself. The limit is the identity, which cannot fold.
    for share in (1.0, 0.7, 0.5, 0.3, 0.15):
        if flat(grid * np.float32(share)):
            return Field(grid * np.float32(share), field.size)
    return Field(np.zeros_like(grid), field.size)
