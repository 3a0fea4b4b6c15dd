"""Which relay of the fleet tells a segment of others, and sweeps it. Rule kept here: one of those who can, and every
relay finds the same one by itself; when its link is gone the next one in line takes over at once.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from camrelay.relay.segment import Segment, network_of, number

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv4Network

    from camrelay.relay.messages import Reach, RelayId

MAX_LOCAL = 64  # networks of a peer's interfaces
MAX_REMOTE = 2_048  # segments that it sweeps, or was pointed at from
NEAR = 16  # bits: the largest network on which one relay is taken to hear everybody
WIDEST = 8  # bits: no interface is on a larger network than 10.0.0.0/8


Fit = tuple[bool, bool]  # does it know who is where, and may it speak as others? Better ones are greater
FIT: Fit = (True, True)


class Realm:
    """Where one peer hears users, as it says; nothing else of what it tells is believed."""

    def __init__(self, reach: Reach) -> None:
        """ValueError for what no box can be."""
        if len(reach.local) > MAX_LOCAL or len(reach.remote) + len(reach.pointed) > MAX_REMOTE:
            raise ValueError("more segments than a relay can have")
        local = tuple(map(_network, reach.local))
        # Who is on a wider network by its netmask does not hear all of it: others go on sweeping there.
        near = [network for network in local if network.prefixlen >= NEAR]
        self._local = [(int(network.netmask), int(network.network_address)) for network in near]
        self.names = frozenset(reach.local)
        self.swept = frozenset(reach.remote)
        self.fit = reach.ready, reach.can_speak
        self._masks: dict[int, set[int]] = {}
        for network in (*local, *map(_network, (*reach.remote, *reach.pointed))):
            self._masks.setdefault(int(network.netmask), set()).add(int(network.network_address))

    def holds(self, address: str) -> bool:
        """Can the peer hear a user at ``address``?"""
        value = number(address)
        return any(value & mask in bases for mask, bases in self._masks.items())

    def is_in(self, segment: Segment) -> bool:
        """Does the peer have an interface on ``segment``, or on a network around it?"""
        if segment.name in self.names:
            return True
        if segment.interface is not None:
            return False
        mask, base = segment.network
        return any(wide <= mask and base & wide == start for wide, start in self._local)


def _network(text: str) -> IPv4Network:
    network = network_of(text)
    if network.prefixlen < WIDEST or network.is_loopback or network.is_multicast or network.is_unspecified:
        raise ValueError(f"{text} is no network of an office")
    return network


def holder(
    segment: Segment, me: RelayId, fit: Fit, realms: Iterable[tuple[RelayId, Realm]]
) -> RelayId | None:
    """Who of us and the linked peers is to serve ``segment``; None: nobody hears it."""
    peers = list(realms)
    on_it = [(realm.fit, peer) for peer, realm in peers if realm.is_in(segment)]
    if segment.interface is not None:
        on_it.append((fit, me))
    if not on_it:
        on_it = [(realm.fit, peer) for peer, realm in peers if segment.name in realm.swept]
        if not segment.told:
            on_it.append((fit, me))
    return max(on_it, key=lambda one: (one[0], _weight(one[1], segment.name)))[1] if on_it else None


def _weight(relay: RelayId, name: str) -> bytes:
    """Rendezvous hashing: each relay's weight for a segment; a relay that goes moves only what it held."""
    return sha256(f"{relay} {name}".encode()).digest()
