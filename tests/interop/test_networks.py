"""Awkward wires: two networks on one switch, addresses and cables of the relay that change, a crowd."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .conftest import DUAL_AFTER_ITS_MOVE, ONCE
from .crowd import Crowd
from .rig import stays, wait_until

if TYPE_CHECKING:
    from .conftest import Measure, StartIptux, StartRelay
    from .relay_box import RelayBox
    from .rig import Network

pytestmark = pytest.mark.interop


def test_second_network_on_the_same_wire(iptux: StartIptux, relay: StartRelay, measure: Measure) -> None:
    dual = relay("dual", relay=['also = ["eth0=10.77.9.0/24"]'])
    sam = iptux("s11", "sam")
    carol = iptux("b11", "carol")
    carol.wait_listed(sam)
    both = max(sam.wait_listed(carol), carol.wait_listed(sam))
    measure("both listed after the later client's start", both - carol.started, at_most=1)
    assert dual.users()[sam.address]["segment"] == "10.77.1.0/24"
    again = iptux("b12", "dave")
    both = max(sam.wait_listed(again), again.wait_listed(sam))
    measure("a later one, too", both - again.started, at_most=1)
    sam.say(carol, "from the second network")


def test_second_network_without_also_is_counted_and_left_alone(iptux: StartIptux, relay: StartRelay) -> None:
    dual = relay("dual")
    sam = iptux("s11", "sam")
    carol = iptux("b11", "carol")
    wait_until(
        lambda: dual.status()["relay"]["foreign"].get("10.77.9.*") == 1, 3, "one foreign host is counted"
    )
    stays(lambda: sam.address not in carol.listed(), 0.5, "who belongs nowhere is announced nowhere")


def test_relay_gets_another_address_while_it_runs(
    network: Network, iptux: StartIptux, relay: StartRelay, measure: Measure
) -> None:
    dual = relay("dual")
    alice = iptux("a11", "alice")
    network["dual"].readdress(DUAL_AFTER_ITS_MOVE)
    wait_until(lambda: DUAL_AFTER_ITS_MOVE in alice.listed(), 5, "the relay shows itself at its new address")
    carol = iptux("b11", "carol")
    both = max(alice.wait_listed(carol), carol.wait_listed(alice))
    measure("both listed after the later client's start", both - carol.started, at_most=1)
    assert alice.address in dual.online()


def test_cable_pulled_and_put_back(
    network: Network, iptux: StartIptux, relay: StartRelay, measure: Measure
) -> None:
    dual = relay("dual")
    alice = iptux("a11", "alice")
    wait_until(lambda: alice.address in dual.online(), 3, "the relay knows alice")
    network["dual"].cable(plugged=False)
    wait_until(lambda: "10.77.1.0/24" not in segments_of(dual), 3, "the relay has noticed")
    bob = iptux("a12", "bob")
    network["dual"].cable(plugged=True)
    wait_until(lambda: bob.address in dual.online(), 5, "bob, who came meanwhile, is known without a restart")
    carol = iptux("b11", "carol")
    both = max(alice.wait_listed(carol), carol.wait_listed(alice, bob))
    measure("all listed after the later client's start", both - carol.started, at_most=1)


def segments_of(relay: RelayBox) -> set[str]:
    return {segment["name"] for segment in relay.status()["relay"]["segments"]}


@ONCE
def test_five_hundred_external_users_are_listed_within_two_seconds(
    network: Network, iptux: StartIptux, relay: StartRelay, measure: Measure
) -> None:
    """A crowd in b, of two networks on its wire (no real clients: presence broadcasts from 500 addresses)."""
    dual = relay("dual", relay=['also = ["eth1=10.77.4.0/23"]'])
    crowd = [f"10.77.2.{last}" for last in range(20, 220)]
    crowd += [f"10.77.4.{last}" for last in range(1, 251)] + [f"10.77.5.{last}" for last in range(1, 51)]
    Crowd(network["b12"], crowd).come()
    wait_until(lambda: len(dual.online()) >= len(crowd), 10, f"{len(crowd)} users are registered")
    alice = iptux("a11", "alice")
    wait_until(
        lambda: len(alice.listed().keys() & crowd) == len(crowd), 10, f"alice lists {len(crowd)} users"
    )
    listed = [event["at"] for event in alice.events("listed") if event["address"] in crowd]
    measure(f"{len(crowd)} external users listed after the start", max(listed) - alice.started, at_most=2)
