"""The mark of a dub's speech, in its assembly."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from operators.watermark.keys import MarkKey, dub_id
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
        self.tally = SpeechTally()

    def mark(self, blocks: Iterable[np.ndarray], rate: int) -> Iterator[np.ndarray]:
        """Mark float32[channels, n] blocks."""
        return marked_speech(self._key, self._id, blocks, rate, tally=self.tally)


def speech_marker(dub: DubPlan, secret: bytes) -> SpeechMarker | None:
    """Return what marks a dub's speech, None for a dub without a watermark; its id is noted in the dub."""
    asked = dub.dub.watermark
    if not asked or not secret:
        return None
    key = MarkKey(secret)
    dub.mark_id = dub_id(key, dub.key)
    return SpeechMarker(key, dub.mark_id)


def expect(dub: DubPlan, marker: SpeechMarker | None) -> None:
    """Note how strong the mark of a dub's speech should be (nothing where its audio is the source's)."""
    if marker is not None and dub.dub.audio != "keep":
        dub.mark_speech = round(marker.tally.expected, 1)
