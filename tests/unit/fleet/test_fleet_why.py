"""trace why in a fleet: who owns a user, who witnesses it, which relay tells whom."""

from __future__ import annotations

from typing import TYPE_CHECKING

from camrelay.daemon.tracing.why import facts_of
from camrelay.relay.rules import Share
from camrelay.trace.judge import judge
from tests.unit.fleet.scenes import Sites
from tests.world import Plain, Windows

if TYPE_CHECKING:
    from camrelay.relay.reasons import WhyRow
    from tests.fleet_world import FleetNode


def why(node: FleetNode, word: str) -> WhyRow:
    (row,) = node.relay.look.why(word, node.clock)
    return row


def found(row: WhyRow) -> list[str]:
    return [one.id for one in judge("why", facts_of(row))]


class Pair(Sites):
    """Two sites, and a second relay at the first one."""

    def __init__(self) -> None:
        super().__init__(2)
        self.first, self.far = self.nodes
        self.second = self.fleet.relay("10.1.1.3")
        self.second.start()
        self.world.run(60)


def test_one_of_two_relays_in_a_segment_owns_and_the_other_witnesses_and_all_say_so() -> None:
    pair = Pair()
    address = pair.clients[0][0].address
    seen = {node.settings.name: why(node, address).holders for node in (pair.first, pair.second, pair.far)}
    owners = {name: [h.relay for h in holders if h.role == "owner"] for name, holders in seen.items()}
    witnesses = {name: [h.relay for h in holders if h.role == "witness"] for name, holders in seen.items()}
    assert len({tuple(one) for one in owners.values()}) == 1
    assert len({tuple(one) for one in witnesses.values()}) == 1
    (owner,), (witness,) = owners["r1"], witnesses["r1"]
    assert {owner, witness} == {pair.first.settings.name, pair.second.settings.name}
    assert [h.ours for h in seen["r1"] if h.relay == "r1"] == [True]
    assert not any(h.ours for h in seen[pair.far.settings.name])
    assert all(found(why(node, address)) == [] for node in (pair.first, pair.second, pair.far))


def test_who_serves_a_segment_tells_there_and_the_others_name_it() -> None:
    pair = Pair()
    far_user, near_user = pair.clients[1][0].address, pair.clients[0][0].address
    told = {}
    for node in (pair.first, pair.second):
        (here,) = [one for one in why(node, far_user).audience if one.segment == "10.1.1.0/24"]
        told[node.settings.name] = (bool(here.told), here.why, here.by)
    serving = [name for name, (tells, _, _) in told.items() if tells]
    assert len(serving) == 1
    (other,) = set(told) - set(serving)
    assert told[other] == (False, "relay", serving[0])
    (there,) = [one for one in why(pair.first, near_user).audience if one.segment.startswith("10.1.2.")]
    assert (there.why, there.by) == ("relay", pair.far.settings.name)


def test_relays_are_told_by_whoever_hears_the_user() -> None:
    sites = Sites(2)
    near, far = sites.nodes
    address = sites.clients[0][0].address
    assert [(one.relay, one.why) for one in why(near, address).informed] == [("r2", "")]
    row = why(far, address)
    assert [(one.relay, one.why) for one in row.informed] == [("r1", "not-ours")]
    assert (row.learned, row.via, row.home, row.life.gone_in) == ("peer", "r1", False, None)


def test_a_rule_that_hides_from_a_relay_is_named() -> None:
    sites = Sites(2)
    near, _ = sites.nodes
    client = sites.clients[0][0]
    hide = Share((client.address,), ("peer:r2",))
    near.settings = type(near.settings)(name="r1", shares=(hide,))
    near.act(near.relay.reconfigure(near.settings, near.clock))
    sites.world.run(5)
    row = why(near, client.address)
    assert [(one.why, one.rule) for one in row.informed] == [("rule", 1)]
    assert found(row) == ["why-hidden"]


def test_a_user_of_a_relay_that_is_away_is_kept_and_it_is_said_for_how_long() -> None:
    sites = Sites(2, keep_users=3600.0)
    near, far = sites.nodes
    address = sites.clients[0][0].address
    near.power_cut()
    sites.world.until(lambda: not why(far, address).holders[0].linked, 60)
    row = why(far, address)
    assert [(h.role, h.linked) for h in row.holders] == [("owner", False)]
    assert row.life.gone_in is not None
    assert found(row)[0] == "why-owner-away"
    left = row.life.gone_in
    sites.world.run(left - 10)
    assert why(far, address).state == "online"
    sites.world.run(20)
    assert why(far, address).state == "offline"


def test_one_name_at_two_sites_is_contested_and_then_a_twin() -> None:
    sites = Sites(2)
    near, far = sites.nodes
    sites.client(Plain, 1, 40, name="zoe").start()
    sites.world.run(10)
    other = sites.client(Plain, 2, 40, name="zoe")
    other.start()
    sites.world.until(lambda: why(far, "zoe").doubts.candidate is not None, 5)
    assert why(far, "zoe").doubts.decided_in is not None
    sites.world.until(lambda: any(h.role == "contests" for h in why(near, "zoe").holders), 5)
    assert "why-contested" in found(why(near, "zoe"))
    sites.world.run(30)
    rows = [why(node, "zoe") for node in (near, far)]
    assert [row.address for row in rows] == ["10.1.1.40"] * 2
    assert all(row.doubts.twin == "10.1.2.40" for row in rows)
    assert all(found(row) == ["why-twin"] for row in rows)


def test_one_relay_announces_nobody_from_one_remote_segment_to_another() -> None:
    sites = Sites(1, remote=("10.1.7.*", "10.1.8.*"))
    for site in (7, 8):
        sites.client(Plain, site, 11).start()
    sites.client(Windows, 8, 12).start()
    sites.world.run(4000)
    assert found(why(sites.nodes[0], "10.1.7.11")) == ["why-between"]
