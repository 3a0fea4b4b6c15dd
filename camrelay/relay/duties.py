"""Looks after the agents of every network: who is let go, who is appointed, what each is given to do, and how it went.

Rules kept here: see ``agents``; a duty is given over TCP, and a connection that the client ends cleanly is its yes; a
list goes through agents only where everybody known reads dictionaries: others take one for a user.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from camrelay.ipmsg.command import Command
from camrelay.ipmsg.master import Duty, duty, wrap
from camrelay.relay.agents import MISSES, OCTETS, Times
from camrelay.relay.outputs import Connect, Transmit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from camrelay.relay.agents import Crew, Member, Members, Net
    from camrelay.relay.context import Context
    from camrelay.relay.segment import Segment

MAX_NEWS = 256  # changes that agents have still to be told; what is beyond goes by unicast


class News:
    """One signed list on its way to the agents of several segments."""

    __slots__ = ("agents", "frame", "packet")

    def __init__(self, frame: bytes) -> None:
        self.frame = frame
        self.packet = b""  # the same as DIR_PACKET, signed when the first agent's turn comes
        self.agents: deque[Member] = deque()


class Duties:
    """Keeps the crews, and what they are to be sent."""

    def __init__(self, context: Context, members: Members) -> None:
        self._context = context
        self._members = members
        self._news: deque[News] = deque()
        self._due: dict[Member, bool] = {}  # to be given: True for the one that asks its segment
        self._calls: dict[str, tuple[Member, float]] = {}  # connections under way, and since when

    @property
    def waiting(self) -> int:
        """Duties and news that have not gone out yet."""
        return len(self._due) + len(self._news)

    def look(self, live: Mapping[Net, list[Member]], enabled: bool, now: float) -> None:
        """Every two seconds. ``live``: the members who are surely there."""
        for address in [a for a, (_, since) in self._calls.items() if now - since >= 2 * Times.ASK_AGAIN]:
            self.connected(address, False, now)  # nobody told us
        for net, crew in self._members.crews.items():
            there = live.get(net, [])
            crew.why = self._why_none(net, there) if enabled else "not enabled"
            self._keep(crew, [] if crew.why else there, now)

    def _keep(self, crew: Crew, live: list[Member], now: float) -> None:
        for agent in [one for one in crew.agents if one not in live]:
            self.lose(agent)
        due = crew.due(now)
        if crew.agents and due and crew.unanswered(now):
            first = crew.agents[0]
            first.missed += 1
            if first.missed >= MISSES:
                first.missed = 0
                first.rests = now + Times.REST
                self.lose(first)
        crew.fill(live, now)
        if crew.agents and due:
            crew.asked = now
            self._due.update((agent, agent is crew.agents[0]) for agent in crew.agents)
        else:
            self._due.update((agent, False) for agent in crew.agents if agent.duty <= now)

    def _why_none(self, net: Net, live: list[Member]) -> str:
        """Why nobody in this network is made an agent; "" if somebody may be."""
        segments = self._context.segments
        if net.prefix not in OCTETS:
            return f"clients compute /{net.prefix} wrongly"
        here = {segment for one in live if (segment := segments.of(one.address)) is not None}
        if any(map(net.holds, segments.own_addresses)) or any(s.interface for s in here):
            return "our own segment"
        if any(user.is_relay and net.holds(user.address) for segment in here for user in segment.users):
            return "a relay is there"
        return ""

    def reach(self, segment: Segment, now: float) -> bool:
        """Can agents broadcast signed lists to all of ``segment``, and nobody there would misread them?"""
        crew = self._members.crew_of(segment)
        if crew is None or not crew.works(now) or len(self._news) >= MAX_NEWS:
            return False
        return all(dialect.signed for dialect in segment.groups)

    def publish(self, segment: Segment, frames: Iterable[bytes]) -> None:
        """Let the agents of ``segment``, who reach it, broadcast these signed lists."""
        crew = self._members.crew_of(segment)
        if crew is None:
            return
        for frame in frames:
            news = next((one for one in self._news if one.frame is frame), None)
            if news is None:
                news = News(frame)
                self._news.append(news)
            news.agents.extend(crew.agents)

    def said(self, now: float) -> Iterator[Connect | Transmit]:
        """What agents are to be sent, signed one by one: duties first."""
        sign, count = self._context.sign, self._context.count
        while self._due:
            agent = next(iter(self._due))
            asks = self._due.pop(agent)
            if agent.address not in self._calls:
                self._calls[agent.address] = agent, now
                command = Command.DIR_BROADCAST if asks else Command.DIR_POLLAGENT
                count("duties given to agents")
                data = sign(command, duty(Duty(int(Times.DUTY), agent.address)))
                yield Connect(agent.address, agent.port, data)
        while self._news:  # three signatures one in another, as the reference sends it
            news = self._news[0]
            if not news.agents:
                self._news.popleft()
                continue
            agent = news.agents.popleft()
            news.packet = news.packet or sign(Command.DIR_PACKET, wrap(news.frame))
            count("requests to agents")
            data = sign(Command.DIR_REQUEST, wrap(news.packet, agent.address))
            yield Transmit(data, agent.address, agent.port)

    def connected(self, address: str, ok: bool, now: float) -> None:
        """How the connection to an agent went."""
        agent, _ = self._calls.pop(address, (None, 0.0))
        if agent is None:
            return
        agent.score = min(agent.score + 1, 1) if ok else max(agent.score - 1, -1)
        if ok:
            agent.polled = now
            agent.duty = now + Times.DUTY
        elif agent.score < 0:
            agent.failed = True
            self.lose(agent)

    def lose(self, agent: Member) -> None:
        """No agent any more."""
        self._due.pop(agent, None)
        crew = self._members.crews.get(agent.net) if agent.net else None
        if crew is not None and agent in crew.agents:
            self._context.count("agents lost")
            crew.drop(agent)
