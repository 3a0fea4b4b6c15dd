"""Changes told beyond the routers: not too many addresses at once, nobody starved, nothing told twice."""

from __future__ import annotations

from bisect import bisect_left

from camrelay.relay.visits import AT_ONCE, IN_A_PASS, VISITS
from tests.world import Iptux, RelayNode, Sent, World, segment_of

FLOORS = [f"10.1.{floor}.*" for floor in range(11, 15)]


def large_site(listeners: int) -> tuple[World, RelayNode, list[Iptux]]:
    """A relay with one local segment, and iptux clients on four swept ones, all found."""
    world = World()
    relay = RelayNode(
        world, ("10.1.1.2",), remote=tuple(FLOORS), sweep_every=36000.0, sweep_unknown_every=36000.0
    )
    there = [
        Iptux(world, f"10.1.{11 + i % 4}.{10 + i // 4}", f"remote{i}", logon=f"r{i}")
        for i in range(listeners)
    ]
    for client in there:
        client.alive = True
    relay.start()
    world.until(lambda: len(relay.users()) == listeners, within=60)
    world.run(30)
    return world, relay, there


def announcements(world: World, since: float) -> list[Sent]:
    return [s for s in world.wire if s.time >= since and s.announces and segment_of(s.to) != "10.1.1"]


def test_a_start_is_told_to_four_floors_at_the_routers_pace() -> None:
    world, _, there = large_site(400)
    begun = world.now
    alice = Iptux(world, "10.1.1.11", "alice")
    alice.start()
    world.until(lambda: all(alice.address in client.listed for client in there), within=400 / VISITS + 1)
    times = [sent.time for sent in announcements(world, begun)]
    assert len(times) == 400
    assert all(bisect_left(times, t + 1.0) - i <= VISITS + AT_ONCE + 1 for i, t in enumerate(times))
    assert sum(alice.address in client.listed for client in there) == 400


def test_the_first_listeners_hear_of_it_in_the_same_moment() -> None:
    world, _, there = large_site(40)
    begun = world.now
    Iptux(world, "10.1.1.11", "alice").start()
    world.run(0.1)
    assert len(announcements(world, begun)) >= AT_ONCE
    world.run(1)
    assert all("10.1.1.11" in client.listed for client in there)


def test_several_changes_wait_for_one_visit() -> None:
    world, _, there = large_site(400)
    begun = world.now
    alice, bob = Iptux(world, "10.1.1.11", "alice"), Iptux(world, "10.1.1.12", "bob")
    alice.start()
    bob.start()
    world.run(0.3)
    alice.rename("alicia")
    world.run(12)
    assert {client.listed.get(alice.address) for client in there} == {"alicia"}
    assert {client.listed.get(bob.address) for client in there} == {"bob"}
    assert len({(sent.to, sent.time) for sent in announcements(world, begun)}) <= 2 * 400


def test_a_newcomer_is_not_starved_by_changes_told_elsewhere() -> None:
    world, _, _ = large_site(400)
    Iptux(world, "10.1.1.20", "early", logon="early").start()
    late = Iptux(world, "10.1.1.99", "late", logon="late")
    late.start()
    world.until(lambda: len([a for a in late.listed if segment_of(a) != "10.1.1"]) == 400, within=2)


def test_who_left_meanwhile_is_not_announced_any_more() -> None:
    world, _, there = large_site(400)
    alice = Iptux(world, "10.1.1.11", "alice")
    alice.start()
    world.run(0.1)
    alice.listed = {"10.1.1.2": "relay"}  # it says its good-bye to the relay alone
    alice.exit()
    world.run(15)
    assert not [client for client in there if alice.address in client.listed]


def test_a_pass_of_the_sweep_keeps_its_place_in_the_neighbour_table() -> None:
    world, relay, there = large_site(400)
    relay.relay.sweep_now(world.now)
    relay.wait()
    world.run(0.1)
    begun = world.now
    Iptux(world, "10.1.1.11", "alice").start()
    world.run(4)
    assert relay.relay.sweeping
    assert IN_A_PASS - 10 <= len({sent.to for sent in announcements(world, begun)}) <= IN_A_PASS
    world.run(60)
    assert all("10.1.1.11" in client.listed for client in there)
