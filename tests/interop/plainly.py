"""Plain means of looking at a network, without camrelay: what proves that a fault of the laboratory is there.

All of them run inside a box (``Namespace.call``) and open sockets of their own; those that ask for presence do so on
port 2425, where clients answer, so no program may hold it there.
"""

from __future__ import annotations

import errno
import select
import socket
import struct
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .crowd import IP_PKTINFO, IP_TRANSPARENT

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

IP_TTL = 2
IP_MTU_DISCOVER = 10  # linux/in.h
IP_PMTUDISC_PROBE = 3  # don't fragment, whatever the kernel believes of the way
IP_RECVERR = 11
MSG_ERRQUEUE = 0x2000
ETH_P_ARP = 0x0806
PORT = 2425
BR_ENTRY, BR_EXIT, DIALUP = 1, 2, 0x10000
CODES = {13: "prohibited", 10: "prohibited", 9: "prohibited", 3: "refused", 4: "too big"}


@dataclass(frozen=True)
class Answer:
    """What came of a datagram. ``by``: who answered or complained; ``number``: of ICMP, the MTU it names."""

    what: str  # "answered", "silent", "refused", "prohibited", "unreachable", "expired", "too big"
    by: str = ""
    number: int = 0


SILENT = Answer("silent")


def entry(command: int = BR_ENTRY, pad: int = 0) -> bytes:
    """What any client says at its start, with so many bytes more."""
    return f"1:{time.time_ns() // 1000 % 2**31}:lab:lab-box:{command | DIALUP}:lab\0lab\0{'x' * pad}".encode()


def ask(addresses: Iterable[str], seconds: float, pad: int = 0) -> dict[str, Answer]:
    """BR_ENTRY to each, from port 2425; what came first, a farewell at the end."""
    found: dict[str, Answer] = {}
    asked = list(addresses)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.setsockopt(socket.SOL_IP, IP_RECVERR, 1)
        line.bind(("0.0.0.0", PORT))
        for address in asked:
            _send(line, entry(pad=pad), address, PORT)
        for data, source in _hear(line, seconds, lambda: len(found) < len(asked), asked, found):
            if data.split(b":")[4].isdigit() and int(data.split(b":")[4]) & 0xFF == 3:
                found.setdefault(source, Answer("answered", source))
        for address in asked:
            _send(line, entry(BR_EXIT), address, PORT)
    return {address: found.get(address, SILENT) for address in asked}


def steps(address: str, port: int, longest: int = 5, seconds: float = 0.7) -> list[Answer]:
    """What becomes of small datagrams with TTL 1, 2 ... ."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.setsockopt(socket.SOL_IP, IP_RECVERR, 1)
        line.bind(("0.0.0.0", PORT))
        seen = []
        for ttl in range(1, longest + 1):
            line.setsockopt(socket.SOL_IP, IP_TTL, ttl)
            seen.append(_one(line, entry(), address, port, seconds))
            if seen[-1].what != "expired":
                break
    return seen


def unbroken(address: str, size: int, port: int = 33434, seconds: float = 0.7) -> Answer:
    """One packet of so many bytes that nobody may fragment; a closed port says that it came."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.setsockopt(socket.SOL_IP, IP_RECVERR, 1)
        line.setsockopt(socket.SOL_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE)
        line.bind(("0.0.0.0", 0))
        return _one(line, b"\0" * (size - 28), address, port, seconds)


def port_of(address: str, port: int, seconds: float = 0.7) -> Answer:
    """A datagram to a port where nobody listens."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.setsockopt(socket.SOL_IP, IP_RECVERR, 1)
        line.bind(("0.0.0.0", 0))
        return _one(line, b"lab", address, port, seconds)


def dial(addresses: Iterable[str], seconds: float) -> dict[str, str]:
    """TCP 2425 of each: "open", "refused", "unreachable" (which is what prohibited looks like), "silent"."""
    lines = {}
    for address in addresses:
        line = socket.socket()
        line.setblocking(False)
        line.connect_ex((address, PORT))
        lines[line] = address
    found = {}
    end = time.monotonic() + seconds
    while lines and time.monotonic() < end:
        for line in select.select([], list(lines), [], end - time.monotonic())[1]:
            problem = line.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            found[lines.pop(line)] = {0: "open", errno.ECONNREFUSED: "refused"}.get(problem, "unreachable")
            line.close()
    for line in lines:
        line.close()
    return found | dict.fromkeys(lines.values(), "silent")


def speak_as(sources: Sequence[str], to: str) -> None:
    """A farewell, which harms nobody, under other people's addresses."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.setsockopt(socket.SOL_IP, IP_TRANSPARENT, 1)
        line.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        line.bind(("0.0.0.0", 0))  # who is on 2425 here shall keep it
        for source in sources:
            card = struct.pack("i4s4s", socket.if_nametoindex("eth0"), socket.inet_aton(source), b"\0\0\0\0")
            line.sendmsg([entry(BR_EXIT)], [(socket.SOL_IP, IP_PKTINFO, card)], 0, (to, PORT))


class Arp:
    """ARP as it is seen on an interface (a bridge: the whole wire) since this was opened."""

    def __init__(self, interface: str) -> None:
        self._line = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ARP))
        self._line.bind((interface, ETH_P_ARP))
        self._line.setblocking(False)

    def ask(self, own: str, address: str) -> None:
        """Who has this address?"""
        mac = self._line.getsockname()[4]
        ask = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + mac + socket.inet_aton(own)
        self._line.send(
            b"\xff" * 6 + mac + struct.pack("!H", ETH_P_ARP) + ask + b"\0" * 6 + socket.inet_aton(address)
        )

    def seen(self) -> list[tuple[int, str, str, str]]:
        """(1 who has, 2 is at; the sender's MAC; its address; the address it is about)."""
        found = []
        with suppress(BlockingIOError):
            while True:
                frame = self._line.recv(256)
                code = struct.unpack_from("!H", frame, 20)[0]
                sender, about = (socket.inet_ntoa(frame[at : at + 4]) for at in (28, 38))
                found.append((code, frame[22:28].hex(":"), sender, about))
        return found

    def close(self) -> None:
        self._line.close()


def _send(line: socket.socket, data: bytes, address: str, port: int) -> None:
    """An error of an earlier datagram is reported at the next one, which is not sent then."""
    for _ in range(10):
        try:
            line.sendto(data, (address, port))
        except OSError:
            continue
        return


def _one(line: socket.socket, data: bytes, address: str, port: int, seconds: float) -> Answer:
    """What becomes of one datagram; nothing else is on its way."""
    found: dict[str, Answer] = {}
    _send(line, data, address, port)
    for _, source in _hear(line, seconds, lambda: not found, [address], found):
        found[source] = Answer("answered", source)
    return found.get(address, SILENT)


def _hear(
    line: socket.socket, seconds: float, more: object, asked: Sequence[str], found: dict[str, Answer]
) -> Iterable[tuple[bytes, str]]:
    """Datagrams of those who were asked, as long as there are to be ``more``; errors go to ``found``."""
    assert callable(more)
    end = time.monotonic() + seconds
    poll = select.poll()
    poll.register(line, select.POLLIN)
    while more() and (left := end - time.monotonic()) > 0:
        for _, what in poll.poll(left * 1000):
            if what & select.POLLERR:
                with suppress(BlockingIOError):  # a send that failed has taken it
                    address, answer = _error(line)
                    found.setdefault(address, answer)
            if what & select.POLLIN:
                with suppress(OSError):  # an error that came since is reported here, too
                    data, (source, _) = line.recvfrom(65535, socket.MSG_DONTWAIT)
                    if source in asked:
                        yield data, source


def _error(line: socket.socket) -> tuple[str, Answer]:
    """One of IP_RECVERR: about whom, and what (linux/errqueue.h)."""
    _, extra, _, where = line.recvmsg(0, 512, MSG_ERRQUEUE | socket.MSG_DONTWAIT)
    (value,) = (value for level, kind, value in extra if (level, kind) == (socket.SOL_IP, IP_RECVERR))
    _, _, kind, code, _, info, _ = struct.unpack_from("IBBBBII", value)
    by = socket.inet_ntoa(value[20:24])
    what = "expired" if kind == 11 else CODES.get(code, "unreachable")
    return str(where[0]), Answer(what, by, info)
