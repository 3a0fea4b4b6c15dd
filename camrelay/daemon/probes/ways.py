"""How the kernel would send to an address: its route and its neighbour entry, asked by rtnetlink without privilege.

Netlink rather than the tables under /proc: it is one exact answer in microseconds whatever their length, and knows
of policy routing and of a neighbour's state.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
import sys
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import trio

from camrelay.daemon.probes import troubles
from camrelay.trace.facts import Fact

if TYPE_CHECKING:
    from collections.abc import Iterator

NLMSGHDR: Final = struct.Struct("=IHHII")  # linux/netlink.h: length, type, flags, sequence, port
RTATTR: Final = struct.Struct("=HH")
NLMSG_ERROR: Final = 2
NLM_F_REQUEST: Final = 1
RTM_GETROUTE: Final = 26  # linux/rtnetlink.h
RTM_GETNEIGH: Final = 30
RTMSG: Final = struct.Struct(
    "=BBBBBBBBI"
)  # family, dst_len, src_len, tos, table, protocol, scope, type, flags
RTM_F_FIB_MATCH: Final = 0x2000  # answer with the route's own network, not with this one address
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PREFSRC, RTA_VIA = 1, 4, 5, 7, 18
RTN_LOCAL, RTN_BROADCAST, RTN_MULTICAST = 2, 3, 5
NDMSG: Final = struct.Struct("=BBHiHBB")  # linux/neighbour.h: family, pad, pad, ifindex, state, flags, type
NDA_DST, NDA_LLADDR = 1, 2
STATES: Final = {
    0x01: "incomplete",
    0x02: "reachable",
    0x04: "stale",
    0x08: "delay",
    0x10: "probe",
    0x20: "failed",
    0x40: "noarp",
    0x80: "permanent",
}
HAS_MAC: Final = 0x02 | 0x04 | 0x08 | 0x10 | 0x80

SIOCGIFFLAGS: Final = 0x8913  # linux/sockios.h
SIOCGIFMTU: Final = 0x8921
IFF_NOARP: Final = 0x80  # linux/if.h
IFF_LOOPBACK: Final = 0x8
IFF_POINTOPOINT: Final = 0x10

PATIENCE: Final = 3.2  # three ARP requests, one second apart (mcast_solicit, retrans_time)
LOOK_EVERY: Final = 0.1
DISCARD: Final = 9  # the port of RFC 863, for a datagram that only makes the kernel ask for the MAC


class Way(NamedTuple):
    """How a datagram leaves. ``gateway``: empty on link; of a tunnel, the tunnel's name.

    ``error``: why none leaves. ``number`` (ifindex) and ``interface``: 0 and empty without a route.
    """

    error: str = ""
    ourselves: bool = False
    number: int = 0
    interface: str = ""
    source: str = ""
    gateway: str = ""
    network: str = ""

    @property
    def on_link(self) -> bool:
        """Is it a neighbour on one of our wires?"""
        return not (self.error or self.ourselves or self.gateway)


class Neighbour(NamedTuple):
    """``state``: of STATES, empty if the kernel has no entry. ``mac``: if it is known."""

    state: str = ""
    mac: str = ""
    error: str = ""


def way(address: str) -> Way:
    """What the kernel would do with a datagram to this IPv4 address. Sends nothing. Raises OSError for no address."""
    packed = socket.inet_aton(address)
    try:
        kind, _, attributes = _route(packed, 0)
    except OSError as problem:
        return Way(error=_no_route(problem))
    index = _number(attributes.get(RTA_OIF))
    found = Way(number=index, interface=_name(index), source=_text(attributes.get(RTA_PREFSRC)))
    if kind == RTN_LOCAL:
        return found._replace(ourselves=True)
    if kind in (RTN_BROADCAST, RTN_MULTICAST):
        return found._replace(error="is no address of a host but a broadcast or multicast address")
    gateway = _text(attributes.get(RTA_GATEWAY))
    if not gateway and RTA_VIA in attributes:
        gateway = "a router by IPv6"
    if not gateway and _has_no_neighbours(found.interface):
        gateway = found.interface
    return found._replace(gateway=gateway, network=_network(packed))


def route_fact(address: str) -> Fact:
    """route: on-link (interface, source, network) | routed (interface, source, gateway) | none (error) | ourselves."""
    found = way(address)
    if found.error:
        return Fact("route", "none", detail={"error": found.error})
    if found.ourselves:
        return Fact("route", "ourselves", detail={"interface": found.interface, "source": found.source})
    detail: dict[str, Any] = {"interface": found.interface, "source": found.source, "network": found.network}
    if found.on_link:
        return Fact("route", "on-link", detail=detail)
    return Fact("route", "routed", detail={**detail, "gateway": found.gateway})


async def neighbour_fact(address: str, patience: float = PATIENCE) -> Fact:
    """neighbour: resolved (address, mac, interface, state) | unresolved (address, interface) | not-checked (why).

    Of the address if it is on link, else of its gateway. A harmless datagram makes the kernel ask for it; waits
    up to ``patience`` seconds for the answer. An entry that is "stale" is an old answer.
    """
    start = trio.current_time()
    found = way(address)
    asked = found.gateway or address
    why = _no_neighbour(found)
    if why:
        return Fact("neighbour", "not-checked", detail={"why": why})
    if not neighbour(asked, found.number).mac:
        _nudge(asked)
    while True:
        entry = neighbour(asked, found.number)
        seconds = trio.current_time() - start
        if entry.mac or entry.error or entry.state == "failed" or seconds >= patience:
            break
        await trio.sleep(LOOK_EVERY)
    if entry.error:
        return Fact("neighbour", "not-checked", seconds, detail={"why": entry.error})
    detail = {"address": asked, "interface": found.interface, "state": entry.state or "none"}
    if entry.mac:
        return Fact("neighbour", "resolved", seconds, detail={**detail, "mac": entry.mac})
    return Fact("neighbour", "unresolved", seconds, detail=detail)


def neighbour(address: str, index: int) -> Neighbour:
    """The kernel's entry for an address on the wire of interface ``index``."""
    body = NDMSG.pack(socket.AF_INET, 0, 0, index, 0, 0, 0) + _attribute(NDA_DST, socket.inet_aton(address))
    try:
        answer = _ask(RTM_GETNEIGH, body)
    except OSError as problem:
        if problem.errno == errno.ENOENT:
            return Neighbour()
        return Neighbour(error=f"the kernel does not tell its neighbours: {problem.strerror}")
    return read_neighbour(answer)


def read_neighbour(answer: bytes) -> Neighbour:
    """A neighbour message's body."""
    if len(answer) < NDMSG.size:
        return Neighbour()
    *_, state, _, _ = NDMSG.unpack_from(answer)
    mac = dict(attributes_of(answer[NDMSG.size :])).get(NDA_LLADDR, b"")
    return Neighbour(
        STATES.get(state, ""), mac.hex(":") if state & HAS_MAC and len(mac) == 6 and any(mac) else ""
    )


def mtu_of(interface: str) -> int:
    """The interface's MTU in bytes, 0 if it is gone."""
    return _ioctl(SIOCGIFMTU, interface, "@16xi")


def attributes_of(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The attributes of a route message; what is cut off or nonsense ends them."""
    at = 0
    while at + RTATTR.size <= len(data):
        length, kind = RTATTR.unpack_from(data, at)
        if length < RTATTR.size or at + length > len(data):
            return
        yield kind & 0x3FFF, data[at + RTATTR.size : at + length]
        at += length + -length % 4


def _route(packed: bytes, flags: int) -> tuple[int, int, dict[int, bytes]]:
    """The route's type, the length of its prefix, and its attributes. Raises OSError."""
    body = RTMSG.pack(socket.AF_INET, 32, 0, 0, 0, 0, 0, 0, flags) + _attribute(RTA_DST, packed)
    answer = _ask(RTM_GETROUTE, body)
    _, length, *_, kind, _ = RTMSG.unpack_from(answer)
    return kind, length, dict(attributes_of(answer[RTMSG.size :]))


def _network(packed: bytes) -> str:
    try:
        _, length, attributes = _route(packed, RTM_F_FIB_MATCH)
    except OSError:  # gone since we asked
        return ""
    return str(IPv4Network((attributes.get(RTA_DST, bytes(4)), min(length, 32)), strict=False))


def _ask(kind: int, body: bytes) -> bytes:
    """One request and the body of its answer. Raises OSError, also for what the kernel refuses. Does not wait."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        kernel.bind((0, 0))
        kernel.send(NLMSGHDR.pack(NLMSGHDR.size + len(body), kind, NLM_F_REQUEST, 1, 0) + body)
        answer = kernel.recv(65536, socket.MSG_DONTWAIT)  # the kernel answers within send()
    if len(answer) < NLMSGHDR.size + RTMSG.size:
        raise OSError(errno.EPROTO, "an answer of the kernel that is too short")
    length, said, *_ = NLMSGHDR.unpack_from(answer)
    if said == NLMSG_ERROR:
        (code,) = struct.unpack_from("=i", answer, NLMSGHDR.size)
        raise OSError(-code, os.strerror(-code))
    return answer[NLMSGHDR.size : length]


def _attribute(kind: int, value: bytes) -> bytes:
    return RTATTR.pack(RTATTR.size + len(value), kind) + value


def _no_route(problem: OSError) -> str:
    if problem.errno in (errno.ENETUNREACH, errno.ESRCH):
        return "no route leads there"
    if problem.errno in (errno.EACCES, errno.EHOSTUNREACH, errno.EINVAL):
        return "a route of this host forbids it (unreachable, prohibit or blackhole)"
    return problem.strerror or str(problem)


def _no_neighbour(found: Way) -> str:
    if found.error or found.ourselves:
        return found.error or "is this host itself"
    if _has_no_neighbours(found.interface):
        return f"{found.interface} has no neighbours (a tunnel?)"
    return "" if found.on_link or found.gateway[:1].isdigit() else "the router is reached by IPv6"


def _has_no_neighbours(interface: str) -> bool:
    return bool(_ioctl(SIOCGIFFLAGS, interface, "@16xh") & (IFF_NOARP | IFF_POINTOPOINT | IFF_LOOPBACK))


def _ioctl(request: int, interface: str, form: str) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as anything:
        try:
            answer = fcntl.ioctl(anything, request, struct.pack("@16s24x", interface.encode()))
        except OSError:
            return 0
    (number,) = struct.unpack_from(form, answer)
    return int(number)


def _nudge(address: str) -> None:
    try:
        with troubles.udp(address, DISCARD, ttl=1) as sock:
            sock.send(b"")
    except OSError:  # our firewall, or no route any more: then nothing is learned, and that is said
        pass


def _number(value: bytes | None) -> int:
    return int.from_bytes(value, sys.byteorder) if value else 0


def _text(value: bytes | None) -> str:
    return socket.inet_ntoa(value) if value and len(value) == 4 else ""


def _name(index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except OSError:
        return ""
