"""Text subtitles that overlap, in a container that shows one sample at a time."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from operators.media.assemble import assemble
from operators.media.probe import probe_video
from tests.operators.media import synth
from tests.operators.media.segments import Zoo, segments_of

Lines = list[tuple[float, float, str]]


def write_lines(path: Path, video: Path, lines: Lines, codec: str = "srt") -> None:
    """A Matroska file of a video and text lines, given by start, end and text."""
    with av.open(str(video)) as source, av.open(str(path), "w") as out:
        picture = out.add_stream_from_template(source.streams.video[0], opaque=True)
        text = out.add_stream_from_template(subtitle_template(path, codec), opaque=True)
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = picture
                out.mux(packet)
        for start, end, line in lines:
            packet = av.Packet(line.encode())
            packet.pts = packet.dts = round(1000 * start)
            packet.duration, packet.time_base, packet.stream = round(1000 * (end - start)), synth.MS, text
            out.mux(packet)


def subtitle_template(path: Path, codec: str) -> av.subtitles.stream.SubtitleStream:
    file = path.with_suffix(".srt")
    file.write_text("1\n00:00:00,000 --> 00:00:01,000\nx\n")
    assert codec == "srt"
    return av.open(str(file)).streams.subtitles[0]


def shown(path: str) -> Lines:
    """Samples that hold a text."""
    with av.open(path) as container:
        return [
            (
                float((p.pts or 0) * p.time_base),
                float(((p.pts or 0) + (p.duration or 0)) * p.time_base),
                bytes(p)[2 : 2 + int.from_bytes(bytes(p)[:2], "big")].decode(),
            )
            for p in container.demux(container.streams.subtitles[0])
            if p.size > 2
        ]


def at(lines: Lines, time: float) -> set[str]:
    return {part for start, end, text in lines if start <= time < end for part in text.split("\n")}


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
@pytest.mark.parametrize(
    "lines",
    [
        [(0.2, 1.5, "one"), (0.5, 1.0, "two"), (1.1, 1.3, "three"), (1.2, 1.45, "four")],
        [(0.2, 0.8, "one"), (0.2, 0.8, "two"), (0.2, 1.1, "three")],
        [(0.1, 0.5, "one"), (0.5, 0.9, "two"), (1.2, 1.4, "three")],
        [(0.0, 1.5, "one"), (0.001, 0.002, "two")],
    ],
)
def test_overlapping_lines_are_shown_when_they_were(
    zoo: Zoo, tmp_path: Path, lines: Lines, suffix: str
) -> None:
    path, output = tmp_path / "a.mkv", str(tmp_path / f"out{suffix}")
    write_lines(path, zoo("cfr.mp4"), lines)
    info = probe_video(str(path))
    (note,) = assemble(output, segments_of(info, [0, 40]), info.url)
    assert "subtitle track 1 (srt): converted to mov_text" in note
    found = shown(output)
    assert {round(start, 3) for start, _, _ in found} >= {start for start, _, _ in lines}
    for millisecond in range(0, 1600):
        time = millisecond / 1000 + 0.0005
        assert at(found, time) == at(lines, time), time


def test_lines_beyond_the_end_are_shortened(zoo: Zoo, tmp_path: Path) -> None:
    path, output = tmp_path / "a.mkv", str(tmp_path / "out.mp4")
    write_lines(path, zoo("cfr.mp4"), [(0.5, 9.0, "long"), (1.0, 8.0, "longer"), (5.0, 6.0, "never")])
    info = probe_video(str(path))
    assemble(output, segments_of(info, [0, 40]), info.url)
    found = shown(output)
    assert found[-1][1] == pytest.approx(float(info.end))
    assert {text for _, _, text in found} == {"long", "long\nlonger"}


def test_markup_of_a_line_does_not_reach_the_next(zoo: Zoo, tmp_path: Path) -> None:
    path, output = tmp_path / "a.mkv", str(tmp_path / "out.mp4")
    write_lines(
        path, zoo("cfr.mp4"), [(0.2, 1.0, "<i>one</i>"), (0.4, 0.8, "two"), (0.5, 0.7, "<b>x, y</b>")]
    )
    info = probe_video(str(path))
    assemble(output, segments_of(info, [0, 40]), info.url)
    assert at(shown(output), 0.6) == {"one", "two", "x, y"}
