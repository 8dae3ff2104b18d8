"""The original's steps on one frame, quirks included; for parity mode and the benchmark's baseline.

See docs/reference.md#7-enhanced-references, docs/reference.md#9-faces-into-frames and
docs/reference.md#10-the-enhancers-call. Whole frames are uint8[h, w, 3] **BGR**, as the original holds them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from operators.retalk import enhance, restore
from operators.retalk.detectors import Detectors, Faces
from operators.retalk.nets import Networks
from operators.retalk.network_inputs import paste_face

Box = tuple[int, int, int, int]


def _flipped(picture: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(picture[..., ::-1])


class Steps:
    """The enhancer's and restorer's networks as the functions on pictures want them: BGR in, BGR out, one
    picture at a time.
    """

    def __init__(self, networks: Networks, restoration: str = "gfpgan-1.3") -> None:
        self.networks = networks
        self.restoration = restoration

    def _enhance(self, face: np.ndarray) -> np.ndarray:
        return _flipped(self.networks.enhance(_flipped(face)[None])[0])

    def _restore(self, face: np.ndarray) -> np.ndarray:
        return _flipped(self.networks.restore(_flipped(face)[None], self.restoration)[0])

    def _parse(self, face: np.ndarray) -> np.ndarray:
        return self.networks.parse(_flipped(face)[None])[0]

    def reference(self, stabilised: np.ndarray, faces: Faces) -> np.ndarray:
        """Step 5: a D-Net picture uint8[256, 256, 3] with its face enhanced."""
        return enhance.process(stabilised, stabilised, *faces, self._parse, enhance=self._enhance)

    def finish(
        self, frame: np.ndarray, face: np.ndarray, box: Box, out: int, detectors: Detectors
    ) -> Finished:
        """Step 6 behind the networks: paste, restore, blend the mouth, lay the face over the frame.

        Args:
            frame: the source frame.
            face: float32[384, 384, 3] 0 ... 1, or uint8, E-Net's.
            box: y1, y2, x1, x2.
            out: number of the output frame.
            detectors: that answer for it.
        """
        height, width = frame.shape[:2]
        exact = face if face.dtype != np.uint8 else (face / 255.0 + 1e-6).astype(np.float32)
        pasted = paste_face(frame, exact, box)
        restored = restore.restore(pasted, detectors.restoration_points(out, pasted), self._restore)
        y1, y2, x1, x2 = box
        labels = self._parse(resized(restored[y1:y2, x1:x2]))
        mask = enhance.mouth_mask(labels, box, (width, height))
        blended = enhance.blend_at_512(restored, pasted, mask.astype(np.float32), 10)
        final = enhance.process(blended, frame, *detectors.final_faces(out, blended), self._parse, box=box)
        return Finished(pasted, restored, blended, final)


class Finished(NamedTuple):
    """Results of `Steps.finish`, step by step; ``final`` is the frame that the original writes."""

    pasted: np.ndarray
    restored: np.ndarray
    blended: np.ndarray
    final: np.ndarray


def resized(face: np.ndarray) -> np.ndarray:
    """A picture as the parser is given it, 512 x 512."""
    import cv2

    return cv2.resize(face, (enhance.SIZE, enhance.SIZE))
