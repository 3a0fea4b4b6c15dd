"""Who comes, or comes back with an empty list, gets everybody: at once, whole, and once."""

from __future__ import annotations

import pytest

from camrelay.ipmsg.command import Command
from camrelay.relay.user import SavedUser
from tests.unit.relay.invariants import PACED, busiest, check
from tests.world import Client, Iptux, ListAsker, Plain, RelayNode, Sent, Windows, World

KINDS = [Iptux, Windows, Plain]


def scene(kind: type[Client], residents: int = 3) -> tuple[World, RelayNode, Client]:
    """A relay between residents of 10.1.1.* and a newcomer of ``kind`` at 10.1.2.12, not started yet."""
    world = World()
    relay = RelayNode(world, ("10.1.1.2", "10.1.2.2"))
    for n in range(residents):
        Iptux(world, f"10.1.1.{n + 10}", f"a{n}").alive = True  # started long ago
    relay.start()
    world.run(20)
    return world, relay, kind(world, "10.1.2.12", "bob")


def saved(address: str, nick: str) -> SavedUser:
    data = b"1:1:u%b:pc:3:%b\0sales" % (address.encode(), nick.encode())
    return SavedUser(data, "", address, 2425, True, 10.0, 100.0)


def told(world: World, to: str, begun: float) -> list[str]:
    return sorted(s.source for s in world.since(begun) if s.to == to and s.announces)


@pytest.mark.parametrize("kind", KINDS)
def test_a_refresh_empties_the_list_and_is_served(kind: type[Client]) -> None:
    world, _, bob = scene(kind)
    bob.start()
    world.run(30)
    bob.refresh()
    begun = world.now
    world.run(2)
    assert told(world, bob.address, begun) == ["10.1.1.10", "10.1.1.11", "10.1.1.12"]
    world.run(30)
    check(world)


@pytest.mark.parametrize("kind", KINDS)
def test_the_second_entry_of_the_same_start_is_not_served_again(kind: type[Client]) -> None:
    world, relay, bob = scene(kind)
    begun = world.now
    bob.start()
    world.run(60)
    entries = [s for s in world.since(begun) if s.sender == bob.address and s.mode == Command.BR_ENTRY]
    assert len(entries) == (1 if kind is Plain else 2)
    assert told(world, bob.address, begun) == ["10.1.1.10", "10.1.1.11", "10.1.1.12"]
    assert relay.relay.counters["full lists"] == 4


@pytest.mark.parametrize("kind", [Iptux, Plain])
def test_a_refresh_within_seven_seconds_is_served_at_their_end(kind: type[Client]) -> None:
    world, _, bob = scene(kind)
    bob.start()
    world.run(3)
    first = world.now
    bob.refresh()
    world.run(3.9)
    assert told(world, bob.address, first) == []
    assert not [a for a in bob.listed if a.startswith("10.1.1.1")]
    world.run(0.3)
    assert told(world, bob.address, first) == ["10.1.1.10", "10.1.1.11", "10.1.1.12"]
    check(world)


def test_many_refreshes_cost_one_list_per_seven_seconds() -> None:
    world, relay, bob = scene(Plain)
    bob.start()
    before = relay.relay.counters["full lists"]
    for _ in range(28):
        world.run(1)
        bob.refresh()
    world.run(10)
    assert 5 <= relay.relay.counters["full lists"] - before <= 6
    check(world)


def test_a_windows_client_back_after_five_seconds_is_no_second_entry() -> None:
    world, _, bob = scene(Windows)
    bob.start()
    world.run(1)
    bob.exit()
    world.run(3.75)
    bob.start()  # its BR_ENTRY comes 5 s after that of the first start
    world.run(3)
    check(world)


@pytest.mark.parametrize("kind", KINDS)
def test_500_external_users_are_listed_by_a_joining_client_within_2_s(kind: type[Client]) -> None:
    world = World()
    relay = RelayNode(world, ("10.1.1.2", "10.1.2.2", "10.1.3.2"))
    relay.start([saved(f"10.1.{1 + n // 250}.{3 + n % 250}", f"a{n}") for n in range(500)])
    world.run(5)
    bob = kind(world, "10.1.3.12", "bob")
    bob.start()
    begun = world.now
    delay = 0.25 if kind is Windows else 0.0  # Windows warms up first
    took = world.until(lambda: len(bob.listed) == 501, within=2.0 + delay)
    assert took <= 2.0 + delay
    times = [s.time for s in world.since(begun) if s.to == bob.address]
    assert busiest(times) <= 450


def test_many_clients_that_join_at_once_are_all_served_at_the_pace() -> None:
    world, _, _ = scene(Plain, residents=200)
    begun = world.now
    newcomers = [Plain(world, f"10.1.2.{n + 20}", f"b{n}") for n in range(20)]
    for client in newcomers:
        client.start()
    world.until(lambda: all(len(c.listed) >= 220 for c in newcomers), within=4.0)
    assert busiest([s.time for s in world.since(begun) if s.announces and ".255" not in s.to]) <= PACED
    check(world)


def test_a_full_send_queue_holds_lists_back_and_not_changes() -> None:
    world, relay, bob = scene(Plain)
    relay.relay.congested = True
    bob.start()
    world.run(5)
    assert not [a for a in bob.listed if a.startswith("10.1.1.1")]
    alice = world.nodes["10.1.1.10"]
    assert isinstance(alice, Client)
    alice.rename("renamed")
    world.run(1)
    assert bob.listed[alice.address] == "renamed"
    relay.relay.congested = False
    world.run(5)
    check(world)


def test_a_list_is_given_to_who_asks_for_our_offer() -> None:
    world, relay, _ = scene(Plain, residents=40)
    asker = ListAsker(world, "10.1.2.14", "lister")
    asker.start()
    world.run(1)
    assert len(asker.listed) == 41
    assert relay.relay.counters["member lists given"] == 1


def test_a_long_list_is_given_in_parts() -> None:
    world = World()
    relay = RelayNode(world, ("10.1.1.2", "10.1.2.2"))
    for n in range(240):
        Plain(world, f"10.1.1.{n + 10}", f"a{n}", host="h" * 75, group="g" * 70).alive = True
    relay.start()
    asker = ListAsker(world, "10.1.2.14", "lister")
    world.run(20)
    asker.start()
    world.run(0.02)  # before the announcements
    assert relay.relay.counters["member lists given"] == 2
    assert len(asker.listed) == 241


def ask(world: World, source: str, mode: int, to: str, body: bytes = b"0") -> None:
    data = b"1:1:x:y:%d:%b\0" % (mode, body)
    world.put(Sent(world.now, source, source, to, data))
    world.run(1)


def test_a_list_is_not_given_without_our_offer() -> None:
    world, relay, bob = scene(Plain)
    bob.start()
    world.run(20)
    begun = world.now
    ask(world, bob.address, Command.GETLIST, "10.1.2.2")
    assert [s for s in world.since(begun) if s.sender == "10.1.2.2"] == []
    assert relay.relay.counters["dropped: member list asked for without our offer"] == 1


def test_an_offer_is_not_made_to_an_address_that_proves_nothing() -> None:
    world, _, _ = scene(Plain)
    begun = world.now
    ask(world, "10.1.2.66", Command.BR_ISGETLIST2, "10.1.2.2")  # by unicast: the address may be forged
    assert [s.mode for s in world.since(begun) if s.sender == "10.1.2.2"] in ([], [Command.BR_ENTRY])
    begun = world.now
    ask(world, "10.1.2.66", Command.BR_ISGETLIST2, "10.1.2.255")
    assert [s.mode for s in world.since(begun) if s.sender == "10.1.2.2"] == [Command.OKGETLIST]


def test_every_two_hours_what_a_client_lost_comes_back_and_what_it_kept_goes() -> None:
    world, relay, bob = scene(Iptux)
    bob.start()
    alice, dead = world.nodes["10.1.1.10"], world.nodes["10.1.1.11"]
    assert isinstance(alice, Client)
    assert isinstance(dead, Client)
    world.run(60)
    begun = world.now
    world.loss = 1.0
    dead.kill()
    world.until(lambda: dead.address in relay.users("offline"), within=200)
    world.run(10)
    world.loss = 0.0
    del bob.listed[alice.address]
    world.run(7200 + 60 - (world.now - begun))
    assert alice.address in bob.listed
    assert dead.address not in bob.listed
    check(world)


def test_the_two_hourly_round_comes_at_a_pace_and_after_those_who_join() -> None:
    world = World()
    relay = RelayNode(world, ("10.1.1.2", "10.1.2.2"), announce_every=600.0)
    for n in range(240):
        Iptux(world, f"10.1.1.{n + 10}", f"a{n}").alive = True
    relay.start()
    bob = Plain(world, "10.1.2.12", "bob")
    world.run(600.1)
    begun = world.now
    bob.start()
    world.until(lambda: len(bob.listed) == 241, within=1.0)
    world.run(5)
    round_ = [s.time for s in world.since(begun - 0.2) if s.announces and s.to == "10.1.2.255"]
    assert len(round_) == 240
    assert busiest(round_) <= 420


def test_iptux_restarted_within_seven_seconds_is_served_at_once() -> None:
    world, _, bob = scene(Iptux)
    bob.start()
    world.run(1)
    bob.rename("robert")
    world.run(1)
    bob.kill()
    bob.start()  # its numbers begin at 1 again: this is no copy and no refresh
    world.until(lambda: len(bob.listed) == 4, within=0.1)
