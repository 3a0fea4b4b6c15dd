"""Segments without a relay of their own: asked at a pace, and served beyond the router."""

from __future__ import annotations

from itertools import pairwise

import pytest

from camrelay.ipmsg.command import Command, Option
from camrelay.relay.outputs import SweepDone, UserMoved
from tests.unit.relay.invariants import busiest, check
from tests.world import Client, Iptux, Plain, RelayNode, Windows, World, segment_of

KINDS = [Iptux, Windows, Plain]


def scene(kind: type[Client], **settings: object) -> tuple[World, RelayNode, Client, Client]:
    """alice on the relay's segment, bob of ``kind`` on a segment that is only swept; not started."""
    world = World()
    relay = RelayNode(world, ("10.1.1.2",), remote=("10.1.7.*",), **settings)
    return world, relay, Iptux(world, "10.1.1.11", "alice"), kind(world, "10.1.7.12", "bob")


def asked(world: World, begun: float = 0.0, front: str = "10.1.7") -> list[str]:
    return [
        s.to
        for s in world.since(begun)
        if s.mode == Command.BR_ENTRY and segment_of(s.to) == front and not s.to.endswith(".255")
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_users_are_found_with_the_first_pass_and_both_sides_list_each_other(kind: type[Client]) -> None:
    world, relay, alice, bob = scene(kind)
    alice.start()
    bob.start()
    world.run(10)
    relay.start()
    world.until(lambda: alice.address in bob.listed and bob.address in alice.listed, within=4)
    world.run(12)
    check(world)
    (done,) = relay.said(SweepDone)
    assert isinstance(done, SweepDone)
    assert (done.segment, done.asked, done.answered) == ("10.1.7.*", 254, 1)
    assert done.seconds < 8


def test_every_address_is_asked_once_and_in_the_relays_own_name() -> None:
    world, relay, _, _ = scene(Plain)
    relay.start()
    world.run(10)
    assert asked(world) == [f"10.1.7.{n}" for n in range(1, 255)]
    assert not any(s.announces for s in world.wire)


@pytest.mark.parametrize("kind", KINDS)
def test_an_exit_beyond_the_router_is_noticed(kind: type[Client]) -> None:
    world, relay, alice, bob = scene(kind)
    for node in (relay, alice, bob):
        node.start()
    world.run(700)
    bob.exit()
    # Windows and iptux tell us (DIALUPOPT, and because we are listed); others are noticed with the next pass.
    world.until(lambda: bob.address not in alice.listed, within=700 if kind is Plain else 10)
    check(world)


@pytest.mark.parametrize("kind", KINDS)
def test_a_rename_beyond_the_router_is_noticed(kind: type[Client]) -> None:
    world, relay, alice, bob = scene(kind)
    for node in (relay, alice, bob):
        node.start()
    world.run(700)
    bob.rename("robert")
    world.until(lambda: alice.listed[bob.address] == "robert", within=700 if kind is Plain else 10)
    check(world)


def test_windows_is_asked_to_push_what_changes() -> None:
    world, relay, _, bob = scene(Windows)
    bob.start()
    relay.start()
    world.run(10)
    questions = [s for s in world.wire if s.to == bob.address and s.mode == Command.BR_ENTRY]
    assert all(s.packet.options & Option.DIALUP for s in questions)
    assert isinstance(bob, Windows)
    assert bob.dialup == {"10.1.1.2"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_killed_beyond_the_router_is_gone_with_the_next_pass(kind: type[Client]) -> None:
    world, relay, alice, bob = scene(kind)
    for node in (relay, alice, bob):
        node.start()
    world.run(900)
    bob.kill()
    world.until(lambda: bob.address not in alice.listed, within=650)
    check(world)


@pytest.mark.parametrize("kind", KINDS)
def test_a_restart_beyond_the_router_is_noticed_with_the_next_pass(kind: type[Client]) -> None:
    world, relay, alice, bob = scene(kind)
    for node in (relay, alice, bob):
        node.start()
    world.run(900)
    bob.kill()
    bob.start()  # it has forgotten everybody, and its BR_ENTRY does not reach us
    world.until(lambda: alice.address in bob.listed, within=650)
    check(world)


def test_a_restart_of_iptux_is_known_by_its_numbers() -> None:
    world, relay, alice, bob = scene(Iptux, sweep_every=600.0)
    bob.number = 400
    for node in (relay, alice, bob):
        node.start()
    bob.number = 400
    world.run(700)
    bob.kill()
    bob.start()
    begun = world.now
    world.until(lambda: alice.address in bob.listed, within=650)
    told = [s for s in world.since(begun) if s.to == bob.address and s.announces]
    assert len(told) == 1


def test_a_user_back_beyond_the_router_is_found_within_ten_minutes() -> None:
    world, relay, alice, bob = scene(Windows)
    for node in (relay, alice, bob):
        node.start()
    world.run(100)
    bob.exit()
    world.run(3000)
    bob.start()
    world.until(lambda: alice.listed.get(bob.address) == "bob", within=605)
    world.run(5)
    check(world)


def test_a_user_that_moved_beyond_the_router_is_found_at_its_new_address() -> None:
    world, relay, alice, bob = scene(Plain, sweep_unknown_every=1200.0)
    for node in (relay, alice, bob):
        node.start()
    world.run(100)
    bob.kill()
    bob.move("10.1.7.99")
    bob.start()
    world.until(lambda: bob.address in alice.listed and "10.1.7.12" not in alice.listed, within=1300)
    assert len(relay.said(UserMoved)) <= 1
    world.run(20)
    check(world)


def test_later_passes_are_evenly_spread() -> None:
    world, relay, _, _ = scene(Plain)
    relay.start()
    world.run(20)
    begun = world.now
    world.run(3600)
    times = [s.time - begun for s in world.since(begun) if segment_of(s.to) == "10.1.7"]
    assert 250 <= len(times) <= 258
    gaps = [b - a for a, b in pairwise(times)]
    assert max(gaps) < 3600 / 254 * 1.6
    assert len(asked(world, begun)) == len(set(asked(world, begun)))


def test_addresses_of_known_users_are_left_to_their_own_ten_minutes() -> None:
    world, relay, _, bob = scene(Plain)
    bob.start()
    relay.start()
    world.run(20)
    begun = world.now
    world.run(7200)
    assert asked(world, begun).count(bob.address) == 12
    assert set(asked(world, begun)) == {f"10.1.7.{n}" for n in range(1, 255)}


def test_an_address_that_several_left_is_asked_once_each_time() -> None:
    world, relay, _, bob = scene(Plain, sweep_unknown_every=36000.0)
    relay.start()
    for name in ("a" * 20, "b" * 20, "c" * 20):
        bob.logon = name.encode()
        bob.start()
        bob.send(bob.presence(Command.BR_ENTRY), "10.1.1.2")
        world.run(10)
    bob.kill()
    world.run(1000)
    assert len(list(relay.relay.users(world.now))) == 3
    begun = world.now
    world.run(6000)
    assert 9 <= asked(world, begun).count(bob.address) <= 12


def test_25400_addresses_are_asked_within_180_s_and_never_above_the_rate() -> None:
    world = World()
    relay = RelayNode(world, ("10.1.1.2",), remote=tuple(f"10.2.{n}.*" for n in range(100)))
    relay.start()
    world.until(lambda: len(relay.said(SweepDone)) == 100, within=180 + 5)
    times = [s.time for s in world.wire if s.mode == Command.BR_ENTRY and not s.to.endswith(".255")]
    assert len(times) == 25_400
    assert times[-1] - times[0] < 180
    assert busiest(times) <= 150


@pytest.mark.parametrize("rate", [1.0, 10.0, 33.0, 200.0])
def test_the_rate_is_a_limit_for_every_second(rate: float) -> None:
    world, relay, _, _ = scene(Plain, sweep_rate=rate)
    for n in range(20, 60):
        Plain(world, f"10.1.7.{n}", f"b{n}").alive = True
    relay.start()
    world.run(254 / rate * 1.3 + 10)
    times = [s.time for s in world.wire if segment_of(s.to) == "10.1.7" and not s.announces]
    assert len(set(asked(world))) == 254
    assert busiest(times) <= rate


def test_a_full_send_queue_holds_the_sweep_back() -> None:
    world, relay, _, _ = scene(Plain)
    relay.relay.congested = False
    relay.start()
    world.run(0.5)
    relay.relay.congested = True
    world.run(0.1)
    held = len(asked(world))
    world.run(60)
    assert len(asked(world)) == held
    relay.relay.congested = False
    world.run(5)
    assert len(asked(world)) == 254


def test_a_pass_can_be_asked_for_and_asks_known_users_too() -> None:
    world, relay, _, bob = scene(Plain)
    bob.start()
    relay.start()
    world.run(30)
    begun = world.now
    assert relay.relay.sweep_now(world.now, ["10.1.7.*"]) == 254
    relay.wait()
    world.run(12)
    assert len(asked(world, begun)) == 254
    last = relay.said(SweepDone)[-1]
    assert isinstance(last, SweepDone)
    assert (last.asked, last.answered) == (254, 1)


def test_users_of_two_swept_segments_are_not_announced_to_each_other_unless_asked_for() -> None:
    for between in (False, True):
        world = World()
        relay = RelayNode(world, ("10.1.1.2",), remote=("10.1.7.*", "10.1.8.*"), between_remote=between)
        bob, carl = Plain(world, "10.1.7.12", "bob"), Iptux(world, "10.1.8.12", "carl")
        for node in (bob, carl, relay):
            node.start()
        world.run(20)
        assert (bob.address in carl.listed) is between
        assert (carl.address in bob.listed) is between
        check(world)


def test_announcements_to_a_swept_segment_are_unicast_with_a_source_of_ours() -> None:
    world, relay, alice, bob = scene(Iptux)
    for node in (relay, alice, bob):
        node.start()
    world.run(20)
    spoken = [s for s in world.wire if s.announces]
    assert {(s.source, s.to) for s in spoken} == {
        (alice.address, bob.address),
        (bob.address, "10.1.1.255"),
    }
