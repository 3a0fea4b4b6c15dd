"""What a datagram is worth. Rule kept here (design rule 1): a user is taken in only when heard first hand on its own
segment's interface, or when it answered a question of ours; all else is a hint, and a hint queues one question.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from camrelay import __version__
from camrelay.errors import MalformedPacket
from camrelay.ipmsg.command import Command, Option
from camrelay.ipmsg.packet import Packet, build, is_ipdict, parse
from camrelay.ipmsg.presence import Kind, read
from camrelay.relay.context import Budget, Recently
from camrelay.relay.foreign import Foreign
from camrelay.relay.hints import Hints
from camrelay.relay.outputs import Transmit
from camrelay.relay.questions import Asked
from camrelay.relay.registrar import COPIES
from camrelay.relay.rounds import BROADCAST_TTL
from camrelay.relay.user import Learned, State, User, key_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from camrelay.relay.context import Context
    from camrelay.relay.dictionaries import Dictionaries
    from camrelay.relay.lists import Lists
    from camrelay.relay.liveness import Liveness
    from camrelay.relay.mail import Mail
    from camrelay.relay.outputs import Datagram
    from camrelay.relay.questions import Questions
    from camrelay.relay.registrar import Registrar
    from camrelay.relay.segment import Segment
    from camrelay.relay.sweep import Sweep

PER_SOURCE = 64  # datagrams in 10 s: a start, a refresh and an exit of a client are under 20
MAX_STARTED = 8_192  # addresses
MAX_NUMBER = 20  # digits of a packet number of 64 bits


class Hearing:
    """Leads every datagram to what follows from it; drops the rest, with a counter for each cause."""

    def __init__(
        self,
        context: Context,
        questions: Questions,
        registrar: Registrar,
        lists: Lists,
        liveness: Liveness,
        sweep: Sweep,
        mail: Mail,
        dictionaries: Dictionaries,
    ) -> None:
        self._context = context
        self._questions = questions
        self._registrar = registrar
        self._lists = lists
        self._liveness = liveness
        self._sweep = sweep
        self._mail = mail
        self._dictionaries = dictionaries
        self._sources = Budget(PER_SOURCE)
        self._started = Recently(COPIES, MAX_STARTED)
        self._foreign = Foreign()
        self.hints = Hints(context, questions, self._foreign)
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
            Command.SENDMSG: self._to_us,
            Command.GETINFO: self._wants_info,
            Command.SENDINFO: self._info,
            Command.GETPUBKEY: self._to_us,
            Command.ANSPUBKEY: self._to_us,
        }

    @property
    def foreign(self) -> dict[str, int]:
        """Networks that broadcast on our wires and are not ours, and how many hosts of each."""
        return self._foreign.hosts

    def hear(self, datagram: Datagram, now: float) -> None:
        """One datagram came in."""
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
        if user is not None and self._said_before(user, datagram, segment, now):
            return
        try:
            packet = parse(datagram.data)
        except MalformedPacket:
            if is_ipdict(datagram.data):
                self._dictionaries.hear(datagram, now)
            else:
                counters["dropped: malformed"] += 1
            return
        handle = self._handle.get(packet.mode)
        if handle is None:
            counters["ignored: not about presence"] += 1
        else:
            handle(packet, datagram, segment, now)

    def _said_before(self, user: User, datagram: Datagram, segment: Segment, now: float) -> bool:
        """Are these the same words as before, but for the packet number? That is most of what is heard."""
        settled = user.home and user.state is State.ONLINE and user.candidate is None and not user.wants_list
        if not settled or datagram.interface not in segment.indexes or datagram.port != user.port:
            return False
        words = datagram.data.split(b":", 2)
        if len(words) != 3 or words[2] != user.tail or not words[1].isdigit() or len(words[1]) > MAX_NUMBER:
            return False
        self._registrar.renumber(user, words[1])
        self._registrar.proved(user, now)
        if user.mode == Command.BR_ENTRY:
            self._entered(user, datagram, now)
        return True

    def _not_ours(self, datagram: Datagram) -> None:
        if datagram.source in self._context.segments.own_addresses:
            self._context.count("dropped: sent by ourselves")
            return
        self._context.count("dropped: source not in accept_from")
        if datagram.broadcast:
            self._foreign.note(datagram.source)

    def _noted(self, packet: Packet, datagram: Datagram, segment: Segment, now: float) -> None:
        """NOOPERATION: warms up neighbour tables, proves nothing."""
        self.hints.pointed.warmed_up(datagram, now)

    def _presence(self, packet: Packet, datagram: Datagram, segment: Segment, now: float) -> None:
        """BR_ENTRY, ANSENTRY, BR_ABSENCE."""
        first_hand = datagram.interface in segment.indexes
        answered = packet.mode == Command.ANSENTRY and (
            self._questions.asked(datagram.source, Asked.ENTRY, now)
            or (first_hand and self._questions.asked(segment.broadcast, Asked.ENTRY, now))
        )
        if not (answered or first_hand):
            self.hints.take(packet, datagram, segment, now)
            return
        before = self._context.roster.at.get(datagram.source)
        known = before.presence.charset if before is not None and before.presence.proven else ""
        presence = read(packet, self._context.settings.codepage, known)
        was_heard = before.heard if before is not None else -1.0
        learned = Learned.BROADCAST if datagram.broadcast else Learned.UNICAST
        if answered:
            learned = self._questions.because(datagram.source, now) or (
                Learned.ROUND if first_hand else Learned.SWEEP
            )
        user = self._registrar.register(presence, packet.number, datagram, segment, now, learned)
        if user is None:
            return
        if packet.mode == Command.BR_ENTRY:
            self._entered(user, datagram, now)
        elif answered:
            walk = self._sweep.of(segment)
            if walk is not None and was_heard < walk.begun:
                walk.answered += 1
        proven = answered or datagram.broadcast
        user.confirmed = user.confirmed or proven
        if proven and (user.wants_list or self._list_is_old(user, now)):
            self._registrar.list_to(user, now)

    def _list_is_old(self, user: User, now: float) -> bool:
        """A client beyond routers refreshes its list unheard: it gets everything again with each pass."""
        return user.segment.interface is None and now - user.listed >= self._context.settings.sweep_every

    def _entered(self, user: User, datagram: Datagram, now: float) -> None:
        """A BR_ENTRY heard first hand: it is answered, and the client's list was emptied.

        One by unicast proves nothing (it may be forged): it is answered by a question.
        """
        self.hints.pointed.note(datagram, user.presence, now)
        if datagram.broadcast:
            self._started.note(datagram.source, now)
            self._answer(user, datagram)
            self._registrar.entry_heard(user, now)
        elif self._started.within(datagram.source, now):
            return  # Windows tells its member master once more by unicast
        elif user.is_relay:
            self._answer(user, datagram)  # asking it would make it ask us
        else:
            user.wants_list = True
            self.hints.ask_back(datagram, now)

    def _answer(self, user: User, datagram: Datagram) -> None:
        charset = "utf-8" if user.presence.options & Option.CAPUTF8 else user.presence.charset
        self._context.say(Command.ANSENTRY, datagram.source, datagram.port, 0, charset)

    def _exit(self, packet: Packet, datagram: Datagram, segment: Segment, now: float) -> None:
        """BR_EXIT: believed where heard first hand; elsewhere the user is asked, quickly."""
        user = self._context.roster.at.get(datagram.source)
        if user is None or not self._is_of(packet, user):
            self._context.count("ignored: exit of somebody unknown")
            return
        if not user.home:
            self._context.count("ignored: exit of somebody whom a peer hears")
            return
        # Windows answers people it rejects with a BR_EXIT by unicast, and stays.
        rejects = user.presence.kind is Kind.WINDOWS and not datagram.broadcast
        if datagram.interface in segment.indexes and not rejects:
            self._registrar.left(user, "exit", now)
        else:
            self._liveness.suspect(user, now)

    def _to_us(self, packet: Packet, datagram: Datagram, segment: Segment, now: float) -> None:
        """Messages and keys: of those we know; who is not known is asked first, and says it again."""
        user = self._context.roster.at.get(datagram.source)
        if self._context.identity is None:
            self._context.count("ignored: not about presence")
        elif user is None or not self._is_of(packet, user):
            self.hints.take(packet, datagram, segment, now)
        else:
            self._mail.take(packet, user, datagram, now)

    # -- member lists and questions to us ----------------------------------------------------------------------------

    def _wants_offer(self, packet: Packet, datagram: Datagram, segment: Segment, now: float) -> None:
        """BR_ISGETLIST: an offer opens the way to a list many times larger, so it takes a proven address."""
        if datagram.interface in segment.indexes and datagram.broadcast:
            self._lists.offer(datagram, now)
        else:
            self.hints.take(packet, datagram, segment, now)

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
