"""How large may a datagram be that nobody has to fragment? Asked with DF: sizes from 1500 bytes down.

A router that cannot pass one says so and names its MTU. One that drops it without a word (a black hole) is known only
by what arrives: the answers to ICMP echo, or what the far relay saw of ``send_sizes``. All sizes are those of
the IP packet: a UDP datagram has 28 bytes less.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

import trio

from camrelay.daemon.probes import troubles
from camrelay.daemon.probes.echo import Echo, open_echo
from camrelay.daemon.probes.ways import mtu_of, way
from camrelay.trace.facts import Fact

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Collection, Sequence

# Ethernet, PPPoE, PPPoE as NTT sells it, usual tunnels, the least of IPv6, and of IPv4 (RFC 1122: 576).
SIZES: Final = (1500, 1492, 1454, 1400, 1280, 1024, 576)
HEADERS: Final = 28  # bytes of IP and UDP, or of IP and ICMP
LEAST: Final = 68  # RFC 791; a smaller MTU in an error is a lie
MOST: Final = 1500  # larger ones are nobody's trouble here
TRIES: Final = 2
SPACING: Final = 0.02  # seconds
WAIT: Final = 0.8  # seconds after each volley, unless all is known before
LONGEST: Final = 10.0  # seconds in all, whatever routers name
LEARNED_MOST: Final = 4  # sizes asked in addition, as routers named them
NOBODY: Final = "nothing that large is answered, and no router complained"


class TooBig(NamedTuple):
    """A router that said no to ``size``: ``mtu`` as it names it (0: it does not)."""

    size: int
    mtu: int
    by: str


@dataclass(slots=True)
class Sent:
    """What was sent, and what the way said to it. ``answered``: sizes of which the target sent an answer."""

    own: int  # MTU of our own interface, at most MOST
    sizes: set[int] = field(default_factory=set)
    errors: list[TooBig] = field(default_factory=list)
    answered: set[int] = field(default_factory=set)
    why: str = ""  # nothing could be sent
    seconds: float = 0.0


async def mtu_fact(address: str, port: int, make_payload: Callable[[int], bytes], check: str = "mtu") -> Fact:
    """mtu: full (mtu) | smaller (mtu, by) | black-hole (passes, lost) | not-checked (why).

    By ICMP echo where that is allowed and answered, and by UDP, if it were only for routers' words.
    """
    sent = await send_sizes(address, port, make_payload, echo=True)
    return mtu_from(sent, sent.answered, check)


async def send_sizes(
    address: str,
    port: int,
    make_payload: Callable[[int], bytes],
    sizes: Sequence[int] = SIZES,
    echo: bool = False,
) -> Sent:
    """Send datagrams of these sizes, each twice, and of those sizes that routers name. ``make_payload(n)``: n bytes."""
    start = trio.current_time()
    found = way(address)
    sent = Sent(min(mtu_of(found.interface) or MOST, MOST))
    if found.error or found.ourselves:
        sent.why = found.error or "is this host itself"
        return sent
    volley = _Volley(address, port, make_payload, sent)
    try:
        async with trio.open_nursery() as nursery:
            nursery.cancel_scope.deadline = start + LONGEST
            if echo:
                volley.open_echo(nursery)
            await volley.all(nursery, sorted({min(size, sent.own) for size in sizes}, reverse=True))
            nursery.cancel_scope.cancel()
    finally:
        volley.close()
    sent.seconds = round(trio.current_time() - start, 3)
    return sent


def mtu_from(sent: Sent, arrived: Collection[int], check: str = "mtu") -> Fact:
    """The judgement. ``arrived``: the sizes that the far side saw (or answered)."""

    def fact(outcome: str, **detail: object) -> Fact:
        return Fact(check, outcome, sent.seconds, detail=detail)

    passes = max(arrived, default=0)
    lost = min((size for size in sent.sizes if size > passes), default=0)
    named = [row for row in sent.errors if row.size > passes]
    if sent.why and not passes:
        return fact("not-checked", why=sent.why)
    if passes and not lost:
        return fact("full", mtu=passes)
    if named and not (passes and passes < min(row.mtu or 0 for row in named)):
        narrow = min(named, key=lambda row: row.mtu or MOST)
        who = {"by": narrow.by} if narrow.by else {}
        return fact("smaller", mtu=max(passes, narrow.mtu), **who)
    if passes:
        return fact("black-hole", passes=passes, lost=lost)
    return fact("not-checked", why=NOBODY)


@dataclass(slots=True)
class _Volley:
    """Sends, and listens in tasks of the caller's nursery."""

    address: str
    port: int
    make_payload: Callable[[int], bytes]
    sent: Sent
    echo: Echo | None = None
    _socks: dict[int, socket.socket] = field(default_factory=dict)
    _news: trio.Event = field(default_factory=trio.Event)

    def open_echo(self, nursery: trio.Nursery) -> None:
        """ICMP echo as well, if it is allowed."""
        try:
            self.echo = open_echo(self.address, whole=True)
        except OSError:
            return
        nursery.start_soon(self._hear_echo, self.echo)

    async def all(self, nursery: trio.Nursery, sizes: Sequence[int]) -> None:
        """These sizes and those that routers name. Who hears the answers begins with the largest alone."""
        if self.echo is not None:
            await self._fire(nursery, sizes[:1])
            await self._named(nursery)
            if self.sent.answered:
                return
        await self._fire(nursery, sizes)
        await self._named(nursery)

    async def _named(self, nursery: trio.Nursery) -> None:
        """The sizes that routers name, one after the other: there may be a narrower one behind the narrow one."""
        for _ in range(LEARNED_MOST):
            named = {row.mtu for row in self.sent.errors if LEAST <= row.mtu < self.sent.own}
            if self.sent.why or not (new := sorted(named - self.sent.sizes)[:1]):
                return
            await self._fire(nursery, new)

    async def _fire(self, nursery: trio.Nursery, sizes: Sequence[int]) -> None:
        """Each size, twice unless something comes of it."""
        for _ in range(TRIES):
            for size in sizes:
                if not self._settled([size]):
                    self.sent.sizes.add(size)
                    self._udp(nursery, size)
                    self._ask_echo(size)
                    await trio.sleep(SPACING)
            with trio.move_on_after(WAIT):
                while not self._settled(sizes):
                    await self._news.wait()

    def _settled(self, sizes: Sequence[int]) -> bool:
        refused = {row.size for row in self.sent.errors}
        return bool(self.sent.why) or all(size in self.sent.answered or size in refused for size in sizes)

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()

    def close(self) -> None:
        """When the tasks have ended."""
        for sock in self._socks.values():
            sock.close()
        if self.echo is not None:
            self.echo.sock.close()

    def _udp(self, nursery: trio.Nursery, size: int) -> None:
        try:
            if size not in self._socks:
                self._socks[size] = troubles.udp(self.address, self.port, whole=True)
                nursery.start_soon(self._hear, size, self._socks[size])
            self._socks[size].send(self.make_payload(size - HEADERS))
        except OSError as problem:
            self._refused(size, problem)

    def _ask_echo(self, size: int) -> None:
        if self.echo is not None:
            try:
                self.echo.ask(size, bytes(size - HEADERS))  # its number says how large it was
            except OSError as problem:
                self._refused(size, problem)

    def _refused(self, size: int, problem: OSError) -> None:
        if problem.errno == errno.EMSGSIZE:  # our own interface is smaller than it said
            self.sent.errors.append(TooBig(size, 0, ""))
        elif problem.errno in (errno.EPERM, errno.EACCES, errno.ENETUNREACH):
            self.sent.why = f"this host does not send it: {troubles.reason(problem)}"

    def _error(self, size: int, trouble: troubles.Trouble) -> None:
        if trouble.kind == "too big":
            if len(self.sent.errors) < troubles.MOST:
                self.sent.errors.append(TooBig(size, trouble.mtu, trouble.by))
        elif trouble.by == self.address:
            if trouble.kind in ("refused", "prohibited"):
                self.sent.answered.add(size)  # it had to arrive to be refused
        elif trouble.kind != "reassembly" and not self.sent.answered:
            self.sent.why = f"{trouble.by or 'this host'} says: {trouble.kind}"
        self._tell()

    async def _hear(self, size: int, sock: socket.socket) -> None:
        while True:
            bad, good = await troubles.heard(sock)
            for trouble in bad:
                self._error(size, trouble)
            if good:
                self.sent.answered.add(size)
                self._tell()

    async def _hear_echo(self, echo: Echo) -> None:
        while True:
            bad, good = await echo.hear()
            for size, trouble in bad:
                self._error(size, trouble)
            self.sent.answered |= {size for size, _ in good if size in self.sent.sizes}
            self._tell()
