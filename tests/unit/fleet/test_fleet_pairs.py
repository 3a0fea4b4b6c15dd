"""Two relays in one segment: owner and standby. One announces; when it dies the other does, and no client notices."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from camrelay.ipmsg.command import Command
from tests.keys import PEER, RELAY
from tests.unit.fleet.fleet_checks import changes, check, into, key_of, not_listed, relayed, unequal
from tests.unit.fleet.scenes import KINDS, QUICK, Sites
from tests.unit.relay.invariants import ghosts
from tests.windows import Windows499
from tests.world import Client, Windows

if TYPE_CHECKING:
    from tests.fleet_world import FleetNode

TAKEOVER = 10.0  # seconds after kill -9 (issue 3)


class Pair(Sites):
    """Two sites; at the first one there is a second relay, which came later."""

    def __init__(self) -> None:
        super().__init__(2)
        self.first, self.far = self.nodes
        self.second = self.fleet.relay("10.1.1.3")
        self.second.start()
        self.world.run(60)

    def announcer(self, site: int = 1) -> FleetNode:
        """Who has announced into a segment since: found by a rename at the other one."""
        begun = self.world.now
        other = next(c for c in self.away_from(site) if isinstance(c, Windows))
        other.rename(f"w{int(begun)}")
        self.world.run(5)
        senders = {
            sent.sender for sent in self.world.since(begun) if sent.announces and into(sent) == f"10.1.{site}"
        }
        assert len(senders) == 1
        node = self.world.nodes[senders.pop()]
        return next(n for n in self.fleet.nodes if n is node)

    def gaps(self) -> list[str]:
        """Whatever a client could notice at this instant."""
        return not_listed(self.fleet) + ghosts(self.world)


def test_only_one_of_them_announces() -> None:
    pair = Pair()
    begun = pair.world.now
    dora, ede = pair.client(Windows, 2, 40, name="dora"), pair.client(Windows, 1, 41, name="ede")
    dora.start()
    ede.start()
    pair.world.run(20)
    check(pair.fleet)
    assert pair.announcer() in (pair.first, pair.second)
    for client, segment in ((dora, "10.1.1"), (ede, "10.1.2")):
        assert relayed(pair.fleet, begun, client.address)[client.address, segment, Command.BR_ABSENCE] == 1


@pytest.mark.parametrize("kind", KINDS)
def test_both_hear_a_newcomer_and_only_one_lists_everybody_to_it(kind: type[Client]) -> None:
    pair = Pair()
    dora = pair.client(kind, 1, 40, name="dora")
    begun = pair.world.now
    dora.start()
    pair.world.run(QUICK)
    assert all(client.address in dora.listed for client in pair.away_from(1))
    pair.world.run(20)
    to_dora = {sent.sender for sent in pair.world.since(begun) if sent.announces and sent.to == dora.address}
    assert len(to_dora) <= 1
    check(pair.fleet)


def test_the_standby_tells_nobody_of_those_whom_the_owner_has() -> None:
    pair = Pair()
    begun = pair.world.now
    dora = pair.client(Windows, 1, 40, name="dora")
    dora.start()
    pair.world.run(30)
    told = changes(pair.fleet.since(begun))[key_of(dora)]
    assert told <= 4, "one claim of each at the most, to two peers"
    pair.world.run(3_600)
    assert changes(pair.fleet.since(begun))[key_of(dora)] == told


@pytest.mark.parametrize("how", ["kill", "power_cut"])
def test_when_the_announcer_dies_the_other_takes_over_and_nobody_notices(how: str) -> None:
    pair = Pair()
    world = pair.world
    dead = pair.announcer()
    left = pair.second if dead is pair.first else pair.first
    getattr(dead, how)()
    died = world.now
    within = TAKEOVER if how == "kill" else 26.0 + TAKEOVER
    while world.now < died + 300:
        world.run(0.5)
        assert not pair.gaps()
        assert not [c for c in unequal(pair.fleet) if world.now > died + within]
    check(pair.fleet)
    dora = pair.client(Windows, 2, 40, name="dora")
    dora.start()
    world.until(lambda: all(dora.address in c.listed for c in pair.away_from(2)), within=QUICK)
    assert pair.announcer() is left
    begun = world.now
    dead.restart()
    while world.now < begun + 120:
        world.run(0.5)
        assert not pair.gaps()
    check(pair.fleet)
    assert pair.announcer() is dead, "who is preferred does not depend on the order of starting"


@pytest.mark.parametrize("how", ["kill", "power_cut"])
@pytest.mark.parametrize("which", ["first", "second"])
def test_a_change_in_the_moment_of_death_is_made_good(how: str, which: str) -> None:
    pair = Pair()
    world = pair.world
    dora, ede = pair.client(Windows, 2, 40, name="dora"), pair.client(Windows, 1, 41, name="ede")
    gone_there, gone_here = pair.clients[1][0], pair.clients[0][1]
    dora.start()
    ede.start()
    gone_there.exit()
    gone_here.exit()
    world.run(0.003)  # heard, decided, not yet told over the line
    getattr(pair, which).power_cut(lost=1.0) if how == "power_cut" else getattr(pair, which).kill()
    pair.complete(within=26 + 2 * TAKEOVER if how == "power_cut" else TAKEOVER)
    world.run(300)
    check(pair.fleet)


def test_the_users_of_the_dead_one_never_get_a_farewell() -> None:
    pair = Pair()
    begun = pair.world.now
    pair.first.kill()
    pair.world.run(4_000)
    assert not [sent for sent in pair.world.since(begun) if sent.announces and sent.mode == Command.BR_EXIT]
    check(pair.fleet)


def test_who_leaves_while_one_is_away_is_not_brought_back_by_it() -> None:
    pair = Pair()
    gone = pair.clients[0][1]
    pair.first.kill()
    pair.world.run(60)
    gone.exit()
    pair.world.run(60)
    begun = pair.world.now
    pair.first.restart()
    pair.world.run(300)
    check(pair.fleet)
    assert {mode for _, _, mode in relayed(pair.fleet, begun, gone.address)} <= {Command.BR_EXIT}


def test_when_the_line_between_them_is_cut_clients_see_no_twins_and_no_gaps() -> None:
    pair = Pair()
    pair.fleet.line(pair.first, pair.second).cut()
    begun = pair.world.now
    dora = pair.client(Windows, 1, 40, name="dora")
    dora.start()
    pair.world.run(2)
    while pair.world.now < begun + 900:
        pair.world.run(1)
        assert not pair.gaps()
        assert not unequal(pair.fleet)
    pair.fleet.heal()
    while pair.world.now < begun + 1_800:
        pair.world.run(1)
        assert not pair.gaps()
        assert not unequal(pair.fleet)
    check(pair.fleet)


def test_two_relays_without_the_privilege_serve_windows_clients_alone() -> None:
    """Where nobody may speak for others, lists do it; where one of them may, it is preferred."""
    sites = Sites(2, (Windows499, Windows499), can_speak=False, key=RELAY)
    check(sites.fleet)
    speaker = sites.fleet.relay("10.1.1.3", key=PEER)
    speaker.start()
    sites.world.run(60)
    begun = sites.world.now
    dora = sites.client(Windows499, 2, 40, name="dora")
    dora.start()
    sites.world.run(20)
    check(sites.fleet)
    assert relayed(sites.fleet, begun, dora.address)[dora.address, "10.1.1", Command.BR_ABSENCE] == 1
