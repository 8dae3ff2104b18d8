"""The committed digest of the original's pure functions: sampled results on made-up inputs that every machine
makes alike.

Written by ``python -m tests.operators.retalk.function_digest`` (needs ``../shared/parity``): only if the
functions equal the original's recorded results at that moment (`test_function_parity`); read everywhere.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from operators.evaluation.lse import mfcc, sync_score
from operators.numeric import pyramid
from operators.retalk import (
    align3d,
    boxes,
    coefficients,
    emotion,
    enhance,
    face_boxes,
    mel,
    oriented_crops,
    restore,
)
from operators.retalk import network_inputs as batches
from tests.parity import TOLERANCE
from tests.retalk_models.digest_inputs import picture
from tests.weight_recipe import generator

PATH = Path(__file__).with_name("function_digest.json")
PARITY_TEST = Path(__file__).with_name("test_function_parity.py")
NUM_SAMPLES = 32
#: 8-bit pictures: OpenCV and Pillow builds round differently, and OpenCV 4 warps up to 3 levels off on a few
#: per cent of the pixels.
PICTURE_LEVELS, PICTURE_SHARE, PICTURE_MEAN = 3, 0.9, 0.2

Arrays = dict[str, np.ndarray]


def numbers(name: str, *shape: int) -> np.ndarray:
    """Standard normal float64 numbers of a name."""
    return generator(f"function-{name}").standard_normal(shape)


def scene(name: str, height: int, width: int) -> np.ndarray:
    """A smooth colour picture uint8[h, w, 3] of a name; sides are multiples of 16."""
    return np.ascontiguousarray(picture(generator(f"function-{name}"), (3, height, width)).transpose(1, 2, 0))


def face(centre: tuple[float, float], eyes: float, turn: float = 0.0) -> np.ndarray:
    """68 points float64 of a schematic face: distance of the eyes in px, turned by ``turn`` radians."""
    points = 0.02 * numbers("face", 68, 2)
    points[36:42] += (-0.5, -0.4)
    points[42:48] += (0.5, -0.4)
    points[48] += (-0.35, 0.6)
    points[54] += (0.35, 0.6)
    cos, sin = np.cos(turn), np.sin(turn)
    return np.asarray(centre) + eyes * points @ np.array([[cos, sin], [-sin, cos]])


def five(centre: tuple[float, float], eyes: float) -> np.ndarray:
    """Eyes, nose and corners of the mouth, float64[5, 2]."""
    return np.asarray(centre) + eyes * (
        np.array([(-0.5, -0.4), (0.48, -0.42), (0.02, 0.1), (-0.36, 0.55), (0.38, 0.58)])
    )


def labels() -> np.ndarray:
    """A label map int64[512, 512] with a face, its eyes and its mouth."""
    y, x = np.mgrid[:512, :512]
    result = np.zeros((512, 512), np.int64)
    for label, cx, cy, rx, ry in (
        (1, 256, 270, 180, 230),
        (4, 180, 220, 30, 15),
        (5, 330, 220, 30, 15),
        (11, 256, 380, 70, 30),
        (10, 256, 384, 50, 12),
    ):
        result[((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1] = label
    return result


def sound() -> Arrays:
    wav = (0.1 * numbers("wav", 12000)).astype(np.float32)
    spectrogram = mel.mel_spectrogram(wav)
    starts = {f"starts_{fps}": mel.chunk_starts(spectrogram.shape[1], fps) for fps in (24, 25, 29.97)}
    return {"pre_emphasis": mel.pre_emphasis(wav), "basis": mel.mel_basis(), "mel": spectrogram, **starts}


def crop_224() -> Arrays:
    standard = np.array(
        [
            (-0.313, 0.291, 0.22),
            (0.307, 0.287, 0.23),
            (0.006, 0.004, 0.45),
            (-0.248, -0.311, 0.2),
            (0.257, -0.306, 0.19),
        ]
    )
    image = scene("crop", 240, 320)
    crop, parameters = align3d.align(image, face((170.3, 117.7), 61.4, 0.15), standard)
    without, its_parameters = align3d.align(image, None, standard)
    return {
        "crop": crop,
        "parameters": parameters,
        "crop_without": without,
        "parameters_without": its_parameters,
    }


def windows() -> Arrays:
    rows = numbers("rows", 40, 262).astype(np.float32)
    rows[:, 259] = 1 + 0.1 * np.abs(rows[:, 259])
    ratio = coefficients.crop_ratio(rows[17] + np.float32(0.01), rows)
    wanted = numbers("expression", 64).astype(np.float32)
    return {
        "ratio": np.array([ratio]),
        "window": coefficients.window(rows, 3, 1.07, wanted),
        "own": coefficients.window(rows, 38, 1.0),
        "indices": coefficients.window_indices(5, 31),
    }


def clip_crop() -> Arrays:
    found = [
        oriented_crops.clip_crop(np.rint(face((x, y), eyes, 0.1)), w, h)
        for x, y, eyes, w, h in ((300, 190, 70, 640, 360), (900, 700, 560, 1920, 1600))
    ]
    return {
        f"{name}_{k}": np.array(getattr(crop, name))
        for k, crop in enumerate(found)
        for name in ("crop", "quad", "box")
    }


def aligned() -> Arrays:
    image, quad = (
        scene("aligned", 256, 256),
        oriented_crops.oriented_crops(face((131.2, 120.4), 58.0, -0.2)[None])[0],
    )
    track = np.stack([face((120 + 3 * t, 128 - t), 56, 0.02 * t) for t in range(6)])
    crop, perspective = oriented_crops.aligned_crop(image, quad), oriented_crops.inverse_perspective(quad)
    return {
        "quad": quad,
        "smoothed": oriented_crops.oriented_crops(track, centre_sigma=1, axes_sigma=3),
        "larger": oriented_crops.oriented_crops(track, scale=1.2),
        "crop": crop,
        "perspective": perspective,
        "pasted": oriented_crops.paste_aligned(scene("under", 256, 256), crop, perspective),
    }


def face_box() -> Arrays:
    moving = np.rint(
        np.array([200, 100, 320, 260]) + 4 * numbers("boxes", 9, 4) + 5 * np.arange(9)[:, None]
    ).astype(np.int64)
    made = {"nine": moving, "three": moving[:3]}
    return {name: face_boxes.face_boxes(found, (0, 20, 3, 5), (360, 290)) for name, found in made.items()} | {
        "unsmoothed": face_boxes.face_boxes(moving, (0, 20, 0, 0), (640, 360), smooth=False)
    }


def network_inputs() -> Arrays:
    frame, quad = scene("frame", 240, 320), oriented_crops.oriented_crops(face((131.2, 120.4), 58.0)[None])[0]
    reference = batches.reference_frame(frame, scene("enhanced", 256, 256), quad, (20, 210, 70, 275))
    item = batches.face_input(frame, reference, (60, 200, 100, 230))
    pasted = batches.paste_face(
        frame, (scene("drawn", 384, 384) / 255).astype(np.float32), (60, 200, 100, 230)
    )
    return {"reference": reference, "pair": np.rint(item.pair * 255).astype(np.uint8), "pasted": pasted}


def detections() -> Arrays:
    sizes = [(24, 32), (12, 16), (6, 8), (3, 4), (2, 2), (1, 1)]
    face_scores = [1 / (1 + np.exp(3 - 2 * numbers(f"s3fd-{k}", *size))) for k, size in enumerate(sizes)]
    scores = [np.stack([1 - s, s]).astype(np.float32) for s in face_scores]
    s3fd = boxes.decode_s3fd(
        scores, [(0.3 * numbers(f"offsets-{k}", 4, *size)).astype(np.float32) for k, size in enumerate(sizes)]
    )
    n = len(boxes.retinaface_anchors(96, 128))
    score = 1 / (1 + np.exp(1 - 2 * numbers("retina", n)))
    retina, points = boxes.decode_retinaface(
        (0.4 * numbers("loc", n, 4)).astype(np.float32),
        np.stack([1 - score, score], 1).astype(np.float32),
        (0.5 * numbers("landm", n, 10)).astype(np.float32),
        (128, 96),
    )
    best = boxes.best_box(s3fd)
    assert best is not None
    return {
        "s3fd": s3fd,
        "s3fd_best": best,
        "anchors": boxes.retinaface_anchors(90, 130),
        "retinaface": retina,
        "points": points,
    }


def fan() -> Arrays:
    centre, scale = boxes.fan_region(np.array([60.5, 40.25, 190.0, 201.5, 0.9]))
    heat, found = boxes.decode_fan(numbers("heat", 68, 64, 64).astype(np.float32), centre, scale)
    return {
        "centre": centre,
        "scale": np.array([scale]),
        "crop": boxes.fan_crop(scene("fan", 240, 256), centre, scale),
        "heat": heat,
        "points": found,
    }


def blends() -> Arrays:
    a, b = scene("a", 512, 512), scene("b", 512, 512)
    mask = (labels() > 0).astype(np.float32)
    return {"six": pyramid.blend(a, b, mask, 6), "ten": pyramid.blend(a, b, mask, 10)}


def enhancer() -> Arrays:
    image, points = scene("enhancer", 256, 320), np.stack([five((150, 120), 60), five((230.5, 160.5), 38)])
    found = np.array([(100, 60, 210, 200, 0.99), (195, 120, 265, 210, 0.95)])
    forward, inverse, scale = enhance.alignment(points[0])
    sharp, soft = enhance.soften(enhance.label_mask(labels(), enhance.FACE_LABELS) / 255.0)
    original = scene("original", 256, 320)
    mouth = enhance.mouth_mask(labels(), (60, 200, 100, 210), (320, 256))
    return {
        "reference": enhance.reference_points(),
        "forward": forward,
        "inverse": inverse,
        "scale": np.array([scale]),
        "face": enhance.aligned_face(image, forward),
        "sharp": sharp,
        "soft": soft,
        "mouth": mouth * np.uint8(255),
        "mouth_blended": enhance.blend_at_512(image, original, mouth.astype(np.float32), 10),
        "enhanced": enhance.process(
            image, image, found, points, lambda _: labels(), enhance=lambda face: 255 - face
        ),
        "final": enhance.process(image, original, found, points, lambda _: labels(), box=(60, 200, 100, 210)),
    }


def restoration() -> Arrays:
    image, points = scene("restore", 256, 320), five((160, 130), 52)
    matrix = restore.alignment(points)
    centre = restore.centre_index(
        np.array([(0, 0, 90, 90), (120, 80, 210, 190), (250, 10, 300, 90)]), (320, 256)
    )
    return {
        "matrix": matrix,
        "face": restore.aligned_face(image, matrix),
        "restored": restore.restore(image, points, lambda face: 255 - face),
        "centre": np.array([centre]),
    }


def sync() -> Arrays:
    lips = numbers("lips", 60, 1024).astype(np.float32)
    score = sync_score(lips[3:], (lips[:-3] + 0.5 * numbers("sounds", 57, 1024)).astype(np.float32))
    wav = np.rint(3000 * numbers("mfcc", 8000)).astype(np.int16)
    return {
        "distances": score.distances,
        "scores": np.array([score.lse_d, score.lse_c]),
        "offset": np.array([score.offset]),
        "mfcc": mfcc(wav),
    }


def action_units() -> Arrays:
    return {
        f"{name}_{parity}": emotion.action_units(name, parity=parity)
        for name in ("sad", "angry", "surprise")
        for parity in (True, False)
    }


CASES: dict[str, Callable[[], Arrays]] = {
    case.__name__: case
    for case in (
        sound,
        crop_224,
        windows,
        clip_crop,
        aligned,
        face_box,
        network_inputs,
        detections,
        fan,
        blends,
        enhancer,
        restoration,
        sync,
        action_units,
    )
}


def sample(name: str, array: np.ndarray) -> np.ndarray:
    """Values at places that the generator names; small arrays whole."""
    flat = array.astype(np.float64).ravel()
    return (
        flat
        if flat.size <= NUM_SAMPLES
        else flat[generator(f"digest-function-{name}").integers(0, flat.size, NUM_SAMPLES)]
    )


def digest(name: str) -> dict[str, dict]:
    """Shape, kind of dtype, largest absolute value, mean and sampled values of each result of a case."""
    return {
        key: {
            "shape": list(array.shape),
            "kind": array.dtype.kind,
            "peak": float(f"{np.abs(array.astype(np.float64)).max():.6g}"),
            "mean": float(f"{array.astype(np.float64).mean():.8g}"),
            "values": [float(f"{v:.8g}") for v in sample(f"{name}-{key}", array)],
        }
        for key, array in CASES[name]().items()
    }


def assert_matches(name: str, expected: dict[str, dict]) -> None:
    """Hold a case's results against its digest: integers exactly, floats within the parity tolerance,
    pictures but for rounding.

    Raises:
        AssertionError: other names, shapes or kinds, or a value that differs by more than its kind may.
    """
    results = CASES[name]()
    assert set(results) == set(expected), name
    for key, array in results.items():
        entry, label = expected[key], f"{name} {key}"
        assert list(array.shape) == entry["shape"], label
        assert array.dtype.kind == entry["kind"], label
        gaps = np.abs(sample(f"{name}-{key}", array) - entry["values"])
        drift = abs(array.astype(np.float64).mean() - entry["mean"])
        if array.dtype.kind == "u":
            assert gaps.max() <= PICTURE_LEVELS, label
            assert (gaps <= 1).mean() >= PICTURE_SHARE, label
            assert drift <= PICTURE_MEAN, label
        else:
            allowed = 0 if array.dtype.kind == "i" else TOLERANCE * max(1.0, entry["peak"])
            assert gaps.max() <= allowed, f"{label}: differs by {gaps.max():.3g}, allowed {allowed:.3g}"
            assert drift <= max(allowed, 1e-6 * entry["peak"]), f"{label}: mean differs by {drift:.3g}"


def main() -> int:
    """Write the digest if the functions equal the recorded ones; exit code 1 if they do not or nothing is
    recorded here.
    """
    from tests.parity import goldens

    folder = goldens()
    if folder is None or not (folder / "functions").is_dir():
        print(
            "no recorded results beside this checkout: nothing to hold the functions against, digest not written",
            file=sys.stderr,
        )
        return 1
    if pytest.main(["-q", str(PARITY_TEST)]) != 0:
        print("the functions differ from the recorded results: digest not written", file=sys.stderr)
        return 1
    entries = [f"{json.dumps(name)}:{json.dumps(digest(name), separators=(',', ':'))}" for name in CASES]
    PATH.write_text("{" + ",\n".join(entries) + "}\n")
    print(f"{PATH.name}: {len(entries)} cases, {PATH.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
