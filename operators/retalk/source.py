"""Inputs of several stages of the neural engine beside the rows: speech as a mel-spectrogram, expression
templates, standard points.
"""

from __future__ import annotations

import os

import numpy as np

from operators.media.audio import load_audio
from operators.retalk.align3d import five_points
from operators.retalk.coefficients import SLICES
from operators.retalk.mel import SAMPLE_RATE, mel_spectrogram
from operators.storage.files import kept_by_file
from retalk_models.registry.registry import Registry
from retalk_models.weights.matlab import EXPRESSION_SIZE, load_alignment_points, load_expressions

#: Endings of expression pictures and of files of coefficients.
PICTURES, ARRAYS = (".png", ".jpg", ".jpeg"), (".npy", ".txt", ".csv")
TEMPLATES = ("neutral", "smile")


@kept_by_file(8)
def speech_mel(url: str) -> np.ndarray:
    """float32[80, columns], the spectrogram of a whole speech; the last few are kept, since the segments of a
    title share it.
    """
    spectrogram = mel_spectrogram(load_audio(url, SAMPLE_RATE)).astype(np.float32)
    spectrogram.setflags(write=False)
    return spectrogram


def standard_points(registry: Registry) -> np.ndarray:
    """float64[5, 3]: eyes, nose and corners of the mouth of the mean face."""
    return five_points(load_alignment_points(registry).astype(np.float64))


def check_expression(expression: str) -> None:
    """Refuse what `expression` of `operators.retalk` cannot be.

    Raises:
        ValueError: it is neither a template nor a file of a kind that is read, or the file is missing.
    """
    if expression in TEMPLATES:
        return
    ending = os.path.splitext(expression)[1].lower()
    if ending not in PICTURES + ARRAYS:
        raise ValueError(
            f"expression {expression!r} must be {', '.join(TEMPLATES)}, a picture ({', '.join(PICTURES)}) or a file of "
            f"{EXPRESSION_SIZE} numbers ({', '.join(ARRAYS)})"
        )
    if not os.path.isfile(expression):
        raise ValueError(f"expression {expression}: no such file")


def read_expression(path: str) -> np.ndarray:
    """64 expression numbers, or the expression part of a row of 257 or 262 coefficients, from .npy or text.

    Raises:
        ValueError: another number of values, or one that is not finite.
    """
    values = (
        np.load(path, allow_pickle=False)
        if path.lower().endswith(".npy")
        else np.loadtxt(path, delimiter="," if path.endswith(".csv") else None)
    )
    numbers = np.asarray(values, np.float32).reshape(-1)
    if numbers.size in (257, 262):
        numbers = numbers[SLICES["exp"]]
    if numbers.size != EXPRESSION_SIZE or not np.isfinite(numbers).all():
        raise ValueError(
            f"{path}: an expression is {EXPRESSION_SIZE} finite numbers (or a row of 257 coefficients), the file has {numbers.size}"
        )
    return numbers


def template(expression: str, registry: Registry) -> np.ndarray:
    """float32[64] of a template or a file of numbers (pictures:
    `operators.retalk.dnet_stage.target_expression`).
    """
    if expression in TEMPLATES:
        return load_expressions(registry)[expression]
    return read_expression(expression)
