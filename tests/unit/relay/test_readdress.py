"""Interfaces come, go and change; two relays meet; several networks share a wire."""

from __future__ import annotations

import dataclasses
import math

import pytest

from camrelay.errors import UsageError
from camrelay.ipmsg.command import Command
from tests.unit.relay.invariants import check
from tests.world import Client, Iptux, Plain, RelayNode, Windows, World

KINDS = [Iptux, Windows, Plain]


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_interface_is_entered_and_its_users_are_found(kind: type[Client]) -> None:
    world = World()
    relay = RelayNode(world, ("10.1.1.2",))
    alice, bob = Iptux(world, "10.1.1.11", "alice"), kind(world, "10.1.2.12", "bob")
    for node in (relay, alice, bob):
        node.start()
    world.run(20)
    begun = world.now
    relay.readdress(("10.1.1.2", "10.1.2.2"))
    world.until(lambda: bob.address in alice.listed and alice.address in bob.listed, within=2.5)
    assert {s.to for s in world.since(begun) if s.mode == Command.BR_ENTRY} == {"10.1.2.255"}
    world.run(20)
    check(world)


def test_users_of_a_lost_interface_get_a_farewell_on_the_others() -> None:
    world = World()
    relay = RelayNode(world, ("10.1.1.2", "10.1.2.2"))
    alice, bob = Iptux(world, "10.1.1.11", "alice"), Plain(world, "10.1.2.12", "bob")
    for node in (relay, alice, bob):
        node.start()
    world.run(20)
    relay.readdress(("10.1.1.2",))
    world.run(5)
    assert bob.address not in alice.listed
    assert relay.users("offline") == {bob.address: "bob"}
    relay.readdress(("10.1.1.2", "10.1.2.2"))  # the cable is back
    world.run(20)
    check(world)


def test_a_lost_interface_whose_segment_is_configured_is_swept_instead() -> None:
    world = World()
    relay = RelayNode(world, ("10.1.1.2", "10.1.2.2"), remote=("10.1.1.*", "10.1.2.*"))
    alice, bob = Iptux(world, "10.1.1.11", "alice"), Plain(world, "10.1.2.12", "bob")
    for node in (relay, alice, bob):
        node.start()
    world.run(20)
    assert [row.kind for row in relay.relay.snapshot(world.now).segments] == ["local", "local"]
    relay.readdress(("10.1.1.2",))
    world.run(20)
    assert [row.kind for row in relay.relay.snapshot(world.now).segments] == ["local", "remote"]
    assert relay.users() == {alice.address: "alice", bob.address: "bob"}
    bob.rename("robert")
    bob.kill()
    world.until(lambda: bob.address not in alice.listed, within=700)
    check(world)


def test_another_address_in_the_same_segment_keeps_everybody() -> None:
    world = World()
    relay = RelayNode(world, ("10.1.1.2", "10.1.2.2"))
    alice, bob = Iptux(world, "10.1.1.11", "alice"), Plain(world, "10.1.2.12", "bob")
    for node in (relay, alice, bob):
        node.start()
    world.run(20)
    begun = world.now
    relay.readdress(("10.1.1.2", "10.1.2.3"))
    world.run(20)
    check(world)
    assert [s for s in world.since(begun) if s.mode == Command.BR_EXIT] == []
    assert bob.listed["10.1.2.3"] == "r1 (camrelay)"


def test_no_network_at_start_is_no_failure() -> None:
    world = World()
    relay = RelayNode(world, ("10.1.1.2",))
    plugged, relay.interfaces = relay.interfaces, []
    relay.start()
    world.run(60)
    relay.interfaces = plugged
    alice = Iptux(world, "10.1.1.11", "alice")
    alice.start()
    relay.readdress(("10.1.1.2", "10.1.2.2"))
    world.run(5)
    assert relay.users() == {alice.address: "alice"}


def test_a_round_under_way_is_not_said_into_the_wrong_segment_afterwards() -> None:
    world = World()
    relay = RelayNode(world, ("10.1.1.2", "10.1.2.2"), announce_every=300.0)
    for n in range(100):
        Iptux(world, f"10.1.1.{n + 10}", f"a{n}").alive = True
    Plain(world, "10.1.2.12", "bob").alive = True
    relay.start()
    world.run(290)
    relay.relay.congested = True  # the round waits
    world.run(20)
    relay.readdress(("10.1.1.3", "10.1.2.3"))
    relay.relay.congested = False
    begun = world.now
    world.run(20)
    check(world)
    round_ = [s for s in world.since(begun) if s.announces and s.to == "10.1.2.255"]
    assert len(round_) == 100


def test_other_settings_take_effect_without_a_restart() -> None:
    world = World()
    relay = RelayNode(world, ("10.1.1.2",))
    alice, bob = Iptux(world, "10.1.1.11", "alice"), Plain(world, "10.1.7.12", "bob")
    for node in (relay, alice, bob):
        node.start()
    world.run(20)
    relay.settings = dataclasses.replace(relay.settings, remote=("10.1.7.*",), sweep_rate=50.0)
    relay.act(relay.relay.reconfigure(relay.settings, world.now))
    world.run(20)
    check(world)
    relay.settings = dataclasses.replace(relay.settings, remote=())
    relay.act(relay.relay.reconfigure(relay.settings, world.now))
    world.run(5)
    assert bob.address not in alice.listed


def test_a_pass_over_an_unknown_segment_is_a_usage_error_that_names_the_known_ones() -> None:
    relay = RelayNode(World(), ("10.1.1.2",), remote=("10.1.7.*",)).relay
    with pytest.raises(UsageError, match=r"10\.1\.8\.\* is no remote segment .*10\.1\.7\.\*"):
        relay.sweep_now(1000.0, ["10.1.8.*"])
    with pytest.raises(UsageError):
        relay.sweep_now(1000.0, ["10.1.1.0/24"])


def test_two_relays_in_one_segment_do_not_echo() -> None:
    world = World()
    one, two = RelayNode(world, ("10.1.1.2", "10.1.2.2")), RelayNode(world, ("10.1.1.3", "10.1.2.3"))
    alice, bob = Iptux(world, "10.1.1.11", "alice"), Windows(world, "10.1.2.12", "bob")
    for node in (one, two, alice, bob):
        node.start()
    world.run(60)
    check(world)
    alice.rename("alice again")
    begun = world.now
    world.run(3600)
    spoken = [s for s in world.since(begun) if s.announces]
    assert len(spoken) == 2  # each of them told bob's segment of the new name, and that was all
    # Both ask alice, bob and each other every 150 s, and enter once an hour.
    assert len(world.since(begun)) < 4 * 2 * (3600 / 150) * 2 + 60
    check(world)


def test_two_relays_that_share_one_segment_only_serve_all_three() -> None:
    world = World()
    one, two = RelayNode(world, ("10.1.1.2", "10.1.2.2")), RelayNode(world, ("10.1.2.3", "10.1.3.2"))
    clients = [
        Iptux(world, "10.1.1.11", "a"),
        Windows(world, "10.1.2.12", "b"),
        Plain(world, "10.1.3.13", "c"),
    ]
    for node in (one, two, *clients):
        node.start()
    world.run(60)
    check(world)


def test_a_relay_swept_by_another_makes_no_ghost() -> None:
    world = World()
    one = RelayNode(world, ("10.1.1.2",), remote=("10.1.2.*",))
    two = RelayNode(world, ("10.1.2.2",), remote=("10.1.1.*",))
    alice, bob = Iptux(world, "10.1.1.11", "alice"), Windows(world, "10.1.2.12", "bob")
    for node in (one, two, alice, bob):
        node.start()
    world.run(4000)
    check(world)
    assert set(one.users()) == set(two.users()) == {alice.address, bob.address}
    assert not [s for s in world.wire if s.announces and {s.source, s.to} & {"10.1.1.2", "10.1.2.2"}]


def test_another_relay_is_never_announced_and_never_announced_to() -> None:
    world = World()
    relay = RelayNode(world, ("10.1.1.2", "10.1.2.2"))
    other = RelayNode(world, ("10.1.2.3",))
    alice = Iptux(world, "10.1.1.11", "alice")
    for node in (relay, other, alice):
        node.start()
    world.run(7300)
    assert {row.address: row.kind for row in relay.relay.users(world.now)}["10.1.2.3"] == "camrelay"
    assert not [s for s in world.wire if s.announces and "10.1.2.3" in (s.source, s.to)]
    assert "10.1.2.3" not in alice.listed
    other.relay.leave(world.now)
    other.kill()
    world.run(300)
    assert not [s for s in world.wire if s.announces and s.source == "10.1.2.3"]


def test_a_second_network_on_the_wire_is_served_with_also() -> None:
    world = World(same_wire={"10.1.9": "10.1.1"})
    relay = RelayNode(world, ("10.1.1.2", "10.1.2.2"), also=("10.1.9.0/24",))
    alice, carl = Iptux(world, "10.1.1.11", "alice"), Iptux(world, "10.1.9.13", "carl")
    bob, dora = Windows(world, "10.1.2.12", "bob"), Plain(world, "10.1.9.14", "dora")
    for node in (alice, bob, carl, dora, relay):
        node.start()
        world.run(5)
    world.run(20)
    for client in (alice, carl, dora):
        assert client.listed[bob.address] == "bob"
        assert bob.listed[client.address] == client.nick
    bob.rename("robert")
    world.run(1)
    assert {c.listed[bob.address] for c in (alice, carl, dora)} == {"robert"}


def test_several_segments_on_one_card_see_each_other() -> None:
    world = World(same_wire={"10.1.9": "10.1.1"})
    relay = RelayNode(world, ("10.1.1.2", "10.1.9.2"), one_card=True)
    alice, carl = Plain(world, "10.1.1.11", "alice"), Windows(world, "10.1.9.13", "carl")
    for node in (relay, alice, carl):
        node.start()
    world.run(20)
    check(world)
    alice.exit()
    world.run(5)
    check(world)


def test_an_idle_relay_rarely_wakes() -> None:
    world = World()
    relay = RelayNode(world, ("10.1.1.2", "10.1.2.2"))
    relay.start()
    world.run(60)
    ticks = relay.ticks
    world.run(86400)
    assert relay.ticks - ticks <= 24 + 12
    assert relay.relay.next_due() > world.now
    assert math.isfinite(relay.relay.next_due())


def test_a_relay_with_ten_users_and_a_swept_segment_wakes_a_few_times_a_minute() -> None:
    world = World()
    relay = RelayNode(world, ("10.1.1.2", "10.1.2.2"), remote=("10.1.7.*",))
    for n in range(5):
        Windows(world, f"10.1.1.{n + 10}", f"a{n}").alive = True
        Iptux(world, f"10.1.2.{n + 10}", f"b{n}").alive = True
    relay.start()
    world.run(600)
    ticks = relay.ticks
    world.run(36000)
    assert (relay.ticks - ticks) / 600 <= 15
