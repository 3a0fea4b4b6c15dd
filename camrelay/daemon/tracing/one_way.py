"""One direction of the way between two relays: what a sender does, a receiver hears, and which facts that makes.

Rule kept here: every check is written once, for a sender and a receiver (``sides``), and made twice: "-out" is from us
to the other relay, "-in" from there to us. What goes wrong on the link is a fact ("not-checked"), never an exception.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import msgspec
import trio

from camrelay.daemon.tracing import numbered
from camrelay.daemon.tracing.forms import Volley, Window
from camrelay.daemon.tracing.numbered import COPIES, Flow, way
from camrelay.daemon.tracing.sides import new_nonce
from camrelay.daemon.tracing.sockets import CALL_PORTS
from camrelay.errors import FleetError, causes
from camrelay.ipmsg.command import PORT
from camrelay.trace.facts import Fact

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from camrelay.daemon.tracing.findings import Facts
    from camrelay.daemon.tracing.forms import Fired, Heard, Opened, Sizes
    from camrelay.daemon.tracing.numbered import Arrival
    from camrelay.daemon.tracing.sides import Side

R = TypeVar("R")
S = TypeVar("S")

VOLLEYS: Final = (
    Volley(numbered.PACED, numbered.PACED_COUNT, numbered.PACED_EVERY),
    Volley(numbered.LARGE, COPIES, size=numbered.LARGE_BYTES),
    Volley(numbered.SPEAK_OWN, COPIES, speak="own"),
    Volley(numbered.SPEAK_FOREIGN, COPIES, speak="foreign"),
)
CALLS: Final = tuple(
    Volley(numbered.CALL + 10 * place, COPIES, 0.02, port=port) for place, port in enumerate(CALL_PORTS)
)
LISTEN: Final = 5.0  # seconds for what is sent in 1.5 s
QUIET: Final = 1.0  # seconds without one more: the rest is lost
SIZES_LISTEN: Final = 12.0  # seconds: sizes are tried one after the other as routers name them
SIZES_QUIET: Final = 2.5
SIZES_EXPECTED: Final = 14  # seven sizes, twice, on a line that takes them all
MARGIN: Final = 1.5  # seconds for what is on its way when the last was sent, and four times the round trip
NOTHING: Final = "no datagram arrives at all"
IN_USE: Final = "these ports are in use there: does a client run on that box?"
NO_SPARE: Final = "no free address is known in that segment"


class Exchange(NamedTuple):
    """What one side sent, and what the other heard of it."""

    fired: Fired
    arrived: dict[int, Arrival]  # by number, the first of each

    @classmethod
    def of(cls, fired: Fired, heard: Heard) -> Exchange:
        """Sorted."""
        first: dict[int, Arrival] = {}
        for one in heard.arrived:
            first.setdefault(one.n, one)
        return cls(fired, first)

    def some(self, first: int) -> Arrival | None:
        """One of the copies numbered from here on."""
        return next((self.arrived[n] for n in range(first, first + COPIES) if n in self.arrived), None)

    @property
    def flow(self) -> Flow:
        """Those that loss and jitter are read from."""
        paced = range(numbered.PACED, numbered.PACED + numbered.PACED_COUNT)
        sent = {number: at for number, at in self.fired.at.items() if number in paced}
        return Flow(sent, [self.arrived[number] for number in paced if number in self.arrived])


class OneWay:
    """One direction. ``waits``: seconds that the receiver listens, as the sender may have to wait its turn."""

    def __init__(
        self, end: str, sender: Side, receiver: Side, found: Facts, rtt: float, waits: float | None = None
    ) -> None:
        self._end = end
        self._sender = sender
        self._receiver = receiver
        self._found = found
        self._margin = MARGIN + 4 * rtt
        self._waits = waits
        self._exchange: Exchange | None = None
        self._why = ""
        self._seconds = 0.0

    @property
    def passes(self) -> bool:
        """Does any of the paced datagrams arrive?"""
        return self._exchange is not None and bool(self._exchange.flow.arrived)

    async def _add(self, check: str, outcome: str, seconds: float = 0.0, **detail: Any) -> None:
        await self._found.add(Fact(check + self._end, outcome, seconds, detail=detail))

    # -- datagrams to the presence socket ---------------------------------------------------------------------

    async def volleys(self) -> None:
        """Send all that goes to the presence socket, and count."""
        await self._found.begin(*(check + self._end for check in ("udp", "large", "source")))
        began, nonce = trio.current_time(), new_nonce()
        window = Window(
            LISTEN + self._margin, sum(volley.count for volley in VOLLEYS), QUIET + self._margin / 2
        )
        done, self._why = await self._swap(
            window, partial(self._receiver.count, nonce, window), partial(self._sender.send, nonce, VOLLEYS)
        )
        self._seconds = trio.current_time() - began
        self._exchange = Exchange.of(*done) if done else None

    async def read(self, back: OneWay) -> None:
        """What can be told from that."""
        made = self._exchange
        if made is None:
            await self._add("udp", "not-checked", self._seconds, why=self._why)
            return
        outcome, detail = way(made.flow, back._exchange.flow if back._exchange else None)
        await self._add("udp", outcome, self._seconds, **detail)
        if not self.passes:
            for check in ("large", "source", "speak-own", "speak-foreign"):
                await self._add(check, "not-checked", why=NOTHING)
            return
        large = "passes" if made.some(numbered.LARGE) else "lost"
        await self._add("large", large, bytes=numbered.LARGE_BYTES)
        await self._source(made)
        await self._spoken("speak-own", made, numbered.SPEAK_OWN, made.fired.spoken.get("own", ""))
        await self._spoken(
            "speak-foreign", made, numbered.SPEAK_FOREIGN, made.fired.spoken.get("foreign", "")
        )

    async def _source(self, made: Exchange) -> None:
        """Is our address another one when we arrive?"""
        seen, ours = made.flow.arrived[0].source, made.fired.source
        if not ours:
            await self._add("source", "not-checked", why="no address of its own is known")
        elif seen == ours:
            await self._add("source", "same", address=seen)
        else:
            await self._add("source", "other", ours=ours, seen=seen)

    async def _spoken(self, check: str, made: Exchange, first: int, as_whom: str) -> None:
        if not as_whom:
            await self._add(check, "not-checked", why=made.fired.cannot or NO_SPARE)
            return
        came = made.some(first)
        kept = came is not None and came.source == as_whom
        detail: dict[str, Any] = {"address": as_whom}
        if came and not kept:
            detail["seen"] = came.source
        await self._add(check, "arrives" if kept else "dropped", **detail)

    # -- one after the other ------------------------------------------------------------------------------------

    async def rest(self) -> None:
        """What takes its time."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.path)
            await self.mtu()
            await self.calls()

    async def mtu(self) -> None:
        """Sizes that nobody may fragment."""
        if not self.passes:
            await self._add("mtu", "not-checked", why=NOTHING if self._exchange else self._why)
            return
        await self._found.begin("mtu" + self._end)
        began, nonce = trio.current_time(), new_nonce()
        window = Window(self._waits or SIZES_LISTEN, SIZES_EXPECTED, SIZES_QUIET + self._margin / 2)
        done, why = await self._swap(
            window, partial(self._receiver.count, nonce, window), partial(self._sender.sizes, nonce)
        )
        seconds = trio.current_time() - began
        if done is None:
            await self._add("mtu", "not-checked", seconds, why=why)
            return
        fact = _mtu(*done, check="mtu" + self._end)
        await self._found.add(msgspec.structs.replace(fact, seconds=seconds))

    async def calls(self) -> None:
        """The ports of voice calls, which the receiver opens for it."""
        await self._found.begin("calls" + self._end)
        began, nonce = trio.current_time(), new_nonce()
        window = Window(self._waits or LISTEN)
        done, why = await self._swap(
            window, partial(self._receiver.listen, nonce, window), partial(self._sender.send, nonce, CALLS)
        )
        seconds = trio.current_time() - began
        if done is None:
            await self._add("calls", "not-checked", seconds, why=why)
            return
        opened: Opened = done[1]
        passed = [port for port in opened.open if port in opened.arrived]
        closed = [port for port in opened.open if port not in opened.arrived]
        if not opened.open:
            await self._add("calls", "not-checked", seconds, why=IN_USE)
        elif not closed:
            await self._add("calls", "open", seconds, ports=passed)
        elif passed:
            await self._add("calls", "some", seconds, open=passed, closed=closed)
        else:
            await self._add("calls", "silent", seconds, ports=closed)

    async def path(self) -> None:
        """Routers on the way."""
        await self._found.begin("path" + self._end)
        nonce = new_nonce()
        await self._take("path", lambda: self._sender.path(nonce, self.passes))

    async def tcp(self, told: Iterable[str]) -> None:
        """Port 2425; where nobody listens there, because the links use another one, that one."""
        await self._found.begin("tcp" + self._end)
        others = [int(port) for port in dict.fromkeys(told) if port != str(PORT)][:1]

        async def knock() -> Fact:
            fact = await self._sender.tcp(PORT)
            return await self._sender.tcp(others[0]) if others and fact.outcome == "refused" else fact

        await self._take("tcp", knock)

    async def _swap(
        self, window: Window, receive: Callable[[], Awaitable[R]], send: Callable[[], Awaitable[S]]
    ) -> tuple[tuple[S, R] | None, str]:
        """Send as soon as it is listened, and wait for what is on its way. Or nothing, and why."""

        async def both() -> tuple[S, R]:
            received: list[R] = []

            async def listen() -> None:
                received.append(await receive())
                window.opened.set()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(listen)
                await window.opened.wait()
                sent = await send()
                window.close(self._margin)
            return sent, received[0]

        return await _attempt(both)

    async def _take(self, check: str, work: Callable[[], Awaitable[Fact]]) -> None:
        began = trio.current_time()
        fact, why = await _attempt(work)
        if fact is None:
            await self._add(check, "not-checked", trio.current_time() - began, why=why)
        else:
            seconds = trio.current_time() - began
            await self._found.add(msgspec.structs.replace(fact, check=check + self._end, seconds=seconds))


def _mtu(sizes: Sizes, heard: Heard, check: str) -> Fact:
    from camrelay.daemon.probes.mtu import HEADERS, Sent, TooBig, mtu_from

    errors = [TooBig(*error) for error in sizes.errors]
    sent = Sent(sizes.own, set(sizes.sizes), errors, set(sizes.answered), sizes.why, sizes.seconds)
    return mtu_from(sent, {one.size + HEADERS for one in heard.arrived} | sent.answered, check)


async def _attempt(work: Callable[[], Awaitable[R]]) -> tuple[R | None, str]:
    """What comes of it; or nothing, and why."""
    why = ""
    try:
        return await work(), ""
    except* FleetError as group:
        why = str(next(causes(group)))
    return None, why
