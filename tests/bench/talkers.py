"""IPMSG hosts for the bench, as threads of ours in a namespace: one socket speaks for many addresses of it."""

from __future__ import annotations

import socket
import struct
import threading
import time
from typing import TYPE_CHECKING, Self

from camrelay.errors import MalformedPacket
from camrelay.ipmsg import signed
from camrelay.ipmsg.command import PORT, Command
from camrelay.ipmsg.packet import is_ipdict, parse
from tests.bench.words import of_user

if TYPE_CHECKING:
    from types import TracebackType

    from tests.netns import Namespace

IP_PKTINFO = 8
SO_RCVBUFFORCE = 33
ROOM = 16 << 20


def open_socket(address: str = "0.0.0.0") -> socket.socket:
    """UDP 2425 in the namespace of the calling thread; says to which address a datagram came."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, ROOM)
    sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
    sock.bind((address, PORT))
    sock.settimeout(0.1)
    return sock


class Talker:
    """Listens in a thread while it is entered; ``hear`` is called there with every packet of somebody else."""

    def __init__(self, where: Namespace, address: str = "0.0.0.0") -> None:
        self.socket = where.call(open_socket, address)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._listen, name=f"talker in {where.name}")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        self.socket.close()

    def say(self, data: bytes, to: str, speak_as: str) -> None:
        """Send from one of the namespace's own addresses."""
        info = struct.pack("=I4s4s", 0, socket.inet_aton(speak_as), bytes(4))
        self.socket.sendmsg([data], [(socket.IPPROTO_IP, IP_PKTINFO, info)], 0, (to, PORT))

    def hear(self, data: bytes, source: str, to: str, when: float) -> None:
        """One datagram; ``when`` is monotonic."""

    def _listen(self) -> None:
        while not self._over.is_set():
            try:
                data, control, _, (source, _) = self.socket.recvmsg(8192, 64)
            except TimeoutError:
                continue
            when = time.monotonic()
            to = next((socket.inet_ntoa(c[2][8:12]) for c in control if c[1] == IP_PKTINFO), "")
            self.hear(data, source, to, when)


class Hosts(Talker):
    """Hosts that answer whoever asks who is there. ``asked``: address to the time of its first question."""

    def __init__(self, where: Namespace, addresses: list[str]) -> None:
        super().__init__(where)
        self.asked: dict[str, float] = {}
        self._number = {address: number for number, address in enumerate(addresses)}

    def hear(self, data: bytes, source: str, to: str, when: float) -> None:
        try:
            packet = parse(data)
        except MalformedPacket:
            return
        if packet.mode == Command.BR_ENTRY and to in self._number and source not in self._number:
            self.asked.setdefault(to, when)
            self.say(of_user(self._number[to], Command.ANSENTRY), source, to)


class Newcomers(Talker):
    """Users that start, one address each; when the relay answered them."""

    def __init__(self, where: Namespace) -> None:
        super().__init__(where)
        self.started: dict[str, float] = {}
        self.answered: dict[str, float] = {}

    def start_one(self, number: int, address: str, broadcast: str) -> None:
        """User ``number`` says BR_ENTRY from ``address``."""
        self.started[address] = time.monotonic()
        self.say(of_user(number), broadcast, address)

    def hear(self, data: bytes, source: str, to: str, when: float) -> None:
        if to in self.started and b"camrelay" in data and packet_mode(data) == Command.ANSENTRY:
            self.answered.setdefault(to, when)


class Listener(Talker):
    """Somebody who lists: the first time each source was heard of, of whom it was."""

    def __init__(self, where: Namespace, address: str = "0.0.0.0") -> None:
        super().__init__(where, address)
        self.heard: dict[str, float] = {}

    def hear(self, data: bytes, source: str, to: str, when: float) -> None:
        if is_ipdict(data):
            for host in signed.hosts(signed.parse(data).fields):
                self.heard.setdefault(host.address, when)
        elif source not in self.heard and packet_mode(data) in (Command.BR_ABSENCE, Command.ANSENTRY):
            self.heard[source] = when


def packet_mode(data: bytes) -> int:
    """What it is for; -1 for what is no packet."""
    try:
        return parse(data).mode
    except MalformedPacket:
        return -1
