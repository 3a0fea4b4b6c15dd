"""A whole network on a heap of (time, delivery): relays and scripted clients, no trio, exact for a seed.

Segments are /24 networks; routers between them forward unicast and never broadcast. Time is a number that
jumps to the next event, so hours cost milliseconds. The clients are in ``tests/scripted.py``.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from functools import partial
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from camrelay.relay.outputs import Connect, Datagram, Event, Interface, Output, Tell, Transmit
from camrelay.relay.relay import Relay
from camrelay.relay.rules import Settings
from tests.scripted import (
    ALL,
    Client,
    Feiq,
    Iptux,
    ListAsker,
    Plain,
    PlainGb,
    Sent,
    Windows,
    segment_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from camrelay.ipmsg.crypto import PrivateKey
    from camrelay.relay.user import SavedUser

__all__ = [
    "ALL",
    "Client",
    "Feiq",
    "Iptux",
    "ListAsker",
    "Plain",
    "PlainGb",
    "RelayNode",
    "Sent",
    "Windows",
    "World",
    "segment_of",
]

LATENCY = 0.001


class RelayNode:
    """A relay with one interface per address (``one_card``: all of them on one)."""

    def __init__(
        self,
        world: World,
        addresses: tuple[str, ...],
        *,
        also: tuple[str, ...] = (),
        one_card: bool = False,
        can_speak: bool = True,
        key: PrivateKey | None = None,
        **settings: object,
    ) -> None:
        self.world = world
        self.key = key
        self.interfaces: list[Interface] = []
        taken = {relay.settings.name for relay in world.relays}
        name = "r" + addresses[0].split(".")[2]
        self.settings: Settings = Settings(name=name + "'" * (name in taken), **settings)  # type: ignore[arg-type]
        self.can_speak = can_speak
        self.events: list[tuple[float, Event]] = []
        self.running = False
        self.starts = 0
        self.ticks = 0
        self.ahead = 0.0  # seconds by which its monotonic clock has jumped
        self._wake_at = math.inf
        self.plug(addresses, also, one_card)
        self.relay = self.make()
        world.relays.append(self)

    def plug(self, addresses: tuple[str, ...], also: tuple[str, ...] = (), one_card: bool = False) -> None:
        """These are its addresses now; ``also`` are further networks on the first wire."""
        for interface in self.interfaces:
            self.world.nodes.pop(interface.address, None)
        self.interfaces = []
        for position, address in enumerate(addresses):
            front = segment_of(address)
            index = 2 if one_card else position + 2
            more = also if position == 0 else ()
            self.interfaces.append(
                Interface(index, f"eth{index - 2}", address, f"{front}.0/24", f"{front}.255", more)
            )
            self.world.nodes[address] = self

    @property
    def clock(self) -> float:
        """Its monotonic time."""
        return self.world.now + self.ahead

    def make(self) -> Relay:
        return Relay(
            self.settings,
            self.interfaces,
            hostname=self.settings.name,
            number=1_700_000_000 + 1_000_000 * self.starts + int(self.world.now),  # grows over restarts
            random=self.world.random,
            can_speak=self.can_speak,
            now=self.clock,
            key=self.key,
        )

    def start(self, saved: list[SavedUser] | None = None) -> None:
        self.relay = self.make()
        self.running = True
        self.starts += 1
        self._wake_at = math.inf
        self.relay.restore(saved or [], self.clock)
        self.enlist()
        self.act(self.relay.start(self.clock))

    def enlist(self) -> None:
        """Into its fleet, if it has one: see ``tests/fleet_world.py``."""

    def kill(self) -> list[SavedUser]:
        """kill -9; returns what the database would hold."""
        self.running = False
        users = self.relay._context.roster.by_key.values()
        return [user.saved(self.clock) for user in users]

    def readdress(self, addresses: tuple[str, ...]) -> None:
        """Its addresses are others now, and it is told."""
        self.plug(addresses)
        self.act(self.relay.readdress(self.interfaces, self.clock))

    def receive(self, sent: Sent) -> None:
        if not self.running:
            return
        broadcast = sent.to.endswith(".255")
        index = 0
        for interface in self.interfaces:
            if sent.to == interface.address or (
                broadcast and self.world.wire_of(interface.address) == self.world.wire_of(sent.sender)
            ):
                index = interface.index
        heard = Datagram(sent.data, sent.source, 2425, index, broadcast, sent.ttl)
        self.act(self.relay.receive(heard, self.clock))

    def act(self, outputs: list[Output]) -> None:
        for output in outputs:
            if isinstance(output, Connect):
                self.connect(output)
                continue
            assert not isinstance(output, Tell), "a relay of a fleet is a FleetNode"
            if not isinstance(output, Transmit):
                self.events.append((self.world.now, output))
                continue
            own = self.interfaces[0].address
            for interface in self.interfaces:
                if interface.index == output.interface or segment_of(output.to) == segment_of(
                    interface.address
                ):
                    own = interface.address
            source = output.speak_as or own
            self.world.put(Sent(self.world.now, own, source, output.to, output.data, output.ttl or 64))
        self.wait()

    def connect(self, asked: Connect) -> None:
        """One TCP request; who is there closes after a moment, who is not is given up after three seconds."""
        ok = self.world.connect(self.interfaces[0].address, asked.address, asked.data)
        run = self.starts

        def report() -> None:
            if self.running and self.starts == run:
                self.relay.connected(asked.address, ok, self.clock)
                self.wait()

        self.world.after(0.26 if ok else 3.0, report)

    def wait(self) -> None:
        """Wake at the relay's next due time."""
        due = max(self.relay.next_due() - self.ahead, self.world.now + 0.001)
        if due >= self._wake_at:
            return
        self._wake_at = due
        run = self.starts

        def wake() -> None:
            if self.running and self.starts == run and self._wake_at == due:
                self._wake_at = math.inf
                if self.relay.next_due() <= self.clock:
                    self.ticks += 1
                    self.act(self.relay.tick(self.clock))
                else:
                    self.wait()

        self.world.at(due, wake)

    def users(self, state: str = "online") -> dict[str, str]:
        """Address to nick of those in ``state``, other relays left out."""
        return {
            row.address: row.nick
            for row in self.relay.users(self.clock)
            if row.state == state and row.kind != "camrelay"
        }

    def said(self, kind: type[Event]) -> list[Event]:
        """The events of one kind."""
        return [event for _, event in self.events if isinstance(event, kind)]


@dataclass
class World:
    """Time, wire and everybody on it. ``loss`` is the part of all deliveries that fails."""

    seed: int = 1
    loss: float = 0.0
    now: float = 1000.0
    same_wire: dict[str, str] = field(default_factory=dict)  # segments that share the wire of another
    routed: Callable[[Sent], bool] = field(default=lambda sent: True)  # does it come through the routers?
    nodes: dict[str, Client | RelayNode] = field(default_factory=dict)
    relays: list[RelayNode] = field(default_factory=list)
    wire: list[Sent] = field(default_factory=list)
    tcp: list[Sent] = field(default_factory=list)
    _heap: list[tuple[float, int, Callable[[], object]]] = field(default_factory=list)
    _count: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    @property
    def clients(self) -> list[Client]:
        return [node for node in self.nodes.values() if isinstance(node, Client)]

    def at(self, time: float, what: Callable[[], object]) -> None:
        self._count += 1
        heappush(self._heap, (time, self._count, what))

    def after(self, delay: float, what: Callable[[], object]) -> None:
        self.at(self.now + delay, what)

    def wire_of(self, address: str) -> str:
        """The broadcast domain of an address."""
        return self.same_wire.get(segment_of(address), segment_of(address))

    def put(self, sent: Sent) -> None:
        """Onto the wire. A broadcast is heard on its sender's wire only, a directed one by its network."""
        self.wire.append(sent)
        if not sent.to.endswith(".255"):
            receivers = [sent.to] if sent.to in self.nodes and self.routed(sent) else []
        else:
            wire = self.wire_of(sent.sender)
            network = segment_of(sent.to)
            speaker = self.nodes.get(sent.sender)
            receivers = [
                address
                for address, node in self.nodes.items()
                if (sent.to == ALL or segment_of(address) == network)
                and self.wire_of(address) == wire
                and address != sent.sender
                and node is not speaker
            ]
        for address in {self.nodes[address]: address for address in receivers}.values():
            if not self.loss or self.random.random() >= self.loss:
                self.after(LATENCY, partial(self._deliver, address, sent))

    def connect(self, source: str, to: str, data: bytes) -> bool:
        """One request over TCP; was it taken and the connection closed without an error?"""
        sent = Sent(self.now, source, source, to, data)
        self.tcp.append(sent)
        client = self.nodes.get(to)
        if not isinstance(client, Client) or not client.alive:
            return False

        def accept() -> None:
            if client.alive:
                client.accept(sent)

        self.after(LATENCY, accept)
        return True

    def _deliver(self, address: str, sent: Sent) -> None:
        node = self.nodes.get(address)
        if node is not None and (isinstance(node, RelayNode) or node.alive):
            node.receive(sent)

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while self._heap and self._heap[0][0] <= end:
            self.now, _, what = heappop(self._heap)
            what()
        self.now = end

    def until(self, condition: Callable[[], bool], within: float) -> float:
        """Let time pass until ``condition`` holds; how long that took. Fails after ``within`` seconds."""
        begun = self.now
        while not condition():
            if not self._heap or self._heap[0][0] > begun + within:
                raise AssertionError(f"still not so after {within} s")
            self.now, _, what = heappop(self._heap)
            what()
        return self.now - begun

    def since(self, begun: float) -> list[Sent]:
        """What was put on the wire from then on."""
        return [sent for sent in self.wire if sent.time >= begun]
