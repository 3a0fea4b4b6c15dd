"""What strangers can make us keep and do is bounded: per source, per network, in every table."""

from __future__ import annotations

import pytest

from camrelay.ipmsg.command import Command
from camrelay.ipmsg.packet import parse
from camrelay.ipmsg.presence import read
from camrelay.relay.context import Budget
from camrelay.relay.hearing import PER_SOURCE
from camrelay.relay.hints import HINT_EVERY, HINTS_PER_NETWORK
from camrelay.relay.outputs import Datagram, Transmit
from camrelay.relay.roster import Roster
from camrelay.relay.segment import Segment
from camrelay.relay.user import User
from tests.unit.relay.strangers import hear, node, says
from tests.world import RelayNode, World


def test_one_source_is_heard_64_times_in_ten_seconds() -> None:
    relay = node()
    for _ in range(PER_SOURCE + 9):
        hear(relay, says(Command.BR_ENTRY), "10.1.1.9", broadcast=True)
    assert relay.relay.counters["dropped: too many datagrams from one source"] == 9
    hear(relay, says(Command.BR_ENTRY), "10.1.1.9", broadcast=True, now=1041.0)
    assert relay.relay.counters["dropped: too many datagrams from one source"] == 9


def test_hints_of_one_network_are_followed_256_times_in_ten_seconds() -> None:
    relay = node(accept_from=("10.9.0.0/16",))
    out = []
    for n in range(1, 255):
        out += hear(relay, says(Command.BR_ENTRY), f"10.9.4.{n}")
        out += hear(relay, says(Command.BR_ENTRY), f"10.9.4.{n}", now=1034.0)
    assert len(out) == HINTS_PER_NETWORK
    assert relay.relay.counters["hints dropped: too many from one network"] == 2 * 254 - HINTS_PER_NETWORK


def test_names_invented_without_end_at_one_address_leave_five() -> None:
    relay = node()
    now = 1030.0
    for n in range(15_000):  # 40 minutes of them, as fast as one source is heard
        now += 10.0 / PER_SOURCE
        hear(relay, says(Command.BR_ENTRY, f"name {n}"), "10.1.1.9", broadcast=True, now=now)
        if n % 64 == 0:
            relay.relay.tick(now)
    assert len(list(relay.relay.users(now))) == 5
    assert len(relay.relay._liveness._heap) < 300
    assert relay.relay.counters.get("dropped: too many datagrams from one source", 0) < 10


def test_the_roster_is_bounded_and_the_oldest_of_the_gone_make_room() -> None:
    roster, segment, data = Roster(most=1000), Segment("10.1.1.*"), says(Command.BR_ENTRY)
    presence = read(parse(data))
    dropped = []
    for n in range(1003):
        user = User(presence, data, f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", 2425, segment, 0.0)
        user.key = ("somebody", str(n))
        dropped.append(roster.add(user))
        if n % 2:
            roster.retire(user)
    assert len(roster) == 1000
    assert [user.key[1] for user in dropped if user] == ["1", "3", "5"]


def test_200_000_sources_are_not_all_remembered() -> None:
    budget = Budget(PER_SOURCE)
    heard = sum(budget.spend(f"source {n}", 1000.0) for n in range(200_000))
    assert heard == 100_000
    assert budget.spend("source 7", 1000.0)
    assert budget.spend("source 199999", 1011.0)


def test_sources_without_end_leave_bounded_tables() -> None:
    relay = RelayNode(World(), ("10.1.1.2",), accept_from=("10.0.0.0/8",)).relay
    data = says(Command.BR_ENTRY)
    for n in range(0, 200_000, 7):
        source = f"10.{8 + n // 65_536}.{n // 256 % 256}.{n % 254 + 1}"
        relay.receive(Datagram(data, source, 2425, 2, False, 64), 1000.0 + n / 20_000)
    assert relay.counters["hints"] > 25_000
    assert len(relay._context.segments._known) <= 65_536
    assert len(relay._context.segments.all) <= 2_049
    assert len(relay._questions._pending[1]._order) <= 8_192


def test_a_novel_is_not_kept_and_not_repeated() -> None:
    relay = node()
    data = says(Command.BR_ENTRY, extra=b"sales\0" + b"x" * 60_000)
    out = hear(relay, data, "10.1.1.9", broadcast=True)
    assert all(len(o.data) < 4_096 for o in out if isinstance(o, Transmit))
    (user,) = relay.relay._context.roster.by_key.values()
    assert len(user.datagram) < 4_096


@pytest.mark.parametrize("pause", [0.0, HINT_EVERY / 3])
def test_hints_from_one_address_draw_one_question_at_a_time(pause: float) -> None:
    relay = node()
    out = []
    for n in range(3):
        out += hear(relay, says(Command.BR_ABSENCE), "10.1.7.9", now=1030.0 + n * pause)
    assert len(out) == 1
    assert len(hear(relay, says(Command.BR_ABSENCE), "10.1.7.9", now=1030.1 + HINT_EVERY)) == 1
