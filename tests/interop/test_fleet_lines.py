"""The fleet on bad lines: slow, losing, reordering, flapping, cut. At the end everybody is listed everywhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from .fleet import undisturbed
from .rig import stays, wait_until

if TYPE_CHECKING:
    from .badline import BadLine
    from .conftest import Measure
    from .fleet import Fleet

pytestmark = pytest.mark.interop

DELAY = 0.2


def worsen(line: BadLine) -> None:
    """200 to 300 ms each way, 5 % of the packets lost, later ones overtaking earlier ones."""
    line.set(delay=DELAY, jitter=0.1, loss=0.05)


def test_slow_losing_and_reordering_line(fleet: Fleet, measure: Measure) -> None:
    worsen(fleet.sites.lines["2"])
    alice = fleet.iptux("c11", "alice")
    carol = fleet.iptux("c21", "carol")
    measure("listed over the bad line", alice.wait_listed(carol, timeout=10) - carol.started)
    measure("listed over the bad line, the other way", carol.wait_listed(alice, timeout=10) - alice.started)
    taken = []
    for number in range(10):
        given = carol.rename(f"carol{number}")
        seen = alice.wait("changed", timeout=10, since=given, address=carol.address, name=carol.name)
        taken.append(seen["at"] - given)
    measure("new name listed over the bad line, best of 10", min(taken), at_most=1 + DELAY)
    measure("new name listed over the bad line, worst of 10", max(taken))
    given = carol.stop()
    measure("gone over the bad line", alice.wait_gone(carol, timeout=10, since=given) - given)
    counts = fleet.sites.lines["2"].counts()
    assert sum(counts.lost) > 0
    assert sum(counts.overtaken) > 0


def test_flapping_line_while_people_come_and_go(fleet: Fleet, measure: Measure) -> None:
    """0.3 s of line, 0.7 s of none, by turns, and 200 ms and 5 % loss all the time; then only the latter."""
    alice = fleet.iptux("c11", "alice")
    carol = fleet.iptux("c21", "carol")
    erin = fleet.iptux("c31", "erin")
    alice.wait_listed(carol, erin)
    line = fleet.sites.lines["2"]
    worsen(line)
    line.flap(up=0.3, down=0.7)
    began = time.monotonic()
    bob = fleet.iptux("c12", "bob")
    dave = fleet.iptux("c22", "dave")
    erin.rename("erika")
    alice.rename("alicia")
    carol.rename("caroline")
    erin.wait_listed(bob)
    fay = fleet.iptux("c32", "fay")
    bob.stop()
    stays(
        lambda: fay.address in fay.listed(),
        max(0.0, began + 4 - time.monotonic()),
        "four seconds of flapping",
    )
    line.mend()
    mended = time.monotonic()
    everybody = [alice, carol, dave, erin, fay]
    equal = fleet.agree(everybody, within=15)
    measure("all rosters equal after a flapping line", equal - mended)
    for client in everybody:
        client.wait_listed(*everybody)
        wait_until(lambda: bob.address not in client.listed(), 2, f"{client!r} does not list bob")  # noqa: B023
    undisturbed(carol, [alice, erin], carol.started + 1, had=("alice", "erin"), behind=equal)


def test_cut_line_is_noticed_and_users_beyond_leave_until_it_is_mended(
    fleet: Fleet, measure: Measure
) -> None:
    fleet.reload("r1", "r1b", "r2", peers=['keep_users = "1s"'])
    alice = fleet.iptux("c11", "alice")
    carol = fleet.iptux("c21", "carol")
    erin = fleet.iptux("c31", "erin")
    alice.wait_listed(carol, erin)
    carol.wait_listed(alice, erin)
    fleet.sites.lines["3"].cut()
    cut = time.monotonic()
    bob = fleet.iptux("c12", "bob")
    fay = fleet.iptux("c32", "fay")
    carol.wait_listed(bob)
    gone = max(client.wait_gone(erin, timeout=40) for client in (alice, carol))
    measure("users beyond a cut line gone (keepalive, and keep_users 1 s)", gone - cut, at_most=32)
    assert fleet.peers("r1")["r3"]["state"] != "linked"
    undisturbed(alice, [bob, carol], cut)
    fleet.sites.lines["3"].mend()
    mended = time.monotonic()
    everybody = [alice, bob, carol, erin, fay]
    last = max(client.wait_listed(*everybody, timeout=15) for client in everybody)
    measure("everybody listed everywhere after the line is mended", last - mended, at_most=10)
    fleet.agree(everybody)
