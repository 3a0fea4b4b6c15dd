"""A virtual LAN: segments, hosts, and a router that forwards unicast and no broadcast, for trio's MockClock.

A host implements the daemon's network seam (``LanLike``): the whole daemon runs on it, and tests' clients as
well. What is sent arrives at once and in order, unless the LAN is told to lose some.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import TYPE_CHECKING, Never

import trio

from camrelay.ipmsg.command import PORT
from camrelay.relay.outputs import Datagram, Interface, Transmit

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence

DEFAULT_TTL = 64
EVERYBODY = "255.255.255.255"


class Network:
    """Everything that is connected. ``strict``: the router drops sources that come from the wrong side."""

    def __init__(self, strict: bool = False, loss: float = 0.0, chance: random.Random | None = None) -> None:
        self.hosts: list[VirtualLan] = []
        self.sent: list[tuple[VirtualLan, Transmit]] = []  # all of it, for tests that count
        self.lost: Counter[str] = Counter()
        self._strict = strict
        self._loss = loss
        self._chance = chance

    def host(self, *addresses: str, can_speak: bool = False) -> VirtualLan:
        """A host with one interface per address, written "10.1.0.5/24"; eth0, eth1 and so on."""
        made = VirtualLan(self, can_speak)
        self.hosts.append(made)
        for address in addresses:
            made.plug(address)
        return made

    def carry(self, sender: VirtualLan, transmit: Transmit) -> None:
        """One datagram from ``sender`` to whoever hears it."""
        self.sent.append((sender, transmit))
        interface = sender.way_out(transmit)
        if interface is None:
            self.lost["no way out of the sender"] += 1
            return
        if transmit.speak_as is not None and not sender.can_speak:
            self.lost["not allowed to speak as another"] += 1
            return
        source = transmit.speak_as or interface.address
        ttl = transmit.ttl or DEFAULT_TTL
        here = IPv4Network(interface.network)
        if transmit.to in (EVERYBODY, interface.broadcast):
            for host in self.hosts:
                if host is not sender:
                    self._deliver(host, here, transmit, source, ttl, broadcast=True)
            return
        there = IPv4Address(transmit.to)
        if there not in here:
            if ttl <= 1:
                self.lost["TTL exceeded at the router"] += 1
                return
            if self._strict and IPv4Address(source) not in here:
                self.lost["source on the wrong side of the router"] += 1
                return
            ttl -= 1
        for host in self.hosts:
            if any(local.address == transmit.to for local in host.interfaces):
                self._deliver(host, None, transmit, source, ttl, broadcast=False)
                return
        self.lost["nobody has that address"] += 1

    def _deliver(
        self,
        host: VirtualLan,
        wire: IPv4Network | None,
        transmit: Transmit,
        source: str,
        ttl: int,
        broadcast: bool,
    ) -> None:
        for interface in host.interfaces:
            if str(wire) == interface.network if wire else interface.address == transmit.to:
                if self._chance and self._chance.random() < self._loss:
                    self.lost["bad line"] += 1
                else:
                    host.put(Datagram(transmit.data, source, PORT, interface.index, broadcast, ttl))


class VirtualLan:
    """One host's socket on port 2425 (``camrelay.daemon.lan.LanLike``); its interfaces may change."""

    limit = 16384

    def __init__(self, network: Network, can_speak: bool) -> None:
        self.can_speak = can_speak
        self.interfaces: list[Interface] = []
        self.warnings: list[str] = []
        self.receive_buffer = 8 << 20
        self.send_buffer = 4 << 20
        self.broadcasts: set[str] = set()
        self.stuck = False  # True: the cable does not take anything, what is sent waits
        self._network = network
        self._counts: Counter[str] = Counter()
        self._arrived: deque[Datagram] = deque()
        self._news = trio.Event()
        self._queue: deque[Transmit] = deque()
        self._plugged = trio.Event()
        self._closed = False

    # What happens to the host

    def plug(self, address: str) -> Interface:
        """One more interface."""
        found = IPv4Interface(address)
        index = max((interface.index for interface in self.interfaces), default=1) + 1
        network = found.network
        interface = Interface(
            index, f"eth{index - 2}", str(found.ip), str(network), str(network.broadcast_address)
        )
        self.interfaces.append(interface)
        self._tell()
        return interface

    def unplug(self, name: str) -> None:
        """One interface less."""
        self.interfaces = [interface for interface in self.interfaces if interface.name != name]
        self._tell()

    def put(self, datagram: Datagram) -> None:
        """Something arrives."""
        self._arrived.append(datagram)
        self._news.set()

    def _tell(self) -> None:
        self._plugged.set()
        self._plugged = trio.Event()

    # What the service asks instead of ``camrelay.daemon.interfaces``

    def usable(self, names: Sequence[str] | None, also: Mapping[str, Sequence[str]]) -> list[Interface]:
        """The interfaces as they are now."""
        return [
            replace(interface, also=tuple(also.get(interface.name, ())))
            for interface in self.interfaces
            if names is None or interface.name in names
        ]

    async def changes(self) -> AsyncGenerator[None, None]:
        """Once at first, then after every plug and unplug."""
        while True:
            changed = self._plugged
            yield None
            await changed.wait()

    # LanLike

    @property
    def backlog(self) -> int:
        return len(self._queue)

    @property
    def counters(self) -> Mapping[str, int]:
        return self._counts

    async def receive(self) -> list[Datagram]:
        await trio.lowlevel.checkpoint()
        while not self._arrived and not self._closed:
            self._news = trio.Event()
            await self._news.wait()
        if self._closed:
            raise trio.ClosedResourceError
        batch = [self._arrived.popleft() for _ in range(min(256, len(self._arrived)))]
        self._counts["datagrams received"] += len(batch)
        return batch

    def send(self, transmits: Iterable[Transmit]) -> None:
        self._queue.extend(transmits)
        while self._queue and not self.stuck:
            self._network.carry(self, self._queue.popleft())

    async def drain(self) -> Never:
        while True:
            self.send(())
            await trio.sleep(0.01)

    def set_broadcasts(self, addresses: Iterable[str]) -> None:
        self.broadcasts = set(addresses)

    def close(self) -> None:
        self._closed = True
        self._news.set()

    # For the network

    def way_out(self, transmit: Transmit) -> Interface | None:
        """The interface a datagram leaves by. A broadcast with a wrong index is lost, as in the kernel."""
        for interface in self.interfaces:
            named = not transmit.interface or transmit.interface == interface.index
            if transmit.to == EVERYBODY and named:
                return interface
            if named and IPv4Address(transmit.to) in IPv4Network(interface.network):
                return interface
        broadcast = transmit.interface and transmit.to.endswith(".255")
        return None if broadcast or not self.interfaces else self.interfaces[0]
