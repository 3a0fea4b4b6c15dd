"""Tells users of swept segments what changed: by unicast, listener by listener, each visit with all the news.

Rule kept here: not too many different addresses beyond the routers within 45 s. So long each keeps its place in a
router's neighbour table, which holds 1,024 by default and which the sweep's first pass fills with some 435 unresolved
and 240 found: a start told to 900 listeners at once made it miss 148 of 1,000 live hosts (measured).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

from camrelay.relay.context import Bucket, Recently

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from camrelay.relay.context import Context
    from camrelay.relay.outputs import Transmit
    from camrelay.relay.segment import Segment
    from camrelay.relay.user import User

VISITS = 100.0  # per second
KEPT = 45.0  # seconds that a neighbour who answered cannot be evicted: up to 1.5 x base_reachable_time
IN_A_PASS = 300  # different listeners in that time while a pass of the sweep is under way
OTHERWISE = 900
AT_ONCE = 25.0  # listeners who hear of a change in the same moment
MOST = 4_096  # changes that one round of visits tells; what is beyond comes with the next full announcement


class News(NamedTuple):
    """``user`` changed, or left the address ``leaving``."""

    user: User
    leaving: str | None


class Reach:
    """Which addresses beyond the routers we may speak to now."""

    def __init__(self, context: Context, now: float) -> None:
        self._context = context
        self._touched = Recently(KEPT, 4 * OTHERWISE)
        self.now = now

    def may(self, address: str) -> bool:
        """One more, and it is remembered; who was spoken to just now always."""
        most = IN_A_PASS if self._context.hurried else OTHERWISE
        if not self._touched.within(address, self.now) and self._touched.count(self.now) >= most:
            return False
        self._touched.note(address, self.now)
        return True


class Visits:
    """For each segment the news it was not told yet, and the round of visits that is under way there.

    ``tell(listener, news)`` makes the datagrams of one visit; None among them: the rest in the next helping.
    """

    def __init__(
        self, tell: Callable[[User, Iterable[News]], Iterator[Transmit | None]], reach: Reach, now: float
    ) -> None:
        self._tell = tell
        self._reach = reach
        self._news: dict[Segment, dict[News, None]] = {}  # in the order of arrival, the same thing once
        self._rounds: deque[Round] = deque()
        self._bucket = Bucket(VISITS, AT_ONCE, now)
        # May tell a whole segment at once: True if it did, False if it cannot, None: ask again in the next helping.
        self.carry: Callable[[Segment, Iterable[News], float], bool | None] = lambda *_: False

    @property
    def waiting(self) -> int:
        """Segments with news to come."""
        return len(self._news) + len(self._rounds)

    def add(self, user: User, leaving: str | None, segment: Segment) -> bool:
        """Everybody in ``segment`` is to hear of it; False if there is too much of that already."""
        news = self._news.setdefault(segment, {})
        if len(news) >= MOST:
            return False
        news.pop(News(user, leaving), None)  # the order counts: a farewell before the return
        news[News(user, leaving)] = None
        return True

    def clear(self) -> bool:
        """Forget it all (the segments are others now); was there anything?"""
        owed = bool(self.waiting)
        self._news.clear()
        self._rounds.clear()
        return owed

    def tick(self, now: float) -> Iterator[Transmit]:
        """The visits that the pace allows; segments take turns."""
        under_way = {round_.segment for round_ in self._rounds}
        for segment in [segment for segment in self._news if segment not in under_way]:
            carried = self.carry(segment, self._news[segment], now)
            if carried is None:
                continue
            news = self._news.pop(segment)
            if not carried:
                self._rounds.append(Round(segment, self._round(segment, news)))
        while self._rounds and (self._rounds[0].visit is not None or self._bucket.ready(now)):
            round_ = self._rounds[0]
            if round_.visit is None:
                visit = next(round_.visits, END)
                if visit is END:
                    self._rounds.popleft()
                    continue
                if visit is None:
                    self._rounds.rotate(-1)
                    return
                round_.visit = visit
                self._bucket.take(now)
            for told in round_.visit:
                if told is None:
                    return
                yield told
            round_.visit = None
            self._rounds.rotate(-1)

    def _round(self, segment: Segment, news: Iterable[News]) -> Visiting:
        for listener in list(segment.users if segment.ours_only else segment.listeners):
            if not listener.is_relay:
                while not self._reach.may(listener.address):
                    yield None
                yield self._tell(listener, news)


Visiting = Iterator["Iterator[Transmit | None] | None"]  # None: not now
END: Final[Iterator[Transmit | None]] = iter(())


class Round:
    """The visits to one segment that are still to be made, and the one that was begun."""

    __slots__ = ("segment", "visit", "visits")

    def __init__(self, segment: Segment, visits: Visiting) -> None:
        self.segment = segment
        self.visits = visits
        self.visit: Iterator[Transmit | None] | None = None
