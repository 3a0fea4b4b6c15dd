"""The relay: a datagram and the time in, datagrams to send and events out. Synchronous, so every call is atomic.

What is decided where: who is taken in here, who is still here in ``liveness``, who is asked in ``sweep``, who is told
in ``announce``, member lists in ``lists``. Registering follows design rule 1: a user is taken in only when heard
first hand on its own segment's interface, or when it answered a question of ours; all else is a hint, and a hint
queues one question.
"""

from __future__ import annotations

from ipaddress import AddressValueError, IPv4Address
from typing import TYPE_CHECKING

from camrelay import __version__
from camrelay.errors import MalformedPacket, UsageError
from camrelay.ipmsg.command import PORT, Command, Option
from camrelay.ipmsg.packet import Packet, build, is_ipdict, parse
from camrelay.ipmsg.presence import Kind, own, read
from camrelay.relay import view
from camrelay.relay.announce import BROADCAST_TTL, Announcer
from camrelay.relay.context import Bucket, Budget, Context, Recently
from camrelay.relay.lists import Lists
from camrelay.relay.liveness import Liveness
from camrelay.relay.outputs import Transmit, UserForgotten, UserHeard
from camrelay.relay.questions import Asked, Questions
from camrelay.relay.registrar import Registrar
from camrelay.relay.roster import Roster, SavedUser, State, User, key_of, revive
from camrelay.relay.segment import Segment, Segments
from camrelay.relay.sweep import Sweep

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable, Sequence

    from camrelay.relay.outputs import Datagram, Interface, Output
    from camrelay.relay.rules import Settings
    from camrelay.relay.snapshot import Snapshot, UserRow

PER_SOURCE = (
    64  # datagrams of one source looked at in 10 s: a start, a refresh and an exit of a client are under 20
)
HINTS_PER_NETWORK = 256  # in 10 s: one whole segment starting at once
HINT_EVERY = 3.0  # seconds between two questions on hints: above any way there and back, below Windows' 5 s
MAX_HINTED = 8_192  # addresses; who is forgotten early is asked once more
SERVED_AT_ONCE = 200.0  # seconds: users heard less than that before a restart need no proof (design rule 10)
WRITE_DOWN = 600.0  # seconds between two notes of a user's last sign of life
MAX_NUMBER = 20  # digits of a packet number of 64 bits
MAX_FOREIGN = 64  # networks, of up to 256 hosts each, that broadcast here and are not ours


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
    ) -> None:
        self._hostname = hostname
        own_presence = own(settings.name, settings.group, hostname, __version__)
        segments = Segments(interfaces, settings.remote, settings.accept_from)
        context = Context(settings, segments, Roster(), own_presence, number, random, can_speak)
        self._context = context
        self._bucket = Bucket.never_above(settings.sweep_rate, now)
        self._questions = Questions(context)
        self._announcer = Announcer(context, now)
        self._lists = Lists(context, self._questions, self._announcer, self._bucket)
        self._liveness = Liveness(context, self._questions, self._bucket, self._gone, self._forgotten, now)
        self._sweep = Sweep(context, self._questions, self._bucket, now)
        self._registrar = Registrar(context, self._announcer, self._lists, self._liveness, self._questions)
        self._sources = Budget(PER_SOURCE)
        self._hints = Budget(HINTS_PER_NETWORK)
        self._hinted = Recently(HINT_EVERY, MAX_HINTED)
        self._foreign: dict[str, set[str]] = {}
        self._next_entry = self._next_everything = now
        self._handle: dict[int, Callable[[Packet, Datagram, Segment, float], None]] = {
            Command.NOOPERATION: self._noted,
            Command.BR_ENTRY: self._presence,
            Command.BR_EXIT: self._exit,
            Command.ANSENTRY: self._presence,
            Command.BR_ABSENCE: self._presence,
            Command.BR_ISGETLIST: self._wants_offer,
            Command.GETLIST: self._wants_list,
            Command.ANSLIST: self._list,
            Command.BR_ISGETLIST2: self._wants_offer,
            Command.GETINFO: self._wants_info,
            Command.SENDINFO: self._info,
        }

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
        if len(self._context.roster):
            self._announcer.everything()
        self._enter(self._context.segments.local, now)
        self._sweep.readdress(self._context.segments.remote, now)
        return self._context.take()

    def receive(self, datagram: Datagram, now: float) -> list[Output]:
        """What follows from one datagram."""
        self._ingest(datagram, now)
        return self._context.take() if self._context.outbox else []

    def tick(self, now: float) -> list[Output]:
        """What follows from the time that has passed."""
        if now >= self._next_entry:
            self._enter(self._context.segments.local, now)
        if now >= self._next_everything:
            self._next_everything = now + self._context.settings.announce_every
            self._announcer.everything()
        self._liveness.tick(now)
        self._registrar.tick(now)
        self._lists.tick(now)
        self._sweep.tick(now)
        self._announcer.tick(now)
        return self._context.take()

    def next_due(self) -> float:
        """When ``tick`` has something to do."""
        return min(
            self._next_entry,
            self._next_everything,
            self._liveness.next_due(),
            self._registrar.next_due(),
            self._lists.next_due(),
            self._sweep.next_due(),
            self._announcer.next_due(),
        )

    def readdress(self, interfaces: Sequence[Interface], now: float) -> list[Output]:
        """Our addresses changed: everybody is looked up anew, and new segments are entered."""
        settings = self._context.settings
        old = {segment.interface for segment in self._context.segments.local}
        segments = self._context.segments = Segments(interfaces, settings.remote, settings.accept_from)
        for user in list(self._context.roster.by_key.values()):
            self._registrar.reseat(user, segments.of(user.address), now)
        self._sweep.readdress(segments.remote, now)
        self._announcer.readdress()
        self._enter([segment for segment in segments.local if segment.interface not in old], now)
        return self._context.take()

    def reconfigure(self, settings: Settings, now: float) -> list[Output]:
        """Other settings from now on; the roster stays."""
        context = self._context
        context.settings = settings
        context.own = own(settings.name, settings.group, self._hostname, __version__)
        self._bucket.limit(settings.sweep_rate)
        self._next_everything = min(self._next_everything, now + settings.announce_every)
        interfaces = [s.interface for s in context.segments.local if s.interface]
        return self.readdress(interfaces, now)

    def distrust(self, now: float) -> None:
        """The machine slept: everybody has to prove itself again, and others may have come."""
        for user in list(self._context.roster.online()):
            user.state = State.UNVERIFIED
            self._liveness.watch(user, now)
        self._next_entry = now
        self._sweep.begin(self._context.segments.remote, now)

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
            self._liveness.watch(user, now)
            if user.state is State.OFFLINE and item.heard < 2 * self._context.settings.announce_every:
                self._announcer.remember_gone(user, user.address)

    def sweep_now(self, now: float, segments: Sequence[str] = ()) -> int:
        """A full pass over the named remote segments (all of them if none is named); how many addresses."""
        chosen = []
        for name in segments:
            segment = self._context.segments.named(name)
            if segment is None or not segment.addresses:
                known = ", ".join(s.name for s in self._context.segments.remote) or "none"
                raise UsageError(f"{name} is no remote segment of the configuration (there: {known})")
            chosen.append(segment)
        return self._sweep.begin(chosen or self._context.segments.remote, now)

    def leave(self, now: float) -> list[Output]:
        """Say good-bye for ourselves: external users stay listed, they are reached directly."""
        for segment in self._context.segments.local:
            self._say_broadcast(Command.BR_EXIT, segment)
        for user in self._context.roster.online():
            if user.segment.interface is None and not user.is_relay:
                self._context.say(Command.BR_EXIT, user.address, user.port)
        return self._context.take()

    def snapshot(self, now: float) -> Snapshot:
        """The relay at this instant."""
        return view.snapshot(
            self._context,
            self._sweep,
            self._announcer.waiting,
            {network: len(hosts) for network, hosts in self._foreign.items()},
            now,
        )

    def users(self, now: float) -> list[UserRow]:
        """Everybody in the roster."""
        return [view.row(user, now) for user in self._context.roster.by_key.values()]

    # -- hearing ---------------------------------------------------------------------------------------------------

    def _ingest(self, datagram: Datagram, now: float) -> None:
        context = self._context
        source = datagram.source
        counters = context.counters
        counters["datagrams heard"] += 1
        if datagram.broadcast and datagram.ttl == BROADCAST_TTL:
            counters["dropped: announced by another relay"] += 1
            return
        segment = context.segments.of(source)
        if segment is None:
            self._not_ours(datagram)
            return
        if not self._sources.spend(source, now):
            counters["dropped: too many datagrams from one source"] += 1
            return
        user = context.roster.at.get(source)
        if (
            user is not None
            and datagram.interface in segment.indexes
            and user.state is State.ONLINE
            and user.candidate is None
            and not user.wants_list
        ):
            # The same words as before, but for the packet number: most of what is heard.
            words = datagram.data.split(b":", 2)
            if (
                len(words) == 3
                and words[2] == user.tail
                and words[1].isdigit()
                and len(words[1]) <= MAX_NUMBER
                and datagram.port == user.port
            ):
                user.number = words[1]
                self._heard(user, now)
                if user.mode == Command.BR_ENTRY:
                    self._entered(user, datagram, now)
                return
        try:
            packet = parse(datagram.data)
        except MalformedPacket:
            kind = "signed or encrypted dictionary" if is_ipdict(datagram.data) else "malformed"
            counters[f"dropped: {kind}"] += 1
            return
        handle = self._handle.get(packet.mode)
        if handle is None:
            counters["ignored: not about presence"] += 1
        else:
            handle(packet, datagram, segment, now)

    def _not_ours(self, datagram: Datagram) -> None:
        if datagram.source in self._context.segments.own_addresses:
            self._context.count("dropped: sent by ourselves")
            return
        self._context.count("dropped: source not in accept_from")
        if datagram.broadcast:
            self._note_foreign(datagram.source)

    def _note_foreign(self, source: str) -> None:
        network = f"{IPv4Address(int(IPv4Address(source)) & 0xFFFFFF00)}"[: -len("0")] + "*"
        if network in self._foreign or len(self._foreign) < MAX_FOREIGN:
            hosts = self._foreign.setdefault(network, set())
            if len(hosts) < 256:
                hosts.add(source)

    def _noted(self, packet: Packet, datagram: Datagram, segment: Segment, now: float) -> None:
        """NOOPERATION: warms up neighbour tables, means nothing."""

    def _presence(self, packet: Packet, datagram: Datagram, segment: Segment, now: float) -> None:
        """BR_ENTRY, ANSENTRY, BR_ABSENCE."""
        first_hand = datagram.interface in segment.indexes
        answered = packet.mode == Command.ANSENTRY and (
            self._questions.asked(datagram.source, Asked.ENTRY, now)
            or (first_hand and self._questions.asked(segment.broadcast, Asked.ENTRY, now))
        )
        if not (answered or first_hand):
            self._hint(packet, datagram, segment, now)
            return
        before = self._context.roster.at.get(datagram.source)
        known = before.presence.charset if before is not None and before.presence.proven else ""
        presence = read(packet, self._context.settings.codepage, known)
        was_heard = before.heard if before is not None else -1.0
        user = self._registrar.register(presence, packet.number, datagram, segment, now)
        if user is None:
            return
        if packet.mode == Command.BR_ENTRY:
            self._entered(user, datagram, now)
        elif answered:
            walk = self._sweep.of(segment)
            if walk is not None and was_heard < walk.begun:
                walk.answered += 1
        proven = answered or datagram.broadcast
        if proven and (user.wants_list or self._list_is_old(user, now)):
            self._registrar.list_to(user, now)

    def _list_is_old(self, user: User, now: float) -> bool:
        """A client beyond routers refreshes its list unheard: it gets everything again with each pass."""
        return user.segment.interface is None and now - user.listed >= self._context.settings.sweep_every

    def _heard(self, user: User, now: float) -> None:
        self._liveness.heard(user, now)
        if now - user.written >= WRITE_DOWN:
            user.written = now
            self._context.emit(UserHeard(user))

    def _entered(self, user: User, datagram: Datagram, now: float) -> None:
        """A BR_ENTRY heard first hand: it is answered, and the client's list was emptied.

        One by unicast proves nothing (it may be forged): it is answered by a question.
        """
        if datagram.broadcast:
            self._answer(user, datagram)
            self._registrar.entry_heard(user, now)
        elif user.is_relay:
            self._answer(user, datagram)  # asking it would make it ask us
        else:
            user.wants_list = True
            self._ask_back(datagram, now)

    def _answer(self, user: User, datagram: Datagram) -> None:
        charset = "utf-8" if user.presence.options & Option.CAPUTF8 else user.presence.charset
        self._context.say(Command.ANSENTRY, datagram.source, datagram.port, 0, charset)

    def _ask_back(self, datagram: Datagram, now: float) -> None:
        """Ask who speaks from there, in no more bytes than it sent."""
        if not self._hinted.within(datagram.source, now):
            self._hinted.note(datagram.source, now)
            self._questions.entry(datagram.source, now, datagram.port, len(datagram.data))

    def _hint(self, packet: Packet, datagram: Datagram, segment: Segment, now: float) -> None:
        """Something that proves nobody: the address is asked once."""
        context = self._context
        context.count("hints")
        if datagram.broadcast:
            self._note_foreign(datagram.source)
        if read(packet).kind is Kind.CAMRELAY:
            return  # another relay sweeps: it is no user here, and asking it would make it ask us
        user = context.roster.at.get(datagram.source)
        if user is not None and packet.mode == Command.BR_ENTRY:
            user.wants_list = True
        if self._hints.spend(segment.name, now):
            self._ask_back(datagram, now)
        else:
            context.count("hints dropped: too many from one network")

    def _exit(self, packet: Packet, datagram: Datagram, segment: Segment, now: float) -> None:
        """BR_EXIT: believed where heard first hand; elsewhere the user is asked, quickly."""
        user = self._context.roster.at.get(datagram.source)
        if user is None or not self._is_of(packet, user):
            self._context.count("ignored: exit of somebody unknown")
            return
        # Windows answers people it rejects with a BR_EXIT by unicast, and stays.
        rejects = user.presence.kind is Kind.WINDOWS and not datagram.broadcast
        if datagram.interface in segment.indexes and not rejects:
            self._registrar.left(user, "exit", now)
        else:
            self._liveness.suspect(user, now)

    # -- member lists and questions to us ----------------------------------------------------------------------------

    def _wants_offer(self, packet: Packet, datagram: Datagram, segment: Segment, now: float) -> None:
        """BR_ISGETLIST: an offer opens the way to a list many times larger, so it takes a proven address."""
        if datagram.interface in segment.indexes and datagram.broadcast:
            self._lists.offer(datagram, now)
        else:
            self._hint(packet, datagram, segment, now)

    def _wants_list(self, packet: Packet, datagram: Datagram, segment: Segment, now: float) -> None:
        if self._questions.asked(datagram.source, Asked.OFFER, now):
            self._lists.give(packet, datagram, now)
        else:
            self._context.count("dropped: member list asked for without our offer")

    def _list(self, packet: Packet, datagram: Datagram, segment: Segment, now: float) -> None:
        user = self._context.roster.at.get(datagram.source)
        if user is None or not self._questions.asked(datagram.source, Asked.LIST, now):
            self._context.count("dropped: member list that we did not ask for")
        elif not self._is_of(packet, user):
            self._questions.entry(datagram.source, now, datagram.port)  # somebody else sits there now
        else:
            self._registrar.proved(user, now)
            self._lists.read(packet, user, now)

    def _wants_info(self, packet: Packet, datagram: Datagram, segment: Segment, now: float) -> None:
        context = self._context
        number = context.next_number()
        body = b"camrelay " + __version__.encode()
        data = build(b"1", number, context.own.logon, context.own.host, Command.SENDINFO, body)
        if len(data) <= len(datagram.data):
            context.emit(Transmit(data, datagram.source, datagram.port))

    def _info(self, packet: Packet, datagram: Datagram, segment: Segment, now: float) -> None:
        user = self._context.roster.at.get(datagram.source)
        if user is None or not self._questions.asked(datagram.source, Asked.INFO, now):
            self._context.count("dropped: version that we did not ask for")
        elif not self._is_of(packet, user):
            self._questions.entry(datagram.source, now, datagram.port)  # somebody else sits there now
        else:
            self._registrar.proved(user, now)
            if user.wants_list:
                self._registrar.list_to(user, now)

    def _is_of(self, packet: Packet, user: User) -> bool:
        """Does the user sign this packet, whose header has names only?"""
        return user.key == key_of(read(packet, self._context.settings.codepage, user.presence.charset))

    # -- saying --------------------------------------------------------------------------------------------------------

    def _enter(self, segments: Iterable[Segment], now: float) -> None:
        """Show ourselves in our own segments; everybody there answers, and we hear who is there."""
        self._next_entry = now + self._context.settings.sweep_unknown_every
        for segment in segments:
            self._questions.expect(segment.broadcast, Asked.ENTRY, now)
            self._say_broadcast(Command.BR_ENTRY, segment)

    def _say_broadcast(self, command: int, segment: Segment) -> None:
        if segment.interface is not None:
            self._context.say(command, segment.broadcast, PORT, segment.interface.index)

    def _gone(self, user: User, now: float) -> None:
        """Liveness gave up."""
        self._registrar.left(user, "silent", now)

    def _forgotten(self, user: User, now: float) -> None:
        self._context.roster.remove(user)
        self._context.emit(UserForgotten(user))
