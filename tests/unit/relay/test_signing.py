"""Signed lists: whole, current, shared, to whoever reads them and to nobody else; with no privilege."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, cast

import pytest

from camrelay.ipmsg import signed
from camrelay.ipmsg.command import Command, Option
from camrelay.ipmsg.packet import is_ipdict
from camrelay.ipmsg.signed import Author, Host
from camrelay.relay.pacing import STEP
from camrelay.relay.signing import SIGNATURES
from camrelay.relay.slots import Slots
from tests.keys import PEER, RELAY
from tests.unit.relay.invariants import check
from tests.unit.relay.reading import Reading, residents
from tests.unit.relay.test_lists import saved
from tests.world import Client, Feiq, Iptux, Plain, RelayNode, Sent, Windows, World

if TYPE_CHECKING:
    from camrelay.relay.user import User

HERE = ("10.1.1.2", "10.1.2.2")


def dictionaries(world: World, begun: float = 0.0) -> list[Sent]:
    return [sent for sent in world.since(begun) if is_ipdict(sent.data)]


def scene(can_speak: bool = False, count: int = 3) -> tuple[World, RelayNode, Reading]:
    """Residents of 10.1.1.*, and a newcomer at 10.1.2.12."""
    world = World()
    relay = RelayNode(world, HERE, can_speak=can_speak, key=RELAY)
    residents(world, "10.1.1", count)
    relay.start()
    world.run(20)
    return world, relay, Reading(world, "10.1.2.12", "bob")


@pytest.mark.parametrize("can_speak", [False, True])
def test_a_newcomer_gets_everybody_signed(can_speak: bool) -> None:
    world, _, bob = scene(can_speak)
    bob.start()
    world.run(3)
    assert {a: n for a, n in bob.listed.items() if a.startswith("10.1.1.1")} == {
        "10.1.1.10": "a0",
        "10.1.1.11": "a1",
        "10.1.1.12": "a2",
    }
    assert len(bob.lists) == 1
    check(world, settled=False)


def test_changes_and_exits_reach_who_reads_signed_lists_without_privilege() -> None:
    world, _, bob = scene()
    bob.start()
    world.run(20)
    alice = Windows(world, "10.1.1.20", "alice")
    alice.start()
    world.run(1)
    assert bob.listed[alice.address] == "alice"
    alice.rename("alicia")
    world.run(1)
    assert bob.listed[alice.address] == "alicia"
    alice.exit()
    world.run(1)
    assert alice.address not in bob.listed
    last = bob.lists[-1]
    assert [(h.address, h.present) for h in signed.hosts(last.fields)] == [("10.1.1.20", False)]


def test_the_dead_are_removed_without_privilege() -> None:
    world, _, bob = scene()
    bob.start()
    world.run(20)
    world.nodes["10.1.1.10"].alive = False  # type: ignore[union-attr]
    world.run(210)
    assert "10.1.1.10" not in bob.listed
    assert "10.1.1.11" in bob.listed


def test_a_refresh_is_served_whole_and_costs_no_signature() -> None:
    world, relay, bob = scene(count=40)
    bob.start()
    world.run(20)
    before = relay.relay.counters["lists signed"]
    bob.refresh()
    world.run(3)
    assert len([a for a in bob.listed if a.startswith("10.1.1.") and a != "10.1.1.2"]) == 40
    assert relay.relay.counters["lists signed"] == before


def test_who_comes_costs_one_signature_of_the_list_and_one_for_the_news() -> None:
    world, relay, bob = scene(count=40)
    bob.start()
    world.run(20)
    Windows(world, "10.1.1.200", "new").start()
    world.run(5)
    before = relay.relay.counters["lists signed"]
    carol = Reading(world, "10.1.2.13", "carol")
    carol.start()
    world.run(5)
    assert relay.relay.counters["lists signed"] - before == 2
    assert carol.listed["10.1.1.200"] == "new"


@pytest.mark.parametrize("kind", [Plain, Iptux, Feiq])
def test_who_misreads_dictionaries_gets_none(kind: type[Client]) -> None:
    world, _, bob = scene()
    other = kind(world, "10.1.2.14", "other")
    for client in (other, bob):
        client.start()
    world.run(300)
    assert other.misreadings == 0
    assert other.address not in {sent.to for sent in dictionaries(world)}


def test_no_dictionary_is_ever_broadcast() -> None:
    world, _, bob = scene(can_speak=True)
    bob.start()
    world.run(300)
    assert not [sent for sent in dictionaries(world) if sent.to.endswith(".255")]


def test_a_claim_to_read_dictionaries_by_another_kind_is_not_believed() -> None:
    class Mobile(Windows):
        def presence(self, mode: int) -> bytes:
            return super().presence(mode).replace(b"VS:0001", b"VS:0004")

    world, _, _ = scene()
    Mobile(world, "10.1.2.15", "phone").start()
    world.run(20)
    assert [sent for sent in dictionaries(world) if sent.to == "10.1.2.15"] == []


def test_between_two_remote_segments() -> None:
    world = World()
    relay = RelayNode(world, ("10.1.1.2",), can_speak=False, key=RELAY, remote=("10.1.5.*", "10.1.6.*"))
    readers = [Reading(world, "10.1.5.10", "five"), Reading(world, "10.1.6.10", "six")]
    for client in readers:
        client.alive = True
    relay.start()
    world.run(60)
    five, six = readers
    assert five.listed[six.address] == "six"
    assert six.listed[five.address] == "five"
    six.exit()  # told the relay by unicast, as it was asked to
    world.run(20)
    assert six.address not in five.listed


def test_a_user_is_not_listed_to_its_own_segment() -> None:
    world, _, bob = scene()
    Windows(world, "10.1.2.30", "neighbour").start()
    bob.start()
    world.run(300)
    named = {h.address for packet in bob.lists for h in signed.hosts(packet.fields)}
    assert {a for a in named if a.startswith("10.1.2.")} == set()


def test_another_relay_is_not_listed() -> None:
    world, _, bob = scene()
    RelayNode(world, ("10.1.1.3",), key=PEER, can_speak=False).start()
    bob.start()
    world.run(30)
    assert "10.1.1.3" not in {h.address for packet in bob.lists for h in signed.hosts(packet.fields)}


def test_500_users_arrive_within_two_seconds() -> None:
    world = World()
    relay = RelayNode(world, ("10.1.1.2", "10.1.2.2", "10.1.3.2"), can_speak=False, key=RELAY)
    relay.start([saved(f"10.1.{1 + n // 250}.{3 + n % 250}", f"a{n}") for n in range(500)])
    world.run(5)
    bob = Reading(world, "10.1.3.12", "bob")
    bob.start()
    world.until(lambda: len(bob.listed) == 501, within=2.0 + 0.25)


def test_signing_never_takes_more_than_its_share_of_one_tick() -> None:
    world = World()
    relay = RelayNode(world, ("10.1.1.2", "10.1.2.2", "10.1.3.2"), can_speak=False, key=RELAY)
    relay.start([saved(f"10.1.{1 + n // 250}.{3 + n % 250}", f"a{n}") for n in range(500)])
    world.run(5)
    signed_so_far = [relay.relay.counters["lists signed"]]
    for n in range(60):
        Reading(world, f"10.1.3.{n + 12}", "reader").start()
    for _ in range(200):
        world.run(STEP)
        signed_so_far.append(relay.relay.counters["lists signed"])
    steps = [b - a for a, b in itertools.pairwise(signed_so_far)]
    assert 0 < max(steps) <= 2 * SIGNATURES
    assert signed_so_far[-1] <= 168 + 60  # groups of three, and the readers themselves


def test_very_long_names_go_in_several_datagrams() -> None:
    world, _, bob = scene(count=0)
    for n in range(4):
        client = Windows(world, f"10.1.1.{n + 10}", "営" * 26, logon="u" * 50, host="h" * 70 + str(n))
        client.group = "業" * 26
        client.start()
    world.run(20)
    bob.start()
    world.run(20)  # Reading asserts the size
    assert len([a for a in bob.listed if a.startswith("10.1.1.1")]) == 4


def test_the_option_bits_are_the_users_own_and_never_those_that_draw_traffic() -> None:
    world, _, bob = scene(count=0)
    alice = Windows(world, "10.1.1.20", "alice")
    alice.options |= Option.DIR_MASTER | Option.SERVER | Option.DIALUP
    alice.start()
    bob.start()
    world.run(10)
    (host,) = signed.hosts(bob.lists[-1].fields)
    assert (host.status, host.version) == (0x0F640000, "00010002:4:99:103")


def test_our_name_holds_the_fingerprint_and_our_host_is_not_the_computers() -> None:
    world, relay, bob = scene()
    bob.start()
    world.run(10)
    own = [s.packet for s in world.wire if s.sender in HERE and s.mode == Command.BR_ENTRY]
    assert {p.logon for p in own} == {b"camrelay-<8afb10eea9bae83c>"}
    assert {p.host for p in own} == {bob.lists[0].host.encode()}
    assert relay.settings.name.encode() not in own[0].host
    assert all(p.options & Option.ENCRYPT for p in own)
    assert {(p.logon, p.host) for p in bob.lists} == {
        ("camrelay-<8afb10eea9bae83c>", own[0].host.decode("ascii"))
    }


def test_without_a_key_nothing_is_signed_and_windows_gets_the_classic_list() -> None:
    world = World()
    relay = RelayNode(world, HERE, can_speak=False)
    residents(world, "10.1.1", 3)
    relay.start()
    world.run(20)
    bob = Reading(world, "10.1.2.12", "bob")
    bob.start()
    world.run(5)
    assert dictionaries(world) == []
    assert bob.listed["10.1.1.10"] == "a0"


def test_a_windows_client_without_signed_lists_gets_the_classic_one_once_per_start() -> None:
    class Old(Windows):
        options = 0x0F640000 & ~Option.CAPIPDICT

    world, relay, _ = scene(count=240)
    for n in range(200):
        Windows(world, f"10.1.1.{n + 10}", f"a{n}", host="h" * 70, logon="g" * 50).alive = True
    old = Old(world, "10.1.2.40", "old")
    old.start()
    world.run(20)
    assert len([a for a in old.listed if a.startswith("10.1.1.")]) >= 240
    assert [s for s in dictionaries(world) if s.to == old.address] == []
    begun = world.now
    given = relay.relay.counters["member lists given"]
    world.run(60)
    assert relay.relay.counters["member lists given"] == given
    assert [s for s in world.since(begun) if s.to == old.address and s.mode == Command.ANSLIST] == []
    old.refresh()
    world.run(10)
    assert relay.relay.counters["member lists given"] > given


def test_a_key_that_comes_late_is_adopted() -> None:
    world = World()
    relay = RelayNode(world, HERE, can_speak=False)
    residents(world, "10.1.1", 3)
    bob = Reading(world, "10.1.2.12", "bob")
    relay.start()
    bob.start()
    world.run(20)
    alice = Windows(world, "10.1.1.20", "alice")
    alice.start()
    world.run(2)
    assert alice.address not in bob.listed
    relay.act(relay.relay.adopt(RELAY, world.now))
    world.run(1)
    assert bob.listed[alice.address] == "alice"
    assert bob.lists[0].logon == "camrelay-<8afb10eea9bae83c>"


def test_another_name_in_the_settings_is_signed_anew() -> None:
    world, relay, bob = scene()
    bob.start()
    world.run(20)
    relay.settings = type(relay.settings)(name="other")
    relay.act(relay.relay.reconfigure(relay.settings, world.now))
    bob.refresh()
    world.run(5)
    assert bob.lists[-1].nick == "other (camrelay)"


def test_numbers_grow_and_none_comes_twice() -> None:
    world, _, bob = scene(count=30)
    bob.start()
    world.run(30)
    numbers = [packet.number for packet in bob.lists]
    assert len(set(numbers)) == len(numbers)


def stranger_list(address: str) -> bytes:
    author = Author(PEER, "bob-<3e9baf9cab544e94>", "PC-B", "Bob", "Sales", "", 0x0F640000)
    host = Host("carol", "pc-c", 0x0F640000, True, address, 2425, "carol", "", "")
    return signed.pack(author, [host], 0, 1_700_000_000, 1_700_000_000)[0]


def test_a_strangers_signed_list_changes_nothing_and_asks_nobody() -> None:
    world, relay, _ = scene()
    users, begun = relay.users(), world.now
    world.put(Sent(world.now, "10.1.1.77", "10.1.1.77", "10.1.1.2", stranger_list("10.1.2.50")))
    world.run(5)
    assert relay.users() == users
    assert relay.relay.counters["dropped: signed list of somebody unknown"] == 1
    assert [s for s in world.since(begun) if s.to == "10.1.2.50"] == []


def test_a_signed_list_of_a_user_is_a_hint() -> None:
    world, relay, _ = scene()
    silent = Plain(world, "10.1.2.50", "carol")
    silent.alive = True
    begun = world.now
    world.put(Sent(world.now, "10.1.1.10", "10.1.1.10", "10.1.1.2", stranger_list("10.1.2.50")))
    world.run(5)
    assert relay.users()["10.1.2.50"] == "carol"  # because it answered
    asked = next(s for s in world.since(begun) if s.to == "10.1.2.50" and not s.announces)
    assert asked.mode == Command.BR_ENTRY


def test_a_removal_in_a_signed_list_removes_nobody() -> None:
    world, relay, _ = scene()
    author = Author(PEER, "bob-<3e9baf9cab544e94>", "PC-B", "Bob", "Sales", "", 0x0F640000)
    host = Host("u10.1.1.11", "pc-10.1.1.11", 0x0F640000, False, "10.1.1.11", 2425, "a1", "", "")
    data, _ = signed.pack(author, [host], 0, 1_700_000_000, 1_700_000_000)
    world.put(Sent(world.now, "10.1.1.10", "10.1.1.10", "10.1.1.2", data))
    world.run(5)
    assert "10.1.1.11" in relay.users()


def test_a_forged_signature_is_dropped() -> None:
    world, relay, _ = scene()
    data = bytearray(stranger_list("10.1.2.50"))
    data[-20] ^= 1
    world.put(Sent(world.now, "10.1.1.10", "10.1.1.10", "10.1.1.2", bytes(data)))
    world.run(5)
    assert relay.relay.counters["dropped: not signed by whom it names"] == 1


def test_damaged_dictionaries_are_dropped() -> None:
    world, relay, _ = scene()
    for data in (b"IP2:", b"IP2:3:VER:Z", b"IP2:0::Z", stranger_list("10.1.2.50")[:-5]):
        world.put(Sent(world.now, "10.1.1.10", "10.1.1.10", "10.1.1.2", data))
    world.run(1)
    assert relay.relay.counters["dropped: malformed dictionary"] == 4


class Grouped:
    """What of a user counts for its group."""

    def __init__(self, shares: int = 0) -> None:
        self.shares = shares


def grouped(slots: Slots) -> list[list[User]]:
    return [list(slot.users) for slot in slots]


def test_groups_of_three_change_one_at_a_time() -> None:
    slots, users = Slots(), cast("list[User]", [Grouped() for _ in range(8)])
    for user in users:
        slots.add(user)
        slots.add(user)
    assert list(map(len, grouped(slots))) == [3, 3, 2]
    before = grouped(slots)
    slots.discard(users[1])
    slots.discard(users[1])
    newcomer = cast("User", Grouped())
    slots.add(newcomer)
    after = grouped(slots)
    assert sum(a != b for a, b in zip(before, after, strict=True)) == 1
    for user in [*users, newcomer]:
        slots.discard(user)
    assert list(slots) == []
    assert not slots._room


def test_a_group_is_of_users_whom_the_same_sharing_rules_are_about() -> None:
    slots, users = Slots(), cast("list[User]", [Grouped(n % 2) for n in range(8)])
    for user in users:
        slots.add(user)
    assert sorted(map(len, grouped(slots))) == [1, 1, 3, 3]
    assert all(user.shares == slot.shares for slot in slots for user in slot.users)
    mover = users[0]
    slots.discard(mover)
    mover.shares = 7
    slots.add(mover)
    assert sorted(map(len, grouped(slots))) == [1, 1, 1, 2, 3]
    assert [mover] in grouped(slots)
    for user in users:
        slots.discard(user)
    assert not slots._room


def test_a_question_to_who_sent_little_still_counts_for_windows() -> None:
    """A name with a fingerprint is dropped there without ENCRYPTOPT; a short one has no fingerprint."""
    world, _, _ = scene()
    forms = []
    for n, size in enumerate((200, 90, 70, 50, 20)):
        begun = world.now
        address = f"10.1.1.{60 + n}"
        data = b"1:7:m:p:32:" + b"x" * (size - 12) + b"\0"
        world.put(Sent(world.now, address, address, "10.1.1.2", data))
        world.run(1)
        asked = [s for s in world.since(begun) if s.to == address]
        assert all(len(s.data) <= size for s in asked)
        forms += [s.packet for s in asked]
    assert len(forms) == 4
    assert all(bool(p.options & Option.ENCRYPT) == (b"-<" in p.logon) for p in forms)
    assert {p.logon for p in forms} == {b"camrelay-<8afb10eea9bae83c>", b"camrelay"}


def test_who_speaks_from_another_port_is_removed_at_both() -> None:
    world, relay, bob = scene(count=0)
    alice = Windows(world, "10.1.1.20", "alice")
    alice.start()
    bob.start()
    world.run(20)
    (user,) = [u for u in relay.relay._context.roster.by_key.values() if u.address == alice.address]
    user.port = 2500
    alice.exit()
    world.run(1)
    hosts = signed.hosts(bob.lists[-1].fields)
    assert [(h.port, h.present) for h in hosts] == [(2500, False), (2425, False)]


def test_the_rounds_remove_those_whose_farewell_was_lost() -> None:
    world, relay, bob = scene()
    bob.start()
    world.run(20)
    world.nodes["10.1.1.10"].alive = False  # type: ignore[union-attr]
    world.loss = 1.0
    world.until(lambda: "10.1.1.10" in relay.users("offline"), within=210)
    world.run(5)
    assert "10.1.1.10" in bob.listed
    world.loss = 0.0
    world.run(7200)
    assert "10.1.1.10" not in bob.listed


@pytest.mark.parametrize("seed", range(4))
def test_a_lossy_network_converges_without_privilege(seed: int) -> None:
    world = World(seed=seed, loss=0.2)
    RelayNode(world, HERE, can_speak=False, key=RELAY, announce_every=600.0).start()
    readers = [Reading(world, f"10.1.{1 + n % 2}.{n + 10}", f"r{n}") for n in range(10)]
    for reader in readers:
        reader.start()
        world.run(world.random.random() * 30)
    for reader in readers[:3]:
        reader.exit()
    world.run(100)
    world.loss = 0.0
    world.run(4500)  # who was not heard at all is asked within an hour
    alive = {r.address: r.nick for r in readers[3:]}
    for reader in readers[3:]:
        others = {a: n for a, n in reader.listed.items() if a.split(".")[2] != reader.address.split(".")[2]}
        assert {a: n for a, n in others.items() if a not in HERE} == {
            a: n for a, n in alive.items() if a.split(".")[2] != reader.address.split(".")[2]
        }


@pytest.mark.parametrize("can_speak", [False, True])
def test_who_is_in_doubt_after_a_restart_gets_no_dictionary_before_it_is_proven(can_speak: bool) -> None:
    world, relay, bob = scene(can_speak)
    bob.start()
    world.run(20)
    rows = [row._replace(heard=5000.0) for row in relay.kill()]
    bob.alive = False
    world.run(5)
    begun = world.now
    relay.start(rows)
    world.run(30)
    assert [s for s in dictionaries(world, begun) if s.to == bob.address] == []
    bob.alive = True
    bob.refresh()
    begun = world.now
    world.run(20)
    assert {"10.1.1.10", "10.1.1.11", "10.1.1.12"} <= set(bob.listed)
    assert [s for s in dictionaries(world, begun) if s.to == bob.address]
