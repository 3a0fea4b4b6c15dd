"""Whom a datagram is from and to, between the relay's text and the kernel's bytes; each answer is remembered.

The rule kept here: no datagram leaves that claims a broadcast, multicast or empty source address. The kernel
would let a directed broadcast pass, and whoever answers it answers everybody.
"""

from __future__ import annotations

import socket
import struct
from typing import Final

CACHED: Final = 8192  # answers of one sort, up to 2 MB; beyond, the memory starts anew

IP_PKTINFO: Final = 8  # linux/in.h; Python 3.11 has no name for it
NAME: Final = struct.Struct(">2xH4s8x")  # sockaddr_in: port, address
CMSG: Final = struct.Struct("@Nii")  # struct cmsghdr: length, level, type
INFO: Final = struct.Struct("@NiiiII0N")  # the cmsg of IP_PKTINFO: ..., ifindex, spec_dst, destination
TTL: Final = struct.Struct("@Niii0N")  # the cmsg of IP_TTL: ..., TTL
CONTROL_SIZE: Final = INFO.size + TTL.size  # every datagram that leaves carries both


class Unsendable(ValueError):
    """A datagram that must not or cannot leave; the message is the cause to count."""


def packed(address: str) -> bytes:
    """Dotted text as four bytes, or Unsendable."""
    try:
        return socket.inet_pton(socket.AF_INET, address)
    except OSError:
        raise Unsendable("send refused: not an IPv4 address") from None


def word(address: str) -> int:
    """Dotted text as the kernel stores it, read as one native 32-bit number."""
    (number,) = struct.unpack("=I", packed(address))
    return int(number)


class Texts(dict[int, str]):
    """The ``word`` of an address to its dotted text."""

    def __missing__(self, number: int) -> str:
        if len(self) >= CACHED:
            self.clear()
        text = self[number] = socket.inet_ntoa(struct.pack("=I", number))
        return text


class Ports(dict[int, int]):
    """A port as the kernel stores it to its number. Looking up is twice as fast as asking ntohs."""

    def __missing__(self, number: int) -> int:
        port = self[number] = socket.ntohs(number)
        return port


class Names(dict[tuple[str, int], bytes]):
    """(address, port) to sockaddr_in. Raises Unsendable."""

    def __missing__(self, to: tuple[str, int]) -> bytes:
        if len(self) >= CACHED:
            self.clear()
        address, port = to
        if not 0 < port < 65536:
            raise Unsendable("send refused: no such port")
        family = struct.pack("@H", socket.AF_INET)
        name = self[to] = family + NAME.pack(port, packed(address))[len(family) :]
        return name


class Controls(dict[tuple[str | None, int, int], bytes]):
    """(speak_as, interface, ttl) to the control block that says so. Raises Unsendable.

    ``ttl`` and ``address`` are the socket's own, for datagrams that do not say.
    """

    def __init__(self, ttl: int, address: str) -> None:
        self._broadcasts: frozenset[str] = frozenset()
        self._ttl = ttl
        self._address = address

    def set_broadcasts(self, addresses: frozenset[str]) -> None:
        """No datagram may claim to come from one of these."""
        self._broadcasts = addresses
        self.clear()

    def __missing__(self, said: tuple[str | None, int, int]) -> bytes:
        if len(self) >= CACHED:
            self.clear()
        speak_as, interface, ttl = said
        source = word(self._address) if speak_as is None else self._source(speak_as)
        block = self[said] = INFO.pack(
            CMSG.size + 12, socket.IPPROTO_IP, IP_PKTINFO, interface, source, 0
        ) + TTL.pack(CMSG.size + 4, socket.IPPROTO_IP, socket.IP_TTL, ttl or self._ttl)
        return block

    def _source(self, text: str) -> int:
        first = packed(text)[0]
        if text in self._broadcasts or first == 0 or first >= 224:
            raise Unsendable("send refused: source is no host address")
        return word(text)
