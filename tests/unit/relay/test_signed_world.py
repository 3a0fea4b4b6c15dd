"""What IP Messenger for Windows gets by signed lists: everybody, from our own address, with no setting there.

The client is ``tests/windows.py``: it takes and refuses what the real one does. Where is one of

own       two segments that the relay is on
swept     one that it is on, one behind a router
remote    two behind routers: only signed lists reach from one into the other
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from camrelay.ipmsg.command import Command
from camrelay.ipmsg.crypto import PrivateKey
from camrelay.ipmsg.signed import Author, Host, pack
from camrelay.relay.user import SavedUser
from tests.keys import RELAY
from tests.unit.relay.invariants import check, ghosts, not_listed, twice
from tests.windows import Windows499
from tests.world import Client, Feiq, Iptux, Plain, RelayNode, Sent, World

if TYPE_CHECKING:
    from collections.abc import Callable

PLACES = {
    "own": ("10.1.1", "10.1.2"),
    "swept": ("10.1.1", "10.1.7"),
    "remote": ("10.1.7", "10.1.8"),
}
WINDOWS: tuple[type[Client], ...] = (Windows499, Windows499, Windows499)
MIXED: tuple[type[Client], ...] = (Windows499, Iptux, Plain, Feiq, Windows499)
AT_ONCE = 4.0  # seconds: an answer may wait for 1 s, a list for the one before
NEXT_PASS = 620.0  # known addresses are asked every 10 min

places = pytest.mark.parametrize("where", PLACES)
speaking = pytest.mark.parametrize("speaks", [False, True], ids=["listless", "speaking"])
crowds = pytest.mark.parametrize("kinds", [WINDOWS, MIXED], ids=["windows", "mixed"])


@cache
def another_key() -> PrivateKey:
    return PrivateKey.create()


class Scene:
    """One relay with a key, and the same crowd in two segments."""

    def __init__(
        self,
        where: str,
        kinds: tuple[type[Client], ...] = WINDOWS,
        speaks: bool = False,
        **settings: Any,
    ) -> None:
        self.world = World()
        own = ("10.1.1.2", "10.1.2.2") if where == "own" else ("10.1.1.2",)
        self.relay = RelayNode(
            self.world,
            own,
            remote=("10.1.7.*", "10.1.8.*"),
            can_speak=speaks,
            key=RELAY,
            **settings,
        )
        self.here, self.there = (
            [
                kind(self.world, f"{front}.{n + 11}", f"{side}{n}", f"{side}{n}", f"pc-{side}{n}")
                for n, kind in enumerate(kinds)
            ]
            for side, front in zip("ab", PLACES[where], strict=True)
        )

    @property
    def everybody(self) -> list[Client]:
        return self.here + self.there

    def settle(self) -> None:
        """All are there, the first pass is over, and all lists are right."""
        self.relay.start()
        for client in self.everybody:
            client.start()
        self.world.run(60)
        check(self.world)

    def complete(self, within: float) -> None:
        """Let time pass until every list is right."""
        until_complete(self.world, within)


def until_complete(world: World, within: float) -> None:
    end = world.now + within
    while complaints := not_listed(world) + ghosts(world):
        assert world.now < end, f"after {within} s: {complaints[:5]}"
        world.run(max(0.1, within / 300))


def settled(
    where: str, kinds: tuple[type[Client], ...] = WINDOWS, speaks: bool = False, **settings: Any
) -> Scene:
    scene = Scene(where, kinds, speaks, **settings)
    scene.settle()
    return scene


def windows(client: Client) -> Windows499:
    assert isinstance(client, Windows499)
    return client


# -- complete rosters ------------------------------------------------------------------------------------------------


@places
@crowds
@speaking
@pytest.mark.parametrize("first", ["relay", "here", "there"])
def test_everybody_is_listed_whoever_started_first(
    where: str, kinds: tuple[type[Client], ...], speaks: bool, first: str
) -> None:
    scene = Scene(where, kinds, speaks)
    order: dict[str, list[Client | RelayNode]] = {
        "relay": [scene.relay],
        "here": [*scene.here],
        "there": [*scene.there],
    }
    for name in sorted(order, key=lambda name: name != first):
        for node in order[name]:
            node.start()
        scene.world.run(15)
    # Who starts in a swept segment after the first pass is found with the next one over silent addresses.
    late = where == "remote" or (where == "swept" and first != "there")
    scene.complete(within=3700.0 if late else AT_ONCE)
    scene.world.run(30)
    check(scene.world)


@places
@crowds
def test_without_leave_to_speak_nobody_is_spoken_for(where: str, kinds: tuple[type[Client], ...]) -> None:
    scene = settled(where, kinds)
    assert not any(sent.announces for sent in scene.world.wire)
    for client in scene.everybody:
        if isinstance(client, Windows499):
            others = {other.address for other in scene.everybody} - {client.address}
            assert others <= set(client.listed)


@places
@crowds
@speaking
def test_nobody_is_ever_shown_twice(where: str, kinds: tuple[type[Client], ...], speaks: bool) -> None:
    scene = settled(where, kinds, speaks)
    for client in scene.everybody:
        client.refresh()
        for _ in range(20):
            scene.world.run(0.5)
            assert twice(scene.world) == []
    scene.world.run(NEXT_PASS)
    check(scene.world)


@places
def test_the_relay_shows_itself_once_with_the_fingerprint_of_its_key(where: str) -> None:
    scene = settled(where)
    for client in map(windows, scene.everybody):
        lines = [host for host in client.table if host.address == "10.1.1.2"]
        shown = [host for host in client.table if host.logon.startswith("camrelay")]
        assert len(shown) <= (2 if where == "own" else 1)
        assert all(host.logon.endswith(f"-<{RELAY.public.fingerprint}>") for host in shown)
        assert len(lines) <= 1


# -- what happens to one -----------------------------------------------------------------------------------------------


@places
@speaking
def test_a_refresh_is_served_at_once(where: str, speaks: bool) -> None:
    scene = settled(where, MIXED, speaks)
    bob = scene.there[0]
    bob.refresh()
    if where == "own":
        scene.complete(within=AT_ONCE)
    else:  # it says so to its own segment only, and we are not there any more
        scene.complete(within=NEXT_PASS)
    scene.world.run(30)
    check(scene.world)


@places
@crowds
@speaking
def test_a_rename_and_an_absence_reach_everybody_at_once(
    where: str, kinds: tuple[type[Client], ...], speaks: bool
) -> None:
    scene = settled(where, kinds, speaks)
    bob = windows(scene.there[0])
    acts: list[Callable[[], None]] = [
        lambda: bob.rename("robert"),
        bob.leave_desk,
        lambda: bob.leave_desk(""),
    ]
    for act in acts:
        act()
        scene.complete(within=AT_ONCE)
        scene.world.run(3)
    check(scene.world)


@places
@crowds
@speaking
def test_an_exit_reaches_everybody_at_once(where: str, kinds: tuple[type[Client], ...], speaks: bool) -> None:
    scene = settled(where, kinds, speaks)
    scene.there[0].exit()
    # Beyond a router it is said to us alone, as by a client that rejects us: we ask whether it is still there.
    scene.complete(within=AT_ONCE if where == "own" else 8.0)
    scene.world.run(60)
    check(scene.world)


@places
@crowds
@speaking
def test_who_dies_is_gone_everywhere_in_time(
    where: str, kinds: tuple[type[Client], ...], speaks: bool
) -> None:
    scene = settled(where, kinds, speaks)
    scene.there[0].kill()
    scene.there[1].kill()
    scene.complete(within=200.0 if where == "own" else NEXT_PASS + 60)
    scene.world.run(30)
    check(scene.world)


@places
@crowds
@speaking
@pytest.mark.parametrize("how", ["exit", "kill"])
def test_who_returns_at_another_address_is_listed_there_alone(
    where: str, kinds: tuple[type[Client], ...], speaks: bool, how: str
) -> None:
    scene = settled(where, kinds, speaks)
    bob = scene.there[0]
    was = bob.address
    getattr(bob, how)()
    scene.world.run(5)
    bob.move(was.rsplit(".", 1)[0] + ".99")
    bob.start()
    late = 15.0 if where == "own" else 3700.0
    scene.complete(within=late)
    scene.world.run(60)
    check(scene.world)
    # Beside it those who know users by address alone keep the old line, relay or not.
    others = [client for client in scene.everybody if client in scene.here or isinstance(client, Windows499)]
    assert not any(was in client.listed for client in others if speaks or isinstance(client, Windows499))


@speaking
def test_who_returns_in_the_other_segment_is_listed_there_alone(speaks: bool) -> None:
    scene = settled("own", MIXED, speaks)
    bob = scene.there[0]
    bob.kill()
    bob.move("10.1.1.99")
    bob.start()
    scene.complete(within=15.0)
    scene.world.run(60)
    check(scene.world)


@places
@speaking
def test_somebody_else_at_an_address_replaces_who_was_there(where: str, speaks: bool) -> None:
    scene = settled(where, WINDOWS, speaks)
    scene.there[0].kill()
    Windows499(scene.world, scene.there[0].address, "dora", "dora", "doras-pc").start()
    scene.complete(within=AT_ONCE + 10 if where == "own" else NEXT_PASS)
    scene.world.run(30)
    check(scene.world)


# -- what happens to the relay -----------------------------------------------------------------------------------------


def aged(saved: list[SavedUser], seconds: float) -> list[SavedUser]:
    return [one._replace(heard=one.heard + seconds, joined=one.joined + seconds) for one in saved]


@places
@speaking
@pytest.mark.parametrize("away", [5.0, 600.0])
def test_after_a_restart_with_the_same_key_lists_are_believed_and_news_arrive(
    where: str, speaks: bool, away: float
) -> None:
    scene = settled(where, WINDOWS, speaks)
    saved = scene.relay.kill()
    scene.here[1].kill()
    scene.world.run(away)
    scene.relay.start(aged(saved, away))
    scene.complete(within=NEXT_PASS + 60 if where == "remote" else 260.0)
    bob = scene.there[0]
    bob.rename("robert")
    scene.complete(within=AT_ONCE)
    assert not any(windows(client).keys.refused for client in scene.everybody)


@places
@speaking
def test_a_new_key_is_a_new_name_and_nobody_refuses_its_lists(where: str, speaks: bool) -> None:
    """A reinstalled relay: a client remembers the old key under the old name for 180 days."""
    scene = settled(where, WINDOWS, speaks)
    before = {host.logon for host in windows(scene.here[0]).table if host.logon.startswith("camrelay")}
    scene.relay.kill()
    scene.relay.key = another_key()
    for client in scene.everybody:
        client.refresh()
    scene.world.run(30)
    scene.relay.start()
    scene.complete(within=60.0)
    scene.world.run(60)
    check(scene.world)
    assert not any(windows(client).keys.refused for client in scene.everybody)
    shown = {host.logon for host in windows(scene.here[0]).table if host.logon.startswith("camrelay")}
    assert shown.isdisjoint(before)


@places
def test_a_key_that_is_adopted_later_serves_at_once(where: str) -> None:
    scene = Scene(where)
    scene.relay.key = None
    scene.relay.start()
    for client in scene.everybody:
        client.start()
    scene.world.run(30)
    assert not any(windows(client).keys.by_name for client in scene.everybody)
    scene.relay.key = RELAY
    scene.relay.act(scene.relay.relay.adopt(RELAY, scene.world.now))
    scene.complete(within=10.0)
    scene.world.run(30)
    check(scene.world)


@places
@speaking
def test_a_client_keeps_the_key_over_its_own_restart(where: str, speaks: bool) -> None:
    scene = settled(where, WINDOWS, speaks)
    alice = windows(scene.here[0] if where == "own" else scene.there[0])
    kept = dict(alice.keys.by_name)
    assert any(key == RELAY.public for key, _ in kept.values())
    alice.exit()
    scene.world.run(20)
    alice.start()
    scene.complete(within=AT_ONCE if where == "own" else 3700.0)
    assert alice.keys.by_name.items() >= kept.items()
    assert not alice.keys.refused


@pytest.mark.parametrize("away", [5.0, 600.0])
def test_the_relay_keeps_the_first_key_of_a_name_over_a_restart(away: float) -> None:
    """Of a name without a fingerprint: with one the name itself says which key is right."""
    scene = Scene("own")
    bob = windows(scene.there[0])
    bob.user, bob.logon = "bob", b"bob"
    scene.settle()
    relay = scene.relay.interfaces[1].address

    def says(key: PrivateKey, mode: int, extra: bytes) -> Counter[str]:
        """What is counted when a packet in bob's name, from his address, is signed with ``key``."""
        before = Counter(scene.relay.relay.counters)
        author = Author(key, "bob", bob.computer, "bob", "", "", 0x0F640000)
        data = author.sign(mode, bob.next_number(), 7, extra)
        scene.world.put(Sent(scene.world.now, bob.address, bob.address, relay, data))
        scene.world.run(1)
        return Counter(scene.relay.relay.counters) - before

    kept = says(bob.key, Command.ANSLIST_DICT, b"HLST:0:")
    assert kept["signed lists heard"] == kept["keys remembered"] == 1
    saved = scene.relay.kill()
    scene.world.run(away)
    scene.relay.start(aged(saved, away))
    scene.world.run(30)
    for mode, extra in ((Command.ANSLIST_DICT, b"HLST:0:"), (Command.DIR_POLL, b"NADRS:0:")):
        assert says(another_key(), mode, extra)["dropped: not signed by whom it names"] == 1
    assert says(bob.key, Command.ANSLIST_DICT, b"HLST:0:")["signed lists heard"] == 1
    assert says(bob.key, Command.DIR_POLL, b"NADRS:0:")["polls heard"] == 1


@crowds
@speaking
def test_two_relays_side_by_side_disturb_nobody(kinds: tuple[type[Client], ...], speaks: bool) -> None:
    scene = Scene("swept", kinds, speaks)
    second = RelayNode(scene.world, ("10.1.1.3",), remote=("10.1.7.*",), can_speak=speaks, key=another_key())
    second.start()
    scene.settle()
    bob = windows(scene.there[0])
    bob.rename("robert")
    scene.complete(within=AT_ONCE)
    scene.world.run(10)
    bob.exit()
    scene.complete(within=8.0)
    scene.world.run(10)
    scene.relay.kill()
    scene.here[0].rename("still told")
    scene.complete(within=AT_ONCE)
    scene.world.run(60)
    check(scene.world)


@speaking
def test_two_relays_on_two_sides_serve_each_other_s_segments(speaks: bool) -> None:
    scene = Scene("swept", MIXED, speaks)
    second = RelayNode(scene.world, ("10.1.7.2",), remote=("10.1.1.*",), can_speak=speaks, key=another_key())
    second.start()
    scene.settle()
    scene.there[0].exit()
    scene.complete(within=AT_ONCE)
    scene.world.run(30)
    check(scene.world)


# -- strangers ---------------------------------------------------------------------------------------------------------


def forged(by: str, present: bool = True, number: int = 99) -> bytes:
    author = Author(another_key(), by, "their-pc", "nobody", "", "", 0x03400000)
    hosts = [
        Host("eve", "eves-pc", 0x0F640000, present, "10.1.1.66", 2425, "Eve", "", ""),
        Host("b0", "pc-b0", 0x0F640000, False, "10.1.2.11", 2425, "b0", "", ""),
    ]
    return pack(author, hosts, 0, number, 7)[0]


@pytest.mark.parametrize("source", ["10.1.1.99", "10.1.2.11", "10.1.7.77", "192.0.2.1"])
@pytest.mark.parametrize("name", ["mallory", "camrelay"])
def test_a_stranger_s_signed_list_changes_nothing_in_our_roster(source: str, name: str) -> None:
    scene = settled("own")
    before = scene.relay.users()
    logon = f"camrelay-<{RELAY.public.fingerprint}>" if name == "camrelay" else name
    begun = scene.world.now
    for present in (True, False):
        for to in ("10.1.1.2", "10.1.1.255"):
            scene.world.put(Sent(scene.world.now, source, source, to, forged(logon, present)))
            scene.world.run(20)
    assert scene.relay.users() == before
    assert scene.relay.users("offline") == {}
    assert not [s for s in scene.world.since(begun) if s.to == "10.1.1.66" and s.mode != Command.BR_ENTRY]
    assert "10.1.1.66" not in scene.relay.users()


def test_a_forger_cannot_speak_in_the_relay_s_name() -> None:
    scene = settled("own")
    alice = windows(scene.here[0])
    before = dict(alice.listed)
    (name,) = {host.logon for host in alice.table if host.address == "10.1.1.2"}
    author = Author(another_key(), name, alice.table.by_place["10.1.1.2", 2425].host, "x", "", "", 0)
    gone = [Host("b0", "pc-b0", 0x0F640000, False, "10.1.2.11", 2425, "b0", "", "")]
    data, _ = pack(author, gone, 0, 12345, 7)
    scene.world.put(Sent(scene.world.now, "10.1.1.99", "10.1.1.99", alice.address, data))
    scene.world.run(1)
    assert alice.listed == before
    assert alice.keys.refused["another key than the first"] == 1


# -- names -------------------------------------------------------------------------------------------------------------


@places
@speaking
def test_names_of_every_charset_are_read_right(where: str, speaks: bool) -> None:
    scene = Scene(where, (Windows499, Iptux, Feiq), speaks)
    for crowd in (scene.here, scene.there):
        for client, nick in zip(crowd, ("表示ソ子", "Jörg 東", "李明"), strict=True):
            client.nick = f"{nick}{client.nick}"
    scene.settle()


@places
def test_long_names_fit_into_datagrams_that_need_no_fragments(where: str) -> None:
    scene = Scene(where, WINDOWS * 2)
    for client in scene.everybody:
        client.nick = f"{client.nick} " + "山" * 24
        client.group = "部" * 26
    scene.settle()
    lists = [sent.data for sent in scene.world.wire if sent.mode == Command.ANSLIST_DICT]
    assert 1000 < max(map(len, lists)) <= 1400


# -- many --------------------------------------------------------------------------------------------------------------


def saved(address: str, nick: str) -> SavedUser:
    data = b"1:1:u%b:pc:3:%b\0sales" % (address.encode(), nick.encode())
    return SavedUser(data, "", address, 2425, True, 10.0, 100.0)


@speaking
def test_500_users_are_listed_by_a_joining_client_within_2_s(speaks: bool) -> None:
    world = World()
    relay = RelayNode(world, ("10.1.1.2", "10.1.2.2", "10.1.3.2"), can_speak=speaks, key=RELAY)
    relay.start([saved(f"10.1.{1 + n // 250}.{3 + n % 250}", f"a{n}") for n in range(500)])
    world.run(5)
    bob = Windows499(world, "10.1.3.12", "bob")
    bob.start()
    begun = world.now
    took = world.until(lambda: len(bob.listed) == 502, within=2.25)
    assert took <= 2.25  # it warms up for 0.25 s
    assert bob.table.twice() == []
    lists = [sent for sent in world.since(begun) if sent.mode == Command.ANSLIST_DICT]
    assert 160 <= len(lists) <= 180
    assert max(len(sent.data) for sent in lists) <= 1400


def test_signatures_are_shared_by_all_who_join() -> None:
    world = World()
    relay = RelayNode(world, ("10.1.1.2", "10.1.2.2", "10.1.3.2"), can_speak=False, key=RELAY)
    relay.start([saved(f"10.1.{1 + n // 100}.{3 + n % 100}", f"a{n}") for n in range(200)])
    world.run(5)
    crowd = [Windows499(world, f"10.1.3.{n + 12}", f"w{n}", f"w{n}", f"pc{n}") for n in range(20)]
    for client in crowd:
        client.start()
    world.until(lambda: all(len(client.listed) >= 202 for client in crowd), within=10.0)
    assert relay.relay.counters["lists signed"] < 200


def test_a_joining_crowd_is_told_in_order_of_need() -> None:
    scene = settled("own", MIXED)
    begun = scene.world.now
    crowd = [Windows499(scene.world, f"10.1.2.{n + 50}", f"w{n}", f"w{n}", f"pc{n}") for n in range(30)]
    for client in crowd:
        client.start()
    scene.complete(within=8.0)
    scene.world.run(30)
    check(scene.world)
    provoked = [s for s in scene.world.since(begun) if s.mode == Command.ANSENTRY and s.to == "10.1.1.2"]
    assert len(provoked) <= 2 * len(scene.everybody) + 2 * len(crowd)
