"""Tables of transport streams, and recordings joined of parts with other ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import pytest

from operators.media.probe import probe_video
from operators.media.transport import picture_pids
from operators.storage.errors import MediaError
from tests.operators.media import synth

Zoo = Callable[[str], Path]


@pytest.fixture
def parts(zoo: Zoo, tmp_path: Path) -> tuple[Path, Path]:
    """Two recordings, of which the second one's picture has another PID."""
    first, second = zoo("mpeg2.ts"), tmp_path / "other.ts"
    synth.remux(first, second, synth.read_track(first).packets, mpegts_start_pid="768")
    return first, second


def pid(path: Path) -> int:
    with av.open(str(path)) as container:
        return int(container.streams.video[0].id)


@pytest.mark.parametrize("kind", ["plain", "a time in front", "a checksum behind"])
def test_tables_of_each_kind_of_packets(parts: tuple[Path, Path], kind: str) -> None:
    front, behind = {"plain": (0, 0), "a time in front": (4, 0), "a checksum behind": (0, 16)}[kind]

    def data(path: Path) -> bytes:
        plain = path.read_bytes()
        packets = [plain[at : at + 188] for at in range(0, len(plain), 188)]
        return b"".join(bytes(front) + packet + bytes(behind) for packet in packets)

    first, second = map(pid, parts)
    assert first != second
    assert picture_pids(data(parts[0])[1000:]) == {first}
    assert picture_pids(data(parts[0]) + data(parts[1])) == {second}
    assert picture_pids(data(parts[0])[:-100] + data(parts[1])) == {second}


def test_a_table_longer_than_a_packet() -> None:
    streams = b"".join(bytes([0x0F, 0xE2, n, 0xF0, 6]) + b"\x0a\x04eng\0" for n in range(30))
    body = b"\0\1\xc1\0\0\xe1\0\xf0\0" + streams + b"\x1b\xe1\x23\xf0\0" + bytes(4)
    table = bytes([2, 0xB0 | len(body) >> 8, len(body) & 0xFF]) + body
    programmes = b"\0\xb0\x0d\0\1\xc1\0\0\0\1\xf0\0" + bytes(4)

    def packets(number: int, section: bytes) -> bytes:
        payload, count = b"\0" + section, -(-(len(section) + 1) // 184)
        return b"".join(
            bytes([0x47, (0x40 if i == 0 else 0) | number >> 8, number & 0xFF, 0x10 | i])
            + payload[184 * i : 184 * i + 184].ljust(184, b"\xff")
            for i in range(count)
        )

    stream = (packets(0, programmes) + packets(0x1000, table)) * 2
    assert picture_pids(stream) == {0x123}
    assert picture_pids(packets(0, programmes) * 6) is None
    assert picture_pids(bytes(5000)) is None


def test_a_picture_that_goes_on_under_another_pid_is_refused(
    parts: tuple[Path, Path], tmp_path: Path
) -> None:
    path = tmp_path / "joined.ts"
    path.write_bytes(parts[0].read_bytes() + parts[1].read_bytes())
    with pytest.raises(MediaError, match="joined from recordings with other PIDs") as refused:
        probe_video(str(path))
    assert str(path) in str(refused.value)
    assert f"0x{pid(parts[0]):x}, and the end of the file has 0x{pid(parts[1]):x}" in str(refused.value)
    assert probe_video(str(parts[1])).n_frames == probe_video(str(parts[0])).n_frames
