"""Probes against a real kernel: two hosts, two routers between them, and every fault that a probe has a word for.

near 10.91.1.2 -- 10.91.1.1 r1 10.91.2.1 -- 10.91.2.2 r2 10.91.3.1 -- 10.91.3.2 far
"""

from __future__ import annotations

import json
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio

from camrelay.daemon.probes import arp, echo, hops, mtu, tcp, ways
from tests.netns import Namespace, address, bridge, namespaces, route, veth

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from camrelay.trace.facts import Fact

pytestmark = pytest.mark.interop

FAR = "10.91.3.2"
PORT = 2425
PAYLOAD = b"harmless"
# Linux tells few errors at once (icmp_ratelimit); the tests that are not about that ask more.
TALKATIVE = "net.ipv4.icmp_ratelimit"


class Line:
    """The hosts and routers of the picture above."""

    def __init__(self, near: Namespace, r1: Namespace, r2: Namespace, far: Namespace) -> None:
        self.near, self.r1, self.r2, self.far = near, r1, r2, far
        veth(near, "eth0", r1, "left")
        veth(r1, "right", r2, "left")
        veth(r2, "right", far, "eth0")
        for box, interface, where in (
            (near, "eth0", "10.91.1.2/24"),
            (r1, "left", "10.91.1.1/24"),
            (r1, "right", "10.91.2.1/24"),
            (r2, "left", "10.91.2.2/24"),
            (r2, "right", "10.91.3.1/24"),
            (far, "eth0", "10.91.3.2/24"),
        ):
            address(box, interface, where)
        route(near, "default", "10.91.1.1")
        route(far, "default", "10.91.3.1")
        route(r1, "10.91.3.0/24", "10.91.2.2")
        route(r2, "10.91.1.0/24", "10.91.2.1")
        for router in (r1, r2):
            router.forward()
        for box in (r1, r2, far):
            box.sysctl(TALKATIVE, 0)

    def rule(self, box: Namespace, hook: str, *rules: str) -> None:
        """nft rules in a chain of this hook."""
        lines = [f"add table ip t; add chain ip t {hook} {{ type filter hook {hook} priority 0; }}"]
        lines += [f"add rule ip t {hook} {rule}" for rule in rules]
        box.run("nft", "\n".join(lines))

    def ask(self, question: Callable[..., Awaitable[Any]], *args: Any, **more: Any) -> Any:
        """Run the probe at ``near``."""
        return self.near.call(trio.run, partial(question, *args, **more))

    def walk(self, to: str = FAR, port: int = PORT) -> hops.Walk:
        """Along UDP."""
        walked: hops.Walk = self.ask(hops.walk, to, port, PAYLOAD)
        return walked


@pytest.fixture
def probing() -> Iterator[Line]:
    with namespaces("prb", "near", "r1", "r2", "far") as (near, r1, r2, far):
        yield Line(near, r1, r2, far)


def said(fact: Fact | None) -> tuple[str, dict[str, Any]]:
    assert fact is not None
    return fact.outcome, fact.detail


def listening(box: Namespace, answer: bool = False) -> None:
    """UDP and TCP 2425 are taken there; with ``answer`` every datagram is answered."""
    program = (
        "import socket,threading\n"
        "u=socket.socket(socket.AF_INET,socket.SOCK_DGRAM);u.bind(('',2425))\n"
        "t=socket.create_server(('',2425))\n"
        "print('ready',flush=True)\n"
        "while True:\n"
        " d,a=u.recvfrom(65536)\n"
        f" if {answer}: u.sendto(b'here',a)\n"
    )
    process = box.start(sys.executable, "-c", program, stdout=-1, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"


def test_healthy(probing: Line) -> None:
    listening(probing.far, answer=True)
    routed = ways.Way("", False, 0, "eth0", "10.91.1.2", "10.91.1.1", "0.0.0.0/0")
    assert probing.near.call(ways.way, FAR)._replace(number=0) == routed
    outcome, detail = said(probing.near.call(ways.route_fact, FAR))
    assert (outcome, detail["gateway"]) == ("routed", "10.91.1.1")
    outcome, detail = said(probing.ask(ways.neighbour_fact, FAR))
    assert (outcome, detail["address"]) == ("resolved", "10.91.1.1")
    assert detail["mac"] == mac(probing.r1, "left")
    outcome, detail = said(probing.ask(echo.icmp_fact, FAR))
    assert (outcome, detail["ttl"], detail["lost"]) == ("answered", 62, 0)
    outcome, detail = said(probing.ask(tcp.tcp_fact, FAR, PORT))
    assert outcome == "open"
    walked = probing.walk()
    assert walked.answered
    assert hops.udp_fact(walked) is None
    outcome, detail = said(hops.path_fact(walked))
    assert (outcome, detail["hops"]) == ("reaches", ["10.91.1.1", "10.91.2.2"])
    assert said(probing.ask(mtu.mtu_fact, FAR, PORT, bytes)) == ("full", {"mtu": 1500})


def mac(box: Namespace, interface: str) -> str:
    return box.ip("-brief", "link", "show", "dev", interface).split()[2]


def test_nothing_listens(probing: Line) -> None:
    walked = probing.walk()
    assert said(hops.udp_fact(walked)) == ("refused", {"by": FAR})
    assert hops.path_fact(walked).outcome == "reaches"
    assert said(probing.ask(tcp.tcp_fact, FAR, PORT)) == ("refused", {"port": PORT, "by": FAR})
    assert said(probing.ask(mtu.mtu_fact, FAR, PORT, bytes)) == ("full", {"mtu": 1500})


def test_neighbour(probing: Line) -> None:
    outcome, detail = said(probing.near.call(ways.route_fact, "10.91.1.1"))
    assert (outcome, detail["network"], detail["source"]) == ("on-link", "10.91.1.0/24", "10.91.1.2")
    assert said(probing.ask(ways.neighbour_fact, "10.91.1.1"))[1]["mac"] == mac(probing.r1, "left")
    assert said(hops.path_fact(probing.walk("10.91.1.1")))[0] == "direct"


def test_dead_host_on_our_wire(probing: Line) -> None:
    nobody = {"by": "10.91.1.2", "kind": "host"}
    answers = probing.ask(together, "10.91.1.77")
    assert said(answers["neighbour"])[0] == "unresolved"
    assert said(answers["icmp"]) == ("unreachable", nobody)
    assert said(answers["tcp"]) == ("unreachable", {"port": PORT, **nobody})
    assert said(answers["udp"]) == ("unreachable", nobody)
    assert said(answers["path"])[0] == "direct"
    assert all(fact.seconds < 5 for fact in answers.values())


def test_dead_host_behind_routers(probing: Line) -> None:
    nobody = {"by": "10.91.2.2", "kind": "host"}
    answers = probing.ask(together, "10.91.3.77")
    assert said(answers["neighbour"])[0] == "resolved"
    assert said(answers["icmp"]) == ("unreachable", nobody)
    assert said(answers["tcp"]) == ("unreachable", {"port": PORT, **nobody})
    assert said(answers["udp"]) == ("unreachable", nobody)
    outcome, detail = said(answers["path"])
    assert (outcome, detail["last"], detail["hops"]) == ("stops", "10.91.2.2", ["10.91.1.1", "10.91.2.2"])


async def together(to: str) -> dict[str, Fact]:
    """All at once, as a trace does it: they must not take each other's errors."""
    found: dict[str, Fact] = {}

    async def keep(question: Awaitable[Fact]) -> None:
        fact = await question
        found[fact.check] = fact

    async def walk() -> None:
        walked = await hops.walk(to, PORT, PAYLOAD)
        found["path"] = hops.path_fact(walked)
        if (fact := hops.udp_fact(walked)) is not None:
            found["udp"] = fact

    async with trio.open_nursery() as nursery:
        nursery.start_soon(walk)
        for question in (tcp.tcp_fact(to, PORT), ways.neighbour_fact(to), echo.icmp_fact(to)):
            nursery.start_soon(keep, question)
    return found


def test_a_router_that_tells_few_errors_still_tells_each_probe(probing: Line) -> None:
    probing.r1.sysctl(TALKATIVE, 1000)
    answers = probing.ask(together, "10.99.9.9")  # where r1 knows no way
    for check in ("icmp", "tcp", "udp"):
        outcome, detail = said(answers[check])
        assert (outcome, detail["by"], detail["kind"]) == ("unreachable", "10.91.1.1", "net")
    assert said(answers["path"])[1]["last"] == "10.91.1.1"


def test_no_route_of_our_own(probing: Line) -> None:
    probing.near.ip("route", "delete", "default")
    answers = probing.ask(together, FAR)
    assert said(probing.near.call(ways.route_fact, FAR)) == ("none", {"error": "no route leads there"})
    assert answers["path"].outcome == answers["neighbour"].outcome == "not-checked"
    assert said(answers["tcp"])[1]["kind"] == "net"
    assert said(probing.ask(mtu.mtu_fact, FAR, PORT, bytes))[0] == "not-checked"


@pytest.mark.parametrize("kind", ["unreachable", "prohibit", "blackhole"])
def test_a_route_that_forbids(probing: Line, kind: str) -> None:
    probing.near.ip("route", "add", kind, "10.91.3.0/24")
    outcome, detail = said(probing.near.call(ways.route_fact, FAR))
    assert (outcome, "forbids" in detail["error"]) == ("none", True)
    assert probing.ask(together, FAR)["path"].outcome == "not-checked"


def test_a_tunnel_has_no_neighbours(probing: Line) -> None:
    probing.near.ip("tuntap", "add", "dev", "tun7", "mode", "tun")
    probing.near.ip("address", "add", "10.95.0.1/24", "dev", "tun7")
    probing.near.ip("link", "set", "dev", "tun7", "up")
    outcome, detail = said(probing.near.call(ways.route_fact, "10.95.0.2"))
    assert (outcome, detail["gateway"]) == ("routed", "tun7")
    assert said(probing.ask(ways.neighbour_fact, "10.95.0.2"))[0] == "not-checked"


def test_the_hosts_firewall_drops(probing: Line) -> None:
    listening(probing.far)
    probing.rule(probing.far, "input", "udp dport 2425 drop", "tcp dport 2425 drop")
    walked = probing.walk()
    assert hops.udp_fact(walked) is None
    outcome, detail = said(hops.path_fact(walked))
    assert (outcome, detail["last"], walked.seconds < 8) == ("stops", "10.91.2.2", True)
    other = probing.walk(port=33434)
    assert other.arrived
    assert hops.path_fact(walked, other=other).outcome == "stops", (
        "which may be the router's doing or the host's"
    )
    assert said(probing.ask(tcp.tcp_fact, FAR, PORT)) == ("silent", {"port": PORT})
    assert said(probing.ask(echo.icmp_fact, FAR))[0] == "answered"


def test_a_silent_host_that_is_known_to_answer_is_reached(probing: Line) -> None:
    listening(probing.far)
    walked = probing.ask(hops.walk, FAR, PORT, PAYLOAD, patience=0)
    assert walked.seconds < 3
    assert hops.path_fact(walked, answers=True).outcome == "reaches"


def test_a_router_drops_this_port_only(probing: Line) -> None:
    listening(probing.far)
    probing.rule(probing.r1, "forward", "udp dport 2425 drop")
    fact = hops.path_fact(probing.walk(), other=probing.walk(port=33434))
    outcome, detail = said(fact)
    assert (outcome, detail["last"], detail["next"]) == ("filtered", "10.91.1.1", "10.91.2.2")
    assert said(probing.ask(tcp.tcp_fact, FAR, PORT))[0] == "open"


def test_a_router_prohibits(probing: Line) -> None:
    probing.rule(probing.r2, "forward", "reject with icmp type admin-prohibited")
    router = {"by": "10.91.2.2"}
    answers = probing.ask(together, FAR)
    assert said(answers["udp"]) == ("prohibited", router)
    assert said(answers["icmp"]) == ("prohibited", router)
    assert said(answers["tcp"]) == ("prohibited", {"port": PORT, **router})
    outcome, detail = said(answers["path"])
    assert (outcome, detail["last"]) == ("stops", "10.91.2.2")


def test_our_own_firewall_prohibits(probing: Line) -> None:
    probing.rule(probing.near, "output", "udp dport 2425 drop")
    walked = probing.walk()
    assert said(hops.udp_fact(walked)) == ("prohibited", {"by": "10.91.1.2"})
    assert said(hops.path_fact(walked))[0] == "not-checked"


def test_a_silent_router_is_passed(probing: Line) -> None:
    probing.rule(probing.r1, "output", "icmp type time-exceeded drop")
    outcome, detail = said(hops.path_fact(probing.walk()))
    assert (outcome, detail["hops"]) == ("reaches", ["*", "10.91.2.2"])


def test_a_loop(probing: Line) -> None:
    probing.r2.ip("route", "add", FAR, "via", "10.91.2.1")
    answers = probing.ask(together, FAR)
    outcome, detail = said(answers["path"])
    assert (outcome, detail["hops"]) == ("loops", ["10.91.1.1", "10.91.2.2", "10.91.1.1"])
    assert said(answers["icmp"])[0] == "unreachable"


def test_strict_reverse_path_check_is_silence(probing: Line) -> None:
    probing.r2.ip("route", "delete", "10.91.1.0/24")
    probing.r2.ip("route", "add", "10.91.1.0/24", "via", FAR)
    probing.r2.rp_filter(1)
    walked = probing.walk()
    assert (walked.routers, hops.path_fact(walked).outcome) == (["10.91.1.1"], "stops")


def small_link(probing: Line) -> None:
    for box, interface in ((probing.r1, "right"), (probing.r2, "left")):
        box.ip("link", "set", "dev", interface, "mtu", "1400")


def test_a_smaller_link_names_its_mtu(probing: Line) -> None:
    small_link(probing)
    assert said(probing.ask(mtu.mtu_fact, FAR, PORT, bytes)) == ("smaller", {"mtu": 1400, "by": "10.91.1.1"})


def test_a_smaller_link_is_known_even_if_the_host_is_silent(probing: Line) -> None:
    small_link(probing)
    probing.rule(probing.far, "input", "drop")
    assert said(probing.ask(mtu.mtu_fact, FAR, PORT, bytes)) == ("smaller", {"mtu": 1400, "by": "10.91.1.1"})


def test_a_black_hole(probing: Line) -> None:
    small_link(probing)
    probing.rule(probing.r1, "output", "icmp type destination-unreachable drop")
    fact = probing.ask(mtu.mtu_fact, FAR, PORT, bytes)
    assert said(fact) == ("black-hole", {"passes": 1400, "lost": 1454})
    assert fact.seconds < 10


def test_sizes_between_relays(probing: Line) -> None:
    small_link(probing)
    probing.rule(probing.r1, "output", "icmp type destination-unreachable drop")
    listening(probing.far)
    sent = probing.ask(mtu.send_sizes, FAR, PORT, bytes)
    assert (sent.sizes, sent.errors, sent.own) == (set(mtu.SIZES), [], 1500)
    arrived = {size for size in mtu.SIZES if size <= 1400}
    assert mtu.mtu_from(sent, arrived, "mtu-out").outcome == "black-hole"


def test_our_own_interface_is_small(probing: Line) -> None:
    probing.near.ip("link", "set", "dev", "eth0", "mtu", "1420")
    assert said(probing.ask(mtu.mtu_fact, FAR, PORT, bytes)) == ("full", {"mtu": 1420})


AS_NOBODY = """
import json, os, sys, trio
from camrelay.daemon.probes import arp, echo, hops, mtu, tcp
async def all():
    with arp.arp_watch("eth0", "10.91.1.1") as watch:
        facts = [await watch.fact()]
    facts.append(await echo.icmp_fact(sys.argv[1]))
    facts.append(await echo.icmp_fact(sys.argv[1], kinds=(), program="no-such-program"))
    facts.append(await tcp.tcp_fact(sys.argv[1], 2425))
    facts.append(hops.path_fact(await hops.walk(sys.argv[1], 2425, b"harmless")))
    facts.append(await mtu.mtu_fact(sys.argv[1], 2425, bytes))
    print(json.dumps([[fact.check, fact.outcome, fact.detail] for fact in facts]))
trio.run(all)
"""


@pytest.mark.parametrize("groups", ["1 0", "0 2147483647"], ids=["ping program", "datagram socket"])
def test_without_any_privilege(probing: Line, groups: str) -> None:
    probing.near.sysctl("net.ipv4.ping_group_range", groups)
    words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    if groups != "1 0":
        words += ["--no-new-privs", "--bounding-set=-all"]
    done = probing.near.run(*words, sys.executable, "-c", AS_NOBODY, FAR)
    facts = {check: (outcome, detail) for check, outcome, detail in json.loads(done.stdout)[:2]}
    assert facts["arp"][0] == "not-checked"
    assert "CAP_NET_RAW" in facts["arp"][1]["why"]
    assert facts["icmp"][0] == "answered"
    assert (facts["icmp"][1]["ttl"], facts["icmp"][1]["lost"]) == (62, 0)
    outcomes = [outcome for _, outcome, _ in json.loads(done.stdout)[2:]]
    assert outcomes == ["not-checked", "refused", "reaches", "full"]


def test_the_ping_program_may_be_forbidden_to_run(probing: Line) -> None:
    words = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "--no-new-privs",
        "--bounding-set=-all",
    ]
    done = probing.near.run(*words, sys.executable, "-c", AS_NOBODY, FAR)
    _, (_, outcome, detail), *_ = json.loads(done.stdout)
    assert (outcome, "ping_group_range" in detail["why"]) == ("not-checked", True)


class Wire:
    """``near``, a host and a twin on one switch with a router, and ``far`` behind that."""

    def __init__(self, *boxes: Namespace) -> None:
        self.near, self.switch, self.host, self.twin, self.router, self.far = boxes
        for box in (self.near, self.host, self.twin, self.router):
            veth(self.switch, box.name[-4:], box, "eth0")
        bridge(self.switch, "br0", *(box.name[-4:] for box in (self.near, self.host, self.twin, self.router)))
        veth(self.router, "eth1", self.far, "eth0")
        for box, interface, where in (
            (self.near, "eth0", "10.92.1.2/24"),
            (self.router, "eth0", "10.92.1.1/24"),
            (self.router, "eth1", "10.92.2.1/24"),
            (self.far, "eth0", "10.92.2.2/24"),
        ):
            address(box, interface, where)
        route(self.near, "default", "10.92.1.1")
        route(self.far, "default", "10.92.2.1")
        self.router.forward()

    def place(self, where: str, gateway: str = "10.92.1.1") -> None:
        """The host has this address and gateway."""
        address(self.host, "eth0", where)
        if gateway:
            route(self.host, "default", gateway)

    def fact(self, to: str = "10.92.1.11", inside: Callable[[], object] = lambda: None) -> Fact:
        async def watch() -> Fact:
            with arp.arp_watch("eth0", to, ["10.92.2.2"]) as ears:
                inside()
                return await ears.fact()

        found: Fact = self.near.call(trio.run, watch)
        assert found.seconds < 5
        return found


@pytest.fixture
def wire(probing: Line) -> Iterator[Wire]:
    with namespaces("prw", "near", "swit", "host", "twin", "rout", "farr") as boxes:
        yield Wire(*boxes)


def test_one_host_answers(wire: Wire) -> None:
    wire.place("10.92.1.11/24")
    assert said(wire.fact()) == ("one", {"mac": mac(wire.host, "eth0")})


def test_two_hosts_with_one_address(wire: Wire) -> None:
    wire.place("10.92.1.11/24")
    address(wire.twin, "eth0", "10.92.1.11/24")
    outcome, detail = said(wire.fact())
    assert outcome == "several"
    assert detail["macs"].split(", ") == sorted([mac(wire.host, "eth0"), mac(wire.twin, "eth0")])


def test_nobody_answers(wire: Wire) -> None:
    assert said(wire.fact("10.92.1.99")) == ("silent", {})


def test_a_mask_that_is_too_wide_shows_when_lured(wire: Wire) -> None:
    wire.place("10.92.1.11/16")
    outcome, detail = said(wire.fact())
    assert (outcome, detail["asked"]) == ("asks-for-far", "10.92.2.2")


def test_a_mask_that_is_too_wide_shows_by_itself(wire: Wire) -> None:
    wire.place("10.92.1.11/16")
    outcome, detail = said(
        wire.fact(inside=lambda: wire.host.run("ping", "-c1", "-W1", "10.92.7.7", check=False))
    )
    assert (outcome, detail["asked"]) == ("asks-for-far", "10.92.7.7")


def test_a_gateway_that_is_not_there(wire: Wire) -> None:
    wire.place("10.92.1.11/24", gateway="10.92.1.77")
    outcome, detail = said(wire.fact())
    assert (outcome, detail["asked"]) == ("asks-in-vain", "10.92.1.77")


@pytest.mark.parametrize(("where", "gateway"), [("10.92.1.11/24", ""), ("10.92.1.11/28", "10.92.1.1")])
def test_what_arp_cannot_show_is_no_fault(wire: Wire, where: str, gateway: str) -> None:
    wire.place(where, gateway)
    assert said(wire.fact())[0] == "one"


def test_behind_a_router_there_is_no_arp(wire: Wire) -> None:
    assert said(wire.fact("10.92.2.2"))[0] == "not-checked"
