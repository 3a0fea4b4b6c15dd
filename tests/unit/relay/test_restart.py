"""Nothing is lost with the process, and nothing stale is served after it."""

from __future__ import annotations

from functools import partial

import pytest

from camrelay.ipmsg.command import Command
from camrelay.relay.outputs import UserJoined, UserLeft
from camrelay.relay.user import SavedUser
from tests.unit.relay.invariants import check
from tests.world import Client, Iptux, Plain, RelayNode, Sent, Windows, World

KINDS = [Iptux, Windows, Plain]


def scene(kind: type[Client]) -> tuple[World, RelayNode, Client, Client]:
    world = World()
    relay = RelayNode(world, ("10.1.1.2", "10.1.2.2"), remote=("10.1.7.*",))
    alice, bob = Iptux(world, "10.1.1.11", "alice"), kind(world, "10.1.2.12", "bob")
    for node in (relay, alice, bob):
        node.start()
    world.run(30)
    return world, relay, alice, bob


def aged(saved: list[SavedUser], seconds: float) -> list[SavedUser]:
    """What the database would say after ``seconds`` without the relay."""
    return [s._replace(heard=s.heard + seconds, joined=s.joined + seconds) for s in saved]


@pytest.mark.parametrize("kind", KINDS)
def test_after_a_kill_the_roster_is_served_at_once(kind: type[Client]) -> None:
    world, relay, _, bob = scene(kind)
    saved = relay.kill()
    world.run(60)
    bob.kill()
    bob.start()  # meanwhile nobody tells it of the others
    world.run(20)
    assert "10.1.1.11" not in bob.listed
    relay.start(aged(saved, 80))
    assert relay.users() == {"10.1.1.11": "alice", "10.1.2.12": "bob"}
    world.until(lambda: bob.listed.get("10.1.1.11") == "alice", within=1.0)
    world.run(20)
    check(world)


@pytest.mark.parametrize("kind", KINDS)
def test_stale_users_are_asked_first_and_announced_when_they_answer(kind: type[Client]) -> None:
    world, relay, alice, bob = scene(kind)
    saved = relay.kill()
    alice.kill()
    alice.start()
    world.run(3600)
    begun = world.now
    relay.start(aged(saved, 3600))
    assert relay.users() == {}
    assert set(relay.users("unverified")) == {alice.address, bob.address}
    world.until(lambda: bob.address in alice.listed, within=3)
    answers = [s.time for s in world.since(begun) if s.sender == bob.address]
    announcements = [s.time for s in world.since(begun) if s.announces and s.source == bob.address]
    assert min(answers) < min(announcements)
    world.run(60)
    check(world)
    assert len(relay.said(UserJoined)) == 4


def test_stale_users_who_are_dead_get_a_farewell_and_are_never_announced() -> None:
    world, relay, alice, bob = scene(Windows)
    saved = relay.kill()
    bob.kill()  # on Friday
    world.run(3 * 86400)
    begun = world.now
    relay.start(aged(saved, 3 * 86400))
    assert bob.address in alice.listed
    world.until(lambda: bob.address not in alice.listed, within=60)
    assert {s.mode for s in world.since(begun) if s.announces and s.source == bob.address} == {
        Command.BR_EXIT
    }
    check(world)


def test_who_died_while_we_were_away_for_a_moment_is_gone_in_time() -> None:
    world, relay, alice, bob = scene(Iptux)
    saved = relay.kill()
    bob.kill()
    world.run(5)
    relay.start(aged(saved, 5))
    world.until(lambda: bob.address not in alice.listed, within=50)
    check(world)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lost", [0.9, 180.0])
def test_who_left_just_before_a_power_cut_is_no_ghost_for_long(kind: type[Client], lost: float) -> None:
    """The disk does not know the last seconds."""
    world, relay, alice, bob = scene(kind)
    carl = Windows(world, "10.1.1.13", "carl")
    carl.start()
    world.run(30)
    saved = relay.kill()
    relay.start(saved)
    world.run(10)
    bob.exit()
    world.run(lost)
    relay.kill()
    assert not [c for c in (alice, carl) if bob.address in c.listed]
    relay.start(aged(saved, 10 + lost))
    world.until(lambda: not any(bob.address in c.listed for c in (alice, carl)), within=50)
    world.run(50)
    assert bob.address not in relay.users()
    assert [e.reason for e in relay.said(UserLeft) if isinstance(e, UserLeft)] == ["exit", "silent"]
    check(world)


def questions(world: World, since: float, client: Client) -> list[int]:
    """What the client alone was asked."""
    return [s.mode for s in world.since(since) if s.to == client.address and not s.announces]


@pytest.mark.parametrize("kind", KINDS)
def test_who_answers_when_we_start_is_not_asked_again(kind: type[Client]) -> None:
    world, relay, alice, bob = scene(kind)
    saved = relay.kill()
    world.run(5)
    begun = world.now
    relay.start(aged(saved, 5))
    world.run(140)
    assert not questions(world, begun, alice) + questions(world, begun, bob)
    check(world)


class Deaf(Plain):
    """What is said to it is lost, so many times."""

    deaf = 0

    def answer(self, because: Sent) -> None:
        self.deaf -= 1
        if self.deaf < 0:
            super().answer(because)


def test_who_is_not_heard_when_we_start_has_as_many_chances_as_ever() -> None:
    """On a bad wire a restart drops fewer than silence does: our BR_ENTRY, then four questions."""
    world, relay, alice, bob = scene(Deaf)
    assert isinstance(bob, Deaf)
    saved = relay.kill()
    bob.deaf = 4
    begun = world.now
    relay.start(aged(saved, 5))
    world.run(60)
    assert bob.deaf == -1
    assert questions(world, begun, bob) == [Command.BR_ENTRY] * 4
    assert [round(s.time - begun) for s in world.since(begun) if s.to == bob.address and not s.announces] == [
        6,
        16,
        26,
        36,
    ]
    assert relay.said(UserLeft) == []
    assert bob.address in alice.listed
    check(world)


def test_who_is_to_be_asked_after_a_restart_is_said_so() -> None:
    world, relay, _, bob = scene(Iptux)
    saved = relay.kill()
    bob.kill()
    relay.start(aged(saved, 5))
    world.run(1)
    (found,) = relay.relay.look.why("bob", relay.clock)
    assert (found.life.asked_in, found.life.gone_in) == pytest.approx((5, 45), abs=0.01)
    assert found.life.heard == pytest.approx(36, abs=1), "as it was, and not when we started"


def test_what_says_that_a_user_is_gone_is_followed_at_once_after_a_restart() -> None:
    world, relay, alice, bob = scene(Windows)
    saved = relay.kill()
    bob.kill()
    relay.start(aged(saved, 5))
    world.run(8)
    bob.send(bob.presence(Command.BR_EXIT), "10.1.2.2")
    world.until(lambda: bob.address not in alice.listed, within=10)


def test_who_came_while_we_were_away_is_found() -> None:
    world, relay, alice, _ = scene(Iptux)
    saved = relay.kill()
    carl = Plain(world, "10.1.2.13", "carl")
    carl.start()
    world.run(5)
    relay.start(aged(saved, 5))
    world.until(lambda: carl.address in alice.listed and alice.address in carl.listed, within=1)
    check(world)


def test_a_user_that_left_while_we_were_away_and_came_back_elsewhere_has_moved() -> None:
    world, relay, alice, bob = scene(Plain)
    saved = relay.kill()
    bob.kill()
    bob.move("10.1.2.99")
    bob.start()
    world.run(5)
    relay.start(aged(saved, 5))
    world.until(lambda: "10.1.2.99" in alice.listed and "10.1.2.12" not in alice.listed, within=10)
    world.run(20)
    check(world)


def test_after_a_suspend_everybody_proves_itself_again() -> None:
    world, relay, alice, bob = scene(Windows)
    remote = Plain(world, "10.1.7.77", "remo")
    carl = Plain(world, "10.1.2.13", "carl")
    bob.kill()
    remote.alive = carl.alive = True  # came while the machine slept
    relay.relay.distrust(world.now)
    relay.wait()
    assert relay.users() == {}
    world.run(3)
    assert relay.users() == {a: world.nodes[a].nick for a in (alice.address, carl.address, remote.address)}  # type: ignore[union-attr]
    world.run(60)
    check(world)
    assert [e.reason for e in relay.said(UserLeft) if isinstance(e, UserLeft)] == ["silent"]


def test_what_is_saved_is_what_comes_back() -> None:
    world, relay, _, bob = scene(Windows)
    carl = Plain(world, "10.1.2.13", "\u9234\u6728")
    carl.start()
    world.run(10)
    bob.exit()
    world.run(5)
    before = list(relay.relay.users(world.now))
    relay.start(relay.kill())
    after = list(relay.relay.users(world.now))
    assert after == before
    assert {row.nick: row.state for row in after} == {
        "alice": "online",
        "bob": "offline",
        "\u9234\u6728": "online",
    }


GOOD = SavedUser(b"1:1:bob:pc:3:bob\0sales", "", "10.1.2.12", 2425, True, 10.0, 20.0)


@pytest.mark.parametrize(
    ("row", "cause"),
    [
        (GOOD._replace(datagram=b""), "not restored: damaged record"),
        (GOOD._replace(datagram=b"\xff" * 80), "not restored: damaged record"),
        (GOOD._replace(address="10.1.2"), "not restored: damaged record"),
        (GOOD._replace(port=0), "not restored: damaged record"),
        (GOOD._replace(port=70_000), "not restored: damaged record"),
        (GOOD._replace(address="192.0.2.9"), "not restored: address belongs to no segment of ours"),
        (GOOD._replace(address="10.1.2.2"), "not restored: address belongs to no segment of ours"),
        (GOOD._replace(address="10.1.2.255"), "not restored: address belongs to no segment of ours"),
        (GOOD._replace(datagram=b"1:7:alice:PC:3:x\0"), "not restored: the same name twice"),
    ],
)
def test_a_damaged_row_is_counted_and_the_others_come_back(row: SavedUser, cause: str) -> None:
    world = World()
    relay = RelayNode(world, ("10.1.1.2", "10.1.2.2"))
    first = SavedUser(b"1:1:alice:pc:3:alice\0sales", "", "10.1.1.11", 2425, True, 10.0, 20.0)
    relay.start([first, row, first._replace(datagram=b"1:1:dora:pc:3:dora\0", address="10.1.1.12")])
    assert set(relay.users().values()) == {"alice", "dora"}
    assert relay.relay.counters[cause] == 1


def test_an_unknown_charset_in_the_database_costs_characters_only() -> None:
    world = World()
    relay = RelayNode(world, ("10.1.2.2",))
    relay.start([GOOD._replace(charset="klingon", datagram="1:1:bob:pc:3:鈴木\0".encode("cp932"))])
    assert relay.users() == {"10.1.2.12": "鈴木"}


def test_leaving_says_good_bye_for_the_relay_alone() -> None:
    world, relay, alice, bob = scene(Iptux)
    remote = Plain(world, "10.1.7.77", "remo")
    remote.alive = True
    relay.relay.sweep_now(world.now)
    relay.wait()
    world.run(20)
    begun = world.now
    relay.act(relay.relay.leave(world.now))
    relay.kill()
    world.run(1)
    assert {(s.source, s.to) for s in world.since(begun)} == {
        ("10.1.1.2", "10.1.1.255"),
        ("10.1.2.2", "10.1.2.255"),
        ("10.1.1.2", "10.1.7.77"),
    }
    assert "10.1.1.2" not in alice.listed
    assert bob.address in alice.listed


def test_20000_users_who_answer_when_we_start_cost_nothing_more() -> None:
    world = World()
    relay = RelayNode(world, tuple(f"10.1.{n}.2" for n in range(80)), can_speak=False)
    rows = [
        SavedUser(b"1:1:u%d:pc:3:n\0g" % n, "", f"10.1.{n // 250}.{3 + n % 250}", 2425, True, 10.0, 9e9)
        for n in range(20_000)
    ]
    relay.start(rows)
    for n, row in enumerate(rows):
        answer = Sent(world.now, row.address, row.address, f"10.1.{n // 250}.2", row.datagram)
        world.after(0.1 + 4 * n / len(rows), partial(relay.receive, answer))
    world.run(100)
    assert not [s for s in world.wire if not s.to.endswith(".255")]
    assert relay.ticks <= 100


def test_20000_stale_users_are_asked_at_the_pace_and_without_spinning() -> None:
    world = World()
    addresses = tuple(f"10.1.{n}.2" for n in range(80))
    relay = RelayNode(world, addresses)
    rows = [
        SavedUser(b"1:1:u%d:pc:3:n\0g" % n, "", f"10.1.{n // 250}.{3 + n % 250}", 2425, True, 3600.0, 9e9)
        for n in range(20_000)
    ]
    relay.start(rows)
    world.run(10)
    asked = [s.time for s in world.wire if not s.to.endswith(".255")]
    assert 2_400 <= len(asked) <= 2_600
    assert relay.ticks <= 10 * 60
