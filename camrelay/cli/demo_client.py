"""A small IPMSG client: says hello by broadcast, answers others, keeps a list, sends messages.

It does what the clients in the field do and no more: whoever shows up in its list got there through the
network. Each person speaks one of three manners, so that the demo crosses charsets and dialects, too.
"""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from camrelay.errors import MalformedPacket
from camrelay.ipmsg.charset import decode, encode
from camrelay.ipmsg.command import PORT, SENDCHECKOPT, Command, Option
from camrelay.ipmsg.packet import Packet, build, parse
from camrelay.ipmsg.presence import Kind, read

if TYPE_CHECKING:
    from camrelay.ipmsg.presence import Presence

EVERYBODY = "255.255.255.255"
LARGEST = 65535


@dataclass(frozen=True, slots=True)
class Person:
    """Who sits at a PC, and how the client there speaks: "classic", "trailer" (Windows) or "iptux"."""

    nick: str
    group: str
    logon: str
    host: str
    address: str
    manner: str
    charset: str


@dataclass(slots=True)
class Seen:
    """One line of a client's list: what that user says of itself, and when it was first listed."""

    presence: Presence
    at: float

    @property
    def is_relay(self) -> bool:
        return self.presence.kind is Kind.CAMRELAY


@dataclass(slots=True)
class Message:
    """One message as its receiver got it."""

    source: str
    text: str
    at: float


@dataclass(slots=True)
class Sent:
    """One message of ours: when it left, and when and from where its receipt came."""

    at: float
    receipt: float | None = None
    receipt_from: str = ""


@dataclass
class Client:
    """One person's client on a socket bound to ``port`` that may send to ``everybody``."""

    person: Person
    socket: socket.socket
    port: int = PORT
    everybody: str = EVERYBODY
    roster: dict[str, Seen] = field(default_factory=dict)  # by source address, as clients in the field do
    gone: dict[str, float] = field(default_factory=dict)  # address -> when it was taken off the list
    inbox: list[Message] = field(default_factory=list)
    sent: dict[int, Sent] = field(default_factory=dict)
    _numbers: count[int] = field(default_factory=lambda: count(int(time.time())))

    def enter(self) -> None:
        """Say hello to the segment."""
        self._presence(Command.BR_ENTRY, self.everybody, self.port)

    def leave(self) -> None:
        """Say goodbye to the segment."""
        self._presence(Command.BR_EXIT, self.everybody, self.port)

    def say(self, address: str, text: str) -> Sent:
        """Send a message and ask for its receipt."""
        listener = self.roster[address].presence
        utf8 = bool(listener.options & Option.CAPUTF8)
        command = Command.SENDMSG | SENDCHECKOPT | (int(Option.UTF8) if utf8 else 0)
        body = encode(text, "utf-8" if utf8 else listener.charset)
        sent = Sent(time.monotonic())
        self.sent[self._send(command, address, self.port, body)] = sent
        return sent

    def receive(self) -> None:
        """Take what has arrived; junk is dropped."""
        while True:
            try:
                data, (source, port) = self.socket.recvfrom(LARGEST, socket.MSG_DONTWAIT)
                packet = parse(data)
            except BlockingIOError:
                return
            except MalformedPacket:
                continue
            if source != self.person.address:  # our own broadcasts come back
                self._hear(packet, source, port)

    def _hear(self, packet: Packet, source: str, port: int) -> None:
        match packet.mode:
            case Command.BR_ENTRY:
                self._list(packet, source)
                self._presence(Command.ANSENTRY, source, port)
            case Command.ANSENTRY | Command.BR_ABSENCE:
                self._list(packet, source)
            case Command.BR_EXIT:
                if self.roster.pop(source, None):
                    self.gone[source] = time.monotonic()
            case Command.SENDMSG:
                self._read(packet, source, port)
            case Command.RECVMSG:
                sent = self.sent.get(int(packet.body)) if packet.body.isdigit() else None
                if sent:
                    sent.receipt, sent.receipt_from = time.monotonic(), source
            case Command.GETINFO:
                self._send(Command.SENDINFO, source, port, b"camrelay demo client")

    def _list(self, packet: Packet, source: str) -> None:
        presence = read(packet)
        if source in self.roster:
            self.roster[source].presence = presence
        else:
            self.roster[source] = Seen(presence, time.monotonic())

    def _read(self, packet: Packet, source: str, port: int) -> None:
        charset = "utf-8" if packet.options & Option.UTF8 else self.person.charset
        self.inbox.append(Message(source, decode(packet.body, charset), time.monotonic()))
        if packet.options & SENDCHECKOPT:
            self._send(Command.RECVMSG, source, port, packet.number)

    def _presence(self, command: Command, address: str, port: int) -> None:
        """One presence packet in this person's manner."""
        person = self.person
        nick, group = (encode(text, person.charset) for text in (person.nick, person.group))
        options = 0
        if person.manner == "iptux":
            group += b"\0icon-tux.png\0utf-8\0"
        elif person.manner == "trailer":
            options = int(Option.CAPUTF8)
            names = {"UN": person.logon, "HN": person.host, "NN": person.nick, "GN": person.group}
            lines = [f"{tag}:{text}" for tag, text in names.items()]
            group += b"\0\n" + "\n".join([*lines, "VS:00010001:3:50:100"]).encode()
        self._send(command | options, address, port, nick, group)

    def _send(self, command: int, address: str, port: int, body: bytes, extra: bytes | None = None) -> int:
        number = next(self._numbers)
        version = b"1_iptux 0.8.3" if self.person.manner == "iptux" else b"1"
        logon, host = (encode(text, self.person.charset) for text in (self.person.logon, self.person.host))
        self.socket.sendto(build(version, number, logon, host, command, body, extra), (address, port))
        return number
