"""Attacks on dubs, and how well their marks are read afterwards."""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from operators.media.audio import load_audio
from operators.watermark.code import decode
from operators.watermark.keys import MarkKey
from operators.watermark.speech_detector import Reading, read_speech
from pipelines.provenance.watermark_check import SURE, conclude, heard, read_seen, seen

RATE = 48000
#: What carries a mark.
CARRIERS = ("speech", "picture")


def half(picture: np.ndarray) -> np.ndarray:
    """A picture of half the width and height."""
    height, width = (n // 4 * 2 for n in picture.shape[:2])
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)


def crop(picture: np.ndarray) -> np.ndarray:
    """A picture without 5 % of its width and height."""
    height, width = (n // 2 * 2 for n in picture.shape[:2])
    top, left = height * 3 // 100, width * 2 // 100
    return picture[top : top + height * 19 // 40 * 2, left : left + width * 19 // 40 * 2]


def brighter(picture: np.ndarray) -> np.ndarray:
    """A picture that is 12 levels brighter."""
    return cv2.add(picture, (12, 12, 12, 0))


def gamma(picture: np.ndarray) -> np.ndarray:
    """A picture with a gamma of 0.85."""
    return np.rint(255 * (np.arange(256) / 255) ** 0.85).astype(np.uint8)[picture]


def same(picture: np.ndarray) -> np.ndarray:
    """The picture."""
    return picture


@dataclass(frozen=True)
class Attack:
    """Changes to a file.

    Attributes:
        pictures: change of the pictures; None: they stay as the output has them.
        codec: encoder of the pictures.
        crf: its quality.
        sound: encoder of the sound and bits a second; None: it stays as the output has it.
        fps: frames a second, by the nearest frame; 0: as they are.
        cut: 5 s from somewhere are kept.
    """

    pictures: Callable[[np.ndarray], np.ndarray] | None = None
    codec: str = "libx264"
    crf: int = 20
    sound: tuple[str, int] | None = None
    fps: int = 0
    cut: bool = False


AAC128, AAC64 = ("aac", 128000), ("aac", 64000)
ATTACKS: dict[str, Attack] = {
    "none": Attack(),
    "H.264 crf 28": Attack(same, crf=28, sound=AAC128),
    "HEVC crf 30": Attack(same, "libx265", 30, AAC128),
    "half size": Attack(half, sound=AAC128),
    "half size, crf 28": Attack(half, crf=28, sound=AAC128),
    "crop of 5 %": Attack(crop, sound=AAC128),
    "30 fps": Attack(same, fps=30, sound=AAC128),
    "brightness": Attack(brighter, sound=AAC128),
    "gamma": Attack(gamma, sound=AAC128),
    "AAC 64k": Attack(sound=AAC64),
    "MP3 96k": Attack(sound=("libmp3lame", 96000)),
    "5 s cut": Attack(same, sound=AAC128, cut=True),
    "5 s cut, half size, crf 28, AAC 64k": Attack(half, crf=28, sound=AAC64, cut=True),
}


class Source:
    """A dub, decoded once.

    Args:
        dub: its file.
        seed: decides where cuts begin.
    """

    def __init__(self, dub: Path, seed: int) -> None:
        self.dub = dub
        with av.open(str(dub)) as file:
            self.rate = Fraction(file.streams.video[0].average_rate or 25)
            self.frames = file.streams.video[0].frames
        self.speech = load_audio(str(dub), RATE)
        longest = min(self.frames / float(self.rate), len(self.speech) / RATE)
        self.begin = float(np.random.default_rng(seed).uniform(0, max(0.0, longest - 5)))

    def attacked_pictures(self, attack: Attack, path: Path) -> None:
        """Write a file of the changed pictures alone."""
        assert attack.pictures is not None
        rate = Fraction(attack.fps or self.rate)
        first = int(self.begin * self.rate) if attack.cut else 0
        last = first + int(5 * self.rate) if attack.cut else self.frames
        with av.open(str(self.dub)) as dub, av.open(str(path), "w") as file:
            options = {"crf": str(attack.crf), "preset": "veryfast"}
            if attack.codec == "libx265":
                options |= {"preset": "ultrafast", "x265-params": "log-level=error"}
            stream = file.add_stream(attack.codec, rate=rate, options=options)
            stream.pix_fmt = "yuv420p"
            written = 0
            for number, decoded in enumerate(dub.decode(video=0)):
                if not first <= number < last:
                    continue
                picture = np.ascontiguousarray(attack.pictures(decoded.to_ndarray(format="bgr24")))
                if not written:
                    stream.height, stream.width = picture.shape[:2]
                while written <= (number - first) / self.rate * rate:
                    file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
                    written += 1
            file.mux(stream.encode(None))

    def attacked_sound(self, attack: Attack, path: Path) -> None:
        """Write a file of the changed sound alone."""
        assert attack.sound is not None
        codec, bits = attack.sound
        speech = self.speech
        if attack.cut:
            speech = speech[int(self.begin * RATE) :][: 5 * RATE]
        with av.open(str(path), "w") as file:
            track = file.add_stream(codec, rate=RATE, layout="mono")
            track.bit_rate = bits
            for start in range(0, len(speech), 4800):
                block = av.AudioFrame.from_ndarray(speech[None, start : start + 4800], "fltp", "mono")
                block.rate, block.pts, block.time_base = RATE, start, Fraction(1, RATE)
                file.mux(track.encode(block))
            file.mux(track.encode(None))


def attack_dub(
    dub: Path, mark_id: str, key: MarkKey, other: MarkKey, seed: int, done: Collection[str] = ()
) -> Iterator[dict[str, Any]]:
    """Attack a dub in every way and read its marks; pictures and sound are attacked apart, as neither decoder sees the other.

    Args:
        dub: output of `retalk dub`.
        mark_id: its id.
        key: that it was marked with.
        other: a key that it was not marked with: its readings are those of files without a mark.
        seed: decides where cuts begin.
        done: names of attacks that are left out.

    Yields:
        A row for each attack: p-values of both keys, and the carriers that the id was read from.
    """
    source = Source(dub, seed)
    sounds: dict[tuple[Any, bool], dict[str, Reading]] = {}
    plain: dict[str, Reading] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, attack in ATTACKS.items():
            if name in done:
                continue
            path = Path(folder) / "attacked.mp4"
            if (attack.sound, attack.cut) not in sounds:
                if attack.sound is not None:
                    source.attacked_sound(attack, path)
                samples = heard(str(path if attack.sound else dub))
                assert samples is not None
                sounds[attack.sound, attack.cut] = {
                    "own": read_speech(key, samples), "other": read_speech(other, samples)
                }  # fmt: skip
            if attack.pictures is None and plain:
                pictures = plain
            else:
                if attack.pictures is not None:
                    source.attacked_pictures(attack, path)
                looks = seen(str(path if attack.pictures else dub))
                assert looks is not None
                pictures = {"own": read_seen(key, looks), "other": read_seen(other, looks)}
                if attack.pictures is None:
                    plain = pictures
            speech = sounds[attack.sound, attack.cut]
            row: dict[str, Any] = {"dub": dub.stem, "attack": name}
            for which, used in (("own", key), ("other", other)):
                readings = {"speech": speech[which], "picture": pictures[which]}
                finding = conclude(used, readings)
                row[which] = {
                    **{carrier: {"z": round(r.z, 3), "p": r.p} for carrier, r in readings.items()},
                    "state": finding.state,
                    "id": finding.ids[:1] == [mark_id],
                    "wrong": bool(finding.ids) and finding.ids != [mark_id],
                }
            softs = {"speech": speech["own"].soft, "picture": pictures["own"].soft}
            row["read"] = [carrier for carrier, soft in softs.items() if decode(key, soft).id == mark_id]
            yield row


def auc(marked: Sequence[float], unmarked: Sequence[float]) -> float:
    """Area under the ROC curve of scores: the share of pairs in which the marked one's is higher."""
    own, other = np.asarray(marked)[:, None], np.asarray(unmarked)[None]
    return float(((own > other) + 0.5 * (own == other)).mean())


def _score(row: dict[str, Any], which: str, carrier: str) -> float:
    """Higher for more of a mark: the least p-value of the carriers (`p` may be 0), ties broken by the deviates."""
    carriers = CARRIERS if carrier == "both" else (carrier,)
    found = [row[which][one] for one in carriers]
    return -float(np.log(max(min(one["p"] for one in found), 1e-300))) + 1e-3 * max(one["z"] for one in found)


def table(rows: Iterable[dict[str, Any]]) -> list[str]:
    """The attacks' rows as Markdown."""
    by: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by[row["attack"]].append(row)
    lines = [
        f"| attack | dubs | AUC (speech, picture) | found, p < {SURE:g} | id read | from speech alone | from the picture alone "
        "| median p, speech | median p, picture | largest p |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, group in by.items():
        areas = [
            auc([_score(r, "own", c) for r in group], [_score(r, "other", c) for r in group])
            for c in ("both", *CARRIERS)
        ]
        n = len(group)
        median = {c: float(np.median([row["own"][c]["p"] for row in group])) for c in CARRIERS}
        least = [min(row["own"][c]["p"] for c in CARRIERS) for row in group]
        lines.append(
            f"| {name} | {n} | {areas[0]:.3f} ({areas[1]:.3f}, {areas[2]:.3f}) "
            f"| {sum(p * 2 < SURE for p in least)} | {sum(row['own']['id'] for row in group)} "
            f"| {sum('speech' in row['read'] for row in group)} | {sum('picture' in row['read'] for row in group)} "
            f"| {median['speech']:.0e} | {median['picture']:.0e} | {max(least):.0e} |"
        )
    return lines


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a file of JSON lines; none where it is not there."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
