"""What goes over the wires: one AF_PACKET socket per bridge, read when somebody asks.

The kernel stamps and keeps the datagrams, so there is no thread and nothing is missed while a test does
something else. Who really sent a datagram is told by its Ethernet source, since a relay's carry the addresses
of other people.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

ETH_P_IP = 0x0800
SO_ATTACH_FILTER = 26
SO_RCVBUFFORCE = 33
SO_TIMESTAMPNS = 35
SOL_PACKET = 263
PACKET_ADD_MEMBERSHIP = 1
PACKET_MR_PROMISC = 1
PACKET_OUTGOING = 4
BUFFER = 64 << 20
UDP_ONLY = [
    (0x30, 0, 0, 23),
    (0x15, 0, 1, 17),
    (0x06, 0, 0, 0xFFFF),
    (0x06, 0, 0, 0),
]  # ldb [23]; == 17; take; drop


class Seen(NamedTuple):
    """One datagram on one wire. ``sender`` is the box whose network card sent it: "router", "ra", "a11"."""

    at: float  # CLOCK_MONOTONIC seconds
    wire: str
    sender: str
    source: str
    to: str
    port: int
    ttl: int
    data: bytes

    @property
    def command(self) -> int:
        fields = self.data.split(b":", 5)
        return int(fields[4]) if len(fields) > 4 and fields[4].isdigit() else -1

    @property
    def mode(self) -> int:
        return self.command & 0xFF

    @property
    def to_all(self) -> bool:
        return self.to.endswith(".255")

    def __str__(self) -> str:
        return (
            f"{self.at:.3f} wire {self.wire} {self.sender}: {self.source} > {self.to} ttl {self.ttl} "
            f"mode {self.mode:#x} {self.data[:80]!r}"
        )


def open_tap(bridge: str = "br0") -> socket.socket:
    """A socket that sees every UDP datagram of this bridge in the present network namespace."""
    tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_IP))
    filters = b"".join(struct.pack("HBBI", *line) for line in UDP_ONLY)
    code = ctypes.create_string_buffer(filters)
    program = struct.pack("HL", len(UDP_ONLY), ctypes.addressof(code))
    tap.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)
    tap.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
    tap.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    promiscuous = struct.pack("iHH8s", socket.if_nametoindex(bridge), PACKET_MR_PROMISC, 0, b"")
    tap.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, promiscuous)
    tap.bind((bridge, ETH_P_IP))
    tap.setblocking(False)
    return tap


class Capture:
    """Everything seen on port 2425 since the last ``forget``."""

    def __init__(self, taps: dict[str, socket.socket], names: dict[str, str]) -> None:
        self._taps = taps
        self._names = names
        self._seen: list[Seen] = []

    def close(self) -> None:
        for tap in self._taps.values():
            tap.close()

    def forget(self) -> None:
        self._drain()
        self._seen.clear()

    def all(
        self,
        *,
        wire: str | None = None,
        sender: str | None = None,
        source: str | None = None,
        to: str | None = None,
        mode: int | None = None,
        since: float = 0.0,
        until: float = float("inf"),
    ) -> list[Seen]:
        """Those that fit all that is given, oldest first."""
        self._drain()
        return [
            seen
            for seen in self._seen
            if since <= seen.at < until
            and (wire is None or seen.wire == wire)
            and (sender is None or seen.sender == sender)
            and (source is None or seen.source == source)
            and (to is None or seen.to == to)
            and (mode is None or seen.mode == mode)
        ]

    def _drain(self) -> None:
        for wire, tap in self._taps.items():
            self._seen.extend(self._read(wire, tap))
        self._seen.sort(key=lambda seen: seen.at)

    def _read(self, wire: str, tap: socket.socket) -> Iterator[Seen]:
        clocks = time.monotonic() - time.time()
        while True:
            try:
                frame, extra, _, where = tap.recvmsg(65535, 128)
            except BlockingIOError:
                return
            if where[2] == PACKET_OUTGOING:
                continue
            header = 14 + (frame[14] & 0xF) * 4
            source_port, port, length = struct.unpack_from("!HHH", frame, header)
            if 2425 not in (port, source_port) or struct.unpack_from("!H", frame, 20)[0] & 0x1FFF:
                continue
            at = clocks + time.time()
            for level, kind, value in extra:
                if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS):
                    seconds, nanos = struct.unpack("qq", value[:16])
                    at = clocks + seconds + nanos / 1e9
            mac = frame[6:12].hex(":")
            yield Seen(
                at=at,
                wire=wire,
                sender=self._names.get(mac, mac),
                source=socket.inet_ntoa(frame[26:30]),
                to=socket.inet_ntoa(frame[30:34]),
                port=port,
                ttl=frame[22],
                data=frame[header + 8 : header + length],
            )
