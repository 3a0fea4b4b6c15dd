"""Users who go: by themselves, silently, for a moment, or to another address."""

from __future__ import annotations

import pytest

from camrelay.ipmsg.command import Command, Option
from camrelay.relay.outputs import Twin, UserForgotten, UserLeft, UserMoved
from tests.unit.relay.invariants import check
from tests.world import Client, Iptux, Plain, RelayNode, Sent, Windows, World

KINDS = [Iptux, Windows, Plain]


def scene(kind: type[Client], **settings: object) -> tuple[World, RelayNode, Client, Client, Client]:
    """bob of ``kind`` at 10.1.2.12, watched by alice and carl from other segments; all list each other."""
    world = World()
    relay = RelayNode(world, ("10.1.1.2", "10.1.2.2", "10.1.3.2"), **settings)
    alice, carl = Iptux(world, "10.1.1.11", "alice"), Windows(world, "10.1.3.13", "carl")
    bob = kind(world, "10.1.2.12", "bob", logon="bob", host="bobs-pc")
    for node in (relay, alice, bob, carl):
        node.start()
    world.run(20)
    check(world)
    return world, relay, alice, bob, carl


def reasons(relay: RelayNode) -> list[str]:
    return [event.reason for event in relay.said(UserLeft) if isinstance(event, UserLeft)]


@pytest.mark.parametrize("kind", KINDS)
def test_an_exit_is_passed_on_at_once(kind: type[Client]) -> None:
    world, relay, alice, bob, carl = scene(kind)
    bob.exit()
    world.until(lambda: bob.address not in alice.listed and bob.address not in carl.listed, within=0.05)
    world.run(10)
    check(world)
    assert reasons(relay) == ["exit"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_farewell_is_said_once_more(kind: type[Client]) -> None:
    world, _, _, bob, _ = scene(kind)
    bob.exit()
    begun = world.now
    world.run(600)
    farewells = [s for s in world.since(begun) if s.announces and s.mode == Command.BR_EXIT]
    assert sorted((round(s.time - begun), s.to) for s in farewells) == [
        (0, "10.1.1.255"),
        (0, "10.1.3.255"),
        (2, "10.1.1.255"),
        (2, "10.1.3.255"),
    ]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("silent_after", [200.0, 30.0])
def test_a_killed_client_is_gone_everywhere_in_time(kind: type[Client], silent_after: float) -> None:
    world, relay, alice, bob, carl = scene(kind, silent_after=silent_after)
    world.run(silent_after * 2)
    assert bob.address in alice.listed
    bob.kill()
    world.until(
        lambda: bob.address not in alice.listed and bob.address not in carl.listed, within=silent_after
    )
    check(world)
    assert reasons(relay) == ["silent"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_live_client_is_never_given_up_and_seldom_asked(kind: type[Client]) -> None:
    world, relay, _, bob, _ = scene(kind)
    begun = world.now
    world.run(6 * 3600)
    check(world)
    assert reasons(relay) == []
    asked = [s for s in world.since(begun) if s.to == bob.address and not s.announces]
    assert len(asked) <= 6 * 3600 / 150 + 6
    quiet = {Command.GETINFO} if kind is Windows else {Command.BR_ENTRY}
    assert {s.mode for s in asked} == quiet


@pytest.mark.parametrize("kind", KINDS)
def test_a_user_that_comes_back_is_listed_again(kind: type[Client]) -> None:
    world, _, _, bob, _ = scene(kind)
    bob.exit()
    world.run(30)
    bob.start()
    world.run(10)
    check(world)


def test_what_was_announced_right_after_a_farewell_is_announced_again() -> None:
    world, _, _, bob, _ = scene(Plain)
    bob.exit()
    world.run(1)
    bob.start()
    begun = world.now
    world.run(60)
    times = [s.time - begun for s in world.since(begun) if s.announces and s.to == "10.1.1.255"]
    assert [round(t) for t in times] == [0, 8]
    check(world)


def test_who_changes_often_right_after_a_farewell_is_announced_again_once() -> None:
    world, _, _, bob, _ = scene(Plain)
    bob.exit()
    world.run(1)
    bob.start()
    begun = world.now
    for n in range(4):
        world.run(1)
        bob.rename(f"bob{n}")
    world.run(60)
    times = [s.time - begun for s in world.since(begun) if s.announces and s.to == "10.1.1.255"]
    assert [round(t) for t in times] == [0, 1, 2, 3, 4, 12]
    check(world)


def test_the_second_farewell_does_not_hit_a_user_that_is_back() -> None:
    world, _, alice, bob, _ = scene(Plain)
    bob.exit()
    world.run(0.5)
    bob.start()
    world.run(0.1)
    assert bob.address in alice.listed
    world.run(1.7)
    assert bob.address in alice.listed
    check(world)


def test_a_farewell_never_hits_another_live_user_at_that_address() -> None:
    world, relay, alice, bob, _ = scene(Plain)
    bob.kill()
    dora = Plain(world, bob.address, "dora")  # takes over the address
    dora.start()
    world.run(400)
    assert alice.listed[dora.address] == "dora"
    assert [s for s in world.wire if s.announces and s.mode == Command.BR_EXIT] == []
    assert reasons(relay) == ["replaced"]


def test_the_second_farewell_does_not_hit_another_user_at_that_address() -> None:
    world, _, alice, bob, _ = scene(Plain)
    bob.exit()
    world.run(0.5)
    dora = Plain(world, bob.address, "dora")
    dora.start()
    world.run(20)
    assert alice.listed[dora.address] == "dora"
    check(world)


def test_a_waiting_farewell_by_unicast_is_dropped_when_somebody_else_comes() -> None:
    world = World()
    RelayNode(world, ("10.1.2.2",), remote=("10.1.1.*",)).start()
    alice, bob = Plain(world, "10.1.1.11", "alice"), Plain(world, "10.1.2.12", "bob")
    alice.alive = True
    world.run(10)
    bob.start()
    world.run(10)
    assert bob.address in alice.listed
    bob.exit()
    Plain(world, bob.address, "dora").start()
    world.run(10)
    assert alice.listed[bob.address] == "dora"
    assert [s for s in world.wire if s.announces and s.mode == Command.BR_EXIT] == []


def test_a_user_that_returns_twice_within_a_minute_gets_more_patience() -> None:
    world, relay, alice, bob, _ = scene(Plain, silent_after=20.0)

    def gone_after() -> float:
        bob.broadcast(Command.BR_ABSENCE)
        world.run(0.1)
        bob.kill()
        return world.until(lambda: bob.address not in alice.listed, within=200)

    first = gone_after()
    for _ in range(2):
        bob.start()
        world.run(5)
        last = gone_after()
    assert last > first * 1.5
    assert reasons(relay) == ["silent"] * 3


def test_an_exit_that_a_windows_client_says_to_us_alone_does_not_remove_it() -> None:
    world, relay, alice, bob, _ = scene(Windows)  # priority reject: it answers with BR_EXIT, and stays
    bob.send(bob.presence(Command.BR_EXIT), "10.1.2.2")
    world.run(30)
    check(world)
    assert reasons(relay) == []
    bob.kill()
    bob.send(bob.presence(Command.BR_EXIT), "10.1.2.2")
    world.until(lambda: bob.address not in alice.listed, within=10)


def test_an_exit_in_another_name_removes_nobody() -> None:
    world, relay, alice, bob, _ = scene(Plain)
    data = b"1:9:mallory:pc:%d:x\0" % Command.BR_EXIT
    world.put(Sent(world.now, bob.address, bob.address, "10.1.2.255", data))
    world.run(5)
    assert bob.address in alice.listed
    assert relay.relay.counters["ignored: exit of somebody unknown"] == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", ["10.1.2.99", "10.1.3.99"])
def test_a_user_that_died_and_is_heard_elsewhere_has_moved(kind: type[Client], where: str) -> None:
    world, relay, alice, bob, carl = scene(kind)
    was = bob.address
    bob.kill()
    bob.move(where)
    world.run(60)
    begun = world.now
    bob.start()
    took = world.until(lambda: where in alice.listed and was not in alice.listed, within=10)
    assert took < 8
    (moved,) = relay.said(UserMoved)
    assert isinstance(moved, UserMoved)
    assert (moved.user.address, moved.was) == (where, was)
    said = [(s.source, s.mode) for s in world.since(begun) if s.announces and s.to == "10.1.1.255"]
    assert said[:2] == [(was, Command.BR_EXIT), (where, Command.BR_ABSENCE)]
    world.run(30)
    check(world)
    again = [s.time for s in world.since(begun) if s.source == where and s.to == "10.1.1.255" and s.announces]
    assert [round(t - again[0]) for t in again] == [0, 8]
    if where.startswith("10.1.2."):
        assert carl.listed[where] == "bob"


def test_the_farewell_after_a_move_goes_where_the_old_address_is_listed() -> None:
    world, _, alice, bob, carl = scene(Plain)
    was = bob.address
    bob.kill()
    bob.move("10.1.3.99")
    bob.start()
    begun = world.now
    world.run(60)
    farewells = {s.to for s in world.since(begun) if s.announces and s.mode == Command.BR_EXIT}
    assert farewells == {"10.1.1.255", "10.1.3.255"}
    assert was not in alice.listed
    assert was not in carl.listed


@pytest.mark.parametrize("kind", [Plain, Iptux])
def test_a_name_that_lives_at_two_addresses_is_a_twin_and_the_first_stays(kind: type[Client]) -> None:
    world, relay, alice, bob, _ = scene(kind)
    other = kind(world, "10.1.3.99", "bob too", logon="bob", host="bobs-pc")
    other.start()
    world.run(30)
    assert bob.address in alice.listed
    assert other.address not in alice.listed
    (twin,) = relay.said(Twin)
    assert isinstance(twin, Twin)
    assert twin.other == other.address
    assert [row.twin for row in relay.relay.users(world.now) if row.address == bob.address] == [other.address]
    assert reasons(relay) == []


def test_a_twin_gets_the_name_when_the_first_one_leaves() -> None:
    world, _, alice, bob, _ = scene(Plain)
    other = Plain(world, "10.1.3.99", "bob too", logon="bob", host="bobs-pc")
    other.start()
    world.run(30)
    bob.exit()
    world.run(5)
    assert alice.listed[other.address] == "bob too"
    check(world)


def test_a_twin_whose_first_address_repeats_its_words_is_still_seen() -> None:
    world, relay, _, bob, _ = scene(Plain)
    world.run(200)  # by then bob's last words were an ANSENTRY
    Plain(world, "10.1.3.99", "bob", logon="bob", host="bobs-pc").start()
    world.run(2)
    assert relay.users()[bob.address] == "bob"
    assert len(relay.said(Twin)) == 1


def test_a_twin_is_seen_when_the_first_speaks_before_it_is_asked() -> None:
    world, relay, _, bob, _ = scene(Plain)
    relay.relay.congested = True  # questions are held back
    Plain(world, "10.1.3.99", "bob", logon="bob", host="bobs-pc").start()
    world.run(1)
    bob.broadcast(Command.BR_ENTRY)  # the very words that are known of it
    world.run(1)
    assert len(relay.said(Twin)) == 1
    bob.kill()
    relay.relay.congested = False
    world.run(300)
    assert relay.said(UserMoved) == []


def test_an_offline_user_is_forgotten_after_seven_days() -> None:
    world, relay, _, bob, _ = scene(Plain, announce_every=86400.0, silent_after=7200.0)
    bob.exit()
    world.run(7 * 86400 - 60)
    assert bob.address in relay.users("offline")
    world.run(120)
    assert bob.address not in relay.users("offline")
    assert len(relay.said(UserForgotten)) == 1


def test_a_dial_up_bit_is_not_a_change() -> None:
    world, relay, _, bob, _ = scene(Iptux)
    begun = world.now
    bob.send(bob.presence(Command.BR_ENTRY | Option.DIALUP), "10.1.2.2")
    world.run(2)
    assert [s for s in world.since(begun) if s.announces and s.source == bob.address] == []
    assert relay.relay.counters["announcements"] == 3
