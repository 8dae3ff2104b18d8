"""A data set of drawn faces that speak: sentences of eSpeak NG's voices, and mouths that follow them as the engine exemplar's
predictor asks (phones and spectrum). Faces, voices, light and noise differ from person to person; nobody is shown.

    python -m benchmarks.drawn_talkers FOLDER --people 40
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.signal import lfilter

from benchmarks.talkin_data import SENTENCES
from operators.media.audio import load_audio
from operators.retalk.mel import SAMPLE_RATE
from operators.speech.predictor import predict_mouth
from operators.speech.sampling import sample_track
from pipelines.cli.speech_synthesis import speak
from pipelines.training.data.clips import signature, sound_at
from pipelines.training.data.finish import finish
from pipelines.training.data.reader import encoded
from pipelines.training.data.schema import COEFFICIENTS, RATE
from pipelines.training.data.store import DataSet, Receipt, Settings

VOICES = ("en-us", "en-us", "en-029", "en-gb-scotland", "en-gb-x-rp", "de", "es", "nl")
VARIANTS = ("", "+m1", "+m2", "+m3", "+m4", "+m5", "+m6", "+m7", "+f1", "+f2", "+f3", "+f4", "+f5")
#: Frames of a clip.
CLIP = 75
#: Side of the drawings before they are made small, and of the faces that they become.
DRAWN, SIDE = 288, 96


@dataclasses.dataclass(frozen=True)
class Look:
    """A drawn face; places and sizes in pixels of a 96 px face crop, colours RGB.

    Attributes:
        skin, lips, teeth, inside, background, hair: colours.
        place: centre of the mouth.
        size: of the mouth, 1: 32 px wide.
        lip: thickness of upper and lower lip.
        gap: opening of the mouth for one standard deviation of the track.
        rest: opening where the track is 0, in such deviations.
        smile: how far the corners lie above the middle.
        beard: 0..1, how much of the hair's colour the lower face has.
        light: brightness from left to right and from top to bottom.
        noise, blur: of the camera.
    """

    skin: np.ndarray
    lips: np.ndarray
    teeth: np.ndarray
    inside: np.ndarray
    background: np.ndarray
    hair: np.ndarray
    place: np.ndarray
    size: float
    lip: np.ndarray
    gap: float
    rest: float
    smile: float
    beard: float
    light: np.ndarray
    noise: float
    blur: float


def look_of(random: np.random.Generator) -> Look:
    """Draw a face by lot."""
    skin = np.array([205.0, 155, 125]) * random.uniform(0.35, 1.15) + random.normal(0, 8, 3)
    red = np.array([1.0, random.uniform(0.6, 0.9), random.uniform(0.6, 0.95)])
    return Look(
        skin=skin,
        lips=skin * red * random.uniform(0.7, 1.0),
        teeth=np.full(3, random.uniform(90, 220)),
        inside=np.array([45.0, 15, 15]) * random.uniform(0.3, 1.6),
        background=random.uniform(10, 240, 3),
        hair=random.uniform(10, 120) * np.array([1.0, 0.9, 0.75]),
        place=np.array([48.0, 69.5]) + random.normal(0, [1.5, 2.5]),
        size=random.uniform(0.8, 1.2),
        lip=random.uniform([2.0, 2.8], [4.0, 5.5]),
        gap=random.uniform(1.8, 3.8),
        rest=random.uniform(0.5, 1.2),
        smile=random.normal(1.0, 1.5),
        beard=float(random.choice([0.0, 0.0, random.uniform(0.2, 0.8)])),
        light=random.normal(0, 0.25, 2),
        noise=random.uniform(1, 5),
        blur=random.uniform(0.3, 1.1),
    )


def drawn(look: Look, opening: float, width: float, moved: np.ndarray, tilt: float) -> np.ndarray:
    """Draw a face, uint8[96, 96, 3] RGB.

    Args:
        look: of the person.
        opening: distance of the lips, pixels of the crop.
        width: half the mouth's, pixels.
        moved: of the head in the crop, pixels.
        tilt: of the head, radians.
    """
    scale = DRAWN / SIDE
    turn = np.array([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]])

    def fill(points: np.ndarray, color: np.ndarray) -> None:
        at = ((points - 48) @ turn.T + 48 + moved) * scale * 16
        cv2.fillPoly(picture, [np.rint(at).astype(np.int32)], color.tolist(), cv2.LINE_AA, 4)

    def oval(x: float, y: float, across: float, down: float) -> np.ndarray:
        angle = np.linspace(0, 2 * np.pi, 33)
        return np.stack([x + across * np.cos(angle), y + down * np.sin(angle)], 1)

    picture = np.empty((DRAWN, DRAWN, 3), np.float32)
    picture[:] = look.background
    chin = 90 + 0.5 * opening
    face = oval(48, 40, 44, 50)
    low = face[:, 1] > 40
    face[low, 1] = 40 + (face[low, 1] - 40) * (chin - 40) / 50
    fill(face, look.skin)
    if look.beard:
        beard = face.copy()
        beard[:, 1] = np.maximum(beard[:, 1], 60)
        fill(beard, look.skin * (1 - look.beard) + look.hair * look.beard)
    for side in (-1, 1):
        fill(oval(48 + 18 * side, 36, 6, 2.5), np.full(3, 60.0))
        fill(oval(48 + 18 * side, 28, 9, 1.5), look.hair)
        fill(oval(48 + 4 * side, 55.5, 2, 1.3), look.skin * 0.55)
    x = np.linspace(-1, 1, 25)
    arch, bow = (1 - x**2) ** 0.8, 1 - 0.3 * np.exp(-((x / 0.2) ** 2))
    across, corner = look.place[0] + width * x, look.place[1] - look.smile * x**2
    upper, lower = corner - 0.2 * opening * arch, corner + 0.8 * opening * arch
    top = upper - look.lip[0] * (1 - x**2) ** 0.6 * bow
    bottom = lower + look.lip[1] * (1 - x**2) ** 0.6

    def band(above: np.ndarray, below: np.ndarray) -> np.ndarray:
        return np.concatenate([np.stack([across, above], 1), np.stack([across, below], 1)[::-1]])

    fill(band(bottom, bottom + 2.5 * arch), look.skin * 0.85)
    fill(band(top, bottom), look.lips)
    fill(band(upper, lower), look.inside)
    if opening > 2:
        fill(band(upper, upper + np.minimum(0.35 * opening, 3.0) * arch), look.teeth)
    fill(band(corner - 0.2 * opening * arch - 0.3, corner - 0.2 * opening * arch + 0.3), look.lips * 0.6)
    small = cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    line = np.linspace(-1, 1, SIDE)
    shade = 1 + look.light[0] * line[None, :] + look.light[1] * line[:, None]
    return cv2.GaussianBlur(small * shade[..., None], (0, 0), look.blur)


def wander(random: np.random.Generator, count: int, step: int, size: float) -> np.ndarray:
    """A slow random walk around 0, float64[count], with a knot every ``step`` frames."""
    knots = random.normal(0, size, count // step + 3)
    return np.interp(np.arange(count) / step, np.arange(len(knots)), knots)


def sentence_sound(random: np.random.Generator, seconds: float, folder: Path) -> np.ndarray:
    """Some sentences of one voice, float32[n] at 16 kHz, as another room and microphone would give them."""
    order = random.permutation(len(SENTENCES))
    text = " ".join(SENTENCES[k] for k in order)
    voice = str(random.choice(VOICES)) + str(random.choice(VARIANTS))
    speak(text, folder / "voice.wav", voice=voice, words_per_minute=int(random.integers(125, 195)))
    sound = load_audio(str(folder / "voice.wav"), rate=SAMPLE_RATE)[: int(seconds * SAMPLE_RATE)]
    sound = lfilter([1.0, random.uniform(-0.5, 0.6)], [1.0], sound)
    sound = sound / np.abs(sound).max() * random.uniform(0.1, 0.9)
    noise = np.sqrt(np.mean(sound**2)) * 10 ** (-random.uniform(18, 45) / 20)
    hiss = lfilter([1.0], [1.0, -random.uniform(0, 0.95)], random.normal(0, 1, len(sound)))
    return (sound + hiss / hiss.std() * noise).astype(np.float32)


def talker(name: str, seed: int, clips: int, folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the clips of a person, rows of `pipelines.training.data.schema.CLIP`."""
    random = np.random.default_rng(seed)
    look = look_of(random)
    sound = sentence_sound(random, clips * CLIP / RATE + 0.5, folder)
    count = min(clips * CLIP, int(len(sound) / SAMPLE_RATE * RATE))
    track, times = predict_mouth(sound), np.arange(count) / RATE
    opening = np.clip((sample_track(track.opening, times) + look.rest) * look.gap, 0, 16) * look.size
    width = 16 * look.size * (1 + 0.1 * sample_track(track.width, times))
    opening = np.maximum(opening + wander(random, count, 3, 0.3), 0)
    moved = np.stack([wander(random, count, 12, 1.0), wander(random, count, 12, 1.0)], 1)
    tilt, smile = wander(random, count, 20, 0.05), wander(random, count, 30, 0.7)
    faces = []
    for t in range(count):
        one = dataclasses.replace(look, smile=look.smile + smile[t])
        picture = drawn(one, float(opening[t]), float(width[t]), moved[t], float(tilt[t]))
        picture += random.normal(0, look.noise, picture.shape)
        faces.append(np.clip(np.rint(picture), 0, 255).astype(np.uint8))
    for number in range(count // CLIP):
        first = number * CLIP
        samples, mel = sound_at(sound, first, CLIP)
        yield {
            "id": f"{name}/0/{first}",
            "source": name,
            "identity": name,
            "shot": 0,
            "first": first,
            "frames": CLIP,
            "face": float(SIDE),
            "sync_by": "",
            "sync_offset": 0.0,
            "sync_confidence": 0.0,
            "signature": signature(faces[first : first + CLIP], mel),
            "heads": [],
            "faces": encoded(np.array(faces[first : first + CLIP]), 92),
            "head_boxes": np.zeros((CLIP, 4), np.float32),
            "face_boxes": np.zeros((CLIP, 4), np.float32),
            "landmarks": np.zeros((CLIP, 68, 2), np.float32),
            "coefficients": np.zeros((0, COEFFICIENTS), np.float32),
            "mel": mel,
            "sound": samples,
        }


def drawn_set(folder: Path, people: int, clips: int = 5, validation: float = 0.2, seed: int = 0) -> DataSet:
    """Make a finished data set of drawn talkers, with faces of 96 pixels.

    Args:
        folder: of the data set.
        people: identities; each has a face and a voice of its own.
        clips: of each, at most, of three seconds.
        validation: share of the people that are held out.
        seed: of all.
    """
    settings = Settings(heads=0, faces=SIDE, validation=validation, test=0.0, seed=seed)
    data, receipts = DataSet(str(folder)), {}
    data.begin(settings, {"sources": "drawn"})
    with tempfile.TemporaryDirectory() as scratch:
        for number in range(people):
            shard = f"{number:05d}"
            rows = talker(f"person{number:03d}", 1000 * seed + number, clips, Path(scratch))
            receipts[shard] = data.write_shard(shard, rows, Receipt(seconds=clips * CLIP / RATE))
    finish(data, settings, receipts)
    return data


def main() -> None:
    """Make a data set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--people", type=int, default=40)
    parser.add_argument("--clips", type=int, default=5)
    args = parser.parse_args()
    print(drawn_set(args.folder, args.people, args.clips).url)


if __name__ == "__main__":
    main()
