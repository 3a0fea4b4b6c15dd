"""What must not happen: answers to announcements, echoes between relays, ghosts. Counted on the wires."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from .rig import wait_until

if TYPE_CHECKING:
    from .capture import Seen
    from .conftest import Measure, StartIptux, StartRelay
    from .rig import Network

pytestmark = pytest.mark.interop


def silence(network: Network, seconds: float, timeout: float = 10.0) -> None:
    """Waits until no wire has carried anything for so long."""
    network.capture.all()
    wait_until(
        lambda: not network.capture.all(since=time.monotonic() - seconds),
        timeout,
        f"{seconds:g} s of silence; last: " + "\n".join(map(str, network.capture.all()[-8:])),
    )


def text(seen: list[Seen]) -> str:
    return "\n".join(map(str, seen))


def test_announcements_cost_the_listeners_no_datagram(
    network: Network, iptux: StartIptux, relay: StartRelay
) -> None:
    """A join, a refresh, a rename and an exit in b: four clients of a say nothing at all."""
    relay("dual")
    listeners = [iptux(box, box, wait=False) for box in ("a11", "a12", "a13")]
    for client in listeners:
        client.ready()
    for client in listeners:
        client.wait_listed(*listeners)
    for client in listeners:
        client.settle()
    silence(network, 0.5)

    began = time.monotonic()
    carol = iptux("b11", "carol")
    for client in listeners:
        client.wait_listed(carol)
    carol.wait_listed(*listeners)
    silence(network, 0.5)
    announced = network.capture.all(wire="a", sender="dual", source=carol.address, since=began)
    assert len(announced) == 1, f"one broadcast announces a user to a segment:\n{text(announced)}"
    assert announced[0].to_all
    assert announced[0].ttl == 1
    said = [seen for client in listeners for seen in network.capture.all(sender=client.box.name, since=began)]
    assert not said, f"M clients send 0 datagrams because of an announcement:\n{text(said)}"

    given = carol.rename("caroline")
    for client in listeners:
        client.wait("changed", since=given, address=carol.address)
    carol.do("refresh")
    carol.wait_listed(*listeners, timeout=9)
    given = carol.stop()
    for client in listeners:
        client.wait_gone(carol, since=given)
    silence(network, 0.5)
    said = [seen for client in listeners for seen in network.capture.all(sender=client.box.name, since=began)]
    assert not said, f"nor because of a rename, a refresh or an exit:\n{text(said)}"


def test_two_relays_in_one_segment_do_not_echo(
    network: Network, iptux: StartIptux, relay: StartRelay
) -> None:
    swept = ("10.77.2.11",)
    ra = relay("ra", segments=swept)
    ra2 = relay("ra2", segments=swept)
    carol = iptux("b11", "carol", wait=False)
    alice = iptux("a11", "alice")
    carol.ready()
    ra.sweep()
    ra2.sweep()
    alice.wait_listed(carol)
    carol.wait_listed(alice)
    silence(network, 1.0)
    for box in (ra, ra2):
        rows = box.users()
        assert rows[carol.address]["segment"] == "10.77.2.*", "an announcement never makes carol a local user"
        assert rows[alice.address]["segment"] == "10.77.1.0/24"

    given = alice.rename("alicia")
    carol.wait("changed", since=given, address=alice.address)
    silence(network, 1.0)
    spoken = network.capture.all(source=alice.address, since=given)
    relayed = [seen for seen in spoken if seen.sender in ("ra", "ra2")]
    assert len(relayed) <= 2, f"each relay tells carol once and that is all:\n{text(relayed)}"


def test_relay_with_two_interfaces_beside_another_relay_does_not_echo(
    network: Network, iptux: StartIptux, relay: StartRelay
) -> None:
    relay("dual")
    ra = relay("ra")
    alice = iptux("a11", "alice")
    carol = iptux("b11", "carol")
    alice.wait_listed(carol)
    carol.wait_listed(alice)
    silence(network, 1.0)
    assert carol.address not in ra.users(), "a broadcast with TTL 1 is a relay's: nobody new"
    heard = ra.status()["counters"].get("dropped: announced by another relay", 0)
    assert heard >= 1


def test_swept_relay_makes_no_ghost(network: Network, iptux: StartIptux, relay: StartRelay) -> None:
    """Each relay finds the other one by its sweep: nobody announces it, nobody is listed twice."""
    ra = relay("ra", segments=["10.77.2.2", "10.77.2.11"])
    rb = relay("rb", segments=["10.77.1.2", "10.77.1.11"])
    alice = iptux("a11", "alice", wait=False)
    carol = iptux("b11", "carol")
    alice.ready()
    ra.sweep()
    rb.sweep()
    alice.wait_listed(carol)
    carol.wait_listed(alice)
    ra.sweep()
    rb.sweep()
    silence(network, 1.0)
    for name, box in (("ra", ra), ("rb", rb)):
        forged = [
            seen for seen in network.capture.all(source=box.address) if seen.sender not in (name, "router")
        ]
        assert not forged, f"nobody speaks as a relay:\n{text(forged)}"
    known = {alice.address, carol.address, ra.address, rb.address}
    assert alice.listed().keys() <= known
    assert carol.listed().keys() <= known
    for box, other in ((ra, rb), (rb, ra)):
        assert box.users().get(other.address, {"kind": "camrelay"})["kind"] == "camrelay"
        clients = [user for user in box.users().values() if user["kind"] != "camrelay"]
        assert sorted(user["nick"] for user in clients) == ["alice", "carol"]


def test_relay_is_quiet_when_nothing_happens(
    network: Network, iptux: StartIptux, relay: StartRelay, measure: Measure
) -> None:
    relay("dual")
    alice = iptux("a11", "alice")
    carol = iptux("b11", "carol")
    alice.wait_listed(carol)
    silence(network, 1.0)
    began = time.monotonic()
    wait_until(lambda: time.monotonic() > began + 2, 3, "two seconds")
    seen = network.capture.all(since=began)
    assert not seen, f"two quiet clients and a relay: nothing to say\n{text(seen)}"
