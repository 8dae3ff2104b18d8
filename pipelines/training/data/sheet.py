"""A contact sheet of a data set: frames of some clips with their landmarks, for human eyes."""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image

from operators.evaluation.contact_sheet import stack, strip
from operators.retalk.framing import into_box
from operators.storage.files import atomic_write
from pipelines.errors import UsageError
from pipelines.training.data.reader import ClipSet
from pipelines.training.data.store import DataSet

#: Clips on the sheet, frames of each, height of a frame in pixels.
CLIPS, FRAMES, HEIGHT = 12, 8, 112
COLORS = {"train": (80, 220, 80), "validation": (90, 150, 255), "test": (255, 170, 60)}


def write_sheet(data: DataSet) -> str:
    """Write `sheet.jpg`: a row for each of up to 12 clips, evenly taken from the index; landmarks are green in training clips, blue in
    validation, orange in test.

    Returns:
        Its URL; "" where there is no clip or no picture.
    """
    try:
        clips = ClipSet(data.url, columns=["heads", "faces", "landmarks", "head_boxes", "face_boxes"])
    except UsageError:
        return ""
    rows = []
    for number in np.unique(np.linspace(0, len(clips) - 1, CLIPS).round().astype(int)).tolist():
        pictures = []
        color = COLORS[clips.index["split"][number].as_py()]
        for at in np.linspace(0, clips.frames[number] - 1, FRAMES).round().astype(int).tolist():
            clip = clips.read(number, at, 1)
            kind = "head" if len(clip["heads"]) else "face"
            if not len(clip[f"{kind}s"]):
                return ""
            pictures.append(
                _marked(clip[f"{kind}s"][0], clip["landmarks"][0], clip[f"{kind}_boxes"][0], color)
            )
        rows.append(strip(pictures, HEIGHT))
    url = data.file("sheet.jpg")
    with atomic_write(url) as path:
        Image.fromarray(stack(rows)).save(path, quality=90)
    return url


def _marked(
    picture: np.ndarray, landmarks: np.ndarray, box: np.ndarray, color: tuple[int, int, int]
) -> np.ndarray:
    """The picture at twice the sheet's height, with its landmarks."""
    side = 2 * HEIGHT
    shown = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
    transform = into_box(box, side)
    for x, y in landmarks @ transform[:, :2].T + transform[:, 2]:
        cv2.circle(shown, (round(float(x)), round(float(y))), 2, color, -1, cv2.LINE_AA)
    return shown
