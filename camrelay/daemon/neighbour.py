"""One other member of the fleet as the links see it: its session, what it took, what is wrong, when to try again."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from camrelay.daemon.session import Session
    from camrelay.relay.messages import RelayId

PAUSE_FIRST, PAUSE_LONGEST = 1.0, 60.0  # seconds between tries, doubling
JITTER: Final = 0.25  # of the pause, so that two relays do not dial in step
LASTING: Final = 10.0  # seconds: a session that held for so long makes the pauses short again


@dataclass(frozen=True, slots=True)
class LinkRow:
    """The link to one member, for ``status``. Times are ages or spans in seconds."""

    id: str
    name: str
    state: str  # "linked", "dialling" or "waiting"
    since: float  # it has been linked, or not linked, for so long
    address: str  # of the session, or the last one tried; "" if none was
    dialled: bool  # did we open the connection?
    software: str  # as it introduced itself last
    rtt: float | None
    sent: int  # bytes of messages since the start
    received: int
    queued: int  # bytes that wait to be sent
    drops: dict[str, int] = field(default_factory=dict)  # sessions that ended, by cause
    problem: str = ""  # why there is no session
    refused: bool = False  # a person has to mend that: the other side was reached and does not talk to us
    retry: float | None = None  # until the next try


class Neighbour:
    """See above. ``gone``: no member any more."""

    def __init__(self, relay_id: RelayId, name: str) -> None:
        self.id = relay_id
        self.name = name
        self.session: Session | None = None
        self.gone = False
        self.dialling = False
        self.lost = 0  # number of the last session that we saw end
        self.problem = ""
        self.refused = False
        self.address = ""
        self.due = trio.current_time()  # of the next try
        self._reached = ""  # where it answered last
        self._software = ""
        self._dialled = False
        self._since = trio.current_time()
        self._sent = self._received = 0  # in sessions that are over
        self._drops: dict[str, int] = {}
        self._pause = PAUSE_FIRST
        self._news = trio.Event()

    def in_order(self, addresses: Sequence[str]) -> list[str]:
        """Where to dial: first where it answered last."""
        return sorted(addresses, key=lambda address: address != self._reached)

    def begun(self, session: Session, where: str = "") -> None:
        """There is a session; ``where``: the configured address that we reached it at."""
        self.session = session
        self.problem, self.refused = "", False
        self.address = session.line.address
        self._reached = where or self._reached
        self._software = session.hello.software
        self._dialled = session.dialled
        self._since = trio.current_time()
        self.stir()

    def ended(self, cause: str, chance: random.Random) -> float:
        """The session is over; returns how long it lasted."""
        session, now = self.session, trio.current_time()
        assert session is not None
        lasted = now - session.since
        self.session = None
        self.lost = session.number
        self._sent += session.line.sent
        self._received += session.line.received
        self._drops[cause] = self._drops.get(cause, 0) + 1
        self._since = now
        if lasted >= LASTING:
            self._pause = PAUSE_FIRST
        self.put_off(chance)
        self.stir()
        return lasted

    def put_off(self, chance: random.Random) -> None:
        """The next try is one pause away, and the pause after that longer."""
        self.due = trio.current_time() + self._pause * chance.uniform(1 - JITTER, 1 + JITTER)
        self._pause = min(2 * self._pause, PAUSE_LONGEST)

    def hurry(self) -> None:
        """Something is different: the next try is now."""
        self._pause = PAUSE_FIRST
        self.due = trio.current_time()
        self.stir()

    def stir(self) -> None:
        """Whoever waits is to look again."""
        self._news.set()
        self._news = trio.Event()

    async def wait(self) -> None:
        """Until something is different; without a session until the next try at the most."""
        with trio.CancelScope(deadline=math.inf if self.session else self.due):
            await self._news.wait()

    def row(self, now: float) -> LinkRow:
        """All of it at one instant."""
        session = self.session
        line = session.line if session else None
        return LinkRow(
            id=self.id,
            name=self.name,
            state="linked" if session else "dialling" if self.dialling else "waiting",
            since=now - self._since,
            address=self.address,
            dialled=self._dialled,
            software=self._software,
            rtt=line.rtt if line else None,
            sent=self._sent + (line.sent if line else 0),
            received=self._received + (line.received if line else 0),
            queued=session.queued if session else 0,
            drops=dict(self._drops),
            problem=self.problem,
            refused=self.refused,
            retry=None if session or self.dialling else max(0.0, self.due - now),
        )
