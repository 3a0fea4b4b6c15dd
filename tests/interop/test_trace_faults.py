"""Fault by verdict: ``camrelay trace`` on a network with every fault at once names each by its own name, and no other.

All questions are asked once, as many at a time as a relay takes; then each has a test of its own. The table here is
the one of docs/trace.md ("fault, what is seen, what trace says").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from .company import Company
from .faultmap import BOXES, DEAD, IN_CIRCLES, NAT_ADDRESS, NETWORK, NO_ROUTE, place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .company import Traced
    from .conftest import Measure
    from .faults import Faults

pytestmark = pytest.mark.interop

GATE = f"{NETWORK}.100.2"  # as the routers of the laboratory are seen from rh
CORE = f"{NETWORK}.1.1"
Q_ROUTER = f"{NETWORK}.100.14"
O_ROUTER = f"{NETWORK}.7.1"  # from the other side


@dataclass(frozen=True)
class Case:
    """One question, all verdicts it must end in, and whom one of them must name. ``relay``: where it is asked."""

    fault: str
    words: str
    verdicts: tuple[str, ...] = ()
    names: str = ""
    relay: str = "rh"


def host(fault: str, name: str, *verdicts: str, names: str = "") -> Case:
    return Case(fault, f"trace host {place(name) if name in BOXES else name}", verdicts, names)


def path(fault: str, one: str, other: str, *verdicts: str) -> Case:
    return Case(fault, f"trace path {place(one)} {place(other)}", verdicts)


def peer(fault: str, name: str, *verdicts: str, names: str = "") -> Case:
    return Case(fault, f"trace peer {name}", verdicts, names)


# Those that take longest first: what a relay over there has to look at, too.
CASES = [
    host("only the local subnet is admitted", "m12", "local-subnet-all"),
    host("UDP passes one way only", "o11", "router-one-way-in", names=O_ROUTER),
    host("NAT, from outside", "x11", "pair-nat", names=NAT_ADDRESS),
    host("sources are checked on the way", "f11"),
    host("link of MTU 1400", "t11", "mtu-small", names="1400"),
    peer("sound, between relays", "rm"),
    peer("UDP passes one way only, between relays", "ro", "pair-one-way", names=O_ROUTER),
    peer("MTU 1400 and no call ports, between relays", "rt", "calls-closed", "pair-mtu-small", names="22224"),
    peer("NAT, between relays", "rx", "nat-on-call-path", "pair-nat", names=NAT_ADDRESS),
    peer("foreign sources are dropped", "rf", "speak-foreign-dropped", names="rf"),
    host("mask too wide, far away", "m13", "mask-too-wide"),
    host("default gateway that is not there", "m15", "wrong-gateway"),
    host("sound, behind routers, with a relay", "m11"),
    path("sound, between two users", "h11", "m11"),
    path("only the local subnet is admitted, between two users", "h11", "m12", "local-subnet-all"),
    path("UDP passes one way only, between two users", "h11", "o11", "pair-one-way"),
    host("host firewall drops UDP, on link", "h18", "firewall-udp"),
    host("host firewall drops UDP and TCP, on link", "h21", "firewall-both"),
    host("host firewall drops everything, on link", "h20", "firewall-all"),
    host("host firewall drops UDP", "n21", "firewall-udp"),
    host("host firewall drops UDP and TCP", "n23", "firewall-or-no-client"),
    host("only the local subnet is admitted, no relay there", "n26", "local-subnet-likely"),
    host("router drops UDP 2425", "u11", "router-udp-likely", names=GATE),
    host("router drops UDP 2425 as it comes in", "q11", "router-filters", names=Q_ROUTER),
    host("route in circles", IN_CIRCLES, "routing-loop", names=GATE),
    host("PC does not speak ARP", "h16", "arp-less"),
    # by now nobody asks m14 any more as a neighbour of m12, which would make its answers ambiguous
    host("fragments are dropped by the PC", "m14", "fragments-host"),
    host("sound, on link", "h11"),
    host("sound, on link, Windows", "h19"),
    host("sound, behind routers", "n11"),
    host("broadcast setting on one side", "n12", "pointed"),
    host("one address, two PCs", "h12", "address-twice"),
    host("mask too narrow", "h14", "mask-too-narrow"),
    host("mask too wide, on link", "h15", "mask-too-wide"),
    host("host firewall drops TCP, on link", "h22", "firewall-tcp"),
    host("host firewall drops TCP", "n22", "firewall-tcp"),
    host("MTU black hole", "k11", "mtu-black-hole"),
    host("client does not run, on link", "h17", "client-not-running"),
    host("client does not run", "n24", "client-not-running"),
    host("router forbids it and says so", "p11", "router-prohibits", names=GATE),
    host("nobody has that address, on link", DEAD["on link"], "no-arp"),
    host("nobody has that address", DEAD["behind a router"], "dead-beyond-router", names=GATE),
    host("no route", NO_ROUTE, "router-no-route", names=CORE),
    host("NAT, from its outside", NAT_ADDRESS, "nat-names"),
    Case("sound, box and switch port", "doctor"),
    Case("switch port drops foreign sources", "doctor", ("segment-drops-foreign-sources",), "o19", "ro"),
    Case("sound, why", f"trace why {place('h11')}"),
]


LONGEST = 180.0  # seconds for all of them, two CPU burners beside; some 60 on a calm machine


@pytest.fixture(scope="module")
def company(faults: Faults) -> Iterator[Company]:
    company = Company(faults)
    try:
        company.open()
        yield company
    finally:
        company.close()


@pytest.fixture(scope="module")
def traced(company: Company) -> dict[str, Traced]:
    answers = company.ask((case.relay, tuple(case.words.split())) for case in CASES)
    bugs = [relay.tail() for relay in company.relays.values() if relay.found_a_bug() or not relay.runs]
    assert not bugs, "\n".join(bugs)
    return {case.fault: answer for case, answer in zip(CASES, answers, strict=True)}


@pytest.mark.parametrize("case", CASES, ids=[case.fault for case in CASES])
def test_fault_has_its_verdict(traced: dict[str, Traced], case: Case, measure: Measure) -> None:
    shown = traced[case.fault]
    print(shown)
    assert shown.shown, shown.error
    verdicts = shown.verdicts
    if case.words == "doctor":  # it looks at the real machine, too: its clock, its disk, its neighbour table
        verdicts = [one for one in verdicts if one["severity"] == "fault"]
    assert sorted(one["id"] for one in verdicts) == sorted(case.verdicts), str(shown)
    assert shown.code == any(one["severity"] != "note" for one in shown.verdicts), str(shown)
    assert all(one["say"] and one["do"] for one in verdicts)
    assert not case.names or any(case.names in one["say"] for one in verdicts)
    measure(case.words, shown.seconds)


def test_whole_matrix_is_quick(company: Company, traced: dict[str, Traced], measure: Measure) -> None:
    measure("the whole matrix", company.asking, at_most=LONGEST)
    measure("the longest trace", max(shown.seconds for shown in traced.values()))
