"""Two whole daemons on a virtual LAN, linked by a line of memory, so that one may ask the other to look for faults.

The LAN loses what a test tells it to; sockets beside the presence socket are stand-ins that look at the same LAN.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import trio

from camrelay.daemon.fleet import Fleet
from camrelay.daemon.peerkey import PeerKey, key_hash
from camrelay.daemon.peers import Peers
from camrelay.daemon.session import Line
from camrelay.daemon.tracing.far import Far
from camrelay.daemon.tracing.forms import Opened, Sizes
from camrelay.daemon.tracing.sockets import CALL_PORTS, Sockets
from camrelay.errors import LinkError
from camrelay.trace.facts import Fact
from tests.lan import Network
from tests.unit.daemon.test_service import Daemon

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection
    from pathlib import Path

    from camrelay.daemon.tasks import Tasks
    from camrelay.daemon.tracing import Stand
    from camrelay.daemon.tracing.forms import Window
    from camrelay.relay.outputs import Transmit
    from tests.lan import VirtualLan


class FaultyNetwork(Network):
    """``lose``: says of each datagram whether it is to be lost; ``translate``: the source that others see instead."""

    def __init__(self) -> None:
        super().__init__()
        self.lose: Callable[[str, Transmit], bool] = lambda sender, transmit: False
        self.translate: dict[str, str] = {}

    def carry(self, sender: VirtualLan, transmit: Transmit) -> None:
        own = sender.interfaces[0].address
        if self.lose(own, transmit):
            self.lost["as the test wants it"] += 1
            return
        if transmit.speak_as is None and own in self.translate:
            transmit = transmit._replace(speak_as=self.translate[own])
        super().carry(sender, transmit)


class VirtualSockets(Sockets):
    """Those of one box. ``closed``: TCP ports that refuse; ``busy``: call ports in use."""

    def __init__(self, box: Box) -> None:
        super().__init__()
        self.box = box
        self.silent_tcp = False
        self.refused: set[int] = set()
        self.busy: set[int] = set()
        self.most = 1500

    def way(self, to: str) -> tuple[str, str]:
        return self.box.address, ""

    async def tcp(self, to: str, port: int) -> Fact:
        await trio.sleep(0.01)
        outcome = "silent" if self.silent_tcp else "refused" if port in self.refused else "open"
        return Fact("tcp", outcome, detail={"port": port})

    async def path(self, to: str, payload: bytes, answers: bool) -> Fact:
        await trio.sleep(0.1)
        return Fact("path", "reaches" if answers else "stops", detail={"hops": ["10.1.0.254"]})

    async def sizes(self, to: str, made: Callable[[int], bytes]) -> Sizes:
        from camrelay.relay.outputs import Transmit

        sizes = (1500, 1400, 576) * 5
        for size in sizes:
            data = made(size - 28)
            assert len(data) == size - 28
            if size <= self.most:
                self.box.lan.send([Transmit(data, to)])
            await trio.sleep(0.02)
        return Sizes(1500, sorted(set(sizes)), [], [], "", 0.3)

    async def listen(self, nonce: str, window: Window) -> Opened:
        seen = len(self.box.network.sent)
        window.open()
        with window.scope:
            await trio.sleep_forever()
        came = {
            transmit.port: sender.interfaces[0].address
            for sender, transmit in self.box.network.sent[seen:]
            if transmit.to == self.box.address and nonce.encode() in transmit.data
        }
        opened = [port for port in CALL_PORTS if port not in self.busy]
        return Opened(opened, sorted(self.busy), {port: came[port] for port in opened if port in came})


class Box(Daemon):
    """One relay."""

    def __init__(
        self, net: Linked, name: str, address: str, config: str = "", can_speak: bool = True
    ) -> None:
        self.net = net
        self.name = name
        self.address = address
        self.home = net.directory / name
        self.home.mkdir()
        super().__init__(self.home, f'[peers]\naddress = "{address}"\n{config}')
        self.network = net.network
        self.lan = net.network.host(f"{address}/24", can_speak=can_speak)
        self.sockets = VirtualSockets(self)
        self.tasks: Tasks
        self.nursery: trio.Nursery
        self.scopes: list[trio.CancelScope] = []  # of the sessions that others dialled
        net.boxes[address] = self

    def configure(self, text: str, tmp_path: Path) -> None:
        super().configure(text, tmp_path)
        self.path.write_text(self.path.read_text().replace('name = "hq"', f'name = "{self.name}"'))

    @property
    def stand(self) -> Stand:
        return self.tasks._stand

    @property
    def peers(self) -> Peers:
        assert self.stand.peers
        return self.stand.peers

    @property
    def id(self) -> str:
        return self.peers.fleet.me.id

    def fleet(self) -> Fleet:
        """What is on disk, for enrolling while it is not running."""
        PeerKey.load_or_create(self.home)
        found = Fleet.open(self.home, self.name)
        found.readdress(self.name, (f"{self.address}:2425",))
        return found

    @asynccontextmanager
    async def up(self) -> AsyncIterator[None]:
        async with trio.open_nursery() as self.nursery:
            async with self.running(peers=partial(Peers, reach=self._reach)) as self.tasks:
                self.stand._far = Far(self.stand, self.peers, find=self._find)
                yield
            self.nursery.cancel_scope.cancel()

    async def _find(self, place: str) -> Any:
        """Without a thread, for which this clock does not wait."""
        module, _, name = place.partition(":")
        found = getattr(import_module(f"camrelay.daemon.tracing.{module}"), name)
        return partial(found, sockets=self.sockets) if module == "beside" else found

    async def _reach(self, where: str, context: Any, accepted: Collection[str], who: str) -> Line:
        await trio.sleep(0.01)
        there = self.net.boxes[where.rpartition(":")[0]]
        if not hasattr(there, "tasks") or self.net.cut:
            raise LinkError(f"{who} ({where}): connection refused")
        ours, theirs = trio.testing.memory_stream_pair()
        there.nursery.start_soon(there._guest, Line(theirs, f"{self.seen_as(there)}:40000", self._key()))
        return Line(ours, where, there._key())

    def seen_as(self, there: Box) -> str:
        """Our address as that one sees it."""
        return self.net.network.translate.get(self.address, self.address)

    def _key(self) -> str:
        return key_hash(self.peers.fleet.me.certs[0])

    async def _guest(self, line: Line) -> None:
        """As the door does it."""
        try:
            if session := await self.peers.links.admit(line):
                await session.run()
        finally:
            await line.close()

    def ends(self) -> None:
        """The link breaks."""
        for neighbour in self.peers.links._neighbours.values():
            if neighbour.session:
                self.peers.links.over(neighbour.session, "broken")


class Linked:
    """All of it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.network = FaultyNetwork()
        self.boxes: dict[str, Box] = {}
        self.cut = False

    @asynccontextmanager
    async def up(self, *boxes: Box) -> AsyncIterator[None]:
        """All run, and are linked."""
        fleets = [box.fleet() for box in boxes]
        for ours in fleets:
            for theirs in fleets:
                if ours is not theirs:
                    ours.membership.restore(theirs.me)
            ours.save_or_fail()
        async with trio.open_nursery() as nursery:
            ready = [trio.Event() for _ in boxes]
            for box, event in zip(boxes, ready, strict=True):
                nursery.start_soon(self._keep, box, event)
            for event in ready:
                await event.wait()
            if not self.cut:
                await self.linked(*boxes)
            yield
            nursery.cancel_scope.cancel()

    async def _keep(self, box: Box, ready: trio.Event) -> None:
        async with box.up():
            ready.set()
            await trio.sleep_forever()

    async def linked(self, *boxes: Box) -> None:
        with trio.fail_after(60):
            await trio.sleep(5)  # two that dial each other at once agree on one of both
            while not all(row.state == "linked" for box in boxes for row in box.peers.links.rows()):  # noqa: ASYNC110 - told by nobody
                await trio.sleep(0.1)


@asynccontextmanager
async def two(tmp_path: Path, **options: Any) -> AsyncIterator[tuple[Box, Box]]:
    """hq and branch."""
    net = Linked(tmp_path)
    boxes = Box(net, "hq", "10.1.0.1", **options), Box(net, "branch", "10.2.0.1", **options)
    async with net.up(*boxes):
        yield boxes
