"""What clients do after they met: refresh, rename, leave, die, move; everybody beyond the router sees it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from .conftest import ONCE
from .rig import stays, wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .clients import Iptux
    from .conftest import Measure, StartIptux, StartRelay
    from .relay_box import RelayBox
    from .rig import Network

pytestmark = pytest.mark.interop

SOON = ['silent_after = "4s"']


def met(iptux: StartIptux, relay: StartRelay, users: Sequence[str] = ()) -> tuple[RelayBox, Iptux, Iptux]:
    """A relay with both interfaces, alice in a, carol in b, all listing each other."""
    dual = relay("dual", users=users)
    alice = iptux("a11", "alice", wait=False)
    carol = iptux("b11", "carol")
    alice.ready()
    alice.wait_listed(carol)
    carol.wait_listed(alice)
    return dual, alice, carol


def test_refresh_brings_everybody_back(iptux: StartIptux, relay: StartRelay, measure: Measure) -> None:
    _, alice, carol = met(iptux, relay)
    time.sleep(max(0.0, alice.started + 7.2 - time.monotonic()))  # one full list per client in 7 s
    pressed = alice.do("refresh")
    alice.wait("cleared", since=pressed)
    measure("list full again", alice.wait_listed(carol) - pressed, at_most=1)


@ONCE
def test_refresh_right_after_the_start(iptux: StartIptux, relay: StartRelay, measure: Measure) -> None:
    """Too soon for another full list: promised, and kept when the 7 s are over."""
    _, alice, carol = met(iptux, relay)
    pressed = alice.do("refresh")
    alice.wait("cleared", since=pressed)
    measure("list full again", alice.wait_listed(carol, timeout=9) - pressed, at_most=8)


def test_rename_is_seen_beyond(
    network: Network, iptux: StartIptux, relay: StartRelay, measure: Measure
) -> None:
    dual, alice, carol = met(iptux, relay)
    given = alice.rename("アリス")
    seen = carol.wait("changed", since=given, address=alice.address, name="アリス")["at"]
    measure("new name listed beyond", seen - given, at_most=1)
    wait_until(
        lambda: dual.users()[alice.address]["nick"] == "アリス", 1, "the relay's roster has the new name"
    )
    wait_until(
        lambda: network.capture.all(wire="b", sender="dual", source=alice.address, mode=4, since=given),
        1,
        "the relay announces the new name itself",
    )


def test_clean_exit_is_passed_on_at_once(
    network: Network, iptux: StartIptux, relay: StartRelay, measure: Measure
) -> None:
    dual, alice, carol = met(iptux, relay)
    bob = iptux("a12", "bob")
    carol.wait_listed(bob)
    given = bob.stop()
    measure("gone from the list beyond", carol.wait_gone(bob, since=given) - given, at_most=1)
    wait_until(lambda: dual.users()[bob.address]["state"] == "offline", 1, "the relay knows that bob left")
    wait_until(
        lambda: network.capture.all(wire="b", sender="dual", source=bob.address, mode=2, since=given),
        1,
        "the relay says the farewell itself",
    )
    stays(lambda: alice.address in carol.listed(), 0.5, "the others stay")


def test_killed_client_is_dropped_everywhere(iptux: StartIptux, relay: StartRelay, measure: Measure) -> None:
    _, alice, carol = met(iptux, relay, users=SOON)
    bob = iptux("a12", "bob")
    carol.wait_listed(bob)
    killed = bob.kill()
    measure(
        "killed client dropped (silent_after 4 s)",
        carol.wait_gone(bob, timeout=12, since=killed) - killed,
        at_most=6,
    )
    assert {alice.address, carol.address} <= carol.listed().keys(), "those who answer the questions stay"
    again = iptux("a12", "bob")
    measure("back after its death", carol.wait_listed(again) - again.started, at_most=1)


@pytest.mark.parametrize("how", ["exit", "kill"])
def test_client_started_again_at_once(
    iptux: StartIptux, relay: StartRelay, measure: Measure, how: str
) -> None:
    """Every start of iptux has the same packet number: it must not be taken for a repeated datagram."""
    _, alice, carol = met(iptux, relay)
    time.sleep(max(0.0, alice.started + 1.2 - time.monotonic()))  # nobody clicks faster than that
    if how == "exit":
        alice.stop()
    else:
        alice.kill()
    again = iptux("a11", "alice")
    found = again.wait_listed(carol, timeout=9) - again.started
    measure(f"lists the others after {how} and start", found, at_most=8)
    found = carol.wait_listed(again) - again.started
    if how == "exit":  # a killed one was never missed
        measure("listed by the others after exit and start", found, at_most=1)


def test_client_moves_to_another_segment(
    network: Network, iptux: StartIptux, relay: StartRelay, measure: Measure
) -> None:
    """A laptop sleeps in one segment and wakes up in the other."""
    dual, alice, carol = met(iptux, relay)
    bob = iptux("a12", "bob")
    carol.wait_listed(bob)
    left = bob.kill()
    moved = iptux("b12", "bob", host="h-a12")
    measure("old address dropped beyond", carol.wait_gone(bob, timeout=15) - left, at_most=12)
    found = alice.wait_listed(moved, timeout=15)
    measure("listed in the old segment at the new address", found - moved.started, at_most=10)
    moved.wait_listed(alice, timeout=9)
    wait_until(lambda: dual.users()[moved.address]["segment"] == "10.77.2.0/24", 1, "it is a user of b now")
    assert bob.address not in dual.online()
    moved.say(alice, "from the other floor")


@pytest.mark.parametrize("how", ["exit", "kill"])
def test_client_back_at_another_address(
    network: Network, iptux: StartIptux, relay: StartRelay, measure: Measure, how: str
) -> None:
    dual, _, carol = met(iptux, relay)
    bob = iptux("a12", "bob")
    carol.wait_listed(bob)
    bob.settle()
    left = bob.stop() if how == "exit" else bob.kill()
    network["a12"].readdress("10.77.1.32")
    moved = iptux("a12", "bob")
    measure(
        f"listed at the new address after {how}",
        carol.wait_listed(moved, timeout=15) - moved.started,
        at_most=10,
    )
    measure(f"gone from the old address after {how}", carol.wait_gone(bob, timeout=15) - left, at_most=12)
    assert carol.listed().get("10.77.1.32") == "bob"
    wait_until(lambda: "10.77.1.32" in dual.online(), 1, "the roster has the new address")
    assert "10.77.1.12" not in dual.online()
    moved.wait_listed(carol, timeout=9)
    moved.say(carol, "back")


def test_relay_shows_itself_but_speaks_for_no_relay(
    network: Network, iptux: StartIptux, relay: StartRelay
) -> None:
    dual, alice, carol = met(iptux, relay)
    wait_until(lambda: "10.77.1.4" in alice.listed(), 2, "the relay shows itself to alice")
    assert "camrelay" in alice.listed()["10.77.1.4"]
    wait_until(lambda: "10.77.2.4" in carol.listed(), 2, "and to carol, with its address there")
    assert "10.77.2.4" not in alice.listed()
    assert "10.77.1.4" not in carol.listed()
    dual.stop()
    wait_until(lambda: "10.77.1.4" not in alice.listed(), 2, "a relay that stops says goodbye for itself")
    stays(lambda: carol.address in alice.listed(), 0.5, "those it announced stay: they are reached directly")
