"""Who polls us as member master, from which network, and which of them are its agents.

Rules kept here (``mainwindir.cpp`` of 4.99r3): up to three agents per network, by score and then by how lately they
were active; the first asks its segment, the others report what they hear; who fails returns with its next poll. And
one of ours: no agents where the client computes its network wrongly, or where somebody serves it already.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, NamedTuple

from camrelay.relay.segment import number
from camrelay.relay.user import NEVER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from camrelay.ipmsg.master import Network
    from camrelay.ipmsg.pubkey import PublicKey
    from camrelay.relay.segment import Segment
    from camrelay.relay.user import Key


class Times:
    """When what is due, in seconds: the values of the reference client."""

    TICK = 2.0  # between two looks at the agents
    CYCLE = 180.0  # between two rounds of questions in a segment
    POLL = 60.0  # a client's own pace
    ELIGIBLE = POLL + 5.0  # since the last poll: whoever is longer silent is not made an agent
    DUTY = CYCLE + 10.0  # how long an agent reports
    ASK_AGAIN = 8.0  # an agent that was asked has answered by then (6 s), or is asked again
    SLOWEST = 6.0  # the answer that the next round is planned for
    SILENT = CYCLE + 16.0  # without any poll: no agent any more, and asked whether it is there at all
    CONNECT = 3.0  # for a connection to an agent, in all (the daemon keeps it)
    REST = CYCLE  # ours: no duty for whoever took two in a row and reported nothing


AGENTS = 3
MISSES = 2
OCTETS = (8, 16, 24)  # the networks that 4.99r3 computes rightly (ipmsgbase.h, Addr::ToNet)
MAX_MEMBERS = 4_096  # users who poll: 16 full segments; more of them are swept as everybody is


class Net(NamedTuple):
    """A network, computed by us: ``base`` and ``last`` as numbers."""

    base: int
    last: int
    prefix: int

    def holds(self, address: str) -> bool:
        """Is ``address`` in it?"""
        return self.base <= number(address) <= self.last

    def __str__(self) -> str:
        return f"{IPv4Address(self.base)}/{self.prefix}"


def net_of(source: str, networks: Iterable[Network]) -> Net | None:
    """The network of a poll that its sender is in; None if it names no such network.

    Only the prefix is believed: the address beside it is right for whole octets alone, so any other prefix counts
    where no network that contains the sender is named.
    """
    value = number(source)
    named = []
    odd = []
    for one in networks:
        mask = 0xFFFFFFFF << (32 - one.prefix) & 0xFFFFFFFF
        if number(one.address) & mask == value & mask:
            named.append(one.prefix)
        elif one.prefix not in OCTETS:
            odd.append(one.prefix)
    if not named and not odd:
        return None
    prefix = max(named or odd)
    mask = 0xFFFFFFFF << (32 - prefix) & 0xFFFFFFFF
    return Net(value & mask, value | ~mask & 0xFFFFFFFF, prefix)


@dataclass(slots=True, eq=False)
class Member:
    """A user who polls. Times are monotonic seconds."""

    name: Key
    key: PublicKey  # its packets are signed with it: the key first seen, as in the reference
    address: str
    port: int
    net: Net | None
    number: int  # of its last packet: an older one is a repetition
    polled: float  # its last poll, or the last duty that it took
    score: int = 0  # -1 to 1: how its connections went
    failed: bool = False  # its last connection did, and it has not polled since
    missed: int = 0  # rounds that it took and did not report
    rests: float = 0.0  # no agent before
    duty: float = 0.0  # until when it reports


@dataclass(slots=True, eq=False)
class Crew:
    """The agents of one network, the one that asks first."""

    net: Net
    agents: list[Member] = field(default_factory=list)
    asked: float = NEVER
    answered: float = NEVER
    latency: float = Times.SLOWEST
    reported: int = 0
    why: str = ""  # why there are no agents

    def due(self, now: float) -> bool:
        """Is it time for the next round?"""
        pause = Times.CYCLE - min(self.latency, Times.SLOWEST)
        return now - self.asked > Times.ASK_AGAIN and now - self.answered > pause

    def unanswered(self, now: float) -> bool:
        """Was the last round asked for, and never reported?"""
        return self.asked > self.answered and now - self.asked > Times.ASK_AGAIN

    def drop(self, member: Member) -> None:
        """No agent any more."""
        if member in self.agents:
            if member is self.agents[0]:
                self.asked = NEVER  # the next one asks at once
            self.agents.remove(member)
        member.duty = 0.0

    def answer(self, reported: int, now: float) -> None:
        """The one that asks has reported so many users."""
        self.latency = min(max(0.0, now - self.asked), Times.SLOWEST)
        self.answered = now
        self.reported = reported

    def works(self, now: float) -> bool:
        """Does somebody here pass on what we send? Reporting on time is the sign of it."""
        return bool(self.agents) and now - self.answered < Times.DUTY + Times.ASK_AGAIN

    def fill(self, candidates: Iterable[Member], now: float) -> None:
        """Appoint the best until there are enough."""
        free = [one for one in candidates if one not in self.agents and may_serve(one, now)]
        free.sort(key=lambda one: (one.score, one.polled), reverse=True)
        self.agents.extend(free[: AGENTS - len(self.agents)])


def may_serve(member: Member, now: float) -> bool:
    """Has it polled lately, also since it last failed?"""
    return now - member.polled <= Times.ELIGIBLE and not member.failed and now >= member.rests


class Members:
    """All who poll, by name, and their networks. Bounded: the one silent for longest goes first."""

    def __init__(self, most: int = MAX_MEMBERS) -> None:
        self._most = most
        self._by_name: dict[Key, Member] = {}  # in the order of their last polls
        self.crews: dict[Net, Crew] = {}

    def __len__(self) -> int:
        return len(self._by_name)

    def __iter__(self) -> Iterator[Member]:
        return iter(self._by_name.values())

    def named(self, name: Key) -> Member | None:
        """Who polled under this name."""
        return self._by_name.get(name)

    def seat(self, member: Member) -> None:
        """It polled: in the network it now names."""
        before = self._by_name.pop(member.name, None)
        if before is not None and before is not member:
            self.drop(before)
        while len(self._by_name) >= self._most:
            self.drop(next(iter(self._by_name.values())))
        self._by_name[member.name] = member
        if member.net is not None:
            self.crews.setdefault(member.net, Crew(member.net))

    def drop(self, member: Member) -> None:
        """Nothing of it is kept."""
        if self._by_name.get(member.name) is member:
            del self._by_name[member.name]
        crew = self.crews.get(member.net) if member.net else None
        if crew is not None:
            crew.drop(member)

    def agent_at(self, address: str) -> tuple[Member, Crew] | tuple[None, None]:
        """The current agent at this address."""
        for crew in self.crews.values():
            for agent in crew.agents:
                if agent.address == address:
                    return agent, crew
        return None, None

    def crew_of(self, segment: Segment) -> Crew | None:
        """The agents whose broadcasts reach ``segment``, behind our routers, and nobody else."""
        if not self.crews or segment.interface is not None:
            return None
        base = number(segment.name.replace("*", "0"))
        return self.crews.get(Net(base, base + 255, 24))

    def by_net(self, chosen: Callable[[Member], bool]) -> dict[Net, list[Member]]:
        """The members that are ``chosen``, by network. A network without any member at all is forgotten."""
        found: dict[Net, list[Member]] = {}
        inhabited = set()
        for member in self._by_name.values():
            if member.net is not None:
                inhabited.add(member.net)
                if chosen(member):
                    found.setdefault(member.net, []).append(member)
        for net in [net for net in self.crews if net not in inhabited]:
            del self.crews[net]
        return found
