"""The mark of a dub's speech, in its assembly."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from operators.watermark.keys import MarkKey, dub_id
from operators.watermark.learned import AUDIOSEAL, AudioSealMarker
from operators.watermark.speech import SpeechTally, marked_speech
from pipelines.planning.plans import DubPlan


class SpeechMarker:
    """Marks a speech, and knows how strong its mark should be afterwards.

    Args:
        key: decides the pattern.
        mark_id: of the dub.
    """

    def __init__(self, key: MarkKey, mark_id: str) -> None:
        self._key, self._id = key, mark_id
        self._tally = SpeechTally()

    @property
    def expected(self) -> float | None:
        """Expected strength of what was written; None: not known."""
        return self._tally.expected

    def mark(self, blocks: Iterable[np.ndarray], rate: int) -> Iterator[np.ndarray]:
        """Mark float32[channels, n] blocks."""
        return marked_speech(self._key, self._id, blocks, rate, tally=self._tally)


def speech_marker(dub: DubPlan, secret: bytes) -> SpeechMarker | AudioSealMarker | None:
    """Return what marks a dub's speech, None for a dub without a watermark; its id is noted in the dub."""
    asked = dub.dub.watermark
    if not asked or not secret:
        return None
    key = MarkKey(secret)
    dub.mark_id = dub_id(key, dub.key)
    if asked.get("speech") == AUDIOSEAL:
        return AudioSealMarker(dub.mark_id)
    return SpeechMarker(key, dub.mark_id)


def expect(dub: DubPlan, marker: SpeechMarker | AudioSealMarker | None, shown: Sequence[str]) -> None:
    """Note how strong the marks of a dub should be.

    Args:
        dub: nothing is noted of its speech where its audio is the source's, or of pictures that are not marked.
        marker: of its speech; None: the dub has no watermark.
        shown: paths of the segments that it was put together from; others than its own are not marked.
    """
    if marker is None:
        return
    if dub.dub.audio != "keep" and marker.expected is not None:
        dub.mark_speech = round(marker.expected, 1)
    if dub.dub.watermark.get("picture", "builtin") != "builtin":
        return  # how strong a learned mark should be is not known
    own = (receipt.mark_power for receipt in dub.receipts if receipt.path in shown)
    dub.mark_picture = round(math.sqrt(sum(own)), 1)
