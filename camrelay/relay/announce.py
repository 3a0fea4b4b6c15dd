"""Makes listeners list and drop external users: one datagram per segment, unicast to those who need another one.

Rules kept here (design rules 3 and 4): an announcement asks for no answer; it carries the user's own address as
source and the user's own packet number; a user is never announced into the segment it lives in, nor to itself; a
broadcast of ours leaves with TTL 1, which is how another relay knows it. Who reads signed lists is told by those,
from our own address, where no broadcast of ours reaches.
"""

from __future__ import annotations

import math
from collections import deque
from itertools import takewhile
from typing import TYPE_CHECKING, Protocol

from camrelay.relay.context import Recently
from camrelay.relay.pacing import STEP, Items, Pace
from camrelay.relay.rounds import Rounds, broadcast
from camrelay.relay.signing import Signing, together
from camrelay.relay.unicast import Unicast, signed_groups
from camrelay.relay.user import State
from camrelay.relay.visits import Reach, Visits
from camrelay.relay.writing import GOOD_BYE, forms_for

if TYPE_CHECKING:
    from collections.abc import Iterable

    from camrelay.relay.context import Context
    from camrelay.relay.segment import Segment
    from camrelay.relay.user import User
    from camrelay.relay.visits import News

MAX_DELTAS = 65_536  # changes waiting to be told by unicast, each to one group of listeners
MOVED_WITHIN = 10.0  # Windows keeps the old address of a user for up to 7 s (clients.md section 1) ...
REPEAT_AFTER = 8.0  # ... so what is announced within that time is said again
FAREWELL_AGAIN = 2.0  # a lost farewell would leave a ghost for good: Windows says its own twice, too


class Agents(Protocol):
    """Clients that pass signed lists on to their segments: see ``duties``."""

    def reach(self, segment: Segment, now: float) -> bool:
        """Can they?"""

    def publish(self, segment: Segment, frames: Iterable[bytes]) -> None:
        """Let them."""


class Announcer:
    """Says at once what changed; ``rounds`` has whole lists. Both wait in one row, at one pace."""

    def __init__(self, context: Context, now: float) -> None:
        self._context = context
        self._signing = Signing(context)
        self._unicast = Unicast(context, self._signing)
        self._pace = Pace(context, now)
        self._reach = Reach(context, now)
        self._visits = Visits(self._unicast.visit, self._reach, now)
        self.rounds = Rounds(context, self._signing, self._unicast, self._pace, self._reach)
        self.serves = self._unicast.serves
        self.agents: Agents | None = None  # made later: they need us
        self._visits.carry = self._carry
        self._left = Recently(MOVED_WITHIN, 65_536)
        self._again: deque[tuple[float, User, str, int]] = deque()  # farewells to repeat
        self._repeat: dict[User, float] = {}  # announcements to repeat, and when: the next one first
        self._step = now
        self._reshared = False

    # -- what changed ------------------------------------------------------------------------------------------

    def announce(self, user: User, now: float) -> None:
        """``user`` joined, moved or changed: everybody beyond its segment is told."""
        if user.is_relay:
            return
        if self._unicast.mute:
            self._context.count("not announced: may not speak for others")
            return
        self._tell(user, None, user.shares)
        if self._left.within(user.address, now) or now - user.farewell < MOVED_WITHIN:
            self._repeat.pop(user, None)  # who changes ten times meanwhile is said again once
            self._repeat[user] = now + REPEAT_AFTER

    def farewell(self, user: User, address: str, now: float) -> None:
        """``user`` is no longer at ``address``: drop it, unless somebody else lives there now."""
        if self._farewell(user, address, user.shares, now):
            self._again.append((now + FAREWELL_AGAIN, user, address, user.shares))

    def reshared(self, user: User, before: int, now: float) -> None:
        """The rules say something else of ``user`` than ``before``: where it is not shown any more, it left."""
        if user.shares != before and self._farewell(user, user.address, before, now):
            self._again.append((now + FAREWELL_AGAIN, user, user.address, before))

    def reshared_many(self, user: User, before: int) -> None:
        """The same for one of many: with the round that begins with the next ``readdress``."""
        self._reshared = True
        sees = self._context.sharing.sees
        if any(sees(s, before) and not sees(s, user.shares) for s in self._context.segments.all):
            self.rounds.remember_gone(user, user.address, before)

    def _farewell(self, user: User, address: str, shares: int, now: float) -> bool:
        """Those who saw ``user`` when its number was ``shares``, and see nobody there now, drop it. Is anybody told?"""
        self._left.note(address, now)
        user.farewell = now
        self.rounds.remember_gone(user, address, shares)
        sitting = self._context.roster.at.get(address)
        if user.is_relay or self._unicast.mute or (sitting is not None and not sitting.shares):
            return False
        self._tell(user, address, shares)
        return True

    def _concerns(self, segment: Segment, leaving: str | None, shares: int) -> bool:
        """Are those of ``segment`` to hear of users of this number, from us?

        Where a peer serves since a moment ago it may not know who is leaving: a farewell is ours then, too.
        """
        ours = segment.served or segment.ours_only or (leaving is not None and segment.fading)
        if not ours:
            return False
        if shares and not self._context.sharing.sees(segment, shares):
            return False
        return leaving is None or not self._context.lists(segment, leaving)

    def _tell(self, user: User, leaving: str | None, shares: int) -> None:
        """Broadcast into the segments of ours, then unicast to the rest."""
        context = self._context
        home = context.segments.of(leaving) if leaving else user.segment
        others: list[Items] = []
        for segment in context.segments.local:
            if segment is home or not self._concerns(segment, leaving, shares):
                continue
            if not context.can_speak:
                others.extend(
                    self._unicast.signed_to(user, group, leaving) for group in signed_groups(segment)
                )
                continue
            form, odd = (GOOD_BYE, ()) if leaving else forms_for(user, segment)
            context.emit(broadcast(user, form, segment, leaving or user.address))
            others.extend(self._unicast.to_group(user, group, form, leaving) for form, group in odd)
        told = len(self._pace.deltas) + len(others) <= MAX_DELTAS
        if told:
            self._pace.deltas.extend(others)
        for segment in self._remote_listeners(home):
            if not self._concerns(segment, leaving, shares):
                continue
            told = self._visits.add(user, leaving, segment) and told
        if not told:
            context.count("not told by unicast: too many waiting")
        context.count("farewells" if leaving else "announcements")

    def _remote_listeners(self, home: Segment | None) -> Iterable[Segment]:
        """Swept segments with somebody who may hear from us of those of ``home``."""
        found = [
            s
            for s in self._context.segments.all
            if s.interface is None
            and s is not home
            and (s.groups if s.served or s.fading else s.ours_only and s.others)
        ]
        if self._unicast.speaks_from(home):
            return found
        return [s for s in found if self._context.identity and any(True for _ in signed_groups(s))]

    def _carry(self, segment: Segment, news: Iterable[News], now: float) -> bool | None:
        """Through its agents, if ``segment`` has some (see ``Visits.carry``)."""
        if self.agents is None or not self.agents.reach(segment, now):
            return False
        frames: list[bytes] = []
        for some in together(one for one in news if self._unicast.concerns(segment, one)):
            signed = self._signing.changes(some, segment)
            if signed is None:
                return None
            frames.extend(signed)
        self.agents.publish(segment, frames)
        return True

    # -- the segments, or we, are others now ----------------------------------------------------------------------

    def readdress(self) -> None:
        """A round that is under way begins anew, and so do lists."""
        owed, self._reshared = self._visits.clear() or self._reshared, False
        self.rounds.anew(owed)

    def renamed(self) -> None:
        """We sign from now on, or as somebody else: all are told anew."""
        self.rounds.anew(True)

    # -- pace --------------------------------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """Lists and deltas that are not through yet."""
        return self._pace.waiting + self._visits.waiting

    def next_due(self) -> float:
        """When there is something to say."""
        due = self._step + STEP if self.waiting else math.inf
        if self._again:
            due = min(due, self._again[0][0])
        return min(due, next(iter(self._repeat.values()), math.inf))

    def tick(self, now: float) -> None:
        """Say what is due: changes first, then of every list a few lines."""
        self.rounds.new_tick()
        while self._again and self._again[0][0] <= now:
            _, user, address, shares = self._again.popleft()
            if user.state is State.OFFLINE or user.address != address or user.shares != shares:
                self._farewell(user, address, shares, now)
        for user in list(takewhile(lambda user: self._repeat[user] <= now, self._repeat)):
            del self._repeat[user]
            if user.state is State.ONLINE:
                self._tell(user, None, user.shares)
        if now - self._step < STEP / 2:
            return
        self._step = now
        self._reach.now = now
        self._signing.refill()
        for told in self._visits.tick(now):
            self._context.emit(told)
        self._pace.step(now)
