"""The way of UDP datagrams to a port, step by step: which routers pass them, and where they stop.

Each step is one datagram with its own TTL from its own socket, so an error is about exactly that step however little
of the datagram a router quotes. A step waits a little for the one before, so that no more datagrams than needed reach
who refuses them: routers tell few errors (Linux six at once and then one a second, Cisco two a second), and other
probes want theirs, too. What stayed silent before a router that answered is asked once more.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import trio

from camrelay.daemon.probes import troubles
from camrelay.daemon.probes.ways import Way, way
from camrelay.trace.facts import Fact

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from camrelay.daemon.probes.troubles import Trouble

MOST: Final = 16  # steps; a company's network has fewer
SILENT: Final = 4  # steps in a row without an answer: nobody is expected any more
SPACING: Final = 0.15  # seconds that a step waits for the one before: most routers answer in milliseconds
STEP_WAIT: Final = 0.8  # seconds for the slow ones
LAST_WAIT: Final = 3.4  # a router asks three times, a second apart, for the MAC of a host before it gives up
AGAIN: Final = (
    0.65  # of that, the step that nobody answered is asked once more: who tells few errors may tell this one
)
AFTERWARDS: Final = 0.3  # for stragglers, when the end is known
LONGEST: Final = 8.0  # seconds in all


class Hop(NamedTuple):
    """Who answered the step: ``address`` is empty for nobody. ``error``: "", or how the way ended there."""

    ttl: int
    address: str = ""
    ms: float = 0.0
    error: str = ""


@dataclass(frozen=True, slots=True)
class Walk:
    """What was heard. ``end``: the error that ended the way. ``answered``: the target sent something back."""

    address: str
    port: int
    way: Way
    hops: tuple[Hop, ...] = ()
    end: Trouble | None = None
    answered: bool = False
    refused: str = ""  # why nothing left this host
    seconds: float = 0.0

    @property
    def arrived(self) -> bool:
        """Is it certain that datagrams reach the target?"""
        return self.answered or (self.end is not None and self.end.by == self.address)

    @property
    def routers(self) -> list[str]:
        """Those that answered, "*" for each that did not, without silence at the end."""
        names = [hop.address or "*" for hop in self.hops if not hop.error]
        while names and names[-1] == "*":
            names.pop()
        return names


async def walk(
    address: str,
    port: int,
    payload: bytes,
    most: int = MOST,
    patience: float = LAST_WAIT,
    enough: trio.Event | None = None,
) -> Walk:
    """Ask step by step. ``payload``: harmless at ``port``; a silent target gets it four times.

    ``patience``: seconds for the last word; 0 where the target is known to answer, or not to be dead. ``enough``:
    set as soon as that is known, it ends the patience.
    """
    start = trio.current_time()
    found = way(address)
    if found.error or found.ourselves:
        return Walk(address, port, found, refused=found.error or "is this host itself")
    steps = _Steps(address, port, payload, 1 if found.on_link else most)
    with trio.move_on_after(LONGEST):
        async with trio.open_nursery() as nursery:
            if enough is not None:
                nursery.start_soon(steps.hear_enough, enough)
            await steps.run(nursery, patience)
            nursery.cancel_scope.cancel()
    return steps.result(found, trio.current_time() - start)


def path_fact(walked: Walk, answers: bool = False, check: str = "path", other: Walk | None = None) -> Fact:
    """direct | reaches | stops (last) | filtered (last, next) | loops | not-checked (why); all with hops and steps.

    ``answers``: the target is known to answer at this port, so silence at the end means nothing. ``other``: the
    walk to another port; where it comes farther, a router filters this one.
    """
    detail: dict[str, Any] = {"hops": walked.routers, "steps": [hop._asdict() for hop in walked.hops]}
    outcome = "stops"
    if walked.refused:
        outcome, detail = "not-checked", {"why": walked.refused}
    elif walked.way.on_link:
        outcome = "direct"
    elif walked.arrived or answers:
        outcome = "reaches"
    elif loop(walked.hops):
        outcome = "loops"
    else:
        last = _last(walked)
        if beyond := _beyond(walked, other):
            outcome, detail["next"] = "filtered", beyond
        if last:
            detail["last"] = last
    return Fact(check, outcome, walked.seconds, detail=detail)


def udp_fact(walked: Walk) -> Fact | None:
    """udp: refused (by) | unreachable (by, kind) | prohibited (by), if an error said so."""
    end = walked.end
    if end is None or end.kind not in ("refused", "unreachable", "prohibited"):
        return None
    return Fact("udp", end.kind, walked.seconds, detail=end.detail(walked.way.source))


def loop(hops: Sequence[Hop]) -> bool:
    """Does a router come again? (Twice in a row it may: some forward datagrams with TTL 1, and show up once more.)"""
    seen: dict[str, int] = {}
    routers = [hop for hop in hops if hop.address and not hop.error]
    return any(hop.ttl - seen.setdefault(hop.address, hop.ttl) > 1 for hop in routers)


def _last(walked: Walk) -> str:
    if walked.end is not None and walked.end.by not in ("", walked.way.source):
        return walked.end.by
    return walked.routers[-1] if walked.routers else ""


def _beyond(walked: Walk, other: Walk | None) -> str:
    """The first router that the other port was heard from beyond the last one of this.

    Not the target: an open port is silent, so the target's answer at another one proves nothing about routers.
    """
    if other is None or other.way != walked.way:
        return ""
    far = len(walked.routers)
    return next((name for name in other.routers[far:] if name not in ("*", *walked.routers)), "")


@dataclass(slots=True)
class _Steps:
    """The walk while it goes on."""

    address: str
    port: int
    payload: bytes
    most: int
    hops: dict[int, Hop] = field(default_factory=dict)
    end: Trouble | None = None
    end_at: int = 0  # the smallest TTL that reached the end
    answered: bool = False
    refused: str = ""
    enough: bool = False
    _news: trio.Event = field(default_factory=trio.Event)

    async def run(self, nursery: trio.Nursery, patience: float) -> None:
        """Send and listen; the listening tasks are left to the caller to cancel."""
        for ttl in range(1, self.most + 1):
            await self._send(nursery, [ttl])
            if ttl >= SILENT:
                await self._until(partial(self._goes_on, ttl - SILENT), STEP_WAIT)
            if self.refused or self._ended() or not self._goes_on(ttl - SILENT):
                break
        again = [ttl for ttl in range(1, self._farthest()) if ttl not in self.hops]
        await self._send(nursery, again)
        if patience:
            await self._until(self._over, patience * AGAIN)
            if not self._over():
                await self._send(nursery, [self._farthest() + 1])
                await self._until(self._over, patience * (1 - AGAIN))
        await self._until(partial(self._known, again), AFTERWARDS)

    async def hear_enough(self, enough: trio.Event) -> None:
        """Be patient until then at most."""
        await enough.wait()
        self.enough = True
        self._tell()

    def result(self, found: Way, seconds: float) -> Walk:
        """What came of it; steps beyond the end left out."""
        last = self.end_at or self._farthest()
        hops = tuple(self.hops.get(ttl, Hop(ttl)) for ttl in range(1, last + 1))
        return Walk(
            self.address, self.port, found, hops, self.end, self.answered, self.refused, round(seconds, 3)
        )

    def _farthest(self) -> int:
        return max(self.hops, default=0)

    def _goes_on(self, ttl: int) -> bool:
        """Was anything heard from beyond this step, or the end?"""
        return self._farthest() > ttl or self._ended()

    def _ended(self) -> bool:
        return self.answered or self.end is not None or loop(sorted(self.hops.values()))

    def _over(self) -> bool:
        return self.enough or self._ended()

    def _known(self, ttls: Sequence[int]) -> bool:
        return all(ttl in self.hops or (self.end_at and ttl >= self.end_at) for ttl in ttls)

    async def _send(self, nursery: trio.Nursery, ttls: Sequence[int]) -> None:
        for ttl in ttls:
            if not self.refused:
                nursery.start_soon(self._step, ttl)
                await self._until(partial(self._known, [ttl]), SPACING)

    async def _step(self, ttl: int) -> None:
        """Send one datagram and listen until cancelled."""
        sent = trio.current_time()
        try:
            sock = troubles.udp(self.address, self.port, ttl if self.most > 1 else 0)
        except OSError as problem:
            self._refuse(problem)
            return
        with sock:
            try:
                sock.send(self.payload)
            except OSError as problem:
                self._refuse(problem)
                return
            while True:
                bad, good = await troubles.heard(sock)
                ms = round((trio.current_time() - sent) * 1000, 1)
                for trouble in bad:
                    self._error(ttl, trouble, ms)
                if good:
                    self.answered = True
                    self._stop(Hop(ttl, self.address, ms, "answered"))

    def _refuse(self, problem: OSError) -> None:
        own = troubles.own(problem)
        if own.kind == "prohibited":
            self.end = own
        self.refused = f"this host does not send it: {troubles.reason(problem)}"
        self._tell()

    def _error(self, ttl: int, trouble: Trouble, ms: float) -> None:
        if trouble.kind == "expired":
            if not (self.end_at and ttl >= self.end_at):
                self.hops.setdefault(ttl, Hop(ttl, trouble.by, ms))
            self._tell()
        elif trouble.kind != "too big":  # that one is for mtu.py
            if self.end is None or trouble.by == self.address:
                self.end = trouble
            self._stop(Hop(ttl, trouble.by, ms, trouble.kind))

    def _stop(self, hop: Hop) -> None:
        if not self.end_at or hop.ttl <= self.end_at:
            self.hops[hop.ttl] = hop
            self.end_at = hop.ttl
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()

    async def _until(self, done: Callable[[], bool], seconds: float) -> None:
        with trio.move_on_after(seconds):
            while not (self.refused or done()):
                await self._news.wait()
