"""A relay with a tap and hosts around it that answer as they are told, for what examines a host; probes are given.

Under trio's MockClock: nothing here takes time but the delays that a test names.
"""

from __future__ import annotations

import random
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import trio

from camrelay.config import Config
from camrelay.config.keys import RelayKeys
from camrelay.daemon.answers import Request
from camrelay.daemon.probes.hops import Walk
from camrelay.daemon.probes.ways import Way
from camrelay.daemon.tap import Tap
from camrelay.daemon.tracing import Stand
from camrelay.daemon.tracing.examining import Probes
from camrelay.errors import CamrelayError
from camrelay.ipmsg import hostlist
from camrelay.ipmsg.command import Command, Option
from camrelay.ipmsg.packet import Packet, build, parse
from camrelay.ipmsg.pubkey import PublicKey, write_answer
from camrelay.relay.outputs import Datagram, Interface, Transmit
from camrelay.relay.relay import Relay
from camrelay.relay.rules import Settings
from camrelay.trace.facts import Fact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from camrelay.relay.outputs import Output

HERE = "10.77.1.2"
WIRE = Interface(2, "eth0", HERE, "10.77.1.0/24", "10.77.1.255")
WINDOWS = 0x01400000 | 0x00200000 | int(Option.CAPUTF8)
LARGE = 1_500  # bytes: a longer question comes in fragments
KEY = PublicKey(65537, b"\xc1" * 256)


@dataclass
class Host:
    """What answers at an address. ``delay``: seconds for a BR_ENTRY; quiet questions are answered at once."""

    address: str
    nick: str = "hanako"
    delay: float = 0.0
    answers: bool = True
    quiet: bool = True  # as Windows does; else only BR_ENTRY is answered
    large: bool = True
    deaf: int = 0  # so many BR_ENTRY are lost
    ttl: int = 64
    lists: Sequence[str] = ()
    pages: int = 1
    names: list[str] = field(default_factory=list)  # of the next answers, if not always the same
    heard: list[Packet] = field(default_factory=list)

    def reply(self, data: bytes) -> Iterator[tuple[float, bytes]]:
        """Answers to one datagram, and after how long."""
        packet = parse(data)
        self.heard.append(packet)
        if not self.answers or (len(data) > LARGE and not self.large):
            return
        if packet.mode == Command.BR_ENTRY:
            if self.deaf:
                self.deaf -= 1
                return
            yield self.delay, self.presence(Command.ANSENTRY)
        elif self.quiet:
            yield from ((0.0, data) for data in self._quietly(packet))

    def presence(self, command: int) -> bytes:
        """It speaks of itself."""
        nick = (self.names.pop(0) if self.names else self.nick).encode()
        body, extra = nick, b"group\0\nUN:%b\nHN:pc\nNN:%b\nGN:group\nVS:00010002:4:99:103\n" % (nick, nick)
        return build(b"1", 7, nick, b"pc", command | (WINDOWS if self.quiet else 0), body, extra)

    def _quietly(self, packet: Packet) -> Iterator[bytes]:
        say = {
            Command.GETINFO: (Command.SENDINFO, b"Win(en)Ver4.99r3(x64)"),
            Command.GETPUBKEY: (Command.ANSPUBKEY, write_answer(KEY)),
            Command.GETLIST: (Command.ANSLIST, self._page(packet)),
        }.get(Command(packet.mode))
        if say:
            yield build(b"1", 8, self.nick.encode(), b"pc", int(say[0]), say[1])

    def _page(self, packet: Packet) -> bytes:
        start = int(packet.body or b"0") if packet.mode == Command.GETLIST else 0
        rows = [hostlist.Entry(b"u", b"h", 1, at, 2425, b"n", b"g") for at in self.lists]
        size = max(1, -(-len(rows) // self.pages))
        body, _ = hostlist.pack(rows[start : start + size], 0)
        following = start + size if start + size < len(rows) else 0
        return b"%5d" % following + body[5:]


class Bench:
    """The relay at HERE, in 10.77.1.0/24, with ``remote`` behind a router; what it asks reaches the ``hosts``."""

    def __init__(self, *hosts: Host, remote: Sequence[str] = ("10.77.2.*",)) -> None:
        self.hosts = {host.address: host for host in hosts}
        self.sent: list[Transmit] = []
        self.told: list[Any] = []
        self.errors: list[str] = []
        self.tap = Tap()
        self.relay = Relay(
            Settings(name="hq", remote=tuple(remote), sweep_rate=100.0),
            [WIRE],
            hostname="box",
            number=1,
            random=random.Random(1),
            can_speak=True,
            now=trio.current_time(),
        )
        log = SimpleNamespace(
            bug=lambda event, error, **more: self.errors.append(f"{event}: {error!r} {more}")
        )
        self.stand = Stand(
            self.tap,
            self.relay,
            self.act,
            log,  # type: ignore[arg-type]
            config=lambda: Config(relay=RelayKeys(name="hq")),
            interfaces=lambda: [WIRE],
            peers=None,
        )
        self._nursery: trio.Nursery | None = None

    async def tell(self, event: Any) -> None:
        await trio.lowlevel.checkpoint()
        self.told.append(event)

    def act(self, outputs: list[Output], now: float) -> None:
        """Let happen what the relay decided."""
        transmits = [output for output in outputs if isinstance(output, Transmit)]
        self.tap.sent(transmits, now)
        for transmit in transmits:
            self.sent.append(transmit)
            host = self.hosts.get(transmit.to)
            if host is not None and transmit.speak_as is None:
                for delay, data in host.reply(transmit.data):
                    self.later(delay, host, data)

    def later(self, delay: float, host: Host, data: bytes, broadcast: bool = False) -> None:
        """``host`` says this to us."""
        assert self._nursery is not None

        async def say() -> None:
            await trio.sleep(delay)
            self.hear(host, data, broadcast)

        self._nursery.start_soon(say)

    def hear(self, host: Host, data: bytes, broadcast: bool = False) -> None:
        """At once."""
        now = trio.current_time()
        datagram = Datagram(data, host.address, 2425, 2, broadcast, host.ttl)
        self.act(self.tap.receive(self.relay.receive, self.relay.counters, [datagram], now), now)

    async def run(self, work: Callable[[], Any]) -> Any:
        """What comes of ``work``, while hosts answer. What it raises comes as it is."""
        outcome: Any = None
        async with trio.open_nursery() as self._nursery:
            try:
                outcome = await work()
            except CamrelayError as error:
                outcome = error
            self._nursery.cancel_scope.cancel()
        if isinstance(outcome, CamrelayError):
            raise outcome
        return outcome

    def request(self, **more: Any) -> Request:
        """As it comes over the control socket."""
        import msgspec

        return Request(v=1, do="host", more=msgspec.Raw(msgspec.json.encode(more)))


class Watch:
    """An ARP watch that has its answer."""

    def __init__(self, fact: Fact) -> None:
        self._fact = fact

    async def fact(self) -> Fact:
        await trio.sleep(2.0)
        return self._fact


def probes(
    *, on_link: bool = True, walked: Walk | None = None, other: Walk | None = None, **facts: tuple[str, float]
) -> Probes:
    """Probes of a healthy host; ``facts``: check -> outcome and how long it takes, of another one."""
    asked: Counter[str] = Counter()
    usual = {"name": ("none", 0.01), "neighbour": ("resolved", 0.01), "icmp": ("answered", 0.4)}
    usual |= {"tcp": ("open", 0.01), "mtu": ("full", 1.0)}

    def probe(check: str) -> Any:
        outcome, seconds = (usual | facts)[check]

        async def ask(*_: object) -> Fact:
            asked[check] += 1
            await trio.sleep(seconds)
            return Fact(check, outcome, seconds)

        return ask

    way = Way(interface="eth0", source=HERE, gateway="" if on_link else "10.77.1.1")

    async def walk(address: str, port: int, payload: bytes, enough: trio.Event) -> Walk:
        found = other if port != 2425 and other else walked
        with trio.move_on_after(4.5 if found is None else 0.1):
            await enough.wait()
            await trio.sleep(0.3)
        return found or Walk(address, port, way)

    @contextmanager
    def arp(interface: str, address: str, lures: Sequence[str]) -> Iterator[Watch]:
        yield Watch(Fact("arp", "one", detail={"lures": list(lures)}))

    def route(address: str) -> Fact:
        detail = {"interface": "eth0", "source": HERE}
        return Fact("route", "on-link" if on_link else "routed", detail=detail)

    asking = {check: probe(check) for check in usual}
    return Probes(route=route, walk=walk, arp=arp, **asking)
