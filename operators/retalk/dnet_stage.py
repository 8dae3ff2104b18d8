"""The stage "dnet": the same face with a steady expression, as the reference that L-Net and E-Net draw from."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, ClassVar, Literal

import cv2
import numpy as np
import pyarrow as pa

from operators.columns import tensor
from operators.numeric import affine
from operators.numeric.masks import runs
from operators.retalk import coefficients, enhance, framing
from operators.retalk.align3d import five_points
from operators.retalk.coefficients import SCALE, SLICES
from operators.retalk.geometry import CROP, IDENTITY, REFERENCE
from operators.retalk.model_files import Precision
from operators.retalk.nets import Networks, NetworkStage, shared_networks
from operators.retalk.recon3d_stage import picture_coefficients
from operators.retalk.source import PICTURES, TEMPLATES, check_expression, template
from operators.segment import Segment


@dataclasses.dataclass(frozen=True)
class DNetOptions:
    """Options of `DNetStage`.

    Attributes:
        enabled: False: the frame's own face is the reference.
        expression: neutral, smile, a picture of a face whose expression is taken, or a file of 64 numbers
            (.npy, .txt, .csv).
        enhance: gpen: the reference is enhanced at 512 pixels before it is reduced to 256, as in the
            original; none: it is not.
        identity: E-Net's code of the reference is read here, once for all dubs; False: for
            enet.enabled=False, saves E-Net's files.
        weights: your own DNet.pt (more files: separated by commas), or the home of others than the official ones (its
            folder ``models``).
        precision: what networks compute in; auto: float32 on a CPU, and float16 on a
            GPU where that shows in no picture.
    """

    enabled: bool = True
    expression: str = "neutral"
    enhance: Literal["gpen", "none"] = "none"
    identity: bool = True
    weights: str = ""
    precision: Precision = "auto"

    def __post_init__(self) -> None:
        check_expression(self.expression)


class DNetStage(NetworkStage):
    """D-Net.

    Writes:
        reference: uint8[C, 256, 256, 3] RGB, the face box of the edited picture; 0 where not valid.
        identity: float32[C, 512], E-Net's code of it, which depends on nothing else: dubs of one video share
            it. 0 where there is none.

    Raises:
        ValueError: `DNetOptions.expression` is no template and no readable file, or a picture without a face.
    """

    name = "dnet"
    doing = "neutralising expressions"
    Options: ClassVar[type] = DNetOptions
    shares = True
    reads = pa.schema(
        [
            tensor("valid", "bool", "T"),
            tensor("landmarks", "float32", "T", 68, 2),
            tensor("coeffs", "float32", "T", 262),
            tensor("crop_boxes", "int64", "T", 4),
            tensor("crops", "uint8", "C", CROP, CROP, 3),
            tensor("face_boxes", "int64", "C", 4),
        ]
    )
    writes = pa.schema(
        [
            tensor("reference", "uint8", "C", REFERENCE, REFERENCE, 3),
            tensor("identity", "float32", "C", IDENTITY),
        ]
    )

    def halo(self, options: DNetOptions) -> tuple[int, int]:
        """The window of coefficients."""
        return (coefficients.BEFORE, coefficients.AFTER) if options.enabled else (0, 0)

    def model_files(self, options: DNetOptions) -> tuple[str, ...]:
        """See `Stage.model_files`."""
        reader = ("ENet.pth",) if options.identity else ()
        if not options.enabled:
            return reader
        target: tuple[str, ...] = ("expression.mat",) if options.expression in TEMPLATES else ()
        if options.expression.lower().endswith(PICTURES):
            target = ("face3d", "similarity_Lm3D_all.mat")
        return ("dnet", *target, *(("gpen",) if options.enhance == "gpen" else ()), *reader)

    def setup(self, device: str) -> None:
        """Load the networks."""
        self.networks = shared_networks(device, self.options.weights, self.options.precision)
        if self.options.enabled:
            self.networks.module("dnet")
        if self.options.identity:
            self.networks.module("enet", low_res=False)

    def compute(self, segment: Segment) -> dict[str, Any]:
        """See the class."""
        options: DNetOptions = self.options_for(segment)
        first = segment.core[0] - segment.frames[0]
        valid, crops = np.asarray(segment["valid"], bool), np.asarray(segment["crops"])
        boxes, face_boxes = np.asarray(segment["crop_boxes"]), np.asarray(segment["face_boxes"])
        chosen = np.flatnonzero(valid[first : first + len(crops)])
        reference = np.zeros((len(crops), REFERENCE, REFERENCE, 3), np.uint8)
        identity = np.zeros((len(crops), IDENTITY), np.float32)
        if not len(chosen):
            return {"reference": reference, "identity": identity}
        pictures = crops[chosen]
        if options.enabled:
            target = target_expression(options.expression, self.networks)
            rows, valid_runs = np.asarray(segment["coeffs"]), runs(valid)
            windows = np.stack([window(rows, boxes, first + int(c), valid_runs, target) for c in chosen])
            pictures = self.networks.edit(pictures, windows)
        into = [framing.into_box(boxes[first + c], CROP) for c in chosen]
        if options.enabled and options.enhance == "gpen":
            landmarks = np.asarray(segment["landmarks"])[first + chosen].astype(np.float64)
            five = [
                five_points(affine.apply(move, points)) for move, points in zip(into, landmarks, strict=True)
            ]
            pictures = enhanced(pictures, np.stack(five), self.networks)
        for c, move, picture in zip(chosen, into, pictures, strict=True):
            matrix = affine.compose(framing.into_box(face_boxes[c], REFERENCE), affine.invert(move))
            reference[c] = cv2.warpAffine(
                picture,
                matrix,
                (REFERENCE, REFERENCE),
                flags=cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REPLICATE,
            )
        if options.identity:
            identity[chosen] = self.networks.identity(reference[chosen])
        return {"reference": reference, "identity": identity}


def window(
    rows: np.ndarray, boxes: np.ndarray, t: int, valid_runs: list[tuple[int, int]], expression: np.ndarray
) -> np.ndarray:
    """D-Net's input float32[73, 26] for frame ``t``: neighbours inside its run of valid frames, in its own
    crop.

    Args:
        rows: float32[T, 262].
        boxes: int64[T, 4].
        t: index into both.
        valid_runs: `framing.runs`.
        expression: float32[64].
    """
    start, stop = next(run for run in valid_runs if run[0] <= t < run[1])
    around = np.clip(np.arange(t - coefficients.BEFORE, t + coefficients.AFTER + 1), start, stop - 1)
    moved = rows[around].copy()
    moved[:, SCALE:] = framing.move_pose(moved[:, SCALE:], boxes[around], boxes[t])
    parts = [moved[:, SLICES["exp"]], moved[:, SLICES["angle"]], moved[:, SLICES["trans"]], moved[:, SCALE:]]
    columns = np.concatenate(parts, axis=1).T.astype(np.float32)
    columns[: len(expression)] = expression[:, None]
    return columns


def enhanced(pictures: np.ndarray, points: np.ndarray, networks: Networks) -> np.ndarray:
    """D-Net pictures uint8[n, 256, 256, 3] with their faces, five points float[n, 5, 2], enhanced; a smooth border instead of a
    parsing.
    """
    inside = np.zeros((enhance.SIZE, enhance.SIZE), np.float32)
    inside[40:-40, 40:-40] = 1
    soft = cv2.GaussianBlur(inside, (0, 0), 20)
    better = np.empty_like(pictures)
    # A micro-batch at a time: faces of a whole row at 512 pixels are 200 MB.
    for start in range(0, len(pictures), networks.compute.batch):
        part = slice(start, start + networks.compute.batch)
        moves = [enhance.alignment(five)[:2] for five in points[part]]
        faces = networks.enhance(
            np.stack([enhance.aligned_face(p, m) for p, (m, _) in zip(pictures[part], moves, strict=True)])
        )
        for number, (picture, face, (_, back)) in enumerate(
            zip(pictures[part], faces, moves, strict=True), start
        ):
            weight = cv2.warpAffine(soft, back, (CROP, CROP))[..., None]
            # 512 pixels are shown on far fewer: averaged, not sampled.
            small = cv2.warpAffine(cv2.GaussianBlur(face, (0, 0), 0.7), back, (CROP, CROP))
            better[number] = np.rint(weight * small + (1 - weight) * picture).astype(np.uint8)
    return better


@functools.lru_cache(maxsize=16)
def target_expression(expression: str, networks: Networks) -> np.ndarray:
    """float32[64] that `DNetOptions.expression` stands for."""
    if not expression.lower().endswith(PICTURES):
        return template(expression, networks.registry)
    from operators.retalk.detectors import NetworkDetectors

    bgr = cv2.imread(expression, cv2.IMREAD_COLOR)
    if bgr is None:
        raise ValueError(f"expression {expression}: cannot be read as a picture")
    picture = np.ascontiguousarray(bgr[..., ::-1])
    landmarks = NetworkDetectors(networks).clip_landmarks(0, picture)
    if landmarks is None:
        raise ValueError(f"expression {expression}: no face found in the picture")
    return picture_coefficients(picture, landmarks, networks)[SLICES["exp"]].astype(np.float32)
