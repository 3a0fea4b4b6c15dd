"""Rules of sharing in a fleet: whom a relay does not tell a peer of, and whom it does not show though it was told."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from camrelay.relay.messages import Changes, Rows
from camrelay.relay.rules import Share
from tests.unit.fleet.scenes import Sites
from tests.world import Client, Plain, Windows

if TYPE_CHECKING:
    from tests.fleet_world import FleetNode

UNTOLD = Share(("group:secret",), ("peer:r2",))


class Scene(Sites):
    """Three sites; ann and bea at the first one."""

    def __init__(self) -> None:
        super().__init__(3, (Windows, Plain))
        self.ann, self.bea = self.clients[0]

    def reload(self, site: int, *shares: Share) -> None:
        node = self.relay(site)
        node.settings = replace(node.settings, shares=shares)
        node.act(node.relay.reconfigure(node.settings, node.clock))
        self.world.run(10)

    def regroup(self, client: Client, group: str) -> None:
        client.group = group
        client.rename(client.nick)
        self.world.run(5)

    def known(self, client: Client, site: int) -> bool:
        """Does that relay take it for present?"""
        return client.address in self.relay(site).users()

    def listed(self, client: Client, site: int) -> bool:
        """By all clients there?"""
        answers = {client.address in other.listed for other in self.clients[site - 1]}
        assert len(answers) == 1
        return answers.pop()

    def told(self, client: Client, to: FleetNode, begun: float) -> bool:
        """Was anything said of it to this relay since then?"""
        return any(
            row.address == client.address
            for _, _, peer, message in self.fleet.since(begun)
            if peer is to and isinstance(message, (Rows, Changes))
            for row in message.rows
        )


def test_whom_a_peer_may_not_know_of_it_is_never_told() -> None:
    scene = Scene()
    scene.reload(1, UNTOLD)
    begun = scene.world.now
    carl = scene.client(Windows, 1, 40, name="carl")
    carl.group = "Secret"
    carl.start()
    scene.world.run(7_300)  # with a digest, too
    assert not scene.told(carl, scene.relay(2), begun)
    assert [scene.known(carl, site) for site in (1, 2, 3)] == [True, False, True]
    assert not scene.listed(carl, 2)
    assert scene.listed(carl, 3)
    assert scene.clients[1][0].address in carl.listed, "the other direction"


def test_who_joins_a_hidden_group_leaves_the_peers_lists_and_comes_back_with_another() -> None:
    scene = Scene()
    scene.reload(1, UNTOLD)
    assert scene.listed(scene.ann, 2)
    scene.regroup(scene.ann, "secret")
    assert not scene.known(scene.ann, 2)
    assert not scene.listed(scene.ann, 2)
    assert scene.listed(scene.ann, 3)
    assert scene.listed(scene.bea, 2)
    scene.regroup(scene.ann, "sales")
    assert scene.listed(scene.ann, 2)


def test_a_reload_takes_back_what_a_peer_was_told_and_tells_it_again() -> None:
    scene = Scene()
    scene.regroup(scene.ann, "secret")
    assert scene.listed(scene.ann, 2)
    scene.reload(1, UNTOLD)
    assert not scene.known(scene.ann, 2)
    assert not scene.listed(scene.ann, 2)
    scene.reload(1, Share(("group:secret",), ("peer:r3",)))
    assert scene.listed(scene.ann, 2)
    assert not scene.listed(scene.ann, 3)
    scene.reload(1)
    assert scene.listed(scene.ann, 2)
    assert scene.listed(scene.ann, 3)


def test_a_rule_about_everywhere_is_about_peers_too_but_for_those_allowed_before() -> None:
    scene = Scene()
    scene.regroup(scene.ann, "secret")
    scene.reload(1, Share(("group:secret",), ("peer:R3",), allow=True), Share(("group:secret",), ("*",)))
    assert [scene.known(scene.ann, site) for site in (1, 2, 3)] == [True, False, True]
    assert scene.listed(scene.ann, 3)


def test_users_of_a_peer_are_hidden_where_the_relay_there_says_so() -> None:
    scene = Scene()
    scene.reload(2, Share(("peer:r1",), ("here",)))
    assert scene.known(scene.ann, 2)
    assert not scene.listed(scene.ann, 2)
    assert scene.listed(scene.clients[2][0], 2)
    assert scene.listed(scene.clients[1][0], 1), "the other direction"
    scene.reload(2)
    assert scene.listed(scene.ann, 2)


def test_after_a_cut_a_peer_still_does_not_know_whom_it_may_not_know_of() -> None:
    scene = Scene()
    scene.regroup(scene.ann, "secret")
    scene.reload(1, UNTOLD)
    line = scene.fleet.line(scene.relay(1), scene.relay(2))
    begun = scene.world.now
    line.cut()
    scene.world.run(300)
    line.mend()
    scene.world.run(300)
    assert not scene.told(scene.ann, scene.relay(2), begun)
    assert not scene.listed(scene.ann, 2)
    assert scene.listed(scene.bea, 2)


def test_users_of_one_of_two_relays_of_a_segment_are_hidden_as_long_as_it_tells_of_them() -> None:
    scene = Scene()
    scene.fleet.relay("10.1.1.3").start()
    scene.world.run(30)
    teller = next(row.via for row in scene.relay(2).relay.users(0.0) if row.address == scene.ann.address)
    scene.reload(2, Share((f"peer:{teller}",), ("here",)))
    assert not scene.listed(scene.ann, 2)
    next(node for node in scene.fleet.nodes if node.settings.name == teller).kill()
    scene.world.run(20)
    assert scene.known(scene.ann, 2)
    assert scene.listed(scene.ann, 2)


def rename(scene: Scene, site: int, name: str) -> None:
    """The relay of that site calls itself something else now."""
    renamed = scene.relay(site)
    for node in scene.nodes:
        if node is not renamed:
            names = scene.fleet.members(node) | {renamed.id: name}
            node.act(node.relay.enlist(node.id, names, node.clock))
    scene.world.run(60)


def test_a_rule_by_id_is_about_a_relay_whatever_it_calls_itself() -> None:
    scene = Scene()
    scene.regroup(scene.ann, "secret")
    scene.reload(1, Share(("group:secret",), (f"peer:{scene.relay(2).id[:8]}",)))
    scene.reload(3, Share((f"peer:{scene.relay(2).id[:8]}",), ("here",)))
    other = scene.clients[1][0]
    for name in ("r2", "harmless", "r2~0123"):
        begun = scene.world.now
        rename(scene, 2, name)
        scene.regroup(scene.ann, "secret")
        assert not scene.told(scene.ann, scene.relay(2), begun)
        other.rename(f"as {name}")
        scene.world.run(10)
        assert not scene.known(scene.ann, 2)
        assert not scene.listed(other, 3)
        assert scene.listed(scene.ann, 3)


def test_a_rule_by_name_is_about_all_relays_that_have_it() -> None:
    scene = Scene()
    scene.reload(1, UNTOLD)
    rename(scene, 2, "r2~6e82")
    rename(scene, 3, "R2~1111")
    scene.regroup(scene.ann, "secret")
    assert scene.known(scene.bea, 2)
    assert not scene.known(scene.ann, 2)
