"""The lines of the fleet world keep what TCP promises, and nothing more."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from camrelay.relay.messages import Digest
from camrelay.relay.outputs import Output, Tell
from tests.fleet_world import Fleet, FleetNode

if TYPE_CHECKING:
    from camrelay.relay.messages import RelayId


class Recorder:
    """In the place of a relay: counts upwards to every peer, and writes down what it hears."""

    def __init__(self) -> None:
        self.up: set[RelayId] = set()
        self.heard: dict[RelayId, list[list[int]]] = {}  # by session
        self.emptied = 0
        self.said = 0

    def linked(self, peer: RelayId, now: float) -> list[Output]:
        assert peer not in self.up
        self.up.add(peer)
        self.heard.setdefault(peer, []).append([])
        return [Tell(peer, Digest(n, 0)) for n in range(3)]

    def unlinked(self, peer: RelayId, now: float) -> list[Output]:
        self.up.remove(peer)
        return []

    def hear(self, peer: RelayId, message: Digest, now: float) -> list[Output]:
        assert peer in self.up
        self.heard[peer][-1].append(message.users)
        return []

    def more(self, peer: RelayId, now: float) -> list[Output]:
        self.emptied += 1
        return []

    def say(self, peer: RelayId) -> list[Output]:
        self.said += 1
        return [Tell(peer, Digest(1000 + self.said, 0))]

    def enlist(self, me: RelayId, members: dict[RelayId, str], now: float) -> list[Output]:
        return []

    def restore(self, users: list[object], now: float) -> None:
        pass

    def start(self, now: float) -> list[Output]:
        return []

    tick = start

    def next_due(self) -> float:
        return math.inf


class Node(FleetNode):
    def make(self) -> Any:
        return Recorder()

    @property
    def record(self) -> Recorder:
        return self.relay  # type: ignore[return-value]


def pair(seed: int = 1, **more: Any) -> tuple[Fleet, Node, Node]:
    fleet = Fleet(seed, kind=Node, **more)
    a, b = fleet.relay("10.1.1.2"), fleet.relay("10.1.2.2")
    assert isinstance(a, Node)
    assert isinstance(b, Node)
    fleet.start()
    return fleet, a, b


def say(a: Node, b: Node) -> None:
    if b.id in a.record.up:
        a.act(a.record.say(b.id))


def test_both_are_linked_and_hear_all_in_order() -> None:
    fleet, a, b = pair(latency=0.5)
    for _ in range(200):
        say(a, b)
        fleet.world.run(0.01)
    fleet.world.run(5)
    assert b.record.heard[a.id] == [[0, 1, 2, *range(1001, 1201)]]
    assert a.record.heard[b.id] == [[0, 1, 2]]
    assert a.record.emptied > 100


def test_a_short_cut_loses_nothing_and_empties_no_queue() -> None:
    fleet, a, b = pair()
    fleet.line(a, b).cut()
    emptied = a.record.emptied
    for _ in range(10):
        say(a, b)
        fleet.world.run(1)
    assert b.record.heard[a.id] == [[0, 1, 2]]
    assert a.record.emptied == emptied
    fleet.line(a, b).mend()
    fleet.world.run(1)
    assert b.record.heard[a.id] == [[0, 1, 2, *range(1001, 1011)]]
    assert a.record.emptied > emptied


def test_a_long_cut_is_learned_by_each_in_its_own_time_and_mended_soon() -> None:
    fleet, a, b = pair()
    a.ends[b.id].detect = 10.0
    fleet.line(a, b).cut()
    fleet.world.run(11)
    assert (len(a.record.up), len(b.record.up)) == (0, 1)
    fleet.world.run(15)
    assert not b.record.up
    fleet.world.run(600)
    fleet.line(a, b).mend()
    fleet.world.run(80)
    assert a.record.up
    assert b.record.up
    assert len(b.record.heard[a.id]) == 2


def test_who_gave_up_alone_calls_and_the_other_drops_what_it_believed_in() -> None:
    fleet, a, b = pair()
    a.ends[b.id].detect = 5.0
    fleet.line(a, b).cut()
    fleet.world.run(6)
    say(b, a)
    fleet.line(a, b).mend()
    fleet.world.run(20)
    assert len(b.record.heard[a.id]) == 2
    assert a.record.heard[b.id] == [[0, 1, 2], [0, 1, 2]]


def test_a_killed_process_is_learned_at_once_and_a_power_cut_after_a_while() -> None:
    fleet, a, b = pair()
    b.kill()
    fleet.world.run(0.1)
    assert not a.record.up
    b.restart()
    fleet.world.run(70)
    assert a.record.up
    b.power_cut()
    fleet.world.run(20)
    assert a.record.up
    fleet.world.run(6)
    assert not a.record.up


def test_after_a_power_cut_the_first_call_replaces_the_session() -> None:
    fleet, a, b = pair()
    b.power_cut()
    b.restart()
    fleet.world.run(5)
    assert len(a.record.heard[b.id]) == 2
    assert b.record.up
    fleet.world.run(60)
    assert len(a.record.heard[b.id]) == 2


happenings = st.lists(
    st.tuples(
        st.sampled_from(["cut", "mend", "kill", "power", "start", "reset", "say", "say"]),
        st.booleans(),
        st.sampled_from([0.0, 0.02, 0.3, 3.0, 30.0]),
    ),
    max_size=30,
)


@given(st.integers(0, 2**16), happenings)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_whatever_happens_each_session_is_heard_in_order_from_its_begin(
    seed: int, happened: list[tuple[str, bool, float]]
) -> None:
    fleet, a, b = pair(seed, latency=0.1)
    a.ends[b.id].detect = 7.0
    records = [a.record, b.record]
    for what, first, pause in happened:
        one, other = (a, b) if first else (b, a)
        if what in ("cut", "mend", "reset"):
            getattr(fleet.line(a, b), what)()
        elif what == "start" and not one.running:
            one.restart()
            records.append(one.record)
        elif what == "kill" and one.running:
            one.kill()
        elif what == "power" and one.running:
            one.power_cut()
        elif one.running and what == "say":
            say(one, other)
        fleet.world.run(pause)
    for node in (a, b):
        if not node.running:
            node.restart()
            records.append(node.record)
    fleet.line(a, b).mend()
    fleet.world.run(120)
    assert a.record.up == {b.id}
    assert b.record.up == {a.id}
    assert a.ends[b.id].session == b.ends[a.id].session
    for record in records:
        for sessions in record.heard.values():
            for numbers in sessions:
                assert numbers[:3] == [0, 1, 2][: len(numbers)]
                assert numbers == sorted(set(numbers))
