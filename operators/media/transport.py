"""Programme tables of MPEG transport streams (ISO/IEC 13818-1, 2.4.4): which streams of pictures a piece of one holds."""

from __future__ import annotations

from collections.abc import Iterator

#: Bytes of a packet by kind of file: plain, with a time in front (M2TS), with a checksum behind.
_PACKETS = (188, 192, 204)
_SYNC = 0x47
#: Packets whose first bytes must agree before a piece is taken for one of them.
_CERTAIN = 5
#: Types of streams that are pictures: MPEG-1, 2 and 4, H.264, JPEG 2000, H.265, H.266, AVS, AVS2, VC-1.
_VIDEO = {0x01, 0x02, 0x10, 0x1B, 0x21, 0x24, 0x33, 0x42, 0xD2, 0xEA}
_PAT, _PMT = 0, 2


def picture_pids(data: bytes) -> set[int] | None:
    """PIDs of streams of pictures in all programmes, by the last tables in a piece of a transport stream.

    Returns:
        The PIDs; None where the piece does not hold the tables of all programmes.
    """
    programmes: list[int] = []
    pictures: dict[int, set[int]] = {}
    sections: dict[int, bytearray] = {}
    for pid, begins, payload in _packets(data):
        if pid and pid not in programmes:
            continue
        if begins:
            sections[pid] = bytearray(payload[1 + payload[0] :])
        elif pid in sections:
            sections[pid] += payload
        table = _whole(sections.get(pid, b""))
        if table is None:
            continue
        del sections[pid]
        if pid == 0 and table[0] == _PAT:
            entries = [table[at : at + 4] for at in range(8, len(table) - 4, 4)]
            programmes = [_pid(entry[2:]) for entry in entries if entry[:2] != b"\0\0"]
            pictures = {key: value for key, value in pictures.items() if key in programmes}
        elif table[0] == _PMT:
            pictures[pid] = _pictures(table)
    if not programmes or len(pictures) < len(set(programmes)):
        return None
    return set().union(*pictures.values())


def _pictures(table: bytes) -> set[int]:
    found = set()
    at = 12 + _length(table[10:])
    while at + 5 <= len(table) - 4:
        if table[at] in _VIDEO:
            found.add(_pid(table[at + 1 :]))
        at += 5 + _length(table[at + 3 :])
    return found


def _packets(data: bytes) -> Iterator[tuple[int, bool, bytes]]:
    """PID, whether a section or a packet of a stream begins, and payload."""
    found = next(
        (
            (size, start)
            for size in _PACKETS
            for start in range(size)
            if start + _CERTAIN * size <= len(data)
            and all(data[start + i * size] == _SYNC for i in range(_CERTAIN))
        ),
        None,
    )
    if found is None:
        return
    size, at = found
    while at + _PACKETS[0] <= len(data):
        if data[at] != _SYNC or data[at + size : at + size + 1] not in (b"", b"\x47"):  # joined at any byte
            at = data.find(bytes([_SYNC]), at + 1)
            if at < 0:
                return
            continue
        packet = data[at : at + _PACKETS[0]]
        skipped = 4 + (1 + packet[4] if packet[3] & 0x20 else 0)
        if packet[3] & 0x10 and skipped < len(packet):
            yield _pid(packet[1:]), bool(packet[1] & 0x40), packet[skipped:]
        at += size


def _whole(section: bytes | bytearray) -> bytes | None:
    """A section without what follows it, None where its end is missing."""
    if len(section) < 3 or len(section) < (end := 3 + _length(section[1:])) or end < 12:
        return None
    return bytes(section[:end])


def _pid(data: bytes) -> int:
    return (data[0] & 0x1F) << 8 | data[1]


def _length(data: bytes | bytearray) -> int:
    return (data[0] & 0x0F) << 8 | data[1]
