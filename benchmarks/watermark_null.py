"""P-values of sound and pictures that no key has marked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.signal import resample_poly
from scipy.stats import kstest, norm

from benchmarks.exemplar import SUFFIXES
from operators.faces.backend import make_backend
from operators.media.audio import has_sound, load_audio
from operators.media.probe import probe_video
from operators.watermark.keys import MarkKey
from operators.watermark.picture_detector import Look, Looked, first_deviate
from operators.watermark.speech import BANDS, GROUP, STEP, band_energies, hop_of, speech_layout
from operators.watermark.speech_detector import RATE, deviate, evidence, read_speech
from pipelines.provenance.watermark_check import frames_with_mouths, read_seen

#: Seconds of a window and from one to the next, of sound and of pictures.
SOUND, PICTURES = (5.0, 2.5), (3.0, 2.0)
#: Levels of the tables.
LEVELS = (0.5, 0.2, 0.1, 0.05, 0.01, 0.001)


def sounds(paths: Sequence[Path]) -> Iterator[np.ndarray]:
    """Windows of sounds as they are, backwards, and slower and faster by a tenth: float32[n] at `RATE`."""
    for path in paths:
        own = load_audio(str(path), RATE)
        for samples in (own, own[::-1], resample_poly(own, 11, 10), resample_poly(own, 10, 11)):
            size, step = int(SOUND[0] * RATE), int(SOUND[1] * RATE)
            for start in range(0, max(1, len(samples) - size + 1), step):
                yield np.ascontiguousarray(samples[start : start + size], np.float32)


def pictures(paths: Sequence[Path]) -> Iterator[tuple[Looked, Looked]]:
    """Windows of videos as they are and mirrored: whole and around mouths."""
    for path in paths:
        info = probe_video(str(path))
        times = [float((pts - int(info.pts[0])) * info.time_base) for pts in info.pts.tolist()]
        starts = np.arange(0, max(0.1, times[-1] - PICTURES[0] + 0.1), PICTURES[1])
        looks = {(start, step): (Look(), Look()) for start in starts.tolist() for step in (1, -1)}
        frames = frames_with_mouths(str(path), 0, len(times), times, make_backend("dlib", "cpu"))
        for luma, seconds, where in frames:
            for (start, step), (whole, mouths) in looks.items():
                if start <= seconds < start + PICTURES[0]:
                    turned, there = (np.ascontiguousarray(one[:, ::step]) for one in (luma, where))
                    whole.add(turned, seconds - start)
                    mouths.add(turned, seconds - start, there)
        yield from ((whole.looked, mouths.looked) for whole, mouths in looks.values())


def first_of_speech(key: MarkKey, samples: np.ndarray) -> float:
    """The normal deviate of a sound at the first starting point alone."""
    energies = band_energies(samples, RATE, hop_of(RATE))
    loud = float(np.percentile(energies.max(axis=1), 95))
    tiles = energies[: len(energies) // GROUP * GROUP].reshape(-1, GROUP * BANDS)
    values, weights = evidence(tiles, key, 0, STEP, loud)
    return deviate(values, weights, speech_layout(key))


def look(folder: Path) -> Iterator[tuple[str, float, float]]:
    """Read every window with a key of its own.

    Yields:
        The carrier, the p-value of one starting point, and the one that `retalk verify` goes by.
    """
    clips = sorted(path for path in folder.rglob("*") if path.suffix in SUFFIXES)
    heard = [path for path in clips if has_sound(str(path))] + sorted(folder.rglob("*.wav"))
    for number, samples in enumerate(sounds(heard)):
        key = MarkKey(number.to_bytes(32, "big"))
        yield "speech", float(norm.sf(first_of_speech(key, samples))), read_speech(key, samples).p
    for number, looks in enumerate(pictures(clips)):
        key = MarkKey((1 << 20 | number).to_bytes(32, "big"))
        yield "picture", float(norm.sf(first_deviate(key, looks[0]))), read_seen(key, looks).p


def table(found: Iterable[tuple[str, float, float]]) -> list[str]:
    """Shares of p-values below levels, as Markdown, of what `look` gives."""
    by: dict[str, list[tuple[float, float]]] = {}
    for carrier, one, whole in found:
        by.setdefault(carrier, []).append((one, whole))
    lines = [
        f"| p-value | windows | {' | '.join(f'below {level:g}' for level in LEVELS)} | least | Kolmogorov-Smirnov |",
        "|---|---|" + "---|" * (len(LEVELS) + 2),
    ]
    for carrier, values in by.items():
        for index, name in enumerate(("at one starting point", "of `verify` (all starting points)")):
            own = np.array([value[index] for value in values])
            shares = " | ".join(f"{np.mean(own < level):.3f}" for level in LEVELS)
            fits: Any = f"p = {kstest(own, 'uniform').pvalue:.2f}" if not index else "clipped at 1"
            lines.append(f"| {carrier}, {name} | {len(own)} | {shares} | {own.min():.1e} | {fits} |")
    return lines
