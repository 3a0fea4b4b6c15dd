"""Starting, in any order: everybody lists everybody beyond the router, and nobody is served twice."""

from __future__ import annotations

from itertools import permutations

import pytest

from camrelay.ipmsg.command import Command
from camrelay.relay.outputs import UserChanged, UserHeard, UserJoined
from tests.unit.relay.invariants import check
from tests.world import Client, Feiq, Iptux, Plain, RelayNode, Sent, Windows, World

ORDERS = list(permutations(("iptux", "windows", "plain", "relay")))


def four() -> tuple[World, dict[str, Client | RelayNode]]:
    world = World()
    return world, {
        "iptux": Iptux(world, "10.1.1.11", "alice"),
        "windows": Windows(world, "10.1.2.12", "bob"),
        "plain": Plain(world, "10.1.3.13", "carl"),
        "relay": RelayNode(world, ("10.1.1.2", "10.1.2.2", "10.1.3.2")),
    }


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
@pytest.mark.parametrize("gap", [0.0, 0.3, 20.0])
def test_started_in_any_order_everybody_lists_everybody(order: tuple[str, ...], gap: float) -> None:
    world, who = four()
    for name in order:
        who[name].start()
        world.run(gap)
    world.run(20)
    check(world)


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
def test_nobody_is_announced_twice_to_the_same_listener(order: tuple[str, ...]) -> None:
    world, who = four()
    relay = who["relay"]
    for name in order:
        who[name].start()
        world.run(20)
    world.run(60)
    assert isinstance(relay, RelayNode)
    broadcasts = [(s.source, s.to) for s in world.wire if s.announces and s.to.endswith(".255")]
    unicasts = [(s.source, s.to) for s in world.wire if s.announces and not s.to.endswith(".255")]
    assert len(broadcasts) == len(set(broadcasts))
    # Its answer to the relay's own BR_ENTRY makes a client that was there first get a list of its own.
    assert len(unicasts) == len(set(unicasts))


def test_a_joining_client_costs_one_datagram_per_segment_and_its_own_list() -> None:
    world = World()
    residents = [Iptux(world, f"10.1.1.{n}", f"a{n}") for n in range(11, 31)]
    RelayNode(world, ("10.1.1.2", "10.1.2.2")).start()
    for client in residents:
        client.start()
    world.run(20)
    begun = world.now
    bob = Windows(world, "10.1.2.12", "bob")
    bob.start()
    world.run(4)
    spoken = [s for s in world.since(begun) if s.announces]
    assert [s.to for s in spoken if s.source == bob.address] == ["10.1.1.255"]
    assert sorted(s.source for s in spoken if s.to == bob.address) == sorted(c.address for c in residents)
    assert all(s.sender in (bob.address, "10.1.1.2", "10.1.2.2") for s in world.since(begun))


def test_the_later_one_of_two_is_listed_within_a_tenth_of_a_second() -> None:
    world, who = four()
    alice, carl = who["iptux"], who["plain"]
    assert isinstance(alice, Client)
    assert isinstance(carl, Client)
    who["relay"].start()
    carl.start()
    world.run(10)
    alice.start()
    world.until(lambda: "10.1.3.13" in alice.listed and "10.1.1.11" in carl.listed, within=0.1)


def test_entry_is_answered_and_remembered() -> None:
    world = World()
    relay = RelayNode(world, ("10.1.1.2",))
    alice = Iptux(world, "10.1.1.11", "alice")
    relay.start()
    alice.start()
    world.run(1)
    assert alice.listed == {"10.1.1.2": "r1 (camrelay)"}
    assert relay.users() == {"10.1.1.11": "alice"}
    (joined,) = relay.said(UserJoined)
    assert isinstance(joined, UserJoined)
    assert joined.user.address == "10.1.1.11"


def test_a_rename_reaches_the_other_segments_at_once() -> None:
    world, who = four()
    for node in who.values():
        node.start()
    world.run(20)
    for name in ("iptux", "windows", "plain"):
        client = who[name]
        assert isinstance(client, Client)
        client.rename(f"{name} renamed")
        others = [c for c in world.clients if c is not client]
        world.until(lambda c=client, o=others: all(x.listed[c.address] == c.nick for x in o), within=0.1)  # type: ignore[misc]
    check(world)


def test_an_absence_is_a_rename() -> None:
    world = World()
    bob, carl = Windows(world, "10.1.2.12", "bob"), Iptux(world, "10.1.1.13", "carl")
    relay = RelayNode(world, ("10.1.1.2", "10.1.2.2"))
    for node in (relay, bob, carl):
        node.start()
    world.run(20)
    bob.options |= 0x100
    bob.rename("bob [at lunch]")
    world.run(0.1)
    assert carl.listed[bob.address] == "bob [at lunch]"
    assert [row.away for row in relay.relay.users(world.now) if row.address == bob.address] == [True]
    bob.options &= ~0x100
    bob.rename("bob")
    world.run(0.1)
    assert carl.listed[bob.address] == "bob"
    assert len(relay.said(UserChanged)) == 2


def test_the_same_words_again_change_nothing_and_are_told_nobody() -> None:
    world, who = four()
    for node in who.values():
        node.start()
    world.run(20)
    relay, bob, begun = who["relay"], who["windows"], world.now
    assert isinstance(relay, RelayNode)
    assert isinstance(bob, Client)
    bob.broadcast(Command.BR_ABSENCE)
    bob.broadcast(Command.BR_ABSENCE)
    world.run(1)
    assert [s for s in world.since(begun) if s.announces] == []
    assert relay.said(UserChanged) == []


def test_a_sign_of_life_is_written_down_every_ten_minutes() -> None:
    world = World()
    relay = RelayNode(world, ("10.1.1.2",))
    Windows(world, "10.1.1.11", "alice").start()
    relay.start()
    world.run(3600 + 5)
    assert 4 <= len(relay.said(UserHeard)) <= 6


def test_another_name_at_the_same_address_replaces_the_first_without_a_farewell() -> None:
    world = World()
    alice, carl = Plain(world, "10.1.1.11", "alice"), Iptux(world, "10.1.2.13", "carl")
    relay = RelayNode(world, ("10.1.1.2", "10.1.2.2"))
    for node in (relay, alice, carl):
        node.start()
    world.run(20)
    alice.logon, alice.nick = b"dora", "dora"
    alice.start()
    world.run(20)
    assert carl.listed["10.1.1.11"] == "dora"
    assert relay.users("offline") == {"10.1.1.11": "alice"}
    assert [s for s in world.wire if s.mode == Command.BR_EXIT] == []


def test_the_packet_number_of_the_user_is_kept_in_announcements() -> None:
    world = World()
    feiq, carl = Feiq(world, "10.1.1.11", "fei"), Iptux(world, "10.1.2.13", "carl")
    feiq.number = 4_700_000_000_000
    RelayNode(world, ("10.1.1.2", "10.1.2.2")).start()
    world.run(1)
    feiq.start()
    carl.start()
    world.run(5)
    numbers = {s.packet.serial for s in world.wire if s.announces and s.source == feiq.address}
    assert numbers == {4_700_000_000_001}


@pytest.mark.parametrize("number", [b"x", b"", b"1" * 21, b"-1"])
def test_a_wrong_number_before_the_same_words_is_not_taken_over(number: bytes) -> None:
    world = World()
    alice, relay = Plain(world, "10.1.1.11", "alice"), RelayNode(world, ("10.1.1.2", "10.1.2.2"))
    relay.start()
    alice.start()
    world.run(5)
    words = alice.presence(Command.BR_ENTRY).split(b":", 2)[2]
    world.put(Sent(world.now, alice.address, alice.address, "10.1.1.255", b"1:" + number + b":" + words))
    world.run(5)
    Iptux(world, "10.1.2.13", "carl").start()
    world.run(5)
    assert next(s for s in world.wire if s.to == "10.1.2.13" and s.announces).packet.number.isdigit()
