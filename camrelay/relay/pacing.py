"""The pace of what is told by unicast: changes first, then of every list a few lines, so that nobody's socket
overflows and everybody gets a turn."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Final

from camrelay.relay.context import Bucket
from camrelay.relay.outputs import Transmit

if TYPE_CHECKING:
    from camrelay.relay.context import Context
    from camrelay.relay.segment import Segment
    from camrelay.relay.user import User

STEP = 0.02  # seconds between two helpings of paced datagrams
RATE = 2000.0  # paced datagrams per second in all: under 2 % of one core and of a 100 Mbit/s line
LIST_STEP = 8  # users of one list per step, 400/s: a Windows socket holds some 200; 500 users take 1.25 s
DELTA_STEP = 20  # of changes told by unicast, while somebody waits for a list: half of what goes out
ALL_OF_IT = 1000  # of them, while nobody does
ROUNDS_AT_ONCE = 3  # 1,200/s: the rest is for those who join meanwhile
SIGNED = 2  # what one datagram of a signed list, of up to 1,400 bytes, counts for
LISTS_AT_ONCE = 64

Items = Iterator[Transmit | None]  # None: nothing more in this helping
END: Final = object()


class Pace:
    """What waits to be said, and how much of it may be said now."""

    def __init__(self, context: Context, now: float) -> None:
        self._context = context
        self._bucket = Bucket(RATE, RATE * STEP * 2, now)
        self.deltas: deque[Items] = deque()
        self.lists: dict[User | Segment, Items] = {}
        self.rounds: dict[Segment, Items] = {}  # the whole roster to each of these, after everything else

    @property
    def waiting(self) -> int:
        """Lists and deltas that are not through yet."""
        return len(self.deltas) + len(self.lists) + len(self.rounds)

    def step(self, now: float) -> None:
        """One helping of everything."""
        self._say_deltas(now)
        if not self._context.congested:
            self._say_lists(now)

    def _say_deltas(self, now: float) -> None:
        for _ in range(DELTA_STEP if self.lists else ALL_OF_IT):
            if not self.deltas or not self._bucket.take(now):
                return
            item = next(self.deltas[0], END)
            if item is None:
                return
            if isinstance(item, Transmit):
                self._context.emit(item)
            else:
                self.deltas.popleft()

    def _say_lists(self, now: float) -> None:
        for target in list(islice(self.lists, LISTS_AT_ONCE)):
            if not self._bucket.ready(now):
                return
            items = self.lists.pop(target)
            if self._helping(items, now):
                self.lists[target] = items  # to the end of the row: everybody gets a turn
        for segment in list(islice(self.rounds, ROUNDS_AT_ONCE)):
            if not self._helping(self.rounds[segment], now):
                del self.rounds[segment]

    def _helping(self, items: Items, now: float) -> bool:
        """Some of ``items``; is there more?"""
        room = LIST_STEP
        while room > 0 and self._bucket.take(now):
            item = next(items, END)
            if item is None:
                return True
            if not isinstance(item, Transmit):
                return False
            self._context.emit(item)
            room -= 1 if item.speak_as else SIGNED  # ours is a signed list of several users
        return True
