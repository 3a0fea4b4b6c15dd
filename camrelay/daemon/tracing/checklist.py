"""The checks of one trace: what is under way, what was found, who waits for it.

Rule kept here: a check that goes wrong inside is a check that was not made; it ends neither the trace nor the relay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from msgspec.structs import replace

from camrelay.daemon.tracing.allowed import BROKEN
from camrelay.trace.facts import Fact

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from camrelay.daemon.control import Tell
    from camrelay.daemon.tracing import Stand

    # A check: its fact, or None where it does not apply.
    Look = Callable[[], Awaitable[Fact | None]]

TOO_LONG = "it took too long"


class Checklist:
    """Facts in the order in which their checks were named. All are told as they come: see ``examining.examine``."""

    def __init__(self, stand: Stand, tell: Tell, role: str = "", by: str = "") -> None:
        self._stand = stand
        self._tell = tell
        self._role = role
        self._by = by
        self._facts: dict[str, Fact | None] = {}
        self._done: dict[str, trio.Event] = {}

    @property
    def facts(self) -> list[Fact]:
        """All that were found."""
        return [fact for fact in self._facts.values() if fact is not None]

    def get(self, check: str) -> Fact | None:
        """What was found so far."""
        return self._facts.get(check)

    async def wait(self, check: str) -> Fact | None:
        """What came of a check that was named before; None if it does not apply."""
        if check in self._done:
            await self._done[check].wait()
        return self._facts.get(check)

    async def run(self, looks: dict[str, Look], within: float) -> None:
        """Make all these checks at once; those not over after ``within`` seconds were not made."""
        for check in looks:
            self._facts[check] = None
            self._done[check] = trio.Event()
            await self._tell({"begun": check, "role": self._role, "by": self._by})
        began = trio.current_time()
        with trio.move_on_after(within):
            async with trio.open_nursery() as nursery:
                for check, look in looks.items():
                    nursery.start_soon(self._make, check, look)
        for check in looks:
            if not self._done[check].is_set():
                late = Fact(check, "not-checked", trio.current_time() - began, detail={"why": TOO_LONG})
                await self._found(check, late)

    async def _make(self, check: str, look: Look) -> None:
        try:
            fact = await look()
        except Exception as problem:  # noqa: BLE001 - see above
            self._stand.meant(problem, check)
            fact = Fact(check, "not-checked", detail={"why": BROKEN})
        await self._found(check, fact)

    async def _found(self, check: str, fact: Fact | None) -> None:
        if fact is not None:
            fact = replace(fact, role=self._role, by=self._by)
        self._facts[check] = fact
        self._done[check].set()
        if fact is None:
            await self._tell({"dropped": check, "role": self._role, "by": self._by})
        else:
            await self._tell({"fact": fact})


def ready(fact: Fact) -> Look:
    """A check that is over before it begins."""

    async def look() -> Fact:
        await trio.lowlevel.checkpoint()
        return fact

    return look
