"""The clients of ``World``: they do what the real ones were measured to do, and no more.

What a client sends because of a datagram that somebody else sent in another's name is counted as ``provoked``:
an announcement must never draw anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from camrelay.ipmsg import hostlist, signed
from camrelay.ipmsg.command import Command, Option
from camrelay.ipmsg.ipdict import decode
from camrelay.ipmsg.packet import Packet, build, is_ipdict, parse

if TYPE_CHECKING:
    from camrelay.ipmsg.signed import Signed
    from tests.world import World

ALL = "255.255.255.255"


@cache
def segment_of(address: str) -> str:
    """The first three numbers: every segment of the world is a /24."""
    return address.rsplit(".", 1)[0]


@dataclass(slots=True)
class Sent:
    """One datagram that somebody put on the wire."""

    time: float
    sender: str  # whose program sent it: its true address
    source: str
    to: str
    data: bytes
    ttl: int = 64
    _packet: Packet | None = None
    _mode: int = -1

    @property
    def packet(self) -> Packet:
        if self._packet is None:
            self._packet = parse(self.data)
        return self._packet

    @property
    def mode(self) -> int:
        """What it is for, as its sender means it."""
        if not is_ipdict(self.data):
            return self.packet.mode
        if self._mode < 0:
            fields = decode(self.data)
            self._mode = fields.number(b"CMD", Command.SENDMSG)  # an encrypted one hides even that
        return self._mode

    @property
    def dictionary(self) -> Signed:
        """A dictionary packet, whoever signed it."""
        return signed.parse(self.data)

    @property
    def announces(self) -> bool:
        """Somebody speaks as another."""
        return self.source != self.sender


class Client:
    """Lists who enters, answers or changes. ``listed`` is what its window shows: address to nick."""

    version = b"1"
    options = 0
    charset = "cp932"
    adds_from: frozenset[int] = frozenset({Command.BR_ENTRY, Command.ANSENTRY, Command.BR_ABSENCE})

    def __init__(
        self, world: World, address: str, nick: str, logon: str = "", host: str = "", group: str = "sales"
    ) -> None:
        self.world = world
        self.address = address
        self.nick = nick
        self.group = group
        self.logon = (logon or f"u{address}").encode(self.charset)
        self.host = (host or f"pc-{address}").encode(self.charset)
        self.listed: dict[str, str] = {}
        self.number = 0
        self.alive = False
        self.sent_count = 0
        self.provoked = 0
        self.misreadings = 0
        world.nodes[address] = self

    # -- what its user does

    def start(self) -> None:
        self.alive = True
        self.listed = {}
        self.enter()

    def enter(self) -> None:
        self.broadcast(Command.BR_ENTRY)

    def refresh(self) -> None:
        self.listed = {}
        self.enter()

    def rename(self, nick: str) -> None:
        self.nick = nick
        self.broadcast(Command.BR_ABSENCE)

    def exit(self) -> None:
        self.broadcast(Command.BR_EXIT)
        self.alive = False

    def kill(self) -> None:
        self.alive = False

    def move(self, address: str) -> None:
        """The host gets another address; its programs know nothing of it."""
        if self.world.nodes.get(self.address) is self:
            del self.world.nodes[self.address]
        self.address = address
        self.world.nodes[address] = self

    # -- what its program does

    def presence(self, mode: int) -> bytes:
        self.number += 1
        nick, group = self.nick.encode(self.charset), self.group.encode(self.charset)
        return build(self.version, self.number, self.logon, self.host, mode | self.options, nick, group)

    def plain(self, mode: int, body: bytes = b"") -> bytes:
        self.number += 1
        return build(self.version, self.number, self.logon, self.host, mode, body)

    def broadcast(self, mode: int) -> None:
        self.send(self.presence(mode), f"{segment_of(self.address)}.255")

    def send(self, data: bytes, to: str) -> None:
        self.sent_count += 1
        self.world.put(Sent(self.world.now, self.address, self.address, to, data))

    def reply(self, data: bytes, because: Sent) -> None:
        self.provoked += because.announces
        self.send(data, because.source)

    def receive(self, sent: Sent) -> None:
        if is_ipdict(sent.data):
            self.misread(sent)
            return
        packet = sent.packet
        mode = packet.mode
        if mode in self.adds_from:
            self.add(sent, packet)
        if mode == Command.BR_ENTRY:
            self.world.after(self.answer_delay(), lambda: self.answer(sent))
        elif mode == Command.BR_EXIT:
            self.listed.pop(sent.source, None)
        else:
            self.special(packet, sent)

    def misread(self, sent: Sent) -> None:
        """A dictionary looks like the answer of a user "VER" at "1" to those who do not ask for the version."""
        self.misreadings += 1
        self.listed[sent.source] = "VER"

    def accept(self, sent: Sent) -> None:
        """One request over TCP; closing is all that anybody answers."""

    def add(self, sent: Sent, packet: Packet) -> None:
        self.listed[sent.source] = self.nick_of(packet)

    def nick_of(self, packet: Packet) -> str:
        return packet.body.decode(self.charset, "replace")

    def answer_delay(self) -> float:
        return 0.0

    def answer(self, because: Sent) -> None:
        if self.alive:
            self.reply(self.presence(Command.ANSENTRY), because)

    def special(self, packet: Packet, sent: Sent) -> None:
        pass


class Plain(Client):
    """An old or unknown client: ignores BR_ABSENCE (like g2ipmsg, go-ipmsg, ipmsg-rs, FeiQ)."""

    adds_from = frozenset({Command.BR_ENTRY, Command.ANSENTRY})


class PlainGb(Plain):
    """The same in China."""

    charset = "gb18030"


class Feiq(PlainGb):
    """FeiQ 3: says who made it and its MAC address in VER, ignores every hint about charsets."""

    version = b"1_lbt6_0#128#00E04C123456#0#0#0#4001#9"
    options = 0x600000


class ListAsker(Plain):
    """Asks for a member list at its start (like ipymessenger)."""

    def enter(self) -> None:
        self.broadcast(Command.BR_ISGETLIST2)
        self.broadcast(Command.BR_ENTRY)

    def special(self, packet: Packet, sent: Sent) -> None:
        if packet.mode == Command.OKGETLIST:
            self.reply(self.plain(Command.GETLIST, b"0"), sent)
        elif packet.mode == Command.ANSLIST:
            following, entries = hostlist.unpack(packet.body)
            self.listed |= {found.address: found.nick.decode(self.charset) for found in entries}
            if following:
                self.reply(self.plain(Command.GETLIST, b"%d" % following), sent)


class Iptux(Client):
    """iptux 0.8.3: keyed by address, says everything but its start by unicast, numbers begin at 1."""

    version = b"1_iptux 0.8.3"
    options = int(Option.ABSENCE)
    charset = "utf-8"
    asks_too: tuple[str, ...] = ()  # addresses in its settings, asked by unicast at its start

    def presence(self, mode: int) -> bytes:
        self.number += 1
        extra = self.group.encode() + b"\0icon-tux.png\0utf-8\0"
        return build(
            self.version, self.number, self.logon, self.host, mode | self.options, self.nick.encode(), extra
        )

    def start(self) -> None:
        self.number = 0
        super().start()

    def enter(self) -> None:
        data = self.presence(Command.BR_ENTRY)
        self.send(data, ALL)
        self.world.after(
            0.01, lambda: self.send(data, f"{segment_of(self.address)}.255") if self.alive else None
        )
        for address in self.asks_too:
            self.send(self.presence(Command.BR_ENTRY | Option.DIALUP), address)

    def rename(self, nick: str) -> None:
        self.nick = nick
        for address in self.listed:
            self.send(self.presence(Command.BR_ABSENCE), address)

    def exit(self) -> None:
        for address in self.listed:
            self.send(self.presence(Command.BR_EXIT | Option.DIALUP), address)
        self.alive = False

    def nick_of(self, packet: Packet) -> str:
        try:
            return packet.body.decode()
        except UnicodeDecodeError:
            return packet.body.decode("gb18030", "replace")

    def special(self, packet: Packet, sent: Sent) -> None:
        """It answers an answer whose names are in another charset than its own."""
        names = packet.body + packet.extra.partition(b"\0")[0]
        if packet.mode == Command.ANSENTRY:
            try:
                names.decode()
            except UnicodeDecodeError:
                self.reply(self.presence(Command.ANSENTRY), sent)


class Windows(Client):
    """IP Messenger for Windows 4.99: trailer, BR_ENTRY again after 5 s, delayed answers, quiet questions.

    It knows users by name and by address: a known name at another address moves only after 7 s of silence.
    """

    options = 0x0F640000
    fingerprint = b"-<6993d29082e5db80>"

    def __init__(self, world: World, address: str, nick: str, logon: str = "", host: str = "") -> None:
        super().__init__(world, address, nick, logon, host)
        self.number = 1_700_000_000
        self.logon += self.fingerprint
        self.starts = 0
        self.dialup: set[str] = set()
        self.gives_list = True
        self.list_room = hostlist.LIMIT
        self.list_window = False  # one list that it did not ask for is taken after each start or refresh
        self.by_name: dict[tuple[bytes, bytes], tuple[str, float]] = {}

    def names(self) -> tuple[str, str, str, str]:
        return self.logon.decode(self.charset), self.host.decode(self.charset), self.nick, self.group

    def presence(self, mode: int) -> bytes:
        self.number += 1
        answer = mode & 0xFF == Command.ANSENTRY
        logon, host, nick, group = (
            name.encode("utf-8" if answer else self.charset, "replace") for name in self.names()
        )
        lines = b"VS:00010002:4:99:103"
        if not answer:
            tagged = zip((b"UN:", b"HN:", b"NN:", b"GN:"), self.names(), strict=True)
            lines = b"\n".join(tag + text.encode() for tag, text in tagged) + b"\n" + lines
        options = self.options | (Option.UTF8 if answer else 0)
        return build(b"1", self.number, logon, host, mode | options, nick, group + b"\0\n" + lines)

    def start(self) -> None:
        self.by_name = {}
        super().start()

    def refresh(self) -> None:
        self.by_name = {}
        super().refresh()

    def enter(self) -> None:
        self.dialup = set()
        self.list_window = True
        self.send(self.presence(Command.NOOPERATION), f"{segment_of(self.address)}.255")
        self.starts += 1
        start = self.starts
        for delay in (0.25, 5.25):
            self.world.after(
                delay,
                lambda: self.broadcast(Command.BR_ENTRY) if self.alive and self.starts == start else None,
            )

    def broadcast(self, mode: int) -> None:
        super().broadcast(mode)
        for address in sorted(self.dialup):
            self.send(self.presence(mode), address)

    def misread(self, sent: Sent) -> None:
        """It knows dictionaries; what it does with them is in ``tests/windows.py``."""

    def receive(self, sent: Sent) -> None:
        if is_ipdict(sent.data):
            return
        packet = sent.packet
        if (packet.logon, packet.host) == (self.logon, self.host) and sent.source != self.address:
            return
        if packet.mode == Command.BR_ENTRY and packet.options & Option.DIALUP:
            self.dialup.add(sent.source)
        super().receive(sent)
        if packet.mode == Command.BR_EXIT:
            self.dialup.discard(sent.source)
            self.by_name = {name: at for name, at in self.by_name.items() if at[0] != sent.source}

    def add(self, sent: Sent, packet: Packet) -> None:
        self.take(packet.logon, packet.host, packet.options, sent.source, self.nick_of(packet))

    def take(self, logon: bytes, host: bytes, options: int, address: str, nick: str) -> None:
        if logon[-1:] == b">" and not options & Option.ENCRYPT:
            return
        name = logon.lower(), host.lower()
        known, heard = self.by_name.get(name, (address, 0.0))
        if known != address and self.world.now - heard < 7.0:
            address = known
        elif known != address:
            self.listed.pop(known, None)
        self.by_name = {n: at for n, at in self.by_name.items() if at[0] != address or n == name}
        self.by_name[name] = address, self.world.now
        self.listed[address] = nick

    def nick_of(self, packet: Packet) -> str:
        for line in packet.extra.split(b"\n") if packet.options & Option.CAPUTF8 else ():
            if line.startswith(b"NN:"):
                return line[3:].decode()
        return packet.body.decode("utf-8" if packet.options & Option.UTF8 else self.charset, "replace")

    def answer_delay(self) -> float:
        return 0.005 + self.world.random.random()

    def special(self, packet: Packet, sent: Sent) -> None:
        if packet.mode == Command.GETINFO:
            self.reply(self.plain(Command.SENDINFO, b"Win(en)Ver4.99r3(x64)"), sent)
        elif packet.mode == Command.GETLIST and self.gives_list:
            entries = [
                hostlist.Entry(b"u", a.encode(), 0x0F640000, a, 2425, nick.encode(), b"")
                for a, nick in self.listed.items()
            ]
            body, _ = hostlist.pack(entries, int(packet.body or b"0"), self.list_room)
            self.reply(self.plain(Command.ANSLIST | Option.UTF8, body), sent)
        elif packet.mode == Command.ANSLIST and self.list_window:
            following, entries = hostlist.unpack(packet.body)
            charset = "utf-8" if packet.options & Option.UTF8 else self.charset
            for e in entries:
                self.take(e.logon, e.host, e.options, e.address, e.nick.decode(charset, "replace"))
            self.list_window = following >= len(entries) > 0
            if self.list_window:
                self.reply(self.plain(Command.GETLIST, b"%d" % following), sent)
