"""Relays' links on lines of memory, for trio's MockClock: lines with latency that may be cut, stopped or fill up.

Everything behind the links is a stand-in that takes notes; the links, meetings and sessions are the real ones.
"""

from __future__ import annotations

import io
import math
import random
from collections import deque
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import trio

from camrelay.daemon.links import Links
from camrelay.daemon.log import Log
from camrelay.daemon.session import Line
from camrelay.daemon.wire import Bye, Member, Members
from camrelay.errors import LinkError

if TYPE_CHECKING:
    from collections.abc import Collection

    from camrelay.daemon.wire import LinkMessage, Seen
    from camrelay.relay.messages import PeerMessage


def relay_id(name: str) -> str:
    return sha256(name.encode()).hexdigest()


class Wire(trio.abc.Stream):
    """One end of a line."""

    def __init__(self, net: Net, ends: frozenset[str]) -> None:
        self.net = net
        self.ends = ends
        self.other = self
        self.capacity = math.inf  # bytes on their way to the other end before sending has to wait
        self._coming: deque[tuple[float, bytes]] = deque()
        self._unread = 0
        self._news = trio.Event()
        self._closed = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        while self.other._unread + len(data) > self.capacity:
            self._check()
            await self._wait()
        self._check()
        if not self.other._closed:
            self._pass(bytes(data))

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        while not self._closed:
            if self._coming and self._coming[0][0] <= trio.current_time():
                _, data = self._coming.popleft()
                self._unread -= len(data)
                self.other._stir()
                return data
            await self._wait(self._coming[0][0] if self._coming else math.inf)
        raise trio.ClosedResourceError

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            self._pass(b"")
            self._stir()
        await trio.lowlevel.checkpoint()

    def _check(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError

    def _pass(self, data: bytes) -> None:
        if self.ends not in self.net.cut:
            self.other._coming.append((trio.current_time() + self.net.latency(self.ends), data))
            self.other._unread += len(data)
            self.other._stir()

    async def _wait(self, until: float = math.inf) -> None:
        with trio.CancelScope(deadline=until):
            await self._news.wait()

    def _stir(self) -> None:
        self._news.set()
        self._news = trio.Event()


class Net:
    """All sites, and the lines between them. What is sent on a line that is cut is lost, and nobody is told."""

    def __init__(self, nursery: trio.Nursery, seed: int = 1, longest: float = 0.01) -> None:
        self.sites: dict[str, Site] = {}  # by address
        self.cut: set[frozenset[str]] = set()
        self.nursery = nursery
        self.chance = random.Random(seed)
        self.longest = longest
        self.tries: list[tuple[float, str, str]] = []  # when, who, where

    def latency(self, ends: frozenset[str]) -> float:
        """Of one line it is always the same: TCP keeps the order."""
        return self.longest * random.Random(f"{sorted(ends)}").random()

    def lines(self, caller: str, called: str) -> tuple[Line, Line]:
        """Both ends of a new line between two sites."""
        ends = frozenset({caller, called})
        ours, theirs = Wire(self, ends), Wire(self, ends)
        ours.other, theirs.other = theirs, ours
        return Line(ours, f"{called}:2425", relay_id(called)), Line(theirs, f"{caller}:5", relay_id(caller))


class Stub:
    """Stands in for a fleet: everybody of ``names`` is a member and has its name as address."""

    def __init__(self, name: str, names: Collection[str]) -> None:
        self.me = self.member(name)
        self.members = {relay_id(other): self.member(other) for other in names if other != name}
        self.removed: set[str] = set()
        self.invited: set[str] = set()
        self.heard: list[tuple[str, Members | Seen]] = []
        self.answers: list[tuple[str, LinkMessage]] = []
        self.needed = True
        self.cert = b"cert"

    @staticmethod
    def member(name: str) -> Member:
        return Member(relay_id(name), name, (f"{name}:2425",), (name.encode(),), 1)

    def label(self, peer: str) -> str:
        return self.members[peer].name

    def key(self) -> Stub:
        return self

    def pins(self) -> tuple[bytes, ...]:
        return tuple(cert for member in self.members.values() for cert in member.certs)

    def server_context(self, pins: tuple[bytes, ...]) -> Any:
        return pins

    def client_context(self) -> Any:
        return self.me

    def who(self, key: str) -> tuple[str, str] | None:
        if key in self.members:
            return "member", key
        if key in self.invited:
            return "invitation", "one"
        return ("removed", key) if key in self.removed else None

    def addresses(self, peer: str) -> tuple[str, ...]:
        return self.members[peer].addresses if peer in self.members else ()

    def pins_of(self, peer: str) -> frozenset[str]:
        return frozenset({peer})

    def greeting(self, peer: str) -> list[LinkMessage]:
        return [Members((self.me,))]

    def dismissal(self, peer: str) -> list[LinkMessage]:
        return [Bye("removed from the fleet")]

    def hear(self, peer: str, message: Members | Seen) -> list[tuple[str, LinkMessage]]:
        self.heard.append((peer, message))
        answers, self.answers = self.answers, []
        return answers


class Site:
    """One relay: its links, and what they told the rest of it."""

    def __init__(self, net: Net, name: str, names: Collection[str], boot: int = 1) -> None:
        self.net = net
        self.name = name
        self.fleet = Stub(name, names)
        self.relay = Notes(self.fleet)
        self.enrolled: list[Line] = []
        self.notes: list[str] = []  # peers that the store is told of
        self.said = io.StringIO()
        log = Log(trio.current_time)
        log.open(stream=self.said, environment={})
        self.links = Links(
            self.fleet, self.relay, act=self._act, log=log, boot=boot, chance=net.chance,
            reach=self._reach, enrol=self._enrol, heard=self.notes.append,
        )  # type: ignore[arg-type]  # fmt: skip
        self.scope = trio.CancelScope()
        net.sites[name] = self
        net.nursery.start_soon(self._run)

    async def _run(self) -> None:
        with self.scope:
            async with trio.open_nursery() as self.nursery:
                await self.links.run()

    def kill(self) -> None:
        """As kill -9 does it: the kernel closes the connections."""
        self.scope.cancel()
        if self.net.sites.get(self.name) is self:
            del self.net.sites[self.name]

    def sessions(self) -> dict[str, int]:
        """The number of the session with each peer that there is one with."""
        found = self.links._neighbours.values()
        return {each.name: each.session.number for each in found if each.session}

    def row(self, name: str) -> Any:
        (found,) = [row for row in self.links.rows() if row.name == name]
        return found

    # -- the net

    async def _reach(self, where: str, context: Any, accepted: Collection[str], who: str) -> Line:
        name = where.partition(":")[0]
        self.net.tries.append((trio.current_time(), self.name, name))
        ends = frozenset({self.name, name})
        await trio.sleep(2 * self.net.latency(ends))
        if ends in self.net.cut:
            await trio.sleep(5)
            raise LinkError(f"{who} ({where}) did not answer within 5 s")
        if name not in self.net.sites:
            raise LinkError(f"{who} ({where}): connection refused")
        ours, theirs = self.net.lines(self.name, name)
        there = self.net.sites[name]
        there.nursery.start_soon(there.guest, theirs)
        return ours

    async def guest(self, line: Line) -> None:
        """As the door does it."""
        try:
            session = await self.links.admit(line)
            if session:
                await session.run()
        finally:
            await line.close()

    async def _enrol(self, line: Line) -> None:
        self.enrolled.append(line)
        await line.part(Bye("enrolled"))

    def _act(self, outputs: list[Any], now: float) -> None:
        for peer, message in outputs:
            self.links.tell(peer, message)


class Notes:
    """Stands in for the relay: who is linked, and what was heard, by name."""

    def __init__(self, fleet: Stub) -> None:
        self.names: list[str] = []  # of those who are linked
        self.times = 0  # that somebody was linked
        self.heard: list[tuple[str, PeerMessage]] = []
        self.owed: dict[str, list[PeerMessage]] = {}  # what ``more`` hands out
        self._name = {peer: member.name for peer, member in fleet.members.items()}

    def learn(self, member: Member) -> None:
        self._name[member.id] = member.name

    def linked(self, peer: str, now: float) -> list[Any]:
        self.names.append(self._name[peer])
        self.times += 1
        return []

    def hear(self, peer: str, message: PeerMessage, now: float) -> list[Any]:
        assert self._name[peer] in self.names, "not before it is linked"
        self.heard.append((self._name[peer], message))
        return []

    def more(self, peer: str, now: float) -> list[Any]:
        owed = self.owed.get(self._name[peer], [])
        return [(peer, owed.pop(0))] if owed else []

    def unlinked(self, peer: str, now: float) -> list[Any]:
        self.names.remove(self._name[peer])
        return []
