"""The track of an output that the speech is in: alone, or in the place of a programme's centre channel."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Disposition

from operators.media.audio import audio_blocks, audio_channels
from operators.media.languages import container_language, language_code
from operators.media.loudness import Levelling, centred
from operators.media.soundtrack import AAC_LAYOUTS, RATE, USUAL_LAYOUTS, aac_packets, add_aac, with_centre

#: Takes blocks of a sound, float32[channels, n], and the rate; gives as many samples, changed.
SoundFilter = Callable[[Iterable[np.ndarray], int], Iterator[np.ndarray]]


@dataclasses.dataclass(frozen=True)
class SpeechTrack:
    """The sound of the speech's track.

    Attributes:
        speech: fsspec URL.
        level: of the speech.
        programme: file and stream that the speech is put into; None: it stands alone.
        origin: the file's time that is the output's 0, seconds.
        layout: one of the values of `AAC_LAYOUTS`.
        centre, channels: number of the programme's centre channel, and of all of them.
        mark: of the speech.
    """

    speech: str
    level: Levelling
    programme: tuple[str, int] | None = None
    origin: Fraction = Fraction(0)
    layout: str = ""
    centre: int = 0
    channels: int = 0
    mark: SoundFilter | None = None

    def __post_init__(self) -> None:
        if not self.layout:
            object.__setattr__(self, "layout", "mono" if self.level.channels == 1 else "stereo")

    def packets(
        self,
        stream: AudioStream,
        begin: Fraction,
        end: Fraction,
        programme_end: Fraction,
        heard: Callable[[np.ndarray], None] | None = None,
        mended: Callable[[int], None] | None = None,
    ) -> Iterator[Packet[Any]]:
        """Encode it, with the speech's time 0 at ``begin``, cut at ``end``, and a programme at its own; ``heard`` as of `aac_packets`,
        ``mended`` of the speech as of `audio_blocks`.
        """
        voice = self.level.blocks(self.speech, RATE, mended=mended)
        if self.mark is not None:
            voice = self.mark(voice, RATE)
        if self.programme is None:
            return aac_packets(stream, voice, begin, end, heard)
        url, index = self.programme
        bed = (block for block, _ in audio_blocks(url, RATE, index=index, zero=self.origin))
        voice = _first(voice, round((end - begin) * RATE))
        whole = with_centre(bed, voice, max(0, round(begin * RATE)), self.centre, self.channels)
        return aac_packets(stream, whole, Fraction(0), programme_end, heard)


def _first(blocks: Iterable[np.ndarray], count: int) -> Iterator[np.ndarray]:
    """The first samples of float32[channels, n] blocks."""
    for block in blocks:
        if count <= 0:
            return
        yield block[:, :count]
        count -= block.shape[1]


def in_the_centre(
    track: SpeechTrack, programme: tuple[str, int] | None, origin: Fraction, warnings: list[str]
) -> SpeechTrack:
    """The speech in the place of a programme's centre channel; as it is, with a note, where there is none."""
    layout, names = audio_channels(*programme) if programme else ("no audio", [])
    if (usual := USUAL_LAYOUTS.get(layout)) is not None:
        layout, names = usual, [channel.name for channel in av.AudioLayout(usual).channels]
    if programme is None or "FC" not in names or len(names) < 3 or layout not in AAC_LAYOUTS:
        warnings.append(
            f"{track.speech}: has a track of its own, the video's sound ({layout}) has no centre channel that AAC could keep"
        )
        return track
    warnings.append(
        f"{track.speech}: stands in the place of the centre channel of the video's sound ({layout}), encoded as AAC"
    )
    level = centred(track.level, track.speech)
    warnings += level.notes
    centre = names.index("FC")
    return SpeechTrack(
        *(track.speech, level, programme, origin, AAC_LAYOUTS[layout], centre, len(names), track.mark)
    )


def add_speech(
    container: OutputContainer,
    name: str,
    track: SpeechTrack,
    language: str | None,
    disposition: Disposition,
    warnings: list[str],
) -> AudioStream:
    """Add the speech's track."""
    stream = add_aac(container, track.layout)
    stream.disposition = disposition
    if language:
        code = language_code(language)
        if code is None and name != "mov":
            warnings.append(f"language {language!r} is no ISO 639 code: the speech is not tagged with it")
        elif code is not None:
            stream.metadata["language"] = container_language(name, code)
    return stream
