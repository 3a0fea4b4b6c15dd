"""Makes the presence socket ready: our own or one that systemd opened for us.

The rule kept here: one socket, nobody shares its port, and whatever the system does not grant is said in one
line together with the remedy instead of ending the daemon.
"""

from __future__ import annotations

import array
import errno
import os
import pwd
import socket
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from camrelay.daemon.addressing import IP_PKTINFO
from camrelay.errors import StartError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# A burst of 6,000 presence packets (a floor comes back after a power cut) is some 5 MiB as the kernel counts.
RECEIVE_BUFFER: Final = 8 << 20
# 177 datagrams to addresses whose neighbour is not resolved block a default send buffer for 3 s: measured.
SEND_BUFFER: Final = 4 << 20

# linux/in.h and asm-generic/socket.h; Python 3.11 has no names for most of them
IP_RECVTTL: Final = 12
IP_TRANSPARENT: Final = 19
SO_ATTACH_FILTER: Final = 26
SO_SNDBUFFORCE: Final = 32
SO_RCVBUFFORCE: Final = 33
SO_MEMINFO: Final = 55

# load the packet's type; is it PACKET_LOOPBACK (our own broadcast)? then nothing of it, else all.
_PKTTYPE: Final = 0xFFFFF000 + 4  # SKF_AD_OFF + SKF_AD_PKTTYPE
_PROGRAM: Final = ((0x20, 0, 0, _PKTTYPE), (0x15, 0, 1, 5), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))


class Prepared(NamedTuple):
    """A socket that is ready, and what the system granted. Buffers in bytes, as asked for (not doubled)."""

    socket: socket.socket
    port: int
    address: str  # what it is bound to
    ttl: int  # of datagrams that do not say
    can_speak: bool
    receive_buffer: int
    send_buffer: int
    warnings: list[str]


def create(port: int, bind: str) -> Prepared:
    """A new socket; without SO_REUSEADDR, for a second one would steal our unicasts. Raises StartError."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.bind((bind, port))
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            raise StartError(f"UDP port {port} is in use {describe(list(_holders(port)))}") from None
        raise StartError(f"cannot open UDP port {port} on {bind}: {error.strerror}") from None
    return _prepare(sock)


def adopt(fd: int, port: int) -> Prepared:
    """The socket behind ``fd``, completed. Raises StartError when it is not what it should be."""
    try:
        sock = socket.socket(fileno=fd)
    except OSError as error:
        raise StartError(f"descriptor {fd}, handed over as socket, is none: {error.strerror}") from None
    if sock.family != socket.AF_INET or sock.type != socket.SOCK_DGRAM or sock.getsockname()[1] != port:
        sock.detach()  # not ours to close
        raise StartError(
            f"the socket handed over as descriptor {fd} is not an IPv4 UDP socket on port {port}: "
            f"camrelay.socket should say ListenDatagram=0.0.0.0:{port}"
        )
    return _prepare(sock)


def drops(sock: socket.socket) -> int:
    """Datagrams that the kernel threw away at this socket: its buffer was full, or the filter said so."""
    words = struct.unpack("=9I", sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 36))
    return int(words[8])


def _prepare(sock: socket.socket) -> Prepared:
    warnings: list[str] = []
    address, port = sock.getsockname()
    sock.setblocking(False)
    for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):  # systemd sets the first on every socket
        sock.setsockopt(socket.SOL_SOCKET, option, 0)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
    sock.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
    drop_own_broadcasts(sock)
    can_speak = _may_speak(sock, warnings)
    receive = _buffer(sock, socket.SO_RCVBUF, SO_RCVBUFFORCE, RECEIVE_BUFFER, "receive", "rmem_max", warnings)
    send = _buffer(sock, socket.SO_SNDBUF, SO_SNDBUFFORCE, SEND_BUFFER, "send", "wmem_max", warnings)
    ttl = sock.getsockopt(socket.IPPROTO_IP, socket.IP_TTL)
    return Prepared(sock, port, address, ttl, can_speak, receive, send, warnings)


def drop_own_broadcasts(sock: socket.socket) -> None:
    """The kernel loops our broadcasts back to us, and IP_MULTICAST_LOOP does nothing about that."""
    program = array.array("B", b"".join(struct.pack("=HBBI", *step) for step in _PROGRAM))
    place, _ = program.buffer_info()
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("@HP", len(_PROGRAM), place))


def _may_speak(sock: socket.socket, warnings: list[str]) -> bool:
    """Is it transparent already (systemd), or may we make it so?"""
    if sock.getsockopt(socket.IPPROTO_IP, IP_TRANSPARENT):
        return True
    try:
        sock.setsockopt(socket.IPPROTO_IP, IP_TRANSPARENT, 1)
    except PermissionError:
        warnings.append(
            "cannot announce users under their own addresses, so only clients that take lists are served: "
            "start through camrelay.socket, or allow CAP_NET_RAW"
        )
        return False
    return True


def _buffer(
    sock: socket.socket, option: int, force: int, wanted: int, name: str, sysctl: str, warnings: list[str]
) -> int:
    """Ask for ``wanted`` bytes, above the system's limit where we may. Returns what is there."""

    def granted() -> int:
        return sock.getsockopt(socket.SOL_SOCKET, option) // 2  # the kernel doubles it for its own needs

    if granted() < wanted:
        try:
            sock.setsockopt(socket.SOL_SOCKET, force, wanted)
        except PermissionError:
            sock.setsockopt(socket.SOL_SOCKET, option, wanted)
    if granted() < wanted:
        warnings.append(
            f"the {name} buffer is {granted() >> 10} KiB instead of {wanted >> 10} KiB, bursts may get lost: "
            f"sysctl -w net.core.{sysctl}={wanted}, then restart"
        )
    return granted()


def describe(holders: Sequence[tuple[int, int]]) -> str:
    """Who holds these sockets, (uid, inode) each: a process where we may look, else a user. For one line."""
    for uid, inode in holders:
        for pid in _processes(f"socket:[{inode}]"):
            name = _first_line(Path(f"/proc/{pid}/comm"))
            return f"by {name} (process {pid}, user {_user(uid)}): stop it, then start camrelay"
    for uid, _ in holders:
        return f"by a program of user {_user(uid)}: stop it (as root, ss -lunp names it), then start camrelay"
    return "by a program that has ended meanwhile, or by one that cannot be seen from here"


def _holders(port: int) -> Iterator[tuple[int, int]]:
    """(uid, inode) of the sockets bound to the UDP port; an IPv6 socket can hold it as well."""
    for table in ("udp", "udp6"):
        try:
            lines = Path(f"/proc/thread-self/net/{table}").read_text().splitlines()[1:]
        except OSError:
            continue
        for fields in map(str.split, lines):
            if int(fields[1].rpartition(":")[2], 16) == port:
                yield int(fields[7]), int(fields[9])


def _processes(link: str) -> Iterator[int]:
    """Those that hold the descriptor. Only root sees everybody's."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            found = any(os.readlink(entry) == link for entry in (process / "fd").iterdir())
        except OSError:
            continue
        if found:
            yield int(process.name)


def _first_line(path: Path) -> str:
    try:
        return path.read_text().split("\n", 1)[0]
    except OSError:
        return "a program"


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
