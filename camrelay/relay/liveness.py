"""Who is still here. A silent user is asked, in the quietest way its kind answers, before it is given up.

Rules kept here (design rule 7): a local user silent for 3/4 of ``silent_after`` is asked 4 times, then gone, and so is
one that does not answer when we start; a user of a remote segment is asked once per ``sweep_every``, and again 3 times
where it does not answer; offline users of remote segments go on being asked, and all are forgotten after
``forget_after``.
"""

from __future__ import annotations

import math
from collections import deque
from heapq import heappop, heappush
from typing import TYPE_CHECKING, NamedTuple

from camrelay.ipmsg.presence import Kind
from camrelay.relay.context import Bucket
from camrelay.relay.user import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from camrelay.relay.context import Context
    from camrelay.relay.questions import Questions
    from camrelay.relay.user import User

QUESTIONS = 4
SILENCE = 0.75  # the part of silent_after that passes before the first question
SPACING = 0.05  # the part of it between two questions: 10 s of 200
ANSWERED = 6.0  # seconds after a start: clients take up to 4.1 s to answer our BR_ENTRY
QUICK = 1.0  # seconds between the questions when something says that the user is gone
QUICK_SLOW = 1.7  # the same for kinds that take up to 4.1 s to answer
WAIT = 0.02  # seconds until those who wait for the pace get their turn
LOCAL_RATE = 250.0  # questions per second on our own wires: 250 unresolved neighbours are no load (measured)
RETURN_WITHIN = 60.0  # seconds after a farewell: who comes back twice in that time gets more patience
MAX_PATIENCE = 4.0
LOOKS = 1000  # in one tick, some 5 ms: after a restart everybody may be due at once


class Outlook(NamedTuple):
    """What becomes of a user of whom nothing is heard from now on. Monotonic seconds; None: that never comes."""

    asked: float | None  # when it is asked (again)
    gone: float | None  # when it is given up
    forgotten: float


class Liveness:
    """A heap of (when, user); ``gone`` and ``forgotten`` are called with those who are."""

    def __init__(
        self,
        context: Context,
        questions: Questions,
        remote_bucket: Bucket,
        gone: Callable[[User, float], None],
        forgotten: Callable[[User, float], None],
        now: float,
    ) -> None:
        self._context = context
        self._questions = questions
        self._remote = remote_bucket
        self._local = Bucket(LOCAL_RATE, LOCAL_RATE / 10, now)
        self._gone = gone
        self._forgotten = forgotten
        self.hand_over: Callable[[User, float], bool] = lambda *_: False
        self._heap: list[tuple[float, int, User]] = []
        self._count = 0
        # Those who are due and have to wait for the pace, with the due time they were planned for.
        self._waiting: dict[Bucket, deque[tuple[float, User]]] = {self._local: deque(), self._remote: deque()}
        self._tick = now
        self._begun = -math.inf  # when those were restored who were known before

    def watch(self, user: User, due: float) -> None:
        """Look at ``user`` at ``due``; replaces what was planned."""
        user.due = due
        self._count += 1
        heappush(self._heap, (due, self._count, user))

    def heard(self, user: User, now: float) -> None:
        """``user`` gave a sign of life. Cheap: the plan is looked at when it falls due."""
        user.heard = now
        if user.asked or user.spacing:
            user.asked = 0
            user.spacing = 0.0
            self.watch(user, now + self._patience(user))

    def restored(self, user: User, now: float) -> None:
        """``user`` is known from before our start, which is ``now``."""
        self._begun = now
        self.watch(user, max(now, self._silence_ends(user)) if user.state is State.ONLINE else now)

    def suspect(self, user: User, now: float) -> None:
        """Something says that ``user`` is gone: ask at once and quickly."""
        if not user.spacing:
            slow = user.presence.kind is Kind.UNKNOWN
            user.spacing = QUICK_SLOW if slow else QUICK
            user.asked = 0
            self.watch(user, now)

    def came_back(self, user: User, now: float) -> None:
        """``user`` returned after its farewell: twice within a minute, and it was not the user's fault."""
        if now - user.farewell > RETURN_WITHIN:
            user.returns = 0
            return
        user.returns += 1
        if user.returns >= 2 and user.patience < MAX_PATIENCE:
            user.patience *= 2
            user.returns = 0

    def _patience(self, user: User) -> float:
        settings = self._context.settings
        remote = user.segment.interface is None
        return settings.sweep_every if remote else settings.silent_after * SILENCE * user.patience

    def _silence_ends(self, user: User) -> float:
        """When ``user`` is to be asked, if it says nothing until then.

        One that left just before our process was killed may still be online on disk: it does not answer our BR_ENTRY.
        """
        due = user.heard + self._patience(user)
        entered = user.heard <= self._begun and user.segment.interface is not None
        return min(due, self._begun + ANSWERED) if entered else due

    def outlook(self, user: User) -> Outlook:
        """What is planned for ``user``, one whom we hear or who is gone. As far as the pace allows."""
        settings = self._context.settings
        forgotten = user.heard + settings.forget_after
        if user.state is State.OFFLINE:
            looked_for = user.segment.interface is None and not user.segment.told and user.segment.served
            last = self._context.roster.last_at(user.address) is user
            return Outlook(user.due if looked_for and last else None, None, forgotten)
        asked = user.due
        if not (user.asked or user.spacing or user.state is State.UNVERIFIED):
            asked = max(asked, self._silence_ends(user))
        spacing = user.spacing or SPACING * settings.silent_after * user.patience
        left = max(0, QUESTIONS - user.asked)
        return Outlook(asked if left else None, asked + left * spacing, forgotten)

    def next_due(self) -> float:
        """When somebody is to be looked at."""
        due = self._heap[0][0] if self._heap else math.inf
        return min(due, self._tick + WAIT) if any(self._waiting.values()) else due

    def tick(self, now: float) -> None:
        """Look at all who are due, as far as the pace allows."""
        self._tick = now
        for bucket, waiting in self._waiting.items():
            while waiting and not self._context.congested and bucket.ready(now):
                due, user = waiting.popleft()
                if user.due == due:
                    self._look(user, now)
        for _ in range(LOOKS):
            if not self._heap or self._heap[0][0] > now:
                return
            due, _, user = heappop(self._heap)
            if user.due == due:
                self._look(user, now)

    def _look(self, user: User, now: float) -> None:
        settings = self._context.settings
        if self._context.roster.by_key.get(user.key) is not user:
            return  # made room for somebody else meanwhile
        if user.state is State.OFFLINE:
            self._look_for(user, now)
            return
        if not user.home or self._handed_over(user, now):
            return  # a peer asks
        waited = self._silence_ends(user)
        if not (user.asked or user.spacing or user.state is State.UNVERIFIED) and now < waited:
            self.watch(user, waited)
        elif user.asked >= QUESTIONS:
            user.asked = 0
            user.spacing = 0.0
            self._gone(user, now)
        else:
            spacing = user.spacing or SPACING * settings.silent_after * user.patience
            self._ask(user, now + spacing, now)

    def _handed_over(self, user: User, now: float) -> bool:
        """Is it a peer's part now to ask in this remote segment, and does it hear the user?"""
        segment = user.segment
        return not (segment.served or segment.interface or user.spacing) and self.hand_over(user, now)

    def _look_for(self, user: User, now: float) -> None:
        """``user`` is gone: is it back, unheard, beyond our routers?"""
        settings = self._context.settings
        end = user.heard + settings.forget_after
        if now >= end:
            self._forgotten(user, now)
        elif user.segment.interface is not None or user.segment.told or not user.segment.served:
            self.watch(user, end)
        elif self._context.roster.last_at(user.address) is user:
            self._ask(user, min(end, now + settings.sweep_every), now)
        else:
            self.watch(user, min(end, now + settings.sweep_every))  # whoever sits there now is asked anyway

    def _ask(self, user: User, then: float, now: float) -> None:
        remote = user.segment.interface is None
        bucket = self._remote if remote else self._local
        if self._context.congested or not bucket.take(now):
            waiting = self._waiting[bucket]
            (waiting.appendleft if user.spacing else waiting.append)((user.due, user))
            return
        windows = user.presence.kind is Kind.WINDOWS and user.state is not State.OFFLINE
        if windows and remote and user.asked == 0 and user.state is State.ONLINE:
            self._questions.list(user, 0, now)  # seen by nobody, and it tells what the client lists
            # It pushes its changes to us, but one may be lost: now and then it is asked who it is.
            if now - user.spoke >= self._context.settings.sweep_unknown_every and bucket.take(now):
                self._questions.entry(user.address, now, user.port)
        elif windows and user.asked < QUESTIONS / 2:
            self._questions.info(user, now)
        else:
            self._questions.entry(user.address, now, user.port)
        if user.state is not State.OFFLINE:
            user.asked += 1
        self.watch(user, then)
