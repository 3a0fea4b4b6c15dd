"""A relay that dies: kill -9, a new start, and the roster is served again, without those who are gone."""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING

import pytest

from .rig import stays, wait_until

if TYPE_CHECKING:
    from .conftest import Measure, StartIptux, StartRelay
    from .relay_box import RelayBox
    from .rig import Network

pytestmark = pytest.mark.interop


def test_killed_relay_serves_its_roster_again_at_once(
    iptux: StartIptux, relay: StartRelay, measure: Measure
) -> None:
    dual = relay("dual")
    alice = iptux("a11", "alice")
    carol = iptux("b11", "carol")
    alice.wait_listed(carol)
    saved(dual, 2)
    dual.kill()
    began = dual.start()
    dave = iptux("b12", "dave")
    dual.ready()
    ready = time.monotonic()
    listed = dave.wait_listed(alice)
    measure("a new client lists the roster after the relay's start", listed - began)
    measure("a new client lists the roster once the relay is ready", listed - ready, at_most=1)
    assert {alice.address, carol.address} <= dual.online()


def test_stale_users_are_asked_before_they_are_announced(
    network: Network, iptux: StartIptux, relay: StartRelay, measure: Measure
) -> None:
    """The relay was off over the weekend: bob went home meanwhile, alice is still there."""
    dual = relay("dual")
    alice = iptux("a11", "alice")
    bob = iptux("a12", "bob")
    carol = iptux("b11", "carol")
    carol.wait_listed(alice, bob)
    saved(dual, 3)
    dual.kill()
    for client in (bob, carol):
        client.kill()
    grow_old(dual, seconds=300)
    network.capture.forget()
    began = dual.start()
    dave = iptux("b12", "dave")
    measure("a living user proven and listed after the start", dave.wait_listed(alice) - began, at_most=2)
    asked = [
        seen
        for seen in network.capture.all(sender="dual", wire="a", mode=1)
        if seen.to_all or seen.to == alice.address
    ]
    told = network.capture.all(sender="dual", wire="b", source=alice.address)
    assert asked[0].at < told[0].at, "alice is asked before anybody hears of her"
    dual.ready()
    stays(lambda: bob.address not in dave.listed(), 1.0, "nobody hears of bob, who does not answer")
    assert not network.capture.all(sender="dual", source=bob.address, mode=4)
    assert bob.address not in dual.online()
    assert carol.address not in dual.online()


def test_who_does_not_answer_a_restarted_relay_is_no_ghost_for_long(
    iptux: StartIptux, relay: StartRelay, measure: Measure
) -> None:
    """On disk bob is online: the relay was killed before it could write down that he left."""
    dual = relay("dual", users=['silent_after = "40s"'])
    alice = iptux("a11", "alice")
    bob = iptux("b12", "bob")
    carol = iptux("b11", "carol")
    alice.wait_listed(bob, carol)
    wait_until(dual.written, 5, "all are on disk")
    dual.kill()
    bob.stop()
    began = dual.start()
    dual.ready()
    assert bob.address in dual.online(), "served at once"
    gone = alice.wait_gone(bob, timeout=25, since=began)
    measure("a ghost is gone after the relay's start", gone - began, at_most=20)
    assert dual.online() == {alice.address, carol.address}
    assert not alice.events("gone", began)[1:], "nobody else was given up"


def test_relay_that_was_stopped_begins_where_it_was(
    iptux: StartIptux, relay: StartRelay, measure: Measure
) -> None:
    dual = relay("dual")
    alice = iptux("a11", "alice")
    carol = iptux("b11", "carol")
    alice.wait_listed(carol)
    wait_until(lambda: {alice.address, carol.address} <= dual.online(), 3, "both are known")
    took = time.monotonic()
    dual.stop()
    measure("SIGTERM to the end of the process", time.monotonic() - took, at_most=3)
    began = dual.start()
    dual.ready()
    measure("start to the first answer at the control socket", time.monotonic() - began, at_most=2)
    assert {alice.address, carol.address} <= dual.online()


def grow_old(relay: RelayBox, seconds: float) -> None:
    """As if the relay had been off for so long."""
    with sqlite3.connect(relay.folder / "state" / "roster.db") as database:
        database.execute("UPDATE users SET heard = heard - ?, joined = joined - ?", (seconds, seconds))
    database.close()


def saved(relay: RelayBox, users: int) -> None:
    """Waits until the database holds so many users that are here."""

    def written() -> bool:
        status = relay.status()["database"]
        return bool(status["users"] >= users)

    wait_until(written, 5, f"{users} users in the database of {relay!r}")
