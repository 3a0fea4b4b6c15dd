"""The relay: a datagram and the time in, datagrams to send and events out. Synchronous, so every call is atomic.

What is decided where: what a datagram is worth in ``hearing``, who is taken in, moves and goes in ``registrar``, who
is still here in ``liveness``, who is asked in ``sweep``, who is told in ``announce``, member lists in ``lists``.
"""

from __future__ import annotations

from ipaddress import AddressValueError
from typing import TYPE_CHECKING

from camrelay.errors import MalformedPacket, UsageError
from camrelay.ipmsg.command import PORT, Command
from camrelay.relay import view
from camrelay.relay.announce import Announcer
from camrelay.relay.context import Bucket, Context
from camrelay.relay.dictionaries import Dictionaries
from camrelay.relay.hearing import Hearing
from camrelay.relay.lists import Lists
from camrelay.relay.liveness import Liveness
from camrelay.relay.looking import Known, Looking
from camrelay.relay.mail import Mail
from camrelay.relay.master import Master
from camrelay.relay.outputs import UserForgotten
from camrelay.relay.peering import Peering
from camrelay.relay.peers import Peers
from camrelay.relay.questions import Asked, Questions
from camrelay.relay.registrar import Registrar
from camrelay.relay.roster import Roster
from camrelay.relay.segment import Segment, Segments
from camrelay.relay.settling import Settling
from camrelay.relay.sweep import Sweep
from camrelay.relay.user import SavedUser, State, User, revive

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from camrelay.ipmsg.crypto import PrivateKey
    from camrelay.relay.messages import PeerMessage, RelayId, Row
    from camrelay.relay.outputs import Datagram, Interface, Output
    from camrelay.relay.rules import Settings
    from camrelay.relay.snapshot import PeerRow, Snapshot, UserRow

SERVED_AT_ONCE = 200.0  # seconds: users heard less than that before a restart need no proof (design rule 10)


class Relay:
    """One relay. Times are monotonic seconds."""

    def __init__(
        self,
        settings: Settings,
        interfaces: Sequence[Interface],
        *,
        hostname: str,
        number: int,
        random: random.Random,
        can_speak: bool,
        now: float,
        key: PrivateKey | None = None,
        old_key: PrivateKey | None = None,
    ) -> None:
        segments = Segments(interfaces, settings.remote, settings.accept_from)
        context = Context(settings, segments, Roster(), hostname, number, random, can_speak)
        context.introduce(key, old_key)
        self._context = context
        self._bucket = Bucket.never_above(settings.sweep_rate, now)
        self._questions = Questions(context)
        self._announcer = Announcer(context, now)
        self._lists = Lists(context, self._questions, self._announcer, self._bucket)
        self._liveness = Liveness(context, self._questions, self._bucket, self._gone, self._forgotten, now)
        self._sweep = Sweep(context, self._questions, self._bucket, now)
        self._registrar = Registrar(context, self._announcer, self._lists, self._liveness, self._questions)
        self._peers = Peers()
        settling = self._registrar.settling = Settling(
            context, self._peers, self._registrar, self._announcer, self._liveness, now
        )
        self._liveness.hand_over = settling.gave_up
        settling.ask = self._lists.hear_of
        self._peering = Peering(context, self._peers, settling, self._announcer, self._sweep, now)
        self._dirty = self._peering.dirty
        self._master = Master(context, self._registrar, self._liveness, self._lists)
        self._announcer.agents = self._master.duties
        mail = Mail(context, self._questions, now)
        self._hearing = Hearing(
            context,
            self._questions,
            self._registrar,
            self._lists,
            self._liveness,
            self._sweep,
            mail,
            Dictionaries(context, self._lists, mail, self._master),
        )
        self.look = Looking(
            Known(
                context,
                self._peers,
                settling,
                self._peering,
                self._announcer,
                self._liveness,
                self._questions,
                self._hearing.hints.pointed,
            )
        )
        self._next_entry = self._next_everything = now

    # -- what the daemon calls -----------------------------------------------------------------------------------

    @property
    def counters(self) -> dict[str, int]:
        """How often what happened; every cause of a drop has its own."""
        return self._context.counters

    @property
    def congested(self) -> bool:
        """Set by the daemon while its send queue is half full: questions and lists are held back."""
        return self._context.congested

    @congested.setter
    def congested(self, value: bool) -> None:
        self._context.congested = value

    def start(self, now: float) -> list[Output]:
        """Ask our own segments who is there, and begin the first pass over the remote ones.

        Who is restored is announced again: clients may have come or lost their lists while we were away.
        """
        self._next_everything = now + self._context.settings.announce_every
        self._master.begin(now)
        if len(self._context.roster):
            self._announcer.rounds.everything()
        self._enter(self._context.segments.local, now)
        self._peering.begin()
        self._sweep.readdress(self._peering.parts.swept(), now)
        return self._take(now)

    def receive(self, datagram: Datagram, now: float) -> list[Output]:
        """What follows from one datagram."""
        self._hearing.hear(datagram, now)
        return self._take(now) if self._context.outbox or self._dirty else []

    def tick(self, now: float) -> list[Output]:
        """What follows from the time that has passed."""
        if now >= self._next_entry:
            self._enter(self._context.segments.local, now)
        if now >= self._next_everything:
            self._next_everything = now + self._context.settings.announce_every
            self._announcer.rounds.everything()
        self._master.tick(now)
        self._liveness.tick(now)
        self._registrar.tick(now)
        self._lists.tick(now)
        self._sweep.tick(now)
        self._context.hurried = self._sweep.left > 0
        self._peering.tick(now)
        self._announcer.tick(now)
        return self._take(now)

    def next_due(self) -> float:
        """When ``tick`` has something to do."""
        return min(
            self._next_entry,
            self._next_everything,
            self._master.next_due(),
            self._liveness.next_due(),
            self._registrar.next_due(),
            self._lists.next_due(),
            self._sweep.next_due(),
            self._peering.next_due(),
            self._announcer.next_due(),
        )

    def readdress(self, interfaces: Sequence[Interface], now: float) -> list[Output]:
        """Our addresses changed: everybody is looked up anew, and new segments are entered."""
        settings = self._context.settings
        before = self._context.segments
        old = {segment.interface for segment in before.local}
        segments = self._context.segments = Segments(interfaces, settings.remote, settings.accept_from)
        self._context.sharing.forget_segments()
        self._peering.parts.readdress(before, now)
        for user in list(self._context.roster.by_key.values()):
            self._registrar.reseat(user, segments.of(user.address), now)
        self._announcer.readdress()
        self._enter([segment for segment in segments.local if segment.interface not in old], now)
        return self._take(now)

    def reconfigure(self, settings: Settings, now: float) -> list[Output]:
        """Other settings from now on; the roster stays."""
        context = self._context
        reshared = settings.shares != context.settings.shares
        if reshared:
            context.sharing.take(settings.shares)
        context.settings = settings
        context.introduce()
        self._bucket.limit(settings.sweep_rate)
        self._next_everything = min(self._next_everything, now + settings.announce_every)
        interfaces = [s.interface for s in context.segments.local if s.interface]
        master = self._master.reconfigure(now)
        outputs = self.readdress(interfaces, now)
        if reshared:
            self._peering.reshare(now)
        if master:
            self._ask_for_polls(now)
        return outputs + self._take(now)

    def adopt(self, key: PrivateKey, now: float, old_key: PrivateKey | None = None) -> list[Output]:
        """This is our key: our name changes with it, and whoever reads signed lists gets them."""
        context = self._context
        context.introduce(key, old_key)
        self._master.begin(now)
        if context.plus:
            self._ask_for_polls(now)
        for segment in () if context.plus else context.segments.local:
            self._say_broadcast(Command.BR_ABSENCE, segment)
        self._announcer.renamed()
        return context.take()

    def connected(self, address: str, ok: bool, now: float) -> None:
        """How a ``Connect`` went: ``ok`` if the other side took it and closed."""
        self._master.connected(address, ok, now)

    def distrust(self, now: float) -> None:
        """The machine slept: everybody has to prove itself again, and others may have come."""
        for user in [one for one in self._context.roster.online() if one.home]:
            user.state = State.UNVERIFIED
            self._liveness.watch(user, now)
        self._next_entry = now
        self._sweep.begin(self._peering.parts.swept(), now)

    def restore(self, saved: Iterable[SavedUser], now: float) -> None:
        """Take in what was known before a restart; what cannot be read is counted and left out."""
        for item in saved:
            try:
                segment = self._context.segments.of(item.address)
                if segment is None:
                    self._context.count("not restored: address belongs to no segment of ours")
                    continue
                user = revive(item, segment, self._context.settings.codepage, now)
            except (MalformedPacket, AddressValueError):
                self._context.count("not restored: damaged record")
                continue
            if user.key in self._context.roster.by_key:
                self._context.count("not restored: the same name twice")
                continue
            if not item.online or item.address in self._context.roster.at:
                user.state = State.OFFLINE
            elif item.heard >= SERVED_AT_ONCE:
                user.state = State.UNVERIFIED
            self._context.roster.add(user)
            self._liveness.plan(user, now)
            if user.state is State.OFFLINE and item.heard < 2 * self._context.settings.announce_every:
                self._announcer.rounds.remember_gone(user, user.address, user.shares)

    def sweep_now(self, now: float, segments: Sequence[str] = ()) -> int:
        """A full pass over the named remote segments (all of them if none is named); how many addresses."""
        chosen = []
        for name in segments:
            segment = self._context.segments.named(name)
            if segment is None or not segment.addresses:
                known = ", ".join(s.name for s in self._context.segments.remote) or "none"
                raise UsageError(f"{name} is no remote segment of the configuration (there: {known})")
            chosen.append(segment)
        return self._sweep.begin(chosen or self._peering.parts.swept(), now)

    def ask(self, address: str, kinds: Asked, now: float, pad: int = 0, start: int = 0) -> list[Output]:
        """Questions of these kinds to any address, for somebody who looks for a fault; the rest as in ``probe``."""
        self._questions.probe(address, kinds, now, pad, start)
        return self._take(now)

    def may_ask(self, now: float) -> bool:
        """May one more address be asked? The sweep has the same pace, so that both together stay within it."""
        return not self._context.congested and self._bucket.take(now)

    # -- the fleet ---------------------------------------------------------------------------------------------------

    def enlist(self, me: RelayId, members: Mapping[RelayId, str], now: float) -> list[Output]:
        """The fleet: who we are, and the names of all other members. Users of those no longer in it go."""
        self._peering.enlist(me, members, now)
        return self._take(now)

    def restore_peer(self, peer: RelayId, rows: Iterable[Row], age: float, now: float) -> None:
        """What ``peer`` told before a restart; ``age``: seconds since there was a link. Before ``start``."""
        self._peering.restore(peer, rows, age, now)

    def linked(self, peer: RelayId, now: float) -> list[Output]:
        """There is a link to ``peer`` now; a second one in its place counts as a new one."""
        self._peering.linked(peer, now)
        return self._take(now)

    def unlinked(self, peer: RelayId, now: float) -> list[Output]:
        """The link is gone."""
        self._peering.unlinked(peer, now)
        return self._take(now)

    def hear(self, peer: RelayId, message: PeerMessage, now: float) -> list[Output]:
        """What follows from what ``peer`` said."""
        self._peering.hear(peer, message, now)
        return self._take(now)

    def more(self, peer: RelayId, now: float) -> list[Output]:
        """All that was to be told to ``peer`` is on its way: the next piece of what it is owed, if there is one."""
        self._peering.more(peer)
        return self._take(now)

    def sync_now(self, now: float, peers: Sequence[RelayId] = ()) -> list[Output]:
        """Compare rosters with these peers (all, if none is named)."""
        self._peering.sync(peers, now)
        return self._take(now)

    def peers(self, now: float) -> list[PeerRow]:
        """All other members of the fleet."""
        return self._peering.rows(now)

    def _take(self, now: float) -> list[Output]:
        """Everything decided since the last call, and what peers are to hear of it."""
        self._peering.flush()
        return self._context.take()

    # -- leaving -----------------------------------------------------------------------------------------------------

    def leave(self, now: float) -> list[Output]:
        """Say good-bye for ourselves: external users stay listed, they are reached directly."""
        for segment in self._context.segments.local:
            self._say_broadcast(Command.BR_EXIT, segment)
        for user in self._context.roster.online():
            if user.home and user.segment.interface is None and not user.is_relay:
                self._context.say(Command.BR_EXIT, user.address, user.port)
        return self._context.take()

    def snapshot(self, now: float) -> Snapshot:
        """The relay at this instant."""
        self._peering.parts.name_servers()
        return view.snapshot(
            self._context,
            self._sweep,
            self._announcer.waiting,
            self._hearing.foreign,
            self._master.rows(now),
            now,
        )

    @property
    def sweeping(self) -> int:
        """Addresses left in the passes under way; cheaper than a snapshot."""
        return self._sweep.left

    @property
    def present(self) -> tuple[int, int]:
        """Users in our own segments and elsewhere, those in doubt included; cheaper than a snapshot."""
        here = sum(len(segment) for segment in self._context.segments.local)
        return here, len(self._context.roster.at) - here

    def users(self, now: float) -> Iterator[UserRow]:
        """Everybody in the roster now, one by one: the reader may take its time."""
        return (view.row(user, now) for user in list(self._context.roster.by_key.values()))

    # -- saying --------------------------------------------------------------------------------------------------------

    def _enter(self, segments: Iterable[Segment], now: float) -> None:
        """Show ourselves in our own segments; everybody there answers, and we hear who is there."""
        self._next_entry = now + self._context.settings.sweep_unknown_every
        for segment in segments:
            self._questions.expect(segment.broadcast, Asked.ENTRY, now)
            self._say_broadcast(Command.BR_ENTRY, segment)

    def _ask_for_polls(self, now: float) -> None:
        """We are a member master from now on: whoever names us is to hear that."""
        self._enter(self._context.segments.local, now)
        self._sweep.begin(self._context.segments.remote, now)

    def _say_broadcast(self, command: int, segment: Segment) -> None:
        if segment.interface is not None:
            self._context.say(command, segment.broadcast, PORT, segment.interface.index)

    def _gone(self, user: User, now: float) -> None:
        """Liveness gave up."""
        self._registrar.left(user, "silent", now)

    def _forgotten(self, user: User, now: float) -> None:
        self._context.roster.remove(user)
        self._context.emit(UserForgotten(user))
