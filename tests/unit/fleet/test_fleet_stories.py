"""What happens at one site is seen at the others: at once, by one datagram per segment, and as in the first issue."""

from __future__ import annotations

from collections import Counter

import pytest

from camrelay.ipmsg.command import Command
from camrelay.relay.messages import Changes, Digest, Marks, Reach, Rows
from tests.unit.fleet.fleet_checks import changes, check, key_of, relayed
from tests.unit.fleet.scenes import KINDS, LATENCY, QUICK, Sites
from tests.world import Client, Iptux, Plain, Windows


def broadcasts(found: Counter[tuple[str, str, int]]) -> dict[tuple[str, int], int]:
    """By segment and command."""
    return {(to, mode): n for (_, to, mode), n in found.items() if to.count(".") == 2}


@pytest.mark.parametrize("kind", KINDS)
def test_who_joins_is_listed_at_every_site_by_one_datagram_per_segment(kind: type[Client]) -> None:
    sites = Sites()
    world = sites.world
    dora = sites.client(kind, 1, 40, name="dora")
    begun = world.now
    dora.start()
    world.until(lambda: all(c.listed.get(dora.address) == "dora" for c in sites.away_from(1)), within=QUICK)
    world.run(20)
    check(sites.fleet)
    found = broadcasts(relayed(sites.fleet, begun, dora.address))
    assert found == {("10.1.2", Command.BR_ABSENCE): 1, ("10.1.3", Command.BR_ABSENCE): 1}
    assert changes(sites.fleet.since(begun)) == {key_of(dora): 2}  # once to each peer


@pytest.mark.parametrize("kind", KINDS)
def test_who_joins_lists_everybody(kind: type[Client]) -> None:
    sites = Sites()
    dora = sites.client(kind, 2, 40, name="dora")
    dora.start()
    sites.world.run(QUICK)
    others = {client.address: client.nick for client in sites.away_from(2)}
    assert others.items() <= dora.listed.items()
    dora.refresh()
    sites.world.run(10)
    assert others.items() <= dora.listed.items()
    check(sites.fleet)


@pytest.mark.parametrize("kind", [Iptux, Windows])
def test_a_rename_is_shown_everywhere(kind: type[Client]) -> None:
    sites = Sites()
    dora = sites.client(kind, 1, 40, name="dora")
    dora.start()
    sites.world.run(20)
    begun = sites.world.now
    dora.rename("theodora")
    sites.world.until(
        lambda: all(c.listed.get(dora.address) == "theodora" for c in sites.away_from(1)), within=QUICK
    )
    sites.world.run(20)
    check(sites.fleet)
    assert set(broadcasts(relayed(sites.fleet, begun, dora.address)).values()) == {1}
    assert changes(sites.fleet.since(begun)) == {key_of(dora): 2}


@pytest.mark.parametrize("kind", KINDS)
def test_an_exit_is_seen_everywhere_and_said_again_once(kind: type[Client]) -> None:
    sites = Sites()
    dora = sites.client(kind, 1, 40, name="dora")
    dora.start()
    sites.world.run(20)
    begun = sites.world.now
    dora.exit()
    sites.world.until(lambda: all(dora.address not in c.listed for c in sites.away_from(1)), within=QUICK)
    sites.world.run(60)
    check(sites.fleet)
    found = broadcasts(relayed(sites.fleet, begun, dora.address))
    assert found == {("10.1.2", Command.BR_EXIT): 2, ("10.1.3", Command.BR_EXIT): 2}
    assert changes(sites.fleet.since(begun)) == {key_of(dora): 2}


def test_who_falls_silent_is_gone_everywhere_within_200_seconds() -> None:
    sites = Sites()
    dora = sites.clients[0][0]
    dora.kill()
    sites.world.until(lambda: all(dora.address not in c.listed for c in sites.away_from(1)), within=202)
    sites.world.run(20)
    check(sites.fleet)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("said_so", [False, True], ids=["silently", "by exit"])
def test_who_moves_to_another_site_is_asked_at_the_old_place_and_leaves_no_twin(
    kind: type[Client], said_so: bool
) -> None:
    sites = Sites()
    world = sites.world
    dora = sites.client(kind, 1, 40, name="dora")
    dora.start()
    world.run(60)
    begun = world.now
    (dora.exit if said_so else dora.kill)()
    dora.move("10.1.3.77")
    world.run(1.0)
    dora.start()
    here = dict.fromkeys(sites.nodes, ("10.1.3.77", "dora", "sales"))
    world.until(lambda: {node: node.online().get(key_of(dora)) for node in sites.nodes} == here, within=8)
    sites.complete(within=12)
    world.run(60)
    check(sites.fleet)
    modes = {mode for (_, _, mode) in relayed(sites.fleet, begun, "10.1.1.40")}
    assert modes <= {Command.BR_EXIT}
    assert all(row.twin is None for node in sites.nodes for row in node.relay.users(node.clock))


def test_who_commutes_all_day_is_always_where_it_is() -> None:
    sites = Sites()
    dora = sites.client(Windows, 1, 40, name="dora")
    dora.start()
    for hour in range(9):
        sites.world.run(1_800)
        sites.complete(within=30)
        dora.kill()
        dora.move(f"10.1.{1 + hour % 3}.{50 + hour}")
        dora.start()
    sites.complete(within=30)
    check(sites.fleet)


@pytest.mark.parametrize("kind", KINDS)
def test_of_true_twins_the_first_address_stays_and_the_conflict_is_shown(kind: type[Client]) -> None:
    sites = Sites()
    world = sites.world
    dora, double = (sites.client(kind, site, 40, name="dora") for site in (1, 3))
    dora.start()
    world.run(60)
    begun = world.now
    double.start()
    world.run(60)
    assert {node.online()[key_of(dora)][0] for node in sites.nodes} == {dora.address}
    assert relayed(sites.fleet, begun, double.address).keys() == set()
    assert all(double.address not in c.listed for c in sites.away_from(3))
    shown = [row.twin for row in sites.relay(1).relay.users(sites.relay(1).clock) if row.nick == "dora"]
    assert shown == [double.address]
    check(sites.fleet)
    told = len(sites.fleet.said)
    world.run(3_600)
    assert len(sites.fleet.said) - told <= 12  # nobody quarrels
    dora.exit()
    world.until(
        lambda: {node.online().get(key_of(dora), ("",))[0] for node in sites.nodes} == {double.address},
        within=10,
    )
    sites.complete(within=30)


def test_an_idle_fleet_says_next_to_nothing() -> None:
    sites = Sites()
    begun = sites.world.now
    sites.world.run(7_200)
    said = {type(message) for *_, message in sites.fleet.since(begun)}
    assert said <= {Digest}
    assert len(list(sites.fleet.since(begun))) <= 2 * len(sites.nodes) * (len(sites.nodes) - 1)


def test_a_digest_that_falls_due_is_one_message() -> None:
    sites = Sites(sync_every=600.0)
    sites.world.run(30)
    begun = sites.world.now
    sites.world.run(3_600)
    said = [(a, b, type(message)) for _, a, b, message in sites.fleet.since(begun)]
    assert {kind for _, _, kind in said} == {Digest}
    assert {5, 6, 7} >= set(Counter(said).values())


def test_a_sync_on_demand_compares_both_ways_and_tells_of_nobody() -> None:
    sites = Sites()
    fleet, one, two = sites.fleet, sites.relay(1), sites.relay(2)
    sites.world.run(60)
    begun = sites.world.now
    one.act(one.relay.sync_now(one.clock, [two.id]))
    sites.world.run(5)
    said = [(a, b, type(message)) for _, a, b, message in fleet.since(begun)]
    assert sorted(said, key=str) == sorted(
        [(one, two, Marks), (one, two, Digest), (two, one, Digest)], key=str
    )
    for here, there in ((one, two), (two, one)):
        peer = next(row for row in here.relay.peers(here.clock) if row.id == there.id)
        assert (peer.linked, peer.owed) == (True, 0)
        assert peer.synced is not None
        assert peer.synced <= 5


def test_a_new_link_brings_all_and_a_second_one_only_what_differs() -> None:
    sites = Sites()
    fleet, (one, two, three) = sites.fleet, sites.nodes
    kinds = {type(message) for _, a, b, message in fleet.said if {a, b} == {one, two}}
    assert kinds >= {Reach, Digest}
    fleet.line(one, two).reset()
    begun = sites.world.now
    sites.world.run(10)
    again = [type(message) for _, a, b, message in fleet.since(begun) if {a, b} == {one, two}]
    assert sorted(kind.__name__ for kind in again) == ["Digest", "Digest", "Reach", "Reach"]
    fleet.line(one, two).cut()
    dora = sites.client(Plain, 1, 40, name="dora")
    dora.start()
    sites.world.run(60)
    assert key_of(dora) not in two.online()
    assert key_of(dora) in three.online()
    fleet.line(one, two).mend()
    begun = sites.world.now
    sites.complete(within=80)
    kinds = {type(message) for _, a, b, message in fleet.since(begun)}
    assert Marks in kinds
    rows = [
        row
        for *_, message in fleet.since(begun)
        if isinstance(message, Rows | Changes)
        for row in message.rows
    ]
    assert [row.logon for row in rows] == ["logon-dora"]
    check(fleet)


def test_a_high_latency_and_a_slow_line_change_nothing() -> None:
    sites = Sites(latency=0.4)
    dora = sites.client(Iptux, 1, 40, name="dora")
    dora.start()
    sites.world.until(
        lambda: all(dora.address in c.listed for c in sites.away_from(1)), within=1.0 + 0.4 * 1.5 + LATENCY
    )
    sites.world.run(20)
    check(sites.fleet)
