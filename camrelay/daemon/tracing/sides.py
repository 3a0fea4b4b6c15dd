"""The two ends of a way between relays, alike: each can send to the other, count what comes, and try its ports.

``Here`` does it, ``There`` has the other relay do it (which answers with its own ``Here``: see ``beside``). So a
measurement is written once, for a sender and a receiver, and serves both directions.
"""

from __future__ import annotations

import os
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

import trio

from camrelay.daemon.tracing import numbered
from camrelay.daemon.tracing.forms import LONGEST, MOST_HEARD, Fired, Heard, Opened, Sizes
from camrelay.daemon.tracing.numbered import Arrival
from camrelay.relay.outputs import Datagram, Transmit
from camrelay.trace.facts import Fact

if TYPE_CHECKING:
    from collections.abc import Sequence

    from camrelay.daemon.tap import Seen
    from camrelay.daemon.tracing import Stand
    from camrelay.daemon.tracing.far import Far
    from camrelay.daemon.tracing.forms import Speaking, Volley, Window
    from camrelay.daemon.tracing.sockets import Sockets
    from camrelay.relay.messages import RelayId

F = TypeVar("F", Heard, Opened)

QUEUE: Final = 15.0  # seconds on top: the call ports may be open for another one
FOREIGN: Final = "192.0.2."  # RFC 5737: nobody has such an address
NOT_ALLOWED: Final = "that relay may not speak as others: see `camrelay status` there"


class Side(Protocol):
    """One end. All may raise FleetError where the other relay is asked."""

    async def count(self, nonce: str, window: Window) -> Heard:
        """What arrives with this nonce."""

    async def send(self, nonce: str, volleys: Sequence[Volley]) -> Fired:
        """Send these to the other side."""

    async def sizes(self, nonce: str) -> Sizes:
        """Send datagrams of many sizes that may not be fragmented."""

    async def listen(self, nonce: str, window: Window) -> Opened:
        """Open the call ports."""

    async def tcp(self, port: int) -> Fact:
        """Knock at the other side's port."""

    async def path(self, nonce: str, answers: bool) -> Fact:
        """Step by step to the other side. ``answers``: datagrams are known to arrive."""


class Here:
    """This relay's end of the way to ``to``."""

    def __init__(self, stand: Stand, to: str, sockets: Sockets) -> None:
        self._stand = stand
        self._to = to
        self._sockets = sockets

    async def count(self, nonce: str, window: Window) -> Heard:
        token, arrived = nonce.encode(), list[Arrival]()

        def wanted(seen: Seen) -> bool:
            return isinstance(seen.packet, Datagram) and token in seen.packet.data

        with self._stand.tap.listen(wanted) as ear:
            window.open()
            with window.scope:
                async for seen in ear:
                    assert isinstance(seen.packet, Datagram)
                    arrived.append(_arrival(seen.packet, seen.at, nonce))
                    if len(arrived) in (window.expected, MOST_HEARD):
                        break
                    window.note()
        return Heard(arrived)

    async def send(self, nonce: str, volleys: Sequence[Volley]) -> Fired:
        stand, now = self._stand, trio.current_time()
        source, gateway = self._sockets.way(self._to)
        spoken: dict[Speaking, str] = {}
        cannot = "" if stand.relay.snapshot(now).can_speak else NOT_ALLOWED
        if not cannot:
            spoken["foreign"] = f"{FOREIGN}{int(nonce[:4], 16) % 250 + 2}"
            if spare := spare_address(stand, source, gateway, nonce):
                spoken["own"] = spare
        at: dict[int, float] = {}
        for volley in volleys:
            if volley.speak and volley.speak not in spoken:
                continue
            for number in range(volley.first, volley.first + volley.count):
                data = numbered.datagram(nonce, number, volley.size)
                at[number] = now = trio.current_time()
                stand.act([Transmit(data, self._to, volley.port, spoken.get(volley.speak))], now)
                await trio.sleep(volley.every)
        return Fired(at, source, spoken, cannot)

    async def sizes(self, nonce: str) -> Sizes:
        def made(size: int) -> bytes:
            return numbered.datagram(nonce, numbered.SIZED, size)

        return await self._sockets.sizes(self._to, made)

    async def listen(self, nonce: str, window: Window) -> Opened:
        return await self._sockets.listen(nonce, window)

    async def tcp(self, port: int) -> Fact:
        return await self._sockets.tcp(self._to, port)

    async def path(self, nonce: str, answers: bool) -> Fact:
        return await self._sockets.path(self._to, numbered.datagram(nonce, numbered.STEP), answers)


class There:
    """The other relay's end of the way to us."""

    def __init__(self, far: Far, peer: RelayId) -> None:
        self._far = far
        self._peer = peer

    async def count(self, nonce: str, window: Window) -> Heard:
        return await self._listen("count", nonce, window, Heard)

    async def send(self, nonce: str, volleys: Sequence[Volley]) -> Fired:
        params = {"nonce": nonce, "volleys": volleys}
        return await self._far.ask(self._peer, "send", params, within=LONGEST + 5, form=Fired)

    async def sizes(self, nonce: str) -> Sizes:
        return await self._far.ask(self._peer, "sizes", {"nonce": nonce}, within=20.0, form=Sizes)

    async def listen(self, nonce: str, window: Window) -> Opened:
        return await self._listen("open", nonce, window, Opened)

    async def tcp(self, port: int) -> Fact:
        return await self._far.ask(self._peer, "tcp", {"port": port}, within=10.0, form=Fact)

    async def path(self, nonce: str, answers: bool) -> Fact:
        params = {"nonce": nonce, "answers": answers}
        return await self._far.ask(self._peer, "path", params, within=20.0, form=Fact)

    async def _listen(self, what: str, nonce: str, window: Window, form: type[F]) -> F:
        async def tell(event: object) -> None:
            await trio.lowlevel.checkpoint()
            window.opened.set()

        params = {"nonce": nonce, "seconds": window.seconds}
        if what == "count":
            params |= {"expected": window.expected, "quiet": window.quiet}
        return await self._far.ask(self._peer, what, params, tell, within=window.seconds + QUEUE, form=form)


def _arrival(datagram: Datagram, at: float, nonce: str) -> Arrival:
    return Arrival(
        numbered.number_in(datagram.data, nonce),
        at,
        len(datagram.data),
        datagram.ttl,
        datagram.source,
        datagram.port,
        datagram.broadcast,
    )


def spare_address(stand: Stand, source: str, gateway: str, nonce: str) -> str:
    """An address of the segment that ``source`` is on, and nobody's as far as we know; "" if there is none.

    Nobody there gets anything by it, but a router's own address as source would be dropped by that router.
    """
    taken = {source, gateway, *(interface.address for interface in stand.interfaces())}
    for interface in stand.interfaces():
        network = IPv4Network(interface.network)
        if source and IPv4Address(source) in network and network.num_addresses >= 16:
            start = network.num_addresses // 2 + int(nonce[:4], 16) % (network.num_addresses // 4)
            for place in range(start, min(start + 32, network.num_addresses - 3)):
                address = str(network[place])
                if address not in taken and stand.relay.look.at(address) is None:
                    return address
    return ""


def new_nonce() -> str:
    """What nobody else says."""
    return os.urandom(numbered.NONCE_DIGITS // 2).hex()
