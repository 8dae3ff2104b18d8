"""Reasons why shots that are not dubbed are encoded and not copied (docs/media.md): should one fall away, this fails."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import av
import av.error
from av.bitstream import BitStreamFilterContext
from av.packet import Packet

from operators.media.encoders import EncoderOptions
from operators.media.probe import probe_video
from operators.media.reader import read_frames
from operators.media.writer import encode_segment
from tests.operators.media import synth
from tests.operators.media.segments import Zoo


def join(path: Path, parts: list[Path], in_band: bool) -> None:
    """Write the packets of files behind each other into one MP4 track with the parameters of the first."""
    offset = 0
    with av.open(str(path), "w") as out:
        copy = None
        for part in parts:
            with av.open(str(part)) as source:
                template = source.streams.video[0]
                copy = copy or out.add_stream_from_template(template, opaque=True)
                repeat = BitStreamFilterContext("h264_mp4toannexb", template) if in_band else None
                end = 0
                for packet in source.demux(template):
                    if not packet.size:
                        continue
                    pts, dts, key, duration = (
                        packet.pts or 0,
                        packet.dts or 0,
                        packet.is_keyframe,
                        packet.duration or 0,
                    )
                    base, data = packet.time_base, bytes(packet)
                    if repeat is not None:  # it empties the packet
                        data = b"".join(_with_lengths(bytes(one)) for one in repeat.filter(packet))
                    again: Packet[Any] = Packet(data)
                    again.pts, again.dts, again.duration = pts + offset, dts + offset, duration
                    again.time_base, again.stream, again.is_keyframe = base, copy, key
                    end = max(end, pts + duration)
                    out.mux(again)
                offset += end


def _with_lengths(units: bytes) -> bytes:
    """Units behind start codes as MP4 writes them, behind their lengths."""
    parts = [part for part in units.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1") if part]
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def test_pictures_of_a_source_and_ours_do_not_fit_under_one_set_of_parameters(
    zoo: Zoo, tmp_path: Path
) -> None:
    source, ours = zoo("interlaced.mp4"), tmp_path / "ours.mp4"
    info = probe_video(str(source))
    encode_segment(
        str(ours), ((f, f.pts) for f in read_frames(info.url, 0, info.n_frames, info)), info, EncoderOptions()
    )
    wanted = [digest for part in (source, ours) for _, digest in synth.decode_plain(part)]
    plain, in_band = tmp_path / "plain.mp4", tmp_path / "in-band.mp4"
    join(plain, [source, ours], in_band=False)
    with contextlib.suppress(av.error.FFmpegError):
        assert [digest for _, digest in synth.decode_plain(plain)] != wanted
    # With them in front of each key frame FFmpeg shows all: MP4 calls that avc3, which players of Apple do not open.
    join(in_band, [source, ours], in_band=True)
    assert [digest for _, digest in synth.decode_plain(in_band)] == wanted
