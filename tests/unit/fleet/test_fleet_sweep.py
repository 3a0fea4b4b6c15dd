"""Segments without a relay that several relays name: one sweeps and tells them, another takes over, all sites know."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from camrelay.ipmsg.command import Command
from tests.keys import RELAY
from tests.unit.fleet.fleet_checks import check, key_of, relayed
from tests.unit.fleet.scenes import KINDS, QUICK, Sites
from tests.windows import Windows499
from tests.world import Client, Iptux, Plain, Windows

if TYPE_CHECKING:
    from tests.fleet_world import FleetNode

REMOTE = ("10.1.9.*",)
SOONER: dict[str, Any] = {"sweep_every": 300.0, "sweep_unknown_every": 600.0}


class Swept(Sites):
    """Three sites whose relays all name 10.1.9.*, where one client of every kind is."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(3, remote=REMOTE, **SOONER, **settings)
        self.remotes = [self.client(kind, 9, 11 + place) for place, kind in enumerate(KINDS)]
        for client in self.remotes:
            client.start()
        self.world.run(700)

    def sweepers(self, seconds: float) -> Counter[FleetNode]:
        """Who asks there how many within so long from now."""
        begun = self.world.now
        self.world.run(seconds)
        asked = Counter(
            sent.sender
            for sent in self.world.since(begun)
            if sent.to.startswith("10.1.9.") and sent.mode == Command.BR_ENTRY and not sent.announces
        )
        return Counter({node: asked[node.interfaces[0].address] for node in self.nodes} | {}) - Counter()


def test_one_of_three_sweeps_and_all_sites_have_who_is_there() -> None:
    swept = Swept()
    check(swept.fleet)
    assert len(swept.sweepers(1_200)) == 1
    check(swept.fleet)


def test_at_the_start_each_segment_is_walked_once() -> None:
    """Three relays that start together may each begin before they are linked, and no more."""
    swept = Swept()
    asked = Counter(
        (sent.sender, sent.to)
        for sent in swept.world.wire
        if sent.to.startswith("10.1.9.2") and sent.mode == Command.BR_ENTRY
    )
    walked = Counter(sender for (sender, _), times in asked.items() if times)
    assert len([sender for sender, addresses in walked.items() if addresses > 30]) == 1


def test_who_comes_there_is_listed_at_every_site_and_once_in_each_segment() -> None:
    swept = Swept()
    begun = swept.world.now
    dora = swept.client(Plain, 9, 40, name="dora")
    dora.start()
    swept.world.until(lambda: all(dora.address in c.listed for c in swept.away_from(9)), within=900)
    swept.world.run(20)
    found = relayed(swept.fleet, begun, dora.address)
    assert {found["10.1.9.40", f"10.1.{n}", Command.BR_ABSENCE] for n in (1, 2, 3)} == {1}
    check(swept.fleet)


def test_another_sweeps_when_the_first_dies_and_until_it_returns() -> None:
    swept = Swept()
    (first,) = swept.sweepers(600)
    first.power_cut()
    swept.world.run(40)
    begun = swept.world.now
    (second,) = swept.sweepers(1_200)
    assert second is not first
    assert not [s for s in swept.world.since(begun) if s.announces and s.mode == Command.BR_EXIT]
    dora = swept.client(Plain, 9, 40, name="dora")
    dora.start()
    left = [client for client in swept.away_from(9) if client not in swept.clients[swept.nodes.index(first)]]
    swept.world.until(lambda: all(dora.address in client.listed for client in left), within=900)
    first.restart()
    swept.world.run(120)
    assert list(swept.sweepers(1_200)) == [first]
    swept.complete(within=30)
    check(swept.fleet)


def test_who_goes_while_the_duty_moves_goes_everywhere() -> None:
    swept = Swept()
    (first,) = swept.sweepers(600)
    left = [client for client in swept.away_from(9) if client not in swept.clients[swept.nodes.index(first)]]
    one, two = swept.remotes[:2]
    one.kill()
    first.kill()
    swept.world.until(lambda: not any(one.address in client.listed for client in left), within=900)
    two.kill()
    first.restart()
    swept.complete(within=900)
    check(swept.fleet)


def test_one_who_cannot_speak_is_not_chosen() -> None:
    sites = Sites(1, remote=REMOTE, **SOONER)
    for n in (2, 3, 4, 5):
        sites.fleet.relay(f"10.1.{n}.2", can_speak=False, remote=REMOTE, **SOONER).start()
    far = sites.client(Plain, 9, 40, name="far")
    far.start()
    sites.world.run(700)
    assert set(far.listed) >= {client.address for client in sites.clients[0]}


def test_those_beyond_get_everybody_where_relays_may_speak_for_all() -> None:
    swept = Swept(between_remote=True)
    check(swept.fleet)
    begun = swept.world.now
    dora = swept.client(Iptux, 2, 40, name="dora")
    dora.start()
    swept.world.until(lambda: all(dora.address in c.listed for c in swept.away_from(2)), within=QUICK)
    swept.world.run(20)
    check(swept.fleet)
    to = Counter(
        {to: n for (_, to, _), n in relayed(swept.fleet, begun, dora.address).items() if "10.1.9." in to}
    )
    assert to == Counter({client.address: 1 for client in swept.remotes})


def test_windows_beyond_gets_everybody_signed_without_any_privilege() -> None:
    sites = Sites(2, (Windows499,), can_speak=False, key=RELAY, remote=REMOTE, **SOONER)
    far = sites.client(Windows499, 9, 40, name="far")
    far.start()
    sites.world.run(700)
    check(sites.fleet)


def test_a_segment_gets_a_relay_of_its_own_and_loses_it_again() -> None:
    swept = Swept(between_remote=True)
    begun = swept.world.now
    own = swept.fleet.relay("10.1.9.2", **SOONER)
    own.start()
    swept.world.run(60)
    assert not swept.sweepers(1_200)
    dora: Client = swept.client(Windows, 9, 40, name="dora")
    dora.start()
    swept.world.until(lambda: all(dora.address in c.listed for c in swept.away_from(9)), within=QUICK)
    swept.complete(within=30)
    own.power_cut()
    swept.world.run(40)
    assert len(swept.sweepers(1_200)) == 1
    assert not [s for s in swept.world.since(begun) if s.announces and s.mode == Command.BR_EXIT]
    assert all(key_of(dora) in node.online() for node in swept.nodes)


def test_users_of_a_dead_relays_segment_are_heard_by_the_one_that_names_it() -> None:
    """Beyond ``keep_users``, too: they answer the sweep of another relay."""
    sites = Sites(3, remote=("10.1.1.*",), keep_users=900.0, between_remote=True, **SOONER)
    sites.relay(1).power_cut()
    begun = sites.world.now
    sites.world.run(3_600)
    assert not [s for s in sites.world.since(begun) if s.announces and s.mode == Command.BR_EXIT]
    check(sites.fleet)
    dora = sites.client(Plain, 1, 40, name="dora")
    dora.start()
    sites.world.run(700)
    check(sites.fleet)
    sites.relay(1).restart()
    sites.complete(within=60)
    check(sites.fleet)


def test_a_relay_left_alone_while_a_duty_fades_comes_to_rest() -> None:
    """Its last peer is removed in the minute in which farewells, or a second round, were still to be said."""
    sites = Sites(2, remote=REMOTE, **SOONER)
    for node in sites.nodes:
        gone = [other for other in sites.nodes if other is not node]
        node.act(node.relay.unlinked(gone[0].id, node.clock))
        node.act(node.relay.linked(gone[0].id, node.clock))
        node.act(node.relay.enlist(node.id, {}, node.clock))
    sites.world.run(120)
    assert all(node.relay.next_due() > sites.world.now for node in sites.nodes)
