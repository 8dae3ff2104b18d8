"""Sounds whose channels QuickTime, CAF and AIFF name in an order of their own."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from operators.media.channel_names import WithoutNames, foreign_order
from operators.media.container import open_input


def sound(path: Path, layout: str, codec: str) -> Path:
    """Half a second of a tone in the first channel."""
    channels = av.AudioLayout(layout).nb_channels
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=16000, layout=layout)
        samples = np.zeros((1, 8000 * channels), np.int16)
        samples[0, ::channels] = 8000 * np.sin(np.arange(8000) * 0.2)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout=layout)
        frame.sample_rate = 16000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return path


@pytest.mark.parametrize(
    ("name", "layout", "codec"),
    [
        ("a.mov", "7.1", "pcm_s16le"),
        ("a.mov", "6.1", "pcm_s16le"),
        ("a.caf", "7.1", "pcm_s16le"),
        ("a.caf", "octagonal", "pcm_s16le"),
        ("a.mov", "7.1(wide)", "pcm_s16be"),
    ],
)
def test_a_sound_with_many_named_channels_is_read(tmp_path: Path, name: str, layout: str, codec: str) -> None:
    path = sound(tmp_path / name, layout, codec)
    with open_input(str(path)) as container:
        stream = container.streams.audio[0]
        frames = list(container.decode(stream))
        assert sum(frame.samples for frame in frames) == 8000
        assert {frame.layout.nb_channels for frame in frames} == {av.AudioLayout(layout).nb_channels}


def test_an_order_of_its_own_is_seen_before_anything_is_freed(tmp_path: Path) -> None:
    path = sound(tmp_path / "a.caf", "7.1", "pcm_s16le")
    with av.open(str(path)) as container:
        assert foreign_order(container).startswith("8 channels (")
    with av.open(WithoutNames(str(path))) as container:
        assert foreign_order(container) == ""


def test_names_in_ffmpegs_own_order_stay(tmp_path: Path) -> None:
    path = sound(tmp_path / "a.mov", "5.1", "pcm_s16le")
    with open_input(str(path)) as container:
        assert container.streams.audio[0].layout.name.startswith("5.1")


def test_only_the_names_differ(tmp_path: Path) -> None:
    path = sound(tmp_path / "a.caf", "7.1", "pcm_s16le")
    with WithoutNames(str(path)) as hidden:
        pieces = []
        while piece := hidden.read(7):  # boxes lie across the ends of pieces
            pieces.append(piece)
    data = path.read_bytes()
    assert b"".join(pieces) == data.replace(b"chan\0", b"free\0", 1)
