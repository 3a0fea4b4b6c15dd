"""Sites with a relay and clients each, and how their stories are told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.fleet_world import Fleet, FleetNode
from tests.unit.fleet.fleet_checks import not_listed, unequal
from tests.unit.relay.invariants import ghosts
from tests.world import Client, Iptux, Plain, Windows

if TYPE_CHECKING:
    from collections.abc import Sequence

KINDS: tuple[type[Client], ...] = (Iptux, Windows, Plain)
LATENCY = 0.05
QUICK = 1.0 + 2 * LATENCY  # a change is at every other site within 1 s and the latency of the line (issue 3)


class Sites:
    """One relay per segment 10.1.1, 10.1.2, ...; in each one client of every kind, all settled."""

    def __init__(
        self,
        count: int = 3,
        kinds: Sequence[type[Client]] = KINDS,
        *,
        seed: int = 1,
        latency: float = LATENCY,
        **settings: Any,
    ) -> None:
        self.fleet = Fleet(seed, latency=latency)
        self.world = self.fleet.world
        self.nodes = [self.fleet.relay(f"10.1.{n}.2", **settings) for n in range(1, count + 1)]
        self.clients = [
            [self.client(kind, site, 11 + place) for place, kind in enumerate(kinds)]
            for site in range(1, count + 1)
        ]
        self.fleet.start()
        for clients in self.clients:
            for client in clients:
                client.start()
        self.world.run(30)
        self.complete(within=30)

    def client(self, kind: type[Client], site: int, n: int, *, name: str = "") -> Client:
        """One more at site number ``site`` (from 1), not started; ``name``: who it is, wherever it is."""
        name = name or f"{kind.__name__.lower()}{site}{n}"
        return kind(self.world, f"10.1.{site}.{n}", name, f"logon-{name}", f"host-{name}")

    def relay(self, site: int) -> FleetNode:
        """That of site number ``site`` (from 1)."""
        return self.nodes[site - 1]

    @property
    def everybody(self) -> list[Client]:
        """All clients that run."""
        return [client for client in self.world.clients if client.alive]

    def away_from(self, site: int) -> list[Client]:
        """All clients that run at other sites."""
        return [client for client in self.everybody if not client.address.startswith(f"10.1.{site}.")]

    def complete(self, within: float) -> None:
        """Let time pass until every roster and every list is right."""
        end = self.world.now + within
        while complaints := unequal(self.fleet) + not_listed(self.fleet) + ghosts(self.world):
            assert self.world.now < end, f"after {within} s:\n" + "\n".join(complaints[:12])
            self.world.run(max(0.05, within / 200))
