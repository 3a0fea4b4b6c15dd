"""A peer that stays away: its users stay listed for a while, then go; when it returns both sides are set right."""

from __future__ import annotations

import pytest

from camrelay.ipmsg.command import Command
from tests.unit.fleet.fleet_checks import check, key_of, relayed
from tests.unit.fleet.scenes import KINDS, Sites
from tests.world import Client, Plain, Windows

KEEP = 900.0
AWAY = 25.0  # until the silence is noticed


@pytest.mark.parametrize("how", ["kill", "power_cut", "line"])
def test_users_of_an_absent_peer_stay_listed_and_then_get_their_farewell(how: str) -> None:
    sites = Sites(keep_users=KEEP)
    world, gone = sites.world, sites.relay(1)
    theirs = {client.address for client in sites.clients[0]}
    if how == "line":
        sites.fleet.partition([gone], [sites.relay(2), sites.relay(3)])
    else:
        getattr(gone, how)()
    begun = world.now
    others = sites.away_from(1)
    while world.now < begun + KEEP - 5:
        world.run(5)
        assert all(theirs <= client.listed.keys() for client in others)
    world.run(AWAY + 30)
    assert not any(theirs & client.listed.keys() for client in others)
    assert not any(theirs & {a for a, _, _ in n.online().values()} for n in (sites.relay(2), sites.relay(3)))
    for address in theirs:  # said, and said again, into each segment, by one relay
        found = relayed(sites.fleet, begun, address)
        assert {to: n for (_, to, mode), n in found.items() if mode == Command.BR_EXIT} == {
            "10.1.2": 2,
            "10.1.3": 2,
        } | {to: 2 for (_, to, _) in found if to.count(".") == 3}


@pytest.mark.parametrize("away", [60.0, KEEP + 600])
def test_its_return_sets_both_sides_right(away: float) -> None:
    sites = Sites(keep_users=KEEP)
    gone = sites.relay(1)
    sites.fleet.partition([gone], [sites.relay(2), sites.relay(3)])
    sites.world.run(40)
    sites.client(Windows, 1, 40, name="new here").start()
    sites.client(Plain, 3, 40, name="new there").start()
    sites.clients[0][0].exit()
    sites.clients[1][1].exit()
    sites.clients[0][1].rename("renamed here")
    sites.clients[2][0].rename("renamed there")
    sites.world.run(away)
    sites.fleet.heal()
    sites.complete(within=90)
    sites.world.run(300)
    check(sites.fleet)


def test_who_moved_across_a_cut_is_in_one_place_afterwards() -> None:
    sites = Sites(keep_users=KEEP)
    dora = sites.client(Windows, 1, 40, name="dora")
    dora.start()
    sites.world.run(60)
    sites.fleet.partition([sites.relay(1)], [sites.relay(2), sites.relay(3)])
    sites.world.run(40)
    dora.kill()
    dora.move("10.1.3.77")
    dora.start()
    sites.world.run(60)
    assert {n.online()[key_of(dora)][0] for n in (sites.relay(2), sites.relay(3))} == {dora.address}
    sites.fleet.heal()
    sites.complete(within=90)
    sites.world.run(300)
    check(sites.fleet)


def test_who_moved_and_came_back_while_the_line_was_cut_is_where_it_is() -> None:
    sites = Sites(keep_users=KEEP)
    dora = sites.client(Windows, 1, 40, name="dora")
    dora.start()
    sites.world.run(60)
    sites.fleet.partition([sites.relay(1)], [sites.relay(2), sites.relay(3)])
    for address in ("10.1.3.77", "10.1.1.40"):
        sites.world.run(400)
        dora.kill()
        dora.move(address)
        dora.start()
    sites.world.run(30)
    sites.fleet.heal()
    sites.complete(within=120)
    sites.world.run(300)
    check(sites.fleet)


def test_a_relay_restarted_after_a_weekend_serves_no_ghosts() -> None:
    sites = Sites(keep_users=KEEP)
    world, back = sites.world, sites.relay(1)
    stays, goes = sites.clients[0][0], sites.clients[0][1]
    left = sites.clients[1][1]
    back.power_cut()
    world.run(KEEP + 100)
    goes.kill()
    left.exit()
    world.run(3 * 86_400)
    begun = world.now
    back.restart()
    assert back.online() == {}
    ghosts = {key_of(goes), key_of(left)}
    while world.now < begun + 120:
        world.run(0.1)
        assert not any(ghosts & node.online().keys() for node in sites.nodes)
    check(sites.fleet)
    for ghost in (goes, left):
        assert {mode for _, _, mode in relayed(sites.fleet, begun, ghost.address)} <= {Command.BR_EXIT}
    assert key_of(stays) in sites.relay(3).online()


def test_a_relay_restarted_after_a_minute_serves_its_peers_users_though_they_do_not_link() -> None:
    sites = Sites()
    back = sites.relay(1)
    before = back.online()
    back.kill()
    sites.fleet.partition([back], sites.nodes[1:])
    sites.world.run(60)
    back.restart()
    sites.world.run(1)
    assert back.online().items() < before.items(), (
        "for ten seconds they may still link, and tell what is so now"
    )
    sites.world.run(10)
    assert back.online() == before
    dora = sites.client(Plain, 1, 40, name="dora")
    dora.start()
    sites.world.run(3)
    assert {c.address for c in sites.away_from(1)} <= dora.listed.keys()
    sites.world.run(300)
    sites.fleet.heal()
    sites.complete(within=90)
    check(sites.fleet)


def test_a_relay_that_lost_its_disk_is_filled_by_its_peers_and_its_segment() -> None:
    sites = Sites()
    back = sites.relay(1)
    back.kill()
    sites.world.run(20)
    back.restart(lost=1e9)
    sites.complete(within=20)
    sites.world.run(300)
    check(sites.fleet)


@pytest.mark.parametrize("kind", KINDS)
def test_a_user_forgotten_by_lost_commits_is_neither_lost_nor_twice(kind: type[Client]) -> None:
    sites = Sites()
    dora = sites.client(kind, 1, 40, name="dora")
    dora.start()
    sites.world.run(5)
    sites.relay(1).power_cut(lost=60)
    sites.world.run(5)
    sites.relay(1).restart()
    sites.complete(within=60)
    dora.exit()
    sites.relay(1).power_cut(lost=60)
    sites.relay(1).restart()
    sites.complete(within=240)
    check(sites.fleet)


@pytest.mark.parametrize("kind", KINDS)
def test_who_left_in_the_second_before_a_power_cut_is_no_ghost_for_long(kind: type[Client]) -> None:
    sites = Sites()
    dora = sites.client(kind, 1, 40, name="dora")
    dora.start()
    sites.world.run(20)
    dora.exit()
    sites.world.run(0.9)
    sites.complete(within=0)
    sites.relay(1).power_cut(lost=1.0)
    sites.world.run(5)
    sites.relay(1).restart()
    sites.world.run(5)
    assert key_of(dora) in sites.relay(1).online(), "the test is none if the disk knew it"
    sites.complete(within=45)
    sites.world.run(60)
    check(sites.fleet)


def test_a_removed_relays_users_go_at_once_where_nobody_else_hears_them() -> None:
    sites = Sites()
    gone = sites.relay(1)
    theirs = {client.address for client in sites.clients[0]}
    sites.fleet.remove(gone)
    sites.world.run(2)
    assert not any(theirs & {a for a, _, _ in n.online().values()} for n in sites.nodes[1:])
    assert not any(theirs & client.listed.keys() for client in sites.away_from(1))
    assert [row.id for row in sites.relay(2).relay.peers(sites.relay(2).clock)] == [sites.relay(3).id]
    told = [t.peer for t in sites.relay(2).disk.told()]
    assert told == [sites.relay(3).id]


def test_a_newcomer_is_told_everything_and_tells_everything() -> None:
    sites = Sites()
    new = sites.fleet.relay("10.1.4.2")
    sites.client(Plain, 4, 11).start()
    new.start()
    sites.complete(within=15)
    check(sites.fleet)


def test_a_flapping_line_makes_nobody_come_and_go() -> None:
    sites = Sites()
    world = sites.world
    line = sites.fleet.line(sites.relay(1), sites.relay(2))
    begun = world.now
    for turn in range(60):
        line.reset() if turn % 2 else line.cut()
        world.run(7 + turn % 11 * 3)
        line.mend()
        world.run(2)
        assert not any({c.address for c in sites.clients[0]} - d.listed.keys() for d in sites.clients[1])
    assert not [s for s in world.since(begun) if s.announces and s.mode == Command.BR_EXIT]
    sites.complete(within=90)
    check(sites.fleet)


def test_a_sleeping_machine_finds_its_peers_users_again() -> None:
    sites = Sites(keep_users=KEEP)
    one = sites.relay(1)
    for seconds in (30.0, 5_000.0):
        one.jump(seconds)
        one.relay.distrust(one.clock)
        one.act([])
        sites.world.run(60)
        sites.complete(within=60)
        check(sites.fleet)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_client_sees_the_absent_ones_go_and_return(kind: type[Client]) -> None:
    sites = Sites(2, (kind, kind), keep_users=KEEP)
    sites.fleet.partition([sites.relay(1)], [sites.relay(2)])
    sites.world.run(KEEP + AWAY + 10)
    assert not any(c.address in d.listed for c in sites.clients[0] for d in sites.clients[1])
    sites.fleet.heal()
    sites.complete(within=90)
    check(sites.fleet)


def test_who_left_and_is_back_gets_no_farewell_when_its_relay_dies_at_once() -> None:
    sites = Sites()
    home, carol = sites.relay(2), sites.clients[1][0]
    carol.exit()
    sites.world.run(4)  # its farewell is said, and said again
    carol.start()
    sites.world.run(2)
    begun = sites.world.now
    home.kill()
    sites.world.run(8)
    home.restart()
    sites.world.run(60)
    assert not [s for s in sites.world.since(begun) if s.announces and s.mode == Command.BR_EXIT]
    check(sites.fleet)
