"""Properties of pictures, found by a look at a few of them."""

from __future__ import annotations

from pathlib import Path

import av

from operators.media.glance import glance
from tests.operators.media import synth

#: Matroska's element ChromaSitingVert with the value of "top" and of "half".
TOP, HALF = b"\x55\xb8\x81\x01", b"\x55\xb8\x81\x02"


def test_the_pictures_know_better_than_the_container_where_chroma_lies(tmp_path: Path) -> None:
    synth.write_video(tmp_path / "a.mp4", 4, options={"x264-params": "chromaloc=2"})
    with av.open(str(tmp_path / "a.mp4")) as source, av.open(str(tmp_path / "a.mkv"), "w") as out:
        target = out.add_stream_from_template(source.streams.video[0], opaque=True)
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = target
                out.mux(packet)
    content = (tmp_path / "a.mkv").read_bytes()
    assert content.count(TOP) == 1
    (tmp_path / "wrong.mkv").write_bytes(content.replace(TOP, HALF))
    assert [glance(str(tmp_path / name)).chroma_location for name in ("a.mp4", "a.mkv", "wrong.mkv")] == [
        2
    ] * 3
