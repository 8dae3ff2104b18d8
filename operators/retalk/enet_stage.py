"""The stage "enet": turns small speaking faces into full ones, restored, with the mask of the pasted region."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar, Literal

import cv2
import numpy as np
import pyarrow as pa

from operators.columns import tensor
from operators.numeric import affine
from operators.numeric.masks import smoothstep
from operators.retalk import enhance, framing, restore
from operators.retalk.align3d import five_points
from operators.retalk.emotion import UpperFace, action_units
from operators.retalk.enet_tensors import drawn_faces
from operators.retalk.geometry import (
    CROP,
    FACE_LABELS,
    FADE,
    FEATHER,
    GREY,
    IDENTITY,
    LIPS,
    MOUTH,
    MOUTH_LABELS,
    NEAR,
    PARSED,
    RISE_FROM,
    RISE_TO,
    SIDE,
    TOP,
)
from operators.retalk.model_files import Precision, Restoration, restoration_files
from operators.retalk.nets import NetworkStage, shared_networks
from operators.segment import Segment
from retalk_models.layers.region import Region

#: Edges of the part whose labels are computed are multiples of this: fewer shapes, and the network's own
#: coarsest step.
PARSER_STEP = 8


@dataclasses.dataclass(frozen=True)
class ENetOptions:
    """Options of `ENetStage`.

    Attributes:
        enabled: False: L-Net's small face is enlarged instead (dnet.identity=False then saves reading E-Net's
            code).
        restoration: gfpgan-1.3, gfpgan-1.4, gpen or none: what restores mouth and teeth.
        upper_face: original, angry, surprise or sad.
        mask: parsed: what the parser calls face, below the eyes; ellipse: without the parser.
        feather: pixels of the 384 box over which the mask fades at its outline.
        weights: your own ENet.pth (more files: separated by commas), or the home of others than the official ones (its
            folder ``models``). E-Net's code is read in the stage dnet:
            give that one the same file.
        precision: what networks compute in; auto: float32 on a CPU, and float16 on a
            GPU where that shows in no picture.
    """

    enabled: bool = True
    restoration: Restoration = "gfpgan-1.3"
    upper_face: Literal["original", "angry", "surprise", "sad"] = "original"
    mask: Literal["parsed", "ellipse"] = "parsed"
    feather: float = FEATHER
    weights: str = ""
    precision: Precision = "auto"

    def __post_init__(self) -> None:
        if not 0 <= self.feather <= SIDE:
            raise ValueError(f"feather {self.feather} must be from 0 to {SIDE} pixels")


class ENetStage(NetworkStage):
    """E-Net, restoration of the mouth, parsing, and upper-face emotion.

    Writes:
        face: uint8[N, 384, 384, 3] RGB of the face box; above the mask the frame's own.
        mask: uint8[N, 384, 384], 0 ... 255: where it is pasted. 0 everywhere where ``strength`` is 0.
    """

    name = "enet"
    doing = "refining faces"
    per = "dub"
    Options: ClassVar[type] = ENetOptions
    shares = True
    reads = pa.schema(
        [
            tensor("landmarks", "float32", "T", 68, 2),
            tensor("crop_boxes", "int64", "T", 4),
            tensor("crops", "uint8", "C", CROP, CROP, 3),
            tensor("face_boxes", "int64", "C", 4),
            tensor("faces", "uint8", "C", SIDE, SIDE, 3),
            tensor("identity", "float32", "C", IDENTITY),
            tensor("lips", "float32", "N", LIPS, LIPS, 3),
            tensor("strength", "float32", "N"),
        ]
    )
    writes = pa.schema(
        [tensor("face", "uint8", "N", SIDE, SIDE, 3), tensor("mask", "uint8", "N", SIDE, SIDE)]
    )

    def model_files(self, options: ENetOptions) -> tuple[str, ...]:
        """See `Stage.model_files`."""
        parts = [*(("ENet.pth",) if options.enabled else ()), *restoration_files(options.restoration)]
        parts += ["parsenet"] if options.mask == "parsed" or options.restoration != "none" else []
        return (*parts, *(("ganimation",) if options.upper_face != "original" else ()))

    def setup(self, device: str) -> None:
        """Load the networks."""
        self.networks = shared_networks(device, self.options.weights, self.options.precision)
        if self.options.enabled:
            self.networks.module("enet", low_res=False)

    def compute(self, segment: Segment) -> dict[str, Any]:
        """See the class."""
        options: ENetOptions = self.options_for(segment)
        strength = np.asarray(segment["strength"])
        count = len(strength)
        columns = {
            "face": np.zeros((count, SIDE, SIDE, 3), np.uint8),
            "mask": np.zeros((count, SIDE, SIDE), np.uint8),
        }
        # A micro-batch at a time: what lies between the networks is not kept for a whole row.
        size = max(1, self.networks.compute.batch)
        chosen = np.flatnonzero(strength > 0)
        for start in range(0, len(chosen), size):
            part = chosen[start : start + size]
            columns["face"][part], columns["mask"][part] = self._draw(segment, part, options)
        return columns

    def _draw(
        self, segment: Segment, part: np.ndarray, options: ENetOptions
    ) -> tuple[np.ndarray, np.ndarray]:
        """Faces and masks of output frames ``part``."""
        source = segment.source[part]
        core, t = source - segment.core[0], source - segment.frames[0]
        own, lips = np.asarray(segment["faces"])[core], np.asarray(segment["lips"])[part]
        if self.networks.compute.device.startswith("cuda") and usual(options):
            return self._draw_there(segment, core, t, lips, options)
        lower = self._lower(lips, np.asarray(segment["identity"])[core], options)
        if options.upper_face != "original":
            own = self._emote(own, options.upper_face)
        rise = ramp()[:, None, None]
        faces = own.copy()
        faces[:, TOP:] = np.rint(rise[TOP:] * lower + (1 - rise[TOP:]) * own[:, TOP:]).astype(np.uint8)
        boxes = np.asarray(segment["face_boxes"])[core]
        into = [framing.into_box(box, SIDE) for box in boxes]
        points = np.stack(
            [
                affine.apply(m, p)
                for m, p in zip(into, np.asarray(segment["landmarks"], np.float64)[t], strict=True)
            ]
        )
        around = [
            affine.compose(m, affine.invert(framing.into_box(box, CROP)))
            for m, box in zip(into, np.asarray(segment["crop_boxes"])[t], strict=True)
        ]
        crops = np.asarray(segment["crops"])[core]
        faces, masks = self._restore(faces, points, crops, around, options)
        whole = options.upper_face != "original"
        return faces, np.stack(
            [outline(m, p, options.feather, whole) for m, p in zip(masks, points, strict=True)]
        )

    def _draw_there(
        self, segment: Segment, core: np.ndarray, t: np.ndarray, lips: np.ndarray, options: ENetOptions
    ) -> tuple[np.ndarray, np.ndarray]:
        """`_draw` without coming back from the device; frames are counted from the core and from the halo on."""
        of_core, of_halo = ("faces", "identity", "crops", "face_boxes"), ("crop_boxes", "landmarks")
        own, identity, crops, boxes = (np.asarray(segment[name])[core] for name in of_core)
        heads, points = (np.asarray(segment[name])[t] for name in of_halo)
        pictures, places = (own, lips, known(identity), crops), (boxes, heads, points)
        return drawn_faces(self.networks, *pictures, *places, options.restoration, options.feather)

    def _lower(self, lips: np.ndarray, identity: np.ndarray, options: ENetOptions) -> np.ndarray:
        """float32[n, 384 - TOP, 384, 3] RGB 0 ... 255: the drawn faces from row `TOP` on."""
        if options.enabled:
            drawn = self.networks.draw(lips, known(identity), top=TOP)
        else:
            drawn = np.stack([cv2.resize(low, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) for low in lips])[
                :, TOP:
            ]
        return np.clip(drawn, 0, 1) * 255.0

    def _emote(self, faces: np.ndarray, name: UpperFace) -> np.ndarray:
        """Faces uint8[n, 384, 384, 3] RGB with another look of brows and eyes.

        GANimation sees 128 pixels: what it changes is enlarged and added, so that the picture keeps its own
            detail.
        """
        seen = faces.astype(np.float32) / 255
        neutral = np.stack(
            [cv2.resize(cv2.resize(f, (128, 128), interpolation=cv2.INTER_AREA), (SIDE, SIDE)) for f in seen]
        )
        change = (self.networks.emote(seen, action_units(name)) - neutral) * 255
        return np.clip(np.rint(faces + change * (1 - ramp()[:, None, None])), 0, 255).astype(np.uint8)

    def _restore(
        self,
        faces: np.ndarray,
        points: np.ndarray,
        crops: np.ndarray,
        around: list[np.ndarray],
        options: ENetOptions,
    ) -> tuple[np.ndarray, list[np.ndarray | None]]:
        """Faces with mouth and teeth restored, and float32[384, 384] of where the parser sees the face (None:
        it was not asked).
        """
        parsed = options.mask == "parsed"
        if options.restoration == "none" and not parsed:
            return faces, [None] * len(faces)
        five = [five_points(p) for p in points]
        matrices = [
            enhance.alignment(p)[0] if options.restoration == "gpen" else restore.alignment(p) for p in five
        ]
        aligned = np.stack(
            [in_context(*arguments) for arguments in zip(faces, crops, around, matrices, strict=True)]
        )
        restored = aligned.copy()
        if options.restoration != "none":
            restored[:, MOUTH.top : MOUTH.bottom, MOUTH.left : MOUTH.right] = self.networks.restore(
                aligned, options.restoration, MOUTH
            )
        labels = self._parse(restored, points, matrices, options)
        result, masks = [], list[np.ndarray | None]()
        for face, better, label, matrix in zip(faces, restored, labels, matrices, strict=True):
            back = affine.invert(matrix)
            if options.restoration != "none":
                weight = (
                    cv2.warpAffine(mouth_weight(label), back, (SIDE, SIDE))[..., None] * ramp()[:, None, None]
                )
                shown = cv2.warpAffine(better, back, (SIDE, SIDE))
                face = np.rint(weight * shown + (1 - weight) * face).astype(np.uint8)  # noqa: PLW2901
            result.append(face)
            skin = np.isin(label, FACE_LABELS).astype(np.float32)
            masks.append(cv2.warpAffine(skin, back, (SIDE, SIDE)) if parsed else None)
        return np.stack(result), masks

    def _parse(
        self, aligned: np.ndarray, points: np.ndarray, matrices: list[np.ndarray], options: ENetOptions
    ) -> np.ndarray:
        """The parser's labels uint8[n, 512, 512] of aligned faces, where anything depends on them; 0
        elsewhere.
        """
        labels = np.zeros(aligned.shape[:3], np.uint8)
        shown = aligned[:, PARSED.top : PARSED.bottom, PARSED.left : PARSED.right]
        if self.networks.compute.batch > 1:  # pictures of a micro-batch have one shape
            labels[:, PARSED.top : PARSED.bottom, PARSED.left : PARSED.right] = self.networks.parse(shown)
            return labels
        for label, picture, p, matrix in zip(labels, shown, points, matrices, strict=True):
            asked = labelled(p, matrix, options.feather, options.upper_face != "original")
            if asked.top == asked.bottom or asked.left == asked.right:
                continue  # the alignment puts the face beside the square
            found = self.networks.parse(picture[None], asked.moved(-PARSED.top, -PARSED.left))
            label[asked.top : asked.bottom, asked.left : asked.right] = found[0]
        return labels


def usual(options: ENetOptions) -> bool:
    """True for the options that the way without OpenCV knows (`operators.retalk.enet_tensors`)."""
    restored = options.restoration.startswith("gfpgan")
    return options.enabled and restored and options.upper_face == "original" and options.mask == "parsed"


def known(identity: np.ndarray) -> np.ndarray:
    """E-Net's codes float32[n, 512].

    Raises:
        ValueError: they were left out.
    """
    if not identity.any():
        raise ValueError(
            "E-Net needs the code that dnet.identity=False leaves out; set enet.enabled=False with it"
        )
    return identity


def labelled(points: np.ndarray, matrix: np.ndarray, feather: float, whole: bool) -> Region:
    """The part of `PARSED` whose labels `mouth_weight` and `outline` let through to what is pasted.

    It depends on the frame alone, not on its neighbours, nor on what is said.

    Args:
        points: float[68, 2], the frame's landmarks in the face box.
        matrix: float64[2, 3] from the face box into the aligned square.
        feather: of `outline`.
        whole: of `outline`.

    Returns:
        A region of the square, its edges multiples of `PARSER_STEP`.
    """
    # Above this row the mask is 0, and its outline is too far away to fade a row that is pasted
    # (`cv2.DIST_L2` counts a row 0.955).
    first = 0 if whole else max(0, RISE_FROM - math.ceil(feather / 0.95) - 1)
    jaw = points[0:27]
    low, high = np.floor(jaw.min(0)) - NEAR - 1, np.ceil(jaw.max(0)) + NEAR + 1
    face = seen_from(matrix, (low[0], max(low[1], first)), (high[0], high[1])).reached(
        1, restore.SIZE, restore.SIZE
    )
    pasted = seen_from(matrix, (0, 0 if whole else RISE_FROM), (SIDE - 1, SIDE - 1)).reached(
        FADE + 1, restore.SIZE, restore.SIZE
    )
    inner = Region(MOUTH.top + FADE, MOUTH.bottom - FADE, MOUTH.left + FADE, MOUTH.right - FADE)
    return face.joined(inner.shared(pasted)).aligned(PARSER_STEP).shared(PARSED)


def seen_from(matrix: np.ndarray, low: tuple[float, float], high: tuple[float, float]) -> Region:
    """Part of the aligned square under a rectangle of the face box, x and y of two corners, clipped to both."""
    x1, y1, x2, y2 = np.clip([*low, *high], 0, SIDE - 1)
    corners = affine.apply(matrix, np.array([(x1, y1), (x2, y1), (x2, y2), (x1, y2)]))
    (left, top), (right, bottom) = (
        np.floor(corners.min(0)).astype(int),
        np.ceil(corners.max(0)).astype(int) + 1,
    )
    side = restore.SIZE
    return Region(*(int(np.clip(edge, 0, side)) for edge in (top, bottom, left, right)))


def mouth_weight(labels: np.ndarray) -> np.ndarray:
    """Share of the restored picture, float32[512, 512]: 1 inside the mouth, 0 outside `MOUTH`.

    Args:
        labels: uint8[512, 512] of the parser.
    """
    mouth = np.zeros(labels.shape, np.float32)
    inner = slice(MOUTH.top + FADE, MOUTH.bottom - FADE), slice(MOUTH.left + FADE, MOUTH.right - FADE)
    mouth[inner] = np.isin(labels[inner], MOUTH_LABELS)
    return cv2.GaussianBlur(mouth, (2 * FADE + 1, 2 * FADE + 1), FADE / 3)


def ramp() -> np.ndarray:
    """float32[384]: 0 above `RISE_FROM`, 1 below `RISE_TO`, smooth between."""
    return smoothstep((np.arange(SIDE, dtype=np.float32) - RISE_FROM) / (RISE_TO - RISE_FROM))


def in_context(face: np.ndarray, crop: np.ndarray, around: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """An aligned face for the restoring network, uint8[512, 512, 3]: the drawn one, and around it the frame's
    crop.

    Args:
        face: uint8[384, 384, 3].
        crop: uint8[256, 256, 3], the head.
        around: float64[2, 3] from the crop into the face box.
        matrix: float64[2, 3] from the face box into the aligned square.
    """
    size = (restore.SIZE, restore.SIZE)
    canvas = cv2.warpAffine(
        crop, affine.compose(matrix, around), size, borderMode=cv2.BORDER_CONSTANT, borderValue=GREY
    )
    cv2.warpAffine(face, matrix, size, dst=canvas, borderMode=cv2.BORDER_TRANSPARENT)
    return canvas


def outline(parsed: np.ndarray | None, points: np.ndarray, feather: float, whole: bool) -> np.ndarray:
    """Mask of the region in which the drawn face is pasted.

    The frame's own jaw must be covered too: where the new mouth is more closed, the old chin would show below
    the new one.

    Args:
        parsed: float32[384, 384], face by the parser; None: an ellipse around the landmarks instead.
        points: float[68, 2], the frame's landmarks in the box.
        feather: pixels over which it fades.
        whole: the upper face changes as well.

    Returns:
        uint8[384, 384].
    """
    canvas = np.zeros((SIDE, SIDE), np.uint8)
    jaw = np.concatenate([points[0:17], points[26:16:-1]]) if parsed is not None else ellipse(points)
    cv2.fillPoly(canvas, [np.rint(jaw * 16).astype(np.int32)], 255, shift=4)
    mask = canvas.astype(np.float32) / 255
    if parsed is not None:
        # The parser adds what the landmarks miss, cheeks and the new chin; it is not believed further away
        # from them.
        near = cv2.dilate(canvas, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * NEAR + 1,) * 2)) > 0
        mask = np.maximum(mask, parsed * near)
    # Fading inwards only: beyond the face, and at the border of the box, nothing is pasted.
    mask[:, [0, -1]] = mask[[0, -1]] = 0
    distance = cv2.distanceTransform((mask > 0.5).astype(np.uint8), cv2.DIST_L2, 3)
    soft = smoothstep(distance / max(feather, 1e-3))
    return np.rint(soft * (1.0 if whole else ramp()[:, None]) * 255).astype(np.uint8)


def ellipse(points: np.ndarray) -> np.ndarray:
    """float[64, 2]: an ellipse through the jaw's widest points and the chin, around the mouth's middle."""
    mouth, chin = points[48:68].mean(0), points[8]
    across = (points[13] - points[3]) / 2
    down = (chin - mouth) * 1.02
    angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    return mouth + np.cos(angle)[:, None] * across + np.sin(angle)[:, None] * down
