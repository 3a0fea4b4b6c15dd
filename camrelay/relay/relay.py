"""The relay: a datagram and the time in, datagrams to send and events out. Synchronous, so every call is atomic.

What the daemon may call is here. What is decided where: what a datagram is worth in ``hearing``, who is taken in, moves
and goes in ``registrar``, who is still here in ``liveness``, who is asked in ``sweep``, who is told in ``announce``,
member lists in ``lists``; how these hold together is in ``inside``.
"""

from __future__ import annotations

from ipaddress import AddressValueError
from typing import TYPE_CHECKING

from camrelay.errors import MalformedPacket
from camrelay.relay import view
from camrelay.relay.context import Context
from camrelay.relay.inside import Inside
from camrelay.relay.looking import Looking
from camrelay.relay.roster import Roster
from camrelay.relay.segment import Segments
from camrelay.relay.user import SavedUser, State, revive

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from camrelay.ipmsg.crypto import PrivateKey
    from camrelay.relay.messages import PeerMessage, RelayId, Row
    from camrelay.relay.outputs import Datagram, Interface, Output
    from camrelay.relay.questions import Asked
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
        self._inside = inside = Inside(context, now)
        self._context = context
        self._bucket = inside.bucket
        self._questions = inside.questions
        self._ourselves = inside.ourselves
        self._announcer = inside.announcer
        self._lists = inside.lists
        self._liveness = inside.liveness
        self._sweep = inside.sweep
        self._registrar = inside.registrar
        self._publishing = inside.publishing
        self._parts = inside.parts
        self._peering = inside.peering
        self._master = inside.master
        self._hearing = inside.hearing
        self.look = Looking(inside)
        self._next_everything = now

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
        self._ourselves.enter(self._context.segments.local, now)
        self._peering.begin()
        self._sweep.readdress(self._parts.swept(), now)
        return self._take(now)

    def receive(self, datagram: Datagram, now: float) -> list[Output]:
        """What follows from one datagram."""
        self._hearing.hear(datagram, now)
        return self._take(now) if self._context.outbox or self._publishing.dirty else []

    def tick(self, now: float) -> list[Output]:
        """What follows from the time that has passed."""
        self._ourselves.tick(now)
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
            self._ourselves.due,
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
        self._parts.readdress(before, now)
        for user in list(self._context.roster.by_key.values()):
            self._registrar.reseat(user, segments.of(user.address), now)
        self._announcer.readdress()
        self._ourselves.enter([segment for segment in segments.local if segment.interface not in old], now)
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
        else:
            self._ourselves.renamed()
        self._announcer.renamed()
        return context.take()

    def _ask_for_polls(self, now: float) -> None:
        """We are a member master from now on: whoever names us is to hear that."""
        self._ourselves.enter(self._context.segments.local, now)
        self._sweep.begin(self._context.segments.remote, now)

    def connected(self, address: str, ok: bool, now: float) -> None:
        """How a ``Connect`` went: ``ok`` if the other side took it and closed."""
        self._master.connected(address, ok, now)

    def distrust(self, now: float) -> None:
        """The machine slept: everybody has to prove itself again, and others may have come."""
        for user in [one for one in self._context.roster.online() if one.home]:
            user.state = State.UNVERIFIED
            self._liveness.watch(user, now)
        self._ourselves.due = now
        self._sweep.begin(self._parts.swept(), now)

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
            self._liveness.restored(user, now)
            if user.state is State.OFFLINE and item.heard < 2 * self._context.settings.announce_every:
                self._announcer.rounds.remember_gone(user, user.address, user.shares)

    def sweep_now(self, now: float, segments: Sequence[str] = ()) -> int:
        """A full pass over the named remote segments (all of them if none is named); how many addresses."""
        chosen = self._context.segments.remote_named(segments) or self._parts.swept()
        return self._sweep.begin(chosen, now)

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
        return [view.peer_row(peer, now) for peer in self._inside.peers.values()]

    def _take(self, now: float) -> list[Output]:
        """Everything decided since the last call, and what peers are to hear of it."""
        self._publishing.flush()
        return self._context.take()

    # -- leaving -----------------------------------------------------------------------------------------------------

    def leave(self, now: float) -> list[Output]:
        """Say good-bye for ourselves: external users stay listed, they are reached directly."""
        self._ourselves.leave()
        return self._context.take()

    def snapshot(self, now: float) -> Snapshot:
        """The relay at this instant."""
        return view.snapshot(self._inside, now)

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
