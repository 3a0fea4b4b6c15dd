"""Which segment an address lives in: the longest prefix over our interfaces and the configured remote segments.

Rule kept here: an address that belongs nowhere is nobody's, and what comes from it is dropped (design rule 2).
"""

from __future__ import annotations

from itertools import chain
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from camrelay.relay.outputs import Interface
    from camrelay.relay.roster import Dialect, User

# Enough for every address of 250 segments; what is beyond is looked up again.
MAX_REMEMBERED = 65_536


class Segment:
    """One broadcast domain. ``interface`` is ours on it, or None for one behind routers.

    ``addresses`` are those that the sweep asks (remote segments only).
    """

    __slots__ = ("addresses", "groups", "interface", "name")

    def __init__(self, name: str, interface: Interface | None = None, addresses: tuple[str, ...] = ()) -> None:
        self.name = name
        self.interface = interface
        self.addresses = addresses
        self.groups: dict[Dialect, dict[User, None]] = {}  # who is here now, by what they must be sent

    @property
    def index(self) -> int:
        """The kernel's index of our interface here; -1 for a remote segment."""
        return self.interface.index if self.interface else -1

    def add(self, user: User) -> None:
        """``user`` is here."""
        self.groups.setdefault(user.dialect, {})[user] = None

    def discard(self, user: User) -> None:
        """``user`` is not here (any more)."""
        group = self.groups.get(user.dialect)
        if group is not None:
            group.pop(user, None)
            if not group:
                del self.groups[user.dialect]

    @property
    def users(self) -> Iterator[User]:
        """Who is here now."""
        return chain.from_iterable(self.groups.values())

    def __repr__(self) -> str:
        return f"<Segment {self.name}>"


class Segments:
    """All segments of one configuration, and the way from an address to its own."""

    def __init__(
        self, interfaces: Iterable[Interface], remote: Iterable[str] = (), accept_from: Iterable[str] = ()
    ) -> None:
        self.own_addresses: frozenset[str] = frozenset()
        self.local: list[Segment] = []
        self.remote: list[Segment] = []
        self._networks: list[tuple[int, int, int, Segment | None]] = []  # mask, base, last address, segment
        self._elsewhere: dict[str, Segment] = {}  # /24 pieces of accept_from, made when somebody speaks from there
        self._known: dict[str, Segment | None] = {}
        for interface in interfaces:
            self._add_local(interface)
        own = {(mask, base) for mask, base, _, _ in self._networks}
        for name, addresses in expand(remote).items():
            network = IPv4Network(name.replace("*", "0") + "/24")
            if (int(network.netmask), int(network.network_address)) not in own:
                wanted = tuple(a for a in addresses if a not in self.own_addresses)
                self.remote.append(self._add(network, Segment(name, None, wanted)))
        for text in accept_from:
            self._add(IPv4Network(text), None)
        self._networks.sort(key=lambda entry: entry[0], reverse=True)

    def _add_local(self, interface: Interface) -> None:
        self.own_addresses |= {interface.address}
        segment = Segment(interface.network, interface)
        self.local.append(segment)
        for text in (interface.network, *interface.also):
            self._add(IPv4Network(text), segment)

    def _add(self, network: IPv4Network, segment: Segment | None) -> Segment:
        base = int(network.network_address)
        self._networks.append((int(network.netmask), base, int(network.broadcast_address), segment))
        return segment or Segment("")

    def of(self, address: str) -> Segment | None:
        """The segment of ``address``; None for one that is nobody's, a network's or a broadcast address."""
        try:
            return self._known[address]
        except KeyError:
            pass
        if len(self._known) >= MAX_REMEMBERED:
            self._known.clear()
        segment = self._known[address] = self._find(address)
        return segment

    def _find(self, address: str) -> Segment | None:
        if address in self.own_addresses:
            return None
        value = int(IPv4Address(address))
        for mask, base, last, segment in self._networks:
            if value & mask == base:
                if mask < 0xFFFFFFFE and value in (base, last):
                    return None
                return segment or self._piece(value)
        return None

    def _piece(self, value: int) -> Segment:
        name = f"{IPv4Address(value & 0xFFFFFF00)}"[: -len("0")] + "*"
        piece = self._elsewhere.get(name)
        if piece is None:
            piece = self._elsewhere[name] = Segment(name)
        return piece

    @property
    def all(self) -> list[Segment]:
        """Local ones first, then remote ones, then those that clients pointed at us came from."""
        return [*self.local, *self.remote, *self._elsewhere.values()]

    def named(self, text: str) -> Segment | None:
        """The segment an admin means by its name or by one of its addresses."""
        for segment in self.all:
            if text == segment.name or text in segment.addresses:
                return segment
        return None


def expand(remote: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """``192.168.1.*`` to .1 to .254, single addresses gathered under the segment they live in; order kept."""
    found: dict[str, dict[str, None]] = {}
    for text in remote:
        front = text.rsplit(".", 1)[0]
        wanted = [f"{front}.{last}" for last in range(1, 255)] if text.endswith(".*") else [text]
        found.setdefault(f"{front}.*", {}).update(dict.fromkeys(wanted))
    return {name: tuple(addresses) for name, addresses in found.items()}
