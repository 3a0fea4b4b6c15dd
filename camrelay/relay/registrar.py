"""Who is taken in, moves, and goes. Rules kept here (design rules 4, 7 and Versions): one live user per address;
a name that speaks from a second address is believed only when the first one no longer answers, else it is a twin;
one full list per client in 7 s. What peers tell is weighed in ``settling``.
"""

from __future__ import annotations

import math
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from camrelay.ipmsg.command import NEVER_ANNOUNCED, Option
from camrelay.ipmsg.presence import Kind
from camrelay.relay.outputs import UserChanged, UserForgotten, UserHeard, UserJoined, UserLeft, UserMoved
from camrelay.relay.user import NEVER, Candidate, Learned, State, User, key_of

if TYPE_CHECKING:
    from camrelay.ipmsg.presence import Presence
    from camrelay.relay.announce import Announcer
    from camrelay.relay.context import Context
    from camrelay.relay.lists import Lists
    from camrelay.relay.liveness import Liveness
    from camrelay.relay.outputs import Datagram
    from camrelay.relay.parts import Parts
    from camrelay.relay.questions import Questions
    from camrelay.relay.seating import Seating
    from camrelay.relay.segment import Segment
    from camrelay.relay.settling import Settling

LIST_EVERY = 7.0  # seconds between two full lists to one client
COPIES = 1.0  # seconds: iptux says its start twice with one number, 10 ms apart; each start has number 1
SAME_START = (4.0, 6.0)  # Windows says BR_ENTRY again 5 s after its start, with another number
WRITE_DOWN = 600.0  # seconds between two notes of a user's last sign of life
# What may differ between two presence packets of a user who did not change.
NOT_A_CHANGE = int(NEVER_ANNOUNCED | Option.UTF8)
SECOND_HAND = (Learned.DISK, Learned.PEER)


class Registrar:
    """Keeps the roster, and tells announcer, liveness and the daemon what became of it."""

    def __init__(
        self, context: Context, announcer: Announcer, lists: Lists, liveness: Liveness, questions: Questions
    ) -> None:
        self._context = context
        self._announcer = announcer
        self._lists = lists
        self._liveness = liveness
        self._questions = questions
        self._pending: list[tuple[float, int, User]] = []  # lists promised for later
        self._promised: set[User] = set()
        self._count = 0
        self.settling: Settling  # made later: these need us
        self.seating: Seating
        self.parts: Parts

    # -- coming --------------------------------------------------------------------------------------------------

    def register(
        self,
        presence: Presence,
        number: bytes,
        datagram: Datagram,
        segment: Segment,
        now: float,
        learned: Learned,
    ) -> User | None:
        """Take in a proven presence packet; None where it claims a name that lives elsewhere."""
        user = self._context.roster.by_key.get(key_of(presence))
        if user is None:
            user = User(presence, datagram.data, datagram.source, datagram.port, segment, now)
            user.learned = learned
            user.claim = self.settling.claim_for(user)
            self._replace(datagram.source, now)
            dropped = self._context.roster.add(user)
            if dropped is not None:
                self._context.count("users forgotten: roster full")
                self._context.emit(UserForgotten(dropped))
            self._welcome(user, now)
        elif user.state is State.OFFLINE:
            self._liveness.came_back(user, now)
            self._sit(user, _candidate(presence, datagram, segment, learned), now)
            user.joined = now
            user.started = -math.inf
            self._welcome(user, now)
        elif user.address == datagram.source:
            user.port = datagram.port
            user.learned = learned if user.learned in SECOND_HAND else user.learned
            if not user.home:
                self._take_in(user, now)
            self._update(user, presence, number, datagram.data, now)
        else:
            user.candidate = _candidate(presence, datagram, segment, learned)
            if user.home:
                self._liveness.suspect(user, now)
            else:
                self.settling.contest(user, now)
            return None
        user.spoke = now
        return user

    def _take_in(self, user: User, now: float) -> None:
        """Until now a peer told us of the user, now we hear it there ourselves: a witness, with the same claim."""
        before = user.shares
        self._context.roster.listen(user, None)
        if user.shares != before:
            self._announcer.reshared(user, before, now)
            self._announcer.announce(user, now)
        user.claim = max(user.claim, 1)  # a contest that nobody answered, perhaps
        user.written = now
        user.wants_list = not user.is_relay
        self._context.emit(UserHeard(user))
        self._liveness.watch(user, now)
        self.settling.changed(user)

    def _welcome(self, user: User, now: float) -> None:
        user.wants_list = not user.is_relay
        self._context.emit(UserJoined(user))
        self.settling.changed(user)
        if user.is_relay:
            self.parts.assign(now)  # a relay was heard on a wire of ours
        self._liveness.watch(user, now)
        self._announcer.announce(user, now)

    def _update(self, user: User, presence: Presence, number: bytes, data: bytes, now: float) -> None:
        """The user speaks from its own address again."""
        self.renumber(user, number)
        changed = differs(presence, user.presence)
        if changed or (presence.proven and not user.presence.proven):
            before = user.shares
            self._context.roster.say(user, presence, data)
            self._announcer.reshared(user, before, now)
        verified = self.proved(user, now)
        if changed:
            self._context.emit(UserChanged(user))
            self.settling.changed(user)
        if changed and not verified:
            self._announcer.announce(user, now)

    def renumber(self, user: User, number: bytes) -> None:
        """The user's next packet. An iptux whose numbers went back was started again, and lists nobody."""
        if user.presence.kind is Kind.IPTUX and _smaller(number, user.number):
            user.listed = user.started = NEVER
            user.wants_list = user.wants_list or user.segment.interface is None
        user.number = number

    def proved(self, user: User, now: float) -> bool:
        """A sign of life from the user's own address; True if that was in doubt after a restart."""
        if user.candidate is not None:  # heard there, and here after that
            self.settling.twin(user, user.candidate.address)
            user.candidate = None
        self._liveness.heard(user, now)
        if user.rival is not None:
            self.settling.answered(user)
        if user.state is State.UNVERIFIED:
            user.state = State.ONLINE
            user.wants_list = not user.is_relay
            self._context.emit(UserJoined(user))
            self.settling.changed(user)
            self._announcer.announce(user, now)
            return True
        if now - user.written >= WRITE_DOWN:
            user.written = now
            self._context.emit(UserHeard(user))
        return False

    # -- going ---------------------------------------------------------------------------------------------------

    def left(self, user: User, reason: str, now: float) -> None:
        """The user is gone from its address: for good, or to the one it was heard at meanwhile."""
        if self.settling.gave_up(user, now):
            return
        address, candidate = user.address, user.candidate
        user.candidate = None
        user.rival = None
        if candidate is not None and user.state is not State.OFFLINE:
            self._context.roster.unseat(user)
            self._announcer.farewell(user, address, now)
            self._sit(user, candidate, now)
            user.wants_list = True
            self._context.emit(UserMoved(user, address))
            self._announcer.announce(user, now)
            self._liveness.watch(user, now)
            self._questions.entry(user.address, now, user.port)
            self.settling.changed(user)
        else:
            self._retire(user, reason, now)
            self._announcer.farewell(user, address, now)
        self.seating.freed(address)

    def replaced(self, user: User, now: float) -> None:
        """Somebody else lives at the user's address, as a peer says."""
        self._retire(user, "replaced", now)

    def _replace(self, address: str, now: float) -> None:
        """Somebody else speaks from ``address`` now: listeners overwrite, so no farewell is due."""
        sitting = self._context.roster.at.get(address)
        if sitting is not None:
            self._retire(sitting, "replaced", now)

    def _retire(self, user: User, reason: str, now: float) -> None:
        if user.twin:
            self._questions.entry(user.twin, now)  # now it may have the name
        user.candidate = None
        user.twin = None
        forgotten = self._context.roster.retire(user)
        self._context.emit(UserLeft(user, reason))
        if reason == "replaced" and self._context.sharing.shares:
            # The next one is not shown to all who saw this one.
            self._announcer.farewell(user, user.address, now)
        self.settling.changed(user)
        self._liveness.watch(user, now + 1.0)
        if forgotten is not None:
            self.forget(forgotten)

    def forget(self, user: User) -> None:
        """Nothing is kept of the user."""
        self._context.roster.remove(user)
        self._context.emit(UserForgotten(user))

    def _sit(self, user: User, where: Candidate, now: float) -> None:
        """The user, seated nowhere, lives at ``where`` now."""
        self._context.roster.leave_gone(user)
        self._replace(where.address, now)
        user.claim = self.settling.claim_for(user)
        user.via = None
        user.address, user.port, user.segment = where.address, where.port, where.segment
        user.say(where.presence, where.datagram)
        user.learned = where.learned
        user.state = State.ONLINE
        user.heard = now
        user.asked = 0
        user.spacing = 0.0
        user.twin = None
        user.confirmed = False
        user.listed = user.started = NEVER  # a new session is owed its list at once
        self._context.roster.seat(user)

    def reseat(self, user: User, segment: Segment | None, now: float) -> None:
        """Our addresses changed: ``segment`` is where the user's address lives now."""
        if user.candidate is not None:
            there = self._context.segments.of(user.candidate.address)
            user.candidate = user.candidate._replace(segment=there) if there is not None else None
        if segment is user.segment:
            return
        if segment is None:
            if user.state is not State.OFFLINE:
                user.candidate = None
                self.left(user, "segment lost", now)
            return
        if user.state is State.OFFLINE:
            user.segment = segment
            return
        before = user.shares
        self._context.roster.unseat(user)
        user.segment = segment
        self._context.roster.seat(user)
        if user.shares != before:
            self._announcer.reshared_many(user, before)

    # -- full lists ------------------------------------------------------------------------------------------------

    def entry_heard(self, user: User, now: float) -> None:
        """A proven BR_ENTRY: the client's list is empty, unless this is the same start speaking again."""
        since = now - user.started
        iptux_again = user.number == user.started_number and since < COPIES
        windows_again = SAME_START[0] <= since <= SAME_START[1] and user.presence.kind is Kind.WINDOWS
        if iptux_again or windows_again:
            user.wants_list = False
            return
        user.started = now
        user.started_number = user.number
        user.wants_list = True
        self.list_to(user, now)

    def list_to(self, user: User, now: float) -> None:
        """Everybody beyond its segment to ``user``: now, or 7 s after the last time."""
        if user.wants_list and user.segment.interface is None:
            self.settling.changed(user, True)  # peers that tell it of their own users do so again
        user.wants_list = False
        serves = self._announcer.serves(user)
        if not (serves or (user.home and user.segment.served)):
            return
        due = user.listed + LIST_EVERY
        if now >= due and serves:
            self._announcer.rounds.full_list(user, now)
        elif now >= due:
            self._lists.push(user, now)
        elif user not in self._promised:
            self._promised.add(user)
            self._count += 1
            heappush(self._pending, (due, self._count, user))

    def next_due(self) -> float:
        """When a promised list is due."""
        return self._pending[0][0] if self._pending else math.inf

    def tick(self, now: float) -> None:
        """Keep the promises."""
        while self._pending and self._pending[0][0] <= now:
            _, _, user = heappop(self._pending)
            self._promised.discard(user)
            if user.state is State.ONLINE:
                self.list_to(user, now)


def differs(new: Presence, old: Presence) -> bool:
    """Does the user say something else of itself? Charset and framing do not count."""
    return (
        new.version != old.version
        or (new.options ^ old.options) & ~NOT_A_CHANGE != 0
        or (new.parts != old.parts and bool(new.parts))
        or not new.names_like(old)
    )


def _candidate(presence: Presence, datagram: Datagram, segment: Segment, learned: Learned) -> Candidate:
    return Candidate(datagram.source, datagram.port, segment, presence, datagram.data, learned)


def _smaller(number: bytes, than: bytes) -> bool:
    return number.isdigit() and than.isdigit() and int(number) < int(than)
