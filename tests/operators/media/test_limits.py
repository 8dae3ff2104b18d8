"""Limits of a file's header, before anything is decoded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import pytest

from operators.media.limits import LimitError, MediaLimits
from operators.media.probe import probe_video
from tests.operators.media import synth

Zoo = Callable[[str], Path]


def test_the_length_is_that_of_pictures_and_sound(zoo: Zoo, tmp_path: Path) -> None:
    """A subtitle may lack an end, for which a muxer writes weeks."""
    text, path = tmp_path / "a.srt", tmp_path / "a.mkv"
    text.write_text("1\n00:00:00,200 --> 99:00:00,000\nline\n")
    limits = MediaLimits(max_hours=10 / 3600)
    for sound in (1.0, 20.0):
        with (
            av.open(str(zoo("cfr.mp4"))) as source,
            av.open(str(text)) as lines,
            av.open(str(path), "w") as out,
        ):
            streams = [source.streams.video[0], lines.streams.subtitles[0]]
            copies = [out.add_stream_from_template(stream) for stream in streams]
            audio = out.add_stream("aac", rate=48000, layout="mono")
            for container, copy in zip((source, lines), copies, strict=True):
                for packet in container.demux(container.streams[0]):
                    if packet.size:
                        packet.stream = copy
                        out.mux(packet)
            out.mux(audio.encode(synth.packed(synth.tone(sound), 48000, "mono")))
            out.mux(audio.encode(None))
        with av.open(str(path)) as written:
            assert (written.duration or 0) > 98 * 3_600_000_000
        if sound < 10:
            assert probe_video(str(path), limits).n_frames == 40
        else:
            with pytest.raises(LimitError, match=r"limits\.max_hours") as refused:
                probe_video(str(path), limits)
            assert str(path) in str(refused.value)
