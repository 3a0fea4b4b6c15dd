"""What strangers can do: draw one question of no more bytes than they sent, and be counted."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from camrelay.ipmsg.command import Command, Option
from camrelay.ipmsg.packet import build, parse
from camrelay.relay.outputs import Output, Transmit
from tests.unit.relay.invariants import check
from tests.unit.relay.strangers import hear, node, says
from tests.world import Client, Iptux, Plain, RelayNode, Sent, Windows, World

PRESENCE = (Command.BR_ENTRY, Command.ANSENTRY, Command.BR_ABSENCE)


def sizes(outputs: list[Output]) -> int:
    return sum(len(o.data) for o in outputs if isinstance(o, Transmit))


@pytest.mark.parametrize("mode", PRESENCE)
@pytest.mark.parametrize("source", ["10.1.7.9", "10.1.2.9"])
def test_presence_that_was_not_asked_for_registers_nobody(mode: int, source: str) -> None:
    relay = node()
    out = hear(relay, says(mode), source)  # from beyond a router, or with the address of another wire of ours
    assert relay.users() == {}
    (question,) = out
    assert isinstance(question, Transmit)
    assert (question.to, parse(question.data).mode) == (source, Command.BR_ENTRY)
    assert relay.relay.counters["hints"] == 1


@pytest.mark.parametrize("mode", [Command.BR_ENTRY, Command.BR_ABSENCE])
def test_only_an_answer_is_an_answer(mode: int) -> None:
    relay = node()
    hear(relay, says(Command.BR_ENTRY), "10.1.7.9")
    hear(relay, says(mode), "10.1.7.9", now=1035.0)  # a question of ours is out since five seconds
    assert relay.users() == {}
    hear(relay, says(Command.ANSENTRY), "10.1.7.9", now=1036.0)
    assert relay.users() == {"10.1.7.9": "nick"}


def test_an_answer_after_ten_seconds_is_a_hint() -> None:
    relay = node()
    hear(relay, says(Command.BR_ENTRY), "10.1.7.9")
    out = hear(relay, says(Command.ANSENTRY), "10.1.7.9", now=1040.1)
    assert relay.users() == {}
    assert len(out) == 1


def test_a_foreign_broadcast_registers_nobody_and_is_shown_as_a_second_network() -> None:
    relay = node()
    for n in range(12):
        hear(relay, says(Command.BR_ENTRY), f"192.168.9.{n + 1}", broadcast=True)
        hear(relay, says(Command.BR_ENTRY), f"10.1.7.{n + 1}", broadcast=True)
    assert relay.users() == {}
    assert relay.relay.snapshot(1030.0).foreign == {"192.168.9.*": 12, "10.1.7.*": 12}
    assert relay.relay.counters["dropped: source not in accept_from"] == 12


def test_a_pointed_client_is_registered_when_it_answers_and_served() -> None:
    world = World()
    relay = RelayNode(world, ("10.1.1.2",), accept_from=("10.9.0.0/16",))
    alice, bob = (
        Iptux(world, "10.1.1.11", "alice"),
        Iptux(world, "10.9.4.12", "bob", logon="long-logon-of-bob"),
    )
    bob.asks_too = ("10.1.1.2",)
    relay.start()
    alice.start()
    world.run(5)
    bob.start()
    world.until(lambda: bob.address in alice.listed and alice.address in bob.listed, within=1)
    world.run(700)
    assert [row.segment for row in relay.relay.users(world.now) if row.address == bob.address] == ["10.9.4.*"]
    bob.rename("robert")
    world.until(lambda: alice.listed[bob.address] == "robert", within=1)
    bob.exit()
    world.until(lambda: bob.address not in alice.listed, within=10)
    check(world)


def test_a_pointed_client_that_started_right_after_the_sweep_passed_is_asked_again() -> None:
    world = World()
    relay = RelayNode(world, ("10.1.1.2",), remote=("10.1.7.*",))
    bob = Iptux(world, "10.1.7.12", "bob", logon="long-logon-of-bob")
    bob.asks_too = ("10.1.1.2",)
    relay.start()
    world.run(2)
    bob.start()
    world.until(lambda: bob.address in relay.users(), within=1)


def test_a_source_outside_is_dropped_and_counted() -> None:
    relay = node()
    assert hear(relay, says(Command.BR_ENTRY), "192.0.2.1") == []
    assert relay.relay.counters["dropped: source not in accept_from"] == 1


@pytest.mark.parametrize("source", ["10.1.1.2", "10.1.2.2"])
def test_what_claims_to_be_ours_is_dropped(source: str) -> None:
    relay = node()
    assert hear(relay, says(Command.BR_ENTRY), source, broadcast=True) == []
    assert relay.relay.counters["dropped: sent by ourselves"] == 1


@pytest.mark.parametrize("source", ["10.1.1.0", "10.1.1.255", "10.1.7.255", "0.0.0.0", "255.255.255.255"])
def test_a_network_or_broadcast_address_is_nobody(source: str) -> None:
    relay = node()
    assert hear(relay, says(Command.BR_ENTRY), source, broadcast=True) == []
    assert relay.users() == {}


def test_a_broadcast_with_ttl_1_is_another_relays() -> None:
    relay = node()
    assert hear(relay, says(Command.BR_ABSENCE), "10.1.1.9", broadcast=True, ttl=1) == []
    assert relay.users() == {}
    assert relay.relay.counters["dropped: announced by another relay"] == 1


def test_an_unproven_local_client_gets_a_question_and_then_its_list() -> None:
    world = World()
    relay = RelayNode(world, ("10.1.1.2", "10.1.2.2"))
    alice, bob = Iptux(world, "10.1.1.11", "alice"), Plain(world, "10.1.2.12", "bob", logon="a-long-logon")
    relay.start()
    alice.start()
    world.run(10)
    bob.alive = True
    data = bob.presence(Command.BR_ENTRY)
    bob.send(data, "10.1.2.2")
    world.run(0.0015)
    (question,) = [s for s in world.wire if s.to == bob.address]
    assert question.mode == Command.BR_ENTRY
    assert len(question.data) <= len(data)
    world.until(lambda: alice.address in bob.listed, within=1)


hints = st.builds(
    lambda command, options, logon, host, body, extra: build(
        b"1", 1, logon, host, command | options, body, extra
    ),
    st.sampled_from([*Command, 0x99]),
    st.sampled_from([0, Option.DIALUP, Option.CAPUTF8, 0x0F640000]),
    st.binary(max_size=40).map(lambda raw: raw.replace(b"\0", b"") or b"x"),
    st.binary(max_size=40).map(lambda raw: raw.replace(b"\0", b"") or b"x"),
    st.binary(max_size=60).map(lambda raw: raw.replace(b"\0", b"")),
    st.binary(max_size=80),
)
FROM = st.sampled_from(["10.1.1.9", "10.1.2.9", "10.1.7.9", "10.9.9.9", "192.0.2.9"])


@given(st.lists(st.tuples(hints, FROM, st.floats(0, 20)), max_size=12))
@settings(max_examples=150, deadline=None)
@example([(b"1:1:x:x:1:\0", "10.1.7.9", 0.0)])
@example([(b"1:1:x:x:1:\0", "10.1.1.9", 0.0)])  # by unicast on its own wire: registered, and still not proven
@example([(b"1:1:x:x:24:\0", "10.1.1.9", 0.0)])
@example(
    [
        (b"1:1:x:x:64:\0", "10.1.1.9", 0.0),
        (b"1:1:x:x:4:\0", "10.1.1.9", 0.0),
        (b"1:1:x:x:64:\0", "10.1.1.9", 0.0),
    ]
)
def test_the_unproven_never_get_more_bytes_than_they_sent(sent: list[tuple[bytes, str, float]]) -> None:
    relay = node(accept_from=("10.9.0.0/16",))
    now = 1030.0
    for data, source, pause in sent:
        now += pause
        if parse(data).mode == Command.ANSENTRY:
            continue  # may prove the address: a question of ours may be out
        out = hear(relay, data, source, now=now)
        assert sizes([o for o in out if isinstance(o, Transmit) and o.to == source]) <= len(data)


@given(st.binary(max_size=200) | hints, FROM, st.booleans(), st.sampled_from([0, 1, 64]))
@settings(max_examples=300, deadline=None)
def test_no_bytes_make_it_fail(data: bytes, source: str, broadcast: bool, ttl: int) -> None:
    relay = node(accept_from=("10.9.0.0/16",))
    hear(relay, data, source, broadcast=broadcast, ttl=ttl)
    hear(relay, data, source, broadcast=broadcast, ttl=ttl, now=1031.0)
    relay.relay.tick(1200.0)
    list(relay.relay.users(1200.0))


@pytest.mark.parametrize("gives_list", [True, False])
@pytest.mark.parametrize("kind", [Windows, Plain])
def test_somebody_else_at_the_address_does_not_keep_a_dead_user_alive(
    kind: type[Client], gives_list: bool
) -> None:
    world = World()
    relay = RelayNode(world, ("10.1.1.2",), remote=("10.1.7.*",))
    alice, bob = Iptux(world, "10.1.1.11", "alice"), kind(world, "10.1.7.12", "bob", logon="bob")
    for who in (alice, bob, relay):
        who.start()
    world.run(30)
    bob.kill()
    dora = kind(world, bob.address, "dora", logon="dora")  # the address was given to another machine
    dora.gives_list = gives_list  # type: ignore[attr-defined]
    dora.start()
    world.until(lambda: alice.listed.get(dora.address) == "dora", within=620)
    world.run(5)
    check(world)


def test_a_version_nobody_asked_for_proves_nothing() -> None:
    relay = node()
    hear(relay, says(Command.BR_ENTRY), "10.1.1.9", broadcast=True)
    hear(relay, says(Command.SENDINFO), "10.1.1.9", now=1100.0)
    assert next(relay.relay.users(1100.0)).last_seen == 70.0
    assert relay.relay.counters["dropped: version that we did not ask for"] == 1


def test_a_forged_question_of_a_relay_makes_no_ping_pong() -> None:
    world = World()
    one, two = (
        RelayNode(world, ("10.1.1.2",), remote=("10.1.2.*",)),
        RelayNode(world, ("10.1.2.2",), remote=("10.1.1.*",)),
    )
    one.start()
    two.start()
    world.run(30)
    begun = world.now
    world.put(Sent(world.now, "10.1.1.66", "10.1.1.2", "10.1.2.2", says(Command.BR_ENTRY)))
    world.run(100)
    between = [s for s in world.since(begun) if {s.source, s.to} == {"10.1.1.2", "10.1.2.2"}]
    assert len(between) <= 3
