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

from camrelay.ipmsg.command import PORT, Command
from camrelay.relay.context import Bucket, Recently
from camrelay.relay.outputs import Transmit
from camrelay.relay.roster import Dialect, State, User
from camrelay.relay.segment import Segment
from camrelay.relay.visits import News, Visits
from camrelay.relay.writing import GOOD_BYE, Form, form_for, write

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from camrelay.relay.context import Context

STEP = 0.02  # seconds between two helpings of paced datagrams
RATE = 2000.0  # paced datagrams per second in all: under 2 % of one core and of a 100 Mbit/s line
LIST_STEP = 8  # of one list per step, 400/s: a Windows socket holds some 200; 500 users take 1.25 s
DELTA_STEP = 20  # of changes told by unicast, while somebody waits for a list: half of what goes out
ALL_OF_IT = 1000  # of them, while nobody does
CROWD = 4  # clients of one segment who wait for a list at the same time: one by broadcast serves them all
BROADCAST_TTL = 1
ROUNDS_AT_ONCE = 3  # 1,200/s: the rest is for those who join meanwhile
MAX_DELTAS = 65_536  # changes waiting to be told by unicast, each to one group of listeners
FAREWELL_ROUNDS = 3  # who lost 5 farewells, over 6 hours, will not hear the next one either
MAX_GONE = 20_000  # addresses; a farewell beyond is not repeated with the next round
MOVED_WITHIN = 10.0  # Windows keeps the old address of a user for up to 7 s (clients.md section 1) ...
REPEAT_AFTER = 8.0  # ... so what is announced within that time is said again
FAREWELL_AGAIN = 2.0  # a lost farewell would leave a ghost for good: Windows says its own twice, too
ANY_ABSENCE = Dialect(True, None)

Group = dict["User", None]


class Gone(NamedTuple):
    """Somebody left an address, and so many rounds will say it again."""

    user: User
    rounds: int


class Announcer:
    """Says at once what changed, and lists at a pace."""

    def __init__(self, context: Context, now: float) -> None:
        self._context = context
        self._deltas: deque[Iterator[Transmit]] = deque()
        self._lists: dict[User | Segment, Iterator[Transmit]] = {}
        self._late: set[Segment] = set()  # somebody came while the list for all of them was being said
        self._visits = Visits(self._visit, now)
        self._rounds: deque[Iterator[Transmit]] = (
            deque()
        )  # the whole roster to segments, after everything else
        self._gone: dict[str, Gone] = {}  # by the address that was left
        self._bucket = Bucket(RATE, RATE * STEP * 2, now)
        self._left = Recently(MOVED_WITHIN, 65_536)
        self._again: deque[tuple[float, User, str]] = deque()  # farewells to repeat
        self._repeat: deque[tuple[float, User]] = deque()  # announcements to repeat
        self._step = now
        self._external: dict[Segment, list[User]] = {}  # what _external_to() found in this tick

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
        self.remember_gone(user, address)
        if user.is_relay or not context.can_speak or context.roster.at.get(address) is not None:
            return
        self._tell(user, address)
        if again:
            self._again.append((now + FAREWELL_AGAIN, user, address))

    def remember_gone(self, user: User, address: str) -> None:
        """The next rounds say farewell to ``address`` once more."""
        if not user.is_relay and len(self._gone) < MAX_GONE:
            self._gone[address] = Gone(user, FAREWELL_ROUNDS)

    def _tell(self, user: User, leaving: str | None) -> None:
        """Broadcast into the segments of ours, then unicast to the rest."""
        context = self._context
        home = context.segments.of(leaving) if leaving else user.segment
        others: list[Iterator[Transmit]] = []
        for segment in context.segments.local:
            if segment is home:
                continue
            form, odd = (GOOD_BYE, ()) if leaving else self._forms(user, segment)
            context.emit(_broadcast(user, form, segment, leaving or user.address))
            others.extend(self._to_group(user, group, form, leaving) for form, group in odd)
        told = len(self._deltas) + len(others) <= MAX_DELTAS
        if told:
            self._deltas.extend(others)
        for segment in self._remote_listeners(home):
            told = self._visits.add(user, leaving, segment) and told
        if not told:
            context.count("not told by unicast: too many waiting")
        context.count("farewells" if leaving else "announcements")

    def _forms(self, user: User, segment: Segment) -> tuple[Form, Sequence[tuple[Form, Group]]]:
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

    def _remote_listeners(self, home: Segment | None) -> Iterable[Segment]:
        """Swept segments whose users may hear from us of those of ``home`` (design rule 3)."""
        segments = self._context.segments
        if home is not None and home.interface is None and not self._context.settings.between_remote:
            return ()
        return [s for s in segments.all if s.interface is None and s.groups and s is not home]

    def _to_group(self, user: User, group: Group, form: Form, leaving: str | None) -> Iterator[Transmit]:
        data = write(user, form)
        for listener in list(group):
            if listener.is_relay or listener.state is State.OFFLINE:
                continue
            if user.state is not State.ONLINE if leaving is None else leaving in self._context.roster.at:
                return
            yield Transmit(data, listener.address, listener.port, leaving or user.address)

    def _visit(self, listener: User, news: Iterable[News]) -> Iterator[Transmit]:
        """What ``listener``, beyond our routers, is to hear."""
        for user, leaving in news:
            if leaving is not None:
                if leaving not in self._context.roster.at:
                    yield Transmit(write(user, GOOD_BYE), listener.address, listener.port, leaving)
            elif user.state is State.ONLINE and user.segment is not listener.segment:
                data = write(user, form_for(user, listener.dialect, listener.dialect.charset))
                yield Transmit(data, listener.address, listener.port, user.address)

    # -- whole lists -------------------------------------------------------------------------------------------

    def full_list(self, target: User, now: float) -> None:
        """Everybody beyond its segment, to ``target`` alone; begins anew if one is under way."""
        target.listed = now
        target.wants_list = False
        if target.is_relay or not self._context.can_speak:
            return
        self._context.count("full lists")
        self._lists.pop(target, None)
        segment = target.segment
        if not target.dialect.absence:
            self._lists[target] = self._list_for(target)
        elif segment in self._lists:
            self._late.add(segment)
        elif self._crowded(segment):
            self._lists[segment] = self._round(segment, None)
        else:
            self._lists[target] = self._list_for(target)

    def _crowded(self, segment: Segment) -> bool:
        """Do so many of a segment of ours wait for a list that one for all is shorter? Then they wait no more."""
        if segment.interface is None:
            return False
        waiting = [
            u for u in self._lists if isinstance(u, User) and u.segment is segment and u.dialect.absence
        ]
        if len(waiting) < CROWD:
            return False
        for user in waiting:
            del self._lists[user]
        return True

    def list_of(self, target: User, users: list[User], now: float) -> None:
        """``users`` to ``target`` alone: it does not list them."""
        if self._context.can_speak and target not in self._lists:
            target.listed = now
            self._lists[target] = self._list_for(target, users)
            self._context.count("partial lists")

    def everything(self) -> None:
        """The whole external roster again, to every segment: what a client lost comes back (design rule 4), and
        whom it kept, because the farewells were lost, goes.
        """
        if not self._context.can_speak or self._rounds:
            return
        gone = {address: left.user for address, left in self._gone.items()}
        self._gone = {
            a: Gone(left.user, left.rounds - 1) for a, left in self._gone.items() if left.rounds > 1
        }
        for segment in self._context.segments.local:
            self._rounds.append(self._round(segment, gone))
        for segment in self._context.segments.all:
            if segment.interface is None:
                self._rounds.extend(self._round_for(user, gone) for user in segment.users)

    def readdress(self) -> None:
        """The segments are others now: a round that is under way begins anew."""
        crowds = [target for target in self._lists if isinstance(target, Segment)]
        for segment in crowds:
            del self._lists[segment]
        self._late.clear()
        if self._visits.clear() or self._rounds or crowds:
            self._rounds.clear()
            self.everything()

    def external_to(self, segment: Segment) -> list[User]:
        """Who is announced into ``segment``."""
        segments = self._context.segments
        anybody = segment.interface is not None or self._context.settings.between_remote
        return [
            user
            for other in (segments.all if anybody else segments.local)
            if other is not segment
            for user in other.users
            if user.state is State.ONLINE and not user.is_relay
        ]

    def _external_to(self, segment: Segment) -> list[User]:
        """The same list for all whose turn comes in one tick: a floor that starts at once must not stall us."""
        found = self._external.get(segment)
        if found is None:
            found = self._external[segment] = self.external_to(segment)
        return found

    def _list_for(self, target: User, users: list[User] | None = None) -> Iterator[Transmit]:
        for user in self._external_to(target.segment) if users is None else users:
            if target.state is State.OFFLINE:
                return
            if user.state is State.ONLINE:
                data = write(user, form_for(user, target.dialect, target.dialect.charset))
                yield Transmit(data, target.address, target.port, user.address)

    def _round(self, segment: Segment, gone: dict[str, User] | None) -> Iterator[Transmit]:
        """Everything to a segment of ours; with ``gone`` also to those who take no broadcast."""
        context = self._context
        for address, user in (gone or {}).items():
            if address not in context.roster.at and context.segments.of(address) is not segment:
                yield _broadcast(user, GOOD_BYE, segment, address)
        for user in self._external_to(segment):
            if user.state is State.ONLINE:
                form, odd = self._forms(user, segment)
                yield _broadcast(user, form, segment, user.address)
                for other, group in odd:
                    if gone is not None or other.command == Command.BR_ABSENCE:
                        yield from self._to_group(user, group, other, None)

    def _round_for(self, target: User, gone: dict[str, User]) -> Iterator[Transmit]:
        """Everything to a user of a swept segment."""
        context = self._context
        if target.is_relay:
            return
        for address, user in gone.items():
            home = context.segments.of(address)
            ours = home is None or home.interface is not None or context.settings.between_remote
            if ours and address not in context.roster.at and home is not target.segment:
                yield Transmit(write(user, GOOD_BYE), target.address, target.port, address)
        yield from self._list_for(target)

    # -- pace --------------------------------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """Lists and deltas that are not through yet."""
        return len(self._deltas) + self._visits.waiting + len(self._lists) + len(self._rounds)

    def next_due(self) -> float:
        """When there is something to say."""
        due = self._step + STEP if self.waiting else math.inf
        if self._again:
            due = min(due, self._again[0][0])
        return min(due, self._repeat[0][0]) if self._repeat else due

    def tick(self, now: float) -> None:
        """Say what is due: changes first, then of every list a few lines."""
        self._external.clear()
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
        for told in self._visits.tick(now):
            self._context.emit(told)
        self._deltas_step(now)
        if not self._context.congested:
            self._lists_step(now)

    def _deltas_step(self, now: float) -> None:
        for _ in range(DELTA_STEP if self._lists else ALL_OF_IT):
            if not self._deltas or not self._bucket.take(now):
                return
            item = next(self._deltas[0], None)
            if item is None:
                self._deltas.popleft()
            else:
                self._context.emit(item)

    def _lists_step(self, now: float) -> None:
        for target in list(islice(self._lists, 64)):
            if not self._bucket.ready(now):
                return
            items = self._lists.pop(target)
            if self._helping(items, now):
                self._lists[target] = items  # to the end of the row: everybody gets a turn
            elif isinstance(target, Segment) and target in self._late:
                self._late.discard(target)
                self._lists[target] = self._round(target, None)
        for items in list(islice(self._rounds, ROUNDS_AT_ONCE)):
            if not self._helping(items, now):
                self._rounds.remove(items)

    def _helping(self, items: Iterator[Transmit], now: float) -> bool:
        """Some of ``items``; is there more?"""
        for _ in range(LIST_STEP):
            if not self._bucket.take(now):
                return True
            item = next(items, None)
            if item is None:
                return False
            self._context.emit(item)
        return True


def _broadcast(user: User, form: Form, segment: Segment, speak_as: str) -> Transmit:
    index = segment.interface.index if segment.interface else 0
    return Transmit(write(user, form), segment.broadcast, PORT, speak_as, index, BROADCAST_TTL)
