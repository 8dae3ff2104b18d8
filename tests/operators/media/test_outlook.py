"""Outputs that cannot be written are refused before anything is drawn."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest
from av.packet import Packet

from operators.media.codec_names import Encoding
from operators.media.outlook import check_carried_sound, encoding_outlook
from operators.media.probe import probe_video
from operators.storage.errors import MediaError
from tests.operators.media import synth
from tests.operators.media.segments import Zoo


@pytest.fixture(scope="module")
def undecodable(zoo: Zoo, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A video with good sound and a further FLAC track of which no packet decodes."""
    folder = tmp_path_factory.mktemp("undecodable")
    flac, path = folder / "a.flac", folder / "a.mkv"
    synth.write_audio(flac, synth.tone(0.2), codec="flac")
    random = np.random.default_rng(1)
    with av.open(str(zoo("cfr.mp4"))) as video, av.open(str(flac)) as sound, av.open(str(path), "w") as out:
        picture = out.add_stream_from_template(video.streams.video[0], opaque=True)
        good = out.add_stream("aac", rate=48000, layout="mono")
        bad = out.add_stream_from_template(sound.streams.audio[0], opaque=True)
        for packet in video.demux(video.streams.video[0]):
            if packet.size:
                packet.stream = picture
                out.mux(packet)
        out.mux(good.encode(synth.packed(synth.tone(1.6), 48000, "mono")))
        out.mux(good.encode(None))
        for i in range(110):
            junk: Packet[Any] = Packet(random.bytes(64))
            junk.pts = junk.dts = 10 * i
            junk.time_base, junk.stream = Fraction(1, 1000), bad
            out.mux(junk)
    return str(path)


@pytest.mark.parametrize(
    ("container", "audio", "place", "refused"),
    [
        ("mov", "replace", "track", True),
        ("mov", "keep", "track", True),
        ("mkv", "add", "track", False),
        ("mkv", "replace", "centre", False),
    ],
)
def test_sound_that_must_be_encoded_is_decoded_first(
    undecodable: str, container: str, audio: str, place: str, refused: bool
) -> None:
    if refused:
        with pytest.raises(
            MediaError,
            match=r"a\.mkv: this build of FFmpeg decodes next to none of the first 100 packets of its flac",
        ):
            check_carried_sound(undecodable, container, audio, place)
    else:
        check_carried_sound(undecodable, container, audio, place)


def test_a_codec_that_cannot_hold_the_pictures_is_refused(zoo: Zoo) -> None:
    small, odd = (probe_video(str(zoo(name))) for name in ("cfr.mp4", "odd444.mp4"))
    assert "cfr.mp4: DNxHR holds pictures of 256x120" in encoding_outlook(small, Encoding(codec="dnxhr"))
    assert "odd444.mp4: AV1 is written with 4:2:0" in encoding_outlook(odd, Encoding(codec="av1"))
    assert encoding_outlook(odd, Encoding()) == ""
