"""Showing datagrams to somebody while the relay goes on: chosen, counted and cut here, put into words by who asked.

Rules kept here: packets are counted before anything can get lost; what somebody wrote leaves the daemon only on the
request that root alone may make; the work per second is bounded, and whatever is left out is told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Never

import trio

from camrelay.daemon.tracing.scribe import Scribe, Tally
from camrelay.daemon.tracing.sieve import Sieve, Words
from camrelay.errors import UsageError
from camrelay.relay.context import Bucket

if TYPE_CHECKING:
    from camrelay.daemon.answers import Request
    from camrelay.daemon.control import Tell
    from camrelay.daemon.tap import Ear, Seen
    from camrelay.daemon.tracing import Stand

BODIES: Final = "watch bodies"  # the request for everything
# Lines per second that are made, some 20 us each; nobody reads more, and the relay has other things to do.
LINES: Final = 2000.0
GATHER: Final = 0.05  # seconds: what comes meanwhile goes in the same piece
AT_ONCE: Final = 64  # lines of a piece: some 1.5 ms
BYTES_AT_ONCE: Final = 128 << 10  # or so many bytes
ROWS_AT_ONCE: Final = 200
LAST_WORDS: Final = 5.0  # seconds for the totals, once the watch is ended from outside


class Wanted(Words, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``more`` of the request. 0: no limit."""

    count: int = 0  # datagrams
    seconds: float = 0.0
    lines: bool = True  # False: only count


async def watch(stand: Stand, request: Request, tell: Tell) -> dict[str, str]:
    """Events {"began"}, {"lines", "lost", "skipped"}..., then {"rows"}..., {"totals"}; also when it is ended early."""
    watched = Watch(stand, request.args(Wanted), bodies=request.do == BODIES)
    with stand.tap.listen(watched.wants) as ear:
        await tell({"began": {"codepage": stand.config().relay.codepage}})
        try:
            with trio.move_on_after(watched.seconds):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(watched.follow, ear, tell)
                    await watched.enough.wait()
                    nursery.cancel_scope.cancel()
        except* trio.Cancelled:
            with trio.move_on_after(LAST_WORDS, shield=True):
                await watched.finish(ear, tell)
            raise
        await watched.finish(ear, tell)
    return {}


class Watch:
    """One watch: what it lets through, and what it has counted."""

    def __init__(self, stand: Stand, wanted: Wanted, *, bodies: bool) -> None:
        if wanted.count < 0 or wanted.seconds < 0:
            raise UsageError("--count and --seconds: expected more than nothing")
        self.seconds = wanted.seconds or float("inf")
        self.enough = trio.Event()
        self.skipped = 0
        self.tally = Tally()
        self._began = trio.current_time()
        self._count = wanted.count
        self._sieve = Sieve(wanted, stand)
        self._bucket = Bucket(LINES, LINES / 2, self._began) if wanted.lines else None
        self._scribe = Scribe(stand, bodies)
        self._pending: list[Seen] = []

    def wants(self, seen: Seen) -> bool:
        """For the tap: count it, and say whether a line is to be made of it."""
        if self.enough.is_set() or not self._sieve(seen):
            return False
        self.tally.add(seen)
        if self._count and self.tally.packets >= self._count:
            self.enough.set()
        if self._bucket is None:
            return False
        if self._bucket.take(seen.at):
            return True
        self.skipped += 1
        return False

    async def follow(self, ear: Ear, tell: Tell) -> Never:
        """Send pieces, as they fill."""
        while True:
            self._pending = [await anext(ear)]
            await trio.sleep(GATHER)
            self._pending += ear.more(AT_ONCE - 1)
            while self._pending:
                await self._send(ear, tell)
                self._pending += ear.more(AT_ONCE - len(self._pending))

    async def _send(self, ear: Ear, tell: Tell) -> None:
        """One piece of what is pending; it is pending until it has been sent."""
        taken = size = 0
        for seen in self._pending[:AT_ONCE]:
            size += len(seen.packet.data)
            if taken and size > BYTES_AT_ONCE:
                break
            taken += 1
        lines = list(self._scribe.lines(self._pending[:taken]))
        await tell({"lines": lines, "lost": ear.lost, "skipped": self.skipped + self._sieve.skipped})
        del self._pending[:taken]

    async def finish(self, ear: Ear, tell: Tell) -> None:
        """What is still to be sent, and what was counted."""
        self.enough.set()
        self._pending += ear.more(2 * AT_ONCE)
        while self._pending:
            await self._send(ear, tell)
            self._pending += ear.more(AT_ONCE)
        for start in range(0, len(self.tally.rows), ROWS_AT_ONCE):
            rows = list(self.tally.rows)[start : start + ROWS_AT_ONCE]
            await tell({"rows": [self._scribe.row(address, self.tally.rows[address]) for address in rows]})
        totals = {
            "in_packets": self.tally.heard[0], "in_bytes": self.tally.heard[1],
            "out_packets": self.tally.sent[0], "out_bytes": self.tally.sent[1],
            "lost": ear.lost, "skipped": self.skipped + self._sieve.skipped,
            "seconds": round(trio.current_time() - self._began, 3),
        }  # fmt: skip
        await tell({"totals": totals})
