"""The fault laboratory, built after its map (``faultmap.py``): wires, routers, machines, clients, all faults at once.

Faults are nft rules, routes and masks; nothing is pretended. Routers here do not limit their ICMP errors, since thirty
traces at once are the tests' doing, not an administrator's.
"""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from tests.netns import address, bridge, namespaces, route, veth

from .capture import Capture, open_tap
from .clients import Iptux, build_engine
from .faultmap import (
    BOXES,
    IN_CIRCLES,
    LINKS,
    NAT_ADDRESS,
    NETWORK,
    RELAYS,
    ROUTERS,
    RULES,
    SINCE_TODAY,
    SMALL_MTU,
    WIRES,
    Machine,
    names,
    place,
)
from .rig import Box, remove_leftovers
from .windows_box import WindowsBox

if TYPE_CHECKING:
    from tests.netns import Namespace

    from .clients import Client

PREFIX = "crt"
ETC = Path("/etc/netns")  # what `ip netns exec` lays over /etc


class Faults:
    """All of the drawing. ``faults["n21"]`` is a box, ``faults.clients["n21"]`` the program in it."""

    rp_filter = 0

    def __init__(self) -> None:
        remove_leftovers(PREFIX)
        for path in ETC.glob(f"{PREFIX}-*"):  # of a run that was killed: its namespaces are gone now
            if not Path("/run/netns", path.name).exists():
                shutil.rmtree(path)
        self.clients: dict[str, Client] = {}
        with ExitStack() as stack:
            (self.switch,) = stack.enter_context(namespaces(PREFIX, "switch"))
            routers = stack.enter_context(namespaces(PREFIX, *ROUTERS))
            boxes = stack.enter_context(namespaces(PREFIX, *BOXES, *RELAYS))
            for namespace in (self.switch, *routers, *boxes):
                namespace.sysctl("net.ipv6.conf.all.disable_ipv6", 1)
            self.routers = {
                name: Box(name, space, f"{NETWORK}.{WIRES[wires[0]]}.1")
                for (name, wires), space in zip(ROUTERS.items(), routers, strict=True)
            }
            self.boxes = {
                name: Box(name, space, place(name))
                for name, space in zip((*BOXES, *RELAYS), boxes, strict=True)
            }
            for wire in WIRES:
                bridge(self.switch, f"br-{wire}")
            for router, wires in ROUTERS.items():
                self._route(self.routers[router], wires)
            for box in self.boxes.values():
                self._connect(box)
            for name in RELAYS:
                stack.callback(shutil.rmtree, _etc(self.boxes[name].namespace))
            for name, rules in RULES.items():
                nft(self.switch if name == "switch" else self.routers[name].namespace, rules)
            everybody = [*self.boxes.values(), *self.routers.values()]
            macs = {mac: box.name for box in everybody for mac in box.macs}
            taps = {wire: self.switch.call(open_tap, f"br-{wire}") for wire in WIRES}
            self.capture = Capture(taps, macs)
            stack.callback(self.capture.close)
            stack.callback(self._close_clients)
            self.close = stack.pop_all().close

    def __getitem__(self, name: str) -> Box:
        return self.boxes[name]

    def _route(self, router: Box, wires: str) -> None:
        namespace = router.namespace
        for wire in wires:
            router.connect(f"eth-{wire}", self.switch, f"{NETWORK}.{WIRES[wire]}.1", bridge=f"br-{wire}")
        if router.name in LINKS:
            above = self.routers["gate" if router.name == "gq" else "core"]
            ends = [f"{NETWORK}.100.{LINKS[router.name] + end}" for end in (1, 2)]
            veth(above.namespace, router.name, namespace, above.name)
            address(above.namespace, router.name, f"{ends[0]}/30")
            address(namespace, above.name, f"{ends[1]}/30")
            route(namespace, "default", ends[0])
            for wire in wires.replace("x", ""):
                route(above.namespace, f"{NETWORK}.{WIRES[wire]}.0/24", ends[1])
            if router.name in ("gt", "gk"):
                above.namespace.ip("link", "set", router.name, "mtu", str(SMALL_MTU))
                namespace.ip("link", "set", above.name, "mtu", str(SMALL_MTU))
        if router.name in ("gate", "gq"):
            core = self.routers["core"].namespace
            there = {"gate": IN_CIRCLES, "gq": place("q11")}[router.name].rpartition(".")[0]
            route(core, f"{there}.0/24", NAT_ADDRESS)
        namespace.rp_filter(0)
        if "f" in wires:
            namespace.sysctl("net/ipv4/conf/eth-f/rp_filter", 1)
        namespace.sysctl("net.ipv4.icmp_ratelimit", 0)
        namespace.sysctl(
            "net.ipv4.conf.all.send_redirects", 0
        )  # as on most routers: h14 is not to learn better
        for wire in wires:
            namespace.sysctl(f"net/ipv4/conf/eth-{wire}/send_redirects", 0)
        namespace.forward()  # and no broadcast: bc_forwarding is off by default

    def _connect(self, box: Box) -> None:
        machine = BOXES.get(box.name, Machine())
        wire = box.name[1] if box.name in RELAYS else box.name[0]
        mac = "02:00:00:00:00:12" if machine.twin else ""
        box.connect("eth0", self.switch, box.address, bridge=f"br-{wire}", mask=machine.mask, mac=mac)
        box.namespace.rp_filter(0)
        route(box.namespace, "default", machine.gateway or box.gateway)
        if machine.rules:
            nft(box.namespace, machine.rules.replace("{network}", box.address.rpartition(".")[0]))

    def start_clients(self) -> None:
        """All programs, each under the name of its box, and until they are up; Windows first: it is to hear all."""
        build_engine()
        windows = [name for name, machine in BOXES.items() if machine.program == "windows"]
        self.clients |= {name: WindowsBox(self[name], name, "staff") for name in windows}
        for name in windows:
            self.clients[name].ready()
        for name, machine in BOXES.items():
            if machine.program == "iptux":
                pointed = [place("rh")] if machine.pointed else []
                self.clients[name] = Iptux(self[name], name, pointed_at=pointed)
        for client in self.clients.values():
            client.ready()

    def shut(self, shut: bool) -> None:
        """The fault of wire u, which came when rh knew its users already."""
        gate = self.routers["gate"].namespace
        gate.run("nft", "table ip today { }; delete table ip today")
        if shut:
            nft(gate, SINCE_TODAY)

    def refresh(self) -> None:
        """Everybody presses the button, so who came after them hears them, and those whom their settings name."""
        for client in self.clients.values():
            client.do("refresh")

    def _close_clients(self) -> None:
        for client in self.clients.values():
            client.close()


def nft(namespace: Namespace, rules: str) -> None:
    """In force when this returns."""
    namespace.run("nft", rules)


def _etc(namespace: Namespace) -> Path:
    """Names by file, no name server: nobody waits for one that is not there."""
    folder = ETC / namespace.name
    folder.mkdir(parents=True)
    (folder / "hosts").write_text(names())
    (folder / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    return folder
