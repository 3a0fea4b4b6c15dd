"""ICMP echo, by the least privilege that works: a datagram socket, a raw one, or the ``ping`` program.

The first needs our group within net.ipv4.ping_group_range, the second CAP_NET_RAW. Both hear who said that the host
cannot be reached.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import socket
import struct
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import trio

from camrelay.daemon.probes import troubles
from camrelay.daemon.probes.ways import way
from camrelay.trace.facts import Fact

if TYPE_CHECKING:
    from collections.abc import Sequence

COUNT: Final = 3
SPACING: Final = 0.2  # seconds
WAIT: Final = 1.0  # seconds for the last answer, if any came
AGAIN: Final = 2.0  # seconds
DEAD_WAIT: Final = 3.3  # seconds for the word that nobody has this address: three questions for its MAC
HEADER: Final = struct.Struct(">BBHHH")  # type, code, checksum, identifier, number
REQUEST: Final = 8
REPLY: Final = 0
KINDS: Final = (socket.SOCK_DGRAM, socket.SOCK_RAW)
BODY: Final = b"camrelay trace: is this host there?"
SOL_RAW: Final = 255
ICMP_FILTER: Final = 1  # linux/icmp.h
ONLY_REPLIES: Final = struct.pack("=I", 0xFFFFFFFF & ~(1 << REPLY))
REMEDY: Final = 'not allowed here: sysctl -w net.ipv4.ping_group_range="0 2147483647" allows it'

PING_WAIT: Final = 5  # seconds after which the program is ended
ROUND_TRIP: Final = re.compile(r"\bttl=(\d{1,3})\b.*?\btime[=<]([\d.]{1,12}) ?ms")
SENT: Final = re.compile(r"^(\d{1,4}) packets transmitted", re.M)
FROM: Final = re.compile(
    r"^From ([\d.]{7,15})\b.*?(Unreachable|Prohibited|Packet filtered|Time to live)", re.M | re.I
)


@dataclass(slots=True)
class Echo:
    """A socket to ask one host with. ``raw``: answers carry their IP header, and we are our own checksum."""

    address: str
    sock: socket.socket
    raw: bool
    ident: int = field(default_factory=lambda: int.from_bytes(os.urandom(2), "big"))

    def ask(self, number: int, body: bytes = BODY) -> None:
        """Send one request. Raises OSError."""
        packet = HEADER.pack(REQUEST, 0, 0, self.ident, number) + body
        packet = HEADER.pack(REQUEST, 0, checksum(packet), self.ident, number) + body
        self.sock.send(packet)

    async def hear(self) -> tuple[list[tuple[int, troubles.Trouble]], list[tuple[int, int]]]:
        """Wait for something: errors with the numbers they are about, and answered numbers with their TTLs."""
        bad, good = await troubles.heard(self.sock)
        errors = [(number_of(trouble.data, REQUEST, self._ident()), trouble) for trouble in bad]
        answers = [(number_of(self._icmp(data), REPLY, self._ident()), ttl) for data, ttl in good]
        return [row for row in errors if row[0] >= 0], [row for row in answers if row[0] >= 0]

    def _ident(self) -> int | None:
        return self.ident if self.raw else None  # the kernel put one in, and minds it

    def _icmp(self, data: bytes) -> bytes:
        return data[(data[0] & 15) * 4 :] if self.raw and data else data


def number_of(data: bytes, kind: int, ident: int | None) -> int:
    """The number of an echo packet of this type (and identifier), -1 for anything else."""
    if len(data) < HEADER.size:
        return -1
    said, code, _, theirs, number = HEADER.unpack_from(data)
    return int(number) if (said, code) == (kind, 0) and ident in (None, theirs) else -1


def checksum(data: bytes) -> int:
    """RFC 1071."""
    data += bytes(len(data) % 2)
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF


def open_echo(address: str, whole: bool = False, kinds: Sequence[int] = KINDS) -> Echo:
    """A socket for one host. ``whole``: never fragmented (DF). Raises OSError: PermissionError if none is allowed."""
    for kind in kinds:
        try:
            sock = socket.socket(socket.AF_INET, kind | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMP)
        except OSError as problem:
            if problem.errno in (errno.EACCES, errno.EPERM, errno.EPROTONOSUPPORT):
                continue
            raise
        try:
            sock.setsockopt(socket.IPPROTO_IP, troubles.IP_RECVERR, 1)
            sock.setsockopt(socket.IPPROTO_IP, troubles.IP_RECVTTL, 1)
            if whole:
                sock.setsockopt(socket.IPPROTO_IP, troubles.IP_MTU_DISCOVER, troubles.IP_PMTUDISC_PROBE)
            if kind == socket.SOCK_RAW:
                sock.setsockopt(SOL_RAW, ICMP_FILTER, ONLY_REPLIES)
            sock.connect((address, 0))
        except BaseException:
            sock.close()
            raise
        return Echo(address, sock, kind == socket.SOCK_RAW)
    raise PermissionError(errno.EPERM, REMEDY)


async def icmp_fact(
    address: str, count: int = COUNT, wait: float = WAIT, kinds: Sequence[int] = KINDS, program: str = "ping"
) -> Fact:
    """icmp: answered (ms, ttl, lost) | silent | unreachable (by, kind) | prohibited (by) | not-checked (why).

    ``kinds`` of sockets are tried one after the other, and then the ``program``.
    """
    start = trio.current_time()
    try:
        echo = open_echo(address, kinds=kinds)
    except PermissionError as problem:
        outcome, detail = await _by_program(address, count, program, troubles.reason(problem))
    except OSError as problem:
        outcome, detail = "not-checked", {"why": troubles.reason(problem)}
    else:
        with echo.sock:
            outcome, detail = await _by_socket(echo, count, wait)
    return Fact("icmp", outcome, round(trio.current_time() - start, 3), detail=detail)


async def _by_socket(echo: Echo, count: int, wait: float) -> tuple[str, dict[str, Any]]:
    asked: dict[int, float] = {}
    answers: dict[int, tuple[float, int]] = {}
    wrong: list[troubles.Trouble] = []
    start = trio.current_time()
    with trio.move_on_after((count - 1) * SPACING + DEAD_WAIT) as whole:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_ask, echo, count, asked, wrong)
            while len(answers) < count and len(wrong) < count:
                if answers or wrong:
                    whole.deadline = min(whole.deadline, start + (count - 1) * SPACING + wait)
                bad, good = await echo.hear()
                now = trio.current_time()
                wrong += [trouble for _, trouble in bad]
                answers |= {n: (now - asked[n], ttl) for n, ttl in good if n in asked and n not in answers}
            nursery.cancel_scope.cancel()
    if answers:
        ms = round(min(seconds for seconds, _ in answers.values()) * 1000, 1)
        lost = len(asked) - len(answers)
        return "answered", {
            "ms": ms,
            "ttl": next(iter(answers.values()))[1],
            "lost": lost,
            "asked": len(asked),
        }
    return _judge(echo.address, wrong)


async def _ask(echo: Echo, count: int, asked: dict[int, float], wrong: list[troubles.Trouble]) -> None:
    """``count`` requests, and one more much later: by then a router may tell the error that it kept back."""
    for number in range(1, count + 2):
        asked[number] = trio.current_time()
        try:
            echo.ask(number)
        except OSError as problem:  # ours, or one that an earlier request met
            if problem.errno in (errno.EPERM, errno.EACCES, errno.ENETUNREACH):
                wrong.append(troubles.own(problem))
        await trio.sleep(SPACING if number < count else AGAIN)
        if wrong:  # they tell few, and other probes want theirs
            return


def _judge(address: str, wrong: Sequence[troubles.Trouble]) -> tuple[str, dict[str, Any]]:
    for trouble in wrong:
        outcome = "prohibited" if trouble.kind in ("prohibited", "refused") else "unreachable"
        if trouble.kind != "too big":
            return outcome, trouble.detail(way(address).source)
    return "silent", {}


async def _by_program(address: str, count: int, program: str, why: str) -> tuple[str, dict[str, Any]]:
    """The same with ``ping``, which may have the privilege that we lack."""
    path = shutil.which(program)
    if path is None:
        return "not-checked", {"why": why}
    words = [path, "-n", "-c", str(count), "-i", str(SPACING), "-W", str(int(DEAD_WAIT)), address]
    with trio.move_on_after(PING_WAIT):
        try:
            done = await trio.run_process(
                words,
                capture_stdout=True,
                capture_stderr=True,
                check=False,
                stdin=subprocess.DEVNULL,
                env={"LC_ALL": "C", "PATH": os.environ.get("PATH", os.defpath)},
            )
        except PermissionError:  # a sandbox does not let programs run that have a privilege
            return "not-checked", {"why": why}
        except OSError as problem:
            return "not-checked", {"why": f"{program}: {troubles.reason(problem)}"}
        complaint = done.stderr[:200].decode("ascii", "replace").partition("\n")[0].strip()
        if complaint and "permitted" not in complaint:
            why = complaint
        return read_ping(done.stdout.decode("ascii", "replace"), why)
    return "not-checked", {"why": f"{program} did not end in time"}


def read_ping(text: str, why: str) -> tuple[str, dict[str, Any]]:
    """What the output of ping (iputils, busybox) says. ``why``: for when it says nothing, as it was not allowed to."""
    rows = [(float(ms), int(ttl)) for ttl, ms in ROUND_TRIP.findall(text) if ms.replace(".", "", 1).isdigit()]
    if rows:
        ms, ttl = min(rows)
        sent = SENT.search(text)
        asked = int(sent.group(1)) if sent else len(rows)
        return "answered", {"ms": ms, "ttl": ttl, "lost": max(asked - len(rows), 0), "asked": asked}
    if found := FROM.search(text):
        by, said = found.group(1), found.group(2).lower()
        if said in ("prohibited", "packet filtered"):
            return "prohibited", {"by": by}
        return "unreachable", {"by": by, "kind": "net" if " Net " in found.group(0) else "host"}
    return ("silent", {}) if SENT.search(text) else ("not-checked", {"why": why})
