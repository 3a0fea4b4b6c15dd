"""What one Windows client of a swept segment lists: whom it lacks is told again, whom we lack is asked."""

from __future__ import annotations

from camrelay.ipmsg import hostlist
from camrelay.ipmsg.command import Command
from camrelay.ipmsg.packet import Packet, build
from camrelay.relay.lists import MAX_HEARSAY
from tests.unit.relay.invariants import busiest, check
from tests.world import Iptux, Plain, RelayNode, Sent, Windows, World


def scene(locals_: int = 3) -> tuple[World, RelayNode, Windows]:
    """Residents of 10.1.1.* with the relay, and one Windows client beyond the router; all settled."""
    world = World()
    relay = RelayNode(world, ("10.1.1.2",), remote=("10.1.7.*",))
    for n in range(locals_):
        Iptux(world, f"10.1.1.{n + 10}", f"a{n}").start()
    bob = Windows(world, "10.1.7.12", "bob")
    bob.start()
    world.run(10)
    relay.start()
    world.run(30)
    check(world)
    return world, relay, bob


def test_it_is_asked_every_ten_minutes_and_sees_nothing_of_it() -> None:
    world, relay, bob = scene()
    listed, begun = dict(bob.listed), world.now
    world.run(3600)
    modes = [s.mode for s in world.since(begun) if s.to == bob.address]
    assert modes.count(Command.GETLIST) == 6
    assert (
        modes.count(Command.BR_ENTRY) <= 1
    )  # once an hour: a rename that it pushed to us may have been lost
    assert len(modes) <= 7
    assert bob.listed == listed
    assert relay.relay.counters["member lists read"] == 6


def test_a_rename_whose_push_was_lost_is_noticed_within_the_hour() -> None:
    world, relay, bob = scene()
    world.loss = 1.0
    bob.rename("robert")
    world.run(0.1)
    world.loss = 0.0
    world.until(lambda: relay.users()[bob.address] == "robert", within=3600 + 605)
    world.run(5)
    check(world)


def test_whom_it_lacks_is_told_again_and_nobody_else() -> None:
    world, _, bob = scene()
    del bob.listed["10.1.1.11"]
    begun = world.now
    world.until(lambda: "10.1.1.11" in bob.listed, within=605)
    assert [(s.source, s.to) for s in world.since(begun) if s.announces] == [("10.1.1.11", bob.address)]


def test_after_its_refresh_it_gets_everybody_and_pushes_its_changes_again() -> None:
    world, _, bob = scene()
    world.run(100)
    bob.refresh()
    assert bob.dialup == set()
    world.until(lambda: len(bob.listed) == 4, within=605)
    assert bob.dialup == {"10.1.1.2"}
    check(world)


def test_whom_it_lists_and_we_do_not_know_is_asked_and_not_registered() -> None:
    world, relay, bob = scene()
    carl = Plain(world, "10.1.7.99", "carl")
    world.run(20)
    carl.start()
    bob.listed["10.1.7.200"] = "a ghost"
    begun = world.now
    world.until(lambda: carl.address in relay.users(), within=605)
    world.run(5)
    asked = {s.to for s in world.since(begun) if s.mode == Command.BR_ENTRY and s.sender == "10.1.1.2"}
    assert "10.1.7.200" in asked
    assert "10.1.7.200" not in {row.address for row in relay.relay.users(world.now)}
    check(world)


def test_its_list_is_read_to_the_end() -> None:
    world, relay, bob = scene(locals_=40)
    bob.list_room = 600
    del bob.listed["10.1.1.45"]
    begun = world.now
    world.until(lambda: "10.1.1.45" in bob.listed, within=605)
    lists = [s for s in world.since(begun) if s.mode == Command.ANSLIST]
    assert len(lists) > 3
    assert relay.relay.counters["member lists read"] == 1
    assert len([s for s in world.since(begun) if s.announces]) == 1


def listing(addresses: list[str], following: int = 0) -> bytes:
    entries = [hostlist.Entry(b"u", b"h", 0x100, a, 2425, b"n", b"g") for a in addresses]
    body, _ = hostlist.pack(entries, 0)
    return b"%5d" % following + body[5:]


def answer(world: World, bob: Windows, body: bytes) -> None:
    data = build(b"1", 9, bob.logon, bob.host, Command.ANSLIST, body)
    world.put(Sent(world.now, bob.address, bob.address, "10.1.1.2", data))


def test_a_list_that_we_did_not_ask_for_is_dropped() -> None:
    world, relay, bob = scene()
    begun = world.now
    answer(world, bob, listing(["10.1.7.200"]))
    world.run(5)
    assert not [s for s in world.since(begun) if s.to == "10.1.7.200"]
    assert relay.relay.counters["dropped: member list that we did not ask for"] == 1


def test_a_list_without_end_is_not_followed() -> None:
    class Endless(Windows):
        def special(self, packet: Packet, sent: Sent) -> None:
            if packet.mode == Command.GETLIST:
                answer(self.world, self, listing(["10.1.1.10", "10.1.7.66"], following=7))

    world, relay, bob = scene()
    bob.kill()
    Endless(world, bob.address, "bob").alive = True
    begun = world.now
    world.run(700)
    assert [s.packet.body for s in world.since(begun) if s.mode == Command.GETLIST] == [b"0", b"7"]
    assert relay.relay.counters["member lists read"] == 1


def test_hearsay_is_asked_at_the_pace_and_is_bounded() -> None:
    world, relay, bob = scene()
    bob.gives_list = False
    world.until(lambda: world.wire[-1].mode == Command.GETLIST, within=605)
    begun = world.now
    relay.relay.reconfigure(
        relay.settings.__class__(accept_from=("10.9.0.0/16",), remote=("10.1.7.*",)), world.now
    )
    for part in range(6):
        answer(world, bob, listing([f"10.9.{part}.{n}" for n in range(1, 250)] * 1))
        answer(world, bob, listing([f"10.9.{part + 10}.{n}" for n in range(1, 250)] * 1))
        answer(world, bob, listing([f"10.9.{part + 20}.{n}" for n in range(1, 250)] * 1))
    world.run(1)
    assert relay.relay.counters["hearsay dropped: too much of it"] > 0
    world.run(60)
    asked = [s.time for s in world.since(begun) if s.to.startswith("10.9.")]
    assert MAX_HEARSAY <= len(asked) <= MAX_HEARSAY + 200
    assert busiest(asked) <= 150
    assert relay.ticks < 61 * 200 + 2_000


def test_a_damaged_list_is_counted() -> None:
    world, relay, bob = scene()
    bob.gives_list = False
    world.until(lambda: world.wire[-1].mode == Command.GETLIST, within=605)
    answer(world, bob, b"no list at all")
    world.run(1)
    assert relay.relay.counters["malformed member list"] == 1


def test_without_leave_to_speak_a_windows_client_gets_one_list_from_ourselves() -> None:
    world = World()
    relay = RelayNode(world, ("10.1.1.2", "10.1.2.2"), can_speak=False)
    alice, bob = Iptux(world, "10.1.1.11", "alice"), Windows(world, "10.1.2.12", "bob")
    relay.start()
    alice.start()
    world.run(10)
    bob.start()
    world.run(20)
    assert bob.listed[alice.address] == "alice"
    assert bob.address not in alice.listed
    assert not any(s.announces for s in world.wire)
    counters = relay.relay.counters
    assert counters["member lists given"] == 1
    assert counters["not announced: may not speak for others"] == 2
    snapshot = relay.relay.snapshot(world.now)
    assert (snapshot.can_speak, snapshot.unserved) == (False, 1)
    bob.refresh()
    world.run(20)
    assert bob.listed[alice.address] == "alice"
    assert counters["member lists given"] == 2


def test_a_long_pushed_list_is_fetched_to_its_end() -> None:
    world = World()
    relay = RelayNode(world, ("10.1.1.2", "10.1.2.2"), can_speak=False)
    for n in range(240):
        Plain(world, f"10.1.1.{n + 10}", f"a{n}", host="h" * 75, group="g" * 70).alive = True
    relay.start()
    world.run(10)
    bob = Windows(world, "10.1.2.12", "鈴木")
    bob.start()
    world.run(5)
    assert len(bob.listed) == 241
    assert relay.relay.counters["member lists given"] == 2
