"""The scripted IP Messenger 4.99 (``tests/windows.py``) on a real socket: it alone answers GETLIST, GETINFO, GETPUBKEY.

It stands beside the real clients where only Windows answers, and goes no further: its rules are held against
recordings of the real program. Run as ``python -m tests.interop.windows_box NAME GROUP ADDRESS``; lines as
``iptux_client.cpp`` has them: {"do": "refresh" | "rename" | "exit"} in, listed, changed, gone, stopped out.
"""

from __future__ import annotations

import heapq
import json
import os
import random
import select
import socket
import sys
import time
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from tests.scripted import Sent
from tests.windows import Windows499

from .clients import Client

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.world import World

ROOT = Path(__file__).parents[2]
PORT = 2425
LONGEST = 65535  # bytes of one datagram, and of one request over TCP
REQUEST = 1.0  # seconds in which whoever connects must have said what it wants


class WindowsBox(Client):
    """IP Messenger 4.99 in a box, as the tests see it."""

    def words(self) -> Sequence[str]:
        return [sys.executable, "-m", "tests.interop.windows_box", self.name, self.group, self.address]

    def environment(self) -> dict[str, str]:
        return {**super().environment(), "PYTHONPATH": str(ROOT)}

    def rename(self, name: str) -> float:
        self.name = name
        return self.do("rename", name=name)


class Wire:
    """What ``World`` is to a scripted client, with real time and a real socket."""

    def __init__(self) -> None:
        self.nodes: dict[str, Any] = {}
        self.random = random.Random()
        self._heap: list[tuple[float, int, Callable[[], object]]] = []
        self._numbers = count()
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        self.udp.bind(("0.0.0.0", PORT))
        self.udp.setblocking(False)
        self.tcp = socket.create_server(("0.0.0.0", PORT))

    @property
    def now(self) -> float:
        return time.monotonic()

    def after(self, delay: float, what: Callable[[], object]) -> None:
        heapq.heappush(self._heap, (self.now + delay, next(self._numbers), what))

    def put(self, sent: Sent) -> None:
        with suppress(OSError):  # nobody there, or a firewall that says so: UDP does not care
            self.udp.sendto(sent.data, (sent.to, PORT))

    def due(self) -> float | None:
        """Seconds until the next of its times; runs those that are over."""
        while self._heap and self._heap[0][0] <= self.now:
            heapq.heappop(self._heap)[2]()
        return self._heap[0][0] - self.now if self._heap else None


def say(event: str, **what: object) -> None:
    print(json.dumps({"event": event, "at": time.monotonic(), **what}), flush=True)


def run(name: str, group: str, address: str) -> None:
    """Until "exit" or the end of the orders."""
    say("starting")
    wire = Wire()
    host = socket.gethostname()
    client = Windows499(cast("World", wire), address, name, f"win-{name}", host, group)
    client.start()
    say("started")
    shown: dict[str, str] = {}
    orders = True
    while orders or wire.due() is not None:
        wait = wire.due()
        sources: list[Any] = [wire.udp, wire.tcp, *([0] if orders else [])]
        ready, _, _ = select.select(sources, [], [], wait)
        if wire.udp in ready:
            _hear(wire, client)
        if wire.tcp in ready:
            _accept(wire, client)
        if 0 in ready:
            orders = _obey(client)
        shown = _show(shown, dict(client.listed))
    say("stopped")


def _hear(wire: Wire, client: Windows499) -> None:
    """All that came. Its own broadcasts it has taken down when it sent them."""
    while True:
        try:
            data, (source, _) = wire.udp.recvfrom(LONGEST)
        except BlockingIOError:
            return
        except OSError:  # what it sent earlier was refused
            continue
        if client.alive and source != client.address:
            client.receive(Sent(wire.now, source, source, client.address, data))


def _accept(wire: Wire, client: Windows499) -> None:
    line, (source, _) = wire.tcp.accept()
    with line, suppress(OSError):
        line.settimeout(REQUEST)
        data = b""
        while len(data) < LONGEST and (more := line.recv(LONGEST)):
            data += more
        client.accept(Sent(wire.now, source, source, client.address, data))


def _obey(client: Windows499) -> bool:
    """One order; False: there will be no more."""
    line = os.read(0, LONGEST).decode()
    for order in map(json.loads, line.splitlines()):
        if order["do"] == "exit":
            line = ""
        elif order["do"] == "refresh":
            client.refresh()
        elif order["do"] == "rename":
            client.rename(order["name"])
    if not line:
        client.exit()
    return bool(line)


def _show(before: dict[str, str], after: dict[str, str]) -> dict[str, str]:
    for address, nick in after.items():
        if address not in before:
            say("listed", address=address, name=nick)
        elif before[address] != nick:
            say("changed", address=address, name=nick)
    for address in before.keys() - after.keys():
        say("gone", address=address, name=before[address])
    return after


if __name__ == "__main__":
    run(*sys.argv[1:])
