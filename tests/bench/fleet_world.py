"""A large fleet, measured on the deciding part alone: what a change, a round of digests and a restart cost.

    python -m tests.bench.fleet_world [--relays 1000] [--users 100] [--json FILE]

A full mesh of 1,000 relays holds 999,000 copies of rosters: hundreds of GB. So two relays here are real and hold
everything, and the other 998 are stand-ins: each has its 100 rows once and answers as a relay does. What a real relay
was measured to do is multiplied by the number of relays where a figure says "fleet". Messages go through the bytes of
``daemon.wire`` both ways. No sockets, no TLS: what these cost is in ``tests/bench/fleet.py``.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import deque
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from camrelay.daemon.wire import decode, encode
from camrelay.ipmsg.command import Command
from camrelay.relay.copy import Copy
from camrelay.relay.messages import Changes, Digest, Marks, PeerMessage, Reach, Row, Rows
from camrelay.relay.outputs import Datagram, Interface, Output, Tell, Transmit
from camrelay.relay.publishing import TOGETHER
from camrelay.relay.relay import Relay
from camrelay.relay.rules import Settings
from tests.bench.figures import Figure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

OPTIONS = 0x0F640000  # of a Windows client
LINE = "VS:00010002:4:99:103"
ROUND = 600.0  # seconds between two digests: sooner than in earnest, which changes nothing about one
NEVER = 1e9  # the clients here do not answer


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.fleet_world", description=(__doc__ or "")[:100]
    )
    parser.add_argument("--relays", type=int, default=1000)
    parser.add_argument("--users", type=int, default=100)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = measure(options.relays, options.users)
    text = json.dumps(found, indent=1)
    print(text)
    if options.json:
        options.json.write_text(text + "\n")


def figures(found: dict[str, Any]) -> list[Figure]:
    """What ``measure`` found, as lines of the table: nothing of it was promised."""
    scale = f"{found['relays']:,} relays, {found['users']:,} users"
    shown = {
        "change, bytes of one": ("a change, to each peer", "bytes"),
        "change, messages": ("a change, messages", ""),
        "change, ms where it is heard": ("a change, where it is heard", "ms"),
        "change, ms at one peer": ("a change, at each peer", "ms"),
        "round, messages in the fleet": ("a round of digests, messages of all", ""),
        "round, bytes in the fleet": ("a round of digests, bytes of all", "bytes"),
        "round, ms at one relay": ("a round of digests, at each relay", "ms"),
        "first meeting, bytes of a link one way": ("a start, bytes of each link one way", "bytes"),
        "first meeting, ms at one relay to hear all": ("a start, to hear all peers", "ms"),
        "memory of one relay, MB": ("memory of a relay", "MB"),
    }
    return [Figure("mesh", name, found[key], unit, note=scale) for key, (name, unit) in shown.items()]


def measure(relays: int = 1000, users: int = 100, say: Callable[[str], None] = print) -> dict[str, Any]:
    """All figures, flat: times in milliseconds, sizes in bytes of frame payloads."""
    before = _resident()
    sites = [Site(n, users) for n in range(relays)]
    one, other = Real(sites, 0), Real(sites, 1)
    found: dict[str, Any] = {"relays": relays, "users": relays * users}
    say(f"fleet: {relays} relays with {users} users each, two of them real")
    found |= {f"first {name}": value for name, value in one.meet().items()}
    other.meet()
    found["memory of one relay, MB"] = round((_resident() - before) / 2 / 1e6, 1)
    found |= _change(one, other)
    found |= one.round()
    found |= one.idle()
    return found


def _change(one: Real, other: Real) -> dict[str, Any]:
    """A user joins at ``one``; what that costs there, at one of its peers, and in the whole fleet."""
    newcomer = one.site.datagram(250, Command.BR_ENTRY, "newcomer")
    told, hears = _clock(lambda: one.relay.receive(newcomer, one.now))
    tells = [output for output in told if isinstance(output, Tell)]
    news = tells[0].message
    encode(news)  # the first one costs what is only done once
    encoded, writes = _clock(lambda: encode(news))
    outputs, takes = _clock(lambda: other.hear(one.site, encoded))
    gone, leaves = _clock(
        lambda: one.relay.receive(one.site.datagram(250, Command.BR_EXIT, "newcomer"), one.now)
    )
    return {
        "change, messages": len(tells),
        "change, bytes of one": len(encoded),
        "change, bytes in the fleet": len(encoded) * len(tells),
        "change, ms where it is heard": _ms(hears),
        "change, ms to encode (once for all)": _ms(writes),
        "change, ms at one peer": _ms(takes),
        "change, ms of work in the fleet": _ms(hears + writes + takes * len(tells)),
        "change, datagrams of one peer": sum(isinstance(output, Transmit) for output in outputs),
        "exit, messages": sum(isinstance(output, Tell) for output in gone),
        "exit, ms where it is heard": _ms(leaves),
    }


class Site:
    """One network with a relay and its users: what stands in for a relay that is not real."""

    def __init__(self, n: int, users: int) -> None:
        chance = random.Random(n)
        self.front = f"10.{n // 250}.{n % 250}"
        self.id = sha256(b"relay %d" % n).hexdigest()
        self.network = f"{self.front}.0/24"
        self.hosts = range(10, 10 + users)
        self.names = {host: f"{chance.randbytes(8).hex()}" for host in (*self.hosts, 250)}
        self.copy = Copy()
        for host in self.hosts:
            self.copy.put(self.row(host))
        self.reach = Reach((self.network,), (), (), True)

    def row(self, host: int, nick: str = "") -> Row:
        """A user, with the fingerprint of a key in its name."""
        name = self.names[host]
        return Row(
            logon=f"user{host}-<{name}>",
            host=f"DESKTOP-{name[:7].upper()}",
            nick=nick or f"User {host} of {self.front}",
            group="Sales",
            version=b"1",
            options=OPTIONS,
            parts=b"",
            line=LINE,
            charset="cp932",
            address=f"{self.front}.{host}",
            port=2425,
            number=1_700_000_000 + host,
            claim=1,
        )

    def datagram(self, host: int, command: int, nick: str = "") -> Datagram:
        """What that user broadcasts."""
        row = self.row(host, nick)
        lines = f"\nUN:{row.logon}\nHN:{row.host}\nNN:{row.nick}\nGN:{row.group}\n{LINE}"
        text = f"1:{row.number}:{row.logon}:{row.host}:{command | OPTIONS}:{row.nick}\0{row.group}\0{lines}"
        return Datagram(text.encode("cp932"), row.address, row.port, 2, True, 64)

    def answer(self, message: PeerMessage) -> Iterable[PeerMessage]:
        """As a relay does that has nothing new."""
        if isinstance(message, Marks):
            differing = self.copy.differing(message)
            lacking = [row for n in differing if not message.marks[n] for row in self.copy.bucket(n)]
            for start in range(0, len(lacking), TOGETHER):
                yield Changes(tuple(lacking[start : start + TOGETHER]), ())
            for n in differing:
                if message.marks[n]:
                    yield Rows(n, self.copy.bucket(n))
            yield self.copy.digest()


class Real:
    """A relay that holds everything."""

    def __init__(self, sites: list[Site], n: int) -> None:
        self.site = sites[n]
        self.others = [site for site in sites if site is not self.site]
        self.now = 1000.0
        front = self.site.front
        interface = Interface(2, "eth0", f"{front}.2", self.site.network, f"{front}.255")
        self.relay = Relay(
            Settings(name=f"r{n}", sync_every=ROUND, announce_every=NEVER, silent_after=NEVER),
            [interface],
            hostname=f"r{n}",
            number=1_700_000_000,
            random=random.Random(n),
            can_speak=True,
            now=self.now,
        )
        self.relay.enlist(self.site.id, {site.id: site.front for site in self.others}, self.now)
        self.relay.start(self.now)
        for host in self.site.hosts:
            self.relay.receive(self.site.datagram(host, Command.BR_ENTRY), self.now)

    def hear(self, site: Site, payload: bytes) -> list[Output]:
        """One frame of a peer."""
        return self.relay.hear(site.id, cast("PeerMessage", decode(payload)), self.now)

    def wait(self, seconds: float) -> list[Output]:
        """Let time pass."""
        outputs: list[Output] = []
        end = self.now + seconds
        while (due := self.relay.next_due()) <= end:
            self.now = max(due, self.now + 0.001)
            outputs += self.relay.tick(self.now)
        self.now = end
        return outputs

    def settle(self) -> list[Output]:
        """Until everything is announced."""
        outputs = self.wait(10.0)
        while self.relay.snapshot(self.now).waiting:
            outputs += self.wait(10.0)
        return outputs

    def meet(self) -> dict[str, Any]:
        """All links come up, and everything is told. Messages and bytes of one direction of one link."""
        self.wait(10.0)
        messages, size, seconds = 0, 0, 0.0
        for site in self.others:
            outputs, took = _clock(partial(self.relay.linked, site.id, self.now))
            seconds += took
            waiting: deque[PeerMessage] = deque((site.reach, site.copy.digest()))
            while waiting:
                payload = encode(waiting.popleft())
                messages += 1
                size += len(payload)
                outputs, took = _clock(partial(self.hear, site, payload))
                seconds += took
                for output in outputs:
                    if isinstance(output, Tell) and output.peer == site.id:
                        waiting += site.answer(output.message)
        ticks, took = _clock(self.settle)
        per_link = max(1, len(self.others))
        return {
            "meeting, messages of a link one way": round(messages / per_link, 1),
            "meeting, bytes of a link one way": round(size / per_link),
            "meeting, ms at one relay to hear all": _ms(seconds),
            "meeting, ms at one relay to announce all": _ms(took),
            "meeting, datagrams said": sum(isinstance(output, Transmit) for output in ticks),
        }

    def round(self) -> dict[str, Any]:
        """One digest to each peer and one from each, all equal: what happens every two hours."""
        said, sends = _clock(lambda: self.wait(1.1 * ROUND))
        mine = [output.message for output in said if isinstance(output, Tell)]
        assert len(mine) >= len(self.others)
        assert all(isinstance(message, Digest) for message in mine)
        digests = [(site, encode(site.copy.digest())) for site in self.others]

        def take() -> list[Output]:
            return [output for site, payload in digests for output in self.hear(site, payload)]

        answers, takes = _clock(take)
        assert not [output for output in answers if isinstance(output, Tell)]
        relays = len(self.others) + 1
        size = len(encode(mine[0]))
        return {
            "round, messages of a relay": len(mine),
            "round, messages in the fleet": len(mine) * relays,
            "round, bytes of one": size,
            "round, bytes in the fleet": size * len(mine) * relays,
            "round, ms at one relay": _ms(sends + takes),
            "round, s of work in the fleet": round((sends + takes) * relays, 1),
        }

    def idle(self) -> dict[str, Any]:
        """What it costs that there are so many, while nothing changes."""
        again = self.site.datagram(self.site.hosts[0], Command.BR_ABSENCE)
        self.relay.receive(again, self.now)
        times = 200
        _, takes = _clock(lambda: [self.relay.receive(again, self.now + n) for n in range(times)])
        _, looks = _clock(lambda: [self.relay.next_due() for _ in range(times)])
        _, hour = _clock(lambda: self.wait(3600.0))
        return {
            "idle, us for a datagram that says nothing new": round(takes / times * 1e6, 1),
            "idle, us to find the next due time": round(looks / times * 1e6, 1),
            "idle, ms of work in an hour": _ms(hour),
        }


def _clock(call: Callable[[], Any]) -> tuple[Any, float]:
    begun = time.perf_counter()
    result = call()
    return result, time.perf_counter() - begun


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


def _resident() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    return 0


if __name__ == "__main__":
    main()
