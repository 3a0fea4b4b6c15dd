"""A member of the fleet that means harm, or is out of its mind: what it can do to another one is bounded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from camrelay.ipmsg.command import Command
from camrelay.relay.messages import Changes, Digest, Marks, Reach, Row, Rows
from camrelay.relay.outputs import Tell, Transmit
from camrelay.relay.peers import MOST_TOLD
from tests.fleet_world import Fleet, FleetNode, relay_id
from tests.unit.relay.invariants import misplaced
from tests.world import Plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from camrelay.relay.messages import PeerMessage
    from camrelay.relay.outputs import Output

EVIL = relay_id("evil")
EVERYWHERE = Reach(("10.0.0.0/8",), (), (), True)
AT_ONCE = 4_096  # rows of one message at the most


class Dumb(FleetNode):
    """What it says to its peer is nobody's business here."""

    remembered: tuple[Row, ...] = ()

    def enlist(self) -> None:
        self.act(self.relay.enlist(self.id, {EVIL: "evil"}, self.clock))
        self.relay.restore_peer(EVIL, self.remembered, 30.0, self.clock)

    def act(self, outputs: list[Output]) -> None:
        super().act([output for output in outputs if not isinstance(output, Tell)])


class Victim:
    """A relay with one client, and a link to a peer that says what the test wants."""

    def __init__(self, remembered: Iterable[Row] = (), settled: float = 20.0) -> None:
        fleet = Fleet(kind=Dumb)
        self.world = fleet.world
        self.node = fleet.relay("10.1.1.2")
        assert isinstance(self.node, Dumb)
        self.node.remembered = tuple(remembered)
        self.node.start()
        self.alice = Plain(self.world, "10.1.1.11", "alice", "alice", "pc-alice")
        self.alice.start()
        self.world.run(settled)
        self.node.act(self.node.relay.linked(EVIL, self.world.now))

    def hear(self, *messages: PeerMessage) -> list[Output]:
        """What follows."""
        out: list[Output] = []
        for message in messages:
            out += self.node.relay.hear(EVIL, message, self.world.now)
        return out

    @property
    def counters(self) -> dict[str, int]:
        return self.node.relay.counters


def row(n: int, address: str = "") -> Row:
    address = address or f"10.{2 + (n >> 16)}.{n >> 8 & 255}.{n & 255}"
    return Row(f"u{n}", f"h{n}", "nick", "", b"1", 0, b"", "", "cp932", address, 2425, 1, 1)


def parts(number: int) -> Iterator[tuple[Row, ...]]:
    for start in range(0, number, AT_ONCE):
        yield tuple(map(row, range(start, min(number, start + AT_ONCE))))


def test_of_a_million_users_only_so_many_are_taken_and_each_tick_stays_short() -> None:
    victim = Victim()
    victim.hear(EVERYWHERE)
    for rows in parts(MOST_TOLD + 20_000):
        victim.hear(Changes(rows, ()))
    assert [peer.users for peer in victim.node.relay.peers(victim.world.now)] == [MOST_TOLD]
    assert victim.counters["rows of peers not taken"] > 0
    before = len(victim.node.relay._context.roster)
    victim.node.relay.tick(victim.world.now + 1)
    assert len(victim.node.relay._context.roster) - before <= 200
    assert victim.node.relay.unlinked(EVIL, victim.world.now + 2) is not None


def test_users_where_the_peer_has_no_segment_are_nobody() -> None:
    victim = Victim()
    victim.hear(Reach(("10.7.0.0/24",), (), (), True), Changes((row(1, "10.8.0.5"), row(2, "10.7.0.5")), ()))
    assert set(victim.node.users().values()) == {"alice", "nick"}
    assert "10.8.0.5" not in victim.node.users()


@pytest.mark.parametrize("local", ["0.0.0.0/0", "127.0.0.0/24", "224.0.0.0/24"])
def test_a_reach_that_no_office_has_is_refused(local: str) -> None:
    victim = Victim()
    victim.hear(Reach((local,), (), (), True), Changes((row(1, "127.0.0.5"), row(2, "224.0.0.5")), ()))
    assert victim.counters["reaches of peers refused"] == 1
    assert set(victim.node.users().values()) == {"alice"}


def test_whoever_is_heard_here_keeps_its_address_and_its_name() -> None:
    victim = Victim()
    victim.hear(EVERYWHERE)
    thief = row(1, victim.alice.address)
    double = row(2, "10.9.9.9")._replace(logon="alice", host="pc-alice", claim=2**63 - 1)
    victim.node.act(victim.hear(Changes((thief, double), ())))
    for _ in range(20):
        victim.world.run(1)
        assert victim.node.users()[victim.alice.address] == "alice"
    assert not misplaced(victim.world)


def test_nobody_is_announced_into_our_segment_by_an_address_of_it_that_is_ours() -> None:
    victim = Victim()
    out = victim.hear(EVERYWHERE, Changes((row(1, "10.1.1.2"), row(2, "10.1.1.255")), ()))
    assert not [o for o in out if isinstance(o, Transmit)]
    assert victim.counters["users of peers not taken: address is nobody's or ours"] == 2


def test_asking_for_everything_over_and_over_is_answered_once_in_a_while() -> None:
    victim = Victim()
    victim.hear(EVERYWHERE)
    zeros = Marks((0,) * 256)
    told = [o for _ in range(50) for o in victim.hear(zeros, Digest(5, 7)) if isinstance(o, Tell)]
    assert sum(isinstance(o.message, Changes | Rows) for o in told) <= 1
    assert sum(isinstance(o.message, Marks) for o in told) <= 1


def test_words_before_a_link_or_of_strangers_are_nothing() -> None:
    victim = Victim()
    stranger = victim.node.relay.hear(relay_id("stranger"), Changes((row(1),), ()), victim.world.now)
    assert stranger == []
    assert victim.counters["dropped: said by no peer of ours"] == 1


def test_a_peer_that_dies_in_the_middle_of_telling_takes_nobody_along() -> None:
    """After our restart it had confirmed some of those whom we remembered, and not the others."""
    victim = Victim([row(n) for n in range(1, 21)], settled=2)
    victim.node.act(victim.hear(EVERYWHERE, Changes(tuple(map(row, range(1, 11))), ())))
    victim.world.run(1)
    assert len(victim.node.users()) == 1 + 10
    begun = victim.world.now
    victim.node.act(victim.node.relay.unlinked(EVIL, begun))
    victim.world.run(12)
    assert len(victim.node.users()) == 1 + 20, "those who were not confirmed are shown when it does not link"
    victim.node.act(victim.node.relay.linked(EVIL, victim.world.now))
    victim.node.act(victim.hear(EVERYWHERE, Changes((row(3),), ())))
    victim.world.run(5)
    assert len(victim.node.users()) == 1 + 20
    assert not [sent for sent in victim.world.since(begun) if sent.announces and sent.mode == Command.BR_EXIT]


def test_a_chain_of_users_who_each_wait_for_the_next_one_s_address_is_walked_in_helpings() -> None:
    victim = Victim()
    victim.hear(EVERYWHERE)
    chain = 3_000
    places = [row(n).address for n in range(1, chain + 1)]
    for start in range(0, chain, 1_000):
        victim.node.act(victim.hear(Changes(tuple(map(row, range(1 + start, 1_001 + start))), ())))
    victim.world.run(5)
    moved = [row(n + 1, places[n - 1]) for n in range(1, chain)]
    for start in range(0, chain, 1_000):  # each to an address where somebody else still lives
        victim.node.act(victim.hear(Changes(tuple(moved[start : start + 1_000]), ())))
    victim.world.run(5)
    victim.node.act(victim.hear(Changes((), (("u1", "h1"),))))
    victim.world.run(60)
    assert len(victim.node.users()) > chain / 2


def test_saying_something_else_about_its_segments_all_the_time_makes_no_endless_work() -> None:
    victim = Victim()
    both = (Reach(("10.1.1.0/24",), (), (), True), EVERYWHERE)
    for n in range(500):
        victim.hear(both[n % 2])
    assert victim.node.relay._announcer.waiting <= 2


def test_a_peer_with_our_network_s_numbers_serves_it_only_if_it_was_heard_there() -> None:
    victim = Victim()
    victim.hear(Reach(("10.1.1.0/24",), (), (), True))
    (ours,) = victim.node.relay._context.segments.local
    assert ours.served
