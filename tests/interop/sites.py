"""The laboratory of a fleet: three sites, each with its own router, joined by lines that can be made bad.

             core (10.78.100.0/24, forwards)
        line 1 |    line 2 |    line 3 |          each a ``BadLine``: delay, loss, cut ...
            gate1       gate2       gate3         routers: no broadcast, rp_filter 0
          .1.1 |      .2.1 |      .3.1 |
    wire 1 ----+   wire 2 -+   wire 3 -+          one bridge each, in its own namespace
      r1  r1b        r2          r3               relay boxes: 10.78.SITE.2, and .1.3
      c11 c12 c13    c21 c22     c31 c32          client boxes: 10.78.SITE.11 and so on

Boxes, capture on the wires (not on the lines) and ``wait_until`` are those of ``rig.py``. What is on the lines is
read in ``core``, where every packet between two sites passes: ``backbone()``.
"""

from __future__ import annotations

import socket
import struct
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NamedTuple

from tests.netns import Namespace, address, bridge, namespaces, route

from .badline import bad_line
from .capture import BUFFER, SO_RCVBUFFORCE, Capture, open_tap
from .rig import Box, remove_leftovers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .badline import BadLine

PREFIX = "crf"
SITES = ("1", "2", "3")
NETWORK = "10.78"
BOXES = {
    "r1": "10.78.1.2",
    "r1b": "10.78.1.3",
    "r2": "10.78.2.2",
    "r3": "10.78.3.2",
    "c11": "10.78.1.11",
    "c12": "10.78.1.12",
    "c13": "10.78.1.13",
    "c21": "10.78.2.11",
    "c22": "10.78.2.12",
    "c31": "10.78.3.11",
    "c32": "10.78.3.12",
}
ETH_P_IP = 0x0800
TCP = 6
UDP = 17


class Passed(NamedTuple):
    """One packet between two sites."""

    source: str
    to: str
    protocol: int
    ports: tuple[int, int]
    data: bytes  # of TCP or UDP


class Sites:
    """All of the drawing above. ``lines["2"]`` is the line of site 2."""

    rp_filter = 0

    def __init__(self) -> None:
        remove_leftovers(PREFIX)
        with ExitStack() as stack:
            switches = stack.enter_context(namespaces(PREFIX, *(f"wire{site}" for site in SITES)))
            gates = stack.enter_context(namespaces(PREFIX, *(f"gate{site}" for site in SITES)))
            boxes = stack.enter_context(namespaces(PREFIX, *BOXES))
            (self.core,) = stack.enter_context(namespaces(PREFIX, "core"))
            for namespace in (*switches, *gates, *boxes, self.core):
                namespace.sysctl("net.ipv6.conf.all.disable_ipv6", 1)
            self.boxes = {
                name: Box(name, space, at) for (name, at), space in zip(BOXES.items(), boxes, strict=True)
            }
            self.gates = {
                site: Box(f"gate{site}", gate, f"{NETWORK}.{site}.1")
                for site, gate in zip(SITES, gates, strict=True)
            }
            wires = dict(zip(SITES, switches, strict=True))
            self._connect(wires)
            self.lines = {site: stack.enter_context(self._line(site)) for site in SITES}
            for gate in (*gates, self.core):
                gate.rp_filter(0)
                gate.forward()  # and no broadcast: bc_forwarding is off by default
            everybody = [*self.boxes.values(), *self.gates.values()]
            names = {mac: box.name for box in everybody for mac in box.macs}
            self.capture = Capture({site: wire.call(open_tap) for site, wire in wires.items()}, names)
            stack.callback(self.capture.close)
            self._backbone = stack.enter_context(self.core.call(_open_backbone))
            self.close = stack.pop_all().close

    def __getitem__(self, name: str) -> Box:
        return self.boxes[name]

    def _connect(self, wires: dict[str, Namespace]) -> None:
        for wire in wires.values():
            bridge(wire, "br0")
        for site, gate in self.gates.items():
            gate.connect("eth0", wires[site], gate.address)
        for box in self.boxes.values():
            box.connect("eth0", wires[site_of(box)], box.address)
            box.namespace.rp_filter(0)
            route(box.namespace, "default", box.gateway)

    @contextmanager
    def _line(self, site: str) -> Iterator[BadLine]:
        """Without ARP: the loss that a test asks for is to meet packets, not questions for addresses."""
        gate, name = self.gates[site].namespace, f"line{site}"
        at = [f"10.78.100.{4 * int(site) + end}" for end in (1, 2)]
        macs = [f"02:00:00:00:0{site}:0{end}" for end in (1, 2)]
        with bad_line(self.core, name, gate, name, seed=int(site)) as line:
            for namespace, here, mac in zip((self.core, gate), at, macs, strict=True):
                namespace.ip("link", "set", name, "address", mac)
                address(namespace, name, f"{here}/30")
            for namespace, there, mac in zip((gate, self.core), at, macs, strict=True):
                namespace.ip("neigh", "add", there, "lladdr", mac, "dev", name)
            route(gate, "default", at[0])
            route(self.core, f"{NETWORK}.{site}.0/24", at[1])
            yield line

    def backbone(self) -> Iterator[Passed]:
        """The packets that came from the sites since this was asked last."""
        while True:
            try:
                packet, where = self._backbone.recvfrom(65535)
            except BlockingIOError:
                return
            if where[2] == socket.PACKET_HOST and where[0].startswith("line") and packet[9] in (TCP, UDP):
                yield _parse(packet)

    def restore(self) -> None:
        """Lines without fault, cables plugged, and no memory of who was where or what passed."""
        for line in self.lines.values():
            line.perfect()
        for box in (*self.boxes.values(), *self.gates.values()):
            box.namespace.ip("neigh", "flush", "all")
        self.capture.forget()
        for _ in self.backbone():
            continue


def site_of(box: Box) -> str:
    return box.address.split(".")[2]


def _open_backbone() -> socket.socket:
    tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_IP))
    tap.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
    tap.setblocking(False)
    return tap


def _parse(packet: bytes) -> Passed:
    (length,) = struct.unpack_from("!H", packet, 2)
    segment = packet[(packet[0] & 15) * 4 : length]
    header = (segment[12] >> 4) * 4 if packet[9] == TCP else 8
    return Passed(
        source=socket.inet_ntoa(packet[12:16]),
        to=socket.inet_ntoa(packet[16:20]),
        protocol=packet[9],
        ports=struct.unpack_from("!HH", segment),
        data=segment[header:],
    )
