"""face-alignment: the S3FD detector (Zhang et al. 2017) and the FAN-4 landmark network (Bulat & Tzimiropoulos
2017).

Their weights are never fetched: the backend works where the two files already lie in torch hub's cache.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import cv2
import numpy as np

from operators.faces.canonical import BOX, BOX_EYES, SIDE, TEMPLATE
from operators.faces.geometry import bounding_box
from retalk_models.installation import install_hint

#: File names under which torch hub caches what face-alignment 1.4 and 1.5 load.
DETECTOR_FILE = "s3fd-619a316812.pth"
LANDMARKS_FILE = "2DFAN4-11f355bf06.pth.tar"


def checkpoint_folder() -> Path:
    """Folder in which torch hub keeps files."""
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints"


def missing_weights() -> list[Path]:
    """The weight files that are not there."""
    folder = checkpoint_folder()
    return [folder / name for name in (DETECTOR_FILE, LANDMARKS_FILE) if not (folder / name).is_file()]


def is_installed() -> bool:
    """Return whether the package face-alignment, which the extra `fan` brings, is installed."""
    return importlib.util.find_spec("face_alignment") is not None


class FaceAlignmentBackend:
    """Detector, landmarks and confirmation on RGB pictures.

    Args:
        device: torch device.

    Raises:
        FileNotFoundError: the package or weights are missing; names the command or the files.
    """

    name = "face-alignment"
    colour = True

    def __init__(self, device: str) -> None:
        if missing := missing_weights():
            files = ", ".join(str(path) for path in missing)
            raise FileNotFoundError(
                f"the face backend face-alignment needs weights that are not there: {files}. Put the files there, or use the backend dlib"
            )
        if not is_installed():
            raise FileNotFoundError(
                f"the face backend face-alignment needs a package that is not installed: {install_hint('fan')}; or use the backend dlib"
            )
        import face_alignment

        # Compilation would write a cache of its own and change results with it; a mirrored second pass
        # doubles the time.
        self._networks = face_alignment.FaceAlignment(
            face_alignment.LandmarksType.TWO_D,
            device=device,
            flip_input=False,
            compile=False,
            max_batch_size=3,
            face_detector_kwargs={"path_to_detector": os.fspath(checkpoint_folder() / DETECTOR_FILE)},
        )
        # FAN was trained on boxes around the landmarks. Its heat maps have 64 cells across twice the box: the
        # mean over boxes shifted by a third of a cell each takes their steps out.
        box = bounding_box(TEMPLATE)
        cell = float((box[2:] - box[:2]).sum()) / 64
        self._boxes = [
            [float(v) for v in box + cell * np.array([x, y, x, y])]
            for x, y in ((-1 / 3, 0), (0, 1 / 3), (1 / 3, -1 / 3))
        ]

    def detect(self, picture: np.ndarray, threshold: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """Faces in RGB uint8[h, w, 3]: squares as the dlib detector's, float32[n, 4], and scores float32[n],
        best first.

        S3FD's probability p becomes the score 4 p - 2: sure faces are near 2, p = 0.5 is 0.
        """
        found = self._networks.face_detector.detect_from_image(np.ascontiguousarray(picture))
        rows = np.array(found, np.float32).reshape(-1, 5)
        rows = rows[np.argsort(-rows[:, 4], kind="stable")]
        scores = 4 * rows[:, 4] - 2
        # S3FD's boxes reach from the hair line to the chin and are narrower than high; dlib's are squares
        # around brows and chin.
        side = BOX_EYES / 2.1 * np.sqrt(np.maximum((rows[:, 2] - rows[:, 0]) * (rows[:, 3] - rows[:, 1]), 1))
        x = (rows[:, 0] + rows[:, 2]) / 2
        y = rows[:, 1] + 0.58 * (rows[:, 3] - rows[:, 1])
        boxes = np.stack([x - side / 2, y - side / 2, x + side / 2, y + side / 2], 1).astype(np.float32)
        kept = scores >= threshold
        return boxes[kept], scores[kept]

    def landmarks(self, crop: np.ndarray, exact: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """Points float64[68, 2] of the face in a canonical RGB crop, and the uncertainty float64[68] that
        their heat maps' peaks tell.
        """
        boxes = self._boxes if exact else self._boxes[:1]
        answers, peaks, _ = self._networks.get_landmarks_from_image(
            crop, detected_faces=boxes, return_landmark_score=True
        )
        # A sharp map peaks near 1; one that does not know, near 0.
        return np.array(answers, np.float64).mean(0), 0.005 / np.clip(
            np.array(peaks, np.float64).mean(0), 0.05, 1.0
        )

    def confirm(self, crop: np.ndarray) -> float:
        """S3FD's score for the face in the middle of a canonical crop, -1: none."""
        small = cv2.resize(crop, (SIDE // 2, SIDE // 2), interpolation=cv2.INTER_AREA)
        boxes, scores = self.detect(small, -2.0)
        centred = (
            np.abs((boxes[:, :2] + boxes[:, 2:]) / 2 - SIDE / 4).max(1) < BOX / 4
            if len(boxes)
            else np.zeros(0, bool)
        )
        return max(float(scores[centred].max()), -1.0) if centred.any() else -1.0
