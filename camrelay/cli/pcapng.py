"""Writes datagrams as a pcapng file, which Wireshark and tshark open. See docs/decisions/0011-pcapng-by-ourselves.md.

IPv4 and UDP headers are made up here with correct lengths and checksums: the daemon never saw the real ones. Times have
microseconds; each packet says in a comment what a capture could not.
"""

from __future__ import annotations

import os
import stat
import struct
from contextlib import contextmanager
from socket import inet_aton
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Block types and options of the format: draft-ietf-opsawg-pcapng.
_SECTION: Final = 0x0A0D0D0A
_INTERFACE: Final = 1
_PACKET: Final = 6
_COMMENT: Final = 1
_INTERFACE_NAME: Final = 2
_APPLICATION: Final = 4
_FLAGS: Final = 2
_INBOUND, _OUTBOUND = 1, 2
_LINKTYPE_IPV4: Final = 228  # packets begin with the IPv4 header
_UDP: Final = 17
_DONT_FRAGMENT: Final = 0x4000  # or tshark waits for the other pieces of a large one that was put together
_USUAL_TTL: Final = 64


class Packet(NamedTuple):
    """One datagram. Addresses are dotted IPv4 text, "" where none is known; ``interface``: a name or ""."""

    time: float  # Unix seconds
    source: str
    source_port: int
    target: str
    target_port: int
    data: bytes
    ttl: int = 0  # 0: not known
    out: bool = False
    interface: str = ""
    comment: str = ""


class Writer:
    """One file. What was written is complete and readable at any moment (after ``flush``)."""

    def __init__(self, file: BinaryIO, application: str) -> None:
        self._file = file
        self._interfaces: dict[str, int] = {}
        head = struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1) + _options({_APPLICATION: application.encode()})
        file.write(_block(_SECTION, head))

    def write(self, packet: Packet) -> None:
        """Add one packet; its interface is described when it is first named."""
        interface = self._interfaces.get(packet.interface)
        if interface is None:
            interface = self._interfaces[packet.interface] = len(self._interfaces)
            name = _options({_INTERFACE_NAME: (packet.interface or "any").encode()})
            self._file.write(_block(_INTERFACE, struct.pack("<HHI", _LINKTYPE_IPV4, 0, 0) + name))
        frame = ipv4(packet)
        micros = round(packet.time * 1_000_000)
        head = struct.pack("<IIIII", interface, micros >> 32, micros & 0xFFFFFFFF, len(frame), len(frame))
        options = {
            _COMMENT: packet.comment.encode("utf-8", "replace"),
            _FLAGS: struct.pack("<I", _OUTBOUND if packet.out else _INBOUND),
        }
        self._file.write(_block(_PACKET, head + _padded(frame) + _options(options)))

    def flush(self) -> None:
        """Let others read what was written."""
        self._file.flush()


@contextmanager
def create(path: Path, application: str) -> Iterator[Writer]:
    """A new file, or an old one emptied, that only its owner can read: there are names in it."""
    number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(number, "wb") as file:
        if stat.S_ISREG(os.fstat(number).st_mode):  # not /dev/null; an old one may be readable by all
            os.fchmod(number, 0o600)
        yield Writer(file, application)


def ipv4(packet: Packet) -> bytes:
    """The whole IPv4 packet around the data."""
    source, target = inet_aton(packet.source or "0.0.0.0"), inet_aton(packet.target or "0.0.0.0")
    size = 8 + len(packet.data)
    ports = struct.pack("!HHH", packet.source_port, packet.target_port, size)
    pseudo = source + target + struct.pack("!HH", _UDP, size)
    # A sum of 0 is written as its other form: 0 means that there is none.
    udp = ports + struct.pack("!H", checksum(pseudo + ports + packet.data) or 0xFFFF) + packet.data
    before = struct.pack("!BBHHHBB", 0x45, 0, 20 + size, 0, _DONT_FRAGMENT, packet.ttl or _USUAL_TTL, _UDP)
    return before + struct.pack("!H", checksum(before + source + target)) + source + target + udp


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071) of these bytes, in which its own place is left out or zero."""
    data += bytes(len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _block(kind: int, body: bytes) -> bytes:
    size = len(body) + 12
    return struct.pack("<II", kind, size) + body + struct.pack("<I", size)


def _options(values: dict[int, bytes]) -> bytes:
    """Options in the order of their codes; empty ones are left out."""
    found = [
        struct.pack("<HH", code, len(value)) + _padded(value)
        for code, value in sorted(values.items())
        if value
    ]
    return b"".join(found) + bytes(4)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
