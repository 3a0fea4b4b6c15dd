"""The laboratory: three wires, a router that forwards no broadcast, and boxes for clients and relays.

                    cri-..-router  (IPv4 forwarding, no broadcast, rp_filter 0 or 1)
          .1.1 .9.1 |              .2.1 |              .3.1 |
    wire a ---------+----    wire b ----+----    wire c ----+----   one bridge each, in its own namespace
      |  |  |  |  |  |         |  |  |  |          |
     a11 a12 a13 |  |  |      b11 b12 |  |        c11               clients: 10.77.WIRE.NUMBER
     s11         |  |  |              |  |                          10.77.9.11: a second network on wire a
                 ra ra2 |             rb |                          relay boxes: .1.2, .1.3 and .2.2
                        +---- dual ------+                          one with two interfaces: .1.4 and .2.4

Every box is a network namespace with the router as its only gateway; programs in it get a host name and HOME
of their own. The neighbour (ARP) table is one for the whole kernel: whoever sweeps here names few addresses.
"""

from __future__ import annotations

import ipaddress
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tests.netns import Namespace, address, bridge, namespaces, route, veth

from .capture import Capture, open_tap

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

PREFIX = "cri"
WIRES = {"a": "10.77.1", "b": "10.77.2", "c": "10.77.3"}
SECOND_NETWORK = "10.77.9"  # lives on wire a as well
BOXES = {
    "a11": [("a", "10.77.1.11")],
    "a12": [("a", "10.77.1.12")],
    "a13": [("a", "10.77.1.13")],
    "s11": [("a", "10.77.9.11")],
    "ra": [("a", "10.77.1.2")],
    "ra2": [("a", "10.77.1.3")],
    "b11": [("b", "10.77.2.11")],
    "b12": [("b", "10.77.2.12")],
    "rb": [("b", "10.77.2.2")],
    "dual": [("a", "10.77.1.4"), ("b", "10.77.2.4")],
    "c11": [("c", "10.77.3.11")],
}


def wait_until(predicate: Callable[[], T], timeout: float, what: str) -> T:
    """Asks every 10 ms until the answer is true, and returns it; AssertionError with ``what`` otherwise."""
    end = time.monotonic() + timeout
    while not (answer := predicate()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout:g} s: {what}")
        time.sleep(0.01)
    return answer


def stays(predicate: Callable[[], object], seconds: float, what: str) -> None:
    """The opposite: an AssertionError as soon as the answer is false within so many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert predicate(), f"did not stay so for {seconds:g} s: {what}"
        time.sleep(0.02)


class Box:
    """One machine: ``address`` is that of its first interface, eth0."""

    def __init__(self, name: str, namespace: Namespace, address: str) -> None:
        self.name = name
        self.namespace = namespace
        self.address = address
        self.macs: set[str] = set()
        self.interfaces: list[str] = []

    def command(self, *words: str, host: str = "") -> list[str]:
        """The words to run something in this box, under a host name of its own (h-NAME)."""
        script = f'hostname "{host or "h-" + self.name}" && exec "$@"'
        return self.namespace.command("unshare", "--uts", "sh", "-c", script, "sh", *words)

    @property
    def gateway(self) -> str:
        return self.address.rsplit(".", 1)[0] + ".1"

    def readdress(self, new: str) -> None:
        """Another address on eth0, same cable."""
        self.namespace.ip("address", "flush", "dev", "eth0")
        self.address = new
        address(self.namespace, "eth0", f"{new}/24")
        route(self.namespace, "default", self.gateway)

    def cable(self, *, plugged: bool) -> None:
        """Pull the cable of eth0, or put it back: addresses stay, the kernel forgets the routes."""
        self.namespace.ip("link", "set", "eth0", "up" if plugged else "down")
        if plugged:
            self.namespace.ip("route", "replace", "default", "via", self.gateway)

    def connect(
        self,
        interface: str,
        switch: Namespace,
        *addresses: str,
        bridge: str = "br0",
        mask: int = 24,
        mac: str = "",
    ) -> None:
        """A cable into the bridge of a wire. The card's address is made from the first one, if none is given."""
        port = f"{self.name}-{interface[-1]}"
        veth(self.namespace, interface, switch, port)
        switch.ip("link", "set", port, "master", bridge)
        packed = ipaddress.IPv4Address(addresses[0]).packed
        mac = mac or "02:00:" + ":".join(f"{byte:02x}" for byte in packed)
        self.namespace.ip("link", "set", interface, "address", mac)
        self.macs.add(mac)
        self.interfaces.append(interface)
        for each in addresses:
            address(self.namespace, interface, f"{each}/{mask}")


class Network:
    """All of the drawing above, once."""

    def __init__(self, rp_filter: int) -> None:
        self.rp_filter = rp_filter
        remove_leftovers(PREFIX)
        with ExitStack() as stack:
            switches = dict(zip(WIRES, stack.enter_context(namespaces(PREFIX, *WIRES)), strict=True))
            boxes = stack.enter_context(namespaces(PREFIX, *BOXES))
            (router,) = stack.enter_context(namespaces(PREFIX, "router"))
            self.router = Box("router", router, "10.77.1.1")
            self.boxes = {
                name: Box(name, space, ports[0][1])
                for (name, ports), space in zip(BOXES.items(), boxes, strict=True)
            }
            self.switches = switches
            for namespace in [*switches.values(), *boxes, router]:
                namespace.sysctl("net.ipv6.conf.all.disable_ipv6", 1)
            for switch in switches.values():
                bridge(switch, "br0")
            self._connect(switches)
            for namespace in [*boxes, router]:
                namespace.rp_filter(rp_filter)
            router.forward()  # and no broadcast: bc_forwarding is off by default
            names = {mac: box.name for box in [*self.boxes.values(), self.router] for mac in box.macs}
            self.capture = Capture({wire: switch.call(open_tap) for wire, switch in switches.items()}, names)
            stack.callback(self.capture.close)
            self.close = stack.pop_all().close

    def __getitem__(self, name: str) -> Box:
        return self.boxes[name]

    def _connect(self, switches: dict[str, Namespace]) -> None:
        for wire, network in WIRES.items():
            second = [f"{SECOND_NETWORK}.1"] if wire == "a" else []
            self.router.connect(f"eth-{wire}", switches[wire], f"{network}.1", *second)
        for box in self.boxes.values():
            for number, (wire, at) in enumerate(BOXES[box.name]):
                box.connect(f"eth{number}", switches[wire], at)
            route(box.namespace, "default", box.gateway)

    def restore(self) -> None:
        """As built: addresses, cables, and no memory of who was where."""
        for box in self.boxes.values():
            if box.address != BOXES[box.name][0][1]:
                box.readdress(BOXES[box.name][0][1])
        for box in [*self.boxes.values(), self.router]:
            box.namespace.ip("neigh", "flush", "all")


def remove_leftovers(prefix: str) -> None:
    """Namespaces of a test run that was killed; those of a running one stay."""
    for path in Path("/run/netns").glob(f"{prefix}-*"):
        pid = path.name.split("-")[1]
        if pid.isdigit() and not Path("/proc", pid).exists():
            subprocess.run(["ip", "netns", "delete", path.name], check=False)
