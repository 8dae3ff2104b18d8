"""Damage to a file, made from a number: the same number and the same base give the same file."""

from __future__ import annotations

import io
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import av

from benchmarks.fuzzing.bases import BITEXACT, KINDS
from benchmarks.fuzzing.structure import Field, Structure, structure

#: Containers that put the length of a NAL unit in front of it; others have start codes.
_LENGTHS = (".mp4", ".mov", ".mkv", ".flv")


@dataclass(frozen=True)
class Sample:
    """A packet of the undamaged file; `at` is the place of its bytes in the file, -1 where they are not in one piece."""

    stream: int
    video: bool
    data: bytes
    pts: int | None
    dts: int | None
    duration: int
    key: bool
    at: int


class Undamaged:
    """The undamaged file of a kind, with what mutations ask of it."""

    def __init__(self, kind: str, data: bytes) -> None:
        self.kind, self.data, self.base = kind, data, KINDS[kind]

    @cached_property
    def structure(self) -> Structure:
        return structure(self.data, self.base.suffix)

    @cached_property
    def samples(self) -> list[Sample]:
        found = []
        with av.open(io.BytesIO(self.data)) as container:
            for packet in container.demux():
                if packet.size:
                    data, stream = bytes(packet), packet.stream
                    times = packet.pts, packet.dts, packet.duration or 0, packet.is_keyframe
                    found.append(
                        Sample(stream.index, stream.type == "video", data, *times, self.data.find(data))
                    )
        return found

    @cached_property
    def parameters(self) -> list[tuple[int, int]]:
        """Places of the decoders' parameters (extradata), as first byte and end."""
        with av.open(io.BytesIO(self.data)) as container:
            extra = [s.codec_context.extradata for s in container.streams if s.codec_context is not None]
        places = [(self.data.find(bytes(data)), len(data)) for data in extra if data]
        return [(at, at + length) for at, length in places if at >= 0]


def damaged(base: Undamaged, random_: random.Random) -> tuple[bytes, str]:
    """Damage a file once, or a few times.

    Returns:
        The file's bytes, and the names of the damages.
    """
    names = list(KINDS_OF_DAMAGE)
    weights = [KINDS_OF_DAMAGE[name][1] for name in names]
    chosen = random_.choices(names, weights, k=random_.choice((1, 1, 1, 2, 3)))
    # Places are those of the undamaged file: what changes its length comes last, another multiplexing first.
    chosen.sort(key=lambda name: (name != "packets", KINDS_OF_DAMAGE[name][2]))
    data = bytearray(base.data)
    for name in chosen:
        data[:] = data or b"\0"  # a damage may have taken all
        KINDS_OF_DAMAGE[name][0](data, base, random_)
    if base.base.suffix in (".ogv", ".ogg") and random_.random() < 0.9:
        _repair_pages(data)
    return bytes(data) or b"\0", "+".join(chosen)


def _place(data: bytearray, random_: random.Random) -> int:
    """A random place, often near one of the ends, where headers and indexes are."""
    at = random_.randrange(len(data) or 1)
    return random_.choice((at, at, at % 800, len(data) - 1 - at % 2000)) % (len(data) or 1)


def _flip(data: bytearray, base: Undamaged, random_: random.Random) -> None:
    for _ in range(random_.choice((1, 1, 2, 8, 64))):
        data[_place(data, random_)] ^= 1 << random_.randrange(8)


def _overwrite(data: bytearray, base: Undamaged, random_: random.Random) -> None:
    at, length = _place(data, random_), random_.choice((1, 2, 4, 16, 100, 1000))
    data[at : at + length] = random_.randbytes(min(length, len(data) - at))


def _zero(data: bytearray, base: Undamaged, random_: random.Random) -> None:
    at, length = _place(data, random_), random_.choice((4, 64, 512, 4096))
    length = min(length, len(data) - at)
    data[at : at + length] = bytes(length)


def _truncate(data: bytearray, base: Undamaged, random_: random.Random) -> None:
    del data[
        random_.choice((random_.randrange(1, len(data) + 1), max(1, len(data) - random_.randrange(1, 200)))) :
    ]


def _repeat(data: bytearray, base: Undamaged, random_: random.Random) -> None:
    at, length = _place(data, random_), random_.choice((1, 4, 64, 512, 4096))
    data[at:at] = data[at : at + length]


def _remove(data: bytearray, base: Undamaged, random_: random.Random) -> None:
    at = _place(data, random_)
    del data[at : at + random_.choice((1, 4, 64, 512, 4096))]


def _lie(data: bytearray, fields: list[Field], random_: random.Random) -> None:
    """Put another number into a field."""
    if not fields:
        return
    name = random_.choice(sorted({field.name for field in fields}))
    field = random_.choice([field for field in fields if field.name == name])
    order = "little" if field.little else "big"
    piece = data[field.at : field.at + field.length]
    if not piece:
        return
    value, most = int.from_bytes(piece, order), (1 << 8 * len(piece)) - 1
    lies = [0, 1, 2, most, most >> 1, (most >> 1) + 1, value + 1, value - 1, value * 2, value // 2, value + 8]
    lies += [
        value * 1000,
        value // 1000,
        value ^ (1 << random_.randrange(8 * len(piece))),
        random_.randrange(most + 1),
    ]
    lies += [random_.randrange(1 << random_.randrange(1, 8 * len(piece) + 1))]
    if len(piece) == 8:  # where Matroska and FLV hold such a number
        reals = (0.0, -1.0, 1e300, 1e-300, float("nan"), float("inf"), 1e6, 0.001)
        lies += [int.from_bytes(struct.pack(">d", real), "big") for real in reals]
    data[field.at : field.at + len(piece)] = (random_.choice(lies) & most).to_bytes(len(piece), order)


def _header(data: bytearray, base: Undamaged, random_: random.Random) -> None:
    for _ in range(random_.choice((1, 1, 1, 2, 4))):
        _lie(data, [f for f in base.structure.fields if f.kind == "header"], random_)


def _size(data: bytearray, base: Undamaged, random_: random.Random) -> None:
    _lie(data, [f for f in base.structure.fields if f.kind == "size"], random_)


def _payload(data: bytearray, base: Undamaged, random_: random.Random) -> None:
    """Damage what decoders read: NAL units, headers of slices and pictures, parameter sets."""
    if base.parameters and random_.random() < 0.2:
        at, stop = random_.choice(base.parameters)
        for _ in range(random_.choice((1, 2, 8))):
            data[random_.randrange(at, stop) % len(data)] ^= 1 << random_.randrange(8)
        return
    length_at, at, stop = _unit(base, random_)
    stop = min(stop, len(data))
    if at >= stop:
        return
    which = random_.randrange(5)
    if which == 0:
        data[at] = random_.randrange(256)
    elif which == 1:
        data[random_.randrange(at, min(stop, at + 12))] ^= 1 << random_.randrange(8)
    elif which == 2 and at - length_at == 4:
        data[length_at:at] = struct.pack(
            ">I", random_.choice((0, 1, stop - at + 1, 0xFFFFFFFF, 0x7FFFFFFF, 2))
        )
    elif which == 3:
        middle = random_.randrange(at, stop)
        count = min(stop - middle, random_.choice((1, 4, 32, 256)))
        data[middle : middle + count] = random_.randbytes(count)
    else:
        middle = random_.randrange(at, stop)
        data[middle:stop] = bytes(stop - middle)


def _unit(base: Undamaged, random_: random.Random) -> tuple[int, int, int]:
    """Choose a NAL unit, a picture or a piece of sound: place of its length, first byte, end in the file."""
    placed = [sample for sample in base.samples if sample.at >= 0]
    pictures = [sample for sample in placed if sample.video]
    if base.base.video and not pictures:  # its packets lie in pieces
        return random_.choice(
            _units(base.data, False) or [(at, at, stop) for at, stop in base.structure.parts]
        )
    sample = random_.choice(pictures if pictures and random_.random() < 0.85 else placed)
    units = _units(sample.data, base.base.suffix in _LENGTHS and sample.video) or [(0, 0, len(sample.data))]
    length_at, at, stop = random_.choice(units)
    return length_at + sample.at, at + sample.at, stop + sample.at


def _units(packet: bytes, lengths: bool) -> list[tuple[int, int, int]]:
    """NAL units of a packet: place of the length or start code, first byte, end."""
    found, at = [], 0
    if lengths:
        while at + 5 <= len(packet):
            size = struct.unpack(">I", packet[at : at + 4])[0]
            if not 0 < size <= len(packet) - at - 4:
                return []
            found.append((at, at + 4, at + 4 + size))
            at += 4 + size
        return found
    at = packet.find(b"\0\0\1")
    while at >= 0:
        after = packet.find(b"\0\0\1", at + 3)
        found.append((at, at + 3, after if after > 0 else len(packet)))
        at = after
    return found


def _parts(data: bytearray, base: Undamaged, random_: random.Random) -> None:
    """Exchange, repeat or drop boxes, packets or pages as a whole."""
    parts = [p for p in base.structure.parts if p[1] <= len(data)]
    if not parts:
        return
    at, stop = random_.choice(parts)
    which = random_.randrange(3)
    if which == 0:
        other = random_.choice(parts)
        (a, b), (c, d) = sorted([(at, stop), other])
        if b <= c:
            data[a:d] = data[c:d] + data[b:c] + data[a:b]
    elif which == 1:
        data[stop:stop] = data[at:stop]
    else:
        del data[at:stop]


def _packets(data: bytearray, base: Undamaged, random_: random.Random) -> None:
    """Multiplex the packets anew, some of them exchanged, dropped, repeated or with other times."""
    samples: list[Any] = [list(vars(sample).values()) for sample in base.samples]
    for _ in range(random_.choice((1, 1, 2, 5))):
        i, j, which = random_.randrange(len(samples)), random_.randrange(len(samples)), random_.randrange(7)
        if which == 0:
            samples[i], samples[j] = samples[j], samples[i]
        elif which == 1:
            samples[i][2], samples[j][2] = samples[j][2], samples[i][2]
        elif which == 2 and len(samples) > 1:
            del samples[i]
        elif which == 3:
            samples.insert(i, list(samples[i]))
        elif which == 4:
            samples[i][3] = (samples[i][3] or 0) + random_.choice(
                (-1, 1, 1000, 10**6, 1 << 31, 1 << 33, -(1 << 31))
            )
        elif which == 5:
            jump = random_.choice((1000, 90_000, 10**7, 1 << 31))
            for sample in samples[i:]:
                sample[3], sample[4] = (t if t is None else t + jump for t in (sample[3], sample[4]))
        else:
            samples[i][5] = random_.choice((0, -1, 1 << 30, 10**6))
    written, options = io.BytesIO(), {**BITEXACT, **base.base.muxer}
    try:
        with av.open(io.BytesIO(base.data)) as source:
            name = base.base.container or _MUXERS.get(base.base.suffix, base.base.suffix[1:])
            with av.open(written, "w", format=name, container_options=options) as container:
                streams = [container.add_stream_from_template(s, opaque=True) for s in source.streams]
                for stream, _, payload, pts, dts, duration, key, _ in samples:
                    packet: Any = av.Packet(payload)
                    packet.pts, packet.dts, packet.duration, packet.is_keyframe = (
                        pts,
                        dts,
                        max(0, duration),
                        key,
                    )
                    packet.time_base, packet.stream = source.streams[stream].time_base, streams[stream]
                    try:
                        container.mux(packet)
                    except av.error.FFmpegError:
                        continue  # the muxer does not take such times
    except (av.error.FFmpegError, ValueError, OverflowError):
        _flip(data, base, random_)
        return
    data[:] = written.getvalue() or data


_MUXERS = {".ts": "mpegts", ".mkv": "matroska", ".wmv": "asf", ".mpg": "mpeg", ".m4a": "ipod"}


def _repair_pages(data: bytearray) -> None:
    """Give Ogg pages a true checksum: a demuxer throws others away unread."""
    start = 0
    while data[start : start + 4] == b"OggS" and start + 27 < len(data):
        segments = data[start + 26]
        end = start + 27 + segments + sum(data[start + 27 : start + 27 + segments])
        page = data[start:end]
        if len(page) < 27:
            return
        page[22:26] = bytes(4)
        data[start + 22 : start + 26] = struct.pack("<I", _checksum(page))
        start = end


def _table() -> list[int]:
    made = []
    for value in range(256):
        register = value << 24
        for _ in range(8):
            register = (register << 1) ^ (0x04C11DB7 if register & 0x80000000 else 0)
        made.append(register & 0xFFFFFFFF)
    return made


_CHECKSUMS = _table()


def _checksum(page: bytes | bytearray) -> int:
    register = 0
    for byte in page:
        register = ((register << 8) & 0xFFFFFFFF) ^ _CHECKSUMS[(register >> 24) ^ byte]
    return register


_Damage = Callable[[bytearray, Undamaged, random.Random], None]
#: Damages by name, each with how often it is taken and whether it changes places behind it.
KINDS_OF_DAMAGE: dict[str, tuple[_Damage, int, bool]] = {
    "flips": (_flip, 3, False),
    "bytes": (_overwrite, 2, False),
    "zeros": (_zero, 2, False),
    "header": (_header, 8, False),
    "size": (_size, 4, False),
    "payload": (_payload, 5, False),
    "packets": (_packets, 3, True),
    "parts": (_parts, 3, True),
    "repeat": (_repeat, 1, True),
    "remove": (_remove, 1, True),
    "truncate": (_truncate, 2, True),
}
