"""Asks the addresses of remote segments who is there (BR_ENTRY), one by one and at a pace.

Rules kept here (design rule 6): one full pass at start, then addresses that never answered once per
``sweep_unknown_every``, evenly spread; those of known users are asked by ``liveness`` and passed over here.
Never faster than ``sweep_rate``: an ordinary router's neighbour table overflows, and live hosts are missed.
"""

from __future__ import annotations

import math
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from camrelay.relay.outputs import SweepDone
from camrelay.relay.questions import ANSWER_WITHIN

if TYPE_CHECKING:
    from collections.abc import Iterable

    from camrelay.relay.context import Bucket, Context
    from camrelay.relay.questions import Questions
    from camrelay.relay.segment import Segment

TOGETHER = 3.0  # questions per waking up
LOOK = 500  # addresses passed over in one tick at the most


class Walk:
    """Where the sweep is in one segment."""

    __slots__ = ("answered", "asked", "begun", "done", "due", "entry", "hurried", "position", "segment")

    def __init__(self, segment: Segment, due: float) -> None:
        self.segment = segment
        self.due = due
        self.entry = 0  # which heap entry is the valid one
        self.position = 0
        self.hurried = True  # as fast as the pace allows, also to known users
        self.begun = due
        self.asked = 0
        self.answered = 0
        self.done: float | None = None  # when the last full pass ended


class Sweep:
    """All walks, soonest first."""

    def __init__(self, context: Context, questions: Questions, bucket: Bucket, now: float) -> None:
        self._context = context
        self._questions = questions
        self._bucket = bucket
        self._walks: dict[Segment, Walk] = {}
        self._heap: list[tuple[float, int, Walk]] = []
        self._finished: list[tuple[float, Walk]] = []
        self._count = 0
        self._tick = now

    def readdress(self, segments: Iterable[Segment], now: float) -> None:
        """Walk through ``segments``; those of the same name and addresses go on where they were."""
        old = {walk.segment.name: walk for walk in self._walks.values()}
        self._walks = {}
        for segment in segments:
            if segment.addresses:
                walk = old.get(segment.name)
                if walk is None or walk.segment.addresses != segment.addresses:
                    walk = Walk(segment, now)
                walk.segment = segment
                self._walks[segment] = walk
        self._heap = []
        for walk in self._walks.values():
            if walk.due < math.inf:
                self._push(walk, walk.due)

    def begin(self, segments: Iterable[Segment], now: float) -> int:
        """A full pass over ``segments`` now, known users included; returns how many addresses that is."""
        total = 0
        for segment in segments:
            walk = self._walks.get(segment)
            if walk is not None:
                walk.position = walk.asked = walk.answered = 0
                walk.hurried = True
                walk.begun = now
                self._push(walk, now)
                total += len(segment.addresses)
        return total

    def _push(self, walk: Walk, due: float) -> None:
        walk.due = due
        self._count += 1
        walk.entry = self._count
        heappush(self._heap, (due, self._count, walk))

    @property
    def left(self) -> int:
        """Addresses still to be asked in hurried passes."""
        return sum(len(w.segment.addresses) - w.position for w in self._walks.values() if w.hurried)

    def of(self, segment: Segment) -> Walk | None:
        """Where the sweep is in ``segment``."""
        return self._walks.get(segment)

    def next_due(self) -> float:
        """When the next question or the end of a pass is due."""
        pause = min(TOGETHER, self._bucket.burst) / self._bucket.rate
        due = max(self._heap[0][0], self._tick + pause) if self._heap else math.inf
        return min(due, self._finished[0][0]) if self._finished else due

    def tick(self, now: float) -> None:
        """Ask whoever is due, as far as the pace allows; held back while the send queue is half full."""
        self._tick = now
        while self._finished and self._finished[0][0] <= now:
            self._end(self._finished.pop(0)[1], now)
        for _ in range(LOOK):
            if not self._heap or self._heap[0][0] > now or self._context.congested:
                return
            _, entry, walk = self._heap[0]
            if walk.entry != entry or self._walks.get(walk.segment) is not walk:
                heappop(self._heap)
            elif not self._step(walk, now):
                return

    def _step(self, walk: Walk, now: float) -> bool:
        """Ask the next address of ``walk``; False when the pace says no."""
        addresses = walk.segment.addresses
        address = addresses[walk.position]
        sitting = self._context.roster.at.get(address)
        if walk.hurried or sitting is None or not sitting.home:
            if not self._bucket.take(now):
                return False
            self._questions.entry(address, now)
            walk.asked += 1
        heappop(self._heap)
        walk.position += 1
        if walk.position < len(addresses):
            spacing = self._context.settings.sweep_unknown_every / len(addresses)
            self._push(walk, walk.due if walk.hurried else max(walk.due + spacing, now))
        else:
            self._finished.append((now + ANSWER_WITHIN / 2, walk))
            walk.due = math.inf
        return True

    def _end(self, walk: Walk, now: float) -> None:
        if self._walks.get(walk.segment) is not walk or walk.position < len(walk.segment.addresses):
            return
        self._context.emit(SweepDone(walk.segment.name, walk.asked, walk.answered, now - walk.begun))
        self._context.count("sweep passes")
        walk.done = now
        walk.position = walk.asked = walk.answered = 0
        walk.hurried = False
        spacing = self._context.settings.sweep_unknown_every / len(walk.segment.addresses)
        walk.begun = now
        self._push(walk, now + spacing * self._context.chance.uniform(0.5, 1.5))
