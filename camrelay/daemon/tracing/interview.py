"""One client, asked in its own language: presence, version, key and member list, each with when it came.

Answers are seen at the tap, beside the relay: what it makes of them is its own business.
"""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING, NamedTuple

import trio

from camrelay.errors import MalformedPacket
from camrelay.ipmsg import hostlist
from camrelay.ipmsg.charset import decode
from camrelay.ipmsg.command import Command
from camrelay.ipmsg.packet import Packet, is_ipdict, parse
from camrelay.ipmsg.presence import Presence, read
from camrelay.ipmsg.pubkey import read_answer
from camrelay.ipmsg.trailer import clean
from camrelay.relay.outputs import Datagram, Transmit
from camrelay.relay.questions import Asked

if TYPE_CHECKING:
    from collections.abc import Callable

    from camrelay.daemon.tap import Ear, Seen
    from camrelay.daemon.tracing import Stand

MOST_NAMES = 8  # under which one address is remembered
MOST_LISTED = 20_000  # users in one client's list
LONGEST_VERSION = 100  # characters
MOST_ANSWERS = 256  # of one kind that are kept: a flood in its name fills no memory
SMALL = 1_400  # bytes of a datagram that no way fragments; our own questions are a few hundred
ASKING: dict[int, Asked] = {Command.BR_ENTRY: Asked.ENTRY, Command.GETINFO: Asked.INFO}


class Answer(NamedTuple):
    """One ANSENTRY."""

    at: float
    presence: Presence
    ttl: int
    port: int


class Interview:
    """What the client at ``address`` said since we began. Times are monotonic seconds."""

    def __init__(self, stand: Stand, address: str) -> None:
        self.began = trio.current_time()  # when the first question was asked
        self.answers: list[Answer] = []
        self.names: dict[tuple[str, str], str] = {}  # under which it spoke of itself
        # Small questions that it may be answering, also those of the relay's own rounds: how many, and the last one.
        self.small: Counter[Asked] = Counter()
        self.small_at: dict[Asked, float] = {}
        self.versions: list[str] = []  # one for each GETINFO that it answered
        self.bits = 0  # of its public key
        self.spoken = trio.Event()  # it answered something
        self.first: Datagram | None = None  # that did
        self.first_at = 0.0
        self.listed: set[str] = set()  # addresses
        self.pages = 0
        self.following = 0  # where its list goes on; 0: it is complete
        self._stand = stand
        self._address = address
        here = IPv4Address(address)
        self._wires = {one.index for one in stand.interfaces() if here in IPv4Network(one.network)}
        self._news = trio.Event()
        self._begun = False

    # -- asking ----------------------------------------------------------------------------------------------------

    def ask(self, kinds: Asked, pad: int = 0, start: int = 0) -> int:
        """Ask, at once. Returns the bytes of the longest question."""
        now = trio.current_time()
        if not self._begun:
            self._begun, self.began = True, now
        outputs = self._stand.relay.ask(self._address, kinds, now, pad, start)
        self._stand.act(outputs, now)
        return max((len(getattr(output, "data", b"")) for output in outputs), default=0)

    async def until(self, happened: Callable[[], bool], at: float) -> bool:
        """Wait for something that it says, until this time at most. Has it happened?"""
        with trio.move_on_at(at):
            while not happened():
                await self._news.wait()
        return happened()

    def stir(self) -> None:
        """Who waits looks again: something else has happened."""
        self._news.set()
        self._news = trio.Event()

    def spoke(self) -> bool:
        """Did it answer anything?"""
        return self.first is not None

    def answered(self) -> bool:
        """Did it answer BR_ENTRY?"""
        return bool(self.answers)

    # -- hearing ---------------------------------------------------------------------------------------------------

    def wanted(self, seen: Seen) -> bool:
        """For the tap: what it says, and what we say to it or to everybody on its wire."""
        packet = seen.packet
        if isinstance(packet, Transmit):
            return packet.speak_as is None and (packet.to == self._address or packet.interface in self._wires)
        return packet.source == self._address

    async def listen(self, ear: Ear) -> None:
        """Take in what it says, until cancelled."""
        async for seen in ear:
            if isinstance(seen.packet, Datagram):
                self._take(seen.packet, seen.at)
                self.stir()
            elif len(seen.packet.data) <= SMALL:
                self._note(seen.packet.data, seen.at)

    def _note(self, data: bytes, at: float) -> None:
        """A question of ours."""
        try:
            kind = ASKING.get(parse(data).mode) if not is_ipdict(data) else None
        except MalformedPacket:  # another trace sends there what a peer wants to be sent: cut off, perhaps
            return
        if kind is not None:
            self.small[kind] += 1
            self.small_at[kind] = at

    def _take(self, datagram: Datagram, at: float) -> None:
        try:
            packet = parse(datagram.data)
            answer = self._answer(packet, datagram, at)
        except MalformedPacket:
            return
        if answer and not datagram.broadcast and self.first is None:
            self.first, self.first_at = datagram, at
            self.spoken.set()

    def _answer(self, packet: Packet, datagram: Datagram, at: float) -> bool:
        """Is it an answer to a question of ours? Raises MalformedPacket."""
        match packet.mode:
            case Command.ANSENTRY:
                presence = self._named(packet)
                if not datagram.broadcast and len(self.answers) < MOST_ANSWERS:
                    self.answers.append(Answer(at, presence, datagram.ttl, datagram.port))
            case Command.BR_ENTRY | Command.BR_ABSENCE:
                self._named(packet)
                return False
            case Command.SENDINFO if len(self.versions) < MOST_ANSWERS:
                self.versions.append(clean(decode(packet.body, "utf-8"))[:LONGEST_VERSION])
            case Command.ANSPUBKEY:
                self.bits = read_answer(packet.body)[1].bits
            case Command.ANSLIST:
                self.following, entries = hostlist.unpack(packet.body)
                if len(self.listed) < MOST_LISTED:
                    self.listed.update(entry.address for entry in entries)
                self.pages += 1
            case _:
                return False
        return True

    def _named(self, packet: Packet) -> Presence:
        presence = read(packet, self._stand.config().relay.codepage)
        if len(self.names) < MOST_NAMES:
            self.names.setdefault(presence.key, presence.nick_text or presence.logon_text)
        return presence
