"""What the network says about a datagram of ours: ICMP errors, read from a socket's error queue with their sender.

No privilege is needed for it (IP_RECVERR, man 7 ip). The kernel hands an error only to the socket whose ports and
addresses the quoted datagram has, so a socket per question makes it certain what an error is about.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import trio

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

IP_MTU_DISCOVER: Final = 10  # linux/in.h; Python 3.11 has no names for these
IP_RECVERR: Final = 11
IP_RECVTTL: Final = 12
IP_PMTUDISC_PROBE: Final = 3  # sets DF, and believes no earlier error
MSG_ERRQUEUE: Final = 0x2000  # linux/socket.h

EXTENDED: Final = struct.Struct("=IBBBBII")  # sock_extended_err: errno, origin, type, code, pad, info, data
OFFENDER: Final = struct.Struct("=H2x4s8x")  # and after it the sockaddr_in of who said so
ORIGIN_LOCAL: Final = 1  # linux/errqueue.h
ORIGIN_ICMP: Final = 2

ICMP_UNREACHABLE: Final = 3  # RFC 792, RFC 1812 5.2.7.1
ICMP_EXPIRED: Final = 11
# Codes of "destination unreachable" that say more than that.
CODES: Final = {2: "refused", 3: "refused", 4: "too big", 9: "prohibited", 10: "prohibited", 13: "prohibited"}
NET_CODES: Final = {0, 6, 11}  # the network is unreachable, unknown, or so for this type of service

MOST: Final = 64  # errors read at once: more for one datagram are a flood
ROOM: Final = 512  # bytes of the quoted datagram that are of interest
CONTROL_ROOM: Final = 512

# What the kernel says at once when a datagram cannot leave: a sort of trouble that this host makes.
OWN: Final = {
    errno.EPERM: "prohibited",  # our own firewall
    errno.EACCES: "prohibited",  # a route of type prohibit, or a broadcast address
    errno.EMSGSIZE: "too big",
    errno.ECONNREFUSED: "refused",
}


class Trouble(NamedTuple):
    """One error. ``kind``: refused, unreachable, prohibited, too big, expired (TTL), reassembly.

    ``by``: the address of who said so, empty for this host itself. ``mtu``: of "too big", 0 if not told.
    ``data``: the beginning of our datagram as it was quoted, maybe nothing. ``error``: the errno. ``what`` of
    "unreachable": "net" if no router knows a way, else "host".
    """

    kind: str
    by: str = ""
    mtu: int = 0
    data: bytes = b""
    error: int = 0
    what: str = ""

    def detail(self, ours: str = "") -> dict[str, Any]:
        """For a Fact; ``ours``: our address, for what this host said itself."""
        told = {"by": self.by or ours, "kind": self.what}
        return {key: value for key, value in told.items() if value}


def parse(block: bytes, data: bytes = b"") -> Trouble | None:
    """The content of an IP_RECVERR control message; None for what is no error of ours."""
    if len(block) < EXTENDED.size:
        return None
    error, origin, kind, code, _, info, _ = EXTENDED.unpack_from(block)
    if origin == ORIGIN_LOCAL:
        return _local(error, info, data)
    if origin != ORIGIN_ICMP:
        return None
    by = ""
    if len(block) >= EXTENDED.size + OFFENDER.size:
        family, packed = OFFENDER.unpack_from(block, EXTENDED.size)
        by = socket.inet_ntoa(packed) if family == socket.AF_INET else ""
    said = name(kind, code)
    net = (kind, said) == (ICMP_UNREACHABLE, "unreachable") and code in NET_CODES
    what = ("net" if net else "host") if said == "unreachable" else ""
    return Trouble(said, by, info if said == "too big" else 0, data, error, what)


def _local(error: int, mtu: int = 0, data: bytes = b"") -> Trouble:
    kind = OWN.get(error, "unreachable")
    what = ("net" if error == errno.ENETUNREACH else "host") if kind == "unreachable" else ""
    return Trouble(kind, "", mtu if kind == "too big" else 0, data, error, what)


def name(kind: int, code: int) -> str:
    """An ICMP error's type and code in our words."""
    if kind == ICMP_EXPIRED:
        return "reassembly" if code == 1 else "expired"
    return CODES.get(code, "unreachable") if kind == ICMP_UNREACHABLE else "unreachable"


def troubles(sock: socket.socket) -> Iterator[Trouble]:
    """The errors waiting at the socket. Never waits; what is pending otherwise is cleared."""
    for _ in range(MOST):
        try:
            data, control, _, _ = sock.recvmsg(ROOM, CONTROL_ROOM, MSG_ERRQUEUE | socket.MSG_DONTWAIT)
        except OSError as problem:
            if problem.errno in (errno.EAGAIN, errno.ENOTCONN):
                break
            continue  # an error still pending on the socket: told once, and then it is gone
        for level, kind, block in control:
            if level == socket.IPPROTO_IP and kind == IP_RECVERR and (found := parse(block, data)):
                yield found
    sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


def own(problem: OSError) -> Trouble:
    """What the kernel refused to send."""
    return _local(problem.errno or 0)


def reason(problem: OSError | Trouble) -> str:
    """One line for a "why"."""
    if isinstance(problem, OSError):
        return problem.strerror or str(problem)
    return os.strerror(problem.error)


def udp(address: str, port: int, ttl: int = 0, whole: bool = False) -> socket.socket:
    """A connected socket that hears errors. ``whole``: datagrams are never fragmented (DF). Raises OSError."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        if ttl:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
        if whole:
            sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE)
        sock.connect((address, port))
    except BaseException:
        sock.close()
        raise
    return sock


async def heard(sock: socket.socket) -> tuple[list[Trouble], list[tuple[bytes, int]]]:
    """Wait until something is there: errors, and datagrams with the TTL they came with (0: not asked for)."""
    await trio.lowlevel.wait_readable(sock)
    bad = list(troubles(sock))
    good: list[tuple[bytes, int]] = []
    for _ in range(MOST):
        try:
            data, control, _, _ = sock.recvmsg(65536, CONTROL_ROOM, socket.MSG_DONTWAIT)
        except BlockingIOError:
            break
        except OSError:  # an error that came meanwhile: its turn comes with the next call
            break
        good.append((data, ttl_of(control)))
    return bad, good


def ttl_of(control: Iterable[tuple[int, int, bytes]]) -> int:
    """The TTL among a received datagram's control messages, 0 if there is none."""
    for level, kind, block in control:
        if level == socket.IPPROTO_IP and kind == socket.IP_TTL and len(block) >= 4:
            (ttl,) = struct.unpack_from("=i", block)
            return int(ttl) if 0 < ttl < 256 else 0
    return 0
