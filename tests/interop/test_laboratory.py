"""The laboratory without any relay: what real clients do, and that the router keeps segments apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .conftest import ONCE
from .rig import stays, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Measure, StartIpMessenger, StartIptux, StartWindow
    from .rig import Network

pytestmark = pytest.mark.interop


def test_neighbours_list_each_other_and_the_router_keeps_segments_apart(
    network: Network, iptux: StartIptux, some_file: Path, tmp_path: Path, measure: Measure
) -> None:
    alice = iptux("a11", "alice")
    carol = iptux("b11", "carol")
    bob = iptux("a12", "bob")
    measure("neighbour listed after its start", alice.wait_listed(bob) - bob.started, at_most=1)
    bob.wait_listed(alice)

    alice.say(bob, "こんにちは: a, b")
    assert alice.take_file(bob, some_file, tmp_path / "bob").read_bytes() == some_file.read_bytes()

    stays(lambda: set(carol.listed()) <= {carol.address}, 0.5, "nobody crosses the router without a relay")
    assert not network.capture.all(wire="b", sender="router")


def test_router_forwards_unicast_between_clients(iptux: StartIptux, measure: Measure) -> None:
    alice = iptux("a11", "alice")
    carol = iptux("b11", "carol")
    asked = alice.do("detect", to=carol.address)
    measure("listed across the router after a direct question", alice.wait_listed(carol) - asked, at_most=1)
    assert carol.wait_listed(alice)


def test_refresh_rename_exit_and_kill_of_a_neighbour(iptux: StartIptux) -> None:
    alice = iptux("a11", "alice")
    bob = iptux("a12", "bob")
    alice.wait_listed(bob)
    pressed = alice.do("refresh")
    alice.wait("cleared", since=pressed)
    alice.wait_listed(bob)
    bob.rename("robert")
    alice.wait("changed", address=bob.address, name="robert")
    bob.stop()
    alice.wait_gone(bob)
    bill = iptux("a12", "bill")
    alice.wait_listed(bill)
    bill.kill()
    stays(lambda: bill.address in alice.listed(), 0.5, "a killed client says nothing, so it stays listed")


def test_capture_names_the_true_sender(network: Network, iptux: StartIptux) -> None:
    alice = iptux("a11", "alice")
    alice.settle()
    entries = network.capture.all(wire="a", sender="a11", mode=1)
    assert [seen.to for seen in entries] == ["255.255.255.255", "10.77.1.255"]
    assert {seen.source for seen in entries} == {alice.address}


def test_ipymessenger_and_iptux_exchange_messages(iptux: StartIptux, ipymessenger: StartIpMessenger) -> None:
    alice = iptux("a11", "alice")
    pim = ipymessenger("a12", "pim")
    alice.wait_listed(pim)
    pim.wait_listed(alice)
    given = pim.do("send", to=alice.address, text="to iptux")
    assert alice.wait("message", since=given)["text"] == "to iptux"
    pim.wait("delivered", since=given)
    given = alice.do("send", to=pim.address, text="from iptux")
    assert pim.wait("message", since=given)["text"] == "from iptux"


@ONCE
def test_window_shows_a_neighbour(iptux: StartIptux, iptux_window: StartWindow) -> None:
    alice = iptux("a11", "alice")
    window = iptux_window("a12", "wanda")
    wait_until(lambda: alice.address in window.listed(), 20, f"{window!r} shows alice")
    assert window.listed()[alice.address] == "alice"
