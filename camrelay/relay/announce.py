"""Makes listeners list and drop external users: one datagram per segment, unicast to those who need another one.

Rules kept here (design rules 3 and 4): an announcement asks for no answer; it carries the user's own address as
source and the user's own packet number; a user is never announced into the segment it lives in, nor to itself; a
broadcast of ours leaves with TTL 1, which is how another relay knows it.
"""

from __future__ import annotations

import math
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from camrelay.ipmsg.command import NEVER_ANNOUNCED, OPTION_MASK, PORT, Command, Option
from camrelay.ipmsg.presence import announce
from camrelay.relay.context import Bucket, Recently
from camrelay.relay.outputs import Transmit
from camrelay.relay.roster import Dialect, State

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from camrelay.relay.context import Context
    from camrelay.relay.roster import User
    from camrelay.relay.segment import Segment

STEP = 0.02  # seconds between two helpings of paced datagrams
RATE = 2000.0  # paced datagrams per second in all: under 2 % of one core and of a 100 Mbit/s line
LIST_STEP = 8  # of one list per step, 400/s: a Windows socket holds some 200; 500 users take 1.25 s
BROADCAST_TTL = 1
MOVED_WITHIN = 10.0  # Windows keeps the old address of a user for up to 7 s (clients.md section 1) ...
REPEAT_AFTER = 8.0  # ... so what is announced within that time is said again
FAREWELL_AGAIN = 2.0  # a lost farewell would leave a ghost for good: Windows says its own twice, too
ANY_ABSENCE = Dialect(True, None)


class Form(NamedTuple):
    """How one user is written for one group of listeners. ``charset`` None: in the bytes the user itself sent."""

    command: int
    charset: str | None
    trailer: bool | None


AS_ITSELF = Form(Command.BR_ABSENCE, None, None)


def write(user: User, form: Form) -> bytes:
    """The datagram that announces ``user`` in ``form``."""
    presence = user.presence
    if form is AS_ITSELF:
        # Windows sends the very words that must be repeated: only the command differs, if anything does.
        logon, host, said, rest = user.tail.split(b":", 3)
        command = b"%d" % (Command.BR_ABSENCE | (presence.options & OPTION_MASK & ~NEVER_ANNOUNCED))
        if said == command:
            return user.datagram
        if not presence.options & Option.UTF8:
            return b":".join((presence.version, user.number, logon, host, command, rest))
    return announce(presence, form.command, user.number, form.charset, form.trailer)


def form_for(user: User, dialect: Dialect, body: str | None) -> Form:
    """What listeners of ``dialect`` need; ``body`` is the charset that most listeners of the segment read."""
    presence = user.presence
    if not dialect.absence:
        return Form(Command.ANSENTRY, None if presence.is_ascii else dialect.charset, None)
    if presence.is_ascii:
        return AS_ITSELF
    charset = dialect.charset or body or presence.charset
    has_trailer = bool(presence.options & Option.CAPUTF8)
    # iptux finds its icon and its own mark where the trailer would stand: one datagram cannot hold both.
    trailer = not presence.parts or dialect.charset is None
    if charset == presence.charset and trailer == has_trailer:
        return AS_ITSELF
    return Form(Command.BR_ABSENCE, charset, trailer)


class Announcer:
    """Says at once what changed, and lists at a pace."""

    def __init__(self, context: Context, now: float) -> None:
        self._context = context
        self._deltas: deque[Iterator[Transmit]] = deque()
        self._lists: dict[User | Segment, Iterator[Transmit]] = {}
        self._bucket = Bucket(RATE, RATE * STEP * 2, now)
        self._left = Recently(MOVED_WITHIN, 65_536)
        self._again: deque[tuple[float, User, str]] = deque()  # farewells to repeat
        self._repeat: deque[tuple[float, User]] = deque()  # announcements to repeat
        self._step = now

    # -- what changed ------------------------------------------------------------------------------------------

    def announce(self, user: User, now: float) -> None:
        """``user`` joined, moved or changed: everybody beyond its segment is told."""
        if user.is_relay:
            return
        if not self._context.can_speak:
            self._context.count("not announced: may not speak for others")
            return
        self._tell(user, None)
        if self._left.within(user.address, now) or now - user.farewell < MOVED_WITHIN:
            self._repeat.append((now + REPEAT_AFTER, user))

    def farewell(self, user: User, address: str, now: float, again: bool = True) -> None:
        """``user`` is no longer at ``address``: drop it, unless somebody else lives there now."""
        context = self._context
        self._left.note(address, now)
        user.farewell = now
        if user.is_relay or not context.can_speak or context.roster.at.get(address) is not None:
            return
        self._tell(user, address)
        if again:
            self._again.append((now + FAREWELL_AGAIN, user, address))

    def _tell(self, user: User, leaving: str | None) -> None:
        """Broadcast into the segments of ours, then unicast to the rest."""
        context = self._context
        emit = context.emit
        others: list[Iterator[Transmit]] = []
        for segment in context.segments.local:
            if segment is user.segment or segment.interface is None:
                continue
            if leaving:
                form, odd = Form(Command.BR_EXIT, None, False), []
            else:
                form, odd = self._forms(user, segment)
            interface = segment.interface
            speak_as = leaving or user.address
            emit(
                Transmit(
                    write(user, form), interface.broadcast, PORT, speak_as, interface.index, BROADCAST_TTL
                )
            )
            others.extend(self._to_group(user, group, form, leaving) for form, group in odd)
        for segment in self._remote_listeners(user):
            for dialect, group in segment.groups.items():
                form = (
                    Form(Command.BR_EXIT, None, False) if leaving else form_for(user, dialect, dialect.charset)
                )
                others.append(self._to_group(user, group, form, leaving))
        self._deltas.extend(others)
        context.count("farewells" if leaving else "announcements")

    def _forms(self, user: User, segment: Segment) -> tuple[Form, list[tuple[Form, dict[User, None]]]]:
        """The form to broadcast in ``segment``, and the groups that need another one by unicast."""
        groups = segment.groups
        body, most = None, 0
        if not user.presence.is_ascii:
            for dialect, group in groups.items():
                if dialect.absence and dialect.charset and len(group) > most:
                    body, most = dialect.charset, len(group)
        forms = [(form_for(user, dialect, body), dialect, group) for dialect, group in groups.items()]
        absent = [(len(group), form) for form, dialect, group in forms if dialect.absence]
        main = max(absent, key=lambda found: found[0])[1] if absent else form_for(user, ANY_ABSENCE, body)
        return main, [(form, group) for form, _, group in forms if form != main]

    def _remote_listeners(self, user: User) -> Iterable[Segment]:
        """Swept segments whose users may hear of ``user`` from us (design rule 3)."""
        segments = self._context.segments
        if user.segment.interface is None and not self._context.settings.between_remote:
            return ()
        return [s for s in segments.all if s.interface is None and s.groups and s is not user.segment]

    def _to_group(
        self, user: User, group: dict[User, None], form: Form, leaving: str | None
    ) -> Iterator[Transmit]:
        data = write(user, form)
        for listener in list(group):
            if listener.is_relay or listener.state is State.OFFLINE:
                continue
            if leaving is None and user.state is not State.ONLINE:
                return
            yield Transmit(data, listener.address, listener.port, leaving or user.address)

    # -- whole lists -------------------------------------------------------------------------------------------

    def full_list(self, target: User, now: float) -> None:
        """Everybody beyond its segment, to ``target`` alone; begins anew if one is under way."""
        target.listed = now
        target.wants_list = False
        if not target.is_relay and self._context.can_speak:
            self._lists.pop(target, None)
            self._lists[target] = self._list_for(target)
            self._context.count("full lists")

    def list_of(self, target: User, users: list[User], now: float) -> None:
        """``users`` to ``target`` alone: it does not list them."""
        if self._context.can_speak and target not in self._lists:
            target.listed = now
            self._lists[target] = self._list_for(target, users)
            self._context.count("partial lists")

    def everything(self) -> None:
        """The whole external roster again, to every segment: what a client lost comes back (design rule 4)."""
        if not self._context.can_speak:
            return
        for segment in self._context.segments.local:
            self._lists[segment] = self._list_for_segment(segment)
        for segment in self._context.segments.all:
            if segment.interface is None:
                self._lists |= {user: self._list_for(user) for user in segment.users if not user.is_relay}

    def external_to(self, segment: Segment) -> Iterator[User]:
        """Who is announced into ``segment``."""
        anybody = segment.interface is not None or self._context.settings.between_remote
        return (
            user
            for user in self._context.roster.online()
            if user.segment is not segment
            and not user.is_relay
            and (anybody or user.segment.interface is not None)
        )

    def _list_for(self, target: User, users: list[User] | None = None) -> Iterator[Transmit]:
        for user in list(self.external_to(target.segment)) if users is None else users:
            if target.state is State.OFFLINE:
                return
            if user.state is State.ONLINE:
                data = write(user, form_for(user, target.dialect, target.dialect.charset))
                yield Transmit(data, target.address, target.port, user.address)

    def _list_for_segment(self, segment: Segment) -> Iterator[Transmit]:
        for user in list(self.external_to(segment)):
            interface = segment.interface
            if interface is None or user.state is not State.ONLINE:
                continue
            main, odd = self._forms(user, segment)
            data = write(user, main)
            yield Transmit(data, interface.broadcast, PORT, user.address, interface.index, BROADCAST_TTL)
            for form, group in odd:
                yield from self._to_group(user, group, form, None)

    # -- pace --------------------------------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """Lists and deltas that are not through yet."""
        return len(self._deltas) + len(self._lists)

    def next_due(self) -> float:
        """When there is something to say."""
        due = self._step + STEP if self._deltas or self._lists else math.inf
        if self._again:
            due = min(due, self._again[0][0])
        return min(due, self._repeat[0][0]) if self._repeat else due

    def tick(self, now: float) -> None:
        """Say what is due: changes first, then of every list a few lines."""
        while self._again and self._again[0][0] <= now:
            _, user, address = self._again.popleft()
            if user.state is State.OFFLINE or user.address != address:
                self.farewell(user, address, now, again=False)
        while self._repeat and self._repeat[0][0] <= now:
            _, user = self._repeat.popleft()
            if user.state is State.ONLINE:
                self._tell(user, None)
        if now - self._step < STEP / 2:
            return
        self._step = now
        while self._deltas and self._bucket.take(now):
            item = next(self._deltas[0], None)
            if item is None:
                self._deltas.popleft()
            else:
                self._context.emit(item)
        if not self._context.congested:
            self._lists_step(now)

    def _lists_step(self, now: float) -> None:
        for target in list(islice(self._lists, 64)):
            items = self._lists.pop(target)
            for _ in range(LIST_STEP):
                if not self._bucket.take(now):
                    self._lists[target] = items
                    return
                item = next(items, None)
                if item is None:
                    break
                self._context.emit(item)
            else:
                self._lists[target] = items  # to the end of the row: everybody gets a turn
