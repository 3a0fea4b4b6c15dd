"""The relay as member master of IP Messenger 4.5 and later: polls, agents' reports, and news told through agents.

Rule kept here (design rule 1): a signature says who speaks, not who is where. So a poll and everybody in a report are
hints, also where our own agent reports its own segment: the address is asked, and its answer takes the user in. A
signed poll saves a user that is being given up, nothing more. Several relays are masters side by side, each for the
clients that name it.
"""

from __future__ import annotations

import math
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING

from camrelay.ipmsg.command import Command, Option
from camrelay.ipmsg.master import Note, read_poll, read_report, write_note
from camrelay.ipmsg.signed import signer
from camrelay.relay.agents import Member, Members, Times, net_of
from camrelay.relay.context import Bucket
from camrelay.relay.duties import Duties
from camrelay.relay.questions import ANSWER_WITHIN
from camrelay.relay.snapshot import AgentRow, MasterRow
from camrelay.relay.user import NEVER, State, plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from camrelay.ipmsg.pubkey import PublicKey
    from camrelay.ipmsg.signed import Host, Signed
    from camrelay.relay.agents import Crew
    from camrelay.relay.context import Context
    from camrelay.relay.lists import Lists
    from camrelay.relay.liveness import Liveness
    from camrelay.relay.outputs import Datagram
    from camrelay.relay.registrar import Registrar
    from camrelay.relay.user import Key, User

STEP = 0.02  # seconds between two helpings of what has to be signed
HELPING = 5  # datagrams: 6 signatures, 2 ms
CHECKS = (
    100.0  # signatures looked at per second, 0.1 ms each; who polls once a minute needs 70 for 16 segments
)
CHECKS_AT_ONCE = 500.0  # after a start of ours everybody polls
MAX_WAITING = 1_024  # polls of people who have not answered yet
SHOWN = int(Option.DIR_MASTER | Option.DIALUP)  # a master's status: who sees it tells us of its changes


class Master:
    """Takes in what concerns a member master, and looks after the agents every two seconds."""

    def __init__(self, context: Context, registrar: Registrar, liveness: Liveness, lists: Lists) -> None:
        self._context = context
        self._registrar = registrar
        self._liveness = liveness
        self._lists = lists
        self._members = Members()
        self.duties = Duties(context, self._members)
        self._waiting: dict[str, Member] = {}  # who polled and has not answered yet, by address
        # One for strangers, one for those who polled before: nobody takes up the others' time.
        self._checks = [Bucket(CHECKS, CHECKS_AT_ONCE, 0.0) for _ in range(2)]
        self._noted_until = math.inf  # when our BR_ENTRY stops asking for polls
        self._looked = self._said = -math.inf
        self._handle: dict[int, Callable[[Signed, Datagram, float], None]] = {
            Command.DIR_POLL: self._poll,
            Command.DIR_ANSBROAD: self._report,
            Command.DIR_EVBROAD: self._report,
            Command.DIR_AGENTREJECT: self._reject,
        }

    # -- life ------------------------------------------------------------------------------------------------------

    def begin(self, now: float) -> None:
        """We start, or have got our key. As a master we say so, and that we have just started: poll us."""
        context = self._context
        context.plus, context.note = SHOWN if self._enabled else 0, b""
        context.introduce()  # what we sign says the same
        if self._enabled:
            addresses = sum(len(segment.addresses) for segment in context.segments.remote)
            context.note = write_note(Note(started=True))
            # Until the first pass has asked everybody.
            self._noted_until = now + ANSWER_WITHIN + addresses / context.settings.sweep_rate

    def reconfigure(self, now: float) -> bool:
        """The settings are others now: are we a master from now on, and was it otherwise before?"""
        before = bool(self._context.plus)
        if self._enabled is not before:
            self.begin(now)
        return self._enabled and not before

    @property
    def _enabled(self) -> bool:
        return self._context.settings.master and self._context.identity is not None

    def next_due(self) -> float:
        """When there is something to do."""
        due = self._said + STEP if self.duties.waiting else math.inf
        watched = self._waiting or self._context.note or len(self._members)
        return min(due, self._looked + Times.TICK) if watched else due

    def tick(self, now: float) -> None:
        """Look after the agents, and send what waits for a signature, a few at a time."""
        if now - self._looked >= Times.TICK - STEP / 2:
            self._looked = now
            self._look(now)
        if self.duties.waiting and now - self._said >= STEP / 2:
            self._said = now
            for output in islice(self.duties.said(now), HELPING):
                self._context.emit(output)

    def connected(self, address: str, ok: bool, now: float) -> None:
        """How a ``Connect`` went: ``ok`` if the other side ended it cleanly."""
        self.duties.connected(address, ok, now)

    def _look(self, now: float) -> None:
        if now >= self._noted_until:
            self._context.note = b""
        for address, waiting in list(self._waiting.items()):
            if self._live(address, waiting.name) is not None:
                del self._waiting[address]
                if self._members.named(waiting.name) is None:
                    self._members.seat(waiting)
            elif now - waiting.polled >= ANSWER_WITHIN:
                del self._waiting[address]
        for member in [one for one in self._members if now - one.polled >= Times.SILENT]:
            self.duties.lose(member)
            self._members.drop(member)
            user = self._live(member.address, member.name)
            if user is not None:
                self._liveness.suspect(user, now)
        live = self._members.by_net(lambda one: self._live(one.address, one.name) is not None)
        self.duties.look(live, self._enabled, now)

    def _live(self, address: str, name: Key) -> User | None:
        """The user of that name who is surely there."""
        user = self._context.roster.at.get(address)
        if user is None or not user.home or user.key != name or user.state is not State.ONLINE:
            return None
        return user

    # -- heard -----------------------------------------------------------------------------------------------------

    def hear(self, packet: Signed, datagram: Datagram, now: float) -> None:
        """A dictionary with a DIR_* command, its signature not yet looked at. MalformedPacket if it is nonsense."""
        handle = self._handle.get(packet.mode)
        if handle is None:
            self._context.count("ignored: of another member master")
            return
        handle(packet, datagram, now)

    def _proof(
        self, packet: Signed, member: Member | None, now: float, user: User | None = None
    ) -> PublicKey | None:
        """The key that signed this, and signed it for the first time; None if it is to be dropped."""
        if member is not None and packet.number <= member.number:
            self._context.count("dropped: signed packet that came before")
            return None
        if not self._checks[member is not None].take(now):
            self._context.count("dropped: too many signed packets at once")
            return None
        key = signer(packet, member.key if member else user.known_key if user else None)
        if key is None:
            self._context.count("dropped: not signed by whom it names")
        return key

    def _poll(self, packet: Signed, datagram: Datagram, now: float) -> None:
        """DIR_POLL: who is not known there is asked, and is a member after the answer."""
        name = plain(packet.key)
        source, port = datagram.source, datagram.port
        net = net_of(source, read_poll(packet.fields))
        member = self._members.named(name)
        user = self._live(source, name)
        key = self._proof(packet, member, now, user)
        if key is None:
            return
        self._context.count("polls heard")
        if user is None:
            self._waiting.pop(source, None)
            if len(self._waiting) >= MAX_WAITING:
                del self._waiting[next(iter(self._waiting))]
            self._waiting[source] = Member(name, key, source, port, net, packet.number, now)
            self._lists.hear_of(source, news=True)
            return
        if member is None:
            member = Member(name, key, source, port, net, packet.number, now)
        elif user.asked:
            self._registrar.proved(user, now)
        if (member.net, member.address, member.port) != (net, source, port):
            self.duties.lose(member)
            member.address, member.port, member.net = source, port, net
        member.number, member.polled, member.failed = packet.number, now, False
        self._members.seat(member)

    def _report(self, packet: Signed, datagram: Datagram, now: float) -> None:
        """DIR_ANSBROAD, DIR_EVBROAD: of an agent on duty we believe that it heard somebody; who, is asked."""
        agent, crew = self._members.agent_at(datagram.source)
        if agent is None or crew is None or (agent.name, agent.port) != (plain(packet.key), datagram.port):
            self._context.count("dropped: report of nobody who is our agent")
            return
        told = read_report(packet.fields)
        if self._proof(packet, agent, now) is None:
            return
        agent.number = packet.number
        self._context.count("reports of agents read")
        if packet.mode == Command.DIR_ANSBROAD:
            agent.missed = 0
            crew.answer(len(told.hosts), now)
        for host in told.hosts:
            if crew.net.holds(host.address):
                self._told(host, told.entry, now)
            else:
                self._context.count("ignored: reported from another segment")

    def _told(self, host: Host, started: bool, now: float) -> None:
        """An agent heard ``host`` in its own segment."""
        user = self._context.roster.at.get(host.address)
        if user is None:
            if host.present:
                self._lists.hear_of(host.address)
            return
        same = user.key == plain((host.logon.casefold(), host.host.casefold()))
        if not host.present:
            if same:
                self._liveness.suspect(user, now)
        elif started or not same or _differs(host, user):
            user.wants_list = user.wants_list or (started and not user.is_relay)
            self._lists.hear_of(host.address, news=True)

    def _reject(self, packet: Signed, datagram: Datagram, now: float) -> None:
        """DIR_AGENTREJECT: this client uses no master, or another one."""
        member = self._members.named(plain(packet.key))
        if member is None or member.address != datagram.source:
            self._context.count("dropped: report of nobody who is our agent")
        elif self._proof(packet, member, now) is not None:
            self.duties.lose(member)
            self._members.drop(member)

    # -- shown -----------------------------------------------------------------------------------------------------

    def rows(self, now: float) -> list[MasterRow]:
        """Every network from which somebody polls."""
        polling = Counter(one.net for one in self._members if now - one.polled <= Times.ELIGIBLE)
        return [
            MasterRow(
                network=str(crew.net),
                polling=polling[crew.net],
                agents=[self._agent_row(agent, crew, now) for agent in crew.agents],
                reported=crew.reported,
                answered=now - crew.answered if crew.answered > NEVER else None,
                why=crew.why,
            )
            for crew in self._members.crews.values()
        ]

    def _agent_row(self, agent: Member, crew: Crew, now: float) -> AgentRow:
        user = self._live(agent.address, agent.name)
        nick = user.presence.nick_text or user.presence.logon_text if user else agent.name[0]
        return AgentRow(agent.address, nick, agent is crew.agents[0], agent.score, now - agent.polled)


def _differs(host: Host, user: User) -> bool:
    """Does an agent say something else of this user than we know?"""
    p = user.presence
    away = (host.status ^ p.options) & Option.ABSENCE
    return bool(away) or (host.nick, host.group) != (p.nick_text or p.logon_text, p.group_text)
