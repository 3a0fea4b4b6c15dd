"""Why a user is known, to whom, and for how long: what is shown is what is done."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from camrelay.errors import UsageError
from camrelay.ipmsg.command import Command
from camrelay.relay.rules import Share
from camrelay.relay.user import Learned
from camrelay.relay.why import MOST_ALIKE, MOST_MATCHES
from tests.keys import RELAY
from tests.world import Client, Iptux, Plain, PlainGb, RelayNode, Windows, World, segment_of

if TYPE_CHECKING:
    from camrelay.relay.reasons import WhyRow

HOUR = 3600.0


def scene(**more: object) -> tuple[World, RelayNode, list[Client]]:
    """Two segments of ours, two beyond a router, two kinds of clients at least in each."""
    world = World()
    relay = RelayNode(world, ("10.1.1.2", "10.1.2.2"), remote=("10.1.3.*", "10.1.4.*"), **more)  # type: ignore[arg-type]
    clients: list[Client] = [
        Iptux(world, "10.1.1.11", "alice"),
        Plain(world, "10.1.1.12", "arno"),
        Windows(world, "10.1.2.11", "bob"),
        Plain(world, "10.1.2.12", "berta"),
        Iptux(world, "10.1.2.13", "bill"),
        Plain(world, "10.1.3.11", "carl"),
        Windows(world, "10.1.3.12", "carla"),
        Iptux(world, "10.1.4.11", "dora"),
    ]
    relay.start()
    for client in clients:
        client.start()
    world.run(60)
    return world, relay, clients


def why(relay: RelayNode, word: str) -> WhyRow:
    (row,) = relay.relay.look.why(word, relay.clock)
    return row


# -- whom a word means ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "word", ["10.1.3.11", "carl", "CARL", " u10.1.3.11 ", "pc-10.1.3.11", "U10.1.3.11/PC-10.1.3.11"]
)
def test_a_user_is_found_by_address_nick_logon_and_host(word: str) -> None:
    _, relay, _ = scene()
    assert why(relay, word).address == "10.1.3.11"


@pytest.mark.parametrize(
    "word", ["car", "10.1.3.99", "u10.1.3.11/pc-10.1.3.12", "", "/", "no\0body", "・" * 300]
)
def test_half_a_name_means_nobody(word: str) -> None:
    _, relay, _ = scene()
    assert relay.relay.look.why(word, relay.clock) == []


@pytest.mark.parametrize("kind", [Iptux, Plain, Windows])
def test_a_nick_is_found_in_every_charset(kind: type[Client]) -> None:
    world = World()
    relay = RelayNode(world, ("10.1.1.2",))
    relay.start()
    kind(world, "10.1.1.11", "田中Émile" if kind is not Plain else "田中Emile").start()
    world.run(10)
    assert why(relay, "田中émile" if kind is not Plain else "田中eMILE").address == "10.1.1.11"


def test_too_many_are_an_error_that_says_how_many() -> None:
    world = World()
    relay = RelayNode(world, ("10.1.1.2",))
    relay.start()
    for n in range(MOST_MATCHES + 1):
        Plain(world, f"10.1.1.{n + 10}", "same").start()
    world.run(10)
    with pytest.raises(
        UsageError, match=f"{MOST_MATCHES + 1} users match 'same', at most {MOST_MATCHES} are shown"
    ):
        relay.relay.look.why("same", relay.clock)


# -- how it is known -------------------------------------------------------------------------------------------------


def test_how_a_user_was_taken_in_is_known() -> None:
    world, relay, _ = scene()
    assert why(relay, "alice").learned == "broadcast"
    assert why(relay, "carl").learned == "sweep"
    late = Windows(world, "10.1.3.40", "late")
    late.start()
    world.run(HOUR)
    assert why(relay, "late").learned in ("hint", "hearsay", "sweep")


def test_who_was_there_before_us_is_known_from_its_answer() -> None:
    world = World()
    Iptux(world, "10.1.1.11", "alice").start()
    relay = RelayNode(world, ("10.1.1.2",))
    world.run(10)
    relay.start()
    world.run(10)
    row = why(relay, "alice")
    assert (row.learned, row.words.command) == ("round", "ANSENTRY")


def test_who_was_restored_is_known_from_disk_until_it_says_something_else() -> None:
    world, relay, clients = scene()
    saved = relay.kill()
    relay.start(saved)
    assert why(relay, "alice").learned == Learned.DISK.value
    next(c for c in clients if isinstance(c, Iptux)).rename("alix")
    world.run(5)
    assert why(relay, "alix").learned != Learned.DISK.value


def test_the_last_datagram_is_shown_in_one_readable_line() -> None:
    _, relay, _ = scene()
    words = why(relay, "alice").words
    assert words.command == "BR_ENTRY"
    assert words.line.endswith(":alice␀sales␀icon-tux.png␀utf-8")
    assert words.raw == {}
    assert words.garbled is None


def test_names_in_a_wrong_charset_are_found_out_and_found() -> None:
    world = World()
    relay = RelayNode(world, ("10.1.1.2",))
    relay.start()
    PlainGb(world, "10.1.1.11", "王伟").start()
    world.run(10)
    words = why(relay, "王伟").words
    assert (words.charset, words.proven) == ("cp932", False)
    assert words.raw == {"nick": "王伟".encode("gb18030").hex()}
    assert words.garbled is not None
    assert words.garbled.charset == "gb18030"
    assert words.garbled.names[2] == "王伟"


# -- who is told -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nick", ["neu", "山田"])
@pytest.mark.parametrize("number", range(8))
@pytest.mark.parametrize(
    "more",
    [{}, {"key": RELAY}, {"between_remote": True}, {"can_speak": False, "key": RELAY}, {"can_speak": False}],
    ids=["plain", "with-a-key", "between-remote", "mute-with-a-key", "mute"],
)
def test_who_is_said_to_be_told_is_who_is_told(more: dict[str, object], number: int, nick: str) -> None:
    world, relay, clients = scene(**more)
    client = clients[number]
    began = world.now
    client.rename(nick)
    world.until(lambda: any(row.nick == nick for row in relay.relay.users(relay.clock)), 2 * HOUR)
    told_at = world.now
    world.run(5)
    row = why(relay, client.address)
    expected: Counter[tuple[str, str]] = Counter()
    for part in row.audience:
        for told in part.told:
            expected[part.segment.rpartition(".")[0], told.command] += (
                1 if told.how == "broadcast" else told.listeners
            )
    wire = [s for s in world.since(max(began, told_at - 0.01)) if s.sender.endswith(".2")]
    ours = {
        (s.to, Command(int(s.data.split(b":", 5)[4]) & 0xFF).name)
        for s in wire
        if s.source == client.address and s.announces
    }
    seen = Counter((segment_of(to), command) for to, command in ours)
    lists = {s.to for s in wire if s.data.startswith(b"IP2:")}
    for listener in clients:
        if listener.address in lists:
            seen[segment_of(listener.address), "ANSLIST_DICT"] += 1
    assert seen == expected


def test_each_reason_not_to_tell_is_named() -> None:
    hide = Share(("10.1.1.0/24",), ("10.1.2.0/24",))
    world, relay, clients = scene(can_speak=True, shares=(hide,))
    by = {one.segment: one for one in why(relay, "alice").audience}
    assert by["10.1.1.0/24"].why == "own"
    assert (by["10.1.2.0/24"].why, by["10.1.2.0/24"].rule) == ("rule", 1)
    assert by["10.1.3.*"].why == ""
    assert {one.why for one in why(relay, "carl").audience if one.segment == "10.1.4.*"} == {"between"}
    clients[0].exit()
    world.run(5)
    assert {one.why for one in why(relay, "alice").audience} == {"offline"}
    assert (
        {one.why for one in why(relay, "r1").audience} == {"is-relay"}
        if relay.relay.look.why("r1", relay.clock)
        else True
    )


def test_a_relay_that_may_not_speak_says_so() -> None:
    _, relay, _ = scene(can_speak=False)
    by = {one.segment: one.why for one in why(relay, "alice").audience}
    assert by["10.1.2.0/24"] == "mute"


# -- how long --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nick", ["alice", "carl", "bob"])
def test_it_is_given_up_and_forgotten_when_it_was_said(nick: str) -> None:
    world, relay, clients = scene(forget_after=2 * HOUR)
    client = next(c for c in clients if c.nick == nick)
    life = why(relay, nick).life
    assert life.asked_in is not None
    assert life.gone_in is not None
    assert life.forgotten_in is not None
    client.alive = False
    began = world.now
    world.until(lambda: client.address not in relay.users(), HOUR)
    assert world.now - began == pytest.approx(life.gone_in, abs=1.0)
    assert why(relay, nick).life.forgotten_in == pytest.approx(
        life.forgotten_in - (world.now - began), abs=1.0
    )
    world.run(life.forgotten_in - (world.now - began) + 1.0)
    assert relay.relay.look.why(nick, relay.clock) == []


def test_unanswered_questions_are_counted() -> None:
    world, relay, clients = scene()
    clients[0].alive = False
    world.run(105)
    life = why(relay, "alice").life
    assert life.unanswered > 0
    assert life.waiting == ["BR_ENTRY"]


# -- who may be the same ---------------------------------------------------------------------------------------------


def test_a_twin_and_a_candidate_are_shown() -> None:
    world, relay, _ = scene()
    Plain(world, "10.1.1.50", "arno", "u10.1.1.12", "pc-10.1.1.12").start()
    world.run(0.0015)
    assert why(relay, "arno").doubts.candidate == "10.1.1.50"
    world.run(30)
    row = why(relay, "arno")
    assert (row.doubts.candidate, row.doubts.twin, row.address) == (None, "10.1.1.50", "10.1.1.12")


def test_the_same_logon_on_another_machine_is_shown_and_a_common_one_is_only_counted() -> None:
    world = World()
    relay = RelayNode(world, ("10.1.1.2",))
    relay.start()
    for n in range(MOST_ALIKE + 3):
        Plain(world, f"10.1.1.{n + 10}", f"nick{n}", "admin").start()
        world.run(5)
        row = why(relay, "nick0")
        assert len(row.alike) == min(n, MOST_ALIKE)
        assert row.more_alike == max(0, n - MOST_ALIKE)
        assert {one.same for one in row.alike} <= {"logon"}


def test_without_a_fleet_we_own_whom_we_hear() -> None:
    world, relay, clients = scene()
    (holder,) = why(relay, "alice").holders
    assert (holder.role, holder.ours, holder.linked) == ("owner", True, True)
    clients[0].exit()
    world.run(5)
    assert why(relay, "alice").holders == []


def test_looking_changes_nothing() -> None:
    world, relay, _ = scene(key=RELAY)
    before = dict(relay.relay.counters), relay.relay.next_due()
    for word in ("alice", "carl", "bob", "10.1.4.11", "nobody"):
        relay.relay.look.why(word, relay.clock)
    assert (dict(relay.relay.counters), relay.relay.next_due()) == before
    assert relay.relay.tick(relay.clock) == [] or world.now >= before[1]
