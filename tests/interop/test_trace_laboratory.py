"""The fault laboratory without any relay: each fault is there, by plain means, and disturbs no other."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from . import plainly
from .faultmap import BOXES, DEAD, IN_CIRCLES, NAT_ADDRESS, NETWORK, NO_ROUTE, SMALL_MTU, place
from .plainly import SILENT, Answer, Arp
from .rig import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .faults import Faults

pytestmark = pytest.mark.interop

LOOKER = "h17"  # no client runs there
LOOKER_BEYOND = "n24"
LONG = 3.6  # seconds: a router gives an address up after three questions
SHORT = 1.6  # Windows takes its time to answer
ANSWERED, OPEN = "answered", "open"

# What h17 sees of each: ping, UDP 2425, TCP 2425, does the question come to the wire of the box?
SEEN = {
    "h11": (True, ANSWERED, OPEN, True),
    "h14": (True, ANSWERED, OPEN, True),
    "h15": (True, ANSWERED, OPEN, True),
    "h18": (True, "silent", OPEN, True),
    "h19": (True, ANSWERED, OPEN, True),
    "h20": (False, "silent", "silent", True),
    "h21": (True, "silent", "silent", True),
    "h22": (True, ANSWERED, "silent", True),
    "m11": (True, ANSWERED, OPEN, True),
    "m12": (False, "silent", "silent", True),
    "m13": (False, "silent", "silent", True),
    "n11": (True, ANSWERED, OPEN, True),
    "n12": (True, ANSWERED, OPEN, True),
    "n21": (True, "silent", OPEN, True),
    "n22": (True, ANSWERED, "silent", True),
    "n23": (True, "silent", "silent", True),
    "n24": (True, "refused", "refused", True),
    "n26": (False, "silent", "silent", True),
    "m15": (False, "silent", "silent", True),
    "m14": (True, ANSWERED, OPEN, True),
    "u11": (True, "silent", OPEN, False),
    "u12": (True, "silent", OPEN, False),
    "p11": (True, "prohibited", "unreachable", False),
    "q11": (True, "silent", OPEN, False),
    "o11": (True, "silent", OPEN, True),
    "o19": (True, "silent", OPEN, True),
    "t11": (True, ANSWERED, OPEN, True),
    "k11": (True, ANSWERED, OPEN, True),
    "f11": (True, ANSWERED, OPEN, True),
    "x11": (False, "unreachable", "unreachable", False),
}
NOWHERE = {
    DEAD["on link"]: "unreachable",
    DEAD["behind a router"]: "unreachable",
    place("h16"): "unreachable",
    NO_ROUTE: "unreachable",
    IN_CIRCLES: "expired",
}


@dataclass
class Looked:
    """What one look from h17 has shown."""

    pings: dict[str, bool]
    udp: dict[str, Answer]
    tcp: dict[str, str]
    arrived: set[str]  # boxes on whose wire the question was


@pytest.fixture(scope="module")
def looked(faults: Faults) -> Looked:
    looker = faults[LOOKER].namespace
    faults.shut(True)
    faults.capture.forget()
    boxes = {place(name): name for name in SEEN}
    with ThreadPoolExecutor(len(boxes) + 2) as pool:
        udp = pool.submit(looker.call, plainly.ask, [*boxes, *NOWHERE], LONG)
        tcp = pool.submit(looker.call, plainly.dial, list(boxes), SHORT)
        ping = ["ping", "-c", "1", "-W", "1", "-q"]
        pings = {
            address: pool.submit(looker.run, *ping, address, check=False) for address in (*boxes, *NOWHERE)
        }
        seen = udp.result()
        return Looked(
            pings={boxes.get(at, at): not ran.result().returncode for at, ran in pings.items()},
            udp={boxes.get(at, at): answer for at, answer in seen.items()},
            tcp={boxes[at]: what for at, what in tcp.result().items()},
            arrived={
                boxes[one.to]
                for one in faults.capture.all(source=place(LOOKER), mode=plainly.BR_ENTRY)
                if one.to in boxes and boxes[one.to].startswith(one.wire)
            },
        )


@pytest.mark.parametrize("name", SEEN)
def test_machine_is_seen_as_it_is_drawn(looked: Looked, name: str) -> None:
    seen = (looked.pings[name], looked.udp[name].what, looked.tcp[name], name in looked.arrived)
    assert seen == SEEN[name]


def test_where_nobody_is(looked: Looked) -> None:
    assert {at: looked.udp[at].what for at in NOWHERE} == NOWHERE
    assert not any(looked.pings[at] for at in NOWHERE)


def test_programs_of_a_sound_segment_list_each_other(faults: Faults) -> None:
    for one, other in (("h11", "h19"), ("h19", "h11"), ("n11", "n12"), ("m12", "m11"), ("o19", "o11")):
        assert faults.clients[one].listed().get(place(other)) == other
    windows = {name for name in BOXES if name.startswith("h") and name in faults.clients} - {"h12", "h12b"}
    assert windows <= set(faults.clients["h19"].listed().values()), "broadcasts to all are heard by all"


def test_way_stops_where_it_is_drawn(faults: Faults) -> None:
    """Where the question goes with each TTL: u's router takes it (and drops it later), q's does not even that."""
    looker = faults[LOOKER].namespace
    core, gate, beyond = f"{NETWORK}.1.1", f"{NETWORK}.100.2", f"{NETWORK}.100.14"
    ways = {
        (name, port): looker.call(plainly.steps, place(name), port)
        for name in ("u11", "p11", "q11")
        for port in (2425, 33434)
    }
    shown = {where: [answer.by or "*" for answer in way] for where, way in ways.items()}
    assert shown == {
        ("u11", 2425): [core, gate, "*"],
        ("u11", 33434): [core, gate, place("u11")],
        ("p11", 2425): [core, gate, gate],
        ("p11", 33434): [core, gate, place("p11")],
        ("q11", 2425): [core, gate, "*"],
        ("q11", 33434): [core, gate, beyond, place("q11")],
    }
    assert ways["p11", 2425][-1].what == "prohibited"
    assert [answer.by for answer in looker.call(plainly.steps, IN_CIRCLES, 2425)] == [core, gate] * 2 + [core]


def test_answers_from_o_stop_at_its_router(faults: Faults) -> None:
    looker = faults[LOOKER].namespace
    faults.capture.forget()
    looker.call(plainly.ask, [place("o11")], 0.5)
    answers = faults.capture.all(source=place("o11"), to=place(LOOKER), mode=3)
    assert {seen.wire for seen in answers} == {"o"}


def test_large_packets(faults: Faults) -> None:
    """DF to t: told so; to k: nothing; without DF and in fragments to all, but not to m14."""
    looker = faults[LOOKER].namespace
    small, large = SMALL_MTU, SMALL_MTU + 1
    for name in ("t11", "k11", "m11"):
        assert looker.call(plainly.unbroken, place(name), small).what == "refused", name
    assert looker.call(plainly.unbroken, place("m11"), 1500).what == "refused"
    assert looker.call(plainly.unbroken, place("t11"), large) == Answer(
        "too big", f"{NETWORK}.1.1", SMALL_MTU
    )
    assert looker.call(plainly.unbroken, place("k11"), large) == SILENT
    beyond = faults["t11"].namespace
    assert beyond.call(plainly.unbroken, place(LOOKER), large) == Answer(
        "too big", f"{NETWORK}.8.1", SMALL_MTU
    )
    assert faults["k11"].namespace.call(plainly.unbroken, place(LOOKER), large) == SILENT
    asked = looker.call(plainly.ask, [place(name) for name in ("t11", "k11", "m11", "m14")], 0.7, pad=3000)
    assert [answer.what for answer in asked.values()] == ["answered"] * 3 + ["silent"]


def test_call_ports_of_t_are_closed(faults: Faults) -> None:
    looker = faults[LOOKER].namespace
    assert looker.call(plainly.port_of, place("m11"), 22229).what == "refused"
    assert looker.call(plainly.port_of, place("t11"), 22229) == SILENT
    assert looker.call(plainly.port_of, place("t11"), 22230).what == "refused"


@pytest.fixture
def arp(faults: Faults) -> Iterator[dict[str, Arp]]:
    """All ARP of the wires h and m; and of h17."""
    lines = {wire: faults.switch.call(Arp, f"br-{wire}") for wire in "hm"}
    lines[LOOKER] = faults[LOOKER].namespace.call(Arp, "eth0")
    yield lines
    for line in lines.values():
        line.close()


def test_arp_of_doubled_dead_and_deaf(faults: Faults, arp: dict[str, Arp]) -> None:
    line = arp[LOOKER]
    asked = [place("h11"), place("h12"), DEAD["on link"], place("h16")]
    for address in asked:
        line.ask(place(LOOKER), address)
    time.sleep(0.3)
    seen = line.seen()
    answers = {
        address: {mac for code, mac, by, _ in seen if code == 2 and by == address} for address in asked
    }
    assert [len(macs) for macs in answers.values()] == [1, 2, 0, 0]
    faults.clients["h16"].do("refresh")
    wait_until(lambda: faults.capture.all(wire="h", sender="h16"), 1, "h16 is heard all the same")


def test_masks(faults: Faults, arp: dict[str, Arp]) -> None:
    """Too wide: asks its own wire for somebody far away. Too narrow: its answer comes by way of the router."""
    far = faults[LOOKER_BEYOND].namespace
    asked = far.call(plainly.ask, [place("h15"), place("h11")], 0.7)
    assert [answer.what for answer in asked.values()] == ["silent", "answered"]
    assert (1, place("h15"), place(LOOKER_BEYOND)) in {(code, by, to) for code, _, by, to in arp["h"].seen()}
    faults[LOOKER].namespace.call(plainly.ask, [place("m13"), place("m15")], 0.5)
    asked_there = {(code, by, to) for code, _, by, to in arp["m"].seen()}
    assert {(1, place("m13"), place(LOOKER)), (1, place("m15"), BOXES["m15"].gateway)} <= asked_there
    faults.capture.forget()
    faults["rh"].namespace.call(plainly.ask, [place("h14"), place("h11")], 0.5)
    answers = {seen.source: seen.ttl for seen in faults.capture.all(to=place("rh"), mode=3, sender="core")}
    assert answers == {place("h14"): 63}


def test_pointed_clients_come_through_nat_under_one_address(faults: Faults) -> None:
    faults.capture.forget()
    faults.refresh()
    time.sleep(0.3)
    asked = faults.capture.all(wire="h", to=place("rh"), mode=1)
    assert {seen.source for seen in asked} == {place("n12"), place("n26"), NAT_ADDRESS}
    names = {seen.data.split(b":")[5].partition(b"\0")[0] for seen in asked if seen.source == NAT_ADDRESS}
    assert names == {b"x11", b"x12"}


def test_foreign_sources(faults: Faults) -> None:
    """f's router lets nobody speak under addresses from elsewhere, ro's switch port nobody but ro."""
    foreign = "192.0.2.7"
    own = {wire: place(f"{wire}77") for wire in "hof"}
    faults.capture.forget()
    for box, wire, to in (
        ("rh", "h", "f11"),
        ("rf", "f", LOOKER),
        ("ro", "o", "o11"),
        ("o11", "o", "o19"),
    ):
        faults[box].namespace.call(plainly.speak_as, [foreign, own[wire]], place(to))
    time.sleep(0.2)
    came = {
        (box, seen.source)
        for box in ("f11", LOOKER, "o11", "o19")
        for seen in faults.capture.all(to=place(box), wire=box[0])
        if seen.source in (foreign, *own.values())
    }
    assert came == {
        ("f11", foreign),
        ("f11", own["h"]),
        (LOOKER, own["f"]),
        ("o19", foreign),
        ("o19", own["o"]),
    }
