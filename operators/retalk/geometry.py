"""Sizes, regions and labels that the neural engine's stages share. Imports neither OpenCV nor SciPy."""

from __future__ import annotations

import dataclasses

from retalk_models.layers.region import Region

#: Side of D-Net's crop, of the face crops given to E-Net, of L-Net's faces, of the aligned square.
CROP, SIDE, LIPS, SQUARE = 256, 384, 96, 512
#: The reference is read at 256 (E-Net's style) and 96 (L-Net): nothing larger is handed on.
REFERENCE = 256
#: Numbers of E-Net's code.
IDENTITY = 512
#: Rows of the face box above which nothing is pasted, and from which everything is; between them the mask
#: rises. The networks are shown the upper half (192 rows) as it is.
RISE_FROM, RISE_TO = 176, 216
#: First row that E-Net computes: what lies above is the frame's own.
TOP = RISE_FROM
#: Pixels of the 384 box that the parser may go beyond the landmarks' outline.
NEAR = 20
#: Part of the aligned 512 square that the parser is shown: eyes to chin, ear to ear. Nothing else is asked of
#: it, and it is half the work.
PARSED = Region(192, 512, 64, 448)
#: The mouth in the aligned square, wide open too, by whatever template: what the restoring network must
#: compute. Its result fades out over the last `FADE` pixels.
MOUTH, FADE = Region(304, 464, 144, 368), 12
#: Grey around an aligned face, RGB; the original's, whose pictures are BGR.
GREY = (132, 133, 135)
#: Labels of ParseNet that make the face (skin, brows, eyes, nose, lips, inner mouth) and the mouth.
FACE_LABELS = (1, 2, 3, 4, 5, 6, 7, 10, 11, 12)
MOUTH_LABELS = (10, 11, 12)
#: Pixels of the 384 box over which the mask fades at its outline, and levels of the pyramid that joins face and
#: frame.
FEATHER, LEVELS = 8.0, 4


@dataclasses.dataclass(frozen=True)
class Geometry:
    """The sizes above as one value. Smaller ones are for tests: only the defaults are what networks were trained for.

    Attributes:
        crop: side of D-Net's crop, a multiple of 32.
        lips: side of L-Net's faces, a multiple of 8; E-Net's are four times as large.
        reference: side of the reference.
        parsed: part of the aligned square (512, which GFPGAN fixes) that the parser is shown.
        mouth: part of it that is restored.
        rise: rows between which the mask rises; the first a multiple of 4.
        near: as `NEAR`.
        fade: as `FADE`.
        feather: as `FEATHER`.
        levels: as `LEVELS`.
    """

    crop: int = CROP
    lips: int = LIPS
    reference: int = REFERENCE
    parsed: Region = PARSED
    mouth: Region = MOUTH
    rise: tuple[int, int] = (RISE_FROM, RISE_TO)
    near: int = NEAR
    fade: int = FADE
    feather: float = FEATHER
    levels: int = LEVELS

    @property
    def side(self) -> int:
        """Side of E-Net's faces."""
        return 4 * self.lips
