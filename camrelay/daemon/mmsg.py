"""Many datagrams per system call: recvmmsg and sendmmsg through ctypes, with buffers laid out once.

Most of what a datagram costs a Python program are system calls and the objects built around each. In batches,
with the kernel's structs read column by column, it comes near to a C program (measured by ``make bench``).
This is the only file that imports ctypes. Formats are native: 32-bit and big-endian machines are right too.

Per message (struct mmsghdr, man 2 recvmmsg) there is a header, an iovec, a sockaddr_in and a control block.
The kernel writes IP_PKTINFO first and IP_TTL second into it, unless somebody switched on more.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import socket
import struct
from array import array
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from camrelay.daemon.addressing import (
    CMSG,
    CONTROL_SIZE,
    INFO,
    IP_PKTINFO,
    NAME,
    TTL,
    Controls,
    Names,
    Ports,
    Texts,
    Unsendable,
    word,
)
from camrelay.relay.outputs import Datagram

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from camrelay.relay.outputs import Transmit

BATCH: Final = 128  # per system call: enough to spread its cost, more cannot be measured
LONGEST: Final = 65507  # bytes of one UDP datagram over IPv4
ROOM: Final = 65536  # for each one received
STEP: Final = (
    ROOM + 4160
)  # between their places: not a power of two, so that they spread over the CPU's cache
CONTROL_ROOM: Final = 128  # received cmsgs: ours take 56, a socket from elsewhere may have more

_HEADER: Final = struct.Struct("@PIPNPNi0PI0P")  # name, namelen, iov, iovlen, control, controllen, flags; len
_IOVEC: Final = struct.Struct("@LL")  # base and length; a long is as wide as a pointer on Linux
# Where the fields of received messages are, in 32-bit words: in a header, in a control block.
_LENGTH_AT: Final = struct.calcsize("@PIPNPNi0P") // 4
_TYPE_AT, _INDEX_AT, _TARGET_AT, _TTL_AT = (
    offset // 4 for offset in (CMSG.size - 4, CMSG.size, CMSG.size + 8, INFO.size + CMSG.size)
)

# What the kernel says while sending one datagram, in the words of the person who reads the counters.
CAUSES: Final = {
    errno.EPERM: "send refused by the local firewall",
    errno.EACCES: "send refused: broadcast not allowed",
    errno.ENETUNREACH: "send failed: network unreachable",
    errno.EHOSTUNREACH: "send failed: host unreachable",
    errno.ENETDOWN: "send failed: network down",
    errno.ENODEV: "send failed: no such interface",
    errno.ENXIO: "send failed: no such interface",
    errno.EINVAL: "send failed: source address or interface not usable",
    errno.EMSGSIZE: "send failed: datagram too long",
}
TRY_LATER: Final = frozenset({errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM})
OURS: Final = frozenset({errno.EBADF, errno.ENOTSOCK, errno.EFAULT, errno.ENOSYS})  # a bug, or closed

_libc: Final = ctypes.CDLL(None, use_errno=True)
_recvmmsg: Final = _libc.recvmmsg
_recvmmsg.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p]
_sendmmsg: Final = _libc.sendmmsg
_sendmmsg.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int]

_make: Final = partial(tuple.__new__, Datagram)  # a third of what Datagram(...) costs


class _Block:
    """Zeroed memory with a fixed address. Pages that are never touched cost nothing."""

    def __init__(self, size: int) -> None:
        self.memory = mmap.mmap(-1, size)
        self._anchor = ctypes.c_char.from_buffer(self.memory)
        self.address = ctypes.addressof(self._anchor)


class _Messages:
    """``batch`` messages ready for a system call: all that both directions have in common."""

    def __init__(self, batch: int, data: int, control: int) -> None:
        """``data``: bytes for all datagrams together. ``control``: bytes of one control block."""
        self.data = _Block(data)
        self.names = _Block(batch * NAME.size)
        self.iovecs = _Block(batch * _IOVEC.size)
        self.controls = _Block(batch * control)
        self.fresh = b"".join(
            _HEADER.pack(
                self.names.address + n * NAME.size,
                NAME.size,
                self.iovecs.address + n * _IOVEC.size,
                1,
                self.controls.address + n * control,
                control,
                0,
                0,
            )
            for n in range(batch)
        )
        self.headers = _Block(len(self.fresh))
        self.headers.memory[:] = self.fresh


class Receiver:
    """Takes datagrams from a socket that has IP_PKTINFO and IP_RECVTTL set."""

    def __init__(self, fd: int, batch: int = BATCH) -> None:
        self.batch = batch
        self._fd = fd
        self._texts = Texts()
        self._ports = Ports()
        self._broadcasts = frozenset({word("255.255.255.255")})
        self._starts = range(0, batch * STEP, STEP)
        self._messages = _Messages(batch, batch * STEP, CONTROL_ROOM)
        base = self._messages.data.address
        self._messages.iovecs.memory[:] = b"".join(_IOVEC.pack(base + start, ROOM) for start in self._starts)

    def set_broadcasts(self, addresses: Iterable[str]) -> None:
        self._broadcasts = frozenset(map(word, addresses))

    def receive(self) -> tuple[list[Datagram], int]:
        """What is there, up to ``batch``, without waiting; and the errno that ended it (0: none).

        Fewer than ``batch`` mean that the socket was empty for an instant.
        """
        messages = self._messages
        count = _recvmmsg(self._fd, messages.headers.address, self.batch, socket.MSG_DONTWAIT, None)
        if count <= 0:
            return [], ctypes.get_errno() if count < 0 else 0
        size = _HEADER.size * count
        with memoryview(messages.headers.memory)[:size].cast("I") as words:
            lengths = words[_LENGTH_AT :: _HEADER.size // 4].tolist()
        with memoryview(messages.names.memory)[: NAME.size * count] as view:
            ports, sources = view.cast("H")[1::8].tolist(), view.cast("I")[1::4].tolist()
        interfaces, targets, ttls = self._controls(count)
        messages.headers.memory[:size] = messages.fresh[:size]
        memory = messages.data.memory
        data = [memory[at : at + length] for at, length in zip(self._starts, lengths, strict=False)]
        texts = map(self._texts.__getitem__, sources)
        broadcasts = map(self._broadcasts.__contains__, targets)
        numbers = map(self._ports.__getitem__, ports)
        columns = zip(data, texts, numbers, interfaces, broadcasts, ttls, strict=True)
        return list(map(_make, columns)), 0

    def _controls(self, count: int) -> tuple[list[int], list[int], list[int]]:
        """Interfaces, destinations (as ``word``) and TTLs of the first ``count`` messages."""
        with memoryview(self._messages.controls.memory)[: CONTROL_ROOM * count].cast("I") as words:
            kinds, interfaces, targets, ttls = (
                words[at :: CONTROL_ROOM // 4].tolist() for at in (_TYPE_AT, _INDEX_AT, _TARGET_AT, _TTL_AT)
            )
        if kinds.count(IP_PKTINFO) == count:
            return interfaces, targets, ttls
        return self._walk(count)

    def _walk(self, count: int) -> tuple[list[int], list[int], list[int]]:
        """The same where other cmsgs stand before ours (a time stamp, say, on an inherited socket)."""
        interfaces, targets, ttls = [0] * count, [0] * count, [0] * count
        memory = self._messages.controls.memory
        for n in range(count):
            used = _HEADER.unpack_from(self._messages.headers.memory, n * _HEADER.size)[5]
            at, end = n * CONTROL_ROOM, n * CONTROL_ROOM + used
            while at + CMSG.size <= end:
                length, level, kind = CMSG.unpack_from(memory, at)
                if level == socket.IPPROTO_IP and kind == IP_PKTINFO:
                    *_, interfaces[n], _, targets[n] = INFO.unpack_from(memory, at)
                elif level == socket.IPPROTO_IP and kind == socket.IP_TTL:
                    *_, ttls[n] = TTL.unpack_from(memory, at)
                at += max(CMSG.size, length + -length % struct.calcsize("@N"))
        return interfaces, targets, ttls


class Sender:
    """Sends datagrams, each with the source address, interface and TTL it asks for.

    ``ttl``, ``address`` and ``port`` are the socket's own, for datagrams that do not say.
    """

    def __init__(
        self, fd: int, ttl: int = 64, address: str = "0.0.0.0", port: int = 0, batch: int = BATCH
    ) -> None:
        self.batch = batch
        self.sent = 0
        self.own_broadcasts = 0  # sent to a broadcast address at our own port: they loop back to us
        self.failed: dict[str, int] = {}  # by cause
        self._fd = fd
        self._port = port
        self._names_of = Names()
        self._controls_of = Controls(ttl, address)
        self._broadcasts: frozenset[bytes] = frozenset()
        self._messages = _Messages(batch, batch * ROOM, CONTROL_SIZE)
        self.set_broadcasts(["255.255.255.255"])

    def set_broadcasts(self, addresses: Iterable[str]) -> None:
        known = frozenset(addresses)
        self._controls_of.set_broadcasts(known)
        if self._port:
            self._broadcasts = frozenset(self._names_of[address, self._port] for address in known)

    def send(self, transmits: Sequence[Transmit]) -> tuple[int, int]:
        """Hand up to ``batch`` datagrams to the kernel: how many are done with, and the errno to wait for.

        Done with is what was sent and what never will be (counted by cause in ``failed``). Never waits.
        """
        done = error = 0
        while done < len(transmits) and not error:
            rest = transmits[done:]
            try:
                count, error = self._pack_and_push(rest)
            except Unsendable:  # before anything left: send those before it, and step over it
                good = self._leading_good(rest)
                count, error = self._pack_and_push(rest[:good]) if good else (0, 0)
                count += not error
            done += count
        return done, error

    def _leading_good(self, transmits: Sequence[Transmit]) -> int:
        """How many of them can be sent before the first that cannot, which is counted."""
        for n, transmit in enumerate(transmits):
            try:
                self._names_of[transmit.to, transmit.port]
                self._controls_of[transmit.speak_as, transmit.interface, transmit.ttl]
                if len(transmit.data) > LONGEST:
                    raise Unsendable(CAUSES[errno.EMSGSIZE])
            except Unsendable as problem:
                self._fail(str(problem))
                return n
        return len(transmits)

    def _pack_and_push(self, transmits: Sequence[Transmit]) -> tuple[int, int]:
        messages, count = self._messages, len(transmits)
        datagrams, to, ports, speak_as, interfaces, ttls = zip(*transmits, strict=True)
        lengths = list(map(len, datagrams))
        if max(lengths) > LONGEST:
            raise Unsendable(CAUSES[errno.EMSGSIZE])
        names = list(map(self._names_of.__getitem__, zip(to, ports, strict=True)))
        controls = map(self._controls_of.__getitem__, zip(speak_as, interfaces, ttls, strict=True))
        messages.controls.memory[: CONTROL_SIZE * count] = b"".join(controls)
        messages.names.memory[: NAME.size * count] = b"".join(names)
        messages.data.memory[: sum(lengths)] = b"".join(datagrams)
        starts = accumulate(lengths[:-1], initial=messages.data.address)
        with memoryview(messages.iovecs.memory).cast("L") as words:
            words[0 : 2 * count : 2] = array("L", list(starts))
            words[1 : 2 * count : 2] = array("L", lengths)
        return self._push(count, names)

    def _push(self, count: int, names: list[bytes]) -> tuple[int, int]:
        """Send what is packed; one that the kernel refuses is counted and holds up nobody."""
        done = 0
        while done < count:
            at = self._messages.headers.address + done * _HEADER.size
            sent = _sendmmsg(self._fd, at, count - done, socket.MSG_DONTWAIT)
            if sent >= 0:
                self.sent += sent
                self.own_broadcasts += sum(map(self._broadcasts.__contains__, names[done : done + sent]))
                done += sent
                continue
            error = ctypes.get_errno()
            if error in OURS:
                raise OSError(error, os.strerror(error))
            if error in TRY_LATER:
                return done, error
            if error != errno.EINTR:
                self._fail(CAUSES.get(error) or f"send failed: {os.strerror(error).lower()}")
                done += 1
        return done, 0

    def _fail(self, cause: str) -> None:
        self.failed[cause] = self.failed.get(cause, 0) + 1
