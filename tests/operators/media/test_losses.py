"""Comparison of a written file with its source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import pytest

from operators.media.assemble import assemble
from operators.media.losses import container_tags, losses
from operators.media.probe import probe_video
from tests.operators.media import synth
from tests.operators.media.segments import segments_of

Zoo = Callable[[str], Path]


def test_a_place_is_the_same_however_it_is_written(zoo: Zoo, tmp_path: Path) -> None:
    source, output = tmp_path / "a.mkv", tmp_path / "a.mp4"
    with av.open(str(zoo("cfr.mp4"))) as read, av.open(str(source), "w") as out:
        out.metadata.update({"location": "+52.5-13.4/"})
        copy = out.add_stream_from_template(read.streams.video[0], opaque=True)
        for packet in read.demux(video=0):
            if packet.size:
                packet.stream = copy
                out.mux(packet)
    info = probe_video(str(source))
    assert assemble(str(output), segments_of(info, [0, info.n_frames], name="place"), str(source)) == []
    with av.open(str(output)) as written:
        tags = container_tags(written.metadata)
    assert tags["location"] != "+52.5-13.4/"
    for place, kept in (("+52.5-13.4/", True), ("+52.5+13.4/", False), ("+52.5-13.4+034/", False)):
        notes = losses(output, "mp4", {"location": place}, {}, [], 0)
        assert (notes == []) == kept, notes


@pytest.mark.parametrize("suffix", [".mov", ".mkv"])
def test_names_of_channels_that_are_not_read_are_noted(tmp_path: Path, suffix: str) -> None:
    source, output = tmp_path / "a.mov", tmp_path / f"out{suffix}"
    left, right = (av.AudioLayout(name).name for name in ("FL", "FR"))
    synth.write_video(tmp_path / "v.mp4", 10)
    with av.open(str(tmp_path / "v.mp4")) as read, av.open(str(source), "w") as out:
        copy = out.add_stream_from_template(read.streams.video[0], opaque=True)
        tracks = [out.add_stream("pcm_s16le", rate=48000, layout=layout) for layout in (left, right)]
        for packet in read.demux(video=0):
            if packet.size:
                packet.stream = copy
                out.mux(packet)
        for track, layout in zip(tracks, (left, right), strict=True):
            out.mux(track.encode(synth.packed(synth.tone(0.4), 48000, layout)))
            out.mux(track.encode(None))
    info = probe_video(str(source))
    notes = assemble(str(output), segments_of(info, [0, info.n_frames], name="names"), str(source))
    assert notes[:1] == [
        f"{source}: the names of its sound's channels are not read ({left}), only their order is kept"
    ]
