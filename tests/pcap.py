"""Reads a pcap file of Ethernet frames: UDP datagrams, with IP fragments put together, and TCP segments.

For tests only.
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

DATA = Path(__file__).parent / "data"
CAPTURES = sorted(DATA.glob("*.pcap"))

_ETHERNET = 1
_IPV4 = 0x0800
_TCP = 6
_UDP = 17


class Captured(NamedTuple):
    """One UDP datagram or TCP segment as it went by."""

    source: str
    port: int
    target: str
    target_port: int
    data: bytes
    time: float = 0.0  # seconds since the epoch


class Capture(NamedTuple):
    """What one file holds."""

    datagrams: list[Captured]  # in the order in which they became complete
    incomplete: int  # how many the recording has only fragments of


def capture(path: Path, port: int = 2425) -> Capture:
    """Every UDP datagram to ``port``."""
    waiting: dict[tuple[bytes, bytes, int], dict[int, tuple[bytes, bool]]] = {}
    found = []
    for time, frame in _frames(path.read_bytes()):
        if struct.unpack_from("!H", frame, 12)[0] != _IPV4 or frame[23] != _UDP:
            continue
        packet = frame[14:]
        length, identity, fragment = struct.unpack_from("!HHH", packet, 2)
        source, target = packet[12:16], packet[16:20]
        pieces = waiting.setdefault((source, target, identity), {})
        pieces[(fragment & 0x1FFF) * 8] = (packet[(packet[0] & 15) * 4 : length], bool(fragment & 0x2000))
        whole = _whole(pieces)
        if whole is None:
            continue
        del waiting[source, target, identity]
        source_port, target_port, size = struct.unpack_from("!HHH", whole)
        if target_port == port:
            found.append(
                Captured(
                    str(IPv4Address(source)),
                    source_port,
                    str(IPv4Address(target)),
                    target_port,
                    whole[8:size],
                    time,
                )
            )
    return Capture(found, len(waiting))


def requests(path: Path, port: int = 2425) -> list[Captured]:
    """Every TCP segment with data to ``port``. The requests in the recordings fit one each."""
    found = []
    for time, frame in _frames(path.read_bytes()):
        if struct.unpack_from("!H", frame, 12)[0] != _IPV4 or frame[23] != _TCP:
            continue
        packet = frame[14:]
        (length,) = struct.unpack_from("!H", packet, 2)
        segment = packet[(packet[0] & 15) * 4 : length]
        source_port, target_port = struct.unpack_from("!HH", segment)
        data = segment[(segment[12] >> 4) * 4 :]
        if target_port == port and data:
            source, target = (str(IPv4Address(packet[at : at + 4])) for at in (12, 16))
            found.append(Captured(source, source_port, target, target_port, data, time))
    return found


def _frames(content: bytes) -> Iterator[tuple[float, bytes]]:
    magic, _, _, _, _, _, link = struct.unpack_from("<IHHiIII", content)
    if magic != 0xA1B2C3D4 or link != _ETHERNET:
        raise ValueError("not a little-endian pcap file of Ethernet frames")
    offset = 24
    while offset < len(content):
        seconds, micros, size, sent = struct.unpack_from("<IIII", content, offset)
        if size != sent:
            raise ValueError("frames are cut short")
        yield seconds + micros / 1e6, content[offset + 16 : offset + 16 + size]
        offset += 16 + size


def _whole(pieces: dict[int, tuple[bytes, bool]]) -> bytes | None:
    """The payload, if no fragment is missing."""
    payload = b""
    more = True
    while more:
        piece = pieces.get(len(payload))
        if piece is None:
            return None
        payload += piece[0]
        more = piece[1]
    return payload
