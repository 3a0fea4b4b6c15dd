"""Several member masters side by side: each for the clients that name it, and they agree by telling each other."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fleet_world import Fleet
from tests.keys import PEER, RELAY
from tests.unit.relay.invariants import ghosts, misread, not_listed
from tests.windows import Windows499

SELDOM: dict[str, Any] = {"sweep_every": 86_400.0, "sweep_unknown_every": 86_400.0}
MASTERS = ("10.1.1.2", "10.1.2.2")


class Masters:
    """Two sites with a master each, and two segments without one, whose clients name a master."""

    def __init__(self, *, named: tuple[str, ...], speaks: bool) -> None:
        self.fleet = Fleet(latency=0.02)
        self.world = self.fleet.world
        common: dict[str, Any] = {"remote": named, "can_speak": speaks, "master": True, **SELDOM}
        if not named:
            common["accept_from"] = ("10.1.7.0/24", "10.1.8.0/24")
        for address, key in zip(MASTERS, (RELAY, PEER), strict=True):
            self.fleet.relay(address, key=key, **common)
        self.fleet.start()
        self.people = [self.client(f"10.1.{site}.11", "") for site in (1, 2)]
        self.people += [self.client(f"10.1.7.{n}", MASTERS[0]) for n in (21, 22)]
        self.people += [self.client(f"10.1.8.{n}", MASTERS[1]) for n in (21, 22)]
        self.world.run(20)

    def client(self, address: str, master: str) -> Windows499:
        name = address.replace(".", "-")
        return Windows499(self.world, address, name, name, f"pc-{name}", master=master)

    def strange_rosters(self) -> list[str]:
        """Those that are not exactly who runs."""
        there = {(client.address, client.nick) for client in self.world.clients if client.alive}
        rosters = ((node, {who[:2] for who in node.online().values()}) for node in self.fleet.nodes)
        return [f"{node}: {roster ^ there}" for node, roster in rosters if roster != there]

    def complete(self, within: float) -> None:
        """Until both rosters and every list are right."""
        end = self.world.now + within
        while complaints := self.strange_rosters() + not_listed(self.world) + ghosts(self.world):
            assert self.world.now < end, f"after {within} s:\n" + "\n".join(complaints[:12])
            self.world.run(0.2)


@pytest.mark.parametrize("speaks", [False, True])
@pytest.mark.parametrize("named", [("10.1.7.*", "10.1.8.*"), ()], ids=["named", "pointed"])
def test_masters_agree_on_all_who_poll_any_of_them(named: tuple[str, ...], speaks: bool) -> None:
    masters = Masters(named=named, speaks=speaks)
    for client in masters.people:
        client.start()
        masters.world.run(1)
    masters.complete(within=20)
    renamed = masters.people[2]
    renamed.rename("somebody else")
    masters.complete(within=10)
    renamed.exit()
    masters.complete(within=60)
    masters.fleet.nodes[0].kill()
    masters.world.run(30)
    masters.fleet.nodes[0].restart()
    late = masters.client("10.1.8.30", MASTERS[1])
    late.start()
    masters.complete(within=60)
    assert not misread(masters.world)
    assert {row.home for node in masters.fleet.nodes for row in node.relay.users(node.clock)} == {True, False}
